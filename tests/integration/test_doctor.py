"""The doctor: what it says of every piece of an installation, when the piece is fine and when it is not."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import requests
from azure.core.exceptions import HttpResponseError
from azure.storage.queue import QueueServiceClient, TextBase64EncodePolicy
from werkzeug.wrappers import Request, Response

from sandbox import tokens
from sandbox.azurite import Azurite
from sandbox.dataverse import DataverseSimulator, seeds
from sandbox.dataverse.tables import seeded_id
from sandbox.entra import EntraSimulator
from sandbox.entra.seeds import WORKER, WORKER_SECRET
from sandbox.linkedin import LinkedInSimulator
from sandbox.linkedin.seeds import CLIENT_ID, CLIENT_SECRET
from sandbox.web import Fault, InProcess, Route, Simulator, json_response
from sandbox.world import ADMIN_APP, ADMIN_SECRET, ROOT, TENANT, Options, World
from shared.dataverse import schema
from shared.dataverse.schema import Status
from shared.domain.jobs import Job
from shared.domain.signins import SignIn
from shared.http import HttpClient
from shared.ports import Message
from shared.storage.connection import Connection
from shared.storage.jobs import TableJobs
from shared.storage.queue import QUEUE, StepQueue
from shared.storage.signins import TABLE as SIGN_INS
from shared.storage.signins import TableSignIns
from solution import __main__
from solution.check import Finding
from solution.doctor import Senses, examine
from solution.doctor.linkedin import judge_version, sunset
from solution.doctor.round_trip import round_trip
from solution.install import install
from solution.web import DataverseWeb, Written

pytestmark = pytest.mark.xdist_group("doctor")

DATAVERSE, ENTRA = "https://contoso.crm.dynamics.com", "https://login.example"
LINKEDIN, APP = "https://linkedin.example", "https://app.example"
WEBHOOK_SECRET = "a webhook secret of good length"
KEY, OTHER_KEY = base64.b64encode(b"1" * 32).decode(), base64.b64encode(b"2" * 32).decode()
CALLBACK = f"{APP}/api/linkedin/callback"
USER = str(uuid4())
OURS = seeded_id("organization", "contoso")


class App(Simulator):
    """Stands in for the function app as strangers see it, so that it can be wrong in every way."""

    name = "function app"

    def __init__(self) -> None:
        super().__init__()
        self.health, self.body = 200, '{"status": "ok"}'
        self.door: int | None = None
        self.callback = 400
        self.secret = WEBHOOK_SECRET
        self.apart = timedelta()

    def routes(self) -> Iterable[Route]:
        """Return what the doctor asks for, and the root, which tells a time as every server does."""
        return [
            Route("GET", "/api/health", lambda _: self._told(self.health, self.body), "health"),
            Route("POST", "/api/dataverse/events", self._event, "webhook"),
            Route("GET", "/api/linkedin/callback", lambda _: self._told(self.callback, ""), "sign-in page"),
            Route("GET", "/", lambda _: self._told(200, ""), "anything"),
        ]

    def _event(self, request: Request) -> Response:
        knows = request.headers.get(schema.WEBHOOK_HEADER) == self.secret
        return self._told(self.door or (400 if knows else 401), "")

    def _told(self, status: int, body: str) -> Response:
        return json_response(body, status, {"Date": format_datetime(datetime.now(UTC) + self.apart, usegmt=True)})


class Watched(DataverseWeb):
    """An administrator's way into Dataverse, with something that happens once a row is made."""

    then: Callable[[], None] | None = None

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, solution: bool = False) -> Written:
        """Create, then let it happen."""
        written = super().post(path, body, solution=solution)
        if self.then is not None and path == schema.AUDIENCE_SET:
            self.then()
        return written


class Stage:
    """An installation of which every piece is fine: simulators in process, an own storage account, an app that stands in."""

    def __init__(self, storage: str) -> None:
        self.app, self.linkedin, self.entra = App(), LinkedInSimulator(redirect_uris=[CALLBACK]), EntraSimulator()
        self.dataverse = DataverseSimulator()
        self.linkedin.state.settings.versions_end = False
        self.connection = Connection.from_env({"AzureWebJobsStorage": storage})
        self.web = Watched(HttpClient(DATAVERSE, name="Dataverse", session=self.session()), self._sign, sleep=lambda _: None)
        self.env = {
            "AzureWebJobsStorage": storage,
            "DATAVERSE_URL": DATAVERSE,
            "DATAVERSE_TENANT_ID": TENANT,
            "DATAVERSE_CLIENT_ID": WORKER,
            "DATAVERSE_CLIENT_SECRET": WORKER_SECRET,
            "DATAVERSE_AUTHORITY": ENTRA,
            "DATAVERSE_ORGANIZATION_ID": OURS,
            "WEBHOOK_SECRET": WEBHOOK_SECRET,
            "LINKEDIN_CLIENT_ID": CLIENT_ID,
            "LINKEDIN_CLIENT_SECRET": CLIENT_SECRET,
            "LINKEDIN_VERSION": f"{datetime.now(UTC):%Y%m}",
            "LINKEDIN_API_URL": f"{LINKEDIN}/rest",
            "LINKEDIN_OAUTH_URL": f"{LINKEDIN}/oauth/v2",
            "SIGNIN_KEYS": f"one:{KEY}",
            "PUBLIC_URL": APP,
        }
        self.granted: dict[str, Any] = {}
        self.web.then = lambda: self.set_row(Status.NOT_ALLOWED)

    def session(self) -> requests.Session:
        """Return a session on which everybody is mounted."""
        session = requests.Session()
        session.trust_env = False
        for url, simulator in ((APP, self.app), (LINKEDIN, self.linkedin), (ENTRA, self.entra), (DATAVERSE, self.dataverse)):
            session.mount(url, InProcess(simulator))
        return session

    def _sign(self) -> dict[str, str]:
        token = tokens.issue(audience=DATAVERSE, now=self.dataverse.clock.time(), appid=seeds.ADMINISTRATOR_APPLICATION)
        return {"Authorization": f"Bearer {token}"}

    def install(self, *, app_user: str = WORKER) -> None:
        """Install the tables and roles; the webhook is left out, because there is nobody to ring for."""
        install(self.web, app_user=app_user)

    def set_row(self, status: Status) -> None:
        """Write what the app makes of the test row."""
        row = self.rows()[0]
        changes = {schema.Audience.STATUS: int(status), schema.Audience.MESSAGE: "The sentence of the app."}
        DataverseWeb.patch(self.web, f"{schema.AUDIENCE_SET}({row['lima_audienceid']})", {str(k): v for k, v in changes.items()})

    def rows(self) -> list[dict[str, Any]]:
        """Return the audience rows."""
        return list(self.dataverse.state.all_rows("lima_audience"))

    def sign_in(self, person: str = "ada", *, scopes: list[str] | None = None, until: timedelta = timedelta(days=60)) -> None:
        """Store a sign-in as the sign-in pages do."""
        self.granted = self.linkedin.actions()["grant"](person=person, scopes=scopes)
        now = datetime.now(UTC)
        self.sign_ins().save(SignIn(USER, self.granted["access_token"], now, now + until))

    def sign_ins(self, key: str = KEY) -> TableSignIns:
        """Return the stored sign-ins."""
        return TableSignIns(self.connection, (("one", base64.b64decode(key)),))

    def examine(self, **senses: Any) -> dict[str, Finding]:
        """Let the doctor look, and return what it says of each piece."""
        quick: dict[str, Any] = {"session": self.session, "row_seconds": 0.3, "message_seconds": 0.0} | senses
        found = list(examine(self.web, self.env, Senses(**quick)))
        self.assert_nothing_secret(found)
        return by_piece(found)

    def assert_nothing_secret(self, found: list[Finding]) -> None:
        """Look through everything that was said."""
        said = json.dumps([one.as_json() for one in found])
        secrets = [WEBHOOK_SECRET, CLIENT_SECRET, WORKER_SECRET, KEY, OTHER_KEY, *map(str, self.granted.values())]
        key = next((part for part in self.env.get("AzureWebJobsStorage", "").split(";") if part.startswith("AccountKey=")), "")
        assert not [one for one in [*secrets, key.removeprefix("AccountKey=")] if len(one) > 12 and one in said]
        assert "@" not in said


def by_piece(found: Iterable[Finding]) -> dict[str, Finding]:
    """Return findings by their piece; of two clocks the worse one."""
    pieces: dict[str, Finding] = {}
    for one in found:
        if one.piece not in pieces or one.verdict != "fine":
            pieces[one.piece] = one
    return pieces


def verdicts(found: Mapping[str, Finding]) -> dict[str, str]:
    """Return what is not fine."""
    return {piece: one.verdict for piece, one in found.items() if one.verdict != "fine"}


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Give a storage account that no function app listens to."""
    running = Azurite.start(tmp_path_factory.mktemp("storage"))
    yield running
    running.stop()


@pytest.fixture
def stage(azurite: Azurite) -> Iterator[Stage]:
    """Give an installation that is fine, with somebody signed in; its storage is empty again afterwards."""
    stage = Stage(azurite.connection_string)
    stage.install()
    stage.sign_in()
    yield stage
    far = datetime.now(UTC) + timedelta(days=10_000)
    for user in stage.sign_ins().expiring_before(far):
        stage.sign_ins().delete(user)
    for job_id, _ in TableJobs(stage.connection).overdue(far):
        TableJobs(stage.connection).forget(job_id)
    stage.connection.close()
    with QueueServiceClient.from_connection_string(azurite.connection_string) as queues:
        for name in (QUEUE, f"{QUEUE}-poison"):
            with suppress(HttpResponseError):
                queues.delete_queue(name)


# ------------------------------------------------------------------ all of it


def test_an_installation_that_is_fine_is_told_so_piece_by_piece(stage: Stage) -> None:
    """The administrator reads what was looked at, not only that nothing was found."""
    found = stage.examine()

    assert not verdicts(found), found
    assert list(found) == [
        "settings",
        "function app",
        "webhook",
        "webhook secret",
        "sign-in page",
        "clock",
        "DATAVERSE_ORGANIZATION_ID",
        "Dataverse sign-in of the app",
        "LinkedIn version",
        "LinkedIn app",
        "way back from LinkedIn",
        "jobs",
        "queue",
        "poison queue",
        f"sign-in of user {USER}",
        "round trip",
    ]


def test_missing_settings_are_one_finding_that_names_them_all_and_the_row_still_travels(stage: Stage) -> None:
    """Nothing can be asked for without settings, and one sentence is enough."""
    stage.env = {"DATAVERSE_URL": DATAVERSE}

    found = stage.examine()

    assert verdicts(found) == {"settings": "wrong"}
    for name in ("WEBHOOK_SECRET", "LINKEDIN_CLIENT_ID", "SIGNIN_KEYS", "PUBLIC_URL"):
        assert name in found["settings"].says
    assert found["settings"].fix
    assert list(found) == ["settings", "round trip"]


def test_a_service_that_does_not_answer_keeps_nobody_else_from_being_looked_at(stage: Stage) -> None:
    """One outage, one finding for each part that needs it."""
    stage.linkedin.faults.append(Fault("drop-before", times=1_000))

    found = stage.examine()

    assert verdicts(found) == {"LinkedIn": "wrong", "sign-ins": "wrong"}
    assert "gave no answer" in found["LinkedIn"].says
    assert found["round trip"].verdict == "fine"


# ------------------------------------------------------------------ the function app


def test_an_app_that_is_down_is_one_finding(stage: Stage) -> None:
    """Its webhook and pages are down with it."""
    stage.app.faults.append(Fault("drop-before", times=1_000))

    found = stage.examine()

    assert found["function app"].says == f"{APP} does not answer."
    assert "PUBLIC_URL" in found["function app"].fix
    assert "webhook" not in found


def test_an_app_that_is_not_ready_sends_the_administrator_to_its_log(stage: Stage) -> None:
    """The health page itself tells strangers nothing."""
    stage.app.health, stage.app.door, stage.app.callback = 503, 500, 500

    found = stage.examine()

    assert verdicts(found) == dict.fromkeys(("function app", "webhook", "webhook secret", "sign-in page"), "wrong")
    assert "not-ready" in found["function app"].fix


@pytest.mark.parametrize(("status", "body"), [(404, ""), (200, "<html>Your web app is running</html>"), (200, "[]")])
def test_something_else_at_the_apps_address_is_not_taken_for_the_app(stage: Stage, status: int, body: str) -> None:
    """A fresh Azure site answers too."""
    stage.app.health, stage.app.body = status, body

    found = stage.examine()

    assert found["function app"].verdict == "wrong"
    assert "not deployed" in found["function app"].fix


def test_a_webhook_that_takes_strangers_in_is_wrong(stage: Stage) -> None:
    """Whoever finds the address could ring."""
    stage.app.door = 202

    found = stage.examine()

    assert found["webhook"].says == "Without a secret it answers 202, not 401."


def test_another_webhook_secret_than_the_settings_is_told_apart_from_a_missing_webhook(stage: Stage) -> None:
    """After a change of the secret one side is easily forgotten."""
    stage.app.secret = "another secret of good length"

    assert verdicts(stage.examine()) == {"webhook secret": "wrong"}


def test_a_sign_in_page_that_is_not_there_is_told_with_its_address(stage: Stage) -> None:
    """LinkedIn would send people to a page that does not exist."""
    stage.app.callback = 404

    found = stage.examine()

    assert verdicts(found) == {"sign-in page": "wrong"}
    assert CALLBACK in found["sign-in page"].says


@pytest.mark.parametrize("apart", [timedelta(minutes=-5), timedelta(minutes=5)])
def test_clocks_that_are_apart_are_told(stage: Stage, apart: timedelta) -> None:
    """Tokens and sign-in addresses would be refused for reasons nobody sees."""
    stage.app.apart = apart

    found = stage.examine()

    assert verdicts(found) == {"clock": "wrong"}
    assert "function app are" in found["clock"].says


def test_clocks_a_minute_apart_agree(stage: Stage) -> None:
    """Nothing in the product is that fine."""
    stage.app.apart = timedelta(minutes=1)

    assert not verdicts(stage.examine())


# ------------------------------------------------------------------ Dataverse


def test_an_app_whose_secret_is_wrong_cannot_sign_in_to_dataverse(stage: Stage) -> None:
    """The sentence says which setting, and not its value."""
    stage.env["DATAVERSE_CLIENT_SECRET"] = "not the secret that it was"

    found = stage.examine()

    assert verdicts(found) == {"Dataverse": "wrong"}
    assert "DATAVERSE_CLIENT_SECRET" in found["Dataverse"].says
    assert "not the secret" not in json.dumps(found["Dataverse"].as_json())


def test_an_app_without_a_user_in_dataverse_is_told_apart_from_one_without_a_secret(stage: Stage) -> None:
    """Entra knows it, the environment does not: the installer puts that right."""
    stranger = str(uuid4())
    stage.entra.state.register(stranger, "a stranger's secret")
    stage.env |= {"DATAVERSE_CLIENT_ID": stranger, "DATAVERSE_CLIENT_SECRET": "a stranger's secret"}

    found = stage.examine()

    assert verdicts(found) == {"Dataverse sign-in of the app": "wrong"}
    assert "--app-user" in found["Dataverse sign-in of the app"].fix


def test_a_managed_identity_is_left_to_the_app_itself(stage: Stage) -> None:
    """It is not to be had on an administrator's machine, and that is no fault."""
    stage.env["DATAVERSE_AUTH"] = "managed-identity"

    assert verdicts(stage.examine()) == {"Dataverse sign-in of the app": "note"}


def test_the_id_of_another_environment_is_told_because_every_event_would_be_passed_over(stage: Stage) -> None:
    """After a copy of an environment this is the first thing to look at."""
    stage.env["DATAVERSE_ORGANIZATION_ID"] = str(uuid4())

    found = stage.examine()

    assert verdicts(found) == {"DATAVERSE_ORGANIZATION_ID": "wrong"}
    assert OURS in found["DATAVERSE_ORGANIZATION_ID"].fix


def test_the_environments_id_may_be_written_in_any_way_that_dataverse_writes_it(stage: Stage) -> None:
    """People copy it with brackets or in capitals."""
    stage.env["DATAVERSE_ORGANIZATION_ID"] = "{" + OURS.upper() + "}"

    assert not verdicts(stage.examine())


# ------------------------------------------------------------------ LinkedIn's app


def test_a_wrong_linkedin_secret_is_told_with_the_settings_to_compare(stage: Stage) -> None:
    """Nobody could sign in."""
    stage.linkedin.oauth.apps[CLIENT_ID].secret = "rotated in the portal"

    found = stage.examine()

    assert found["LinkedIn app"].verdict == "wrong"
    assert "LINKEDIN_CLIENT_SECRET" in found["LinkedIn app"].fix


def test_a_product_that_was_not_granted_is_told_before_anybody_tries_to_sign_in(stage: Stage) -> None:
    """LinkedIn takes days to approve; the administrator should know what is lacking."""
    stage.linkedin.actions()["app_scopes"](scopes=["r_ads", "rw_ads"])

    found = stage.examine()

    assert found["LinkedIn app's products"].verdict == "wrong"
    assert "rw_dmp_segments" in found["LinkedIn app's products"].says


def test_an_address_that_is_not_registered_is_a_note_with_the_address_to_register(stage: Stage) -> None:
    """What LinkedIn shows somebody who has not signed in is not documented, so it is not called wrong."""
    stage.linkedin.oauth.apps[CLIENT_ID].redirect_uris.clear()

    found = stage.examine()

    assert verdicts(found) == {"way back from LinkedIn": "note"}
    assert CALLBACK in found["way back from LinkedIn"].fix


@pytest.mark.parametrize(
    ("version", "today", "verdict"),
    [
        ("202608", date(2026, 11, 24), "fine"),
        ("202608", date(2027, 6, 15), "fine"),
        ("202608", date(2027, 6, 16), "note"),
        ("202608", date(2027, 8, 14), "note"),
        ("202608", date(2027, 8, 15), "wrong"),
        ("202603", date(2027, 3, 15), "note"),
        ("202603", date(2027, 3, 16), "wrong"),
        ("202612", date(2026, 11, 30), "wrong"),
        ("202613", date(2027, 11, 24), "wrong"),
        ("202512", date(2026, 11, 24), "wrong"),
    ],
)
def test_the_versions_end_is_announced_sixty_days_ahead(version: str, today: date, verdict: str) -> None:
    """LinkedIn answers no call after that day; one that was never published, none at all."""
    found = judge_version(version, today)

    assert found.verdict == verdict
    assert bool(found.fix) == (verdict != "fine")


def test_the_doctor_and_the_simulator_expect_the_same_ends_of_versions(stage: Stage) -> None:
    """They were written apart; where they differ, one of them has misread LinkedIn's page."""
    simulated = stage.linkedin.state.settings
    simulated.versions_end = True
    for version in ("202511", "202601", "202603", "202606", "202608"):
        end = datetime.combine(sunset(version), datetime.min.time(), UTC)
        for moment, answers in ((end - timedelta(seconds=1), True), (end, False)):
            stage.linkedin.clock.advance(moment.timestamp() - stage.linkedin.clock.time())
            token = stage.linkedin.actions()["grant"](person="ada")["access_token"]
            headers = {"Authorization": f"Bearer {token}", "LinkedIn-Version": version, "X-Restli-Protocol-Version": "2.0.0"}
            answer = stage.session().get(f"{LINKEDIN}/rest/adAccounts?q=search", headers=headers, timeout=5)
            assert (answer.status_code != 426) == answers, (version, moment, answer.text)


# ------------------------------------------------------------------ sign-ins


def test_an_installation_that_nobody_has_signed_in_to_is_not_wrong(stage: Stage) -> None:
    """It is new."""
    stage.sign_ins().delete(USER)

    assert verdicts(stage.examine()) == {"sign-ins": "note"}


def test_a_revoked_token_is_told_though_it_has_not_ended(stage: Stage) -> None:
    """Only LinkedIn knows."""
    stage.linkedin.actions()["end_tokens"](person="ada")

    found = stage.examine()

    assert found[f"sign-in of user {USER}"].says == "LinkedIn calls the token revoked."


def test_a_scope_that_was_not_granted_is_named(stage: Stage) -> None:
    """The person signed in while a product was still missing."""
    stage.sign_in(scopes=["r_ads", "rw_ads"])

    found = stage.examine()

    assert found[f"sign-in of user {USER}"].says == "LinkedIn did not grant rw_dmp_segments."


@pytest.mark.parametrize(
    ("until", "verdict", "says"),
    [
        (timedelta(days=11), "fine", "It lasts 10 days"),
        (timedelta(days=9), "note", "It ends in 8 days"),
        (timedelta(seconds=-1), "wrong", "It has ended."),
    ],
)
def test_a_sign_in_that_ends_soon_is_a_note_and_one_that_has_ended_is_wrong(
    stage: Stage, until: timedelta, verdict: str, says: str
) -> None:
    """Automatic runs stop with it."""
    stage.sign_in(until=until)

    found = stage.examine()[f"sign-in of user {USER}"]

    assert (found.verdict, found.says.partition(";")[0]) == (verdict, says)


def test_a_sign_in_that_renews_itself_is_fine_while_its_refresh_token_lasts(stage: Stage) -> None:
    """The access token is renewed by the next job that needs it."""
    now = datetime.now(UTC)
    ended, later = now - timedelta(days=1), now + timedelta(days=100, hours=1)
    stage.sign_ins().save(SignIn(USER, "an ended token", ended, ended, "a refresh token", later))

    found = stage.examine()[f"sign-in of user {USER}"]

    assert found == Finding("fine", found.piece, "It lasts 100 days; its access token is renewed by the next job.")


def test_a_person_without_a_usable_ad_account_is_a_note(stage: Stage) -> None:
    """On LinkedIn's Development tier every ad account has to be mapped to the app."""
    stage.linkedin.actions()["no_accounts"](person="ada")

    assert verdicts(stage.examine()) == {f"sign-in of user {USER}": "note"}


def test_a_sign_in_under_a_lost_key_is_told_and_left_as_it_is(stage: Stage) -> None:
    """The person signs in again, or the key comes back."""
    stage.env["SIGNIN_KEYS"] = f"new:{OTHER_KEY}"

    found = stage.examine()

    assert verdicts(found) == {f"sign-in of user {USER}": "wrong"}
    assert "SIGNIN_KEYS" in found[f"sign-in of user {USER}"].says


def test_the_doctor_never_seals_a_sign_in_anew_because_its_keys_may_be_older_than_the_apps(stage: Stage) -> None:
    """The app could not open it any more."""
    stage.env["SIGNIN_KEYS"] = f"older:{OTHER_KEY},one:{KEY}"

    assert not verdicts(stage.examine())
    stored = stage.connection.table(SIGN_INS).get("signin", USER)
    assert stored
    assert stored[0]["key"] == "one"


# ------------------------------------------------------------------ storage


def test_a_storage_account_that_cannot_be_reached_is_one_finding(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs, queue and sign-ins are all in it."""
    monkeypatch.setattr("shared.storage.failures.PAUSES", ())
    dead = "http://127.0.0.1:9/devstoreaccount1"
    key = next(part for part in stage.env["AzureWebJobsStorage"].split(";") if part.startswith("AccountKey="))
    ends = ";".join(f"{service}Endpoint={dead}" for service in ("Blob", "Queue", "Table"))
    stage.env["AzureWebJobsStorage"] = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;{key};{ends};"

    found = stage.examine()

    assert verdicts(found) == {"storage": "wrong"}


def test_a_storage_account_that_only_takes_the_apps_identity_is_a_note(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is how it is installed in Azure; an administrator's machine has no such identity."""
    del stage.env["AzureWebJobsStorage"]
    stage.env |= {"AzureWebJobsStorage__credential": "managedidentity", "AzureWebJobsStorage__accountName": "lima"}
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/msi")
    monkeypatch.setenv("IDENTITY_HEADER", "x")

    found = stage.examine()

    assert verdicts(found) == {"storage": "note"}
    assert "managed identity" in found["storage"].says


def test_a_setting_that_describes_no_storage_account_is_told(stage: Stage) -> None:
    """Its value is a secret and not repeated."""
    stage.env["AzureWebJobsStorage"] = "AccountKey=of-nothing"

    found = stage.examine()

    assert verdicts(found) == {"storage": "wrong"}
    assert "of-nothing" not in json.dumps(found["storage"].as_json())


def test_a_job_that_should_have_gone_on_long_ago_is_named(stage: Stage) -> None:
    """The timer that wakes jobs does not run."""
    job_id, now = str(uuid4()), datetime.now(UTC)
    jobs = TableJobs(stage.connection)
    jobs.create(Job(id=job_id, correlation="", created=now, due=now - timedelta(minutes=31)))
    jobs.create(Job(id=str(uuid4()), correlation="", created=now, due=now - timedelta(minutes=29)))

    found = stage.examine()

    assert verdicts(found) == {"jobs": "wrong"}
    assert found["jobs"].says == f"1 jobs should have gone on more than 30 minutes ago: {job_id}."


def test_a_message_that_nobody_takes_is_told_and_left_where_it_is(stage: Stage) -> None:
    """The function that takes them does not run."""
    StepQueue(stage.connection).send(Message("audience", str(uuid4())))

    assert not verdicts(stage.examine())
    late = stage.examine(now=lambda: datetime.now(UTC) + timedelta(minutes=11))
    assert late["queue"].verdict == "wrong"
    assert stage.connection.queue(QUEUE).waiting()[0] == 1


def test_an_old_message_that_is_taken_in_the_next_moment_is_fine(
    stage: Stage, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that was to wait for hours is that old when it becomes visible."""
    StepQueue(stage.connection).send(Message("audience", str(uuid4())))
    pauses: list[float] = []

    def taken_meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        with QueueServiceClient.from_connection_string(azurite.connection_string) as queues:
            queues.get_queue_client(QUEUE).clear_messages()

    monkeypatch.setattr("solution.doctor.storage.time", SimpleNamespace(sleep=taken_meanwhile, monotonic=time.monotonic))
    found = stage.examine(now=lambda: datetime.now(UTC) + timedelta(hours=5), message_seconds=10.0)

    assert pauses == [1.0]
    assert found["queue"].verdict == "fine"


def test_a_poison_message_is_told(stage: Stage, azurite: Azurite) -> None:
    """Somebody's job has failed in a way that its row may not tell."""
    with QueueServiceClient.from_connection_string(azurite.connection_string) as queues:
        queues.create_queue(f"{QUEUE}-poison")
        queues.get_queue_client(f"{QUEUE}-poison", message_encode_policy=TextBase64EncodePolicy()).send_message("{}")

    found = stage.examine()

    assert verdicts(found) == {"poison queue": "wrong"}
    assert "message-poisoned" in found["poison queue"].fix


# ------------------------------------------------------------------ the round trip


def test_a_row_that_nobody_takes_is_told_and_deleted(stage: Stage) -> None:
    """The webhook does not ring, or the app does not listen."""
    stage.web.then = None

    found = stage.examine()

    assert verdicts(found) == {"round trip": "wrong"}
    assert "has not taken it" in found["round trip"].says
    assert not stage.rows()


def test_a_row_that_is_taken_and_never_comes_back_is_told_apart(stage: Stage) -> None:
    """Then the way there is fine, and the app's log knows more."""
    stage.web.then = lambda: stage.set_row(Status.CHECKING)

    found = stage.examine()

    assert "got stuck" in found["round trip"].says
    assert not stage.rows()


def test_a_row_that_comes_back_failed_repeats_what_the_app_says(stage: Stage) -> None:
    """The sentence is in the runbook."""
    stage.web.then = lambda: stage.set_row(Status.FAILED)

    found = stage.examine()

    assert found["round trip"].says.endswith("The sentence of the app.")
    assert found["round trip"].verdict == "wrong"
    assert not stage.rows()


def test_without_the_solution_the_row_cannot_be_made(azurite: Azurite) -> None:
    """The fix is the installer."""
    stage = Stage(azurite.connection_string)

    found = by_piece(round_trip(stage.web, 0.3))
    stage.connection.close()

    assert found["round trip"].fix == "Install the solution first."


def test_a_row_is_deleted_even_when_nobody_heard_that_it_was_made(stage: Stage) -> None:
    """The answer was lost, the row is there."""
    stage.dataverse.faults.append(Fault("drop-after", method="POST", path="lima_audiences"))

    found = by_piece(round_trip(stage.web, 0.3))

    assert "could not be made" in found["round trip"].says
    assert not stage.rows()


def test_a_row_that_cannot_be_watched_is_deleted_all_the_same(stage: Stage) -> None:
    """Dataverse may stop answering in the middle."""
    stage.dataverse.faults.append(Fault("drop-before", method="GET", path="lima_audiences", times=1_000))

    found = by_piece(round_trip(stage.web, 0.3))

    assert "could not be watched" in found["round trip"].says
    assert not stage.rows()


def test_a_row_that_cannot_be_deleted_is_named(stage: Stage) -> None:
    """Whoever finds it knows that it may go."""
    stage.dataverse.faults.append(Fault("status", method="DELETE", path="lima_audiences", times=1_000, status=403, body={}))

    found = by_piece(round_trip(stage.web, 0.3))

    assert found["test row"].verdict == "note"
    assert stage.rows()[0]["lima_audienceid"] in found["test row"].says


def test_an_interrupted_examination_leaves_no_row_behind(stage: Stage) -> None:
    """Ctrl-C is how people end what takes long."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    stage.web.then = interrupt

    with pytest.raises(KeyboardInterrupt):
        stage.examine()
    assert not stage.rows()


# ------------------------------------------------------------------ the command, on the running product


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Give the whole product, with somebody signed in. LinkedIn's versions end; the sandbox's do not."""
    with World.start(Options(settings={"LINKEDIN_VERSION": f"{datetime.now(UTC):%Y%m}"})) as world:
        world.store_sign_in(str(world.dataverse.do("users")["marketers"][0]))
        yield world


def command(world: World, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m solution check` as an administrator's application, with nothing but these variables set."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DATAVERSE_", "LINKEDIN_"))}
    ours = {name: value for name, value in ours.items() if name not in ("PUBLIC_URL", "WEBHOOK_SECRET", "SIGNIN_KEYS")}
    environment = world.environment()
    return subprocess.run(
        [sys.executable, "-m", "solution", "check", *arguments],
        env={**ours, **{name: environment[name] for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def as_administrator() -> dict[str, str]:
    """Return the variables that an administrator's application signs in with."""
    return {"DATAVERSE_CLIENT_ID": ADMIN_APP, "DATAVERSE_CLIENT_SECRET": ADMIN_SECRET, "DATAVERSE_TENANT_ID": TENANT}


def settings_file(world: World, folder: Path, **changes: str) -> Path:
    """Return a file with the app's settings."""
    file = folder / "doctor.json"
    file.write_text(json.dumps({"Values": world.settings() | changes}), encoding="utf-8-sig")
    return file


def test_the_doctor_finds_the_running_product_well_from_one_file_of_settings(world: World, tmp_path: Path) -> None:
    """The file names the environment, the app and the authority; the command line only says who signs in."""
    file = settings_file(world, tmp_path)

    done = command(world, "--all", "--json", "--sign-in", "app", "--settings", str(file), **as_administrator())

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    pieces = by_piece(Finding(**one) for one in report["findings"])
    assert report["fine"] is True
    assert pieces["round trip"].says.startswith("A test row went through the app and came back")
    assert pieces["webhook secret"].verdict == pieces["Dataverse sign-in of the app"].verdict == "fine"
    assert pieces["application user"].verdict == "fine"
    for name in ("WEBHOOK_SECRET", "LINKEDIN_CLIENT_SECRET", "DATAVERSE_CLIENT_SECRET", "SIGNIN_KEYS", "AzureWebJobsStorage"):
        assert world.settings()[name] not in done.stdout + done.stderr
    assert not [row for row in world.dataverse.do("table", name="lima_audience") if "doctor" in str(row.get("lima_name"))]


def test_what_is_wrong_makes_the_exit_code_one_and_stands_in_the_text_with_its_fix(world: World, tmp_path: Path) -> None:
    """Pipelines read the code, people the text."""
    file = settings_file(world, tmp_path, LINKEDIN_CLIENT_SECRET="rotated")

    done = command(world, "--all", "--sign-in", "app", "--settings", str(file), **as_administrator())

    assert done.returncode == 1
    assert "  wrong  LinkedIn app:" in done.stdout
    assert "-> Compare LINKEDIN_CLIENT_ID" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 of ")  # the secret is needed to ask about sign-ins too


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Say which environment is meant: set DATAVERSE_URL or give --url"),
        (["--settings", "no-such-file.json"], "cannot be read (FileNotFoundError)"),
        (["--settings", "README.md"], "has to look like local.settings.sample.json"),
        (["--settings", "pyproject.toml"], "has to look like local.settings.sample.json"),
        (["--settings", "host.json"], "has to look like local.settings.sample.json"),
    ],
)
def test_a_doctor_that_cannot_begin_says_what_to_set(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence and exit code 2, never a trace: `make doctor` is what people type first."""
    monkeypatch.delenv("DATAVERSE_URL", raising=False)
    monkeypatch.chdir(ROOT)

    assert __main__.main(["check", "--all", *arguments]) == 2

    printed = capsys.readouterr()
    assert sentence in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not printed.out


def test_an_address_on_the_command_line_wins_over_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is typed is meant."""
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"Values": {"DATAVERSE_URL": DATAVERSE, "DATAVERSE_AUTHORITY": None}}))

    assert __main__.main(["check", "--settings", str(file), "--url", "http://typed.example"]) == 2
    assert "has to begin with https://" in capsys.readouterr().err
