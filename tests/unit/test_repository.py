"""The repository itself: nothing of one machine, one registry or one person is in it, and what is locked is locked."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.txt", "requirements-dev.txt")
NODE_LOCKS = ("sandbox/node/package-lock.json", "solution/tab/package-lock.json")
BINARY = {".png", ".ico", ".woff2", ".zip"}
# Written in pieces, so that this file is not among what it finds.
MACHINE_PATHS = re.compile(
    "|".join([r"/(?:ho" + r"me|Us" + r"ers)/\w", r"/wo" + r"rk/", r"/ro" + r"ot/", r"[A-Z]:\\(?:Us" + r"ers|wo" + r"rk)"])
)
REGISTRY_HOSTS = re.compile(
    r"(?:py" + r"pi|np" + r"mjs|conda|jfrog|nexus|artifact" + r"ory)[\w-]*\.(?:org|com|io|net|local|internal)", re.IGNORECASE
)
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
ADDRESS = re.compile(r"[A-Za-z0-9._+-]+@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
RESERVED = re.compile(r"(?:^|\.)(?:example|test|invalid|localhost|local)$|(?:^|\.)example\.(?:com|net|org|edu)$")
NO_ADDRESS = re.compile(r"(?i)odata\.|Microsoft\.|app\.")  # annotations and decorators
TABLE_OF_ADDRESSES = "tests/unit/data/addresses.toml"  # made up to be judged; two are public test vectors


def tracked() -> list[Path]:
    """Return the files that git keeps."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    paths = [ROOT / name for name in listed.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


TEXTS = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8", errors="replace")
    for path in tracked()
    if path.suffix not in BINARY
}


def lines_with(pattern: re.Pattern[str], *, but: tuple[str, ...] = ()) -> list[str]:
    """Return where a pattern stands in the project's own files."""
    return [
        f"{name}:{number}: {found[0]}"
        for name, text in TEXTS.items()
        if not name.startswith(but)
        for number, line in enumerate(text.splitlines(), start=1)
        if (found := pattern.search(line))
    ]


def test_no_path_of_one_machine_is_written_down() -> None:
    """The project runs wherever it was cloned to."""
    assert lines_with(MACHINE_PATHS) == []


def test_no_package_registry_is_named() -> None:
    """Packages come from where each machine is set up to get them."""
    assert lines_with(REGISTRY_HOSTS) == []


def test_node_locks_name_no_place() -> None:
    """A lock that names a registry installs from nowhere else."""
    for name in NODE_LOCKS:
        packages = json.loads(TEXTS[name])["packages"]
        assert [key for key, package in packages.items() if "resolved" in package] == [], name
        assert all("integrity" in package for key, package in packages.items() if key and not package.get("link")), name


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_one_version_and_its_hashes(name: str) -> None:
    """What was tested is what gets installed."""
    requirements = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", TEXTS[name]).strip())

    assert len(requirements) > 10
    for requirement in requirements:
        assert re.match(r"[\w.-]+(?:\[[\w,-]+\])?==\S+", requirement), requirement[:80]
        assert "--hash=sha256:" in requirement, requirement[:80]
    assert not re.search(r"(?m)^\s*-(?:i|f|-index-url|-extra-index-url|-find-links|-trusted-host)\b", TEXTS[name])


def test_what_ships_is_locked_to_the_same_versions_as_what_checks_it() -> None:
    """A test with another version of a package says nothing about the one that ships."""
    shipped, checked = (dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", TEXTS[name])) for name in LOCKS)

    assert shipped.items() <= checked.items()


@pytest.mark.parametrize(
    "path",
    [
        ".venv/x",
        ".sandbox/run-1/host.log",
        "build/stage/x",
        "local.settings.json",
        "sandbox/node/node_modules/x",
        "solution/tab/node_modules/x",
        "shared/__pycache__/x.pyc",
        ".hypothesis/x",
    ],
)
def test_what_commands_make_and_what_is_personal_is_ignored(path: str) -> None:
    """Nobody should be able to commit their secrets by habit."""
    done = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False)

    assert done.returncode == 0


def test_nothing_ignored_is_kept_all_the_same() -> None:
    """A file that was added before it was ignored stays, unseen."""
    listed = subprocess.run(["git", "ls-files", "-ci", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)

    assert listed.stdout == b""


def test_nothing_is_left_for_later() -> None:
    """What is not done is an issue, not a comment."""
    assert lines_with(UNFINISHED, but=("sandbox/node/", "solution/tab/package-lock.json")) == []


def test_every_email_address_is_nobodys() -> None:
    """Examples use names that are reserved for examples (RFC 2606), so nobody is ever written to or matched."""
    found = [
        f"{name}: {match[0]}"
        for name, text in TEXTS.items()
        if not name.endswith(("package-lock.json", *LOCKS, TABLE_OF_ADDRESSES))
        for match in ADDRESS.finditer(text)
        if not RESERVED.search(match[1].lower()) and not NO_ADDRESS.match(match[1])
    ]

    assert found == []


def test_the_secrets_scan_would_find_one(tmp_path: Path) -> None:
    """A scan that finds nothing shows something only when it would have found it."""
    leaked = tmp_path / "leaked.py"
    leaked.write_text('AWS = "AKIA' + "IOSFODNN7" + 'EXAMPLZ"\n-----BEGIN ' + "RSA PRIVATE KEY-----\n", "utf-8")
    done = subprocess.run(["sh", ROOT / "scripts" / "secrets-scan", leaked], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "AWS Access Key" in done.stdout
    assert "Private Key" in done.stdout
