"""Parts: what is kept of some pages of members. Digests and ids of those who can be sent, ids and reasons of the others.

A part is stored between two steps of a job, so it is bytes with a header. Its records are grouped by the first byte of
the digest: SHA-256 spreads members evenly over these 256 buckets, so parts of any number can be joined bucket by bucket
in little memory.

    header    magic, version, seven tallies, number of left-out records, number of records in each of 256 buckets
    records   bucket after bucket; each 32 bytes digest + 16 bytes member id
    left out  each 16 bytes member id + 1 byte reason
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from hashlib import sha256
from struct import Struct

from shared.domain.emails import DIGEST_SIZE, HashedEmail, normalise, prepare_email
from shared.domain.jobs import Tallies
from shared.domain.members import MemberRow, MemberRows
from shared.domain.reasons import Reason
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
        self._members = 0
        self._records: list[bytes] = []
        self._left_out: list[bytes] = []

    def __len__(self) -> int:
        return self._members

    def add(self, rows: MemberRows) -> None:
        """Add the members of one page. Raises UnexpectedAnswer when a member's id is not a GUID."""
        for row in rows.rows:
            member = bytes.fromhex(row.id.replace("-", ""))
            outcome = self._exclusions.reason_for(row) or prepare_email(row.emailaddress1)
            if isinstance(outcome, HashedEmail):
                self._records.append(outcome.digest + member)
            else:
                reason = outcome if isinstance(outcome, Reason) else outcome.reason
                self._left_out.append(member + bytes([reason]))
        self._members += len(rows)

    def finish(self) -> Part:
        """Return the part of everything added since the start, or since the last time this was asked."""
        reasons = [Reason(record[ID_SIZE]) for record in self._left_out]
        tallies = Tallies(
            members=self._members,
            no_email=reasons.count(Reason.NO_EMAIL),
            invalid=sum(reason.is_invalid_email for reason in reasons),
            opted_out=reasons.count(Reason.OPTED_OUT),
            inactive=reasons.count(Reason.INACTIVE),
            eligible=len(self._records),
        )
        part = _part(tallies, sorted(self._records), b"".join(self._left_out))
        self.__init__(self._exclusions)  # type: ignore[misc]
        return part


def opted_out_part(addresses: Iterable[str | None]) -> Part:
    """Return a part of opted-out addresses, for `merge`. Whether an address is valid does not matter; empty ones are passed over."""
    texts = {normalise(address) for address in addresses if address}
    records = [sha256(text.encode("utf-8", "surrogatepass")).digest() + bytes(ID_SIZE) for text in texts if text]
    return _part(Tallies(), sorted(records), b"")


def _part(tallies: Tallies, records: list[bytes], left_out: bytes) -> Part:
    counts = [0] * BUCKETS
    for record in records:
        counts[record[0]] += 1
    header = PartHeader(tallies, len(left_out) // LEFT_OUT_SIZE, tuple(counts))
    return Part(header, b"".join(records), left_out)
