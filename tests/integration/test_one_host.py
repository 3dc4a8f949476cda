"""Addresses that come out of answers: followed on the configured host only, whatever an answer says (server-side forgery)."""

import time
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from sandbox import tokens
from sandbox.dataverse import DataverseSimulator, seeds
from sandbox.linkedin import LinkedInSimulator
from sandbox.web import Fault, InProcess
from shared.dataverse.client import DataverseClient
from shared.dataverse.members import DataverseMembers
from shared.domain.segments import Kind, Segment, SegmentRef
from shared.errors import UnexpectedAnswer
from shared.http import HttpClient, Request, new_session
from shared.linkedin.client import LinkedInClient
from shared.settings import Settings

DATAVERSE, LINKEDIN = "https://contoso.crm4.dynamics.com", "https://api.linkedin.example"
SETTINGS = {
    "DATAVERSE_URL": DATAVERSE,
    "DATAVERSE_TENANT_ID": "t",
    "DATAVERSE_CLIENT_ID": "c",
    "DATAVERSE_CLIENT_SECRET": "s",
    "WEBHOOK_SECRET": "w",
    "LINKEDIN_CLIENT_ID": "l",
    "LINKEDIN_CLIENT_SECRET": "s",
    "SIGNIN_KEYS": "k1:" + "A" * 43 + "=",
    "PUBLIC_URL": "https://audiences.example",
    "DATAVERSE_PAGE_SIZE": "10",
}
REST = "/api/data/v9.2/contacts?$skiptoken=x"
ELSEWHERE = [
    f"https://evil.example{REST}",
    f"{DATAVERSE}.evil.example{REST}",
    f"{DATAVERSE}@evil.example{REST}",
    f"https://evil.example/{DATAVERSE}{REST}",
    f"{DATAVERSE}:444{REST}",
    f"{DATAVERSE.replace('https', 'http')}{REST}",
    f"//evil.example{REST}",
    f"{DATAVERSE}/other{REST}",
    "http://169.254.169.254/metadata/identity/oauth2/token",
    "file:///etc/passwd",
    "",
]


class Trap(BaseAdapter):
    """Whatever is sent anywhere else is caught, and kept with the token that it carried."""

    def __init__(self) -> None:
        super().__init__()
        self.caught: list[str] = []

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        self.caught.append(f"{request.url} {request.headers.get('Authorization')}")
        raise requests.ConnectionError(request=request)

    def close(self) -> None:
        """Nothing to close."""


class Tokens:
    """A token source for an application that may do everything."""

    def token(self) -> str:
        """Return a token that the environment accepts."""
        return tokens.issue(appid=seeds.ADMINISTRATOR_APPLICATION, audience=DATAVERSE, now=time.time())

    def forget(self, refused: str) -> None:
        """Nothing to forget."""


class Network:
    """The only hosts that there are, and a trap for everything else."""

    def __init__(self) -> None:
        self.dataverse, self.linkedin, self.trap = DataverseSimulator(), LinkedInSimulator(), Trap()
        self._session = new_session()
        self._session.mount("https://", self.trap)
        self._session.mount("http://", self.trap)
        self._session.mount(f"{DATAVERSE}/", InProcess(self.dataverse))
        self._session.mount(f"{LINKEDIN}/", InProcess(self.linkedin))
        client = DataverseClient(self.http(DATAVERSE), Tokens(), parallel=2)
        self.client, self.members = client, DataverseMembers(client, Settings.from_env(SETTINGS))

    def http(self, base_url: str) -> HttpClient:
        """Return a client of one origin."""
        return HttpClient(base_url, name="The service", session=self._session)

    def segment(self, **given: Any) -> Segment:
        """Return a marketing list with 25 members."""
        rows = [{"emailaddress1": f"member{number}@contoso.example", "statecode": 0} for number in range(25)]
        ids = self.dataverse.load_rows("contact", rows)["ids"]
        made = self.dataverse.make_segment("list", members=ids, **given)
        return self.members.look_up(SegmentRef("list", made["list"]))


@pytest.fixture
def network() -> Network:
    """Return a network."""
    return Network()


@pytest.mark.parametrize("link", ELSEWHERE)
def test_a_next_page_on_another_host_is_never_asked_for(network: Network, link: str) -> None:
    """Not of members, not of opted-out addresses, not of rows; the app's token stays with the environment it is for."""
    segment = network.segment()
    body = {"value": [], "@odata.nextLink": link}
    network.dataverse.faults.append(Fault(kind="status", method="GET", status=200, body=body, times=3))

    if link:
        with pytest.raises(UnexpectedAnswer, match="never followed"):
            list(network.members.pages(segment, "", None))
        with pytest.raises(UnexpectedAnswer, match="never followed"):
            list(network.members.opted_out(""))
        with pytest.raises(UnexpectedAnswer, match="never followed"):
            list(network.client.rows("contacts", "read contacts"))
    else:
        assert list(network.client.rows("contacts", "read contacts")) == []
    assert network.trap.caught == []


def test_a_next_page_on_the_own_host_is_followed(network: Network) -> None:
    """The check must not stop what it is there for."""
    pages = list(network.members.pages(network.segment(), "", None))

    assert [len(page.rows) for page in pages] == [10, 10, 5]
    assert network.trap.caught == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_not_followed(network: Network, status: int) -> None:
    """Neither at Dataverse nor at LinkedIn."""
    away = {"Location": "https://evil.example/"}
    network.dataverse.faults.append(Fault(kind="status", status=status, headers=away))
    network.linkedin.faults.append(Fault(kind="status", status=status, headers=away))
    linkedin = LinkedInClient(
        network.http(f"{LINKEDIN}/rest"), version="202608", source_platform="DIRECT_API", calls_per_minute=1000
    )

    with pytest.raises(UnexpectedAnswer):
        list(network.client.rows("contacts", "read contacts"))
    with pytest.raises(UnexpectedAnswer):
        linkedin.read_audience("token", "1")
    assert network.trap.caught == []


def test_a_cursor_that_was_tampered_with_leads_nowhere_else(network: Network) -> None:
    """A cursor is kept in storage between two messages; even there nothing can turn it into another host."""
    segment = network.segment()
    assert segment.kind is Kind.LIST
    for cursor in ("https://evil.example/", "@evil.example/x", ".evil.example/x", ":443@evil.example/x"):
        with pytest.raises(UnexpectedAnswer):
            list(network.members.pages(segment, cursor, None))
    assert network.trap.caught == []


@pytest.mark.parametrize("path", ["https://evil.example/", "https://contoso.crm4.dynamics.com@evil.example/", "ftp://x/", "://x"])
def test_the_sender_itself_leaves_its_origin_for_nothing(network: Network, path: str) -> None:
    """Whatever a client above it should ever ask for."""
    with pytest.raises(UnexpectedAnswer, match="never followed"):
        network.http(DATAVERSE).send(Request("GET", path))
    assert network.trap.caught == []
