"""Segments and their members in Dataverse: one module per kind, and what the kinds have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from shared.domain.members import COLUMNS
from shared.domain.segments import Segment, SegmentRef
from shared.errors import NotAllowed, SegmentNotFound
from shared.ports import RangeReader, SourcePage

ID_BYTES = 16
_ACTIVE_LIST = 0  # statecode of a marketing list
_ACTIVE_SEGMENT = 1  # statuscode of msdynmkt_segment
_LIVE_OUTBOUND = frozenset({192350001, 192350003})  # statuscode of msdyncrm_segment: Live, and Live, editable


class SegmentKind(Protocol):
    """What each module of this package offers; `ports.MemberSource` explains the methods."""

    def look_up(self, ref: SegmentRef) -> Segment:
        """Return what Dataverse says of a segment."""

    def list_ids(self, segment: Segment) -> Iterator[bytes] | None:
        """Return the members' ids in blocks; None when pages need none."""

    def pages(self, segment: Segment, cursor: str, ids: RangeReader | None) -> Iterator[SourcePage]:
        """Return the pages from `cursor` on."""


@dataclass(frozen=True)
class Base:
    """A table that members are rows of: its logical name, entity set and key."""

    table: str
    table_set: str
    key: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that are read of each member, and no others."""
        return (self.key, *COLUMNS)


_BASES = {base.table: base for base in (Base("contact", "contacts", "contactid"), Base("lead", "leads", "leadid"))}


def base_of(segment: Segment) -> Base:
    """Return the table of a segment's members. Raises NotAllowed for any but contacts and leads."""
    if segment.base not in _BASES:
        raise NotAllowed(f"The members of this segment are rows of '{segment.base}'. Use a segment of contacts or leads.")
    return _BASES[segment.base]


def is_live(table: str, status: int | None, live_statuses: frozenset[int]) -> bool:
    """Tell whether a segment record is live by the column that `schema.SEGMENT_TABLES` names for its table.

    `live_statuses` are the live values of a real-time segment's definition (setting LIVE_STATUSES).
    """
    match table:
        case "list":
            return status == _ACTIVE_LIST
        case "msdynmkt_segment":
            return status == _ACTIVE_SEGMENT
        case "msdyncrm_segment":
            return status in _LIVE_OUTBOUND
        case _:
            return status in live_statuses


def not_found(ref: SegmentRef, what: str) -> SegmentNotFound:
    """Return the error for a segment that is not there."""
    return SegmentNotFound(
        f"There is no {what} with the id {ref.id}, or the app may not read it. "
        "Check that the segment still exists, then press Retry."
    )


def text(value: Any) -> str:
    """Return a text column's value; empty when there is none."""
    return value if isinstance(value, str) else ""


def number(value: Any) -> int | None:
    """Return a number column's value; None when there is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
