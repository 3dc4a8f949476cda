"""The documents keep up with the code: every setting, sentence, error, log line, command and link."""

import argparse
import ast
import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from shared.dataverse.schema import SignInStatus, Status
from shared.domain.jobs import Step
from shared.pipeline import sentences
from shared.settings import NAMES
from solution.definitions import CHOICES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
HOSTS_OWN = {"UPKEEP_SCHEDULE", "TIDY_SCHEDULE"}  # read by the Functions host, not by the product
KNOWN = {setting.name for setting in NAMES.values()} | HOSTS_OWN
# Pages that commands write (make chaos, make bench, make screenshots) or that are written apart.
_WRITTEN_APART = {"privacy.md", "security.md", "fidelity.md", "reliability.md", "performance.md", "before.png"}
# Raised for mistakes in our own code; nobody is shown these.
_FOR_DEVELOPERS = {"ValueError", "TypeError", "AssertionError", "FileNotFoundError"}


def text(name: str) -> str:
    """Return a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def in_one_line(written: str) -> str:
    """Return text without its line breaks, so that a sentence is found wherever it is wrapped."""
    return " ".join(written.split())


@cache
def sources() -> tuple[tuple[Path, ast.Module], ...]:
    """Return what ships, parsed."""
    paths = sorted([*(ROOT / "shared").rglob("*.py"), *(ROOT / "function_app").rglob("*.py")])
    return tuple((path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


@cache
def markdown() -> tuple[Path, ...]:
    """Return every Markdown file that is part of the project."""
    tracked = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    return tuple(sorted({ROOT / path for path in tracked if path} | set(DOCS.rglob("*.md"))))


# ------------------------------------------------------------------ settings


def test_every_setting_has_a_heading_and_every_heading_is_a_setting() -> None:
    """Whoever looks one up finds it, and finds nothing that no longer exists."""
    headings = re.findall(r"^### (\w+)$", text("docs/settings.md"), re.MULTILINE)

    assert set(headings) == KNOWN
    assert len(headings) == len(set(headings))


def test_the_sample_settings_hold_all_that_is_required_and_nothing_unknown() -> None:
    """It is what everybody starts from."""
    sample = set(json.loads(text("local.settings.sample.json"))["Values"])

    assert {setting.name for setting in NAMES.values() if setting.default is None} | HOSTS_OWN <= sample
    assert sample <= KNOWN


def test_required_settings_are_called_required_and_defaults_are_told() -> None:
    """A default in the documents that is not the code's leads people astray."""
    parts = dict(re.findall(r"^### (\w+)\n\n(.*?)(?=^#|\Z)", text("docs/settings.md"), re.MULTILINE | re.DOTALL))

    for setting in NAMES.values():
        if setting.default is None:
            assert "*Required" in parts[setting.name], setting.name
        elif setting.default:
            assert setting.default in parts[setting.name], f"{setting.name}: {setting.default}"


# ------------------------------------------------------------------ the runbook


def test_every_error_class_is_in_the_runbook() -> None:
    """The log names errors by their class."""
    ours = {"AudienceSyncError"}
    for _ in range(5):  # a class may be defined in a file that is read before its parent's
        for _, tree in sources():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id in ours for base in node.bases):
                    ours.add(node.name)

    missing = {name for name in ours if f"`{name}`" not in text("docs/operations.md")}
    assert len(ours) > 15
    assert not missing


def log_actions() -> set[str]:
    """Return every action that the code logs."""
    found = set()
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "action" and isinstance(value, ast.Constant):
                        found.add(str(value.value))
    return found


def test_every_log_action_is_in_the_runbook_and_every_action_there_is_logged() -> None:
    """An action nobody explains is noise; one that is explained but gone makes people search in vain."""
    described = set(re.findall(r"^\| `([a-z]+(?:-[a-z]+)*)` \|", text("docs/operations.md"), re.MULTILINE))

    assert log_actions() == described


def test_every_status_is_in_the_runbook() -> None:
    """By the word that people see."""
    words = [
        about.english for choice in CHOICES for option, about in choice.options.items() if type(option) in {Status, SignInStatus}
    ]

    assert len(words) == len(Status) + len(SignInStatus)
    for word in words:
        assert f"| {word} |" in text("docs/operations.md"), word


def pattern_of(sentence: str) -> re.Pattern[str]:
    """Return a pattern that finds a sentence whatever its placeholders hold."""
    pieces = re.split(r"\{[^}]*\}", in_one_line(sentence))
    return re.compile(".{0,200}?".join(re.escape(piece) for piece in pieces))


def written_out(node: ast.AST) -> str:
    """Return a text as it stands in the source, an f-string's values as {}."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_sentence(written: str) -> bool:
    """Tell whether a text is made for people: it begins like a sentence and ends like one."""
    begins = bool(re.match(r"[A-Z{]", written)) and " " in written.strip()
    return begins and (written.rstrip().endswith(".") or bool(re.search(r"\. \{\}$", written)))


def hidden(tree: ast.Module) -> set[int]:
    """Return which nodes are no sentences for people: docstrings, parts of f-strings, errors for developers."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            found |= {id(part) for part in ast.walk(node) if part is not node}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FOR_DEVELOPERS:
            found |= {id(part) for part in ast.walk(node)}
    return found


def shown_sentences() -> Iterator[tuple[str, str]]:
    """Return (where, sentence) for every sentence in the code that a person may be shown."""
    for path, tree in sources():
        skipped = hidden(tree)
        for node in ast.walk(tree):
            if id(node) not in skipped and is_sentence(written := written_out(node)):
                yield f"{path}:{getattr(node, 'lineno', 0)}", written


def test_every_sentence_that_a_person_may_be_shown_is_in_the_runbook() -> None:
    """Whoever gets a sentence on the screen can look up what to do about it."""
    runbook = in_one_line(text("docs/operations.md"))
    shown = list(shown_sentences())

    missing = [f"{where} {sentence}" for where, sentence in shown if not pattern_of(sentence).search(runbook)]
    assert len(shown) > 150
    assert not missing, "\n".join(missing)


def test_every_sentence_of_the_row_is_in_the_runbook() -> None:
    """The pipeline's own sentences, whatever they look like."""
    runbook = in_one_line(text("docs/operations.md"))

    for name, value in vars(sentences).items():
        if name.isupper():
            assert pattern_of(value).search(runbook), name


# ------------------------------------------------------------------ words


def test_steps_and_the_ways_of_asking_are_in_the_glossary() -> None:
    """The words of the code are the words of the documents."""
    glossary = text("docs/glossary.md")

    for step in Step:
        assert step is Step.DONE or re.search(rf"\b{step}\b", glossary), step


def test_linkedins_own_word_for_an_audience_is_only_in_the_glossary() -> None:
    """One word per thing: LinkedIn's API calls an audience a DMP segment, and we say so once."""
    users = {path.name for path in DOCS.glob("*.md") if "dmp segment" in text(str(path.relative_to(ROOT))).lower()}

    assert users <= {"glossary.md", "fidelity.md"}  # the second quotes LinkedIn


# ------------------------------------------------------------------ commands


def test_every_make_command_in_the_documents_exists() -> None:
    """A newcomer types what is written."""
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))

    for path in markdown():
        commands = set(re.findall(r"(?:`|^ {4}|\bONCE=1 )make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert commands <= targets, path.name


def options_of(parser: argparse.ArgumentParser) -> dict[str, set[str]]:
    """Return the options of every command of a parser."""
    commands = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {
        name: {option for action in command._actions for option in action.option_strings if option.startswith("--")}
        for name, command in commands.items()
    }


def test_every_option_of_the_installer_is_documented() -> None:
    """And every documented line would be accepted."""
    if importlib.util.find_spec("solution.__main__") is None:
        return  # the installer has no command line in this tree
    from solution.__main__ import _parser  # noqa: PLC0415  only where it exists

    known = options_of(_parser())
    written = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))

    for options in known.values():
        for option in options - {"--help"}:
            assert re.search(rf"(?<![\w-]){option}\b", written), option
    for command, rest in re.findall(r"-m solution ([a-z]+)((?:[^\n`]|\\\n)*)", written):
        assert command in known, command
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known[command], f"{command} {rest}"


def test_every_command_of_operate_is_documented() -> None:
    """The script is what an administrator has besides azd."""
    written = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    used = set(re.findall(r"infra/operate\.py (\w+)", written))

    assert used <= set(options_of(load_operate()._parser()))
    assert {"fill", "rotate", "show"} <= used


def load_operate() -> ModuleType:
    """Return infra/operate.py, which is a file and no module of a package."""
    spec = importlib.util.spec_from_file_location("operate_for_docs", ROOT / "infra" / "operate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    importlib.import_module("sys").modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------ links, queries, figures


def anchors(written: str) -> set[str]:
    """Return the anchors that headings make, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", written, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", markdown(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    """Relative links and the headings they name; addresses on the web are not asked."""
    written = re.sub(r"```.*?```|^ {4}.*?$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)

    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)", written):
        found = (path.parent / target).resolve() if target else path
        if found.name in _WRITTEN_APART and not found.exists():
            continue
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), f"{target}#{anchor}"


def test_the_queries_in_the_documents_are_the_files() -> None:
    """Whoever copies one from the page gets what the workbook shows."""
    files = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "infra" / "queries").glob("*.kql")}
    written = re.findall(r"^### ([a-z-]+)\n\n(.*?)\n\n```kusto\n(.*?)```", text("docs/monitoring.md"), re.MULTILINE | re.DOTALL)

    assert {name: f"// {about}\n{query}" for name, about, query in written} == files


def test_the_default_api_version_is_the_one_that_upgrade_speaks_of() -> None:
    """Its end is what an administrator looks up."""
    assert f"| {NAMES['linkedin_version'].default} (default) |" in text("docs/upgrade.md")


def test_the_cost_estimate_adds_up() -> None:
    """Its quantities are counted, so they can be counted again."""
    cost = text("docs/cost.md")
    seconds = 12 + 6 + 2 + 4 + 104 + 100
    idle = 8_640 * 2 + 30 * 5 * 2

    assert f"**{seconds}**" in cost
    assert f"2 GB = **{seconds * 2} GB-seconds**" in cost
    for audiences in (10, 100, 1_000):
        used = idle + seconds * 2 * audiences
        assert f"{used:,}" in cost
        assert f"${max(0, used - 100_000) * 0.000026:.2f}" in cost
        assert f"{8_670 + 230 * audiences:,}" in cost
