"""Members of every kind of segment, read from the Dataverse simulator."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import pytest

from sandbox import tokens
from sandbox.dataverse import DataverseSimulator, seeds
from sandbox.web import Fault, InProcess
from shared.dataverse.client import DataverseClient
from shared.dataverse.members import DataverseMembers
from shared.domain.segments import Kind, Segment, SegmentRef
from shared.errors import (
    ConfigurationWrong,
    NotAllowed,
    PageLinkExpired,
    RemoteUnavailable,
    SegmentNotFound,
    Throttled,
    TryAgainLater,
    UnexpectedAnswer,
)
from shared.http import HttpClient, new_session
from shared.ports import SourcePage
from shared.settings import Settings
from solution.install import install
from solution.web import DataverseWeb

URL = "https://contoso.crm4.dynamics.com"
WORKER = "11111111-1111-4111-8111-111111111111"
DEFINITION, SEGMENT = "msdynmkt_segmentdefinition", "msdynmkt_segment"
SETTINGS = {
    "DATAVERSE_URL": URL,
    "DATAVERSE_TENANT_ID": "t",
    "DATAVERSE_CLIENT_ID": "c",
    "DATAVERSE_CLIENT_SECRET": "s",
    "WEBHOOK_SECRET": "w",
    "LINKEDIN_CLIENT_ID": "l",
    "LINKEDIN_CLIENT_SECRET": "s",
    "SIGNIN_KEYS": "k1:" + "A" * 43 + "=",
    "PUBLIC_URL": "https://audiences.example",
    "DATAVERSE_PAGE_SIZE": "100",
}


class Tokens:
    """A token source for one application; by default one that may do everything."""

    def __init__(self, application: str = seeds.ADMINISTRATOR_APPLICATION) -> None:
        self.application = application

    def token(self) -> str:
        """Return a token that the environment accepts."""
        return tokens.issue(appid=self.application, audience=URL, now=time.time())

    def forget(self, refused: str) -> None:
        """Nothing to forget."""


class Stored:
    """Ids as a file that is read piece by piece."""

    def __init__(self, content: bytes) -> None:
        self.content, self.reads = content, 0

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.content)

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`."""
        self.reads += 1
        return self.content[offset : offset + size]


class Environment:
    """One Dataverse environment and the product's view of it."""

    def __init__(self, **settings: str) -> None:
        self.simulator = DataverseSimulator()
        session = new_session()
        session.mount(URL, InProcess(self.simulator))
        self.http = HttpClient(URL, name="Dataverse", session=session)
        self.client = DataverseClient(self.http, Tokens(), parallel=4)
        self.set(**settings)

    def install(self) -> None:
        """Install the product, and read members as its own user with the role it was given."""
        web = DataverseWeb(self.http, lambda: {"Authorization": f"Bearer {Tokens().token()}"})
        install(web, app_user=WORKER)
        self.client = DataverseClient(self.http, Tokens(WORKER), parallel=4)
        self.set()

    def set(self, **settings: str) -> None:
        """Read members by other settings from now on."""
        self.members = DataverseMembers(self.client, Settings.from_env(SETTINGS | settings))

    def contacts(self, count: int, table: str = "contact") -> list[str]:
        """Add contacts (or leads) with an address each and return their ids."""
        rows = [{"emailaddress1": f"member{number}@contoso.example", "statecode": 0} for number in range(count)]
        ids: list[str] = self.simulator.load_rows(table, rows)["ids"]
        return ids

    def segment(self, kind: str, **given: Any) -> Segment:
        """Make a segment and return it as the product looks it up."""
        made = self.simulator.make_segment(kind, **given)
        table = {"realtime": DEFINITION, "list": "list", "outbound": "msdyncrm_segment"}[kind]
        return self.members.look_up(SegmentRef(table, made["definition" if kind == "realtime" else kind]))

    def ids(self, segment: Segment) -> Stored | None:
        """Return the members' ids as the product stores them."""
        blocks = self.members.list_ids(segment)
        return None if blocks is None else Stored(b"".join(blocks))

    def pages(self, segment: Segment, cursor: str = "") -> list[SourcePage]:
        """Return all pages from a cursor on."""
        return list(self.members.pages(segment, cursor, self.ids(segment)))

    def requests(self) -> int:
        """Return how many requests were made, and forget them."""
        made = len(self.simulator.calls)
        self.simulator.calls.clear()
        return made

    def fail(self, **fault: Any) -> None:
        """Plan a misbehaviour."""
        self.simulator.faults.append(Fault(**fault))


@pytest.fixture
def environment() -> Environment:
    """Return a fresh environment."""
    return Environment()


def ids_in(pages: list[SourcePage] | Iterator[SourcePage]) -> list[str]:
    """Return the members' ids in pages, in their order."""
    return [row.id for page in pages for row in page.rows.rows]


def refusal(code: str, message: str = "no") -> dict[str, Any]:
    """Return the body of a refusal."""
    return {"error": {"code": code, "message": message}}


KINDS = ["list", "realtime", "outbound"]


# ------------------------------------------------------------------ every kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_of_a_segment_is_read_once(environment: Environment, kind: str) -> None:
    """An audience holds exactly the segment's members."""
    ids = environment.contacts(730)
    environment.contacts(50)
    segment = environment.segment(kind, members=ids)

    pages = environment.pages(segment)

    assert sorted(ids_in(pages)) == sorted(ids)
    assert {row.emailaddress1 for page in pages for row in page.rows.rows} == {f"member{n}@contoso.example" for n in range(730)}
    assert pages[-1].cursor is None
    assert None not in [page.cursor for page in pages[:-1]]


@pytest.mark.parametrize("base", ["contact", "lead"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_installed_role_is_enough_to_read_members(environment: Environment, kind: str, base: str) -> None:
    """An administrator gives the app this role and no other."""
    if (kind, base) == ("outbound", "lead"):
        return  # outbound segments hold contacts only
    environment.install()
    environment.simulator.opt_out(["out@contoso.example"])
    ids = environment.contacts(30, base)

    assert sorted(ids_in(environment.pages(environment.segment(kind, members=ids, base=base)))) == sorted(ids)
    assert list(environment.members.opted_out("")) == [(["out@contoso.example"], None)]


@pytest.mark.parametrize("kind", KINDS)
def test_reading_goes_on_after_any_page(environment: Environment, kind: str) -> None:
    """A worker that was killed reads no page twice and misses none."""
    segment = environment.segment(kind, members=environment.contacts(350))
    ids = environment.ids(segment)
    pages = list(environment.members.pages(segment, "", ids))

    for done in range(1, len(pages)):
        later = environment.members.pages(segment, pages[done - 1].cursor or "", ids)
        assert ids_in(later) == ids_in(pages[done:])


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_segment_has_no_members(environment: Environment, kind: str) -> None:
    """Empty is a fact, not a failure, except where the store of members is gone."""
    segment = environment.segment(kind, members=[])

    if kind == "outbound":
        with pytest.raises(NotAllowed, match="no longer kept"):
            environment.ids(segment)
    else:
        assert ids_in(environment.pages(segment)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_looking_up_a_segment_costs_at_most_two_requests(environment: Environment, kind: str) -> None:
    """The check answers in a second."""
    made = environment.simulator.make_segment(kind, members=[])
    table = {"realtime": DEFINITION, "list": "list", "outbound": "msdyncrm_segment"}[kind]
    environment.requests()

    environment.members.look_up(SegmentRef(table, made["definition" if kind == "realtime" else kind]))

    assert environment.requests() <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_needed_columns_are_asked_for(environment: Environment, kind: str) -> None:
    """Personal data that is not needed never leaves Dataverse."""
    segment = environment.segment(kind, members=environment.contacts(3))
    seen: list[str] = []
    send = environment.client._http.send
    environment.client._http.send = lambda request, **given: (  # type: ignore[method-assign]
        seen.append(request.path + (request.body or b"").decode()) or send(request, **given)  # type: ignore[func-returns-value]
    )

    environment.pages(segment)

    asked = [text for text in seen if "emailaddress1" in text]
    assert asked
    assert all("$select=contactid,emailaddress1,donotemail,donotbulkemail,statecode" in text for text in asked)


@pytest.mark.parametrize("table", [DEFINITION, SEGMENT, "list", "msdyncrm_segment"])
def test_a_segment_that_is_not_there_is_told_so(environment: Environment, table: str) -> None:
    """The row may name a segment that was deleted meanwhile."""
    with pytest.raises(SegmentNotFound, match="still exists"):
        environment.members.look_up(SegmentRef(table, str(uuid4())))
    with pytest.raises(SegmentNotFound, match="no record id"):
        environment.members.look_up(SegmentRef(table, "../contacts"))


def test_a_row_of_another_table_is_no_segment(environment: Environment) -> None:
    """An automation may write anything into the row."""
    with pytest.raises(NotAllowed, match="'account'"):
        environment.members.look_up(SegmentRef("account", str(uuid4())))


def test_a_kind_that_the_environment_does_not_have_is_told_so() -> None:
    """Outbound marketing's table is missing in newer environments."""
    environment = Environment()
    environment.simulator = DataverseSimulator(outbound=False)
    environment.client._http._session.mount(URL, InProcess(environment.simulator))

    with pytest.raises(NotAllowed, match="outbound"):
        environment.members.look_up(SegmentRef("msdyncrm_segment", str(uuid4())))


@pytest.mark.parametrize("kind", KINDS)
def test_a_throttled_page_says_how_long_to_wait(environment: Environment, kind: str) -> None:
    """The pause that Dataverse asks for reaches the job, and what was read before is kept."""
    segment = environment.segment(kind, members=environment.contacts(950))
    ids = environment.ids(segment)
    path = r"contact_association" if kind == "list" else r"\$batch"
    environment.fail(kind="status", path=path, skip=5, status=429, headers={"Retry-After": "17"}, body=refusal("0x80072322"))

    pages = environment.members.pages(segment, "", ids)
    read: list[SourcePage] = []
    with pytest.raises(Throttled) as caught:
        read.extend(pages)

    assert caught.value.after_seconds == 17
    assert len(ids_in(read)) < 950
    rest = list(environment.members.pages(segment, (read[-1].cursor if read else "") or "", ids))
    assert len(ids_in(read + rest)) == 950


def test_one_refused_query_of_a_batch_refuses_its_page(environment: Environment) -> None:
    """Members must not be missing silently."""
    segment = environment.segment("realtime", members=environment.contacts(5))
    part = (
        b"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 500 X\r\nRetry-After: 4\r\n\r\n"
        + json.dumps(refusal("0x80044150")).encode()
        + b"\r\n--b--\r\n"
    )
    environment.fail(
        kind="status", path=r"\$batch", status=200, headers={"Content-Type": "multipart/mixed; boundary=b"}, body=part.decode()
    )

    with pytest.raises((RemoteUnavailable, UnexpectedAnswer)):
        environment.pages(segment)


@pytest.mark.parametrize("kind", ["list", "realtime"])
def test_the_next_page_is_read_while_the_caller_works(environment: Environment, kind: str) -> None:
    """Reading and hashing overlap, so the slower one sets the pace."""
    segment = environment.segment(kind, members=environment.contacts(300))
    ids = environment.ids(segment)
    asked, sent = Event(), []
    send = environment.client._http.send

    def watched(request: Any, **given: Any) -> Any:
        sent.append(request.path)
        if len(sent) > 1:
            asked.set()
        return send(request, **given)

    environment.client._http.send = watched  # type: ignore[method-assign]
    with closing(environment.members.pages(segment, "", ids)) as pages:  # type: ignore[type-var]
        next(pages)

        assert asked.wait(5)


def test_stopping_early_stops_the_reading(environment: Environment) -> None:
    """A step whose time is up does not read on in the background."""
    segment = environment.segment("realtime", members=environment.contacts(2000))
    ids = environment.ids(segment)
    environment.requests()

    pages = environment.members.pages(segment, "", ids)
    next(pages)
    pages.close()  # type: ignore[attr-defined]

    assert environment.requests() < 15


def test_a_page_of_leads_is_read_from_their_own_table(environment: Environment) -> None:
    """Segments and lists may hold leads instead of contacts."""
    ids = environment.contacts(120, "lead")
    for kind in ("list", "realtime"):
        segment = environment.segment(kind, members=ids, base="lead")

        assert segment.base == "lead"
        assert sorted(ids_in(environment.pages(segment))) == sorted(ids)


# ------------------------------------------------------------------ marketing lists


def test_a_static_list_costs_a_request_per_page(environment: Environment) -> None:
    """ceil(n / page size) requests, as the thrift rules say."""
    segment = environment.segment("list", members=environment.contacts(250))
    environment.requests()

    environment.pages(segment)

    assert environment.requests() == 3


def test_a_list_is_described_as_dataverse_keeps_it(environment: Environment) -> None:
    """Name, kind, size and whether it is live."""
    segment = environment.segment("list", name="Café guests", members=environment.contacts(3))
    stopped = environment.segment("list", members=[], live=False)

    assert (segment.kind, segment.name, segment.member_count, segment.base) == (Kind.LIST, "Café guests", 3, "contact")
    assert segment.is_static
    assert segment.is_live
    assert not stopped.is_live


def test_a_list_of_accounts_is_described_but_never_read(environment: Environment) -> None:
    """Companies have no personal address; the domain's rule says so to the person."""
    segment = environment.segment("list", base="account", members=[])

    assert segment.base == "account"
    with pytest.raises(NotAllowed, match="'account'"):
        environment.members.pages(segment, "", None)


def test_a_dynamic_list_is_read_by_its_own_query(environment: Environment) -> None:
    """A snapshot of a dynamic list holds who matches now."""
    wanted = environment.contacts(230)
    environment.simulator.load_rows("contact", [{"emailaddress1": "x@contoso.example", "lastname": "Other"}] * 20)
    query = (
        '<fetch version="1.0" mapping="logical"><entity name="contact"><attribute name="fullname"/><attribute name="contactid"/>'
        '<order attribute="fullname"/><filter><condition attribute="lastname" operator="null"/></filter></entity></fetch>'
    )
    segment = environment.segment("list", static=False, query=query)
    environment.requests()

    pages = environment.pages(segment)

    assert not segment.is_static
    assert sorted(ids_in(pages)) == sorted(wanted)
    assert len(pages) == environment.requests() == 3
    assert ids_in(environment.pages(segment, pages[0].cursor or "")) == ids_in(pages[1:])


def test_a_dynamic_query_too_long_for_an_address_travels_in_a_batch(environment: Environment) -> None:
    """A GET address may have 32,768 characters."""
    ids = environment.contacts(150)
    values = "".join(f"<value>{{{one}}}</value>" for one in ids + [str(uuid4()) for _ in range(900)])
    query = (
        '<fetch mapping="logical"><entity name="contact"><attribute name="contactid"/>'
        f'<filter><condition attribute="contactid" operator="in">{values}</condition></filter></entity></fetch>'
    )
    segment = environment.segment("list", static=False, query=query)
    environment.requests()

    assert sorted(ids_in(environment.pages(segment))) == sorted(ids)
    assert {call.path for call in environment.simulator.calls} == {"/api/data/v9.2/$batch"}


def test_a_page_link_that_has_expired_makes_reading_start_over(environment: Environment) -> None:
    """What the link stood for is gone; the job reads the list again."""
    segment = environment.segment("list", members=environment.contacts(250))
    first = environment.pages(segment)[0]
    environment.simulator.expire_links()

    with pytest.raises(PageLinkExpired, match="starts over"):
        environment.pages(segment, first.cursor or "")


def test_a_list_deleted_in_mid_read_is_told_so(environment: Environment) -> None:
    """There is nothing left to read."""
    segment = environment.segment("list", members=environment.contacts(5))
    environment.client.delete(f"lists({segment.ref.id})", "delete a list")

    with pytest.raises(SegmentNotFound):
        environment.pages(segment)


def test_a_page_that_leads_to_another_host_is_not_followed(environment: Environment) -> None:
    """The app's token is for one environment only."""
    segment = environment.segment("list", members=environment.contacts(5))
    body = {"value": [], "@odata.nextLink": "https://evil.example/api/data/v9.2/contacts?$skiptoken=1"}
    environment.fail(kind="status", path="contact_association", status=200, body=body)

    with pytest.raises(UnexpectedAnswer, match="never followed"):
        environment.pages(segment)


@pytest.mark.parametrize("static", [True, False])
def test_pages_that_go_round_in_a_circle_end(environment: Environment, static: bool) -> None:
    """A cookie that does not move on would never come to an end."""
    segment = environment.segment("list", static=static, members=environment.contacts(5))
    body = {
        "value": [],
        "@odata.nextLink": f"{URL}/api/data/v9.2/contacts?$skiptoken=1",
        "@Microsoft.Dynamics.CRM.morerecords": True,
        "@Microsoft.Dynamics.CRM.fetchxmlpagingcookie": '<cookie pagenumber="2" pagingcookie="%253ca%253e" istracking="False" />',
    }
    environment.fail(kind="status", method="GET", path="contacts|contact_association", times=100, status=200, body=body)

    with pytest.raises(UnexpectedAnswer, match="nothing was used"):
        environment.pages(segment)


# ------------------------------------------------------------------ real-time segments


@pytest.mark.parametrize("uid", ["plain", "upper", "braces"])
@pytest.mark.parametrize("by", ["definition", "segment"])
def test_a_real_time_segment_is_found_from_either_record(environment: Environment, uid: str, by: str) -> None:
    """The one keeps the other's id as text, in any spelling."""
    made = environment.simulator.make_segment("realtime", "Visitors", members=environment.contacts(2), uid=uid)

    segment = environment.members.look_up(SegmentRef(DEFINITION if by == "definition" else SEGMENT, made[by]))

    assert segment.source == made["segment"]
    assert (segment.kind, segment.name, segment.base, segment.member_count) == (Kind.REALTIME, "Visitors", "contact", 2)
    assert segment.is_static
    assert segment.is_live


@pytest.mark.parametrize("sent", ["segment", "definition"])
def test_which_id_is_sent_is_a_setting(environment: Environment, sent: str) -> None:
    """Microsoft's documentation changed its mind."""
    environment.set(REALTIME_SEGMENT_ID=sent)
    environment.simulator.settings(members_key=sent)
    ids = environment.contacts(3)

    assert sorted(ids_in(environment.pages(environment.segment("realtime", members=ids)))) == sorted(ids)


def test_the_wrong_kind_of_id_is_told_with_the_setting(environment: Environment) -> None:
    """The administrator learns which setting to change."""
    environment.simulator.settings(members_key="definition")

    with pytest.raises((SegmentNotFound, UnexpectedAnswer, ConfigurationWrong)):
        environment.pages(environment.segment("realtime", members=environment.contacts(3)))


def test_a_draft_is_not_live_and_a_dynamic_segment_not_static(environment: Environment) -> None:
    """The domain's rule refuses both with a sentence."""
    assert not environment.segment("realtime", members=[], live=False).is_live
    assert not environment.segment("realtime", members=[], static=False).is_static


def test_what_counts_as_live_is_a_setting(environment: Environment) -> None:
    """Status values that Microsoft adds can be let in."""
    environment.set(LIVE_STATUSES="723270001")

    with pytest.raises(TryAgainLater, match="does not list it yet"):
        environment.segment("realtime", members=[], live=False)


@pytest.mark.parametrize("shape", ["one-per-element", "comma-separated"])
def test_both_shapes_of_the_members_list_are_read(environment: Environment, shape: str) -> None:
    """Microsoft documents the one and answers the other."""
    environment.simulator.settings(members_shape=shape)
    ids = environment.contacts(130)
    stored = environment.ids(environment.segment("realtime", members=ids))

    assert stored is not None
    assert sorted(str(UUID(bytes=stored.content[at : at + 16])) for at in range(0, stored.size, 16)) == sorted(ids)


def test_a_truncated_members_list_is_never_used(environment: Environment) -> None:
    """An audience that silently lacks members is worse than none."""
    environment.simulator.settings(members_limit=100)
    segment = environment.segment("realtime", members=environment.contacts(130))

    with pytest.raises(UnexpectedAnswer, match="only 100 of 130"):
        environment.ids(segment)


@pytest.mark.parametrize(("status", "kind"), [(500, RemoteUnavailable), (404, SegmentNotFound), (400, UnexpectedAnswer)])
def test_the_status_inside_the_members_list_counts(environment: Environment, status: int, kind: type[Exception]) -> None:
    """It can say no while HTTP says 200."""
    environment.simulator.settings(members_status=status)
    segment = environment.segment("realtime", members=environment.contacts(3))

    with pytest.raises(kind):
        environment.ids(segment)


def test_an_environment_without_the_action_is_told_what_to_do(environment: Environment) -> None:
    """Customer Insights - Journeys may be missing or old."""
    environment.simulator.settings(members_available=False)
    segment = environment.segment("realtime", members=environment.contacts(3))

    with pytest.raises(ConfigurationWrong, match="msdynmkt_MembersList"):
        environment.ids(segment)


def test_members_deleted_since_the_list_are_simply_not_there(environment: Environment) -> None:
    """Between listing and reading, people come and go."""
    ids = environment.contacts(30)
    segment = environment.segment("realtime", members=ids)
    stored = environment.ids(segment)
    environment.client.delete(f"contacts({ids[0]})", "delete a contact")

    assert sorted(ids_in(environment.members.pages(segment, "", stored))) == sorted(ids[1:])


def test_a_page_of_five_thousand_members_is_one_request() -> None:
    """Eight queries of 625 ids travel together."""
    environment = Environment(DATAVERSE_PAGE_SIZE="5000")
    segment = environment.segment("realtime", members=environment.contacts(7000))
    stored = environment.ids(segment)
    environment.requests()

    pages = list(environment.members.pages(segment, "", stored))

    assert [len(page.rows) for page in pages] == [5000, 2000]
    assert [call.elements for call in environment.simulator.calls] in ([8, 4], [4, 8])


def test_requests_at_once_stay_within_what_dataverse_recommends(environment: Environment) -> None:
    """x-ms-dop-hint is obeyed when it is below the setting."""
    assert environment.client.parallel == 4
    environment.simulator.settings(dop_hint=2)
    environment.client.who_am_i()

    assert environment.client.parallel == 2
    environment.simulator.settings(dop_hint=50)
    environment.client.who_am_i()
    assert environment.client.parallel == 4


# ------------------------------------------------------------------ outbound segments


def test_outbound_ids_may_carry_a_prefix(environment: Environment) -> None:
    """The retired service wrote crm before each id."""
    ids = environment.contacts(120)
    segment = environment.segment("outbound", members=ids, prefix="crm")

    assert sorted(ids_in(environment.pages(segment))) == sorted(ids)


@pytest.mark.parametrize("status", [400, 500])
def test_an_outbound_record_whose_own_code_fails_is_told_so(environment: Environment, status: int) -> None:
    """Plug-ins that call services which are gone throw when the record is read."""
    made = environment.simulator.make_segment("outbound", members=[])
    environment.fail(kind="status", path="msdyncrm_segments", times=9, status=status, body=refusal("0x80040265", "ISV code"))

    with pytest.raises(NotAllowed, match="removed outbound marketing"):
        environment.members.look_up(SegmentRef("msdyncrm_segment", made["outbound"]))


# ------------------------------------------------------------------ opted-out addresses


def test_opted_out_addresses_come_in_pages(environment: Environment) -> None:
    """Consent belongs to the address, whoever has it."""
    wanted = [f"out{number}@contoso.example" for number in range(230)]
    environment.simulator.opt_out(wanted)

    pages = list(environment.members.opted_out(""))

    assert sorted(address for page, _ in pages for address in page) == sorted(wanted)
    assert [cursor is None for _, cursor in pages] == [False, False, True]
    again = list(environment.members.opted_out(pages[0][1] or ""))
    assert [page for page, _ in again] == [page for page, _ in pages[1:]]


def test_only_the_configured_purpose_counts(environment: Environment) -> None:
    """Who opted out of another purpose may still be in the audience."""
    environment.simulator.opt_out(["out@contoso.example"])
    environment.set(CONSENT_PURPOSE_ID=str(uuid4()))

    assert [page for page, _ in environment.members.opted_out("")] == [[]]


def test_consent_that_is_not_asked_for_costs_nothing(environment: Environment) -> None:
    """The setting is off: no request is made."""
    environment.set(EXCLUDE_OPTED_OUT="false")

    assert list(environment.members.opted_out("")) == []
    assert environment.requests() == 0


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "0x8006088a", "Resource not found for the segment 'msdynmkt_contactpointconsent4s'."),
        (400, "0x80041102", "The entity with a name = 'msdynmkt_contactpointconsent4' was not found in the MetadataCache."),
    ],
)
def test_an_environment_without_consent_has_no_opted_out_addresses(
    environment: Environment, status: int, code: str, message: str
) -> None:
    """Marketing lists work without Customer Insights - Journeys."""
    environment.fail(kind="status", path="consent4s", status=status, body=refusal(code, message))

    assert list(environment.members.opted_out("")) == []


def test_a_purpose_that_is_no_id_is_a_setting_to_put_right(environment: Environment) -> None:
    """The sentence names the setting."""
    environment.set(CONSENT_PURPOSE_ID="commercial")

    with pytest.raises(ConfigurationWrong, match="CONSENT_PURPOSE_ID"):
        list(environment.members.opted_out(""))


def test_an_expired_link_to_opted_out_addresses_makes_reading_start_over(environment: Environment) -> None:
    """As for members."""
    environment.simulator.opt_out([f"out{number}@contoso.example" for number in range(130)])
    _, cursor = next(environment.members.opted_out(""))
    environment.simulator.expire_links()

    with pytest.raises(PageLinkExpired):
        list(environment.members.opted_out(cursor or ""))


def test_a_segment_is_carried_from_step_to_step_unchanged(environment: Environment) -> None:
    """What look_up gives is all that later steps need."""
    ids = environment.contacts(10)
    segment = environment.segment("realtime", members=ids)

    assert sorted(ids_in(environment.pages(replace(segment, member_count=None)))) == sorted(ids)
