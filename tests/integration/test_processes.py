"""Child processes of the sandbox: when they are ready, how they end, what they cost."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from sandbox.processes import Child, ChildFailed, child_environment, ready_line

ROOT = Path(__file__).resolve().parents[2]
READY = "import json, time; print(json.dumps({'ready': 'sleeper', 'url': 'http://127.0.0.1:1/'}), flush=True)\n"
Run = Callable[..., Child]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Return what runs a Python script as a child; all are killed after the test."""
    children: list[Child] = []

    def run(script: str, *, env: dict[str, str] | None = None, timeout: float = 20.0) -> Child:
        args = [sys.executable, "-c", script]
        children.append(Child.start("sleeper", args, log_file=tmp_path / "sleeper.log", env=env, timeout=timeout))
        return children[-1]

    yield run
    for child in children:
        child.kill()


def gone(pid: int) -> bool:
    """Tell whether a process has ended, waiting for it up to ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        threading.Event().wait(0.02)
    return False


def test_a_child_is_ready_when_it_says_so(run: Run) -> None:
    """Nobody waits longer than needed, and the address is known."""
    child = run("import sys; print('busy', file=sys.stderr)\n" + READY + "time.sleep(60)")

    assert child.is_running()
    assert child.url == "http://127.0.0.1:1"
    assert child.log_text().splitlines()[0] == "busy"


def test_a_child_that_ends_too_early_is_told_with_its_last_words(run: Run) -> None:
    """The reason is in the error, not in a file somewhere."""
    with pytest.raises(ChildFailed, match=r"(?s)sleeper ended with code 3.*no such setting"):
        run("import sys; print('no such setting'); sys.exit(3)")


def test_a_child_that_never_gets_ready_is_given_up(run: Run) -> None:
    """A hanging start does not hang the sandbox."""
    with pytest.raises(ChildFailed, match="was not ready in time"):
        run("import time; time.sleep(60)", timeout=0.3)


def test_the_log_of_an_earlier_run_does_not_count_as_ready(run: Run) -> None:
    """A restarted child writes to the same log, and is waited for again."""
    run(READY + "time.sleep(60)").stop()

    with pytest.raises(ChildFailed, match="ended with code 0"):
        run("pass")


def test_an_obedient_child_ends_at_once_and_keeps_its_code(run: Run) -> None:
    """SIGTERM first: a program may tidy up."""
    child = run("import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n" + READY + "time.sleep(60)")
    code = child.stop()

    assert code == 7
    assert child.stop() == 7
    assert child.kill() == 7


def test_a_stubborn_child_is_killed_after_the_grace(run: Run) -> None:
    """SIGKILL last: nothing outlives the sandbox."""
    child = run("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + "time.sleep(60)")

    assert child.stop(grace=0.2) == -signal.SIGKILL


def test_a_childs_own_children_are_killed_with_it(run: Run) -> None:
    """A kill takes the whole process group."""
    child = run(
        "import subprocess, sys\nother = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(other.pid, flush=True)\n" + READY + "time.sleep(60)"
    )
    grandchild = int(child.log_text().splitlines()[0])
    child.kill()

    assert gone(grandchild)


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """Also one that a short-lived thread had started, which lives as long as the parent does."""
    script = f"""
import os, signal, sys, threading
from pathlib import Path
from sandbox.processes import Child
def start():
    started.append(Child.start("sleeper", [sys.executable, "-c", {READY + "time.sleep(60)"!r}], log_file=Path(sys.argv[1])))
started = []
thread = threading.Thread(target=start)
thread.start()
thread.join()
assert started[0].is_running()
print(started[0].pid, flush=True)
sys.stdin.read()
"""
    args = [sys.executable, "-c", script, str(tmp_path / "sleeper.log")]
    with subprocess.Popen(args, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        alive = psutil.pid_exists(pid)
        parent.kill()

    assert alive
    assert gone(pid)


def test_children_end_when_their_parent_ends(tmp_path: Path) -> None:
    """A forgotten stop leaves nothing behind."""
    script = f"""
import sys
from pathlib import Path
from sandbox.processes import Child
child = Child.start("sleeper", [sys.executable, "-c", {READY + "time.sleep(60)"!r}], log_file=Path(sys.argv[1]))
print(child.pid)
"""
    args = [sys.executable, "-c", script, str(tmp_path / "sleeper.log")]
    ended = subprocess.run(args, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)

    assert gone(int(ended.stdout))


def test_what_a_child_costs_is_known_after_its_end_too(run: Run) -> None:
    """Memory at its peak, not at the moment of asking; processor time as the system counts it."""
    child = run("x = bytearray(200_000_000)\ndel x\nfor _ in range(3_000_000): pass\n" + READY + "time.sleep(60)")
    child.stop()

    assert 200 < child.peak_rss_mb() < 300
    assert 0 < child.cpu_seconds() < 20


def test_children_trust_the_sandboxs_authority_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the surrounding machine would win over what a session says, so they are replaced."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/elsewhere")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:1")
    bundle = tmp_path / "ca.pem"
    environment = child_environment(bundle, {"DATAVERSE_URL": "https://127.0.0.1"})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with requests.Session() as session:
        used = session.merge_environment_settings("https://127.0.0.1:1/", {}, None, True, None)

    assert (used["verify"], dict(used["proxies"])) == (str(bundle), {})
    assert environment["DATAVERSE_URL"] == "https://127.0.0.1"
    assert environment["SSL_CERT_FILE"] == str(bundle)
    assert "SSL_CERT_DIR" not in environment
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ('{"ready": "host", "url": "u"}', {"ready": "host", "url": "u"}),
        ('{"ready": "another"}', None),
        ('{"message": "\\"ready\\""}', None),
        ('{"ready": ', None),
        ("ready", None),
    ],
)
def test_only_a_line_of_its_own_makes_a_child_ready(line: str, facts: dict[str, str] | None) -> None:
    """A log line that speaks of readiness is not taken for it."""
    assert ready_line("host", ["something", line]) == facts
