"""The worker's role holds exactly what the app uses: nothing can be taken out of it, and nothing in it is unused.

The whole product runs in process on the simulators of Dataverse and LinkedIn, with its own wiring; only storage is memory.
"""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from function_app import compose
from sandbox import tokens
from sandbox.dataverse import DataverseSimulator, seeds
from sandbox.linkedin import LinkedInSimulator
from sandbox.memory import MemoryClock, MemoryDoorbells, MemoryFiles, MemoryJobs, MemoryQueue, MemorySignIns, MemoryTickets
from sandbox.web import InProcess
from shared.dataverse.events import read_event
from shared.domain.signins import SignIn
from shared.errors import AudienceSyncError
from shared.http import HttpClient, new_session
from shared.storage.connection import Connection
from solution.definitions import PRIVILEGE_NAMES, WORKER, Role
from solution.install import install
from solution.web import DataverseWeb

pytestmark = pytest.mark.xdist_group("least_privilege")

DATAVERSE, LINKEDIN = "https://contoso.crm4.dynamics.com", "https://linkedin.example"
APP = "11111111-1111-4111-8111-111111111111"
ACCOUNT = "urn:li:sponsoredAccount:512345678"
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
    "LINKEDIN_CALLS_PER_MINUTE": "100000",
    "SIGNIN_KEYS": "k1:" + "A" * 43 + "=",
    "PUBLIC_URL": "https://audiences.example",
    "ALLOW_SNAPSHOTS": "true",
}
CHECK, CREATE = 727000000, 727000001
AUTOMATION = 727000001
CONNECT, DISCONNECT, REFRESH_ACCOUNTS = range(727000000, 727000003)
READY = 727000007
MEMBERS = 320


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
    """One installed product with everything that it talks to."""

    def __init__(self) -> None:
        self.dataverse = DataverseSimulator()
        self.linkedin = LinkedInSimulator(client_id="client", client_secret="secret", redirect_uris=["https://audiences.example"])
        self.linkedin.actions()["speed"](build="at once")
        session = new_session()
        session.mount(DATAVERSE, InProcess(self.dataverse))
        session.mount(LINKEDIN, InProcess(self.linkedin))
        self.clock = MemoryClock(datetime.now(UTC))
        self.queue, self.sign_ins, self.tickets = MemoryQueue(self.clock), MemorySignIns(), MemoryTickets()
        stand_ins: dict[str, Any] = {
            "HttpClient": lambda url, *, name: HttpClient(url, name=name, session=session),
            "token_source": lambda _: Tokens(APP),
            "SystemClock": lambda: self.clock,
            "TableJobs": lambda _: MemoryJobs(),
            "StepQueue": lambda _: self.queue,
            "BlobFiles": lambda _: MemoryFiles(self.clock),
            "TableDoorbells": lambda _: MemoryDoorbells(),
            "TableTickets": lambda _: self.tickets,
            "TableSignIns": lambda *_: self.sign_ins,
        }
        administrator = Tokens(seeds.ADMINISTRATOR_APPLICATION)
        http = HttpClient(DATAVERSE, name="Dataverse", session=session)
        web = DataverseWeb(http, lambda: {"Authorization": f"Bearer {administrator.token()}"})
        install(web, webhook_url="https://audiences.example/api/dataverse/events", webhook_secret="w" * 20, app_user=APP)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Connection, "from_env", lambda _: None)
            for name, stand_in in stand_ins.items():
                patched.setattr(compose, name, stand_in)
            self.product = compose.build(SETTINGS)
        self.dataverse.webhooks.send = self._deliver
        self.web = web
        self.user = seeds.MARKETERS[0]
        self.worker = next(row for row in self.dataverse.table("systemuser") if row.get("applicationid") == APP)["systemuserid"]
        self.complaints: list[str] = []
        self.dataverse.seed_contacts(MEMBERS * 2, 3)
        leads = [{"emailaddress1": f"lead{number}@contoso.example", "statecode": 0} for number in range(MEMBERS)]
        self.dataverse.load_rows("lead", leads)
        self.dataverse.opt_out(share=0.05)

    def _deliver(self, _url: str, headers: Any, body: bytes) -> int:
        self.product.door.take(read_event(body, headers))
        return 202

    # -------------------------------------------------------------- the role

    @property
    def held(self) -> dict[str, int]:
        """The privileges in the worker's role: name and depth."""
        role = next(row for row in self.dataverse.table("role") if row["name"] == WORKER.name)
        privileges = self.dataverse.state.privileges
        return {str(privileges.name_of(one)): depth for one, depth in privileges.by_role[role["roleid"]].items()}

    def take_away(self, name: str) -> None:
        """Take a privilege out of the role."""
        role = next(row for row in self.dataverse.table("role") if row["name"] == WORKER.name)
        privileges = self.dataverse.state.privileges
        by_name = {privileges.name_of(one): one for one in privileges.by_role[role["roleid"]]}
        del privileges.by_role[role["roleid"]][by_name[name]]
        privileges.changed()

    @property
    def used(self) -> set[str]:
        """The privileges that the worker has needed so far."""
        return self.dataverse.state.privileges.used.get(self.worker, set())

    # -------------------------------------------------------------- acting

    def work(self) -> None:
        """Handle the messages of the next two minutes; what an error says is noted."""
        until = self.clock.now() + timedelta(minutes=2)
        self.dataverse.webhooks.wait(10)
        while (waiting := [due for due, _ in self.queue.sent]) and min(waiting) < until:
            message = self.queue.take()
            assert message is not None
            try:
                self.product.handle(message)
            except AudienceSyncError as error:
                self.complaints.append(str(error))
            self.dataverse.webhooks.wait(10)
        self.queue.sent.clear()

    def sign_in(self) -> None:
        """Let the marketer be signed in to LinkedIn."""
        granted = self.linkedin.actions()["grant"](person="ada")
        now = self.clock.now()
        self.sign_ins.save(SignIn(self.user, granted["access_token"], now, now + timedelta(days=60)))

    def order(self, table: str, row_id: str) -> dict[str, Any]:
        """Let an automation of the marketer ask for an audience, and return its row as it is in the end."""
        audience = str(uuid4())
        values = {
            "lima_audienceid": audience,
            "lima_name": f"Audience of {table}",
            "lima_segmenttable": table,
            "lima_segmentid": row_id,
            "lima_origin": AUTOMATION,
            "lima_adaccount": ACCOUNT,
            "lima_command": CREATE,
            "lima_commandid": str(uuid4()),
            "ownerid@odata.bind": f"/systemusers({self.user})",
        }
        self.web.post("lima_audiences", values)
        self.work()
        found = self.dataverse.row("lima_audience", audience)
        assert found is not None
        return found

    def go_live(self, table: str, set_name: str, row_id: str) -> list[dict[str, Any]]:
        """Mark a segment, let it go live, and return the rows that came of it."""
        mark = {
            "lima_createwhenlive": True,
            "lima_liveadaccount": ACCOUNT,
            "lima_LiveSetBy@odata.bind": f"/systemusers({self.user})",
        }
        self.web.patch(f"{set_name}({row_id})", mark)
        if table == "msdynmkt_segment":
            self.web.patch(f"{set_name}({row_id})", {"statecode": 0, "statuscode": 1})
        else:
            self.dataverse.go_live(table, row_id)
            self.dataverse.settle_segments()
        self.work()
        return [row for row in self.dataverse.table("lima_audience") if row["lima_segmentid"] == row_id]

    def ask_sign_in(self, row_id: str, command: int) -> dict[str, Any]:
        """Set a command on a sign-in row and return the row afterwards."""
        self.web.patch(f"lima_signins({row_id})", {"lima_command": command, "lima_commandid": str(uuid4())})
        self.work()
        found = self.dataverse.row("lima_signin", row_id)
        assert found is not None
        return found


TABLES = {"realtime": "msdynmkt_segmentdefinition", "list": "list", "outbound": "msdyncrm_segment"}


def everything(house: House) -> None:
    """Do whatever the product does in Dataverse: every kind of segment, going live, the sign-in, upkeep."""
    house.sign_in()

    for kind in TABLES:
        made = house.dataverse.make_segment(kind, name=kind)
        house.order(made["table"], made["id"])
    realtime = house.dataverse.make_segment("realtime", name="by its segment", base="lead")
    house.order("msdynmkt_segment", realtime["segment"])
    dynamic = house.dataverse.make_segment("list", name="dynamic", static=False)
    house.order("list", dynamic["id"])
    sleeping = [house.dataverse.make_segment(kind, name=f"{kind} goes live", live=False) for kind in TABLES]
    for made in sleeping:
        house.go_live(made["table"], made["set"], made["id"])
    live = house.dataverse.make_segment("realtime", name="its segment goes live")
    house.go_live("msdynmkt_segment", "msdynmkt_segments", live["segment"])

    row_id = str(uuid4())
    house.web.post(
        "lima_signins", {"lima_signinid": row_id, "lima_name": "me", "ownerid@odata.bind": f"/systemusers({house.user})"}
    )
    for command in (CONNECT, REFRESH_ACCOUNTS):
        house.ask_sign_in(row_id, command)
    house.sign_in()
    house.clock.advance(55 * 86400)
    house.product.upkeep.wake()
    house.product.upkeep.tidy()
    house.product.upkeep.warn()
    house.ask_sign_in(row_id, DISCONNECT)


@pytest.fixture(scope="module")
def built() -> Iterator[House]:
    """Give a house."""
    house = House()
    yield house
    house.dataverse.webhooks.wait(10)


@pytest.fixture
def house(built: House, caplog: pytest.LogCaptureFixture) -> Iterator[House]:
    """Give a house in which nothing was asked for yet and the worker holds its whole role."""
    caplog.set_level(logging.INFO)
    roles = built.dataverse.state.privileges.by_role
    whole = {role: dict(held) for role, held in roles.items()}
    for table in ("lima_audience", "lima_signin"):
        for row in built.dataverse.table(table):
            built.web.delete(f"{table}s({row[f'{table}id']})")
    built.complaints.clear()
    yield built
    built.queue.sent.clear()
    roles.clear()
    roles.update(whole)
    built.dataverse.state.privileges.changed()


def names_of(role: Role, house: House) -> set[str]:
    """Return the names of the privileges that a role is defined with."""
    schema = house.dataverse.state.schema
    return {
        f"prv{verb}{PRIVILEGE_NAMES.get(table, schema.table(table).schema_name)}"
        for table, verbs in role.grants.items()
        for verb in verbs
    }


def test_the_role_holds_exactly_what_the_app_uses(house: House) -> None:
    """Whoever steals the app's credentials can do in Dataverse what the product does, and nothing else."""
    everything(house)

    statuses = [
        (row["lima_name"], row["lima_status"], row.get("lima_statusmessage")) for row in house.dataverse.table("lima_audience")
    ]
    assert len(statuses) == 9
    assert [one for one in statuses if one[1] != READY] == []
    assert house.complaints == []
    assert set(house.held) == names_of(WORKER, house)
    assert house.used == set(house.held)


@pytest.mark.parametrize("taken", [(table, verb) for table, verbs in WORKER.grants.items() for verb in verbs], ids="-".join)
def test_no_privilege_can_be_taken_out_of_the_role(
    house: House, caplog: pytest.LogCaptureFixture, taken: tuple[str, str]
) -> None:
    """Something fails, and the sentence names the privilege, so that an administrator can put it back."""
    table, verb = taken
    name = f"prv{verb}{PRIVILEGE_NAMES.get(table, house.dataverse.state.schema.table(table).schema_name)}"
    house.take_away(name)
    everything(house)

    on_rows = [str(row.get("lima_statusmessage")) for row in house.dataverse.table("lima_audience")]
    in_logs = [str(getattr(record, "reason", "")) for record in caplog.records]
    sentences = [one for one in (*on_rows, *in_logs, *house.complaints) if name in one]
    assert sentences, "nothing failed"
    assert all("lacks the privilege" in one and "administrator" in one for one in sentences)
