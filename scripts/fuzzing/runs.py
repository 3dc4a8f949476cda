"""Running a reader many times: hypothesis makes the inputs, the seed makes them repeatable, a failure shows the input."""

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.errors import NonInteractiveExampleWarning

from scripts.fuzzing.parsers import TARGETS, Broken, Target


def repeat(inputs: st.SearchStrategy[Any], take: Callable[[Any], object], times: int, seed: int, name: str) -> None:
    """Call `take` with so many inputs; raises Broken with the smallest input found that it cannot take."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=times,
        database=None,
        deadline=None,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(inputs)
    def run(given: Any) -> None:
        take(given)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonInteractiveExampleWarning)
        try:
            run()
        except Exception as error:
            notes = " ".join(getattr(error, "__notes__", ()))
            raise Broken(f"{name}, seed {seed}: {type(error).__name__}: {error} {notes}") from error


def read(target: Target, times: int, seed: int) -> Counter[str]:
    """Let a target read so many inputs and return how often it read them and which errors it raised."""
    outcomes: Counter[str] = Counter()

    def take(given: Any) -> None:
        outcomes[target.take(given)] += 1

    repeat(target.inputs, take, times, seed, target.name)
    return outcomes


def read_all(inputs: int, seed: int) -> dict[str, Counter[str]]:
    """Share so many inputs among all targets and return their outcomes."""
    each = -(-inputs // len(TARGETS))
    return {target.name: read(target, each, seed + number) for number, target in enumerate(TARGETS)}
