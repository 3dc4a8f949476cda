"""The connection to the storage account: hands out its tables, queues and containers, and opens each on first use.

Microsoft's storage clients take a fifth of a second to import, so nothing here imports them before they are used:
the function app answers its first request earlier.
"""

# ruff: noqa: PLC0415  the imports inside the functions are what this module is for

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from shared.errors import ConfigurationWrong
from shared.storage.address import NO_ACCOUNT, AccountAddress, read_address, read_connection_string

if TYPE_CHECKING:
    from shared.storage.blobs import Container
    from shared.storage.direct import Service
    from shared.storage.queues import TextQueue
    from shared.storage.signing import Signer
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

        direct = self._direct("table")
        return self._once(f"table {name}", lambda: Table(direct, name, lambda: self._tables().get_table_client(name)))

    def queue(self, name: str) -> "TextQueue":
        """Return a queue; it need not exist yet."""
        from shared.storage.queues import TextQueue

        direct = self._direct("queue")
        return self._once(f"queue {name}", lambda: TextQueue(direct, name, lambda: self._queues().get_queue_client(name)))

    def container(self, name: str) -> "Container":
        """Return a container; it need not exist yet."""
        from shared.storage.blobs import Container

        direct = self._direct("blob")
        return self._once(f"container {name}", lambda: Container(direct, name, lambda: self._blobs().get_container_client(name)))

    def close(self) -> None:
        """Close what was opened; only tests and tools end before their process does."""
        with self._lock:
            for name in [name for name in self._opened if name.startswith(("service ", "client "))]:
                self._opened[name].close()
            self._opened.clear()

    def _once[T](self, name: str, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = make()
            opened: T = self._opened[name]
            return opened

    # -------------------------------------------------------------- what happens all the time

    def _direct(self, service: str) -> "Service":
        from shared.storage.direct import Service

        return self._once(f"service {service}", lambda: Service(*self._address_and_signer(service)))

    def _address_and_signer(self, service: str) -> "tuple[str, Signer]":
        from shared.storage.signing import Bearer, SharedAccess, SharedKey

        if not self._address.connection_string:
            urls = {"blob": self._address.blob_url, "queue": self._address.queue_url, "table": self._address.table_url}
            return urls[service], self._once("bearer", lambda: Bearer(self._identity()))
        account = read_connection_string(self._address.connection_string)
        if account.key:
            return account.urls[service], SharedKey(account.name, account.key, for_tables=service == "table")
        return account.urls[service], SharedAccess(account.signature)

    # -------------------------------------------------------------- what is rare

    def _tables(self) -> Any:
        from azure.data.tables import TableServiceClient

        return self._client(TableServiceClient, self._address.table_url, retry_total=0)

    def _queues(self) -> Any:
        from azure.storage.queue import LinearRetry, QueueServiceClient

        return self._client(QueueServiceClient, self._address.queue_url, retry_policy=LinearRetry(retry_total=0))

    def _blobs(self) -> Any:
        from azure.storage.blob import BlobServiceClient, LinearRetry

        return self._client(BlobServiceClient, self._address.blob_url, retry_policy=LinearRetry(retry_total=0))

    def _client(self, kind: Any, url: str, **options: Any) -> Any:
        """Return a service's client; repeats are ours (`failures.attempt`), so its own are switched off in the options."""
        return self._once(f"client {kind.__name__}", lambda: self._made(kind, url, **_LIMITS, **options))

    def _made(self, kind: Any, url: str, **options: Any) -> Any:
        if not self._address.connection_string:
            return kind(url, credential=self._identity(), **options)
        try:
            return kind.from_connection_string(self._address.connection_string, **options)
        except ValueError:
            raise ConfigurationWrong(NO_ACCOUNT) from None

    def _identity(self) -> Any:
        from shared.storage.identity import ManagedIdentity

        return self._once("identity", lambda: ManagedIdentity(self._address.client_id))
