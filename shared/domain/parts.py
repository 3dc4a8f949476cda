"""Parts: what is kept of some pages of members. Digests and ids of those who can be sent, ids and reasons of the others.

A part is stored between two steps of a job, so it is bytes with a header. Its records are grouped by the first byte of the
digest: SHA-256 spreads members evenly over such buckets, so any number of parts can be joined bucket by bucket in little
memory.

    header    magic, version, seven tallies, number of left-out records, number of records in each bucket
    records   bucket after bucket; in each first the digests (32 bytes each), then the member ids (16 bytes each) in that order
    left out  each 16 bytes member id + 1 byte reason
"""

from binascii import unhexlify
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from hashlib import sha256
from struct import Struct
from typing import Final

from shared.domain.emails import DIGEST_SIZE, normalise, prepare_emails
from shared.domain.jobs import Tallies
from shared.domain.members import MemberRow, MemberRows
from shared.domain.reasons import INVALID_EMAIL, Reason
from shared.errors import UnexpectedAnswer

ID_SIZE: Final = 16
RECORD_SIZE: Final = DIGEST_SIZE + ID_SIZE
LEFT_OUT_SIZE: Final = ID_SIZE + 1
BUCKETS: Final = 64

_MAGIC = b"LIMA-PART\x01"
_HEADER = Struct(f"<{len(_MAGIC)}s7QQ{BUCKETS}I")
HEADER_SIZE: Final = _HEADER.size

_PREPARED_AT_ONCE = 1_000  # members; their texts and digests then stay in the processor's nearest cache
_NOBODY = "00000000-0000-0000-0000-000000000000"
_GUID_SIZE = len(_NOBODY)
_HYPHENS = (8, 13, 18, 23)


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Which members are left out although they have a usable address. The careful default: all of these.

    `inactive` leaves out every row whose statecode is not 0: inactive contacts, and leads that are qualified or
    disqualified (only an open lead is one). A row that does not tell its state counts as active.
    """

    inactive: bool = True
    donotemail: bool = True
    donotbulkemail: bool = True

    def reason_for(self, row: MemberRow) -> Reason | None:
        """Return why this row is left out before its address is looked at; None when it is not."""
        if self.inactive and row.statecode:
            return Reason.INACTIVE
        if (self.donotemail and row.donotemail) or (self.donotbulkemail and row.donotbulkemail):
            return Reason.OPTED_OUT
        return None

    def addresses(self, rows: Sequence[MemberRow]) -> list[str]:
        """Return what stands in each row's address field; "" where that is nothing or the row is left out."""
        if self != _ALL_EXCLUSIONS:
            return ["" if self.reason_for(row) else row.emailaddress1 or "" for row in rows]
        # The same without a call for each member.
        return ["" if row.statecode or row.donotemail or row.donotbulkemail else row.emailaddress1 or "" for row in rows]


_ALL_EXCLUSIONS = Exclusions()


@dataclass(frozen=True, slots=True)
class PartHeader:
    """What a part says about itself: its tallies (`eligible` are its records), and how many records each bucket holds."""

    tallies: Tallies
    left_out: int
    counts: tuple[int, ...]

    @classmethod
    def from_bytes(cls, stored: bytes) -> "PartHeader":
        """Read a header from at least HEADER_SIZE bytes. Raises UnexpectedAnswer when they are not the beginning of a part."""
        if len(stored) < HEADER_SIZE or not stored.startswith(_MAGIC):
            raise UnexpectedAnswer("A stored part of the members cannot be read. Start the check of this segment again.")
        _, *numbers = _HEADER.unpack_from(stored)
        return cls(Tallies(*numbers[:7]), numbers[7], tuple(numbers[8:]))

    def to_bytes(self) -> bytes:
        """Return the header as it is stored."""
        return _HEADER.pack(_MAGIC, *astuple(self.tallies), self.left_out, *self.counts)

    @property
    def left_out_at(self) -> int:
        """Return where the left-out records begin."""
        return HEADER_SIZE + sum(self.counts) * RECORD_SIZE


@dataclass(frozen=True, slots=True)
class Part:
    """Some pages of members, ready to be stored. It holds no address."""

    header: PartHeader
    stored: bytes = field(repr=False)

    @property
    def tallies(self) -> Tallies:
        """Return how many members fell where; duplicates are known only when all parts are merged."""
        return self.header.tallies

    @property
    def left_out(self) -> bytes:
        """Return the left-out records: each 16 bytes member id and 1 byte reason."""
        return self.stored[self.header.left_out_at :]

    def to_bytes(self) -> bytes:
        """Return the part as it is stored."""
        return self.stored

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Part":
        """Read a stored part. Raises UnexpectedAnswer when the bytes are not a whole part."""
        header = PartHeader.from_bytes(stored)
        if len(stored) != header.left_out_at + header.left_out * LEFT_OUT_SIZE:
            raise UnexpectedAnswer("A stored part of the members is not complete. Start the check of this segment again.")
        return cls(header, stored)


class PartBuilder:
    """Takes pages of members and gives one part. Ask `len` how many members it holds by now."""

    def __init__(self, exclusions: Exclusions = _ALL_EXCLUSIONS) -> None:
        self._exclusions = exclusions
        self._begin()

    def _begin(self) -> None:
        self._members = 0
        self._records = _Records()
        self._left_out: list[str] = []
        self._reasons = bytearray()

    def __len__(self) -> int:
        return self._members

    def add(self, rows: MemberRows) -> None:
        """Add the members of one page."""
        digests: list[bytes] = []
        ids: list[str] = []
        for start in range(0, len(rows), _PREPARED_AT_ONCE):
            some = rows.rows[start : start + _PREPARED_AT_ONCE]
            prepared = prepare_emails(self._exclusions.addresses(some))
            digests += prepared.digests
            ids += self._usable(some, prepared.rejected)
        self._records.add(digests, ids)
        self._members += len(rows)

    def finish(self) -> Part:
        """Return the part of everything added since the start, or since the last time this was asked.

        Raises UnexpectedAnswer when a member's id is not a GUID.
        """
        left_out = left_out_records(pack_ids("".join(self._left_out), len(self._left_out)), self._reasons)
        part = self._records.to_part(self._tallies(), left_out)
        self._begin()
        return part

    def _usable(self, rows: Sequence[MemberRow], rejected: Mapping[int, Reason]) -> list[str]:
        """Note the rows that were rejected, and return the ids of the others."""
        for position, reason in rejected.items():
            self._left_out.append(rows[position].id)
            self._reasons.append(self._exclusions.reason_for(rows[position]) or reason)
        ids = [row.id for row in rows]
        for position in reversed(rejected):
            del ids[position]
        return ids

    def _tallies(self) -> Tallies:
        count = self._reasons.count
        return Tallies(
            members=self._members,
            no_email=count(Reason.NO_EMAIL),
            invalid=sum(map(count, INVALID_EMAIL)),
            opted_out=count(Reason.OPTED_OUT),
            inactive=count(Reason.INACTIVE),
            eligible=self._members - len(self._reasons),
        )


class _Records:
    """Digests and ids of many members, bucket by bucket."""

    def __init__(self) -> None:
        self._digests: list[list[bytes]] = [[] for _ in range(BUCKETS)]
        self._ids: list[list[str]] = [[] for _ in range(BUCKETS)]

    def add(self, digests: list[bytes], ids: list[str]) -> None:
        """Add the members of one page, packed at once while they are in the cache."""
        buckets: list[list[bytes | str]] = [[] for _ in range(BUCKETS)]
        by_first_byte = [buckets[first * BUCKETS // 256] for first in range(256)]
        for digest, member in zip(digests, ids, strict=True):
            bucket = by_first_byte[digest[0]]
            bucket.append(digest)
            bucket.append(member)
        for number, bucket in enumerate(buckets):
            self._digests[number].append(b"".join(bucket[::2]))  # type: ignore[arg-type]
            self._ids[number].append("".join(bucket[1::2]))  # type: ignore[arg-type]

    def to_part(self, tallies: Tallies, left_out: bytes) -> Part:
        """Return the part with these records."""
        counts = [sum(map(len, pages)) // DIGEST_SIZE for pages in self._digests]
        header = PartHeader(tallies, len(left_out) // LEFT_OUT_SIZE, tuple(counts))
        pieces = [header.to_bytes()]
        for digests, ids, count in zip(self._digests, self._ids, counts, strict=True):
            pieces += digests
            pieces.append(pack_ids("".join(ids), count))
        return Part(header, b"".join((*pieces, left_out)))


def opted_out_part(addresses: Iterable[str | None]) -> Part:
    """Return a part of addresses that are opted out, for `merge`; whether they are valid does not matter."""
    texts = sorted({normalise(address) for address in addresses if address} - {""})
    digests = [sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
    records = _Records()
    records.add(digests, [_NOBODY] * len(digests))
    return records.to_part(Tallies(), b"")


def pack_ids(ids: str, count: int) -> bytes:
    """Return so many GUIDs, written one after the other, as 16 bytes each. Raises UnexpectedAnswer when one is not a GUID."""
    digits, hyphens = bytearray(ids, "utf-8"), bytearray()
    for earlier, place in enumerate(_HYPHENS):  # cut out of all ids at once, which takes a quarter of `translate`
        every = slice(place - earlier, None, _GUID_SIZE - earlier)
        hyphens += digits[every]
        del digits[every]
    try:
        packed = unhexlify(digits)
    except ValueError:
        packed = b""
    if len(packed) != count * ID_SIZE or hyphens != b"-" * (count * len(_HYPHENS)):
        raise UnexpectedAnswer(
            "Dataverse answered with a member whose id is not a GUID. Try again; if it happens again, report it."
        )
    return packed


def left_out_records(ids: bytes, reasons: bytes | bytearray) -> bytes:
    """Return left-out records: each member id (16 bytes) with its reason (1 byte) behind it."""
    records = bytearray(len(reasons) * LEFT_OUT_SIZE)
    for byte in range(ID_SIZE):
        records[byte::LEFT_OUT_SIZE] = ids[byte::ID_SIZE]
    records[ID_SIZE::LEFT_OUT_SIZE] = reasons
    return bytes(records)
