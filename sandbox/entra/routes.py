"""The HTTP side of the Entra simulator."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from urllib.parse import urlencode, urlsplit

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from sandbox.entra.state import Directory
from sandbox.web import Route, json_response

_TENANT = r"/(?P<tenant>[^/]+)"
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem}"
    "button,input{font:inherit;padding:.4rem 1rem}"
)
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


class Routes:
    """Every imitated address of Entra, and App Service's identity endpoint."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    def all(self) -> Iterable[Route]:
        """Return the routes; the first that matches answers."""
        return [
            Route("GET", _TENANT + r"(/v2\.0)?/\.well-known/openid-configuration", self.configuration, "where the endpoints are"),
            Route("GET", _TENANT + r"/discovery/v2\.0/keys", self.keys, "public signing keys: none, the sandbox's key is shared"),
            Route("POST", _TENANT + r"/oauth2/v2\.0/token", self.token, "tokens for applications and for signed-in people"),
            Route("POST", _TENANT + r"/oauth2/v2\.0/devicecode", self.device_code, "begin a sign-in by device code"),
            Route("GET", _TENANT + r"/oauth2/v2\.0/authorize", self.authorize, "sign-in page of the browser flow"),
            Route("POST", _TENANT + r"/oauth2/v2\.0/authorize", self.authorized, "the person's decision on that page"),
            Route("GET", r"/devicelogin", self.device_page, "page on which a device code is typed in"),
            Route("POST", r"/devicelogin", self.device_decision, "approve or decline a device code"),
            Route("GET", r"/msi/token", self.identity, "managed identity, as App Service offers it to an app"),
        ]

    def configuration(self, request: Request, tenant: str) -> Response:
        """Answer with the OpenID configuration of a tenant."""
        self.directory.check_tenant(tenant)
        base = f"{request.host_url.rstrip('/')}/{tenant}"
        return json_response(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "response_modes_supported": ["query"],
                "response_types_supported": ["code"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["HS256"],
                "tenant_region_scope": None,
                "cloud_instance_name": "microsoftonline.com",
            }
        )

    def keys(self, request: Request, tenant: str) -> Response:
        """Answer with no public key: the sandbox's tokens are signed with a shared one."""
        del request
        self.directory.check_tenant(tenant)
        return json_response({"keys": []})

    def token(self, request: Request, tenant: str) -> Response:
        """Answer with a token."""
        self.directory.check_tenant(tenant)
        headers = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}
        return json_response(self.directory.token(tenant, request.form.to_dict()), headers=headers)

    def device_code(self, request: Request, tenant: str) -> Response:
        """Answer with a device code and the page to type it in."""
        self.directory.check_tenant(tenant)
        form = request.form
        address = request.host_url + "devicelogin"
        return json_response(self.directory.start_device(tenant, form.get("client_id", ""), form.get("scope", ""), address))

    def authorize(self, request: Request, tenant: str) -> Response:
        """Show the sign-in page, or go straight back when sign-ins are automatic."""
        self.directory.check_browser(request.args.to_dict(), tenant)
        if self.directory.settings.automatic:
            return self._back(request, tenant)
        words = f"Sign in as {self.directory.user.name}?"
        return _page("Sign in", words, [("allow", "Sign in"), ("cancel", "Cancel")], request.args.get("redirect_uri", ""))

    def authorized(self, request: Request, tenant: str) -> Response:
        """Send the browser back with a code, or with the refusal."""
        self.directory.check_browser(request.args.to_dict(), tenant)
        if request.form.get("decision") == "allow":
            return self._back(request, tenant)
        refusal = {"error": "access_denied", "error_description": "AADSTS65004: User declined to consent to access the app."}
        return _sent_back(request, refusal)

    def device_page(self, request: Request) -> Response:
        """Show the page on which a device code is typed in."""
        del request
        field = '<p><label>Code <input name="user_code" autocomplete="off" required></label></p>'
        return _page(
            "Enter code", "Type in the code that your device shows.", [("allow", "Sign in"), ("cancel", "Decline")], "", field
        )

    def device_decision(self, request: Request) -> Response:
        """Approve or decline what was typed in."""
        state = "approved" if request.form.get("decision") == "allow" else "declined"
        found = self.directory.decide(request.form.get("user_code", "").strip().upper(), state)
        words = f"The sign-in was {state}. You can close this window." if found else "No sign-in waits under this code."
        return _page("Device sign-in", words, [], "")

    def identity(self, request: Request) -> Response:
        """Answer an application that asks for its managed identity's token."""
        args = request.args
        header = request.headers.get("X-IDENTITY-HEADER")
        return json_response(self.directory.identity_token(header, args.get("resource", ""), args.get("client_id")))

    def _back(self, request: Request, tenant: str) -> Response:
        code = self.directory.start_browser(request.args.to_dict(), tenant)
        return _sent_back(request, {"code": code})


def _sent_back(request: Request, answer: dict[str, str]) -> Response:
    """Send the browser back to the application in the response mode it asked for."""
    address = request.args.get("redirect_uri", "")
    state = {"state": request.args["state"]} if "state" in request.args else {}
    if request.args.get("response_mode") == "form_post":
        return _posted_back(address, answer | state)
    joint = "&" if urlsplit(address).query else "?"
    return redirect(address + joint + urlencode(answer | state), 303)


def _posted_back(address: str, answer: dict[str, str]) -> Response:
    hidden = "".join(f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in answer.items())
    form = f'<form method="post" action="{escape(address)}">{hidden}<button>Continue</button></form>'
    return _html("Back to the application", "Press Continue to go back to the application.", form, address)


def _page(title: str, words: str, buttons: list[tuple[str, str]], back_to: str, field: str = "") -> Response:
    pressed = " ".join(f'<button name="decision" value="{value}">{escape(label)}</button>' for value, label in buttons)
    return _html(title, words, f'<form method="post">{field}{pressed}</form>', back_to)


def _html(title: str, words: str, form: str, back_to: str) -> Response:
    """Return a page; `back_to` is the address that its form may lead to, directly or by a redirect."""
    parts = urlsplit(back_to)
    origin = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body><main><h1>{escape(title)}</h1><p>{escape(words)}</p>{form}</main></body></html>"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'{origin}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return Response(html, mimetype="text/html", headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})
