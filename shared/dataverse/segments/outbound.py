"""Outbound segments (`msdyncrm_segment`): the retired kind, kept because its records remain.

The member store behind it is gone from the service; what is left are records that hold their members as text
in `msdyncrm_segmentmemberids`. Source: Microsoft Learn, notes on the removal of outbound marketing.
"""

from collections.abc import Iterator
from typing import Any

from shared.dataverse import protocol
from shared.dataverse.client import DataverseClient
from shared.dataverse.protocol import NotInstalled, PlugInThrew
from shared.dataverse.segments import base_of, is_live, not_found, number, text
from shared.dataverse.segments.reading import distinct, packed, pages_of_ids
from shared.domain.segments import Kind, Segment, SegmentRef
from shared.errors import NotAllowed
from shared.ports import RangeReader, SourcePage

TABLE = "msdyncrm_segment"
WHAT = "outbound segment"
_STATIC = 192350001
_COLUMNS = ("msdyncrm_segmentname", "msdyncrm_segmenttype", "msdyncrm_segmentsize", "statuscode")
_MEMBERS = "msdyncrm_segmentmemberids"


class OutboundSegments:
    """Outbound segments of one environment (`segments.SegmentKind`)."""

    def __init__(self, client: DataverseClient, *, page_size: int) -> None:
        """Read over `client`, `page_size` members at once."""
        self._client, self._page_size = client, page_size

    def look_up(self, ref: SegmentRef) -> Segment:
        """Return what the record says. Raises SegmentNotFound, or NotAllowed when the record can no longer be read."""
        found = self._read(ref, _COLUMNS)
        return Segment(
            ref=ref,
            kind=Kind.OUTBOUND,
            name=text(found.get("msdyncrm_segmentname")),
            is_static=found.get("msdyncrm_segmenttype") == _STATIC,
            is_live=is_live(TABLE, number(found.get("statuscode")), frozenset()),
            base="contact",
            member_count=number(found.get("msdyncrm_segmentsize")),
        )

    def list_ids(self, segment: Segment) -> Iterator[bytes] | None:
        """Return the members' ids, distinct, in blocks. Raises NotAllowed when the record holds none."""
        return self._ids(segment.ref)

    def pages(self, segment: Segment, cursor: str, ids: RangeReader | None) -> Iterator[SourcePage]:
        """Return the pages from `cursor` on, read by the ids."""
        if ids is None:
            raise ValueError("An outbound segment is read by its ids.")
        return pages_of_ids(self._client, base_of(segment), ids, cursor, self._page_size)

    def _ids(self, ref: SegmentRef) -> Iterator[bytes]:
        written = text(self._read(ref, (_MEMBERS,)).get(_MEMBERS))
        # Each id may carry the prefix "crm", whose letters r and m are no hex digits.
        ids = packed(written.lower().replace("crm", "").encode())
        if not ids:
            raise NotAllowed(
                "The members of this outbound segment are no longer kept: Microsoft removed outbound marketing and with it the "
                "store of members. Make a real-time segment or a marketing list of the same people, and use that."
            )
        yield from distinct(ids)

    def _read(self, ref: SegmentRef, columns: tuple[str, ...]) -> dict[str, Any]:
        """Return columns of the record; the retired table's own code may refuse to give them."""
        path = protocol.query(protocol.row("msdyncrm_segments", ref.id), select=columns)
        try:
            found = self._client.row(path, f"read the outbound segment {ref.id}")
        except (PlugInThrew, NotInstalled) as error:
            raise NotAllowed(
                "This outbound segment can no longer be read, because Microsoft removed outbound marketing from this "
                "environment. Make a real-time segment or a marketing list of the same people, and use that."
            ) from error
        if found is None:
            raise not_found(ref, WHAT)
        return found
