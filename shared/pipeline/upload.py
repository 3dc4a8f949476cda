"""Step upload: send the member list in batches, several at a time, and read every element's answer."""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NoReturn

from shared.dataverse.schema import Audience as Column
from shared.dataverse.schema import Status
from shared.domain.jobs import Job, Step
from shared.errors import AudienceGone, AudienceSyncError, TryAgainLater, UnexpectedAnswer
from shared.logs import get_logger
from shared.pipeline import sentences
from shared.pipeline.files import MEMBER_LIST
from shared.pipeline.moves import Move, Progress
from shared.pipeline.tokens import HeldToken, TokenKeeper
from shared.ports import BatchOutcome, Clock, Files, LinkedIn, RangeReader

logger = get_logger(__name__)

DIGEST = 32
NEW_AUDIENCE_PAUSE = 10.0
SAVE_EVERY = timedelta(seconds=1)  # what a killed worker sends again at most
_READ_AT_ONCE = 4 * 1024 * 1024  # bytes of the member list


class Upload:
    """Adds all members of the list. A batch that was sent before is sent again without harm."""

    def __init__(
        self,
        linkedin: LinkedIn,
        files: Files,
        tokens: TokenKeeper,
        clock: Clock,
        *,
        batch_size: int,
        parallel: int,
        patience: timedelta,
    ) -> None:
        """Send `batch_size` members a call, `parallel` calls at once; a new audience may be unknown for `patience`."""
        self._linkedin, self._files, self._tokens, self._clock = linkedin, files, tokens, clock
        self._batch_size, self._parallel, self._patience = batch_size, parallel, patience

    def __call__(self, job: Job, progress: Progress, until: datetime) -> Move:
        """Move to confirm once every batch has its answer; come back when the time is up."""
        try:
            members = self._files.open(f"{job.folder()}/{MEMBER_LIST}")
        except FileNotFoundError:
            return Move(job.read_anew())  # it waited for a person longer than lists are kept
        batches = -(-members.size // (DIGEST * self._batch_size))
        reasons: Counter[str] = Counter()
        saved, again = job, self._clock.now()
        try:
            for outcome in self._outcomes(job, members, batches):
                reasons.update(outcome.reasons)
                job = job.went_on(batch=job.batch + 1, sent=job.sent + outcome.accepted, refused=job.refused + outcome.refused)
                now = self._clock.now()
                if now >= until and job.batch < batches:
                    return Move(job)
                if now >= again and job.batch < batches:
                    job = saved = progress(job, _shown(job, batches))
                    again = now + SAVE_EVERY
        except AudienceSyncError:
            if job is not saved:
                progress(job)  # what was answered before is not sent again
            raise
        if reasons:
            logger.warning("LinkedIn refused members", extra={"action": "members-refused", "reasons": dict(reasons)})
        if job.refused and not job.sent:
            raise UnexpectedAnswer(sentences.ALL_REFUSED.format(reasons="; ".join(reasons) or "no reason given"))
        return Move(self._building(job))

    def _outcomes(self, job: Job, members: RangeReader, batches: int) -> Iterator[BatchOutcome]:
        """Yield the answers in the order of the batches while the next ones are under way.

        Batches are begun only as fast as answers are taken, so what is stopped here was at most sent, never lost.
        """
        token = self._tokens.held(job.signs_in_as)
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="upload") as pool:
            under_way: deque[Future[BatchOutcome]] = deque()
            ahead = self._batches(members, job.batch)
            try:
                for _ in range(batches - job.batch):
                    while len(under_way) < self._parallel and (digests := next(ahead, None)) is not None:
                        under_way.append(pool.submit(self._send, job, token, digests))
                    yield under_way.popleft().result()
            finally:
                for future in under_way:
                    future.cancel()

    def _batches(self, members: RangeReader, first: int) -> Iterator[bytes]:
        """Yield the batches from number `first` on; the list is read in larger pieces, for each reading is a request."""
        size = DIGEST * self._batch_size
        piece = max(1, _READ_AT_ONCE // size) * size
        for at in range(first * size, members.size, piece):
            held = members.read(at, piece)
            yield from (held[begin : begin + size] for begin in range(0, len(held), size))

    def _send(self, job: Job, token: HeldToken, digests: bytes) -> BatchOutcome:
        outcome = token.call(lambda token: self._linkedin.add_members(token, job.audience_id, digests))
        if outcome is None:
            self._explain_unknown(job)
        return outcome

    def _explain_unknown(self, job: Job) -> NoReturn:
        """Raise: a new audience needs a while to spread at LinkedIn, an older one was deleted."""
        if job.created_at is not None and self._clock.now() - job.created_at < self._patience:
            raise TryAgainLater("LinkedIn does not know the new audience yet.", NEW_AUDIENCE_PAUSE)
        raise AudienceGone(sentences.AUDIENCE_DELETED)

    def _building(self, job: Job) -> Job:
        now = self._clock.now()
        return (
            replace(job, upload_finished=now)
            .moved_to(Step.CONFIRM)
            .showing(
                {
                    Column.STATUS: Status.BUILDING,
                    Column.MESSAGE: sentences.BUILDING,
                    Column.PROGRESS: 95,
                    Column.SENT: job.sent,
                    Column.REFUSED: job.refused,
                },
                result=True,
            )
        )


def _shown(job: Job, batches: int) -> dict[str, object]:
    return {Column.SENT: job.sent, Column.REFUSED: job.refused, Column.PROGRESS: 50 + 45 * job.batch // batches}
