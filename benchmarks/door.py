"""The door, measured: how fast the webhook accepts, how long the app takes to import, how soon a person sees something.

`python -m benchmarks.door` is the callers' process: fifty callers, each of whom sends an event, waits for the answer, and sends
the next one at once. Address, secret and seconds come as JSON on standard input, the result goes to standard output.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from statistics import median
from typing import Any
from uuid import uuid4

from benchmarks.jobs import TINY, follow, fresh_world, prepare
from sandbox.world import ROOT, World

CALLERS, SECONDS, WARM_UP = 50, 10.0, 2.0
IMPORTS = 9
# On Flex Consumption, functions with HTTP triggers have instances of their own (Learn: Flex Consumption plan, per-function
# scaling), so the host that is called leaves the queue to others.
_HTTP_ONLY = {"AzureWebJobs.job_steps.Disabled": "true", "AzureWebJobs.job_steps_poison.Disabled": "true"}
_TIME_IMPORT = "import time; t = time.perf_counter(); import function_app; print(time.perf_counter() - t)"


def measure() -> dict[str, Any]:
    """Return the figures of the door."""
    with fresh_world(_HTTP_ONLY) as world:
        accepted = accept(world)
    with fresh_world() as world:
        first = [_first_progress(world) for _ in range(2)]
    return {
        **accepted,
        **import_times(),
        "first_progress_seconds": first[0],
        "first_progress_warm_seconds": first[1],
    }


def accept(world: World, callers: int = CALLERS, seconds: float = SECONDS) -> dict[str, Any]:
    """Let callers in a process of their own call the webhook and return how soon they were answered."""
    order = {"port": world.host_port, "secret": world.webhook_secret, "callers": callers, "seconds": seconds}
    before = world.host.cpu_seconds()
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.door"], input=json.dumps(order), text=True, capture_output=True, check=True, cwd=ROOT
    )
    found: dict[str, Any] = json.loads(told.stdout)
    if set(found["statuses"]) != {"202"}:
        raise RuntimeError(f"The webhook answered {found['statuses']}.")
    found["accept_cpu_ms"] = round((world.host.cpu_seconds() - before) * 1000 / found["all_calls"], 3)
    return found


def import_times(times: int = IMPORTS) -> dict[str, Any]:
    """Return how long `import function_app` takes in fresh interpreters: the median and the best."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _TIME_IMPORT]
    seconds = [float(subprocess.check_output(command, text=True, cwd=ROOT, env=environment)) for _ in range(times)]  # noqa: S603
    return {"import_seconds": round(median(seconds), 3), "import_best_seconds": round(min(seconds), 3)}


def _first_progress(world: World) -> float:
    run, made = prepare(world, TINY, "list")
    return float(follow(world, run, made)["first_progress_seconds"])


# ------------------------------------------------------------------ the callers' process


async def call_for(port: int, secret: str, callers: int, seconds: float) -> dict[str, Any]:
    """Call until the time is up; the first two seconds are not counted."""
    began = time.perf_counter()
    waits: list[float] = []
    statuses: Counter[int] = Counter()

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (sent := time.perf_counter()) - began < WARM_UP + seconds:
            writer.write(_request(secret))
            statuses[await _status(reader)] += 1
            if sent - began >= WARM_UP:
                waits.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*(caller() for _ in range(callers)))
    waits.sort()
    return {
        "accept_p50_ms": round(1000 * median(waits), 1),
        "accept_p99_ms": round(1000 * waits[len(waits) * 99 // 100], 1),
        "accept_longest_ms": round(1000 * waits[-1], 1),
        "accepted_per_second": round(len(waits) / seconds),
        "all_calls": sum(statuses.values()),
        "statuses": {str(status): count for status, count in statuses.items()},
    }


def _request(secret: str) -> bytes:
    """Return an event about a row that nobody has, unlike every other event."""
    row = str(uuid4())
    body = json.dumps(
        {
            "MessageName": "Create",
            "PrimaryEntityName": "lima_audience",
            "PrimaryEntityId": row,
            "OperationId": str(uuid4()),
            "CorrelationId": str(uuid4()),
            "InitiatingUserId": str(uuid4()),
            "Depth": 1,
            "InputParameters": [{"key": "Target", "value": {"Id": row, "LogicalName": "lima_audience", "Attributes": []}}],
        }
    ).encode()
    lines = (
        "POST /api/dataverse/events HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"x-lima-key: {secret}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = head.partition("content-length:")[2].partition("\r\n")[0]
    if int(length or 0):
        await reader.readexactly(int(length))
    return int(head.split()[1])


if __name__ == "__main__":
    asked = json.loads(sys.stdin.read())
    print(json.dumps(asyncio.run(call_for(asked["port"], asked["secret"], asked["callers"], asked["seconds"]))))
