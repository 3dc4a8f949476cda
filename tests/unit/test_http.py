"""What goes out over HTTP is what `requests` itself would send."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.response import HTTPResponse

from shared.http import HttpClient, Request, new_session


class Proxy(BaseHTTPRequestHandler):
    """Answers with the request line's address."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


BASE = "https://org.crm4.example"


class Noting(BaseAdapter):
    """Answers 200 and keeps the request."""

    def __init__(self) -> None:
        super().__init__()
        self.request = requests.PreparedRequest()

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        """Keep the request."""
        self.request = request
        return HTTPAdapter().build_response(request, HTTPResponse(BytesIO(b"done"), status=200, preload_content=False))

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [None, b"", b'{"name":"x"}'])
@pytest.mark.parametrize(
    "path",
    [
        "/api/data/v9.2/lists(8a1f0c2c-1f0c-4a5e-9d53-7f2f5b1d1a01)?$select=listname,type",
        "/rest/dmpSegments?q=account&account=urn%3Ali%3AsponsoredAccount%3A1&ids=List(1,2)",
        '/x?$skiptoken=<cookie pagenumber="2" />&with=ü|and^more',
        BASE + "/api/data/v9.2/contacts?$skiptoken=%3Ccookie%2F%3E",
    ],
)
def test_a_request_is_what_requests_would_prepare(method: str, body: bytes | None, path: str) -> None:
    """The short way to a prepared request leaves nothing out that a service looks at."""
    adapter, session = Noting(), new_session()
    session.mount("https://", adapter)
    headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}

    answer = HttpClient(BASE, name="The service", session=session).send(Request(method, path, headers, body))

    address = path if path.startswith(BASE) else BASE + path
    usual = requests.Request(method, address, headers={**session.headers, **headers}, data=body).prepare()
    assert answer.body == b"done"
    assert (adapter.request.method, adapter.request.url) == (usual.method, usual.url)
    assert dict(adapter.request.headers) == dict(usual.headers)
    assert (adapter.request.body or None) == (usual.body or None)


def test_a_proxy_is_told_the_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a network that lets nothing out but through a proxy, the proxy has to know where a request is going."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        client = HttpClient("http://org.crm4.example", name="The service")
        told = client.send(Request("GET", "/api/data/v9.2/WhoAmI")).body
        client.close()
        proxy.shutdown()

    assert told == b"http://org.crm4.example/api/data/v9.2/WhoAmI"
