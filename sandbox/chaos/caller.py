"""A caller of the webhook in a process of its own: `python -m sandbox.chaos.caller --port P --rate 500 --seconds 20`.

It calls at fixed moments whether or not earlier answers have come, as the platform does, and counts an answer's time from
the moment at which the call was due, so that a slow receiver cannot hide behind a caller that waits for it. The secret and
the environment's id come on standard input, the result goes to standard output as one JSON line. Loopback only.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

MOST_RATE, MOST_SECONDS, MOST_CONNECTIONS = 1_000, 60, 256
PATH = "/api/dataverse/events"
HEADER = "x-lima-key"
TABLE = "lima_audience"
PATIENCE = 60.0


@dataclass
class Tally:
    """What came back: seconds from due to answered for each call, and how often which status (0: no answer)."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    most_waiting: int = 0

    def to_json(self, took: float) -> dict[str, Any]:
        """Return plain values; times in milliseconds."""
        ordered = sorted(self.seconds)
        return {
            "calls": sum(self.statuses.values()),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "seconds": round(took, 2),
            "most_waiting": self.most_waiting,
            **{f"p{share}": round(1000 * percentile(ordered, share), 1) for share in (50, 90, 99, 100)},
        }


def percentile(ordered: list[float], share: float) -> float:
    """Return the value that `share` per cent of the sorted values do not exceed.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.0
    """
    return ordered[max(0, -(-len(ordered) * share // 100).__int__() - 1)] if ordered else 0.0


def notifications(organization: str) -> Iterator[bytes]:
    """Yield bodies of events about rows that nobody has, each an event of its own, as the platform writes them."""
    while True:
        row, operation = str(uuid4()), str(uuid4())
        body = {
            "BusinessUnitId": str(uuid4()),
            "CorrelationId": str(uuid4()),
            "Depth": 1,
            "InitiatingUserId": str(uuid4()),
            "InputParameters": [{"key": "Target", "value": {"Id": row, "LogicalName": TABLE, "Attributes": []}}],
            "MessageName": "Create",
            "Mode": 1,
            "OperationCreatedOn": f"/Date({int(time.time() * 1000)}+0000)/",
            "OperationId": operation,
            "OrganizationId": organization,
            "PrimaryEntityId": row,
            "PrimaryEntityName": TABLE,
            "RequestId": str(uuid4()),
            "Stage": 40,
            "UserId": str(uuid4()),
        }
        yield json.dumps(body, separators=(",", ":")).encode()


class Caller:
    """Keeps connections open and lends them to calls; opens another when all are lent."""

    def __init__(self, port: int, secret: str, bodies: Iterator[bytes]) -> None:
        self._port, self._secret, self._bodies = port, secret, bodies
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)
        self._waiting = 0
        self.tally = Tally()

    async def call(self, due: float) -> None:
        """Send one event and count its answer."""
        self._waiting += 1
        self.tally.most_waiting = max(self.tally.most_waiting, self._waiting)
        async with self._room:
            status = await self._sent(next(self._bodies))
        self._waiting -= 1
        self.tally.statuses[status] += 1
        self.tally.seconds.append(time.perf_counter() - due)

    async def _sent(self, body: bytes) -> int:
        try:
            reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(self._head(len(body)) + body)
            async with asyncio.timeout(PATIENCE):
                status = await _read_answer(reader)
        except (OSError, EOFError, TimeoutError):
            return 0
        self._free.append((reader, writer))
        return status

    def _head(self, length: int) -> bytes:
        lines = (
            f"POST {PATH} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Content-Type: application/json",
            f"Content-Length: {length}",
            f"{HEADER}: {self._secret}",
            "x-ms-dynamics-organization: 127.0.0.1",
            "",
            "",
        )
        return "\r\n".join(lines).encode()

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._free:
            writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    length = next((int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length:")), 0)
    if length:
        await reader.readexactly(length)
    return int(lines[0].split()[1])


async def burst(port: int, secret: str, organization: str, rate: float, seconds: float) -> dict[str, Any]:
    """Call `rate` times a second for so many seconds and return what came back."""
    caller = Caller(port, secret, notifications(organization))
    began = time.perf_counter()
    calls = []
    for number in range(round(rate * seconds)):
        due = began + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        calls.append(asyncio.create_task(caller.call(due)))
    await asyncio.gather(*calls)
    caller.close()
    return caller.tally.to_json(time.perf_counter() - began)


def main() -> None:
    """Call as the command line says, within bounds."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.chaos.caller", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=500.0, help=f"calls a second, at most {MOST_RATE}")
    parser.add_argument("--seconds", type=float, default=20.0, help=f"at most {MOST_SECONDS}")
    options = parser.parse_args()
    given = json.loads(sys.stdin.readline())
    rate, seconds = min(options.rate, MOST_RATE), min(options.seconds, MOST_SECONDS)
    print(json.dumps(asyncio.run(burst(options.port, given["secret"], given["organization"], rate, seconds))), flush=True)


if __name__ == "__main__":
    main()
