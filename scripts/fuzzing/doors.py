"""The running app's HTTP surface under generated requests: from its OpenAPI description (schemathesis), and nearly right ones.

Every answer has to be one that the description names, and never a 5xx; afterwards no run of a function may have failed, no
step may have met a defect, and the poison queue has to be empty.
"""

import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import requests
import schemathesis
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient
from hypothesis import strategies as st

from function_app import linkedin_signin
from sandbox.world import World
from scripts.fuzzing.parsers import EVENT, Broken
from scripts.fuzzing.runs import repeat
from scripts.fuzzing.shapes import TEXTS, bodies, torn
from shared.linkedin.oauth_state import sign_state, state_key
from shared.ports import Ticket
from shared.settings import Settings
from shared.storage.connection import Connection
from shared.storage.queue import QUEUE
from shared.storage.tickets import TableTickets

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTION = ROOT / "docs" / "openapi.json"
EVENTS, CONNECT, CALLBACK = "/api/dataverse/events", "/api/linkedin/connect", "/api/linkedin/callback"
HEALTH = "/api/health"
_OWN_TABLES = st.sampled_from(["lima_audience", "lima_signin", "list", "msdynmkt_segmentdefinition", "contact"])
_IN_HEADERS = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30).map(str.strip)
_UNDECLARED = frozenset({404, 405})  # of the host itself: no such address, no such method
_SERVER_ERRORS = 500
_PATIENCE = 120.0


class Doors:
    """The app as anybody with its address finds it, and what of it the fuzzer has to know to get further in."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers: Counter[tuple[str, int]] = Counter()
        self._session = requests.Session()
        self._session.trust_env = False
        self._storage = Connection.from_env({"AzureWebJobsStorage": world.azurite.connection_string})
        self._tickets = TableTickets(self._storage)
        self._row = str(uuid4())
        user = world.dataverse.do("users")["marketers"][0]
        world.dataverse.api("POST", "lima_signins", {"lima_signinid": self._row, "lima_name": "fuzz"}, user=user)
        self._key = state_key(Settings.from_env(world.settings()).signin_keys[0][1])
        described = json.loads(DESCRIPTION.read_text("utf-8"))
        self._declared = {
            (method.upper(), path): frozenset(int(status) for status in operation["responses"])
            for path, methods in described["paths"].items()
            for method, operation in methods.items()
        }
        self._turn = 0
        self._schema = schemathesis.openapi.from_dict(described)

    def close(self) -> None:
        """End what was opened."""
        self._session.close()
        self._storage.close()

    def ways_in(self) -> Iterator[tuple[str, int, st.SearchStrategy[Any], Callable[[Any], object]]]:
        """Return each way of making requests: its name, its share in per cent, its inputs, and what sends one.

        The last one makes up for what the others, which may run out of different inputs, have left.
        """
        for method, path in self._declared:
            for mode in schemathesis.GenerationMode:
                if path != HEALTH or mode is schemathesis.GenerationMode.POSITIVE:  # it takes nothing that could be wrong
                    yield f"{path}, {mode.value} by description", 5, self._schema[path][method].as_strategy(mode), self._described
        yield "webhook bodies nearly right", 36, self._events(), self._event
        yield "callbacks of sign-ins that were begun", 16, self._callbacks(), self._callback
        yield "odd addresses and methods", 100, st.tuples(_METHODS, _PATHS, TEXTS), self._odd

    # ------------------------------------------------------------------ by description

    def _described(self, case: schemathesis.Case[Any]) -> None:
        self._turn += 1
        gets_in = case.path == EVENTS and self._turn % 10  # nine of ten hold the right secret
        headers = {"x-lima-key": self.world.webhook_secret} if gets_in else None
        answer = case.call(self.world.app_url, self._session, headers, timeout=60, allow_redirects=False)
        self._check(case.method, case.path, answer.status_code, case)

    # ------------------------------------------------------------------ nearly right

    @staticmethod
    def _events() -> st.SearchStrategy[tuple[bytes, dict[str, str], bool]]:
        fresh = st.builds(lambda table: EVENT | {"PrimaryEntityName": table, "OperationId": str(uuid4())}, _OWN_TABLES)
        headers = st.dictionaries(
            st.sampled_from(["x-ms-dynamics-organization", "x-ms-correlation-request-id", "x"]), _IN_HEADERS
        )
        return st.tuples(fresh.flatmap(bodies), headers, st.sampled_from([True] * 9 + [False]))

    def _event(self, given: tuple[bytes, dict[str, str], bool]) -> None:
        body, headers, gets_in = given
        latin: dict[str, str | bytes] = {name: value.encode("latin-1") for name, value in headers.items()}
        key = self.world.webhook_secret if gets_in else "wrong"
        sent = {**latin, "x-lima-key": key, "Content-Type": "application/json"}
        answer = self._session.post(self.world.app_url + EVENTS, body, headers=sent, timeout=60)
        self._check("POST", EVENTS, answer.status_code, given)

    @staticmethod
    def _callbacks() -> st.SearchStrategy[tuple[dict[str, str], str]]:
        names = st.sampled_from(["code", "error", "error_description", "next"])
        return st.tuples(st.dictionaries(names, TEXTS, max_size=4), st.sampled_from(["whole"] * 4 + ["torn", "other cookie"]))

    def _callback(self, given: tuple[dict[str, str], str]) -> None:
        query, how = given
        ticket, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        soon = datetime.now(UTC) + timedelta(minutes=5)
        self._tickets.issue(ticket, Ticket(str(uuid4()), self._row, soon))
        state = sign_state(self._key, linkedin_signin._digest(ticket), nonce, soon)  # noqa: SLF001  as the app makes it
        cookie = f"{linkedin_signin.COOKIE}={ticket}.{'other' if how == 'other cookie' else nonce}"
        answer = self._session.get(
            self.world.app_url + CALLBACK,
            params={**query, "state": state[: len(state) // 2] if how == "torn" else state},
            headers={"Cookie": cookie},
            allow_redirects=False,
            timeout=60,
        )
        self._check("GET", CALLBACK, answer.status_code, given)

    def _odd(self, given: tuple[str, str, str]) -> None:
        method, path, text = given
        address = f"{self.world.app_url}/api/{path}"
        answer = self._session.request(method, address, params={"q": text}, allow_redirects=False, timeout=60)
        self._check(method, f"/api/{path}", answer.status_code, given)

    # ------------------------------------------------------------------ checking

    def _check(self, method: str, path: str, status: int, given: object) -> None:
        declared = self._declared.get((method.upper(), path), frozenset[int]())
        self.answers[path if declared else "elsewhere", status] += 1
        if status >= _SERVER_ERRORS or status not in declared | _UNDECLARED | (frozenset() if declared else frozenset({400})):
            raise Broken(f"{method} {path} answered {status} to {given!r}.")

    def check_behind(self) -> None:
        """Check that nothing behind the doors was broken either, once all messages are handled."""
        end = time.monotonic() + _PATIENCE
        while self._waiting(QUEUE) or self._runs("running"):
            if time.monotonic() > end:
                raise Broken("The queue was not emptied in time.")
            threading.Event().wait(0.1)
        if failed := self._runs("failed"):
            raise Broken(f"Runs of functions failed: {failed}.")
        if self._waiting(f"{QUEUE}-poison"):
            raise Broken("Messages went to the poison queue.")
        if "step-defect" in self.world.host.log_text():
            raise Broken("A step met a defect; the log of the host has it.")
        if self._session.get(f"{self.world.app_url}/api/health", timeout=60).status_code != requests.codes.ok:
            raise Broken("The app is not healthy any more.")

    def _runs(self, how: str) -> dict[str, int]:
        found = self._session.get(self.world.app_url + "/__sandbox__/runs", timeout=60).json()
        return {name: counts[how] for name, counts in found.items() if counts[how]}

    def _waiting(self, queue: str) -> int:
        with QueueClient.from_connection_string(self.world.azurite.connection_string, queue) as client:
            try:
                return client.get_queue_properties().approximate_message_count or 0
            except ResourceNotFoundError:
                return 0


_METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
_ADDRESSES = [EVENTS, CONNECT, CALLBACK, HEALTH]
_PATHS = st.one_of(
    st.sampled_from(_ADDRESSES).map(lambda path: path.removeprefix("/api/")),
    st.sampled_from(_ADDRESSES)
    .flatmap(lambda path: torn(path.removeprefix("/api/").encode()))
    .map(lambda raw: raw.decode("latin-1")),
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), max_size=30),
).map(lambda path: quote(path, safe="/%"))


def knock(world: World, inputs: int, seed: int) -> Counter[tuple[str, int]]:
    """Send about so many generated requests to a running app and return the answers by address and status.

    Raises Broken, with the request, for the first answer that must not be.
    """
    doors = Doors(world)
    try:
        for number, (name, share, strategy, send) in enumerate(doors.ways_in()):
            left = inputs - doors.answers.total()
            repeat(strategy, send, max(1, min(left, inputs * share // 100)), seed + number, name)
        doors.check_behind()
    finally:
        doors.close()
    return doors.answers
