"""The wizard from Next to the finished audience, with the test as the worker: by mouse, by keyboard, interrupted, watched."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sandbox.form.stage import COMMANDS, MARA, MILES, SIGN_IN_COMMANDS, Stage, account

TALLY: dict[str, Any] = {
    "members": 12_480,
    "noemail": 640,
    "invalid": 212,
    "duplicate": 388,
    "optedout": 905,
    "inactive": 120,
    "eligible": 10_215,
}
ACCOUNTS = [account(512003, "Contoso Europe"), account(512044, "Contoso North America", currency="USD")]
BEFORE = "Show this segment to its people on LinkedIn"
CHECKED = "10,215 of 12,480 members can be sent to LinkedIn"
CHOOSE = "Choose where to create the audience"
READING, SENDING = "Reading the members", "Sending to LinkedIn"
BLOCKED = "window.open = () => null"


class Worker:
    """Plays the worker: waits for what a person asks, and answers on the row."""

    def __init__(self, stage: Stage, page: Page) -> None:
        self.stage, self.page = stage, page

    def _wait(self, what: Callable[[], Any]) -> Any:
        """Return what is wanted as soon as it is there; the browser goes on meanwhile."""
        for _ in range(200):
            if (found := what()) is not None:
                return found
            self.page.wait_for_function("() => new Promise((done) => requestAnimationFrame(() => done(true)))")
        raise AssertionError("nobody asked for it")

    def asked(self, command: str, *, owner: str = MARA) -> dict[str, Any]:
        """Wait for a command on an audience row and return the row."""
        return self._wait(lambda: self._find("lima_audience", COMMANDS, command, owner))  # type: ignore[no-any-return]

    def asked_sign_in(self, command: str, *, owner: str = MARA) -> dict[str, Any]:
        """Wait for a command on a sign-in row and return the row."""
        return self._wait(lambda: self._find("lima_signin", SIGN_IN_COMMANDS, command, owner))  # type: ignore[no-any-return]

    def _find(self, table: str, commands: dict[int, str], command: str, owner: str) -> dict[str, Any] | None:
        rows = self.stage.rows(table)
        return next((row for row in rows if commands.get(row.get("command")) == command and row["ownerid"] == owner), None)  # type: ignore[arg-type]

    def shows(self, row: dict[str, Any], status: str, **values: Any) -> None:
        """Take the command and show a status on the row."""
        self.stage.change("lima_audience", row["audienceid"], status=status, command=None, **values)

    def offers(self, row: dict[str, Any], address: str) -> None:
        """Offer a one-time address on the sign-in row."""
        until = self.stage.moment(minutes=15)
        self.stage.change("lima_signin", row["signinid"], status="WAITING", command=None, address=address, addressexpireson=until)

    def grants(self, row: dict[str, Any], accounts: str) -> None:
        """Show that LinkedIn has let the person in."""
        until = self.stage.moment(days=60)
        values = {"command": None, "address": None, "adaccounts": accounts, "expireson": until}
        self.stage.change("lima_signin", row["signinid"], status="SIGNED_IN", **values)


@pytest.fixture
def worker(stage: Stage) -> Callable[[Any], Worker]:
    """Return what makes a worker beside a window."""
    return lambda window: Worker(stage, window.page)


@pytest.fixture
def accounts() -> str:
    """Return the ad accounts as the worker writes them."""
    return json.dumps(ACCOUNTS)


def test_from_next_to_the_finished_audience_by_mouse(stage: Stage, form: Any, worker: Any, address: str, accounts: str) -> None:
    """A newcomer presses what stands there, and has an audience."""
    window = form(stage.segment())
    work = worker(window)

    window.heading(BEFORE)
    window.click("Next")
    row = work.asked("CHECK")
    window.heading(READING)
    work.shows(row, "CHECKING", members=6_240)
    window.sees("6,240 members read")
    work.shows(row, "WAITING_FOR_SIGN_IN", **TALLY)
    window.heading(CHECKED)

    window.click("Continue")
    window.heading("Sign in to LinkedIn")
    with window.page.expect_popup() as opened:
        window.click("Sign in to LinkedIn")
    popup = opened.value
    sign_in = work.asked_sign_in("CONNECT")
    work.offers(sign_in, f"{address}/form/people.js?linkedin")
    popup.wait_for_url("**/form/people.js?linkedin")
    window.sees("Finish signing in in LinkedIn's window.")
    work.grants(sign_in, accounts)
    window.heading(CHOOSE)
    popup.close()

    window.tab.get_by_text("Contoso North America", exact=True).click()
    window.click("Create audience")
    row = work.asked("CREATE")
    assert row["adaccount"] == "urn:li:sponsoredAccount:512044"
    assert row["adaccountname"] == "Contoso North America"
    assert row["name"] == "Autumn webinar attendees"
    assert row["commandid"]
    work.shows(row, "UPLOADING", sent=5_000)
    window.heading(SENDING)
    window.sees("5,000 of 10,215 members sent")
    work.shows(row, "BUILDING", sent=10_215, refused=0)
    window.heading("LinkedIn is building the audience")
    window.sees("up to 48 hours")
    work.shows(row, "READY", matched=6_000, audiencesize=6_000, matchrate=58.74)
    window.heading("The audience is ready")
    assert len(stage.rows("lima_audience")) == 1


def test_the_same_by_keyboard_alone(stage: Stage, form: Any, worker: Any) -> None:
    """Tab, arrows, space and Enter are enough, and the focus goes where the person goes on."""
    stage.sign_in(accounts=ACCOUNTS)
    window = form(stage.segment())
    work = worker(window)
    press = window.page.keyboard.press
    window.heading(BEFORE)

    window.button("Next").focus()
    press("Enter")
    row = work.asked("CHECK")
    window.heading(READING)
    work.shows(row, "WAITING_FOR_AD_ACCOUNT", **TALLY | {"eligible": 180})
    heading = window.tab.get_by_role("heading", name="180 of 12,480")
    expect(heading).to_be_focused()

    press("Tab")
    expect(window.tab.get_by_role("checkbox")).to_be_focused()
    press("Tab")
    expect(window.button("Continue")).to_be_focused()
    press("Enter")
    window.sees("Tick the box to go on")
    expect(window.tab.get_by_role("checkbox")).to_be_focused()
    press("Space")
    press("Tab")
    press("Enter")
    expect(window.tab.get_by_role("heading", name=CHOOSE)).to_be_focused()

    press("Tab")
    press("ArrowDown")
    expect(window.tab.get_by_role("radio", name="Contoso North America")).to_be_checked()
    window.button("Create audience").focus()
    press("Space")
    row = work.asked("CREATE")
    assert row["adaccount"] == "urn:li:sponsoredAccount:512044"
    assert row["smallconfirmed"] is True


def test_a_double_click_starts_one_job(stage: Stage, form: Any) -> None:
    """However fast and often Next is pressed."""
    window = form(stage.segment())
    window.heading(BEFORE)

    window.button("Next").dblclick()
    window.heading(READING)
    assert len(stage.rows("lima_audience")) == 1


def test_next_joins_a_job_that_another_window_has_started(stage: Stage, form: Any) -> None:
    """Two windows on one segment make one audience."""
    segment = stage.segment()
    first, second = form(segment), form(segment)
    first.heading(BEFORE)
    second.heading(BEFORE)

    first.click("Next")
    first.heading(READING)
    second.heading(READING)
    assert len(stage.rows("lima_audience")) == 1


def test_a_lost_answer_to_next_creates_nothing_twice(stage: Stage, form: Any) -> None:
    """Pressing Next again after a broken connection finds the row that the first press has made."""
    window = form(stage.segment(), refusals=True)
    window.heading(BEFORE)
    window.page.route("**/lima_audiences", lambda route: (route.fetch(), route.abort()))

    window.click("Next")
    window.sees("Dynamics did not answer.")
    window.page.unroute_all(behavior="wait")
    window.click("Next")
    window.heading(READING)
    assert len(stage.rows("lima_audience")) == 1


def test_a_reload_in_mid_run_comes_back_to_the_run(stage: Stage, form: Any) -> None:
    """Closing the form stops nothing."""
    segment = stage.segment()
    stage.audience(segment, "UPLOADING", **TALLY, sent=5_000)
    window = form(segment)
    window.heading(SENDING)

    window.page.reload()
    window.heading(SENDING)
    window.sees("5,000 of 10,215 members sent")


def test_a_second_person_sees_the_run_and_cannot_stop_it(stage: Stage, form: Any) -> None:
    """Colleagues follow; who asked for the audience commands it."""
    segment = stage.segment()
    row = stage.audience(segment, "UPLOADING", **TALLY, sent=5_000)
    window = form(segment, user=MILES)
    window.heading(SENDING)
    window.sees("Started by Mara Keter")
    expect(window.button("Cancel")).to_have_count(0)

    stage.change("lima_audience", row, status="READY", sent=10_215)
    window.heading("The audience is ready", timeout=4_000)


def test_what_somebody_else_changes_shows_within_four_seconds(stage: Stage, form: Any) -> None:
    """The row is looked at while it can move."""
    segment = stage.segment()
    row = stage.audience(segment, "BUILDING", **TALLY, sent=10_215)
    window = form(segment)
    window.heading("LinkedIn is building the audience")

    stage.change("lima_audience", row, status="READY")
    window.heading("The audience is ready", timeout=4_000)


def test_cancel_asks_first_and_then_stops(stage: Stage, form: Any, worker: Any) -> None:
    """A slip of the mouse stops nothing."""
    segment = stage.segment()
    stage.audience(segment, "UPLOADING", **TALLY, sent=5_000)
    window = form(segment)
    work = worker(window)

    window.click("Cancel")
    window.sees("Members that were already sent stay in the audience")
    window.click("Go on")
    expect(window.button("Cancel")).to_be_focused()
    window.click("Cancel")
    window.click("Yes, stop")
    row = work.asked("CANCEL")
    window.heading("Cancelling")
    work.shows(row, "CANCELLED", sent=10_000)
    window.heading("Cancelled")


def test_retry_goes_on_after_a_failure(stage: Stage, form: Any, worker: Any) -> None:
    """One press, and the same row goes on."""
    segment = stage.segment()
    stage.audience(
        segment, "FAILED", **TALLY, sent=5_000, adaccount="urn:li:sponsoredAccount:1", statusmessage="LinkedIn said no."
    )
    window = form(segment)
    work = worker(window)
    window.sees("LinkedIn said no.")

    window.click("Retry")
    row = work.asked("RETRY")
    window.heading("Starting")
    work.shows(row, "UPLOADING", sent=5_000)
    window.heading(SENDING)


def test_a_refused_segment_can_be_checked_again(stage: Stage, form: Any, worker: Any) -> None:
    """After the reason was put right, the same row is checked once more."""
    segment = stage.segment()
    stage.audience(segment, "NOT_ALLOWED", statusmessage="This segment was not live.")
    window = form(segment)
    work = worker(window)
    window.sees("This segment was not live.")

    window.click("Check again")
    row = work.asked("RETRY")
    work.shows(row, "CHECKING")
    window.heading(READING)


def test_a_segment_that_went_live_meanwhile_is_accepted(stage: Stage, form: Any) -> None:
    """Check again reads the segment itself anew."""
    segment = stage.segment(live=False)
    window = form(segment)
    window.heading("This segment is not live")

    stage.go_live("msdynmkt_segmentdefinition", segment)
    window.click("Check again")
    window.heading(BEFORE)


def test_a_dynamic_segment_can_be_tried_where_snapshots_are_allowed(stage: Stage, form: Any, worker: Any) -> None:
    """Only the administrator's setting decides, so the worker is asked."""
    window = form(stage.segment(static=False))
    window.heading("This segment is dynamic")

    window.click("Check anyway")
    worker(window).asked("CHECK")
    window.heading(READING)


def test_checking_again_gives_up_the_earlier_check(stage: Stage, form: Any, worker: Any) -> None:
    """The members are read anew in a row of their own."""
    segment = stage.segment()
    stage.audience(segment, "READY_TO_CREATE", **TALLY)
    window = form(segment)
    work = worker(window)
    window.heading(CHECKED)

    window.click("Check again")
    work.asked("CANCEL")
    work.asked("CHECK")
    window.heading(READING)


def test_another_audience_of_the_same_segment(stage: Stage, form: Any, worker: Any) -> None:
    """After the result one can begin anew, and change one's mind."""
    segment = stage.segment()
    stage.audience(segment, "READY", **TALLY, sent=10_215)
    window = form(segment)

    window.click("Create another audience")
    window.heading(BEFORE)
    window.click("Back to the last audience")
    window.heading("The audience is ready")
    window.click("Create another audience")
    window.click("Next")
    worker(window).asked("CHECK")
    window.heading(READING)
    assert len(stage.rows("lima_audience")) == 2


def test_a_write_that_dataverse_refuses_is_said_and_changes_nothing(stage: Stage, form: Any) -> None:
    """A person whose role was taken away meanwhile learns so at the button."""
    window = form(stage.segment(), user=MILES, refusals=True)
    window.heading(BEFORE)

    stage.take_role(MILES)
    window.click("Next")
    window.sees("You may not do this.")
    expect(window.button("Next")).to_be_visible()


# ------------------------------------------------------------------ the sign-in


@pytest.fixture
def signing_in(stage: Stage, form: Any, worker: Any) -> Any:
    """Return what brings a window to the sign-in screen, with a worker beside it."""

    def bring(**options: Any) -> tuple[Any, Worker]:
        segment = stage.segment()
        stage.audience(segment, "WAITING_FOR_SIGN_IN", **TALLY)
        window = form(segment, **options)
        window.click("Continue")
        window.heading("Sign in to LinkedIn")
        return window, worker(window)

    return bring


def test_a_blocked_popup_becomes_a_link(signing_in: Any, address: str, accounts: str) -> None:
    """The person can still sign in, without changing the browser's settings."""
    window, work = signing_in(init=BLOCKED)

    window.click("Sign in to LinkedIn")
    sign_in = work.asked_sign_in("CONNECT")
    window.sees("Your browser blocked the sign-in window.")
    work.offers(sign_in, f"{address}/form/people.js?linkedin")
    link = window.tab.get_by_role("link", name="Open LinkedIn's sign-in")
    expect(link).to_have_attribute("href", f"{address}/form/people.js?linkedin")
    window.check_accessibility()
    work.grants(sign_in, accounts)
    window.heading(CHOOSE)


def test_a_closed_popup_can_be_opened_again(signing_in: Any, address: str, accounts: str) -> None:
    """Closing the window loses nothing: another press begins anew."""
    window, work = signing_in()
    with window.page.expect_popup() as opened:
        window.click("Sign in to LinkedIn")
    sign_in = work.asked_sign_in("CONNECT")
    work.offers(sign_in, f"{address}/form/people.js?one")
    opened.value.wait_for_url("**/form/people.js?one")

    opened.value.close()
    window.sees("The sign-in window was closed")
    with window.page.expect_popup() as again:
        window.click("Sign in to LinkedIn")
    sign_in = work.asked_sign_in("CONNECT")
    work.offers(sign_in, f"{address}/form/people.js?two")
    again.value.wait_for_url("**/form/people.js?two")
    work.grants(sign_in, accounts)
    window.heading(CHOOSE)


def test_a_refusal_at_linkedin_is_explained(signing_in: Any, stage: Stage, address: str) -> None:
    """The worker's sentence says what LinkedIn said, the tab says what to do."""
    window, work = signing_in()
    with window.page.expect_popup() as opened:
        window.click("Sign in to LinkedIn")
    sign_in = work.asked_sign_in("CONNECT")
    work.offers(sign_in, f"{address}/form/people.js?linkedin")
    opened.value.wait_for_url("**/form/people.js?linkedin")

    sentence = "The LinkedIn app lacks the permission rw_dmp_segments."
    stage.change("lima_signin", sign_in["signinid"], status="REFUSED", statusmessage=sentence, address=None)
    window.sees("LinkedIn did not sign you in")
    window.sees(sentence)
    window.check_accessibility()


def test_a_double_click_opens_one_popup_and_asks_once(signing_in: Any, stage: Stage) -> None:
    """One sign-in row, one wish, one window."""
    window, work = signing_in()
    popups: list[Page] = []

    def count(popup: Page) -> None:
        popups.append(popup)

    window.page.on("popup", count)

    window.button("Sign in to LinkedIn").dblclick()
    work.asked_sign_in("CONNECT")
    assert len(popups) == 1
    assert len(stage.rows("lima_signin")) == 1


def test_only_web_addresses_are_opened(signing_in: Any, stage: Stage) -> None:
    """An address that is no web address is never followed, wherever it came from."""
    window, work = signing_in()
    with window.page.expect_popup() as opened:
        window.click("Sign in to LinkedIn")
    sign_in = work.asked_sign_in("CONNECT")

    work.offers(sign_in, "javascript:document.title='broken into'")
    stage.change("lima_signin", sign_in["signinid"], status="REFUSED", statusmessage="No.", address=None)
    window.sees("LinkedIn did not sign you in")
    assert opened.value.is_closed() or "broken" not in opened.value.title()


def test_the_sign_in_can_go_on_while_members_are_read(stage: Stage, form: Any, worker: Any, address: str, accounts: str) -> None:
    """Nobody has to wait for the reading to end."""
    segment = stage.segment()
    row = stage.audience(segment, "CHECKING", members=100)
    window = form(segment)
    work = worker(window)
    window.heading(READING)

    with window.page.expect_popup() as opened:
        window.click("Sign in to LinkedIn")
    sign_in = work.asked_sign_in("CONNECT")
    work.offers(sign_in, f"{address}/form/people.js?linkedin")
    opened.value.wait_for_url("**/form/people.js?linkedin")
    work.grants(sign_in, accounts)
    window.sees("59 days left", timeout=6_000)
    stage.change("lima_audience", row, status="WAITING_FOR_AD_ACCOUNT", **TALLY)
    window.heading(CHECKED)
    window.click("Continue")
    window.heading(CHOOSE)


def test_disconnecting_asks_first(stage: Stage, form: Any, worker: Any) -> None:
    """Because running audiences stop."""
    stage.sign_in(accounts=ACCOUNTS)
    window = form(stage.segment())
    work = worker(window)

    window.click("Disconnect")
    window.click("Yes, disconnect")
    row = work.asked_sign_in("DISCONNECT")
    stage.change("lima_signin", row["signinid"], status="NOT_SIGNED_IN", command=None, expireson=None, adaccounts=None)
    window.sees("Not signed in to LinkedIn")


# ------------------------------------------------------------------ choosing


@pytest.fixture
def choosing(stage: Stage, form: Any) -> Any:
    """Return what brings a window to the choice of ad accounts."""

    def bring(offered: list[dict[str, Any]]) -> Any:
        stage.sign_in(accounts=offered)
        segment = stage.segment()
        stage.audience(segment, "WAITING_FOR_AD_ACCOUNT", **TALLY)
        window = form(segment)
        window.click("Continue")
        window.heading(CHOOSE)
        return window

    return bring


def test_many_accounts_are_found_by_name_and_id(choosing: Any) -> None:
    """Whoever has forty accounts types a part of the name or the id."""
    window = choosing([account(1_000 + number, f"Brand {number}") for number in range(40)])
    search = window.tab.locator(".search input")

    search.fill("brand 17")
    expect(window.tab.get_by_role("radio")).to_have_count(1)
    search.fill("1023")
    expect(window.tab.get_by_role("radio", name="Brand 23")).to_be_visible()
    search.fill("nowhere")
    window.sees("No ad account has this in its name or id.")


def test_an_audience_needs_an_account_and_a_name(choosing: Any, stage: Stage) -> None:
    """What is missing is said, and the field that wants it gets the focus."""
    window = choosing(ACCOUNTS)

    window.click("Create audience")
    window.sees("Choose an ad account.")
    window.tab.get_by_text("Contoso Europe", exact=True).click()
    window.tab.locator(".name input").fill("  ")
    window.click("Create audience")
    window.sees("Give the audience a name.")
    assert stage.rows("lima_audience")[0].get("command") is None


def test_the_only_usable_account_is_chosen_already(choosing: Any) -> None:
    """Nobody has to choose where there is no choice."""
    window = choosing([ACCOUNTS[0], account(9, "Agency", role="VIEWER")])

    expect(window.tab.get_by_role("radio", name="Contoso Europe")).to_be_checked()
    window.tab.get_by_text("1 ad account cannot be used").click()
    window.sees("You may only view this account.")


def test_an_account_that_linkedin_refused_brings_the_person_back_to_the_choice(stage: Stage, form: Any) -> None:
    """With the worker's reason, which is newer than the list of accounts."""
    stage.sign_in(accounts=ACCOUNTS)
    segment = stage.segment()
    sentence = "The chosen ad account cannot be used for audiences."
    used = ACCOUNTS[0]["urn"]
    stage.audience(segment, "WAITING_FOR_AD_ACCOUNT", **TALLY, adaccount=used, statusmessage=sentence)
    window = form(segment)
    window.click("Continue")

    window.heading(CHOOSE)
    window.sees(sentence)
    window.check_accessibility()


def test_a_sign_in_lost_on_the_way_is_asked_for_again(stage: Stage, form: Any) -> None:
    """Half the members are sent already, so nobody is led through the wizard once more."""
    stage.sign_in(accounts=ACCOUNTS, status="EXPIRED", days=-1)
    segment = stage.segment()
    sentence = "LinkedIn no longer accepts the sign-in."
    row = stage.audience(segment, "WAITING_FOR_SIGN_IN", **TALLY, adaccount="urn:1", sent=5_000, statusmessage=sentence)
    window = form(segment)

    window.heading("Sign in to LinkedIn")
    window.sees(sentence)
    expect(window.button("Back")).to_have_count(0)
    window.check_accessibility()
    stage.change("lima_audience", row, status="UPLOADING")
    window.heading(SENDING)


def test_accounts_can_be_read_again(choosing: Any, worker: Any, stage: Stage, accounts: str) -> None:
    """After LinkedIn gave the person a better role."""
    window = choosing([account(9, "Agency", role="VIEWER")])
    window.sees("None of your ad accounts can be used")

    window.click("Read accounts again")
    row = worker(window).asked_sign_in("REFRESH_ACCOUNTS")
    stage.change("lima_signin", row["signinid"], command=None, adaccounts=accounts)
    expect(window.tab.get_by_role("radio")).to_have_count(2, timeout=6_000)


# ------------------------------------------------------------------ going live


def test_the_mark_for_going_live_is_set_with_its_account_and_person(stage: Stage, form: Any) -> None:
    """The segment's own record tells the worker what to do and with whose sign-in."""
    stage.sign_in(accounts=ACCOUNTS)
    segment = stage.segment(live=False)
    window = form(segment)
    switch = window.tab.get_by_role("switch")
    expect(switch).to_be_disabled()

    window.tab.get_by_label("Ad account to use").select_option(label="Contoso Europe (512003)")
    switch.click()
    window.sees("Uses Contoso Europe, with the LinkedIn sign-in of you.")
    row = next(one for one in stage.rows("msdynmkt_segmentdefinition") if one["msdynmkt_segmentdefinitionid"] == segment)
    assert row["createwhenlive"] is True
    assert row["liveadaccount"] == "urn:li:sponsoredAccount:512003"
    assert row["livesetby"] == MARA

    switch.click()
    expect(switch).not_to_be_checked()
    window.sees("Create an audience whenever this segment goes live")
    expect(window.tab.locator(".going-live .note")).to_have_text("")
