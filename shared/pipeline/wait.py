"""Step wait: see whether the sign-in, the ad account and the person's yes are there."""

from dataclasses import replace
from datetime import datetime

from shared.dataverse.schema import Audience as Column
from shared.dataverse.schema import Status
from shared.domain.audiences import SMALLEST_SERVED, audience_name, size_advice
from shared.domain.jobs import Job, Step
from shared.errors import NotAllowed, SignInNeeded, TooSmall
from shared.pipeline import sentences
from shared.pipeline.moves import Move, Progress
from shared.pipeline.tokens import TokenKeeper


class Wait:
    """Decides what a read segment still needs. A command or a sign-in wakes it again."""

    def __init__(self, tokens: TokenKeeper) -> None:
        self._tokens = tokens

    def __call__(self, job: Job, progress: Progress, until: datetime) -> Move:  # noqa: ARG002  every step takes these
        """Move to create, or wait for a person. Raises NotAllowed when there is nobody to send."""
        if not job.tallies.members:
            raise NotAllowed(sentences.EMPTY_SEGMENT)
        if not job.tallies.eligible:
            raise NotAllowed(sentences.NO_USABLE_MEMBERS.format(members=job.tallies.members))
        if job.automatic and job.tallies.eligible < SMALLEST_SERVED:
            raise TooSmall(sentences.TOO_SMALL.format(advice=size_advice(job.tallies.eligible)))
        if not self._is_signed_in(job):
            again = sentences.SIGN_IN_AGAIN if job.batch else sentences.WAITING_FOR_SIGN_IN
            return _waiting(job, Status.WAITING_FOR_SIGN_IN, again)
        if not job.account:
            return _waiting(job, Status.WAITING_FOR_AD_ACCOUNT, sentences.WAITING_FOR_AD_ACCOUNT)
        if not job.create_asked:
            return _waiting(job, Status.READY_TO_CREATE, sentences.ready_to_create(job.tallies.eligible))
        if job.tallies.eligible < SMALLEST_SERVED and not job.small_confirmed:
            unconfirmed = replace(job, create_asked=False)
            return _waiting(unconfirmed, Status.READY_TO_CREATE, sentences.needs_second_yes(job.tallies.eligible))
        return Move(_creating(job))

    def _is_signed_in(self, job: Job) -> bool:
        try:
            self._tokens.token(job.signs_in_as)
        except SignInNeeded:
            return False
        return True


def _creating(job: Job) -> Job:
    name = audience_name(job.audience_name, job.segment.name if job.segment else "")
    return (
        replace(job, audience_name=name)
        .moved_to(Step.CREATE)
        .showing(
            {
                Column.NAME: name,
                Column.STATUS: Status.UPLOADING,
                Column.MESSAGE: sentences.UPLOADING,
                Column.PROGRESS: 50,
                Column.SENT: job.sent,
            }
        )
    )


def _waiting(job: Job, status: Status, sentence: str) -> Move:
    return Move(job.showing({Column.STATUS: status, Column.MESSAGE: sentence, Column.PROGRESS: 50}), after=None)
