"""The guard that continuous integration runs over the figures of the benchmarks."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks.guard import GUARDS, SIZE, verdicts
from benchmarks.results import MARKS, figure_at, load


def results(**changed: float) -> dict[str, Any]:
    """Return results with every figure that is guarded."""
    figures = {"realistic": 0.26, "hostile": 0.15, "cpu_to_member_path": 2.0, "dataverse_requests": 30, "linkedin_requests": 23}
    figures |= changed
    paths = {mix: {"ratio_to_hashlib": figures.pop(mix)} for mix in ("realistic", "hostile")}
    return {"member_path": paths, "job": {str(SIZE): figures}}


def measuring(*measured: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """Return a measurement that gives these results one after the other."""
    coming: Iterator[dict[str, Any]] = iter(measured)
    return lambda: next(coming)


@pytest.mark.parametrize(
    ("changed", "noticed"),
    [
        ({}, None),
        ({"realistic": 0.2, "cpu_to_member_path": 3.0}, None),
        ({"realistic": 0.19}, "member path to hashlib alone, realistic"),
        ({"hostile": 0.1}, "member path to hashlib alone, hostile"),
        ({"cpu_to_member_path": 3.6}, f"a member of a job to a member of the member path, {SIZE:,}"),
        ({"dataverse_requests": 50}, f"requests to Dataverse, {SIZE:,}"),
        ({"linkedin_requests": 46}, f"requests to LinkedIn, {SIZE:,}"),
    ],
)
def test_the_guard_notices_what_became_far_worse(changed: dict[str, float], noticed: str | None) -> None:
    """A busy machine is let through, a request or a loop for each member is not."""
    measured = results(**changed)

    found = [verdict.name for verdict in verdicts(measuring(measured, measured), results()) if not verdict.holds]

    assert found == ([noticed] if noticed else [])


def test_a_bad_moment_of_the_machine_is_measured_again() -> None:
    """Somebody else may have been busy; the second look decides."""
    assert all(verdict.holds for verdict in verdicts(measuring(results(realistic=0.1), results()), results()))


def test_what_is_guarded_has_been_recorded() -> None:
    """A guard without a figure to compare with would hold whatever happens."""
    recorded = load()

    assert {guard.place for guard in GUARDS if figure_at(recorded, guard.place) is None} == set()
    assert {mark.place for mark in MARKS if figure_at(recorded, mark.place) is None} == set()
