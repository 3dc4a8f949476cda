"""The whole product on one machine: simulators, Azurite and the function app, each in its own process."""

import base64
import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sandbox.as_customer import install_solution, store_sign_in
from sandbox.azurite import Azurite
from sandbox.certificates import Certificates, make_authority
from sandbox.processes import Child, child_environment
from sandbox.remote import Remote

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / ".sandbox"
TENANT = "sandbox.example"
WORKER_APP = "00000000-0000-0000-0000-0000000000aa"
WORKER_SECRET = "sandbox-worker-secret"
ADMIN_APP = "00000000-0000-0000-0000-0000000000ad"
ADMIN_SECRET = "sandbox-admin-secret"
LINKEDIN_CLIENT = "sandbox-linkedin-client"
LINKEDIN_SECRET = "sandbox-linkedin-secret"
LINKEDIN_PERSON = "ada"

# A demonstration should not wait for what takes LinkedIn hours.
QUICK = {
    "CONFIRM_FIRST_SECONDS": "0.5",
    "CONFIRM_LONGEST_SECONDS": "2",
    "NEW_AUDIENCE_SECONDS": "1",
    "UPKEEP_SCHEDULE": "*/20 * * * * *",
    "TIDY_SCHEDULE": "0 17 3 * * *",
}


@dataclass(frozen=True)
class Options:
    """How the world is set up. `settings` win over the sandbox's own settings of the app."""

    settings: Mapping[str, str] = field(default_factory=dict)
    host_arguments: tuple[str, ...] = ()
    app: Path = ROOT
    install: bool = True
    storage_on_disk: bool = False
    plain_sign_in: bool = False  # LinkedIn's pages without TLS, for a person's browser


@dataclass
class World:
    """Everything that runs. Use as a context manager, so that all of it ends."""

    options: Options
    folder: Path
    tell: Callable[[str], None]
    certificates: Certificates
    azurite: Azurite
    entra_child: Child
    dataverse_child: Child
    linkedin_child: Child
    host_port: int
    webhook_secret: str
    signin_key: str
    host_child: Child | None = None

    @classmethod
    def start(cls, options: Options | None = None, tell: Callable[[str], None] = lambda _: None) -> Self:
        """Start everything, install the solution into Dataverse, start the function app last."""
        options = options or Options()
        RUNS.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=RUNS))
        certificates = make_authority(folder)
        host_port = _free_port()
        with ThreadPoolExecutor(4) as pool, contextlib.ExitStack() as started:
            tell("Starting the simulators of Dataverse, LinkedIn and Entra, and Azurite")
            azurite = pool.submit(Azurite.start, folder / "azurite", in_memory=not options.storage_on_disk)
            arguments: dict[str, tuple[str, ...]] = {"entra": (), "dataverse": (), "linkedin": _linkedin_arguments(host_port)}
            children = [pool.submit(_simulator, name, folder, certificates, extra) for name, extra in arguments.items()]
            started.callback(azurite.result().stop)
            for child in children:
                started.callback(child.result().stop)
            world = cls(
                options=options,
                folder=folder,
                tell=tell,
                certificates=certificates,
                azurite=azurite.result(),
                entra_child=children[0].result(),
                dataverse_child=children[1].result(),
                linkedin_child=children[2].result(),
                host_port=host_port,
                webhook_secret=secrets.token_urlsafe(24),
                signin_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            )
            if options.install:
                tell("Installing the solution into Dataverse")
                world.install()
            tell("Starting the function app on Microsoft's runtime")
            world.start_host()
            started.pop_all()
        return world

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process that was started, and remove the folder of this run unless something went wrong in it."""
        with ThreadPoolExecutor(5) as pool:
            children = [self.host_child, self.dataverse_child, self.linkedin_child, self.entra_child]
            for child in children:
                if child is not None:
                    pool.submit(child.stop)
            pool.submit(self.azurite.stop)
        if not os.environ.get("SANDBOX_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    # -------------------------------------------------------------- parts

    @property
    def dataverse(self) -> Remote:
        """The Dataverse simulator."""
        return Remote(self.dataverse_child.url, self.certificates.authority, str(self.dataverse_child.facts["plain_url"]))

    @property
    def linkedin(self) -> Remote:
        """The LinkedIn simulator."""
        return Remote(self.linkedin_child.url, self.certificates.authority, str(self.linkedin_child.facts["plain_url"]))

    @property
    def entra(self) -> Remote:
        """The Entra simulator."""
        return Remote(self.entra_child.url, self.certificates.authority)

    @property
    def app_url(self) -> str:
        """Where the function app answers."""
        return f"http://127.0.0.1:{self.host_port}"

    @property
    def tab_folder(self) -> Path:
        """Where the built tab is, if it was built."""
        return ROOT / "solution" / "tab" / "dist"

    @property
    def host(self) -> Child:
        """The function app's process, which is the worker."""
        if self.host_child is None:
            raise RuntimeError("The function app is not running.")
        return self.host_child

    def settings(self) -> dict[str, str]:
        """Return the app's settings in this world."""
        sign_in = self.linkedin.plain_url if self.options.plain_sign_in else self.linkedin.url
        return {
            "AzureWebJobsStorage": self.azurite.connection_string,
            "DATAVERSE_URL": self.dataverse.url,
            "DATAVERSE_TENANT_ID": TENANT,
            "DATAVERSE_CLIENT_ID": WORKER_APP,
            "DATAVERSE_CLIENT_SECRET": WORKER_SECRET,
            "DATAVERSE_AUTHORITY": self.entra.url,
            "WEBHOOK_SECRET": self.webhook_secret,
            "LINKEDIN_CLIENT_ID": LINKEDIN_CLIENT,
            "LINKEDIN_CLIENT_SECRET": LINKEDIN_SECRET,
            "LINKEDIN_API_URL": f"{self.linkedin.url}/rest",
            "LINKEDIN_OAUTH_URL": f"{sign_in}/oauth/v2",
            "SIGNIN_KEYS": f"sandbox:{self.signin_key}",
            "PUBLIC_URL": self.app_url,
            **QUICK,
            **self.options.settings,
        }

    def environment(self) -> dict[str, str]:
        """Return the environment of a child that has to trust the sandbox's certificates."""
        return child_environment(self.certificates.authority)

    # -------------------------------------------------------------- doing

    def install(self) -> None:
        """Install the solution as an administrator does, by the product's own installer."""
        install_solution(self)

    def start_host(self) -> None:
        """Start (or start again) the function app."""
        file = self.folder / "local.settings.json"
        file.write_text(json.dumps({"IsEncrypted": False, "Values": self.settings()}, indent=2))
        self.host_child = Child.start(
            "host",
            [
                *(sys.executable, "-m", "sandbox.host", "--app", self.options.app, "--settings", file),
                *("--port", str(self.host_port), "--longest-poll", "0.2", *self.options.host_arguments),
            ],
            log_file=self.folder / "host.log",
            env=self.environment(),
            cwd=ROOT,
        )

    def store_sign_in(self, user_id: str, person: str = LINKEDIN_PERSON) -> None:
        """Give a Dynamics user a LinkedIn sign-in, as if they had signed in before."""
        store_sign_in(self, user_id, person)

    def another_dataverse(self) -> Child:
        """Start a second, empty environment; whoever asks for it stops it."""
        return _simulator("dataverse", self.folder / "another", self.certificates, ())

    def remote_of(self, child: Child) -> Remote:
        """Return the way to a simulator that was started besides."""
        return Remote(child.url, self.certificates.authority)

    def row(self, table: str, row_id: str) -> dict[str, Any] | None:
        """Return a row of Dataverse as it is stored, without a request that would count."""
        rows: list[dict[str, Any]] = self.dataverse.do("table", name=table)
        return next((row for row in rows if row.get(f"{table}id") == row_id), None)


def _linkedin_arguments(host_port: int) -> tuple[str, ...]:
    """Return how LinkedIn knows our app; its versions never end, so that the sandbox works in years to come."""
    redirect = f"http://127.0.0.1:{host_port}/api/linkedin/callback"
    known = ("--client-id", LINKEDIN_CLIENT, "--client-secret", LINKEDIN_SECRET, "--redirect-uri", redirect)
    return (*known, "--versions-never-end")


def _simulator(name: str, folder: Path, certificates: Certificates, extra: Sequence[str]) -> Child:
    command: list[str | Path] = [sys.executable, "-m", f"sandbox.{name}", "--port", "0"]
    command += ["--certificate", certificates.server, "--key", certificates.key, *extra]
    log_file, environment = folder / f"{name}.log", child_environment(certificates.authority)
    return Child.start(name, command, log_file=log_file, env=environment, cwd=ROOT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(options: Options | None = None, tell: Callable[[str], None] = lambda _: None) -> Iterator[World]:
    """Run a world for the length of a block."""
    with World.start(options, tell) as world:
        yield world
