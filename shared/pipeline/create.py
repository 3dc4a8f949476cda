"""Step create: find or create the audience at LinkedIn under our own foreign key."""

from dataclasses import replace
from datetime import datetime, timedelta

from shared.dataverse.schema import Audience as Column
from shared.domain.audiences import Audience, foreign_key
from shared.domain.jobs import Job, Step
from shared.errors import AdAccountNeeded, AudienceSyncError, OutcomeUnknown, TryAgainLater
from shared.pipeline import sentences
from shared.pipeline.beside import beside
from shared.pipeline.moves import Move, Progress
from shared.pipeline.tokens import TokenKeeper
from shared.ports import Clock, LinkedIn

LOOKS_AFTER_UNCLEAR = 3
PAUSE_AFTER_UNCLEAR = 10.0


class CreationUnclear(TryAgainLater):
    """LinkedIn may or may not have created the audience; it is looked for before creating again."""


class Create:
    """Creates at most one audience per job although LinkedIn knows no idempotency key.

    The job is claimed in storage before the one call that must not be repeated, so a message delivered
    twice cannot create twice; after an unclear answer LinkedIn is asked several times before trying again.
    """

    def __init__(
        self, linkedin: LinkedIn, tokens: TokenKeeper, clock: Clock, *, link: str, settle_seconds: float, claim: timedelta
    ) -> None:
        """`link` is Campaign Manager's address with `{account}` in it; a new audience rests `settle_seconds`.

        A `claim` has to last longer than the longest call.
        """
        self._linkedin, self._tokens, self._clock = linkedin, tokens, clock
        self._link, self._settle_seconds, self._claim = link, settle_seconds, claim

    def __call__(self, job: Job, progress: Progress, until: datetime) -> Move:  # noqa: ARG002  every step takes these
        """Move to upload with the audience's id."""
        if job.audience_id:
            return self._uploading(job, job.audience_id, made=False)
        if (left := self._others_claim(job)) > 0:
            return Move(job, after=left)
        job = progress(self._claimed(job))
        try:
            return self._found_or_created(job)
        except CreationUnclear:
            progress(replace(job, looks=LOOKS_AFTER_UNCLEAR, cursor=""))
            raise
        except AudienceSyncError:
            progress(replace(job, cursor=""))
            raise

    def _claimed(self, job: Job) -> Job:
        """Return the job claimed by this call; a claim that was never released leaves a create in doubt."""
        looks = job.looks or (LOOKS_AFTER_UNCLEAR if job.cursor else 0)
        return replace(job, looks=looks, cursor=f"claimed {(self._clock.now() + self._claim).isoformat()}")

    def _found_or_created(self, job: Job) -> Move:
        with beside(lambda: self._find(job)) as finding:
            self._check_account(job)
        found = finding.result()
        if found is not None and not found.state.takes_members:
            return Move(replace(job, key_number=job.key_number + 1, cursor="", looks=0))
        if found is not None:
            return self._uploading(job, found.id, made=False)
        if job.looks:
            return Move(replace(job, looks=job.looks - 1, cursor=""), after=PAUSE_AFTER_UNCLEAR)
        return self._create(job)

    def _others_claim(self, job: Job) -> float:
        """Return seconds for which somebody else may still be creating; 0 when nobody is."""
        if not job.cursor.startswith("claimed"):
            return 0.0
        until = datetime.fromisoformat(job.cursor.split()[1])
        return max(0.0, (until - self._clock.now()).total_seconds())

    def _check_account(self, job: Job) -> None:
        account = self._tokens.call(job.signs_in_as, lambda token: self._linkedin.ad_account(token, job.account))
        if account is None or not account.is_usable:
            raise AdAccountNeeded(sentences.ACCOUNT_NOT_USABLE)

    def _find(self, job: Job) -> Audience | None:
        key = foreign_key(job.id, job.key_number)
        return self._tokens.call(job.signs_in_as, lambda token: self._linkedin.find_audience(token, job.account, key))

    def _create(self, job: Job) -> Move:
        key = foreign_key(job.id, job.key_number)
        try:
            made = self._tokens.call(
                job.signs_in_as,
                lambda token: self._linkedin.create_audience(token, job.account, key, job.audience_name),
            )
        except OutcomeUnknown as error:
            raise CreationUnclear(str(error), PAUSE_AFTER_UNCLEAR) from error
        return self._uploading(replace(job, created_at=self._clock.now()), made, made=True)

    def _uploading(self, job: Job, audience_id: str, *, made: bool) -> Move:
        job = replace(job, audience_id=audience_id).moved_to(Step.UPLOAD)
        shown = {Column.AUDIENCE_ID: audience_id, Column.LINK: self._link.format(account=job.account.rpartition(":")[2])}
        return Move(job.showing(shown), after=self._settle_seconds if made else 0.0, quiet=True)
