"""The member path, measured on one core: page bytes, rows, filters, verdict, hash, parts, distinct list, request bodies.

It is the product's own code on pages in memory, without sending or storing. A run goes through the members in slices of one
part. Each slice is timed beside `hashlib` alone on the same members, again and again, and the best time of each slice
counts: on a machine that others use too, a ratio of neighbours says more than two absolute figures.

    python -m benchmarks.member_path [--members 1000000] [--rounds 5] [--json FILE]
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.mixes import MIXES, PAGE_SIZE, addresses, pages
from benchmarks.yardsticks import hash_alone, library_on_every_row, naive
from shared.domain.emails import normalise
from shared.domain.member_lists import batch_count, merge, read_batch
from shared.domain.members import read_page
from shared.domain.parts import PartBuilder
from shared.linkedin.bodies import users_body

PART_SIZE = 50_000
NAIVE_SAMPLE = 100_000
LIBRARY_SAMPLE = 10_000


class InMemory:
    """A file in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`."""
        return self.content[offset : offset + size]


class Best:
    """The best processor time of each named stretch, over as many rounds as there were."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, int], float] = {}

    def time[T](self, name: str, number: int, work: Callable[[], T]) -> T:
        """Do some work, note how long it took, and return what it gave."""
        start = process_time()
        outcome = work()
        spent = process_time() - start
        self._times[name, number] = min(spent, self._times.get((name, number), spent))
        return outcome

    def seconds(self, *names: str) -> float:
        """Return the sum of the best times under some names."""
        return sum(time for (name, _), time in self._times.items() if name in names)


def measure(mix: str, members: int, rounds: int) -> dict[str, Any]:
    """Return figures for one mix."""
    all_pages = list(pages(mix, members))
    slices = [all_pages[start : start + PART_SIZE // PAGE_SIZE] for start in range(0, len(all_pages), PART_SIZE // PAGE_SIZE)]
    encoded = [normalise(address or "").encode("utf-8", "surrogatepass") for address in addresses(mix, members)]
    best = Best()
    sent = 0
    for _ in range(rounds):
        parts = []
        for number, some_pages in enumerate(slices):
            best.time("hashlib", number, partial(hash_alone, encoded[number * PART_SIZE : (number + 1) * PART_SIZE]))
            parts.append(InMemory(best.time("collect", number, partial(collect, some_pages))))
        member_list = InMemory(b"".join(plan(parts, best)))
        sent = upload(member_list, best)
    return figures(best, members, sent) | yardsticks(all_pages)


def collect(some_pages: Iterable[bytes]) -> bytes:
    """Return the stored part of some pages."""
    builder = PartBuilder()
    for page in some_pages:
        builder.add(read_page(page).rows)
    return builder.finish().to_bytes()


def plan(parts: list[InMemory], best: Best) -> Iterable[bytes]:
    """Yield the distinct member list, piece by piece."""
    pieces = merge(parts)
    number = 0
    while (piece := best.time("plan", number, partial(next, pieces, None))) is not None:
        yield piece.digests
        number += 1


def upload(member_list: InMemory, best: Best) -> int:
    """Build all request bodies and return how many members they hold."""
    sent = 0
    for number in range(batch_count(len(member_list.content))):
        batch = read_batch(member_list, number)
        best.time("upload", number, partial(users_body, batch))
        sent += len(batch) // 32
    return sent


def figures(best: Best, members: int, sent: int) -> dict[str, Any]:
    """Return what was measured of the member path itself."""
    seconds = best.seconds("collect", "plan", "upload")
    return {
        "members": members,
        "sent": sent,
        "members_per_second": round(members / seconds),
        "hashlib_per_second": round(members / best.seconds("hashlib")),
        "ratio_to_hashlib": round(best.seconds("hashlib") / seconds, 3),
        "nanoseconds": {name: round(best.seconds(name) / members * 1e9) for name in ("collect", "plan", "upload")},
    }


def yardsticks(all_pages: list[bytes]) -> dict[str, Any]:
    """Return members a second of the versions one would write first, on a sample."""
    best = Best()
    for name, work, sample in (("naive", naive, NAIVE_SAMPLE), ("library", library_on_every_row, LIBRARY_SAMPLE)):
        some_pages = all_pages[: sample // PAGE_SIZE]
        for _ in range(3):
            best.time(name, 0, partial(work, some_pages))
    return {
        "naive_per_second": round(min(NAIVE_SAMPLE, len(all_pages) * PAGE_SIZE) / best.seconds("naive")),
        "library_per_second": round(min(LIBRARY_SAMPLE, len(all_pages) * PAGE_SIZE) / best.seconds("library")),
    }


def main() -> None:
    """Measure all mixes and print a short table."""
    options = argparse.ArgumentParser(description="Measure the member path on one core.")
    options.add_argument("--members", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--mix", choices=MIXES, action="append")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    pin_to_one_core()
    results = {}
    print(f"Python {platform.python_version()}; members a second on one core; the last column is nanoseconds a member")
    print("mix         member path    hashlib   ratio      naive    library")
    for mix in chosen.mix or MIXES:
        result = results[mix] = measure(mix, chosen.members, chosen.rounds)
        print(
            f"{mix:10} {result['members_per_second']:12,} {result['hashlib_per_second']:10,} {result['ratio_to_hashlib']:7.3f} "
            f"{result['naive_per_second']:10,} {result['library_per_second']:10,}   {result['nanoseconds']}",
            flush=True,
        )
    if chosen.json:
        chosen.json.write_text(json.dumps({"member_path": results}, indent=2) + "\n")


def pin_to_one_core() -> None:
    """Stay on one core where the system allows it, so that caches stay warm and nothing runs in parallel unseen."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


if __name__ == "__main__":
    main()
