"""The LinkedIn sign-in in a browser, on the running app: what goes through, and what changes nothing."""

import base64
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from uuid import uuid4

import pytest
import requests

from sandbox.world import Options, World
from shared.domain.signins import SignIn
from shared.errors import SignInNeeded
from shared.linkedin.oauth_state import sign_state, state_key
from shared.ports import Ticket
from shared.storage.connection import Connection
from shared.storage.signins import TableSignIns
from shared.storage.tickets import TableTickets

pytestmark = pytest.mark.xdist_group("signin")

TABLE = "lima_signin"
NOT_SIGNED_IN, WAITING, SIGNED_IN, _EXPIRES_SOON, EXPIRED, REFUSED = range(727000000, 727000006)
CONNECT, DISCONNECT, REFRESH_ACCOUNTS = range(727000000, 727000003)
NORTHWIND = 512345690
NOTHING_CHANGED = "Nothing was changed"


def until[T](condition: Callable[[], T | None], seconds: float = 20.0) -> T:
    """Return the first true value of a condition; fails when there is none in time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        threading.Event().wait(0.02)
    return found


class Browser:
    """A browser: it keeps cookies, and goes where it is sent only when the test says so."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(world.certificates.authority)

    def get(self, address: str) -> requests.Response:
        """Open an address."""
        return self._session.get(address, allow_redirects=False, timeout=60)

    def callback(self, **query: str) -> requests.Response:
        """Open the address that LinkedIn sends people back to."""
        return self.get(f"{self.world.app_url}/api/linkedin/callback?{urlencode(query)}")

    def at_linkedin(self, address: str, person: str = "ada", *, decision: str = "allow") -> str:
        """Sign in at LinkedIn and decide; return the address that LinkedIn sends the browser to."""
        query = urlsplit(address).query
        answer = self.get(address)
        if answer.status_code == 303:
            return answer.headers["Location"]
        sent = {"request": query, "person": person, "decision": "sign-in"}
        signed_in = self._session.post(f"{self.world.linkedin.url}/uas/login", sent, allow_redirects=False, timeout=60)
        answer = self.get(self.world.linkedin.url + signed_in.headers["Location"])
        if answer.status_code == 303:
            return answer.headers["Location"]
        form = {"request": query, "decision": decision}
        answer = self._session.post(f"{self.world.linkedin.url}/oauth/v2/authorization", form, allow_redirects=False, timeout=60)
        return answer.headers["Location"]

    def cookies(self) -> dict[str, str]:
        """Return the cookies."""
        return dict(self._session.cookies)


class Marketer:
    """A Dynamics user with a sign-in row, as the tab makes it."""

    def __init__(self, world: World, number: int = 0) -> None:
        self.world = world
        self.user = str(world.dataverse.do("users")["marketers"][number])
        self.row_id = str(uuid4())
        self._store = Connection.from_env({"AzureWebJobsStorage": world.azurite.connection_string})
        world.dataverse.api("POST", "lima_signins", {"lima_signinid": self.row_id, "lima_name": "me"}, user=self.user)

    @property
    def row(self) -> dict[str, Any]:
        """The row as Dataverse holds it."""
        found = self.world.row(TABLE, self.row_id)
        assert found is not None
        return found

    @property
    def says(self) -> str:
        """The sentence on the row."""
        return str(self.row.get("lima_statusmessage"))

    def ask(self, command: int) -> None:
        """Set a command on the row, as a button of the tab does, and wait until it was taken."""
        change = {"lima_command": command, "lima_commandid": str(uuid4())}
        self.world.dataverse.api("PATCH", f"lima_signins({self.row_id})", change, user=self.user)
        until(lambda: self.row.get("lima_command") is None)

    def address(self) -> str:
        """Ask for a sign-in address and return it."""
        self.ask(CONNECT)
        return str(until(lambda: self.row.get("lima_address")))

    def begin(self, browser: Browser) -> str:
        """Open the sign-in address and return LinkedIn's, where the browser is sent."""
        answer = browser.get(self.address())
        assert answer.status_code == 302
        return answer.headers["Location"]

    def sign_in(self, browser: Browser, person: str = "ada") -> requests.Response:
        """Go the whole way and return the last page."""
        return browser.get(browser.at_linkedin(self.begin(browser), person))

    def stored(self) -> SignIn | None:
        """Return the tokens that the product keeps for this user."""
        return TableSignIns(self._store, keys_of(self.world)).load(self.user)

    def forget(self) -> None:
        """Let the user be as one who never signed in."""
        TableSignIns(self._store, keys_of(self.world)).delete(self.user)

    def tickets(self) -> TableTickets:
        """Return the product's tickets."""
        return TableTickets(self._store)


def keys_of(world: World) -> tuple[tuple[str, bytes], ...]:
    """Return the keys that the app has now."""
    entries = world.settings()["SIGNIN_KEYS"].split(",")
    return tuple((name, base64.b64decode(key)) for name, _, key in (entry.partition(":") for entry in entries))


def restart(world: World, **settings: str) -> None:
    """Start the app again with other settings, as Azure does when one is changed."""
    world.host.stop()
    world.options = replace(world.options, settings={**world.options.settings, **settings})
    world.start_host()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Give a running product."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    with World.start(Options()) as running:
        yield running


@pytest.fixture
def browser(world: World) -> Browser:
    """Return a browser that has been nowhere yet."""
    return Browser(world)


@pytest.fixture
def ada(world: World) -> Iterator[Marketer]:
    """Give a marketer who has never signed in."""
    world.linkedin.forget_faults()
    world.linkedin.do("app_scopes")
    world.linkedin.do("end_tokens", person="ada")  # LinkedIn skips the consent page as long as an earlier grant lives
    marketer = Marketer(world)
    marketer.forget()
    yield marketer
    world.linkedin.forget_faults()


def assert_strict(headers: Mapping[str, str]) -> None:
    """Check that an answer is not kept, not framed, not guessed at, and tells nobody where the person came from."""
    policy = headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert "*" not in policy


def assert_nothing_changed(answer: requests.Response, marketer: Marketer, status: int) -> None:
    """Check that a page says so, and that the row still waits and no token is kept."""
    assert answer.status_code == status
    assert NOTHING_CHANGED in answer.text or "Sign in again" in answer.text
    assert "the tab" in answer.text  # what to do next
    assert_strict(answer.headers)
    assert marketer.row.get("lima_status") == WAITING
    assert marketer.stored() is None


# ------------------------------------------------------------------ the whole way


def test_a_sign_in_goes_all_the_way_and_is_told_on_the_row(ada: Marketer, browser: Browser) -> None:
    """The page says so, the row shows until when and which ad accounts, and the address is gone."""
    page = ada.sign_in(browser)

    assert page.status_code == 200
    assert "Signed in to LinkedIn" in page.text
    assert_strict(page.headers)
    assert (ada.row.get("lima_status"), ada.row.get("lima_address"), ada.row.get("lima_command")) == (SIGNED_IN, None, None)
    assert "Contoso Europe" in str(ada.row.get("lima_adaccounts"))
    assert ada.stored() is not None


def test_the_page_tells_only_the_form_that_opened_it(ada: Marketer, browser: Browser, world: World) -> None:
    """A message to another origin would tell a stranger's page that somebody signed in."""
    page = ada.sign_in(browser)

    assert f'"{world.dataverse.url}")' in page.text
    assert "postMessage" in page.text


def test_an_address_sends_people_to_linkedin_and_nowhere_else(ada: Marketer, browser: Browser, world: World) -> None:
    """Whatever is added to it: an open redirect would lend our name to anybody."""
    elsewhere = "https://evil.example/"
    extra = urlencode(dict.fromkeys(("next", "url", "redirect_uri", "returnUrl", "state"), elsewhere))
    answer = browser.get(f"{ada.address()}&{extra}")
    query = parse_qs(urlsplit(answer.headers["Location"]).query)

    assert answer.headers["Location"].startswith(f"{world.linkedin.url}/oauth/v2/authorization?")
    assert "evil" not in answer.headers["Location"]
    assert query["redirect_uri"] == [f"{world.app_url}/api/linkedin/callback"]
    assert query["scope"] == ["r_ads rw_ads rw_dmp_segments"]
    assert_strict(answer.headers)


def test_the_cookie_is_for_this_sign_in_alone(ada: Marketer, browser: Browser) -> None:
    """Scripts cannot read it, other sites cannot send it along, and it ends by itself."""
    cookie = browser.get(ada.address()).headers["Set-Cookie"]

    for part in ("HttpOnly", "SameSite=Lax", "Path=/api/linkedin", "Max-Age=900"):
        assert part in cookie


def test_the_address_is_for_its_owners_eyes_only(ada: Marketer, world: World) -> None:
    """Whoever can read it could attach another LinkedIn account to this user."""
    ada.address()
    other = world.dataverse.do("users")["marketers"][1]

    with pytest.raises(RuntimeError, match="403"):
        world.dataverse.api("GET", f"lima_signins({ada.row_id})?$select=lima_address", user=other)


# ------------------------------------------------------------------ what changes nothing


@pytest.mark.parametrize("ticket", ["", "invented", "x" * 4000, "%00", "../../etc/passwd"])
def test_an_invented_ticket_gets_a_page_that_helps(ada: Marketer, browser: Browser, world: World, ticket: str) -> None:
    """And no cookie, and no way to LinkedIn."""
    ada.address()
    answer = browser.get(f"{world.app_url}/api/linkedin/connect?ticket={ticket}")

    assert_nothing_changed(answer, ada, 410)
    assert "Set-Cookie" not in answer.headers


def test_an_expired_ticket_gets_a_page_that_helps(ada: Marketer, browser: Browser, world: World) -> None:
    """An address that lay about for a quarter of an hour is worth nothing."""
    ada.address()
    ticket = secrets.token_urlsafe(32)
    ada.tickets().issue(ticket, Ticket(ada.user, ada.row_id, datetime.now(UTC) - timedelta(seconds=1)))

    assert_nothing_changed(browser.get(f"{world.app_url}/api/linkedin/connect?ticket={ticket}"), ada, 410)


def test_a_ticket_that_expires_on_the_way_changes_nothing(ada: Marketer, browser: Browser, world: World) -> None:
    """Neither with a code nor with a refusal, although state and cookie are right."""
    ada.address()
    for query in ({"code": "any"}, {"error": "user_cancelled_login"}):
        ticket, nonce = secrets.token_urlsafe(32), "nonce"
        ada.tickets().issue(ticket, Ticket(ada.user, ada.row_id, datetime.now(UTC) - timedelta(seconds=1)))
        browser._session.cookies.set("lima-sign-in", f"{ticket}.{nonce}", path="/api/linkedin")
        answer = browser.callback(state=state_for(world, ticket, nonce), **query)

        assert_nothing_changed(answer, ada, 410)


def state_for(world: World, ticket: str, nonce: str, *, seconds: float = 60.0, key: bytes | None = None) -> str:
    """Return a state as the app signs it."""
    until_then = datetime.now(UTC) + timedelta(seconds=seconds)
    return sign_state(key or state_key(keys_of(world)[0][1]), sha256(ticket.encode()).hexdigest(), nonce, until_then)


def test_a_callback_that_is_opened_again_changes_nothing(ada: Marketer, browser: Browser) -> None:
    """Browsers restore tabs, and addresses get copied."""
    back = browser.at_linkedin(ada.begin(browser))
    assert browser.get(back).status_code == 200
    before, token = ada.row, ada.stored()
    again = browser.get(back)

    assert again.status_code == 410
    assert NOTHING_CHANGED in again.text
    assert ada.row == before
    assert ada.stored() == token


def test_an_address_that_was_used_is_worth_nothing(ada: Marketer, browser: Browser, world: World) -> None:
    """The ticket in it is used up with the sign-in."""
    address = ada.address()
    browser.get(browser.at_linkedin(browser.get(address).headers["Location"]))

    assert Browser(world).get(address).status_code == 410


def test_two_callbacks_at_once_sign_in_once(ada: Marketer, browser: Browser, world: World) -> None:
    """A double click, or an impatient proxy."""
    back = browser.at_linkedin(ada.begin(browser))
    world.linkedin.forget_calls()
    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(answer.status_code for answer in pool.map(browser.get, [back] * 4))

    assert statuses == [200, 410, 410, 410]
    assert sum(call["path"] == "/oauth/v2/accessToken" for call in world.linkedin.calls()) == 1


def test_a_sign_in_ends_in_the_browser_where_it_began(ada: Marketer, browser: Browser, world: World) -> None:
    """A callback address that somebody was sent does not attach the sender's LinkedIn account to them."""
    back = browser.at_linkedin(ada.begin(browser))

    assert_nothing_changed(Browser(world).get(back), ada, 400)


def test_state_and_cookie_of_different_sign_ins_do_not_fit_together(ada: Marketer, browser: Browser, world: World) -> None:
    """Each sign-in has a state, a ticket and a cookie of its own."""
    other = Browser(world)
    mine = browser.at_linkedin(ada.begin(browser))
    theirs = other.at_linkedin(Marketer(world, 1).begin(other), "ben")

    assert_nothing_changed(browser.get(theirs), ada, 400)
    assert_nothing_changed(other.get(mine), ada, 400)


@pytest.mark.parametrize("part", ["payload", "signature", "cut", "empty", "other key"])
def test_a_forged_state_changes_nothing(ada: Marketer, browser: Browser, world: World, part: str) -> None:
    """Every way to change it is noticed."""
    query = dict(parse_qsl(urlsplit(browser.at_linkedin(ada.begin(browser))).query))
    payload, _, signature = query["state"].partition(".")
    ticket, _, nonce = browser.cookies()["lima-sign-in"].partition(".")
    forged = {
        "payload": f"A{payload}.{signature}",
        "signature": f"{payload}.{signature[:-2]}AA",
        "cut": payload,
        "empty": "",
        "other key": state_for(world, ticket, nonce, key=b"k" * 32),
    }[part]

    assert_nothing_changed(browser.callback(code=query["code"], state=forged), ada, 400)


def test_a_state_that_is_too_old_changes_nothing(ada: Marketer, browser: Browser, world: World) -> None:
    """Somebody left LinkedIn's page open overnight."""
    ada.begin(browser)
    ticket, _, nonce = browser.cookies()["lima-sign-in"].partition(".")

    answer = browser.callback(code="any", state=state_for(world, ticket, nonce, seconds=-1))
    assert_nothing_changed(answer, ada, 400)
    assert "too long" in answer.text


def test_a_cookie_of_another_ticket_changes_nothing(ada: Marketer, browser: Browser) -> None:
    """A cookie that was planted cannot point the sign-in at another user's row."""
    back = browser.at_linkedin(ada.begin(browser))
    _, _, nonce = browser.cookies()["lima-sign-in"].partition(".")
    planted = secrets.token_urlsafe(32)
    ada.tickets().issue(planted, Ticket(str(uuid4()), str(uuid4()), datetime.now(UTC) + timedelta(minutes=5)))
    browser._session.cookies.set("lima-sign-in", f"{planted}.{nonce}", domain="127.0.0.1", path="/api/linkedin")

    assert_nothing_changed(browser.get(back), ada, 400)


@pytest.mark.parametrize("path", ["connect", "callback"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_pages_can_only_be_opened(world: World, path: str, method: str) -> None:
    """No other method has anything behind it."""
    with requests.Session() as session:
        session.trust_env = False
        assert session.request(method, f"{world.app_url}/api/linkedin/{path}", timeout=30).status_code == 405


# ------------------------------------------------------------------ refusals reach the row


def test_who_cancels_at_linkedin_reads_so_on_the_row(ada: Marketer, browser: Browser) -> None:
    """The tab shows the sentence although the window is closed."""
    page = browser.get(browser.at_linkedin(ada.begin(browser), decision="cancel"))

    assert page.status_code == 200
    assert "did not allow access" in page.text
    assert ada.row.get("lima_status") == REFUSED
    assert "choose Allow" in ada.says
    assert ada.row.get("lima_address") is None
    assert ada.stored() is None


def test_an_app_without_the_product_is_the_administrators_to_mend(ada: Marketer, browser: Browser, world: World) -> None:
    """One scope that the app was not granted fails the whole request at LinkedIn."""
    world.linkedin.do("app_scopes", scopes=["r_ads", "rw_ads"])
    page = browser.get(browser.at_linkedin(ada.begin(browser)))

    assert page.status_code == 200
    assert ada.row.get("lima_status") == REFUSED
    assert "Developer Portal" in ada.says


def test_a_permission_that_was_not_granted_is_named_on_the_row(ada: Marketer, browser: Browser, world: World) -> None:
    """LinkedIn may grant less than was asked; the sign-in would fail much later otherwise."""
    granted = {"access_token": "less", "expires_in": 5184000, "scope": "r_ads,rw_ads"}
    world.linkedin.plan_faults([{"kind": "status", "path": "accessToken", "status": 200, "body": granted}])
    page = ada.sign_in(browser)

    assert page.status_code == 200
    assert ada.row.get("lima_status") == REFUSED
    assert "rw_dmp_segments" in ada.says
    assert ada.stored() is None


@pytest.mark.parametrize(
    ("answer", "page_status", "says"),
    [
        ((400, {"error": "invalid_grant"}), 200, "Sign in to LinkedIn again"),
        ((401, {"error": "invalid_client"}), 200, "LINKEDIN_CLIENT_SECRET"),
        ((400, {"error": "invalid_redirect_uri"}), 200, "PUBLIC_URL"),
        ((200, "<html>"), 200, "could not be read"),
        ((429, {}), 503, "Press Sign in to try again"),
        ((503, ""), 503, "Press Sign in to try again"),
    ],
)
def test_a_code_that_linkedin_does_not_exchange_is_told_on_the_row(
    ada: Marketer, browser: Browser, answer: tuple[int, Any], page_status: int, says: str
) -> None:
    """The ticket is used up, so a row that went on waiting would wait for ever."""
    fault = {"kind": "status", "path": "accessToken", "status": answer[0], "body": answer[1]}
    ada.world.linkedin.plan_faults([fault])
    page = ada.sign_in(browser)

    assert page.status_code == page_status
    assert_strict(page.headers)
    assert ada.row.get("lima_status") == REFUSED
    assert says in ada.says
    assert ada.row.get("lima_address") is None
    assert ada.stored() is None


def test_who_has_no_usable_ad_account_is_told_what_to_ask_for(ada: Marketer, browser: Browser, world: World) -> None:
    """A viewer can sign in and create nothing; better to know at once."""
    world.linkedin.do("set_role", person="ben", account=NORTHWIND, role="VIEWER")
    page = ada.sign_in(browser, "ben")
    world.linkedin.do("set_role", person="ben", account=NORTHWIND, role="ACCOUNT_BILLING_ADMIN")

    assert "more than Viewer" in page.text
    assert ada.row.get("lima_status") == SIGNED_IN
    assert "more than Viewer" in ada.says
    assert '"usable": true' not in str(ada.row.get("lima_adaccounts"))


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "just-issued-401"}])
def test_ad_accounts_that_cannot_be_read_now_are_read_in_a_moment(
    ada: Marketer, browser: Browser, world: World, fault: dict[str, Any]
) -> None:
    """LinkedIn may refuse a token seconds after issuing it; nobody should have to sign in twice for that."""
    world.linkedin.plan_faults([{"path": "/rest/adAccount", "times": 1, **fault}])
    page = ada.sign_in(browser)

    assert page.status_code == 200
    assert "Signed in to LinkedIn" in page.text
    until(lambda: "Contoso Europe" in (ada.row.get("lima_adaccounts") or ""), seconds=40)
    assert ada.row.get("lima_status") == SIGNED_IN
    assert ada.stored() is not None


def test_an_app_that_may_not_read_ad_accounts_is_the_administrators_to_mend(
    ada: Marketer, browser: Browser, world: World
) -> None:
    """No token is kept that is good for nothing."""
    world.linkedin.plan_faults([{"kind": "status", "path": "/rest/adAccount", "status": 403, "body": {"status": 403}}])
    page = ada.sign_in(browser)

    assert "Developer Portal" in page.text
    assert ada.row.get("lima_status") == REFUSED
    assert "Advertising API" in ada.says
    assert ada.stored() is None


def test_words_from_outside_are_shown_as_text(ada: Marketer, browser: Browser) -> None:
    """The error in the address is anybody's text: never a script in our page."""
    query = dict(parse_qsl(urlsplit(ada.begin(browser)).query))
    words = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    page = browser.callback(state=query["state"], error=f"new{words}", error_description=words)

    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    assert "&lt;script&gt;" in page.text


# ------------------------------------------------------------------ tokens


def test_disconnecting_really_deletes_the_token(ada: Marketer, browser: Browser, world: World) -> None:
    """Here and, as far as LinkedIn listens, there."""
    ada.sign_in(browser)
    token = ada.stored()
    assert token is not None
    ada.ask(DISCONNECT)

    assert ada.stored() is None
    assert ada.row.get("lima_status") == NOT_SIGNED_IN
    assert ada.row.get("lima_adaccounts") is None
    assert ada.row.get("lima_expireson") is None
    assert "deleted" in ada.says
    headers = {
        "Authorization": f"Bearer {token.access_token}",
        "LinkedIn-Version": "202608",
        "X-Restli-Protocol-Version": "2.0.0",
    }
    asked = browser._session.get(f"{world.linkedin.url}/rest/adAccounts?q=search", headers=headers, timeout=30)
    assert asked.status_code == 401


def test_disconnecting_works_although_linkedin_does_not_answer(ada: Marketer, browser: Browser, world: World) -> None:
    """What is kept here is ours to delete."""
    ada.sign_in(browser)
    world.linkedin.plan_faults([{"kind": "drop-before", "path": "revoke", "times": 2}])
    ada.ask(DISCONNECT)

    assert ada.stored() is None
    assert ada.row.get("lima_status") == NOT_SIGNED_IN


def test_who_is_not_signed_in_and_asks_for_ad_accounts_is_told(ada: Marketer) -> None:
    """A button of an old page, pressed after signing out elsewhere."""
    ada.ask(REFRESH_ACCOUNTS)

    assert ada.row.get("lima_status") == NOT_SIGNED_IN
    assert "Press Sign in" in ada.says


def test_a_sign_in_that_has_ended_at_linkedin_is_told_on_the_row(ada: Marketer, browser: Browser, world: World) -> None:
    """Most apps get no refresh token, so people sign in again every 60 days."""
    ada.sign_in(browser)
    world.linkedin.do("end_tokens", person="ada", code="EXPIRED_ACCESS_TOKEN")
    ada.ask(REFRESH_ACCOUNTS)

    assert ada.row.get("lima_status") == EXPIRED
    assert "Sign in to LinkedIn again" in ada.says


def test_keys_are_changed_without_anybody_signing_in_again(ada: Marketer, browser: Browser, world: World) -> None:
    """New key first, old key beside it; what is opened is sealed anew; then the old key can go."""
    old = world.settings()["SIGNIN_KEYS"]
    ada.sign_in(browser)
    half_way = Browser(world)
    colleague = Marketer(world, 1)
    back = half_way.at_linkedin(colleague.begin(half_way), "ben")

    new = f"next:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    restart(world, SIGNIN_KEYS=f"{new},{old}")
    assert "Signed in" in half_way.get(back).text  # begun under the old key, ended under the new one
    ada.ask(REFRESH_ACCOUNTS)
    assert ada.row.get("lima_status") == SIGNED_IN

    restart(world, SIGNIN_KEYS=new)
    ada.ask(REFRESH_ACCOUNTS)
    assert ada.row.get("lima_status") == SIGNED_IN
    assert ada.stored() is not None


def test_a_lost_key_is_a_clear_sentence_and_a_new_sign_in_helps(ada: Marketer, browser: Browser, world: World) -> None:
    """The administrator reads what to put back; the marketer can simply sign in."""
    ada.sign_in(browser)
    restart(world, SIGNIN_KEYS=f"other:{base64.b64encode(secrets.token_bytes(32)).decode()}")
    ada.ask(REFRESH_ACCOUNTS)

    assert ada.row.get("lima_status") == EXPIRED
    assert "SIGNIN_KEYS" in ada.says
    with pytest.raises(SignInNeeded):
        ada.stored()

    assert ada.sign_in(browser).status_code == 200
    assert ada.row.get("lima_status") == SIGNED_IN


def test_no_token_ticket_or_code_is_in_the_log_or_in_clear_in_the_storage(ada: Marketer, browser: Browser, world: World) -> None:
    """Whoever reads either can do nothing with it."""
    address = ada.address()
    ticket = parse_qs(urlsplit(address).query)["ticket"][0]
    back = browser.at_linkedin(browser.get(address).headers["Location"])
    code = parse_qs(urlsplit(back).query)["code"][0]
    browser.get(back)
    token = ada.stored()
    assert token is not None
    rows = [row for name in ("limasignins", "limatickets") for row in everything(ada._store, name)]
    log = world.host.log_text()

    for secret in (token.access_token, ticket, code, browser.cookies()["lima-sign-in"]):
        assert secret not in log
        assert not any(secret in str(row) or secret.encode() in bytes(row.get("sealed", b"")) for row in rows)


def everything(store: Connection, table: str) -> list[Mapping[str, Any]]:
    """Return all rows of a table with all columns."""
    found: list[Mapping[str, Any]] = list(store.table(table)._client.list_entities())
    return found
