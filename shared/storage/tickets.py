"""One-time sign-in tickets in a table, under the digest of their secret id; fulfils `ports.Tickets`."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from shared.errors import SomebodyElseChangedIt
from shared.ports import Ticket
from shared.storage.connection import Connection

TABLE = "limatickets"
PARTITION = "ticket"


class TableTickets:
    """Whoever reads the table cannot use a ticket: the secret id is nowhere in it."""

    def __init__(self, connection: Connection, *, table: str = TABLE) -> None:
        self._connection, self._name = connection, table

    @property
    def _table(self) -> Any:
        return self._connection.table(self._name)

    def issue(self, ticket_id: str, ticket: Ticket) -> None:
        """Remember a ticket under a secret id."""
        self._table.put(_row(ticket_id, ticket, used=False))

    def look_at(self, ticket_id: str) -> Ticket | None:
        """Return a ticket that has not been used; None when there is none. The caller looks at its expiry."""
        found = self._unused(ticket_id)
        return None if found is None else found[0]

    def use_up(self, ticket_id: str) -> Ticket | None:
        """Return a ticket and make it useless, once; None when it was used or never was. The caller looks at its expiry."""
        found = self._unused(ticket_id)
        if found is None:
            return None
        ticket, etag = found
        try:
            self._table.replace(_row(ticket_id, ticket, used=True), etag)
        except SomebodyElseChangedIt:
            return None
        return ticket

    def clear_before(self, moment: datetime) -> int:
        """Forget tickets that expired before a moment; return how many."""
        return int(self._table.delete_found("expires lt @moment", {"moment": moment}))

    def _unused(self, ticket_id: str) -> tuple[Ticket, str] | None:
        found = self._table.get(PARTITION, _key(ticket_id))
        if found is None or found[0]["used"]:
            return None
        row, etag = found
        expires = datetime.fromtimestamp(row["expires"].timestamp(), UTC)
        return Ticket(row["user"], row["row"], expires), etag


def _row(ticket_id: str, ticket: Ticket, *, used: bool) -> dict[str, Any]:
    return {
        "PartitionKey": PARTITION,
        "RowKey": _key(ticket_id),
        "user": ticket.user_id,
        "row": ticket.row_id,
        "expires": ticket.expires,
        "used": used,
    }


def _key(ticket_id: str) -> str:
    return hashlib.sha256(ticket_id.encode("utf-8", "surrogatepass")).hexdigest()
