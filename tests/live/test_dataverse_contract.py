"""What the product relies on at Dataverse, asked of the simulator and, when variables name one, of a real environment.

Nothing is written. `docs/fidelity.md` lists the variables; a test that fails against the real environment names what the
simulator, and that page, have to learn.
"""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from sandbox import tokens
from sandbox.dataverse import DataverseSimulator, seeds
from sandbox.web import InProcess
from shared.dataverse import protocol
from shared.dataverse.auth import token_source
from shared.dataverse.client import DataverseClient
from shared.dataverse.members import DataverseMembers
from shared.dataverse.records import DataverseRecords
from shared.dataverse.schema import AUDIENCE_SET, SIGN_IN_SET, Audience, SignIn
from shared.dataverse.segments.marketing_list import paging_cookie
from shared.domain.segments import Kind, SegmentRef
from shared.http import Answer, HttpClient, new_session
from shared.settings import Settings
from solution.install import install
from solution.web import DataverseWeb

SIMULATED = "https://contoso.crm4.dynamics.com"
WORKER = "11111111-1111-4111-8111-111111111111"
NOT_USED = {
    "WEBHOOK_SECRET": "not used here",
    "LINKEDIN_CLIENT_ID": "not used here",
    "LINKEDIN_CLIENT_SECRET": "not used here",
    "SIGNIN_KEYS": "none:" + "A" * 43 + "=",
    "PUBLIC_URL": "https://not-used.example",
}


class Tokens:
    """A token source for one application of the simulated directory."""

    def __init__(self, application: str) -> None:
        self._application = application

    def token(self) -> str:
        """Return a token that the environment accepts."""
        return tokens.issue(appid=self._application, audience=SIMULATED, now=time.time())

    def forget(self, refused: str) -> None:
        """Nothing to forget."""


@dataclass(frozen=True)
class Place:
    """An environment with the product installed, asked as the worker. Ids are empty when none was named."""

    client: DataverseClient
    settings: Settings
    segment_id: str
    list_id: str

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for a path below the API's address."""
        return self.client.send(protocol.request("GET", path, headers=headers))

    def rows(self, path: str, **headers: str) -> dict[str, Any]:
        """Return a page of rows, with everything that came beside them."""
        answer = self.get(path, **headers)
        assert answer.status == 200, answer.body[:500]
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def some_contacts(self, count: int) -> list[str]:
        """Return the ids of some contacts; skips the test when there are fewer."""
        rows = self.rows(f"contacts?$select=contactid&$top={count}")["value"]
        if len(rows) < count:
            pytest.skip(f"needs {count} contacts")
        return [str(row["contactid"]) for row in rows]


def simulated() -> Place:
    """Return the simulator with the product installed and some members."""
    simulator = DataverseSimulator()
    session = new_session()
    session.mount(SIMULATED, InProcess(simulator))
    http = HttpClient(SIMULATED, name="Dataverse", session=session)
    administrator = Tokens(seeds.ADMINISTRATOR_APPLICATION)
    install(DataverseWeb(http, lambda: {"Authorization": f"Bearer {administrator.token()}"}), app_user=WORKER)
    simulator.seed_contacts(900, 1)
    segment, marketing_list = simulator.make_segment("realtime"), simulator.make_segment("list")
    named = {"DATAVERSE_TENANT_ID": "t", "DATAVERSE_CLIENT_ID": WORKER, "DATAVERSE_CLIENT_SECRET": "s"}
    settings = Settings.from_env({**NOT_USED, **named, "DATAVERSE_URL": SIMULATED})
    return Place(DataverseClient(http, Tokens(WORKER)), settings, segment["segment"], marketing_list["list"])


def real() -> Place:
    """Return the environment that the variables name; skips the test when they name none."""
    wanted = ("DATAVERSE_URL", "DATAVERSE_TENANT_ID", "DATAVERSE_CLIENT_ID", "DATAVERSE_CLIENT_SECRET")
    if missing := [f"LIVE_{name}" for name in wanted if not os.environ.get(f"LIVE_{name}")]:
        pytest.skip(f"needs {', '.join(missing)}")
    given = {name: os.environ.get(f"LIVE_{name}", "") for name in (*wanted, "DATAVERSE_AUTHORITY")}
    settings = Settings.from_env(NOT_USED | given)
    client = DataverseClient(HttpClient(settings.dataverse_url, name="Dataverse"), token_source(settings))
    return Place(client, settings, os.environ.get("LIVE_SEGMENT_ID", ""), os.environ.get("LIVE_LIST_ID", ""))


@pytest.fixture(scope="module", params=[simulated, pytest.param(real, marks=pytest.mark.live)], ids=["simulator", "real"])
def place(request: pytest.FixtureRequest) -> Place:
    """Return where this test asks."""
    make: Callable[[], Place] = request.param
    return make()


# ------------------------------------------------------------------ asking


def test_the_app_may_sign_in_and_is_told_who_it_is(place: Place) -> None:
    """Its user exists, is enabled, and belongs to this organisation."""
    me = place.client.who_am_i()

    assert UUID(me.user_id)
    assert UUID(me.organization_id)
    assert UUID(me.business_unit_id)


def test_every_answer_recommends_how_many_requests_at_once(place: Place) -> None:
    """Reading in parallel keeps to it."""
    assert protocol.dop_hint(place.get("WhoAmI").headers) is not None


def test_pages_come_as_large_as_asked_for_and_name_the_next(place: Place) -> None:
    """On the same host, opaque, and without repeating a row."""
    place.some_contacts(5)
    path, prefer = "contacts?$select=contactid", {"Prefer": "odata.maxpagesize=2"}
    first = place.rows(path, **prefer)
    link = first["@odata.nextLink"]
    second = place.rows(link, **prefer)

    assert protocol.next_path(place.client.base_url, link)
    assert [len(first["value"]), len(second["value"])] == [2, 2]
    assert len({row["contactid"] for row in (*first["value"], *second["value"])}) == 4


def test_the_columns_of_members_are_there(place: Place) -> None:
    """Of contacts and of leads, with a version each."""
    place.some_contacts(1)
    for path in (
        "contacts?$select=contactid,emailaddress1,donotemail,donotbulkemail,statecode&$top=1",
        "leads?$select=leadid,emailaddress1,donotemail,donotbulkemail,statecode&$top=1",
    ):
        for row in place.rows(path)["value"]:
            assert isinstance(row["donotemail"], bool)
            assert isinstance(row["donotbulkemail"], bool)
            assert isinstance(row["statecode"], int)
            assert row["@odata.etag"].startswith('W/"')


def test_rows_are_found_by_hundreds_of_ids_in_one_address(place: Place) -> None:
    """As many as the product asks for; ids that do not exist are simply not there."""
    known = place.some_contacts(3)
    ids = b"".join(UUID(one).bytes for one in known) + b"".join(uuid4().bytes for _ in range(protocol.IDS_PER_QUERY - 3))
    path = protocol.with_ids(protocol.query("contacts", select=["contactid"]), "contactid", ids)
    found = place.rows(path)["value"]

    assert len(path) < protocol.URL_LIMIT
    assert sorted(row["contactid"] for row in found) == sorted(known)


def test_a_batch_answers_each_operation_in_order_also_after_one_that_failed(place: Place) -> None:
    """Which is how members are read by their ids."""
    paths = ("WhoAmI", f"contacts({uuid4()})?$select=contactid", "contacts?$select=contactid&$top=1")
    answers = place.client.batch([protocol.request("GET", protocol.API + path) for path in paths], "try a batch")

    assert [answer.status for answer in answers] == [200, 404, 200]
    assert "UserId" in json.loads(answers[0].body)


def test_fetchxml_pages_by_cookies(place: Place) -> None:
    """In the order of the key; the cookie comes encoded twice."""
    place.some_contacts(5)
    wanted = 'odata.include-annotations="Microsoft.Dynamics.CRM.fetchxmlpagingcookie,Microsoft.Dynamics.CRM.morerecords"'
    query = '<entity name="contact"><attribute name="contactid"/><order attribute="contactid"/></entity>'

    def page(attributes: str) -> dict[str, Any]:
        fetch = f'<fetch count="2" {attributes}>{query}</fetch>'
        return place.rows(f"contacts?fetchXml={quote(fetch, safe='')}", Prefer=wanted)

    first = page('page="1"')
    cookie = paging_cookie(first["@Microsoft.Dynamics.CRM.fetchxmlpagingcookie"])
    written = cookie.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    second = page(f'page="2" paging-cookie="{written}"')

    assert first["@Microsoft.Dynamics.CRM.morerecords"] is True
    assert cookie.startswith("<cookie")
    assert len({row["contactid"] for row in (*first["value"], *second["value"])}) == 4


# ------------------------------------------------------------------ refusals


def test_what_is_not_there_is_told_apart(place: Place) -> None:
    """A row, an address, a column: each means something else for a job."""
    row = protocol.fault(place.get(f"contacts({uuid4()})?$select=contactid"))
    address = protocol.fault(place.get(f"nothing{uuid4().hex}"))
    column = protocol.fault(place.get("contacts?$select=nothing_of_this_name&$top=1"))

    assert row is not None
    assert row.row_is_missing
    assert address is not None
    assert address.is_not_installed
    assert not address.row_is_missing
    assert column is not None
    assert column.is_not_installed
    assert all(one.request_id for one in (row, address, column))


def test_a_missing_privilege_is_named(place: Place) -> None:
    """So that an administrator reads which one; the worker's role has nothing on roles."""
    answer = place.get("roles?$select=name&$top=1")
    if answer.status == 200:
        pytest.skip("this user holds more than the worker's role")
    found = protocol.fault(answer)

    assert found is not None
    assert found.status == 403
    assert re.search(r"\bprvReadRole\b", found.message)


# ------------------------------------------------------------------ segments, lists, consent


def test_a_real_time_segment_tells_its_members(place: Place) -> None:
    """Ids, all of them, of contacts or leads; the product's own reader understands the answer."""
    if not place.segment_id:
        pytest.skip("needs LIVE_SEGMENT_ID")
    members = DataverseMembers(place.client, place.settings)
    segment = members.look_up(SegmentRef("msdynmkt_segment", place.segment_id))
    ids = b"".join(members.list_ids(segment) or ())

    assert segment.kind is Kind.REALTIME
    assert segment.is_static
    assert segment.is_live
    assert segment.base in {"contact", "lead"}
    assert ids
    assert len(ids) % 16 == 0


def test_a_marketing_list_tells_its_members_page_by_page(place: Place) -> None:
    """By its N:N relationship, and without repeating one."""
    if not place.list_id:
        pytest.skip("needs LIVE_LIST_ID")
    members = DataverseMembers(place.client, place.settings)
    segment = members.look_up(SegmentRef("list", place.list_id))
    ids = [row.id for page in members.pages(segment, "", None) for row in page.rows.rows]

    assert segment.kind is Kind.LIST
    assert ids
    assert len(set(ids)) == len(ids)


def test_opted_out_addresses_can_be_asked_for(place: Place) -> None:
    """Or the environment says that it keeps none, in a way that the product understands."""
    found = DataverseMembers(place.client, place.settings).opted_out("")

    assert all(isinstance(address, str) for addresses, _ in found for address in addresses)


# ------------------------------------------------------------------ what was installed


def test_our_tables_have_every_column_that_the_app_reads(place: Place) -> None:
    """The installer was here, and in this version."""
    audience = [str(name) for name in Audience if name is not Audience.SIGN_IN_USER]
    place.rows(f"{AUDIENCE_SET}?$select={','.join([*audience, '_lima_signinuser_value'])}&$top=1")
    place.rows(f"{SIGN_IN_SET}?$select={','.join(SignIn)}&$top=1")


def test_upkeep_can_ask_what_it_asks(place: Place) -> None:
    """Rows with commands, and rows with an old list of members left out: its file column has a name column beside it."""
    records = DataverseRecords(place.client, live_statuses=frozenset())

    assert isinstance(records.pending_audiences(datetime.now(UTC) - timedelta(days=7)), list)
    assert isinstance(records.pending_sign_ins(datetime.now(UTC) - timedelta(days=7)), list)
    assert records.forget_left_out(datetime(2000, 1, 1, tzinfo=UTC)) == 0
