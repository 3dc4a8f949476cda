"""A world for chaos: gates before its services, storage on disk, short pauses, and somebody who starts the app again."""

import contextlib
import os
import signal
import threading
from dataclasses import dataclass, field

from sandbox.chaos.gate import Gates
from sandbox.chaos.pool import DOMAIN, Pool
from sandbox.host.settings import development_storage
from sandbox.processes import Child, ChildFailed
from sandbox.world import LINKEDIN_SECRET, WORKER_SECRET, Options, World

SETTINGS = {
    "STEP_SECONDS": "2",
    "OVERDUE_SECONDS": "6",
    "CREATE_CLAIM_SECONDS": "8",
    "CONFIRM_FIRST_SECONDS": "0.3",
    "CONFIRM_LONGEST_SECONDS": "1",
    "NEW_AUDIENCE_SECONDS": "1",
    "UPKEEP_SCHEDULE": "*/4 * * * * *",
    "DATAVERSE_PAGE_SIZE": "500",
    "LINKEDIN_BATCH_SIZE": "1000",
    "PART_MEMBERS": "1500",
}
LEASE_SECONDS = "3"
_LOOK_EVERY = 0.05


def options() -> Options:
    """Return how such a world is set up: everything that takes minutes in Azure takes seconds."""
    return Options(settings=SETTINGS, host_arguments=("--lease", LEASE_SECONDS), storage_on_disk=True)


@dataclass
class Field(World):
    """A world whose app reaches storage, Dataverse and LinkedIn through gates, and is started again whenever it dies."""

    pool: Pool = field(default_factory=Pool.of_size)
    gates: Gates | None = None
    starts: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _guard: threading.Thread | None = None

    def start_host(self) -> None:
        """Start the app behind the gates, and from then on whenever it has died."""
        if self.gates is None:
            self._open_gates()
        super().start_host()
        self.starts += 1
        if self._guard is None:
            self._guard = threading.Thread(target=self._start_again, name="guard", daemon=True)
            self._guard.start()

    def stop(self) -> None:
        """End everything."""
        self._over.set()
        if self._guard:
            self._guard.join(30)
        super().stop()
        if self.gates:
            self.gates.close()

    def settings(self) -> dict[str, str]:
        """Return the app's settings, with the gates in the place of the services."""
        ports = self.gates.ports if self.gates else {}
        addresses = {
            "AzureWebJobsStorage": development_storage(ports["blob"], ports["queue"], ports["table"]),
            "DATAVERSE_URL": f"https://127.0.0.1:{ports['dataverse']}",
            "LINKEDIN_API_URL": f"https://127.0.0.1:{ports['linkedin']}/rest",
        }
        return super().settings() | addresses

    def load_pool(self) -> None:
        """Put the pool's contacts and their opt-outs into Dataverse, and give LinkedIn the app's address."""
        rows = [contact.row() for contact in self.pool.contacts.values()]
        for start in range(0, len(rows), 8_000):
            self.dataverse.do("load_contacts", rows=rows[start : start + 8_000])
        self.dataverse.do("opt_out", addresses=self.pool.opted_out())

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that must not be in any store or log: secrets, and the domain of all addresses."""
        return (self.webhook_secret, self.signin_key, LINKEDIN_SECRET, WORKER_SECRET, DOMAIN)

    def children(self) -> dict[str, Child]:
        """Return the app and the simulators by name."""
        simulators = {"dataverse": self.dataverse_child, "linkedin": self.linkedin_child, "entra": self.entra_child}
        return {"host": self.host, **simulators}

    def kill_host(self) -> None:
        """Kill the app's process, as the system does: nothing in it gets another instruction."""
        child = self.host_child
        if child is not None and child.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    def _open_gates(self) -> None:
        self.gates = Gates(self.kill_host)
        for name, port in zip(("blob", "queue", "table"), self.azurite.ports, strict=True):
            self.gates.open(name, "storage", port)
        self.gates.open("dataverse", "dataverse", _port(self.dataverse_child.url))
        self.gates.open("linkedin", "linkedin", _port(self.linkedin_child.url))

    def _start_again(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            if not self.host.is_running():
                self.host.kill()  # whatever it had started ends with it
                with contextlib.suppress(ChildFailed):  # killed while it started: the next look starts it
                    super().start_host()
                    self.starts += 1


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
