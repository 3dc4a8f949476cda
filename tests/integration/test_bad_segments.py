"""Segments that cannot become an audience, on the running app: each ends with a sentence and a next step on the row."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from sandbox.world import Options, World

pytestmark = pytest.mark.xdist_group("bad_segments")

CHECK, CREATE = 727000000, 727000001
PERSON, AUTOMATION = 727000000, 727000001
READY_TO_CREATE, READY, TOO_SMALL, NOT_ALLOWED, FAILED = 727000004, 727000007, 727000008, 727000009, 727000010
ACCOUNT = "urn:li:sponsoredAccount:512345678"
NOWHERE = "0f8fad5b-d9cb-469f-a165-70867728950e"
AT_ONCE = {"CONFIRM_FIRST_SECONDS": "0.1", "NEW_AUDIENCE_SECONDS": "0"}
QUERY = (
    '<fetch><entity name="contact"><attribute name="contactid"/>'
    '<filter><condition attribute="statecode" operator="eq" value="0"/></filter></entity></fetch>'
)


def until[T](condition: Callable[[], T | None], seconds: float = 30.0) -> T:
    """Return the first true value of a condition; fails when there is none in time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        threading.Event().wait(0.02)
    return found


class Marketer:
    """Somebody who asks for audiences."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.user = str(world.dataverse.do("users")["marketers"][0])

    def segment(self, addresses: list[str | None], kind: str = "list", **given: Any) -> dict[str, str]:
        """Make a segment of contacts with these addresses."""
        rows = [{"emailaddress1": address, "statecode": 0} for address in addresses]
        ids = self.world.dataverse.do("load_rows", table="contact", rows=rows)["ids"] if rows else []
        made: dict[str, str] = self.world.dataverse.do("make_segment", kind=kind, members=ids, **given)
        return made

    def ask(self, table: str, segment_id: str, *, origin: int = PERSON, **values: Any) -> str:
        """Ask for an audience of a segment and return the row's id."""
        row_id = str(uuid4())
        asked = {
            "lima_audienceid": row_id,
            "lima_segmenttable": table,
            "lima_segmentid": segment_id,
            "lima_origin": origin,
            "lima_command": CHECK if origin == PERSON else CREATE,
            "lima_commandid": str(uuid4()),
            "lima_adaccount": ACCOUNT,
        }
        self.world.dataverse.api("POST", "lima_audiences", asked | values, user=self.user)
        return row_id

    def press_create(self, row_id: str, *, confirmed: bool = False) -> None:
        """Press Create audience, the second time with a yes to a small audience."""
        change = {"lima_command": CREATE, "lima_commandid": str(uuid4()), "lima_smallconfirmed": confirmed}
        self.world.dataverse.api("PATCH", f"lima_audiences({row_id})", change, user=self.user)

    def row(self, row_id: str) -> dict[str, Any]:
        """Return a row as it is now."""
        found = self.world.row("lima_audience", row_id)
        assert found is not None
        return found

    def rests(self, row_id: str, *statuses: int) -> dict[str, Any]:
        """Return a row once it rests in one of these statuses."""

        def rested() -> dict[str, Any] | None:
            row = self.row(row_id)
            return row if row.get("lima_status") in statuses and row.get("lima_command") is None else None

        return until(rested)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Give a running product."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    with World.start(Options(settings=AT_ONCE)) as running:
        yield running


@pytest.fixture
def marketer(world: World) -> Marketer:
    """Return a marketer who is signed in to LinkedIn."""
    found = Marketer(world)
    world.store_sign_in(found.user)
    world.dataverse.do("settings", members_limit=None)
    return found


def many(count: int) -> list[str | None]:
    """Return this many usable addresses that nobody had before."""
    batch = uuid4().hex[:8]
    return [f"member{number}.{batch}@example.com" for number in range(count)]


@pytest.mark.parametrize(
    ("table", "segment_id", "says"),
    [
        ("list", NOWHERE, "There is no marketing list"),
        ("msdynmkt_segmentdefinition", NOWHERE, "There is no real-time segment"),
        ("msdynmkt_segment", NOWHERE, "There is no real-time segment"),
        ("msdyncrm_segment", NOWHERE, "There is no outbound segment"),
        ("list", "not an id", "no record id"),
        ("account", NOWHERE, "no segments that this app knows"),
        ("lists(1)/x?y=", NOWHERE, "no segments that this app knows"),
    ],
)
def test_a_segment_that_is_not_there_is_told(marketer: Marketer, table: str, segment_id: str, says: str) -> None:
    """Deleted, mistyped, or of a table that holds none."""
    row = marketer.rests(marketer.ask(table, segment_id), NOT_ALLOWED)

    assert says in row["lima_statusmessage"]
    assert row["lima_finished"]


@pytest.mark.parametrize(
    ("kind", "how", "says"),
    [
        ("realtime", {"static": False}, "static"),
        ("list", {"static": False, "query": QUERY}, "static"),
        ("outbound", {"static": False}, "static"),
        ("realtime", {"live": False}, "live"),
        ("outbound", {"live": False}, "live"),
    ],
)
def test_a_segment_that_is_not_static_or_not_live_is_told_so(
    marketer: Marketer, kind: str, how: dict[str, Any], says: str
) -> None:
    """On the row and on the segment's own record; nothing is read of its members."""
    made = marketer.segment(many(5), kind, **how)
    row = marketer.rests(marketer.ask(made["table"], made["id"]), NOT_ALLOWED)

    assert says in row["lima_statusmessage"]
    assert row.get("lima_members") in (None, 0)
    until(lambda: (marketer.world.row(made["table"], made["id"]) or {}).get("lima_linkedinstatus") == NOT_ALLOWED)


@pytest.mark.parametrize("kind", ["realtime", "list"])
def test_an_empty_segment_is_told_so(marketer: Marketer, kind: str) -> None:
    """Rather than making an audience of nobody."""
    made = marketer.segment([], kind)
    row = marketer.rests(marketer.ask(made["table"], made["id"]), NOT_ALLOWED)

    assert "has no members" in row["lima_statusmessage"]


def test_an_outbound_segment_whose_members_are_gone_is_told_so(marketer: Marketer) -> None:
    """Microsoft removed the service that kept them."""
    made = marketer.segment([], "outbound")
    row = marketer.rests(marketer.ask(made["table"], made["id"]), NOT_ALLOWED)

    assert "no longer kept" in row["lima_statusmessage"]
    assert "marketing list" in row["lima_statusmessage"]


def test_a_segment_without_one_usable_address_is_told_with_the_number(marketer: Marketer) -> None:
    """The tallies beside it say why."""
    made = marketer.segment([None] * 4 + ["not an address", "a@b", "@", "x@y@example.com", " "])
    row = marketer.rests(marketer.ask(made["table"], made["id"]), NOT_ALLOWED)

    assert "None of the 9 members" in row["lima_statusmessage"]
    assert (row["lima_members"], row["lima_noemail"], row["lima_invalid"], row["lima_eligible"]) == (9, 5, 4, 0)


def test_a_truncated_list_of_members_is_never_used(marketer: Marketer) -> None:
    """An audience with a part of the segment in it would be worse than none."""
    made = marketer.segment(many(40), "realtime")
    marketer.world.dataverse.do("settings", members_limit=10)
    row = marketer.rests(marketer.ask(made["table"], made["id"]), FAILED)

    assert "10 of 40" in row["lima_statusmessage"]
    assert "marketing list" in row["lima_statusmessage"]


def test_fewer_than_300_usable_members_need_a_second_yes(marketer: Marketer) -> None:
    """Two people, in one spelling or another, on several rows, are still two."""
    one, other = many(2)
    assert one
    assert other
    made = marketer.segment([one, one.upper(), f"  {one} ", other, other.title(), None])
    row_id = marketer.ask(made["table"], made["id"])
    row = marketer.rests(row_id, READY_TO_CREATE)
    assert (row["lima_eligible"], row["lima_duplicate"]) == (2, 3)
    assert "300" in row["lima_statusmessage"]

    marketer.press_create(row_id)
    again = marketer.rests(row_id, READY_TO_CREATE)
    assert "once more" in again["lima_statusmessage"]
    assert again.get("lima_linkedinaudienceid") is None
    marketer.press_create(row_id, confirmed=True)
    assert marketer.rests(row_id, READY)["lima_sent"] == 2


def test_an_automatic_run_makes_no_audience_that_linkedin_would_not_serve(marketer: Marketer) -> None:
    """Nobody is there to say yes."""
    made = marketer.segment(many(20))
    row = marketer.rests(marketer.ask(made["table"], made["id"], origin=AUTOMATION), TOO_SMALL)

    assert "300" in row["lima_statusmessage"]
    assert row.get("lima_linkedinaudienceid") is None


@pytest.mark.parametrize("name", ["Осенняя кампания", "秋のキャンペーン 🍁", "حملة الخريف", 'x"<b>&\\', "a" * 200])
def test_a_segment_may_be_named_in_any_script(marketer: Marketer, name: str) -> None:
    """And is called the same at LinkedIn, cut where LinkedIn might refuse it."""
    made = marketer.segment(many(300), name=name)
    row = marketer.rests(marketer.ask(made["table"], made["id"], origin=AUTOMATION), READY)
    audiences = {str(one["id"]): one["name"] for one in marketer.world.linkedin.do("segments")}

    assert audiences[row["lima_linkedinaudienceid"]] == name[:100]


def test_nothing_was_made_at_linkedin_for_those_that_were_refused(marketer: Marketer) -> None:
    """Every audience there belongs to a row that says so."""
    rows = marketer.world.dataverse.do("table", name="lima_audience")
    known = {row["lima_linkedinaudienceid"] for row in rows if row.get("lima_linkedinaudienceid")}

    assert {str(one["id"]) for one in marketer.world.linkedin.do("segments")} == known
    assert all(row.get("lima_statusmessage") for row in rows)
