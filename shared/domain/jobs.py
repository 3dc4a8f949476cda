"""Jobs: the work for one row of `lima_audience`, its steps, and where it stands between two messages.

A job is frozen; each change is a method named in the past tense that returns the next job. The engine
keeps it in a table row; what people see is the row in Dataverse.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from shared.domain.segments import Kind, Segment, SegmentRef


class Step(StrEnum):
    """The steps of a job in their order, the waits between them, and the end."""

    CHECK = "check"
    COLLECT = "collect"
    PLAN = "plan"
    WAIT = "wait"  # for a sign-in, an ad account, or the person's "create"
    CREATE = "create"
    UPLOAD = "upload"
    CONFIRM = "confirm"
    WATCH = "watch"  # the audience is ready; LinkedIn is asked once a day what became of it
    DONE = "done"


@dataclass(frozen=True)
class Tallies:
    """How many members fell where, over the whole segment. `eligible` are distinct and sendable."""

    members: int = 0
    no_email: int = 0
    invalid: int = 0
    duplicate: int = 0
    opted_out: int = 0
    inactive: int = 0
    eligible: int = 0

    def left_out(self) -> int:
        """Return how many members are not sent, whatever the reason."""
        return self.members - self.eligible


@dataclass(frozen=True)
class Job:
    """One job as the engine remembers it.

    `fence` numbers the messages: a message with another number is stale and dropped. `attempts` counts
    failures in a row of the present step, `looks` how often LinkedIn was asked about the audience.
    `due` is when the next message should have been handled; upkeep sends it again when it is overdue;
    None while a person has to act. `cursor` is where the present step goes on, in that step's own words.
    """

    id: str
    correlation: str
    created: datetime
    step: Step = Step.CHECK
    fence: int = 0
    attempts: int = 0
    looks: int = 0
    due: datetime | None = None
    cursor: str = ""
    command_id: str = ""
    automatic: bool = False
    create_asked: bool = False
    small_confirmed: bool = False
    asked_for: SegmentRef | None = None  # the record the row names
    segment: Segment | None = None  # ... as check found it
    round: int = 0  # every fresh check reads into a place of its own
    has_ids: bool = False  # the source listed ids first
    parts: int = 0
    opted_out_parts: int = 0
    members_read: int = 0
    tallies: Tallies = field(default_factory=Tallies)
    account: str = ""
    signs_in_as: str = ""
    audience_name: str = ""
    audience_id: str = ""
    created_at: datetime | None = None  # when this job created the audience; None when it found it
    sent: int = 0  # members LinkedIn accepted
    refused: int = 0  # members LinkedIn refused one by one
    batch: int = 0  # next batch of the member list
    upload_finished: datetime | None = None
    finished: datetime | None = None
    failed_at: Step | None = None
    key_number: int = 0  # raised when the audience under the earlier key is dead
    shown: dict[str, Any] = field(default_factory=dict)  # what the row in Dataverse shows, column → value
    owes_row: bool = False  # `shown` is not yet written to the row
    owes_result: bool = False  # ... nor to the segment record

    def moved_to(self, step: Step) -> "Job":
        """Return this job at the start of another step."""
        return replace(self, step=step, attempts=0, looks=0, cursor="")

    def summoned(self, due: datetime | None) -> "Job":
        """Return this job waiting for its next message; earlier messages become stale."""
        return replace(self, fence=self.fence + 1, due=due)

    def stumbled(self) -> "Job":
        """Return this job after one more failed attempt at its step."""
        return replace(self, attempts=self.attempts + 1)

    def went_on(self, **changes: Any) -> "Job":
        """Return this job after progress inside its step; failures before it no longer count."""
        return replace(self, attempts=0, **changes)

    def ended(self, now: datetime) -> "Job":
        """Return this job at its end; `failed_at` remembers where it was."""
        return replace(self, step=Step.DONE, due=None, finished=now, failed_at=self.step, cursor="")

    def without_audience(self) -> "Job":
        """Return this job after its audience at LinkedIn is dead: the next one gets every member again."""
        return replace(self, audience_id="", created_at=None, batch=0, sent=0, refused=0)

    def read_anew(self) -> "Job":
        """Return this job at the start of a fresh reading; what was read so far is left to upkeep."""
        fresh = replace(self, round=self.round + 1, parts=0, opted_out_parts=0, members_read=0, has_ids=False)
        return replace(fresh, batch=0, sent=0, refused=0, upload_finished=None).moved_to(Step.CHECK)

    def showing(self, changes: Mapping[Any, Any], *, result: bool = False) -> "Job":
        """Return this job with these columns to be shown on its row, and on the segment record when `result`."""
        shown = self.shown | {str(column): _plain(value) for column, value in changes.items()}
        return replace(self, shown=shown, owes_row=True, owes_result=self.owes_result or result)

    def settled(self) -> "Job":
        """Return this job after everything it shows was written."""
        return replace(self, owes_row=False, owes_result=False)

    def folder(self) -> str:
        """Return where this round's files lie."""
        return f"{self.id}/{self.round}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for storage; times as ISO text."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Job":
        """Return the job that `to_dict` described; names it does not know are left out, missing ones take defaults."""
        values = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        for name in ("created", "due", "created_at", "upload_finished", "finished"):
            if values.get(name):
                values[name] = datetime.fromisoformat(values[name]).astimezone(UTC)
        values["step"] = Step(values["step"])
        values["failed_at"] = Step(values["failed_at"]) if values.get("failed_at") else None
        values["tallies"] = Tallies(**values.get("tallies", {}))
        if values.get("asked_for"):
            values["asked_for"] = SegmentRef(**values["asked_for"])
        if values.get("segment"):
            described = dict(values["segment"])
            described["ref"] = SegmentRef(**described["ref"])
            described["kind"] = Kind(described["kind"])
            values["segment"] = Segment(**described)
        return cls(**values)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
