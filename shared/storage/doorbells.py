"""Doorbells in a table: an event that was taken leaves a row that can be made only once; fulfils `ports.Doorbells`."""

import hashlib
from datetime import datetime
from typing import Any

from shared.storage.connection import Connection

TABLE = "limadoorbells"


class TableDoorbells:
    """Events already taken, by the digest of their key, spread over sixteen partitions so that bursts are not slowed."""

    def __init__(self, connection: Connection, *, table: str = TABLE) -> None:
        self._connection, self._name = connection, table

    @property
    def _table(self) -> Any:
        return self._connection.table(self._name)

    def take(self, event_key: str, now: datetime) -> bool:
        """Note an event; False when it was noted before."""
        partition, key = _keys(event_key)
        return bool(self._table.insert({"PartitionKey": partition, "RowKey": key, "taken": now}))

    def release(self, event_key: str) -> None:
        """Un-note an event whose message could not be sent, so that a second delivery is taken."""
        self._table.delete(*_keys(event_key))

    def clear_before(self, moment: datetime) -> int:
        """Forget events noted before a moment; return how many."""
        return int(self._table.delete_found("taken lt @moment", {"moment": moment}))


def _keys(event_key: str) -> tuple[str, str]:
    digest = hashlib.sha256(event_key.encode("utf-8", "surrogatepass")).hexdigest()
    return digest[0], digest
