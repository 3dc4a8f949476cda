"""What the product relies on at LinkedIn, asked of the simulator and, when variables name one, of the real service.

Only the last test writes, and only when it may: one audience with one made-up member, deleted again.
`docs/fidelity.md` lists the variables.
"""

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest

from sandbox.linkedin import LinkedInSimulator
from sandbox.web import InProcess
from shared.domain.audiences import State
from shared.http import Answer, HttpClient, Request, new_session
from shared.linkedin import protocol
from shared.linkedin.client import LinkedInClient
from shared.linkedin.refusals import read_body
from shared.settings import NAMES

SIMULATED = "https://linkedin.example"
VERSION = str(NAMES["linkedin_version"].default)
PLATFORM = str(NAMES["linkedin_source_platform"].default)


@dataclass(frozen=True)
class Place:
    """LinkedIn's Marketing API as one person. `account` is one in which that person may write; `patience` is in seconds."""

    http: HttpClient
    token: str
    account: str
    writes: bool
    patience: float

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for a path; headers given here win, empty ones are left out."""
        return self.http.send(Request("GET", path, protocol.headers(self.token, VERSION) | headers))

    def body(self, path: str) -> dict[str, Any]:
        """Return the body of an answer that is fine."""
        answer = self.get(path)
        assert answer.status == 200, answer.body[:500]
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def client(self) -> LinkedInClient:
        """Return the product's own client."""
        return LinkedInClient(self.http, version=VERSION, source_platform=PLATFORM, calls_per_minute=100)

    @property
    def urn(self) -> str:
        """The ad account as LinkedIn names it everywhere else."""
        return protocol.ACCOUNT_URN + self.account


def simulated() -> Place:
    """Return the simulator and one of its people."""
    simulator = LinkedInSimulator()
    session = new_session()
    session.mount(SIMULATED, InProcess(simulator))
    token = simulator.actions()["grant"](person="ada")["access_token"]
    return Place(HttpClient(f"{SIMULATED}/rest", name="LinkedIn", session=session), token, "512345678", writes=True, patience=5.0)


def real() -> Place:
    """Return the person whom the variables name; skips the test when they name none."""
    wanted = ("LIVE_LINKEDIN_TOKEN", "LIVE_LINKEDIN_ACCOUNT")
    if missing := [name for name in wanted if not os.environ.get(name)]:
        pytest.skip(f"needs {', '.join(missing)}")
    token, account = (os.environ[name] for name in wanted)
    writes = os.environ.get("LIVE_LINKEDIN_WRITES") == "yes"
    address = os.environ.get("LIVE_LINKEDIN_API_URL") or str(NAMES["linkedin_api_url"].default)
    http = HttpClient(address, name="LinkedIn")
    return Place(http, token, account, writes=writes, patience=180.0)


@pytest.fixture(scope="module", params=[simulated, pytest.param(real, marks=pytest.mark.live)], ids=["simulator", "real"])
def place(request: pytest.FixtureRequest) -> Place:
    """Return where this test asks."""
    make: Callable[[], Place] = request.param
    return make()


def test_ad_accounts_are_found_with_what_the_tab_shows(place: Place) -> None:
    """Number, name, currency, status; the account named is among them, with a role that may write."""
    accounts = {account.urn: account for account in place.client().ad_accounts(place.token)}

    assert place.urn in accounts
    assert accounts[place.urn].currency
    assert accounts[place.urn].role
    assert accounts[place.urn].is_usable


def test_ad_accounts_come_in_pages_with_a_token(place: Place) -> None:
    """One at a time; the last page names no further one."""
    first = place.body("/adAccounts?q=search&pageSize=1")
    following = (first.get("metadata") or {}).get("nextPageToken")
    if not following:
        pytest.skip("needs a person with two ad accounts")
    second = place.body(f"/adAccounts?q=search&pageSize=1&pageToken={protocol.encoded(following)}")

    assert first["elements"][0]["id"] != second["elements"][0]["id"]


def test_roles_come_with_the_urn_of_their_account(place: Place) -> None:
    """Which is how they are joined to the accounts."""
    found = place.body("/adAccountUsers?q=authenticatedUser&start=0&count=100")

    assert {"start", "count"} <= found["paging"].keys()
    assert all(one["account"].startswith(protocol.ACCOUNT_URN) for one in found["elements"])
    assert all(isinstance(one["role"], str) for one in found["elements"])


def test_no_audience_carries_a_key_that_nobody_gave(place: Place) -> None:
    """An empty list, not a 404."""
    answer = place.http.send(
        replace(protocol.find_request(place.urn, PLATFORM, f"contract-{uuid4()}"), headers=protocol.headers(place.token, VERSION))
    )

    assert answer.status == 200
    assert json.loads(answer.body)["elements"] == []


def test_an_unknown_audience_is_a_404(place: Place) -> None:
    """Only by its status, because LinkedIn may change its sentences."""
    assert place.get("/dmpSegments/1").status == 404


def test_a_version_that_has_ended_is_a_426(place: Place) -> None:
    """The one answer that an administrator mends by a setting."""
    answer = place.get("/adAccounts?q=search&pageSize=1", **{"LinkedIn-Version": "202001"})

    assert answer.status == 426
    assert read_body(answer).code == "NONEXISTENT_VERSION"


def test_a_missing_version_is_refused(place: Place) -> None:
    """There is no default."""
    assert place.get("/adAccounts?q=search&pageSize=1", **{"LinkedIn-Version": ""}).status in {400, 426}


def test_a_token_that_is_none_is_a_401_with_its_code(place: Place) -> None:
    """The codes decide whether a refresh can help."""
    answer = place.get("/adAccounts?q=search&pageSize=1", Authorization="Bearer " + "A" * 350)

    assert answer.status == 401
    assert (read_body(answer).serviceErrorCode, read_body(answer).code) in {
        (65600, "INVALID_ACCESS_TOKEN"),
        (65601, "REVOKED_ACCESS_TOKEN"),
        (65600, None),
        (65601, None),
    }


def test_every_answer_names_itself_for_support(place: Place) -> None:
    """LinkedIn's support asks for it."""
    headers = place.get("/dmpSegments/1").headers

    assert headers.get("x-li-uuid") or headers.get("x-li-request-id")


def test_an_audience_can_be_made_found_filled_and_deleted(place: Place) -> None:
    """By our own key, with one answer per member; a member that is added twice is accepted twice."""
    if not place.writes:
        pytest.skip("needs LIVE_LINKEDIN_WRITES=yes")
    client, key = place.client(), f"contract-test-{uuid4()}"
    made = client.create_audience(place.token, place.urn, key, "Contract test, may be deleted")
    try:
        assert made.isdecimal()
        audience = _soon(place, lambda: client.read_audience(place.token, made))
        assert audience.state in {State.BUILDING, State.READY, State.UPDATING}
        found = _soon(place, lambda: client.find_audience(place.token, place.urn, key))
        assert found.id == made

        digest = sha256(f"{uuid4()}@contract-test.example".encode()).digest()
        for _ in range(2):
            outcome = _soon(place, lambda: client.add_members(place.token, made, digest))
            assert (outcome.accepted, outcome.refused) == (1, 0)
    finally:
        deleted = place.http.send(Request("DELETE", f"/dmpSegments/{made}", protocol.headers(place.token, VERSION)))
    assert deleted.status in {200, 204}
    assert place.get(f"/dmpSegments/{made}").status == 404


def _soon[T](place: Place, ask: Callable[[], T | None]) -> T:
    """Return what LinkedIn answers once a new audience has spread."""
    end = time.monotonic() + place.patience
    while (found := ask()) is None:
        assert time.monotonic() < end, "it did not spread in time"
        threading.Event().wait(1.0)
    return found
