"""Queue triggers: receive, run, delete; hide again or set aside what failed.

The rules are those of Functions' queue extension: `batchSize` messages at a time, the next batch once no more than
`newBatchThreshold` are left; a received message is hidden for a lease that is renewed at half time; what fails is hidden for
`visibilityTimeout` and comes again, until `maxDequeueCount` tries are used up and it moves, untouched, to `<queue>-poison`.
Polling slows down while nothing comes, and starts anew after any function has run.
"""

import asyncio
import base64
import binascii
import json
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from sandbox.host.faults import AFTER_RUN, ON_ARRIVAL, Fault, Plan
from sandbox.host.logs import say
from sandbox.host.queue_service import Message, QueueService, ServiceRefused, Unreachable
from sandbox.host.runtime import Function, Invoker, Outcome, as_json, raw, text
from sandbox.host.settings import QueueRules, connection_string, resolve

_TRIES = 4
_PAUSE = 0.25
_PATIENCE = 2.0


@dataclass(frozen=True)
class Pace:
    """Seconds: how long a received message is hidden (whole ones), and the shortest and longest pause between empty polls."""

    lease: int = 600
    shortest_poll: float = 0.05
    longest_poll: float = 0.5


class Accounts:
    """The storage accounts that bindings name, connected once each."""

    def __init__(self) -> None:
        self._services: dict[str, QueueService] = {}

    def of(self, binding: Mapping[str, Any]) -> QueueService:
        """Return the queues of the account that a binding names; raises BadSettings."""
        connection = connection_string(str(binding.get("connection") or "AzureWebJobsStorage"))
        if connection not in self._services:
            self._services[connection] = QueueService.connect(connection)
        return self._services[connection]

    async def close(self) -> None:
        """Close all connections."""
        for service in self._services.values():
            await service.close()


class QueueListener:
    """Runs one function for each message of its queue until it is told to stop."""

    def __init__(
        self, function: Function, *, rules: QueueRules, pace: Pace, invoker: Invoker, accounts: Accounts, plan: Plan
    ) -> None:
        self.function, self.rules, self.invoker, self.plan = function, rules, invoker, plan
        longest = min(pace.longest_poll, rules.max_polling_interval)
        self.pace = replace(pace, longest_poll=max(longest, pace.shortest_poll))
        self.queue = resolve(str(function.trigger["queueName"])).lower()
        self.service = accounts.of(function.trigger)
        self.outputs = Outputs(function, rules, accounts)
        self._busy = 0
        self._room = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._receiving: asyncio.Task[None] | None = None
        self._stopping = False
        invoker.after_each.append(self._news.set)

    async def start(self) -> None:
        """Create the queue when it is missing, and begin to receive; without storage, keep trying."""
        reachable = await self._create()
        self._receiving = asyncio.create_task(self._receive(reachable=reachable))

    async def _create(self) -> bool:
        try:
            await self.service.create(self.queue)
        except (ServiceRefused, *Unreachable) as error:
            self._complain(error)
            return False
        return True

    def _complain(self, error: BaseException) -> None:
        say("Warning", f"The queue {self.queue} cannot be reached; trying again.", reason=str(error) or type(error).__name__)

    async def stop(self) -> None:
        """Receive no more; messages that run go on, and what a request under way still brings is shown again at once."""
        self._stopping = True
        self._news.set()
        self._room.set()
        if self._receiving:
            done, _ = await asyncio.wait((self._receiving,), timeout=_PATIENCE)
            if not done:
                self._receiving.cancel()

    async def finish(self, seconds: float) -> None:
        """Wait until every message received has been dealt with, but not longer than this; what is not goes on."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _receive(self, *, reachable: bool) -> None:
        pause = self.pace.shortest_poll
        while not self._stopping:
            messages: list[Message] = []
            try:
                if not reachable:
                    await self.service.create(self.queue)
                messages = await self.service.receive(self.queue, self.rules.batch_size, self.pace.lease)
                reachable = True
            except (ServiceRefused, *Unreachable) as error:
                if reachable:
                    self._complain(error)
                reachable = False
            for message in messages:
                self._begin(self._show_again(message) if self._stopping else self._deal_with(message))
            if messages:
                pause = self.pace.shortest_poll
                await self._until_there_is_room()
            else:
                pause = await self._rest(pause)

    async def _rest(self, pause: float) -> float:
        """Pause after an empty poll, no longer than until a function has run, and return the next pause."""
        await asyncio.sleep(self.pace.shortest_poll)
        rest = pause - self.pace.shortest_poll
        if rest > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), rest)
        if self._news.is_set():
            self._news.clear()
            return self.pace.shortest_poll
        return min(pause * 1.5, self.pace.longest_poll)

    async def _until_there_is_room(self) -> None:
        while self._busy > self.rules.new_batch_threshold and not self._stopping:
            self._room.clear()
            await self._room.wait()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._busy += 1  # at once, not when the task gets its turn: the next batch depends on it
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._busy -= 1
        self._room.set()
        if not task.cancelled() and (error := task.exception()):
            say("Error", f"A message of {self.queue} was left alone and will come again.", reason=repr(error))

    async def _deal_with(self, message: Message) -> None:
        fault = self.plan.strike(ON_ARRIVAL, self.queue)
        self._tell(fault, message)
        async with _Lease(self, message) as lease:
            if fault and fault.kind == "deliver-late":
                await self._let_others_pass(fault.seconds)
            await self._run(message, lease, fault)

    async def _let_others_pass(self, seconds: float) -> None:
        self._busy -= 1
        self._room.set()
        await asyncio.sleep(seconds)
        self._busy += 1

    async def _show_again(self, message: Message) -> None:
        await self._persist(lambda: self.service.hide(self.queue, message, 0))

    async def _run(self, message: Message, lease: "_Lease", fault: Fault | None) -> None:
        if message.dequeue_count > self.rules.max_dequeue_count:
            await lease.end()
            await self._set_aside(message)
            return
        if fault and fault.kind == "deliver-twice":
            self._begin(self._run_again(message, fault.seconds))
        outcome = await self._invoke(message)
        await lease.end()
        if outcome.ok:
            await self._delete_unless_faulty(message)
        elif message.dequeue_count >= self.rules.max_dequeue_count:
            await self._set_aside(message)
        else:
            await self._persist(lambda: self.service.hide(self.queue, message, round(self.rules.visibility_timeout)))

    async def _invoke(self, message: Message) -> Outcome:
        try:
            body = _decode(message.body, self.rules.message_encoding)
        except ValueError:
            say("Error", f"A message of {self.queue} is not {self.rules.message_encoding}.", id=message.id)
            return Outcome(ok=False)
        outcome = await self.invoker.run(self.function, body, _metadata(message))
        if outcome.ok:
            await self.outputs.send(outcome)
        return outcome

    async def _run_again(self, message: Message, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._invoke(replace(message, dequeue_count=message.dequeue_count + 1))

    async def _delete_unless_faulty(self, message: Message) -> None:
        fault = self.plan.strike(AFTER_RUN, self.queue)
        self._tell(fault, message)
        if fault is None:
            await self._persist(lambda: self.service.delete(self.queue, message))

    async def _set_aside(self, message: Message) -> None:
        say("Warning", f"A message of {self.queue} moves to {self.queue}-poison.", id=message.id, tries=message.dequeue_count)
        if await self._persist(lambda: self.service.put(f"{self.queue}-poison", message.body)):
            await self._persist(lambda: self.service.delete(self.queue, message))

    async def _persist(self, send: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Send a request that may be repeated, and tell whether it was done; what is not done, the lease's end does."""
        reason = ""
        for attempt in range(_TRIES):
            try:
                await send()
            except ServiceRefused as refused:
                say("Warning", f"A message of {self.queue} belongs to somebody else by now.", reason=str(refused))
                return False
            except Unreachable as error:
                reason = repr(error)
                await asyncio.sleep(_PAUSE * 2**attempt)
            else:
                return True
        say("Warning", f"The queue {self.queue} does not answer; a message of it will come again.", reason=reason)
        return False

    def _tell(self, fault: Fault | None, message: Message) -> None:
        if fault is None:
            return
        say("Information", f"Planned fault {fault.kind} on {self.queue}.", id=message.id)
        if fault.kind.startswith("die-"):
            os.kill(os.getpid(), signal.SIGKILL)


class _Lease:
    """Keeps a message hidden while its function runs; `end` must come before anything else is done with the message."""

    def __init__(self, listener: QueueListener, message: Message) -> None:
        self.listener, self.message = listener, message
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def end(self) -> None:
        """Renew no more; a renewal under way is waited for, because it changes the receipt."""
        self._ended.set()
        await self._renewing

    async def _renew(self) -> None:
        lease, queue = self.listener.pace.lease, self.listener.queue
        pause = lease / 2
        while not self._ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), pause)
            if self._ended.is_set():
                return
            try:
                await self.listener.service.hide(queue, self.message, lease)
                pause = lease / 2
            except ServiceRefused as refused:
                say("Warning", f"The lease of a message of {queue} is lost; it may run twice.", reason=str(refused))
                return
            except Unreachable:
                pause = lease / 8


class Outputs:
    """Sends what a function gave to its queue output bindings, after it returned and in no order, as Functions does."""

    def __init__(self, function: Function, rules: QueueRules, accounts: Accounts) -> None:
        self._encoding = rules.message_encoding
        self._bindings = {
            str(binding["name"]): (accounts.of(binding), resolve(str(binding["queueName"])).lower())
            for binding in function.bindings
            if str(binding["type"]).lower() == "queue"
        }

    async def send(self, outcome: Outcome) -> None:
        """Send the messages of one run."""
        for name, datum in (*outcome.outputs, ("$return", outcome.returned)):
            if name in self._bindings and datum is not None:
                service, queue = self._bindings[name]
                for body in _bodies(datum):
                    await service.put(queue, base64.b64encode(body).decode() if self._encoding == "base64" else body.decode())


def _bodies(datum: Any) -> list[bytes]:
    value = datum.value
    if datum.type == "json":
        value = json.loads(value)
    values = value if isinstance(value, list) else [value]
    return [
        one if isinstance(one, bytes) else one.encode() if isinstance(one, str) else json.dumps(one).encode() for one in values
    ]


def _decode(body: str, encoding: str) -> Any:
    """Return the message as the library wants it; raises ValueError when it is in another encoding."""
    if encoding == "none":
        return text(body)
    try:
        content = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    try:
        return text(content.decode())
    except UnicodeDecodeError:
        return raw(content)


def _metadata(message: Message) -> dict[str, Any]:
    values = {
        "Id": message.id,
        "DequeueCount": message.dequeue_count,
        "PopReceipt": message.pop_receipt,
        "InsertionTime": _iso(message.inserted),
        "ExpirationTime": _iso(message.expires),
        "NextVisibleTime": _iso(message.next_visible),
    }
    return {name: as_json(value) for name, value in values.items()}


def _iso(moment: datetime) -> str:
    return moment.isoformat()
