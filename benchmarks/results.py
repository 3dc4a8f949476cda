"""Results of a measurement: the bound that nothing can beat, the marks, the table, and the page of figures.

Everything here is arithmetic on what was measured; `python -m benchmarks` measures.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"

PAGE_SIZE = 5_000  # members; Dataverse's largest page
BATCH_SIZE = 5_000  # members; LinkedIn's largest batch
CALLS_PER_MINUTE = 500  # LinkedIn's documented limit for member batches
NEW_AUDIENCE_SECONDS = 5.0  # LinkedIn: "wait at least 5 seconds" before a new audience is used

type Results = Mapping[str, Any]


# ------------------------------------------------------------------ the bound


@dataclass(frozen=True)
class Latency:
    """How long the services take to answer, in seconds: a page of Dataverse, a call to LinkedIn."""

    page: float
    call: float


MODEL = Latency(page=0.6, call=0.5)


def bound(members: int, sent: int, latency: Latency, *, parallel: int) -> float:
    """Return the seconds that a job cannot be faster than, from its row to the last batch at LinkedIn.

    Each term has to follow the one before it:

    - the row says which segment, the segment says where its members are: two requests;
    - a list's pages come one after the other, because each names the next;
    - nothing is sent before the last page is read. Then LinkedIn is asked whether the audience exists, and it is created;
    - a new audience rests for five seconds;
    - batches go in rounds of `parallel`, and of more than 500 all but the last 500 have to wait for a minute each 500.

    It leaves out what the job does besides: opt-outs, the check of the ad account, storage, messages and its own work.

    >>> bound(10_000, 9_000, Latency(page=0.6, call=0.5), parallel=4)
    8.9
    """
    pages = ceil(members / PAGE_SIZE)
    batches = ceil(sent / BATCH_SIZE)
    reading = (2 + pages) * latency.page
    creating = 2 * latency.call + NEW_AUDIENCE_SECONDS
    minutes = 60.0 * (max(0, batches - 1) // CALLS_PER_MINUTE)
    sending = max(ceil(batches / parallel) * latency.call, minutes + latency.call * (batches > 0))
    return round(reading + creating + sending, 6)


# ------------------------------------------------------------------ what one member costs


def nanoseconds_per_member(cpu_seconds: float, members: int, tiny_seconds: float = 0.0, tiny_members: int = 0) -> float:
    """Return the processor time of one member; with a tiny job, without what every job costs whatever its size."""
    return (cpu_seconds - tiny_seconds) / (members - tiny_members) * 1e9


def figure_at(results: Results, place: str) -> float | None:
    """Return the figure at a place such as "job.10000.seconds"; None when it was not measured."""
    found: Any = results
    for word in place.split("."):
        found = found.get(word) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | float) else None


# ------------------------------------------------------------------ marks


@dataclass(frozen=True)
class Mark:
    """A mark to meet. `place` is where the figure stands in the results, `most` says whether the limit is from above."""

    name: str
    place: str
    limit: float
    unit: str = ""
    most: bool = True

    def figure(self, results: Results) -> float | None:
        """Return what was measured; None when it was not."""
        return figure_at(results, self.place)

    def is_met(self, results: Results) -> bool | None:
        """Tell whether the mark is met; None when it was not measured."""
        figure = self.figure(results)
        if figure is None:
            return None
        return figure <= self.limit if self.most else figure >= self.limit


MARKS = (
    Mark("member path to hashlib alone, realistic", "member_path.realistic.ratio_to_hashlib", 0.27, most=False),
    Mark("a member of a job to a member of the member path, 1,000,000", "job.1000000.cpu_to_member_path", 2.0),
    Mark("memory of 1,000,000 above that of 10,000", "job.1000000.above_10000_mb", 120, " MB"),
    Mark("job with latency to its bound, 10,000", "job_with_latency.10000.ratio_to_bound", 1.25),
    Mark("job with latency to its bound, 100,000", "job_with_latency.100000.ratio_to_bound", 1.25),
    Mark("job with latency to its bound, 1,000,000", "job_with_latency.1000000.ratio_to_bound", 1.25),
    Mark("import of the function app", "door.import_seconds", 0.6, " s"),
    Mark("webhook accepts, 99th percentile at 50 callers", "door.accept_p99_ms", 100, " ms"),
    Mark("member path, realistic, members a second", "member_path.realistic.members_per_second", 900_000, most=False),
    Mark("member path, hostile, members a second", "member_path.hostile.members_per_second", 150_000, most=False),
)


def mark_rows(results: Results) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, figure, mark and verdict of each mark that was measured, ratios first."""
    for mark in MARKS:
        figure = mark.figure(results)
        if figure is not None:
            limit = f"at {'most' if mark.most else 'least'} {mark.limit:,g}{mark.unit}"
            shown = f"{figure:,.0f}" if figure >= 1000 else f"{figure:.4g}"
            yield mark.name, shown + mark.unit, limit, "met" if mark.is_met(results) else "missed"


# ------------------------------------------------------------------ tables


@dataclass(frozen=True)
class Table:
    """A table of figures: what it shows, the heads of its columns, and its rows."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(results: Results) -> Iterator[Table]:
    """Yield the tables of the results, the marks first; what was not measured is left out."""
    makers: tuple[tuple[str, tuple[str, ...], Callable[[Results], list[tuple[str, ...]]]], ...] = (
        ("Marks", ("what", "measured", "mark", ""), lambda found: list(mark_rows(found))),
        ("Member path, one core", ("mix", "to hashlib", "members/s", "hashlib/s", "naive/s", "library/s"), _path_rows),
        ("Whole jobs, no latency", _JOB_HEADS, lambda found: _job_rows(found, "job")),
        ("Whole jobs of a real-time segment, no latency", _JOB_HEADS, lambda found: _job_rows(found, "job_realtime")),
        ("Whole jobs with latency", ("members", "to bound", "seconds", "bound", "Dataverse", "LinkedIn"), _latency_rows),
        ("Door", ("what", "measured"), _door_rows),
    )
    for title, heads, make in makers:
        rows = make(results)
        if rows:
            yield Table(title, heads, tuple(rows))


_JOB_HEADS = ("members", "to member path", "CPU s", "µs/member", "peak MB", "seconds", "Dataverse", "LinkedIn")


def _path_rows(results: Results) -> list[tuple[str, ...]]:
    found = results.get("member_path", {})
    return [
        (
            mix,
            f"{one['ratio_to_hashlib']:.3f}",
            *(f"{one[f'{name}_per_second']:,}" for name in ("members", "hashlib", "naive", "library")),
        )
        for mix, one in found.items()
    ]


def _job_rows(results: Results, section: str) -> list[tuple[str, ...]]:
    return [
        (
            f"{int(members):,}",
            f"{one['cpu_to_member_path']:.2f}" if one.get("cpu_to_member_path") else "-",
            f"{one['cpu_seconds']:.2f}",
            f"{one['cpu_seconds'] / int(members) * 1e6:.2f}",
            f"{one['peak_rss_mb']:.0f}",
            f"{one['seconds']:.1f}",
            f"{one['dataverse_requests']:,}",
            f"{one['linkedin_requests']:,}",
        )
        for members, one in results.get(section, {}).items()
    ]


def _latency_rows(results: Results) -> list[tuple[str, ...]]:
    return [
        (
            f"{int(members):,}",
            f"{one['ratio_to_bound']:.3f}",
            f"{one['seconds']:.1f}",
            f"{one['bound_seconds']:.1f}",
            f"{one['dataverse_requests']:,}",
            f"{one['linkedin_requests']:,}",
        )
        for members, one in results.get("job_with_latency", {}).items()
    ]


_DOOR_WORDS = {
    "accept_p50_ms": "webhook accepts, median at 50 callers, ms",
    "accept_p99_ms": "webhook accepts, 99th percentile at 50 callers, ms",
    "accepted_per_second": "webhook calls accepted a second",
    "import_seconds": "import of the function app in a fresh interpreter, s",
    "first_progress_seconds": "from the row to the first progress on it, first job of a fresh host, s",
    "first_progress_warm_seconds": "the same, second job, s",
}


def _door_rows(results: Results) -> list[tuple[str, ...]]:
    found = results.get("door", {})
    return [(words, f"{found[name]:,g}") for name, words in _DOOR_WORDS.items() if name in found]


# ------------------------------------------------------------------ files


def load(file: Path = FILE) -> dict[str, Any]:
    """Return the results of earlier measurements; nothing when there are none."""
    return dict(json.loads(file.read_text("utf-8"))) if file.exists() else {}


def save(results: Results, file: Path = FILE) -> None:
    """Write the results."""
    file.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_page(results: Results, page: Path = PAGE) -> bool:
    """Put the figures between the page's two markers; False when the page has none."""
    if not page.exists():
        return False
    text = page.read_text("utf-8")
    between = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)
    if not between.search(text):
        return False
    page.write_text(between.sub(lambda _: f"{BEGIN}\n\n{markdown(results)}\n{END}", text), encoding="utf-8")
    return True


def markdown(results: Results) -> str:
    """Return all tables as Markdown, behind a line that says on which machine and when."""
    machine = results.get("machine", {})
    lines = [", ".join(f"{name} {value}" for name, value in machine.items()), ""] if machine else []
    for table in tables(results):
        lines += [f"### {table.title}", "", _line(table.heads), _line(("---",) * len(table.heads))]
        lines += [*map(_line, table.rows), ""]
    return "\n".join(lines)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
