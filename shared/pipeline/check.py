"""Step check: read the segment and decide whether it may become an audience at all."""

from dataclasses import replace
from datetime import datetime

from shared.dataverse.schema import Audience as Column
from shared.domain.jobs import Job, Step
from shared.domain.segments import refusal
from shared.errors import NotAllowed
from shared.pipeline.moves import Move, Progress
from shared.ports import MemberSource


class Check:
    """Looks the segment up. Nothing outside changes, so it may be repeated."""

    def __init__(self, members: MemberSource, *, snapshots_allowed: bool) -> None:
        self._members, self._snapshots_allowed = members, snapshots_allowed

    def __call__(self, job: Job, progress: Progress, until: datetime) -> Move:  # noqa: ARG002  every step takes these
        """Move to collect, or raise NotAllowed with the reason."""
        if job.asked_for is None or not job.asked_for.table or not job.asked_for.id:
            raise NotAllowed("The row does not say which segment is meant. Fill in the segment's table and id, then press Retry.")
        segment = self._members.look_up(job.asked_for)
        job = replace(job, segment=segment)
        if reason := refusal(segment, snapshots_allowed=self._snapshots_allowed):
            raise NotAllowed(reason)
        return Move(job.moved_to(Step.COLLECT).showing({Column.SEGMENT_NAME: segment.name[:200]}))
