"""Parts: what is kept of some pages of members. Digests and ids of those who can be sent, ids and reasons of the others.

A part is stored between two steps of a job, so it is bytes with a header. Its records are grouped by the first byte of
the digest: SHA-256 spreads members evenly over these 256 buckets, so parts of any number can be joined bucket by bucket
in little memory.

    header    magic, version, seven tallies, number of left-out records, number of records in each of 256 buckets
    records   bucket after bucket; in each first the digests (32 bytes each), then the member ids (16 bytes each) in that order
    left out  each 16 bytes member id + 1 byte reason
"""

from binascii import unhexlify
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from hashlib import sha256
from itertools import chain
from operator import add
from struct import Struct

from shared.domain.emails import DIGEST_SIZE, normalise, prepare_emails
from shared.domain.jobs import Tallies
from shared.domain.members import MemberRow, MemberRows
from shared.domain.reasons import INVALID_EMAIL, Reason
from shared.errors import UnexpectedAnswer

ID_SIZE = 16
RECORD_SIZE = DIGEST_SIZE + ID_SIZE
LEFT_OUT_SIZE = ID_SIZE + 1
BUCKETS = 256

_MAGIC = b"LIMA-PART\x01"
_HEADER = Struct(f"<{len(_MAGIC)}s7QQ{BUCKETS}I")
HEADER_SIZE = _HEADER.size


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


@dataclass(frozen=True, slots=True)
class Part:
    """Some pages of members, ready to be stored. It holds no address."""

    header: PartHeader
    records: bytes
    left_out: bytes

    @property
    def tallies(self) -> Tallies:
        """Return how many members fell where; duplicates are known only when all parts are merged."""
        return self.header.tallies

    def to_bytes(self) -> bytes:
        """Return the part as it is stored."""
        return b"".join((self.header.to_bytes(), self.records, self.left_out))

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Part":
        """Read a stored part. Raises UnexpectedAnswer when the bytes are not a whole part."""
        header = PartHeader.from_bytes(stored)
        split = HEADER_SIZE + sum(header.counts) * RECORD_SIZE
        part = cls(header, stored[HEADER_SIZE:split], stored[split:])
        if len(part.left_out) != header.left_out * LEFT_OUT_SIZE:
            raise UnexpectedAnswer("A stored part of the members is not complete. Start the check of this segment again.")
        return part


class PartBuilder:
    """Takes pages of members and gives one part. Ask `len` how many members it holds by now."""

    def __init__(self, exclusions: Exclusions | None = None) -> None:
        self._exclusions = exclusions or Exclusions()
        self._begin()

    def _begin(self) -> None:
        self._members = 0
        self._pages: list[_Grouped] = []
        self._left_out: list[str] = []
        self._reasons = bytearray()

    def __len__(self) -> int:
        return self._members

    def add(self, rows: MemberRows) -> None:
        """Add the members of one page. Raises UnexpectedAnswer when a member's id is not a GUID."""
        members = rows.rows
        prepared = prepare_emails(self._exclusions.addresses(members))
        ids = [row.id for row in members]
        for position, reason in prepared.rejected.items():
            self._left_out.append(ids[position])
            self._reasons.append(self._exclusions.reason_for(members[position]) or reason)
            ids[position] = ""
        self._pages.append(_Grouped(prepared.digests, list(filter(None, ids))))
        self._members += len(members)

    def finish(self) -> Part:
        """Return the part of everything added since the start, or since the last time this was asked."""
        left_out = left_out_records(pack_ids(self._left_out), self._reasons)
        part = _part(self._tallies(), self._pages, left_out)
        self._begin()
        return part

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


def opted_out_part(addresses: Iterable[str | None]) -> Part:
    """Return a part of opted-out addresses, for `merge`. It does not matter whether an address is valid; empty ones count nothing."""
    texts = {normalise(address) for address in addresses if address}
    digests = [sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts if text]
    return _part(Tallies(), [_Grouped(digests, [_NOBODY] * len(digests))], b"")


def pack_ids(ids: Sequence[str]) -> bytes:
    """Return GUIDs as 16 bytes each. Raises UnexpectedAnswer when one is not a GUID."""
    try:
        packed = unhexlify("".join(ids).encode().translate(None, b"-"))
    except ValueError:
        packed = b""
    if len(packed) != len(ids) * ID_SIZE:
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


_NOBODY = "0" * 2 * ID_SIZE


class _Grouped:
    """Digests and ids grouped by the first byte of the digest."""

    def __init__(self, digests: list[bytes], ids: list[str]) -> None:
        digests_of: list[list[bytes]] = [[] for _ in range(BUCKETS)]
        ids_of: list[list[str]] = [[] for _ in range(BUCKETS)]
        for digest, member in zip(digests, ids, strict=True):
            bucket = digest[0]
            digests_of[bucket].append(digest)
            ids_of[bucket].append(member)
        self.counts = list(map(len, digests_of))
        self._digests = b"".join(chain.from_iterable(digests_of))
        self._ids = pack_ids(list(chain.from_iterable(ids_of)))

    def buckets(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield digests and ids of each bucket."""
        start = 0
        for count in self.counts:
            end = start + count
            yield self._digests[start * DIGEST_SIZE : end * DIGEST_SIZE], self._ids[start * ID_SIZE : end * ID_SIZE]
            start = end


def _part(tallies: Tallies, groups: list[_Grouped], left_out: bytes) -> Part:
    """Put groups together, bucket by bucket."""
    counts = [0] * BUCKETS
    for group in groups:
        counts = list(map(add, counts, group.counts))
    records = []
    for bucket in zip(*[group.buckets() for group in groups], strict=True):
        records += [digests for digests, _ in bucket]
        records += [ids for _, ids in bucket]
    return Part(PartHeader(tallies, len(left_out) // LEFT_OUT_SIZE, tuple(counts)), b"".join(records), left_out)
