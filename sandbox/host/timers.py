"""Timer triggers: each function runs at the moments of its schedule, one run after the other, never two at once."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sandbox.host.runtime import Function, Invoker, as_json
from sandbox.host.schedule import BadSchedule, Schedule
from sandbox.host.settings import BadSettings, resolve


class Timer:
    """Runs one function on its schedule. The moments are UTC; a run that takes longer than the pause leaves moments out."""

    def __init__(self, function: Function, invoker: Invoker, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.function, self.invoker, self.now = function, invoker, now
        written = resolve(str(function.trigger["schedule"]))
        try:
            self.schedule = Schedule.parse(written)
        except BadSchedule as error:
            raise BadSettings(f"The timer {function.name} cannot run. {error}") from error
        self._last = self.now()
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to run at the schedule's moments, and at once when the binding says runOnStartup."""
        self._ticking = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Begin no more runs; one under way goes on."""
        if self._ticking:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking

    async def run(self) -> None:
        """Run the function now."""
        await self.invoker.run(self.function, timer_value(self._last, self.schedule.next_after(self.now())))
        self._last = self.now()

    async def _tick(self) -> None:
        if self.function.trigger.get("runOnStartup"):
            await self._run_to_its_end()
        while (due := self.schedule.next_after(self.now())) is not None:
            while (left := (due - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - no event tells that time has passed
                await asyncio.sleep(min(left, 60.0))  # the clock may be set meanwhile
            await self._run_to_its_end()

    async def _run_to_its_end(self) -> None:
        await asyncio.shield(asyncio.ensure_future(self.run()))


def timer_value(last: datetime, following: datetime | None) -> Any:
    """Return the value of a timer trigger as the library wants it; never past due."""
    moments = {"Last": last.isoformat(), "Next": following.isoformat() if following else None, "LastUpdated": last.isoformat()}
    return as_json({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": moments, "IsPastDue": False})
