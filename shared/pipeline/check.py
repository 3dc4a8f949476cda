"""Step check: read the segment and decide whether it may become an audience at all."""

from dataclasses import replace
from datetime import datetime

from shared.dataverse.schema import Audience as Column
from shared.domain.jobs import Job, Step
from shared.domain.segments import SegmentRef, refusal
from shared.errors import NotAllowed, RowGone
from shared.pipeline.moves import Move, Progress
from shared.ports import MemberSource, Records


class Check:
    """Looks the segment up. Nothing outside changes, so it may be repeated."""

    def __init__(self, records: Records, members: MemberSource, *, snapshots_allowed: bool) -> None:
        self._records, self._members, self._snapshots_allowed = records, members, snapshots_allowed

    def __call__(self, job: Job, progress: Progress, until: datetime) -> Move:  # noqa: ARG002  every step takes these
        """Move to collect, or raise NotAllowed with the reason."""
        ref = self._asked_for(job)
        segment = self._members.look_up(ref)
        job = replace(job, segment=segment)
        if reason := refusal(segment, snapshots_allowed=self._snapshots_allowed):
            raise NotAllowed(reason)
        return Move(job.moved_to(Step.COLLECT).showing({Column.SEGMENT_NAME: segment.name[:200]}))

    def _asked_for(self, job: Job) -> SegmentRef:
        """Return the record the row names; the row is the only thing trusted."""
        request = self._records.read_request(job.id)
        if request is None:
            raise RowGone(f"The row {job.id} was deleted.")
        if not request.segment_table or not request.segment_id:
            raise NotAllowed("The row does not say which segment is meant. Fill in the segment's table and id, then press Retry.")
        return SegmentRef(request.segment_table.lower(), request.segment_id.strip("{}").lower())
