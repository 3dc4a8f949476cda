"""A queue of the storage account, in the encoding that the Functions host expects."""

from datetime import datetime

from azure.core.exceptions import HttpResponseError
from azure.storage.queue import QueueClient

from shared.storage.failures import CONFLICT, NOT_FOUND, attempt

_FOR_EVER = -1  # by default a message is dropped after seven days, and one may be hidden for nearly as long


class TextQueue:
    """Texts that become visible after a delay. The queue itself is created when a message finds none."""

    def __init__(self, client: QueueClient) -> None:
        """Send to `client`, which must encode in base64: plain text never reaches the function, and nobody hears of it."""
        self._client = client

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
        self._client.send_message(text, visibility_timeout=delay_seconds, time_to_live=_FOR_EVER)

    def _create(self) -> None:
        try:
            attempt(self._client.create_queue, wanted=(CONFLICT,))
        except HttpResponseError:
            return  # somebody else was faster
