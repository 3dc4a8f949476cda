"""A table of the storage account: rows that are made once and changed conditionally."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from itertools import batched, groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from azure.core.exceptions import HttpResponseError

from shared.errors import RemoteUnavailable, SomebodyElseChangedIt
from shared.http import Answer
from shared.storage.direct import Service
from shared.storage.failures import CONFLICT, NOT_FOUND, attempt

if TYPE_CHECKING:
    from azure.data.tables import TableClient  # takes long to import, and is used for what is rare

Row = Mapping[str, Any]
KEYS = ("PartitionKey", "RowKey")
_BATCH = 100  # the service's limit; Azurite cuts the connection above it
_STAMP = "stamp"


class Table:
    """Rows by partition and key. The table itself is created when a write finds none.

    Every conditional write carries a stamp of its own, so that one whose answer was lost is recognised as ours
    when it is repeated and found done.
    """

    def __init__(self, direct: Service, name: str, open_client: "Callable[[], TableClient]") -> None:
        """Use the table `name`; `open_client` gives Microsoft's client for what is rare."""
        self._direct, self._name, self._open_client = direct, name, open_client

    @cached_property
    def _client(self) -> "TableClient":
        return self._open_client()

    def get(self, partition: str, key: str) -> tuple[Row, str] | None:
        """Return a row and its version; None when there is none."""
        try:
            found = attempt(lambda: self._direct.send("GET", self._path(partition, key), headers=_TYPED), wanted=(NOT_FOUND,))
        except HttpResponseError:
            return None
        return read_row(found.body), found.headers["ETag"]

    def insert(self, row: Row) -> bool:
        """Make a row; False when one with these keys is there already."""
        stamped = {**row, _STAMP: uuid4().hex}
        try:
            self._creating(
                lambda: self._direct.send("POST", f"/{self._name}", headers=_NOTHING_BACK, body=written_row(stamped)), CONFLICT
            )
        except HttpResponseError:
            there = self.get(row["PartitionKey"], row["RowKey"])
            if there is None:
                raise RemoteUnavailable("The app's storage account is changing.") from None
            return bool(there[0].get(_STAMP) == stamped[_STAMP])
        return True

    def replace(self, row: Row, etag: str) -> str:
        """Put another row in the place of the one at that version and return the new version.

        Raises SomebodyElseChangedIt when the row is at another version, or gone.
        """
        stamped = {**row, _STAMP: uuid4().hex}
        try:
            written = attempt(lambda: self._put(stamped, {"if-match": etag}), wanted=(NOT_FOUND,))
        except HttpResponseError as error:
            raise SomebodyElseChangedIt("Somebody else deleted the stored state.") from error
        except SomebodyElseChangedIt:
            there = self.get(row["PartitionKey"], row["RowKey"])
            if there is None or there[0].get(_STAMP) != stamped[_STAMP]:
                raise
            return there[1]
        return written.headers["ETag"]

    def put(self, row: Row) -> None:
        """Make a row or put it in the place of the earlier one."""
        self._creating(lambda: self._put(row, {}))

    def delete(self, partition: str, key: str) -> None:
        """Delete a row; one that is gone already is fine."""
        with suppress(HttpResponseError):
            attempt(
                lambda: self._direct.send("DELETE", self._path(partition, key), headers={**_PLAIN, "if-match": "*"}),
                wanted=(NOT_FOUND,),
            )

    def select(self, query: str, parameters: Mapping[str, Any], columns: Iterable[str]) -> list[Row]:
        """Return these columns of the rows that a query finds; a row without a column that it asks about is not found."""
        wanted = [*KEYS, *columns]
        try:
            return attempt(
                lambda: list(self._client.query_entities(query, parameters=dict(parameters), select=wanted)), wanted=(NOT_FOUND,)
            )
        except HttpResponseError:
            return []

    def delete_found(self, query: str, parameters: Mapping[str, Any]) -> int:
        """Delete the rows that a query finds, a hundred at a time, and return how many."""
        found = sorted((str(row["PartitionKey"]), str(row["RowKey"])) for row in self.select(query, parameters, ()))
        for _, keys in groupby(found, key=lambda pair: pair[0]):
            for some in batched(keys, _BATCH, strict=False):
                self._delete_together(some)
        return len(found)

    def _delete_together(self, keys: tuple[tuple[str, str], ...]) -> None:
        """Delete rows of one partition; all or nothing, so when one is gone already, each by itself."""
        rows = [dict(zip(KEYS, pair, strict=True)) for pair in keys]
        try:
            attempt(lambda: self._client.submit_transaction([("delete", row) for row in rows]), wanted=(NOT_FOUND,))
        except HttpResponseError:
            for partition, key in keys:
                self.delete(partition, key)

    def _put(self, row: Row, condition: Mapping[str, str]) -> Answer:
        path = self._path(row["PartitionKey"], row["RowKey"])
        return self._direct.send("PUT", path, headers={**_PLAIN, **condition}, body=written_row(row))

    def _path(self, partition: str, key: str) -> str:
        return f"/{self._name}(PartitionKey='{_quoted(partition)}',RowKey='{_quoted(key)}')"

    def _creating(self, call: Any, *wanted: int) -> None:
        try:
            attempt(call, wanted=(NOT_FOUND, *wanted))
        except HttpResponseError as error:
            if error.status_code != NOT_FOUND:
                raise
            self._create()
            attempt(call, wanted=wanted)

    def _create(self) -> None:
        try:
            attempt(self._client.create_table, wanted=(CONFLICT,))
        except HttpResponseError:
            return  # somebody else was faster


# ------------------------------------------------------------------ rows as JSON

_PLAIN = {"content-type": "application/json", "accept": "application/json;odata=nometadata", "dataserviceversion": "3.0"}
_TYPED = {**_PLAIN, "accept": "application/json;odata=minimalmetadata"}
_NOTHING_BACK = {**_PLAIN, "prefer": "return-no-content"}
_TYPE = "@odata.type"


def written_row(row: Row) -> bytes:
    """Return a row as the service takes it; times and bytes carry their type, None is left out.

    >>> written_row({"fence": 3, "taken": datetime(2026, 1, 2, tzinfo=UTC)})
    b'{"fence":3,"taken":"2026-01-02T00:00:00.000000Z","taken@odata.type":"Edm.DateTime"}'
    """
    said: dict[str, Any] = {}
    for name, value in row.items():
        match value:
            case None:
                continue
            case datetime():
                said |= {name: value.astimezone(UTC).strftime(_MOMENT), name + _TYPE: "Edm.DateTime"}
            case bytes():
                said |= {name: base64.b64encode(value).decode("ascii"), name + _TYPE: "Edm.Binary"}
            case _:
                said[name] = value
    return json.dumps(said, separators=(",", ":")).encode()


def read_row(content: bytes) -> Row:
    """Return a row as it was written, and whatever the service adds to it."""
    said = json.loads(content)
    return {name: _READ.get(said.get(name + _TYPE), _as_it_is)(value) for name, value in said.items()}


def _as_it_is(value: Any) -> Any:
    return value


_MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"
_READ: Mapping[str | None, Callable[[Any], Any]] = {"Edm.DateTime": datetime.fromisoformat, "Edm.Binary": base64.b64decode}


def _quoted(key: str) -> str:
    return quote(key.replace("'", "''"), safe="")
