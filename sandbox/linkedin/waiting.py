"""Things that take their time: at once, after some looks, or after some seconds."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Speed:
    """How long something takes: `looks` that still see the old state, and `seconds` on the simulator's clock."""

    looks: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, words: str) -> "Speed":
        """Return the speed of "at once", "after 3 looks" or "after 20 seconds"; anything else is a ValueError.

        >>> Speed.parse("after 3 looks")
        Speed(looks=3, seconds=0.0)
        """
        if words == "at once":
            return cls()
        if found := re.fullmatch(r"after (\d+) looks?", words):
            return cls(looks=int(found[1]))
        if found := re.fullmatch(r"after (\d+(?:\.\d+)?) seconds?", words):
            return cls(seconds=float(found[1]))
        raise ValueError(f"{words!r} is no speed; say 'at once', 'after 3 looks' or 'after 20 seconds'.")


AT_ONCE = Speed()


class Wait:
    """One thing that is taking its time."""

    def __init__(self, speed: Speed, now: float) -> None:
        self._until = now + speed.seconds
        self._looks = speed.looks

    def is_over(self, now: float, *, look: bool = True) -> bool:
        """Tell whether it is done; unless `look` is off, count this as a look."""
        if now < self._until:
            return False
        if self._looks > 0:
            self._looks -= look
            return False
        return True
