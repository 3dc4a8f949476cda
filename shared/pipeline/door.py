"""The door: which event becomes which message, and that it becomes one only once."""

from dataclasses import dataclass
from typing import Protocol

from shared.dataverse.schema import AUDIENCE_TABLE, SEGMENT_TABLES, SIGN_IN_TABLE
from shared.logs import correlated, get_logger
from shared.ports import Clock, Doorbells, Message, Queue

logger = get_logger(__name__)

_KINDS = {AUDIENCE_TABLE: "audience", SIGN_IN_TABLE: "signin"} | dict.fromkeys(SEGMENT_TABLES, "live")


class Event(Protocol):
    """What the door reads of an event."""

    @property
    def key(self) -> str:
        """What tells this event from every other."""

    @property
    def organization_id(self) -> str:
        """The environment's id, or empty."""

    @property
    def table(self) -> str:
        """Logical name of the changed row's table."""

    @property
    def row_id(self) -> str:
        """Id of the changed row."""

    @property
    def is_echo(self) -> bool:
        """Whether the change is the worker's own taking of a command."""

    @property
    def correlation(self) -> str:
        """The platform's correlation id."""


@dataclass(frozen=True)
class Door:
    """Takes events from Dataverse. `secrets` are the accepted webhook secrets, the previous one during a change."""

    doorbells: Doorbells
    queue: Queue
    clock: Clock
    secrets: tuple[str, ...]
    organization_id: str = ""

    def take(self, event: Event) -> bool:
        """Put the event's message on the queue, once; False for an event that is not ours or was taken before."""
        kind = _KINDS.get(event.table)
        with correlated(event.correlation):
            if kind is None or not self._is_ours(event):
                logger.info("Passed over an event that is not ours", extra={"action": "event-foreign", "table": event.table})
                return False
            if event.is_echo:
                logger.info("Passed over the echo of a taken command", extra={"action": "event-echo"})
                return False
            if not self.doorbells.take(event.key, self.clock.now()):
                logger.info("Passed over an event that was taken before", extra={"action": "event-repeated"})
                return False
            self._ring(event, kind)
            return True

    def _is_ours(self, event: Event) -> bool:
        """Tell whether the event is of our environment: a copied one keeps the webhook of the original."""
        ours = self.organization_id.strip("{} ").lower()
        return not ours or event.organization_id.lower() == ours

    def _ring(self, event: Event, kind: str) -> None:
        message = Message(kind, event.row_id, table=event.table if kind == "live" else "", correlation=event.correlation)
        try:
            self.queue.send(message)
        except Exception:
            self.doorbells.release(event.key)
            raise
        logger.info("Took an event", extra={"action": "event-taken", "kind": kind, "row": event.row_id})
