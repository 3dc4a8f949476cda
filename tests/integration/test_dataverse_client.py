"""Signing in to Dataverse and sending to it, on the Entra and Dataverse simulators."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from sandbox.certificates import make_authority
from sandbox.dataverse import DataverseSimulator, seeds
from sandbox.entra import EntraSimulator
from sandbox.entra.seeds import ADMIN, ADMIN_SECRET, WORKER
from sandbox.web import Fault, InProcess, make_server
from shared.dataverse import protocol
from shared.dataverse.auth import TokenSource, token_source
from shared.dataverse.client import DataverseClient
from shared.dataverse.protocol import NotInstalled
from shared.errors import (
    ConfigurationWrong,
    OutcomeUnknown,
    RemoteUnavailable,
    RowGone,
    SomebodyElseChangedIt,
    Throttled,
    UnexpectedAnswer,
)
from shared.http import HttpClient, new_session
from shared.logs import correlated
from shared.settings import Settings

URL = "https://contoso.crm4.dynamics.com"
AUTHORITY = "https://login.sandbox.example"
SETTINGS = {
    "DATAVERSE_URL": URL,
    "DATAVERSE_AUTHORITY": AUTHORITY,
    "DATAVERSE_TENANT_ID": "00000000-0000-0000-0000-000000000001",
    "DATAVERSE_CLIENT_ID": ADMIN,
    "DATAVERSE_CLIENT_SECRET": ADMIN_SECRET,
    "WEBHOOK_SECRET": "w",
    "LINKEDIN_CLIENT_ID": "l",
    "LINKEDIN_CLIENT_SECRET": "s",
    "SIGNIN_KEYS": "k1:" + "A" * 43 + "=",
    "PUBLIC_URL": "https://audiences.example",
}


def settings(**changes: str) -> Settings:
    """Return settings with some changed."""
    return Settings.from_env(SETTINGS | changes)


class World:
    """Entra and one Dataverse environment behind one session."""

    def __init__(self) -> None:
        self.entra, self.dataverse = EntraSimulator(), DataverseSimulator()
        self.session = new_session()
        self.session.mount("https://", InProcess(self.entra))
        self.session.mount("http://", InProcess(self.entra))
        self.session.mount(URL, InProcess(self.dataverse))
        self.client = self.client_of()

    def tokens(self, **changes: str) -> TokenSource:
        """Return a token source by these settings."""
        return token_source(settings(**changes), session=self.session)

    def client_of(self, **changes: str) -> DataverseClient:
        """Return a client by these settings."""
        return DataverseClient(HttpClient(URL, name="Dataverse", session=self.session), self.tokens(**changes))

    def token_requests(self) -> int:
        """Return how often a token was asked for at Entra."""
        return sum("token" in call.path for call in self.entra.calls)

    def fail(self, **fault: Any) -> None:
        """Plan a misbehaviour of Dataverse."""
        self.dataverse.faults.append(Fault(**fault))


@pytest.fixture
def world() -> World:
    """Return a fresh world."""
    return World()


# ------------------------------------------------------------------ signing in


def test_the_app_signs_in_with_its_secret(world: World) -> None:
    """One token serves many requests."""
    who = [world.client.who_am_i() for _ in range(3)]

    assert who[0] == who[2]
    assert who[0].user_id == seeds.ADMINISTRATOR_APPLICATION_USER
    assert who[0].organization_id == world.dataverse.users()["organization"]
    assert world.token_requests() == 1


def test_threads_share_one_token(world: World) -> None:
    """Parallel pages do not storm Entra."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: world.client.who_am_i(), range(24)))

    assert world.token_requests() == 1


def make_certificate(folder: Path, password: str) -> Path:
    """Write a throw-away certificate with its key as a PFX file."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throw-away")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "app.pfx"
    locked = serialization.BestAvailableEncryption(password.encode())
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"app", key, certificate, None, locked))
    return path


def test_the_app_signs_in_with_a_certificate(world: World, tmp_path: Path) -> None:
    """The PFX file and its password are all that is needed."""
    path = make_certificate(tmp_path, "open sesame")

    world.client_of(
        DATAVERSE_AUTH="certificate", DATAVERSE_CERTIFICATE_PATH=str(path), DATAVERSE_CERTIFICATE_PASSWORD="open sesame"
    ).who_am_i()


def test_the_app_signs_in_with_a_managed_identity(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Azure neither secret nor certificate is needed."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{AUTHORITY}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "sandbox-identity-header")
    tokens = world.tokens(DATAVERSE_AUTH="managed-identity", DATAVERSE_CLIENT_ID="")
    named = world.tokens(DATAVERSE_AUTH="managed-identity", DATAVERSE_CLIENT_ID=WORKER)

    first = tokens.token()
    assert first == tokens.token()
    tokens.forget(first)
    assert tokens.token() != first
    assert named.token() != first


def test_a_token_that_dataverse_refuses_is_replaced_once(world: World) -> None:
    """It may have expired on the way, or the clocks differ."""
    world.client.who_am_i()
    world.fail(kind="status", status=401, body={"error": {"code": "0x8005F101", "message": "expired"}})

    world.client.who_am_i()

    assert world.token_requests() == 2
    assert [call.status for call in world.dataverse.calls] == [200, 401, 200]


def test_a_token_that_is_refused_again_is_a_configuration_problem(world: World) -> None:
    """Trying for ever would help nobody."""
    world.fail(kind="status", times=9, status=401, body={"error": {"code": "0x8005F101", "message": "expired"}})

    with pytest.raises(ConfigurationWrong, match="application user"):
        world.client.who_am_i()

    assert len(world.dataverse.calls) == 2


def test_threads_that_are_refused_together_ask_for_one_new_token(world: World) -> None:
    """Whoever comes second finds the new one."""
    tokens = world.tokens()
    old = tokens.token()

    tokens.forget(old)
    new = tokens.token()
    tokens.forget(old)

    assert new != old
    assert tokens.token() == new


def test_an_application_without_a_user_in_dataverse_is_told_so(world: World) -> None:
    """The setup has a step that was left out."""
    with pytest.raises(ConfigurationWrong, match="application user"):
        world.client_of(DATAVERSE_CLIENT_ID=WORKER, DATAVERSE_CLIENT_SECRET="sandbox-worker-secret").who_am_i()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"DATAVERSE_CLIENT_SECRET": "wrong-and-very-secret"}, "AADSTS7000215"),
        ({"DATAVERSE_CLIENT_ID": "99999999-0000-0000-0000-000000000000"}, "AADSTS700016"),
    ],
)
def test_a_refused_sign_in_names_entras_code_and_the_setting(world: World, changes: dict[str, str], says: str) -> None:
    """An administrator can look the code up; the secret is never repeated."""
    with pytest.raises(ConfigurationWrong, match=says) as caught:
        world.tokens(**changes).token()

    assert "DATAVERSE_CLIENT_" in str(caught.value)
    assert "very-secret" not in str(caught.value)


def test_an_unknown_tenant_is_told_with_the_setting(world: World) -> None:
    """Entra answers the discovery with a no."""
    world.entra.state.settings.tenants = ["00000000-0000-0000-0000-0000000000ff"]

    with pytest.raises(ConfigurationWrong, match="DATAVERSE_TENANT_ID"):
        world.tokens().token()


def test_a_certificate_that_cannot_be_used_is_told_with_the_setting(world: World, tmp_path: Path) -> None:
    """Missing, or with another password."""
    path = make_certificate(tmp_path, "right")
    for given, password in ((tmp_path / "none.pfx", ""), (path, "wrong")):
        tokens = world.tokens(
            DATAVERSE_AUTH="certificate", DATAVERSE_CERTIFICATE_PATH=str(given), DATAVERSE_CERTIFICATE_PASSWORD=password
        )
        with pytest.raises(ConfigurationWrong, match="DATAVERSE_CERTIFICATE_PATH"):
            tokens.token()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop-before"},
        {"kind": "status", "status": 503, "body": "<html>busy</html>"},
        {"kind": "status", "status": 200, "body": "<html>hotel sign-in</html>"},
        {"kind": "status", "path": "/token", "status": 500, "body": "no"},
    ],
)
def test_entra_out_of_reach_is_tried_again(world: World, fault: dict[str, Any]) -> None:
    """Nothing is wrong with the settings."""
    world.entra.faults.append(Fault(**fault, times=3))

    with pytest.raises(RemoteUnavailable, match="tried again"):
        world.tokens().token()


# ------------------------------------------------------------------ sending


def contact(world: World, **values: Any) -> str:
    """Create a contact and return its id."""
    return world.client.create("contacts", {"lastname": "Lovelace", **values}, "create a contact") or ""


def test_a_row_is_created_read_changed_and_deleted(world: World) -> None:
    """The four verbs, each with its answer for a row that is not there."""
    path = f"contacts({contact(world)})"

    found = world.client.row(f"{path}?$select=lastname", "read a contact")
    assert found is not None
    assert found["lastname"] == "Lovelace"
    assert world.client.update(path, {"lastname": "King"}, "change a contact")
    assert (world.client.row(path, "read a contact") or {})["lastname"] == "King"
    assert world.client.delete(path, "delete a contact")
    assert world.client.row(path, "read a contact") is None
    assert not world.client.update(path, {"lastname": "Byron"}, "change a contact")
    assert not world.client.delete(path, "delete a contact")


def test_an_update_never_makes_a_row_and_an_upsert_does(world: World) -> None:
    """A row that a person deleted stays deleted."""
    path = f"contacts({uuid4()})"

    assert not world.client.update(path, {"lastname": "King"}, "change a contact")
    assert world.client.row(path, "read a contact") is None
    world.client.upsert(path, {"lastname": "King"}, "write a contact")
    assert world.client.row(path, "read a contact") is not None


def test_a_row_with_a_key_that_exists_is_not_created_twice(world: World) -> None:
    """Somebody else was faster, which is fine."""
    row_id = str(uuid4())

    made = [world.client.create("contacts", {"contactid": row_id}, "create a contact") for _ in range(2)]

    assert made == [row_id, None]


def test_a_conditional_write_that_lost_says_so(world: World) -> None:
    """The row is read again and decided on again."""
    path = f"contacts({contact(world)})"
    etag = (world.client.row(path, "read a contact") or {})["@odata.etag"]
    world.client.update(path, {"lastname": "King"}, "change a contact", etag=etag)

    with pytest.raises(SomebodyElseChangedIt):
        world.client.update(path, {"lastname": "Byron"}, "change a contact", etag=etag)


def test_all_pages_of_a_query_are_read(world: World) -> None:
    """Dataverse gives 5,000 rows at once at most."""
    world.dataverse.load_rows("contact", [{"lastname": f"L{number}"} for number in range(5200)])

    rows = list(world.client.rows("contacts?$select=contactid", "read contacts"))

    assert len({row["contactid"] for row in rows}) == 5200
    assert [call.path for call in world.dataverse.calls] == ["/api/data/v9.2/contacts"] * 2


def test_a_query_for_what_is_not_there_says_what_to_install(world: World) -> None:
    """Table or column: the installer was not run, or an older one was."""
    for path in ("lima_audiences", "contacts?$select=lima_x"):
        with pytest.raises(NotInstalled, match="lima_"):
            list(world.client.rows(path, "read rows"))


def test_a_batch_answers_each_of_its_requests(world: World) -> None:
    """One refused request does not stop the others."""
    row = f"contacts({contact(world)})"
    paths = [row, f"contacts({uuid4()})", row]

    answers = world.client.batch([protocol.request("GET", path) for path in paths], "read contacts")

    assert [answer.status for answer in answers] == [200, 404, 200]
    assert protocol.read_row(answers[2], "read a contact")["lastname"] == "Lovelace"
    assert world.dataverse.calls[-1].elements == 3


def test_an_action_gives_its_answer(world: World) -> None:
    """Unbound actions are posted by their name."""
    made = world.dataverse.make_segment("realtime", members=[])

    body = world.client.action("msdynmkt_MembersList", {"SegmentId": made["segment"]}, "list members")

    assert b"ResultText" in body


def test_the_id_of_the_work_at_hand_travels_along(world: World) -> None:
    """Microsoft's support and the call log find a job's requests by it."""
    job = str(uuid4())
    with correlated(job):
        world.client.who_am_i()
    with correlated("not an id"):
        world.client.who_am_i()

    assert [call.request_id for call in world.dataverse.calls] == [job, None]


def test_a_dropped_connection_leaves_the_outcome_open(world: World) -> None:
    """The request may have been carried out; our writes may be repeated."""
    path = f"contacts({contact(world)})"
    world.fail(kind="drop-after", method="PATCH")

    with pytest.raises(OutcomeUnknown):
        world.client.update(path, {"lastname": "King"}, "change a contact")

    assert (world.client.row(path, "read a contact") or {})["lastname"] == "King"


def test_a_throttled_request_is_not_repeated_here(world: World) -> None:
    """The job waits as long as Dataverse asks, not the process."""
    world.fail(kind="status", status=429, headers={"Retry-After": "30"}, body={"error": {"code": "0x80072326"}})

    with pytest.raises(Throttled) as caught:
        world.client.who_am_i()

    assert caught.value.after_seconds == 30
    assert len(world.dataverse.calls) == 1


def test_an_answer_without_an_identity_is_not_taken_for_one(world: World) -> None:
    """DATAVERSE_URL may point at something else that answers 200."""
    world.fail(kind="status", status=200, body={"hello": "world"})

    with pytest.raises(UnexpectedAnswer, match="DATAVERSE_URL"):
        world.client.who_am_i()


def test_rows_behind_a_foreign_link_are_not_fetched(world: World) -> None:
    """The app's token is for one environment only."""
    world.fail(kind="status", status=200, body={"value": [], "@odata.nextLink": "https://evil.example/api/data/v9.2/x"})

    with pytest.raises(UnexpectedAnswer, match="never followed"):
        list(world.client.rows("contacts", "read contacts"))


def test_pages_that_lead_back_to_themselves_end(world: World) -> None:
    """A query is not read for ever."""
    world.fail(
        kind="status", times=9, status=200, body={"value": [], "@odata.nextLink": f"{URL}/api/data/v9.2/contacts?$skiptoken=1"}
    )

    with pytest.raises(UnexpectedAnswer, match="led back to itself"):
        list(world.client.rows("contacts", "read contacts"))


# ------------------------------------------------------------------ over the wire


@pytest.fixture
def served(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], DataverseClient]]:
    """Serve Dataverse over TLS on loopback and give a client for it."""
    certificates = make_authority(tmp_path / "ca")
    server = make_server(world.dataverse, 0, str(certificates.server), str(certificates.key))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    sessions: list[requests.Session] = []

    def client() -> DataverseClient:
        url = f"https://127.0.0.1:{server.port}"
        sessions.append(new_session())
        tokens = token_source(settings(DATAVERSE_URL=url), session=world.session)
        return DataverseClient(HttpClient(url, name="Dataverse", session=sessions[-1]), tokens)

    yield client
    for session in sessions:
        session.close()
    server.shutdown()
    thread.join()
    server.server_close()


def file_column(world: World) -> None:
    """Give contacts a file column."""
    text = {
        "@odata.type": "Microsoft.Dynamics.CRM.Label",
        "LocalizedLabels": [{"@odata.type": "Microsoft.Dynamics.CRM.LocalizedLabel", "Label": "File", "LanguageCode": 1033}],
    }
    definition = {
        "@odata.type": "Microsoft.Dynamics.CRM.FileAttributeMetadata",
        "AttributeType": "Virtual",
        "AttributeTypeName": {"Value": "FileType"},
        "SchemaName": "new_File",
        "DisplayName": text,
        "MaxSizeInKB": 32768,
    }
    world.client.create("EntityDefinitions(LogicalName='contact')/Attributes", definition, "add a column")


@pytest.mark.parametrize("megabytes", [0, 3, 9])
def test_a_file_is_uploaded_whatever_its_size(world: World, served: Callable[[], DataverseClient], megabytes: int) -> None:
    """What is long goes over the disk, not through memory; a refused token does not spoil it."""
    file_column(world)
    path = f"contacts({contact(world)})/new_file"
    client = served()
    client.who_am_i()
    world.fail(kind="status", method="PATCH", status=401, body={"error": {"code": "0x8005F101", "message": "expired"}})

    assert client.upload(path, (bytes([number]) * 2**20 for number in range(megabytes)), "left-out.csv", "store a file")

    assert client.page(f"{path}/$value", "read a file") == b"".join(bytes([number]) * 2**20 for number in range(megabytes))


def test_a_file_for_a_row_that_is_gone_says_so(world: World) -> None:
    """The job is forgotten."""
    file_column(world)

    with pytest.raises(RowGone):
        world.client.upload(f"contacts({uuid4()})/new_file", [b"x"], "left-out.csv", "store a file")
