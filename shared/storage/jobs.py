"""Jobs in a table: one row each, changed only by whoever knows its newest version; fulfils `ports.Jobs`."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from shared.domain.jobs import Job, Step
from shared.storage.connection import Connection

TABLE = "limajobs"
PARTITION = "job"
_PIECE = 16_000  # a text property holds 32,768 UTF-16 units, and a character takes at most two


class TableJobs:
    """The engine's memory. The job itself is JSON; the columns beside it are what is searched for."""

    def __init__(self, connection: Connection, *, table: str = TABLE) -> None:
        self._connection, self._name = connection, table

    @property
    def _table(self) -> Any:
        return self._connection.table(self._name)

    def load(self, job_id: str) -> tuple[Job, str] | None:
        """Return a job and its version; None when there is none."""
        found = self._table.get(PARTITION, job_id)
        return None if found is None else (_job(found[0]), found[1])

    def create(self, job: Job) -> bool:
        """Remember a new job; False when it is there already."""
        return bool(self._table.insert(_row(job)))

    def save(self, job: Job, etag: str) -> str:
        """Remember the job if it is still at that version and return the new one, else SomebodyElseChangedIt."""
        return str(self._table.replace(_row(job), etag))

    def forget(self, job_id: str) -> None:
        """Delete a job; one that is gone already is fine."""
        self._table.delete(PARTITION, job_id)

    def overdue(self, now: datetime) -> list[tuple[str, int]]:
        """Return (id, fence) of jobs whose `due` has passed."""
        rows = self._table.select("due le @now", {"now": now}, ["fence"])
        return [(row["RowKey"], row["fence"]) for row in rows]

    def waiting_for_sign_in(self, user_id: str) -> list[str]:
        """Return ids of jobs that wait for a person and would use this user's sign-in."""
        return self._ids("waits eq true and user eq @user", {"user": user_id})

    def finished_before(self, moment: datetime) -> list[str]:
        """Return ids of jobs that ended before a moment, for clearing up."""
        return self._ids("step eq @done and finished lt @moment", {"done": str(Step.DONE), "moment": moment})

    def _ids(self, query: str, parameters: dict[str, Any]) -> list[str]:
        return [row["RowKey"] for row in self._table.select(query, parameters, ())]


def _row(job: Job) -> dict[str, Any]:
    columns = {
        "step": str(job.step),
        "fence": job.fence,
        "user": job.signs_in_as,
        "waits": job.due is None and job.step is not Step.DONE,
        "due": job.due,
        "finished": job.finished,
    }
    known = {name: value for name, value in columns.items() if value is not None}
    pieces = {f"job{number}": piece for number, piece in enumerate(_pieces(json.dumps(job.to_dict(), ensure_ascii=False)))}
    return {"PartitionKey": PARTITION, "RowKey": job.id, **known, **pieces}


def _job(row: Any) -> Job:
    pieces: list[str] = []
    while (piece := row.get(f"job{len(pieces)}")) is not None:
        pieces.append(piece)
    return Job.from_dict(json.loads("".join(pieces)))


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
