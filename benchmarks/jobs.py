"""Whole jobs, measured: from the row to an audience that LinkedIn builds, through the simulators and Azurite.

Each job has a world of its own, so that memory and processor time are those of one fresh app. The members are of the realistic
mix. Time runs from the row's creation until the row says that LinkedIn builds the audience; what LinkedIn
does then is not ours.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchmarks.results import NEW_AUDIENCE_SECONDS, Latency
from sandbox.processes import Child
from sandbox.run import Order, Outcome, Run
from sandbox.world import Options, World

TINY = 1_000
TIMES = 3
BUILDING = 727000006
PATIENCE = 1_200.0
MIX = {
    "without_email": 0.03,
    "invalid": 0.02,
    "duplicates": 0.05,
    "donotbulkemail": 0.0,
    "donotemail": 0.0,
    "inactive": 0.0,
    "internationalised": 0.01,
}


@dataclass
class Watch:
    """What is seen of a running job: when its row first moved, when LinkedIn began to build, and the worker's time by then."""

    cpu: Callable[[], float]
    began: float = field(default_factory=time.monotonic)
    first_progress: float | None = None
    building: float | None = None
    cpu_at_building: float = 0.0
    seen: dict[str, Any] = field(default_factory=dict)

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Look at the row, which has just changed."""
        now = time.monotonic() - self.began
        if self.first_progress is None and row.get("lima_status"):
            self.first_progress = now
        if self.building is None and (row.get("lima_status") or 0) >= BUILDING:
            self.building, self.cpu_at_building = now, self.cpu()


def best(members: int = TINY, kind: str = "list", times: int = TIMES) -> dict[str, Any]:
    """Run a job several times and return the figures of the one that cost least, as the member path counts its best rounds."""
    return min((measure(members, kind) for _ in range(times)), key=lambda found: found["cpu_seconds"])


def measure(members: int, kind: str = "list", latency: Latency | None = None) -> dict[str, Any]:
    """Run one job in a world of its own and return its figures. Raises RuntimeError when the job does not end well."""
    with fresh_world() as world:
        run, made = prepare(world, members, kind)
        if latency:
            world.dataverse.do("settings", latency=latency.page)
            world.linkedin.do("latency", seconds=latency.call)
        return follow(world, run, made)


@contextmanager
def fresh_world(settings: Mapping[str, str] | None = None) -> Iterator[World]:
    """Run a world with the product's own pace at LinkedIn."""
    with World.start(Options(settings={"NEW_AUDIENCE_SECONDS": f"{NEW_AUDIENCE_SECONDS:g}", **(settings or {})})) as world:
        yield world


def prepare(world: World, members: int, kind: str) -> tuple[Run, dict[str, str]]:
    """Make the contacts and their segment, and sign the marketer in."""
    run = Run(world, Order(members=members, kind=kind, trigger="row"))
    world.dataverse.do("seed_contacts", count=members, seed=1, **MIX)
    made: dict[str, str] = world.dataverse.do("make_segment", kind=kind, name="Autumn campaign", members="all", live=True)
    world.store_sign_in(run.user)
    return run, made


def follow(world: World, run: Run, made: Mapping[str, str]) -> dict[str, Any]:
    """Let the job run and return its figures. Raises RuntimeError when it does not end well."""
    before = app_seconds(world.host)
    watch = Watch(lambda: app_seconds(world.host))
    outcome = run.follow(made, watch, patience=PATIENCE)
    if not outcome.is_ready or watch.building is None:
        raise RuntimeError(f"The job ended as {outcome.status}: {outcome.row.get('lima_statusmessage')}")
    return {
        "seconds": round(watch.building, 2),
        "first_progress_seconds": round(watch.first_progress or watch.building, 2),
        "cpu_seconds": round(watch.cpu_at_building - before, 3),
        "peak_rss_mb": round(outcome.peak_rss_mb, 1),
        "sent": outcome.row["lima_sent"],
        "dataverse_requests": len(outcome.dataverse_requests),
        "linkedin_requests": len(outcome.linkedin_requests),
        "requests": requests_by_kind(outcome),
    }


def app_seconds(host: Child) -> float:
    """Return the processor time of the app, in seconds: that of its process without the local Functions host's share.

    On Azure the host is a process of its own. Here it is the event loop in the first thread, which asks the queues for messages
    all the time; where the system does not tell threads apart that share stays in.
    """
    loop = sum(thread.user_time + thread.system_time for thread in psutil.Process(host.pid).threads() if thread.id == host.pid)
    return host.cpu_seconds() - loop


def requests_by_kind(outcome: Outcome) -> dict[str, int]:
    """Return how many requests of each kind were sent, the most frequent first."""
    counted = Counter(
        f"{service} {call['method']} {shape(call['path'])}"
        for service, calls in (("Dataverse", outcome.dataverse_requests), ("LinkedIn", outcome.linkedin_requests))
        for call in calls
    )
    return dict(counted.most_common())


def shape(path: str) -> str:
    """Return a path without what belongs to one record.

    >>> shape("/api/data/v9.2/lists(8a1f0c2c-1f0c-4a5e-9d53-7f2f5b1d1a01)/listcontact_association")
    'lists()/listcontact_association'
    >>> shape("/rest/dmpSegments/1234/users")
    'dmpSegments/n/users'
    """
    return re.sub(r"/\d+", "/n", re.sub(r"\([^)]*\)", "()", re.sub(r"^/(?:rest|api/data/v9\.2)/", "", path)))
