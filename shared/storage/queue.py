"""The queue that wakes steps; fulfils `ports.Queue`. Messages hold ids, never personal data."""

import json
from dataclasses import MISSING, asdict, fields
from math import ceil
from typing import Any

from shared.errors import UnexpectedAnswer
from shared.ports import Message
from shared.storage.connection import Connection

QUEUE = "audience-steps"
LONGEST_DELAY = 7 * 24 * 3600  # the service answers 400 to a second more
_FIELDS = {field.name: field for field in fields(Message)}


class StepQueue:
    """Sends messages; the Functions host delivers them."""

    def __init__(self, connection: Connection, *, queue: str = QUEUE) -> None:
        self._connection, self._name = connection, queue

    def send(self, message: Message, *, delay_seconds: float = 0.0) -> None:
        """Put a message on the queue, visible after a delay of at most seven days, rounded up to whole seconds."""
        delay = min(max(0, ceil(delay_seconds)), LONGEST_DELAY)
        self._connection.queue(self._name).send(write_message(message), delay)


def write_message(message: Message) -> str:
    """Return a message as the text that travels; what is at its default is left out.

    >>> write_message(Message("audience", "8a1f", 3))
    '{"kind":"audience","id":"8a1f","fence":3}'
    """
    said = {name: value for name, value in asdict(message).items() if value != _FIELDS[name].default}
    return json.dumps(said, separators=(",", ":"))


def read_message(text: str | bytes) -> Message:
    """Return the message in a text; names it does not know are left out.

    Raises UnexpectedAnswer for a text that nobody of ours has written.
    """
    try:
        said = json.loads(text)
        known = {name: _checked(name, said[name]) for name in _FIELDS if name in said}
        return Message(**known)
    except (ValueError, TypeError, RecursionError):
        raise UnexpectedAnswer("A message on the queue is not one of ours. Look at who else writes to the queue.") from None


def _checked(name: str, value: Any) -> Any:
    default = _FIELDS[name].default
    fits = isinstance(value, int | None) if name == "fence" else isinstance(value, str if default is MISSING else type(default))
    if not fits or isinstance(value, bool):
        raise TypeError(name)
    return value
