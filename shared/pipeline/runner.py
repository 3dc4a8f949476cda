"""The runner: load a job, run its step, save, send the next message; errors become moves.

Messages arrive at least once, in any order, and the process may die at any instruction. What keeps
the visible effect single:

- every save of a job is conditional; whoever finds it changed stops, after writing what the newer job shows;
- a message carries the job's fence number; a stale one is dropped;
- what the row in Dataverse shows is saved with the job first and owed until it is written;
- the next message is sent before the present one is deleted, and upkeep sends overdue ones again.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from shared.dataverse.schema import Audience as Column
from shared.dataverse.schema import Status
from shared.domain.audiences import Request
from shared.domain.jobs import Job, Step
from shared.domain.waiting import MOST_ATTEMPTS, QUOTA_ATTEMPTS, pause, until_quota_resets
from shared.errors import (
    AdAccountNeeded,
    AudienceGone,
    AudienceSyncError,
    NotAllowed,
    PageLinkExpired,
    QuotaUsedUp,
    RowGone,
    SignInNeeded,
    SomebodyElseChangedIt,
    Throttled,
    TooSmall,
    TryAgainLater,
)
from shared.logs import correlated, get_logger
from shared.pipeline import commands, sentences
from shared.pipeline.again import come_back
from shared.pipeline.moves import Move, Steps
from shared.pipeline.stretch import Desk, Stretch, Superseded
from shared.ports import Files, Message

logger = get_logger(__name__)

_SHOW_AFTER_ATTEMPTS = 3  # a short hiccup is nobody's news
_MOST_DEFECTS = 5
_RACES = 10


class Runner:
    """Moves jobs. One instance serves all threads of the process."""

    def __init__(self, desk: Desk, files: Files, steps: Steps) -> None:
        self._desk, self._files, self._steps = desk, files, steps

    def handle(self, message: Message) -> None:
        """Do what a message about an audience asks; safe to repeat. Only a failing storage raises."""
        with correlated(message.correlation or message.id):
            try:
                if message.fence is None:
                    self._answer_doorbell(message)
                else:
                    self._go_on(message)
            except Superseded:
                self._show_newest(message.id)
            except RowGone:
                self.forget(message.id)
            except TryAgainLater as error:
                come_back(self._desk.queue, self._desk.clock, message, error)

    # -------------------------------------------------------------- messages

    def _answer_doorbell(self, message: Message) -> None:
        """Look at the row and take its command, if there is one that was not taken yet."""
        request = self._desk.records.read_request(message.id)
        if request is None:
            raise RowGone(f"The row {message.id} was deleted.")
        taken = self._take(message, request)
        if taken is None:
            return
        job, etag = taken
        self._desk.records.update_audience(job.id, {**job.shown, Column.COMMAND: None}, etag=request.etag)
        self._work(replace(job, owes_row=False), etag)

    def _take(self, message: Message, request: Request) -> tuple[Job, str] | None:
        """Put the row's command into the job; None when the row asks for nothing."""
        if request.command is None:
            return None
        now = self._desk.clock.now()
        for _ in range(_RACES):
            loaded = self._desk.jobs.load(message.id)
            if loaded is None:
                self._desk.jobs.create(Job(id=message.id, correlation=message.correlation or str(uuid4()), created=now))
                continue
            job, etag = loaded
            if job.command_id == commands.command_id(request) and job.round:
                return loaded
            taken = commands.take(job, request, now).summoned(now)
            try:
                etag = self._desk.jobs.save(taken, etag)
            except SomebodyElseChangedIt:
                continue
            logger.info("Took a command", extra={"action": "command-taken", "job": job.id, "command": request.command})
            return taken, etag
        raise TryAgainLater(f"The job {message.id} is changing too fast to take its command.")

    def _go_on(self, message: Message) -> None:
        loaded = self._desk.jobs.load(message.id)
        if loaded is None or loaded[0].fence != message.fence:
            logger.info("Dropped a stale message", extra={"action": "message-stale", "job": message.id})
            return
        self._work(*loaded)

    # -------------------------------------------------------------- working

    def _work(self, job: Job, etag: str) -> None:
        """Run steps until the time of this message is up, the job has to wait, or it ends."""
        with correlated(job.correlation):
            stretch = Stretch(self._desk, job, etag)
            stretch.pay_debts()
            while stretch.runs():
                stretch.make(self._move(stretch))

    def _move(self, stretch: Stretch) -> Move:
        job = stretch.job
        try:
            return self._steps[job.step](job, stretch.progress, stretch.until)
        except RowGone:
            raise
        except AudienceSyncError as error:
            logger.info(
                "A step could not go on",
                extra={
                    "action": "step-stopped",
                    "job": job.id,
                    "step": job.step,
                    "error": type(error).__name__,
                    "reason": str(error),
                },
            )
            return self._after(error, stretch.job)
        except Superseded:
            raise
        except Exception as error:
            logger.exception("A step failed unexpectedly", extra={"action": "step-defect", "job": job.id, "step": job.step})
            defect = sentences.DEFECT.format(kind=type(error).__name__, correlation=job.correlation)
            return self._later(TryAgainLater(defect), stretch.job, defect=defect)

    def _after(self, error: AudienceSyncError, job: Job) -> Move:  # noqa: PLR0911  one line per kind of error
        """Return the job's next move after an error: what the error is named after."""
        match error:
            case PageLinkExpired():
                return self._later(error, replace(job.read_anew(), attempts=job.attempts))
            case QuotaUsedUp():
                return self._parked(job, error.after_seconds)
            case Throttled() if error.after_seconds is None and job.attempts >= QUOTA_ATTEMPTS:
                return self._parked(job, None)
            case TryAgainLater():
                return self._later(error, job)
            case SignInNeeded():
                return _to_wait(job, Status.WAITING_FOR_SIGN_IN, str(error))
            case AdAccountNeeded():
                return _to_wait(replace(job, create_asked=False), Status.WAITING_FOR_AD_ACCOUNT, str(error))
            case AudienceGone():
                return self._end(job.without_audience(), Status.FAILED, str(error))
            case NotAllowed():
                return self._end(job, Status.NOT_ALLOWED, str(error))
            case TooSmall():
                return self._end(job, Status.TOO_SMALL, str(error))
            case _:
                return self._end(job, Status.FAILED, str(error))

    def _later(self, error: TryAgainLater, job: Job, *, defect: str = "") -> Move:
        """Come back after a pause, or give up after many attempts in a row (soon, for a defect of our own)."""
        job = job.stumbled()
        wait = pause(job.attempts, error.after_seconds, self._desk.clock.dice())
        if wait is None or job.attempts >= (_MOST_DEFECTS if defect else MOST_ATTEMPTS):
            sentence = defect or sentences.GAVE_UP.format(reason=error, attempts=job.attempts)
            return self._end(job, Status.FAILED, sentence)
        if job.attempts >= _SHOW_AFTER_ATTEMPTS:
            job = job.showing({Column.MESSAGE: sentences.PAUSED.format(reason=error, attempt=job.attempts + 1)})
        return Move(job, after=wait)

    def _parked(self, job: Job, asked_for: float | None) -> Move:
        wait = asked_for or until_quota_resets(self._desk.clock.now(), self._desk.clock.dice())
        return Move(replace(job, attempts=0).showing({Column.MESSAGE: sentences.QUOTA}), after=wait)

    def _end(self, job: Job, status: Status, sentence: str) -> Move:
        return Move(_ended(job, self._desk.clock.now(), status, sentence), after=None)

    def _show_newest(self, job_id: str) -> None:
        """Write what the newer job shows, in case this stale message has just written over it."""
        try:
            for _ in range(_RACES):
                loaded = self._desk.jobs.load(job_id)
                if loaded is None or not loaded[0].shown:
                    return
                self._desk.show(loaded[0], result=loaded[0].step is Step.DONE)
                after = self._desk.jobs.load(job_id)
                if after is None or after[1] == loaded[1]:
                    return
        except RowGone:
            self.forget(job_id)
        except AudienceSyncError:
            logger.info("The newest state is shown by a later message", extra={"action": "show-delayed", "job": job_id})

    # -------------------------------------------------------------- for upkeep, sign-in and the poison queue

    def forget(self, job_id: str) -> None:
        """Delete everything the engine keeps of a job whose row is gone."""
        self._files_of(job_id)
        self._desk.jobs.forget(job_id)
        logger.info("Forgot a job whose row is gone", extra={"action": "job-forgotten", "job": job_id})

    def _files_of(self, job_id: str) -> None:
        self._files.delete_all(f"{job_id}/")

    def change(self, job_id: str, change: Callable[[Job], Job]) -> None:
        """Change a job from outside its steps and send it a message; decides again when somebody else was faster."""
        for _ in range(_RACES):
            loaded = self._desk.jobs.load(job_id)
            if loaded is None:
                return
            job = change(loaded[0]).summoned(self._desk.clock.now())
            try:
                self._desk.jobs.save(job, loaded[1])
            except SomebodyElseChangedIt:
                continue
            self._desk.queue.send(Message("audience", job.id, job.fence, correlation=job.correlation))
            return
        logger.warning("A job changed too fast to be changed", extra={"action": "change-lost", "job": job_id})

    def mark_failed(self, job_id: str) -> None:
        """End a job whose messages could not be handled (poison queue), unless it has ended by itself."""
        now = self._desk.clock.now()
        self.change(job_id, lambda job: job if job.step is Step.DONE else _ended(job, now, Status.FAILED, sentences.POISON))

    def wake(self, job_id: str) -> None:
        """Let a waiting job look again at what it waits for."""
        self.change(job_id, lambda job: job)


def _to_wait(job: Job, status: Status, sentence: str) -> Move:
    waiting = job.moved_to(Step.WAIT).showing({Column.STATUS: status, Column.MESSAGE: sentence}, result=True)
    return Move(waiting, after=None)


def _ended(job: Job, now: datetime, status: Status, sentence: str) -> Job:
    shown = {Column.STATUS: status, Column.MESSAGE: sentence, Column.FINISHED: now}
    return job.ended(now).showing(shown, result=True)
