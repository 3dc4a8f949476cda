"""One wave played: its runs side by side in one world, strikes at their moments, people who go on acting, what is left."""

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

from sandbox.chaos.deck import BUTTON, CANCELLED, DELETED, LIVE, READY, Plan, Run
from sandbox.chaos.field import Field
from sandbox.chaos.people import CANCEL, RETRY, People, Unreachable
from sandbox.chaos.stores import Stores
from sandbox.chaos.trouble import Trouble
from sandbox.run import CREATE, READY_TO_CREATE, RESULT_COLUMNS, SMALLEST_SERVED, STATUS_WORDS

PATIENCE = 200.0
_LOOK_EVERY = 0.2
_QUIET = 1.5
_CHECKING, _WAITING_FOR_SIGN_IN, _UPLOADING, _FAILED = 727000001, 727000002, 727000005, 727000010
_MOST_RETRIES = 6
_LIVE_AGAIN = 15.0


@dataclass
class Watched:
    """A run while it is played, and what is known of it at the end."""

    run: Run
    name: str
    members: list[str]
    made: dict[str, str] = field(default_factory=dict)
    row_id: str | None = None
    row: dict[str, Any] | None = None
    record: dict[str, Any] = field(default_factory=dict)
    job: dict[str, Any] | None = None
    files: list[str] = field(default_factory=list)
    added: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    audiences: list[dict[str, Any]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    ordered_at: float = 0.0
    pressed: int = 0
    failures: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    acted: set[str] = field(default_factory=set)
    went_live_again: int = 0
    settled_at: float | None = None
    end: str = READY

    @property
    def status(self) -> int:
        """Return the row's status as last seen; 0 before there is a row."""
        return int((self.row or {}).get("lima_status") or 0)

    @property
    def shown(self) -> str:
        """Return where the row stands in words."""
        if self.row is None:
            return DELETED if DELETED in self.acted else "no row"
        return STATUS_WORDS.get(self.status, "unknown")

    def to_json(self) -> dict[str, Any]:
        """Return what helps somebody who looks into a failure."""
        told = {
            name: getattr(self, name) for name in ("name", "row_id", "ordered_at", "settled_at", "end", "failures", "statuses")
        }
        return told | {
            "run": asdict(self.run),
            "acted": sorted(self.acted),
            "row": self.row,
            "record": self.record,
            "job": self.job,
        }


@dataclass
class Played:
    """A wave that is over: everything that the checks look at."""

    plan: Plan
    runs: list[Watched]
    seconds: float
    struck: Counter[str]
    planned: Counter[str]
    log: str
    simulators: dict[str, str]
    linkedin_calls: list[dict[str, Any]]
    dataverse_calls: list[dict[str, Any]]
    addresses_seen: list[dict[str, Any]]
    stored: list[tuple[str, bytes]]
    poisoned: int
    parked: list[dict[str, Any]]
    starts: int
    forbidden: tuple[bytes, ...] = ()


class Wave:
    """Plays one plan in a world."""

    def __init__(self, world: Field, people: People, plan: Plan) -> None:
        self._field, self._people, self._plan = world, people, plan
        self._dataverse, self._linkedin = world.dataverse, world.linkedin
        self._stores = Stores(world.azurite.connection_string)
        self._trouble = Trouble(world, self._stores, plan)
        self._runs = [_watched(world, plan, run) for run in plan.runs]
        self._signed_in_at = 0.0

    def play(self) -> Played:
        """Play to the end, or until patience is over, and gather everything."""
        starts = self._field.starts
        logs = {name: child.log_file.stat().st_size for name, child in self._field.children().items()}
        self._dataverse.forget_calls()
        self._linkedin.forget_calls()
        for watched in self._runs:
            watched.made = self._make_segment(watched)
        self._trouble.begin(self._people)
        began = time.monotonic()
        while self._open() and time.monotonic() - began < PATIENCE:
            now = time.monotonic() - began
            self._trouble.tick(now, self._runs)
            for watched in self._open():
                self._attend(watched, now)
            time.sleep(_LOOK_EVERY)
        seconds = time.monotonic() - began
        self._await_quiet()
        return self._gathered(seconds, starts, logs)

    def _open(self) -> list[Watched]:
        return [watched for watched in self._runs if watched.settled_at is None]

    def _make_segment(self, watched: Watched) -> dict[str, str]:
        run = watched.run
        live = run.trigger != LIVE
        made: dict[str, str] = self._dataverse.do(
            "make_segment", kind=run.kind, name=watched.name, members=watched.members, live=live
        )
        return made

    # -------------------------------------------------------------- attending to one run

    def _attend(self, watched: Watched, now: float) -> None:
        if not watched.ordered_at:
            if now >= watched.run.starts_at:
                watched.row_id = self._people.order(watched.run, watched.made, self._plan.seed)
                watched.ordered_at = now
            return
        self._look(watched)
        if watched.row is None:
            self._without_row(watched, now)
            return
        if not watched.statuses or watched.statuses[-1] != watched.status:
            watched.statuses.append(watched.status)
        try:
            self._act(watched, now)
        except Unreachable:
            return  # whoever acted tries again at the next look
        self._settle(watched, now)

    def _look(self, watched: Watched) -> None:
        if watched.row_id is None:
            rows = self._dataverse.do("table", name="lima_audience")
            found = [row for row in rows if row.get("lima_segmentid") == watched.made["id"]]
            watched.row_id = found[0]["lima_audienceid"] if found else None
        if watched.row_id is not None:
            watched.row = self._dataverse.do("row", table="lima_audience", id=watched.row_id)

    def _without_row(self, watched: Watched, now: float) -> None:
        if DELETED in watched.acted:
            if self._stores.job(watched.row_id or "") is None:
                watched.settled_at = now
        elif watched.run.trigger == LIVE and now - watched.ordered_at > _LIVE_AGAIN * (watched.went_live_again + 1):
            # Dataverse tells of it once; when the app was down at that moment, a person lets the segment go live again.
            watched.went_live_again += 1
            self._people.go_live(watched.made)

    def _act(self, watched: Watched, now: float) -> None:
        """Do what people do next: press, sign in, or what the run's own acts say."""
        run, row = watched.run, watched.row or {}
        row_id = watched.row_id or ""
        self._do_acts(watched)
        if row.get("lima_command") is not None:
            return
        if watched.status == READY_TO_CREATE and run.trigger == BUTTON:
            watched.pressed += 1
            small = (row.get("lima_eligible") or 0) < SMALLEST_SERVED
            self._people.press(run, row_id, CREATE, watched.pressed, confirmed=small and watched.pressed > 1)
        elif watched.status == _WAITING_FOR_SIGN_IN:
            self._sign_in_again(run, now)
        elif watched.status == _FAILED and len(watched.failures) < _MOST_RETRIES:
            watched.failures.append(str(row.get("lima_statusmessage")))
            watched.pressed += 1
            self._people.press(run, row_id, RETRY, watched.pressed)

    def _sign_in_again(self, run: Run, now: float) -> None:
        """Sign the run's owner in, unless somebody has just done so and the jobs have not woken yet."""
        if now - self._signed_in_at > 4.0 or not self._signed_in_at:  # noqa: PLR2004  seconds
            self._people.sign_in(self._people.marketers[run.owner])
            self._signed_in_at = now

    def _do_acts(self, watched: Watched) -> None:
        for act in watched.run.acts:
            if act in watched.acted:
                continue
            done = getattr(self, "_" + act.replace("-", "_"))(watched)
            if done:
                watched.acted.add(act)
                self._trouble.struck[act] += 1

    def _row_deleted(self, watched: Watched) -> bool:
        if not _is_the_moment(watched):
            return False
        self._people.delete(watched.row_id or "")
        watched.acted.add(DELETED)
        return True

    def _row_cancelled(self, watched: Watched) -> bool:
        if not _is_the_moment(watched):
            return False
        watched.pressed += 1
        self._people.press(watched.run, watched.row_id or "", CANCEL, watched.pressed)
        return True

    def _row_changed(self, watched: Watched) -> bool:
        """Change the row while the app's own write to it is held on its way."""
        if not self._trouble.holds(watched.row_id or ""):
            return False
        self._people.rename(watched.run, watched.row_id or "")
        return True

    def _links_expired(self, watched: Watched) -> bool:
        if watched.status != _CHECKING:
            return False
        self._dataverse.do("expire_links")
        return True

    def _members_changed(self, watched: Watched) -> bool:
        """Add some and take some out; whoever was a member only part of the time may be in the audience or not."""
        if watched.status != _CHECKING:
            return False
        present = set(watched.members)
        added = [one for one in self._field.pool.sample(f"{watched.name} added", 60) if one not in present][:40]
        removed = watched.members[:: max(1, len(watched.members) // 40)]
        watched.added.update(added)
        watched.removed.update(removed)
        self._dataverse.do("change_members", id=watched.made["id"], add=added, remove=removed)
        return True

    # -------------------------------------------------------------- the end

    def _settle(self, watched: Watched, now: float) -> None:
        """Note that a run has ended as it has to, with nothing left to be written."""
        row = watched.row or {}
        if watched.shown == READY and watched.end in (DELETED, CANCELLED):
            watched.end = READY  # it was ready before anybody could delete or cancel
        if watched.shown != watched.end or row.get("lima_command") is not None:
            return
        job = self._stores.job(watched.row_id or "")
        if job is None or job["owes_row"] or job["owes_result"] or job["step"] not in ("watch", "done"):
            return
        watched.settled_at = now

    def _await_quiet(self) -> None:
        """Wait until late messages have come and nothing runs any more."""
        until = time.monotonic() + 10
        quiet_since = time.monotonic()
        while time.monotonic() < until and time.monotonic() - quiet_since < _QUIET:
            time.sleep(_LOOK_EVERY)
            if self._is_busy():
                quiet_since = time.monotonic()

    def _is_busy(self) -> bool:
        try:
            runs = requests.get(f"{self._field.app_url}/__sandbox__/runs", timeout=5).json()
        except (requests.RequestException, ValueError):
            return True
        return any(counts["running"] for counts in runs.values())

    def _gathered(self, seconds: float, starts: int, logs: dict[str, int]) -> Played:
        self._trouble.end()
        for watched in self._runs:
            self._gather(watched)
        told = {name: _since(child.log_file, logs[name]) for name, child in self._field.children().items()}
        self._trouble.count_from(told["host"])
        world = self._field
        stored = list(self._stores.everything([watched.row_id for watched in self._runs if watched.row_id]))
        played = Played(
            plan=self._plan,
            runs=self._runs,
            seconds=seconds,
            struck=self._trouble.struck,
            planned=self._trouble.planned,
            log=told.pop("host"),
            simulators=told,
            linkedin_calls=self._linkedin.calls(),
            dataverse_calls=self._dataverse.calls(),
            addresses_seen=self._linkedin.do("addresses_seen"),
            stored=stored,
            poisoned=self._stores.poisoned(),
            parked=self._trouble.parked,
            starts=world.starts - starts,
            forbidden=tuple(secret.encode() for secret in world.secrets()),
        )
        self._stores.close()
        return played

    def _gather(self, watched: Watched) -> None:
        """Read what is left of a run in every place."""
        if watched.row_id is None:
            return
        watched.row = self._dataverse.do("row", table="lima_audience", id=watched.row_id)
        record = self._dataverse.do("row", table=watched.made["table"], id=watched.made["id"]) or {}
        watched.record = {name: record.get(name) for name in RESULT_COLUMNS}
        watched.job = self._stores.job(watched.row_id)
        watched.files = self._stores.files_of(watched.row_id)
        ours = f"dataverse:lima_audience:{watched.row_id}"
        watched.audiences = [s for s in self._linkedin.do("segments") if str(s["sourceSegmentId"]).startswith(ours)]
        if watched.audiences:
            watched.held = self._linkedin.do("members", segment_id=watched.audiences[0]["id"])


def _since(log_file: Path, began: int) -> str:
    with log_file.open("rb") as file:
        file.seek(began)
        return file.read().decode("utf-8", "replace")


def _is_the_moment(watched: Watched) -> bool:
    """Tell whether a person now deletes or cancels: some as soon as the job is seen at work, others while it is sending."""
    begun = watched.status in (_CHECKING, READY_TO_CREATE, _UPLOADING)
    return watched.status == _UPLOADING or (begun and watched.run.number % 2 == 0)


def _watched(world: Field, plan: Plan, run: Run) -> Watched:
    name = f"Chaos {plan.seed} run {run.number}"
    return Watched(run, name, world.pool.sample(name, run.members), end=run.end)
