"""The composition root: settings become adapters, adapters become the pipeline.

This module loads everything the product is made of, so it is imported on first use only (`product.py`).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.dataverse.auth import token_source
from shared.dataverse.client import DataverseClient
from shared.dataverse.members import DataverseMembers
from shared.dataverse.records import DataverseRecords
from shared.domain.jobs import Step
from shared.domain.parts import Exclusions
from shared.http import HttpClient
from shared.linkedin.client import LinkedInClient
from shared.linkedin.oauth import LinkedInOAuth
from shared.logs import get_logger
from shared.pipeline.check import Check
from shared.pipeline.collect import Collect
from shared.pipeline.confirm import Confirm
from shared.pipeline.create import Create
from shared.pipeline.door import Door
from shared.pipeline.going_live import GoingLive
from shared.pipeline.moves import Steps
from shared.pipeline.plan import Plan
from shared.pipeline.runner import Runner
from shared.pipeline.signin_desk import SignInDesk
from shared.pipeline.stretch import Desk, Pace
from shared.pipeline.tokens import TokenKeeper
from shared.pipeline.upkeep import Upkeep
from shared.pipeline.upload import Upload
from shared.pipeline.wait import Wait
from shared.ports import Message
from shared.settings import Settings
from shared.storage.connection import Connection
from shared.storage.doorbells import TableDoorbells
from shared.storage.files import BlobFiles
from shared.storage.jobs import TableJobs
from shared.storage.queue import StepQueue
from shared.storage.signins import TableSignIns
from shared.storage.tickets import TableTickets

logger = get_logger(__name__)


class SystemClock:
    """The machine's time in UTC, and its dice."""

    def now(self) -> datetime:
        """Return the present moment."""
        return datetime.now(UTC)

    def dice(self) -> float:
        """Return a number from 0 up to 1; it only spreads callers, so it need not be secret."""
        return random.random()  # noqa: S311 # nosec B311 # spreads callers, guards nothing


@dataclass(frozen=True)
class Product:
    """Everything the entry points use."""

    settings: Settings
    clock: SystemClock
    door: Door
    runner: Runner
    going_live: GoingLive
    sign_in_desk: SignInDesk
    upkeep: Upkeep

    def handle(self, message: Message) -> None:
        """Hand a message of the queue to whoever does its kind of work."""
        match message.kind:
            case "audience":
                self.runner.handle(message)
            case "signin":
                self.sign_in_desk.handle(message)
            case "live":
                self.going_live.handle(message)
            case _:
                logger.error("Dropped a message of an unknown kind", extra={"action": "message-unknown", "kind": message.kind})


def build(env: Mapping[str, str]) -> Product:
    """Return a product made from these settings. Raises ConfigurationWrong, naming all that is missing or wrong."""
    settings = Settings.from_env(env)
    clock = SystemClock()

    storage = Connection.from_env(env)
    jobs, queue, files = TableJobs(storage), StepQueue(storage), BlobFiles(storage)
    doorbells, tickets = TableDoorbells(storage), TableTickets(storage)
    sign_ins = TableSignIns(storage, settings.signin_keys)

    dataverse = DataverseClient(
        HttpClient(settings.dataverse_url, name="Dataverse"), token_source(settings), parallel=settings.dataverse_parallel
    )
    records = DataverseRecords(dataverse, live_statuses=settings.live_statuses)
    members = DataverseMembers(dataverse, settings)

    linkedin = LinkedInClient(
        HttpClient(settings.linkedin_api_url, name="LinkedIn"),
        version=settings.linkedin_version,
        source_platform=settings.linkedin_source_platform,
        calls_per_minute=settings.linkedin_calls_per_minute,
    )
    oauth = LinkedInOAuth(
        HttpClient(settings.linkedin_oauth_url, name="LinkedIn's sign-in"),
        client_id=settings.linkedin_client_id,
        client_secret=settings.linkedin_client_secret,
    )
    tokens = TokenKeeper(sign_ins, oauth, clock)

    confirm = Confirm(
        linkedin,
        tokens,
        clock,
        first=settings.confirm_first_seconds,
        longest=settings.confirm_longest_seconds,
        patience=timedelta(hours=settings.confirm_patience_hours),
    )
    exclusions = Exclusions(
        inactive=settings.exclude_inactive,
        donotemail=settings.exclude_do_not_email,
        donotbulkemail=settings.exclude_do_not_bulk_email,
    )
    steps: Steps = {
        Step.CHECK: Check(members, snapshots_allowed=settings.allow_snapshots),
        Step.COLLECT: Collect(members, files, clock, exclusions=exclusions, part_members=settings.part_members),
        Step.PLAN: Plan(files, records, left_out_limit=settings.left_out_limit),
        Step.WAIT: Wait(tokens),
        Step.CREATE: Create(
            linkedin,
            tokens,
            clock,
            link=f"{settings.campaign_manager_url}/{{account}}{settings.campaign_manager_suffix}",
            settle_seconds=settings.new_audience_seconds,
            claim=timedelta(seconds=settings.create_claim_seconds),
        ),
        Step.UPLOAD: Upload(
            linkedin,
            files,
            tokens,
            clock,
            batch_size=settings.linkedin_batch_size,
            parallel=settings.linkedin_parallel,
            patience=timedelta(seconds=settings.new_audience_patience_seconds),
        ),
        Step.CONFIRM: confirm,
        Step.WATCH: confirm,
    }
    pace = Pace(step=timedelta(seconds=settings.step_seconds), progress=timedelta(seconds=settings.progress_seconds))
    runner = Runner(Desk(jobs, records, queue, clock, pace), files, steps)
    sign_in_desk = SignInDesk(
        records=records,
        sign_ins=sign_ins,
        tickets=tickets,
        oauth=oauth,
        linkedin=linkedin,
        tokens=tokens,
        jobs=jobs,
        runner=runner,
        queue=queue,
        clock=clock,
        public_url=settings.public_url,
    )
    secrets = tuple(filter(None, (settings.webhook_secret, settings.webhook_secret_previous)))
    return Product(
        settings=settings,
        clock=clock,
        door=Door(doorbells, queue, clock, secrets, settings.dataverse_organization_id),
        runner=runner,
        going_live=GoingLive(records, queue, clock),
        sign_in_desk=sign_in_desk,
        upkeep=Upkeep(
            jobs=jobs,
            queue=queue,
            records=records,
            files=files,
            doorbells=doorbells,
            tickets=tickets,
            sign_ins=sign_ins,
            desk=sign_in_desk,
            runner=runner,
            clock=clock,
            overdue_after=timedelta(seconds=settings.overdue_seconds),
            retention=timedelta(days=settings.retention_days),
            left_out_kept=timedelta(days=settings.left_out_days),
        ),
    )
