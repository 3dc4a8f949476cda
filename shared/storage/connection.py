"""The connection to the storage account: hands out its tables, queues and containers, and opens each on first use.

Microsoft's storage clients take a fifth of a second to import, so nothing here imports them before they are used:
the function app answers its first request earlier.
"""

# ruff: noqa: PLC0415  the imports inside the functions are what this module is for

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from shared.errors import ConfigurationWrong
from shared.storage.address import SETTING, AccountAddress, read_address

if TYPE_CHECKING:
    from shared.storage.blobs import Container
    from shared.storage.queues import TextQueue
    from shared.storage.tables import Table

_LIMITS = {"connection_timeout": 5, "read_timeout": 30}


class Connection:
    """One per process, shared by its threads. Nothing is sent before something is read or written."""

    def __init__(self, address: AccountAddress) -> None:
        self._address = address
        self._lock = threading.RLock()
        self._opened: dict[str, Any] = {}

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Return the connection that `AzureWebJobsStorage` describes; ConfigurationWrong when it describes none."""
        return cls(read_address(env))

    def table(self, name: str) -> "Table":
        """Return a table; it need not exist yet."""
        from shared.storage.tables import Table

        tables = self._once("tables", self._open_tables)
        return self._once(f"table {name}", lambda: Table(tables.get_table_client(name)))

    def queue(self, name: str) -> "TextQueue":
        """Return a queue; it need not exist yet."""
        from azure.storage.queue import TextBase64EncodePolicy

        from shared.storage.queues import TextQueue

        queues = self._once("queues", self._open_queues)
        encoded = TextBase64EncodePolicy()
        return self._once(f"queue {name}", lambda: TextQueue(queues.get_queue_client(name, message_encode_policy=encoded)))

    def container(self, name: str) -> "Container":
        """Return a container; it need not exist yet."""
        from shared.storage.blobs import Container

        blobs = self._once("blobs", self._open_blobs)
        return self._once(f"container {name}", lambda: Container(blobs.get_container_client(name)))

    def close(self) -> None:
        """Close what was opened; only tests and tools end before their process does."""
        with self._lock:
            for service in ("tables", "queues", "blobs"):
                if service in self._opened:
                    self._opened[service].close()
            self._opened.clear()

    def _once[T](self, name: str, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = make()
            opened: T = self._opened[name]
            return opened

    def _open_tables(self) -> Any:
        from azure.data.tables import TableServiceClient

        return self._service(TableServiceClient, self._address.table_url, retry_total=0)

    def _open_queues(self) -> Any:
        from azure.storage.queue import LinearRetry, QueueServiceClient

        return self._service(QueueServiceClient, self._address.queue_url, retry_policy=LinearRetry(retry_total=0))

    def _open_blobs(self) -> Any:
        from azure.storage.blob import BlobServiceClient, LinearRetry

        return self._service(BlobServiceClient, self._address.blob_url, retry_policy=LinearRetry(retry_total=0))

    def _service(self, client: Any, url: str, **options: Any) -> Any:
        """Return a service's client; repeats are ours (`failures.attempt`), so its own are switched off in the options."""
        try:
            if self._address.connection_string:
                return client.from_connection_string(self._address.connection_string, **_LIMITS, **options)
            return client(url, credential=self._identity(), **_LIMITS, **options)
        except ValueError:  # the text is left out, because it may repeat what was given
            raise ConfigurationWrong(
                f"The setting {SETTING} does not describe a storage account. docs/settings.md shows what it looks like."
            ) from None

    def _identity(self) -> Any:
        from shared.storage.identity import ManagedIdentity

        return self._once("identity", lambda: ManagedIdentity(self._address.client_id))
