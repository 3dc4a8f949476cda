"""Child processes of the sandbox: started in their own group, waited for, watched, stopped or killed.

A child writes standard output and standard error to one log file, which the parent only reads, so a busy or dead
parent never blocks it. A child of ours says that it is ready with one JSON line `{"ready": name, "url": ...}`; for
other programs the caller brings a function that looks at the log. Children end with the parent: always when the
parent ends in an orderly way, and on Linux also when it is killed.
"""

import atexit
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

Facts = dict[str, Any]
Ready = Callable[[str, Sequence[str]], Facts | None]
"""Given the child's name and the log lines since its start: what it told about itself, or None when it is not ready."""

_LOOK_EVERY = 0.01
_KILLED_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ChildFailed(RuntimeError):
    """A child ended before it was ready, or did not get ready in time; the text ends with the end of its log."""


def ready_line(name: str, lines: Sequence[str]) -> Facts | None:
    """Return the JSON object of the line that says `{"ready": name}`, or None while there is none."""
    for line in lines:
        if line.startswith("{") and '"ready"' in line:
            with suppress(json.JSONDecodeError):
                facts = json.loads(line)
                if isinstance(facts, dict) and facts.get("ready") == name:
                    return facts
    return None


def child_environment(ca_bundle: Path | None = None, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment as a child of the sandbox should see it.

    `ca_bundle` (PEM) becomes the only authority that the child's TLS clients trust; the variables are needed because
    they win over what a `requests` session says itself. Loopback is never sent through a proxy. `settings` win.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    if ca_bundle is not None:
        environment.pop("SSL_CERT_DIR", None)
        environment.update(dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), str(ca_bundle)))
    return {**environment, **(settings or {})}


@dataclass
class Child:
    """A running program. `facts` is what it said when it got ready; `url` is the address among them, or ""."""

    name: str
    log_file: Path
    process: subprocess.Popen[bytes]
    facts: Facts = field(default_factory=dict)
    _usage: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def start(
        cls,
        name: str,
        args: Sequence[str | Path],
        *,
        log_file: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: Ready = ready_line,
        timeout: float = 60.0,
    ) -> Self:
        """Start a program and return once it is ready; its output is added to `log_file`.

        `env` is its whole environment (None: `child_environment()`); `args` begin with the program, for one of ours
        `[sys.executable, "-m", ...]`. Raises ChildFailed, with the end of its log, when it ends before or is not ready after
        `timeout` seconds; it is then gone.
        """
        log_file.parent.mkdir(parents=True, exist_ok=True)
        began = log_file.stat().st_size if log_file.exists() else 0
        child = cls(name, log_file, _start([str(arg) for arg in args], log_file, env, cwd))
        _running.append(child)
        child._await_ready(ready, began, time.monotonic() + timeout)
        return child

    def _await_ready(self, ready: Ready, began: int, until: float) -> None:
        while True:
            ended = self.process.poll() is not None  # asked before reading, so that last words are heard
            lines = _whole_lines(self.log_file, began)
            if (facts := ready(self.name, lines)) is not None:
                self.facts = facts
                return
            if ended or time.monotonic() > until:
                what = f"ended with code {self.process.returncode}" if ended else "was not ready in time"
                self.kill()
                raise ChildFailed(f"{self.name} {what}. The end of its log, {self.log_file}:\n" + "\n".join(lines[-20:]))
            time.sleep(_LOOK_EVERY)

    @property
    def url(self) -> str:
        """Return the address the child gave, without a slash at the end."""
        return str(self.facts.get("url", "")).rstrip("/")

    @property
    def pid(self) -> int:
        """Return the process id, which is also the id of its process group."""
        return self.process.pid

    def is_running(self) -> bool:
        """Tell whether the program has not ended yet."""
        return self.process.poll() is None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended by itself; raises subprocess.TimeoutExpired."""
        return self.process.wait(timeout)

    def stop(self, grace: float = 10.0) -> int:
        """Ask it to end, kill it when it has not after `grace` seconds, and return its exit code; may be repeated."""
        if self.is_running():
            self._note_usage()
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        return self.kill()

    def kill(self) -> int:
        """End it and everything in its process group at once, and return its exit code; may be repeated."""
        self._note_usage()
        self._signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        code = self.process.wait()
        with suppress(ValueError):
            _running.remove(self)
        return code

    def peak_rss_mb(self) -> float:
        """Return the largest resident memory so far in MB (of 1,000,000 bytes); after its end, the last known figure."""
        self._note_usage()
        return self._usage[0]

    def cpu_seconds(self) -> float:
        """Return the processor time used so far in seconds; after its end, the last known figure."""
        self._note_usage()
        return self._usage[1]

    def log_text(self) -> str:
        """Return everything that the log file holds."""
        return self.log_file.read_text("utf-8", errors="replace")

    def _note_usage(self) -> None:
        with suppress(psutil.Error, OSError):
            self._usage = (peak_rss_mb(self.pid), cpu_seconds(self.pid))

    def _signal(self, number: int) -> None:
        if self.process.returncode is not None:
            return  # reaped: the number may belong to another process by now
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self.pid, number)
            else:
                self.process.terminate()


def peak_rss_mb(pid: int) -> float:
    """Return the largest resident memory of a process so far, in MB; raises psutil.Error or OSError when it is gone.

    Where the system keeps no peak, the present figure is returned.
    """
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        for line in status.read_text("ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise psutil.NoSuchProcess(pid)
    memory = psutil.Process(pid).memory_info()
    return float(getattr(memory, "peak_wset", memory.rss)) / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in seconds; raises psutil.Error when it is gone."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def stop_all(children: Iterable[Child], grace: float = 10.0) -> None:
    """Stop children in the given order; those that have ended are left alone."""
    for child in list(children):
        child.stop(grace)


def _whole_lines(log_file: Path, began: int) -> list[str]:
    """Return the finished lines written since position `began`; a line still being written is left out."""
    with log_file.open("rb") as log:
        log.seek(began)
        written = log.read()
    return written[: written.rfind(b"\n") + 1].decode("utf-8", errors="replace").split("\n")[:-1]


def _start(args: list[str], log_file: Path, env: Mapping[str, str] | None, cwd: Path | None) -> subprocess.Popen[bytes]:
    """Start the program from the one thread that lives as long as this process.

    Linux ends a child that asked for it when the thread that started it ends, so a passing thread must not start one.
    """
    outcome: Future[subprocess.Popen[bytes]] = Future()
    _orders.put((outcome, lambda: _open(args, log_file, env, cwd)))
    with _starting:
        if not any(thread.name == _STARTER for thread in threading.enumerate()):
            threading.Thread(target=_take_orders, name=_STARTER, daemon=True).start()
    return outcome.result()


def _open(args: list[str], log_file: Path, env: Mapping[str, str] | None, cwd: Path | None) -> subprocess.Popen[bytes]:
    if sys.platform == "linux":
        args = [sys.executable, "-I", "-S", "-c", _KILLED_WITH_PARENT, str(os.getpid()), *args]
    with log_file.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the sandbox names its own programs
            args,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else child_environment(),
            cwd=cwd,
            start_new_session=True,
        )


def _take_orders() -> None:
    while True:
        outcome, order = _orders.get()
        try:
            outcome.set_result(order())
        except Exception as error:  # noqa: BLE001 - it belongs to whoever gave the order
            outcome.set_exception(error)


_STARTER = "starts-children"
_starting = threading.Lock()
_orders: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], Callable[[], subprocess.Popen[bytes]]]] = queue.SimpleQueue()
_running: list[Child] = []
atexit.register(lambda: stop_all(_running, grace=3.0))
