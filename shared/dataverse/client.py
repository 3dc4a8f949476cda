"""Sending to Dataverse: one small method per verb. Requests are built and answers read in `protocol.py`."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import IO, Any
from uuid import uuid4

from shared.dataverse import protocol
from shared.dataverse.auth import TokenSource
from shared.errors import RowGone, UnexpectedAnswer
from shared.http import READ_SECONDS, Answer, HttpClient, Request
from shared.logs import current_correlation

ACTION_SECONDS = 150.0  # a plug-in may run for two minutes before Dataverse ends it
UPLOAD_SECONDS = 300.0
_IN_MEMORY = 4 * 1024 * 1024  # bytes of an upload; what is longer goes over the disk
_TOO_LARGE = "0x80044a02"


@dataclass(frozen=True)
class WhoAmI:
    """Who the app is in this environment; ids in lower case without braces."""

    user_id: str
    organization_id: str
    business_unit_id: str


class DataverseClient:
    """One environment, as the app's own user; made once per process and used by all its threads.

    `doing` completes the sentence "Dataverse could not ..." in errors. Every method may raise TryAgainLater and
    its kinds, ConfigurationWrong (its kind `protocol.NotInstalled` when the environment does not know a table or
    column) and UnexpectedAnswer. Nothing is repeated here except once with a new token; the job repeats.
    """

    def __init__(self, http: HttpClient, tokens: TokenSource, *, parallel: int = 8) -> None:
        """Send over `http`; `parallel` is the most requests at once that callers may make."""
        self._http, self._tokens, self._most = http, tokens, parallel
        self._hint: int | None = None

    @property
    def base_url(self) -> str:
        """Return the environment's address, without a trailing slash."""
        return self._http.base_url

    @property
    def parallel(self) -> int:
        """Return how many requests at once are welcome now: the setting, or less when Dataverse recommends less."""
        return min(self._most, self._hint or self._most)

    def send(self, request: Request, *, read_seconds: float = READ_SECONDS) -> Answer:
        """Send a request, signed, and return its answer whatever the status; after a 401 once more with a new token."""
        token = self._tokens.token()
        answer = self._http.send(_signed(request, token), read_seconds=read_seconds)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._tokens.forget(token)
            _rewind(request)
            answer = self._http.send(_signed(request, self._tokens.token()), read_seconds=read_seconds)
        self._hint = protocol.dop_hint(answer.headers) or self._hint
        return answer

    def row(self, path: str, doing: str) -> dict[str, Any] | None:
        """Return a row; None when it does not exist."""
        answer = self.send(protocol.request("GET", path))
        if _row_is_missing(answer):
            return None
        return protocol.read_row(answer, doing)

    def page(self, path: str, doing: str, *, size: int | None = None) -> bytes:
        """Return the body of one page of rows, not yet decoded; `size` asks for at most so many."""
        answer = self.send(protocol.request("GET", path, headers=protocol.page_size(size) if size else None))
        protocol.check(answer, doing)
        return answer.body

    def rows(self, path: str, doing: str) -> Iterator[dict[str, Any]]:
        """Return the rows of a query, page after page."""
        link: str | None = path
        while link:
            rows, following = protocol.read_rows(self.send(protocol.request("GET", link)), doing)
            yield from rows
            if following == link:
                raise UnexpectedAnswer(
                    f"Dataverse could not {doing}: a page led back to itself. Ask support to look at the logs."
                )
            link = self.absolute(protocol.next_path(self.base_url, following)) if following else None

    def absolute(self, path: str) -> str:
        """Return a path that came from a next link as an address on this environment."""
        return self.base_url + path

    def create(
        self, table_set: str, values: Mapping[str, Any], doing: str, *, headers: Mapping[str, str] | None = None
    ) -> str | None:
        """Create a row and return its id; None when a row with this key is there already."""
        answer = self.send(protocol.request("POST", table_set, values, headers=headers))
        found = protocol.fault(answer)
        if found and found.is_already_there:
            return None
        return protocol.read_created(answer, doing)

    def update(
        self, path: str, values: Mapping[str, Any], doing: str, *, etag: str = "*", headers: Mapping[str, str] | None = None
    ) -> bool:
        """Change columns of a row; False when it does not exist (it is never made again).

        With an `etag` only if the row is still at that version, else SomebodyElseChangedIt. May be repeated.
        """
        answer = self.send(protocol.request("PATCH", path, values, headers={"If-Match": etag, **(headers or {})}))
        if _row_is_missing(answer):
            return False
        protocol.check(answer, doing)
        return True

    def upsert(self, path: str, values: Mapping[str, Any], doing: str, *, headers: Mapping[str, str] | None = None) -> None:
        """Create a row or change the one that is there. May be repeated."""
        protocol.check(self.send(protocol.request("PATCH", path, values, headers=headers)), doing)

    def delete(self, path: str, doing: str, *, headers: Mapping[str, str] | None = None) -> bool:
        """Delete a row; False when it did not exist."""
        answer = self.send(protocol.request("DELETE", path, headers=headers))
        if _row_is_missing(answer):
            return False
        protocol.check(answer, doing)
        return True

    def action(
        self,
        name: str,
        values: Mapping[str, Any],
        doing: str,
        *,
        headers: Mapping[str, str] | None = None,
        read_seconds: float = ACTION_SECONDS,
    ) -> bytes:
        """Call an action and return the body of its answer, empty when it has none."""
        answer = self.send(protocol.request("POST", name, values, headers=headers), read_seconds=read_seconds)
        protocol.check(answer, doing)
        return answer.body

    def batch(self, requests: Sequence[Request], doing: str) -> list[Answer]:
        """Send up to 1,000 requests as one and return their answers in order, each still to be checked."""
        boundary = f"batch_{uuid4().hex}"
        return protocol.read_batch(self.send(protocol.batch(requests, boundary)), len(requests), doing)

    def upload(self, path: str, content: Iterable[bytes], file_name: str, doing: str) -> bool:
        """Store a file in a file column, replacing an earlier one; False when the column takes none of this size.

        One request takes up to 128 MB (Learn: Use file column data). May be repeated. Raises RowGone when the row
        does not exist.
        """
        headers = {"Content-Type": "application/octet-stream", "x-ms-file-name": file_name}
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
            for block in content:
                spool.write(block)
            size = spool.tell()
            spool.seek(0)
            body: bytes | IO[bytes] = spool.read() if size <= _IN_MEMORY else spool
            request = replace(protocol.request("PATCH", path, headers=headers), body=body)
            answer = self.send(request, read_seconds=UPLOAD_SECONDS)
        if _row_is_missing(answer):
            raise RowGone(f"The row that the app tried to {doing} was deleted.")
        found = protocol.fault(answer)
        if found and (found.code == _TOO_LARGE or found.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
            return False
        protocol.check(answer, doing)
        return True

    def who_am_i(self) -> WhoAmI:
        """Return who the app is; the cheapest way to find out whether signing in works."""
        doing = "tell the app who it is"
        found = protocol.read_row(self.send(protocol.request("GET", "WhoAmI")), doing)
        ids = [protocol.as_guid(found.get(name)) for name in ("UserId", "OrganizationId", "BusinessUnitId")]
        user, organization, unit = (one or "" for one in ids)
        if not user or not organization:
            raise UnexpectedAnswer("Dataverse did not tell the app who it is. Check the setting DATAVERSE_URL, then try again.")
        return WhoAmI(user, organization, unit)


def _signed(request: Request, token: str) -> Request:
    """Return the request with the token and, so that support finds it, the id of the work at hand."""
    ours = {"Authorization": f"Bearer {token}", "x-ms-client-request-id": protocol.as_guid(current_correlation()) or ""}
    return replace(request, headers={**request.headers, **ours})


def _rewind(request: Request) -> None:
    """Go back to the start of a body that was read, so that it can be sent again."""
    if seek := getattr(request.body, "seek", None):
        seek(0)


def _row_is_missing(answer: Answer) -> bool:
    found = protocol.fault(answer)
    return found is not None and found.row_is_missing
