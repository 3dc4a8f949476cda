"""LinkedIn's three-legged OAuth: the sign-in address, codes and refresh tokens exchanged for access tokens.

https://learn.microsoft.com/linkedin/shared/authentication/authorization-code-flow
https://learn.microsoft.com/linkedin/shared/authentication/programmatic-refresh-tokens
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec

from shared.domain.signins import SCOPES, SignIn
from shared.errors import AudienceSyncError, ConfigurationWrong, RemoteUnavailable, SignInNeeded, Throttled, UnexpectedAnswer
from shared.http import Answer, HttpClient, Request
from shared.linkedin.protocol import without_data
from shared.linkedin.refusals import retry_after

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_OK = 200
_TOO_MANY = 429
_NOT_NOW = frozenset({408, 423})
_SERVER_ERRORS = 500
_NAME_LENGTH = 60

_REFUSALS = {
    "user_cancelled_login": "You closed LinkedIn's sign-in page before signing in. Press Sign in to try again.",
    "user_cancelled_authorize": "You did not allow access at LinkedIn. Press Sign in to try again, and choose Allow there.",
    "access_denied": "LinkedIn was not allowed to give access. Press Sign in to try again, and choose Allow there.",
    "unauthorized_scope_error": (
        "The LinkedIn app may not ask for the permissions that audiences need. An administrator has to add the products that "
        "grant r_ads, rw_ads and rw_dmp_segments to the app in LinkedIn's Developer Portal."
    ),
    "invalid_scope": (
        "LinkedIn does not know one of the permissions that audiences need. An administrator has to add the products that "
        "grant r_ads, rw_ads and rw_dmp_segments to the app in LinkedIn's Developer Portal."
    ),
    "invalid_grant": "LinkedIn no longer accepts this sign-in. Sign in to LinkedIn again.",
    "invalid_client": (
        "LinkedIn does not know the app, or its secret is wrong. An administrator has to check the settings LINKEDIN_CLIENT_ID "
        "and LINKEDIN_CLIENT_SECRET."
    ),
    "unauthorized_client": (
        "LinkedIn does not let the app sign people in. An administrator has to check the app in LinkedIn's Developer Portal."
    ),
    "invalid_redirect_uri": (
        "LinkedIn does not know the address to return to. An administrator has to register it in LinkedIn's Developer Portal "
        "exactly as the setting PUBLIC_URL gives it, with /api/linkedin/callback at the end."
    ),
    "server_error": "LinkedIn had a problem of its own. Press Sign in to try again in a few minutes.",
    "temporarily_unavailable": "LinkedIn cannot sign people in at the moment. Press Sign in to try again in a few minutes.",
}
_ADMINISTRATORS = frozenset(
    {"unauthorized_scope_error", "invalid_scope", "invalid_client", "unauthorized_client", "invalid_redirect_uri"}
)


def explain_refusal(error: str, description: str = "") -> str:
    """Return a sentence with a next step for what LinkedIn gave as `error` and `error_description`.

    The description is repeated only when the error is unknown, cut and without anything that could be a secret.
    The result is text, not HTML.

    >>> explain_refusal("user_cancelled_login")
    "You closed LinkedIn's sign-in page before signing in. Press Sign in to try again."
    """
    known = _REFUSALS.get(error.strip().lower())
    if known:
        return known
    name = without_data(error, _NAME_LENGTH) or "no reason given"
    words = f' It says: "{said}".' if (said := without_data(description, 200)) else ""
    return (
        f"LinkedIn refused the sign-in ({name}).{words} Press Sign in to try again; if it happens again, tell your administrator."
    )


def authorization_url(base_url: str, client_id: str, state: str, redirect_uri: str, scopes: Sequence[str] = SCOPES) -> str:
    """Return the address at LinkedIn where a person signs in; scopes go out separated by spaces."""
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "scope": " ".join(scopes),
    }
    return f"{base_url}/authorization?{urlencode(asked, quote_via=quote)}"


def split_scopes(scope: str) -> tuple[str, ...]:
    """Return single scopes; LinkedIn answers with commas although it was asked with spaces.

    >>> split_scopes("r_ads,rw_ads rw_dmp_segments")
    ('r_ads', 'rw_ads', 'rw_dmp_segments')
    """
    return tuple(scope.replace(",", " ").split())


_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e10)]


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: _Seconds
    refresh_token: str | None = None
    refresh_token_expires_in: _Seconds | None = None
    scope: str | None = None


class _Refused(msgspec.Struct):
    error: Any = None
    error_description: Any = None


class _Facts(msgspec.Struct):
    active: bool = False
    status: str | None = None
    scope: str | None = None
    expires_at: _Seconds | None = None


_GRANTED = msgspec.json.Decoder(_Granted)
_REFUSED = msgspec.json.Decoder(_Refused)
_FACTS = msgspec.json.Decoder(_Facts)


@dataclass(frozen=True)
class TokenFacts:
    """What LinkedIn says of a token. `status` is its word (active, revoked, expired); `expires` None when it names none."""

    active: bool
    status: str
    scopes: tuple[str, ...] = field(default=())
    expires: datetime | None = None


class LinkedInOAuth:
    """Signs people in to LinkedIn; fulfils `ports.OAuth`. One instance serves all threads."""

    def __init__(self, http: HttpClient, *, client_id: str, client_secret: str, scopes: Sequence[str] = SCOPES) -> None:
        """Send through `http`, whose base is LinkedIn's OAuth address (…/oauth/v2)."""
        self._http, self._scopes = http, tuple(scopes)
        self._app = {"client_id": client_id, "client_secret": client_secret}

    def authorization_url(self, state: str, redirect_uri: str) -> str:
        """Return the address at LinkedIn where a person signs in."""
        return authorization_url(self._http.base_url, self._app["client_id"], state, redirect_uri, self._scopes)

    def exchange(self, user_id: str, code: str, redirect_uri: str, now: datetime) -> SignIn:
        """Exchange a code for tokens, once.

        Raises SignInNeeded when LinkedIn refuses the code, ConfigurationWrong when it refuses the app, and
        TryAgainLater kinds when it gives no clear answer; the code is then most likely used up.
        """
        granted = self._granted({"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri})
        return SignIn(
            user_id=user_id,
            access_token=granted.access_token,
            issued=now,
            expires=_after(now, granted.expires_in),
            refresh_token=granted.refresh_token,
            refresh_expires=_refresh_expires(granted, now),
            scopes=split_scopes(granted.scope) if granted.scope else self._scopes,
        )

    def refresh(self, sign_in: SignIn, now: datetime) -> SignIn:
        """Return the sign-in with a new access token. May be repeated: the refresh token stays the same.

        The refresh token's own life goes on from the first consent. Raises SignInNeeded when LinkedIn refuses.
        """
        if sign_in.refresh_token is None:
            raise SignInNeeded(_REFUSALS["invalid_grant"])
        granted = self._granted({"grant_type": "refresh_token", "refresh_token": sign_in.refresh_token})
        return replace(
            sign_in,
            access_token=granted.access_token,
            issued=now,
            expires=_after(now, granted.expires_in),
            refresh_token=granted.refresh_token or sign_in.refresh_token,
            refresh_expires=_refresh_expires(granted, now) or sign_in.refresh_expires,
            scopes=split_scopes(granted.scope) if granted.scope else sign_in.scopes,
        )

    def introspect(self, token: str) -> TokenFacts:
        """Return what LinkedIn says of a token. Changes nothing, so it may be repeated."""
        answer = self._post("/introspectToken", {"token": token})
        if answer.status != _OK:
            raise _refusal(answer)
        facts = _decoded(_FACTS, answer)
        expires = datetime.fromtimestamp(facts.expires_at, UTC) if facts.expires_at else None
        return TokenFacts(facts.active, facts.status or "", split_scopes(facts.scope or ""), expires)

    def revoke(self, sign_in: SignIn) -> None:
        """Tell LinkedIn to forget the tokens; best effort, never raises: LinkedIn does not document this call.

        People can always remove the app in their own LinkedIn settings.
        """
        for token in filter(None, (sign_in.access_token, sign_in.refresh_token)):
            with suppress(AudienceSyncError):
                self._post("/revoke", {"token": token})

    def _granted(self, form: dict[str, str]) -> _Granted:
        answer = self._post("/accessToken", form)
        if answer.status != _OK:
            raise _refusal(answer)
        return _decoded(_GRANTED, answer)

    def _post(self, path: str, form: dict[str, str]) -> Answer:
        return self._http.send(Request("POST", path, _FORM, urlencode({**form, **self._app}).encode()))


def _after(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)


def _refresh_expires(granted: _Granted, now: datetime) -> datetime | None:
    seconds = granted.refresh_token_expires_in
    return _after(now, seconds) if granted.refresh_token and seconds else None


def _decoded[T](decoder: msgspec.json.Decoder[T], answer: Answer) -> T:
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnexpectedAnswer(
            "LinkedIn's answer to the sign-in could not be read. Sign in to LinkedIn again; if it happens again, tell your "
            "administrator."
        ) from None


def _refusal(answer: Answer) -> AudienceSyncError:
    """Return the error that an answer other than 200 stands for."""
    if answer.status == _TOO_MANY:
        return Throttled("LinkedIn asked us to slow down.", retry_after(answer.headers))
    if answer.status in _NOT_NOW or answer.status >= _SERVER_ERRORS:
        return RemoteUnavailable(f"LinkedIn cannot sign people in now (status {answer.status}).", retry_after(answer.headers))
    error, description = _said(answer)
    sentence = explain_refusal(error, description)
    return ConfigurationWrong(sentence) if error in _ADMINISTRATORS else SignInNeeded(sentence)


def _said(answer: Answer) -> tuple[str, str]:
    try:
        refused = _REFUSED.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"status {answer.status}", ""
    error = refused.error if isinstance(refused.error, str) else f"status {answer.status}"
    description = refused.error_description if isinstance(refused.error_description, str) else ""
    return error.strip().lower(), description
