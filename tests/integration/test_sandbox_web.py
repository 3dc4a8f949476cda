"""The server that all simulators share: connections stay open, as those of the real services do."""

import socket
import threading
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection, HTTPException
from typing import Any

import pytest
from werkzeug.wrappers import Request, Response

from sandbox.web import Fault, Route, Simulator, json_response, make_server


class Echo(Simulator):
    """Answers with what it was sent."""

    name = "echo"

    def routes(self) -> Iterable[Route]:
        """Return the one address."""
        return (
            Route("*", "/echo", self._echo, "what was sent"),
            Route("*", "/nothing", lambda _: Response(status=204), "nothing"),
        )

    def _echo(self, request: Request) -> Response:
        return json_response({"sent": request.get_data(as_text=True)})


@pytest.fixture
def echo() -> Iterator[tuple[Echo, HTTPConnection]]:
    """Return a simulator that is served over HTTP, and one connection to it."""
    simulator = Echo()
    server = make_server(simulator, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    yield simulator, connection
    connection.close()
    server.shutdown()
    server.server_close()


def ask(connection: HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """Send a request on this connection and return status and body of the answer."""
    connection.request(method, path, body, encode_chunked=body is not None and not isinstance(body, bytes))
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_requests_of_every_form_follow_each_other_on_one_connection(echo: tuple[Echo, HTTPConnection]) -> None:
    """No answer leaves anything behind that the next request would stumble over."""
    simulator, connection = echo
    connection.connect()
    used = connection.sock

    assert ask(connection, "POST", "/echo", b"whole") == (200, b'{"sent": "whole"}')
    assert ask(connection, "POST", "/echo", iter([b"in ", b"chunks"])) == (200, b'{"sent": "in chunks"}')
    assert ask(connection, "POST", "/nothing", iter([b"that nobody reads"])) == (204, b"")
    assert ask(connection, "HEAD", "/echo") == (200, b"")
    assert ask(connection, "GET", "/elsewhere")[0] == 404
    assert ask(connection, "GET", "/echo") == (200, b'{"sent": ""}')
    assert connection.sock is used
    assert [call.method for call in simulator.calls] == ["POST", "POST", "POST", "HEAD", "GET", "GET"]


def test_a_planned_cut_ends_the_connection_and_no_other(echo: tuple[Echo, HTTPConnection]) -> None:
    """A client sees what it sees when a gateway goes away, and comes back."""
    simulator, connection = echo
    simulator.faults.append(Fault(kind="drop-before", path="/echo"))

    with pytest.raises((HTTPException, OSError)):
        ask(connection, "GET", "/echo")
    connection.close()
    assert ask(connection, "GET", "/echo") == (200, b'{"sent": ""}')


@pytest.mark.parametrize("head", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_half_a_request_is_nobody_s_request(echo: tuple[Echo, HTTPConnection], head: str) -> None:
    """Whoever is killed while sending has asked for nothing, and the simulator goes on without a word."""
    simulator, connection = echo
    with socket.create_connection((connection.host, connection.port)) as half:
        half.sendall(f"POST /echo HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n20\r\nhalf".encode())
        half.shutdown(socket.SHUT_WR)
        assert half.recv(1) == b""

    assert ask(connection, "GET", "/echo")[0] == 200
    assert [call.method for call in simulator.calls] == ["GET"]
