"""LinkedIn's three-legged OAuth 2.0: apps, sign-ins, codes and tokens, and the rules about them."""

import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from sandbox.linkedin.errors import OAuthRefusal, ShownError, unauthorised
from sandbox.web import Clock

_ALPHABET = string.ascii_letters + string.digits + "-_"
_TOKEN_LENGTH = 500
_CODE_MISMATCH = (
    "Unable to retrieve access token: appid/redirect uri/code verifier does not match authorization code. "
    "Or authorization code expired. Or external member binding exists"
)


@dataclass
class App:
    """A developer application. `scopes` are those of its products, `redirect_uris` those registered for it."""

    client_id: str
    secret: str
    scopes: list[str]
    redirect_uris: list[str] = field(default_factory=list)


@dataclass
class OAuthSettings:
    """What the control panel can change about signing in.

    `refresh_tokens`: whether the app is approved for them; most are not. Times are seconds.
    """

    refresh_tokens: bool = False
    code_seconds: int = 1800
    access_token_seconds: int = 5_184_000
    refresh_token_seconds: int = 31_536_000


@dataclass(frozen=True)
class AuthorizationRequest:
    """A request to sign somebody in that may be shown to them."""

    app: App
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None

    def sent_back(self, **answer: str) -> str:
        """Return the application's address with an answer, and the state it gave."""
        parts = urlsplit(self.redirect_uri)
        given = {"state": self.state} if self.state is not None else {}
        query = "&".join(piece for piece in (parts.query, urlencode(answer | given)) if piece)
        return urlunsplit(parts._replace(query=query))


@dataclass
class Code:
    """An authorisation code, good once and for a short time."""

    person: str
    request: AuthorizationRequest
    expires: float


@dataclass
class Token:
    """An access or refresh token. `ended` is the 401 code it answers with before its time, or None."""

    value: str
    person: str
    client_id: str
    scopes: tuple[str, ...]
    authorized: float
    created: float
    expires: float
    refreshes: bool = False
    ended: str | None = None

    def problem(self, now: float) -> str | None:
        """Return the 401 code of a token that is no longer good, or None."""
        return self.ended or ("EXPIRED_ACCESS_TOKEN" if self.expires <= now else None)


class OAuth:
    """What LinkedIn remembers about who allowed what to whom."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.settings = OAuthSettings()
        self.apps: dict[str, App] = {}
        self.sessions: dict[str, str] = {}
        self._codes: dict[str, Code] = {}
        self._tokens: dict[str, Token] = {}
        self._consents: dict[tuple[str, str], set[str]] = {}

    # Authorisation

    def authorization(self, query: Mapping[str, str]) -> AuthorizationRequest:
        """Return a request that may be shown; raises `ShownError` for one that nobody is sent back from."""
        app = self.apps.get(query.get("client_id", ""))
        if app is None:
            raise ShownError("The passed in client_id is invalid.")
        if _plain(query.get("redirect_uri", "")) not in [_plain(known) for known in app.redirect_uris]:
            raise ShownError("The redirect_uri does not match the registered value.")
        if query.get("response_type") != "code":
            raise ShownError("The response_type must be code.")
        scopes = tuple(query.get("scope", "").replace(",", " ").split())
        if not scopes:
            raise ShownError("You need to pass the scope parameter.")
        return AuthorizationRequest(app, query["redirect_uri"], scopes, query.get("state"))

    def unauthorized_scope(self, request: AuthorizationRequest) -> str | None:
        """Return the first scope that the app's products do not give; one such scope fails the whole request."""
        return next((scope for scope in request.scopes if scope not in request.app.scopes), None)

    def sign_in(self, person: str) -> str:
        """Return a new session of a person's browser."""
        session = secrets.token_urlsafe(24)
        self.sessions[session] = person
        return session

    def has_consent(self, person: str, request: AuthorizationRequest) -> bool:
        """Tell whether an earlier, still valid grant makes the consent screen unnecessary."""
        key = (person, request.app.client_id)
        alive = any(token.problem(self.clock.time()) is None for token in self._of(*key))
        return alive and set(request.scopes) <= self._consents.get(key, set())

    def allow(self, person: str, request: AuthorizationRequest) -> str:
        """Return a new authorisation code."""
        code = "AQ" + "".join(secrets.choice(_ALPHABET) for _ in range(120))
        self._codes[code] = Code(person, request, self.clock.time() + self.settings.code_seconds)
        return code

    # Tokens

    def token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Return the token address's answer to a form; raises `OAuthRefusal`."""
        match _required(form, "grant_type"):
            case "authorization_code":
                return self._redeem(form)
            case "refresh_token":
                return self._refresh(form)
            case "client_credentials":
                self._authenticate(form)
                raise OAuthRefusal("access_denied", "This application is not allowed to create application tokens", 401)
            case _:
                raise OAuthRefusal("unsupported_grant_type", "The grant type is not supported")

    def grant(self, person: str, client_id: str, scopes: Iterable[str]) -> dict[str, Any]:
        """Return fresh tokens of a person, as the token address would give them."""
        now = self.clock.time()
        granted = tuple(sorted(scopes))
        self._consents.setdefault((person, client_id), set()).update(granted)
        refresh = None
        if self.settings.refresh_tokens:
            refresh = self._store(person, client_id, granted, now, now + self.settings.refresh_token_seconds, refreshes=True)
        return self._answer(self._access(person, client_id, granted, now, refresh), refresh)

    def introspect(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Return what LinkedIn says about a token; raises `OAuthRefusal`."""
        self._authenticate(form)
        token = self._tokens.get(_required(form, "token"))
        if token is None or token.client_id != form["client_id"]:
            return {"active": False}
        problem = token.problem(self.clock.time())
        status = {None: "active", "EXPIRED_ACCESS_TOKEN": "expired"}.get(problem, "revoked")
        return {
            "active": problem is None,
            "status": status,
            "client_id": token.client_id,
            "scope": ",".join(token.scopes),
            "authorized_at": int(token.authorized),
            "created_at": int(token.created),
            "expires_at": int(token.expires),
            "auth_type": "3L",
        }

    def revoke(self, form: Mapping[str, str]) -> None:
        """End a token, and with it everything the same person gave the same app; an unknown one is no error."""
        self._authenticate(form)
        token = self._tokens.get(_required(form, "token"))
        if token is not None and token.client_id == form["client_id"]:
            self.end(token.person, "REVOKED_ACCESS_TOKEN", client_id=token.client_id)

    def check(self, header: str | None) -> Token:
        """Return the token of an Authorization header; raises the 401 of a bad one."""
        scheme, _, value = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not value.strip():
            raise unauthorised("EMPTY_ACCESS_TOKEN")
        token = self._tokens.get(value.strip())
        if token is None or token.refreshes:
            raise unauthorised("INVALID_ACCESS_TOKEN")
        if problem := token.problem(self.clock.time()):
            raise unauthorised(problem)
        return token

    def end(self, person: str, code: str, client_id: str | None = None, *, refresh_too: bool = True) -> int:
        """End a person's tokens, which answer with this 401 code from now on; return how many there were.

        With EXPIRED_ACCESS_TOKEN refresh tokens stay good unless `refresh_too` says otherwise.
        """
        count = 0
        for token in self._of(person, client_id):
            if token.ended is None and (refresh_too or not token.refreshes):
                token.ended = code
                count += 1
        if code == "REVOKED_ACCESS_TOKEN":
            for key in [key for key in self._consents if key[0] == person and client_id in (None, key[1])]:
                del self._consents[key]
        return count

    def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings and return all of them; an unknown name is an AttributeError."""
        for name, value in changes.items():
            if name not in asdict(self.settings):
                raise AttributeError(f"The LinkedIn simulator has no setting {name!r} for signing in.")
            setattr(self.settings, name, value)
        return asdict(self.settings)

    def register_redirect(self, uri: str, client_id: str | None = None) -> None:
        """Register an address to send people back to; it must be absolute, without `#`, and HTTPS unless on loopback."""
        parts = urlsplit(uri)
        on_loopback = parts.hostname in ("localhost", "127.0.0.1")
        if parts.fragment or not parts.netloc or not (parts.scheme == "https" or (parts.scheme == "http" and on_loopback)):
            raise ValueError(f"LinkedIn registers absolute HTTPS addresses without a fragment; {uri!r} is not one.")
        for app in self.apps.values():
            if client_id in (None, app.client_id):
                app.redirect_uris.append(uri)

    def _authenticate(self, form: Mapping[str, str]) -> App:
        app = self.apps.get(_required(form, "client_id"))
        if app is None or not secrets.compare_digest(_required(form, "client_secret").encode(), app.secret.encode()):
            raise OAuthRefusal("invalid_client", "Client authentication failed", 401)
        return app

    def _redeem(self, form: Mapping[str, str]) -> dict[str, Any]:
        for name in ("code", "redirect_uri"):
            _required(form, name)
        app = self._authenticate(form)
        code = self._codes.pop(form["code"], None)
        if code is None or code.request.app is not app or code.expires <= self.clock.time():
            raise OAuthRefusal("invalid_request", _CODE_MISMATCH)
        if code.request.redirect_uri != form["redirect_uri"]:
            raise OAuthRefusal("invalid_redirect_uri", _CODE_MISMATCH)
        return self.grant(code.person, app.client_id, code.request.scopes)

    def _refresh(self, form: Mapping[str, str]) -> dict[str, Any]:
        value = _required(form, "refresh_token")
        app = self._authenticate(form)
        refresh = self._tokens.get(value)
        now = self.clock.time()
        if refresh is None or not refresh.refreshes or refresh.client_id != app.client_id or refresh.problem(now):
            raise OAuthRefusal(
                "invalid_grant", "The provided authorization grant or refresh token is invalid, expired or revoked"
            )
        return self._answer(self._access(refresh.person, app.client_id, refresh.scopes, refresh.authorized, refresh), refresh)

    def _access(self, person: str, client_id: str, scopes: tuple[str, ...], authorized: float, refresh: Token | None) -> Token:
        """Store an access token; near the end of its refresh token its life is cut to what is left."""
        expires = self.clock.time() + self.settings.access_token_seconds
        return self._store(person, client_id, scopes, authorized, min(expires, refresh.expires) if refresh else expires)

    def _store(
        self, person: str, client_id: str, scopes: tuple[str, ...], authorized: float, expires: float, *, refreshes: bool = False
    ) -> Token:
        value = "AQ" + "".join(secrets.choice(_ALPHABET) for _ in range(_TOKEN_LENGTH - 2))
        token = Token(value, person, client_id, scopes, authorized, self.clock.time(), expires, refreshes)
        self._tokens[value] = token
        return token

    def _answer(self, access: Token, refresh: Token | None) -> dict[str, Any]:
        now = self.clock.time()
        answer: dict[str, Any] = {"access_token": access.value, "expires_in": round(access.expires - now)}
        if refresh:
            answer |= {"refresh_token": refresh.value, "refresh_token_expires_in": round(refresh.expires - now)}
        return answer | {"scope": ",".join(access.scopes), "token_type": "Bearer"}

    def _of(self, person: str, client_id: str | None) -> list[Token]:
        return [t for t in self._tokens.values() if t.person == person and client_id in (None, t.client_id)]


def _plain(uri: str) -> str:
    """Return an address without its query, which LinkedIn ignores when it compares; one with `#` matches nothing."""
    return "" if "#" in uri else uri.partition("?")[0]


def _required(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise OAuthRefusal("invalid_request", f'A required parameter "{name}" is missing')
    return form[name]
