"""What an install or removal did, piece by piece, and how it is told while it happens."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

type Action = Literal["created", "changed", "removed", "unchanged", "skipped", "found"]
type Progress = Callable[["Change"], None]


@dataclass(frozen=True)
class Change:
    """One thing that was done, left as it was, left out, or found; `why` is a sentence or empty."""

    action: Action
    what: str
    why: str = ""

    def __str__(self) -> str:
        """Return the line that a person reads."""
        return f"{self.action:<9} {self.what}" + (f": {self.why}" if self.why else "")


def silent(change: Change) -> None:
    """Tell nobody."""


@dataclass
class Report:
    """Everything that happened, in order. `dry` tells that nothing of it was really done."""

    dry: bool = False
    progress: Progress = silent
    changes: list[Change] = field(default_factory=list)

    def add(self, action: Action, what: str, why: str = "") -> None:
        """Note one thing and tell it at once."""
        change = Change(action, what, why)
        self.changes.append(change)
        self.progress(change)

    def of(self, *actions: Action) -> list[Change]:
        """Return what was done in one of these ways."""
        return [one for one in self.changes if one.action in actions]

    @property
    def changed(self) -> bool:
        """Tell whether anything in the environment was (or, in a rehearsal, would be) changed."""
        return bool(self.of("created", "changed", "removed"))

    def as_json(self) -> dict[str, Any]:
        """Return the report for machines."""
        return {"dry_run": self.dry, "changed": self.changed, "changes": [asdict(one) for one in self.changes]}
