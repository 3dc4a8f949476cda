"""LinkedIn's own Python client, unmodified, works against the simulator over TLS.

It shows that the simulator speaks LinkedIn's protocol and not a dialect that only our client understands. Only its two
addresses are pointed at the simulator.
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from linkedin_api.clients.auth.client import AuthClient  # type: ignore[import-untyped]
from linkedin_api.clients.auth.utils import oauth  # type: ignore[import-untyped]
from linkedin_api.clients.restli.client import RestliClient  # type: ignore[import-untyped]
from linkedin_api.common import constants  # type: ignore[import-untyped]

from sandbox.certificates import Certificates, make_authority
from sandbox.linkedin import LinkedInSimulator
from sandbox.linkedin.seeds import CLIENT_ID, CLIENT_SECRET, EUROPE, READ_ONLY
from sandbox.web import make_server

CALLBACK = "https://app.example/api/linkedin/callback"
VERSION = "202608"
SCOPES = ["r_ads", "rw_ads", "rw_dmp_segments"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return a throw-away authority."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def linkedin() -> LinkedInSimulator:
    """Return a simulator that knows our callback, and whose versions do not end with the years."""
    simulator = LinkedInSimulator(redirect_uris=[CALLBACK])
    simulator.state.settings.versions_end = False
    return simulator


@pytest.fixture
def origin(linkedin: LinkedInSimulator, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the simulator's address, with LinkedIn's client pointed at it."""
    server = make_server(linkedin, 0, str(certificates.server), str(certificates.key))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    address = f"https://127.0.0.1:{server.port}"
    monkeypatch.setattr(constants, "OAUTH_BASE_URL", f"{address}/oauth/v2")
    monkeypatch.setattr(oauth, "OAUTH_BASE_URL", f"{address}/oauth/v2")
    monkeypatch.setattr(constants, "VERSIONED_BASE_URL", f"{address}/rest")
    monkeypatch.setattr(constants, "NON_VERSIONED_BASE_URL", f"{address}/v2")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    yield address
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def auth(origin: str, certificates: Certificates) -> Iterator[AuthClient]:
    """Yield LinkedIn's client for signing in."""
    assert origin
    client = AuthClient(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, redirect_url=CALLBACK)
    client.session.verify = str(certificates.authority)
    with client.session:
        yield client


@pytest.fixture
def rest(origin: str, certificates: Certificates) -> Iterator[RestliClient]:
    """Yield LinkedIn's client for the REST API."""
    assert origin
    client = RestliClient()
    client.session.verify = str(certificates.authority)
    with client.session:
        yield client


@pytest.fixture
def token(linkedin: LinkedInSimulator) -> str:
    """Return an access token of the person with several ad accounts."""
    granted: str = linkedin.actions()["grant"](person="ada")["access_token"]
    return granted


def code_of_a_person(origin: str, address: str) -> str:
    """Click through the sign-in pages as a person does, and return the code."""

    def press(page: requests.Response, **fields: str) -> requests.Response:
        action = re.search(r'method="post" action="([^"]+)"', page.text)
        hidden = re.search(r'name="request" value="([^"]*)"', page.text)
        assert action
        assert hidden
        answer = browser.post(origin + action[1], data={"request": unescape(hidden[1]), **fields}, allow_redirects=False)
        return answer if answer.headers["Location"].startswith(CALLBACK) else browser.get(origin + answer.headers["Location"])

    with requests.Session() as browser:
        told = press(press(browser.get(address), person="ada", decision="sign-in"), decision="allow").headers["Location"]
    return parse_qs(urlsplit(told).query)["code"][0]


def segment(**changes: Any) -> dict[str, Any]:
    """Return the body of a new segment."""
    body = {
        "name": "Newsletter",
        "type": "USER",
        "sourcePlatform": "DIRECT_API",
        "sourceSegmentId": "dataverse:list:1",
        "account": EUROPE.urn,
        "destinations": [{"destination": "LINKEDIN"}],
    }
    return body | changes


def member(number: int, action: str = "ADD") -> dict[str, Any]:
    """Return one element of a batch."""
    return {
        "action": action,
        "userIds": [{"idType": "SHA256_EMAIL", "idValue": hashlib.sha256(str(number).encode()).hexdigest()}],
    }


def test_it_signs_a_person_in(origin: str, auth: AuthClient) -> None:
    """Its address, the pages, its exchange of the code."""
    address = auth.generate_member_auth_url(scopes=SCOPES, state="given")
    answer = auth.exchange_auth_code_for_access_token(code_of_a_person(origin, address))

    assert answer.status_code == 200
    assert (answer.expires_in, answer.scope, answer.refresh_token) == (5_184_000, "r_ads,rw_ads,rw_dmp_segments", None)
    assert len(answer.access_token) == 500


def test_it_refreshes_and_introspects(auth: AuthClient, linkedin: LinkedInSimulator) -> None:
    """For an app that is approved for refresh tokens."""
    linkedin.oauth.settings.refresh_tokens = True
    granted = linkedin.actions()["grant"](person="ada")
    renewed = auth.exchange_refresh_token_for_access_token(granted["refresh_token"])
    assert (renewed.status_code, renewed.refresh_token) == (200, granted["refresh_token"])
    assert renewed.refresh_token_expires_in <= 31_536_000

    told = auth.introspect_access_token(renewed.access_token)
    assert (told.active, told.status, told.auth_type, told.client_id) == (True, "active", "3L", CLIENT_ID)
    assert told.expires_at > told.created_at >= told.authorized_at


def test_it_gets_no_two_legged_token(auth: AuthClient) -> None:
    """Apps do not have that flow by default."""
    assert auth.get_two_legged_access_token().status_code == 401


def test_it_finds_ad_accounts_and_roles(rest: RestliClient, token: str) -> None:
    """Finders with a nested search, projected fields, and a compound key in the path."""
    search = {"status": {"values": ["ACTIVE"]}, "test": False, "type": {"values": ["BUSINESS"]}}
    accounts = rest.finder(
        resource_path="/adAccounts",
        finder_name="search",
        query_params={"search": search, "pageSize": 2, "fields": "id,name"},
        access_token=token,
        version_string=VERSION,
    )
    assert [account["id"] for account in accounts.elements] == [512345678, 512345680]
    assert set(accounts.elements[0]) == {"id", "name"}
    assert accounts.response.json()["metadata"] == {"nextPageToken": "page-2"}

    roles = rest.finder(
        resource_path="/adAccountUsers",
        finder_name="authenticatedUser",
        query_params={"start": 0, "count": 100},
        access_token=token,
        version_string=VERSION,
    )
    assert (roles.paging.total, len(roles.elements)) == (6, 6)

    one = rest.get(
        resource_path="/adAccountUsers/{key}",
        path_keys={"key": {"account": READ_ONLY.urn, "user": "urn:li:person:ada"}},
        access_token=token,
        version_string=VERSION,
    )
    assert one.entity["role"] == "VIEWER"


def test_it_lives_through_an_audience(rest: RestliClient, token: str, linkedin: LinkedInSimulator) -> None:
    """Create, find, send members, read, rename, delete."""
    usual: dict[str, Any] = {"access_token": token, "version_string": VERSION}
    created = rest.create(resource_path="/dmpSegments", entity=segment(), **usual)
    assert created.status_code == 201
    assert created.entity is None
    keys = {"id": created.decoded_entity_id}

    found = rest.finder(
        resource_path="/dmpSegments",
        finder_name="account",
        query_params={"account": EUROPE.urn, "sourcePlatform": "DIRECT_API", "sourceSegmentId": "dataverse:list:1"},
        **usual,
    )
    assert [str(entity["id"]) for entity in found.elements] == [created.entity_id]

    batch = [member(number) for number in range(1200)] + [member(7, "REMOVE"), {"action": "ADD", "userIds": []}]
    sent = rest.batch_create(resource_path="/dmpSegments/{id}/users", path_keys=keys, entities=batch, **usual)
    assert [result.status for result in sent.elements] == [201] * 1201 + [400]
    assert sent.elements[-1].error["status"] == 400
    assert linkedin.actions()["member_digest"](segment_id=created.entity_id)["count"] == 1199
    assert linkedin.calls[-1].elements == 1202

    read = rest.get(resource_path="/dmpSegments/{id}", path_keys=keys, **usual)
    assert read.entity["destinations"][0]["status"] == "READY"
    assert read.entity["destinations"][0]["matchedCount"] == round(1199 * 0.6)

    renamed = rest.partial_update(resource_path="/dmpSegments/{id}", path_keys=keys, patch_set_object={"name": "Other"}, **usual)
    assert renamed.status_code == 204
    several = rest.batch_get(resource_path="/dmpSegments", ids=[created.entity_id, "1"], **usual)
    assert several.results[created.entity_id]["name"] == "Other"
    assert several.errors["1"]["status"] == 404

    assert rest.delete(resource_path="/dmpSegments/{id}", path_keys=keys, **usual).status_code == 204
    assert rest.delete(resource_path="/dmpSegments/{id}", path_keys=keys, **usual).status_code == 404


def test_it_deletes_several_at_once(rest: RestliClient, token: str) -> None:
    """Each with its own status."""
    usual: dict[str, Any] = {"access_token": token, "version_string": VERSION}
    ids = [rest.create(resource_path="/dmpSegments", entity=segment(), **usual).entity_id for _ in range(2)]
    answer = rest.batch_delete(resource_path="/dmpSegments", ids=ids, **usual)

    assert {number: result.status for number, result in answer.results.items()} == {ids[0]: 204, ids[1]: 204}


def test_it_tunnels_a_long_query(rest: RestliClient, token: str) -> None:
    """Beyond 4,000 characters the query travels as a form."""
    answer = rest.batch_get(resource_path="/dmpSegments", ids=list(range(1, 1500)), access_token=token, version_string=VERSION)

    assert answer.response.request.method == "POST"
    assert (answer.status_code, len(answer.errors)) == (200, 1499)


def test_it_is_told_that_its_version_is_not_active(rest: RestliClient, token: str, linkedin: LinkedInSimulator) -> None:
    """The version header reaches the simulator in both of its forms."""
    linkedin.state.settings.versions_end = True
    path: dict[str, Any] = {"resource_path": "/adAccounts/{id}", "path_keys": {"id": EUROPE.id}, "access_token": token}
    answer = rest.get(**path, version_string="202401")
    assert (answer.status_code, answer.entity["code"]) == (426, "NONEXISTENT_VERSION")

    linkedin.state.settings.versions_end = False
    assert rest.get(**path, version_string="202608.01").status_code == 200


def test_it_is_refused_with_linkedins_codes(rest: RestliClient, token: str, linkedin: LinkedInSimulator) -> None:
    """A role too low, and a token that ended."""
    usual: dict[str, Any] = {"access_token": token, "version_string": VERSION}
    refused = rest.create(resource_path="/dmpSegments", entity=segment(account=READ_ONLY.urn), **usual)
    assert (refused.status_code, refused.entity["serviceErrorCode"]) == (403, 100)

    linkedin.actions()["end_tokens"](person="ada", code="EXPIRED_ACCESS_TOKEN")
    expired = rest.get(resource_path="/dmpSegments/{id}", path_keys={"id": 1}, **usual)
    assert (expired.status_code, expired.entity["serviceErrorCode"]) == (401, 65602)
