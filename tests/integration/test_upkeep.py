"""Upkeep on real storage: what is kept how long, and that nothing that was asked for is lost.

The product's own wiring on Azurite and the simulators; only the time is ours.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, TextBase64DecodePolicy

from function_app import compose
from sandbox import tokens
from sandbox.azurite import Azurite
from sandbox.dataverse import DataverseSimulator, seeds
from sandbox.linkedin import LinkedInSimulator
from sandbox.memory import MemoryClock
from sandbox.web import Fault, InProcess
from sandbox.world import Options, World
from shared.domain.jobs import Job, Step
from shared.domain.signins import SignIn
from shared.http import HttpClient, new_session
from shared.ports import Message, Ticket
from shared.storage.connection import Connection
from shared.storage.doorbells import TableDoorbells
from shared.storage.files import BlobFiles
from shared.storage.jobs import TableJobs
from shared.storage.queue import QUEUE, read_message
from shared.storage.signins import TableSignIns
from shared.storage.tickets import TableTickets
from solution.install import install
from solution.web import DataverseWeb

pytestmark = pytest.mark.xdist_group("upkeep")

DATAVERSE, LINKEDIN = "https://contoso.crm4.dynamics.com", "https://linkedin.example"
APP = "11111111-1111-4111-8111-111111111111"
ACCOUNT = "urn:li:sponsoredAccount:512345678"
KEYS = (("k1", b"k" * 32),)
SETTINGS = {
    "DATAVERSE_URL": DATAVERSE,
    "DATAVERSE_TENANT_ID": "t",
    "DATAVERSE_CLIENT_ID": APP,
    "DATAVERSE_CLIENT_SECRET": "s",
    "WEBHOOK_SECRET": "w",
    "LINKEDIN_CLIENT_ID": "client",
    "LINKEDIN_CLIENT_SECRET": "secret",
    "LINKEDIN_API_URL": f"{LINKEDIN}/rest",
    "LINKEDIN_OAUTH_URL": f"{LINKEDIN}/oauth/v2",
    "SIGNIN_KEYS": "k1:a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=",
    "PUBLIC_URL": "https://audiences.example",
    "RETENTION_DAYS": "7",
    "LEFT_OUT_DAYS": "30",
}
CREATE, CONNECT = 727000001, 727000000
AUTOMATION = 727000001
READY, WAITING, EXPIRES_SOON, EXPIRED = 727000007, 727000001, 727000003, 727000004
DAY = 86400.0


def until[T](condition: Callable[[], T | None], seconds: float = 20.0) -> T:
    """Return the first true value of a condition; fails when there is none in time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        threading.Event().wait(0.02)
    return found


class Tokens:
    """A token source for one application."""

    def __init__(self, application: str) -> None:
        self._application = application

    def token(self) -> str:
        """Return a token that the environment accepts."""
        return tokens.issue(appid=self._application, audience=DATAVERSE, now=time.time())

    def forget(self, refused: str) -> None:
        """Nothing to forget."""


class House:
    """The product on an empty storage account, with a clock of its own."""

    def __init__(self, storage: str) -> None:
        self.dataverse, self.linkedin = DataverseSimulator(), LinkedInSimulator(client_id="client", client_secret="secret")
        self.linkedin.actions()["speed"](build="at once")
        session = new_session()
        session.mount(DATAVERSE, InProcess(self.dataverse))
        session.mount(LINKEDIN, InProcess(self.linkedin))
        self.clock = MemoryClock(datetime.now(UTC))
        administrator = Tokens(seeds.ADMINISTRATOR_APPLICATION)
        http = HttpClient(DATAVERSE, name="Dataverse", session=session)
        self.web = DataverseWeb(http, lambda: {"Authorization": f"Bearer {administrator.token()}"})
        install(self.web, app_user=APP)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(compose, "HttpClient", lambda url, *, name: HttpClient(url, name=name, session=session))
            patched.setattr(compose, "token_source", lambda _: Tokens(APP))
            patched.setattr(compose, "SystemClock", lambda: self.clock)
            self.product = compose.build(SETTINGS | {"AzureWebJobsStorage": storage})
        self._storage = Connection.from_env({"AzureWebJobsStorage": storage})
        self._messages = QueueClient.from_connection_string(storage, QUEUE, message_decode_policy=TextBase64DecodePolicy())
        self.jobs, self.files = TableJobs(self._storage), BlobFiles(self._storage)
        self.doorbells, self.tickets = TableDoorbells(self._storage), TableTickets(self._storage)
        self.sign_ins = TableSignIns(self._storage, KEYS)
        self.user = seeds.MARKETERS[0]

    def close(self) -> None:
        """End what was opened."""
        self._messages.close()
        self._storage.close()

    def messages(self) -> list[Message]:
        """Take the messages that are visible now off the queue."""
        try:
            found = list(self._messages.receive_messages(max_messages=32))
        except ResourceNotFoundError:
            return []
        for one in found:
            self._messages.delete_message(one)
        return [read_message(one.content) for one in found]

    def forget_messages(self) -> None:
        """Lose whatever is on the queue, hidden or not."""
        self._messages.clear_messages()

    def sign_in(self, *, days: float = 60) -> None:
        """Let the marketer be signed in to LinkedIn."""
        granted = self.linkedin.actions()["grant"](person="ada")
        now = self.clock.now()
        self.sign_ins.save(SignIn(self.user, granted["access_token"], now, now + timedelta(days=days)))

    def order(self) -> str:
        """Ask for an audience of a new list, and return the row's id; no event tells of it."""
        if not self.dataverse.table("contact"):
            self.dataverse.seed_contacts(400, 3)
        made = self.dataverse.make_segment("list")
        row_id = str(uuid4())
        values = {
            "lima_audienceid": row_id,
            "lima_segmenttable": "list",
            "lima_segmentid": made["id"],
            "lima_origin": AUTOMATION,
            "lima_adaccount": ACCOUNT,
            "lima_command": CREATE,
            "ownerid@odata.bind": f"/systemusers({self.user})",
        }
        self.web.post("lima_audiences", values)
        return row_id

    def row(self, table: str, row_id: str) -> dict[str, Any]:
        """Return a row."""
        found = self.dataverse.row(table, row_id)
        assert found is not None
        return found

    def work(self, *messages: Message) -> None:
        """Handle messages; whatever they send is left on the queue."""
        for message in messages:
            self.product.handle(message)

    def finish(self, row_id: str) -> None:
        """Work on a job until it is ready, moving the clock to each appointment."""
        self.work(Message("audience", row_id))
        while True:
            loaded = self.jobs.load(row_id)
            assert loaded is not None
            job = loaded[0]
            if job.step in {Step.WATCH, Step.DONE}:
                return
            self.clock.advance(max(0.0, (job.due - self.clock.now()).total_seconds()) if job.due else 0.0)
            self.work(Message("audience", row_id, job.fence))

    def paths(self) -> list[str]:
        """Return the paths of all files."""
        return sorted(self.files.older_than(datetime.now(UTC) + timedelta(days=1)))


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a product on an empty storage account."""
    azurite = Azurite.start(tmp_path_factory.mktemp("azurite"))
    built = House(azurite.connection_string)
    yield built
    built.close()
    azurite.stop()


# ------------------------------------------------------------------ what is kept how long


def test_members_are_kept_for_the_days_that_are_set_and_no_longer(house: House) -> None:
    """Parts, member lists and lists of members left out are gone after RETENTION_DAYS; what the row shows stays."""
    house.sign_in()
    row_id = house.order()
    house.finish(row_id)
    assert house.row("lima_audience", row_id)["lima_status"] == READY
    kept = house.paths()
    assert kept, "a job leaves files"
    assert all(path.startswith(f"{row_id}/") for path in kept)

    house.clock.advance(6.9 * DAY)
    house.product.upkeep.tidy()
    assert house.paths() == kept
    house.clock.advance(0.2 * DAY)
    house.product.upkeep.tidy()

    assert house.paths() == []
    assert house.row("lima_audience", row_id)["lima_status"] == READY
    assert house.jobs.load(row_id) is not None


def test_the_list_of_members_left_out_stays_on_the_row_for_the_days_that_are_set(house: House) -> None:
    """Long enough to mend the addresses; the figures on the row stay."""
    house.sign_in()
    row_id = house.order()
    house.finish(row_id)
    assert house.row("lima_audience", row_id).get("lima_leftout_name") == "left-out.csv"

    house.clock.advance(29 * DAY)
    house.product.upkeep.tidy()
    assert house.row("lima_audience", row_id).get("lima_leftout_name") == "left-out.csv"
    house.clock.advance(2 * DAY)
    house.product.upkeep.tidy()

    after = house.row("lima_audience", row_id)
    assert (after.get("lima_leftout"), after.get("lima_leftout_name")) == (None, None)
    assert after["lima_inactive"] > 0
    house.product.upkeep.tidy()


def test_files_are_deleted_although_dataverse_cannot_be_asked(house: House) -> None:
    """What is kept here does not wait for anybody."""
    house.files.write("job/0/part-0", b"x")
    house.clock.advance(40 * DAY)
    house.dataverse.faults.append(Fault("status", times=9, status=503))
    house.product.upkeep.tidy()

    assert house.paths() == []


def test_what_the_engine_remembers_of_an_ended_job_is_forgotten_in_the_end(house: House) -> None:
    """It holds no one's data, so it may stay for a year, for Retry and for questions."""
    now = house.clock.now()
    for number, days in enumerate((399, 401)):
        ended = Job(id=f"job-{number}", correlation="c", created=now).ended(now - timedelta(days=days))
        house.jobs.create(ended)
    house.product.upkeep.tidy()

    assert house.jobs.load("job-0") is not None
    assert house.jobs.load("job-1") is None


def test_events_are_remembered_as_long_as_they_could_be_repeated(house: House) -> None:
    """Two days; an event that is repeated later finds a row whose command was taken, and changes nothing."""
    now = house.clock.now()
    house.doorbells.take("of an hour ago", now - timedelta(hours=1))
    house.doorbells.take("of three days ago", now - timedelta(days=3))
    house.product.upkeep.tidy()

    assert not house.doorbells.take("of an hour ago", now)
    assert house.doorbells.take("of three days ago", now)


def test_tickets_are_gone_once_they_are_worth_nothing(house: House) -> None:
    """Used or not."""
    now = house.clock.now()
    for name, ends in (("old", -1), ("used", -1), ("valid", 5)):
        house.tickets.issue(name, Ticket(house.user, str(uuid4()), now + timedelta(minutes=ends)))
    house.tickets.use_up("used")
    house.product.upkeep.tidy()

    left = house._storage.table("limatickets").select("expires ge @when", {"when": datetime(2000, 1, 1, tzinfo=UTC)}, ())
    assert len(left) == 1
    assert house.tickets.look_at("valid") is not None


def test_a_sign_in_that_has_ended_is_deleted_and_its_owner_told(house: House) -> None:
    """A token that opens nothing any more is no use to us and no business of ours."""
    row_id = str(uuid4())
    house.web.post(
        "lima_signins", {"lima_signinid": row_id, "lima_name": "me", "ownerid@odata.bind": f"/systemusers({house.user})"}
    )
    house.sign_in(days=60)

    house.product.upkeep.warn()
    assert house.row("lima_signin", row_id).get("lima_status") is None
    house.clock.advance(51 * DAY)
    house.product.upkeep.warn()
    assert house.row("lima_signin", row_id)["lima_status"] == EXPIRES_SOON
    assert "9 days" in house.row("lima_signin", row_id)["lima_statusmessage"]
    assert house.sign_ins.load(house.user) is not None
    house.clock.advance(10 * DAY)
    house.product.upkeep.warn()

    assert house.row("lima_signin", row_id)["lima_status"] == EXPIRED
    assert house.sign_ins.load(house.user) is None


def test_an_ended_sign_in_of_somebody_without_a_row_is_deleted_too(house: House) -> None:
    """Somebody left, and their rows were deleted."""
    house.sign_in(days=1)
    house.clock.advance(3 * DAY)
    house.product.upkeep.warn()

    assert house.sign_ins.load(house.user) is None


def test_a_row_that_was_deleted_takes_its_files_along(house: House) -> None:
    """Deleting the row is how a person erases what was read for it, without waiting for the days to pass."""
    house.sign_in()
    row_id = house.order()
    house.finish(row_id)
    assert house.paths()
    house.web.delete(f"lima_audiences({row_id})")
    house.work(Message("audience", row_id))

    assert house.paths() == []
    assert house.jobs.load(row_id) is None


# ------------------------------------------------------------------ what must not be lost


def test_a_request_whose_event_never_came_is_found(house: House) -> None:
    """For an audience and for a sign-in; what asks for nothing is left alone."""
    audience, sign_in, idle = house.order(), str(uuid4()), str(uuid4())
    house.web.post("lima_signins", {"lima_signinid": sign_in, "lima_name": "me", "lima_command": CONNECT})
    house.web.post("lima_signins", {"lima_signinid": idle, "lima_name": "me"})

    assert house.product.upkeep.wake() == 2
    found = house.messages()
    assert {(message.kind, message.id) for message in found} == {("audience", audience), ("signin", sign_in)}
    house.work(*found)
    assert house.row("lima_signin", sign_in)["lima_status"] == WAITING
    assert house.row("lima_audience", audience).get("lima_command") is None
    assert house.product.upkeep.wake() == 0


def test_an_overdue_job_is_woken_and_goes_on_where_it_was(house: House) -> None:
    """Its message was lost; the members are not read again."""
    house.sign_in()
    row_id = house.order()
    house.work(Message("audience", row_id))
    house.forget_messages()
    loaded = house.jobs.load(row_id)
    assert loaded is not None
    assert loaded[0].due is not None

    assert house.product.upkeep.wake() == 0, "it is not overdue yet"
    house.clock.advance((loaded[0].due - house.clock.now()).total_seconds() + 901)
    house.dataverse.calls.clear()
    assert house.product.upkeep.wake() == 1
    [message] = house.messages()
    assert (message.id, message.fence) == (row_id, loaded[0].fence)
    house.work(message)
    after = house.jobs.load(row_id)
    assert after is not None
    assert after[0].fence > loaded[0].fence
    assert not any("listcontact_association" in call.path for call in house.dataverse.calls)


def test_a_job_woken_twice_goes_on_once(house: House) -> None:
    """The lost message may turn up again after all."""
    house.sign_in()
    row_id = house.order()
    house.work(Message("audience", row_id))
    loaded = house.jobs.load(row_id)
    assert loaded is not None
    stale = Message("audience", row_id, loaded[0].fence)
    house.work(stale)
    after = house.jobs.load(row_id)
    house.work(stale)

    assert house.jobs.load(row_id) == after


def test_jobs_are_woken_although_dataverse_cannot_be_asked(house: House) -> None:
    """One part that fails keeps no other from running."""
    house.sign_in()
    row_id = house.order()
    house.work(Message("audience", row_id))
    house.forget_messages()
    house.clock.advance(2 * DAY)
    house.dataverse.faults.append(Fault("status", times=5, status=503))

    assert house.product.upkeep.wake() == 1
    assert [message.id for message in house.messages()] == [row_id]


# ------------------------------------------------------------------ the timers


def test_the_timers_of_the_running_app_do_it() -> None:
    """A webhook call that never came, found by the timer; and a night's tidying, on the real host."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    with World.start(Options(settings={"UPKEEP_SCHEDULE": "0 0 4 1 1 *"})) as world, requests.Session() as session:
        session.trust_env = False
        user = world.dataverse.do("users")["marketers"][0]
        row_id = str(uuid4())
        world.dataverse.do("plan_deliveries", mode="never", times=1)
        asked = {"lima_signinid": row_id, "lima_name": "me", "lima_command": CONNECT}
        world.dataverse.api("POST", "lima_signins", asked, user=user)
        for function in ("tidy_up", "wake_jobs"):
            answer = session.post(f"{world.app_url}/admin/functions/{function}", json={}, timeout=30)
            assert answer.status_code == 202

        until(lambda: (world.row("lima_signin", row_id) or {}).get("lima_status") == WAITING)
        runs = session.get(world.app_url + "/__sandbox__/runs", timeout=30).json()
        assert (runs["tidy_up"]["failed"], runs["wake_jobs"]["failed"]) == (0, 0)
        assert '"tidied"' in world.host.log_text()
