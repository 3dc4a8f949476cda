"""The two pages that a person sees at LinkedIn: sign in, and allow. Plain HTML forms that need no script."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from urllib.parse import urlsplit

from werkzeug.wrappers import Response

from sandbox.linkedin.oauth import AuthorizationRequest
from sandbox.linkedin.state import Person

_STYLE = (
    "*{box-sizing:border-box}"
    "body{margin:0;background:#f3f2ef;color:#1b1b1b;font:1rem/1.5 system-ui,sans-serif}"
    "main{max-width:26rem;margin:2rem auto;padding:1.5rem;background:#fff;border:1px solid #d0cec9;border-radius:.5rem}"
    "h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}"
    "fieldset{margin:1rem 0;padding:0;border:0}legend{padding:0;font-weight:600}"
    "label{display:flex;gap:.75rem;align-items:center;min-height:2.75rem;padding:.25rem .5rem;border-radius:.25rem}"
    "label:focus-within{outline:2px solid #0a66c2}"
    "button{width:100%;min-height:2.75rem;margin-top:.75rem;border:2px solid #0a66c2;border-radius:1.5rem}"
    "button{font:inherit;font-weight:600;cursor:pointer}"
    "button:focus-visible,a:focus-visible{outline:3px solid #1b1b1b;outline-offset:2px}"
    ".first{background:#0a66c2;color:#fff}.other{background:#fff;color:#0a66c2}"
    "a{color:#0a66c2}.note{font-size:.875rem;color:#4a4a4a}"
)
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"
_MEANINGS = {
    "r_ads": "See your advertising accounts",
    "rw_ads": "Manage your advertising accounts",
    "r_ads_reporting": "See reports about your advertising accounts",
    "rw_dmp_segments": "Create and manage your matched audiences",
    "r_basicprofile": "Use your name and profile",
    "openid": "Use your identity",
    "profile": "Use your name and photo",
    "email": "Use your primary email address",
}


def sign_in_page(request: AuthorizationRequest, query: str, people: Iterable[Person]) -> Response:
    """Return the page on which a person says who they are; `query` is the authorisation request as it came."""
    choices = "".join(
        f'<label><input type="radio" name="person" value="{escape(person.id)}"{" checked" * (number == 0)}>'
        f"{escape(person.first_name)} {escape(person.last_name)}</label>"
        for number, person in enumerate(people)
    )
    form = (
        f'<form method="post" action="/uas/login">{_hidden(query)}'
        f"<fieldset><legend>Who are you?</legend>{choices}</fieldset>"
        '<button class="first" name="decision" value="sign-in">Sign in</button>'
        '<button class="other" name="decision" value="cancel">Cancel</button></form>'
    )
    return _page("Sign in", f"<p>to go on to the {escape(_app_name(request))}</p>{form}", request.redirect_uri)


def consent_page(request: AuthorizationRequest, query: str, person: Person) -> Response:
    """Return the page on which a person allows everything that is asked, or nothing."""
    wishes = "".join(f"<li>{escape(_MEANINGS.get(scope, scope))}</li>" for scope in request.scopes)
    form = (
        f'<form method="post" action="/oauth/v2/authorization">{_hidden(query)}'
        '<button class="first" name="decision" value="allow">Allow</button>'
        '<button class="other" name="decision" value="cancel">Cancel</button></form>'
    )
    words = (
        f"<p>You are signed in as {escape(person.first_name)} {escape(person.last_name)}. "
        f"The {escape(_app_name(request))} would like to:</p><ul>{wishes}</ul>{form}"
        f'<p><a href="/uas/logout?{escape(query)}">Use another account</a></p>'
    )
    return _page("Allow access?", words, request.redirect_uri)


def error_page(problem: str) -> Response:
    """Return the page that tells a person what is wrong with the request; nobody is sent anywhere."""
    return _page("Something went wrong", f"<p>{escape(problem)}</p>", "", 400)


def _app_name(request: AuthorizationRequest) -> str:
    return f"application {request.app.client_id}"


def _hidden(query: str) -> str:
    return f'<input type="hidden" name="request" value="{escape(query)}">'


def _page(title: str, words: str, back_to: str, status: int = 200) -> Response:
    """Return a page. Browsers apply `form-action` to the redirect after a form too, so the way back is named in it."""
    parts = urlsplit(back_to)
    origin = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} | LinkedIn, simulated</title><style>{_STYLE}</style></head>"
        f'<body><main><h1>{escape(title)}</h1>{words}<p class="note">This is a simulation of LinkedIn on this machine.</p></main>'
        "</body></html>"
    )
    headers = {
        "Content-Security-Policy": f"{_POLICY}; form-action 'self'{origin}",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(html, status, headers, mimetype="text/html")
