"""Signing in to LinkedIn: the address, the exchange, refusals in words, and the signed state."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.response import HTTPResponse

from shared.domain.signins import SCOPES, SignIn
from shared.errors import AudienceSyncError, ConfigurationWrong, RemoteUnavailable, SignInNeeded, Throttled, UnexpectedAnswer
from shared.http import HttpClient
from shared.linkedin.oauth import LinkedInOAuth, explain_refusal, split_scopes
from shared.linkedin.oauth_state import SignedState, StateProblem, read_state, sign_state, state_key

BASE = "https://www.linkedin.example/oauth/v2"
REDIRECT = "https://app.example/api/linkedin/callback"
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
GRANTED = {
    "access_token": "access-1",
    "expires_in": 5_184_000,
    "refresh_token": "refresh-1",
    "refresh_token_expires_in": 31_536_000,
    "scope": "r_ads,rw_ads,rw_dmp_segments",
    "token_type": "Bearer",
}


class Canned(BaseAdapter):
    """Answers every request with the same words and remembers what was asked."""

    def __init__(self, body: Any, status: int = 200) -> None:
        super().__init__()
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status = status
        self.asked: list[tuple[str, dict[str, str]]] = []

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        body = request.body or b""
        form = parse_qs(body.decode() if isinstance(body, bytes) else body)
        self.asked.append((urlsplit(request.url or "").path, {name: values[0] for name, values in form.items()}))
        raw = HTTPResponse(BytesIO(self.body), status=self.status, preload_content=False)
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        """Nothing to close."""


def signed_in_by(adapter: Canned) -> LinkedInOAuth:
    """Return an OAuth client that talks to the adapter."""
    session = requests.Session()
    session.mount("https://", adapter)
    return LinkedInOAuth(HttpClient(BASE, name="LinkedIn", session=session), client_id="app", client_secret="hush")


def sign_in(**changes: Any) -> SignIn:
    """Return a sign-in of two months ago."""
    issued = NOW - timedelta(days=59)
    values: dict[str, Any] = {
        "user_id": "u1",
        "access_token": "access-0",
        "issued": issued,
        "expires": issued + timedelta(days=60),
        "refresh_token": "refresh-0",
        "refresh_expires": issued + timedelta(days=365),
    }
    return SignIn(**values | changes)


def test_the_sign_in_address_asks_for_all_scopes_at_once() -> None:
    """A person should have to agree once; scopes go out separated by spaces."""
    address = signed_in_by(Canned({})).authorization_url("st.ate", REDIRECT)
    parts = urlsplit(address)

    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{BASE}/authorization"
    assert "scope=r_ads%20rw_ads%20rw_dmp_segments" in parts.query
    assert parse_qs(parts.query) == {
        "response_type": ["code"],
        "client_id": ["app"],
        "redirect_uri": [REDIRECT],
        "state": ["st.ate"],
        "scope": [" ".join(SCOPES)],
    }


def test_a_code_becomes_a_sign_in() -> None:
    """Tokens, their ends, and the scopes that were really granted."""
    linkedin = Canned(GRANTED)
    signed_in = signed_in_by(linkedin).exchange("u1", "code-1", REDIRECT, NOW)

    assert linkedin.asked == [
        (
            "/oauth/v2/accessToken",
            {
                "grant_type": "authorization_code",
                "code": "code-1",
                "redirect_uri": REDIRECT,
                "client_id": "app",
                "client_secret": "hush",
            },
        )
    ]
    assert signed_in == SignIn(
        user_id="u1",
        access_token="access-1",
        issued=NOW,
        expires=NOW + timedelta(days=60),
        refresh_token="refresh-1",
        refresh_expires=NOW + timedelta(days=365),
        scopes=("r_ads", "rw_ads", "rw_dmp_segments"),
    )
    assert "access-1" not in repr(signed_in)


def test_an_app_without_refresh_tokens_works_too() -> None:
    """LinkedIn grants them to approved partners only."""
    only = {"access_token": "a", "expires_in": 100}
    signed_in = signed_in_by(Canned(only)).exchange("u1", "c", REDIRECT, NOW)

    assert (signed_in.refresh_token, signed_in.refresh_expires) == (None, None)
    assert signed_in.usable_until() == NOW + timedelta(seconds=100)
    assert signed_in.scopes == SCOPES


def test_a_scope_that_was_not_granted_is_noticed() -> None:
    """The tab names it, instead of failing much later."""
    signed_in = signed_in_by(Canned(GRANTED | {"scope": "r_ads,rw_ads"})).exchange("u1", "c", REDIRECT, NOW)

    assert signed_in.missing_scopes() == ("rw_dmp_segments",)


def test_a_refresh_does_not_lengthen_the_refresh_token() -> None:
    """Its life runs from the first consent: refreshed on day 59, it has 306 days left."""
    linkedin = Canned(GRANTED | {"refresh_token": "refresh-0", "refresh_token_expires_in": 306 * 86_400})
    renewed = signed_in_by(linkedin).refresh(sign_in(), NOW)

    assert linkedin.asked[0][1]["grant_type"] == "refresh_token"
    assert linkedin.asked[0][1]["refresh_token"] == "refresh-0"
    assert (renewed.access_token, renewed.issued, renewed.expires) == ("access-1", NOW, NOW + timedelta(days=60))
    assert renewed.refresh_expires == sign_in().refresh_expires


def test_a_refresh_that_names_no_refresh_token_keeps_the_old_one() -> None:
    """Otherwise one silent answer would end the sign-in."""
    renewed = signed_in_by(Canned({"access_token": "b", "expires_in": 60})).refresh(sign_in(), NOW)

    assert (renewed.refresh_token, renewed.refresh_expires) == ("refresh-0", sign_in().refresh_expires)


def test_without_a_refresh_token_only_a_person_can_help() -> None:
    """Nothing is asked of LinkedIn."""
    linkedin = Canned(GRANTED)
    with pytest.raises(SignInNeeded):
        signed_in_by(linkedin).refresh(sign_in(refresh_token=None), NOW)

    assert linkedin.asked == []


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_grant", "error_description": "gone"}, SignInNeeded),
        (400, {"error": "invalid_request", "error_description": "code expired"}, SignInNeeded),
        (401, {"error": "invalid_client"}, ConfigurationWrong),
        (400, {"error": "invalid_redirect_uri"}, ConfigurationWrong),
        (400, b"<html>", SignInNeeded),
        (429, {}, Throttled),
        (500, {}, RemoteUnavailable),
        (503, b"", RemoteUnavailable),
        (200, b"<html>", UnexpectedAnswer),
        (200, {"access_token": "a", "expires_in": 1e300}, UnexpectedAnswer),
    ],
)
def test_a_refused_exchange_says_who_can_help(status: int, body: Any, kind: type[AudienceSyncError]) -> None:
    """A person, an administrator, or time."""
    with pytest.raises(AudienceSyncError) as caught:
        signed_in_by(Canned(body, status)).exchange("u1", "very-secret-code", REDIRECT, NOW)

    assert type(caught.value) is kind
    assert "very-secret-code" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_introspection_tells_what_a_token_is_good_for() -> None:
    """The doctor shows it to an administrator."""
    facts = {"active": True, "status": "active", "scope": "r_ads,rw_ads", "expires_at": 1_800_000_000, "auth_type": "3L"}
    linkedin = Canned(facts)
    told = signed_in_by(linkedin).introspect("access-1")

    assert (told.active, told.status, told.scopes) == (True, "active", ("r_ads", "rw_ads"))
    assert told.expires == datetime.fromtimestamp(1_800_000_000, UTC)
    assert linkedin.asked == [("/oauth/v2/introspectToken", {"token": "access-1", "client_id": "app", "client_secret": "hush"})]


def test_signing_out_tells_linkedin_and_never_fails() -> None:
    """LinkedIn does not document the address, so its answer is not needed."""
    linkedin = Canned(b"no such page", 404)
    signed_in_by(linkedin).revoke(sign_in())

    assert [(path, form["token"]) for path, form in linkedin.asked] == [
        ("/oauth/v2/revoke", "access-0"),
        ("/oauth/v2/revoke", "refresh-0"),
    ]


def test_signing_out_without_a_network_never_fails() -> None:
    """The token is deleted here in any case."""

    class Cut(Canned):
        def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
            raise requests.ConnectionError(request=request)

    signed_in_by(Cut({})).revoke(sign_in())


# ------------------------------------------------------------------ refusals in words


@pytest.mark.parametrize(
    ("error", "next_step"),
    [
        ("user_cancelled_login", "Press Sign in"),
        ("user_cancelled_authorize", "choose Allow"),
        ("access_denied", "choose Allow"),
        ("unauthorized_scope_error", "Developer Portal"),
        ("invalid_grant", "Sign in to LinkedIn again"),
        ("invalid_client", "LINKEDIN_CLIENT_SECRET"),
        ("invalid_redirect_uri", "PUBLIC_URL"),
        ("server_error", "in a few minutes"),
        ("something_new", "tell your administrator"),
        ("", "tell your administrator"),
    ],
)
def test_every_refusal_at_linkedin_has_a_next_step(error: str, next_step: str) -> None:
    """People should not have to know OAuth."""
    assert next_step in explain_refusal(error, "what LinkedIn wrote")


def test_linkedins_own_words_are_shown_only_when_nothing_better_is_known() -> None:
    """Cut, and without what could be a secret."""
    assert "what LinkedIn wrote" not in explain_refusal("access_denied", "what LinkedIn wrote")
    told = explain_refusal("new_error", "what LinkedIn wrote to ada@contoso.example " + "x" * 5000)
    assert "new_error" in told
    assert "what LinkedIn wrote" in told
    assert "contoso" not in told
    assert len(told) < 500


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_refusal_becomes_one_line(error: str, description: str) -> None:
    """The callback's query string is outside data."""
    assert "\n" not in explain_refusal(error, description)


@pytest.mark.parametrize("scope", ["r_ads,rw_ads", "r_ads rw_ads", " r_ads, rw_ads "])
def test_scopes_are_split_on_commas_and_spaces(scope: str) -> None:
    """LinkedIn is asked with spaces and answers with commas."""
    assert split_scopes(scope) == ("r_ads", "rw_ads")


# ------------------------------------------------------------------ the state

KEY = state_key(b"k" * 32)
EXPIRES = NOW + timedelta(minutes=10)


def test_a_state_brings_back_its_ticket() -> None:
    """In the browser where the sign-in began, and in time."""
    state = sign_state(KEY, "ticket-1", "nonce-1", EXPIRES)

    assert read_state(KEY, state, "nonce-1", NOW) == SignedState("ticket-1", EXPIRES)


def test_a_state_is_safe_in_an_address_and_shows_no_nonce() -> None:
    """It travels through LinkedIn and the browser's history."""
    state = sign_state(KEY, "ticket-1", "nonce-1", EXPIRES)

    assert set(state) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert "nonce-1" not in state


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: (state, "nonce-2", NOW), StateProblem.OTHER_BROWSER),
        (lambda state: (state, "", NOW), StateProblem.OTHER_BROWSER),
        (lambda state: (state, "nonce-1", EXPIRES), StateProblem.EXPIRED),
        (lambda state: (state[:-2], "nonce-1", NOW), StateProblem.FORGED),
        (lambda state: ("x" + state, "nonce-1", NOW), StateProblem.FORGED),
        (lambda state: (state.partition(".")[0], "nonce-1", NOW), StateProblem.FORGED),
        (lambda state: (state + "A" * 3000, "nonce-1", NOW), StateProblem.FORGED),
        (lambda _: ("", "nonce-1", NOW), StateProblem.FORGED),
        (lambda _: (".", "nonce-1", NOW), StateProblem.FORGED),
    ],
)
def test_a_state_from_elsewhere_is_refused_with_its_reason(
    change: Callable[[str], tuple[str, str, datetime]], problem: StateProblem
) -> None:
    """Forged, of another browser, or too late: each is told apart so that the page can help."""
    state, nonce, now = change(sign_state(KEY, "ticket-1", "nonce-1", EXPIRES))

    assert read_state(KEY, state, nonce, now) is problem


def test_a_state_under_another_key_is_forged() -> None:
    """Keys for states are made from the sealing key and are not that key."""
    assert state_key(b"k" * 32) != b"k" * 32
    state = sign_state(state_key(b"other"), "ticket-1", "nonce-1", EXPIRES)

    assert read_state(KEY, state, "nonce-1", NOW) is StateProblem.FORGED


@given(st.text(max_size=200), st.text(max_size=50))
def test_no_state_from_outside_is_believed(state: str, nonce: str) -> None:
    """Whatever the query string holds, nothing is raised and nothing is accepted."""
    assert read_state(KEY, state, nonce, NOW) is StateProblem.FORGED


def test_no_changed_character_survives() -> None:
    """Every bit of a state is signed."""
    state = sign_state(KEY, "ticket-1", "nonce-1", EXPIRES)
    for position, letter in enumerate(state):
        changed = state[:position] + ("A" if letter != "A" else "B") + state[position + 1 :]
        assert not isinstance(read_state(KEY, changed, "nonce-1", NOW), SignedState)
