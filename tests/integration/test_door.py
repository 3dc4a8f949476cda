"""The webhook's door on the running app: who gets in, what comes of it, and what a repeated, odd or foreign event does."""

import hmac
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import azure.functions as func  # noqa: TID251  the function itself is called with storage that fails
import pytest
import requests
from azure.storage.queue import QueueClient

from function_app import dataverse_events
from sandbox.dataverse.tables import seeded_id
from sandbox.world import Options, World
from shared.errors import AudienceSyncError, ConfigurationWrong, RemoteUnavailable
from shared.pipeline.door import Door
from shared.storage.connection import Connection
from shared.storage.doorbells import TABLE as DOORBELLS
from shared.storage.queue import QUEUE

pytestmark = pytest.mark.xdist_group("door")

OURS = seeded_id("organization", "contoso")
PREVIOUS = "the secret that was used until yesterday"
SIGN_IN, AUDIENCE = "lima_signin", "lima_audience"
CONNECT, WAITING = 727000000, 727000001
NOT_ALLOWED = 727000009
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def until[T](condition: Callable[[], T | None], seconds: float = 20.0) -> T:
    """Return the first true value of a condition; fails when there is none in time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        threading.Event().wait(0.02)
    return found


def event(**changes: Any) -> dict[str, Any]:
    """Return what Dataverse posts when an audience row was made, as far as it matters, with some members changed."""
    return {
        "CorrelationId": str(uuid4()),
        "Depth": 1,
        "InitiatingUserId": str(uuid4()),
        "InputParameters": [],
        "MessageName": "Create",
        "OperationId": str(uuid4()),
        "OrganizationId": OURS,
        "PrimaryEntityId": str(uuid4()),
        "PrimaryEntityName": AUDIENCE,
    } | changes


class Caller:
    """Whoever knows the address of the webhook."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._session = requests.Session()
        self._session.trust_env = False
        self._storage = Connection.from_env({"AzureWebJobsStorage": world.azurite.connection_string})
        self._queue = QueueClient.from_connection_string(world.azurite.connection_string, QUEUE)

    def post(self, body: Any, *, secret: str | None = None, **headers: str) -> requests.Response:
        """Post a body; without `secret` with the right one, with "" without any."""
        given = self.world.webhook_secret if secret is None else secret
        sent = {"Content-Type": "application/json", **headers} | ({"x-lima-key": given} if given else {})
        content = body if isinstance(body, bytes) else json.dumps(body).replace("/", "\\/").encode()
        return self._session.post(self.world.app_url + "/api/dataverse/events", content, headers=sent, timeout=30)

    def said(self, action: str, **facts: Any) -> list[dict[str, Any]]:
        """Return the lines of the app's log with this action and these facts."""
        lines = [json.loads(line) for line in self.world.host.log_text().splitlines() if f'"{action}"' in line]
        return [line for line in lines if facts.items() <= line.items()]

    def taken(self) -> int:
        """Return how many events were ever taken."""
        return len(self._storage.table(DOORBELLS).select("taken ge @when", {"when": LONG_AGO}, ()))

    def runs(self, function: str, how: str) -> int:
        """Return how many runs of a function are `running`, or have `succeeded` or `failed`."""
        found = self._session.get(self.world.app_url + "/__sandbox__/runs", timeout=30).json()
        return int(found.get(function, {}).get(how, 0))

    def settle(self) -> None:
        """Wait until every message on the queue was handled."""
        until(lambda: not self._waiting() and not self.runs("job_steps", "running"))

    def _waiting(self) -> int:
        return self._queue.get_queue_properties().approximate_message_count or 0

    def close(self) -> None:
        """End what was opened."""
        self._storage.close()
        self._queue.close()
        self._session.close()


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    """Give a running product that is changing its secret and knows its organisation, and whoever calls it."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    settings = {"WEBHOOK_SECRET_PREVIOUS": PREVIOUS, "DATAVERSE_ORGANIZATION_ID": f"{{{OURS.upper()}}}"}
    with World.start(Options(settings=settings)) as world:
        calling = Caller(world)
        yield calling
        calling.close()


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize("secret", ["", "wrong", "x" * 5000, "the secret that was used until yesterda", "\u00e9\u00ff"])
def test_without_the_secret_nobody_gets_in(caller: Caller, secret: str) -> None:
    """401, nothing else, and nothing is remembered, so that nobody can fill the storage either."""
    before = caller.taken()
    answer = caller.post(event(), secret=secret)

    assert (answer.status_code, answer.content) == (401, b"")
    assert caller.taken() == before


def test_a_secret_in_the_address_opens_nothing(caller: Caller) -> None:
    """Addresses end up in logs, so secrets are taken from the header only."""
    address = f"{caller.world.app_url}/api/dataverse/events?x-lima-key={caller.world.webhook_secret}"
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(address, json=event(), timeout=30)

    assert answer.status_code == 401


def test_both_secrets_open_while_they_are_changed(caller: Caller) -> None:
    """Dataverse and the app can be changed one after the other, without an event lost."""
    assert caller.post(event()).status_code == 202
    assert caller.post(event(), secret=PREVIOUS).status_code == 202


def test_every_secret_is_compared_in_constant_time_however_the_first_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an answer tells nothing of the secrets."""
    compared: list[tuple[bytes, bytes]] = []
    really = hmac.compare_digest

    def compare(given: bytes, secret: bytes) -> bool:
        compared.append((given, secret))
        return really(given, secret)

    monkeypatch.setattr(hmac, "compare_digest", compare)

    assert dataverse_events._knows_secret("new", ("new", "old"))
    assert not dataverse_events._knows_secret("", ("new", "old"))
    assert not dataverse_events._knows_secret("\udcff", ("new", "old"))
    assert [secret for _, secret in compared] == [b"new", b"old"] * 3


# ------------------------------------------------------------------ bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"PrimaryEntityName": "lima_audience"',
        b"null",
        b"[]",
        b'"text"',
        event(PrimaryEntityId="not a guid"),
        event(PrimaryEntityId=None),
        event(PrimaryEntityName="lima_audience?$select=x"),
        event(PrimaryEntityName=7),
    ],
)
def test_a_body_that_is_no_event_is_refused_without_detail(caller: Caller, body: Any) -> None:
    """400 and an empty answer: whoever tries things out learns nothing."""
    before = caller.taken()
    answer = caller.post(body)

    assert (answer.status_code, answer.content) == (400, b"")
    assert caller.taken() == before


def test_a_body_larger_than_dataverse_sends_is_refused(caller: Caller) -> None:
    """Dataverse cuts at 256 KB; twice as much is not from it."""
    padded = event(SharedVariables=[{"key": "tag", "value": "x" * 600_000}])
    answer = caller.post(padded)

    assert (answer.status_code, answer.content) == (413, b"")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_the_door_takes_only_what_dataverse_sends(caller: Caller, method: str) -> None:
    """Any other method has nothing behind it."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.request(method, caller.world.app_url + "/api/dataverse/events", timeout=30)

    assert answer.status_code == 405


# ------------------------------------------------------------------ what comes of an event


def test_an_event_of_another_organisation_is_passed_over(caller: Caller) -> None:
    """A copied environment keeps the webhook of the original; its rows are not ours."""
    before = caller.taken()
    row = str(uuid4())
    answer = caller.post(event(OrganizationId=str(uuid4()), PrimaryEntityId=row))
    unnamed = caller.post(event(OrganizationId=None))

    assert (answer.status_code, unnamed.status_code) == (202, 202)
    assert caller.taken() == before
    assert len(caller.said("event-foreign")) >= 2
    assert caller.said("event-taken", row=row) == []


def test_an_event_of_another_table_is_passed_over(caller: Caller) -> None:
    """Somebody may register our webhook for more than the installer did."""
    before = caller.taken()

    assert caller.post(event(PrimaryEntityName="account")).status_code == 202
    assert caller.taken() == before


def test_an_event_for_a_row_that_is_gone_leaves_nothing_behind(caller: Caller) -> None:
    """It is taken, looked at, and forgotten; no message fails."""
    row = str(uuid4())

    assert caller.post(event(PrimaryEntityId=row)).status_code == 202
    until(lambda: caller.said("job-forgotten", job=row))
    assert caller.post(event(PrimaryEntityName=SIGN_IN, PrimaryEntityId=row)).status_code == 202
    assert caller.post(event(PrimaryEntityName="list", MessageName="Update", PrimaryEntityId=row)).status_code == 202
    until(lambda: len(caller.said("event-taken", row=row)) == 3)
    caller.settle()
    assert caller.runs("job_steps", "failed") == 0
    assert caller.runs("job_steps_poison", "succeeded") == 0


def test_a_replayed_event_is_harmless(caller: Caller) -> None:
    """Whoever has recorded a delivery can send it again as often as they like."""
    once = event()
    first, *others = [caller.post(once) for _ in range(5)]

    assert {answer.status_code for answer in (first, *others)} == {202}
    assert len(caller.said("event-taken", row=once["PrimaryEntityId"])) == 1
    assert len(caller.said("event-repeated")) >= 4


def test_the_events_own_words_are_not_believed(caller: Caller) -> None:
    """An event is a doorbell: a status or command in its body changes nothing, the row itself is read."""
    world = caller.world
    user = world.dataverse.do("users")["marketers"][0]
    row = str(uuid4())
    asked = {"lima_signinid": row, "lima_name": "me"}
    world.dataverse.api("POST", "lima_signins", asked, user=user)
    target = {"Id": row, "Attributes": [{"key": "lima_command", "value": {"Value": CONNECT}}]}
    told = event(PrimaryEntityName=SIGN_IN, PrimaryEntityId=row, InputParameters=[{"key": "Target", "value": target}])

    assert caller.post(told).status_code == 202
    until(lambda: caller.said("event-taken", row=row))
    caller.settle()
    found = world.row(SIGN_IN, row)
    assert found is not None
    assert found.get("lima_address") is None


def test_an_event_that_dataverse_had_to_shorten_does_its_work(caller: Caller) -> None:
    """Over 256 KB Dataverse leaves out everything but the ids; the row is read anyway."""
    world = caller.world
    user = world.dataverse.do("users")["marketers"][1]
    row = str(uuid4())
    large = {"lima_signinid": row, "lima_name": "me", "lima_adaccounts": "x" * 300_000, "lima_command": CONNECT}
    world.dataverse.api("POST", "lima_signins", large, user=user)

    until(lambda: (world.row(SIGN_IN, row) or {}).get("lima_status") == WAITING)
    delivered = [one for one in world.dataverse.do("deliveries") if one["row_id"] == row]
    assert any(one["stripped"] for one in delivered)
    assert all(one["statuses"] == [202] for one in delivered if one["outcome"] == "succeeded")


def test_a_delivery_repeated_by_the_platform_starts_one_job(caller: Caller) -> None:
    """Dataverse repeats after a 502, 503 or 504 although the first call may have been taken."""
    world = caller.world
    user = world.dataverse.do("users")["marketers"][0]
    row = str(uuid4())
    asked = {"lima_audienceid": row, "lima_name": "n", "lima_segmenttable": "list", "lima_segmentid": str(uuid4())}
    world.dataverse.do("plan_deliveries", mode="twice", times=1, message="Create", table=AUDIENCE)
    world.dataverse.api("POST", "lima_audiences", asked | {"lima_command": CONNECT, "lima_commandid": str(uuid4())}, user=user)

    until(lambda: (world.row(AUDIENCE, row) or {}).get("lima_status") == NOT_ALLOWED)
    world.dataverse.do("await_deliveries")
    made = next(one for one in world.dataverse.do("deliveries") if one["row_id"] == row and one["message"] == "Create")
    assert world.dataverse.do("redeliver", number=made["number"]) == {"status": 202}
    caller.settle()
    assert len(caller.said("event-taken", row=row)) == 1
    assert len(caller.said("command-taken", job=row)) == 1


# ------------------------------------------------------------------ when storage fails


class Failing:
    """Doorbells or a queue that cannot be reached."""

    def __init__(self, error: AudienceSyncError) -> None:
        self.error = error

    def take(self, *_: Any) -> bool:
        raise self.error

    def send(self, *_: Any, **__: Any) -> None:
        raise self.error


class Remembering:
    """Doorbells in memory."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def take(self, key: str, _: Any) -> bool:
        known = key in self.known
        self.known.add(key)
        return not known

    def release(self, key: str) -> None:
        self.known.discard(key)


def request_for(body: dict[str, Any]) -> func.HttpRequest:
    """Return a request as the host hands it over."""
    return func.HttpRequest(
        method="POST", url="https://app.example/api/dataverse/events", headers={"x-lima-key": "s"}, body=json.dumps(body).encode()
    )


@pytest.mark.parametrize("error", [RemoteUnavailable("not now"), ConfigurationWrong("refused")])
def test_a_failure_of_storage_is_answered_so_that_it_is_seen(monkeypatch: pytest.MonkeyPatch, error: AudienceSyncError) -> None:
    """500, which Dataverse shows as a failed system job; it would repeat after 502, 503 and 504 and hide the first failure."""

    class Product:
        door = Door(Failing(error), Failing(error), Clock(), ("s",))  # type: ignore[arg-type]

    monkeypatch.setattr(dataverse_events, "product", lambda: Product)
    answer = dataverse_events.dataverse_events.build().get_user_function()(request_for(event()))

    assert (answer.status_code, answer.get_body()) == (500, b"")


def test_an_event_whose_message_could_not_be_sent_is_taken_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would count as taken and be lost."""
    doorbells, told = Remembering(), event()

    class Product:
        door = Door(doorbells, Failing(RemoteUnavailable("not now")), Clock(), ("s",))  # type: ignore[arg-type]

    monkeypatch.setattr(dataverse_events, "product", lambda: Product)
    answer = dataverse_events.dataverse_events.build().get_user_function()(request_for(told))

    assert answer.status_code == 500
    assert doorbells.known == set()


class Clock:
    """A clock whose time does not matter."""

    def now(self) -> Any:
        return LONG_AGO

    def dice(self) -> float:
        return 0.5
