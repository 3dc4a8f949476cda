"""One stretch of work on a job: everything between taking a message and being done with it.

A stretch keeps three promises: the job is saved before anything it shows is written, what could not be
written stays owed, and the next message is sent before this one is deleted.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.dataverse.schema import Audience as Column
from shared.dataverse.schema import Result
from shared.domain.jobs import Job, Step
from shared.domain.waiting import LONGEST_PAUSE, LONGEST_QUEUE_DELAY, MOST_ATTEMPTS
from shared.errors import AudienceSyncError, RowGone, SomebodyElseChangedIt, TryAgainLater
from shared.logs import get_logger
from shared.pipeline.moves import Move
from shared.ports import Changes, Clock, Jobs, Message, Queue, Records

logger = get_logger(__name__)

_MOST_PATIENCE = 300  # attempts: a day in which Dataverse cannot be reached; a refusal is believed sooner

# row column → column of the segment record
_RESULT_OF = {
    Column.STATUS: Result.STATUS,
    Column.MESSAGE: Result.MESSAGE,
    Column.AUDIENCE_ID: Result.AUDIENCE_ID,
    Column.SENT: Result.SENT,
    Column.SIZE: Result.SIZE,
    Column.MATCH_RATE: Result.MATCH_RATE,
    Column.LINK: Result.LINK,
}


class Superseded(Exception):  # noqa: N818  not an error: somebody else has moved the job on
    """Another message has changed the job; this one has nothing left to do."""


@dataclass(frozen=True)
class Pace:
    """How long one message may work, and how often the row shows progress."""

    step: timedelta
    progress: timedelta


@dataclass(frozen=True)
class Desk:
    """What every stretch works with."""

    jobs: Jobs
    records: Records
    queue: Queue
    clock: Clock
    pace: Pace

    def show(self, job: Job, *, result: bool) -> None:
        """Write what the job shows to its row, and to the segment record when that is owed."""
        self.records.update_audience(job.id, job.shown)
        if result and job.asked_for is not None:
            values: dict[str, Any] = {there: job.shown.get(here) for here, there in _RESULT_OF.items()}
            self.records.write_result(job.asked_for, values | {Result.TIME: self.clock.now()})


class Stretch:
    """The job as last saved, its version, and whether this message goes on with it."""

    def __init__(self, desk: Desk, job: Job, etag: str) -> None:
        self.job = job
        self.until = desk.clock.now() + desk.pace.step
        self._desk, self._etag = desk, etag
        self._goes_on = True
        self._shown_at = desk.clock.now()

    def runs(self) -> bool:
        """Tell whether another step is to be run for this message."""
        return self._goes_on and self.job.step is not Step.DONE

    def pay_debts(self) -> None:
        """Write what a job at its end still owes; any other job pays with its next move."""
        owes = self.job.owes_row or self.job.owes_result
        if self.job.step is Step.DONE and owes and self._pay():
            self._save(replace(self.job, due=None))

    def progress(self, job: Job, changes: Changes | None = None) -> Job:
        """Save the job; show the changes when the last showing is long enough ago. Returns the job to go on with."""
        now = self._desk.clock.now()
        shows = bool(changes) and now - self._shown_at >= self._desk.pace.progress
        if changes and shows:
            job = replace(job.showing(changes), owes_row=False)
        self._save(replace(job, due=now))
        if changes and shows:
            self._shown_at = now
            self._show_progress(changes)
        return self.job

    def make(self, move: Move) -> None:
        """Save the move, show it, and send the next message when this one is used up."""
        now = self._desk.clock.now()
        over = move.after is None or move.job.step is Step.DONE
        rest = None if over else now + timedelta(seconds=move.after or 0.0)
        self._goes_on = not over and move.after == 0.0 and now < self.until
        shows = self._is_to_be_shown(move, now)
        if self._goes_on:
            self._save(replace(move.job, due=now))
        else:
            # Due at once as long as it is in debt: whoever dies before paying is then missed soon, not after the whole rest.
            self._save(move.job.summoned(now if shows else rest))
        logger.info(
            "A job moved",
            extra={
                "action": "job-moved",
                "job": self.job.id,
                "step": self.job.step,
                "after": move.after,
                "attempts": self.job.attempts,
            },
        )
        if shows:
            if not self._pay():
                return
            if not self._goes_on:
                self._save(replace(self.job, due=rest))
        if not over and not self._goes_on:
            self._summon(move.after or 0.0)

    def _is_to_be_shown(self, move: Move, now: datetime) -> bool:
        """Tell whether the row is written now: at every rest that is not quiet, in between only every few seconds."""
        if not move.job.owes_row and not move.job.owes_result:
            return False
        if self._goes_on or move.quiet:
            return now - self._shown_at >= self._desk.pace.progress
        return True

    def _pay(self) -> bool:
        """Show what is owed; when Dataverse does not take it now, come back for it. Tells whether it was shown."""
        try:
            self._desk.show(self.job, result=self.job.owes_result)
        except RowGone:
            raise
        except AudienceSyncError as error:
            if self.job.attempts < (_MOST_PATIENCE if isinstance(error, TryAgainLater) else MOST_ATTEMPTS):
                self._owe(error)
                return False
            logger.error(  # noqa: TRY400  the reason says it all
                "The row is not written any more", extra={"action": "row-given-up", "job": self.job.id, "reason": str(error)}
            )
        self._shown_at = self._desk.clock.now()
        self.job = self.job.settled()
        return True

    def _owe(self, error: AudienceSyncError) -> None:
        """Leave the debt on the job and send the message that pays it later."""
        self._goes_on = False
        asked = error.after_seconds if isinstance(error, TryAgainLater) else None
        wait = asked or min(2.0 ** min(self.job.attempts + 1, 20), LONGEST_PAUSE)
        stumbled = self.job.stumbled()
        self._save(stumbled.summoned(self._desk.clock.now() + timedelta(seconds=wait)))
        self._summon(wait)
        logger.warning(
            "The row could not be written",
            extra={"action": "row-not-written", "job": self.job.id, "attempts": self.job.attempts, "reason": str(error)},
        )

    def _show_progress(self, changes: Changes) -> None:
        try:
            self._desk.records.update_audience(self.job.id, changes)
        except TryAgainLater as error:
            logger.info(
                "Progress was not shown", extra={"action": "progress-not-shown", "job": self.job.id, "reason": str(error)}
            )

    def _summon(self, after: float) -> None:
        message = Message("audience", self.job.id, self.job.fence, correlation=self.job.correlation)
        self._desk.queue.send(message, delay_seconds=min(after, LONGEST_QUEUE_DELAY))

    def _save(self, job: Job) -> None:
        try:
            self._etag = self._desk.jobs.save(job, self._etag)
        except SomebodyElseChangedIt as error:
            raise Superseded from error
        self.job = job
