"""What can be made to go wrong with queue messages: a seeded plan, given as a file or over the control panel.

A plan is a JSON list of objects with the fields of `Fault`, for example
`[{"kind": "lose-delete", "times": 3}, {"kind": "deliver-late", "chance": 0.1, "times": 50, "seconds": 2}]`.
"""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

ON_ARRIVAL = ("deliver-twice", "deliver-late", "die-before-run")
AFTER_RUN = ("lose-delete", "die-before-delete")


class BadFault(ValueError):
    """A planned fault has an unknown kind or field; the sentence says which are known."""


@dataclass
class Fault:
    """A planned misbehaviour for messages of queues whose whole name matches the regular expression `queue`.

    The first `skip` messages are left alone, then it strikes each with probability `chance`, at most `times` times. `kind`:

    - `deliver-twice`: the function runs a second time for the message, `seconds` after the first run has begun;
    - `deliver-late`: the function runs `seconds` later, while other messages pass by;
    - `lose-delete`: the function ran well, but the message is not deleted and comes back when its lease ends;
    - `die-before-run`, `die-before-delete`: the host's process is killed at that instant.

    `seen` and `struck` count the messages looked at and those struck.
    """

    kind: str
    queue: str = ".*"
    skip: int = 0
    times: int = 1
    chance: float = 1.0
    seconds: float = 0.0
    seen: int = 0
    struck: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ON_ARRIVAL + AFTER_RUN:
            raise BadFault(f"There is no fault {self.kind!r}; known are {', '.join(ON_ARRIVAL + AFTER_RUN)}.")
        try:
            re.compile(self.queue)
        except re.error as error:
            raise BadFault(f"The queue {self.queue!r} of a fault is no regular expression: {error}.") from error


@dataclass
class Plan:
    """The planned faults in order; the first that strikes is the only one. The same seed gives the same choices."""

    seed: int = 0
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - chance that can be repeated, no secret

    def add(self, planned: Iterable[Mapping[str, Any]]) -> None:
        """Add faults as written in JSON, all or none; raises BadFault."""
        try:
            self.faults += [Fault(**fault) for fault in planned]
        except TypeError as error:  # not a list, not an object, or an unknown field
            raise BadFault(f"A planned fault is a JSON object with the fields of Fault: {error}.") from error

    def strike(self, kinds: Iterable[str], queue: str) -> Fault | None:
        """Return the fault that strikes a message of this queue now, or None."""
        return next((fault for fault in self.faults if fault.kind in kinds and self._strikes(fault, queue)), None)

    def _strikes(self, fault: Fault, queue: str) -> bool:
        if fault.struck >= fault.times or not re.fullmatch(fault.queue, queue):
            return False
        fault.seen += 1
        if fault.seen <= fault.skip or self._random.random() >= fault.chance:
            return False
        fault.struck += 1
        return True
