"""The chaos harness itself: its plans repeat, its gates strike where they should, and no broken promise escapes its checks."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.chaos import report
from sandbox.chaos.caller import percentile
from sandbox.chaos.checks import problems_of, problems_of_wave
from sandbox.chaos.deck import CARDS, LIVE, READY, WAVE, Plan, Run, plan_wave, wave_of
from sandbox.chaos.gate import Blow, Gates
from sandbox.chaos.pool import DOMAIN, Pool
from sandbox.chaos.wave import Played, Watched

POOL = Pool.of_size(600)
ROW = "0a0b0c0d-0000-4000-8000-000000000001"
READY_STATUS, FAILED_STATUS = 727000007, 727000010


# ------------------------------------------------------------------ plans


def test_the_same_seed_plans_the_same_wave_and_another_seed_another() -> None:
    """A failure that cannot be repeated cannot be mended."""
    assert plan_wave(7, 3) == plan_wave(7, 3)
    assert plan_wave(7, 3).runs != plan_wave(8, 3).runs
    assert plan_wave(7, 3).strikes != plan_wave(7, 4).strikes


@pytest.mark.parametrize("seed", range(20))
def test_two_waves_meet_every_kind_of_trouble(seed: int) -> None:
    """Twenty-five runs are what every change of the code has to stand."""
    dealt: set[str] = set()
    for number in (0, 1):
        plan = plan_wave(seed, number)
        dealt |= {strike.card for strike in plan.strikes} | {act for run in plan.runs for act in run.acts}

    assert dealt == {card.name for card in CARDS}


def test_no_plan_asks_for_what_nobody_can_survive() -> None:
    """A token that lives five minutes is over when it is given, if whoever gives it and whoever takes it disagree by eight."""
    plans = [plan_wave(seed, number) for seed in range(40) for number in range(8)]
    both = [plan for plan in plans if plan.has("dataverse-tokens-short") and plan.has("clocks-skewed")]
    skews = [next(strike.terms for strike in plan.strikes if strike.card == "clocks-skewed") for plan in both]

    assert len(skews) > 20
    assert {skew["entra"] - skew["dataverse"] for skew in skews} == {0}
    assert len({skew["linkedin"] for skew in skews}) > 20


def test_runs_are_numbered_through_and_have_the_sizes_that_were_asked_for() -> None:
    """100 to 20,000 members, of both kinds, by every trigger."""
    runs = [run for number in range(20) for run in plan_wave(1, number).runs]

    assert [run.number for run in runs] == list(range(20 * WAVE))
    assert [wave_of(run.number) for run in runs] == [number for number in range(20) for _ in range(WAVE)]
    assert min(run.members for run in runs) < 200
    assert max(run.members for run in runs) > 10_000
    assert all(100 <= run.members <= 20_000 for run in runs)
    assert {run.kind for run in runs} == {"list", "realtime"}
    assert {run.trigger for run in runs} == {"button", "row", "live"}


# ------------------------------------------------------------------ the pool


def test_the_pool_knows_who_may_be_sent_without_asking_the_product() -> None:
    """A judge who asks the accused is none."""
    sorts = Counter((contact.digest is None, contact.address is None) for contact in POOL.contacts.values())
    repeated = sum(1 for contact in POOL.contacts.values() if contact.digest) - len(POOL.allowed(POOL.ids()))

    assert sorts[True, True] > 0
    assert sorts[True, False] > 20
    assert sorts[False, False] > 400
    assert repeated > 0
    assert Pool.of_size(600) == POOL
    assert set(Pool.of_size(100).contacts) <= set(POOL.contacts)


# ------------------------------------------------------------------ gates


@pytest.fixture
def echo() -> Iterator[tuple[int, list[bytes]]]:
    """Give a server that remembers what it received and answers each piece with "done"."""
    received: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(1000):
                    received.append(data)
                    connection.sendall(b"done")

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1], received
    server.close()


@pytest.fixture
def gates() -> Iterator[Gates]:
    """Give gates whose kill is only noted."""
    killed: list[float] = []
    gates = Gates(lambda: killed.append(time.monotonic()))
    gates.killed = killed  # type: ignore[attr-defined]
    yield gates
    gates.close()


def ask(port: int, text: bytes) -> bytes:
    """Return what comes back for one request on a connection of its own; nothing when it was cut."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(text)
        try:
            return connection.recv(1000)
        except ConnectionError:
            return b""


@pytest.mark.parametrize(
    ("kind", "arrives", "kills"),
    [("drop-before", False, 0), ("drop-after", True, 0), ("kill-before", False, 1), ("kill-after", True, 1)],
)
def test_a_gate_strikes_exactly_the_request_it_was_told(
    kind: str, arrives: bool, kills: int, gates: Gates, echo: tuple[int, list[bytes]]
) -> None:
    """Before: nothing was done. After: it was done, and nobody heard."""
    target, received = echo
    port = gates.open("queue", "storage", target)
    gates.plan(Blow(kind, "storage", 1))
    answers = [ask(port, text) for text in (b"POST 1", b"GET is no effect", b"POST 2", b"POST 3")]

    assert answers == [b"done", b"done", b"", b"done"]
    assert (b"POST 2" in received) == arrives
    assert len(gates.killed) == kills  # type: ignore[attr-defined]


def test_a_gate_before_nothing_is_closed(gates: Gates) -> None:
    """While the storage service restarts, nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()[1]

    assert ask(gates.open("blob", "storage", nobody), b"PUT 1") == b""


# ------------------------------------------------------------------ checks


def ready_run() -> Watched:
    """Return a run that went well."""
    members = POOL.sample("members", 400)
    allowed = POOL.allowed(members)
    row = {
        "lima_status": READY_STATUS,
        "lima_statusmessage": "The audience is ready.",
        "lima_command": None,
        "lima_members": 400,
        "lima_eligible": len(allowed),
        "lima_inactive": 400 - len(allowed),
        "lima_sent": len(allowed),
        "lima_refused": 0,
        "lima_linkedinaudienceid": "77",
        "lima_audiencesize": 100,
    }
    record = {
        "lima_linkedinstatus": READY_STATUS,
        "lima_linkedinmessage": "The audience is ready.",
        "lima_linkedinaudienceid": "77",
        "lima_linkedinsent": len(allowed),
        "lima_linkedinsize": 100,
    }
    shown = {"lima_status": READY_STATUS, "lima_statusmessage": "The audience is ready."}
    return Watched(
        run=Run(3, "list", 400, "button", 0, 0.0),
        name="Chaos",
        members=members,
        row_id=ROW,
        row=row,
        record=record,
        job={"step": "watch", "owes_row": False, "owes_result": False, "shown": shown},
        audiences=[{"id": 77}],
        held=sorted(allowed),
        settled_at=9.0,
    )


def played(*runs: Watched, **changes: Any) -> Played:
    """Return a wave that went well."""
    well = Played(
        plan=Plan(1, 0, tuple(watched.run for watched in runs), ()),
        runs=list(runs),
        seconds=30.0,
        struck=Counter(),
        planned=Counter(),
        log="",
        simulators={"dataverse": "", "linkedin": "", "entra": ""},
        linkedin_calls=[],
        dataverse_calls=[],
        addresses_seen=[],
        stored=[("table limajobs", b"{}")],
        poisoned=0,
        parked=[],
        starts=0,
        forbidden=(DOMAIN.encode(), b"webhook-secret"),
    )
    return replace(well, **changes)


def call(at: float, status: int = 200, **fields: Any) -> dict[str, Any]:
    """Return an entry of a call log."""
    entry = {"at": at, "status": status, "method": "POST", "path": "/rest/dmpSegments/77/users", "query": "", "request_id": "r"}
    return entry | {"fault": "status" if status >= 400 else None} | fields


def test_a_run_and_a_wave_that_went_well_have_no_problems() -> None:
    """A harness that cries wolf is soon ignored."""
    assert problems_of(ready_run(), POOL) == []
    assert problems_of_wave(played(ready_run())) == []


def set_row(watched: Watched, **changes: Any) -> None:
    """Change what the row shows."""
    assert watched.row is not None
    watched.row.update(changes)


SPOILED: dict[str, Callable[[Watched], Any]] = {
    "lacks 1 of": lambda watched: watched.held.pop(),
    "holds 1 members that the segment never allowed": lambda watched: watched.held.append("ab" * 32),
    "has 2 audiences": lambda watched: watched.audiences.append({"id": 78}),
    "has 0 audiences": lambda watched: watched.audiences.clear(),
    "is stuck": lambda watched: setattr(watched, "settled_at", None),
    "ended as Failed": lambda watched: set_row(watched, lima_status=FAILED_STATUS),
    "has no sentence": lambda watched: set_row(watched, lima_statusmessage="oops"),
    "failed without a sentence": lambda watched: watched.failures.append("None"),
    "the segment record says": lambda watched: watched.record.update(lima_linkedinsent=0),
    "the row says": lambda watched: set_row(watched, lima_statusmessage="Something else."),
    "is at its end, but the engine is at": lambda watched: (watched.job or {}).update(owes_row=True),
    "the engine forgot the job": lambda watched: setattr(watched, "job", None),
    "the tallies add up": lambda watched: set_row(watched, lima_members=401),
    "eligible": lambda watched: set_row(watched, lima_sent=1),
    "the row names the audience": lambda watched: set_row(watched, lima_linkedinaudienceid="5"),
}


@pytest.mark.parametrize("sentence", SPOILED)
def test_each_broken_promise_about_a_run_is_told(sentence: str) -> None:
    """What is not checked is not promised."""
    watched = ready_run()
    SPOILED[sentence](watched)

    assert any(sentence in problem for problem in problems_of(watched, POOL)), problems_of(watched, POOL)


def test_members_of_part_of_the_time_may_be_in_or_out() -> None:
    """A segment that changes while it is read has no single truth, but it has limits."""
    watched = ready_run()
    somebody = next(member for member in watched.members if POOL.contacts[member].digest)
    stranger = next(one for one in POOL.ids() if one not in watched.members and POOL.contacts[one].digest)
    watched.removed, watched.added = {somebody}, {stranger}
    watched.held = sorted(POOL.allowed(set(watched.members) - {somebody} | {stranger}))

    assert problems_of(watched, POOL) == []


def test_what_linkedin_refused_may_be_missing_and_no_more() -> None:
    """LinkedIn's own refusals are counted on the row."""
    watched = ready_run()
    set_row(watched, lima_refused=2, lima_sent=len(watched.held) - 2)
    watched.record["lima_linkedinsent"] = len(watched.held) - 2
    watched.held = watched.held[2:]
    assert problems_of(watched, POOL) == []

    watched.held = watched.held[1:]
    assert "lacks 3 of" in problems_of(watched, POOL)[0]


def test_a_deleted_row_leaves_nothing_behind() -> None:
    """Whoever deletes the row wants the job to be gone."""
    watched = ready_run()
    watched.row, watched.job, watched.end = None, None, "deleted"
    watched.acted.add("deleted")
    assert problems_of(watched, POOL) == []

    watched.files = ["0a0b/1/part"]
    assert "files of its job are left" in problems_of(watched, POOL)[0]


TOKEN = b"AQ" + b"x" * 200
POISONED = json.dumps({"action": "message-poisoned", "kind": "audience", "job": ROW})
DEFECT = json.dumps({"action": "step-defect", "job": ROW, "step": "plan", "error": "Traceback\nKeyError: 'x'"})
TRACE = "Traceback (most recent call last):\n  File x\nValueError: no\n"
WENT_AWAY = "Traceback (most recent call last):\n  File x\nwerkzeug.exceptions.ClientDisconnected: 400\n"


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("the app's log holds", {"log": f"sent to person1@{DOMAIN}"}),
        ("table limajobs holds forbidden text", {"stored": [("table limajobs", b"webhook-secret")]}),
        ("file in lima-members holds a token", {"stored": [("file in lima-members", b"\x00" + TOKEN)]}),
        ("carries forbidden text", {"linkedin_calls": [call(1.0, query=f"q={DOMAIN}")]}),
        ("carried an at sign", {"addresses_seen": [{"path": "/rest"}]}),
        ("left in the poison queue", {"poisoned": 1}),
        ("not marked Failed", {"log": POISONED}),
        ("in a way nobody foresaw", {"log": DEFECT}),
        ("the simulator of dataverse failed itself: ValueError", {"simulators": {"dataverse": TRACE}}),
        ("before its Retry-After had passed", {"dataverse_calls": [call(1.0, 429), call(3.0)]}),
        ("asked again at once after a 429", {"linkedin_calls": [call(1.0, 429), call(2.3)]}),
        ("LinkedIn was called", {"linkedin_calls": [call(float(number)) for number in range(200)]}),
        ("Dataverse was called", {"dataverse_calls": [call(float(number)) for number in range(400)]}),
    ],
)
def test_each_broken_promise_about_a_wave_is_told(sentence: str, changes: dict[str, Any]) -> None:
    """What is not checked is not promised."""
    problems = problems_of_wave(played(ready_run(), **changes))

    assert any(sentence in problem for problem in problems), problems


def test_a_failure_needs_a_cause_that_ends_jobs() -> None:
    """A job that gives up because of a hiccup is a defect; one that LinkedIn's old version stopped is not."""
    watched = ready_run()
    watched.failures.append("LinkedIn has switched off the API version.")

    assert "1 jobs failed with 0 strikes" in problems_of_wave(played(watched))[0]
    assert problems_of_wave(played(watched, struck=Counter({"version-ended": 1}))) == []


def test_who_went_away_in_the_middle_of_a_request_is_no_defect_of_a_simulator() -> None:
    """The app is killed while it sends, which is what the harness is for."""
    assert problems_of_wave(played(ready_run(), simulators={"dataverse": WENT_AWAY})) == []


def test_jobs_rest_until_shortly_after_midnight_utc() -> None:
    """LinkedIn's daily quota is new at midnight UTC."""
    midnight = datetime(2026, 11, 25, tzinfo=UTC)
    good = {"run": 1, "due": (midnight + timedelta(minutes=8)).isoformat(), "message": "LinkedIn's daily quota is used up."}

    assert problems_of_wave(played(ready_run(), parked=[good])) == []
    late = good | {"due": (midnight + timedelta(hours=3)).isoformat()}
    assert "instead of shortly after midnight" in problems_of_wave(played(ready_run(), parked=[late]))[0]
    assert "its row says" in problems_of_wave(played(ready_run(), parked=[good | {"message": "?"}]))[0]


# ------------------------------------------------------------------ what is told


def test_a_table_goes_between_its_markers_and_nowhere_else(tmp_path: Path) -> None:
    """The page is written by people and by the harness."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- chaos: begin -->\nold\n<!-- chaos: end -->\n\nEnd\n", encoding="utf-8")
    report.replace("chaos", ["| a |", "|---|"], page)

    assert page.read_text("utf-8") == "# Page\n\n<!-- chaos: begin -->\n| a |\n|---|\n<!-- chaos: end -->\n\nEnd\n"
    with pytest.raises(ValueError, match="has no place for burst"):
        report.replace("burst", [], page)


def test_the_page_has_a_place_for_both_tables() -> None:
    """Otherwise twenty minutes of chaos end in an error."""
    text = report.PAGE.read_text("utf-8")

    for name in (report.CHAOS, report.BURST):
        assert f"<!-- {name}: begin -->" in text
        assert f"<!-- {name}: end -->" in text


@pytest.mark.parametrize(("share", "expected"), [(50, 50), (99, 99), (100, 100), (0.1, 1)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    """An average of the slow and the fast hides the slow."""
    assert percentile([float(number) for number in range(1, 101)], share) == expected


def test_runs_that_go_live_are_never_deleted_or_cancelled() -> None:
    """The row of a segment that goes live has no id before it is there."""
    runs = [run for seed in range(5) for number in range(4) for run in plan_wave(seed, number).runs if run.acts]

    assert runs
    assert all(run.trigger != LIVE for run in runs)
    assert READY in {run.end for run in runs}
