"""The administrator's whole day on the sandbox, with the real commands: from an empty environment back to an empty one."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbox.as_customer import give_marketer_role
from sandbox.run import Order, Run
from sandbox.world import ADMIN_APP, ADMIN_SECRET, ROOT, TENANT, WORKER_APP, Options, World

REPORT = ROOT / "rehearsal.json"
_OURS = {
    "EntityDefinitions": ("LogicalName", "LogicalName eq 'lima_audience' or LogicalName eq 'lima_signin'"),
    "webresourceset": ("name", "startswith(name,'lima_')"),
    "roles": ("name", "startswith(name,'LinkedIn Audience')"),
    "serviceendpoints": ("name", "startswith(name,'LinkedIn Matched')"),
    "sdkmessageprocessingsteps": ("name", "startswith(name,'LinkedIn Matched')"),
    "solutions": ("uniquename", "uniquename eq 'LinkedInMatchedAudiences'"),
    "appactions": ("name", "startswith(name,'lima_')"),
}


class StepFailed(RuntimeError):
    """A step of the rehearsal did not come out as it must; the text says how."""


@dataclass
class Done:
    """One step that was played: what it is, how it went, how long it took."""

    step: str
    ok: bool
    seconds: float
    told: str = ""


@dataclass
class Rehearsal:
    """Plays the steps one after the other and stops at the first that fails."""

    world: World
    tell: Callable[[str], None]
    done: list[Done] = field(default_factory=list)
    forms: dict[str, str] = field(default_factory=dict)

    def play(self) -> bool:
        """Play the whole day; tell whether every step came out as it must."""
        self.forms = self._forms(self.world.dataverse.url)
        for name, step in (
            ("install into an empty environment", self._install),
            ("check every piece", self._check),
            ("a job from the button to Ready", self._job),
            ("the doctor looks at everything", self._doctor),
            ("install again changes nothing", self._install_again),
            ("an install that is interrupted half way is continued", self._interrupted),
            ("upgrade from an older version", self._upgrade),
            ("remove everything", self._remove),
        ):
            if not self._step(name, step):
                return False
        return True

    def _step(self, name: str, step: Callable[[], str]) -> bool:
        began = time.monotonic()
        try:
            told, ok = step(), True
        except (StepFailed, RuntimeError) as error:
            told, ok = str(error), False
        self.done.append(Done(name, ok, round(time.monotonic() - began, 1), told))
        self.tell(f"{'done  ' if ok else 'FAILED'} {name} ({self.done[-1].seconds} s): {told}")
        return ok

    # -------------------------------------------------------------- the day

    def _install(self) -> str:
        report = self._solution("install", *self._what())
        give_marketer_role(self.world)
        return f"{len(_of(report, 'created'))} pieces created"

    def _check(self) -> str:
        findings = self._solution("check", *self._what(only=("--webhook-url", "--app-user", "--tab-folder")))
        return f"{len(findings.get('findings', []))} findings, none of them bad"

    def _job(self) -> str:
        run = Run(self.world, Order(members=1_500))
        outcome = run.follow(run.prepare(), patience=120)
        if not outcome.is_ready:
            raise StepFailed(f"The job ended as {outcome.status}: {outcome.row.get('lima_statusmessage')}")
        return f"{len(outcome.linkedin_members)} members at LinkedIn"

    def _doctor(self) -> str:
        settings = self.world.folder / "local.settings.json"
        findings = self._solution("check", *self._what(only=("--app-user", "--tab-folder")), "--all", "--settings", str(settings))
        back = next(finding["says"] for finding in findings["findings"] if finding["piece"] == "round trip")
        return f"{len(findings['findings'])} findings; {back}"

    def _install_again(self) -> str:
        report = self._solution("install", *self._what())
        if report["changed"]:
            raise StepFailed(f"It changed: {_of(report, 'created', 'changed', 'removed')}")
        return "nothing to do"

    def _interrupted(self) -> str:
        """Break a first install of another environment off in the middle, then run it again."""
        other = self.world.another_dataverse()
        try:
            remote = self.world.remote_of(other)
            remote.plan_faults([{"kind": "drop-before", "method": "POST|PATCH|PUT", "skip": 30, "times": 100_000}])
            broken = self._command("install", *self._what(), url=remote.url)
            remote.forget_faults()
            if broken.returncode == 0:
                raise StepFailed("The install was not interrupted.")
            continued = self._solution("install", *self._what(), url=remote.url)
            again = self._solution("install", *self._what(), url=remote.url)
            if again["changed"]:
                raise StepFailed(f"After continuing, something was left: {_of(again, 'created', 'changed')}")
            return f"broken off with code {broken.returncode}, {len(_of(continued, 'created'))} pieces added by running it again"
        finally:
            other.stop()

    def _upgrade(self) -> str:
        """Put the environment back to how an older version left it, then install over it."""
        administrator = self._administrator()
        api = self.world.dataverse.api
        solution = api("GET", "solutions?$filter=uniquename eq 'LinkedInMatchedAudiences'", user=administrator).json()["value"][0]
        api("PATCH", f"solutions({solution['solutionid']})", {"version": "0.0.1.0"}, user=administrator)
        step = api("GET", "sdkmessageprocessingsteps?$filter=startswith(name,'LinkedIn Matched')", user=administrator).json()
        api("DELETE", f"sdkmessageprocessingsteps({step['value'][0]['sdkmessageprocessingstepid']})", user=administrator)
        report = self._solution("install", *self._what())
        changed = _of(report, "created", "changed")
        if not changed:
            raise StepFailed("The older version was not noticed.")
        return f"{len(changed)} pieces brought up to date"

    def _remove(self) -> str:
        self._solution("remove", "--yes")
        left = {kind: found for kind in _OURS if (found := self._left(kind))}
        if left:
            raise StepFailed(f"Still there: {left}")
        if self._forms(self.world.dataverse.url) != self.forms:
            raise StepFailed("Microsoft's forms are not as they were.")
        return "everything is gone, the forms are as they were"

    # -------------------------------------------------------------- commands

    def _what(self, only: tuple[str, ...] = ()) -> list[str]:
        given = {
            "--webhook-url": self.world.app_url,
            "--app-user": WORKER_APP,
            "--tab-folder": str(self.world.tab_folder),
            "--backup-folder": str(self.world.folder / "form-backups"),
        }
        return [word for name, value in given.items() if not only or name in only for word in (name, value)]

    def _solution(self, *arguments: str, url: str = "") -> dict[str, Any]:
        done = self._command(*arguments, "--json", url=url)
        if done.returncode != 0:
            raise StepFailed(
                f"`solution {arguments[0]}` ended with code {done.returncode}: {(done.stderr or done.stdout)[-1500:]}"
            )
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def _command(self, *arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
        environment = self.world.environment() | {
            "DATAVERSE_CLIENT_ID": ADMIN_APP,
            "DATAVERSE_CLIENT_SECRET": ADMIN_SECRET,
            "DATAVERSE_TENANT_ID": TENANT,
            "WEBHOOK_SECRET": self.world.webhook_secret,
        }
        fixed = ["--url", url or self.world.dataverse.url, "--sign-in", "app", "--authority", self.world.entra.url]
        return subprocess.run(  # noqa: S603  our own command line
            [sys.executable, "-m", "solution", arguments[0], *fixed, *arguments[1:]],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    # -------------------------------------------------------------- looking

    def _administrator(self) -> str:
        return str(self.world.dataverse.do("users")["administrator"])

    def _forms(self, _url: str) -> dict[str, str]:
        path = "systemforms?$select=formid,formxml&$filter=type eq 2"
        forms = self.world.dataverse.api("GET", path, user=self._administrator()).json()["value"]
        return {form["formid"]: form["formxml"] for form in forms}

    def _left(self, kind: str) -> list[str]:
        name, condition = _OURS[kind]
        answer = self.world.dataverse.api("GET", f"{kind}?$select={name}&$filter={condition}", user=self._administrator())
        return [str(row[name]) for row in answer.json()["value"]]


def _of(report: Mapping[str, Any], *actions: str) -> list[str]:
    return [change["what"] for change in report["changes"] if change["action"] in actions]


def rehearse(tell: Callable[[str], None], target: Path = REPORT) -> bool:
    """Play the day in a world of its own, write what happened to `target`, and tell whether all went well."""
    with World.start(Options(install=False), tell) as world:
        rehearsal = Rehearsal(world, tell)
        went_well = rehearsal.play()
    report = {"went_well": went_well, "steps": [asdict(step) for step in rehearsal.done]}
    target.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    tell(f"Written: {target.name}")
    return went_well
