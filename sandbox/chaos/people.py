"""The people and programs around the product, who do not give up: marketers, automations, and the person at LinkedIn."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urljoin
from uuid import NAMESPACE_URL, uuid5

import requests

from sandbox.chaos.deck import BUTTON, LIVE, Run
from sandbox.run import ACCOUNT, AUTOMATION, CHECK, CREATE, PERSON
from sandbox.world import World

CANCEL, RETRY = 727000002, 727000003
CONNECT = 727000000
SIGNED_IN = (727000002, 727000003)
_TRIES = 12
_PAUSE = 0.3


class Unreachable(Exception):
    """Somebody tried again and again, and it never went through."""


class People:
    """Everybody who acts in one world. Their own calls are struck by the same faults, so each is tried until it works."""

    def __init__(self, field: World) -> None:
        self._field = field
        users = field.dataverse.do("users")
        self.marketers: list[str] = list(users["marketers"])
        self._administrator = str(users["administrator"])
        self._dataverse = field.dataverse
        field.linkedin.do("register_redirect", uri=f"{field.app_url}/api/linkedin/callback")

    # -------------------------------------------------------------- segments and rows

    def order(self, run: Run, made: Mapping[str, str], seed: int) -> str | None:
        """Pull the run's trigger; return the row's id, None when the app is to make the row."""
        if run.trigger == LIVE:
            self._mark(run, made)
            self.go_live(made)
            return None
        row_id = row_id_of(seed, run.number)
        person = run.trigger == BUTTON
        values = {
            "lima_audienceid": row_id,
            "lima_name": made["name"],
            "lima_segmenttable": made["table"],
            "lima_segmentid": made["id"],
            "lima_segmentname": made["name"],
            "lima_command": CHECK if person else CREATE,
            "lima_commandid": f"{run.number}-first",
            "lima_origin": PERSON if person else AUTOMATION,
            "lima_adaccount": ACCOUNT["urn"],
            "lima_adaccountname": ACCOUNT["name"],
        }
        self._do("POST", "lima_audiences", values, self.marketers[run.owner])
        return row_id

    def go_live(self, made: Mapping[str, str]) -> None:
        """Let the segment go live."""
        self._dataverse.do("go_live", table=made["table"], id=made["id"])

    def press(self, run: Run, row_id: str, command: int, number: int, *, confirmed: bool = False) -> None:
        """Press a button of the tab: a command with an id of its own."""
        change = {"lima_command": command, "lima_commandid": f"{run.number}-{number}"}
        self._do(
            "PATCH", f"lima_audiences({row_id})", change | ({"lima_smallconfirmed": True} if confirmed else {}), self._of(run)
        )

    def rename(self, run: Run, row_id: str) -> None:
        """Change the row's name, so that its version is another one."""
        self._do("PATCH", f"lima_audiences({row_id})", {"lima_adaccountname": "Renamed by a person"}, self._of(run))

    def delete(self, row_id: str) -> None:
        """Delete the row, which only administrators may."""
        self._do("DELETE", f"lima_audiences({row_id})", None, self._administrator)

    def _mark(self, run: Run, made: Mapping[str, str]) -> None:
        change = {
            "lima_createwhenlive": True,
            "lima_liveadaccount": ACCOUNT["urn"],
            "lima_liveadaccountname": ACCOUNT["name"],
            "lima_LiveSetBy@odata.bind": f"/systemusers({self._of(run)})",
        }
        self._do("PATCH", f"{made['set']}({made['id']})", change, self._of(run))

    def _of(self, run: Run) -> str:
        return self.marketers[run.owner]

    def _do(self, method: str, path: str, body: Any, user: str) -> None:
        """Send until it is done; a row that is there already, or gone already, is done."""
        for _ in range(_TRIES):
            try:
                self._dataverse.api(method, path, body, user=user)
            except requests.RequestException:
                pass
            except RuntimeError as error:
                if (method == "POST" and "matching key" in str(error)) or (method == "DELETE" and " 404 " in str(error)):
                    return
                if " 404 " in str(error) or " 403 " in str(error):
                    raise
            else:
                return
            time.sleep(_PAUSE)
        raise Unreachable(f"{method} {path} never went through.")

    # -------------------------------------------------------------- signing in to LinkedIn

    def sign_in(self, user: str, person: str = "ada") -> bool:
        """Sign in to LinkedIn as a person does in the browser; tell whether the row says so in the end."""
        row_id = str(uuid5(NAMESPACE_URL, f"sign-in of {user}"))
        asked = {"lima_command": CONNECT, "lima_commandid": str(time.time_ns())}
        if self._field.row("lima_signin", row_id) is None:
            self._do("POST", "lima_signins", {"lima_signinid": row_id, "lima_name": "Sign-in", **asked}, user)
        else:
            self._do("PATCH", f"lima_signins({row_id})", {"lima_address": None, **asked}, user)
        address = self._wait(lambda: (self._field.row("lima_signin", row_id) or {}).get("lima_address"))
        if not address:
            return False
        self._walk_through(str(address), person)
        return bool(self._wait(lambda: self._is_signed_in(row_id), patience=3.0))

    def _is_signed_in(self, row_id: str) -> bool:
        return (self._field.row("lima_signin", row_id) or {}).get("lima_status") in SIGNED_IN

    def _walk_through(self, address: str, person: str) -> None:
        """Follow the address to LinkedIn, say who it is, allow, and come back."""
        browser = requests.Session()
        browser.trust_env = False
        browser.verify = str(self._field.certificates.authority)
        try:
            page = browser.get(address, timeout=30)
            if asked := _hidden(page.text):
                page = browser.post(urljoin(page.url, "/uas/login"), {"request": asked, "person": person, "decision": "sign-in"})
            if asked := _hidden(page.text):
                browser.post(urljoin(page.url, "/oauth/v2/authorization"), {"request": asked, "decision": "allow"})
        except requests.RequestException:
            return  # whoever sees an error page begins again
        finally:
            browser.close()

    def _wait[T](self, look: Callable[[], T], patience: float = 12.0) -> T | None:
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if found := look():
                return found
            time.sleep(0.1)
        return None


def row_id_of(seed: int, run: int) -> str:
    """Return the id that a run's row is given by whoever creates it."""
    return str(uuid5(NAMESPACE_URL, f"chaos {seed} {run}"))


def _hidden(page: str) -> str:
    found = re.search(r'name="request" value="([^"]*)"', page)
    return found[1].replace("&amp;", "&").replace("&#x27;", "'").replace("&quot;", '"') if found else ""
