"""Bursts: many jobs at the same moment, and more webhook calls than any environment sends.

The webhook is measured on an instance of the app that serves HTTP and leaves the queue to others, as Azure arranges it on Flex
Consumption, where functions with HTTP triggers have instances of their own (Learn: Flex Consumption plan, per-function scaling).
The messages are counted on the queue afterwards, so that none can be lost unseen.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from azure.storage.queue import QueueServiceClient

from sandbox.chaos.deck import READY, ROW, Run
from sandbox.chaos.people import People
from sandbox.chaos.pool import Pool
from sandbox.run import ENDED, STATUS_WORDS
from sandbox.world import ROOT, Options, World

JOBS, RATE, SECONDS = 50, 500.0, 20.0
LONGEST_P99 = 250.0
_MEMBERS = 600
_PATIENCE = 300.0
_OFF = {"AzureWebJobs.job_steps.Disabled": "true", "AzureWebJobs.job_steps_poison.Disabled": "true"}


def run(jobs: int, rate: float, seconds: float) -> dict[str, Any]:
    """Play both bursts and return their figures; `kept` tells whether both promises were."""
    at_once = jobs_at_once(jobs)
    calls = webhook_calls(rate, seconds)
    kept = at_once["lost"] == 0 and calls["lost"] == 0 and calls["p99"] <= LONGEST_P99
    whole = jobs >= JOBS and rate >= RATE and seconds >= SECONDS
    return {"jobs": at_once, "calls": calls, "kept": kept, "whole": whole}


def jobs_at_once(jobs: int) -> dict[str, Any]:
    """Let automations create this many rows at the same moment; every one has to become its own, exact audience."""
    pool = Pool.of_size(6_000)
    with World.start(Options()) as world:
        world.dataverse.do("load_contacts", rows=[contact.row() for contact in pool.contacts.values()])
        world.dataverse.do("opt_out", addresses=pool.opted_out())
        people = People(world)
        for user in people.marketers:
            world.store_sign_in(user)
        runs = [Run(number, ("list", "realtime")[number % 2], _MEMBERS, ROW, number % 2, 0.0) for number in range(jobs)]
        members = {one.number: pool.sample(f"burst {one.number}", one.members) for one in runs}
        made = {one.number: _segment(world, one, members[one.number]) for one in runs}
        cpu = world.host.cpu_seconds()
        began = time.monotonic()
        with ThreadPoolExecutor(16) as at_once:
            ids = list(at_once.map(lambda one: people.order(one, made[one.number], 0), runs))
        rows = _at_their_ends(world, [row_id or "" for row_id in ids], began + _PATIENCE)
        seconds = time.monotonic() - began
        lost = [
            one.number
            for one, row_id in zip(runs, ids, strict=True)
            if not _is_exact(world, pool, rows.get(row_id or ""), members[one.number])
        ]
        audiences = len(world.linkedin.do("segments"))
        return {
            "jobs": jobs,
            "members_each": _MEMBERS,
            "lost": len(lost) + abs(audiences - jobs),
            "seconds": round(seconds, 1),
            "audiences": audiences,
            "app_processor_seconds": round(world.host.cpu_seconds() - cpu, 1),
        }


def _segment(world: World, one: Run, members: list[str]) -> dict[str, str]:
    made: dict[str, str] = world.dataverse.do("make_segment", kind=one.kind, name=f"Burst {one.number}", members=members)
    return made


def _at_their_ends(world: World, ids: list[str], until: float) -> dict[str, dict[str, Any]]:
    while True:
        rows = {row["lima_audienceid"]: row for row in world.dataverse.do("table", name="lima_audience")}
        ended = sum(rows.get(row_id, {}).get("lima_status") in ENDED for row_id in ids)
        if ended == len(ids) or time.monotonic() > until:
            return rows
        time.sleep(0.5)


def _is_exact(world: World, pool: Pool, row: dict[str, Any] | None, members: list[str]) -> bool:
    if row is None or STATUS_WORDS.get(row["lima_status"]) != READY:
        return False
    held = world.linkedin.do("members", segment_id=int(row["lima_linkedinaudienceid"]))
    return set(held) == pool.allowed(members)


# ------------------------------------------------------------------ webhook calls


def webhook_calls(rate: float, seconds: float) -> dict[str, Any]:
    """Call the webhook this often, each time about another row, and count what came back and what lies on the queue."""
    with World.start(Options(settings=_OFF)) as world:
        organization = world.dataverse.do("users")["organization"]
        _call(world, organization, 20, 1)  # the first event makes the product; what is measured is not its cold start
        before = _waiting(world)
        cpu = world.host.cpu_seconds(), world.azurite.child.cpu_seconds()
        told = _call(world, organization, rate, seconds)
        used = world.host.cpu_seconds() - cpu[0], world.azurite.child.cpu_seconds() - cpu[1]
        accepted = told["statuses"].get("202", 0)
        queued = _waiting(world) - before
        return told | {
            "rate": rate,
            "asked_seconds": seconds,
            "queued": queued,
            "lost": (told["calls"] - accepted) + max(0, accepted - queued),
            "app_processor_seconds": round(used[0], 1),
            "storage_processor_seconds": round(used[1], 1),
        }


def _call(world: World, organization: str, rate: float, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "sandbox.chaos.caller", "--port", str(world.host_port)]
    given = json.dumps({"secret": world.webhook_secret, "organization": organization})
    done = subprocess.run(  # noqa: S603  our own program
        [*command, "--rate", str(rate), "--seconds", str(seconds)],
        input=given,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=seconds + 120,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _waiting(world: World) -> int:
    with QueueServiceClient.from_connection_string(world.azurite.connection_string) as service:
        return int(service.get_queue_client("audience-steps").get_queue_properties().approximate_message_count or 0)
