"""HTTP on loopback: the app's functions under their routes, `/admin/` as Functions has it, and the sandbox's control panel.

============================  ==================================================================
POST /admin/functions/NAME    run any function by hand: `{"input": "..."}`; 202, and it runs
GET  /admin/functions         the functions with their bindings
GET  /admin/host/status       that the host runs, and for how long
GET  /__sandbox__/health      the name of the host
GET  /__sandbox__/runs        per function how many runs are under way, went well, failed
GET|POST|DELETE /__sandbox__/faults   the planned faults of `sandbox.host.faults`: look, add, forget
============================  ==================================================================
"""

import asyncio
import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from sandbox.host.faults import Plan
from sandbox.host.queues import Outputs
from sandbox.host.runtime import Function, Invoker, http_request, text
from sandbox.host.timers import timer_value

LARGEST_BODY = 100 * 1024 * 1024
"""Bytes; Azure's own default, FUNCTIONS_REQUEST_BODY_SIZE_LIMIT."""

_CONSTRAINTS = {
    "int": r"-?\d+",
    "long": r"-?\d+",
    "alpha": r"[A-Za-z]+",
    "bool": r"(?i:true|false)",
    "guid": r"[0-9a-fA-F-]{32,36}",
}
_PLACEHOLDER = re.compile(r"\{(\*?)(\w+)(?::([^}?]+))?(\?)?\}")
_NOT_COPIED = frozenset(("content-length", "transfer-encoding", "connection"))
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """Where an HTTP function answers. `methods` is empty when it takes all."""

    function: Function
    pattern: re.Pattern[str]
    methods: frozenset[str]
    needs_key: bool
    literal_segments: int
    outputs: Outputs | None = None

    @classmethod
    def of(cls, function: Function, prefix: str, outputs: Outputs | None = None) -> "Route":
        """Return the route that a function's HTTP trigger declares; without one it is the function's name."""
        template = str(function.trigger.get("route") or function.name).strip("/")
        whole = f"{prefix}/{template}" if prefix else template
        segments = whole.split("/")
        pattern = "".join(_segment(segment) for segment in segments)
        methods = frozenset(str(method).upper() for method in function.trigger.get("methods") or ())
        needs_key = str(function.trigger.get("authLevel", "function")).lower() != "anonymous"
        literal = sum("{" not in segment for segment in segments)
        return cls(function, re.compile(pattern + "/?", re.IGNORECASE), methods, needs_key, literal, outputs)


def _segment(segment: str) -> str:
    """Return the regular expression of one segment of a route, with the slash before it."""
    found = _PLACEHOLDER.fullmatch(segment)
    if not found:
        literal, last = "", 0
        for part in _PLACEHOLDER.finditer(segment):
            literal += re.escape(segment[last : part.start()]) + _group(part)
            last = part.end()
        return "/" + literal + re.escape(segment[last:])
    return f"(?:/{_group(found)})?" if found[4] or found[1] else "/" + _group(found)


def _group(found: re.Match[str]) -> str:
    shape = ".*" if found[1] else _CONSTRAINTS.get(found[3] or "", "[^/]+")
    return f"(?P<{found[2]}>{shape})"


@dataclass
class HttpServer:
    """Answers on 127.0.0.1. `key` is what functions of level `function` ask for; None asks for none, as `func start` does."""

    name: str
    functions: Sequence[Function]
    routes: Sequence[Route]
    invoker: Invoker
    plan: Plan
    key: str | None = field(default=None, repr=False)
    cors: Sequence[str] = ()
    largest_body: int = LARGEST_BODY
    _began: float = field(default_factory=time.monotonic)
    _by_hand: set["asyncio.Task[Any]"] = field(default_factory=set)
    _runner: web.ServerRunner | None = None

    def __post_init__(self) -> None:
        self.routes = sorted(self.routes, key=lambda route: -route.literal_segments)

    async def start(self, port: int) -> str:
        """Listen on a port (0 picks a free one) and return the address; raises OSError when it is taken."""
        loop = asyncio.get_running_loop()

        def make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=self.largest_body)

        server = web.Server(self._answer, request_factory=make_request, access_log=None, keepalive_timeout=75.0)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, backlog=512)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self, seconds: float) -> None:
        """Take no more requests; those under way get `seconds` to be answered."""
        if self._runner:
            self._runner._shutdown_timeout = seconds  # noqa: SLF001 - it is only known now how much is left
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            path = request.raw_path.partition("?")[0]
            if path.startswith("/admin/"):
                response = await self._admin(request, path.removeprefix("/admin/").rstrip("/"))
            elif path.startswith("/__sandbox__/"):
                response = await self._panel(request, path.removeprefix("/__sandbox__/"))
            else:
                response = await self._call(request, path)
        except web.HTTPRequestEntityTooLarge:
            response = web.Response(status=413)
            response.force_close()
        self._allow_origin(request, response)
        return response

    async def _call(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if request.method == "OPTIONS" and self._is_allowed(request):
            return _preflight(request)
        matches = [(route, found) for route in self.routes if (found := route.pattern.fullmatch(path))]
        for route, found in matches:
            if not route.methods or request.method in route.methods:
                return await self._invoke(request, route, found.groupdict())
        if matches and request.method != "HEAD":  # Functions answers HEAD as if there were no route
            allowed = sorted(frozenset[str]().union(*(route.methods for route, _ in matches)))
            return web.Response(status=405, headers={"Allow": ", ".join(allowed)})
        return web.Response(status=404)

    async def _invoke(self, request: web.BaseRequest, route: Route, params: Mapping[str, str | None]) -> web.StreamResponse:
        if route.needs_key and not self._has_key(request):
            return web.Response(status=401)
        value = http_request(
            request.method,
            str(request.url),
            headers=_joined(request.headers.items()),
            params={name: unquote(param) for name, param in params.items() if param is not None},
            query=_joined(request.query.items()),
            body=await request.read(),
        )
        outcome = await self.invoker.run(route.function, value)
        if not outcome.ok:
            return web.Response(status=500)
        if route.outputs:
            await route.outputs.send(outcome)
        return _response(outcome.returned)

    def _has_key(self, request: web.BaseRequest) -> bool:
        if self.key is None:
            return True
        given = request.headers.get("x-functions-key") or request.query.get("code", "")
        return hmac.compare_digest(given.encode(), self.key.encode())

    async def _admin(self, request: web.BaseRequest, what: str) -> web.StreamResponse:
        if not self._has_key(request):
            return web.Response(status=401)
        if request.method == "GET" and what == "functions":
            return web.json_response([self._describe(function) for function in self.functions])
        if request.method == "GET" and what == "host/status":
            uptime = round((time.monotonic() - self._began) * 1000)
            return web.json_response({"id": self.name, "state": "Running", "processUptime": uptime})
        name = what.removeprefix("functions/").lower()
        function = next((known for known in self.functions if known.name.lower() == name), None)
        if request.method != "POST" or function is None or not what.startswith("functions/"):
            return web.Response(status=404)
        return await self._run_by_hand(request, function)

    def _describe(self, function: Function) -> dict[str, Any]:
        return {"name": function.name, "config": {"bindings": list(function.bindings)}}

    async def _run_by_hand(self, request: web.BaseRequest, function: Function) -> web.StreamResponse:
        body = await request.read()
        try:
            given = json.loads(body or b"{}").get("input") or ""
        except (ValueError, AttributeError):
            return web.json_response({"message": 'The body has to be JSON: {"input": "..."}.'}, status=400)
        task = asyncio.create_task(self.invoker.run(function, *_by_hand(function, given, str(request.url))))
        self._by_hand.add(task)
        task.add_done_callback(self._by_hand.discard)
        return web.Response(status=202)

    async def _panel(self, request: web.BaseRequest, what: str) -> web.StreamResponse:
        match request.method, what:
            case "GET", "health":
                answer: Any = {"name": self.name}
            case "GET", "runs":
                answer = {name: asdict(counts) for name, counts in self.invoker.counts.items()}
            case (("GET" | "POST" | "DELETE"), "faults"):
                return await self._faults(request)
            case _:
                return web.json_response({"message": f"the control panel has no {request.method} {what}"}, status=404)
        return web.json_response(answer)

    async def _faults(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "DELETE":
            self.plan.faults.clear()
        if request.method == "POST":
            try:
                self.plan.add(json.loads(await request.read()))
            except ValueError as error:
                return web.json_response({"message": str(error)}, status=400)
        return web.json_response([asdict(fault) for fault in self.plan.faults])

    def _is_allowed(self, request: web.BaseRequest) -> bool:
        origin = request.headers.get("Origin")
        return origin is not None and ("*" in self.cors or origin in self.cors)

    def _allow_origin(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        if self.cors and self._is_allowed(request):
            response.headers["Access-Control-Allow-Origin"] = "*" if "*" in self.cors else request.headers["Origin"]
            response.headers["Vary"] = "Origin"


def _preflight(request: web.BaseRequest) -> web.StreamResponse:
    headers = {"Access-Control-Allow-Methods": request.headers.get("Access-Control-Request-Method", "GET")}
    if asked := request.headers.get("Access-Control-Request-Headers"):
        headers["Access-Control-Allow-Headers"] = asked
    return web.Response(status=204, headers=headers)


def _by_hand(function: Function, given: Any, url: str) -> tuple[Any, dict[str, Any]]:
    """Return the trigger's value and its metadata for a run that a person asked for."""
    written = given if isinstance(given, str) else json.dumps(given)
    if function.kind == "timertrigger":
        return timer_value(datetime.now(UTC), None), {}
    if function.kind == "httptrigger":
        return http_request("POST", url, headers={}, params={}, query={}, body=written.encode()), {}
    return text(written), {}


def _joined(pairs: Any) -> dict[str, str]:
    """Return names with their values; a name that comes more than once has them joined by commas, as Functions does."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _response(returned: Any) -> web.StreamResponse:
    """Return what the function returned as an answer: a response of its own, or a text."""
    if returned is None or returned.type != "http":
        return web.Response(text=str(returned.value) if returned else "")
    value = returned.value
    response = web.Response(status=int(value["status_code"].value), body=value["body"].value)
    for name, datum in value["headers"].items():
        if name.lower() not in _NOT_COPIED:
            response.headers[name] = datum.value
    for cookie in value["cookies"] or ():
        for morsel in cookie.values():
            response.headers.add("Set-Cookie", morsel.OutputString())
    return response
