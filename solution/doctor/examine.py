"""The order in which the doctor looks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import requests

from shared.errors import AudienceSyncError, ConfigurationWrong
from shared.http import HttpClient, new_session
from shared.settings import Settings
from shared.storage.connection import Connection
from shared.storage.signins import TableSignIns
from solution.check import Finding
from solution.doctor import app, dataverse, linkedin, signins, storage
from solution.doctor.round_trip import round_trip
from solution.web import InstallError, Web

_RUNBOOK = "docs/operations.md explains the sentence."


@dataclass(frozen=True)
class Senses:
    """What the doctor looks with: sessions to send through, a clock, and how many seconds it waits for what moves."""

    session: Callable[[], requests.Session] = new_session
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    row_seconds: float = 120.0
    message_seconds: float = 20.0


def examine(web: Web, env: Mapping[str, str], senses: Senses | None = None) -> Iterator[Finding]:
    """Give the findings one by one; `env` holds the app's settings. The only trace is a test row, which is deleted again.

    Without usable settings there is one finding that says what is missing, and the test row still travels.
    """
    senses = senses or Senses()
    try:
        settings = Settings.from_env(env)
    except ConfigurationWrong as error:
        fix = "Put the app's settings into the environment, or name a file that holds them with --settings; then run it again."
        yield Finding("wrong", "settings", str(error), fix)
    else:
        yield Finding("fine", "settings", "Every setting can be used.")
        yield from _outside(settings, env, web, senses)
    yield from round_trip(web, senses.row_seconds)


def _outside(settings: Settings, env: Mapping[str, str], web: Web, senses: Senses) -> Iterator[Finding]:
    function_app = HttpClient(settings.public_url, name="The function app", session=senses.session())
    environment = HttpClient(settings.dataverse_url, name="Dataverse", session=senses.session())
    yield from app.look(function_app, settings.webhook_secret, senses.now)
    yield from _looked("clock", app.compare_clock(environment, senses.now))
    yield from _looked("Dataverse", dataverse.look(settings, environment, web, senses.session()))
    oauth = HttpClient(settings.linkedin_oauth_url, name="LinkedIn's sign-in", session=senses.session())
    yield from _looked("LinkedIn", linkedin.look(settings, oauth, senses.now()))
    yield from _looked("storage", _stored(settings, env, senses))


def _stored(settings: Settings, env: Mapping[str, str], senses: Senses) -> Iterator[Finding]:
    with closing(Connection.from_env(env)) as connection:
        yield from storage.look(connection, env, settings, senses.now, senses.message_seconds)
        sign_ins = TableSignIns(connection, settings.signin_keys)
        yield from _looked("sign-ins", signins.look(settings, sign_ins, senses.session, senses.now()))


def _looked(part: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Give findings as long as they come; what keeps a part from being looked at is a finding too."""
    try:
        yield from findings
    except storage.OutOfReach as note:
        yield Finding("note", part, str(note))
    except (AudienceSyncError, InstallError) as error:
        yield Finding("wrong", part, str(error), _RUNBOOK)
