"""`$batch`: several requests in one multipart body; change sets are done wholly or not at all."""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from werkzeug.wrappers import Request, Response

from sandbox.dataverse import errors
from sandbox.dataverse.context import API, CALLER
from sandbox.dataverse.queries import read_prefer
from sandbox.dataverse.state import State
from sandbox.web import Refusal, Route, count_elements

MOST_OPERATIONS = 1000
CRLF = b"\r\n"
IN_QUERY = "%/?:@!$&'()*+,;=[]\"{}<>|~"
"""Characters of an address that stay as they are; blanks and letters outside ASCII are encoded."""
SUCCESS = range(200, 300)
REASONS = {200: "OK", 201: "Created", 204: "No Content", 206: "Partial Content", 304: "Not Modified"}

type Dispatch = Callable[[Request], Response]


@dataclass
class Part:
    """One request of a batch."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    content_id: str | None = None


@dataclass
class ChangeSet:
    """Requests that are done together."""

    parts: list[Part] = field(default_factory=list)


class BatchRoutes:
    """The handler of `$batch`."""

    def __init__(self, state: State, dispatch: Dispatch) -> None:
        self._state, self._dispatch = state, dispatch

    def routes(self) -> Iterable[Route]:
        """Return the address."""
        return [Route("POST", API + r"/\$batch", self.batch, "up to 1,000 requests in one, change sets as transactions")]

    def batch(self, request: Request) -> Response:
        """Do every part in order; stop at the first error unless asked to go on."""
        items = read_items(request.headers.get("Content-Type", ""), request.get_data())
        count = sum(len(item.parts) if isinstance(item, ChangeSet) else 1 for item in items)
        if count > MOST_OPERATIONS:
            message = f"The batch request contains {count} operations, which exceeds the maximum of {MOST_OPERATIONS}."
            raise errors.ServiceError(400, errors.BATCH_TOO_LARGE, message)
        count_elements(request, count)
        boundary = f"batchresponse_{uuid.uuid4()}"
        go_on = read_prefer(request.headers.get("Prefer")).continue_on_error
        answers: list[bytes] = []
        for item in items:
            data, succeeded = self._change_set(request, item) if isinstance(item, ChangeSet) else self._single(request, item)
            answers.append(data)
            if not succeeded and not go_on:
                break
        body = b"".join(b"--" + boundary.encode() + CRLF + one + CRLF for one in answers) + f"--{boundary}--\r\n".encode()
        return Response(body, 200, {"OData-Version": "4.0"}, content_type=f"multipart/mixed; boundary={boundary}")

    def _single(self, request: Request, part: Part) -> tuple[bytes, bool]:
        response = self._answered(request, part, {})
        return written(response, None), response.status_code in SUCCESS

    def _change_set(self, request: Request, changes: ChangeSet) -> tuple[bytes, bool]:
        boundary = f"changesetresponse_{uuid.uuid4()}"
        answers: list[bytes] = []
        created: dict[str, str] = {}
        try:
            with self._state.transaction():
                for part in changes.parts:
                    if part.method == "GET":
                        raise errors.ServiceError(400, errors.INVALID_QUERY, "A GET request is not allowed inside a change set.")
                    response = self._dispatched(request, part, created)
                    if part.content_id and "OData-EntityId" in response.headers:
                        created[part.content_id] = response.headers["OData-EntityId"]
                    answers.append(b"--" + boundary.encode() + CRLF + written(response, part.content_id) + CRLF)
        except Refusal as refusal:
            return written(refusal.response(), None), False
        head = f"Content-Type: multipart/mixed; boundary={boundary}".encode()
        return head + CRLF + CRLF + b"".join(answers) + f"--{boundary}--".encode() + CRLF, True

    def _answered(self, request: Request, part: Part, created: Mapping[str, str]) -> Response:
        try:
            return self._dispatched(request, part, created)
        except Refusal as refusal:
            return refusal.response()

    def _dispatched(self, request: Request, part: Part, created: Mapping[str, str]) -> Response:
        inner = _inner_request(request, part, created)
        if inner.path.endswith("/$batch"):
            raise errors.invalid_query("A batch request cannot contain another batch request.")
        longest = self._state.settings.longest_batch_address
        if longest is not None and len(part.target) > longest:
            raise errors.ServiceError(414, "", f"The request URI is longer than {longest} characters.")
        response = self._dispatch(inner)
        if response.status_code >= 400:  # noqa: PLR2004 - errors of HTTP
            raise Refusal(response.status_code, response.get_data(as_text=True), dict(response.headers))
        return response


def _inner_request(request: Request, part: Part, created: Mapping[str, str]) -> Request:
    target = _with_references(part.target, created)
    root = request.path.removesuffix("$batch")
    parts = urlsplit(target)
    path = parts.path if parts.scheme or target.startswith("/") else root + parts.path
    if path.startswith("/") and not path.startswith("/api/"):
        path = root + path.lstrip("/")
    body = part.body
    if created and body:
        body = json.dumps(_replaced(json.loads(body), created)).encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": part.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(quote(path, safe=IN_QUERY), "latin-1"),
        "QUERY_STRING": quote(parts.query, safe=IN_QUERY),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
        CALLER: request.environ[CALLER],
        **{name: request.environ[name] for name in ("SERVER_NAME", "SERVER_PORT", "HTTP_HOST", "wsgi.url_scheme")},
    }
    for name, value in part.headers.items():
        key = name.upper().replace("-", "_")
        if key != "CONTENT_LENGTH":
            environ[key if key == "CONTENT_TYPE" else "HTTP_" + key] = value
    return Request(environ)


def _with_references(target: str, created: Mapping[str, str]) -> str:
    found = re.match(r"/?\$([^/?]+)", target)
    if found and found[1] in created:
        return created[found[1]] + target[found.end() :]
    return target


def _replaced(value: Any, created: Mapping[str, str]) -> Any:
    """Return a body in which references like `$1` are addresses."""
    if isinstance(value, dict):
        return {name: _replaced(one, created) for name, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, created) for one in value]
    if isinstance(value, str) and value.lstrip("/").startswith("$"):
        return created.get(value.lstrip("/")[1:], value)
    return value


def read_items(content_type: str, body: bytes) -> list[Part | ChangeSet]:
    """Return the parts of a multipart body; raises the 400 when it is none, or its lines do not end with CRLF."""
    return [_item(headers, content) for headers, content in _split(content_type, body)]


def _item(headers: Mapping[str, str], content: bytes) -> Part | ChangeSet:
    kind = headers.get("content-type", "")
    if kind.startswith("multipart/mixed"):
        return ChangeSet([_part(inner, one) for inner, one in _split(kind, content)])
    return _part(headers, content)


def _split(content_type: str, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    boundary = re.search(r'boundary="?([^";,\s]+)"?', content_type)
    if boundary is None:
        raise errors.unreadable("The content type of a batch needs a boundary.")
    mark = b"--" + boundary[1].encode()
    if mark + CRLF not in body:
        raise errors.unreadable("The batch body could not be read: its boundary was not found on a line that ends with CRLF.")
    sections = (CRLF + body).split(CRLF + mark)[1:]
    if not sections[-1].startswith(b"--"):
        raise errors.unreadable("Unexpected end of the batch body: the closing boundary is missing.")
    return [_head_and_content(section.removeprefix(CRLF)) for section in sections[:-1]]


def _head_and_content(section: bytes) -> tuple[dict[str, str], bytes]:
    head, _, content = section.partition(CRLF + CRLF)
    return _headers(head.decode()), content


def _headers(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.split("\r\n") if line.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _part(headers: Mapping[str, str], content: bytes) -> Part:
    head, _, body = content.partition(CRLF + CRLF)
    first, _, rest = head.decode().lstrip("\r\n").partition("\r\n")
    words = first.split(" ")
    if len(words) < 2:  # noqa: PLR2004 - verb and address
        raise errors.unreadable(f"The request line '{first[:100]}' of a batch part could not be read.")
    target = " ".join(words[1:]).removesuffix(" HTTP/1.1")
    return Part(words[0].upper(), target, _headers(rest), body.removesuffix(CRLF), headers.get("content-id"))


def written(response: Response, content_id: str | None) -> bytes:
    """Return a response as one part of a multipart body."""
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id:
        lines.append(f"Content-ID: {content_id}")
    reason = REASONS.get(response.status_code, "Error")
    lines += ["", f"HTTP/1.1 {response.status_code} {reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name.lower() != "content-length"]
    return "\r\n".join([*lines, "", ""]).encode() + response.get_data()
