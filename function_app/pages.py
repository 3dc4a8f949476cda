"""The few pages a person sees during the LinkedIn sign-in: one sentence each, no outside content, never cached."""

import base64
import hashlib
import html
import json
from urllib.parse import urlsplit

import azure.functions as func

_STYLE = (
    "body{font:16px/1.5 'Segoe UI',system-ui,sans-serif;color:#242424;background:#fff;margin:0;display:grid;"
    "place-items:center;min-height:100vh}main{max-width:32rem;padding:2rem}h1{font-size:1.5rem;line-height:1.3;margin:0 0 .5rem}"
    "p{margin:0}"
)
# Tells the page that opened this window, then closes it. The tab also watches its own row, so nothing depends on this.
_CLOSE = "if(window.opener){window.opener.postMessage(%s,%s)}setTimeout(function(){window.close()},2500)"


def page(title: str, sentence: str, *, status: int = 200, tell: str = "", to: str = "") -> func.HttpResponse:
    """Return a page with a heading and a sentence.

    With `tell`, the window that opened this one, if it belongs to the origin `to`, is told so and this window closes.
    """
    script = _CLOSE % (json.dumps({"type": "lima-sign-in", "result": tell}), json.dumps(_origin(to))) if tell and to else ""
    body = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
        f"<main role=status><h1>{html.escape(title)}</h1><p>{html.escape(sentence)}</p></main>"
        + (f"<script>{script}</script>" if script else "")
    )
    return func.HttpResponse(body, status_code=status, mimetype="text/html", charset="utf-8", headers=headers(script))


def headers(script: str = "") -> dict[str, str]:
    """Return the headers of every page and redirect of the sign-in; only `script` may run, by its hash."""
    allowed = f"'{_hash(script)}'" if script else "'none'"
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src '{_hash(_STYLE)}'; script-src {allowed}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex",
    }


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
