"""A container of the storage account: files written in blocks and read by range."""

import base64
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobClient, ContainerClient

from shared.errors import SomebodyElseChangedIt
from shared.storage.failures import BAD_REQUEST, CONFLICT, NOT_FOUND, attempt

BLOCK = 4 * 1024 * 1024


class Container:
    """Files by path. The container itself is created when a write finds none."""

    def __init__(self, client: ContainerClient) -> None:
        self._client = client

    def write(self, path: str, content: bytes | Iterable[bytes]) -> int:
        """Store a file in one go, or a stream in blocks; nothing of it shows before the end. Return its length."""
        blob = self._client.get_blob_client(path)
        if isinstance(content, bytes):
            return self._put(blob, content)
        pieces = in_blocks(content)
        first = next(pieces, b"")
        second = next(pieces, None)
        return self._put(blob, first) if second is None else self._put_blocks(blob, first, second, pieces)

    def _put(self, blob: BlobClient, content: bytes) -> int:
        self._creating(lambda: blob.upload_blob(content, length=len(content), overwrite=True, max_concurrency=1))
        return len(content)

    def _put_blocks(self, blob: BlobClient, first: bytes, second: bytes, more: Iterator[bytes]) -> int:
        """Store blocks under names of this write alone, so that two writers of one path never mix theirs."""
        writer, blocks, length = uuid4().hex, list[BlobBlock](), 0
        for number, piece in enumerate(_chained(first, second, more)):
            name = base64.b64encode(f"{writer}-{number:06d}".encode()).decode("ascii")
            self._creating(lambda name=name, piece=piece: blob.stage_block(name, piece, len(piece)))  # type: ignore[misc]
            blocks.append(BlobBlock(name))
            length += len(piece)
        try:
            attempt(lambda: blob.commit_block_list(blocks), wanted=(BAD_REQUEST,))
        except HttpResponseError as error:  # the other writer's commit has dropped our blocks
            raise SomebodyElseChangedIt("Somebody else wrote the same file at the same moment.") from error
        return length

    def open(self, path: str) -> "BlobReader":
        """Return a reader; raises FileNotFoundError when there is no such file."""
        blob = self._client.get_blob_client(path)
        try:
            found = attempt(blob.get_blob_properties, wanted=(NOT_FOUND,))
        except HttpResponseError:
            raise FileNotFoundError(path) from None
        return BlobReader(blob, found.size, found.etag)

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

    def __init__(self, blob: BlobClient, size: int, etag: str) -> None:
        self._blob, self._size, self._etag = blob, size, etag

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
        try:
            return attempt(lambda: self._download(offset, size), wanted=(NOT_FOUND,))
        except HttpResponseError:
            raise FileNotFoundError(self._blob.blob_name) from None

    def _download(self, offset: int, size: int) -> bytes:
        return self._blob.download_blob(
            offset, size, etag=self._etag, match_condition=MatchConditions.IfNotModified, max_concurrency=1
        ).readall()


def in_blocks(pieces: Iterable[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """Return the same bytes in blocks of `size`, only the last one shorter.

    >>> list(in_blocks([b"ab", b"cdefg"], 3))
    [b'abc', b'def', b'g']
    """
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)


def _chained(first: bytes, second: bytes, more: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from more
