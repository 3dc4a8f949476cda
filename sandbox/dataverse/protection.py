"""Service protection: the three limits with their codes, growing Retry-After, and the headers that go with them.

Off until a test switches it on; the window, the limits and how they are counted follow DV docs, api-limits.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox.dataverse import errors
from sandbox.web import Clock

TOO_MANY, TOO_LONG, TOO_PARALLEL = "0x80072322", "0x80072321", "0x80072326"
MESSAGES = {
    TOO_MANY: "Number of requests exceeded the limit of {limit} over time window of {window} seconds.",
    TOO_LONG: (
        "Combined execution time of incoming requests exceeded limit of {limit} milliseconds over time window of {window} "
        "seconds. Decrease number of concurrent requests or reduce the duration of requests and try again later."
    ),
    TOO_PARALLEL: "Number of concurrent requests exceeded the limit of {limit}.",
}
NAMES = {"requests": TOO_MANY, "time": TOO_LONG, "concurrency": TOO_PARALLEL}


@dataclass
class Limits:
    """What one user may do in the window; None is without limit."""

    requests: int | None = None
    milliseconds: float | None = None
    concurrency: int | None = None
    window: float = 300.0


class Protection:
    """Counts what each user does and refuses what is too much."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.limits = Limits()
        self.planned: list[tuple[str, float]] = []
        """Refusals to come regardless of counting: code and Retry-After in seconds."""
        self._done: dict[str, deque[tuple[float, float]]] = {}
        self._running: dict[str, int] = {}
        self._pushed: dict[str, int] = {}

    @contextmanager
    def counted(self, user_id: str) -> Iterator[dict[str, str]]:
        """Let one request of a user run, or raise the 429; gives the headers of its answer."""
        with self._lock:
            headers = self._admit(user_id)
            self._running[user_id] = self._running.get(user_id, 0) + 1
        began = self._clock.time()
        try:
            yield headers
        finally:
            with self._lock:
                self._running[user_id] -= 1
                self._done.setdefault(user_id, deque()).append((began, (self._clock.time() - began) * 1000))

    def _admit(self, user_id: str) -> dict[str, str]:
        if self.planned:
            code, seconds = self.planned.pop(0)
            raise self._refusal(code, seconds)
        now = self._clock.time()
        done = self._done.setdefault(user_id, deque())
        while done and done[0][0] <= now - self.limits.window:
            done.popleft()
        limits, spent = self.limits, sum(milliseconds for _, milliseconds in done) if self.limits.milliseconds else 0.0
        if limits.concurrency is not None and self._running.get(user_id, 0) >= limits.concurrency:
            raise self._refused(user_id, TOO_PARALLEL, 1.0)
        if limits.requests is not None and len(done) >= limits.requests:
            raise self._refused(user_id, TOO_MANY, done[0][0] + limits.window - now)
        if limits.milliseconds is not None and spent >= limits.milliseconds:
            raise self._refused(user_id, TOO_LONG, done[0][0] + limits.window - now)
        self._pushed[user_id] = 0
        left = 6000 if limits.requests is None else limits.requests - len(done) - 1
        time_left = 1_200_000.0 if limits.milliseconds is None else limits.milliseconds - spent
        return {
            "x-ms-ratelimit-burst-remaining-xrm-requests": str(left),
            "x-ms-ratelimit-time-remaining-xrm-requests": f"{time_left:,.2f}",
        }

    def _refused(self, user_id: str, code: str, seconds: float) -> errors.ServiceError:
        """Return the 429; who keeps pushing is told to wait longer each time."""
        pushed = self._pushed[user_id] = self._pushed.get(user_id, 0) + 1
        return self._refusal(code, max(1.0, seconds) + (pushed - 1))

    def _refusal(self, code: str, seconds: float) -> errors.ServiceError:
        limits = self.limits
        limit = {
            TOO_MANY: limits.requests or 6000,
            TOO_LONG: limits.milliseconds or 1_200_000,
            TOO_PARALLEL: limits.concurrency or 52,
        }
        message = MESSAGES[code].format(limit=limit[code], window=int(limits.window))
        return errors.ServiceError(429, code, message, {"Retry-After": str(int(-(-seconds // 1)))})
