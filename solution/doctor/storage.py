"""The storage account: whether it answers, and whether anything is stuck in it."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from shared.errors import ConfigurationWrong, RemoteUnavailable
from shared.settings import Settings
from shared.storage.address import SETTING
from shared.storage.connection import Connection
from shared.storage.jobs import TableJobs
from shared.storage.queue import QUEUE
from solution.check import Finding

_LAG = timedelta(minutes=10)
_GRACE = timedelta(minutes=15)  # for the timer that wakes overdue jobs, and for what it wakes
_NAMED = 5


class OutOfReach(Exception):  # noqa: N818 - not an error: the app reaches what this machine does not
    """Only the app's own identity opens the storage account, and it is not to be had here."""


def look(
    connection: Connection, env: Mapping[str, str], settings: Settings, now: Callable[[], datetime], patience: float
) -> Iterator[Finding]:
    """Look at jobs and queues; nothing is taken from them. A message that seems left is given `patience` seconds.

    Raises OutOfReach where the account takes only the app's identity and this machine does not have it.
    """
    late = timedelta(seconds=settings.overdue_seconds) + _GRACE
    try:
        overdue = TableJobs(connection).overdue(now() - late)
    except (RemoteUnavailable, ConfigurationWrong) as error:
        if env.get(SETTING):
            raise
        raise OutOfReach(
            "It takes only the app's managed identity, which this machine does not have. "
            "Jobs, queues and sign-ins were not looked at."
        ) from error
    yield _jobs([job_id for job_id, _ in overdue], late)
    yield _steps(connection, now, patience)
    yield _poison(connection)


def _jobs(overdue: list[str], late: timedelta) -> Finding:
    if overdue:
        names = ", ".join(overdue[:_NAMED]) + (" and others" if len(overdue) > _NAMED else "")
        fix = "Look whether the timer wake_jobs runs, and at the log of these rows."
        minutes = late.total_seconds() / 60
        return Finding(
            "wrong", "jobs", f"{len(overdue)} jobs should have gone on more than {minutes:.0f} minutes ago: {names}.", fix
        )
    return Finding("fine", "jobs", "The storage account answers, and no job waits longer than it should.")


def _steps(connection: Connection, now: Callable[[], datetime], patience: float) -> Finding:
    """Tell whether nobody takes messages.

    A message that was to wait for hours is that old when it becomes visible, so only one that stays counts.
    """
    waiting, oldest = connection.queue(QUEUE).waiting()
    until = time.monotonic() + patience
    seen = oldest
    while oldest is not None and oldest == seen and now() - oldest > _LAG and time.monotonic() < until:
        time.sleep(min(1.0, patience))
        waiting, oldest = connection.queue(QUEUE).waiting()
    if oldest is not None and oldest == seen and now() - oldest > _LAG:
        minutes = (now() - oldest).total_seconds() / 60
        fix = "Look whether the function job_steps runs; a message in the wrong encoding is never taken."
        return Finding(
            "wrong", "queue", f"Nobody takes the oldest of about {waiting} messages, put {minutes:.0f} minutes ago.", fix
        )
    return Finding("fine", "queue", f"About {waiting} messages, none of them left waiting.")


def _poison(connection: Connection) -> Finding:
    waiting, _ = connection.queue(f"{QUEUE}-poison").waiting()
    if waiting:
        fix = "Look for the log lines with the action message-poisoned; the rows say Failed and can be retried."
        return Finding("wrong", "poison queue", f"About {waiting} messages could not be handled.", fix)
    return Finding("fine", "poison queue", "It is empty.")
