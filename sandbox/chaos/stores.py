"""Looking into the app's storage from outside: jobs, messages, and everything that must not be there."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

QUEUE = "audience-steps"
POISON = f"{QUEUE}-poison"
_JOBS = "limajobs"


class Stores:
    """The storage account of a world, reached past the gates."""

    def __init__(self, connection_string: str) -> None:
        self._tables = TableServiceClient.from_connection_string(connection_string)
        self._queues = QueueServiceClient.from_connection_string(connection_string)
        self._blobs = BlobServiceClient.from_connection_string(connection_string)

    def close(self) -> None:
        """Close the connections."""
        for service in (self._tables, self._queues, self._blobs):
            service.close()

    def job(self, job_id: str) -> dict[str, Any] | None:
        """Return a job as the engine remembers it; None when it is forgotten, or storage does not answer."""
        with suppress(ResourceNotFoundError, AzureError):
            return _read_job(self._tables.get_table_client(_JOBS).get_entity("job", job_id))
        return None

    def send_early(self, job_id: str, fence: int) -> None:
        """Put a job's waiting message before it at once: time has passed for it."""
        message = json.dumps({"kind": "audience", "id": job_id, "fence": fence})
        with suppress(AzureError):
            self._queues.get_queue_client(QUEUE).send_message(base64.b64encode(message.encode()).decode())

    def poisoned(self) -> int:
        """Return how many messages lie in the poison queue."""
        with suppress(ResourceNotFoundError):
            return len(self._queues.get_queue_client(POISON).peek_messages(max_messages=32))
        return 0

    def files_of(self, job_id: str) -> list[str]:
        """Return the names of all files of a job."""
        return [
            str(blob.name)
            for container in self._blobs.list_containers()
            for blob in self._blobs.get_container_client(container.name).list_blobs(name_starts_with=f"{job_id}/")
        ]

    def everything(self, job_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Give every entity, every visible message, and these jobs' files, each with a name that says where it is."""
        for table in self._tables.list_tables():
            for entity in self._tables.get_table_client(table.name).list_entities():
                yield f"table {table.name}", _entity_bytes(entity)
        for queue in self._queues.list_queues():
            for message in self._queues.get_queue_client(queue.name).peek_messages(max_messages=32):
                yield f"queue {queue.name}", _decoded(message.content)
        for container in self._blobs.list_containers():
            client = self._blobs.get_container_client(container.name)
            for name in [str(blob.name) for job_id in job_ids for blob in client.list_blobs(name_starts_with=job_id)]:
                with suppress(ResourceNotFoundError):  # the app may have deleted it meanwhile
                    yield f"file in {container.name}", name.encode() + b"\n" + client.download_blob(name).readall()


def _read_job(row: Mapping[str, Any]) -> dict[str, Any]:
    pieces: list[str] = []
    while (piece := row.get(f"job{len(pieces)}")) is not None:
        pieces.append(str(piece))
    job: dict[str, Any] = json.loads("".join(pieces))
    return job


def _entity_bytes(entity: Mapping[str, Any]) -> bytes:
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in entity.values())


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text.encode()


# ------------------------------------------------------------------ what must not be anywhere

_TOKEN = re.compile(rb"AQ[A-Za-z0-9_-]{120,}|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}")


def secrets_in(content: bytes, forbidden: tuple[bytes, ...]) -> list[str]:
    """Return what of the forbidden is in a content, in words that do not repeat it."""
    lowered = content.lower()
    found = [f"forbidden text number {number}" for number, text in enumerate(forbidden, 1) if text.lower() in lowered]
    return found + (["a token"] if _TOKEN.search(content) else [])
