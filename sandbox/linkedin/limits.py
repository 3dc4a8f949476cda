"""Rate limits: calls a minute to the member batches, and calls a day to each resource, for the app and for each member."""

from collections import Counter
from datetime import UTC, datetime

from sandbox.linkedin.errors import throttled

USERS = "dmpSegments/users"


class Limits:
    """Counts calls and refuses those beyond a limit. Quotas are unknown outside LinkedIn, so none is set at first."""

    def __init__(self) -> None:
        self.users_per_minute = 500
        self.quotas: dict[str, dict[str, int]] = {}
        self._day = ""
        self._days: Counter[tuple[str, str]] = Counter()
        self._minute = -1
        self._minutes: Counter[str] = Counter()

    def count(self, resource: str, person: str, now: float) -> None:
        """Count one call of a person at `now` (seconds since 1970); raises the 429 when it is one too many."""
        self._count_day(resource, person, now)
        if resource == USERS:
            self._count_minute(person, now)

    def set_quota(self, resource: str, app: int | None = None, member: int | None = None) -> None:
        """Limit the calls of a UTC day to a resource such as `dmpSegments/users`; None means no limit."""
        limits = {"app": app, "member": member}
        self.quotas[resource] = {of: limit for of, limit in limits.items() if limit is not None}

    def _count_day(self, resource: str, person: str, now: float) -> None:
        day = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
        if day != self._day:
            self._day = day
            self._days.clear()
        for of, who in (("app", ""), ("member", person)):
            self._days[resource, who] += 1
            if self._days[resource, who] > self.quotas.get(resource, {}).get(of, self._days[resource, who]):
                raise throttled()

    def _count_minute(self, person: str, now: float) -> None:
        if now // 60 != self._minute:
            self._minute = int(now // 60)
            self._minutes.clear()
        self._minutes[person] += 1
        if self._minutes[person] > self.users_per_minute:
            raise throttled()
