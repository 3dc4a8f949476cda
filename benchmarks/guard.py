"""The guard: ratios measured now beside those in results.json, with margins wide enough for any machine.

It holds what a change may break without anybody noticing: the member path beside `hashlib` alone, a member of a whole job
beside one of the member path, and how many requests a job sends. It never looks at a time by itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.results import Results, figure_at

SIZE = 100_000


@dataclass(frozen=True)
class Guard:
    """A figure that may not get worse than `margin` times what was recorded."""

    name: str
    place: str
    margin: float

    def verdict(self, measured: Results, recorded: Results) -> "Verdict":
        """Compare; raises KeyError when the figure was never measured or recorded."""
        now, then = figure_at(measured, self.place), figure_at(recorded, self.place)
        if now is None or then is None:
            raise KeyError(self.place)
        limit = then * self.margin
        return Verdict(self.name, now, then, limit, now >= limit if self.margin < 1 else now <= limit)


@dataclass(frozen=True)
class Verdict:
    """What a guard found: the figure now, the recorded one, the worst that is let through, and whether it is."""

    name: str
    now: float
    then: float
    limit: float
    holds: bool


GUARDS = (
    Guard("member path to hashlib alone, realistic", "member_path.realistic.ratio_to_hashlib", 0.75),
    Guard("member path to hashlib alone, hostile", "member_path.hostile.ratio_to_hashlib", 0.75),
    Guard(f"a member of a job to a member of the member path, {SIZE:,}", f"job.{SIZE}.cpu_to_member_path", 1.75),
    Guard(f"requests to Dataverse, {SIZE:,}", f"job.{SIZE}.dataverse_requests", 1.25),
    Guard(f"requests to LinkedIn, {SIZE:,}", f"job.{SIZE}.linkedin_requests", 1.1),
)


def verdicts(measure: Callable[[], Results], recorded: Results, tries: int = 2) -> Iterator[Verdict]:
    """Yield a verdict for each guard; what does not hold is measured once more, because somebody else may have been busy."""
    measured: Mapping[str, Any] = measure()
    found = [guard.verdict(measured, recorded) for guard in GUARDS]
    if tries > 1 and not all(verdict.holds for verdict in found):
        yield from verdicts(measure, recorded, tries - 1)
        return
    yield from found
