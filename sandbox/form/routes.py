"""Addresses of the form page, to be mounted in the process of the Dataverse simulator."""

import html
import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any, Protocol
from urllib.parse import urlsplit

from werkzeug.wrappers import Request, Response

from sandbox.web import Route

STATIC = Path(__file__).parent / "static"
USER_COOKIE = "sandbox-user"
LANGUAGE_COOKIE = "sandbox-language"
LANGUAGES = [(1033, "English"), (1031, "Deutsch"), (1025, "العربية")]
# The strict policy of model-driven apps without the platform's own hosts (Learn: content security policy).
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self' data:; frame-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'self'"
)


class Environment(Protocol):
    """What the pages ask of the Dataverse simulator they are served with; it serves the web resources itself."""

    state: Any
    """Its rows, with a `lock` to be held while reading."""

    def users(self) -> dict[str, Any]:
        """Return ids of users by what they are; `marketers` are those one can be on the form page."""


def routes_for(simulator: Environment) -> list[Route]:
    """Return the addresses of the form page, to be put among the routes of the simulator.

    They need nothing of the simulator before the first request.
    """
    pages = Pages(simulator)
    return [
        Route("GET", "/", pages.start, "start page: who you are, and the segments there are"),
        Route("GET", "/main.aspx", pages.record, "the form of one record, with the tab"),
        Route("GET", "/form/user", pages.become, "become another user or take another language, then go on"),
        Route("GET", r"/form/(?P<name>[\w.-]+)", pages.static, "scripts and styles of these pages"),
        Route("GET", "/favicon.ico", pages.no_icon, "no icon"),
    ]


class Pages:
    """Handlers of the pages."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def _people(self) -> list[dict[str, Any]]:
        state = self._environment.state
        with state.lock:
            users = [state.find("systemuser", row_id) for row_id in self._environment.users()["marketers"]]
            settings = [state.find("usersettings", user["systemuserid"]) or {} for user in users]
        return [
            {"id": user["systemuserid"], "name": user["fullname"], "lcid": one.get("uilanguageid", 1033)}
            for user, one in zip(users, settings, strict=True)
        ]

    def start(self, request: Request) -> Response:
        """Answer the start page."""
        return self._page("start.html", request)

    def record(self, request: Request) -> Response:
        """Answer the form page; which record is in its address."""
        return self._page("form.html", request)

    def become(self, request: Request) -> Response:
        """Set who the browser is and which language it speaks, and go back to a page of ours."""
        response = Response(status=302, headers={"Location": _own_path(request.args.get("next", "/"))})
        people = {one["id"] for one in self._people()}
        if request.args.get("id") in people:
            response.set_cookie(USER_COOKIE, request.args["id"], httponly=True, samesite="Lax")
            response.delete_cookie(LANGUAGE_COOKIE)
        if request.args.get("lcid", "").isdigit():
            response.set_cookie(LANGUAGE_COOKIE, request.args["lcid"], httponly=True, samesite="Lax")
        return response

    def static(self, request: Request, name: str) -> Response:  # noqa: ARG002 - every handler takes the request
        """Answer a script or style of these pages."""
        return _file((STATIC / name).read_bytes() if (STATIC / name).is_file() else None, name)

    def no_icon(self, request: Request) -> Response:  # noqa: ARG002
        """Answer that there is none."""
        return Response(status=204)

    def _page(self, name: str, request: Request) -> Response:
        people = self._people()
        me = next((one for one in people if one["id"] == request.cookies.get(USER_COOKIE)), people[0])
        lcid = int(request.cookies.get(LANGUAGE_COOKIE) or me["lcid"])
        facts = {"people": people, "me": me | {"lcid": lcid}, "languages": LANGUAGES}
        text = Template((STATIC / name).read_text(encoding="utf-8")).substitute(facts=html.escape(json.dumps(facts)))
        response = Response(text, mimetype="text/html", headers=_headers())
        response.set_cookie(USER_COOKIE, me["id"], httponly=True, samesite="Lax")
        return response


def _own_path(address: str) -> str:
    """Return an address only when it stays on this origin, else the start page."""
    parts = urlsplit(address)
    is_own = not parts.scheme and not parts.netloc and address.startswith("/") and "\\" not in address
    return address if is_own else "/"


def _file(content: bytes | None, name: str) -> Response:
    if content is None:
        return Response("There is no such file.", 404, mimetype="text/plain", headers=_headers())
    mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, mimetype=mimetype, headers=_headers())


def _headers() -> Mapping[str, str]:
    return {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
