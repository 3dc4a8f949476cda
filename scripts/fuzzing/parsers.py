"""Everything that reads outside data, each with inputs for it and the only errors it may raise."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock
from urllib.parse import urlsplit

import azure.functions as func  # noqa: TID251  the pages are called as the host calls them
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from function_app import linkedin_signin
from sandbox.contacts import UnreadableFileError, parse_contacts
from sandbox.memory import MemoryClock, MemoryJobs, MemoryQueue, MemoryReader, MemorySignIns, MemoryTickets
from scripts.fuzzing.shapes import ANY_JSON, HEADER_TEXTS, PERSON, STATUSES, TEXTS, bodies, torn
from shared.dataverse.client import DataverseClient
from shared.dataverse.events import BadEvent, read_event
from shared.dataverse.members import DataverseMembers
from shared.dataverse.records import DataverseRecords
from shared.dataverse.segments.marketing_list import paging_cookie
from shared.dataverse.segments.realtime import read_members
from shared.domain.emails import prepare_emails
from shared.domain.member_lists import merge
from shared.domain.members import MemberRows, read_page
from shared.domain.parts import Part, PartBuilder
from shared.domain.segments import Kind, Segment, SegmentRef
from shared.domain.signins import SignIn
from shared.errors import AudienceSyncError, ConfigurationWrong, TryAgainLater, UnexpectedAnswer
from shared.http import Answer, HttpClient, Request
from shared.linkedin.client import LinkedInClient
from shared.linkedin.oauth import LinkedInOAuth, explain_refusal
from shared.linkedin.oauth_state import read_state, sign_state, state_key
from shared.pipeline.runner import Runner
from shared.pipeline.signin_desk import SignInDesk
from shared.pipeline.tokens import TokenKeeper
from shared.ports import Ticket
from shared.settings import NAMES, Settings
from shared.storage.queue import read_message

DATAVERSE, LINKEDIN = "https://contoso.crm4.dynamics.example", "https://api.linkedin.example/rest"
ROW, OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY = state_key(b"k" * 32)
ACCOUNT = "urn:li:sponsoredAccount:512345678"
SETTINGS = {
    "DATAVERSE_URL": DATAVERSE,
    "DATAVERSE_TENANT_ID": "t",
    "DATAVERSE_CLIENT_ID": "c",
    "DATAVERSE_CLIENT_SECRET": "s",
    "WEBHOOK_SECRET": "w",
    "LINKEDIN_CLIENT_ID": "l",
    "LINKEDIN_CLIENT_SECRET": "s",
    "SIGNIN_KEYS": "k1:" + "A" * 43 + "=",
    "PUBLIC_URL": "https://app.example",
}


class Broken(AssertionError):  # noqa: N818  named after what is wrong
    """A reader broke one of its promises with this input."""


@dataclass(frozen=True)
class Target:
    """Something that reads outside data. `allowed` are the errors it may raise; any other is a defect."""

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], object]
    allowed: tuple[type[Exception], ...] = (AudienceSyncError,)

    def take(self, given: Any) -> str:
        """Let it read an input and return how that went: "read" or the name of the error. Raises whatever is a defect."""
        try:
            self.read(given)
        except self.allowed as error:
            _check_error(error)
            return type(error).__name__
        return "read"


def _check_error(error: Exception) -> None:
    """Check what every error of the product promises: a sentence without people's data, and a pause that can be waited."""
    if not str(error).strip():
        raise Broken(f"{type(error).__name__} says nothing.") from error
    if PERSON in str(error):
        raise Broken(f"{type(error).__name__} repeats people's data.") from error
    if isinstance(error, TryAgainLater) and error.after_seconds is not None and not 0 <= error.after_seconds < float("inf"):
        raise Broken(f"{type(error).__name__} asks for a pause of {error.after_seconds} seconds.") from error


# ------------------------------------------------------------------ services that answer anything


class Canned(HttpClient):
    """A service that gives the answers it was told to, the last one again and again, and is asked at its own address only."""

    def __init__(self, base_url: str, answers: Sequence[Answer]) -> None:
        super().__init__(base_url, name="The service", session=cast("Any", object()))
        self._answers, self.asked = answers, 0

    def send(self, request: Request, *, read_seconds: float = 0.0) -> Answer:  # noqa: ARG002  as the real one
        """Return the next answer."""
        address = self.address(request.path)
        if urlsplit(address).hostname != urlsplit(self.base_url).hostname:
            raise Broken(f"A request went to {address!r}.")
        if self.asked > 300:  # noqa: PLR2004  far more than any answer can make necessary
            raise Broken("One answer led to hundreds of requests.")
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


class Tokens:
    """A token source that always has one."""

    def token(self) -> str:
        """Return a token."""
        return "token"

    def forget(self, refused: str) -> None:
        """Nothing to forget."""


_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Retry-After": HEADER_TEXTS,
        "Date": HEADER_TEXTS,
        "x-ms-dop-hint": HEADER_TEXTS,
        "x-ms-service-request-id": HEADER_TEXTS,
        "x-restli-id": HEADER_TEXTS,
        "x-li-uuid": HEADER_TEXTS,
        "OData-EntityId": HEADER_TEXTS,
    },
)
_REFUSAL = {"error": {"code": "0x80040220", "message": f"Principal user {PERSON} is missing prvReadContact privilege"}}
_LI_REFUSAL = {"status": 401, "serviceErrorCode": 65601, "code": "REVOKED_ACCESS_TOKEN", "message": f"revoked by {PERSON}"}


@st.composite
def _answers(
    draw: st.DrawFn, *per_request: Sequence[Any], refusal: Any, headers: Mapping[str, str] | None = None
) -> list[Answer]:
    """Return an answer to each request: mostly a sample with something changed, sometimes a refusal or anything."""
    found = []
    for samples in per_request:
        status = draw(STATUSES)
        body = draw(bodies(refusal) if status >= 400 else bodies(*samples))  # noqa: PLR2004  HTTP's own border
        found.append(Answer(status, CaseInsensitiveDict(draw(_HEADERS) | dict(headers or {})), body))
    return found


def _used_up(pages: Iterable[Any]) -> None:
    for _, _ in zip(pages, range(60), strict=False):
        pass


# ------------------------------------------------------------------ the door

EVENT = {
    "CorrelationId": OTHER,
    "Depth": 1,
    "InitiatingUserId": OTHER,
    "InputParameters": [{"key": "Target", "value": {"Id": ROW, "Attributes": [{"key": "lima_command", "value": None}]}}],
    "MessageName": "Create",
    "OperationCreatedOn": "/Date(1750000000000-0000)/",
    "OperationId": "00000000-0000-0000-0000-000000000000",
    "OrganizationId": OTHER,
    "OwningExtension": {"Id": OTHER, "LogicalName": "sdkmessageprocessingstep"},
    "PrimaryEntityId": ROW,
    "PrimaryEntityName": "lima_audience",
    "UserId": OTHER,
}
_EVENT_HEADERS = st.dictionaries(
    st.sampled_from(["x-ms-dynamics-organization", "X-MS-Correlation-Request-Id", "x-ms-dynamics-msg-size-exceeded", "other"]),
    st.one_of(HEADER_TEXTS, st.text(max_size=20)),
)


def _door() -> Iterator[Target]:
    yield Target(
        "webhook body", st.tuples(bodies(EVENT), _EVENT_HEADERS), lambda given: read_event(given[0], given[1]), (BadEvent,)
    )
    message = {"kind": "audience", "id": ROW, "fence": 3, "correlation": OTHER, "attempt": 1}
    yield Target("queue message", bodies(message), read_message, (UnexpectedAnswer,))
    settings = st.dictionaries(st.sampled_from([one.name for one in NAMES.values()]), TEXTS, max_size=6)
    yield Target("settings", settings, lambda given: Settings.from_env(SETTINGS | given), (ConfigurationWrong,))


# ------------------------------------------------------------------ Dataverse

_MEMBER = {"contactid": ROW, "emailaddress1": PERSON, "donotemail": False, "donotbulkemail": False, "statecode": 0}
_PAGE = {
    "value": [_MEMBER, _MEMBER | {"contactid": OTHER}],
    "@odata.nextLink": f"{DATAVERSE}/api/data/v9.2/contacts?$skiptoken=x",
}
_SECOND_PAGE = _PAGE | {"@odata.nextLink": f"{DATAVERSE}/api/data/v9.2/contacts?$skiptoken=y"}
_COOKIE = '<cookie pagenumber="2" pagingcookie="%253ccookie%2520page%253d%25221%2522%253e" istracking="False" />'
_FETCH_PAGE = {
    "value": [_MEMBER],
    "@Microsoft.Dynamics.CRM.fetchxmlpagingcookie": _COOKIE,
    "@Microsoft.Dynamics.CRM.morerecords": True,
}
_LISTED = {
    "baseEntityLogicalName": "contact",
    "primaryKeyColumnName": "contactid",
    "members": [ROW, f"{ROW},{OTHER}"],
    "totalCount": 3,
}
_DEFINITION = {"msdynmkt_name": "Autumn", "statuscode": 723270000, "@odata.etag": 'W/"1"'}
_LISTED_SEGMENT = {
    "msdynmkt_segmentid": OTHER,
    "msdynmkt_type": 10,
    "msdynmkt_source": 12,
    "msdynmkt_sourcesegmentuid": ROW,
    "msdynmkt_baseentitylogicalname": "contact",
    "msdynmkt_membercount": 2,
    "statuscode": 1,
}
_LIST = {"listname": "Autumn", "type": False, "membertype": 2, "membercount": 2, "query": None, "statecode": 0}
_OUTBOUND = {"msdyncrm_segmentname": "A", "msdyncrm_segmenttype": 192350001, "msdyncrm_segmentsize": 2, "statuscode": 192350001}
_OUTBOUND_IDS = {"msdyncrm_segmentmemberids": json.dumps([f"crm{ROW}", OTHER])}
_QUERY = '<fetch><entity name="contact"><attribute name="fullname"/><link-entity name="list"/></entity></fetch>'
_AUDIENCE_ROW = {
    "lima_name": "Autumn",
    "lima_segmenttable": "list",
    "lima_segmentid": ROW,
    "lima_status": 727000000,
    "lima_command": 727000001,
    "_ownerid_value": OTHER,
    "@odata.etag": 'W/"7"',
}
_CONSENTS = {"value": [{"msdynmkt_contactpointvalue": PERSON}], "@odata.nextLink": f"{DATAVERSE}/api/data/v9.2/x?$skiptoken=y"}
_BATCH = (
    "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{json.dumps({'value': [_MEMBER]})}\r\n--b--\r\n"
).encode()


def _segment(kind: Kind, **changes: Any) -> Segment:
    table = {Kind.LIST: "list", Kind.REALTIME: "msdynmkt_segmentdefinition", Kind.OUTBOUND: "msdyncrm_segment"}[kind]
    values: dict[str, Any] = {"name": "Autumn", "is_static": True, "is_live": True, "base": "contact", "member_count": 2}
    return Segment(ref=SegmentRef(table, ROW), kind=kind, **values | changes)


def _dataverse(*per_request: Sequence[Any]) -> st.SearchStrategy[list[Answer]]:
    return _answers(*per_request, refusal=_REFUSAL)


def _members(answers: Sequence[Answer]) -> DataverseMembers:
    return DataverseMembers(DataverseClient(Canned(DATAVERSE, answers), Tokens(), parallel=1), Settings.from_env(SETTINGS))


def _records(answers: Sequence[Answer]) -> DataverseRecords:
    client = DataverseClient(Canned(DATAVERSE, answers), Tokens())
    return DataverseRecords(client, live_statuses=frozenset({723270000}))


def _pages_of(segment: Segment, ids: bytes | None = None) -> Callable[[list[Answer]], None]:
    def read(answers: list[Answer]) -> None:
        pages = _members(answers).pages(segment, "", MemoryReader(ids) if ids is not None else None)
        with closing(cast("Any", pages)) as found:
            _used_up(found)

    return read


def _look_up(ref: SegmentRef) -> Callable[[list[Answer]], Segment]:
    return lambda answers: _members(answers).look_up(ref)


def _dataverse_targets() -> Iterator[Target]:
    members_list = st.one_of(bodies(_LISTED), bodies({"members": [OTHER] * 3})).map(
        lambda inner: json.dumps({"StatusCode": 200, "ResultText": inner.decode("latin-1")}).encode()
    )
    yield Target("MembersList text", members_list, lambda body: read_members(body, _segment(Kind.REALTIME)))
    whole = bodies({"StatusCode": 200, "ResultText": json.dumps(_LISTED)})
    yield Target("MembersList answer", whole, lambda body: read_members(body, _segment(Kind.REALTIME)))
    yield Target("members page", bodies(_PAGE, _FETCH_PAGE), read_page)
    cookies = st.one_of(torn(_COOKIE.encode()).map(lambda text: text.decode("latin-1")), TEXTS, st.none())
    yield Target("FetchXML cookie", cookies, paging_cookie, ())
    for kind, samples in (
        (Kind.REALTIME, ([_DEFINITION], [{"value": [_LISTED_SEGMENT]}])),
        (Kind.LIST, ([_LIST],)),
        (Kind.OUTBOUND, ([_OUTBOUND],)),
    ):
        yield Target(f"{kind} segment", _dataverse(*samples), _look_up(_segment(kind).ref))
    yield Target("static list pages", _dataverse([_PAGE], [_SECOND_PAGE], [{"value": []}]), _pages_of(_segment(Kind.LIST)))
    dynamic = _segment(Kind.LIST, is_static=False, source=_QUERY)
    yield Target("dynamic list pages", _dataverse([_FETCH_PAGE], [{"value": []}]), _pages_of(dynamic))
    queries = st.one_of(torn(_QUERY.encode()).map(lambda text: text.decode("latin-1")), TEXTS)
    last = [Answer(200, CaseInsensitiveDict(), b'{"value":[]}')]
    yield Target("dynamic list query", queries, lambda query: _pages_of(_segment(Kind.LIST, is_static=False, source=query))(last))
    batch = torn(_BATCH).map(
        lambda body: [Answer(200, CaseInsensitiveDict({"Content-Type": 'multipart/mixed; boundary="b"'}), body)]
    )
    some_ids = bytes.fromhex(ROW.replace("-", ""))
    yield Target("batch answer", batch, _pages_of(_segment(Kind.REALTIME), some_ids))
    yield Target(
        "outbound members",
        _dataverse([_OUTBOUND_IDS]),
        lambda given: _used_up(_members(given).list_ids(_segment(Kind.OUTBOUND)) or ()),
    )
    yield Target(
        "opted-out addresses", _dataverse([_CONSENTS], [{"value": []}]), lambda given: _used_up(_members(given).opted_out(""))
    )
    yield Target("audience row", _dataverse([_AUDIENCE_ROW]), lambda given: _records(given).read_request(ROW))
    sign_in_row = {"lima_status": 727000001, "lima_command": 727000000, "_ownerid_value": OTHER, "@odata.etag": 'W/"1"'}
    yield Target("sign-in row", _dataverse([sign_in_row]), lambda given: _records(given).read_sign_in_request(ROW))
    pending = {"value": [{"lima_audienceid": ROW}]}
    yield Target("rows with commands", _dataverse([pending]), lambda given: _records(given).pending_audiences(NOW))
    mark = {"statecode": 0, "lima_createwhenlive": True, "_lima_livesetby_value": OTHER, "modifiedon": "2026-11-24T00:00:00Z"}
    yield Target("going-live mark", _dataverse([mark]), lambda given: _records(given).live_mark(SegmentRef("list", ROW)))
    yield Target(
        "answer to a write", _dataverse([{}]), lambda given: _records(given).update_audience(ROW, {"lima_progress": 1}, etag="1")
    )
    who = {"UserId": ROW, "OrganizationId": OTHER, "BusinessUnitId": OTHER}
    yield Target("WhoAmI", _dataverse([who]), lambda given: DataverseClient(Canned(DATAVERSE, given), Tokens()).who_am_i())


# ------------------------------------------------------------------ LinkedIn

_LI_AUDIENCE = {
    "id": 9821736,
    "name": "Autumn",
    "account": ACCOUNT,
    "sourcePlatform": "DIRECT_API",
    "sourceSegmentId": "key",
    "inputCount": 10,
    "destinations": [
        {"destination": "LINKEDIN", "status": "READY", "matchedCount": 7, "audienceSize": 6, "destinationSegmentId": "urn:li:x:1"}
    ],
}
_FOUND = {"elements": [_LI_AUDIENCE, _LI_AUDIENCE | {"id": 1}], "paging": {"start": 0, "count": 100, "total": 2}}
_OUTCOME = {"elements": [{"status": 201}, {"status": 400, "error": {"status": 400, "message": f"bad {PERSON}"}}]}
_LI_ACCOUNT = {"id": 512345678, "name": "Contoso", "currency": "EUR", "status": "ACTIVE", "test": False}
_LI_ACCOUNTS = {"elements": [_LI_ACCOUNT], "metadata": {"nextPageToken": "page-2"}}
_LI_ROLES = {"elements": [{"account": ACCOUNT, "role": "ACCOUNT_MANAGER"}], "paging": {"start": 0, "count": 100, "total": 1}}
_GRANTED = {
    "access_token": "access",
    "expires_in": 5184000,
    "refresh_token": "refresh",
    "refresh_token_expires_in": 31536000,
    "scope": "r_ads,rw_ads,rw_dmp_segments",
}
_SIGN_IN = SignIn("user", "access", NOW, NOW + timedelta(days=60), "refresh", NOW + timedelta(days=365))


def _linkedin(*per_request: Sequence[Any]) -> st.SearchStrategy[list[Answer]]:
    return _answers(*per_request, refusal=_LI_REFUSAL)


def _client(answers: Sequence[Answer]) -> LinkedInClient:
    http = Canned(LINKEDIN, answers)
    return LinkedInClient(http, version="202608", source_platform="DIRECT_API", calls_per_minute=10**6)


def _oauth(answers: Sequence[Answer]) -> LinkedInOAuth:
    return LinkedInOAuth(Canned("https://www.linkedin.example/oauth/v2", answers), client_id="app", client_secret="hush")  # noqa: S106


def _linkedin_targets() -> Iterator[Target]:
    yield Target(
        "audiences found", _linkedin([_FOUND], [_FOUND]), lambda given: _client(given).find_audience("t", ACCOUNT, "key")
    )
    yield Target("audience", _linkedin([_LI_AUDIENCE]), lambda given: _client(given).read_audience("t", "1"))
    yield Target("audience created", _linkedin([{}]), lambda given: _client(given).create_audience("t", ACCOUNT, "key", "n"))
    yield Target(
        "batch outcome", _linkedin([_OUTCOME], [_LI_AUDIENCE]), lambda given: _client(given).add_members("t", "1", b"d" * 64)
    )
    yield Target("ad accounts", _linkedin([_LI_ROLES], [_LI_ACCOUNTS]), lambda given: _client(given).ad_accounts("t"))
    yield Target("ad account", _linkedin([_LI_ROLES], [_LI_ACCOUNT]), lambda given: _client(given).ad_account("t", ACCOUNT))
    granted = _linkedin([_GRANTED])
    yield Target("tokens for a code", granted, lambda given: _oauth(given).exchange("user", "code", "https://app.example", NOW))
    yield Target("tokens renewed", granted, lambda given: _oauth(given).refresh(_SIGN_IN, NOW))
    facts = {"active": True, "status": "active", "scope": "r_ads", "expires_at": 1_800_000_000}
    yield Target("introspection", _linkedin([facts]), lambda given: _oauth(given).introspect("t"))
    yield Target("revocation", _linkedin([{}]), lambda given: _oauth(given).revoke(_SIGN_IN), ())
    yield Target("refusal in words", st.tuples(TEXTS, TEXTS), lambda given: explain_refusal(*given), ())


# ------------------------------------------------------------------ the sign-in pages

_TICKET, _NONCE = "ticket-of-a-person", "nonce-of-a-browser"
_QUERY_TEXTS = st.one_of(TEXTS, st.text(st.characters(max_codepoint=0x10FFFF), max_size=20))


def _desk() -> SignInDesk:
    clock, sign_ins, tickets = MemoryClock(NOW), MemorySignIns(), MemoryTickets()
    tickets.issue(_TICKET, Ticket("user", ROW, NOW + timedelta(minutes=10)))
    granted = Answer(200, CaseInsensitiveDict(), json.dumps(_GRANTED).encode())
    roles = Answer(200, CaseInsensitiveDict(), json.dumps(_LI_ROLES).encode())
    accounts = Answer(200, CaseInsensitiveDict(), json.dumps(_LI_ACCOUNTS | {"metadata": {}}).encode())
    oauth, linkedin = _oauth([granted]), _client([roles, accounts])
    return SignInDesk(
        records=_records([Answer(204, CaseInsensitiveDict(), b"")]),
        sign_ins=sign_ins,
        tickets=tickets,
        oauth=oauth,
        linkedin=linkedin,
        tokens=TokenKeeper(sign_ins, oauth, clock),
        jobs=MemoryJobs(),
        runner=cast("Runner", None),
        queue=MemoryQueue(clock),
        clock=clock,
        public_url="https://app.example",
    )


def _page(function: Any, query: Mapping[str, str], cookie: str) -> None:
    """Open a page as the host does, and check what every answer promises."""
    settings = Settings.from_env(SETTINGS | {"SIGNIN_KEYS": "k1:a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="})
    product = SimpleNamespace(settings=settings, clock=MemoryClock(NOW), sign_in_desk=_desk())
    request = func.HttpRequest(
        method="GET", url="https://app.example/api/linkedin/x", headers={"cookie": cookie}, params=dict(query), body=b""
    )
    with mock.patch.object(linkedin_signin, "product", return_value=product):
        answer = function.build().get_user_function()(request)
    if answer.status_code not in (200, 302, 400, 410):
        raise Broken(f"A page answered {answer.status_code}.")
    if any(sign in value for value in answer.headers.values() for sign in "\r\n"):
        raise Broken("A header has more than one line.")
    answer.get_body().decode()


@st.composite
def _callbacks(draw: st.DrawFn) -> tuple[dict[str, str], str]:
    """Return query and cookie of a callback: often with the right state and cookie, so that what follows is reached."""
    right = sign_state(KEY, linkedin_signin._digest(_TICKET), _NONCE, NOW + timedelta(minutes=5))  # noqa: SLF001  as the app
    state = draw(
        st.one_of(st.just(right), st.just(right), _QUERY_TEXTS, torn(right.encode()).map(lambda raw: raw.decode("latin-1")))
    )
    cookie = draw(st.one_of(st.just(f"{linkedin_signin.COOKIE}={_TICKET}.{_NONCE}"), TEXTS))
    names = st.sampled_from(["code", "error", "error_description", "next", "redirect_uri"])
    return draw(st.dictionaries(names, _QUERY_TEXTS, max_size=4)) | {"state": state}, cookie


def _page_targets() -> Iterator[Target]:
    yield Target("callback query", _callbacks(), lambda given: _page(linkedin_signin.linkedin_callback, *given), ())
    tickets = st.one_of(st.just(_TICKET), _QUERY_TEXTS).map(lambda ticket: {"ticket": ticket})
    connects = st.tuples(tickets, TEXTS)
    yield Target("connect query", connects, lambda given: _page(linkedin_signin.linkedin_connect, *given), ())
    states = st.one_of(TEXTS, torn(sign_state(KEY, "t", "n", NOW).encode()).map(lambda raw: raw.decode("latin-1")))
    yield Target("state", st.tuples(states, TEXTS), lambda given: read_state(KEY, given[0], given[1], NOW), ())


# ------------------------------------------------------------------ files


def _sample_part() -> bytes:
    builder = PartBuilder()
    rows = [SimpleNamespace(id=ROW, emailaddress1="a@b.example", donotemail=False, donotbulkemail=False, statecode=0)]
    rows += [SimpleNamespace(id=OTHER, emailaddress1="x", donotemail=False, donotbulkemail=False, statecode=0)]
    builder.add(MemberRows(cast("Any", rows)))
    return builder.finish().to_bytes()


def _merged(parts: list[bytes]) -> None:
    for stored in parts:
        Part.from_bytes(stored)
    _used_up(merge([MemoryReader(stored) for stored in parts]))


def _read_contacts(text: str) -> None:
    _used_up(parse_contacts(csv.reader(io.StringIO(text, newline=""))))


def _prepared(addresses: list[str]) -> None:
    prepared = prepare_emails(addresses)
    if len(prepared.digests) + len(prepared.rejected) != len(addresses):
        raise Broken("Some addresses are neither usable nor left out.")


_CSV = "contactid,Full Name,Email,Do not allow Bulk Emails\n" + f"{ROW},Ada,ada@contoso.example,Allow\n,,,\n" * 3


def _file_targets() -> Iterator[Target]:
    parts = st.lists(torn(_sample_part()), min_size=1, max_size=3)
    yield Target("part bytes", parts, _merged, (UnexpectedAnswer,))
    texts = st.one_of(torn(_CSV.encode()).map(lambda raw: raw.decode("latin-1")), st.text(max_size=80))
    yield Target("contacts file", texts, _read_contacts, (UnreadableFileError,))
    yield Target("addresses", st.lists(st.one_of(TEXTS, st.emails()), max_size=5), _prepared, ())
    yield Target("any JSON as a page", ANY_JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")), read_page)


TARGETS: tuple[Target, ...] = (*_door(), *_dataverse_targets(), *_linkedin_targets(), *_page_targets(), *_file_targets())
