"""The strikes of a plan brought about: faults planned in simulators and host, gates, and what the harness does itself."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import requests

from sandbox.chaos.deck import Plan, Strike
from sandbox.chaos.field import Field
from sandbox.chaos.gate import Blow
from sandbox.chaos.people import People, row_id_of
from sandbox.chaos.stores import Stores
from sandbox.remote import Remote

if TYPE_CHECKING:
    from sandbox.chaos.wave import Watched

SIMULATORS = ("dataverse", "linkedin", "entra")
HOLD_SECONDS = 1.5
_USERS = "dmpSegments/users"
_LONG = 12.0
_OF_A_QUOTA = 8.0  # seconds; shorter pauses of the product have other reasons, and are over when they are over
_LONGEST_PAUSE = 400.0  # the product pauses for five minutes at most, unless it rests until the next day


class Trouble:
    """Brings a plan's strikes about and counts those that struck."""

    def __init__(self, world: Field, stores: Stores, plan: Plan) -> None:
        self._field, self._stores, self._plan = world, stores, plan
        self._remotes: dict[str, Remote] = {name: getattr(world, name) for name in SIMULATORS}
        self._to_come = sorted((s for s in plan.strikes if s.place in ("harness", "queue")), key=lambda strike: strike.at)
        self._cards: dict[str, list[str]] = {name: [] for name in SIMULATORS}
        self._holds: dict[str, int] = {}
        self._blows: list[tuple[str, Blow]] = []
        self._skew: dict[str, float] = {}
        self._later: list[tuple[float, str]] = []
        self._rests: dict[str, tuple[int, float]] = {}
        self._quota = False
        self._look_at_jobs = 0.0
        self._midnight_came = False
        self._people: People | None = None
        self.parked: list[dict[str, Any]] = []
        self.struck: Counter[str] = Counter()
        self.planned: Counter[str] = Counter(strike.card for strike in plan.strikes)
        self.planned.update(act for run in plan.runs for act in run.acts)

    # -------------------------------------------------------------- before and after

    def begin(self, people: People) -> None:
        """Prepare a fresh sign-in for everybody, and plan everything that waits for requests."""
        self._people = people
        self._reset()
        for name in SIMULATORS:
            self._plan_faults(name)
        for strike in self._plan.strikes:
            if strike.place == "gate" and self._field.gates is not None:
                blow = Blow(**strike.terms)
                self._field.gates.plan(blow)
                self._blows.append((strike.card, blow))
        for strike in [strike for strike in self._to_come if strike.at == 0.0]:
            self._bring(strike, 0.0)
        self._to_come = [strike for strike in self._to_come if strike.at > 0.0]
        self._sign_everybody_in()

    def _reset(self) -> None:
        for remote in self._remotes.values():
            remote.forget_faults()
        dataverse, linkedin, entra = (self._remotes[name] for name in SIMULATORS)
        dataverse.do("plan_deliveries")
        dataverse.do("limits")
        linkedin.do("speed", spread="at once", find="at once", build="after 1 seconds", update="at once")
        linkedin.do("settings", refresh_tokens=True, access_token_seconds=5_184_000)
        linkedin.do("quota", resource=_USERS)
        entra.do("settings", token_seconds=3599)

    def _sign_everybody_in(self) -> None:
        for user in self._people.marketers if self._people else ():
            self._field.store_sign_in(user)

    def _plan_faults(self, name: str) -> None:
        faults = [dict(strike.terms) for strike in self._plan.strikes if strike.place == name]
        self._cards[name] = [strike.card for strike in self._plan.strikes if strike.place == name]
        if name == "dataverse":
            for run in self._plan.runs:
                if "row-changed" in run.acts:
                    row_id = row_id_of(self._plan.seed, run.number)
                    self._holds[row_id] = len(faults)
                    hold = {"kind": "delay", "seconds": HOLD_SECONDS, "method": "PATCH", "path": rf"/lima_audiences\({row_id}\)"}
                    faults.append(hold | {"skip": run.number % 2})
                    self._cards[name].append("")
        self._remotes[name].plan_faults(faults)

    def end(self) -> None:
        """Take everything back and count what the simulators and gates did."""
        for name, remote in self._remotes.items():
            for card, fault in zip(self._cards[name], _faults(remote), strict=True):
                self.struck[card] += fault["struck"]
        del self.struck[""]
        for card, blow in self._blows:
            self.struck[card] += blow.struck
            blow.struck = True
        self._reset()
        for name, seconds in self._skew.items():
            self._remotes[name].advance_clock(-seconds)
        with suppress(requests.RequestException):
            requests.delete(f"{self._field.app_url}/__sandbox__/faults", timeout=10)

    def count_from(self, log: str) -> None:
        """Count what the host did to messages, which it tells in its log."""
        words = {"deliver-twice": "message-twice", "deliver-late": "message-late", "lose-delete": "delete-lost"}
        words |= {"die-before-run": "killed-before-run", "die-before-delete": "killed-before-delete"}
        for kind, card in words.items():
            self.struck[card] += len(re.findall(f"Planned fault {kind} on", log))

    # -------------------------------------------------------------- while it is played

    def tick(self, now: float, runs: "Sequence[Watched]") -> None:
        """Bring about what is due."""
        while self._to_come and self._to_come[0].at <= now:
            self._bring(self._to_come.pop(0), now)
        for due in [due for due in self._later if due[0] <= now]:
            self._later.remove(due)
            self._finish(due[1])
        if now >= self._look_at_jobs:
            self._look_at_jobs = now + 1.0
            self._let_time_pass(now, runs)

    def holds(self, row_id: str) -> bool:
        """Tell whether a write of the app to this row is being held now."""
        return bool(_faults(self._remotes["dataverse"])[self._holds[row_id]]["struck"])

    def _bring(self, strike: Strike, now: float) -> None:
        if strike.place == "queue":
            self._plan_at_host(strike)
            return
        struck = getattr(self, "_" + strike.card.replace("-", "_"))(dict(strike.terms), now)
        self.struck[strike.card] += 1 if struck is None else struck

    def _plan_at_host(self, strike: Strike) -> None:
        with suppress(requests.RequestException):  # the app is down: then this one does not come
            requests.post(f"{self._field.app_url}/__sandbox__/faults", json=[dict(strike.terms)], timeout=10)

    def _finish(self, what: str) -> None:
        if what == "limits":
            self._remotes["dataverse"].do("limits")
        elif what == "deliveries":
            self._remotes["dataverse"].do("plan_deliveries")

    # the harness's own strikes, by card

    def _storage_restarted(self, _terms: dict[str, Any], _now: float) -> None:
        self._field.azurite.restart()

    def _webhook_twice(self, terms: dict[str, Any], _now: float) -> None:
        self._remotes["dataverse"].do("plan_deliveries", **terms)

    _webhook_never = _webhook_twice
    _webhook_late = _webhook_twice

    def _dataverse_limits(self, _terms: dict[str, Any], now: float) -> None:
        self._remotes["dataverse"].do("limits", requests=60, milliseconds=3_000, concurrency=6, window=4)
        self._later.append((now + 6.0, "limits"))

    def _dataverse_tokens_short(self, _terms: dict[str, Any], _now: float) -> None:
        self._remotes["entra"].do("settings", token_seconds=303)  # MSAL gives a token up five minutes before its end

    def _linkedin_daily_quota(self, _terms: dict[str, Any], _now: float) -> None:
        self._remotes["linkedin"].do("quota", resource=_USERS, member=2)
        self._quota = True

    def _found_slowly(self, _terms: dict[str, Any], _now: float) -> None:
        self._remotes["linkedin"].do("speed", find="after 4 seconds")

    def _token_expired(self, _terms: dict[str, Any], _now: float) -> int:
        return int(bool(self._remotes["linkedin"].do("end_tokens", person="ada", code="EXPIRED_ACCESS_TOKEN")))

    def _token_revoked(self, _terms: dict[str, Any], _now: float) -> int:
        return int(bool(self._remotes["linkedin"].do("end_tokens", person="ada", code="REVOKED_ACCESS_TOKEN")))

    def _token_invalid(self, _terms: dict[str, Any], _now: float) -> int:
        return int(bool(self._remotes["linkedin"].do("end_tokens", person="ada", code="INVALID_ACCESS_TOKEN")))

    def _token_short(self, _terms: dict[str, Any], _now: float) -> None:
        self._remotes["linkedin"].do("settings", access_token_seconds=6)

    def _clocks_skewed(self, terms: dict[str, Any], _now: float) -> None:
        self._skew = {name: float(seconds) for name, seconds in terms.items()}
        for name, seconds in self._skew.items():
            self._remotes[name].advance_clock(seconds)

    # -------------------------------------------------------------- time that passes

    def _let_time_pass(self, now: float, runs: "Sequence[Watched]") -> None:
        """Shorten rests that are long by the product's own choice: their message comes early, as if time had passed.

        While the daily quota is used up, jobs in upload do not rest long; once one rests until the next day, midnight comes.
        """
        for watched in runs:
            job = self._stores.job(watched.row_id) if watched.row_id and watched.settled_at is None else None
            if job is None or not job["due"] or job["step"] == "watch":
                continue
            fence, since = self._rests.get(job["id"], (-1, 0.0))
            if fence != job["fence"]:
                self._rests[job["id"]] = (job["fence"], now)
                continue
            rests = (datetime.fromisoformat(job["due"]) - datetime.now(UTC)).total_seconds()
            sleeps = rests > _LONGEST_PAUSE
            waits_for_quota = self._quota and job["step"] == "upload" and rests > _OF_A_QUOTA
            if rests < 1 or (now - since < _LONG and not sleeps and not waits_for_quota):
                continue
            if sleeps:
                self._note_sleeper(watched, job)
            self._rests[job["id"]] = (job["fence"], math.inf)
            self._stores.send_early(job["id"], job["fence"])

    def _note_sleeper(self, watched: "Watched", job: dict[str, Any]) -> None:
        row = self._remotes["dataverse"].do("row", table="lima_audience", id=job["id"]) or {}
        self.parked.append({"run": watched.run.number, "due": job["due"], "message": row.get("lima_statusmessage")})
        self._let_midnight_come()

    def _let_midnight_come(self) -> None:
        """Move LinkedIn's clock behind midnight, where the quota is as new; only the first time."""
        if self._midnight_came:
            return
        self._midnight_came = True
        now = datetime.now(UTC)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        until = (midnight - now).total_seconds() + 310
        self._remotes["linkedin"].advance_clock(until)
        self._skew["linkedin"] = self._skew.get("linkedin", 0.0) + until
        self._remotes["linkedin"].do("quota", resource=_USERS)


def _faults(remote: Remote) -> list[dict[str, Any]]:
    planned: list[dict[str, Any]] = remote._control("GET", "faults")  # noqa: SLF001  the panel's only reader
    return planned
