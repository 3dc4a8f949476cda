"""The source of members (`ports.MemberSource`): one kind of segment per module of `segments/`, and opted-out addresses."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial

import msgspec

from shared.dataverse import protocol
from shared.dataverse.client import DataverseClient
from shared.dataverse.protocol import NotInstalled
from shared.dataverse.segments import SegmentKind
from shared.dataverse.segments.marketing_list import MarketingLists
from shared.dataverse.segments.outbound import OutboundSegments
from shared.dataverse.segments.reading import Followed, check_link, follow
from shared.dataverse.segments.realtime import RealtimeSegments
from shared.domain.segments import KIND_OF_TABLE, Kind, Segment, SegmentRef
from shared.errors import ConfigurationWrong, NotAllowed, SegmentNotFound, UnexpectedAnswer
from shared.http import Answer
from shared.logs import get_logger
from shared.ports import RangeReader, SourcePage
from shared.settings import Settings

logger = get_logger(__name__)

CONSENT_SET = "msdynmkt_contactpointconsent4s"
_ADDRESS = "msdynmkt_contactpointvalue"
_EMAIL, _PURPOSE, _OPTED_OUT = 534120000, 534120000, 534120002


class DataverseMembers:
    """Segments and members of one environment; used by several threads."""

    def __init__(self, client: DataverseClient, settings: Settings) -> None:
        """Read over `client` as the settings say."""
        self._client, self._page_size = client, settings.dataverse_page_size
        self._exclude_opted_out, self._purpose = settings.exclude_opted_out, settings.consent_purpose_id
        size = self._page_size
        self._kinds: Mapping[Kind, SegmentKind] = {
            Kind.REALTIME: RealtimeSegments(
                client, page_size=size, sent_id=settings.realtime_segment_id, live_statuses=settings.live_statuses
            ),
            Kind.LIST: MarketingLists(client, page_size=size),
            Kind.OUTBOUND: OutboundSegments(client, page_size=size),
        }

    def look_up(self, ref: SegmentRef) -> Segment:
        """Return what Dataverse says of a segment, by at most two requests. Raises SegmentNotFound or NotAllowed."""
        if ref.table not in KIND_OF_TABLE:
            raise NotAllowed(
                f"Rows of the table '{ref.table}' are no segments that this app knows. "
                "Use a real-time segment or a marketing list."
            )
        if protocol.as_guid(ref.id) is None:
            raise SegmentNotFound("The segment's id on the row is no record id. Fill in the id of the segment, then press Retry.")
        try:
            return self._kinds[KIND_OF_TABLE[ref.table]].look_up(ref)
        except NotInstalled as error:
            raise NotAllowed(
                f"This Dataverse environment has no usable table '{ref.table}'. Use a segment of another kind. {error}"
            ) from error

    def list_ids(self, segment: Segment) -> Iterator[bytes] | None:
        """Return the members' ids, packed 16 bytes each and distinct, in blocks; None when pages need no ids first."""
        return self._kinds[segment.kind].list_ids(segment)

    def pages(self, segment: Segment, cursor: str, ids: RangeReader | None) -> Iterator[SourcePage]:
        """Return the pages from `cursor` on, each with the cursor behind it; later ones are read while the caller works.

        Raises PageLinkExpired when Dataverse no longer knows the cursor, SegmentNotFound when the segment is gone.
        """
        return self._kinds[segment.kind].pages(segment, cursor, ids)

    def opted_out(self, cursor: str) -> Iterator[tuple[list[str], str | None]]:
        """Return pages of opted-out addresses for the configured purpose, each with the cursor behind it."""
        if not self._exclude_opted_out:
            return
        purpose = protocol.as_guid(self._purpose)
        if purpose is None:
            raise ConfigurationWrong(
                "The setting CONSENT_PURPOSE_ID is no record id. Put in the id of the purpose, then press Retry."
            )
        first = protocol.query(
            CONSENT_SET,
            select=[_ADDRESS],
            filter=f"msdynmkt_contactpointtype eq {_EMAIL} and msdynmkt_contactpointconsenttype eq {_PURPOSE} "
            f"and msdynmkt_value eq {_OPTED_OUT} and statecode eq 0 and _msdynmkt_purposeid_value eq {purpose}",
        )
        try:
            with closing(follow(partial(self._ask_opted_out, first), self._opted_out_page, cursor)) as pages:
                yield from pages
        except NotInstalled:
            logger.info("This environment keeps no consent by email address", extra={"action": "consent-missing"})

    def _ask_opted_out(self, first: str, cursor: str) -> Answer:
        path = self._client.absolute(cursor) if cursor else first
        return self._client.send(protocol.request("GET", path, headers=protocol.page_size(self._page_size)))

    def _opted_out_page(self, answer: Answer, cursor: str) -> Followed[list[str]]:
        if cursor:
            check_link(answer, "the opted-out addresses")
        protocol.check(answer, "read the opted-out addresses")
        addresses, link = read_addresses(answer.body)
        return addresses, protocol.next_path(self._client.base_url, link) if link else None


class _Consent(msgspec.Struct, gc=False):
    value: str | None = msgspec.field(default=None, name=_ADDRESS)


class _Consents(msgspec.Struct):
    value: list[_Consent]
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")


_CONSENTS = msgspec.json.Decoder(_Consents)


def read_addresses(body: bytes) -> tuple[list[str], str | None]:
    """Return the addresses on a page of consent rows and the link to the next page."""
    try:
        page = _CONSENTS.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise UnexpectedAnswer(
            "Dataverse answered with opted-out addresses that cannot be read. Try again; if it happens again, report it."
        ) from None
    return [row.value for row in page.value if row.value], page.next_link
