"""Segments: the kinds there are, what is known of one, and whether it may become an audience."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of segment that Dynamics knows."""

    REALTIME = "realtime"
    LIST = "list"
    OUTBOUND = "outbound"


KIND_OF_TABLE = {
    "msdynmkt_segmentdefinition": Kind.REALTIME,
    "msdynmkt_segment": Kind.REALTIME,
    "list": Kind.LIST,
    "msdyncrm_segment": Kind.OUTBOUND,
}


@dataclass(frozen=True)
class SegmentRef:
    """Which record: the table's logical name and the row's id, lower-case without braces."""

    table: str
    id: str


@dataclass(frozen=True)
class Segment:
    """A segment as Dataverse describes it.

    `base` is the members' table ("contact", "lead", or another, which is refused). `member_count` is
    what Dataverse says and may lag; None when it says nothing. `source` is what the member source of
    this kind needs to find the members (for a real-time segment the id that MembersList wants, for a
    dynamic list its FetchXML); the pipeline only carries it.
    """

    ref: SegmentRef
    kind: Kind
    name: str
    is_static: bool
    is_live: bool
    base: str
    member_count: int | None = None
    source: str = ""


def refusal(segment: Segment, *, snapshots_allowed: bool) -> str | None:
    """Return why this segment cannot become an audience, as a sentence with a next step; None when it can.

    The rules are those of the feature that Microsoft removed: static and live.
    """
    if segment.base not in {"contact", "lead"}:
        return (
            f"The members of this segment are rows of '{segment.base}'. Only contacts and leads have the email addresses "
            "that LinkedIn matches on. Use a segment of contacts or leads."
        )
    if not segment.is_live:
        return "This segment is not live. Make it live (Ready to use), then check again."
    if not segment.is_static and not snapshots_allowed:
        return (
            "This segment is dynamic: its members change by themselves. Save it as a static segment, or ask your administrator "
            "to allow one-time snapshots (setting ALLOW_SNAPSHOTS), then check again."
        )
    return None
