"""A container of the storage account: files written in blocks and read by range."""

import base64
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from azure.core.exceptions import HttpResponseError

from shared.errors import SomebodyElseChangedIt
from shared.storage.direct import Service
from shared.storage.failures import BAD_REQUEST, CONFLICT, NOT_FOUND, attempt

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient  # takes long to import, and is used for what is rare

BLOCK = 4 * 1024 * 1024
_WHOLE = {"x-ms-blob-type": "BlockBlob", "content-type": "application/octet-stream"}


class Container:
    """Files by path. The container itself is created when a write finds none."""

    def __init__(self, direct: Service, name: str, open_client: "Callable[[], ContainerClient]") -> None:
        """Use the container `name`; `open_client` gives Microsoft's client for what is rare."""
        self._direct, self._name, self._open_client = direct, name, open_client

    @cached_property
    def _client(self) -> "ContainerClient":
        return self._open_client()

    def write(self, path: str, content: bytes | Iterable[bytes]) -> int:
        """Store a file in one go, or a stream in blocks; nothing of it shows before the end. Return its length."""
        if isinstance(content, bytes):
            return self._put(path, content)
        pieces = in_blocks(content)
        first = next(pieces, b"")
        second = next(pieces, None)
        return self._put(path, first) if second is None else self._put_blocks(path, first, second, pieces)

    def _put(self, path: str, content: bytes) -> int:
        self._creating(lambda: self._direct.send("PUT", self._address(path), headers=_WHOLE, body=content))
        return len(content)

    def _put_blocks(self, path: str, first: bytes, second: bytes, more: Iterator[bytes]) -> int:
        """Store blocks under names of this write alone, so that two writers of one path never mix theirs."""
        address, writer, blocks, length = self._address(path), uuid4().hex, list[str](), 0
        for number, piece in enumerate(_chained(first, second, more)):
            name = base64.b64encode(f"{writer}-{number:06d}".encode()).decode("ascii")
            block = {"comp": "block", "blockid": name}
            self._creating(lambda block=block, piece=piece: self._direct.send("PUT", address, query=block, body=piece))  # type: ignore[misc]
            blocks.append(name)
            length += len(piece)
        listed = "".join(f"<Latest>{name}</Latest>" for name in blocks)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        try:
            attempt(lambda: self._direct.send("PUT", address, query={"comp": "blocklist"}, body=body), wanted=(BAD_REQUEST,))
        except HttpResponseError as error:  # the other writer's commit has dropped our blocks
            raise SomebodyElseChangedIt("Somebody else wrote the same file at the same moment.") from error
        return length

    def open(self, path: str) -> "BlobReader":
        """Return a reader; raises FileNotFoundError when there is no such file."""
        address = self._address(path)
        try:
            found = attempt(lambda: self._direct.send("HEAD", address), wanted=(NOT_FOUND,))
        except HttpResponseError:
            raise FileNotFoundError(path) from None
        return BlobReader(self._direct, address, int(found.headers["Content-Length"]), found.headers["ETag"])

    def paths(self, prefix: str) -> list[str]:
        """Return the paths that begin so."""
        try:
            return attempt(lambda: list(self._client.list_blob_names(name_starts_with=prefix)), wanted=(NOT_FOUND,))
        except HttpResponseError:
            return []

    def older_than(self, moment: datetime) -> Iterator[str]:
        """Return paths of files last written before a moment, page by page."""
        pages: Any = self._client.list_blobs().by_page()
        while True:
            try:
                page = attempt(lambda: list(next(pages, ())), wanted=(NOT_FOUND,))
            except HttpResponseError:
                return
            if not page and not pages.continuation_token:
                return
            yield from (blob.name for blob in page if blob.last_modified < moment)

    def delete(self, path: str) -> bool:
        """Delete a file; False when it is gone already."""
        try:
            attempt(lambda: self._client.delete_blob(path), wanted=(NOT_FOUND,))
        except HttpResponseError:
            return False
        return True

    def _address(self, path: str) -> str:
        return f"/{self._name}/{quote(path)}"

    def _creating(self, call: Callable[[], object]) -> None:
        try:
            attempt(call, wanted=(NOT_FOUND,))
        except HttpResponseError:
            self._create()
            attempt(call)

    def _create(self) -> None:
        try:
            attempt(self._client.create_container, wanted=(CONFLICT,))
        except HttpResponseError:
            return  # somebody else was faster


class BlobReader:
    """Reads ranges of one version of a file; SomebodyElseChangedIt is raised when it was written anew meanwhile."""

    def __init__(self, direct: Service, address: str, size: int, etag: str) -> None:
        self._direct, self._address, self._size, self._etag = direct, address, size, etag

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer only at the end.

        Raises FileNotFoundError, or SomebodyElseChangedIt, when the file is gone.
        """
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        wanted = {"x-ms-range": f"bytes={offset}-{offset + size - 1}", "if-match": self._etag}
        try:
            return attempt(lambda: self._direct.send("GET", self._address, headers=wanted), wanted=(NOT_FOUND,)).body
        except HttpResponseError:
            raise FileNotFoundError(self._address) from None


def in_blocks(pieces: Iterable[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """Return the same bytes in blocks of at least `size`, only the last one shorter. Pieces are joined and never cut.

    >>> list(in_blocks([b"ab", b"cd", b"efg"], 3))
    [b'abcd', b'efg']
    """
    waiting: list[bytes] = []
    held = 0
    for piece in pieces:
        waiting.append(piece)
        held += len(piece)
        if held >= size:
            yield b"".join(waiting)
            waiting, held = [], 0
    if held:
        yield b"".join(waiting)


def _chained(first: bytes, second: bytes, more: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from more
