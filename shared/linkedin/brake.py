"""The brake: spreads calls so that LinkedIn's limit per minute is not reached, however many threads send.

LinkedIn allows 500 calls a minute and member to `/dmpSegments/{id}/users` (Learn: Create and manage segment users).
Each process brakes for itself; should several together be too fast, LinkedIn's 429 is waited out by the pipeline.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bucket:
    """How many calls may begin at once. `level` falls below zero by the calls that are already waiting."""

    per_minute: int
    level: float
    at: float

    @classmethod
    def full(cls, per_minute: int, now: float) -> "Bucket":
        """Return a bucket that nobody has drawn from.

        It holds a tenth of a minute's calls, so that no minute sees more than a tenth over `per_minute`.
        """
        return cls(per_minute, _capacity(per_minute), now)

    def drawn(self, now: float) -> tuple["Bucket", float]:
        """Return the bucket after one more call and the seconds which that call has to wait.

        >>> Bucket(60, 1.0, 0.0).drawn(0.0)[1], Bucket(60, 0.0, 0.0).drawn(0.0)[1]
        (0.0, 1.0)
        """
        passed = max(0.0, now - self.at)
        level = min(_capacity(self.per_minute), self.level + passed * self.per_minute / 60) - 1
        return Bucket(self.per_minute, level, max(now, self.at)), max(0.0, -level * 60 / self.per_minute)


def _capacity(per_minute: int) -> float:
    return max(1.0, per_minute / 10)


class Brake:
    """Shared by the threads of a process; each asks before a call."""

    def __init__(
        self,
        per_minute: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Let `per_minute` calls through. `clock` tells seconds that only grow."""
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._bucket = Bucket.full(per_minute, clock())

    def wait(self) -> None:
        """Return when the next call may begin: at once, unless calls come faster than they may."""
        with self._lock:
            self._bucket, seconds = self._bucket.drawn(self._clock())
        if seconds > 0:
            self._sleep(seconds)
