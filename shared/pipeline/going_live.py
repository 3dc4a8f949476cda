"""A segment that is marked for it goes live: the row is created, as the person who set the mark."""

from datetime import timedelta
from uuid import NAMESPACE_URL, uuid5

from shared.dataverse.schema import Audience as Column
from shared.dataverse.schema import Command, Origin, Result, Status
from shared.domain.segments import SegmentRef
from shared.errors import ConfigurationWrong, RowGone, TryAgainLater
from shared.logs import correlated, get_logger
from shared.pipeline import sentences
from shared.pipeline.again import come_back
from shared.ports import Clock, Message, Queue, Records

logger = get_logger(__name__)

ONE_GOING_LIVE = timedelta(minutes=10)
UNTIL_MENDED = 3 * 3600.0  # seconds between attempts, once it is not over soon
_SOON = 6


class GoingLive:
    """Creates one row each time a marked segment goes live; going live again within ten minutes counts as the same time."""

    def __init__(self, records: Records, queue: Queue, clock: Clock) -> None:
        self._records, self._queue, self._clock = records, queue, clock

    def handle(self, message: Message) -> None:
        """Look at the segment record a message names, and create the row if its mark asks for it. Safe to repeat."""
        with correlated(message.correlation or message.id):
            try:
                self._look(SegmentRef(message.table, message.id), message.correlation)
            except RowGone:
                return
            except TryAgainLater as error:
                come_back(self._queue, self._clock, message, error)
            except ConfigurationWrong as error:
                self._wait_for_administrator(message, error)

    def _wait_for_administrator(self, message: Message, error: ConfigurationWrong) -> None:
        """Come back soon at first and then for more than a day: no other message will speak of this going live."""
        logger.error("A going live waits for an administrator", extra={"action": "live-waits", "reason": str(error)})
        wait = UNTIL_MENDED if message.attempt >= _SOON else None
        come_back(self._queue, self._clock, message, TryAgainLater(str(error), wait))

    def _look(self, ref: SegmentRef, correlation: str) -> None:
        mark = self._records.live_mark(ref)
        if mark is None or not mark.wanted or not mark.is_live:
            return
        if mark.set_by is None:
            self._records.write_result(ref, {Result.STATUS: Status.FAILED, Result.MESSAGE: sentences.LIVE_WITHOUT_USER})
            return
        # Dataverse tells of one going live several times ("going live", "live", and twice when other columns change too).
        # Events side by side find the record at the same version, late ones find the row that was made.
        if self._records.went_live_since(ref, self._clock.now() - ONE_GOING_LIVE):
            return
        row_id = str(uuid5(NAMESPACE_URL, f"lima:{ref.table}:{ref.id}:{mark.version}"))
        values = {
            Column.NAME: mark.segment_name[:100],
            Column.SEGMENT_TABLE: ref.table,
            Column.SEGMENT_ID: ref.id,
            Column.SEGMENT_NAME: mark.segment_name[:200],
            Column.STATUS: Status.REQUESTED,
            Column.MESSAGE: sentences.REQUESTED,
            Column.COMMAND: Command.CREATE,
            Column.ORIGIN: Origin.WENT_LIVE,
            Column.AD_ACCOUNT: mark.ad_account,
            Column.AD_ACCOUNT_NAME: mark.ad_account_name,
            Column.CORRELATION: correlation,
        }
        if self._records.create_audience(row_id, values, owner=mark.set_by):
            logger.info("A marked segment went live", extra={"action": "segment-went-live", "job": row_id})
        self._queue.send(Message("audience", row_id, correlation=correlation))
