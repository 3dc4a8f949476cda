"""A table of the storage account: rows that are made once and changed conditionally."""

from collections.abc import Iterable, Mapping
from itertools import batched, groupby
from typing import Any
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableClient, UpdateMode

from shared.errors import RemoteUnavailable, SomebodyElseChangedIt
from shared.storage.failures import CONFLICT, NOT_FOUND, attempt

Row = Mapping[str, Any]
KEYS = ("PartitionKey", "RowKey")
_BATCH = 100  # the service's limit; Azurite cuts the connection above it
_STAMP = "stamp"


class Table:
    """Rows by partition and key. The table itself is created when a write finds none.

    Every conditional write carries a stamp of its own, so that one whose answer was lost is recognised as ours
    when it is repeated and found done.
    """

    def __init__(self, client: TableClient) -> None:
        self._client = client

    def get(self, partition: str, key: str) -> tuple[Row, str] | None:
        """Return a row and its version; None when there is none."""
        try:
            found = attempt(lambda: self._client.get_entity(partition, key), wanted=(NOT_FOUND,))
        except HttpResponseError:
            return None
        return found, str(found.metadata["etag"])

    def insert(self, row: Row) -> bool:
        """Make a row; False when one with these keys is there already."""
        stamped = {**row, _STAMP: uuid4().hex}
        try:
            self._creating(lambda: self._client.create_entity(stamped), CONFLICT)
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
            written = attempt(
                lambda: self._client.update_entity(
                    stamped, UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
                ),
                wanted=(NOT_FOUND,),
            )
        except HttpResponseError as error:
            raise SomebodyElseChangedIt("Somebody else deleted the stored state.") from error
        except SomebodyElseChangedIt:
            there = self.get(row["PartitionKey"], row["RowKey"])
            if there is None or there[0].get(_STAMP) != stamped[_STAMP]:
                raise
            return there[1]
        return str(written["etag"])

    def put(self, row: Row) -> None:
        """Make a row or put it in the place of the earlier one."""
        self._creating(lambda: self._client.upsert_entity(dict(row), UpdateMode.REPLACE))

    def delete(self, partition: str, key: str) -> None:
        """Delete a row; one that is gone already is fine."""
        attempt(lambda: self._client.delete_entity(partition, key))

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
