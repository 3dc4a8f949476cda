"""The few requests to Azure Queue Storage that a host needs, over its REST API with a shared key.

Source: https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api and, for the signature,
https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import Self
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import aiohttp
from yarl import URL

from sandbox.host.settings import BadSettings

API_VERSION = "2021-12-02"
NOT_FOUND, CREATED = 404, 201


class ServiceRefused(Exception):
    """The service answered with an error. `code` is its own word for it, such as `PopReceiptMismatch`."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"the queue service answered {status} {code}".rstrip())
        self.status, self.code = status, code


Unreachable = (aiohttp.ClientError, TimeoutError, OSError)
"""What is raised when there is no answer."""


@dataclass
class Message:
    """A message as received. `pop_receipt` changes with every renewal; `body` is the text exactly as stored."""

    id: str
    body: str
    pop_receipt: str
    dequeue_count: int
    inserted: datetime
    expires: datetime
    next_visible: datetime


@dataclass
class QueueService:
    """The queues of one storage account."""

    url: str
    account: str
    key: bytes = field(repr=False)
    session: aiohttp.ClientSession

    @classmethod
    def connect(cls, connection_string: str) -> Self:
        """Return the queues a connection string names; nothing is sent yet. Raises BadSettings."""
        parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
        account, key = parts.get("AccountName", ""), parts.get("AccountKey", "")
        if not account or not key:
            raise BadSettings("The storage connection string needs AccountName and AccountKey; copy it once more, whole.")
        suffix = parts.get("EndpointSuffix", "core.windows.net")
        usual = f"{parts.get('DefaultEndpointsProtocol', 'https')}://{account}.queue.{suffix}"
        # Azurite closes a connection after 5 idle seconds; letting go earlier avoids sending into a closing one.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
        session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30))
        return cls(parts.get("QueueEndpoint", usual).rstrip("/"), account, base64.b64decode(key), session)

    async def close(self) -> None:
        """Close the connections."""
        await self.session.close()

    async def create(self, queue: str) -> None:
        """Create a queue; an existing one is left alone."""
        await self._send("PUT", queue, {})

    async def put(self, queue: str, text: str) -> None:
        """Add a text to the end of a queue, which is created when it is missing."""
        body = f"<QueueMessage><MessageText>{escape(text)}</MessageText></QueueMessage>".encode()
        try:
            await self._send("POST", f"{queue}/messages", {}, body)
        except ServiceRefused as refused:
            if refused.status != NOT_FOUND:
                raise
            await self.create(queue)
            await self._send("POST", f"{queue}/messages", {}, body)

    async def receive(self, queue: str, count: int, lease: int) -> list[Message]:
        """Return up to `count` (32 at most) visible messages and hide them for `lease` whole seconds."""
        answer, _ = await self._send("GET", f"{queue}/messages", {"numofmessages": str(count), "visibilitytimeout": str(lease)})
        return [_message(found) for found in ET.fromstring(answer)]  # noqa: S314 - our own storage account

    async def hide(self, queue: str, message: Message, seconds: int) -> None:
        """Keep a received message hidden for `seconds` from now; 0 shows it at once. The message gets its new receipt."""
        query = {"popreceipt": message.pop_receipt, "visibilitytimeout": str(seconds)}
        _, headers = await self._send("PUT", f"{queue}/messages/{message.id}", query)
        message.pop_receipt = headers.get("x-ms-popreceipt", message.pop_receipt)

    async def delete(self, queue: str, message: Message) -> None:
        """Delete a received message; raises ServiceRefused when its lease has gone to another receiver."""
        await self._send("DELETE", f"{queue}/messages/{message.id}", {"popreceipt": message.pop_receipt})

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        target = f"{self.url}/{quote(path)}"
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": API_VERSION}
        if body:
            headers["Content-Type"] = "application/xml"
        headers["Authorization"] = f"SharedKey {self.account}:{self._signature(method, target, query, headers, body)}"
        url = URL(f"{target}?{urlencode(query)}" if query else target, encoded=True)
        async with self.session.request(method, url, headers=headers, data=body, skip_auto_headers=("Content-Type",)) as answer:
            content = await answer.read()
            if answer.status >= 400:  # noqa: PLR2004 - every error of HTTP
                raise ServiceRefused(answer.status, answer.headers.get("x-ms-error-code", ""))
            return content, answer.headers

    def _signature(
        self, method: str, target: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes | None
    ) -> str:
        length = str(len(body)) if body else ""
        standard = (method, "", "", length, "", headers.get("Content-Type", ""), "", "", "", "", "", "")
        ours = (f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-ms-"))
        asked = (f"{name}:{query[name]}" for name in sorted(query))
        text = "\n".join((*standard, *ours, f"/{self.account}{urlsplit(target).path}", *asked))
        return base64.b64encode(hmac.digest(self.key, text.encode(), hashlib.sha256)).decode()


def _message(found: ET.Element) -> Message:
    fields = {element.tag: element.text or "" for element in found}
    return Message(
        id=fields["MessageId"],
        body=fields["MessageText"],
        pop_receipt=fields["PopReceipt"],
        dequeue_count=int(fields["DequeueCount"]),
        inserted=_moment(fields["InsertionTime"]),
        expires=_moment(fields["ExpirationTime"]),
        next_visible=_moment(fields["TimeNextVisible"]),
    )


def _moment(text: str) -> datetime:
    return parsedate_to_datetime(text).astimezone(UTC)
