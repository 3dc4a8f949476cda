"""Sending: one small client around `requests` with time-outs, pooling and no redirects.

This is the only module of the clients that imports `requests`. It sends to one configured origin: an
address that came out of an answer (a next link, say) is followed only when it stays there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.adapters
from requests.cookies import RequestsCookieJar
from requests.hooks import default_hooks
from requests.structures import CaseInsensitiveDict
from requests.utils import requote_uri
from urllib3.exceptions import HTTPError, NewConnectionError

from shared.errors import OutcomeUnknown, RemoteUnavailable, UnexpectedAnswer

CONNECT_SECONDS = 5.0
READ_SECONDS = 90.0
CONNECTIONS = 32
_NO_COOKIES = RequestsCookieJar()
_WITHOUT_BODY = frozenset({"GET", "HEAD"})  # others say Content-Length: 0, for LinkedIn answers 411 without it


@dataclass(frozen=True)
class Request:
    """What is to be sent. `path` begins with a slash, or is an absolute address on the client's own origin."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] | None = None


@dataclass(frozen=True)
class Answer:
    """What came back; header names are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Sign = Callable[[], Mapping[str, str]]


class HttpClient:
    """Sends requests to one origin; made once per process and shared by its threads."""

    def __init__(self, base_url: str, *, name: str, session: requests.Session | None = None) -> None:
        """Send to `base_url` (no trailing slash); `name` is the service's name in sentences for people."""
        self.base_url = base_url.rstrip("/")
        self.name = name
        self._origin = _origin(self.base_url)
        self._session = session or _session_of_one_origin()
        self._surroundings: dict[str, Any] | None = None

    def send(self, request: Request, *, read_seconds: float = READ_SECONDS) -> Answer:
        """Send once and return the answer, whatever its status.

        Raises RemoteUnavailable when the request surely was not carried out, OutcomeUnknown when it may
        have been, UnexpectedAnswer when it would leave the configured origin.
        """
        try:
            response = self._session.send(
                self._prepared(request),
                timeout=(CONNECT_SECONDS, read_seconds),
                allow_redirects=False,
                **self._of_this_machine(),
            )
            body = response.raw.read(decode_content=True)  # at once: `requests` copies a page of members piece by piece
        except (requests.RequestException, HTTPError) as error:
            if _never_left(error):
                raise RemoteUnavailable(f"{self.name} could not be reached. The step is tried again.") from error
            raise OutcomeUnknown(f"{self.name} gave no answer ({type(error).__name__}). The step is tried again.") from error
        return Answer(response.status_code, response.headers, body)

    def close(self) -> None:
        """Close the connections; only tests and tools end before their process does."""
        self._session.close()

    def _prepared(self, request: Request) -> requests.PreparedRequest:
        """Return the request as `requests` sends it, without the session's search for stored passwords and cookies."""
        given = {name: value for name, value in request.headers.items() if value}
        headers = {**self._session.headers, **given}
        address, body = self.address(request.path), request.body
        if isinstance(body, bytes | None):
            return _ready(request.method, address, headers, body)
        return requests.Request(request.method, address, headers=headers, data=body).prepare()

    def _of_this_machine(self) -> dict[str, Any]:
        """Return proxies and trusted certificates, which `requests` would gather from the environment for every request."""
        if self._surroundings is None:
            self._surroundings = dict(self._session.merge_environment_settings(self.base_url, {}, True, None, None))
        return self._surroundings

    def address(self, path: str) -> str:
        """Return the full address of a path; raises UnexpectedAnswer for one on another origin."""
        if path.startswith("/"):
            return self.base_url + path
        url = path if "://" in path else self.base_url + path
        if _origin(url) != self._origin:
            raise UnexpectedAnswer(
                f"{self.name} named an address on another host, which is never followed. Ask support to look at the logs."
            )
        return url


def new_session() -> requests.Session:
    """Return a session that pools connections, keeps no cookies and repeats nothing by itself.

    Cookies are refused because an affinity cookie would pin all work to one Dataverse web server and its
    limits (Learn: Service protection API limits).
    """
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.mount("https://", requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=CONNECTIONS))
    return session


def _session_of_one_origin() -> requests.Session:
    session = new_session()
    del session.headers["Connection"]  # it says "keep-alive", which HTTP/1.1 means anyway; every line costs time
    for scheme in ("https://", "http://"):
        session.mount(scheme, _OneOrigin(pool_connections=1, pool_maxsize=CONNECTIONS))
    return session


class _OneOrigin(requests.adapters.HTTPAdapter):
    """Finds its connections once: one origin, trusted authority and proxy for the life of the process."""

    _found: Any = None

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connections; `requests` works out anew for every request which they are."""
        if self._found is None:
            self._found = super().get_connection_with_tls_context(*args, **kwargs)
        return self._found

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Return what stands in the request line; only a proxy wants the whole address."""
        return super().request_url(request, proxies) if proxies else request.path_url

    def close(self) -> None:
        """Close the connections; whoever sends after that opens new ones."""
        self._found = None
        super().close()


def _ready(method: str, address: str, headers: Mapping[str, Any], body: bytes | None) -> requests.PreparedRequest:
    """Return what `requests` would prepare, which takes it a fifth of the time of a whole call."""
    ready = requests.PreparedRequest()
    ready.method, ready.url, ready.body, ready.hooks = method, requote_uri(address), body, default_hooks()
    ready.headers = CaseInsensitiveDict(headers)
    ready._cookies = _NO_COOKIES  # type: ignore[attr-defined]  # noqa: SLF001  looked at when an answer redirects
    if body or method not in _WITHOUT_BODY:
        ready.headers["Content-Length"] = str(len(body or b""))
    return ready


def _never_left(error: Exception) -> bool:
    """Tell whether there was not even a connection, so that the request surely was not carried out."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"https": 443, "http": 80}.get(parts.scheme)
