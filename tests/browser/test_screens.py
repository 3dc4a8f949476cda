"""Every screen of the tab: what it says, that everybody can use it, that it fits, in either direction of writing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import expect

from sandbox.form.stage import MARA, MILES, Stage, account

TALLY: dict[str, Any] = {
    "members": 12_480,
    "noemail": 640,
    "invalid": 212,
    "duplicate": 388,
    "optedout": 905,
    "inactive": 120,
    "eligible": 10_215,
}
FIGURES: dict[str, Any] = {"sent": 10_203, "refused": 12, "matched": 6_120, "audiencesize": 6_100, "matchrate": 59.98}
ACCOUNTS = (
    account(512003, "Contoso Europe"),
    account(512044, "Contoso North America", currency="USD", role="ACCOUNT_MANAGER"),
    account(700001, "Agency", role="VIEWER"),
    account(700002, "Old brand", status="CANCELED"),
)
LINK = "https://www.linkedin.com/campaignmanager/accounts/512003"
ARABIC = 1025


@dataclass(frozen=True)
class Screen:
    """How to get to a screen, and the heading by which it is known."""

    name: str
    heading: str
    prepare: Callable[[Stage], str]
    press: tuple[str, ...] = ()
    user: str = MARA
    is_refused_by_dataverse: bool = False


def signed_in(stage: Stage) -> None:
    """Give Mara a sign-in with two usable ad accounts and two others."""
    stage.sign_in(accounts=ACCOUNTS, linkedinname="Mara Keter")


def shows(status: str, *, sign_in: bool = False, **values: Any) -> Callable[[Stage], str]:
    """Return what prepares a segment whose newest audience stands like this."""

    def prepare(stage: Stage) -> str:
        if sign_in:
            signed_in(stage)
        segment = stage.segment()
        stage.audience(segment, status, **values)
        return segment

    return prepare


def ended(status: str, **values: Any) -> Callable[[Stage], str]:
    """Return what prepares a segment with an audience that came so far, and an older one."""

    def prepare(stage: Stage) -> str:
        signed_in(stage)
        segment = stage.segment()
        times: dict[str, Any] = {"started": stage.moment(minutes=-9), "finished": stage.moment(minutes=-2)}
        row = stage.audience(segment, status, link=LINK, adaccountname="Contoso Europe", **TALLY, **times, **values)
        stage.left_out(row, "id,reason\n")
        stage.audience(segment, "CANCELLED", owner=MILES, days=-2)
        return segment

    return prepare


def choosing(*accounts: dict[str, Any]) -> Callable[[Stage], str]:
    """Return what prepares a checked segment and a sign-in with these ad accounts."""

    def prepare(stage: Stage) -> str:
        stage.sign_in(accounts=accounts)
        segment = stage.segment()
        stage.audience(segment, "WAITING_FOR_AD_ACCOUNT", **TALLY)
        return segment

    return prepare


def with_sign_in(status: str, *, days: float, **values: Any) -> Callable[[Stage], str]:
    """Return what prepares a segment and a sign-in that stands like this."""

    def prepare(stage: Stage) -> str:
        stage.sign_in(status=status, days=days, **values)
        return stage.segment()

    return prepare


READY_TO_SEND = "10,215 of 12,480 members can be sent to LinkedIn"
BEFORE = "Show this segment to its people on LinkedIn"
CHOOSE = "Choose where to create the audience"
SCREENS = (
    Screen("before", BEFORE, lambda stage: stage.segment()),
    Screen("before, few members", BEFORE, lambda stage: stage.segment(members=120)),
    Screen("sign-in ends soon", BEFORE, with_sign_in("EXPIRES_SOON", days=3.5, linkedinname="Mara Keter")),
    Screen("sign-in has ended", BEFORE, with_sign_in("EXPIRED", days=-1)),
    Screen("refused, not live", "This segment is not live", lambda stage: stage.segment(live=False)),
    Screen("refused, dynamic", "This segment is dynamic", lambda stage: stage.segment(static=False)),
    Screen("refused, unsaved", "Save the segment first", lambda _: ""),
    Screen(
        "refused, unknown",
        "This segment cannot be found",
        lambda _: "00000000-0000-0000-0000-00000000dead",
        is_refused_by_dataverse=True,
    ),
    Screen(
        "refused by the check",
        "This segment cannot become an audience",
        shows("NOT_ALLOWED", statusmessage="None of the 200 members can be sent.", members=200, noemail=200),
    ),
    Screen("reading", "Reading the members", shows("CHECKING", **TALLY | {"members": 5_400, "eligible": 0})),
    Screen("checked", READY_TO_SEND, shows("WAITING_FOR_SIGN_IN", **TALLY)),
    Screen(
        "checked, small",
        "180 of 250 members can be sent to LinkedIn",
        shows("READY_TO_CREATE", members=250, sign_in=True, eligible=180, noemail=70),
    ),
    Screen("somebody else's", READY_TO_SEND, shows("READY_TO_CREATE", **TALLY, owner=MILES)),
    Screen("sign in", "Sign in to LinkedIn", shows("WAITING_FOR_SIGN_IN", **TALLY), press=("Continue",)),
    Screen("choose", CHOOSE, choosing(*ACCOUNTS), press=("Continue",)),
    Screen(
        "choose among many", CHOOSE, choosing(*(account(number, f"Brand {number}") for number in range(40))), press=("Continue",)
    ),
    Screen("choose, none at all", CHOOSE, choosing(), press=("Continue",)),
    Screen("choose, only a viewer", CHOOSE, choosing(account(7, "Agency", role="VIEWER")), press=("Continue",)),
    Screen("sending", "Sending to LinkedIn", shows("UPLOADING", **TALLY, sent=5_000, sign_in=True)),
    Screen("sending, asks before it stops", "Sending to LinkedIn", shows("UPLOADING", **TALLY, sent=5_000), press=("Cancel",)),
    Screen("building", "LinkedIn is building the audience", ended("BUILDING", sent=10_203, refused=12)),
    Screen("ready", "The audience is ready", ended("READY", **FIGURES)),
    Screen("ready, too few matched", "The audience is ready", ended("READY", **FIGURES | {"matched": 120})),
    Screen("archived", "LinkedIn has archived the audience", ended("ARCHIVED", **FIGURES)),
    Screen("expired", "The audience has expired at LinkedIn", ended("EXPIRED", **FIGURES)),
    Screen("failed", "The audience could not be created", ended("FAILED", sent=5_000, statusmessage="LinkedIn did not answer.")),
    Screen("too small", "Too few members", ended("TOO_SMALL")),
    Screen("cancelled", "Cancelled", ended("CANCELLED")),
)
by_name = pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)


@by_name
def test_every_screen_can_be_used_by_everybody(screen: Screen, stage: Stage, form: Any) -> None:
    """axe-core finds nothing wrong, and nothing sticks out at 320 px, which is 400 % zoom."""
    window = form(screen.prepare(stage), user=screen.user, refusals=screen.is_refused_by_dataverse)
    for name in screen.press:
        window.click(name)
    window.heading(screen.heading)

    window.check_accessibility()
    window.reflow()


@by_name
def test_every_screen_can_be_read_from_the_right(screen: Screen, stage: Stage, form: Any) -> None:
    """Whoever works in Arabic gets the page mirrored, with nothing sticking out."""
    window = form(screen.prepare(stage), user=screen.user, lcid=ARABIC, refusals=screen.is_refused_by_dataverse)
    for name in screen.press:
        window.click(name)
    window.heading(screen.heading)

    expect(window.tab.locator("html")).to_have_attribute("dir", "rtl")
    window.reflow()


def test_a_missing_role_is_said_with_the_way_out(stage: Stage, form: Any) -> None:
    """A marketer without our role learns what to ask the administrator for."""
    stage.take_role(MILES)
    window = form(stage.segment(), user=MILES, refusals=True)

    window.heading("You may not use LinkedIn audiences yet")
    window.sees("Ask your administrator for the role")
    window.check_accessibility()


def test_the_first_screen_applies_the_rules_to_this_segment(stage: Stage, form: Any) -> None:
    """300 and 10,000 are compared with the segment's own count."""
    window = form(stage.segment(members=4_200))

    window.sees("4,200")
    window.sees("This segment has enough members.")
    window.sees("With 4,200 members it works, but the reach will be small.")


def test_opening_the_tab_starts_nothing(stage: Stage, form: Any) -> None:
    """A look at the tab only reads: segment, audiences, sign-in."""
    window = form(stage.segment())
    window.heading(BEFORE)

    writes = [call for call in stage.calls if call.method not in ("GET", "HEAD")]
    assert not writes
    assert stage.rows("lima_audience") == []
    assert len([request for request in window.requests if "/api/data/" in request.url]) <= 4


def test_the_sign_in_is_always_in_sight(stage: Stage, form: Any) -> None:
    """Who is signed in, and for how many days still, stands at the head of every screen."""
    stage.sign_in(days=41.5, accounts=ACCOUNTS, linkedinname="Mara Keter")
    window = form(stage.segment())

    window.sees("Signed in to LinkedIn as Mara Keter")
    window.sees("41 days left")


def test_the_warning_comes_ten_days_before_the_end(stage: Stage, form: Any) -> None:
    """Early enough that nothing stops, and with the button that helps."""
    stage.sign_in(days=9.9, accounts=ACCOUNTS)
    window = form(stage.segment())

    window.sees("Your LinkedIn sign-in ends in 9 days")
    expect(window.button("Sign in again")).to_be_visible()


def test_the_result_says_everything_there_is_to_know(stage: Stage, form: Any) -> None:
    """Sent, refused, matched, size and match rate, and the way into Campaign Manager."""
    window = form(ended("READY", **FIGURES)(stage))

    facts = window.tab.locator(".figures-grid")
    for text in ("10,203", "12", "6,120", "6,100", "60%"):
        expect(facts).to_contain_text(text)
    window.sees("took 7 min")
    link = window.tab.get_by_role("link", name="Open Campaign Manager")
    expect(link).to_have_attribute("href", LINK)
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_the_members_left_out_can_be_downloaded(stage: Stage, form: Any) -> None:
    """The list comes from the row itself, so the tab needs nobody but Dataverse."""
    window = form(ended("READY", **FIGURES)(stage))

    with window.page.expect_download() as download:
        window.tab.get_by_role("link", name="Download the members left out").click()
    assert download.value.path().read_text() == "id,reason\n"


def test_the_history_lists_all_audiences_newest_first(stage: Stage, form: Any) -> None:
    """A name in it shows that audience, and there is a way back."""
    segment = stage.segment()
    for day, name in ((-3, "Oldest"), (-2, "Middle"), (-1, "Newest")):
        stage.audience(segment, "READY", name=name, sent=day + 500, days=day)
    window = form(segment)
    names = window.tab.locator(".history tbody button.link")
    expect(names).to_have_text(["Newest", "Middle", "Oldest"])

    names.nth(2).click()
    expect(window.tab.locator(".facts")).to_contain_text("Oldest")
    window.click("Back to the newest audience")
    expect(window.tab.locator(".facts")).to_contain_text("Newest")


def test_what_comes_from_outside_is_text_and_never_markup(stage: Stage, form: Any) -> None:
    """A segment, an account or a message that looks like HTML is shown as it is written."""
    nasty = "<img src=x onerror=\"document.title='broken into'\"><b>bold</b>"
    stage.sign_in(accounts=[account(1, nasty)], linkedinname=nasty)
    segment = stage.segment(nasty)
    stage.audience(segment, "FAILED", name=nasty, statusmessage=nasty, adaccountname=nasty, link="javascript:alert(1)", sent=1)
    window = form(segment)

    window.heading("The audience could not be created")
    window.sees(nasty)
    assert window.tab.locator("img").count() == 0
    assert window.tab.get_by_role("link", name="Open Campaign Manager").count() == 0
