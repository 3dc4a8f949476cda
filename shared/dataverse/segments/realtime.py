"""Real-time segments: `msdynmkt_segmentdefinition`, what a marketer edits, and `msdynmkt_segment`, what journeys use.

Members come from the action `msdynmkt_MembersList` as ids, whole; contacts or leads are then read by id.
Source: Microsoft Learn, "Real-time marketing API: segments".
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from shared.dataverse import protocol
from shared.dataverse.client import DataverseClient
from shared.dataverse.protocol import NotInstalled
from shared.dataverse.segments import base_of, is_live, not_found, number, text
from shared.dataverse.segments.reading import distinct, packed, pages_of_ids
from shared.domain.segments import Kind, Segment, SegmentRef
from shared.errors import ConfigurationWrong, RemoteUnavailable, SegmentNotFound, TryAgainLater, UnexpectedAnswer
from shared.ports import RangeReader, SourcePage

DEFINITION = "msdynmkt_segmentdefinition"
SEGMENT = "msdynmkt_segment"
MEMBERS_LIST = "msdynmkt_MembersList"
WHAT = "real-time segment"
_STATIC = 10
_JOURNEYS = 12  # msdynmkt_source: made in real-time journeys, so that there is a definition
_LISTED_SOON_SECONDS = 15.0
_DEFINITION_COLUMNS = ("msdynmkt_name", "statuscode")
_SEGMENT_COLUMNS = (
    "msdynmkt_segmentid",
    "msdynmkt_displayname",
    "msdynmkt_type",
    "msdynmkt_source",
    "msdynmkt_sourcesegmentuid",
    "msdynmkt_baseentitylogicalname",
    "msdynmkt_membercount",
    "statuscode",
)
_Row = Mapping[str, Any]


class RealtimeSegments:
    """Real-time segments of one environment (`segments.SegmentKind`)."""

    def __init__(self, client: DataverseClient, *, page_size: int, sent_id: str, live_statuses: frozenset[int]) -> None:
        """Read over `client`; `sent_id` says whose id the action wants, "segment" or "definition"."""
        self._client, self._page_size = client, page_size
        self._sent_id, self._live_statuses = sent_id, live_statuses

    def look_up(self, ref: SegmentRef) -> Segment:
        """Return what the two records say, by two requests. Raises SegmentNotFound.

        TryAgainLater when the definition is live but the segment is not listed yet, as happens for a moment.
        """
        if ref.table == DEFINITION:
            definition = self._definition(ref.id)
            if definition is None:
                raise not_found(ref, WHAT)
            segment = self._listed(ref.id)
        else:
            segment = self._client.row(
                protocol.query(protocol.row("msdynmkt_segments", ref.id), select=_SEGMENT_COLUMNS), f"read the segment {ref.id}"
            )
            if segment is None:
                raise not_found(ref, WHAT)
            uid = protocol.as_guid(segment.get("msdynmkt_sourcesegmentuid"))
            definition = self._definition(uid) if uid and segment.get("msdynmkt_source") == _JOURNEYS else None
        return self._described(ref, definition, segment)

    def list_ids(self, segment: Segment) -> Iterator[bytes] | None:
        """Return the members' ids, distinct, in blocks; asks Dataverse when the first is taken."""
        return self._ids(segment)

    def pages(self, segment: Segment, cursor: str, ids: RangeReader | None) -> Iterator[SourcePage]:
        """Return the pages from `cursor` on, read by the ids."""
        if ids is None:
            raise ValueError("A real-time segment is read by its ids.")
        return pages_of_ids(self._client, base_of(segment), ids, cursor, self._page_size)

    def _definition(self, row_id: str) -> _Row | None:
        path = protocol.query(protocol.row("msdynmkt_segmentdefinitions", row_id), select=_DEFINITION_COLUMNS)
        return self._client.row(path, f"read the segment {row_id}")

    def _listed(self, definition_id: str) -> _Row | None:
        """Return the segment record of a definition; its uid is text, written with or without braces, in any case."""
        plain, braced = protocol.quoted(definition_id), protocol.quoted("{" + definition_id + "}")
        uid = "msdynmkt_sourcesegmentuid"
        path = protocol.query("msdynmkt_segments", select=_SEGMENT_COLUMNS, filter=f"{uid} eq {plain} or {uid} eq {braced}")
        found = [row for row in self._client.rows(path, f"read the segment {definition_id}") if protocol.as_guid(row.get(uid))]
        return max(found, key=lambda row: row.get("msdynmkt_source") == _JOURNEYS, default=None)

    def _described(self, ref: SegmentRef, definition: _Row | None, segment: _Row | None) -> Segment:
        if definition is not None:
            live = is_live(DEFINITION, number(definition.get("statuscode")), self._live_statuses)
        else:
            live = segment is not None and is_live(SEGMENT, number(segment.get("statuscode")), self._live_statuses)
        if segment is None:
            if live:
                raise TryAgainLater(
                    f"The segment {ref.id} is live, but Customer Insights - Journeys does not list it yet. "
                    "The step is tried again.",
                    _LISTED_SOON_SECONDS,
                )
            segment = {}
        name = text((definition or {}).get("msdynmkt_name")) or text(segment.get("msdynmkt_displayname"))
        return Segment(
            ref=ref,
            kind=Kind.REALTIME,
            name=name,
            is_static=segment.get("msdynmkt_type") == _STATIC,
            is_live=live,
            base=text(segment.get("msdynmkt_baseentitylogicalname")).lower() or "contact",
            member_count=number(segment.get("msdynmkt_membercount")),
            source=self._source(segment),
        )

    def _source(self, segment: _Row) -> str:
        """Return the id that MembersList wants; Microsoft's documentation changed its mind about whose."""
        name = "msdynmkt_segmentid" if self._sent_id == "segment" else "msdynmkt_sourcesegmentuid"
        return protocol.as_guid(segment.get(name)) or ""

    def _ids(self, segment: Segment) -> Iterator[bytes]:
        members = read_members(self._members_list(segment), segment)
        yield from distinct(members)

    def _members_list(self, segment: Segment) -> bytes:
        doing = f"list the members of the segment {segment.ref.id}"
        try:
            return self._client.action(MEMBERS_LIST, {"SegmentId": segment.source}, doing)
        except NotInstalled as error:
            raise ConfigurationWrong(
                f"This Dataverse environment has no action {MEMBERS_LIST}, so the members cannot be listed. Ask your "
                "administrator to update Customer Insights - Journeys, or use a marketing list."
            ) from error


class _Answer(msgspec.Struct):
    text: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw, name="ResultText")
    status: Any = msgspec.field(default=HTTPStatus.OK, name="StatusCode")


class _Members(msgspec.Struct):
    members: msgspec.Raw
    base: str | None = msgspec.field(default=None, name="baseEntityLogicalName")
    total: int | None = msgspec.field(default=None, name="totalCount")


def read_members(body: bytes, segment: Segment) -> bytes:
    """Return the ids in the answer of MembersList, packed, in Dataverse's order and with its repetitions.

    The list is JSON text inside JSON, and may hold millions of ids: it is never turned into Python objects.
    Raises UnexpectedAnswer when members were kept back: a truncated list is never used.
    """
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        _check_status(answer.status, segment)
        literal = bytes(answer.text)
        del body, answer  # each holds the whole list
        text = _unescaped(literal)
        del literal
        found = msgspec.json.decode(text, type=_Members)
        ids = packed(found.members)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise UnexpectedAnswer(
            f"Dataverse listed the members of the segment {segment.ref.id} in a form that cannot be read. "
            "Ask support to look at the logs."
        ) from None
    _check_whole(found, len(ids) // 16, segment)
    return ids


def _unescaped(literal: bytes) -> memoryview | bytes:
    """Return the text in a JSON string literal. Where only quotation marks are escaped, as in a list of ids, that is one copy."""
    if literal.count(b"\\") == literal.count(b'\\"'):
        return memoryview(literal.replace(b'\\"', b'"'))[1:-1]
    return msgspec.json.decode(literal, type=str).encode()


def _check_status(status: Any, segment: Segment) -> None:
    """Raise what the status inside the answer means; it may differ from the answer's own."""
    if status in (HTTPStatus.OK, str(HTTPStatus.OK.value), None):
        return
    if status in (HTTPStatus.NOT_FOUND, str(HTTPStatus.NOT_FOUND.value)):
        raise SegmentNotFound(
            f"Customer Insights - Journeys does not know the segment {segment.ref.id}. Ask your administrator to check the "
            "setting REALTIME_SEGMENT_ID, then press Retry."
        )
    code = int(status) if str(status).isascii() and str(status).isdigit() else 0
    if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RemoteUnavailable(
            f"Customer Insights - Journeys could not list the members of the segment {segment.ref.id} just now (status {code}). "
            "The step is tried again."
        )
    raise UnexpectedAnswer(
        f"Customer Insights - Journeys would not list the members of the segment {segment.ref.id} (status {code or 'unknown'}). "
        "Ask support to look at the logs."
    )


def _check_whole(found: _Members, count: int, segment: Segment) -> None:
    if found.total is not None and found.total > count:
        raise UnexpectedAnswer(
            f"Dataverse listed only {count:,} of {found.total:,} members of the segment {segment.ref.id}, so nothing was used. "
            "Split the segment into smaller ones, or use a marketing list."
        )
    if found.base and found.base.lower() != segment.base:
        raise UnexpectedAnswer(
            f"Dataverse calls the members of the segment {segment.ref.id} '{segment.base}' in one place and '{found.base[:60]}' "
            "in another, so nothing was used. Ask support to look at the logs."
        )
