"""Dataverse's dialect as pure functions: requests are built here, answers are read here, nothing is sent.

Sources: Microsoft Learn, "Compose HTTP requests and handle errors", "Query data using the Web API", "Page results",
"Execute batch operations using the Web API", "Service protection API limits", "Use file column data".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec

from shared.errors import (
    AudienceSyncError,
    ConfigurationWrong,
    RemoteUnavailable,
    SomebodyElseChangedIt,
    Throttled,
    UnexpectedAnswer,
)
from shared.http import Answer, Request
from shared.logs import redacted

API = "/api/data/v9.2/"
URL_LIMIT = 32_768  # characters of a GET address; longer ones travel in a batch
LARGEST_PAGE = 5_000
# 625 ids of 39 characters are 24,375; even with every quotation mark encoded the address stays within the limit.
# Eight such queries make a page of 5,000, and few large operations per batch keep within the advice of "about 10".
IDS_PER_QUERY = 625
MOST_OPERATIONS = 1_000  # of one batch

_ALWAYS = {"Accept": "application/json", "OData-MaxVersion": "4.0", "OData-Version": "4.0", "If-None-Match": "null"}
_JSON = {"Content-Type": "application/json; charset=utf-8"}
_AS_THEY_ARE = "$,()'=:;@/!*"
_ID_PATTERN = b"'xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx',"
_ID_PLACES = [place for place, sign in enumerate(_ID_PATTERN) if sign == ord("x")]
_NOT_JSON = (msgspec.MsgspecError, ValueError, RecursionError)

ROW_MISSING = frozenset({"0x80040217", "0x80060891"})
ALREADY_THERE = frozenset({"0x80060892", "0x80040237", "0x80040333"})
VERSION_MISMATCH = "0x80060882"
TOKEN_EXPIRED = "0x8005f101"  # noqa: S105 # nosec B105 # a code, not a token
THROTTLED = frozenset({"0x80072321", "0x80072322", "0x80072326"})
SQL_TROUBLE = frozenset({"0x80044150", "0x80044151"})
PRIVILEGE = frozenset({"0x80040220", "0x80048306", "0x80040299", "0x80048405"})
NO_USER = frozenset({"0x80072560", "0x80040225"})
UNKNOWN_SEGMENT = "0x8006088a"
UNKNOWN_TABLE = "0x80041102"
PLUGIN_THREW = frozenset({"0x80040265", "0x80040224"})
_UNKNOWN_COLUMN = re.compile(r"Could not find a property named '|does not exist on type '|An undeclared property '")
_NAMED = re.compile(r"(?:named|property|segment|name =) '([\w.@]+)'")
_PRIVILEGE_NAME = re.compile(r"\bprv\w+")


class NotInstalled(ConfigurationWrong):
    """This environment does not know a table, column or action; somewhere that is fine, elsewhere it ends the job."""


class PlugInThrew(UnexpectedAnswer):
    """Code that runs inside Dataverse on this table refused; the retired outbound tables do so."""


# ------------------------------------------------------------------ building requests


def request(
    method: str, path: str, values: Mapping[str, Any] | None = None, *, headers: Mapping[str, str] | None = None
) -> Request:
    """Return a request; `path` is below the API's address, or begins with a slash or a scheme and is taken as it is."""
    address = path if path.startswith("/") or "://" in path else API + path
    all_headers = _ALWAYS | (_JSON if values is not None else {}) | dict(headers or {})
    if "If-Match" in all_headers:
        del all_headers["If-None-Match"]  # the two conditions would contradict each other
    return Request(method, address, all_headers, None if values is None else msgspec.json.encode(plain(values)))


def query(path: str, **options: object) -> str:
    """Return a path with system query options, written by hand because Dataverse wants its brackets and quotes plain.

    `select` and `expand` take several names; None leaves an option out.

    >>> query("lists(1)", select=("listname", "type"), filter="a eq 'b c'")
    "lists(1)?$select=listname,type&$filter=a%20eq%20'b%20c'"
    """
    written = []
    for name, value in options.items():
        if value is not None:
            text = value if isinstance(value, str | int) else ",".join(str(part) for part in value)  # type: ignore[attr-defined]
            written.append(f"${name}={quote(str(text), safe=_AS_THEY_ARE)}")
    return path + ("?" + "&".join(written) if written else "")


def quoted(text: str) -> str:
    """Return text as an OData literal.

    >>> quoted("O'Neill")
    "'O''Neill'"
    """
    return "'" + text.replace("'", "''") + "'"


def row(table_set: str, row_id: str) -> str:
    """Return the path of a row; raises UnexpectedAnswer when the id is none, so that nothing else gets into the path.

    >>> row("lists", "{0F8FAD5B-D9CB-469F-A165-70867728950E}")
    'lists(0f8fad5b-d9cb-469f-a165-70867728950e)'
    """
    return f"{table_set}({guid(row_id)})"


def guid(written: str) -> str:
    """Return an id in lower case without braces; raises UnexpectedAnswer when it is none."""
    found = as_guid(written)
    if found is None:
        raise UnexpectedAnswer("A record id is not a guid. Fill in the record's id, then try again.")
    return found


def as_guid(written: object) -> str | None:
    """Return an id in lower case without braces; None when it is none."""
    try:
        return str(UUID(written)) if isinstance(written, str) else None
    except ValueError:
        return None


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return column values as JSON takes them: times in UTC with a Z, choices as numbers.

    >>> plain({"when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "rate": 1.5})
    {'when': '2026-01-02T03:04:05Z', 'rate': 1.5}
    """
    return {str(name): _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return moment(value)
        case Enum():
            return value.value
        case _:
            return value


def moment(when: datetime) -> str:
    """Return an aware time as OData writes it, to the second."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def page_size(rows: int) -> dict[str, str]:
    """Return the header that asks for pages of at most this many rows; it must come again with every next link."""
    return {"Prefer": f"odata.maxpagesize={min(rows, LARGEST_PAGE)}"}


def with_ids(path: str, key: str, ids: bytes) -> str:
    """Return a path that has options already, narrowed to rows with these ids, packed 16 bytes each (IDS_PER_QUERY at most).

    The ids are written all at once, digit by digit into a pattern, because there may be a million of them.
    """
    digits = ids.hex().encode()
    written = bytearray(_ID_PATTERN * (len(ids) // 16))
    for digit, place in enumerate(_ID_PLACES):
        written[place :: len(_ID_PATTERN)] = digits[digit::32]
    values = written[:-1].decode("ascii")
    return f"{path}&$filter=Microsoft.Dynamics.CRM.In(PropertyName='{key}',PropertyValues=%5B{values}%5D)"


def batch(requests: Sequence[Request], boundary: str) -> Request:
    """Return one request that carries up to 1,000; each is answered, also after one that failed.

    Lines end with CRLF as Dataverse demands. Bodies must be bytes.
    """
    if len(requests) > MOST_OPERATIONS:
        raise ValueError(f"A batch takes at most {MOST_OPERATIONS} operations.")
    lines = b"".join(_operation(part, boundary) for part in requests)
    return Request(
        "POST",
        API + "$batch",
        _ALWAYS
        | {
            "Content-Type": f'multipart/mixed; boundary="{boundary}"',
            "Accept": "multipart/mixed",
            "Prefer": "odata.continue-on-error",
        },
        lines + f"--{boundary}--\r\n".encode(),
    )


def _operation(part: Request, boundary: str) -> bytes:
    headers = "".join(f"{name}: {value}\r\n" for name, value in part.headers.items())
    body = part.body or b""
    if not isinstance(body, bytes):
        raise TypeError("An operation of a batch has a body of bytes.")
    head = (
        f"--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        f"{part.method} {part.path} HTTP/1.1\r\n{headers}\r\n"
    )
    return head.encode() + body + b"\r\n"


# ------------------------------------------------------------------ reading answers


@dataclass(frozen=True)
class Fault:
    """An answer that says no. `code` is Dataverse's, lower-case; empty when the answer names none."""

    status: int
    code: str
    message: str
    request_id: str
    after_seconds: float | None = None

    @property
    def row_is_missing(self) -> bool:
        """Tell whether the row is not there (rather than the table)."""
        return self.status == HTTPStatus.NOT_FOUND and self.code in ROW_MISSING

    @property
    def is_already_there(self) -> bool:
        """Tell whether a row with this key exists: somebody else created it."""
        return self.code in ALREADY_THERE

    @property
    def token_was_refused(self) -> bool:
        """Tell whether a new token may help."""
        return self.status == HTTPStatus.UNAUTHORIZED or self.code == TOKEN_EXPIRED

    @property
    def is_not_installed(self) -> bool:
        """Tell whether the environment does not know the table, column or action."""
        return self.code in {UNKNOWN_SEGMENT, UNKNOWN_TABLE} or (
            self.status == HTTPStatus.BAD_REQUEST and bool(_UNKNOWN_COLUMN.search(self.message))
        )

    def details(self) -> str:
        """Return what support needs to find the request, in brackets."""
        words = [f"HTTP {self.status}"]
        if self.code:
            words.insert(0, f"error {self.code}")
        if self.request_id:
            words.append(f"request {self.request_id}")
        return f"({', '.join(words)})"


class _ErrorBody(msgspec.Struct):
    code: Any = ""
    message: Any = ""


class _Refusal(msgspec.Struct):
    error: _ErrorBody = msgspec.field(default_factory=_ErrorBody)


_REFUSAL = msgspec.json.Decoder(_Refusal)


def fault(answer: Answer) -> Fault | None:
    """Return what an answer refuses; None when it refuses nothing. The body may be anything, HTML too."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return None
    try:
        said = _REFUSAL.decode(answer.body).error
    except _NOT_JSON:
        said = _ErrorBody()
    return Fault(
        status=answer.status,
        code=_code(said.code),
        message=said.message if isinstance(said.message, str) else "",
        request_id=_request_id(answer.headers),
        after_seconds=retry_after(answer.headers),
    )


def _code(written: Any) -> str:
    """Return an error code in lower-case hex; some places of the service write it as a signed decimal."""
    text = str(written).strip().lower()
    if re.fullmatch(r"-?[0-9]{1,12}", text):
        return f"0x{int(text) & 0xFFFFFFFF:08x}" if int(text) else "0x0"
    return text if re.fullmatch(r"0x[0-9a-f]{1,8}", text) else ""


def _request_id(headers: Mapping[str, str]) -> str:
    written = headers.get("x-ms-service-request-id") or headers.get("REQ_ID") or ""
    return written if re.fullmatch(r"[\w-]{1,64}", written) else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the pause that an answer asks for, in seconds; None when it names none that can be read.

    Dataverse names seconds; a gateway in front of it may name a time, which is read against the answer's own Date.
    """
    written = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", written):
        return float(written)
    try:
        return max(0.0, (parsedate_to_datetime(written) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds())
    except (ValueError, TypeError):
        return None


def dop_hint(headers: Mapping[str, str]) -> int | None:
    """Return how many requests at once Dataverse recommends for this environment; None when the answer names none."""
    written = headers.get("x-ms-dop-hint", "")
    return max(1, int(written)) if re.fullmatch(r"\d{1,4}", written) else None


def check(answer: Answer, doing: str) -> None:
    """Raise the error that an answer stands for; do nothing when it is fine. `doing` ends "Dataverse could not ..."."""
    if found := fault(answer):
        raise error(found, doing)
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise UnexpectedAnswer(
            f"Dataverse answered HTTP {answer.status} instead of letting the app {doing}. "
            "Check the setting DATAVERSE_URL, then try again."
        )


def error(found: Fault, doing: str) -> AudienceSyncError:
    """Return the error that a refusal stands for, as a sentence with a next step."""
    for stands_for in (_not_now, _for_an_administrator, _conflict):
        if mapped := stands_for(found, doing):
            return mapped
    said = f" It said: {redacted(found.message)[:300]}" if found.message else ""
    kind = PlugInThrew if found.code in PLUGIN_THREW else UnexpectedAnswer
    return kind(f"Dataverse could not {doing} {found.details()}. Ask support to look at the logs.{said}")


def _not_now(found: Fault, doing: str) -> AudienceSyncError | None:
    if found.status == HTTPStatus.TOO_MANY_REQUESTS or found.code in THROTTLED:
        return Throttled(
            f"Dataverse asked us to slow down {found.details()}. The step goes on by itself after a pause.", found.after_seconds
        )
    if found.code in SQL_TROUBLE:
        return RemoteUnavailable(
            f"Dataverse's database was too busy to {doing} {found.details()}. The step is tried again.", found.after_seconds
        )
    if found.code not in PLUGIN_THREW and _may_pass(found.status):
        return RemoteUnavailable(
            f"Dataverse could not {doing} just now {found.details()}. The step is tried again.", found.after_seconds
        )
    return None


def _may_pass(status: int) -> bool:
    server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED
    return server_error or status == HTTPStatus.REQUEST_TIMEOUT


def _for_an_administrator(found: Fault, doing: str) -> AudienceSyncError | None:
    if found.token_was_refused:
        return ConfigurationWrong(
            f"Dataverse did not accept the app's token to {doing} {found.details()}. Ask your administrator to check that the "
            "app registration has an enabled application user in this environment, then press Retry."
        )
    if found.code in NO_USER:
        return ConfigurationWrong(
            f"The app has no enabled application user in this Dataverse environment, so it could not {doing} {found.details()}. "
            "Ask your administrator to add one with the role that the installer made (docs/setup.md), then press Retry."
        )
    if found.code in PRIVILEGE or found.status == HTTPStatus.FORBIDDEN:
        name = _PRIVILEGE_NAME.search(found.message)
        lacks = f"the privilege {name[0]}" if name else "a privilege"
        return ConfigurationWrong(
            f"The app's user in Dataverse lacks {lacks} to {doing} {found.details()}. Ask your administrator to give it the role "
            "that the installer made (docs/setup.md), then press Retry."
        )
    if found.is_not_installed:
        name = _NAMED.search(found.message)
        what = f"'{name[1]}'" if name else "a table, column or action that is needed"
        return NotInstalled(
            f"This Dataverse environment does not know {what}, so the app could not {doing} {found.details()}. Ask your "
            "administrator to run the installer (python -m solution install) again, then press Retry."
        )
    return None


def _conflict(found: Fault, doing: str) -> AudienceSyncError | None:
    if found.status == HTTPStatus.PRECONDITION_FAILED or found.code == VERSION_MISMATCH:
        return SomebodyElseChangedIt(
            f"Somebody else changed the record while the app tried to {doing} {found.details()}. It is read again."
        )
    return None


def read_row(answer: Answer, doing: str) -> dict[str, Any]:
    """Return the row in an answer; raises UnexpectedAnswer when there is none."""
    check(answer, doing)
    found = _decoded(answer.body, doing)
    if not isinstance(found, dict):
        raise _unreadable(doing)
    return found


class _Rows(msgspec.Struct):
    value: list[dict[str, Any]]
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")


_ROWS = msgspec.json.Decoder(_Rows)


def read_rows(answer: Answer, doing: str) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows in an answer and the link to the next page, None on the last."""
    check(answer, doing)
    try:
        found = _ROWS.decode(answer.body)
    except _NOT_JSON:
        raise _unreadable(doing) from None
    return found.value, found.next_link


def read_created(answer: Answer, doing: str) -> str:
    """Return the id of a created row, from the header OData-EntityId; empty when the answer names none."""
    check(answer, doing)
    found = re.search(r"\(([0-9a-fA-F-]{36})\)\s*$", answer.headers.get("OData-EntityId", ""))
    return (as_guid(found[1]) or "") if found else ""


def _decoded(body: bytes, doing: str) -> Any:
    try:
        return msgspec.json.decode(body)
    except _NOT_JSON:
        raise _unreadable(doing) from None


def _unreadable(doing: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"Dataverse answered the attempt to {doing} with something that cannot be read. Try again; "
        "if it happens again, report it."
    )


def next_path(base_url: str, link: str) -> str:
    """Return the path of a next link on our own environment; raises UnexpectedAnswer for any other.

    Only the path is kept as a cursor and put behind the configured address again, so nothing that an answer says can
    lead the app and its token to another host.
    """
    if not link.lower().startswith(base_url.lower() + "/api/data/v"):
        raise UnexpectedAnswer(
            "Dataverse named a next page on another address, which is never followed. Check that the setting DATAVERSE_URL is "
            "the environment's own address, then try again."
        )
    return link[len(base_url) :]


def read_batch(answer: Answer, expected: int, doing: str) -> list[Answer]:
    """Return the answers inside the answer to a batch, in the order asked; each has still to be checked."""
    check(answer, doing)
    found = re.search(r'boundary="?([^";,\s]+)"?', answer.headers.get("Content-Type", ""))
    if found is None:
        raise _unreadable(doing)
    parts = list(_parts(answer.body, b"--" + found[1].encode()))
    if len(parts) != expected:
        raise UnexpectedAnswer(
            f"Dataverse answered {len(parts)} of {expected} queries of a batch. Try again; if it happens again, report it."
        )
    return parts


def _parts(body: bytes, delimiter: bytes) -> Iterable[Answer]:
    at = body.find(delimiter)
    while at >= 0:
        start = at + len(delimiter)
        at = body.find(b"\r\n" + delimiter, start)
        if at < 0:
            return
        at += 2
        yield _part(body, start, at - 2)


def _part(body: bytes, start: int, end: int) -> Answer:
    """Read `headers, blank line, status line, headers, blank line, body` between two delimiters."""
    head = body.find(b"\r\n\r\n", start, end)
    status_at = head + 4
    blank = body.find(b"\r\n\r\n", status_at, end)
    headers_end = end if blank < 0 else blank
    lines = body[status_at:headers_end].decode("latin-1").split("\r\n")
    status = re.match(r"HTTP/1\.\d (\d{3})", lines[0])
    if head < 0 or status is None:
        raise UnexpectedAnswer(
            "Dataverse answered a batch with something that cannot be read. Try again; if it happens again, report it."
        )
    headers = Headers(line.split(":", 1) for line in lines[1:] if ":" in line)
    return Answer(int(status[1]), headers, b"" if blank < 0 else body[blank + 4 : end].removesuffix(b"\r\n"))


class Headers(dict[str, str]):
    """Headers found without regard to case, for the answers inside a batch."""

    def __init__(self, pairs: Iterable[Sequence[str]] = ()) -> None:
        super().__init__((name.strip().lower(), value.strip()) for name, value in pairs)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header's value, whatever the case of its name."""
        return super().get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())
