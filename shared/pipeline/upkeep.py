"""Upkeep: what timers do so that nothing is lost, nothing is kept too long, and nobody's sign-in ends unannounced."""

from datetime import timedelta

from shared.domain.signins import EXPIRES_SOON
from shared.errors import AudienceSyncError
from shared.logs import get_logger
from shared.pipeline.runner import Runner
from shared.pipeline.signin_desk import SignInDesk
from shared.ports import Clock, Doorbells, Files, Jobs, Message, Queue, Records, SignIns, Tickets

logger = get_logger(__name__)

LOOK_BACK = timedelta(days=7)
DOORBELLS_KEPT = timedelta(days=2)
JOBS_KEPT = timedelta(days=400)


class Upkeep:
    """Every method is short and may be repeated at any time; one failing part does not keep the others from running."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        queue: Queue,
        records: Records,
        files: Files,
        doorbells: Doorbells,
        tickets: Tickets,
        sign_ins: SignIns,
        desk: SignInDesk,
        runner: Runner,
        clock: Clock,
        overdue_after: timedelta,
        retention: timedelta,
        left_out_kept: timedelta,
    ) -> None:
        self._jobs, self._queue, self._records, self._files = jobs, queue, records, files
        self._doorbells, self._tickets, self._sign_ins, self._desk = doorbells, tickets, sign_ins, desk
        self._runner, self._clock = runner, clock
        self._overdue_after, self._retention, self._left_out_kept = overdue_after, retention, left_out_kept

    def wake(self) -> int:
        """Send the messages of overdue jobs again, and ring for rows whose webhook never came; return how many."""
        return self._wake_overdue() + self._ring_for_lost()

    def _wake_overdue(self) -> int:
        overdue = self._jobs.overdue(self._clock.now() - self._overdue_after)
        for job_id, fence in overdue:
            self._queue.send(Message("audience", job_id, fence))
            logger.warning("Woke an overdue job", extra={"action": "job-woken", "job": job_id})
        return len(overdue)

    def _ring_for_lost(self) -> int:
        since = self._clock.now() - LOOK_BACK
        try:
            lost = [Message("audience", row_id) for row_id in self._records.pending_audiences(since)]
            lost += [Message("signin", row_id) for row_id in self._records.pending_sign_ins(since)]
        except AudienceSyncError as error:
            logger.warning("Lost requests could not be looked for", extra={"action": "upkeep-failed", "reason": str(error)})
            return 0
        for message in lost:
            self._queue.send(message)
            logger.info(
                "Found a request that no event told of",
                extra={"action": "request-found", "kind": message.kind, "row": message.id},
            )
        return len(lost)

    def tidy(self) -> None:
        """Delete files, events, tickets, ended jobs and lists of members left out that are older than they are kept."""
        now = self._clock.now()
        deleted = sum(self._files.delete_all(path) for path in list(self._files.older_than(now - self._retention)))
        events = self._doorbells.clear_before(now - DOORBELLS_KEPT)
        tickets = self._tickets.clear_before(now)
        for job_id in self._jobs.finished_before(now - JOBS_KEPT):
            self._runner.forget(job_id)
        lists = self._forget_left_out()
        tidied = {"files": deleted, "events": events, "tickets": tickets, "lists": lists}
        logger.info("Tidied up", extra={"action": "tidied", **tidied})

    def _forget_left_out(self) -> int:
        try:
            return self._records.forget_left_out(self._clock.now() - self._left_out_kept)
        except AudienceSyncError as error:
            logger.warning("Old lists could not be deleted", extra={"action": "upkeep-failed", "reason": str(error)})
            return 0

    def warn(self) -> None:
        """Tell users whose sign-in ends soon."""
        for user_id in self._sign_ins.expiring_before(self._clock.now() + EXPIRES_SOON):
            try:
                self._desk.warn(user_id)
            except AudienceSyncError as error:
                logger.warning("A user could not be warned", extra={"action": "warning-failed", "reason": str(error)})
