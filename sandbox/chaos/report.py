"""Telling what came of it: in a terminal, in a JSON file, and in the tables of docs/reliability.md."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.chaos.deck import ABOUT
from sandbox.world import ROOT

PAGE = ROOT / "docs" / "reliability.md"
CHAOS, BURST = "chaos", "burst"


def tell(result: dict[str, Any]) -> None:
    """Print a campaign's result, with the way to repeat each failure."""
    strikes = sum(result["struck"].values())
    kinds = sum(1 for count in result["struck"].values() if count)
    print(
        f"Seed {result['seed']}: {result['runs']} runs in {result['seconds']:.0f} s, {strikes} faults of {kinds} kinds struck, "
        f"{len(result['failures'])} failures."
    )
    for failure in result["failures"]:
        print(f"  {failure['who']}: {'; '.join(failure['problems'])[:2000]}")
        print(f"    again: python -m sandbox chaos --seed {failure['seed']} --runs 1 --only {failure['only']}")


def tell_burst(result: dict[str, Any]) -> None:
    """Print what came of the bursts."""
    print(json.dumps(result, indent=2))


def write_json(result: Any, target: Path) -> None:
    """Write a result to a file."""
    target.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(results: Sequence[dict[str, Any]]) -> None:
    """Put the figures of whole campaigns into the page."""
    struck: Counter[str] = Counter()
    for result in results:
        struck.update(result["struck"])
    lines = ["| Seed | Runs | Faults that struck | App starts | Failures | Minutes |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r['seed']} | {r['runs']} | {sum(r['struck'].values())} | {r['figures'].get('app starts', 0)} "
        f"| {len(r['failures'])} | {r['seconds'] / 60:.1f} |"
        for r in results
    ]
    lines += ["", "| Fault | What it is | Struck |", "|---|---|---|"]
    lines += [f"| {card} | {about} | {struck[card]} |" for card, about in ABOUT.items()]
    replace(CHAOS, lines)


def write_burst(result: dict[str, Any]) -> None:
    """Put the figures of the bursts into the page."""
    jobs, calls = result["jobs"], result["calls"]
    size = f"{calls['calls']} in {calls['asked_seconds']:.0f} s ({calls['rate']:.0f} a second)"
    took = f"median {calls['p50']:.0f} ms, 99th percentile {calls['p99']:.0f} ms, longest {calls['p100']:.0f} ms"
    lines = [
        "| Burst | Size | Lost | Time |",
        "|---|---|---|---|",
        f"| jobs at once | {jobs['jobs']} | {jobs['lost']} | all ready after {jobs['seconds']:.0f} s |",
        f"| webhook calls | {size} | {calls['lost']} | {took} |",
    ]
    replace(BURST, lines)


def replace(name: str, lines: Sequence[str], page: Path = PAGE) -> None:
    """Put lines between the page's markers of this name; raises ValueError when the page has none."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text("utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no place for {name}: put {begin} and {end} where its table belongs.")
    page.write_text("\n".join((before + begin, *lines, end)) + after, "utf-8")
