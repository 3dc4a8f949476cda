"""Our rows and the result columns in Dataverse, as the installed product's own user writes them."""

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from sandbox import tokens
from sandbox.dataverse import DataverseSimulator, seeds
from sandbox.web import Fault, InProcess
from shared.dataverse.client import DataverseClient
from shared.dataverse.records import DataverseRecords
from shared.dataverse.schema import (
    AUDIENCE_SET,
    AUDIENCE_TABLE,
    SIGN_IN_SET,
    Audience,
    Command,
    Origin,
    Result,
    SignIn,
    SignInCommand,
    SignInStatus,
    Status,
)
from shared.domain.segments import SegmentRef
from shared.errors import ConfigurationWrong, RowGone, SomebodyElseChangedIt, Throttled
from shared.http import HttpClient, new_session
from solution.install import install
from solution.web import DataverseWeb

URL = "https://contoso.crm4.dynamics.com"
WORKER = "11111111-1111-4111-8111-111111111111"
MARKETER = seeds.MARKETERS[0]
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
TABLES = {"realtime": "msdynmkt_segmentdefinition", "list": "list", "outbound": "msdyncrm_segment"}


class Tokens:
    """A token source for one application."""

    def __init__(self, application: str) -> None:
        self.application = application

    def token(self) -> str:
        """Return a token that the environment accepts."""
        return tokens.issue(appid=self.application, audience=URL, now=time.time())

    def forget(self, refused: str) -> None:
        """Nothing to forget."""


class Environment:
    """One environment with the product installed: as the worker sees it, and as an administrator does."""

    def __init__(self, *, installed: bool = True) -> None:
        self.simulator = DataverseSimulator()
        session = new_session()
        session.mount(URL, InProcess(self.simulator))
        http = HttpClient(URL, name="Dataverse", session=session)
        administrator = Tokens(seeds.ADMINISTRATOR_APPLICATION)
        if installed:
            install(DataverseWeb(http, lambda: {"Authorization": f"Bearer {administrator.token()}"}), app_user=WORKER)
        self.admin = DataverseClient(http, administrator)
        self.client = DataverseClient(http, Tokens(WORKER if installed else seeds.ADMINISTRATOR_APPLICATION))
        self.records = self.view()

    def view(self, live_statuses: frozenset[int] = frozenset({723270000, 723270004})) -> DataverseRecords:
        """Return the records as another process of the product would see them."""
        return DataverseRecords(self.client, live_statuses=live_statuses)

    def row(self, row_id: str) -> dict[str, Any]:
        """Return an audience row as Dataverse holds it."""
        return next(row for row in self.simulator.table(AUDIENCE_TABLE) if row[Audience.ID] == row_id)

    def ask(self, **values: Any) -> str:
        """Create an audience row as a person's tab does, and return its id."""
        row_id = str(uuid4())
        body = {
            Audience.ID: row_id,
            "ownerid@odata.bind": f"/systemusers({MARKETER})",
            **{str(Audience[k]): v for k, v in values.items()},
        }
        self.admin.create(AUDIENCE_SET, body, "create a row")
        return row_id

    def sign_in_row(self, owner: str = MARKETER, **values: Any) -> str:
        """Create a sign-in row as a person's tab does, and return its id."""
        body = {"ownerid@odata.bind": f"/systemusers({owner})", **{str(SignIn[k]): v for k, v in values.items()}}
        return self.admin.create(SIGN_IN_SET, body, "create a row") or ""

    def segment(self, kind: str) -> SegmentRef:
        """Make a segment."""
        made = self.simulator.make_segment(kind, members=[])
        return SegmentRef(TABLES[kind], made["definition" if kind == "realtime" else kind])


@pytest.fixture
def environment() -> Environment:
    """Return a fresh environment with the product installed."""
    return Environment()


# ------------------------------------------------------------------ audience rows


def test_a_row_says_what_a_person_asks_for(environment: Environment) -> None:
    """Everything that the job needs comes with one request."""
    row_id = environment.ask(
        NAME="Spring",
        SEGMENT_TABLE="list",
        SEGMENT_ID="5",
        SEGMENT_NAME="Guests",
        STATUS=Status.REQUESTED,
        COMMAND=Command.CREATE,
        COMMAND_ID="c1",
        ORIGIN=Origin.PERSON,
        SMALL_CONFIRMED=True,
        AD_ACCOUNT="urn:li:sponsoredAccount:1",
        AD_ACCOUNT_NAME="Contoso",
    )

    request = environment.records.read_request(row_id)

    assert request is not None
    assert (request.row_id, request.name, request.segment_table, request.segment_id) == (row_id, "Spring", "list", "5")
    assert (request.status, request.command, request.command_id) == (Status.REQUESTED, Command.CREATE, "c1")
    assert (request.origin, request.small_confirmed, request.owner) == (Origin.PERSON, True, MARKETER)
    assert (request.ad_account, request.ad_account_name) == ("urn:li:sponsoredAccount:1", "Contoso")
    assert request.sign_in_user is None
    assert request.signs_in_as == MARKETER
    assert request.etag.startswith('W/"')


def test_a_row_that_is_gone_asks_for_nothing(environment: Environment) -> None:
    """Its job is forgotten."""
    assert environment.records.read_request(str(uuid4())) is None


def test_an_empty_row_has_defaults(environment: Environment) -> None:
    """An automation fills in as little as it likes."""
    request = environment.records.read_request(environment.ask())

    assert request is not None
    assert request.status == Status.REQUESTED
    assert (request.name, request.segment_table, request.ad_account) == ("", "", "")


def test_what_is_written_is_absolute_and_plain(environment: Environment) -> None:
    """Times in UTC, choices as numbers, None clears."""
    row_id = environment.ask(COMMAND=Command.CREATE)
    when = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    changes: dict[str, Any] = {
        Audience.STATUS: Status.UPLOADING,
        Audience.COMMAND: None,
        Audience.STARTED: when,
        Audience.MATCH_RATE: 41.25,
    }

    for _ in range(2):
        environment.records.update_audience(row_id, changes)

    row = environment.row(row_id)
    assert (row[Audience.STATUS], row.get(Audience.COMMAND)) == (Status.UPLOADING, None)
    assert (row[Audience.STARTED], row[Audience.MATCH_RATE]) == ("2026-11-23T12:00:00Z", 41.25)


def test_whose_sign_in_is_used_is_written_and_read_as_a_person(environment: Environment) -> None:
    """A lookup is bound by its navigation property and cleared again."""
    row_id = environment.ask()

    administrator = DataverseRecords(environment.admin, live_statuses=frozenset())  # the app itself has no need to write it

    administrator.update_audience(row_id, {Audience.SIGN_IN_USER: seeds.MARKETERS[1]})
    bound = environment.records.read_request(row_id)
    administrator.update_audience(row_id, {Audience.SIGN_IN_USER: None})
    cleared = environment.records.read_request(row_id)

    assert bound is not None
    assert bound.signs_in_as == seeds.MARKETERS[1]
    assert cleared is not None
    assert cleared.sign_in_user is None


def test_a_deleted_row_is_never_made_again(environment: Environment) -> None:
    """Who deletes a row does not want it back."""
    row_id = environment.ask()
    environment.admin.delete(f"{AUDIENCE_SET}({row_id})", "delete a row")

    with pytest.raises(RowGone):
        environment.records.update_audience(row_id, {Audience.PROGRESS: 5})
    with pytest.raises(RowGone):
        environment.records.attach_left_out(row_id, [b"x"])
    assert environment.simulator.table(AUDIENCE_TABLE) == []


def test_a_write_from_an_old_look_is_refused(environment: Environment) -> None:
    """Somebody changed the row meanwhile; the job reads it again."""
    row_id = environment.ask()
    request = environment.records.read_request(row_id)
    assert request is not None
    environment.records.update_audience(row_id, {Audience.PROGRESS: 5}, etag=request.etag)

    with pytest.raises(SomebodyElseChangedIt):
        environment.records.update_audience(row_id, {Audience.PROGRESS: 6}, etag=request.etag)

    assert environment.row(row_id)[Audience.PROGRESS] == 5


def test_a_row_is_created_once_for_its_owner(environment: Environment) -> None:
    """A second delivery of the same event makes no second audience."""
    row_id = str(uuid4())
    values: dict[str, Any] = {Audience.NAME: "Live", Audience.STATUS: Status.REQUESTED, Audience.COMMAND: Command.CREATE}

    made = [environment.records.create_audience(row_id, values, owner=MARKETER) for _ in range(2)]

    assert made == [True, False]
    request = environment.records.read_request(row_id)
    assert request is not None
    assert (request.owner, request.command) == (MARKETER, Command.CREATE)


def test_a_row_without_an_owner_belongs_to_the_app(environment: Environment) -> None:
    """Dataverse gives a row to who creates it."""
    row_id = str(uuid4())

    assert environment.records.create_audience(row_id, {Audience.NAME: "x"}, owner=None)
    request = environment.records.read_request(row_id)
    assert request is not None
    assert request.owner == environment.client.who_am_i().user_id


@pytest.mark.parametrize("size", [0, 100_000])
def test_the_list_of_members_left_out_is_attached(environment: Environment, size: int) -> None:
    """A person downloads it from the row; a second one replaces the first."""
    row_id = environment.ask()

    environment.records.attach_left_out(row_id, [b"earlier"])
    environment.records.attach_left_out(row_id, (b"contactid,reason\r\n" for _ in range(size // 18)))

    path = f"{AUDIENCE_SET}({row_id})/{Audience.LEFT_OUT}/$value"
    assert environment.admin.page(path, "read a file") == b"contactid,reason\r\n" * (size // 18)


def test_a_list_too_long_for_its_column_is_passed_over(environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
    """The audience matters more than the list of those left out."""
    row_id = environment.ask()
    body = {"error": {"code": "0x80044a02", "message": "Attachment file size is too big."}}
    environment.simulator.faults.append(Fault(kind="status", method="PATCH", status=400, body=body))

    with caplog.at_level(logging.WARNING):
        environment.records.attach_left_out(row_id, [b"x"])

    assert [record.action for record in caplog.records if hasattr(record, "action")] == ["left-out-too-long"]


def test_rows_with_an_untaken_command_are_found(environment: Environment) -> None:
    """Their webhook may have been lost."""
    asked = environment.ask(COMMAND=Command.CHECK)
    environment.ask()

    assert environment.records.pending_audiences(LONG_AGO) == [asked]
    assert environment.records.pending_audiences(datetime.now(UTC) + timedelta(hours=1)) == []


# ------------------------------------------------------------------ sign-in rows


def test_a_sign_in_row_says_what_its_owner_asks_for(environment: Environment) -> None:
    """Command and owner, nothing of LinkedIn."""
    row_id = environment.sign_in_row(STATUS=SignInStatus.EXPIRED, COMMAND=SignInCommand.CONNECT, COMMAND_ID="c9")

    request = environment.records.read_sign_in_request(row_id)

    assert request is not None
    assert (request.row_id, request.owner, request.status) == (row_id, MARKETER, SignInStatus.EXPIRED)
    assert (request.command, request.command_id) == (SignInCommand.CONNECT, "c9")
    assert environment.records.read_sign_in_request(str(uuid4())) is None


def test_the_newest_sign_in_row_of_a_user_counts(environment: Environment) -> None:
    """A person may have made several."""
    environment.sign_in_row(owner=seeds.MARKETERS[1])
    environment.sign_in_row()
    environment.simulator.clock.advance(60)
    newest = environment.sign_in_row()

    assert environment.records.sign_in_row_of(MARKETER) == newest
    assert environment.records.sign_in_row_of(str(uuid4())) is None


def test_a_sign_in_row_is_written_and_found_by_its_command(environment: Environment) -> None:
    """As audience rows are."""
    row_id = environment.sign_in_row(COMMAND=SignInCommand.CONNECT)
    assert environment.records.pending_sign_ins(LONG_AGO) == [row_id]

    environment.records.update_sign_in(row_id, {SignIn.COMMAND: None, SignIn.STATUS: SignInStatus.SIGNED_IN})

    assert environment.records.pending_sign_ins(LONG_AGO) == []
    with pytest.raises(RowGone):
        environment.records.update_sign_in(str(uuid4()), {SignIn.COMMAND: None})


# ------------------------------------------------------------------ segment records


@pytest.mark.parametrize("kind", list(TABLES))
def test_the_result_is_written_to_the_segment_record(environment: Environment, kind: str) -> None:
    """This is where the marketer looks."""
    ref = environment.segment(kind)

    environment.records.write_result(ref, {Result.STATUS: Status.READY, Result.SENT: 730, Result.TIME: datetime.now(UTC)})

    row = next(row for row in environment.simulator.table(ref.table) if ref.id in row.values())
    assert (row[Result.STATUS], row[Result.SENT]) == (Status.READY, 730)


def test_the_result_of_a_deleted_segment_is_passed_over(environment: Environment) -> None:
    """The audience at LinkedIn is made all the same."""
    environment.records.write_result(SegmentRef("list", str(uuid4())), {Result.SENT: 1})


def test_missing_result_columns_are_noticed_once_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """A table that the solution does not reach costs one request and one line."""
    environment = Environment(installed=False)
    ref = environment.segment("list")
    environment.simulator.calls.clear()

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            environment.records.write_result(ref, {Result.SENT: 1})
            assert environment.records.live_mark(ref) is None

    assert [record.action for record in caplog.records if hasattr(record, "action")] == ["result-columns-missing"]
    assert len(environment.simulator.calls) == 1


def test_a_segment_record_whose_own_code_fails_does_not_fail_the_job(environment: Environment) -> None:
    """Plug-ins of the retired outbound tables call services that are gone."""
    ref = environment.segment("outbound")
    body = {"error": {"code": "0x80040265", "message": "ISV code aborted"}}
    environment.simulator.faults.append(Fault(kind="status", method="PATCH", status=400, body=body))

    environment.records.write_result(ref, {Result.SENT: 1})


@pytest.mark.parametrize("kind", list(TABLES))
def test_the_going_live_mark_is_read(environment: Environment, kind: str) -> None:
    """Whether, for which ad account, and with whose sign-in."""
    ref = environment.segment(kind)
    nothing = environment.records.live_mark(ref)
    by_a_person = DataverseRecords(environment.admin, live_statuses=frozenset())
    by_a_person.write_result(
        ref,
        {
            Result.CREATE_WHEN_LIVE: True,
            Result.LIVE_AD_ACCOUNT: "urn:li:sponsoredAccount:1",
            Result.LIVE_AD_ACCOUNT_NAME: "Contoso",
            Result.LIVE_SET_BY: MARKETER,
        },
    )

    mark = environment.records.live_mark(ref)

    assert nothing is not None
    assert not nothing.wanted
    assert nothing.set_by is None
    assert mark is not None
    assert mark.wanted
    assert mark.is_live
    assert (mark.ad_account, mark.ad_account_name) == ("urn:li:sponsoredAccount:1", "Contoso")
    assert (mark.set_by, mark.segment_name) == (MARKETER, "Sample segment")
    assert environment.records.live_mark(SegmentRef(ref.table, str(uuid4()))) is None


def test_what_counts_as_live_is_a_setting(environment: Environment) -> None:
    """The same setting as for looking up."""
    ref = environment.segment("realtime")

    mark = environment.view(frozenset({723270004})).live_mark(ref)

    assert mark is not None
    assert not mark.is_live


def test_a_going_live_that_made_its_row_is_known(environment: Environment) -> None:
    """Several events tell of one going live; the first makes the row."""
    ref = environment.segment("list")
    other = environment.segment("list")
    asked: dict[str, Any] = {Audience.SEGMENT_ID: ref.id, Audience.ORIGIN: Origin.WENT_LIVE}
    environment.records.create_audience(str(uuid4()), asked, owner=MARKETER)
    environment.ask(SEGMENT_ID=other.id, ORIGIN=Origin.PERSON)

    assert environment.records.went_live_since(ref, LONG_AGO)
    assert not environment.records.went_live_since(other, LONG_AGO)
    assert not environment.records.went_live_since(ref, datetime.now(UTC) + timedelta(hours=1))


# ------------------------------------------------------------------ troubles


def test_an_environment_without_our_tables_is_told_to_install() -> None:
    """The sentence names the command."""
    environment = Environment(installed=False)

    with pytest.raises(ConfigurationWrong, match="solution install"):
        environment.records.read_request(str(uuid4()))


def test_a_missing_privilege_is_named() -> None:
    """An administrator sees what to give."""
    environment = Environment()
    role = next(row for row in environment.simulator.table("role") if row["name"] == "LinkedIn Audience Worker")
    user = environment.client.who_am_i().user_id
    environment.admin.delete(f"systemusers({user})/systemuserroles_association({role['roleid']})/$ref", "take the role away")

    with pytest.raises(ConfigurationWrong, match="prvReadlima_Audience"):
        environment.records.read_request(str(uuid4()))


def test_a_throttled_write_says_how_long_to_wait(environment: Environment) -> None:
    """Nothing was carried out; the job writes again later."""
    row_id = environment.ask()
    fault = Fault(kind="status", status=429, headers={"Retry-After": "9"}, body={"error": {"code": "0x80072322", "message": "x"}})
    environment.simulator.faults.append(fault)

    with pytest.raises(Throttled) as caught:
        environment.records.update_audience(row_id, {Audience.PROGRESS: 5})

    assert caught.value.after_seconds == 9
