"""What all simulators share: routes, a call log, planned faults, a clock, and a control panel.

A simulator is one WSGI application. It can be served over HTTPS on loopback (`serve`) or mounted in
process on a `requests` session (`InProcess`). The control panel lives under `/__sandbox__/`:

====================  ===============================================================================
GET    health         name of the simulator; answers as soon as it is up
GET    calls          the call log, oldest first; `?since=N` leaves out the first N
DELETE calls          forget the call log
GET    faults         the planned faults with how often each has struck
POST   faults         plan more faults: a JSON list of `Fault` fields
DELETE faults         forget all planned faults
POST   clock          `{"advance": seconds}` moves the simulator's clock
POST   do/NAME        an action of this simulator (seeding, speeds, ...), JSON in and out
GET    routes         every imitated route with its one-line description
====================  ===============================================================================
"""

import json
import re
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import requests.adapters
from urllib3 import HTTPHeaderDict
from urllib3.response import HTTPResponse
from werkzeug.serving import BaseWSGIServer, ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

CONTROL = "/__sandbox__/"


class Clock:
    """The simulator's own time: real time plus an offset that tests move forward."""

    def __init__(self) -> None:
        self._offset = 0.0

    def time(self) -> float:
        """Return seconds since 1970, as this simulator sees them."""
        return time.time() + self._offset

    def now(self) -> datetime:
        """Return the simulator's time as an aware datetime in UTC."""
        return datetime.fromtimestamp(0, UTC) + timedelta(seconds=self.time())

    def advance(self, seconds: float) -> None:
        """Move this clock forward (or back, when negative)."""
        self._offset += seconds


@dataclass(frozen=True)
class Call:
    """One request as the simulator saw it. `elements` counts the entries of a batch, else None."""

    number: int
    at: float
    method: str
    path: str
    query: str
    status: int
    milliseconds: float
    elements: int | None = None
    fault: str | None = None
    request_id: str | None = None


@dataclass
class Fault:
    """A planned misbehaviour for requests that match.

    `method` and `path` are regular expressions for the whole method and for a part of the path with
    its query. The first `skip` matches are left alone, then it strikes `times` times. `kind`:

    - `status`: answer `status` with `headers` and `body` (JSON, or text) and do nothing;
    - `drop-before`: close the connection without doing anything;
    - `drop-after`: do it, then close the connection without an answer;
    - `status-after`: do it, then answer `status` as above;
    - `delay`: wait `seconds`, then do it;
    - anything else is the name of a fault that the simulator itself knows (`Simulator.named_faults`).
    """

    kind: str
    method: str = ".*"
    path: str = ""
    skip: int = 0
    times: int = 1
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 0.0
    seen: int = 0
    struck: int = 0

    def strikes(self, method: str, path: str) -> bool:
        """Count a matching request and tell whether the fault strikes it."""
        if self.struck >= self.times:
            return False
        if not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        self.struck += 1
        return True


class Refusal(Exception):
    """An error answer of the imitated service; each simulator's errors.py derives from it."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status, self.body, self.headers = status, body, dict(headers or {})

    def response(self) -> Response:
        """Return the answer that the service would give."""
        return json_response(self.body, self.status, self.headers)


class Dropped(Exception):
    """The connection is to be closed without an answer."""


Handler = Callable[..., Response]


@dataclass(frozen=True)
class Route:
    """An imitated address: a method, a regular expression for the whole path, and what answers."""

    method: str
    path: str
    handler: Handler
    about: str


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None, mimetype: str = "application/json"
) -> Response:
    """Return a JSON answer; None gives an empty body, text and bytes are sent as they are."""
    data = body if isinstance(body, str | bytes) else b"" if body is None else json.dumps(body)
    return Response(data, status, dict(headers or {}), mimetype=mimetype)


class Simulator:
    """A service that remembers. Subclasses give `name`, `routes` and, if they like, more."""

    name = "simulator"

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self._lock = threading.Lock()
        self._routes: list[tuple[re.Pattern[str], Route]] = [(re.compile(route.path), route) for route in self.routes()]

    def routes(self) -> Iterable[Route]:
        """Return every imitated address; the first that matches answers."""
        raise NotImplementedError

    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """Return what the control panel can do under `do/NAME`; keyword arguments from the JSON body."""
        return {}

    def named_fault(self, fault: Fault, request: Request) -> Response | None:
        """Return the answer of a fault only this service knows, or None to go on as usual."""
        raise NotImplementedError(f"{self.name} knows no fault {fault.kind!r}")

    def unknown_route(self, request: Request) -> Response:
        """Return the service's answer to an address it does not have."""
        return json_response({"message": f"no route {request.method} {request.path}"}, 404)

    def crashed(self, error: Exception) -> Response:
        """Return the answer to a defect of the simulator itself; it is also printed."""
        traceback.print_exception(error, file=sys.stderr)
        return json_response({"message": f"simulator defect: {error!r}"}, 599)

    def handle(self, request: Request) -> Response:
        """Find the route and answer; refusals become answers."""
        for pattern, route in self._routes:
            if route.method in (request.method, "*") and (found := pattern.fullmatch(request.path)):
                return route.handler(request, **found.groupdict())
        return self.unknown_route(request)

    def respond(self, request: Request) -> Response:
        """Answer one request: control panel, faults, route, call log."""
        if request.path.startswith(CONTROL):
            return _control(self, request)
        began = time.perf_counter()
        status, fault = 0, None
        request.environ["sandbox.elements"] = None
        target = request.path + ("?" + request.query_string.decode("latin-1") if request.query_string else "")
        try:
            with self._lock:
                fault = next((f for f in self.faults if f.strikes(request.method, target)), None)
            response = self._faulty(fault, request) if fault else self._answer(request)
            status = response.status_code
            return response
        finally:
            with self._lock:
                self.calls.append(
                    Call(
                        number=len(self.calls) + 1,
                        at=self.clock.time(),
                        method=request.method,
                        path=request.path,
                        query=request.query_string.decode("latin-1"),
                        status=status,
                        milliseconds=(time.perf_counter() - began) * 1000,
                        elements=request.environ["sandbox.elements"],
                        fault=fault.kind if fault else None,
                        request_id=request.headers.get("x-ms-client-request-id"),
                    )
                )

    def _answer(self, request: Request) -> Response:
        try:
            return self.handle(request)
        except Refusal as refusal:
            return refusal.response()
        except Dropped:
            raise
        except Exception as error:  # noqa: BLE001  a defect must reach its author, not look like the service
            return self.crashed(error)

    def _faulty(self, fault: Fault, request: Request) -> Response:
        match fault.kind:
            case "status":
                return json_response(fault.body, fault.status, fault.headers)
            case "status-after":
                self._answer(request)
                return json_response(fault.body, fault.status, fault.headers)
            case "drop-before":
                raise Dropped
            case "drop-after":
                self._answer(request)
                raise Dropped
            case "delay":
                time.sleep(fault.seconds)
                return self._answer(request)
            case _:
                return self.named_fault(fault, request) or self._answer(request)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve as WSGI; a dropped connection is really cut."""
        request = Request(environ)
        try:
            response = self.respond(request)
        except Dropped:
            connection: socket.socket | None = environ.get("werkzeug.socket")
            if connection is None:
                raise
            connection.shutdown(socket.SHUT_RDWR)
            response = Response(status=500)
        return response(environ, start_response)


def count_elements(request: Request, count: int) -> None:
    """Note in the call log how many entries the batch of this request holds."""
    request.environ["sandbox.elements"] = count


def _control(simulator: Simulator, request: Request) -> Response:  # noqa: PLR0911  one line per address
    what = request.path.removeprefix(CONTROL)
    match request.method, what:
        case "GET", "health":
            return json_response({"name": simulator.name})
        case "GET", "calls":
            return json_response([asdict(call) for call in simulator.calls[int(request.args.get("since", 0)) :]])
        case "DELETE", "calls":
            simulator.calls.clear()
        case "GET", "faults":
            return json_response([asdict(fault) for fault in simulator.faults])
        case "POST", "faults":
            simulator.faults.extend(Fault(**planned) for planned in request.get_json())
        case "DELETE", "faults":
            simulator.faults.clear()
        case "POST", "clock":
            simulator.clock.advance(float(request.get_json()["advance"]))
        case "GET", "routes":
            return json_response([{"method": r.method, "path": r.path, "about": r.about} for r in simulator.routes()])
        case "POST", name if name.removeprefix("do/") in simulator.actions():
            action = simulator.actions()[name.removeprefix("do/")]
            return json_response({"result": action(**(request.get_json(silent=True) or {}))})
        case _:
            return json_response({"message": f"the control panel has no {request.method} {what}"}, 404)
    return json_response({})


class InProcess(requests.adapters.BaseAdapter):
    """Mounts a simulator on a `requests` session: the same client, no socket."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self.simulator = simulator

    def send(self, request: requests.PreparedRequest, *_args: Any, **_kwargs: Any) -> requests.Response:
        """Answer a prepared request from the simulator; a dropped connection is a ConnectionError."""
        path, _, query = (request.path_url or "/").partition("?")
        given = request.body or b""
        body = given.encode() if isinstance(given, str) else given if isinstance(given, bytes) else b"".join(given)
        parts = urlsplit(request.url or "")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": parts.hostname,
            "SERVER_PORT": str(parts.port or 443),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": parts.netloc,
            "wsgi.url_scheme": parts.scheme,
            "wsgi.input": BytesIO(body),
            "CONTENT_LENGTH": str(len(body)),
        }
        for header, value in request.headers.items():
            key = header.upper().replace("-", "_")
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key] = text
        try:
            answer = self.simulator.respond(Request(environ))
        except Dropped as error:
            raise requests.ConnectionError("dropped by the simulator", request=request) from error
        raw = HTTPResponse(
            BytesIO(answer.get_data()),
            headers=HTTPHeaderDict(list(answer.headers.items())),
            status=answer.status_code,
            preload_content=False,
        )
        return requests.adapters.HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        """Nothing to close."""


class _QuietHandler(WSGIRequestHandler):
    """Keeps connections open, as the real services do, and prints nothing per request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  werkzeug's name
        """Stay silent: the call log has it all."""

    def setup(self) -> None:
        """Do not let an unfinished TLS handshake, or a connection that nobody uses any more, hold a thread for ever."""
        self.request.settimeout(300)
        super().setup()

    def run_wsgi(self) -> None:
        """Answer one request, with its body read to the end so that another can follow; werkzeug itself closes the connection."""
        environ = self.make_environ()
        try:
            environ["wsgi.input"] = BytesIO(self._body(environ))
        except OSError:  # the client went away while it was sending; nobody acts on half a request
            self.close_connection = True
            return
        began: list[Any] = []
        content = self.server.app(environ, lambda status, headers, *_: began.extend((status, headers)))  # type: ignore[arg-type]
        body = b"".join(content)
        status, headers = began
        try:
            self.wfile.write(_head(status, headers, len(body)) + (b"" if self.command == "HEAD" else body))
        except OSError:  # the client is gone, or the connection was cut on purpose
            self.close_connection = True

    def _body(self, environ: Mapping[str, Any]) -> bytes:
        if environ.get("wsgi.input_terminated"):  # it comes in chunks
            return bytes(environ["wsgi.input"].read())
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError
        return body


def _head(status: str, headers: list[tuple[str, str]], length: int) -> bytes:
    names = {name.lower() for name, _ in headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    if "content-length" not in names and not status.startswith(("204", "304")):
        lines.append(f"Content-Length: {length}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


class _Server(ThreadedWSGIServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away, or of a connection cut on purpose."""
        error = sys.exception()
        if not isinstance(error, OSError | ssl.SSLError):
            super().handle_error(request, client_address)


def make_server(simulator: Simulator, port: int, certificate: str = "", key: str = "") -> BaseWSGIServer:
    """Return a server on loopback, not yet serving: HTTPS with a certificate, else HTTP. Port 0 picks one (`server.port`)."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    return _Server("127.0.0.1", port, simulator, handler=_QuietHandler, ssl_context=context)


def serve(simulator: Simulator, port: int, certificate: str, key: str) -> None:
    """Serve until the process is ended; print one JSON line with the addresses once it listens.

    `url` is HTTPS, for programs. `plain_url` is the same simulator without TLS, for a person's browser, which would
    warn of the throw-away certificate.
    """
    plain = make_server(simulator, 0)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    server = make_server(simulator, port, certificate, key)
    addresses = {"url": f"https://127.0.0.1:{server.port}", "plain_url": f"http://127.0.0.1:{plain.port}"}
    print(json.dumps({"ready": simulator.name, **addresses}), flush=True)
    server.serve_forever()
