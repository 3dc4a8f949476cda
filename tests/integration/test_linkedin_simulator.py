"""The LinkedIn simulator keeps the rules of LinkedIn that the product relies on, one test for each."""

import hashlib
import http.client
import json
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import requests

from sandbox.certificates import Certificates, make_authority
from sandbox.linkedin import LinkedInSimulator
from sandbox.linkedin.members import read_batch
from sandbox.linkedin.seeds import CAREERS, CLIENT_ID, CLIENT_SECRET, EUROPE, NORTHWIND, READ_ONLY, TEST
from sandbox.linkedin.versions import sunset
from sandbox.web import Clock, Fault, InProcess, make_server

API = "https://api.linkedin.example"
CALLBACK = "https://app.example/api/linkedin/callback"
TODAY = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
DAY = 86400


def digest(number: int) -> str:
    """Return the hash of the member with this number."""
    return hashlib.sha256(f"member {number}".encode()).hexdigest()


def element(number: int, action: str = "ADD") -> dict[str, Any]:
    """Return one element of a batch."""
    return {"action": action, "userIds": [{"idType": "SHA256_EMAIL", "idValue": digest(number)}]}


@dataclass
class Member:
    """A signed-in person's way of calling the simulator."""

    simulator: LinkedInSimulator
    session: requests.Session
    token: str
    version: str = "202608"

    def call(self, method: str, path: str, body: Any = None, **headers: str | None) -> requests.Response:
        """Send a request with the usual headers; a header given as None is left out."""
        usual = {
            "Authorization": f"Bearer {self.token}",
            "LinkedIn-Version": self.version,
            "X-Restli-Protocol-Version": "2.0.0",
        }
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in (usual | given).items() if value is not None}
        return self.session.request(method, f"{API}{path}", json=body, headers=sent)

    def get(self, path: str) -> Any:
        """Return the JSON of a successful read."""
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def create(self, account: str = EUROPE.urn, **fields: Any) -> requests.Response:
        """Ask for a new segment."""
        wanted = {
            "name": "Newsletter",
            "type": "USER",
            "sourcePlatform": "DIRECT_API",
            "sourceSegmentId": "dataverse:msdynmkt_segment:1",
            "account": account,
            "destinations": [{"destination": "LINKEDIN"}],
        }
        body = {name: value for name, value in (wanted | fields).items() if value is not None}
        return self.call("POST", "/rest/dmpSegments", body)

    def created(self, **fields: Any) -> str:
        """Return the id of a new segment."""
        answer = self.create(**fields)
        assert answer.status_code == 201, answer.text
        return answer.headers["x-restli-id"]

    def send(self, segment: str, elements: list[Any]) -> requests.Response:
        """Send a batch of members."""
        return self.call("POST", f"/rest/dmpSegments/{segment}/users", {"elements": elements}, X_RestLi_Method="BATCH_CREATE")

    def destination(self, segment: str) -> dict[str, Any]:
        """Return the destination of a segment as a reader sees it."""
        shown: dict[str, Any] = self.get(f"/rest/dmpSegments/{segment}")["destinations"][0]
        return shown

    def do(self, action: str, **words: Any) -> Any:
        """Use the control panel."""
        answer = self.session.post(f"{API}/__sandbox__/do/{action}", json=words)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def plan(self, kind: str, **words: Any) -> None:
        """Plan a fault."""
        self.simulator.faults.append(Fault(kind, **words))


@pytest.fixture
def linkedin() -> LinkedInSimulator:
    """Return a fresh simulator on a fixed day, with our callback registered."""
    clock = Clock()
    clock.advance(TODAY - clock.time())
    return LinkedInSimulator(clock, redirect_uris=[CALLBACK])


@pytest.fixture
def session(linkedin: LinkedInSimulator) -> Iterator[requests.Session]:
    """Yield a session on which every https address is the simulator."""
    with requests.Session() as made:
        made.mount("https://", InProcess(linkedin))
        yield made


def signed_in(linkedin: LinkedInSimulator, session: requests.Session, person: str, scopes: list[str] | None = None) -> Member:
    """Return a person with a fresh token."""
    member = Member(linkedin, session, "")
    member.token = member.do("grant", person=person, **({"scopes": scopes} if scopes else {}))["access_token"]
    return member


@pytest.fixture
def ada(linkedin: LinkedInSimulator, session: requests.Session) -> Member:
    """Return the person with several ad accounts."""
    return signed_in(linkedin, session, "ada")


# Headers and versions


def test_a_call_without_a_version_is_a_400(ada: Member) -> None:
    """There is no default version."""
    answer = ada.call("GET", "/rest/adAccounts?q=search", LinkedIn_Version=None)

    assert (answer.status_code, answer.json()["code"]) == (400, "VERSION_MISSING")


@pytest.mark.parametrize("version", ["202508", "202511", "202512", "202612", "210001", "nonsense"])
def test_a_version_that_is_not_served_is_a_426(ada: Member, version: str) -> None:
    """Ended, never made, or not made yet: the setting is wrong."""
    answer = ada.call("GET", "/rest/adAccounts?q=search", LinkedIn_Version=version)

    expected = {"status": 426, "code": "NONEXISTENT_VERSION", "message": f"Requested version {version}01 is not active"}
    assert (answer.status_code, answer.json()) == (426, expected)


def test_a_version_ends_when_its_day_comes(ada: Member, linkedin: LinkedInSimulator) -> None:
    """The clock decides; a demonstration in later years can switch that off."""
    assert ada.call("GET", "/rest/adAccounts?q=search").status_code == 200
    linkedin.clock.advance(datetime(2027, 8, 15, tzinfo=UTC).timestamp() - TODAY)
    ada.token = ada.do("grant", person="ada")["access_token"]
    assert ada.call("GET", "/rest/adAccounts?q=search").status_code == 426

    ada.do("settings", versions_end=False)
    assert ada.call("GET", "/rest/adAccounts?q=search").status_code == 200
    assert str(sunset("202603")) == "2027-03-16"


def test_the_protocol_version_is_required(ada: Member) -> None:
    """Without it LinkedIn would read the query in another grammar."""
    assert ada.call("GET", "/rest/adAccounts?q=search", X_Restli_Protocol_Version=None).status_code == 400


def test_every_answer_carries_the_headers_that_support_asks_for(ada: Member) -> None:
    """Refusals too."""
    for answer in (ada.call("GET", "/rest/adAccounts?q=search"), ada.call("GET", "/rest/nothing")):
        assert {"x-li-uuid", "x-li-request-id", "x-li-fabric"} <= {name.lower() for name in answer.headers}


def test_an_unknown_address_is_a_404_in_linkedins_shape(ada: Member) -> None:
    """A mistyped resource."""
    answer = ada.call("GET", "/rest/dmpSegment")

    assert answer.status_code == 404
    assert answer.json()["code"] == "RESOURCE_NOT_FOUND"


# Tokens


def test_no_token_is_an_empty_one(ada: Member) -> None:
    """Our own mistake."""
    answer = ada.call("GET", "/rest/adAccounts?q=search", Authorization=None)

    assert (answer.status_code, answer.json()["code"]) == (401, "EMPTY_ACCESS_TOKEN")


@pytest.mark.parametrize(
    ("code", "number"), [("INVALID_ACCESS_TOKEN", 65600), ("REVOKED_ACCESS_TOKEN", 65601), ("EXPIRED_ACCESS_TOKEN", 65602)]
)
def test_a_token_that_ended_says_how(ada: Member, code: str, number: int) -> None:
    """Only one of them is worth a refresh."""
    ada.do("end_tokens", person="ada", code=code)
    answer = ada.call("GET", "/rest/adAccounts?q=search")

    shown = answer.json()
    assert (answer.status_code, shown["status"], shown["serviceErrorCode"], shown["code"]) == (401, 401, number, code)


def test_an_unknown_token_is_invalid(ada: Member) -> None:
    """A token of another world."""
    ada.token = "x" * 500

    assert ada.call("GET", "/rest/adAccounts?q=search").json()["serviceErrorCode"] == 65600


def test_an_access_token_lasts_sixty_days(ada: Member, linkedin: LinkedInSimulator) -> None:
    """Then the person signs in again."""
    linkedin.clock.advance(60 * DAY - 60)
    assert ada.call("GET", "/rest/adAccounts?q=search").status_code == 200

    linkedin.clock.advance(120)
    ada.version = "202609"
    assert ada.call("GET", "/rest/adAccounts?q=search").json()["serviceErrorCode"] == 65602


def test_a_token_seconds_old_may_be_called_revoked(ada: Member, linkedin: LinkedInSimulator) -> None:
    """LinkedIn has not heard of it everywhere yet; a little later it is good."""
    ada.plan("just-issued-401", times=9, seconds=5)
    assert ada.call("GET", "/rest/adAccounts?q=search").json()["serviceErrorCode"] == 65601

    linkedin.clock.advance(5)
    assert ada.call("GET", "/rest/adAccounts?q=search").status_code == 200


def test_tokens_are_long(ada: Member) -> None:
    """About 500 characters; columns must be made for that."""
    assert len(ada.token) == 500


# Signing in


def authorization(**changes: str | None) -> str:
    """Return the address of the sign-in page."""
    usual = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "state": "abc & def",
        "scope": "r_ads rw_ads rw_dmp_segments",
    }
    query = {name: value for name, value in (usual | changes).items() if value is not None}
    return f"{API}/oauth/v2/authorization?{urlencode(query, quote_via=quote)}"


def take_cookies(session: requests.Session, answer: requests.Response) -> None:
    """Keep the cookies of an answer; without a socket `requests` does not."""
    for name, morsel in SimpleCookie(answer.headers.get("Set-Cookie", "")).items():
        session.cookies.set(name, morsel.value)


def press(session: requests.Session, page: requests.Response, **fields: str) -> requests.Response:
    """Send the form of a page as a browser would, and follow to the next page but not to the application."""
    action = re.search(r'<form method="post" action="([^"]+)"', page.text)
    hidden = re.search(r'name="request" value="([^"]*)"', page.text)
    assert action
    assert hidden
    answer = session.post(API + action[1], data={"request": unescape(hidden[1]), **fields}, allow_redirects=False)
    take_cookies(session, answer)
    while answer.status_code == 303 and not answer.headers["Location"].startswith(CALLBACK):
        answer = session.get(API + answer.headers["Location"], allow_redirects=False)
    return answer


def sent_back(answer: requests.Response) -> dict[str, str]:
    """Return what the application is told."""
    assert answer.status_code == 303, answer.text
    assert answer.headers["Location"].startswith(CALLBACK)
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def new_code(session: requests.Session) -> str:
    """Sign in and allow, and return the code."""
    consent = press(session, session.get(authorization()), person="ada", decision="sign-in")
    return sent_back(press(session, consent, decision="allow"))["code"]


def exchange(session: requests.Session, **changes: str) -> requests.Response:
    """Ask the token address."""
    usual = {"grant_type": "authorization_code", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uri": CALLBACK}
    return session.post(f"{API}/oauth/v2/accessToken", data=usual | changes)


def test_a_person_signs_in_and_allows(session: requests.Session, linkedin: LinkedInSimulator) -> None:
    """The pages, the code, the token, and a first call with it."""
    page = session.get(authorization())
    assert "Ada Sample" in page.text
    assert "Ben Sample" in page.text
    consent = press(session, page, person="ben", decision="sign-in")
    assert "You are signed in as Ben Sample" in consent.text
    assert "matched audiences" in consent.text
    told = sent_back(press(session, consent, decision="allow"))
    assert told["state"] == "abc & def"

    answer = exchange(session, code=told["code"])
    token = answer.json()
    assert token["scope"] == "r_ads,rw_ads,rw_dmp_segments"
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 5_184_000)
    assert "refresh_token" not in token
    ben = Member(linkedin, session, token["access_token"])
    assert [shown["id"] for shown in ben.get("/rest/adAccounts?q=search")["elements"]] == [CAREERS.id, NORTHWIND.id]


def test_the_pages_need_no_script_and_allow_none(session: requests.Session) -> None:
    """Strict headers; the way back is named, because browsers check it after the form too."""
    page = session.get(authorization())
    policy = page.headers["Content-Security-Policy"]

    assert "<script" not in page.text
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://app.example" in policy


def test_cancelling_the_sign_in_goes_back_with_the_refusal(session: requests.Session) -> None:
    """The person does not want to say who they are."""
    told = sent_back(press(session, session.get(authorization()), person="ada", decision="cancel"))

    assert (told["error"], told["state"]) == ("user_cancelled_login", "abc & def")


def test_cancelling_the_consent_goes_back_with_the_refusal(session: requests.Session) -> None:
    """The person does not want to allow."""
    consent = press(session, session.get(authorization()), person="ada", decision="sign-in")
    told = sent_back(press(session, consent, decision="cancel"))

    assert (told["error"], told["state"]) == ("user_cancelled_authorize", "abc & def")
    assert told["error_description"]


def test_an_earlier_grant_skips_the_consent_until_it_is_taken_back(session: requests.Session, ada: Member) -> None:
    """Consent is asked again for further scopes, and after the person removed the app."""
    press(session, session.get(authorization()), person="ada", decision="sign-in")
    assert "code" in sent_back(session.get(authorization(), allow_redirects=False))

    assert "would like to" in session.get(authorization(scope="r_ads r_ads_reporting")).text
    ada.do("end_tokens", person="ada")
    assert "would like to" in session.get(authorization()).text


def test_a_person_can_change_who_they_are(session: requests.Session) -> None:
    """The way out of the wrong account."""
    consent = press(session, session.get(authorization()), person="ben", decision="sign-in")
    away = re.search(r'href="(/uas/logout[^"]+)"', consent.text)
    assert away
    left = session.get(API + unescape(away[1]), allow_redirects=False)
    take_cookies(session, left)

    assert "Who are you?" in session.get(API + left.headers["Location"]).text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_id": "unknown"}, "client_id is invalid"),
        ({"redirect_uri": "https://elsewhere.example/"}, "redirect_uri does not match"),
        ({"redirect_uri": CALLBACK + "#x"}, "redirect_uri does not match"),
        ({"redirect_uri": None}, "redirect_uri does not match"),
        ({"response_type": "token"}, "response_type"),
        ({"scope": None}, "scope"),
    ],
)
def test_a_wrong_request_is_shown_and_nobody_is_sent_anywhere(
    session: requests.Session, changes: dict[str, str | None], words: str
) -> None:
    """Otherwise the sign-in page would be an open redirect."""
    answer = session.get(authorization(**changes), allow_redirects=False)

    assert answer.status_code == 400
    assert words in answer.text


def test_the_query_of_the_redirect_address_does_not_count(session: requests.Session) -> None:
    """LinkedIn compares without it, and keeps it on the way back."""
    told = sent_back(press(session, session.get(authorization(redirect_uri=CALLBACK + "?a=1")), decision="cancel"))

    assert told["a"] == "1"


def test_one_scope_that_the_app_lacks_fails_the_whole_request(session: requests.Session, ada: Member) -> None:
    """An app without the Matched Audiences product."""
    ada.do("app_scopes", scopes=["r_ads", "rw_ads"])
    told = sent_back(session.get(authorization(), allow_redirects=False))

    assert told["error"] == "unauthorized_scope_error"
    assert "rw_dmp_segments" in told["error_description"]
    assert told["state"] == "abc & def"


def test_a_code_is_good_once(session: requests.Session) -> None:
    """A replayed callback gets nothing."""
    code = new_code(session)
    assert exchange(session, code=code).status_code == 200

    again = exchange(session, code=code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_request")


def test_a_code_is_short_lived(session: requests.Session, ada: Member, linkedin: LinkedInSimulator) -> None:
    """Exchange at once."""
    ada.do("settings", code_seconds=600)
    ada.do("end_tokens", person="ada")
    code = new_code(session)
    linkedin.clock.advance(601)

    assert exchange(session, code=code).json()["error"] == "invalid_request"


def test_a_code_belongs_to_its_address_and_app(session: requests.Session) -> None:
    """The redirect address of the exchange must be that of the authorisation."""
    assert exchange(session, code=new_code(session), redirect_uri=CALLBACK + "?a=1").json()["error"] == "invalid_redirect_uri"


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "wrong", "code": "x"}, 401, "invalid_client"),
        ({"client_id": "unknown", "code": "x"}, 401, "invalid_client"),
        ({}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, 401, "access_denied"),
        ({"grant_type": "refresh_token", "refresh_token": "unknown"}, 400, "invalid_grant"),
    ],
)
def test_the_token_address_refuses_in_oauths_shape(
    session: requests.Session, changes: dict[str, str], status: int, error: str
) -> None:
    """Errors have `error` and `error_description`."""
    answer = exchange(session, **changes)

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["error_description"]


def test_the_token_address_takes_forms_only(session: requests.Session) -> None:
    """JSON is refused."""
    assert session.post(f"{API}/oauth/v2/accessToken", json={"grant_type": "authorization_code"}).status_code == 400


def test_an_approved_app_gets_a_refresh_token_with_a_fixed_end(
    session: requests.Session, ada: Member, linkedin: LinkedInSimulator
) -> None:
    """Refreshed on day 59 it has 306 days left; near its end the access token is cut to what is left."""
    ada.do("settings", refresh_tokens=True)
    first = ada.do("grant", person="ada")
    assert first["refresh_token_expires_in"] == 31_536_000

    linkedin.clock.advance(59 * DAY)
    renewed = exchange(session, grant_type="refresh_token", refresh_token=first["refresh_token"]).json()
    assert renewed["refresh_token_expires_in"] == pytest.approx(306 * DAY, abs=60)
    assert renewed["refresh_token"] == first["refresh_token"]
    assert renewed["access_token"] != first["access_token"]

    linkedin.clock.advance(300 * DAY)
    last = exchange(session, grant_type="refresh_token", refresh_token=first["refresh_token"]).json()
    assert last["expires_in"] == pytest.approx(6 * DAY, abs=60)
    linkedin.clock.advance(7 * DAY)
    assert exchange(session, grant_type="refresh_token", refresh_token=first["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_refresh_token_outlives_the_access_token_but_not_a_revocation(session: requests.Session, ada: Member) -> None:
    """65602 is worth a refresh, 65601 is not."""
    ada.do("settings", refresh_tokens=True)
    granted = ada.do("grant", person="ada")
    ada.do("end_tokens", person="ada", code="EXPIRED_ACCESS_TOKEN")
    renewed = exchange(session, grant_type="refresh_token", refresh_token=granted["refresh_token"]).json()
    ada.token = renewed["access_token"]
    assert ada.call("GET", "/rest/adAccounts?q=search").status_code == 200

    ada.do("end_tokens", person="ada", code="REVOKED_ACCESS_TOKEN")
    refused = exchange(session, grant_type="refresh_token", refresh_token=granted["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def test_introspection_tells_state_scope_and_times(session: requests.Session, ada: Member, linkedin: LinkedInSimulator) -> None:
    """What the sign-in page can ask about a token."""
    form = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "token": ada.token}
    told = session.post(f"{API}/oauth/v2/introspectToken", data=form).json()
    assert (told["active"], told["status"], told["auth_type"]) == (True, "active", "3L")
    assert told["scope"] == "r_ads,rw_ads,rw_dmp_segments"
    assert told["expires_at"] - told["created_at"] == 5_184_000

    linkedin.clock.advance(61 * DAY)
    assert session.post(f"{API}/oauth/v2/introspectToken", data=form).json()["status"] == "expired"
    assert session.post(f"{API}/oauth/v2/introspectToken", data=form | {"token": "unknown"}).json() == {"active": False}
    assert session.post(f"{API}/oauth/v2/introspectToken", data=form | {"client_secret": "wrong"}).status_code == 401


def test_a_revoked_token_is_revoked(session: requests.Session, ada: Member) -> None:
    """Signing out ends the token; doing so twice is no error."""
    form = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "token": ada.token}
    for _ in range(2):
        assert session.post(f"{API}/oauth/v2/revoke", data=form).status_code == 200

    assert ada.call("GET", "/rest/adAccounts?q=search").json()["serviceErrorCode"] == 65601


def test_only_proper_addresses_can_be_registered(linkedin: LinkedInSimulator) -> None:
    """Absolute HTTPS without a fragment; plain HTTP on this machine only."""
    linkedin.oauth.register_redirect("http://127.0.0.1:7071/api/linkedin/callback")

    for wrong in ("http://app.example/x", "/relative", "https://app.example/#x"):
        with pytest.raises(ValueError, match="registers absolute HTTPS"):
            linkedin.oauth.register_redirect(wrong)


# Ad accounts


def test_the_accounts_of_a_person_include_every_status(ada: Member) -> None:
    """Without a search all reachable accounts come, cancelled and test ones too."""
    found = ada.get("/rest/adAccounts?q=search")["elements"]

    assert {account["status"] for account in found} == {"ACTIVE", "CANCELED"}
    assert [account["id"] for account in found if account["test"]] == [TEST.id]
    assert all(isinstance(account["id"], int) and "referenceInfo" not in account for account in found)


def test_a_search_narrows_the_accounts(ada: Member) -> None:
    """The form of LinkedIn's own collection."""
    search = "(type:(values:List(BUSINESS)),status:(values:List(ACTIVE)),test:false)"
    found = ada.get(f"/rest/adAccounts?q=search&search={search}&fields=id,name,referenceInfo")["elements"]
    assert [account["id"] for account in found] == [EUROPE.id, CAREERS.id, READ_ONLY.id]
    assert set(found[0]) == {"id", "name", "referenceInfo"}

    one = ada.get(f"/rest/adAccounts?q=search&search=(id:(values:List({quote(EUROPE.urn, safe='')})))")["elements"]
    assert [account["id"] for account in one] == [EUROPE.id]


@pytest.mark.parametrize(
    "search", ["(colour:(values:List(RED)))", "(status:ACTIVE)", "(test:maybe)", "(status:(values:List(A))", "x"]
)
def test_a_wrong_search_is_a_400(ada: Member, search: str) -> None:
    """Misspelt, or with a bracket missing."""
    assert ada.call("GET", f"/rest/adAccounts?q=search&search={search}").status_code == 400


def test_accounts_come_by_pages_with_a_cursor(ada: Member) -> None:
    """The last page has no next token."""
    ada.do("many_accounts", person="ada", count=150)
    found, token, pages = [], "", 0
    while True:
        page = ada.get(f"/rest/adAccounts?q=search&pageSize=50{token and '&pageToken=' + token}")
        found += [account["id"] for account in page["elements"]]
        pages += 1
        token = page["metadata"].get("nextPageToken", "")
        if not token:
            break

    assert (len(found), len(set(found)), pages) == (156, 156, 4)
    assert ada.call("GET", "/rest/adAccounts?q=search&pageSize=1001").status_code == 400
    assert ada.call("GET", "/rest/adAccounts?q=search&pageToken=nonsense").status_code == 400


def test_a_person_may_have_no_account_at_all(ada: Member) -> None:
    """Normal for an app in the development tier."""
    ada.do("no_accounts", person="ada")

    assert ada.get("/rest/adAccounts?q=search")["elements"] == []
    assert ada.get("/rest/adAccountUsers?q=authenticatedUser")["elements"] == []


def test_roles_come_by_pages_with_an_offset(ada: Member) -> None:
    """A different paging from that of the accounts; ten at a time unless asked otherwise."""
    ada.do("many_accounts", person="ada", count=10)
    first = ada.get("/rest/adAccountUsers?q=authenticatedUser")
    second = ada.get("/rest/adAccountUsers?q=authenticatedUser&start=10&count=100")

    assert first["paging"] == {"start": 0, "count": 10, "links": [], "total": 16}
    assert (len(first["elements"]), len(second["elements"])) == (10, 6)
    role = first["elements"][0]
    assert (role["account"], role["user"], role["role"]) == (EUROPE.urn, "urn:li:person:ada", "ACCOUNT_MANAGER")


def test_one_role_is_read_by_its_compound_key(ada: Member) -> None:
    """The key holds two encoded URNs."""
    path = "/rest/adAccountUsers/(account:{},user:{})"
    account, user = quote(READ_ONLY.urn, safe=""), quote("urn:li:person:ada", safe="")
    assert ada.get(path.format(account, user))["role"] == "VIEWER"

    nobody = quote("urn:li:person:nobody", safe="")
    assert ada.call("GET", path.format(account, nobody)).status_code == 404


def test_ad_accounts_need_an_advertising_scope(linkedin: LinkedInSimulator, session: requests.Session) -> None:
    """A 403 with code 100, and the name of what was refused."""
    member = signed_in(linkedin, session, "ada", ["rw_dmp_segments"])
    answer = member.call("GET", "/rest/adAccounts?q=search")

    assert answer.status_code == 403
    assert (answer.json()["serviceErrorCode"], answer.json()["code"]) == (100, "ACCESS_DENIED")
    assert answer.json()["message"] == "Not enough permissions to access: adAccounts.GET.20260801"


def test_the_callers_name_needs_its_own_scopes(linkedin: LinkedInSimulator, session: requests.Session, ada: Member) -> None:
    """Two ways to learn it, neither of them free."""
    assert ada.call("GET", "/rest/me").status_code == 403
    assert ada.call("GET", "/v2/userinfo", LinkedIn_Version=None).status_code == 403

    named = signed_in(linkedin, session, "ada", ["r_basicprofile", "openid", "profile"])
    assert named.get("/rest/me")["localizedFirstName"] == "Ada"
    assert named.call("GET", "/v2/userinfo", LinkedIn_Version=None).json()["name"] == "Ada Sample"


# Segments


def test_a_new_segment_answers_with_its_id_in_a_header(ada: Member) -> None:
    """201 with nothing in the body."""
    answer = ada.create()

    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["x-restli-id"].isdecimal()


def test_an_older_gateway_names_the_header_differently(ada: Member) -> None:
    """Seen in use: x-linkedin-id."""
    ada.do("settings", created_id_header="x-linkedin-id")
    headers = ada.create().headers

    assert "x-restli-id" not in headers
    assert headers["x-linkedin-id"].isdecimal()


@pytest.mark.parametrize("field", ["name", "type", "account", "destinations", "sourcePlatform"])
def test_a_required_field_is_required(ada: Member, field: str) -> None:
    """The answer names it."""
    missing: dict[str, Any] = {field: None}
    answer = ada.create(**missing)

    assert answer.status_code == 400
    assert f"/{field} ::" in answer.json()["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "USER_STREAMING"},
        {"sourcePlatform": "API"},
        {"account": "512345678"},
        {"destinations": [{"destination": "FACEBOOK"}]},
        {"accessPolicy": "PUBLIC"},
        {"segmentId": "1"},
        {"name": "x" * 256},
        {"name": 7},
        {"description": 7},
    ],
)
def test_a_value_that_linkedin_does_not_know_is_refused(ada: Member, fields: dict[str, Any]) -> None:
    """Names and values that circulate in public code, and simple mistakes."""
    assert ada.create(**fields).status_code == 400


def test_a_body_that_is_no_object_is_a_400(ada: Member) -> None:
    """Lists, texts."""
    assert ada.call("POST", "/rest/dmpSegments", [1]).status_code == 400


def test_creating_is_not_idempotent(ada: Member) -> None:
    """The same call twice makes two segments, so the finder comes first."""
    assert ada.created() != ada.created()


def test_writing_takes_a_role_above_viewer(ada: Member, linkedin: LinkedInSimulator, session: requests.Session) -> None:
    """Every other role will do; no role will not."""
    assert ada.create(READ_ONLY.urn).json()["code"] == "ACCESS_DENIED"
    assert ada.create(NORTHWIND.urn).status_code == 403
    assert ada.create(CAREERS.urn).status_code == 201

    segment = ada.created()
    ben = signed_in(linkedin, session, "ben")
    ben.do("set_role", person="ben", account=EUROPE.id, role="VIEWER")
    assert ben.get(f"/rest/dmpSegments/{segment}")["id"] == int(segment)
    assert ben.send(segment, [element(1)]).status_code == 403
    assert ben.call("DELETE", f"/rest/dmpSegments/{segment}").status_code == 403
    ben.do("set_role", person="ben", account=EUROPE.id, role="CREATIVE_MANAGER")
    assert ben.send(segment, [element(1)]).status_code == 200
    ben.do("set_role", person="ben", account=EUROPE.id, role=None)
    assert ben.call("GET", f"/rest/dmpSegments/{segment}").status_code == 403


def test_segments_need_their_own_scope(linkedin: LinkedInSimulator, session: requests.Session, ada: Member) -> None:
    """Reading goes with rw_ads too, writing does not."""
    segment = ada.created()
    advertiser = signed_in(linkedin, session, "ada", ["r_ads", "rw_ads"])

    assert advertiser.create().status_code == 403
    assert advertiser.send(segment, [element(1)]).status_code == 403
    assert advertiser.call("GET", f"/rest/dmpSegments/{segment}").status_code == 200
    assert signed_in(linkedin, session, "ada", ["r_ads"]).call("GET", f"/rest/dmpSegments/{segment}").status_code == 403


def test_the_number_of_segments_is_limited(ada: Member) -> None:
    """A 429 that no waiting cures, told apart by its code."""
    ada.do("settings", segment_limit=1)
    ada.created()
    answer = ada.create()

    assert (answer.status_code, answer.json()["code"]) == (429, "SEGMENT_LIMIT_EXCEEDED")
    assert ada.create(CAREERS.urn).status_code == 201


def test_the_finder_finds_by_our_foreign_key(ada: Member) -> None:
    """Account, platform and our own id; URNs and colons encoded."""
    mine, other = ada.created(), ada.created(sourceSegmentId="dataverse:list:2")
    ada.created(account=CAREERS.urn)
    account = quote(EUROPE.urn, safe="")
    found = ada.get(
        f"/rest/dmpSegments?q=account&account={account}&sourcePlatform=DIRECT_API&sourceSegmentId=dataverse%3Alist%3A2"
    )
    assert [segment["id"] for segment in found["elements"]] == [int(other)]
    assert found["elements"][0]["sourceSegmentId"] == "dataverse:list:2"

    everything = ada.get(f"/rest/dmpSegments?q=account&account={account}")
    assert [segment["id"] for segment in everything["elements"]] == [int(mine), int(other)]
    page = ada.get(f"/rest/dmpSegments?q=account&account={account}&start=1&count=1")
    assert page["paging"] == {"start": 1, "count": 1, "links": [], "total": 2}
    assert [segment["id"] for segment in page["elements"]] == [int(other)]


def test_the_finder_of_an_unknown_account_is_empty(ada: Member) -> None:
    """200 and nothing: a way to see whether a token works."""
    assert ada.get("/rest/dmpSegments?q=account&account=urn%3Ali%3AsponsoredAccount%3A0")["elements"] == []


@pytest.mark.parametrize(
    "query",
    [
        "q=account",
        "q=accounts&account=x",
        f"q=account&account={EUROPE.urn}",
        "ids=List%281,2%29",
        "ids=List(1",
        "ids=1",
        "",
        "ids=List(a)",
    ],
)
def test_a_query_in_the_wrong_grammar_is_a_400(ada: Member, query: str) -> None:
    """Brackets of lists stay raw, colons of URNs do not."""
    assert ada.call("GET", f"/rest/dmpSegments?{query}").status_code == 400


def test_the_finder_may_be_behind(ada: Member) -> None:
    """A new segment is not shown for some looks, though it exists."""
    ada.do("speed", find="after 2 looks")
    segment = ada.created()
    query = f"/rest/dmpSegments?q=account&account={quote(EUROPE.urn, safe='')}"

    assert [len(ada.get(query)["elements"]) for _ in range(3)] == [0, 0, 1]
    assert ada.get(f"/rest/dmpSegments/{segment}")["id"] == int(segment)


def test_several_segments_are_read_by_ids(ada: Member) -> None:
    """Results and errors by id."""
    segment = ada.created()
    found = ada.get(f"/rest/dmpSegments?ids=List({segment},1)")

    assert list(found["results"]) == [segment]
    assert found["errors"]["1"]["status"] == 404


def test_a_long_query_may_travel_as_a_form(ada: Member) -> None:
    """Query tunnelling, as LinkedIn's own client does it beyond 4,000 characters."""
    segment = ada.created()
    headers = {
        "Authorization": f"Bearer {ada.token}",
        "LinkedIn-Version": "202608",
        "X-Restli-Protocol-Version": "2.0.0",
        "X-HTTP-Method-Override": "GET",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    found = ada.session.post(f"{API}/rest/dmpSegments", data=f"ids=List({segment})", headers=headers).json()

    assert list(found["results"]) == [segment]


def test_name_description_and_foreign_key_can_change(ada: Member) -> None:
    """Everything else is fixed."""
    segment = ada.created()
    path = f"/rest/dmpSegments/{segment}"
    patch = {"patch": {"$set": {"name": "Other", "description": "d", "sourceSegmentId": "s"}}}
    assert ada.call("POST", path, patch, X_RestLi_Method="PARTIAL_UPDATE").status_code == 204
    shown = ada.get(path)
    assert (shown["name"], shown["description"], shown["sourceSegmentId"]) == ("Other", "d", "s")

    wrongs: list[Any] = [
        {"patch": {"$set": {"type": "COMPANY"}}},
        {"patch": {"$set": {"colour": 1}}},
        {"patch": {}},
        {"name": "x"},
    ]
    for wrong in wrongs:
        assert ada.call("POST", path, wrong, X_RestLi_Method="PARTIAL_UPDATE").status_code == 400
    assert ada.call("POST", path, patch).status_code == 400


def test_a_deleted_segment_is_gone(ada: Member) -> None:
    """204, and 404 the second time, in the words of a segment that never was."""
    segment = ada.created()
    assert ada.call("DELETE", f"/rest/dmpSegments/{segment}").status_code == 204

    again = ada.call("DELETE", f"/rest/dmpSegments/{segment}")
    assert again.status_code == 404
    assert again.json()["message"] == f"Could not find DMP segment with ID {segment}"


def test_several_segments_are_deleted_at_once(ada: Member) -> None:
    """Each with its own status."""
    first, second = ada.created(), ada.created()
    answer = ada.call("DELETE", f"/rest/dmpSegments?ids=List({first},{second},1)").json()

    assert answer["results"] == {first: {"status": 204}, second: {"status": 204}}
    assert answer["errors"]["1"]["status"] == 404


def test_destinations_and_ad_segments_show_the_same_audience(ada: Member) -> None:
    """The ad segment is what campaigns target."""
    segment = ada.created()
    ada.send(segment, [element(number) for number in range(100)])
    urn = ada.get(f"/rest/dmpSegments/{segment}/destinations/LINKEDIN")["destinationSegmentId"]
    listed = ada.get(f"/rest/dmpSegments/{segment}/destinations")["elements"]
    assert [shown["destinationSegmentId"] for shown in listed] == [urn]

    number = urn.removeprefix("urn:li:adSegment:")
    assert ada.get(f"/rest/adSegments/{number}")["approximateMemberCount"] == 59
    found = ada.get(f"/rest/adSegments?q=accounts&accounts=List({quote(EUROPE.urn, safe='')})")["elements"]
    assert [shown["id"] for shown in found] == [int(number)]
    assert ada.call("GET", "/rest/adSegments/1").status_code == 404
    assert ada.call("POST", f"/rest/dmpSegments/{segment}/destinations", {"destination": "LINKEDIN"}).status_code == 201


# Members


def test_a_batch_answers_for_every_element(ada: Member) -> None:
    """200 around, 201 for each: accepted, not matched."""
    segment = ada.created()
    answer = ada.send(segment, [element(1), element(2)])

    assert (answer.status_code, answer.json()) == (200, {"elements": [{"status": 201}, {"status": 201}]})
    assert ada.do("members", segment_id=segment) == sorted([digest(1), digest(2)])


def test_members_are_a_set(ada: Member) -> None:
    """Sending again is safe, and so is taking out somebody who is not in."""
    segment = ada.created()
    for batch in ([element(1), element(2)], [element(1)], [element(2, "REMOVE"), element(3, "REMOVE")]):
        assert all(one["status"] == 201 for one in ada.send(segment, batch).json()["elements"])

    assert ada.do("members", segment_id=segment) == [digest(1)]


def test_the_order_of_a_mixed_batch_counts(ada: Member) -> None:
    """The last word about a member wins."""
    segment = ada.created()
    ada.send(segment, [element(1), element(1, "REMOVE"), element(2, "REMOVE"), element(2)])

    assert ada.do("members", segment_id=segment) == [digest(2)]


BAD_ELEMENTS: list[Any] = [
    {"action": "ADD", "userIds": [{"idType": "SHA256_EMAIL", "idValue": digest(1).upper()}]},
    {"action": "ADD", "userIds": [{"idType": "SHA256_EMAIL", "idValue": digest(1)[:-1]}]},
    {"action": "ADD", "userIds": [{"idType": "SHA256_EMAIL", "idValue": digest(1)[:-1] + "g"}]},
    {"action": "ADD", "userIds": [{"idType": "SHA256_EMAIL", "idValue": digest(1)[:-2] + " \n"}]},
    {"action": "ADD", "userIds": [{"idType": "SHA256_EMAIL", "idValue": "\u0661" * 64}]},
    {"action": "ADD", "userIds": [{"idType": "SHA256_EMAIL", "idValue": 7}]},
    {"action": "ADD", "userIds": [{"idType": "EMAIL", "idValue": digest(1)}]},
    {"action": "ADD", "userIds": [{"idType": "SHA512_EMAIL", "idValue": digest(1)}]},
    {"action": "ADD", "userIds": [{"idValue": digest(1)}]},
    {"action": "ADD", "userIds": digest(1)},
    {"action": "ADD", "userIds": []},
    {"action": "add", "userIds": [{"idType": "SHA256_EMAIL", "idValue": digest(1)}]},
    {"userIds": [{"idType": "SHA256_EMAIL", "idValue": digest(1)}]},
    {"action": "ADD", "userIds": [{"idType": "SHA256_EMAIL", "idValue": digest(1)}], "email": "x"},
    {"action": "ADD", "userIds": [{"idType": "SHA256_EMAIL", "idValue": digest(1)}], "firstName": "x" * 36},
    {"action": "ADD", "userIds": [{"idType": "SHA256_EMAIL", "idValue": digest(1)}], "country": "Germany"},
    "text",
]


@pytest.mark.parametrize("bad", BAD_ELEMENTS)
def test_a_bad_element_fails_inside_a_200(ada: Member, bad: Any) -> None:
    """Its neighbours are accepted."""
    segment = ada.created()
    answer = ada.send(segment, [element(1), bad, element(3)])

    assert answer.status_code == 200
    statuses = [one["status"] for one in answer.json()["elements"]]
    assert statuses == [201, 400, 201]
    assert answer.json()["elements"][1]["error"]["status"] == 400
    assert ada.do("members", segment_id=segment) == sorted([digest(1), digest(3)])


def test_other_ids_and_details_are_accepted(ada: Member) -> None:
    """Names and companies help matching; only SHA-256 of addresses is remembered here."""
    segment = ada.created()
    detailed = element(1) | {"firstName": "A", "lastName": "B", "title": "T", "company": "C", "country": "GB"}
    named = {"action": "ADD", "userIds": [], "firstName": "A", "lastName": "B"}
    longer = {"action": "ADD", "userIds": [{"idType": "SHA512_EMAIL", "idValue": "a" * 128}]}
    answer = ada.send(segment, [detailed, named, longer])

    assert [one["status"] for one in answer.json()["elements"]] == [201, 201, 201]
    assert ada.do("members", segment_id=segment) == [digest(1)]


def test_a_batch_holds_up_to_5000(ada: Member, linkedin: LinkedInSimulator) -> None:
    """One more is refused as a whole; the call log counts the elements."""
    segment = ada.created()
    assert len(ada.send(segment, [element(number) for number in range(5000)]).json()["elements"]) == 5000
    assert linkedin.calls[-1].elements == 5000

    assert ada.send(segment, [element(number) for number in range(5001)]).status_code == 400
    assert ada.do("member_digest", segment_id=segment)["count"] == 5000


def test_an_empty_batch_does_nothing(ada: Member) -> None:
    """200 without elements."""
    assert ada.send(ada.created(), []).json() == {"elements": []}


@pytest.mark.parametrize("body", [{"element": []}, {"elements": {}}, [], {"elements": [], "more": 1}])
def test_a_body_that_is_no_batch_is_a_400(ada: Member, body: Any) -> None:
    """The whole request fails."""
    path = f"/rest/dmpSegments/{ada.created()}/users"

    assert ada.call("POST", path, body, X_RestLi_Method="BATCH_CREATE").status_code == 400


def test_a_single_member_needs_no_batch(ada: Member) -> None:
    """The bare element answers 201; a batch without its header is refused."""
    segment = ada.created()
    path = f"/rest/dmpSegments/{segment}/users"
    assert ada.call("POST", path, element(1)).status_code == 201
    assert ada.call("POST", path, {"elements": [element(2)]}).status_code == 400
    assert ada.call("POST", path, {"action": "ADD"}).status_code == 400

    assert ada.do("members", segment_id=segment) == [digest(1)]


def test_a_new_segment_is_not_found_until_it_has_spread(ada: Member, linkedin: LinkedInSimulator) -> None:
    """By looks or by seconds; with the words of a segment that does not exist."""
    ada.do("speed", spread="after 2 looks")
    segment = ada.created()
    answers = [ada.send(segment, [element(1)]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 200]
    assert answers[0].json()["message"] == f"Could not find DMP segment with ID {segment}"

    ada.do("speed", spread="after 90 seconds")
    slow = ada.created()
    assert ada.send(slow, [element(1)]).status_code == 404
    linkedin.clock.advance(91)
    assert ada.send(slow, [element(1)]).status_code == 200


@pytest.mark.parametrize("status", ["EXPIRED", "FAILED", "ERROR"])
def test_a_dead_segment_takes_no_members(ada: Member, status: str) -> None:
    """Create it again and send everything."""
    segment = ada.created()
    ada.do("set_status", segment_id=segment, status=status)

    assert ada.send(segment, [element(1)]).status_code == 400
    assert ada.destination(segment)["status"] == status


def test_members_may_be_sent_while_it_builds(ada: Member) -> None:
    """BUILDING, UPDATING and ARCHIVED take members."""
    segment = ada.created()
    for status in ("BUILDING", "UPDATING", "ARCHIVED"):
        ada.do("set_status", segment_id=segment, status=status)
        assert ada.send(segment, [element(1)]).status_code == 200


def test_only_segments_of_users_take_users(ada: Member) -> None:
    """A company segment does not."""
    assert ada.send(ada.created(type="COMPANY"), [element(1)]).status_code == 400


# Status over time


def test_counts_are_absent_while_it_builds(ada: Member) -> None:
    """Every count is optional for a reader."""
    ada.do("speed", build="after 1 look")
    segment = ada.created()
    ada.send(segment, [element(number) for number in range(100)])
    building = ada.get(f"/rest/dmpSegments/{segment}")
    assert "inputCount" not in building
    assert building["destinations"][0]["status"] == "BUILDING"
    assert not {"matchedCount", "audienceSize"} & building["destinations"][0].keys()
    assert building["destinations"][0]["destinationSegmentId"].startswith("urn:li:adSegment:")

    ready = ada.get(f"/rest/dmpSegments/{segment}")
    assert ready["inputCount"] == 100
    destination = ready["destinations"][0]
    assert (destination["status"], destination["matchedCount"], destination["audienceSize"]) == ("READY", 60, 59)


def test_building_takes_looks_or_seconds_from_the_first_members_on(ada: Member, linkedin: LinkedInSimulator) -> None:
    """An audience without members never gets ready."""
    ada.do("speed", build="after 3600 seconds")
    segment = ada.created()
    linkedin.clock.advance(7200)
    assert ada.destination(segment)["status"] == "BUILDING"

    ada.send(segment, [element(1)])
    assert ada.destination(segment)["status"] == "BUILDING"
    linkedin.clock.advance(3601)
    assert ada.destination(segment)["status"] == "READY"


def test_a_later_change_is_an_update(ada: Member) -> None:
    """It still serves, and its counts are shown."""
    segment = ada.created()
    ada.send(segment, [element(1)])
    assert ada.destination(segment)["status"] == "READY"

    ada.do("speed", update="after 1 look")
    ada.send(segment, [element(2)])
    updating = ada.destination(segment)
    assert (updating["status"], "audienceSize" in updating) == ("UPDATING", True)
    assert ada.destination(segment)["status"] == "READY"


def test_too_small_an_audience_stays_in_building(ada: Member) -> None:
    """Fewer than 300 explains most audiences that never get ready; the limit is a setting here."""
    ada.do("settings", least_for_ready=300)
    segment = ada.created()
    ada.send(segment, [element(number) for number in range(509)])
    assert ada.destination(segment)["status"] == "BUILDING"

    ada.send(segment, [element(number) for number in range(509, 520)])
    assert ada.destination(segment)["status"] == "READY"


def test_counts_cover_a_week_and_size_covers_everything(ada: Member, linkedin: LinkedInSimulator) -> None:
    """Match rate is over seven days; sending a member again counts once."""
    segment = ada.created()
    ada.send(segment, [element(number) for number in range(100)])
    ada.send(segment, [element(number) for number in range(100)])
    assert ada.get(f"/rest/dmpSegments/{segment}")["inputCount"] == 100

    linkedin.clock.advance(8 * DAY)
    later = ada.get(f"/rest/dmpSegments/{segment}")
    assert (later["inputCount"], later["destinations"][0]["matchedCount"], later["destinations"][0]["audienceSize"]) == (0, 0, 59)


def test_an_unused_audience_is_archived_and_then_expires(ada: Member, linkedin: LinkedInSimulator) -> None:
    """30 days, and 90; the data is gone then."""
    ada.do("settings", versions_end=False, access_token_seconds=365 * DAY)
    ada.token = ada.do("grant", person="ada")["access_token"]
    segment = ada.created()
    ada.send(segment, [element(1)])
    assert ada.destination(segment)["status"] == "READY"
    linkedin.clock.advance(31 * DAY)
    assert ada.destination(segment)["status"] == "ARCHIVED"

    linkedin.clock.advance(60 * DAY)
    assert ada.destination(segment)["status"] == "EXPIRED"
    assert ada.do("members", segment_id=segment) == []


def test_looking_from_the_control_panel_is_no_look(ada: Member) -> None:
    """A test may watch without making time pass."""
    ada.do("speed", build="after 1 look")
    segment = ada.created()
    ada.send(segment, [element(1)])
    for _ in range(3):
        assert [shown["status"] for shown in ada.do("segments")] == ["BUILDING"]

    assert ada.destination(segment)["status"] == "BUILDING"
    assert ada.do("segments")[0]["status"] == "READY"


def test_a_large_audience_is_compared_by_one_digest(ada: Member) -> None:
    """Count and SHA-256 over the sorted digests."""
    segment = ada.created()
    ada.send(segment, [element(number) for number in range(1000)])
    expected = hashlib.sha256(b"".join(sorted(bytes.fromhex(digest(number)) for number in range(1000)))).hexdigest()

    assert ada.do("member_digest", segment_id=segment) == {"count": 1000, "sha256": expected}


# Rate limits


def test_member_batches_are_limited_by_the_minute(ada: Member, linkedin: LinkedInSimulator) -> None:
    """429 with service code 101 and no Retry-After; other resources go on."""
    linkedin.clock.advance(-(linkedin.clock.time() % 60) + 60)
    ada.do("settings", users_per_minute=2)
    segment = ada.created()
    answers = [ada.send(segment, [element(1)]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["serviceErrorCode"] == 101
    assert "Retry-After" not in answers[2].headers
    assert ada.destination(segment)["status"] == "READY"

    linkedin.clock.advance(60)
    assert ada.send(segment, [element(1)]).status_code == 200


def test_a_daily_quota_ends_at_midnight_utc(ada: Member, linkedin: LinkedInSimulator, session: requests.Session) -> None:
    """One counter for each member, one for the app."""
    segment = ada.created()
    ada.do("quota", resource="dmpSegments/users", member=1)
    assert [ada.send(segment, [element(1)]).status_code for _ in range(2)] == [200, 429]
    linkedin.clock.advance(11 * 3600)
    assert ada.send(segment, [element(1)]).status_code == 429
    linkedin.clock.advance(3600)
    assert ada.send(segment, [element(1)]).status_code == 200

    ada.do("quota", resource="adAccounts", app=1)
    ben = signed_in(linkedin, session, "ben")
    assert ada.call("GET", "/rest/adAccounts?q=search").status_code == 200
    assert ben.call("GET", "/rest/adAccounts?q=search").status_code == 429


# Faults


def test_some_elements_fail_when_planned(ada: Member) -> None:
    """Those are not in the audience; the rest is."""
    segment = ada.created()
    ada.plan("element-failures", path="/users", body={"failing": 3, "status": 500, "message": "try later"})
    batch = [element(number) for number in range(10)]
    statuses = [one["status"] for one in ada.send(segment, batch).json()["elements"]]
    assert (len(statuses), statuses.count(500)) == (10, 3)
    assert ada.do("member_digest", segment_id=segment)["count"] == 7

    assert all(one["status"] == 201 for one in ada.send(segment, batch).json()["elements"])
    assert ada.do("member_digest", segment_id=segment)["count"] == 10


@pytest.mark.parametrize(("missing", "length"), [(None, 9), (4, 6), (-2, 12)])
def test_an_answer_of_the_wrong_length(ada: Member, missing: int | None, length: int) -> None:
    """The batch was applied all the same."""
    segment = ada.created()
    ada.plan("wrong-length", path="/users", body=missing)

    assert len(ada.send(segment, [element(number) for number in range(10)]).json()["elements"]) == length
    assert ada.do("member_digest", segment_id=segment)["count"] == 10


def test_a_batch_may_be_applied_behind_an_error(ada: Member) -> None:
    """Unknown outcome: the caller sends it again."""
    segment = ada.created()
    ada.plan("batch-applied-then-5xx", path="/users", status=503)
    answer = ada.send(segment, [element(1)])

    assert answer.status_code == 503
    assert ada.do("members", segment_id=segment) == [digest(1)]


def test_a_segment_may_be_created_behind_a_broken_connection(ada: Member) -> None:
    """Find it by the foreign key before creating it again."""
    ada.plan("created-then-dropped", method="POST", path="/rest/dmpSegments$")

    with pytest.raises(requests.ConnectionError):
        ada.create()
    assert len(ada.do("segments")) == 1


def test_simultaneous_creates_may_conflict(ada: Member) -> None:
    """With and without a segment made."""
    ada.plan("conflict", path="/rest/dmpSegments$")
    assert ada.create().status_code == 409
    assert ada.do("segments") == []

    ada.plan("created-then-409", path="/rest/dmpSegments$")
    assert ada.create().status_code == 409
    assert len(ada.do("segments")) == 1


def test_one_segment_may_spread_slowly(ada: Member, linkedin: LinkedInSimulator) -> None:
    """Two minutes in practice."""
    ada.plan("slow-spread", method="POST", path="/rest/dmpSegments$", seconds=120)
    slow, quick = ada.created(), ada.created()
    assert ada.send(slow, [element(1)]).status_code == 404
    assert ada.send(quick, [element(1)]).status_code == 200

    linkedin.clock.advance(121)
    assert ada.send(slow, [element(1)]).status_code == 200


def test_a_planned_throttle_looks_like_linkedins(ada: Member) -> None:
    """Without a header that says how long."""
    ada.plan("throttled", times=2)
    answers = [ada.call("GET", "/rest/adAccounts?q=search") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert (answers[0].json()["serviceErrorCode"], "Retry-After" in answers[0].headers) == (101, False)


def test_a_mistyped_plan_does_not_pass_unnoticed(ada: Member) -> None:
    """A wrong name is an error, not a fault that never strikes."""
    ada.plan("no-such-fault")
    with pytest.raises(NotImplementedError, match="no-such-fault"):
        ada.call("GET", "/rest/adAccounts?q=search")

    panel = ada.simulator.actions()
    for action, words in (
        ("settings", {"colour": 1}),
        ("speed", {"colour": "at once"}),
        ("speed", {"build": "soon"}),
        ("set_role", {"person": "ada", "account": EUROPE.id, "role": "OWNER"}),
        ("set_role", {"person": "ada", "account": 1, "role": "VIEWER"}),
        ("grant", {"person": "nobody"}),
        ("end_tokens", {"person": "ada", "code": "GONE"}),
    ):
        with pytest.raises((ValueError, AttributeError)):
            panel[action](**words)
    with pytest.raises(ValueError, match="no status"):
        panel["set_status"](segment_id=1, status="SLEEPING")


def test_an_address_in_a_request_is_noticed(ada: Member) -> None:
    """So that a whole run can be checked at its end; what was carried is not kept."""
    ada.send(ada.created(), [element(1)])
    assert ada.do("addresses_seen") == []

    ada.created(description="for ada@contoso.example")
    ada.call("GET", "/rest/dmpSegments?q=account&account=ada%40contoso.example")
    seen = ada.do("addresses_seen")
    assert [entry["path"] for entry in seen] == ["/rest/dmpSegments", "/rest/dmpSegments"]
    assert "contoso" not in json.dumps(seen)


# Over a socket, and speed


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return a throw-away authority."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def address(linkedin: LinkedInSimulator, certificates: Certificates) -> Iterator[int]:
    """Yield the port of a server with the simulator behind it."""
    server = make_server(linkedin, 0, str(certificates.server), str(certificates.key))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.port
    server.shutdown()
    server.server_close()
    thread.join()


def raw_call(certificates: Certificates, port: int, method: str, path: str, headers: list[tuple[str, str]]) -> tuple[int, str]:
    """Send exactly these headers, and return status and body."""
    context = ssl.create_default_context(cafile=str(certificates.authority))
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    try:
        connection.putrequest(method, path)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_header_sent_twice_is_a_400(ada: Member, address: int, certificates: Certificates) -> None:
    """Seen in use: a client and its library both set it."""
    headers = [("Authorization", f"Bearer {ada.token}"), ("X-Restli-Protocol-Version", "2.0.0")]
    once, twice = [("LinkedIn-Version", "202608")], [("LinkedIn-Version", "202608")] * 2

    assert raw_call(certificates, address, "GET", "/rest/adAccounts?q=search", headers + once)[0] == 200
    assert raw_call(certificates, address, "GET", "/rest/adAccounts?q=search", headers + twice)[0] == 400


def test_a_post_without_a_length_is_a_411(ada: Member, address: int, certificates: Certificates) -> None:
    """Even one without a body says Content-Length: 0."""
    headers = [("Authorization", f"Bearer {ada.token}"), ("X-Restli-Protocol-Version", "2.0.0"), ("LinkedIn-Version", "202608")]
    assert raw_call(certificates, address, "POST", "/rest/dmpSegments", headers)[0] == 411

    status, body = raw_call(certificates, address, "POST", "/rest/dmpSegments", [*headers, ("Content-Length", "0")])
    assert (status, json.loads(body)["status"]) == (400, 400)


def test_the_simulator_runs_as_a_process_of_its_own(certificates: Certificates) -> None:
    """The command prints its address as one JSON line, and takes the app's credentials."""
    command = [
        sys.executable,
        "-m",
        "sandbox.linkedin",
        "--certificate",
        str(certificates.server),
        "--key",
        str(certificates.key),
    ]
    options = ["--client-id", "mine", "--client-secret", "secret", "--redirect-uri", CALLBACK, "--versions-never-end"]
    root = Path(__file__).parents[2]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout
            ready = json.loads(process.stdout.readline())
            port = urlsplit(ready["url"]).port
            assert port
            query = urlencode({"response_type": "code", "client_id": "mine", "redirect_uri": CALLBACK, "scope": "r_ads"})
            status, page = raw_call(certificates, port, "GET", f"/oauth/v2/authorization?{query}", [])
        finally:
            process.terminate()

    assert (ready["ready"], status) == ("linkedin", 200)
    assert "Who are you?" in page


def test_latency_costs_time_but_no_work(ada: Member) -> None:
    """A benchmark can imitate a far-away service."""
    ada.do("latency", seconds=0.05)
    began, work = time.perf_counter(), time.thread_time()
    ada.call("GET", "/rest/adAccounts?q=search")

    assert time.perf_counter() - began >= 0.05
    assert time.thread_time() - work < 0.05


def test_a_full_batch_costs_little_work() -> None:
    """The simulator must not dominate a measurement with a million members."""
    body = json.dumps({"elements": [element(number) for number in range(5000)]}).encode()
    members: set[bytes] = set()
    costs = []
    for _ in range(7):
        began = time.thread_time()
        members.update(read_batch(body, 5000).digests)
        costs.append(time.thread_time() - began)

    assert len(members) == 5000
    assert min(costs) < 0.008
