"""Step collect: page by page, members become usable addresses, hashes, and stored parts with their tallies."""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain

from shared.dataverse.schema import Audience as Column
from shared.domain.jobs import Job, Step
from shared.domain.parts import Exclusions, PartBuilder, opted_out_part
from shared.domain.segments import Segment
from shared.logs import get_logger
from shared.pipeline import files as names
from shared.pipeline.beside import beside
from shared.pipeline.moves import Move, Progress
from shared.ports import Clock, Files, MemberSource, SourcePage

logger = get_logger(__name__)

FLUSH_AFTER = timedelta(seconds=5)  # what a killed worker reads again at most
# The cursor says which of three readings goes on, and where: ids first, then opt-outs, then the members.
_IDS, _OPTED_OUT, _MEMBERS = "", "opted-out ", "members "
_ID_SIZE = 16


class Collect:
    """Reads everything before anything is sent. A part is stored before the cursor behind it, so no member is lost."""

    def __init__(self, members: MemberSource, files: Files, clock: Clock, *, exclusions: Exclusions, part_members: int) -> None:
        """Store a part whenever it holds `part_members` members or some seconds have passed."""
        self._members, self._files, self._clock = members, files, clock
        self._exclusions, self._part_members = exclusions, part_members

    def __call__(self, job: Job, progress: Progress, until: datetime) -> Move:
        """Move to plan once the last page is stored; come back when the time is up."""
        segment = segment_of(job)
        if job.cursor == _IDS:
            job = progress(self._with_ids(job, segment))
        with closing(self._pages(job, segment)) as pages:
            if not job.cursor.startswith(_OPTED_OUT):
                return self._read_members(job, segment, pages, progress, until)
            with beside(lambda: next(pages, None)) as first:
                job = progress(self._with_opted_out(job))
            begun = first.result()
            return self._read_members(job, segment, chain([begun] if begun else [], pages), progress, until)

    def _pages(self, job: Job, segment: Segment) -> Generator[SourcePage]:
        """Return the pages from where the reading of members goes on; closing it also stops the reading ahead."""
        ids = self._files.open(f"{job.folder()}/{names.IDS}") if job.has_ids else None
        cursor = job.cursor.removeprefix(_MEMBERS) if job.cursor.startswith(_MEMBERS) else ""
        yield from self._members.pages(segment, cursor, ids)

    def _with_ids(self, job: Job, segment: Segment) -> Job:
        """Store the members' ids where the source gives them first; members who come later are for the next audience."""
        ids = self._members.list_ids(segment)
        if ids is None:
            return job.went_on(cursor=_OPTED_OUT, has_ids=False)
        size = self._files.write(f"{job.folder()}/{names.IDS}", ids)
        counted = replace(segment, member_count=size // _ID_SIZE)
        return job.went_on(cursor=_OPTED_OUT, has_ids=True, segment=counted)

    def _with_opted_out(self, job: Job) -> Job:
        """Store the hashes of opted-out addresses; they are taken out when the parts are merged."""
        waiting: list[str] = []
        for addresses, cursor in self._members.opted_out(job.cursor.removeprefix(_OPTED_OUT)):
            waiting += addresses
            if len(waiting) >= self._part_members or cursor is None:
                job = self._store_opted_out(job, waiting)
                waiting = []
        return self._store_opted_out(job, waiting).went_on(cursor=_MEMBERS)

    def _store_opted_out(self, job: Job, addresses: list[str]) -> Job:
        if not addresses:
            return job
        name = f"{job.folder()}/{names.opted_out(job.opted_out_parts)}"
        self._files.write(name, opted_out_part(addresses).to_bytes())
        return replace(job, opted_out_parts=job.opted_out_parts + 1)

    def _read_members(self, job: Job, segment: Segment, pages: Iterable[SourcePage], progress: Progress, until: datetime) -> Move:
        builder = PartBuilder(self._exclusions)
        stored_at = self._clock.now()
        for page in pages:
            builder.add(page.rows)
            job = replace(job, members_read=job.members_read + len(page.rows))
            if page.cursor is None:
                break
            now = self._clock.now()
            if len(builder) >= self._part_members or now - stored_at >= FLUSH_AFTER or now >= until:
                job = self._stored(job, builder).went_on(cursor=_MEMBERS + page.cursor)
                job = progress(job, _shown(job, segment))
                stored_at = now
            if now >= until:
                return Move(job)
        job = self._stored(job, builder)
        logger.info("Read the members", extra={"action": "members-read", "job": job.id, "count": job.members_read})
        return Move(job.moved_to(Step.PLAN))

    def _stored(self, job: Job, builder: PartBuilder) -> Job:
        part = builder.finish()
        if not part.tallies.members:
            return job
        self._files.write(f"{job.folder()}/{names.part(job.parts)}", part.to_bytes())
        return replace(job, parts=job.parts + 1)


def _shown(job: Job, segment: Segment) -> dict[str, object]:
    total = max(segment.member_count or 0, job.members_read)
    return {Column.MEMBERS: job.members_read, Column.PROGRESS: 45 * job.members_read // total}


def segment_of(job: Job) -> Segment:
    """Return the segment that check has found."""
    if job.segment is None:
        raise ValueError(f"The job {job.id} collects before its segment was looked up.")
    return job.segment
