"""The LinkedIn client on the LinkedIn simulator: audiences, members, ad accounts, refusals, signing in."""

import hashlib
import html
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from sandbox.linkedin import LinkedInSimulator
from sandbox.linkedin.seeds import CAREERS, CLIENT_ID, CLIENT_SECRET, EUROPE, NORTHWIND, READ_ONLY
from sandbox.web import Clock, Fault, InProcess
from shared.domain.audiences import State, foreign_key
from shared.errors import (
    AccessTokenExpired,
    AdAccountNeeded,
    AudienceGone,
    AudienceSyncError,
    ConfigurationWrong,
    OutcomeUnknown,
    RemoteUnavailable,
    SignInNeeded,
    Throttled,
    TryAgainLater,
    UnexpectedAnswer,
)
from shared.http import HttpClient
from shared.linkedin.client import LinkedInClient
from shared.linkedin.oauth import LinkedInOAuth

HOST = "https://linkedin.example"
REDIRECT = "https://app.example/api/linkedin/callback"
ACCOUNT = EUROPE.urn
KEY = foreign_key("8a1f8a1f-0000-4000-8000-000000000001")


class Watch:
    """Seconds that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def simulator() -> LinkedInSimulator:
    """Return LinkedIn with nothing in it but two people and their ad accounts."""
    return LinkedInSimulator(Clock(), redirect_uris=[REDIRECT])


@pytest.fixture
def session(simulator: LinkedInSimulator) -> Iterator[requests.Session]:
    """Give a session that reaches the simulator without a socket."""
    with requests.Session() as session:
        session.mount(HOST, InProcess(simulator))
        yield session


@pytest.fixture
def watch() -> Watch:
    """Return the client's seconds."""
    return Watch()


@pytest.fixture
def linkedin(session: requests.Session, watch: Watch) -> LinkedInClient:
    """Return the real client."""
    http = HttpClient(f"{HOST}/rest", name="LinkedIn", session=session)
    return LinkedInClient(
        http, version="202608", source_platform="DIRECT_API", calls_per_minute=450, clock=watch, sleep=watch.sleep
    )


@pytest.fixture
def oauth(session: requests.Session) -> LinkedInOAuth:
    """Return the real sign-in client."""
    http = HttpClient(f"{HOST}/oauth/v2", name="LinkedIn", session=session)
    return LinkedInOAuth(http, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)


@pytest.fixture
def token(simulator: LinkedInSimulator) -> str:
    """Return Ada's access token."""
    return granted(simulator, "ada")


def granted(simulator: LinkedInSimulator, person: str, scopes: list[str] | None = None) -> str:
    """Return an access token of a person."""
    return str(simulator.actions()["grant"](person=person, scopes=scopes)["access_token"])


def digests(count: int, start: int = 0) -> bytes:
    """Return so many different digests."""
    return b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(start, start + count))


def members(simulator: LinkedInSimulator, audience_id: str) -> set[str]:
    """Return what LinkedIn holds."""
    return set(simulator.actions()["members"](segment_id=audience_id))


def hexes(packed: bytes) -> set[str]:
    """Return digests as LinkedIn shows them."""
    return {packed[start : start + 32].hex() for start in range(0, len(packed), 32)}


def fail_next(simulator: LinkedInSimulator, path: str, status: int, body: Any = None, **headers: str) -> None:
    """Let the next request to a path answer with an error, and do nothing."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    simulator.faults.append(Fault("status", path=path, status=status, body=body, headers=named))


# ------------------------------------------------------------------ audiences


def test_an_audience_is_found_again_under_its_key(linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str) -> None:
    """The way back after an unclear answer."""
    assert linkedin.find_audience(token, ACCOUNT, KEY) is None

    made = linkedin.create_audience(token, ACCOUNT, KEY, "Newsletter für Zürich")
    linkedin.create_audience(token, ACCOUNT, foreign_key("another"), "Another")
    found = linkedin.find_audience(token, ACCOUNT, KEY)

    assert found is not None
    assert (found.id, found.name, found.account) == (made, "Newsletter für Zürich", ACCOUNT)
    assert [call.status for call in simulator.calls] == [200, 201, 201, 200]


def test_an_audience_is_found_among_a_thousand(linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str) -> None:
    """Even if LinkedIn ignored the key in the question, all pages are read and only ours is taken."""
    made = [linkedin.create_audience(token, ACCOUNT, foreign_key(f"row-{number}"), "x") for number in range(250)]
    everything = simulator.state.of_account
    simulator.state.of_account = lambda account, *_: everything(account, None, None)  # type: ignore[method-assign]
    simulator.calls.clear()

    found = linkedin.find_audience(token, ACCOUNT, foreign_key("row-242"))

    assert found is not None
    assert found.id == made[242]
    assert len(simulator.calls) == 3


def test_an_audience_grows_from_building_to_ready(linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str) -> None:
    """Figures come only when LinkedIn has matched."""
    simulator.actions()["speed"](build="after 20 seconds")
    made = linkedin.create_audience(token, ACCOUNT, KEY, "Newsletter")
    linkedin.add_members(token, made, digests(1000))
    building = linkedin.read_audience(token, made)
    simulator.clock.advance(21)
    ready = linkedin.read_audience(token, made)

    assert building is not None
    assert (building.state, building.size, building.match_rate) == (State.BUILDING, None, None)
    assert ready is not None
    assert (ready.state, ready.input_count, ready.match_rate) == (State.READY, 1000, 60.0)
    assert ready.ad_segment is not None
    assert ready.ad_segment.startswith("urn:li:adSegment:")


def test_older_gateways_name_the_new_audience_too(linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str) -> None:
    """They use another header for the id."""
    simulator.actions()["settings"](created_id_header="x-linkedin-id")

    made = linkedin.create_audience(token, ACCOUNT, KEY, "Newsletter")

    assert made == str(simulator.actions()["segments"]()[0]["id"])


@pytest.mark.parametrize("kind", ["created-then-dropped", "created-then-409", "status-after", "conflict"])
def test_an_unclear_creation_is_told_apart(linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, kind: str) -> None:
    """The pipeline then looks for the audience instead of making a second one."""
    simulator.faults.append(Fault(kind, method="POST", status=504))

    with pytest.raises(OutcomeUnknown):
        linkedin.create_audience(token, ACCOUNT, KEY, "Newsletter")

    assert (linkedin.find_audience(token, ACCOUNT, KEY) is None) == (kind == "conflict")


def test_an_audience_that_has_not_spread_yet_is_unknown(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str
) -> None:
    """LinkedIn answers 404 for a while after a creation; the pipeline decides what that means."""
    simulator.actions()["speed"](spread="after 5 seconds")
    made = linkedin.create_audience(token, ACCOUNT, KEY, "Newsletter")

    assert linkedin.read_audience(token, made) is None
    assert linkedin.add_members(token, made, digests(3)) is None
    simulator.clock.advance(6)
    assert linkedin.add_members(token, made, digests(3)) is not None


# ------------------------------------------------------------------ members


@pytest.fixture
def audience(linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str) -> str:
    """Return an empty audience of Ada's."""
    made = linkedin.create_audience(token, ACCOUNT, KEY, "Newsletter")
    simulator.calls.clear()
    return made


def test_a_full_batch_arrives_in_one_request(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, audience: str
) -> None:
    """Five thousand members are one call."""
    outcome = linkedin.add_members(token, audience, digests(5000))

    assert outcome is not None
    assert (outcome.accepted, outcome.refused) == (5000, 0)
    assert members(simulator, audience) == hexes(digests(5000))
    assert [(call.status, call.elements) for call in simulator.calls] == [(200, 5000)]


def test_members_can_be_sent_twice_and_taken_out_again(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, audience: str
) -> None:
    """Both are harmless when repeated."""
    for _ in range(2):
        linkedin.add_members(token, audience, digests(10))
    for _ in range(2):
        outcome = linkedin.remove_members(token, audience, digests(4))

    assert outcome is not None
    assert outcome.accepted == 4
    assert members(simulator, audience) == hexes(digests(6, start=4))


def test_failures_inside_a_success_are_seen(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, audience: str
) -> None:
    """A 200 does not mean that everybody was taken."""
    simulator.faults.append(Fault("element-failures", body={"failing": 7, "status": 400, "message": "Invalid value"}))

    outcome = linkedin.add_members(token, audience, digests(100))

    assert outcome is not None
    assert (outcome.accepted, outcome.refused, outcome.reasons) == (93, 7, {"Invalid value": 7})


@pytest.mark.parametrize("body", [1, -1, 100])
def test_a_batch_answer_of_wrong_length_is_sent_again(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, audience: str, body: int
) -> None:
    """Nobody can say which members the missing entries were."""
    simulator.faults.append(Fault("wrong-length", body=body))

    with pytest.raises(TryAgainLater):
        linkedin.add_members(token, audience, digests(100))
    again = linkedin.add_members(token, audience, digests(100))

    assert again is not None
    assert again.accepted == 100


@pytest.mark.parametrize("kind", ["batch-applied-then-5xx", "drop-before", "drop-after"])
def test_a_lost_batch_answer_is_tried_again(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, audience: str, kind: str
) -> None:
    """Whether it was applied or not, sending it again is harmless."""
    simulator.faults.append(Fault(kind, path="users"))

    with pytest.raises(RemoteUnavailable):
        linkedin.add_members(token, audience, digests(100))
    linkedin.add_members(token, audience, digests(100))

    assert members(simulator, audience) == hexes(digests(100))


@pytest.mark.parametrize("status", ["EXPIRED", "FAILED", "ERROR"])
def test_a_dead_audience_takes_no_members(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, audience: str, status: str
) -> None:
    """The person hears that it has to be made again, not that something unforeseen happened."""
    simulator.actions()["set_status"](segment_id=audience, status=status)

    with pytest.raises(AudienceGone, match=status):
        linkedin.add_members(token, audience, digests(10))


def test_parallel_uploads_keep_to_the_calls_per_minute(session: requests.Session, token: str, audience: str) -> None:
    """Threads share one brake, and LinkedIn never says 429."""
    slow = Watch()
    http = HttpClient(f"{HOST}/rest", name="LinkedIn", session=session)
    linkedin = LinkedInClient(
        http, version="202608", source_platform="DIRECT_API", calls_per_minute=60, clock=lambda: 0.0, sleep=slow.sleep
    )
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda number: linkedin.add_members(token, audience, digests(2, number)), range(30)))

    assert all(outcomes)
    assert sorted(round(seconds) for seconds in slow.slept) == list(range(1, 25))


# ------------------------------------------------------------------ ad accounts


def test_ad_accounts_come_with_roles_over_all_pages(linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str) -> None:
    """A person with very many accounts sees all of them."""
    simulator.actions()["many_accounts"](person="ada", count=1500)

    accounts = linkedin.ad_accounts(token)

    assert len(accounts) == 1506
    assert len({account.urn for account in accounts}) == 1506
    assert all(account.role for account in accounts)
    by_name = {account.name: account for account in accounts}
    assert by_name["Contoso Europe"].is_usable
    assert not by_name["Fabrikam, for reading only"].is_usable
    assert not by_name["Contoso, closed in 2024"].is_usable
    assert by_name["Contoso, test account"].test


def test_somebody_without_ad_accounts_gets_an_empty_list(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str
) -> None:
    """Normal for an app on LinkedIn's Development tier."""
    simulator.actions()["no_accounts"](person="ada")

    assert linkedin.ad_accounts(token) == []


def test_one_ad_account_costs_two_requests(linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str) -> None:
    """It is checked before every creation."""
    account = linkedin.ad_account(token, ACCOUNT)

    assert account is not None
    assert (account.urn, account.name, account.role, account.is_usable) == (ACCOUNT, "Contoso Europe", "ACCOUNT_MANAGER", True)
    assert len(simulator.calls) == 2


def test_an_ad_account_of_somebody_else_is_not_reachable(linkedin: LinkedInClient, token: str) -> None:
    """Neither one that exists nor one that does not."""
    assert linkedin.ad_account(token, NORTHWIND.urn) is None
    assert linkedin.ad_account(token, "urn:li:sponsoredAccount:1") is None


def test_a_viewer_cannot_write_audiences(linkedin: LinkedInClient, token: str) -> None:
    """The person is asked for another ad account."""
    account = linkedin.ad_account(token, READ_ONLY.urn)

    assert account is not None
    assert not account.is_usable
    with pytest.raises(AdAccountNeeded):
        linkedin.create_audience(token, READ_ONLY.urn, KEY, "Newsletter")


# ------------------------------------------------------------------ refusals


def test_an_expired_token_can_be_refreshed(linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str) -> None:
    """The pipeline refreshes once and repeats the call."""
    simulator.actions()["end_tokens"](person="ada", code="EXPIRED_ACCESS_TOKEN")

    with pytest.raises(AccessTokenExpired):
        linkedin.find_audience(token, ACCOUNT, KEY)


@pytest.mark.parametrize("code", ["REVOKED_ACCESS_TOKEN", "INVALID_ACCESS_TOKEN"])
def test_a_revoked_token_needs_a_person(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, watch: Watch, code: str
) -> None:
    """A token that has been in use is not waited for."""
    linkedin.find_audience(token, ACCOUNT, KEY)
    watch.now += 60
    simulator.actions()["end_tokens"](person="ada", code=code)

    with pytest.raises(SignInNeeded) as caught:
        linkedin.find_audience(token, ACCOUNT, KEY)
    assert type(caught.value) is SignInNeeded


def test_a_token_refused_seconds_after_it_was_issued_is_waited_for(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, watch: Watch
) -> None:
    """LinkedIn calls a new token revoked until it has spread; asking the person again would be wrong."""
    simulator.faults.append(Fault("just-issued-401", times=100, seconds=8))

    with pytest.raises(TryAgainLater) as caught:
        linkedin.ad_accounts(token)
    assert caught.value.after_seconds == 7
    simulator.clock.advance(8)
    watch.now += 8
    assert linkedin.ad_accounts(token)


def test_a_refused_token_does_not_stay_young_for_ever(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, watch: Watch
) -> None:
    """After half a minute a revoked token is a revoked token."""
    simulator.actions()["end_tokens"](person="ada", code="REVOKED_ACCESS_TOKEN")
    kinds = []
    for _ in range(6):
        with pytest.raises(AudienceSyncError) as caught:
            linkedin.find_audience(token, ACCOUNT, KEY)
        kinds.append(type(caught.value))
        watch.now += 7

    assert kinds == [TryAgainLater] * 5 + [SignInNeeded]


def test_an_app_without_the_products_is_an_administrators_matter(linkedin: LinkedInClient, simulator: LinkedInSimulator) -> None:
    """Choosing another ad account would not help."""
    token = granted(simulator, "ada", ["openid", "profile"])

    with pytest.raises(ConfigurationWrong, match="Developer Portal"):
        linkedin.ad_accounts(token)
    with pytest.raises(ConfigurationWrong, match="Developer Portal"):
        linkedin.ad_account(token, ACCOUNT)


def test_a_version_that_ended_names_the_setting(session: requests.Session, token: str) -> None:
    """LinkedIn switches versions off after a year; somebody has to raise the number."""
    http = HttpClient(f"{HOST}/rest", name="LinkedIn", session=session)
    old = LinkedInClient(http, version="202401", source_platform="DIRECT_API", calls_per_minute=450)

    with pytest.raises(ConfigurationWrong, match=r"202401.*LINKEDIN_VERSION"):
        old.find_audience(token, ACCOUNT, KEY)


def test_a_full_ad_account_is_final(linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str) -> None:
    """It is a 429, but waiting does not help."""
    simulator.actions()["settings"](segment_limit=1)
    linkedin.create_audience(token, ACCOUNT, KEY, "First")

    with pytest.raises(ConfigurationWrong, match="delete audiences"):
        linkedin.create_audience(token, ACCOUNT, foreign_key("another"), "Second")


def test_throttling_says_how_long_when_linkedin_does(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, audience: str
) -> None:
    """LinkedIn documents no Retry-After; if it ever comes, it is kept."""
    simulator.faults.append(Fault("throttled"))
    with pytest.raises(Throttled) as plain:
        linkedin.add_members(token, audience, digests(1))
    fail_next(simulator, "users", 429, {"status": 429}, Retry_After="30")
    with pytest.raises(Throttled) as dated:
        linkedin.add_members(token, audience, digests(1))

    assert (plain.value.after_seconds, dated.value.after_seconds) == (None, 30.0)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 423])
def test_a_linkedin_that_cannot_answer_is_asked_again(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str, status: int
) -> None:
    """Whatever its gateway says, in JSON or not."""
    calls: list[Callable[[], object]] = [
        lambda: linkedin.find_audience(token, ACCOUNT, KEY),
        lambda: linkedin.read_audience(token, "1"),
        lambda: linkedin.add_members(token, "1", digests(1)),
        lambda: linkedin.ad_accounts(token),
        lambda: linkedin.ad_account(token, ACCOUNT),
    ]
    for call in calls:
        fail_next(simulator, "/rest/", status, "<html>sorry</html>")
        with pytest.raises(RemoteUnavailable):
            call()


def test_an_unforeseen_refusal_tells_support_what_to_ask_for(
    linkedin: LinkedInClient, simulator: LinkedInSimulator, token: str
) -> None:
    """LinkedIn's request id, and never the token."""
    fail_next(simulator, "/rest/", 400, {"status": 400, "code": "ODD", "message": "Very odd"})

    with pytest.raises(UnexpectedAnswer, match=r"status 400, ODD, request [0-9a-f]{32}\).*Very odd") as caught:
        linkedin.find_audience(token, ACCOUNT, KEY)
    assert token not in str(caught.value)


# ------------------------------------------------------------------ signing in

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def consent(session: requests.Session, address: str, person: str = "ada") -> dict[str, str]:
    """Do at LinkedIn's pages what a person does, and return what the browser brings back."""
    page = session.get(address, allow_redirects=False)
    for decision in ("sign-in", "allow"):
        asked = re.search(r'name="request" value="([^"]*)"', page.text)
        action = re.search(r'<form[^>]* action="([^"]*)"', page.text)
        assert asked is not None
        assert action is not None
        pressed = {"request": html.unescape(asked[1]), "person": person, "decision": decision}
        page = session.post(HOST + action[1], data=pressed, allow_redirects=False)
        target = page.headers["Location"]
        if target.startswith("/"):
            cookie = page.headers.get("Set-Cookie", "").partition(";")[0]
            page = session.get(HOST + target, headers={"Cookie": cookie}, allow_redirects=False)
            session.headers["Cookie"] = cookie
    return {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}


def test_a_person_signs_in_at_linkedin(
    linkedin: LinkedInClient, oauth: LinkedInOAuth, simulator: LinkedInSimulator, session: requests.Session
) -> None:
    """From the address on the row to ad accounts, refreshed in between."""
    simulator.actions()["settings"](refresh_tokens=True)
    back = consent(session, oauth.authorization_url("the-state", REDIRECT))
    assert back["state"] == "the-state"

    sign_in = oauth.exchange("user-1", back["code"], REDIRECT, NOW)
    assert sign_in.missing_scopes() == ()
    assert CAREERS.urn in {account.urn for account in linkedin.ad_accounts(sign_in.access_token)}

    simulator.actions()["end_tokens"](person="ada", code="EXPIRED_ACCESS_TOKEN")
    renewed = oauth.refresh(sign_in, NOW + timedelta(days=59))
    assert linkedin.ad_accounts(renewed.access_token)
    assert oauth.introspect(renewed.access_token).active

    oauth.revoke(renewed)
    assert not oauth.introspect(renewed.access_token).active
    with pytest.raises(SignInNeeded):
        oauth.refresh(renewed, NOW)


def test_a_code_works_once(oauth: LinkedInOAuth, session: requests.Session) -> None:
    """A replayed callback gets no token."""
    back = consent(session, oauth.authorization_url("s", REDIRECT))
    oauth.exchange("user-1", back["code"], REDIRECT, NOW)

    with pytest.raises(SignInNeeded):
        oauth.exchange("user-1", back["code"], REDIRECT, NOW)


def test_a_wrong_client_secret_is_an_administrators_matter(session: requests.Session) -> None:
    """The person can do nothing about it."""
    http = HttpClient(f"{HOST}/oauth/v2", name="LinkedIn", session=session)
    wrong = LinkedInOAuth(http, client_id=CLIENT_ID, client_secret="wrong")

    with pytest.raises(ConfigurationWrong, match="LINKEDIN_CLIENT_SECRET"):
        wrong.exchange("user-1", "code", REDIRECT, NOW)
