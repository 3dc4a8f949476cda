"""The storage account: whether it answers, and whether anything is stuck in it."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from shared.storage.connection import Connection
from shared.storage.jobs import TableJobs
from shared.storage.queue import QUEUE
from solution.check import Finding

_LAG = timedelta(minutes=10)
_OVERDUE = timedelta(minutes=30)


def look(env: Mapping[str, str], now: datetime) -> Iterator[Finding]:
    """Look at jobs and queues; nothing is taken from them."""
    storage = Connection.from_env(env)
    try:
        overdue = TableJobs(storage).overdue(now - _OVERDUE)
        yield _jobs([job_id for job_id, _ in overdue])
        yield _steps(storage, now)
        yield _poison(storage)
    finally:
        storage.close()


def _jobs(overdue: list[str]) -> Finding:
    if overdue:
        names = ", ".join(overdue[:5])
        fix = "Look whether the timer wake_jobs runs, and at the log of these rows."
        return Finding("wrong", "jobs", f"{len(overdue)} jobs wait since more than half an hour: {names}.", fix)
    return Finding("fine", "jobs", "The storage account answers, and no job waits longer than it should.")


def _steps(storage: Connection, now: datetime) -> Finding:
    """Tell how long the oldest visible message waits; when it waits long, nobody takes them."""
    waiting, oldest = storage.queue(QUEUE).waiting()
    if oldest is not None and now - oldest > _LAG:
        minutes = (now - oldest).total_seconds() / 60
        fix = "Look whether the function job_steps runs; a message in the wrong encoding is never taken."
        return Finding("wrong", "queue", f"About {waiting} messages, the oldest visible since {minutes:.0f} minutes.", fix)
    return Finding("fine", "queue", f"About {waiting} messages, none of them left waiting.")


def _poison(storage: Connection) -> Finding:
    waiting, _ = storage.queue(f"{QUEUE}-poison").waiting()
    if waiting:
        fix = "Look for the log lines with the action message-poisoned; the rows say Failed and can be retried."
        return Finding("wrong", "poison queue", f"About {waiting} messages could not be handled.", fix)
    return Finding("fine", "poison queue", "It is empty.")
