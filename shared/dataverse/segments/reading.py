"""Reading members while others are still on their way: read-ahead, parallel blocks, and packed ids."""

import binascii
from collections import deque
from collections.abc import Buffer, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from functools import partial
from http import HTTPStatus
from itertools import compress
from typing import Self

from shared.dataverse import protocol
from shared.dataverse.client import DataverseClient
from shared.dataverse.segments import ID_BYTES, Base
from shared.domain.members import MemberRow, MemberRows, read_page
from shared.errors import PageLinkExpired, UnexpectedAnswer
from shared.http import Answer
from shared.ports import RangeReader, SourcePage

_ID_DIGITS = 32
_BLOCK = 1024 * 1024  # bytes of ids that are read or packed at once
_PUNCTUATION = b"\"'[]{}- \t\r\n"
_GROUPS = 8
_SAMPLE = 4096
_GONE = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})

type Followed[T] = tuple[T, str | None]


# ------------------------------------------------------------------ ahead of the caller


def follow[A, T](ask: Callable[[str], A], read: Callable[[A, str], Followed[T]], cursor: str) -> Generator[Followed[T]]:
    """Return what is read at `cursor` with the cursor behind it, then what is read at that one, and so on until it is None.

    `ask(cursor)` sends in a thread while the caller works. `read(answer, cursor)` works in the caller's own thread, so that the
    many small objects it makes are in the cache of the core that uses them. Closing the iterator stops asking. Raises
    UnexpectedAnswer when a cursor leads to itself.
    """
    with _Threads(1) as threads:
        coming = threads.submit(partial(ask, cursor))
        while True:
            found, following = read(coming.result(), cursor)
            if following is None:
                yield found, None
                return
            if following == cursor:
                raise UnexpectedAnswer(
                    "Dataverse leads from a page back to the same page, so nothing was used. Report it to support."
                )
            cursor = following
            coming = threads.submit(partial(ask, cursor))
            yield found, cursor


def in_order[T](tasks: Iterable[Callable[[], T]], at_once: int) -> Generator[T]:
    """Return the tasks' results in the tasks' order while up to `at_once` run; closing the iterator stops them.

    A task's error is raised when its turn comes, after all results before it.
    """
    with _Threads(at_once) as threads:
        coming: deque[Future[T]] = deque()
        for task in tasks:
            coming.append(threads.submit(task))
            if len(coming) > at_once:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


class _Threads:
    """A few threads that know the caller's correlation id; nobody waits for what is left over at the end."""

    def __init__(self, how_many: int) -> None:
        self._pool = ThreadPoolExecutor(how_many, thread_name_prefix="dataverse")

    def submit[T](self, task: Callable[[], T]) -> Future[T]:
        return self._pool.submit(copy_context().run, task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


# ------------------------------------------------------------------ pages


def check_link(answer: Answer, what: str) -> None:
    """Raise PageLinkExpired when Dataverse no longer knows the link it gave; other refusals are left to the caller."""
    if answer.status in _GONE:
        raise PageLinkExpired(f"Dataverse no longer knows where reading {what} had stopped. Reading starts over by itself.")


def pages_of_ids(client: DataverseClient, base: Base, ids: RangeReader, cursor: str, size: int) -> Iterator[SourcePage]:
    """Return members by their ids, a page of up to `size` ids per request, several requests at once.

    The cursor counts the ids that were read. Members that were deleted meanwhile are simply not there.
    """
    total = ids.size // ID_BYTES
    tasks = (partial(_ask_for_block, client, base, block, end) for block, end in _blocks(ids, int(cursor or 0), size))
    with closing(in_order(tasks, client.parallel)) as found:
        for answers, end in found:
            yield SourcePage(_rows_of_block(answers, base), str(end) if end < total else None)


def _blocks(ids: RangeReader, start: int, size: int) -> Iterator[tuple[bytes, int]]:
    """Return the ids of each page and the count of ids up to its end; the file is read in larger pieces."""
    page = size * ID_BYTES
    piece = max(1, _BLOCK // page) * page
    for at in range(start * ID_BYTES, ids.size, piece):
        held = ids.read(at, piece)
        for begin in range(0, len(held), page):
            block = held[begin : begin + page]
            yield block, (at + begin + len(block)) // ID_BYTES


def _ask_for_block(client: DataverseClient, base: Base, ids: bytes, end: int) -> tuple[list[Answer], int]:
    """Ask for the members with these ids by one batch of queries; return the answers and `end`."""
    path = protocol.query(protocol.API + base.table_set, select=base.columns)
    step = protocol.IDS_PER_QUERY * ID_BYTES
    queries = [protocol.request("GET", protocol.with_ids(path, base.key, ids[at : at + step])) for at in range(0, len(ids), step)]
    return client.batch(queries, _doing(base)), end


def _rows_of_block(answers: Iterable[Answer], base: Base) -> MemberRows:
    rows: list[MemberRow] = []
    for answer in answers:
        protocol.check(answer, _doing(base))
        page = read_page(answer.body, base.key)
        if page.next_link:
            raise UnexpectedAnswer(
                "Dataverse split a page of members that was asked for whole. Try again; if it happens again, report it."
            )
        rows += page.rows.rows
    return MemberRows(rows)


def _doing(base: Base) -> str:
    return f"read members from {base.table_set}"


# ------------------------------------------------------------------ packed ids


def packed(written: Buffer) -> bytes:
    """Return the ids in a JSON list, packed 16 bytes each, in their order.

    The list may hold one id per element or several, separated by commas, in one; Microsoft documents the one and
    answers the other. It is read in pieces because it may hold millions. Raises UnexpectedAnswer for anything
    that is no id.

    >>> packed(b'["0f8fad5b-d9cb-469f-a165-70867728950e"]').hex()
    '0f8fad5bd9cb469fa16570867728950e'
    """
    found = bytearray()
    view = memoryview(written)
    rest = b""
    for at in range(0, len(view), _BLOCK):
        whole, comma, rest = (rest + bytes(view[at : at + _BLOCK]).translate(None, _PUNCTUATION)).rpartition(b",")
        found += _digits(whole) if comma else b""
    found += _digits(rest)
    return bytes(found)


def _digits(words: bytes) -> bytes:
    """Return ids written as 32 hex digits each with commas between."""
    if len(words) % (_ID_DIGITS + 1) != _ID_DIGITS or words[_ID_DIGITS :: _ID_DIGITS + 1].strip(b","):
        words = b",".join(word for word in words.split(b",") if word)  # an empty element is no id, and no harm
    try:
        ids = binascii.a2b_hex(words.replace(b",", b""))
    except binascii.Error:
        ids = b""
    if len(ids) * 2 + max(0, len(ids) // ID_BYTES - 1) != len(words) or len(ids) % ID_BYTES:
        raise UnexpectedAnswer("Dataverse's list of members holds something that is no id. Ask support to look at the logs.")
    return ids


def distinct(ids: bytes) -> Iterator[bytes]:
    """Return packed ids without repetitions, in blocks and in any order.

    They are compared group by group, so that the few objects Python needs for each id exist for an eighth of a
    million only. The groups are told apart by the byte that varies most: ids made in a row share most of theirs.
    """
    place = max(range(ID_BYTES), key=lambda at: len(set(ids[at : _SAMPLE * ID_BYTES : ID_BYTES])))
    marks = ids[place::ID_BYTES]
    starts = range(0, len(ids), ID_BYTES)
    for group in range(_GROUPS):
        chosen = compress(starts, marks.translate(_IN_GROUP[group]))
        if block := b"".join(dict.fromkeys(ids[at : at + ID_BYTES] for at in chosen)):
            yield block


_IN_GROUP = [bytes(byte % _GROUPS == group for byte in range(256)) for group in range(_GROUPS)]
