"""Member lists: the sorted, distinct digests of one audience, made by merging parts, sent in batches.

A member list is stored as its digests one after the other, 32 bytes each, with nothing around them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

from shared.domain.emails import DIGEST_SIZE
from shared.domain.jobs import Tallies
from shared.domain.parts import BUCKETS, HEADER_SIZE, LEFT_OUT_SIZE, RECORD_SIZE, PartHeader
from shared.domain.reasons import Reason

BATCH_SIZE = 5_000
HELD_AT_ONCE = 65_536


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
    refused = [_PartFile(part) for part in opted_out]
    tallies = sum_tallies(file.header.tallies for file in files)
    tallies = replace(tallies, eligible=0)
    yield Piece(b"", b"", tallies)
    for file in files:
        yield Piece(b"", file.left_out(), tallies)
    for first, last in _ranges([file.header for file in (*files, *refused)], held_at_once):
        records = sorted(b for file in files for b in _split(file.records(first, last)))
        out = {b[:DIGEST_SIZE] for file in refused for b in _split(file.records(first, last))}
        kept: dict[bytes, bytes] = {}
        left_out = []
        duplicates = opted = 0
        for record in records:
            digest, member = record[:DIGEST_SIZE], record[DIGEST_SIZE:]
            if digest in out:
                opted += 1
                left_out.append(member + bytes([Reason.OPTED_OUT_OF_PURPOSE]))
            elif digest in kept:
                duplicates += 1
                left_out.append(member + bytes([Reason.DUPLICATE]))
            else:
                kept[digest] = member
        tallies = replace(
            tallies,
            duplicate=tallies.duplicate + duplicates,
            opted_out=tallies.opted_out + opted,
            eligible=tallies.eligible + len(kept),
        )
        yield Piece(b"".join(kept), b"".join(left_out), tallies)


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


def _split(records: bytes) -> Iterator[bytes]:
    return (records[at : at + RECORD_SIZE] for at in range(0, len(records), RECORD_SIZE))


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


class _PartFile:
    """A stored part that is read bucket by bucket."""

    def __init__(self, stored: Readable) -> None:
        self._stored = stored
        self.header = PartHeader.from_bytes(stored.read(0, HEADER_SIZE))
        self._starts = [HEADER_SIZE + RECORD_SIZE * count for count in accumulate(self.header.counts, initial=0)]

    def records(self, first: int, last: int) -> bytes:
        """Return the records of buckets from `first` up to, not including, `last`."""
        return self._stored.read(self._starts[first], self._starts[last] - self._starts[first])

    def left_out(self) -> bytes:
        """Return the left-out records."""
        return self._stored.read(self._starts[BUCKETS], self.header.left_out * LEFT_OUT_SIZE)
