"""Steps confirm and watch: ask LinkedIn until the audience is usable or has failed, and once a day afterwards."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.dataverse.schema import Audience as Column
from shared.dataverse.schema import Status
from shared.domain.audiences import Audience, State
from shared.domain.jobs import Job, Step
from shared.domain.waiting import next_look
from shared.errors import AdAccountNeeded, AudienceGone, SignInNeeded, TryAgainLater, UnexpectedAnswer
from shared.logs import get_logger
from shared.pipeline import sentences
from shared.pipeline.moves import Move, Progress
from shared.pipeline.tokens import TokenKeeper
from shared.ports import Clock, LinkedIn

logger = get_logger(__name__)

A_DAY = 24 * 3600.0
WATCHED = timedelta(days=100)  # LinkedIn drops an unused audience after 90


class Confirm:
    """Looks at the audience with growing pauses. Only reads at LinkedIn, so it may be repeated."""

    def __init__(
        self, linkedin: LinkedIn, tokens: TokenKeeper, clock: Clock, *, first: float, longest: float, patience: timedelta
    ) -> None:
        """Pause `first` seconds after the upload, then half as long again each time up to `longest`."""
        self._linkedin, self._tokens, self._clock = linkedin, tokens, clock
        self._first, self._longest, self._patience = first, longest, patience

    def __call__(self, job: Job, progress: Progress, until: datetime) -> Move:  # noqa: ARG002  every step takes these
        """End as Ready (and go on watching), come back later, or raise what LinkedIn made of the audience."""
        if job.step is Step.WATCH:
            return self._watch(job)
        if job.looks == 0:
            return Move(replace(job, looks=1), after=self._first)
        return self._judge(job, self._look(job))

    def _watch(self, job: Job) -> Move:
        """Look once a day; an audience that is ready stays so when nobody is signed in, or LinkedIn does not answer."""
        try:
            return self._judge(job, self._look(job))
        except (SignInNeeded, AdAccountNeeded, TryAgainLater):
            return Move(job, after=A_DAY)

    def _judge(self, job: Job, audience: Audience | None) -> Move:
        if audience is None:
            return self._unknown(job)
        if audience.state in {State.READY, State.UPDATING}:
            return self._ready(job, audience)
        if audience.state is State.ARCHIVED:
            return self._over(job, audience, Status.ARCHIVED, sentences.ARCHIVED)
        if audience.state is State.EXPIRED:
            return self._over(job, audience, Status.EXPIRED, sentences.EXPIRED)
        if audience.state in {State.FAILED, State.ERROR}:
            raise AudienceGone(sentences.LINKEDIN_FAILED.format(state=audience.state))
        return self._still_building(job, audience)

    def _look(self, job: Job) -> Audience | None:
        return self._tokens.call(job.signs_in_as, lambda token: self._linkedin.read_audience(token, job.audience_id))

    def _unknown(self, job: Job) -> Move:
        if job.upload_finished and self._clock.now() - job.upload_finished < timedelta(minutes=10):
            raise TryAgainLater("LinkedIn does not know the new audience yet.", 10.0)
        raise AudienceGone(sentences.AUDIENCE_DELETED)

    def _ready(self, job: Job, audience: Audience) -> Move:
        now = self._clock.now()
        news = any(job.shown.get(str(name)) != value for name, value in _figures(audience).items())
        if news:
            _log(job, audience)
        finished = job.finished or now
        shown = {
            Column.STATUS: Status.READY,
            Column.MESSAGE: sentences.READY,
            Column.PROGRESS: 100,
            Column.FINISHED: finished,
            **_figures(audience),
        }
        watched = replace(job, finished=finished)
        if job.step is Step.CONFIRM or news:
            watched = watched.showing(shown, result=True)
        if now - finished > WATCHED:
            return Move(watched.ended(now), after=None)
        return Move(watched.moved_to(Step.WATCH), after=A_DAY)

    def _still_building(self, job: Job, audience: Audience) -> Move:
        waited = self._clock.now() - (job.upload_finished or job.created)
        if job.step is Step.WATCH:
            return Move(job, after=A_DAY)
        if waited > self._patience:
            raise UnexpectedAnswer(sentences.STILL_BUILDING.format(hours=self._patience.total_seconds() / 3600))
        again = replace(job, looks=job.looks + 1)
        if changed := {name: value for name, value in _figures(audience).items() if job.shown.get(str(name)) != value}:
            again = again.showing(changed)
        return Move(again, after=next_look(job.looks, self._first, self._longest))

    def _over(self, job: Job, audience: Audience, status: Status, sentence: str) -> Move:
        now = self._clock.now()
        shown = {Column.STATUS: status, Column.MESSAGE: sentence, **_figures(audience)}
        ended = job.ended(now).without_audience() if status is Status.EXPIRED else job.ended(now)
        return Move(ended.showing(shown, result=True), after=None)


def _log(job: Job, audience: Audience) -> None:
    logger.info(
        "LinkedIn has measured the audience",
        extra={
            "action": "audience-measured",
            "job": job.id,
            "state": audience.state,
            "sent": job.sent,
            "matched": audience.matched,
            "size": audience.size,
            "match_rate": audience.match_rate,
        },
    )


def _figures(audience: Audience) -> dict[str, Any]:
    """Return the columns for what LinkedIn counts; LinkedIn names nothing while it builds."""
    figures = {
        Column.AD_SEGMENT: audience.ad_segment,
        Column.MATCHED: audience.matched,
        Column.SIZE: audience.size,
        Column.MATCH_RATE: audience.match_rate,
    }
    return {name: value for name, value in figures.items() if value is not None}
