"""The product's main road on real parts: simulators over HTTPS, Azurite, and the app on Microsoft's runtime."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from sandbox.run import Order, Outcome
from sandbox.world import World

Play = Callable[..., tuple[Outcome, World]]
Hashes = Callable[[list[str]], list[str]]
ADDRESS = re.compile(rb"[A-Za-z0-9._+%-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}|member\d+|%40[A-Za-z0-9.-]+\.example", re.IGNORECASE)
READY = 727000007


def write(path: Path, rows: list[tuple[str | None, bool, bool, int]]) -> Path:
    """Write contacts (address, no bulk email, no email, state) as a CSV with logical names."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["contactid", "fullname", "emailaddress1", "donotbulkemail", "donotemail", "statecode"])
        for number, (address, bulk, email, state) in enumerate(rows):
            table.writerow([uuid4(), f"Person {number}", address or "", bulk, email, state])
    return path


@pytest.fixture
def contacts(tmp_path: Path) -> tuple[Path, list[str]]:
    """Return a file of odd contacts, and the addresses that may be sent."""
    usable = [f"member{number}@example.com" for number in range(6_000)]
    usable += ["Grüße@Bücher.example", "用户@例子.com", "o'brien+news@example.org"]
    rows: list[tuple[str | None, bool, bool, int]] = [(address, False, False, 0) for address in usable]
    rows += [(f"  MEMBER{number}@Example.COM ", False, False, 0) for number in range(0, 6_000, 7)]
    rows += [(None, False, False, 0)] * 40 + [("not an address", False, False, 0)] * 30
    rows += [("bulk@example.com", True, False, 0), ("email@example.com", False, True, 0), ("gone@example.com", False, False, 1)]
    usable = [address for address in usable if not address.endswith(".example")] + ["Grüße@Bücher.example"]
    return write(tmp_path / "contacts.csv", rows), usable


@pytest.mark.parametrize("kind", ["realtime", "list", "outbound"])
def test_each_kind_of_segment_becomes_exactly_its_audience(
    kind: str, contacts: tuple[Path, list[str]], play: Play, hashes: Hashes
) -> None:
    """The audience holds the usable members of the segment, each once, and nobody else."""
    path, usable = contacts
    outcome, _ = play(Order(file=path, kind=kind))

    assert outcome.status == "Ready"
    assert outcome.linkedin_members == hashes(usable)
    assert outcome.linkedin_segments == 1
    assert outcome.segment["lima_linkedinstatus"] == READY
    assert outcome.segment["lima_linkedinsent"] == len(usable)


@pytest.mark.parametrize("trigger", ["row", "live"])
def test_automations_and_going_live_need_no_person(trigger: str, play: Play) -> None:
    """One row in one table, or a marked segment that goes live."""
    outcome, _ = play(Order(members=700, kind="realtime", trigger=trigger))

    assert outcome.status == "Ready"
    assert outcome.linkedin_segments == 1


def test_no_address_is_in_any_log_queue_table_blob_or_request(contacts: tuple[Path, list[str]], play: Play) -> None:
    """Addresses stay in Dataverse and in the worker's memory."""
    path, _ = contacts
    outcome, world = play(Order(file=path, kind="list"))
    assert outcome.is_ready

    world.host.stop()
    world.azurite.stop()
    for file in [world.folder / "host.log", *(world.folder / "azurite").rglob("*")]:
        if file.is_file():
            found = [match for match in ADDRESS.findall(file.read_bytes()) if b"@example" in match.lower() or b"member" in match]
            assert found == [], file.name
    assert world.linkedin.do("addresses_seen") == []


def test_requests_are_counted_and_kept_to_the_arithmetic_minimum(play: Play) -> None:
    """A page of members is one request; everything around it is a handful."""
    outcome, _ = play(Order(members=23_000, kind="list"))

    assert outcome.is_ready
    progress = 2 + int(outcome.seconds / 2)
    assert len(outcome.dataverse_requests) <= 5 + 15 + progress
    assert len(outcome.linkedin_requests) <= -(-len(outcome.linkedin_members) // 5_000) + 8


def test_every_batch_but_the_last_is_full(play: Play) -> None:
    """Requests to LinkedIn are the scarce thing."""
    outcome, _ = play(Order(members=14_000, kind="list"))

    sizes = [request["elements"] for request in outcome.linkedin_requests if request.get("elements")]
    assert sum(sizes) == len(outcome.linkedin_members)
    assert sorted(sizes, reverse=True)[:-1] == [5_000] * (len(sizes) - 1)
