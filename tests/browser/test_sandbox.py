"""The whole product by hand: form, tab, worker, LinkedIn's pages - nothing is played, everything runs on this machine."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.form.stage import MARA, MILES
from sandbox.world import Options, World

CONTACTS = 1_200


@pytest.fixture(scope="module")
def world(chromium: Browser) -> Iterator[World]:
    """Run the sandbox as `make demo` does, with contacts and nobody signed in."""
    assert chromium  # without a browser there is nothing to do here
    with World.start(Options(plain_sign_in=True)) as running:
        running.dataverse.do("seed_contacts", count=CONTACTS, seed=7)
        yield running


@pytest.fixture
def segment(world: World) -> dict[str, str]:
    """Return a fresh live segment of all contacts."""
    made: dict[str, str] = world.dataverse.do("make_segment", kind="realtime", name="Autumn campaign", members="all", live=True)
    return made


@pytest.fixture
def address(world: World) -> str:
    """Return where the form page is."""
    return world.dataverse.plain_url


def at_linkedin(popup: Page, *, allow: bool = True, person: str | None = None) -> None:
    """Do what a person does on LinkedIn's pages."""
    popup.get_by_role("heading", name=re.compile("Sign in|Allow access")).wait_for()
    if popup.get_by_role("button", name="Sign in").count():
        if person:
            popup.get_by_label(person).check()
        popup.get_by_role("button", name="Sign in").click()
    popup.get_by_role("button", name="Allow" if allow else "Cancel", exact=True).click()


def test_a_newcomer_creates_an_audience_in_under_a_minute(world: World, address: str, form: Any) -> None:
    """From the printed address to the finished audience, by pressing what stands there."""
    made = world.dataverse.do("make_segment", kind="realtime", name="Newcomer's segment", members="all", live=True)
    began = time.monotonic()
    window = form(made["id"])
    window.expects_refusals = True  # the start page asks for kinds of segments that not everybody may see
    window.page.goto(address)
    window.page.get_by_role("link", name="Newcomer's segment").click()
    window.heading("Show this segment to its people on LinkedIn")
    window.expects_refusals = False

    window.click("Next")
    window.tab.get_by_role("heading", name="members can be sent to LinkedIn").wait_for(timeout=20_000)
    window.click("Continue")
    with window.page.expect_popup() as opened:
        window.click("Sign in to LinkedIn")
    at_linkedin(opened.value)
    window.heading("Choose where to create the audience", timeout=10_000)
    window.tab.get_by_role("radio").first.click()
    window.click("Create audience")
    window.heading("The audience is ready", timeout=30_000)
    assert time.monotonic() - began < 60

    rows = [row for row in world.dataverse.do("table", name="lima_audience") if row["lima_segmentid"] == made["id"]]
    assert len(rows) == 1
    window.sees("Open Campaign Manager")
    with window.page.expect_download() as download:
        window.tab.get_by_role("link", name="Download the members left out").click()
    listed = download.value.path().read_text(encoding="utf-8-sig")
    assert listed
    assert "@" not in listed
    window.check_accessibility()


def test_a_person_who_cancels_at_linkedin_learns_so_and_can_try_again(segment: dict[str, str], form: Any) -> None:
    """The refusal travels from LinkedIn's page over the worker to the tab."""
    window = form(segment["id"], user=MILES)
    window.click("Next")
    window.tab.get_by_role("heading", name="members can be sent to LinkedIn").wait_for(timeout=20_000)
    window.click("Continue")
    with window.page.expect_popup() as opened:
        window.click("Sign in to LinkedIn")
    at_linkedin(opened.value, allow=False, person="Ben")
    window.sees("LinkedIn did not sign you in", timeout=10_000)

    with window.page.expect_popup() as again:
        window.click("Sign in to LinkedIn")
    at_linkedin(again.value)
    window.heading("Choose where to create the audience", timeout=10_000)


def test_a_colleague_sees_the_audience_but_not_the_sign_in(world: World, segment: dict[str, str], form: Any) -> None:
    """Audiences are shared, sign-ins are not."""
    mara = form(segment["id"], user=MARA)
    mara.click("Next")
    mara.tab.get_by_role("heading", name="members can be sent to LinkedIn").wait_for(timeout=20_000)

    miles = form(segment["id"], user=MILES)
    miles.tab.get_by_role("heading", name="members can be sent to LinkedIn").wait_for(timeout=20_000)
    miles.sees("asked for this audience and goes on with it")
    expect(miles.button("Continue")).to_have_count(0)
    owners = {
        row["_ownerid_value"]
        for row in world.dataverse.api("GET", "lima_signins?$select=_ownerid_value", user=MILES).json()["value"]
    }
    assert owners <= {MILES}


def test_a_segment_that_is_not_static_is_refused_by_the_worker_too(world: World, form: Any) -> None:
    """Pressing on against the tab's advice gets the worker's reason."""
    made = world.dataverse.do("make_segment", kind="realtime", name="Dynamic", members="all", live=True, static=False)
    window = form(made["id"])

    window.click("Check anyway")
    window.heading("This segment cannot become an audience", timeout=15_000)
    window.sees("dynamic")
