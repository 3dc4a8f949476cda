"""What a step answers: where the job goes next, and what its row shows from now on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.jobs import Job, Step
from shared.ports import Changes


@dataclass(frozen=True)
class Move:
    """The job after a step, and when it goes on.

    `after` is 0 to go on at once, a number of seconds to come back later, None when only a person can
    make it go on or the job is at its end. A `quiet` move is shown together with the next one.
    """

    job: Job
    after: float | None = 0.0
    quiet: bool = False


class Progress(Protocol):
    """How a step in the middle of its work makes sure that nothing before this point is done again."""

    def __call__(self, job: Job, changes: Changes | None = None) -> Job:
        """Save the job and, at most every few seconds, show the changes; return the job to go on with."""


class StepFunction(Protocol):
    """One step: does its work until done or until `until`, and says where the job goes next."""

    def __call__(self, job: Job, progress: Progress, until: datetime) -> Move:
        """Run; raise an error of `shared/errors.py` for anything that keeps the step from going on."""


type Steps = Mapping[Step, StepFunction]
