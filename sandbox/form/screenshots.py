"""`python -m sandbox.form.screenshots`: take the pictures of README and docs, from the real tab on the whole sandbox."""

import re
import sys
from pathlib import Path

from playwright.sync_api import FrameLocator, Page

from sandbox.form.browser import chromium, find_chromium
from sandbox.world import Options, World

TARGET = Path(__file__).parents[2] / "docs" / "images"
CONTACTS = 12_480
WIDTH, HEIGHT = 1180, 860
# LinkedIn takes its time over each batch and gets one after the other, so that there is something to see while sending.
SLOW_BATCHES = {"kind": "delay", "method": "POST", "path": r"/dmpSegments/\d+/users", "times": 3, "seconds": 5.0}
ONE_AFTER_THE_OTHER = {"LINKEDIN_PARALLEL": "1"}
PATIENCE = 60_000.0


def main() -> int:
    """Press through the wizard once and write a picture of each screen; return the exit code."""
    program = find_chromium()
    if program is None:
        print("No Chromium is installed: install the package chromium, or name its program in CHROMIUM.", file=sys.stderr)
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    with World.start(Options(ONE_AFTER_THE_OTHER, plain_sign_in=True), tell=print) as world, chromium(program) as browser:
        world.dataverse.do("seed_contacts", count=CONTACTS, seed=3)
        segment = world.dataverse.do("make_segment", kind="realtime", name="Autumn webinar attendees", members="all", live=True)
        world.linkedin.plan_faults([SLOW_BATCHES])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1.5)
        page.set_default_timeout(PATIENCE)
        page.goto(f"{world.dataverse.plain_url}/main.aspx?etn={segment['table']}&id={segment['id']}&tab=lima_tab")
        _press_through(page, page.frame_locator("#WebResource_lima"))
    return 0


def _press_through(page: Page, tab: FrameLocator) -> None:
    _heading(tab, "Show this segment to its people on LinkedIn")
    _take(page, "before")
    _press(tab, "Next")
    _heading(tab, "members can be sent to LinkedIn")
    _take(page, "checked")
    _press(tab, "Continue")
    with page.expect_popup() as opened:
        _press(tab, "Sign in to LinkedIn")
    _at_linkedin(opened.value)
    _heading(tab, "Choose where to create the audience")
    tab.get_by_role("radio").first.click()
    _take(page, "choose")
    _press(tab, "Create audience")
    tab.get_by_text(re.compile(r"^[1-9][\d,]* of [\d,]+ members sent")).wait_for()
    _take(page, "running")
    _heading(tab, "The audience is ready")
    _take(page, "result")


def _at_linkedin(popup: Page) -> None:
    popup.get_by_role("button", name="Sign in").click()
    popup.get_by_role("button", name="Allow").click()


def _heading(tab: FrameLocator, words: str) -> None:
    tab.get_by_role("heading", name=words).wait_for()


def _press(tab: FrameLocator, words: str) -> None:
    tab.get_by_role("button", name=words, exact=True).click()


def _take(page: Page, name: str) -> None:
    for frame in page.frames:
        frame.evaluate("scrollTo(0, 0)")
    file = TARGET / f"{name}.png"
    page.screenshot(path=file, animations="disabled", caret="hide")
    print(f"Written: docs/images/{file.name}")


if __name__ == "__main__":
    sys.exit(main())
