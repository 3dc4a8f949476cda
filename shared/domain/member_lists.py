"""Member lists: the distinct digests of one audience, made by merging parts, sent in batches.

A member list is stored as its digests one after the other, 32 bytes each, with nothing around them. They come in the order
of their first byte, like the records of parts; within one first byte in the order in which the parts have them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from struct import Struct
from typing import Final, Protocol

from shared.domain.emails import DIGEST_SIZE
from shared.domain.jobs import Tallies
from shared.domain.parts import BUCKETS, HEADER_SIZE, ID_SIZE, LEFT_OUT_SIZE, RECORD_SIZE, PartHeader, left_out_records
from shared.domain.reasons import Reason
from shared.errors import UnexpectedAnswer

BATCH_SIZE: Final = 5_000
HELD_AT_ONCE: Final = 65_536

_DIGEST = Struct(f"{DIGEST_SIZE}s")
_MANY_DIGESTS = Struct(256 * f"{DIGEST_SIZE}s")


class Readable(Protocol):
    """A stored file that is read piece by piece."""

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer only at the end."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the member list and of the list of members left out, in their order.

    `digests` belongs behind the digests of earlier pieces, `left_out` (17 bytes each: member id and reason) behind the
    earlier left-out records. `tallies` counts the whole segment as far as it is settled: those of the last piece are final.
    """

    digests: bytes
    left_out: bytes
    tallies: Tallies


def merge(parts: Sequence[Readable], opted_out: Sequence[Readable] = (), held_at_once: int = HELD_AT_ONCE) -> Iterator[Piece]:
    """Merge parts into the distinct member list, without the addresses in the parts `opted_out`.

    Holds about `held_at_once` members in memory, however many there are. The same parts in the same order give the same
    pieces, so a merge may be repeated. There is at least one piece. Raises UnexpectedAnswer for a part that cannot be read.
    """
    files = [_PartFile(part) for part in parts]
    refusing = [_PartFile(part) for part in opted_out]
    tallies = replace(sum_tallies(file.header.tallies for file in files), eligible=0)
    yield Piece(b"", b"", tallies)
    for file in files:
        yield Piece(b"", file.left_out(), tallies)
    for first, last in _ranges([file.header for file in (*files, *refusing)], held_at_once):
        blocks = [file.block(first, last) for file in files]
        refused = [file.block(first, last) for file in refusing]
        for bucket in range(first, last):
            digests, left_out = _settle(blocks, refused, bucket)
            reasons = left_out[ID_SIZE::LEFT_OUT_SIZE]
            tallies = replace(
                tallies,
                duplicate=tallies.duplicate + reasons.count(Reason.DUPLICATE),
                opted_out=tallies.opted_out + reasons.count(Reason.OPTED_OUT_OF_PURPOSE),
                eligible=tallies.eligible + len(digests) // DIGEST_SIZE,
            )
            yield Piece(digests, left_out, tallies)


def sum_tallies(several: Iterable[Tallies]) -> Tallies:
    """Return the sum of tallies, name by name."""
    total = Tallies()
    for one in several:
        total = Tallies(*(getattr(total, name) + getattr(one, name) for name in Tallies.__dataclass_fields__))
    return total


def batch_count(list_size: int, batch_size: int = BATCH_SIZE) -> int:
    """Return how many batches a member list of `list_size` bytes has."""
    return -(-list_size // (batch_size * DIGEST_SIZE))


def read_batch(member_list: Readable, number: int, batch_size: int = BATCH_SIZE) -> bytes:
    """Return the digests of batch `number` (from 0), 32 bytes each; empty behind the last."""
    return member_list.read(number * batch_size * DIGEST_SIZE, batch_size * DIGEST_SIZE)


def _ranges(headers: Sequence[PartHeader], held_at_once: int) -> Iterator[tuple[int, int]]:
    """Yield neighbouring buckets (first, behind last) that together hold about so many records."""
    first = held = 0
    for bucket in range(BUCKETS):
        size = sum(header.counts[bucket] for header in headers)
        if held and held + size > held_at_once:
            yield first, bucket
            first, held = bucket, 0
        held += size
    if held:
        yield first, BUCKETS


def _settle(blocks: Sequence["_Block"], refused: Sequence["_Block"], bucket: int) -> tuple[bytes, bytes]:
    """Return the distinct digests of one bucket, and the left-out records of its other members."""
    unwanted = dict.fromkeys(_split(b"".join([block.digests(bucket) for block in refused])))
    digests = _split(b"".join([block.digests(bucket) for block in blocks]))
    seen = unwanted.copy()
    again: list[int] = []
    for digest in digests:
        if digest in seen:
            again.append(len(seen) - len(unwanted) + len(again))  # its place; counting all of them takes longer
        else:
            seen[digest] = None
    ids = b"".join([block.ids(bucket) for block in blocks]) if again else b""
    left_out = [ids[position * ID_SIZE : (position + 1) * ID_SIZE] for position in again]
    reasons = [Reason.OPTED_OUT_OF_PURPOSE if digests[position] in unwanted else Reason.DUPLICATE for position in again]
    return b"".join(list(seen)[len(unwanted) :]), left_out_records(b"".join(left_out), bytes(reasons))


def _split(digests: bytes) -> list[bytes]:
    """Return digests one by one. Unpacking many at a time takes half as long."""
    many = len(digests) // _MANY_DIGESTS.size * _MANY_DIGESTS.size
    return [
        *chain.from_iterable(_MANY_DIGESTS.iter_unpack(digests[:many])),
        *chain.from_iterable(_DIGEST.iter_unpack(digests[many:])),
    ]


class _PartFile:
    """A stored part that is read some buckets at a time."""

    def __init__(self, stored: Readable) -> None:
        self._stored = stored
        self.header = PartHeader.from_bytes(stored.read(0, HEADER_SIZE))
        self._starts = [HEADER_SIZE + RECORD_SIZE * count for count in accumulate(self.header.counts, initial=0)]

    def block(self, first: int, last: int) -> "_Block":
        """Return the buckets from `first` up to, not including, `last`."""
        content = self._read(self._starts[first], self._starts[last] - self._starts[first])
        return _Block(content, first, self.header.counts[first:last])

    def left_out(self) -> bytes:
        """Return the left-out records."""
        return self._read(self._starts[BUCKETS], self.header.left_out * LEFT_OUT_SIZE)

    def _read(self, offset: int, size: int) -> bytes:
        content = self._stored.read(offset, size) if size else b""
        if len(content) != size:
            raise UnexpectedAnswer("A stored part of the members is not complete. Start the check of this segment again.")
        return content


class _Block:
    """Neighbouring buckets of one part, in memory."""

    def __init__(self, content: bytes, first: int, counts: Sequence[int]) -> None:
        self._content = content
        self._first = first
        self._starts = [RECORD_SIZE * count for count in accumulate(counts, initial=0)]
        self._middles = [start + DIGEST_SIZE * count for start, count in zip(self._starts, counts, strict=False)]

    def digests(self, bucket: int) -> bytes:
        """Return the digests in a bucket."""
        place = bucket - self._first
        return self._content[self._starts[place] : self._middles[place]]

    def ids(self, bucket: int) -> bytes:
        """Return the ids in a bucket, in the order of the digests."""
        place = bucket - self._first
        return self._content[self._middles[place] : self._starts[place + 1]]
