"""What a command on the row does to its job: pure decisions, no sending."""

from dataclasses import replace
from datetime import datetime

from shared.dataverse.schema import Audience as Column
from shared.dataverse.schema import Command, Origin, Status
from shared.domain.audiences import Request
from shared.domain.jobs import Job, Step, Tallies
from shared.domain.segments import SegmentRef
from shared.pipeline import sentences

_CREATING = frozenset({Step.CREATE, Step.UPLOAD, Step.CONFIRM, Step.WATCH})
_TALLY_COLUMNS = (
    Column.MEMBERS,
    Column.NO_EMAIL,
    Column.INVALID,
    Column.DUPLICATE,
    Column.OPTED_OUT,
    Column.INACTIVE,
    Column.ELIGIBLE,
)
_RESULT_COLUMNS = (Column.SENT, Column.REFUSED, Column.MATCHED, Column.SIZE, Column.MATCH_RATE, Column.FINISHED)


def command_id(request: Request) -> str:
    """Return what tells this command from the one before: its own id, else the row's version."""
    return request.command_id or request.etag


def take(job: Job, request: Request, now: datetime) -> Job:
    """Return the job after the row's command; the same job when there is nothing new to do."""
    if request.command is None:
        return job
    job = replace(
        job,
        command_id=command_id(request),
        account=request.ad_account or job.account,
        audience_name=request.name,
        small_confirmed=request.small_confirmed,
        signs_in_as=request.signs_in_as,
    )
    match request.command:
        case Command.CHECK:
            return job if job.step in _CREATING else started(job, request, now)
        case Command.CREATE:
            return _create(job, request, now)
        case Command.CANCEL:
            return _cancel(job, now)
        case Command.RETRY:
            return _retry(job, request, now)
    return job


def started(job: Job, request: Request, now: datetime) -> Job:
    """Return the job at the beginning of a fresh reading of the segment."""
    fresh = Job(
        id=job.id,
        correlation=job.correlation,
        created=job.created,
        fence=job.fence,
        round=job.round + 1,
        command_id=job.command_id,
        asked_for=SegmentRef(request.segment_table.strip().lower(), request.segment_id.strip().strip("{}").lower()),
        automatic=request.command == Command.CREATE and request.origin != Origin.PERSON,
        create_asked=request.command == Command.CREATE,
        small_confirmed=request.small_confirmed,
        account=request.ad_account,
        audience_name=request.name,
        signs_in_as=request.signs_in_as,
        key_number=job.key_number,
        tallies=Tallies(),
    )
    return fresh.showing(
        {
            Column.STATUS: Status.CHECKING,
            Column.MESSAGE: sentences.CHECKING,
            Column.PROGRESS: 0,
            Column.CORRELATION: job.correlation,
            Column.STARTED: now,
            **dict.fromkeys(_TALLY_COLUMNS + _RESULT_COLUMNS),
        }
    )


def _create(job: Job, request: Request, now: datetime) -> Job:
    if job.step in _CREATING:
        return job
    if job.step is Step.WAIT:
        # Shown at once, so that nobody sees a taken command beside "Ready to create"; wait corrects it if something is missing.
        asked = replace(job, create_asked=True, automatic=False, attempts=0)
        return asked.showing({Column.STATUS: Status.UPLOADING, Column.MESSAGE: sentences.UPLOADING})
    if job.step is Step.DONE or job.round == 0:
        return started(job, request, now)
    return replace(job, create_asked=True)


def _cancel(job: Job, now: datetime) -> Job:
    if job.step in {Step.DONE, Step.WATCH}:
        return job
    sentence = sentences.CANCELLED if job.audience_id else sentences.CANCELLED_BEFORE_SENDING
    cancelled = job.ended(now)
    return replace(cancelled, failed_at=None).showing(
        {Column.STATUS: Status.CANCELLED, Column.MESSAGE: sentence, Column.FINISHED: now}, result=True
    )


def _retry(job: Job, request: Request, now: datetime) -> Job:
    """Go on where a failed job stopped, when its member list is still there; otherwise begin anew."""
    if job.step is not Step.DONE and job.round:
        return replace(job, attempts=0)
    if job.failed_at in _CREATING and job.parts and job.tallies.eligible:
        again = replace(
            job,
            step=Step.WAIT,
            create_asked=True,
            automatic=False,
            small_confirmed=True,
            attempts=0,
            looks=0,
            finished=None,
            failed_at=None,
        )
        return again.showing({Column.STATUS: Status.UPLOADING, Column.MESSAGE: sentences.UPLOADING, Column.FINISHED: None})
    return replace(started(job, request, now), automatic=False)
