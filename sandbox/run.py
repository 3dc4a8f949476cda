"""`python -m sandbox run`: one whole job, from the button to the result, watched and counted."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from sandbox.contacts import read_contacts
from sandbox.world import World

# The words and numbers of the installed table, as any client of Dataverse reads them.
STATUS_WORDS = {
    727000000: "Requested",
    727000001: "Checking",
    727000002: "Waiting for sign-in",
    727000003: "Waiting for ad account",
    727000004: "Ready to create",
    727000005: "Uploading",
    727000006: "Building at LinkedIn",
    727000007: "Ready",
    727000008: "Too small",
    727000009: "Not allowed",
    727000010: "Failed",
    727000011: "Cancelled",
    727000012: "Archived",
    727000013: "Expired",
}
READY_TO_CREATE, READY = 727000004, 727000007
WAITING = frozenset({727000002, 727000003})
ENDED = frozenset(range(727000007, 727000014))
CHECK, CREATE = 727000000, 727000001
PERSON, AUTOMATION = 727000000, 727000001
SMALLEST_SERVED = 300
ACCOUNT = {"urn": "urn:li:sponsoredAccount:512345678", "name": "Contoso Europe"}  # Ada may write there
RESULT_COLUMNS = (
    "lima_linkedinstatus",
    "lima_linkedinmessage",
    "lima_linkedinaudienceid",
    "lima_linkedinsent",
    "lima_linkedinsize",
    "lima_linkedinmatchrate",
    "lima_linkedintime",
    "lima_linkedinlink",
)


@dataclass(frozen=True)
class Order:
    """What `run` is asked to do. `file` wins over `members`, which counts generated contacts."""

    members: int = 12_000
    file: Path | None = None
    kind: str = "realtime"
    trigger: str = "button"
    confirm_small: bool = True
    seed: int = 1


@dataclass
class Outcome:
    """What came out of a run; `to_json` is what `--json` writes."""

    row: dict[str, Any]
    before: dict[str, Any]
    segment: dict[str, Any]
    linkedin_members: list[str]
    linkedin_segments: int
    linkedin_requests: list[dict[str, Any]]
    dataverse_requests: list[dict[str, Any]]
    seconds: float
    cpu_seconds: float
    peak_rss_mb: float
    ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """The status word of the row."""
        return STATUS_WORDS.get(self.row.get("lima_status") or 0, "unknown")

    @property
    def is_ready(self) -> bool:
        """Whether the job ended Ready."""
        return self.row.get("lima_status") == READY

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a file."""
        return {
            "status": self.status,
            "segment": self.segment,
            "segment_before": self.before,
            "audience": self.row,
            "linkedin": {
                "members": self.linkedin_members,
                "segments": self.linkedin_segments,
                "requests": self.linkedin_requests,
            },
            "dataverse": {"requests": self.dataverse_requests},
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "peak_rss_mb": round(self.peak_rss_mb, 1),
        }


Watch = Callable[[Mapping[str, Any]], None]


class Run:
    """One job in a running world, done as the persons and programs around the product do it."""

    def __init__(self, world: World, order: Order) -> None:
        self._world, self._order = world, order
        self.user = str(world.dataverse.do("users")["marketers"][0])

    def prepare(self, *, signed_in: bool = True) -> dict[str, str]:
        """Load the contacts, make the segment, sign the marketer in; return the segment's ids."""
        order, dataverse = self._order, self._world.dataverse
        if order.file is not None:
            dataverse.do("load_contacts", rows=read_contacts(order.file))
        else:
            dataverse.do("seed_contacts", count=order.members, seed=order.seed)
        live = order.trigger != "live"
        made: dict[str, str] = dataverse.do("make_segment", kind=order.kind, name="Autumn campaign", members="all", live=live)
        if signed_in:
            self._world.store_sign_in(self.user)
        return made

    def follow(self, made: Mapping[str, str], watch: Watch = lambda _: None, patience: float = 1800.0) -> Outcome:
        """Pull the trigger, act as the person does, watch the row to its end, and gather everything."""
        before = self._result_columns(made)
        self._world.dataverse.forget_calls()
        self._world.linkedin.forget_calls()
        cpu = self._world.host.cpu_seconds()
        began = time.monotonic()
        row = self._to_its_end(self._pull_trigger(made), watch, began + patience)
        seconds = time.monotonic() - began
        self._await_record(made, row)
        return self._gather(made, row, before, seconds, cpu)

    # -------------------------------------------------------------- acting

    def _pull_trigger(self, made: Mapping[str, str]) -> str | None:
        """Create the row as the tab or an automation does, or let the segment go live; return the row's id if known."""
        if self._order.trigger == "live":
            self._mark(made)
            self._world.dataverse.do("go_live", table=made["table"], id=made["id"])
            return None
        person = self._order.trigger == "button"
        row_id = str(uuid4())
        self._world.dataverse.api(
            "POST",
            "lima_audiences",
            {
                "lima_audienceid": row_id,
                "lima_name": made["name"],
                "lima_segmenttable": made["table"],
                "lima_segmentid": made["id"],
                "lima_segmentname": made["name"],
                "lima_command": CHECK if person else CREATE,
                "lima_commandid": str(uuid4()),
                "lima_origin": PERSON if person else AUTOMATION,
                "lima_adaccount": self._account()["urn"],
                "lima_adaccountname": self._account()["name"],
            },
            user=self.user,
        )
        return row_id

    def _mark(self, made: Mapping[str, str]) -> None:
        """Switch on "create an audience when this goes live" as the tab does."""
        self._world.dataverse.api(
            "PATCH",
            f"{made['set']}({made['id']})",
            {
                "lima_createwhenlive": True,
                "lima_liveadaccount": self._account()["urn"],
                "lima_liveadaccountname": self._account()["name"],
                "lima_LiveSetBy@odata.bind": f"/systemusers({self.user})",
            },
            user=self.user,
        )

    def _account(self) -> dict[str, Any]:
        """Return an ad account in which the person may write."""
        return ACCOUNT

    def _press_create(self, row: Mapping[str, Any], *, confirmed: bool) -> None:
        change = {"lima_command": CREATE, "lima_commandid": str(uuid4()), "lima_smallconfirmed": confirmed}
        self._world.dataverse.api("PATCH", f"lima_audiences({row['lima_audienceid']})", change, user=self.user)

    # -------------------------------------------------------------- watching

    def _to_its_end(self, row_id: str | None, watch: Watch, until: float) -> dict[str, Any]:
        pressed, shown = 0, None
        while time.monotonic() < until:
            row = self._find(row_id)
            if row is not None and row != shown:
                watch(row)
                shown = row
            status = row.get("lima_status") if row else None
            settled = row is not None and row.get("lima_command") is None
            if row is None or not settled:
                time.sleep(0.05)
                continue
            if status in ENDED or (status in WAITING and self._order.trigger == "button"):
                return row
            if status == READY_TO_CREATE:
                small = (row.get("lima_eligible") or 0) < SMALLEST_SERVED
                if pressed and not (small and self._order.confirm_small and pressed < 2):  # noqa: PLR2004  the second yes
                    return row
                pressed += 1
                self._press_create(row, confirmed=pressed > 1)
            time.sleep(0.05)
        return self._find(row_id) or {}

    def _find(self, row_id: str | None) -> dict[str, Any] | None:
        if row_id is not None:
            return self._world.row("lima_audience", row_id)
        rows: list[dict[str, Any]] = self._world.dataverse.do("table", name="lima_audience")
        return rows[0] if rows else None

    def _await_record(self, made: Mapping[str, str], row: Mapping[str, Any], patience: float = 10.0) -> None:
        """Wait until the segment record tells what the row tells; it is written right after the row."""
        until = time.monotonic() + patience
        while row.get("lima_status") in ENDED and time.monotonic() < until:
            if self._result_columns(made)["lima_linkedinstatus"] == row["lima_status"]:
                return
            time.sleep(0.05)

    def _result_columns(self, made: Mapping[str, str]) -> dict[str, Any]:
        record = self._world.row(made["table"], made["id"]) or {}
        return {name: record.get(name) for name in RESULT_COLUMNS}

    def _gather(
        self, made: Mapping[str, str], row: dict[str, Any], before: dict[str, Any], seconds: float, cpu: float
    ) -> Outcome:
        linkedin, dataverse = self._world.linkedin, self._world.dataverse
        linkedin_calls, dataverse_calls = linkedin.calls(), dataverse.calls()
        audience_id = row.get("lima_linkedinaudienceid")
        return Outcome(
            row=row,
            before=before,
            segment=self._result_columns(made),
            linkedin_members=linkedin.do("members", segment_id=int(audience_id)) if audience_id else [],
            linkedin_segments=len(linkedin.do("segments")),
            linkedin_requests=[_counted(call) for call in linkedin_calls],
            dataverse_requests=[_counted(call) for call in dataverse_calls],
            seconds=seconds,
            cpu_seconds=self._world.host.cpu_seconds() - cpu,
            peak_rss_mb=self._world.host.peak_rss_mb(),
            ids=made,
        )


def _counted(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a request: never its query, which may hold names."""
    counted = {name: call[name] for name in ("method", "path", "status")}
    return counted if call["elements"] is None else counted | {"elements": call["elements"]}


def write_json(outcome: Outcome, target: Path) -> None:
    """Write the outcome where the person wants it."""
    target.write_text(json.dumps(outcome.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
