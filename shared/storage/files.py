"""Parts, member lists, id lists and lists of members left out, as blobs; fulfils `ports.Files`."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from shared.ports import RangeReader
from shared.storage.connection import Connection

CONTAINER = "lima-members"


class BlobFiles:
    """Files by path; a path begins with the job's id. They hold digests and record ids, never an address."""

    def __init__(self, connection: Connection, *, container: str = CONTAINER) -> None:
        self._connection, self._name = connection, container

    def write(self, path: str, content: bytes | Iterable[bytes]) -> int:
        """Store a file, replacing an earlier one of that name; return its length. A stream is stored in blocks."""
        return self._connection.container(self._name).write(path, content)

    def open(self, path: str) -> RangeReader:
        """Return a reader of the file as it is now; raises FileNotFoundError when there is no such file."""
        return self._connection.container(self._name).open(path)

    def delete_all(self, prefix: str) -> int:
        """Delete every file whose path begins so; return how many."""
        container = self._connection.container(self._name)
        return sum(container.delete(path) for path in container.paths(prefix))

    def older_than(self, moment: datetime) -> Iterator[str]:
        """Return paths of files last written before a moment."""
        return self._connection.container(self._name).older_than(moment)
