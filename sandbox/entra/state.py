"""What the sandbox's directory remembers, and its rules about who gets a token for what."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import jwt

from sandbox import tokens
from sandbox.entra.errors import EntraRefusal, IdentityRefusal
from sandbox.web import Clock

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FEDERATION_AUDIENCE = "api://AzureADTokenExchange"
_SIGN_IN_WORDS = {"openid", "profile", "offline_access", "email"}


@dataclass(frozen=True)
class User:
    """The one person of this directory."""

    oid: str
    name: str
    login: str


@dataclass
class Application:
    """An app registration. Several secrets may be good at once; a public one may sign people in without any."""

    client_id: str
    secrets: set[str] = field(default_factory=set)
    public: bool = False


@dataclass
class Settings:
    """What the control panel can change.

    `token_seconds`: life of access tokens. `automatic`: device codes and browser sign-ins are approved at once.
    `tenants`, `resources`: the only ones known; None means any. `device_interval`: seconds between polls.
    `latency`: seconds that each answer waits.
    """

    token_seconds: int = 3599
    automatic: bool = True
    tenants: list[str] | None = None
    resources: list[str] | None = None
    device_interval: int = 5
    latency: float = 0.0


@dataclass
class Pending:
    """A person's sign-in under way: by device code, or by browser with a code still to be exchanged."""

    client_id: str
    scope: str
    expires: float
    user_code: str = ""
    state: str = "pending"
    redirect_uri: str = ""
    challenge: str = ""
    nonce: str = ""


def resource_of(scope: str) -> str:
    """Return the resource of the first scope that names one.

    >>> resource_of("openid https://org.crm.dynamics.com/.default")
    'https://org.crm.dynamics.com'
    >>> resource_of("openid")
    ''
    """
    named = [word for word in scope.split() if word not in _SIGN_IN_WORDS]
    return named[0].rpartition("/")[0].rstrip("/") if named else ""


class Directory:
    """Applications, sign-ins under way and the rules of the token endpoint."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.settings = Settings()
        self.user = User("", "", "")
        self.applications: dict[str, Application] = {}
        self.identities: set[str] = set()
        self.system_identity = ""
        self.identity_header = "sandbox-identity-header"
        self._pending: dict[str, Pending] = {}
        self._refresh: dict[str, Pending] = {}
        self._lock = threading.RLock()

    def refusal(self, number: int, **words: str) -> EntraRefusal:
        """Return the error answer with this AADSTS number."""
        return EntraRefusal(number, self.clock.now(), **words)

    def check_tenant(self, tenant: str) -> None:
        """Refuse a tenant that is not one of the known ones."""
        if self.settings.tenants is not None and tenant not in self.settings.tenants:
            raise self.refusal(90002, tenant=tenant)

    def application(self, client_id: str, tenant: str) -> Application:
        """Return a registered application, or refuse."""
        if client_id not in self.applications:
            raise self.refusal(700016, client=client_id, tenant=tenant)
        return self.applications[client_id]

    def token(self, tenant: str, form: Mapping[str, str]) -> dict[str, Any]:
        """Return the token endpoint's answer to a form, or refuse."""
        with self._lock:
            for name in ("grant_type", "client_id"):
                if not form.get(name):
                    raise self.refusal(90014, field=name)
            application = self.application(form["client_id"], tenant)
            match form["grant_type"]:
                case "client_credentials":
                    self._check_credential(application, form)
                    return self._for_application(application, form.get("scope", ""), tenant)
                case "urn:ietf:params:oauth:grant-type:device_code":
                    self._check_person_may_use(application, form)
                    return self._for_person(self._approved_device(form), tenant)
                case "authorization_code":
                    self._check_person_may_use(application, form)
                    return self._for_person(self._redeemed_code(form), tenant)
                case "refresh_token":
                    self._check_person_may_use(application, form)
                    return self._for_person(self._refreshed(form), tenant)
                case other:
                    raise self.refusal(70003, grant=other)

    def start_device(self, tenant: str, client_id: str, scope: str, address: str) -> dict[str, Any]:
        """Return the device endpoint's answer; `address` is where a person types the code in."""
        with self._lock:
            self.application(client_id, tenant)
            state = "approved" if self.settings.automatic else "pending"
            user_code, device_code = secrets.token_hex(4).upper()[:9], secrets.token_urlsafe(96)
            self._pending[device_code] = Pending(client_id, scope, self.clock.time() + 900, user_code, state)
        return {
            "user_code": user_code,
            "device_code": device_code,
            "verification_uri": address,
            "expires_in": 900,
            "interval": self.settings.device_interval,
            "message": f"To sign in, open the page {address} in a browser and enter the code {user_code} to authenticate.",
        }

    def decide(self, user_code: str | None, state: str) -> int:
        """Approve or decline the waiting device sign-in with this code, or all of them; return how many there were."""
        with self._lock:
            waiting = [p for p in self._pending.values() if p.user_code and p.state == "pending"]
            chosen = [p for p in waiting if user_code in (None, p.user_code)]
            for pending in chosen:
                pending.state = state
            return len(chosen)

    def check_browser(self, query: Mapping[str, str], tenant: str) -> None:
        """Refuse a browser sign-in of an unknown application, or one that would lead away from this machine."""
        self.application(query.get("client_id", ""), tenant)
        address = query.get("redirect_uri", "")
        if urlsplit(address).hostname not in ("localhost", "127.0.0.1"):
            raise self.refusal(50011, address=address)

    def start_browser(self, query: Mapping[str, str], tenant: str) -> str:
        """Remember a person's browser sign-in and return its one-time code."""
        application = self.application(query.get("client_id", ""), tenant)
        code = secrets.token_urlsafe(64)
        with self._lock:
            self._pending[code] = Pending(
                application.client_id,
                query.get("scope", ""),
                self.clock.time() + 600,
                redirect_uri=query.get("redirect_uri", ""),
                challenge=query.get("code_challenge", ""),
                nonce=query.get("nonce", ""),
            )
        return code

    def identity_token(self, header: str | None, resource: str, client_id: str | None) -> dict[str, str]:
        """Return App Service's answer for a managed identity; the system's own when no `client_id` is named."""
        if header != self.identity_header:
            raise IdentityRefusal(401, "The X-IDENTITY-HEADER does not belong to this host.")
        appid = client_id or self.system_identity
        if appid not in self.identities:
            raise IdentityRefusal(400, "No User Assigned or Delegated Managed Identity found for specified ClientId.")
        if not resource or self._unknown(resource):
            raise IdentityRefusal(500, "The resource principal was not found in the tenant.")
        now, life = self.clock.time(), self.settings.token_seconds
        return {
            "access_token": tokens.issue(appid=appid, audience=resource, now=now, seconds=life),
            "expires_on": str(int(now) + life),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": appid,
        }

    def register(self, client_id: str, secret: str | None = None, *, public: bool = False) -> None:
        """Register an application, or give a known one a further secret."""
        application = self.applications.setdefault(client_id, Application(client_id))
        application.public = application.public or public
        if secret:
            application.secrets.add(secret)

    def add_identity(self, client_id: str) -> None:
        """Register a user-assigned managed identity."""
        self.identities.add(client_id)

    def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings and return all of them; an unknown name is an AttributeError."""
        for name, value in changes.items():
            if name not in asdict(self.settings):
                raise AttributeError(f"The Entra simulator has no setting {name!r}.")
            setattr(self.settings, name, value)
        return asdict(self.settings)

    def _unknown(self, resource: str) -> bool:
        host = urlsplit(resource).netloc
        if resource == FEDERATION_AUDIENCE:
            return False
        if self.settings.resources is None:
            return not host
        return resource.rstrip("/") not in {known.rstrip("/") for known in self.settings.resources}

    def _check_credential(self, application: Application, form: Mapping[str, str]) -> None:
        if "client_assertion" in form:
            self._check_assertion(application, form)
        elif "client_secret" not in form:
            raise self.refusal(7000218)
        elif not any(hmac.compare_digest(form["client_secret"].encode(), known.encode()) for known in application.secrets):
            raise self.refusal(7000215, client=application.client_id)

    def _check_assertion(self, application: Application, form: Mapping[str, str]) -> None:
        """Check an assertion loosely: shape, subject and time, but never a certificate's signature."""
        assertion, now = form["client_assertion"], self.clock.time()
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise self.refusal(50027, why="Unknown client_assertion_type.")
        try:
            claims = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise self.refusal(50027, why="AADSTS50027: Invalid JWT token.") from None
        if claims.get("aud") == FEDERATION_AUDIENCE:
            self._check_federated(assertion, now)
        elif claims.get("sub") != application.client_id:
            raise self.refusal(700021)
        if claims.get("exp", 0) <= now:
            raise self.refusal(700024)

    def _check_federated(self, assertion: str, now: float) -> None:
        """Refuse a managed identity's token that is not one of ours."""
        try:
            tokens.read(assertion, FEDERATION_AUDIENCE, now)
        except tokens.ExpiredToken:
            raise self.refusal(700024) from None
        except tokens.InvalidToken:
            raise self.refusal(50027, why="The federated token was not issued by the trusted issuer.") from None

    def _check_person_may_use(self, application: Application, form: Mapping[str, str]) -> None:
        if not application.public or "client_secret" in form or "client_assertion" in form:
            self._check_credential(application, form)

    def _for_application(self, application: Application, scope: str, tenant: str) -> dict[str, Any]:
        if len(scope.split()) != 1 or not scope.endswith("/.default"):
            raise self.refusal(1002012, scope=scope)
        resource = resource_of(scope)
        if self._unknown(resource):
            raise self.refusal(500011, resource=resource, tenant=tenant)
        life = self.settings.token_seconds
        token = tokens.issue(appid=application.client_id, audience=resource, now=self.clock.time(), seconds=life)
        return {"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token}

    def _for_person(self, signed_in: Pending, tenant: str) -> dict[str, Any]:
        resource, now, life = resource_of(signed_in.scope), self.clock.time(), self.settings.token_seconds
        if resource and self._unknown(resource):
            raise self.refusal(500011, resource=resource, tenant=tenant)
        claims = {"scp": "user_impersonation", "name": self.user.name, "upn": self.user.login, "idtyp": "user"}
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "scope": signed_in.scope,
            "expires_in": life,
            "ext_expires_in": life,
            "access_token": tokens.issue(
                appid=signed_in.client_id,
                audience=resource or "00000003-0000-0000-c000-000000000000",
                now=now,
                seconds=life,
                oid=self.user.oid,
                claims=claims,
            ),
            "client_info": _encoded({"uid": self.user.oid, "utid": tokens.TENANT}),
        }
        if "offline_access" in signed_in.scope.split():
            answer["refresh_token"] = secrets.token_urlsafe(200)
            self._refresh[answer["refresh_token"]] = signed_in
        if "openid" in signed_in.scope.split():
            answer["id_token"] = self._id_token(signed_in, now)
        return answer

    def _id_token(self, signed_in: Pending, now: float) -> str:
        claims = {"name": self.user.name, "preferred_username": self.user.login, "sub": self.user.oid}
        nonce = {"nonce": signed_in.nonce} if signed_in.nonce else {}
        return tokens.issue(
            appid=signed_in.client_id, audience=signed_in.client_id, now=now, oid=self.user.oid, claims=claims | nonce
        )

    def _approved_device(self, form: Mapping[str, str]) -> Pending:
        pending = self._pending.get(form.get("device_code", ""))
        if pending is None or not pending.user_code or pending.client_id != form["client_id"]:
            raise self.refusal(70018)
        if pending.expires <= self.clock.time():
            raise self.refusal(70019)
        if pending.state == "declined":
            raise self.refusal(70020)
        if pending.state == "pending":
            raise self.refusal(70016)
        return self._pending.pop(form["device_code"])

    def _redeemed_code(self, form: Mapping[str, str]) -> Pending:
        pending = self._pending.pop(form.get("code", ""), None)
        if pending is None or pending.user_code or pending.client_id != form["client_id"]:
            raise self.refusal(70000)
        if pending.expires <= self.clock.time():
            raise self.refusal(70008)
        if pending.redirect_uri != form.get("redirect_uri", ""):
            raise self.refusal(70000)
        if pending.challenge and pending.challenge != _challenge(form.get("code_verifier", "")):
            raise self.refusal(501481)
        return pending

    def _refreshed(self, form: Mapping[str, str]) -> Pending:
        earlier = self._refresh.get(form.get("refresh_token", ""))
        if earlier is None or earlier.client_id != form["client_id"]:
            raise self.refusal(70000)
        return Pending(earlier.client_id, form.get("scope") or earlier.scope, earlier.expires)


def _encoded(value: Mapping[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
