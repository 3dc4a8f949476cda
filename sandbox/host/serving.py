"""The running host: every function of an app joined to its trigger, from the ready line to the orderly end."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from sandbox.host.faults import Plan
from sandbox.host.http_server import HttpServer, Route
from sandbox.host.logs import say
from sandbox.host.queues import Accounts, Outputs, Pace, QueueListener
from sandbox.host.runtime import Function, Invoker, stop
from sandbox.host.settings import HostFile, is_disabled
from sandbox.host.timers import Timer


class Host:
    """An indexed app with its triggers. Construction opens nothing; it raises BadSettings when a binding names no setting."""

    def __init__(
        self,
        name: str,
        functions: Sequence[Function],
        host_file: HostFile,
        plan: Plan,
        *,
        pace: Pace,
        key: str | None = None,
        cors: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.functions = [function for function in functions if not is_disabled(function.name)]
        self.invoker = Invoker(host_file.function_timeout)
        self.accounts = Accounts()
        rules = host_file.queues
        self.listeners = [
            QueueListener(function, rules=rules, pace=pace, invoker=self.invoker, accounts=self.accounts, plan=plan)
            for function in self._of_kind("queuetrigger")
        ]
        self.timers = [Timer(function, self.invoker) for function in self._of_kind("timertrigger")]
        routes = [
            Route.of(function, host_file.route_prefix, Outputs(function, rules, self.accounts))
            for function in self._of_kind("httptrigger")
        ]
        self.http = HttpServer(name, self.functions, routes, self.invoker, plan, key=key, cors=cors)
        for function in self.functions:
            if function.kind not in ("queuetrigger", "timertrigger", "httptrigger"):
                say(
                    "Warning", f"{function.name} has a {function.trigger['type']}, which this host does not serve; it never runs."
                )

    def _of_kind(self, kind: str) -> list[Function]:
        return [function for function in self.functions if function.kind == kind]

    def _waiting(self) -> Iterator[QueueListener | Timer]:
        yield from self.listeners
        yield from self.timers

    async def serve(self, port: int, grace: float) -> None:
        """Print the ready line and serve until SIGTERM or SIGINT; then give what runs `grace` seconds to finish."""
        asked_to_end = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
                asyncio.get_running_loop().add_signal_handler(number, asked_to_end.set)
        url = await self.http.start(port)
        for trigger in self._waiting():
            await trigger.start()
        print(json.dumps({"ready": self.name, "url": url, "functions": [f.name for f in self.functions]}), flush=True)
        await asked_to_end.wait()
        await self._end(time.monotonic() + grace)

    async def _end(self, until: float) -> None:
        """Take nothing new, wait for what runs, and tell what had to be left."""
        for trigger in self._waiting():
            await trigger.stop()
        left = max(until - time.monotonic(), 0.1)
        await asyncio.gather(self.http.stop(left), *(listener.finish(left) for listener in self.listeners))
        if not await self.invoker.wait_until_idle(max(until - time.monotonic(), 0.1)):
            say("Warning", f"The host ends while {self.invoker.running} functions run; their messages come again.")
        await self.accounts.close()
        stop()
