"""Dataverse's dialect: what is sent, and what each answer means, on plain values."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dataverse import protocol
from shared.dataverse.protocol import Fault, Headers, NotInstalled, PlugInThrew
from shared.dataverse.schema import Status
from shared.dataverse.segments import Base
from shared.dataverse.segments.marketing_list import MemberQuery, paging_cookie
from shared.dataverse.segments.reading import distinct, packed
from shared.dataverse.segments.realtime import read_members
from shared.domain.members import MemberPage, MemberRows
from shared.domain.segments import Kind, Segment, SegmentRef
from shared.errors import (
    AudienceSyncError,
    ConfigurationWrong,
    NotAllowed,
    RemoteUnavailable,
    SegmentNotFound,
    SomebodyElseChangedIt,
    Throttled,
    UnexpectedAnswer,
)
from shared.http import Answer

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
CONTACT = Base("contact", "contacts", "contactid")
SEGMENT = Segment(SegmentRef("msdynmkt_segmentdefinition", ID), Kind.REALTIME, "Visitors", True, True, "contact", source=ID)
BASE_URL = "https://contoso.crm4.dynamics.com"


def refusal(status: Any, code: str = "", message: str = "", **headers: str) -> Answer:
    """Return an answer that says no as Dataverse does."""
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return Answer(status, Headers((name.replace("_", "-"), value) for name, value in headers.items()), body)


def told(error: AudienceSyncError) -> None:
    """Make sure that an error says something."""
    assert str(error)


def fault_of(answer: Answer) -> Fault:
    """Return what an answer refuses."""
    found = protocol.fault(answer)
    assert found is not None
    return found


def error_of(answer: Answer) -> AudienceSyncError:
    """Return the error that an answer stands for."""
    return protocol.error(fault_of(answer), "read the list")


# ------------------------------------------------------------------ requests


def test_every_request_names_the_version_of_odata() -> None:
    """Dataverse answers in another dialect otherwise (Learn: Compose HTTP requests)."""
    sent = protocol.request("GET", "contacts")

    assert sent.path == "/api/data/v9.2/contacts"
    assert sent.headers["OData-Version"] == sent.headers["OData-MaxVersion"] == "4.0"
    assert sent.headers["If-None-Match"] == "null"
    assert "Content-Type" not in sent.headers


def test_a_conditional_write_carries_one_condition_only() -> None:
    """If-None-Match beside If-Match would contradict it."""
    sent = protocol.request("PATCH", "lists(1)", {"a": 1}, headers={"If-Match": 'W/"7"'})

    assert sent.headers["If-Match"] == 'W/"7"'
    assert "If-None-Match" not in sent.headers
    assert sent.body == b'{"a":1}'


def test_values_are_written_as_dataverse_reads_them() -> None:
    """Times are in UTC, choices are numbers, None clears a column."""
    when = datetime(2026, 11, 23, 10, 0, tzinfo=timezone(timedelta(hours=2)))

    assert protocol.plain({"t": when, "s": Status.READY, "n": None, "r": 12.5}) == {
        "t": "2026-11-23T08:00:00Z",
        "s": 727000007,
        "n": None,
        "r": 12.5,
    }


def test_a_query_keeps_the_signs_that_dataverse_wants_plain() -> None:
    """Only what would break the address is encoded."""
    path = protocol.query("lists", select=["a", "b"], filter="name eq 'A&B #1 + 100%'", top=1, orderby=None)

    assert path == "lists?$select=a,b&$filter=name%20eq%20'A%26B%20%231%20%2B%20100%25'&$top=1"


@pytest.mark.parametrize("written", ["x", "1)/contacts(2", "", "../" + ID, ID + "?"])
def test_nothing_but_an_id_gets_between_the_brackets_of_a_row(written: Any) -> None:
    """An id that somebody typed cannot lead to another address."""
    with pytest.raises(UnexpectedAnswer, match="not a guid"):
        protocol.row("lists", written)


@given(st.lists(st.uuids(), min_size=1, max_size=protocol.IDS_PER_QUERY))
def test_ids_are_written_as_guids_between_quotes(ids: list[Any]) -> None:
    """The fast way of writing them gives what the plain way would."""
    path = protocol.with_ids("contacts?$select=a", "contactid", b"".join(one.bytes for one in ids))

    values = ",".join(f"'{one}'" for one in ids)
    wanted = f"Microsoft.Dynamics.CRM.In(PropertyName='contactid',PropertyValues=%5B{values}%5D)"
    assert path == f"contacts?$select=a&$filter={wanted}"


def test_the_most_ids_of_one_query_fit_into_an_address_even_fully_encoded() -> None:
    """A GET address may have 32,768 characters."""
    path = protocol.query(protocol.API + "contacts", select=CONTACT.columns)
    address = BASE_URL + protocol.with_ids(path, "contactid", bytes(16 * protocol.IDS_PER_QUERY))

    assert len(address.replace("'", "%27").replace(",", "%2C")) < protocol.URL_LIMIT + 1


def test_a_batch_is_written_with_windows_line_ends() -> None:
    """Dataverse refuses a batch whose lines end otherwise."""
    sent = protocol.batch([protocol.request("GET", "contacts"), protocol.request("POST", "lists", {"a": 1})], "b1")

    assert (sent.method, sent.path) == ("POST", "/api/data/v9.2/$batch")
    assert isinstance(sent.body, bytes)
    assert sent.headers["Prefer"] == "odata.continue-on-error"
    assert sent.body.count(b"\n") == sent.body.count(b"\r\n")
    assert sent.body.startswith(b"--b1\r\nContent-Type: application/http\r\n")
    assert b"\r\n\r\nGET /api/data/v9.2/contacts HTTP/1.1\r\n" in sent.body
    assert sent.body.endswith(b'\r\n\r\n{"a":1}\r\n--b1--\r\n')


def test_a_batch_of_more_than_a_thousand_is_a_mistake_of_ours() -> None:
    """The service would refuse it."""
    with pytest.raises(ValueError, match="1000"):
        protocol.batch([protocol.request("GET", "contacts")] * 1001, "b")


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize("code", ["0x80072321", "0x80072322", "0x80072326"])
def test_a_throttled_answer_says_how_long_to_wait(code: str) -> None:
    """The pause that Dataverse asks for reaches the job."""
    error = error_of(refusal(429, code, "Number of requests exceeded the limit of 6000.", Retry_After="37"))

    assert isinstance(error, Throttled)
    assert error.after_seconds == 37


@pytest.mark.parametrize(
    ("written", "date", "seconds"),
    [
        ("12", "", 12.0),
        ("0.5", "", 0.5),
        ("Mon, 23 Nov 2026 10:00:30 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 30.0),
        ("Mon, 23 Nov 2026 10:00:00 GMT", "Mon, 23 Nov 2026 10:01:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 10:00:30 GMT", "", None),
        ("soon", "", None),
        ("-4", "", None),
        ("", "", None),
    ],
)
def test_a_pause_is_read_as_seconds_or_as_a_time(written: Any, date: str, seconds: float | None) -> None:
    """What cannot be read counts as no pause, so that the job chooses its own."""
    assert protocol.retry_after(Headers([("retry-after", written), ("date", date)])) == seconds


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "says"),
    [
        (500, "0x80044150", "deadlock", RemoteUnavailable, "too busy"),
        (500, "-2147204783", "SQL timeout", RemoteUnavailable, "0x80044151"),
        (503, "", "", RemoteUnavailable, "tried again"),
        (408, "", "", RemoteUnavailable, "tried again"),
        (401, "0x8005F101", "expired", ConfigurationWrong, "token"),
        (403, "0x80040220", "Principal lacks prvReadContact privilege", ConfigurationWrong, "prvReadContact"),
        (403, "0x80048306", "no", ConfigurationWrong, "lacks a privilege"),
        (403, "0x80072560", "The user is not a member", ConfigurationWrong, "application user"),
        (403, "", "", ConfigurationWrong, "privilege"),
        (404, "0x8006088a", "Resource not found for the segment 'lima_audiences'.", NotInstalled, "'lima_audiences'"),
        (400, "0x80041102", "The entity with a name = 'x' was not found", NotInstalled, "'x'"),
        (400, "0x0", "Could not find a property named 'lima_x' on type 'y'.", NotInstalled, "'lima_x'"),
        (400, "0x80048d19", "The property 'lima_y' does not exist on type 'z'.", NotInstalled, "'lima_y'"),
        (400, "0x80048d19", "An undeclared property 'lima_z' which only has", NotInstalled, "'lima_z'"),
        (412, "0x80060882", "row version", SomebodyElseChangedIt, "read again"),
        (412, "", "", SomebodyElseChangedIt, "read again"),
        (400, "0x80040265", "a plug-in", PlugInThrew, "0x80040265"),
        (500, "0x80040265", "a plug-in", PlugInThrew, "0x80040265"),
        (400, "0x80060888", "bad filter", UnexpectedAnswer, "bad filter"),
        (501, "", "", UnexpectedAnswer, "HTTP 501"),
        (413, "", "", UnexpectedAnswer, "HTTP 413"),
    ],
)
def test_each_refusal_becomes_what_the_job_does_next(
    status: Any, code: str, message: str, kind: type[Exception], says: str
) -> None:
    """An error's class decides what happens; its sentence tells a person."""
    error = error_of(refusal(status, code, message))

    assert type(error) is kind
    assert says in str(error)
    assert str(error).rstrip().endswith((".", message))


def test_a_refusal_names_code_status_and_request() -> None:
    """Microsoft's support asks for exactly these."""
    error = error_of(refusal(400, "0x80040203", "no", x_ms_service_request_id="5c1d2f7a-1"))

    assert "(error 0x80040203, HTTP 400, request 5c1d2f7a-1)" in str(error)


def test_an_address_in_dataverses_sentence_does_not_reach_ours() -> None:
    """Some of its messages repeat the value that was refused."""
    error = error_of(refusal(400, "0x80040203", "The value ada@contoso.example is too long"))

    assert "contoso" not in str(error)
    assert "is too long" in str(error)


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad gateway</html>", b"[]", b'{"error":"x"}', b'{"error":{"code":5}}', b"\xff\xfe", b"nul"]
)
def test_a_gateways_page_is_still_an_error_we_know(body: bytes) -> None:
    """What stands in front of Dataverse does not speak JSON."""
    assert isinstance(protocol.error(fault_of(Answer(502, Headers(), body)), "read"), RemoteUnavailable)


@given(
    st.integers(0, 999),
    st.binary(max_size=300) | st.text().map(lambda text: json.dumps({"error": {"code": text, "message": text}}).encode()),
)
def test_no_answer_surprises(status: int, body: bytes) -> None:
    """Whatever comes back becomes one of our errors, or nothing."""
    answer = Answer(status, Headers([("retry-after", body.decode("latin-1")), ("x-ms-dop-hint", body.decode("latin-1"))]), body)

    for read in (protocol.check, protocol.read_row, protocol.read_rows, protocol.read_created):
        try:
            read(answer, "read")
        except AudienceSyncError as error:
            told(error)
    protocol.dop_hint(answer.headers)


def test_a_redirect_is_not_followed_but_told() -> None:
    """A redirect means that DATAVERSE_URL is not the environment's own address."""
    with pytest.raises(UnexpectedAnswer, match="DATAVERSE_URL"):
        protocol.check(Answer(302, Headers([("location", "https://login.example")]), b""), "read")


def test_a_missing_row_is_told_from_a_missing_table() -> None:
    """The one is a fact about the segment, the other about the installation."""
    row = fault_of(refusal(404, "0x80040217", f"Entity 'list' With Id = {ID} Does Not Exist"))
    table = fault_of(refusal(404, "0x8006088a", "Resource not found for the segment 'x'."))

    assert row.row_is_missing
    assert not row.is_not_installed
    assert not table.row_is_missing
    assert table.is_not_installed


@pytest.mark.parametrize("code", ["0x80060892", "0x80040237"])
def test_a_duplicate_key_means_somebody_was_faster(code: str) -> None:
    """It is no failure: the row is there."""
    assert fault_of(refusal(412, code)).is_already_there


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/api/data/v9.2/contacts?$skiptoken=1",
        BASE_URL + ".evil.example/api/data/v9.2/contacts",
        BASE_URL + "@evil.example/api/data/v9.2/contacts",
        BASE_URL + "/other",
        "http" + BASE_URL.removeprefix("https") + "/api/data/v9.2/contacts",
        "//evil.example/api/data/v9.2/contacts",
        "/api/data/v9.2/contacts",
        "",
    ],
)
def test_a_next_link_never_leads_to_another_host(link: str) -> None:
    """The app's token is for one environment only."""
    with pytest.raises(UnexpectedAnswer, match="another address"):
        protocol.next_path(BASE_URL, link)


def test_a_next_link_is_kept_as_it_came_without_its_host() -> None:
    """Its token is opaque and must go back unchanged."""
    path = "/api/data/v9.2/contacts?$skiptoken=%3Ccookie%20a=%22://%22%3E&x='"

    assert protocol.next_path(BASE_URL, BASE_URL + path) == path


def batch_answer(*parts: tuple[int, bytes], boundary: str = "batchresponse_1", status: int = 200) -> Answer:
    """Return the answer to a batch with these (status, body) parts."""
    written = b""
    for code, body in parts:
        head = f"--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 {code} X\r\n"
        written += head.encode() + b"OData-Version: 4.0\r\nRetry-After: 9\r\n\r\n" + body + b"\r\n"
    written += f"--{boundary}--\r\n".encode()
    return Answer(status, Headers([("Content-Type", f"multipart/mixed; boundary={boundary}")]), written)


def test_the_answers_of_a_batch_come_in_order_each_with_its_status() -> None:
    """One refused query does not hide the others."""
    first, second, third = protocol.read_batch(batch_answer((200, b'{"a":"\r\n--x"}'), (429, b"{}"), (204, b"")), 3, "read")

    assert (first.status, first.body) == (200, b'{"a":"\r\n--x"}')
    assert (second.status, second.headers["retry-after"]) == (429, "9")
    assert (third.status, third.body) == (204, b"")


@pytest.mark.parametrize(
    "answer",
    [
        batch_answer((200, b"{}")),
        Answer(200, Headers([("Content-Type", "application/json")]), b"{}"),
        Answer(200, Headers([("Content-Type", "multipart/mixed; boundary=x")]), b"--x\r\nno\r\n--x\r\nno\r\n--x--"),
        Answer(200, Headers([("Content-Type", "multipart/mixed; boundary=x")]), b""),
    ],
)
def test_a_batch_that_answers_less_than_was_asked_is_not_used(answer: Answer) -> None:
    """Members must not be missing silently."""
    with pytest.raises(UnexpectedAnswer):
        protocol.read_batch(answer, 2, "read")


@given(st.binary(max_size=200))
def test_no_batch_answer_surprises(noise: bytes) -> None:
    """Whatever comes back becomes answers or one of our errors."""
    for body in (noise, b"--x" + noise, b"--x\r\n\r\nHTTP/1.1 200 OK\r\n" + noise + b"\r\n--x--"):
        try:
            protocol.read_batch(Answer(200, Headers([("Content-Type", "multipart/mixed; boundary=x")]), body), 1, "read")
        except UnexpectedAnswer as error:
            told(error)


# ------------------------------------------------------------------ lists of ids


def test_both_documented_shapes_of_a_list_of_ids_mean_the_same() -> None:
    """Microsoft's example has one text with commas, its service one id per element."""
    ids = [str(uuid4()) for _ in range(5)]
    wanted = b"".join(UUID(one).bytes for one in ids)

    assert packed(json.dumps(ids).encode()) == wanted
    assert packed(json.dumps([",".join(ids)]).encode()) == wanted
    assert packed(json.dumps([", ".join(ids[:2]), "", ids[2].upper(), "{" + ids[3] + "}," + ids[4] + ","]).encode()) == wanted


@given(st.lists(st.uuids(), max_size=30), st.integers(1, 200))
def test_ids_are_read_in_pieces_of_any_size(ids: list[Any], block: int) -> None:
    """Where a piece ends never cuts an id."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.dataverse.segments.reading._BLOCK", block)
        found = packed(json.dumps([str(one) for one in ids]).encode())

    assert found == b"".join(one.bytes for one in ids)


@pytest.mark.parametrize("written", [["x"], [ID[:-1]], [ID + "0"], [ID, "null"], [None], ["g" + ID[1:]], [ID + ID], [{"id": ID}]])
def test_a_list_with_something_that_is_no_id_is_not_used(written: Any) -> None:
    """Half understood is not understood."""
    with pytest.raises(UnexpectedAnswer):
        packed(json.dumps(written).encode())


@given(st.lists(st.binary(min_size=16, max_size=16)), st.lists(st.integers(0, 50), max_size=20))
def test_ids_are_kept_once(ids: list[Any], repeated: list[int]) -> None:
    """A member that Dataverse names twice is one member."""
    ids += [ids[at] for at in repeated if at < len(ids)]

    found = b"".join(distinct(b"".join(ids)))

    assert sorted(found[at : at + 16] for at in range(0, len(found), 16)) == sorted(set(ids))


def members_answer(inner: object, status: Any = 200) -> bytes:
    """Return the body of an answer of MembersList."""
    return json.dumps({"StatusCode": status, "ResultText": json.dumps(inner)}).encode()


def test_the_ids_in_an_answer_of_members_list_are_read() -> None:
    """The list is JSON text inside JSON."""
    body = members_answer({"baseEntityLogicalName": "contact", "members": [ID], "totalCount": 1, "additionalProperties": {}})

    assert read_members(body, SEGMENT) == UUID(ID).bytes


def test_a_list_that_keeps_members_back_is_never_used() -> None:
    """Nobody is told that an audience is complete when it is not."""
    with pytest.raises(UnexpectedAnswer, match="only 1 of 2,000,000"):
        read_members(members_answer({"members": [ID], "totalCount": 2_000_000}), SEGMENT)


def test_members_of_another_table_than_the_segment_says_are_not_used() -> None:
    """Their ids would be looked for in the wrong table."""
    with pytest.raises(UnexpectedAnswer, match="'lead'"):
        read_members(members_answer({"baseEntityLogicalName": "lead", "members": [ID]}), SEGMENT)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, SegmentNotFound),
        (500, RemoteUnavailable),
        ("429", RemoteUnavailable),
        (400, UnexpectedAnswer),
        ("?", UnexpectedAnswer),
    ],
)
def test_the_status_inside_the_answer_counts(status: Any, kind: type[Exception]) -> None:
    """It can say no while HTTP says 200."""
    with pytest.raises(kind):
        read_members(members_answer({"members": [ID]}, status), SEGMENT)


@given(
    st.binary(max_size=100)
    | st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["members", "StatusCode", "ResultText"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_list_of_members_surprises(body: bytes) -> None:
    """Whatever the action answers becomes ids or one of our errors."""
    for answer in (body, json.dumps({"StatusCode": 200, "ResultText": body.decode("latin-1")}).encode()):
        try:
            assert len(read_members(answer, SEGMENT)) % 16 == 0
        except AudienceSyncError as error:
            told(error)


# ------------------------------------------------------------------ FetchXML

QUERY = """<fetch version="1.0" mapping="logical" distinct="true" returntotalrecordcount="true"><entity name="contact">
<attribute name="fullname"/><attribute name="contactid"/><order attribute="fullname" descending="false"/>
<filter type="and"><condition attribute="lastname" operator="eq" value="O'Brien &amp; &lt;Söhne&gt;"/></filter>
<link-entity name="account" from="accountid" to="parentcustomerid" alias="a">
<attribute name="name"/><order attribute="name"/></link-entity>
</entity></fetch>"""


def test_a_dynamic_lists_query_asks_for_the_needed_columns_in_the_order_of_the_key() -> None:
    """Paging is only reliable so, and a linked column would repeat members."""
    written = MemberQuery(QUERY, CONTACT, 500).at("")

    assert written.count("<attribute ") == 5
    assert '<attribute name="emailaddress1" />' in written
    assert written.count("<order ") == 1
    assert '<order attribute="contactid" />' in written
    assert 'distinct="true" count="500" page="1"' in written
    assert "paging-cookie" not in written
    assert "returntotalrecordcount" not in written
    assert "O'Brien &amp; &lt;S\u00f6hne&gt;" in written
    assert "<link-entity " in written


def test_the_paging_cookie_is_decoded_twice_and_escaped_once() -> None:
    """Each of the three forms is one that public code gets wrong."""
    annotation = (
        '<cookie pagenumber="2" pagingcookie="%253ccookie%2520page%253d%25221%2522%253e%253ccontactid%2520last%253d%2522%257bA'
        '%257d%2522%2520%252f%253e%253c%252fcookie%253e" istracking="False" />'
    )
    cookie = paging_cookie(annotation)

    assert cookie == '<cookie page="1"><contactid last="{A}" /></cookie>'
    written = MemberQuery(QUERY, CONTACT, 500).at(f"2 {cookie}")
    assert 'page="2"' in written
    assert 'paging-cookie="&lt;cookie page=&quot;1&quot;&gt;&lt;contactid last=&quot;{A}&quot; /&gt;&lt;/cookie&gt;"' in written


def test_a_query_without_links_is_not_made_distinct() -> None:
    """It cannot repeat members, and making rows distinct costs Dataverse time."""
    written = MemberQuery('<fetch distinct="true"><entity name="contact"/></fetch>', CONTACT, 500).at("")

    assert 'distinct="false"' in written


def test_a_long_query_without_cookies_is_refused_with_a_next_step() -> None:
    """Dataverse pages by number up to 50,000 rows only."""
    query = MemberQuery(QUERY, CONTACT, 5000)
    page = MemberPage(MemberRows([]), None, None, True)

    assert query.behind("", page, SEGMENT.ref) == "2 "
    with pytest.raises(NotAllowed, match="50,000"):
        query.behind("10 ", page, SEGMENT.ref)


@pytest.mark.parametrize("annotation", [None, "", "no xml", "<!DOCTYPE x><cookie pagingcookie='1'/>", "<cookie/>"])
def test_a_cookie_that_cannot_be_read_is_none(annotation: str | None) -> None:
    """Reading goes on by number as far as Dataverse allows that."""
    assert paging_cookie(annotation) == ""


@pytest.mark.parametrize(
    "query",
    [
        "",
        "no xml",
        "<fetch/>",
        "<fetch><entity name='account'/></fetch>",
        "<other><entity name='contact'/></other>",
        "<fetch aggregate='true'><entity name='contact'/></fetch>",
        "<fetch top='5'><entity name='contact'/></fetch>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><fetch><entity name='contact'/></fetch>",
    ],
)
def test_a_query_that_does_not_give_members_is_refused_with_a_next_step(query: str) -> None:
    """The marketer can always copy the list to a static one."""
    with pytest.raises(NotAllowed, match="static"):
        MemberQuery(query, CONTACT, 500)


def test_a_moment_is_written_in_utc() -> None:
    """Dataverse compares in UTC."""
    assert protocol.moment(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00Z"
