"""Dataverse's Web API as the installer uses it: plain verbs with patience, and a rehearsal that writes nothing."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from shared.dataverse import protocol
from shared.dataverse.protocol import Fault
from shared.dataverse.schema import SOLUTION
from shared.errors import OutcomeUnknown, RemoteUnavailable
from shared.http import Answer, HttpClient, Request, Sign

SLOW_SECONDS = 600.0  # publishing and metadata take minutes on a busy environment
MOST_ATTEMPTS = 6
LONGEST_WAIT = 120.0
# Only one publish or import runs at a time (Learn: "Web service error codes", CustomizationLockException).
_BUSY = frozenset({"0x80071151"})
_NOT_THERE = frozenset({protocol.UNKNOWN_SEGMENT, protocol.UNKNOWN_TABLE, *protocol.ROW_MISSING})


class InstallError(Exception):
    """Something the installer cannot go on from; the message says what happened and what to do."""


class Refused(InstallError):  # noqa: N818 - named after what Dataverse did
    """Dataverse said no. `fault` holds its code and sentence."""

    def __init__(self, doing: str, fault: Fault) -> None:
        said = f" Dataverse says: {fault.message}" if fault.message else ""
        super().__init__(f"Dataverse did not {doing} {fault.details()}.{said}")
        self.fault = fault

    @property
    def is_missing(self) -> bool:
        """Tell whether the thing asked about does not exist in this environment."""
        return self.fault.status == HTTPStatus.NOT_FOUND or self.fault.code in _NOT_THERE

    @property
    def is_not_offered(self) -> bool:
        """Tell whether this environment does not offer the function at all."""
        return self.is_missing or self.fault.status in (405, 501)


@dataclass(frozen=True)
class Written:
    """What a write answered: the id of the row or definition it made, if any, and the body, if any."""

    row_id: str | None = None
    body: Any = None


class Web(Protocol):
    """What the installer needs of the Web API. Paths are below `/api/data/v9.2/`; every method may raise `Refused`."""

    dry: bool
    """True for a rehearsal, which writes nothing."""

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, solution: bool = False) -> Written:
        """Create something or run an action; `solution` puts what is made into our solution."""

    def patch(self, path: str, body: Mapping[str, Any], *, solution: bool = False, etag: str = "*") -> None:
        """Change columns of a row that exists; with an etag only if nobody changed it since."""

    def put(self, path: str, body: Mapping[str, Any]) -> None:
        """Replace a definition, keeping labels in languages that are not sent."""

    def delete(self, path: str) -> bool:
        """Delete something; False when it was gone already."""

    def acting_as(self, user_id: str) -> "Web":
        """Return the Web API in the name of a user, as far as the signed-in person may act for others."""


def find(web: Web, path: str) -> dict[str, Any] | None:
    """Return the JSON at a path, or None when it, or its table, does not exist."""
    try:
        found: dict[str, Any] = web.get(path)
    except Refused as refused:
        if refused.is_missing:
            return None
        raise
    return found


def rows(web: Web, path: str) -> list[dict[str, Any]]:
    """Return all rows of a query, following its pages; none when the table does not exist."""
    return list(_pages(web, path))


def _pages(web: Web, path: str | None) -> Iterator[dict[str, Any]]:
    while path:
        page = find(web, path) or {}
        yield from page.get("value", ())
        path = page.get("@odata.nextLink")


def first(web: Web, path: str) -> dict[str, Any] | None:
    """Return the first row of a query, or None."""
    return next(iter(rows(web, path)), None)


def any_of(column: str, values: Sequence[str]) -> str:
    """Return a filter for rows whose column has one of these values.

    >>> any_of("name", ["a", "b"])
    "(name eq 'a' or name eq 'b')"
    """
    return "(" + " or ".join(f"{column} eq {protocol.quoted(value)}" for value in values) + ")"


class DataverseWeb:
    """The Web API of one environment. Safe to use from one thread."""

    dry = False

    def __init__(self, http: HttpClient, sign: Sign, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Send through `http`; `sign` gives the authorisation header, `sleep` waits when Dataverse asks for patience."""
        self._http, self._sign, self._sleep = http, sign, sleep

    @property
    def host(self) -> str:
        """The environment's host name."""
        return urlsplit(self._http.base_url).hostname or self._http.base_url

    def acting_as(self, user_id: str) -> "Web":
        """Return the Web API in the name of a user.

        Source: Microsoft Learn, "Impersonate another user using the Web API".
        """
        return DataverseWeb(self._http, lambda: {**self._sign(), "MSCRMCallerID": user_id}, sleep=self._sleep)

    def get(self, path: str) -> Any:
        """Return the JSON at a path; metadata is always fresh."""
        request = protocol.request("GET", path, headers={"Consistency": "Strong"})
        return _json(self._send(request, f"show {_subject(path)}", repeatable=True))

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, solution: bool = False) -> Written:
        """Create something or run an action. Not repeated after an unclear answer: the next install looks first."""
        answer = self._send(protocol.request("POST", path, body or {}, headers=_solution(solution)), f"accept {_subject(path)}")
        return Written(_row_id(answer), _json(answer))

    def patch(self, path: str, body: Mapping[str, Any], *, solution: bool = False, etag: str = "*") -> None:
        """Change columns of a row that exists."""
        headers = _solution(solution) | {"If-Match": etag}
        self._send(_headed("PATCH", path, body, headers), f"change {_subject(path)}", repeatable=etag == "*")

    def put(self, path: str, body: Mapping[str, Any]) -> None:
        """Replace a definition; what it says absolutely may be said again."""
        headers = _solution(True) | {"MSCRM.MergeLabels": "true"}
        self._send(_headed("PUT", path, body, headers), f"change {_subject(path)}", repeatable=True)

    def delete(self, path: str) -> bool:
        """Delete something; False when it was gone already."""
        try:
            self._send(protocol.request("DELETE", path), f"delete {_subject(path)}", repeatable=True)
        except Refused as refused:
            if refused.is_missing:
                return False
            raise
        return True

    def _send(self, request: Request, doing: str, *, repeatable: bool = False) -> Answer:
        """Send until there is a clear answer or patience ends; raises `Refused` for a no, `InstallError` for silence."""
        for attempt in range(1, MOST_ATTEMPTS + 1):
            try:
                answer = self._http.send(self._signed(request), read_seconds=SLOW_SECONDS)
            except RemoteUnavailable as error:
                if attempt == MOST_ATTEMPTS or (isinstance(error, OutcomeUnknown) and not repeatable):
                    raise _silence(doing) from error
                self._sleep(min(2.0**attempt, LONGEST_WAIT))
                continue
            fault = protocol.fault(answer)
            if fault is None:
                return answer
            if attempt == MOST_ATTEMPTS or not _may_pass(fault, repeatable=repeatable):
                raise Refused(doing, fault)
            self._sleep(min(fault.after_seconds or 2.0**attempt, LONGEST_WAIT))
        raise AssertionError("unreachable")  # pragma: no cover

    def _signed(self, request: Request) -> Request:
        return Request(request.method, request.path, {**request.headers, **self._sign()}, request.body)


def _may_pass(fault: Fault, *, repeatable: bool) -> bool:
    """Tell whether the same request may be answered differently a little later, and may be sent again."""
    not_executed = fault.status == HTTPStatus.TOO_MANY_REQUESTS or fault.code in protocol.THROTTLED or fault.code in _BUSY
    return not_executed or (repeatable and fault.status in (502, 503, 504))


def _silence(doing: str) -> InstallError:
    return InstallError(
        f"Dataverse gave no clear answer when it was to {doing}. Whether it did is not known; "
        "run the same command again, it looks first and goes on from there."
    )


def _headed(method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Request:
    """Return a request whose If-Match is not contradicted by the If-None-Match that all requests carry."""
    made = protocol.request(method, path, body, headers=headers)
    return Request(made.method, made.path, {k: v for k, v in made.headers.items() if k != "If-None-Match"}, made.body)


def _solution(wanted: bool) -> dict[str, str]:
    return {"MSCRM.SolutionUniqueName": SOLUTION} if wanted else {}


def _json(answer: Answer) -> Any:
    try:
        return msgspec.json.decode(answer.body) if answer.body else None
    except msgspec.DecodeError as error:
        raise InstallError(
            f"Dataverse answered HTTP {answer.status} with something that is not JSON. "
            "Check that the address given with --url is that of the environment."
        ) from error


def _row_id(answer: Answer) -> str | None:
    written = answer.headers.get("OData-EntityId", "")
    return protocol.as_guid(written.rpartition("(")[2].rstrip(")"))


def _subject(path: str) -> str:
    """Return what a path is about, for a sentence: without its query, which may be long."""
    return path.partition("?")[0].removeprefix(protocol.API)


@dataclass
class Rehearsal:
    """The same Web API, except that writes are only noted: what `--dry-run` sends."""

    web: Web
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each write that was left out."""
    dry: bool = True

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        return self.web.get(path)

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, solution: bool = False) -> Written:  # noqa: ARG002 - only noted
        """Note the write and answer with an id that nothing has."""
        self.requests.append(("POST", path))
        return Written(str(uuid.uuid4()))

    def patch(self, path: str, body: Mapping[str, Any], *, solution: bool = False, etag: str = "*") -> None:  # noqa: ARG002 - only noted
        """Note the write."""
        self.requests.append(("PATCH", path))

    def put(self, path: str, body: Mapping[str, Any]) -> None:  # noqa: ARG002 - only noted
        """Note the write."""
        self.requests.append(("PUT", path))

    def delete(self, path: str) -> bool:
        """Note the write."""
        self.requests.append(("DELETE", path))
        return True

    def acting_as(self, user_id: str) -> Web:  # noqa: ARG002 - it makes no difference when nothing is written
        """Return this rehearsal."""
        return self
