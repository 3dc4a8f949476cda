"""`python -m benchmarks`: measure how fast the product is, print a short table, write results.json and the page of figures.

python -m benchmarks                     everything but the million with latency and the real-time million
python -m benchmarks --full              everything
python -m benchmarks --only job          one of member_path, job, latency, door; the other results stay as they were
python -m benchmarks --guard             a short look at the ratios; 1 when one is far worse than in results.json
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import door, jobs
from benchmarks.guard import SIZE, verdicts
from benchmarks.results import FILE, MARKS, MODEL, ROOT, bound, load, nanoseconds_per_member, save, tables, write_page
from shared.settings import NAMES

SIZES = (10_000, 100_000, 1_000_000)
PARALLEL = int(NAMES["linkedin_parallel"].default or 1)
console = Console(highlight=False)


def main() -> int:
    """Measure what is asked for; 1 when a mark that was measured is missed."""
    options = _parser().parse_args()
    if options.guard:
        return watch()
    results = load()
    for name in [options.only] if options.only else list(SECTIONS):
        console.print(f"[dim]• Measuring: {name}[/dim]")
        results |= SECTIONS[name](options.full)
        results["machine"] = machine()
        save(results)
    show(results)
    write_page(results)
    console.print(f"Written: {FILE.relative_to(ROOT)}")
    return 0 if all(mark.is_met(results) is not False for mark in MARKS) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure how fast the product is.")
    parser.add_argument("--only", choices=SECTIONS, help="measure one part")
    parser.add_argument("--guard", action="store_true", help="compare ratios with the recorded ones, for continuous integration")
    parser.add_argument("--full", action="store_true", help="also 1,000,000 members with latency, and of a real-time segment")
    return parser


# ------------------------------------------------------------------ parts


def member_path(full: bool) -> dict[str, Any]:
    """Measure the member path with all three mixes."""
    del full
    return {"member_path": _member_path()}


def job(full: bool) -> dict[str, Any]:
    """Measure whole jobs without latency, each beside the member path."""
    tiny = jobs.best()
    found = {"job": {str(jobs.TINY): tiny} | {str(size): _job(size, "list", tiny) for size in SIZES}}
    smallest, largest = (found["job"][str(size)]["peak_rss_mb"] for size in (SIZES[0], SIZES[-1]))
    found["job"][str(SIZES[-1])]["above_10000_mb"] = round(largest - smallest, 1)
    tiny = jobs.best(kind="realtime")
    sizes = SIZES if full else SIZES[:-1]
    found["job_realtime"] = {str(jobs.TINY): tiny} | {str(size): _job(size, "realtime", tiny) for size in sizes}
    return found


def _job(members: int, kind: str, tiny: dict[str, Any], times: int = jobs.TIMES) -> dict[str, Any]:
    """Measure jobs with the member path before and after them, because the machine's pace changes."""
    before = _nanoseconds_of_path()
    found = jobs.best(members, kind, times)
    path = (before + _nanoseconds_of_path()) / 2
    each = nanoseconds_per_member(found["cpu_seconds"], members, tiny["cpu_seconds"], jobs.TINY)
    whole = nanoseconds_per_member(found["cpu_seconds"], members)
    return found | {
        "cpu_to_member_path": round(each / path, 2),
        "cpu_to_member_path_with_fixed_cost": round(whole / path, 2),
        "member_path_nanoseconds": round(path),
    }


def latency(full: bool) -> dict[str, Any]:
    """Measure whole jobs of a list with the latency model, against the bound."""
    found = {}
    for size in SIZES if full else SIZES[:-1]:
        one = jobs.measure(size, "list", MODEL)
        least = bound(size, one["sent"], MODEL, parallel=PARALLEL)
        found[str(size)] = one | {"bound_seconds": round(least, 2), "ratio_to_bound": round(one["seconds"] / least, 3)}
    return {"job_with_latency": {**load().get("job_with_latency", {}), **found}}


def at_the_door(full: bool) -> dict[str, Any]:
    """Measure the door."""
    del full
    return {"door": door.measure()}


SECTIONS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "member_path": member_path,
    "door": at_the_door,
    "job": job,
    "latency": latency,
}


def _nanoseconds_of_path() -> float:
    found = _member_path("--mix", "realistic", "--members", "200000", "--rounds", "3")
    return float(1e9 / found["realistic"]["members_per_second"])


def _member_path(*arguments: str) -> dict[str, Any]:
    """Return the figures of the member path, measured by a process that keeps to one core."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "member-path.json")
        command = [sys.executable, "-m", "benchmarks.member_path", "--json", str(file), *arguments]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603 - our own module
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))["member_path"]
    return found


# ------------------------------------------------------------------ the guard


def watch() -> int:
    """Print what the guard found; 1 when something is far worse than recorded."""
    shown = Table("what", "now", "recorded", "let through", "", title="Guard", title_justify="left", title_style="bold")
    found = list(verdicts(_ratios, load()))
    for verdict in found:
        figures = (f"{figure:,.4g}" for figure in (verdict.now, verdict.then, verdict.limit))
        shown.add_row(verdict.name, *figures, "holds" if verdict.holds else "worse")
    console.print(shown)
    return 0 if all(verdict.holds for verdict in found) else 1


def _ratios() -> dict[str, Any]:
    paths = _member_path("--mix", "realistic", "--mix", "hostile", "--members", "200000", "--rounds", "3")
    return {"member_path": paths, "job": {str(SIZE): _job(SIZE, "list", jobs.measure(jobs.TINY), times=1)}}


# ------------------------------------------------------------------ telling


def show(results: dict[str, Any]) -> None:
    """Print the tables."""
    for table in tables(results):
        shown = Table(*table.heads, title=table.title, title_justify="left", title_style="bold")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


def machine() -> dict[str, Any]:
    """Return where and when it was measured, as far as that matters."""
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "Python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else "unknown",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    sys.exit(main())
