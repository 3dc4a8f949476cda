"""Gates: every request of the function app to storage, Dataverse and LinkedIn passes one, where it can be struck exactly.

A gate hands bytes on and counts requests that have an effect. At a planned count it strikes: it cuts the connection, or
kills the function app, either before the request is passed on (nothing was done) or when the answer comes (it was done,
and nobody heard). That way the app dies between any two outside effects. TLS is passed on unread.
"""

import asyncio
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

_CHUNK = 65_536
_CHANGES_STORAGE = re.compile(rb"(PUT|POST|DELETE|MERGE|PATCH) ")
_TLS_HANDSHAKE = b"\x16"


@dataclass
class Blow:
    """One planned strike. `kind`: kill-before, kill-after, drop-before, drop-after; `after` requests of a service pass first."""

    kind: str
    service: str
    after: int
    struck: bool = False


@dataclass
class Gates:
    """All gates of one world, on an event loop in a thread of their own. `kill` ends the function app at once."""

    kill: Callable[[], None]
    blows: list[Blow] = field(default_factory=list)
    passed: dict[str, int] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    _servers: list[asyncio.Server] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever, name="gates", daemon=True)
        self._thread.start()

    def open(self, name: str, service: str, target: int) -> int:
        """Open a gate before a port on loopback and return its own port."""
        self.passed.setdefault(service, 0)
        self.ports[name] = self._call(self._listen(service, target))
        return self.ports[name]

    def plan(self, blow: Blow) -> None:
        """Strike after `blow.after` further requests of its service."""
        blow.after += self.passed.get(blow.service, 0)
        self.blows.append(blow)

    def close(self) -> None:
        """End all gates and every passage through them."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        passages = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in passages:
            task.cancel()
        await asyncio.gather(*passages, return_exceptions=True)

    def _call(self, work: Any) -> Any:
        outcome: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return outcome.result(10)

    async def _listen(self, service: str, target: int) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _Passage(self, service, reader, writer).open(target)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def strike(self, service: str) -> Blow | None:
        """Count a request and return the blow that hits it, or None."""
        self.passed[service] += 1
        hit = next((b for b in self.blows if b.service == service and not b.struck and self.passed[service] > b.after), None)
        if hit:
            hit.struck = True
        return hit


class _Passage:
    """One connection of the app through a gate."""

    def __init__(self, gates: Gates, service: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gates, self._service, self._reader, self._writer = gates, service, reader, writer
        self._waits = False  # a request is under way whose answer has not begun
        self._hit: Blow | None = None

    async def open(self, target: int) -> None:
        """Pass everything on until one side closes or a blow strikes."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            self._writer.close()
            return
        passing = [asyncio.create_task(self._requests(writer)), asyncio.create_task(self._answers(reader))]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in passing:
                task.cancel()
            for one in (self._writer, writer):
                one.close()
            await asyncio.gather(*passing, return_exceptions=True)

    async def _requests(self, writer: asyncio.StreamWriter) -> None:
        while data := await self._reader.read(_CHUNK):
            if not self._waits and self._has_effect(data):
                self._hit = self._gates.strike(self._service)
                if self._hit and self._hit.kind.endswith("-before"):
                    self._do(self._hit)
                    return
            self._waits = True
            writer.write(data)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            self._waits = False
            if self._hit:
                self._do(self._hit)
                return
            self._writer.write(data)
            await self._writer.drain()

    def _has_effect(self, data: bytes) -> bool:
        if self._service == "storage":
            return _CHANGES_STORAGE.match(data) is not None
        return not data.startswith(_TLS_HANDSHAKE)

    def _do(self, blow: Blow) -> None:
        if blow.kind.startswith("kill"):
            self._gates.kill()
