"""A queue of the storage account, in the encoding that the Functions host expects."""

import base64
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from azure.core.exceptions import HttpResponseError

from shared.storage.direct import Service
from shared.storage.failures import CONFLICT, NOT_FOUND, attempt

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient  # takes long to import, and is used for what is rare

_FOR_EVER = "-1"  # by default a message is dropped after seven days, and one may be hidden for nearly as long
_XML = {"content-type": "application/xml"}


class TextQueue:
    """Texts that become visible after a delay. The queue itself is created when a message finds none."""

    def __init__(self, direct: Service, name: str, open_client: "Callable[[], QueueClient]") -> None:
        """Send to the queue `name`; `open_client` gives Microsoft's client for what is rare."""
        self._direct, self._name, self._open_client = direct, name, open_client

    @cached_property
    def _client(self) -> "QueueClient":
        return self._open_client()

    def send(self, text: str, delay_seconds: int) -> None:
        """Put a text on the queue. After a lost answer it may be there twice."""
        try:
            attempt(lambda: self._put(text, delay_seconds), wanted=(NOT_FOUND,))
        except HttpResponseError:
            self._create()
            attempt(lambda: self._put(text, delay_seconds))

    def waiting(self) -> tuple[int, datetime | None]:
        """Return about how many messages there are, and when the oldest visible one was put; (0, None) without a queue."""
        try:
            count = attempt(self._client.get_queue_properties, wanted=(NOT_FOUND,)).approximate_message_count or 0
            seen = attempt(lambda: self._client.peek_messages(max_messages=1), wanted=(NOT_FOUND,))
        except HttpResponseError:
            return 0, None
        return count, seen[0].inserted_on if seen else None

    def _put(self, text: str, delay_seconds: int) -> None:
        """Send in base64: plain text never reaches the function, and nobody hears of it."""
        written = base64.b64encode(text.encode()).decode("ascii")
        body = f"<QueueMessage><MessageText>{written}</MessageText></QueueMessage>".encode()
        hidden = {"visibilitytimeout": str(delay_seconds), "messagettl": _FOR_EVER}
        self._direct.send("POST", f"/{self._name}/messages", query=hidden, headers=_XML, body=body)

    def _create(self) -> None:
        try:
            attempt(lambda: self._direct.send("PUT", f"/{self._name}"), wanted=(CONFLICT,))
        except HttpResponseError:
            return  # somebody else was faster, with other metadata
