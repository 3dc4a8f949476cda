"""The tab in a real browser: the real form page, the real Web API of the simulator, a test that plays the worker.

Run by `make browser-test`, or by naming this folder or the marker; a plain run of all tests leaves them out.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Frame,
    FrameLocator,
    Locator,
    Page,
    Request,
    expect,
)

from sandbox.form.browser import chromium as run_chromium
from sandbox.form.browser import find_chromium
from sandbox.form.stage import MARA, MILES, Stage, served
from solution.tab.build import PACKAGES, built

HERE = Path(__file__).parent
TABLE = "msdynmkt_segmentdefinition"
CONTROL = "WebResource_lima"
ENGLISH, GERMAN, ARABIC = 1033, 1031, 1025


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "browser: needs Chromium; `make browser-test` runs these")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and leave them out unless they are asked for."""
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    for item in ours:
        item.add_marker("browser")
    asked_for = "browser" in config.option.markexpr or any("browser" in str(argument) for argument in config.args)
    if not asked_for:
        items[:] = [item for item in items if item not in ours]
        config.hook.pytest_deselected(items=ours)


@pytest.fixture(scope="session")
def tab() -> Path:
    """Return the folder with the tab as Dataverse gets it."""
    return built()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Run the system's browser."""
    program = find_chromium()
    if program is None:
        pytest.skip("No Chromium is installed: install the package chromium, or name its program in CHROMIUM.")
    with run_chromium(program) as browser:
        yield browser


@pytest.fixture
def stage(tab: Path) -> Stage:
    """Return an environment with our tables whose worker is the test."""
    return Stage(tab)


@pytest.fixture
def address(stage: Stage) -> Iterator[str]:
    """Serve the environment."""
    with served(stage) as url:
        yield url


class Form:
    """One browser window on the segment form, as one user. `page` is the form, `tab` the frame with the tab."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.address = address
        self.page: Page = context.new_page()
        self.tab: FrameLocator = self.page.frame_locator(f"#{CONTROL}")
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        self.expects_refusals = False
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._note)

    def _listen(self, message: ConsoleMessage) -> None:
        is_refusal = message.text.startswith("Failed to load resource")
        # The sandbox serves the form without TLS beside the environment's own address, which the sign-in's last page calls.
        is_other_origin = message.text.startswith("Failed to execute 'postMessage'")
        excused = (is_refusal and self.expects_refusals) or is_other_origin
        if message.type in ("error", "warning") and not excused:
            self.complaints.append(message.text)

    def _note(self, request: Request) -> None:
        if request.frame.name == CONTROL or "/WebResources/" in request.frame.url or "/WebResources/" in request.url:
            self.requests.append(request)

    def open(self, segment: str, *, table: str = TABLE, form_tab: str = "lima_tab") -> "Form":
        """Open the form of a segment at a tab and return this window."""
        query = urlencode({"pagetype": "entityrecord", "etn": table, "id": segment, "tab": form_tab})
        self.page.goto(f"{self.address}/main.aspx?{query}")
        return self

    def heading(self, name: str, *, timeout: float = 5_000) -> None:
        """Wait until the screen has this heading."""
        expect(self.tab.get_by_role("heading", name=name, exact=True).locator("visible=true")).to_have_count(1, timeout=timeout)

    def sees(self, text: str, *, timeout: float = 5_000) -> None:
        """Wait until this text can be seen."""
        expect(self.tab.get_by_text(text).locator("visible=true").first).to_be_visible(timeout=timeout)

    def button(self, name: str) -> Locator:
        """Return a button by its words."""
        return self.tab.get_by_role("button", name=name, exact=True).locator("visible=true")

    def click(self, name: str) -> None:
        """Press a button."""
        self.button(name).click()

    @property
    def frame(self) -> Frame:
        """The frame the tab runs in."""
        element = self.page.wait_for_selector(f"#{CONTROL}")
        assert element is not None
        frame = element.content_frame()
        assert frame is not None
        return frame

    def check_accessibility(self) -> None:
        """Fail with what axe finds wrong on this screen, in words."""
        axe = (PACKAGES / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
        self.frame.evaluate(axe + ";null")
        found = self.frame.evaluate("async () => (await axe.run(document)).violations")
        words = [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes']]}" for one in found]
        assert not words, "\n".join(words)

    def reflow(self, width: int = 320) -> None:
        """Make the tab this wide and fail when something sticks out of it."""
        self.page.set_viewport_size({"width": width + 32, "height": 900})
        sticking_out = self.frame.evaluate(
            """() => [...document.querySelectorAll("body *")]
              .filter((one) => !one.closest(".spoken") && one.getClientRects().length)
              .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5 || one.getBoundingClientRect().left < -0.5)
              .map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert not sticking_out

    def end(self) -> None:
        """Fail when the browser complained, or the tab asked anybody but Dataverse."""
        assert not self.complaints
        for request in self.requests:
            parts = urlsplit(request.url)
            assert f"{parts.scheme}://{parts.netloc}" == self.address, request.url
            assert parts.path.startswith(("/WebResources/lima_/", "/api/data/v9.2/")), request.url


type Opener = Callable[..., Form]


@pytest.fixture
def form(chromium: Browser, address: str) -> Iterator[Opener]:
    """Return what opens a window: `form(segment, user=..., lcid=...)`; windows of one user share their cookies.

    `refusals` says that Dataverse is going to refuse something, which browsers print to the console.
    """
    contexts: dict[tuple[str, int], BrowserContext] = {}
    windows: list[Form] = []

    def opener(
        segment: str, *, user: str = MARA, lcid: int = ENGLISH, init: str = "", refusals: bool = False, **where: Any
    ) -> Form:
        context = contexts.get((user, lcid))
        if context is None:
            context = contexts[user, lcid] = chromium.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
            cookies = {"sandbox-user": user, "sandbox-language": str(lcid)}
            context.add_cookies([{"name": name, "value": value, "url": address} for name, value in cookies.items()])
            context.set_default_timeout(10_000)
        window = Form(context, address)
        window.expects_refusals = refusals
        if init:
            window.page.add_init_script(init)
        windows.append(window)
        return window.open(segment, **where)

    yield opener
    for window in windows:
        window.end()
    for context in contexts.values():
        context.close()


def plain(value: Any) -> str:
    """Return a value as one line, for comparing."""
    return json.dumps(value, sort_keys=True)


__all__ = ["ARABIC", "ENGLISH", "GERMAN", "MARA", "MILES", "TABLE", "Form", "Opener", "Stage", "plain"]
