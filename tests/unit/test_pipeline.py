"""The main road on ports in memory: what a job does with commands, errors, duplicates and crashes."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import pytest

from sandbox.memory import MemoryClock, MemoryFiles, MemoryJobs, MemoryQueue, MemorySignIns
from shared.dataverse.schema import Audience as Column
from shared.dataverse.schema import Command, Origin, Result, Status
from shared.domain.audiences import Audience, Request, State
from shared.domain.jobs import Step
from shared.domain.members import read_page
from shared.domain.parts import Exclusions
from shared.domain.segments import Kind, Segment, SegmentRef
from shared.domain.signins import AdAccount, SignIn
from shared.errors import (
    AccessTokenExpired,
    AudienceSyncError,
    ConfigurationWrong,
    OutcomeUnknown,
    PageLinkExpired,
    RemoteUnavailable,
    RowGone,
    SomebodyElseChangedIt,
    Throttled,
)
from shared.pipeline import sentences
from shared.pipeline.check import Check
from shared.pipeline.collect import Collect
from shared.pipeline.confirm import Confirm
from shared.pipeline.create import Create
from shared.pipeline.going_live import GoingLive
from shared.pipeline.plan import Plan
from shared.pipeline.runner import Runner
from shared.pipeline.stretch import Desk, Pace
from shared.pipeline.tokens import TokenKeeper
from shared.pipeline.upload import Upload
from shared.pipeline.wait import Wait
from shared.ports import BatchOutcome, LiveMark, Message, RangeReader, SourcePage

USER = "11111111-1111-1111-1111-111111111111"
ACCOUNT = "urn:li:sponsoredAccount:512345678"
ROW = "22222222-2222-2222-2222-222222222222"
SEGMENT = SegmentRef("list", "33333333-3333-3333-3333-333333333333")


def addresses(count: int) -> list[str]:
    """Return this many addresses on a reserved domain."""
    return [f"member{number}@example.com" for number in range(count)]


def digest(address: str) -> bytes:
    """Return what LinkedIn holds of an address, computed apart from the product."""
    return sha256(address.encode()).digest()


@dataclass
class Rows:
    """A Dataverse that holds one row and one segment record, and can be told to fail."""

    row: dict[str, Any] | None = None
    etag: int = 1
    record: dict[str, Any] = field(default_factory=dict)
    left_out: bytes = b""
    failures: list[AudienceSyncError] = field(default_factory=list)
    writes: int = 0

    def ask(self, command: Command, **changes: Any) -> None:
        """Set a command on the row as the tab does."""
        self.row = (self.row or {}) | {"lima_command": command, "lima_commandid": str(uuid4()), **changes}
        self.etag += 1

    def read_request(self, row_id: str) -> Request | None:
        if self.row is None:
            return None
        row = self.row
        return Request(
            row_id=row_id,
            etag=str(self.etag),
            name=row.get("lima_name") or "",
            segment_table=SEGMENT.table,
            segment_id=SEGMENT.id,
            segment_name=row.get("lima_segmentname") or "",
            status=row.get("lima_status") or 0,
            command=row.get("lima_command"),
            command_id=row.get("lima_commandid") or "",
            origin=row.get("lima_origin", Origin.PERSON),
            small_confirmed=bool(row.get("lima_smallconfirmed")),
            owner=USER,
            sign_in_user=None,
            ad_account=row.get("lima_adaccount") or "",
            ad_account_name="",
            correlation="",
        )

    def update_audience(self, row_id: str, changes: Mapping[Any, Any], *, etag: str | None = None) -> None:
        if self.failures:
            raise self.failures.pop(0)
        if self.row is None:
            raise RowGone(row_id)
        if etag is not None and etag != str(self.etag):
            raise SomebodyElseChangedIt(row_id)
        self.row |= {str(name): value for name, value in changes.items()}
        self.etag += 1
        self.writes += 1

    def write_result(self, ref: SegmentRef, changes: Mapping[Any, Any]) -> None:
        assert ref == SEGMENT
        self.record |= {str(name): value for name, value in changes.items()}

    def attach_left_out(self, row_id: str, content: Iterable[bytes]) -> None:
        assert row_id == ROW
        self.left_out = b"".join(content)

    def status(self) -> Status:
        assert self.row is not None
        return Status(self.row["lima_status"])

    @property
    def message(self) -> str:
        assert self.row is not None
        return str(self.row["lima_statusmessage"])


@dataclass
class Members:
    """A segment whose pages can fail."""

    pages_of: list[list[str | None]]
    live: bool = True
    static: bool = True
    failures: list[AudienceSyncError] = field(default_factory=list)
    opt_outs: list[str] = field(default_factory=list)
    reads: int = 0

    def look_up(self, ref: SegmentRef) -> Segment:
        return Segment(ref, Kind.LIST, "Autumn", self.static, self.live, "contact")

    def list_ids(self, segment: Segment) -> Iterator[bytes] | None:
        del segment
        return None

    def pages(self, segment: Segment, cursor: str, ids: RangeReader | None) -> Iterator[SourcePage]:
        del segment, ids
        for number in range(int(cursor or 0), len(self.pages_of)):
            self.reads += 1
            if self.failures and number == len(self.pages_of) - 1:
                raise self.failures.pop(0)
            last = number == len(self.pages_of) - 1
            yield SourcePage(read_page(self._body(number)).rows, None if last else str(number + 1))

    def _body(self, number: int) -> bytes:
        rows = [
            {"contactid": str(UUID(int=number * 1_000_000 + place)), "emailaddress1": address, "statecode": 0}
            for place, address in enumerate(self.pages_of[number])
        ]
        return json.dumps({"value": rows}).encode()

    def opted_out(self, cursor: str) -> Iterator[tuple[list[str], str | None]]:
        del cursor
        if self.opt_outs:
            yield self.opt_outs, None


@dataclass
class LinkedInBox:
    """A LinkedIn that remembers audiences and can misbehave before or after the effect."""

    audiences: dict[str, set[bytes]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    states: list[State] = field(default_factory=lambda: [State.BUILDING, State.READY])
    role: str | None = "CAMPAIGN_MANAGER"
    before: dict[str, list[AudienceSyncError]] = field(default_factory=dict)
    after: dict[str, list[AudienceSyncError]] = field(default_factory=dict)
    hidden: int = 0
    found_state: State = State.BUILDING
    calls: list[str] = field(default_factory=list)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.before.get(name):
            raise self.before[name].pop(0)

    def _called(self, name: str) -> None:
        if self.after.get(name):
            raise self.after[name].pop(0)

    def ad_account(self, token: str, urn: str) -> AdAccount | None:
        self._call("ad_account")
        return AdAccount(urn, "Contoso", "EUR", "ACTIVE", self.role)

    def find_audience(self, token: str, account: str, key: str) -> Audience | None:
        self._call("find")
        if self.hidden:
            self.hidden -= 1
            return None
        found = self.keys.get(key)
        return Audience(found, "", account, self.found_state) if found else None

    def create_audience(self, token: str, account: str, key: str, name: str) -> str:
        self._call("create")
        made = str(len(self.audiences) + 1)
        self.audiences[made], self.keys[key] = set(), made
        self._called("create")
        return made

    def add_members(self, token: str, audience_id: str, digests: bytes) -> BatchOutcome | None:
        self._call("add")
        size = len(digests) // 32
        self.audiences[audience_id] |= {digests[at * 32 : at * 32 + 32] for at in range(size)}
        self._called("add")
        return BatchOutcome(size, 0, {})

    def read_audience(self, token: str, audience_id: str) -> Audience | None:
        self._call("read")
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        counted = state is State.READY
        return Audience(
            audience_id, "", ACCOUNT, state, "urn:li:adSegment:1", 100 if counted else None, 60 if counted else None, 55
        )


class Refresher:
    """LinkedIn's OAuth, which renews as long as it is allowed to."""

    renewed = 0

    def refresh(self, sign_in: SignIn, now: datetime) -> SignIn:
        self.renewed += 1
        return replace(sign_in, access_token="fresh", expires=now + timedelta(days=60))


class Road:
    """The whole pipeline on memory, with a hand on every part."""

    def __init__(self, members: Members, *, batch: int = 100, part: int = 10_000, signed_in: bool = True) -> None:
        self.clock = MemoryClock()
        self.rows, self.members, self.linkedin = Rows(), members, LinkedInBox()
        self.jobs, self.queue, self.files = MemoryJobs(), MemoryQueue(self.clock), MemoryFiles(self.clock)
        now = self.clock.now()
        sign_in = SignIn(USER, "token", now, now + timedelta(days=60), "refresh", now + timedelta(days=365))
        self.sign_ins = MemorySignIns({USER: sign_in} if signed_in else {})
        self.oauth = Refresher()
        self.runner = self.new_runner(batch, part)

    def new_runner(self, batch: int = 100, part: int = 10_000) -> Runner:
        tokens = TokenKeeper(self.sign_ins, self.oauth, self.clock)  # type: ignore[arg-type]
        confirm = Confirm(self.linkedin, tokens, self.clock, first=30, longest=600, patience=timedelta(hours=72))  # type: ignore[arg-type]
        steps: dict[Step, Any] = {
            Step.CHECK: Check(self.members, snapshots_allowed=False),
            Step.COLLECT: Collect(self.members, self.files, self.clock, exclusions=Exclusions(), part_members=part),
            Step.PLAN: Plan(self.files, self.rows, left_out_limit=1000),  # type: ignore[arg-type]
            Step.WAIT: Wait(tokens),
            Step.CREATE: Create(
                self.linkedin,  # type: ignore[arg-type]
                tokens,
                self.clock,
                link="https://lnkd.example/{account}",
                settle_seconds=5,
                claim=timedelta(minutes=3),
            ),
            Step.UPLOAD: Upload(
                self.linkedin,  # type: ignore[arg-type]
                self.files,
                tokens,
                self.clock,
                batch_size=batch,
                parallel=2,
                patience=timedelta(minutes=10),
            ),
            Step.CONFIRM: confirm,
            Step.WATCH: confirm,
        }
        pace = Pace(timedelta(seconds=45), timedelta(seconds=2))
        desk = Desk(self.jobs, self.rows, self.queue, self.clock, pace)  # type: ignore[arg-type]
        return Runner(desk, self.files, steps)

    def ring(self) -> None:
        """Deliver a doorbell for the row."""
        self.queue.send(Message("audience", ROW))

    def drive(self, until: Callable[[], bool] = lambda: False, most: int = 400) -> None:
        """Handle messages until none is left, the audience is only watched, or `until`."""
        for _ in range(most):
            loaded = self.jobs.load(ROW)
            if until() or (loaded and loaded[0].step is Step.WATCH and not loaded[0].owes_row):
                return
            message = self.queue.take()
            if message is None:
                return
            self.runner.handle(message)
        raise AssertionError("the job never came to rest")

    def press(self, command: Command, **changes: Any) -> None:
        """Press a button of the tab and let everything run."""
        self.rows.ask(command, **changes)
        self.ring()
        self.drive()

    @property
    def held(self) -> set[bytes]:
        """All members LinkedIn holds."""
        return set().union(*self.linkedin.audiences.values())


@pytest.fixture
def road() -> Road:
    """Return a road to an audience of 400 members on four pages."""
    names = addresses(400)
    return Road(Members([list(names[at : at + 100]) for at in range(0, 400, 100)]))


def test_a_person_checks_then_creates_and_the_audience_holds_exactly_the_members(road: Road) -> None:
    """The whole road, as the tab walks it."""
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)
    assert road.rows.status() == Status.READY_TO_CREATE
    assert not road.linkedin.audiences

    road.press(Command.CREATE)

    assert road.rows.status() == Status.READY
    assert road.held == {digest(address) for address in addresses(400)}
    assert road.rows.record[Result.STATUS] == Status.READY
    assert road.rows.record[Result.SENT] == 400


def test_nothing_reaches_linkedin_before_the_person_says_create(road: Road) -> None:
    """The counts come first; the decision is the person's."""
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)

    assert road.linkedin.calls == []


def test_a_row_created_with_an_account_and_the_command_create_needs_no_person(road: Road) -> None:
    """Any automation can do the same by creating one row."""
    road.press(Command.CREATE, lima_adaccount=ACCOUNT, lima_origin=Origin.AUTOMATION)

    assert road.rows.status() == Status.READY


def test_an_automatic_run_with_too_few_members_stops_as_too_small() -> None:
    """Nobody is there who could say the second yes."""
    road = Road(Members([list(addresses(299))]))
    road.press(Command.CREATE, lima_adaccount=ACCOUNT, lima_origin=Origin.AUTOMATION)

    assert road.rows.status() == Status.TOO_SMALL
    assert "299" in road.rows.message
    assert not road.linkedin.audiences


def test_a_person_has_to_say_yes_twice_to_a_small_audience() -> None:
    """Below 300 LinkedIn will not serve it, so one press is not enough."""
    road = Road(Members([list(addresses(299))]))
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)
    road.press(Command.CREATE)
    assert road.rows.status() == Status.READY_TO_CREATE
    assert sentences.SECOND_YES in road.rows.message

    road.press(Command.CREATE, lima_smallconfirmed=True)

    assert road.rows.status() == Status.READY


def test_a_segment_without_usable_members_is_refused_with_the_number() -> None:
    """An audience of nobody helps nobody."""
    road = Road(Members([["nobody", None, "also nobody"]]))
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)

    assert road.rows.status() == Status.NOT_ALLOWED
    assert "None of the 3 members" in road.rows.message


def test_an_empty_segment_is_refused_in_its_own_words() -> None:
    """Nobody wants to read of none of the 0 members."""
    road = Road(Members([[]]))
    road.press(Command.CHECK)

    assert road.rows.status() == Status.NOT_ALLOWED
    assert road.rows.message == sentences.EMPTY_SEGMENT


@pytest.mark.parametrize(("live", "static", "word"), [(False, True, "not live"), (True, False, "dynamic")])
def test_a_segment_that_is_not_live_or_not_static_is_refused_with_the_reason(live: bool, static: bool, word: str) -> None:
    """The rules of the feature that was removed."""
    road = Road(Members([list(addresses(1))], live=live, static=static))
    road.press(Command.CHECK)

    assert road.rows.status() == Status.NOT_ALLOWED
    assert word in road.rows.message


def test_without_a_sign_in_the_job_waits_and_goes_on_when_it_comes(road: Road) -> None:
    """The members are read meanwhile."""
    sign_in = road.sign_ins.known.pop(USER)
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)
    assert road.rows.status() == Status.WAITING_FOR_SIGN_IN

    road.sign_ins.save(sign_in)
    road.runner.wake(ROW)
    road.drive()

    assert road.rows.status() == Status.READY


def test_without_an_ad_account_the_job_waits_for_one(road: Road) -> None:
    """The person chooses after the members are read."""
    road.press(Command.CHECK)
    assert road.rows.status() == Status.WAITING_FOR_AD_ACCOUNT

    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert road.rows.status() == Status.READY


def test_an_account_in_which_the_person_only_views_is_refused_and_can_be_changed(road: Road) -> None:
    """LinkedIn lets a VIEWER write nothing."""
    road.linkedin.role = "VIEWER"
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)
    assert road.rows.status() == Status.WAITING_FOR_AD_ACCOUNT

    road.linkedin.role = "ACCOUNT_MANAGER"
    road.press(Command.CREATE)

    assert road.rows.status() == Status.READY


def test_an_unclear_answer_to_the_create_never_makes_a_second_audience(road: Road) -> None:
    """LinkedIn knows no idempotency key; the connection broke after the effect, and the finder lags behind."""
    road.linkedin.after["create"] = [OutcomeUnknown("gone")]
    road.linkedin.hidden = 3
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert road.rows.status() == Status.READY
    assert len(road.linkedin.audiences) == 1


def test_a_create_that_never_happened_is_done_after_looking_several_times(road: Road) -> None:
    """The other half of an unclear answer."""
    road.linkedin.before["create"] = [OutcomeUnknown("gone")]
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert road.rows.status() == Status.READY
    assert road.linkedin.calls.count("find") >= 3


def test_a_batch_that_is_sent_twice_does_no_harm(road: Road) -> None:
    """The answer was lost, so it is sent again."""
    road.linkedin.after["add"] = [OutcomeUnknown("gone"), OutcomeUnknown("gone")]
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert road.held == {digest(address) for address in addresses(400)}
    assert road.rows.row is not None
    assert road.rows.row[Column.SENT] == 400


def test_an_expired_access_token_is_refreshed_once_and_the_call_repeated(road: Road) -> None:
    """Nobody has to sign in while LinkedIn still grants a refresh."""
    road.linkedin.before["add"] = [AccessTokenExpired("expired")]
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert road.rows.status() == Status.READY
    assert road.oauth.renewed == 1


def test_a_sign_in_that_ends_in_mid_upload_stops_the_job_where_it_is(road: Road) -> None:
    """After signing in again it goes on with the batches that are left, into the same audience."""
    road.linkedin.before["add"] = [AccessTokenExpired("expired")] * 40
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)
    assert road.rows.status() == Status.WAITING_FOR_SIGN_IN

    road.linkedin.before["add"] = []
    road.runner.wake(ROW)
    road.drive()

    assert road.rows.status() == Status.READY
    assert len(road.linkedin.audiences) == 1


def test_throttling_without_a_hint_parks_the_job_until_after_midnight_utc(road: Road) -> None:
    """LinkedIn names no Retry-After; its daily quota returns at midnight."""
    road.linkedin.before["add"] = [Throttled("slow down")] * 7
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert road.rows.status() == Status.READY
    assert road.clock.now().date().isoformat() == "2026-11-24"


def test_an_expired_page_link_starts_the_reading_over_without_losing_or_doubling(road: Road) -> None:
    """What was read before belongs to an abandoned round."""
    road.members.failures = [PageLinkExpired("expired")]
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert road.rows.status() == Status.READY
    assert road.rows.row is not None
    assert road.rows.row[Column.MEMBERS] == 400
    assert road.held == {digest(address) for address in addresses(400)}


def test_a_step_that_keeps_failing_ends_the_job_with_a_sentence_and_can_be_retried(road: Road) -> None:
    """Nobody should have to guess what to do."""
    road.linkedin.before["find"] = [RemoteUnavailable("LinkedIn did not answer.")] * 30
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)
    assert road.rows.status() == Status.FAILED
    assert "Press Retry" in road.rows.message
    assert road.rows.record[Result.STATUS] == Status.FAILED

    road.linkedin.before["find"] = []
    road.press(Command.RETRY)

    assert road.rows.status() == Status.READY


def test_a_defect_of_our_own_ends_the_job_soon_and_names_the_correlation_id(road: Road) -> None:
    """A developer has to look, and needs a handle."""
    road.members.failures = [ZeroDivisionError("planted")] * 10  # type: ignore[list-item]
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert road.rows.status() == Status.FAILED
    job = road.jobs.load(ROW)
    assert job is not None
    assert job[0].correlation in road.rows.message


def test_a_wrong_setting_ends_the_job_at_once(road: Road) -> None:
    """Repeating would not help."""
    road.linkedin.before["find"] = [ConfigurationWrong("Raise LINKEDIN_VERSION.")]
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert road.rows.status() == Status.FAILED
    assert road.linkedin.calls.count("find") == 1


def test_the_segment_record_tells_why_its_segment_was_refused() -> None:
    """Whoever looks at the segment sees what became of the request, even when nothing of the segment was read."""
    road = Road(Members([list(addresses(1))], live=False))
    road.press(Command.CHECK)

    assert road.rows.record["lima_linkedinstatus"] == Status.NOT_ALLOWED
    assert road.rows.record["lima_linkedinmessage"] == road.rows.message


def test_cancel_stops_a_job_that_waits_and_tells_what_was_sent(road: Road) -> None:
    """Nothing was sent yet, and the sentence says so."""
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)
    road.press(Command.CANCEL)

    assert road.rows.status() == Status.CANCELLED
    assert road.rows.message == sentences.CANCELLED_BEFORE_SENDING


def test_a_running_job_is_cancelled_by_a_command_in_between(road: Road) -> None:
    """The stretch at work finds itself superseded and stops; the row shows the newer state."""
    pressed: list[bool] = []
    original = road.linkedin.add_members

    def add_and_cancel(token: str, audience_id: str, digests: bytes) -> BatchOutcome | None:
        if not pressed:
            pressed.append(True)
            road.rows.ask(Command.CANCEL)
            road.new_runner().handle(Message("audience", ROW))
        return original(token, audience_id, digests)

    road.linkedin.add_members = add_and_cancel  # type: ignore[method-assign]
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert road.rows.status() == Status.CANCELLED
    assert len(road.held) < 400


def test_a_deleted_row_ends_everything_that_is_kept_of_it(road: Road) -> None:
    """Nobody waits for the job any more, and its files are personal data."""
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)
    road.rows.row = None
    road.ring()
    road.drive()

    assert road.jobs.rows == {}
    assert road.files.stored == {}


def test_a_result_that_could_not_be_written_is_written_later(road: Road) -> None:
    """The job is saved first and owes the row."""
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)
    road.rows.ask(Command.CREATE)
    road.ring()
    road.drive(until=lambda: len(road.linkedin.states) == 1)
    road.rows.failures = [RemoteUnavailable("503")] * 4
    road.drive()

    assert road.rows.status() == Status.READY
    assert road.rows.record[Result.STATUS] == Status.READY


def test_every_message_delivered_twice_and_stale_ones_again_change_nothing(road: Road) -> None:
    """At-least-once delivery has one visible effect; without the fence each duplicate would start a chain of its own."""
    road.rows.ask(Command.CREATE, lima_adaccount=ACCOUNT)
    seen: list[Message] = []
    road.ring()
    handled = 0
    while (message := road.queue.take()) is not None and handled < 300:
        seen.append(message)
        for again in (message, message, *seen[-3:]):
            road.runner.handle(again)
            handled += 1
        loaded = road.jobs.load(ROW)
        if loaded and loaded[0].step is Step.WATCH:
            break

    assert road.rows.status() == Status.READY
    assert handled < 100
    assert len(road.linkedin.audiences) == 1
    assert road.held == {digest(address) for address in addresses(400)}


def test_a_worker_killed_between_any_two_effects_leaves_nothing_behind() -> None:
    """Every save and every outside call is a place to die; the message then comes again."""
    names = addresses(400)
    for fatal in range(1, 60):
        mortal = Road(Members([list(names[at : at + 100]) for at in range(0, 400, 100)]))
        mortal.rows.ask(Command.CREATE, lima_adaccount=ACCOUNT)
        mortal.ring()
        deliver, began = mortal.queue.send, mortal.clock.now()
        _die_once(mortal, fatal)
        for _ in range(200):
            loaded = mortal.jobs.load(ROW)
            if loaded and loaded[0].step is Step.WATCH and not loaded[0].owes_row:
                break
            message = mortal.queue.take()
            if message is None:  # lost between saving and sending: upkeep sends it again
                mortal.clock.advance(901)
                for job_id, fence in mortal.jobs.overdue(mortal.clock.now() - timedelta(seconds=900)):
                    deliver(Message("audience", job_id, fence))
                continue
            try:
                mortal.runner.handle(message)
            except KeyboardInterrupt:
                deliver(message, delay_seconds=600)

        assert mortal.rows.status() == Status.READY, fatal
        assert len(mortal.linkedin.audiences) == 1, fatal
        assert mortal.held == {digest(address) for address in names}, fatal
        assert mortal.rows.record[Result.STATUS] == Status.READY, fatal
        assert mortal.clock.now() - began < timedelta(hours=3), fatal


def _die_once(road: Road, after: int) -> None:
    """Let the worker die at the `after`th effect, once before and once after it is done by turns."""
    count = 0

    def mortal(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == after and after % 2:
                raise KeyboardInterrupt
            result = call(*args, **kwargs)
            if count == after:
                raise KeyboardInterrupt
            return result

        return wrapped

    for part, names in (
        (road.jobs, ("save", "create")),
        (road.rows, ("update_audience", "write_result", "attach_left_out")),
        (road.queue, ("send",)),
        (road.files, ("write",)),
        (road.linkedin, ("create_audience", "add_members", "find_audience")),
    ):
        for name in names:
            setattr(part, name, mortal(getattr(part, name)))


def test_members_left_out_are_listed_with_a_reason_and_no_address(road: Road) -> None:
    """The list is for correcting records; it must not carry what it is about."""
    road.members.pages_of[0][:3] = ["broken at example.com", None, "MEMBER50@Example.com "]
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)

    lines = road.rows.left_out.decode("utf-8-sig").splitlines()
    assert lines[0] == "contactid,reason,explanation"
    assert len(lines) == 4
    assert "@" not in "".join(lines)


def test_opted_out_addresses_are_taken_out_whatever_their_case(road: Road) -> None:
    """Consent belongs to the address, not to the contact."""
    road.members.opt_outs = ["Member7@EXAMPLE.com"]
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)

    assert digest("member7@example.com") not in road.held
    assert road.rows.row is not None
    assert road.rows.row[Column.OPTED_OUT] == 1
    assert road.rows.row[Column.ELIGIBLE] == 399


def test_members_lists_that_were_tidied_away_are_read_again(road: Road) -> None:
    """A job may wait for a person longer than lists are kept."""
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)
    road.files.stored.clear()
    road.press(Command.CREATE)

    assert road.rows.status() == Status.READY
    assert len(road.held) == 400


def test_an_audience_linkedin_dropped_is_made_again_under_a_new_key(road: Road) -> None:
    """An expired audience takes no members; the foreign key of the old one must not be found again."""
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)
    road.linkedin.states = [State.EXPIRED]
    loaded = road.jobs.load(ROW)
    assert loaded is not None
    road.runner.wake(ROW)
    message = road.queue.take()
    assert message is not None
    road.runner.handle(message)
    assert road.rows.status() == Status.EXPIRED

    road.linkedin.found_state = State.EXPIRED
    road.linkedin.states = [State.READY]
    road.press(Command.RETRY)

    assert road.rows.status() == Status.READY
    assert len(road.linkedin.audiences) == 2
    assert road.linkedin.audiences["2"] == {digest(address) for address in addresses(400)}


def test_a_ready_audience_stays_ready_when_the_sign_in_ends(road: Road) -> None:
    """Sixty days later nobody may be signed in, and the audience is as ready as before."""
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)
    road.sign_ins.known.clear()
    for _ in range(3):
        message = road.queue.take()
        assert message is not None
        road.runner.handle(message)

    assert road.rows.status() == Status.READY


def test_cancel_comes_too_late_for_a_ready_audience(road: Road) -> None:
    """It is in Campaign Manager already, and the row must not say otherwise."""
    road.press(Command.CREATE, lima_adaccount=ACCOUNT)
    road.press(Command.CANCEL)

    assert road.rows.status() == Status.READY


class LiveRows:
    """A segment record that went live, and the rows made of it."""

    def __init__(self, *, set_by: str | None = USER) -> None:
        self.mark = LiveMark(True, True, ACCOUNT, "Contoso", set_by, "Autumn", "version 1")
        self.refuses = False
        self.made: list[str] = []
        self.results: list[Mapping[Any, Any]] = []

    def live_mark(self, ref: SegmentRef) -> LiveMark | None:
        assert ref == SEGMENT
        if self.refuses:
            raise ConfigurationWrong("The app is refused.")
        return self.mark

    def went_live_since(self, ref: SegmentRef, since: datetime) -> bool:
        assert ref == SEGMENT
        assert since
        return bool(self.made)

    def create_audience(self, row_id: str, values: Mapping[Any, Any], *, owner: str | None) -> bool:
        assert values[Column.ORIGIN] == Origin.WENT_LIVE
        assert owner == USER
        self.made.append(row_id)
        return True

    def write_result(self, ref: SegmentRef, changes: Mapping[Any, Any]) -> None:
        assert ref == SEGMENT
        self.results.append(changes)


def test_one_going_live_told_by_several_events_makes_one_row() -> None:
    """Dataverse tells of "going live" and of "live", each with its own operation; both look at the same record."""
    rows, clock = LiveRows(), MemoryClock()
    going_live = GoingLive(rows, MemoryQueue(clock), clock)  # type: ignore[arg-type]
    for correlation in ("first", "second"):
        going_live.handle(Message("live", SEGMENT.id, table=SEGMENT.table, correlation=correlation))

    assert len(rows.made) == 1


def test_a_going_live_outlasts_a_refused_app() -> None:
    """Nothing else speaks of it again, so it is still there when the administrator has mended the app's sign-in next day."""
    rows, clock = LiveRows(), MemoryClock()
    queue = MemoryQueue(clock)
    going_live = GoingLive(rows, queue, clock)  # type: ignore[arg-type]
    rows.refuses = True
    message, began = Message("live", SEGMENT.id, table=SEGMENT.table), clock.now()
    while clock.now() - began < timedelta(hours=30):
        going_live.handle(message)
        found = queue.take()
        assert found is not None
        message = found
    rows.refuses = False
    going_live.handle(message)

    assert len(rows.made) == 1


def test_a_mark_without_a_person_says_so_on_the_record() -> None:
    """There is no sign-in to run with, and somebody should learn why nothing happens."""
    rows, clock = LiveRows(set_by=None), MemoryClock()
    GoingLive(rows, MemoryQueue(clock), clock).handle(Message("live", SEGMENT.id, table=SEGMENT.table))  # type: ignore[arg-type]

    assert rows.made == []
    assert rows.results[0][Result.MESSAGE] == sentences.LIVE_WITHOUT_USER


def test_retry_begins_anew_when_the_engine_has_lost_its_memory(road: Road) -> None:
    """The storage account may be lost; the rows in Dataverse are still there."""
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)
    road.jobs.rows.clear()
    road.press(Command.RETRY)

    assert road.rows.status() == Status.READY_TO_CREATE


def test_a_row_that_may_never_be_written_is_given_up_in_the_end(road: Road) -> None:
    """A missing privilege does not go away by asking every five minutes for ever."""
    road.press(Command.CHECK, lima_adaccount=ACCOUNT)
    road.rows.ask(Command.CANCEL)
    road.ring()
    road.rows.write_result = lambda *_: (_ for _ in ()).throw(ConfigurationWrong("no privilege"))  # type: ignore[method-assign]
    road.drive()

    assert road.queue.take() is None
