"""The order in which the doctor looks, and where the app's settings come from."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import requests

from shared.errors import AudienceSyncError, ConfigurationWrong
from shared.http import HttpClient, new_session
from shared.settings import Settings
from solution.check import Finding
from solution.doctor import app, linkedin, storage
from solution.doctor.round_trip import round_trip
from solution.web import Web


def read_settings(file: Path | None = None) -> dict[str, str]:
    """Return the function app's settings: the environment, and over it the Values of a settings file."""
    values = dict(os.environ)
    if file is not None:
        values |= {name: str(value) for name, value in json.loads(file.read_text(encoding="utf-8"))["Values"].items()}
    return values


def examine(
    web: Web, env: Mapping[str, str], *, session: Callable[[], requests.Session] = new_session, patience: float = 120.0
) -> Iterator[Finding]:
    """Give the findings one by one; the test row may take `patience` seconds to come back.

    Without usable settings there is one finding that says what is missing, and the test row still travels.
    """
    try:
        settings = Settings.from_env(env)
    except ConfigurationWrong as error:
        yield Finding("wrong", "settings", str(error), "Give the doctor the app's settings, then run it again.")
    else:
        yield Finding("fine", "settings", "Every setting can be used.")
        yield from _outside(settings, env, session)
    yield from round_trip(web, patience)


def _outside(settings: Settings, env: Mapping[str, str], session: Callable[[], requests.Session]) -> Iterator[Finding]:
    now = datetime.now(UTC)
    function_app = HttpClient(settings.public_url, name="The function app", session=session())
    dataverse = HttpClient(settings.dataverse_url, name="Dataverse", session=session())
    yield from _looked("function app", app.look(function_app, now))
    yield from _looked("clock", app.compare_clock(dataverse, now))
    yield from _looked("LinkedIn", linkedin.look(settings, env, session(), now))
    yield from _looked("storage", storage.look(env, now))


def _looked(part: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Give findings as long as they come; what keeps a part from being looked at is a finding too."""
    try:
        yield from findings
    except AudienceSyncError as error:
        yield Finding("wrong", part, str(error), "See docs/operations.md for this sentence.")
