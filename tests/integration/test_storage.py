"""The storage adapters on Azurite: jobs, doorbells, messages, files, sign-ins, tickets, and what goes wrong with them."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import requests
from azure.core.credentials import AccessToken
from azure.storage.blob import AccountSasPermissions, ResourceTypes, Services, generate_account_sas
from requests.adapters import HTTPAdapter

from sandbox.azurite import Azurite
from shared.domain.jobs import Job, Step
from shared.domain.segments import Kind, Segment, SegmentRef
from shared.domain.signins import SignIn
from shared.errors import (
    ConfigurationWrong,
    OutcomeUnknown,
    RemoteUnavailable,
    SignInNeeded,
    SomebodyElseChangedIt,
    UnexpectedAnswer,
)
from shared.ports import Message, Ticket
from shared.storage.address import AccountAddress, read_address
from shared.storage.blobs import BLOCK
from shared.storage.connection import Connection
from shared.storage.doorbells import TableDoorbells
from shared.storage.files import BlobFiles
from shared.storage.identity import ManagedIdentity
from shared.storage.jobs import TableJobs
from shared.storage.queue import LONGEST_DELAY, StepQueue, read_message, write_message
from shared.storage.signing import Bearer, Unsigned
from shared.storage.signins import TableSignIns
from shared.storage.tickets import TableTickets

pytestmark = pytest.mark.xdist_group("azurite")

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)
KEYS = (("one", b"1" * 32),)


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Give an empty storage account."""
    running = Azurite.start(tmp_path_factory.mktemp("storage"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def connection(azurite: Azurite) -> Iterator[Connection]:
    """Give the product's connection to it."""
    connection = Connection.from_env({"AzureWebJobsStorage": azurite.connection_string})
    yield connection
    connection.close()


@pytest.fixture
def name() -> str:
    """Return a name for a table, queue or container that nobody else uses."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def jobs(connection: Connection, name: str) -> TableJobs:
    """Return jobs in a table that does not exist yet."""
    return TableJobs(connection, table=name)


@pytest.fixture
def files(connection: Connection, name: str) -> BlobFiles:
    """Return files in a container that does not exist yet."""
    return BlobFiles(connection, container=name)


class Wire:
    """Breaks requests on their way: before they are sent, or after the answer was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._planned: list[tuple[str, Exception]] = []
        really = HTTPAdapter.send

        def send(adapter: Any, request: Any, **options: Any) -> Any:
            broken = self._next(request.method)
            if isinstance(broken, requests.ConnectTimeout):
                raise broken
            answer = really(adapter, request, **options)
            if broken:
                answer.close()
                raise broken
            return answer

        monkeypatch.setattr(HTTPAdapter, "send", send)

    def lose_answer(self, method: str, times: int = 1) -> None:
        """Carry the next requests of this method out, and lose their answers."""
        self._planned += [(method, requests.ReadTimeout("cut")) for _ in range(times)]

    def cut(self, method: str, times: int = 1) -> None:
        """Do not let the next requests of this method out."""
        self._planned += [(method, requests.ConnectTimeout("cut")) for _ in range(times)]

    def _next(self, method: str) -> Exception | None:
        return self._planned.pop(0)[1] if self._planned and self._planned[0][0] == method else None


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Return what breaks requests."""
    monkeypatch.setattr("shared.storage.failures.PAUSES", (0.0, 0.0))
    return Wire(monkeypatch)


# ------------------------------------------------------------------ the address


def test_a_connection_string_wins_and_never_shows() -> None:
    """It holds the account's key."""
    address = read_address({"AzureWebJobsStorage": "AccountName=x;AccountKey=hush", "AzureWebJobsStorage__accountName": "y"})

    assert address.connection_string == "AccountName=x;AccountKey=hush"
    assert "hush" not in repr(address)


@pytest.mark.parametrize("written", ["UseDevelopmentStorage=true", "usedevelopmentstorage=TRUE;", " UseDevelopmentStorage=true "])
def test_the_hosts_short_form_for_azurite_is_understood(written: str) -> None:
    """`local.settings.json` says so by default, and the Python clients do not know it."""
    expanded = read_address({"AzureWebJobsStorage": written}).connection_string

    assert "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;" in expanded
    assert "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;" in expanded


def test_an_identity_reaches_the_account_by_name_or_by_addresses() -> None:
    """The two forms that the Functions host knows."""
    by_name = read_address(
        {
            "AzureWebJobsStorage__credential": "managedidentity",
            "AzureWebJobsStorage__clientId": "id-1",
            "AzureWebJobsStorage__accountName": "lima",
            "AzureWebJobsStorage__queueServiceUri": "https://queues.example/",
        }
    )

    assert by_name == AccountAddress(
        "", "https://lima.blob.core.windows.net", "https://queues.example", "https://lima.table.core.windows.net", "id-1"
    )


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({}, "AzureWebJobsStorage is missing"),
        ({"AzureWebJobsStorage": " "}, "AzureWebJobsStorage is missing"),
        ({"AzureWebJobsStorage__accountName": "lima"}, "__credential=managedidentity"),
        (
            {"AzureWebJobsStorage__credential": "managedidentity", "AzureWebJobsStorage__blobServiceUri": "https://b"},
            "AzureWebJobsStorage__queueServiceUri, AzureWebJobsStorage__tableServiceUri",
        ),
    ],
)
def test_a_missing_storage_setting_is_named(env: dict[str, str], named: str) -> None:
    """The administrator reads what to add."""
    with pytest.raises(ConfigurationWrong, match=named):
        read_address(env)


@pytest.mark.parametrize("written", ["nonsense", "a=b;c=d", "AccountKey=hush"])
def test_a_storage_setting_that_is_no_address_is_named(written: str) -> None:
    """Without repeating what was written, because a key may be in it."""
    connection = Connection.from_env({"AzureWebJobsStorage": written})

    with pytest.raises(ConfigurationWrong, match="AzureWebJobsStorage") as caught:
        connection.container("x").write("x/a", b"a")
    assert "hush" not in str(caught.value)
    connection.close()


def test_the_apps_identity_asks_for_the_storage_resource_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """MSAL keeps the token; the clients get what they need."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi")
    monkeypatch.setenv("IDENTITY_HEADER", "h")
    asked: list[dict[str, Any]] = []

    def get(url: str, **given: Any) -> Any:
        asked.append({"url": url, **given["params"]})
        in_an_hour = str(int(time.time()) + 3600)
        body = {"access_token": "token-1", "expires_on": in_an_hour, "resource": given["params"]["resource"]}
        return SimpleNamespace(status_code=200, text=json.dumps(body), headers={})

    identity = ManagedIdentity("id-1", http_client=SimpleNamespace(get=get, post=None, close=lambda: None))
    tokens = [identity.get_token("https://storage.azure.com/.default", enable_cae=False) for _ in range(2)]

    assert [token.token for token in tokens] == ["token-1", "token-1"]
    assert tokens[0].expires_on > time.time() + 3000
    assert len(asked) == 1
    assert (asked[0]["resource"], asked[0]["client_id"]) == ("https://storage.azure.com", "id-1")


def test_an_identity_that_is_not_there_is_an_administrators_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting that names it is named."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi")
    monkeypatch.setenv("IDENTITY_HEADER", "h")
    refusal = SimpleNamespace(status_code=400, text='{"statusCode":400,"message":"No such identity"}', headers={})
    identity = ManagedIdentity("id-1", http_client=SimpleNamespace(get=lambda *_, **__: refusal, close=lambda: None))

    with pytest.raises(ConfigurationWrong, match="AzureWebJobsStorage__clientId"):
        identity.get_token("https://storage.azure.com/.default")


def test_a_token_is_used_until_shortly_before_its_end() -> None:
    """MSAL would be asked for every request otherwise, which costs as much as the request."""
    given = iter([AccessToken("one", int(time.time()) + 3600), AccessToken("two", int(time.time()) + 60)])
    bearer = Bearer(SimpleNamespace(get_token=lambda _: next(given)))
    request = Unsigned("GET", "/x", {}, {}, 0)

    assert [bearer.headers(request)["authorization"] for _ in range(3)] == ["Bearer one"] * 3
    bearer._renew_at = 0.0
    assert bearer.headers(request)["authorization"] == "Bearer two"
    with pytest.raises(StopIteration):
        bearer.headers(request)


def test_a_shared_access_signature_opens_the_account_too(azurite: Azurite, name: str) -> None:
    """The other kind of connection string."""
    said = dict(part.split("=", 1) for part in azurite.connection_string.strip(";").split(";"))
    permission = AccountSasPermissions(read=True, write=True, create=True, add=True, update=True)
    signature = generate_account_sas(
        said["AccountName"],
        said["AccountKey"],
        ResourceTypes(service=True, container=True, object=True),
        permission,
        datetime.now(UTC) + timedelta(hours=1),
        services=Services(blob=True, queue=True),
    )
    endpoints = ";".join(f"{service}Endpoint={said[f'{service}Endpoint']}" for service in ("Blob", "Queue", "Table"))
    connection = Connection.from_env({"AzureWebJobsStorage": f"{endpoints};SharedAccessSignature={signature}"})

    assert BlobFiles(connection, container=name).write("x/a", b"abc") == 3
    assert BlobFiles(connection, container=name).open("x/a").read(1, 1) == b"b"
    StepQueue(connection, queue=name).send(Message("audience", "x"))
    assert connection.queue(name).waiting()[0] == 1
    connection.close()


def test_the_storage_clients_take_the_identity() -> None:
    """Nothing is sent before something is read or written."""
    address = AccountAddress("", "https://b.example", "https://q.example", "https://t.example", "id-1")
    connection = Connection(address)

    assert connection.table("a") is connection.table("a")
    assert connection.queue("a") is connection.queue("a")
    assert connection.container("a") is connection.container("a")
    connection.close()


@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning:azure")
def test_a_wrong_key_is_an_administrators_matter(azurite: Azurite, name: str) -> None:
    """The sentence names the setting and not the key."""
    wrong = base64.b64encode(b"x" * 64).decode()
    key = next(part for part in azurite.connection_string.split(";") if part.startswith("AccountKey="))
    connection = Connection.from_env({"AzureWebJobsStorage": azurite.connection_string.replace(key, f"AccountKey={wrong}")})
    calls: list[Callable[[], object]] = [
        lambda: TableJobs(connection, table=name).load("x"),
        lambda: BlobFiles(connection, container=name).write("x/a", b"a"),
        lambda: StepQueue(connection, queue=name).send(Message("audience", "x")),
    ]
    for call in calls:
        with pytest.raises(ConfigurationWrong, match="AzureWebJobsStorage") as caught:
            call()
        assert wrong not in str(caught.value)
    connection.close()


def test_a_storage_account_that_is_not_there_is_tried_again(name: str) -> None:
    """A restart of the service must not end a job."""
    address = read_address({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}).connection_string
    nobody = address.replace(":10000/", ":9/").replace(":10001/", ":9/").replace(":10002/", ":9/")
    connection = Connection(AccountAddress(nobody))
    calls: list[Callable[[], object]] = [
        lambda: TableJobs(connection, table=name).load("x"),
        lambda: TableDoorbells(connection, table=name).take("x", NOW),
        lambda: BlobFiles(connection, container=name).open("x/a"),
        lambda: StepQueue(connection, queue=name).send(Message("audience", "x")),
    ]
    with ThreadPoolExecutor() as pool:
        for future in [pool.submit(call) for call in calls]:
            with pytest.raises(RemoteUnavailable):
                future.result()
    connection.close()


# ------------------------------------------------------------------ jobs


def job(job_id: str = "8a1f", **changes: Any) -> Job:
    """Return a job in the middle of its life."""
    segment = Segment(SegmentRef("list", "77"), Kind.LIST, "Kunden für Zürich 東京 🎉", True, True, "contact", 5, "<fetch/>")
    values: dict[str, Any] = {"id": job_id, "correlation": "c", "created": NOW, "segment": segment, "fence": 3}
    return Job(**values | changes)


def test_a_job_comes_back_as_it_was(jobs: TableJobs) -> None:
    """With every field, in any script."""
    assert jobs.load("8a1f") is None
    whole = job(
        step=Step.UPLOAD,
        due=NOW,
        shown={"lima_message": "Grüße", "lima_when": NOW.isoformat(), "lima_empty": None},
        created_at=NOW,
        upload_finished=NOW,
        finished=NOW,
        failed_at=Step.COLLECT,
    )

    assert jobs.create(whole)
    loaded = jobs.load("8a1f")
    assert loaded is not None
    assert loaded[0] == whole


@pytest.mark.parametrize("job_id", ["o'brien", "a b+c%d&e=f", "ключ-鍵"])
def test_any_id_finds_its_own_job(jobs: TableJobs, job_id: str) -> None:
    """The key is part of the address, and the address is signed."""
    jobs.create(job(job_id))
    jobs.create(job("another"))

    loaded = jobs.load(job_id)
    assert loaded is not None
    assert loaded[0].id == job_id


def test_a_job_is_created_once(jobs: TableJobs) -> None:
    """The second one is told so, and changes nothing."""
    assert jobs.create(job(audience_name="first"))
    assert not jobs.create(job(audience_name="second"))

    loaded = jobs.load("8a1f")
    assert loaded is not None
    assert loaded[0].audience_name == "first"


def test_a_job_with_a_very_long_query_is_kept(jobs: TableJobs) -> None:
    """A text in a table holds 32,768 characters; a dynamic list's FetchXML can be longer."""
    segment = replace(job().segment or pytest.fail("no segment"), source="<é🎉>" * 20_000)
    jobs.create(job(segment=segment))

    loaded = jobs.load("8a1f")
    assert loaded is not None
    assert loaded[0].segment == segment
    shorter = replace(loaded[0], segment=None)
    jobs.save(shorter, loaded[1])
    again = jobs.load("8a1f")
    assert again is not None
    assert again[0] == shorter


def test_only_who_knows_the_newest_version_may_save(jobs: TableJobs) -> None:
    """Two workers with the same job: one goes on, the other stops."""
    jobs.create(job())
    loaded = jobs.load("8a1f")
    assert loaded is not None
    mine, etag = loaded
    newer = jobs.save(replace(mine, sent=1), etag)

    with pytest.raises(SomebodyElseChangedIt):
        jobs.save(replace(mine, sent=2), etag)
    jobs.save(replace(mine, sent=3), newer)
    last = jobs.load("8a1f")
    assert last is not None
    assert last[0].sent == 3


def test_of_many_that_save_at_once_one_wins(jobs: TableJobs) -> None:
    """Whatever the timing."""
    jobs.create(job())
    loaded = jobs.load("8a1f")
    assert loaded is not None

    def save(number: int) -> bool:
        try:
            jobs.save(replace(loaded[0], sent=number), loaded[1])
        except SomebodyElseChangedIt:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(save, range(16))) == 1


def test_a_forgotten_job_is_gone_and_cannot_be_saved(jobs: TableJobs) -> None:
    """Forgetting twice is fine."""
    jobs.create(job())
    loaded = jobs.load("8a1f")
    assert loaded is not None
    jobs.forget("8a1f")
    jobs.forget("8a1f")

    assert jobs.load("8a1f") is None
    with pytest.raises(SomebodyElseChangedIt):
        jobs.save(*loaded)


def test_a_save_whose_answer_was_lost_is_known_as_ours(jobs: TableJobs, wire: Wire) -> None:
    """Otherwise the worker would stop in the belief that another one had been faster."""
    jobs.create(job())
    loaded = jobs.load("8a1f")
    assert loaded is not None
    wire.lose_answer("PUT")
    etag = jobs.save(replace(loaded[0], sent=1), loaded[1])

    jobs.save(replace(loaded[0], sent=2), etag)


def test_a_save_that_never_got_an_answer_says_so(jobs: TableJobs, wire: Wire) -> None:
    """The message comes back and finds out."""
    jobs.create(job())
    loaded = jobs.load("8a1f")
    assert loaded is not None
    wire.lose_answer("PUT", times=3)

    with pytest.raises(OutcomeUnknown):
        jobs.save(replace(loaded[0], sent=1), loaded[1])


def test_overdue_jobs_are_found(jobs: TableJobs) -> None:
    """Their message was lost; those that wait for a person or are at their end are left alone."""
    jobs.create(job("late", due=NOW - timedelta(seconds=1), fence=7))
    jobs.create(job("just-now", due=NOW, fence=8))
    jobs.create(job("later", due=NOW + timedelta(seconds=1)))
    jobs.create(job("waits", step=Step.WAIT, due=None))
    jobs.create(job("over", step=Step.DONE, finished=NOW))

    assert sorted(jobs.overdue(NOW)) == [("just-now", 8), ("late", 7)]


def test_a_sign_in_finds_the_jobs_that_wait_for_it(jobs: TableJobs) -> None:
    """Only those of this user, and none that is on its way or over."""
    jobs.create(job("mine", step=Step.WAIT, signs_in_as="user's-1"))
    jobs.create(job("theirs", step=Step.WAIT, signs_in_as="user-2"))
    jobs.create(job("running", step=Step.UPLOAD, signs_in_as="user's-1", due=NOW))
    jobs.create(job("over", step=Step.DONE, signs_in_as="user's-1", finished=NOW))

    assert jobs.waiting_for_sign_in("user's-1") == ["mine"]


def test_finished_jobs_are_found_for_clearing_up(jobs: TableJobs) -> None:
    """A job that is still watched is not over."""
    jobs.create(job("old", step=Step.DONE, finished=NOW - timedelta(days=8)))
    jobs.create(job("fresh", step=Step.DONE, finished=NOW))
    jobs.create(job("watched", step=Step.WATCH, finished=NOW - timedelta(days=8), due=NOW))

    assert jobs.finished_before(NOW - timedelta(days=7)) == ["old"]


def test_searching_before_the_first_job_finds_nothing(jobs: TableJobs) -> None:
    """The table does not exist yet."""
    assert jobs.overdue(NOW) == []
    assert jobs.waiting_for_sign_in("u") == []
    jobs.forget("x")


def test_many_jobs_are_found_over_all_pages(jobs: TableJobs) -> None:
    """A table answers with a thousand rows at most."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: jobs.create(job(f"job-{number}", due=NOW)), range(1050)))

    assert len(jobs.overdue(NOW)) == 1050


# ------------------------------------------------------------------ doorbells


@pytest.fixture
def doorbells(connection: Connection, name: str) -> TableDoorbells:
    """Return doorbells in a table that does not exist yet."""
    return TableDoorbells(connection, table=name)


def test_an_event_is_taken_once(doorbells: TableDoorbells) -> None:
    """Dataverse delivers some events twice."""
    assert doorbells.take("row/8a1f?#\\ command 2", NOW)
    assert not doorbells.take("row/8a1f?#\\ command 2", NOW)
    assert doorbells.take("row/8a1f?#\\ command 3", NOW)


def test_of_many_deliveries_at_once_one_is_taken(doorbells: TableDoorbells) -> None:
    """Even while the table is just being made."""
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: doorbells.take("event", NOW), range(16)))

    assert sum(taken) == 1


def test_a_released_event_is_taken_again(doorbells: TableDoorbells) -> None:
    """Its message could not be sent, so the next delivery has to do it."""
    doorbells.take("event", NOW)
    doorbells.release("event")
    doorbells.release("event")

    assert doorbells.take("event", NOW)


def test_an_event_whose_noting_got_no_answer_is_not_lost(doorbells: TableDoorbells, wire: Wire) -> None:
    """The repeat finds the row, and knows it as its own."""
    doorbells.take("first", NOW)
    wire.lose_answer("POST")

    assert doorbells.take("event", NOW)
    assert not doorbells.take("event", NOW)


def test_a_hiccup_is_bridged(doorbells: TableDoorbells, wire: Wire) -> None:
    """Dataverse is not told to come back because of one lost connection."""
    doorbells.take("first", NOW)
    wire.cut("POST", times=2)

    assert doorbells.take("event", NOW)


def test_old_events_are_forgotten(doorbells: TableDoorbells) -> None:
    """A hundred at a time, and only old ones; an event noted since then stays."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: doorbells.take(f"old-{number}", NOW - timedelta(days=2)), range(250)))
    doorbells.take("new", NOW)

    assert doorbells.clear_before(NOW - timedelta(days=1)) == 250
    assert doorbells.clear_before(NOW - timedelta(days=1)) == 0
    assert doorbells.take("old-0", NOW)
    assert not doorbells.take("new", NOW)


# ------------------------------------------------------------------ messages


def received(connection: Connection, name: str) -> list[Any]:
    """Return what a function app would see now, as it lies on the queue."""
    return list(connection.queue(name)._client.receive_messages(messages_per_page=32))


def test_a_message_lies_on_the_queue_as_the_host_expects_it(connection: Connection, name: str) -> None:
    """In base64: anything else never reaches the function, and nobody hears of it."""
    StepQueue(connection, queue=name).send(Message("audience", "8a1f", 3, correlation="c-1"))

    (raw,) = received(connection, name)
    text = base64.b64decode(raw.content)
    assert json.loads(text) == {"kind": "audience", "id": "8a1f", "fence": 3, "correlation": "c-1"}
    assert read_message(text) == Message("audience", "8a1f", 3, correlation="c-1")


def test_a_delayed_message_is_not_seen_before_its_time(connection: Connection, name: str) -> None:
    """Waiting costs nothing; it may last as long as the service allows."""
    queue = StepQueue(connection, queue=name)
    queue.send(Message("audience", "now"))
    queue.send(Message("audience", "soon"), delay_seconds=0.3)
    queue.send(Message("audience", "much later"), delay_seconds=10 * LONGEST_DELAY)

    assert [read_message(base64.b64decode(raw.content)).id for raw in received(connection, name)] == ["now"]
    until = time.monotonic() + 10
    seen: list[Any] = []
    while not seen and time.monotonic() < until:
        seen = received(connection, name)
    assert [read_message(base64.b64decode(raw.content)).id for raw in seen] == ["soon"]


def test_of_many_who_send_at_once_nobody_is_refused(connection: Connection, name: str) -> None:
    """The first messages of all find no queue, and each of their senders makes it."""
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: StepQueue(connection, queue=name).send(Message("audience", str(number))), range(32)))

    assert connection.queue(name).waiting()[0] == 32


@pytest.mark.parametrize(
    "message",
    [
        Message("audience", "8a1f"),
        Message("audience", "8a1f", 0),
        Message("live", "8a1f", None, "msdynmkt_segmentdefinition", "c", 4),
        Message("signin", "Grüße 🎉"),
    ],
)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    """Whatever it holds."""
    assert read_message(write_message(message)) == message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        "null",
        '{"kind":"audience"}',
        '{"kind":1,"id":"x"}',
        '{"kind":"audience","id":"x","fence":"3"}',
        '{"kind":"audience","id":"x","fence":true}',
        '{"kind":"audience","id":"x","attempt":null}',
        b"\xff\xfe",
        "[" * 100_000,
    ],
)
def test_a_message_that_is_not_ours_is_refused(text: str | bytes) -> None:
    """It goes to the poison queue with a sentence instead of a riddle."""
    with pytest.raises(UnexpectedAnswer):
        read_message(text)


def test_a_message_of_a_newer_version_is_understood() -> None:
    """While a new version is rolled out, both read each other's messages."""
    assert read_message('{"kind":"audience","id":"x","fence":2,"tomorrow":1}') == Message("audience", "x", 2)


# ------------------------------------------------------------------ files


def test_a_file_is_read_by_range(files: BlobFiles) -> None:
    """Parts are merged without reading any of them whole."""
    content = bytes(range(256)) * 100
    assert files.write("8a1f/1/parts/000000", content) == 25_600
    reader = files.open("8a1f/1/parts/000000")

    assert reader.size == 25_600
    assert reader.read(0, 10) == content[:10]
    assert reader.read(12_345, 5_000) == content[12_345:17_345]
    assert reader.read(25_590, 100) == content[25_590:]
    assert reader.read(25_600, 100) == b""
    assert reader.read(30_000, 100) == b""


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
def test_a_stream_of_any_length_becomes_one_file(files: BlobFiles, size: int) -> None:
    """In blocks, so that no more than one of them is in memory."""
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    pieces = (content[start : start + 100_000] for start in range(0, size, 100_000))

    assert files.write("x/stream", pieces) == size
    reader = files.open("x/stream")
    assert reader.size == size
    assert reader.read(0, size + 1) == content


def test_a_file_is_replaced_whole(files: BlobFiles) -> None:
    """A step that is repeated writes the same file again."""
    files.write("x/a", b"long content")
    files.write("x/a", iter([b"short"]))

    assert files.open("x/a").read(0, 100) == b"short"


def test_two_writers_of_one_stream_do_not_mix(files: BlobFiles) -> None:
    """A message delivered twice: the file is one writer's, whole, whatever becomes of the other."""
    twin = BlobFiles(files._connection, container=files._name)

    def slowly() -> Iterator[bytes]:
        yield b"b" * (3 * BLOCK)
        twin.write("x/a", iter([b"a" * (3 * BLOCK)]))
        yield b"b" * BLOCK

    with suppress(SomebodyElseChangedIt):  # Azure drops our blocks when the twin commits, Azurite keeps them
        files.write("x/a", slowly())

    reader = files.open("x/a")
    assert (reader.size, set(reader.read(0, reader.size))) in [(3 * BLOCK, {ord("a")}), (4 * BLOCK, {ord("b")})]


def test_a_reader_notices_that_its_file_was_written_anew(files: BlobFiles) -> None:
    """Half of the old list and half of the new one would be a wrong audience."""
    files.write("x/a", b"old")
    reader = files.open("x/a")
    files.write("x/a", b"new")

    with pytest.raises(SomebodyElseChangedIt):
        reader.read(0, 3)


def test_a_missing_file_is_a_missing_file(files: BlobFiles) -> None:
    """Before the container exists, after, and while reading."""
    with pytest.raises(FileNotFoundError):
        files.open("x/a")
    files.write("x/a", b"there")
    with pytest.raises(FileNotFoundError):
        files.open("x/b")
    reader = files.open("x/a")
    files.delete_all("x/")
    with pytest.raises((FileNotFoundError, SomebodyElseChangedIt)):  # Azurite looks at the condition first
        reader.read(0, 1)


def test_everything_of_a_job_is_deleted(files: BlobFiles) -> None:
    """And nothing of another one."""
    assert files.delete_all("x/") == 0
    for path in ("x/1/a", "x/1/b", "x/2/a", "xy/1/a"):
        files.write(path, b"1")

    assert files.delete_all("x/") == 3
    assert files.delete_all("x/") == 0
    assert files.open("xy/1/a").size == 1


def test_old_files_are_found(files: BlobFiles) -> None:
    """Upkeep deletes what is kept longer than the setting says."""
    assert list(files.older_than(datetime.now(UTC))) == []
    files.write("x/1/a", b"1")
    files.write("y/1/a", b"1")

    assert sorted(files.older_than(datetime.now(UTC) + timedelta(minutes=1))) == ["x/1/a", "y/1/a"]
    assert list(files.older_than(datetime.now(UTC) - timedelta(minutes=1))) == []


def test_a_lost_connection_while_writing_is_bridged(files: BlobFiles, wire: Wire) -> None:
    """A block that arrived twice is one block."""
    files.write("x/first", b"1")
    wire.lose_answer("PUT")
    wire.cut("PUT")
    files.write("x/a", iter([b"a" * BLOCK, b"b" * 10]))

    assert files.open("x/a").size == BLOCK + 10


# ------------------------------------------------------------------ sign-ins


def sign_in(user_id: str = "user-1", **changes: Any) -> SignIn:
    """Return a sign-in that lasts sixty days."""
    values: dict[str, Any] = {
        "user_id": user_id,
        "access_token": "access-" + "a" * 900,
        "issued": NOW,
        "expires": NOW + timedelta(days=60),
        "refresh_token": "refresh-" + "r" * 900,
        "refresh_expires": NOW + timedelta(days=365),
        "scopes": ("r_ads", "rw_ads"),
    }
    return SignIn(**values | changes)


def test_a_sign_in_comes_back_as_it_was(connection: Connection, name: str) -> None:
    """With or without a refresh token; the newest one counts."""
    sign_ins = TableSignIns(connection, KEYS, table=name)
    assert sign_ins.load("user-1") is None

    for whole in (sign_in(), sign_in(refresh_token=None, refresh_expires=None)):
        sign_ins.save(whole)
        assert sign_ins.load("user-1") == whole


def test_no_token_lies_in_the_table_in_clear(connection: Connection, name: str) -> None:
    """Whoever reads the table has nothing."""
    TableSignIns(connection, KEYS, table=name).save(sign_in())

    (row,) = connection.table(name)._client.list_entities()
    assert set(row) == {"PartitionKey", "RowKey", "key", "sealed", "ends"}
    assert b"access-aaa" not in bytes(row["sealed"])
    assert row["key"] == "one"


def test_a_deleted_sign_in_is_gone(connection: Connection, name: str) -> None:
    """Signing out really deletes the token."""
    sign_ins = TableSignIns(connection, KEYS, table=name)
    sign_ins.save(sign_in())

    assert sign_ins.delete("user-1")
    assert not sign_ins.delete("user-1")
    assert sign_ins.load("user-1") is None
    assert list(connection.table(name)._client.list_entities()) == []


def test_keys_are_changed_without_signing_in_again(connection: Connection, name: str) -> None:
    """Loading seals anew, so that the old key can be taken out of the settings."""
    new = ("two", b"2" * 32)
    TableSignIns(connection, KEYS, table=name).save(sign_in())

    assert TableSignIns(connection, (new, *KEYS), table=name).load("user-1") == sign_in()
    assert TableSignIns(connection, (new,), table=name).load("user-1") == sign_in()


def test_a_key_that_is_lost_asks_for_a_new_sign_in(connection: Connection, name: str) -> None:
    """In a sentence that names the setting; the row stays until the person has signed in again."""
    TableSignIns(connection, KEYS, table=name).save(sign_in())
    stranger = TableSignIns(connection, (("one", b"x" * 32),), table=name)

    with pytest.raises(SignInNeeded, match="SIGNIN_KEYS"):
        stranger.load("user-1")
    stranger.save(sign_in(access_token="new"))
    loaded = stranger.load("user-1")
    assert loaded is not None
    assert loaded.access_token == "new"


def test_a_row_copied_to_another_user_does_not_open(connection: Connection, name: str) -> None:
    """Whoever can write to the table cannot become somebody else at LinkedIn."""
    sign_ins = TableSignIns(connection, KEYS, table=name)
    sign_ins.save(sign_in("victim"))
    client = connection.table(name)._client
    (row,) = client.list_entities()
    client.create_entity({**row, "RowKey": "thief"})

    with pytest.raises(SignInNeeded):
        sign_ins.load("thief")


def test_sign_ins_that_end_soon_are_found(connection: Connection, name: str) -> None:
    """What counts is when a person has to sign in again, not when the access token ends."""
    sign_ins = TableSignIns(connection, KEYS, table=name)
    assert sign_ins.expiring_before(NOW) == []
    sign_ins.save(sign_in("refreshable"))
    sign_ins.save(sign_in("ends", refresh_token=None, refresh_expires=None))

    assert sign_ins.expiring_before(NOW + timedelta(days=61)) == ["ends"]
    assert sign_ins.expiring_before(NOW + timedelta(days=60)) == []


# ------------------------------------------------------------------ tickets

TICKET = Ticket("user-1", "row-1", NOW + timedelta(minutes=10))


def test_a_ticket_works_once(connection: Connection, name: str) -> None:
    """Looking at it does not use it up."""
    tickets = TableTickets(connection, table=name)
    tickets.issue("secret-id", TICKET)

    assert tickets.look_at("secret-id") == TICKET
    assert tickets.use_up("secret-id") == TICKET
    assert tickets.use_up("secret-id") is None
    assert tickets.look_at("secret-id") is None


def test_of_many_who_use_a_ticket_at_once_one_gets_it(connection: Connection, name: str) -> None:
    """Whatever the timing."""
    tickets = TableTickets(connection, table=name)
    tickets.issue("secret-id", TICKET)
    with ThreadPoolExecutor(8) as pool:
        used = list(pool.map(lambda _: tickets.use_up("secret-id"), range(16)))

    assert [ticket for ticket in used if ticket] == [TICKET]


def test_a_ticket_nobody_issued_is_no_ticket(connection: Connection, name: str) -> None:
    """Not even while there is no table, and whatever is asked."""
    tickets = TableTickets(connection, table=name)

    for unknown in ("", "secret-id", "' or 1 eq 1", "a/b?c#d\\", "\ud800"):
        assert tickets.look_at(unknown) is None
        assert tickets.use_up(unknown) is None


def test_the_table_does_not_hold_the_secret(connection: Connection, name: str) -> None:
    """Reading it does not let anybody in."""
    TableTickets(connection, table=name).issue("secret-id", TICKET)

    (row,) = connection.table(name)._client.list_entities()
    assert "secret-id" not in str(dict(row))


def test_a_ticket_whose_use_got_no_answer_is_ours(connection: Connection, name: str, wire: Wire) -> None:
    """The person does not have to begin again because of one lost answer."""
    tickets = TableTickets(connection, table=name)
    tickets.issue("secret-id", TICKET)
    wire.lose_answer("PUT")

    assert tickets.use_up("secret-id") == TICKET
    assert tickets.use_up("secret-id") is None


def test_expired_tickets_are_forgotten(connection: Connection, name: str) -> None:
    """Used or not."""
    tickets = TableTickets(connection, table=name)
    assert tickets.clear_before(NOW) == 0
    tickets.issue("old", replace(TICKET, expires=NOW - timedelta(hours=1)))
    tickets.issue("new", TICKET)

    assert tickets.clear_before(NOW) == 1
    assert tickets.look_at("new") == TICKET


# ------------------------------------------------------------------ cost


def test_the_app_starts_without_loading_the_storage_clients() -> None:
    """They take longer to load than the first request should wait."""
    program = (
        "import sys\n"
        "import shared.storage.jobs, shared.storage.queue, shared.storage.files\n"
        "import shared.storage.signins, shared.storage.tickets, shared.storage.doorbells\n"
        "print([name for name in sys.modules if name.startswith(('azure', 'msal'))])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)

    assert ended.stdout.strip() == "[]"


def test_storing_a_part_is_cheap(files: BlobFiles) -> None:
    """Fifty thousand members are 1.6 MB; the work on them must not be in the storage client."""
    content = bytes(1_600_000)
    files.write("x/0", content)
    best = float("inf")
    for number in range(10):
        began = time.thread_time()
        files.write(f"x/{number}", content)
        best = min(best, time.thread_time() - began)

    assert best < 0.02  # 3 ms alone on the machine
