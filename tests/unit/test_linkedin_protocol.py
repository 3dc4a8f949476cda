"""LinkedIn's dialect: what we write, and how we read what comes back."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.audiences import Audience, State
from shared.errors import (
    AccessTokenExpired,
    AdAccountNeeded,
    AudienceSyncError,
    ConfigurationWrong,
    OutcomeUnknown,
    RemoteUnavailable,
    SignInNeeded,
    Throttled,
    TryAgainLater,
    UnexpectedAnswer,
)
from shared.http import Answer
from shared.linkedin import protocol
from shared.linkedin.brake import Brake, Bucket
from shared.linkedin.refusals import refusal, retry_after
from shared.ports import BatchOutcome

ACCOUNT = "urn:li:sponsoredAccount:512345678"
KEY = "dataverse:lima_audience:8a1f"
PLATFORM = "DIRECT_API"


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    """Return an answer as it comes from the wire."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def segment(**fields: Any) -> dict[str, Any]:
    """Return a DMP segment as LinkedIn describes one that is ready."""
    return {
        "id": 9821736,
        "name": "Newsletter",
        "type": "USER",
        "sourcePlatform": PLATFORM,
        "sourceSegmentId": KEY,
        "account": ACCOUNT,
        "inputCount": 12040,
        "newField": {"of": ["tomorrow"]},
        "destinations": [
            {
                "destination": "LINKEDIN",
                "destinationSegmentId": "urn:li:adSegment:8596576",
                "status": "READY",
                "matchedCount": 7011,
                "audienceSize": 6900,
            }
        ],
        **fields,
    }


# ------------------------------------------------------------------ writing


def test_a_search_by_foreign_key_encodes_urns_by_hand() -> None:
    """LinkedIn wants the colons of URNs encoded in a query string."""
    request = protocol.find_request(ACCOUNT, PLATFORM, KEY)

    assert request.method == "GET"
    assert request.path == (
        "/dmpSegments?q=account&account=urn%3Ali%3AsponsoredAccount%3A512345678&sourcePlatform=DIRECT_API"
        "&sourceSegmentId=dataverse%3Alima_audience%3A8a1f&start=0&count=100"
    )


def test_every_call_carries_token_version_and_protocol() -> None:
    """LinkedIn has no default version, and complex keys need protocol 2.0.0."""
    assert protocol.headers("secret", "202608") == {
        "Authorization": "Bearer secret",
        "LinkedIn-Version": "202608",
        "X-Restli-Protocol-Version": "2.0.0",
    }


def test_an_audience_is_created_for_streaming_under_our_key() -> None:
    """The key is how the audience is found again after an unclear answer."""
    request = protocol.create_request(ACCOUNT, PLATFORM, KEY, "Zürich 東京")

    assert (request.method, request.path, request.headers) == ("POST", "/dmpSegments", {"Content-Type": "application/json"})
    assert isinstance(request.body, bytes)
    assert json.loads(request.body) == {
        "name": "Zürich 東京",
        "type": "USER",
        "sourcePlatform": PLATFORM,
        "sourceSegmentId": KEY,
        "account": ACCOUNT,
        "destinations": [{"destination": "LINKEDIN"}],
    }


def test_members_travel_as_a_batch() -> None:
    """Without the batch header LinkedIn takes the body for one member."""
    request = protocol.members_request("98/21", b"{}")

    assert (request.method, request.path) == ("POST", "/dmpSegments/98%2F21/users")
    assert request.headers["X-RestLi-Method"] == "BATCH_CREATE"


def test_pages_of_ad_accounts_are_asked_for_by_token() -> None:
    """A page token is data from LinkedIn, so it is encoded."""
    assert protocol.accounts_request().path == "/adAccounts?q=search&pageSize=1000"
    assert protocol.accounts_request("a/b=").path == "/adAccounts?q=search&pageSize=1000&pageToken=a%2Fb%3D"


# ------------------------------------------------------------------ audiences


def test_a_ready_audience_tells_its_figures() -> None:
    """Status and counts sit inside the destination, the input count at the top."""
    audience = protocol.read_audience(answer(segment()))

    assert audience == Audience(
        id="9821736",
        name="Newsletter",
        account=ACCOUNT,
        state=State.READY,
        ad_segment="urn:li:adSegment:8596576",
        input_count=12040,
        matched=7011,
        size=6900,
    )


def test_a_building_audience_has_no_figures() -> None:
    """LinkedIn names no counts while it builds; that is not zero."""
    audience = protocol.read_audience(answer({"id": "7", "destinations": [{"destination": "LINKEDIN", "status": "BUILDING"}]}))

    assert audience.state is State.BUILDING
    assert (audience.input_count, audience.matched, audience.size, audience.ad_segment) == (None, None, None, None)


@pytest.mark.parametrize(
    "destinations",
    [None, [], [{"destination": "ELSEWHERE", "status": "READY"}], [{"destination": "LINKEDIN", "status": "TOMORROWS_WORD"}]],
)
def test_a_state_nobody_knows_is_still_going_on(destinations: Any) -> None:
    """LinkedIn may invent states; an unknown one must not end a job."""
    audience = protocol.read_audience(answer(segment(destinations=destinations)))

    assert audience.state is State.UNKNOWN
    assert audience.state.takes_members


def test_only_audiences_that_really_carry_the_key_are_found() -> None:
    """If LinkedIn ignored our filter, somebody else's audience must not be filled."""
    others = [
        segment(id=1, sourceSegmentId="other"),
        segment(id=2, account="urn:li:sponsoredAccount:9"),
        segment(id=3, sourcePlatform="LIST_UPLOAD"),
        segment(id=4, sourceSegmentId=None),
    ]
    found = protocol.read_found(answer({"elements": [*others, segment(id=5)]}), ACCOUNT, PLATFORM, KEY)

    assert [audience.id for audience in found.audiences] == ["5"]


def test_a_search_goes_on_while_there_are_more() -> None:
    """The total decides; without one, a short page is the last."""

    def following(count: int, paging: dict[str, int] | None) -> int:
        page = {"elements": [segment()] * count, **({"paging": paging} if paging else {})}
        return protocol.read_found(answer(page), ACCOUNT, PLATFORM, KEY, 100).next_start

    assert following(100, {"start": 100, "count": 100, "total": 300}) == 200
    assert following(100, {"start": 100, "count": 100, "total": 200}) == 0
    assert following(100, None) == 200
    assert following(3, None) == 0
    assert following(0, {"start": 100, "count": 100, "total": 300}) == 0


def test_of_two_audiences_under_one_key_the_living_one_wins() -> None:
    """A dead audience refuses members; among the living the oldest is taken by every worker alike."""

    def audience(id_: str, state: State) -> Audience:
        return Audience(id_, "", ACCOUNT, state)

    dead, young, old = audience("5", State.EXPIRED), audience("100", State.BUILDING), audience("99", State.READY)

    assert protocol.best_of([dead, young, old]) == old
    assert protocol.best_of([dead]) == dead
    assert protocol.best_of([]) is None


def test_the_new_id_is_read_from_either_header() -> None:
    """Older gateways send another name."""
    assert protocol.read_created(answer(b"", 201, x_restli_id="77", x_linkedin_id="88")) == "77"
    assert protocol.read_created(answer(b"", 201, x_linkedin_id="urn:li:dmpSegment:88")) == "88"


def test_a_created_audience_without_id_is_looked_up() -> None:
    """Creating again would make a second audience."""
    with pytest.raises(OutcomeUnknown):
        protocol.read_created(answer(b"", 201))


# ------------------------------------------------------------------ members


def elements(*entries: dict[str, Any]) -> Answer:
    """Return a batch answer."""
    return answer({"elements": list(entries)})


def test_an_accepted_batch_counts_every_member() -> None:
    """201 and 200 both mean accepted."""
    outcome = protocol.read_outcome(elements({"status": 201}, {"status": 200, "id": "x"}), 2)

    assert (outcome.accepted, outcome.refused, outcome.reasons) == (2, 0, {})


def test_refusals_inside_a_success_are_counted_with_their_reasons() -> None:
    """A failed member hides in an answer 200; its hash must not reach a log or a row."""
    digest = "584c4423c421df49955759498a71495aba49b8780eb9387dff333b6f0982c777"
    entries: list[dict[str, Any]] = [
        {"status": 201},
        {"status": 400, "error": {"status": 400, "message": f"Invalid value '{digest}' at index 17"}},
        {"status": 400, "error": {"status": 400, "message": f"Invalid value '{digest[::-1]}' at index 4"}},
        {"status": 422, "error": {"code": "BAD_MEMBER"}},
        {"status": 403},
        {"status": 400, "error": {"message": "ada@contoso.example is not allowed"}},
    ]
    outcome = protocol.read_outcome(elements(*entries), 6)

    assert (outcome.accepted, outcome.refused) == (1, 5)
    assert outcome.reasons == {
        "Invalid value '…' at index n": 2,
        "BAD_MEMBER": 1,
        "status 403": 1,
        "*** is not allowed": 1,
    }


def test_many_different_reasons_stay_short() -> None:
    """A log line must not grow with the batch."""
    entries = [{"status": 400, "error": {"message": f"reason {'x' * number}"}} for number in range(500)]

    outcome = protocol.read_outcome(elements(*entries), 500)

    assert len(outcome.reasons) == 11
    assert sum(outcome.reasons.values()) == 500


@pytest.mark.parametrize("status", [408, 423, 429, 500, 503])
def test_members_refused_for_now_are_sent_again(status: int) -> None:
    """Otherwise the audience would lack members that LinkedIn would take a minute later."""
    with pytest.raises(RemoteUnavailable, match="1 of 2 members"):
        protocol.read_outcome(elements({"status": 201}, {"status": status}), 2)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_how_linkedin_writes_its_answer_changes_nothing(separators: tuple[str, str]) -> None:
    """The usual answer is compared letter for letter; written in any other way it is read, with the same outcome."""

    def written(*statuses: int) -> Answer:
        entries = [{"status": status} for status in statuses]
        return answer(json.dumps({"elements": entries}, separators=separators).encode())

    assert protocol.read_outcome(written(201, 201, 201), 3) == BatchOutcome(3, 0, {})
    assert protocol.read_outcome(written(201, 400, 201), 3) == BatchOutcome(2, 1, {"status 400": 1})
    with pytest.raises(TryAgainLater, match="2 of 3 members"):
        protocol.read_outcome(written(201, 201), 3)
    with pytest.raises(TryAgainLater, match="4 of 3 members"):
        protocol.read_outcome(written(201, 201, 201, 201), 3)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_answer_of_another_length_is_not_trusted(count: int) -> None:
    """Members are matched by position, so a missing entry leaves all in doubt."""
    with pytest.raises(TryAgainLater, match="of 2 members"):
        protocol.read_outcome(elements(*[{"status": 201}] * count), 2)


# ------------------------------------------------------------------ ad accounts


def test_ad_accounts_come_with_the_persons_role() -> None:
    """Only people with more than Viewer may write audiences, so the role decides what is offered."""
    body = {
        "elements": [
            {"id": 1, "name": "One", "currency": "EUR", "status": "ACTIVE", "test": False, "type": "BUSINESS"},
            {"id": 2, "name": "Two", "currency": "USD", "status": "CANCELED", "test": True},
        ],
        "metadata": {"nextPageToken": "more"},
    }
    accounts, following = protocol.read_accounts(answer(body), {"urn:li:sponsoredAccount:1": "CAMPAIGN_MANAGER"})

    assert following == "more"
    assert [(a.urn, a.name, a.role, a.test, a.is_usable) for a in accounts] == [
        ("urn:li:sponsoredAccount:1", "One", "CAMPAIGN_MANAGER", False, True),
        ("urn:li:sponsoredAccount:2", "Two", None, True, False),
    ]


def test_roles_are_read_by_account() -> None:
    """An entry without account or role says nothing."""
    body = {"elements": [{"account": ACCOUNT, "role": "VIEWER", "user": "urn:li:person:x"}, {"role": "VIEWER"}, {"account": "a"}]}

    assert protocol.read_roles(answer(body)) == ({ACCOUNT: "VIEWER"}, 0)


# ------------------------------------------------------------------ refusals

REFUSALS = [
    (401, {"serviceErrorCode": 65602, "message": "expired"}, AccessTokenExpired),
    (401, {"code": "EXPIRED_ACCESS_TOKEN"}, AccessTokenExpired),
    (401, {"serviceErrorCode": 65601, "code": "REVOKED_ACCESS_TOKEN"}, SignInNeeded),
    (401, {"serviceErrorCode": 65600, "code": "INVALID_ACCESS_TOKEN"}, SignInNeeded),
    (401, {"code": "EMPTY_ACCESS_TOKEN"}, UnexpectedAnswer),
    (401, {}, SignInNeeded),
    (403, {"serviceErrorCode": 100, "code": "ACCESS_DENIED"}, AdAccountNeeded),
    (404, {}, UnexpectedAnswer),
    (408, {}, RemoteUnavailable),
    (409, {}, RemoteUnavailable),
    (411, {}, UnexpectedAnswer),
    (400, {"code": "ILLEGAL_ARGUMENT"}, UnexpectedAnswer),
    (423, {}, RemoteUnavailable),
    (426, {"code": "NONEXISTENT_VERSION"}, ConfigurationWrong),
    (429, {"serviceErrorCode": 101}, Throttled),
    (429, {"code": "SEGMENT_LIMIT_EXCEEDED"}, ConfigurationWrong),
    (500, {}, RemoteUnavailable),
    (502, b"<html>Bad gateway</html>", RemoteUnavailable),
    (504, {}, RemoteUnavailable),
    (302, {}, UnexpectedAnswer),
    (400, [1], UnexpectedAnswer),
]


@pytest.mark.parametrize(("status", "body", "kind"), REFUSALS)
def test_each_refusal_says_what_the_job_does_next(status: int, body: Any, kind: type[AudienceSyncError]) -> None:
    """Decided on status and codes: LinkedIn may change its messages."""
    error = refusal(answer(body, status), version="202608")

    assert type(error) is kind
    assert str(error).endswith(".")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (408, OutcomeUnknown),
        (409, OutcomeUnknown),
        (500, OutcomeUnknown),
        (503, OutcomeUnknown),
        (504, OutcomeUnknown),
        (423, RemoteUnavailable),
        (429, Throttled),
    ],
)
def test_an_unclear_answer_to_a_create_is_never_just_repeated(status: int, kind: type[AudienceSyncError]) -> None:
    """The audience may exist already; it is looked up before it is created again."""
    assert type(refusal(answer({}, status), version="202608", creates=True)) is kind


def test_a_sunset_version_names_the_setting() -> None:
    """An administrator must know what to change."""
    error = refusal(answer({"status": 426}, 426), version="202508")

    assert "202508" in str(error)
    assert "LINKEDIN_VERSION" in str(error)


def test_a_missing_product_is_told_apart_from_a_missing_role() -> None:
    """Reading ad accounts needs no role, so a refusal there is the app's."""
    assert isinstance(refusal(answer({}, 403), version="202608", about_accounts=True), ConfigurationWrong)


def test_an_unforeseen_answer_can_be_traced_and_shows_no_data() -> None:
    """Support needs LinkedIn's request id; nobody needs a member's hash."""
    body = {"code": "ODD", "message": "Odd 584c4423c421df49955759498a71495aba49b8780eb9387dff333b6f0982c777"}
    text = str(refusal(answer(body, 418, x_li_uuid="AAYx=="), version="202608"))

    assert "status 418, ODD, request AAYx==" in text
    assert "584c" not in text


def test_the_pause_that_linkedin_asks_for_is_kept() -> None:
    """Seconds, or a date counted from the answer's own clock."""
    date = "Mon, 23 Nov 2026 10:00:00 GMT"

    assert retry_after({"Retry-After": "30"}) == 30
    assert retry_after({"Retry-After": "Mon, 23 Nov 2026 10:01:30 GMT", "Date": date}) == 90
    assert retry_after({"Retry-After": "Mon, 23 Nov 2026 10:01:30 GMT"}) is None
    for unusable in ("", "soon", "-5", "nan", "inf", "Mon, 23 Nov 2026 09:00:00 GMT"):
        assert retry_after({"Retry-After": unusable, "Date": date}) is None
    assert retry_after({}) is None


# ------------------------------------------------------------------ whatever comes

FIELDS = ["elements", "paging", "total", "id", "status", "error", "message", "code", "destinations", "metadata", "nextPageToken"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(FIELDS) | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
BODIES = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())


@given(BODIES, st.integers(min_value=300, max_value=599))
def test_no_answer_breaks_the_reader(body: bytes, status: int) -> None:
    """Whatever LinkedIn or a gateway sends is read, or becomes one of our errors."""
    strange = Answer(200, {}, body)
    readers = (
        lambda: protocol.read_audience(strange),
        lambda: protocol.read_found(strange, ACCOUNT, PLATFORM, KEY),
        lambda: protocol.read_outcome(strange, 2),
        lambda: protocol.read_accounts(strange, {}),
        lambda: protocol.read_account(strange, {}),
        lambda: protocol.read_roles(strange),
    )
    for read in readers:
        with suppress(TryAgainLater):
            read()
    assert isinstance(refusal(Answer(status, {}, body), version="202608"), AudienceSyncError)


def test_a_body_nested_without_end_is_refused() -> None:
    """A parser must not fall over its own depth."""
    with pytest.raises(RemoteUnavailable):
        protocol.read_outcome(Answer(200, {}, b'{"elements":' + b"[" * 100_000), 1)


# ------------------------------------------------------------------ the brake


class Watch:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_calls_are_spread_over_the_minute() -> None:
    """LinkedIn counts calls per minute; a long upload must stay below its limit."""
    watch = Watch()
    brake = Brake(450, clock=watch, sleep=watch.sleep)
    begun = []
    for _ in range(2000):
        brake.wait()
        begun.append(watch.now)

    in_any_minute = max(sum(start <= moment < start + 60 for moment in begun) for start in begun)
    assert 450 <= in_any_minute <= 496


def test_a_short_upload_never_brakes() -> None:
    """A hundred thousand members are twenty calls."""
    watch = Watch()
    brake = Brake(450, clock=watch, sleep=watch.sleep)
    for _ in range(20):
        brake.wait()

    assert watch.slept == []


def test_threads_that_wait_at_once_wait_one_after_the_other() -> None:
    """Each caller takes its own place, so that they do not all start together."""
    bucket = Bucket(60, 0.0, 0.0)
    waits = []
    for _ in range(3):
        bucket, seconds = bucket.drawn(0.0)
        waits.append(seconds)

    assert waits == [1.0, 2.0, 3.0]
