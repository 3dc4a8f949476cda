"""The folder that is deployed, with only requirements.txt installed, on Microsoft's own runtime."""

import ast
import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {
    "dataverse_events": "httpTrigger",
    "health": "httpTrigger",
    "job_steps": "queueTrigger",
    "job_steps_poison": "queueTrigger",
    "linkedin_callback": "httpTrigger",
    "linkedin_connect": "httpTrigger",
    "tidy_up": "timerTrigger",
    "wake_jobs": "timerTrigger",
}
INDEX = """
import asyncio, json, sys
from pathlib import Path
from sandbox.host.runtime import index
found = asyncio.run(index(Path(sys.argv[1])))
print(json.dumps({function.name: function.trigger["type"] for function in found}))
"""


@pytest.fixture(scope="session")
def shipped_python() -> Path:
    """Return a Python that has what requirements.txt names and nothing else; made once per lock."""
    lock = ROOT / "requirements.txt"
    folder = ROOT / "build" / f"shipped-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / ".ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        flags = ["--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([str(python), "-m", "pip", "install", *flags, "-r", str(lock)], check=True, timeout=100)
        ready.touch()
    return python


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """Return a freshly staged deployment folder."""
    folder = tmp_path / "stage"
    subprocess.run([sys.executable, ROOT / "scripts" / "stage.py", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.mark.xdist_group("staged")
def test_the_staged_folder_shows_exactly_our_functions(shipped_python: Path, stage: Path) -> None:
    """On Azure a missing package, a deleted marker or an import error all look alike: no functions, and no error."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DATAVERSE", "LINKEDIN", "PYTHON"))}
    done = subprocess.run(
        [shipped_python, "-c", INDEX, stage],
        env={**clean, "PYTHONPATH": str(ROOT)},
        cwd=stage,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == EXPECTED


def test_only_what_ships_is_staged(stage: Path) -> None:
    """Tests, simulators and local settings never leave the building."""
    assert sorted(path.name for path in stage.iterdir()) == [
        "function_app",
        "function_app.py",
        "host.json",
        "requirements.txt",
        "shared",
    ]


def test_the_marker_holds_nothing_but_its_import() -> None:
    """The host never executes it, so code put there would silently do nothing."""
    body = ast.parse((ROOT / "function_app.py").read_text()).body

    assert [type(node) for node in body] == [ast.Expr, ast.ImportFrom]
    assert ast.unparse(body[1]) == "from function_app import app"


def test_importing_the_app_reads_no_setting_and_loads_no_client() -> None:
    """A cold start pays for every import; a missing setting must not make all functions vanish."""
    heavy = {"msal", "cryptography", "email_validator", "azure.storage.blob", "azure.storage.queue", "azure.data.tables"}
    code = f"import sys, function_app; print(sorted({heavy!r} & set(sys.modules)))"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SYSTEMROOT": os.environ.get("SYSTEMROOT", "")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
