"""The pipeline's ports in memory: real behaviour without services, for trying steps out one by one and for tests."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain.jobs import Job, Step
from shared.domain.signins import SignIn
from shared.errors import SomebodyElseChangedIt
from shared.ports import Message, Ticket


class MemoryClock:
    """A clock that stands still until it is moved; its dice always show the same."""

    def __init__(self, now: datetime = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)) -> None:
        self._now = now

    def now(self) -> datetime:
        """Return the moment it stands at."""
        return self._now

    def dice(self) -> float:
        """Return the middle."""
        return 0.5

    def advance(self, seconds: float) -> None:
        """Move on."""
        self._now += timedelta(seconds=seconds)


class MemoryJobs:
    """Jobs with versions; every save is conditional."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[dict[str, Any], str]] = {}
        self._numbers = itertools.count(1)
        self.saves = 0

    def load(self, job_id: str) -> tuple[Job, str] | None:
        """Return a job and its version."""
        found = self.rows.get(job_id)
        return (Job.from_dict(found[0]), found[1]) if found else None

    def create(self, job: Job) -> bool:
        """Remember a new job; False when it is there."""
        if job.id in self.rows:
            return False
        self.rows[job.id] = (job.to_dict(), str(next(self._numbers)))
        return True

    def save(self, job: Job, etag: str) -> str:
        """Remember the job if nobody else did."""
        if job.id not in self.rows or self.rows[job.id][1] != etag:
            raise SomebodyElseChangedIt(f"The job {job.id} was changed by somebody else.")
        self.saves += 1
        self.rows[job.id] = (job.to_dict(), str(next(self._numbers)))
        return self.rows[job.id][1]

    def forget(self, job_id: str) -> None:
        """Delete a job."""
        self.rows.pop(job_id, None)

    def overdue(self, now: datetime) -> list[tuple[str, int]]:
        """Return (id, fence) of jobs whose due time has passed."""
        return [(job.id, job.fence) for job in self._all() if job.due is not None and job.due <= now]

    def waiting_for_sign_in(self, user_id: str) -> list[str]:
        """Return jobs that wait for a person and would use this user's sign-in."""
        return [job.id for job in self._all() if job.step is Step.WAIT and job.due is None and job.signs_in_as == user_id]

    def finished_before(self, moment: datetime) -> list[str]:
        """Return jobs that ended before a moment."""
        return [job.id for job in self._all() if job.step is Step.DONE and job.finished and job.finished < moment]

    def _all(self) -> list[Job]:
        return [Job.from_dict(stored) for stored, _ in self.rows.values()]


@dataclass
class MemoryQueue:
    """Messages with the moment they become visible."""

    clock: MemoryClock
    sent: list[tuple[datetime, Message]] = field(default_factory=list)

    def send(self, message: Message, *, delay_seconds: float = 0.0) -> None:
        """Put a message on the queue."""
        self.sent.append((self.clock.now() + timedelta(seconds=delay_seconds), message))

    def take(self) -> Message | None:
        """Return the next message and move the clock to its moment; None when the queue is empty."""
        if not self.sent:
            return None
        self.sent.sort(key=lambda entry: entry[0])
        due, message = self.sent.pop(0)
        if due > self.clock.now():
            self.clock.advance((due - self.clock.now()).total_seconds())
        return message


@dataclass(frozen=True)
class MemoryReader:
    """Reads a stored file piece by piece."""

    content: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.content)

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`."""
        return self.content[offset : offset + size]


class MemoryFiles:
    """Files by path."""

    def __init__(self, clock: MemoryClock) -> None:
        self.stored: dict[str, tuple[bytes, datetime]] = {}
        self._clock = clock

    def write(self, path: str, content: bytes | Iterable[bytes]) -> int:
        """Store a file."""
        whole = content if isinstance(content, bytes) else b"".join(content)
        self.stored[path] = (whole, self._clock.now())
        return len(whole)

    def open(self, path: str) -> MemoryReader:
        """Return a reader; FileNotFoundError when there is none."""
        if path not in self.stored:
            raise FileNotFoundError(path)
        return MemoryReader(self.stored[path][0])

    def delete_all(self, prefix: str) -> int:
        """Delete every file whose path begins so."""
        doomed = [path for path in self.stored if path.startswith(prefix)]
        for path in doomed:
            del self.stored[path]
        return len(doomed)

    def older_than(self, moment: datetime) -> Iterator[str]:
        """Return paths of files last written before a moment."""
        return iter([path for path, (_, written) in self.stored.items() if written < moment])


class MemoryDoorbells:
    """Events that were taken."""

    def __init__(self) -> None:
        self.taken: dict[str, datetime] = {}

    def take(self, event_key: str, now: datetime) -> bool:
        """Note an event; False when it was noted before."""
        if event_key in self.taken:
            return False
        self.taken[event_key] = now
        return True

    def release(self, event_key: str) -> None:
        """Un-note an event."""
        self.taken.pop(event_key, None)

    def clear_before(self, moment: datetime) -> int:
        """Forget old events."""
        doomed = [key for key, noted in self.taken.items() if noted < moment]
        for key in doomed:
            del self.taken[key]
        return len(doomed)


class MemorySignIns:
    """Sign-ins in clear, which only memory may hold."""

    def __init__(self, known: Mapping[str, SignIn] | None = None) -> None:
        self.known = dict(known or {})

    def load(self, user_id: str) -> SignIn | None:
        """Return a user's sign-in."""
        return self.known.get(user_id)

    def save(self, sign_in: SignIn) -> None:
        """Remember a sign-in."""
        self.known[sign_in.user_id] = sign_in

    def delete(self, user_id: str) -> bool:
        """Delete a sign-in."""
        return self.known.pop(user_id, None) is not None

    def expiring_before(self, moment: datetime) -> list[str]:
        """Return users whose sign-in ends for good before a moment."""
        return [user for user, sign_in in self.known.items() if sign_in.usable_until() < moment]


class MemoryTickets:
    """One-time sign-in tickets."""

    def __init__(self) -> None:
        self.issued: dict[str, Ticket] = {}

    def issue(self, ticket_id: str, ticket: Ticket) -> None:
        """Remember a ticket."""
        self.issued[ticket_id] = ticket

    def look_at(self, ticket_id: str) -> Ticket | None:
        """Return an unused ticket."""
        return self.issued.get(ticket_id)

    def use_up(self, ticket_id: str) -> Ticket | None:
        """Return a ticket once."""
        return self.issued.pop(ticket_id, None)

    def clear_before(self, moment: datetime) -> int:
        """Forget expired tickets."""
        doomed = [key for key, ticket in self.issued.items() if ticket.expires < moment]
        for key in doomed:
            del self.issued[key]
        return len(doomed)
