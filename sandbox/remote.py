"""Talking to a running simulator: its control panel, and (as a person) the Dataverse Web API."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from sandbox.web import CONTROL


class Remote:
    """A simulator in another process. `url` is its HTTPS address, `plain_url` the one for browsers."""

    def __init__(self, url: str, ca: Path, plain_url: str = "") -> None:
        self.url, self.plain_url = url, plain_url
        self._session = requests.Session()
        self._session.trust_env = False  # REQUESTS_CA_BUNDLE would win over verify
        self._session.verify = str(ca)

    def do(self, action: str, **arguments: Any) -> Any:
        """Do an action of the simulator's control panel and return its result."""
        return self._control("POST", f"do/{action}", arguments)["result"]

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the call log."""
        found: list[dict[str, Any]] = self._control("GET", f"calls?since={since}")
        return found

    def forget_calls(self) -> None:
        """Empty the call log."""
        self._control("DELETE", "calls")

    def plan_faults(self, faults: Sequence[Mapping[str, Any]]) -> None:
        """Plan faults; see `sandbox.web.Fault`."""
        self._control("POST", "faults", list(faults))

    def forget_faults(self) -> None:
        """Plan nothing any more."""
        self._control("DELETE", "faults")

    def advance_clock(self, seconds: float) -> None:
        """Move the simulator's clock."""
        self._control("POST", "clock", {"advance": seconds})

    def _control(self, method: str, what: str, body: Any = None) -> Any:
        answer = self._session.request(method, self.url + CONTROL + what, json=body, timeout=300)
        if not answer.ok:
            raise RuntimeError(f"The control panel of {self.url} answered {answer.status_code} to {what}: {answer.text[:500]}")
        return answer.json()

    def api(
        self, method: str, path: str, body: Any = None, *, user: str, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Call the Dataverse Web API as a person (the cookie that stands for a signed-in browser)."""
        answer = self._session.request(
            method,
            f"{self.url}/api/data/v9.2/{path}",
            json=body,
            headers={"Accept": "application/json", **(headers or {})},
            cookies={"sandbox-user": user},
            timeout=60,
        )
        if not answer.ok:
            raise RuntimeError(f"Dataverse answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        return answer
