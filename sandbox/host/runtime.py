"""Microsoft's `azure-functions-runtime`: indexing an app and running its functions, without protobuf.

Its entry for that, `native_invocation`, is not documented, so `check_shape` compares it with what this module was written for.
One app per process: the library keeps what it indexed in its own globals.
"""

import asyncio
import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as library  # type: ignore[import-untyped]
from azure_functions_runtime import native_invocation
from azure_functions_runtime.bindings.datumdef import Datum  # type: ignore[import-untyped]

from sandbox.host.logs import say

PARAMETERS = (
    "invocation_id",
    "function_id",
    "inputs",
    "trigger_metadata",
    "trace_parent",
    "trace_state",
    "retry_count",
    "max_retry_count",
    "retry_exception",
)
"""What `invocation_request_native` takes in azure-functions-runtime 1.3.0."""

TIMED_OUT = 124
"""Exit code after a function ran longer than host.json's functionTimeout; Azure restarts the process then."""


class NotIndexed(RuntimeError):
    """The app has no functions, or the runtime could not index it; the sentence carries the runtime's own words."""


class RuntimeChanged(RuntimeError):
    """The installed azure-functions-runtime is not the one this host was written for."""


@dataclass(frozen=True)
class Function:
    """One function as indexed. `bindings` are as in a function.json file."""

    name: str
    id: str
    bindings: tuple[Mapping[str, Any], ...]

    @property
    def trigger(self) -> Mapping[str, Any]:
        """Return the binding that starts this function."""
        return next(binding for binding in self.bindings if str(binding["type"]).lower().endswith("trigger"))

    @property
    def kind(self) -> str:
        """Return the type of the trigger in lower case, such as `queuetrigger`."""
        return str(self.trigger["type"]).lower()

    def binding(self, name: str) -> Mapping[str, Any]:
        """Return the binding of a parameter, or of `$return`; raises KeyError."""
        for binding in self.bindings:
            if binding["name"] == name:
                return binding
        raise KeyError(name)


@dataclass(frozen=True)
class Outcome:
    """How one invocation ended. `returned` and `outputs` are the library's data values; `error` is empty when it went well."""

    ok: bool
    returned: Any = None
    outputs: Sequence[tuple[str, Any]] = ()
    error: str = ""


@dataclass
class Counts:
    """How often a function was started and how the runs ended, since the host began."""

    running: int = 0
    succeeded: int = 0
    failed: int = 0


def check_shape() -> None:
    """Raise RuntimeChanged when `invocation_request_native` does not take what this module gives."""
    found = tuple(inspect.signature(native_invocation.invocation_request_native).parameters)
    if found != PARAMETERS:
        raise RuntimeChanged(
            f"azure_functions_runtime.native_invocation takes {', '.join(found)} now; this host was written for version 1.3.0. "
            "Install the version that requirements.txt names, or change sandbox/host/runtime.py."
        )


async def index(app: Path) -> list[Function]:
    """Index the app in a folder and return its functions by name; to be called once, from the folder's own process.

    The working directory and `sys.path` become what they are on Azure: the app folder, last. Raises NotIndexed.
    """
    check_shape()
    _enter(app)
    library.start_threadpool_executor()
    start = SimpleNamespace(worker_init_request=SimpleNamespace(capabilities={}, function_app_directory=str(app)))
    answer = await library.worker_init_request(
        SimpleNamespace(request=start, properties={"protos": _PROTOS, "host": "127.0.0.1"})
    )
    if answer.result.status != _PROTOS.StatusResult.Success:
        problem = answer.result.exception
        raise NotIndexed(f"The functions in {app} could not be indexed: {problem.message}\n{problem.stack_trace or ''}".rstrip())
    metadata = await library.functions_metadata_request(None)
    functions = [_function(found) for found in metadata.function_metadata_results or ()]
    if not functions:
        script = app / os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
        why = f"{script.name} declares none" if script.exists() else f"there is no {script.name}"
        raise NotIndexed(f"No functions were found in {app}: {why}.")
    return sorted(functions, key=lambda function: function.name)


def _enter(app: Path) -> None:
    """Arrange the process as Azure does; the project's own root must not hide the folder's packages."""
    os.environ.pop("CONTAINER_NAME", None)  # the runtime would take us for Linux Consumption
    root = Path(__file__).resolve().parents[2]
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in (root, app)] + [str(app)]
    os.chdir(app)


def _function(metadata: Any) -> Function:
    bindings = tuple(json.loads(binding) for binding in metadata.raw_bindings)
    return Function(metadata.name, metadata.function_id, bindings)


@dataclass
class Invoker:
    """Runs functions and keeps count. `timeout` is host.json's functionTimeout in seconds, None for no limit.

    `after_each` is called after every run, on the event loop: a function that ran may have sent a message.
    """

    timeout: float | None = None
    after_each: list[Callable[[], None]] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    _all_done: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._all_done.set()

    async def run(self, function: Function, value: Any, metadata: Mapping[str, Any] | None = None) -> Outcome:
        """Run a function on the value of its trigger and return how it ended; a failure is logged with its traceback."""
        counts = self.counts.setdefault(function.name, Counts())
        counts.running += 1
        self._all_done.clear()
        try:
            outcome = await self._invoke(function, value, metadata or {})
            if outcome.ok:
                counts.succeeded += 1
            else:
                counts.failed += 1
            return outcome
        finally:
            counts.running -= 1
            if not self.running:
                self._all_done.set()
            for call in self.after_each:
                call()

    @property
    def running(self) -> int:
        """Return how many functions run at this moment."""
        return sum(counts.running for counts in self.counts.values())

    async def wait_until_idle(self, seconds: float) -> bool:
        """Wait until nothing runs and tell whether that came true in time."""
        try:
            await asyncio.wait_for(self._all_done.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _invoke(self, function: Function, value: Any, metadata: Mapping[str, Any]) -> Outcome:
        began, invocation = time.perf_counter(), _uuid()
        watchdog = self._watch(function)
        try:
            ok, returned, outputs, error, trace = await native_invocation.invocation_request_native(
                invocation,
                function.id,
                [(function.trigger["name"], value)],
                dict(metadata),
                trace_parent=f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01",
            )
        finally:
            if watchdog:
                watchdog.cancel()
        if not ok:
            milliseconds = round((time.perf_counter() - began) * 1000)
            say("Error", f"Function {function.name} failed: {error}", invocation=invocation, ms=milliseconds, traceback=trace)
        return Outcome(ok, returned, outputs, error or "")

    def _watch(self, function: Function) -> asyncio.TimerHandle | None:
        if self.timeout is None:
            return None
        return asyncio.get_running_loop().call_later(self.timeout, _time_out, function, self.timeout)


def _time_out(function: Function, seconds: float) -> None:
    """End the process: a thread cannot be stopped, and Azure does the same."""
    say("Critical", f"Function {function.name} ran longer than {seconds:g} seconds (functionTimeout), so the host ends.")
    os._exit(TIMED_OUT)


def stop() -> None:
    """Let the library end its threads; functions that still run keep theirs until the process ends."""
    executor = library.get_threadpool_executor()
    if executor is not None:
        executor.shutdown(wait=False, cancel_futures=True)


def text(value: str) -> Any:
    """Return a text as the library wants it."""
    return Datum(value, "string")


def raw(value: bytes) -> Any:
    """Return bytes as the library wants them."""
    return Datum(value, "bytes")


def as_json(value: Any) -> Any:
    """Return a value of JSON as the library wants it."""
    return Datum(json.dumps(value), "json")


def http_request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    params: Mapping[str, str],
    query: Mapping[str, str],
    body: bytes,
) -> Any:
    """Return an HTTP request as the library wants it; `params` are the values of the route."""
    return Datum(
        {
            "method": text(method),
            "url": text(url),
            "headers": {name: text(value) for name, value in headers.items()},
            "params": {name: text(value) for name, value in params.items()},
            "query": {name: text(value) for name, value in query.items()},
            "body": raw(body),
        },
        "http",
    )


def _uuid() -> str:
    digits = os.urandom(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _stand_in(name: str, **numbers: int) -> type:
    """Return a message class that keeps what it is given and answers None for the rest, in place of protobuf's."""

    def fill(self: Any, **fields: Any) -> None:
        self.__dict__.update(fields)

    return type(name, (), {"__init__": fill, "__getattr__": lambda _self, _name: None, **numbers})


_PROTOS = SimpleNamespace(
    StatusResult=_stand_in("StatusResult", Failure=0, Success=1),
    BindingInfo=_stand_in("BindingInfo", undefined=0, out=1, inout=2),
    **{
        name: _stand_in(name)
        for name in (
            "RpcException",
            "WorkerMetadata",
            "RpcRetryOptions",
            "RpcFunctionMetadata",
            "WorkerInitResponse",
            "FunctionMetadataResponse",
        )
    },
)
