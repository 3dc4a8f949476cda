"""`docs/fidelity.md` says where every imitated behaviour comes from; here it is held to the simulators and the settings."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from sandbox.dataverse import DataverseSimulator
from sandbox.entra import EntraSimulator
from sandbox.form.routes import routes_for
from sandbox.linkedin import LinkedInSimulator
from sandbox.web import Route, Simulator
from shared.dataverse.schema import SEGMENT_TABLES
from shared.pipeline.signin_desk import TICKET_LIFE
from shared.pipeline.upkeep import DOORBELLS_KEPT, JOBS_KEPT
from shared.settings import NAMES
from solution.definitions import WORKER

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "fidelity.md").read_text("utf-8")
CONFIDENCES = ("confirmed", "seen in use", "unverified")
WORDS_OF_LINKEDIN = {"DIRECT_API", "SEGMENT_LIMIT_EXCEEDED"}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the tables below a heading, without the tables' own headings."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [cells for cells, following in zip(split, [*split[1:], []], strict=True) if not _rule(cells) and not _rule(following)]


def _rule(cells: list[str]) -> bool:
    return bool(cells) and all(set(cell) <= {"-", ":"} for cell in cells)


def readable(path: str) -> str:
    r"""Return the regular expression of a route as people write addresses: `{name}` for what varies.

    >>> readable(r"/api/data/v9\.\d+/(?P<set>[a-z(]+)\((?P<key>(?:[^()])*)\)(?:\(\))?")
    '/api/data/v9.2/{set}({key})'
    """
    written, at = "", 0
    while at < len(path):
        if path.startswith("(?P<", at):
            written += "{" + path[at + 4 : path.index(">", at)] + "}"
            at = _behind_group(path, at)
        else:
            written += path[at]
            at += 1
    written = re.sub(r"\(\?:(.*?)\)\?|\(/v2\\\.0\)\?", "", written.replace(r"(?:\(\))?", "").replace(r"(?:\({arguments}\))?", ""))
    return re.sub(r"\\(.)", r"\1", written.replace(r"v9\.\d+", "v9.2"))


def _behind_group(path: str, at: int) -> int:
    level = 0
    while True:
        match path[at]:
            case "\\":
                at += 1
            case "[":
                at = path.index("]", at + 2)
            case "(":
                level += 1
            case ")":
                level -= 1
        at += 1
        if not level:
            return at


def addresses(routes: Iterable[Route]) -> set[tuple[str, str]]:
    """Return method and address of routes."""
    return {(route.method, readable(route.path)) for route in routes}


SIMULATORS: list[tuple[str, Simulator]] = [
    ("Addresses of Dataverse", DataverseSimulator(pages=routes_for)),
    ("Addresses of LinkedIn", LinkedInSimulator()),
    ("Addresses of Entra", EntraSimulator()),
]
BEHAVIOURS = rows("What the product relies on")
DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(("heading", "simulator"), SIMULATORS, ids=lambda one: getattr(one, "name", ""))
def test_every_imitated_address_has_a_row_and_every_row_is_imitated(heading: str, simulator: Simulator) -> None:
    """A simulator that grows beyond what is known of the service would teach us our own inventions."""
    written = {(cells[0], cells[1].strip("`")) for cells in rows(heading)}
    imitated = addresses(simulator.routes())

    assert imitated - written == set(), "without a row"
    assert written - imitated == set(), "not imitated any more"


@pytest.mark.parametrize(("heading", "_"), SIMULATORS, ids=lambda one: getattr(one, "name", ""))
def test_every_address_says_where_it_is_known_from_and_how_surely(heading: str, _: Simulator) -> None:
    """So that the first owner of a tenant knows what to look at first."""
    for cells in rows(heading):
        assert len(cells) == 4, cells
        assert cells[2], cells
        assert cells[3] in (*CONFIDENCES, "ours"), cells


def test_every_behaviour_that_the_product_relies_on_says_how_surely_it_is_known() -> None:
    """And what happens if it is otherwise, wherever nobody has seen it."""
    assert len(BEHAVIOURS) > 60
    for cells in BEHAVIOURS:
        assert len(cells) == 4, cells
        behaviour, source, confidence, otherwise = cells
        assert behaviour, cells
        assert source, cells
        assert confidence in CONFIDENCES, cells
        if confidence == "unverified":
            assert len(otherwise) > 20, cells


def test_every_setting_that_the_page_names_exists() -> None:
    """Advice to change a setting that is not there helps nobody."""
    named = set(re.findall(r"`([A-Z][A-Z_]{5,})`", PAGE))

    assert named <= {setting.name for setting in NAMES.values()} | WORDS_OF_LINKEDIN


def test_the_privacy_page_names_the_periods_that_the_code_keeps() -> None:
    """People rely on them in their own records of processing."""
    page = (DOCS / "privacy.md").read_text("utf-8")

    assert f"`RETENTION_DAYS`, {NAMES['retention_days'].default} by default" in page
    assert f"`LEFT_OUT_DAYS` after the row's last change, {NAMES['left_out_days'].default} by default" in page
    assert f"{JOBS_KEPT.days} days after the job's end" in page
    assert f"as digests | table `limadoorbells` | {DOORBELLS_KEPT.days} days" in page
    assert f"table `limatickets` | {int(TICKET_LIFE.total_seconds() // 60)} minutes" in page


def test_the_security_page_names_the_role_as_it_is_installed() -> None:
    """Whoever reviews the app's privileges reads this page, not the code."""
    page = (DOCS / "security.md").read_text("utf-8")
    section = page.split("*LinkedIn Audience Worker*")[1].split("**At LinkedIn**")[0]
    told = {cells[1].strip(): cells[2].split("(")[0] for line in section.splitlines() if len(cells := line.split("|")) == 4}
    named = {
        table: {verb.strip() for verb in verbs.split(",")}
        for written, verbs in told.items()
        for table in WORKER.grants
        if f"`{table}`" in written or f"{table}s" in re.split(r"\W+", written)
    }

    assert named == {table: set(verbs) for table, verbs in WORKER.grants.items()}
    assert set(SEGMENT_TABLES) < set(named)
