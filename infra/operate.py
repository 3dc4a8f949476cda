# ruff: noqa: T201, INP001  a command line, run as a file by azd and by hand, before anything is installed
"""What an administrator does in Azure besides `azd up`: fill the vault, change secrets, check a deployment.

    python infra/operate.py fill                      make the secrets that are missing; azd calls it
    python infra/operate.py rotate signin-keys        a new key in front of the old one (also: webhook-secret, ...)
    python infra/operate.py retire webhook-secret     the secret before the present one is no longer accepted
    python infra/operate.py show webhook-secret       print one secret, for the installer
    python infra/operate.py verify                    health, and the list of functions; azd and the workflow call it

It needs Python alone. It finds vault and app in the azd environment, and signs in as whoever signed in to azd
(or, with --az, to the Azure CLI). Secrets go from here to the vault and nowhere else.
"""

import argparse
import ast
import base64
import getpass
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MANAGEMENT = "https://management.azure.com"
VAULTS = "vault.azure.net"
VAULT_VERSION = "api-version=7.4"
SITE_VERSION = "api-version=2024-04-01"
KEYS_KEPT = 3
PAUSE = 15.0
_OK, _FORBIDDEN, _NOT_FOUND, _CONFLICT = 200, 403, 404, 409

LINKEDIN, WEBHOOK, WEBHOOK_BEFORE, SIGNIN, DATAVERSE = (
    "linkedin-client-secret",
    "webhook-secret",
    "webhook-secret-previous",
    "signin-keys",
    "dataverse-client-secret",
)
# Those that only the other side can make; the value is the variable or the question that brings them.
GIVEN = {LINKEDIN: "LINKEDIN_CLIENT_SECRET", DATAVERSE: "DATAVERSE_CLIENT_SECRET"}


class CannotGoOn(Exception):  # noqa: N818  named after what it means
    """A sentence for the administrator: what happened and what to do."""


@dataclass(frozen=True)
class Answer:
    """Status and JSON of an answer; the JSON is {} when there is none."""

    status: int
    body: Any

    @property
    def is_fine(self) -> bool:
        """Tell whether what was asked for was done; no answer at all (status 0) is not fine."""
        return _OK <= self.status < 300  # noqa: PLR2004  the statuses that mean success


@dataclass(frozen=True)
class Azure:
    """What reaches Azure; tests put others in their place."""

    token: Callable[[str], str]  # resource → access token
    send: Callable[[str, str, str, Any], Answer]  # method, address, token or "", body or None
    sleep: Callable[[float], None] = time.sleep

    def manage(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask Azure's management about a resource of the function app."""
        return self.send(method, f"{MANAGEMENT}{path}?{SITE_VERSION}", self.token(MANAGEMENT), body)


# ------------------------------------------------------------------ the vault


class Vault:
    """Names and values of secrets in one Key Vault."""

    def __init__(self, name: str, azure: Azure, *, patience: float = 600.0) -> None:
        """Wait up to `patience` seconds for the role that the deployment has just given."""
        self._url, self._azure, self._patience = f"https://{name}.{VAULTS}", azure, patience

    def names(self) -> set[str]:
        """Return the names of all secrets; no value is read."""
        found: set[str] = set()
        address = f"{self._url}/secrets?{VAULT_VERSION}"
        while address:
            answer = self._ask("GET", address)
            if not answer.is_fine or "value" not in answer.body:  # never take it for empty: its keys would be replaced
                raise CannotGoOn(f"The vault did not list its secrets (status {answer.status}). Nothing was changed; try again.")
            found |= {entry["id"].rstrip("/").rpartition("/")[2] for entry in answer.body["value"]}
            address = answer.body.get("nextLink") or ""
            if address and not address.startswith(f"{self._url}/"):
                raise CannotGoOn("The vault named a next page on another host, which is never followed. Ask who answers for it.")
        return found

    def get(self, name: str) -> str:
        """Return a secret. Raises CannotGoOn when there is none."""
        answer = self._ask("GET", f"{self._url}/secrets/{name}?{VAULT_VERSION}")
        if answer.status == _NOT_FOUND:
            raise CannotGoOn(f"The vault has no secret {name}. Run: python infra/operate.py fill")
        if not answer.is_fine or "value" not in answer.body:
            raise CannotGoOn(
                f"The vault did not give the secret {name} (status {answer.status}). Nothing was changed; try again."
            )
        return str(answer.body["value"])

    def put(self, name: str, value: str) -> None:
        """Store a secret as the newest version; older versions stay readable in the vault."""
        answer = self._ask("PUT", f"{self._url}/secrets/{name}?{VAULT_VERSION}", {"value": value})
        if answer.status == _CONFLICT:
            raise CannotGoOn(f"The secret {name} was deleted and can be brought back: recover it in the vault, then try again.")
        if not answer.is_fine:
            raise CannotGoOn(f"The vault did not take the secret {name} (status {answer.status}). Try again.")

    def _ask(self, method: str, address: str, body: Any = None) -> Answer:
        """Send; a role that was given a moment ago takes minutes to be known everywhere, so a 403 is waited out."""
        waited = 0.0
        while True:
            answer = self._azure.send(method, address, self._azure.token(f"https://{VAULTS}"), body)
            if answer.status != _FORBIDDEN:
                return answer
            if waited >= self._patience:
                raise CannotGoOn(
                    "The vault refuses you. You need the role Key Vault Secrets Officer on it; "
                    "azd gives it to whoever runs azd provision. Then try again."
                )
            if not waited:
                print("Waiting for the vault to know your role; this takes a few minutes after the first deployment.")
            self._azure.sleep(PAUSE)
            waited += PAUSE


def fill(vault: Vault, *, dataverse_by_secret: bool, ask: Callable[[str], str]) -> list[str]:
    """Make the secrets that are missing and return their names; what is there stays as it is. May be repeated."""
    wanted = [LINKEDIN, WEBHOOK, WEBHOOK_BEFORE, SIGNIN, *([DATAVERSE] if dataverse_by_secret else [])]
    present = vault.names()
    missing = [name for name in wanted if name not in present]
    for name in missing:
        if name == WEBHOOK_BEFORE:
            retire(vault)
        else:
            vault.put(name, ask(name) if name in GIVEN else _new(name))
    return missing


def retire(vault: Vault) -> None:
    """Let the app accept the present webhook secret alone: the one before it becomes the same."""
    vault.put(WEBHOOK_BEFORE, vault.get(WEBHOOK))


def rotate(vault: Vault, name: str, *, ask: Callable[[str], str]) -> str:
    """Put a new secret into the vault and return a sentence about what is left to do."""
    if name in GIVEN:
        vault.put(name, ask(name))
        return "Stored. The old secret can be deleted at the other side as soon as a sign-in has worked."
    if name == WEBHOOK:
        retire(vault)
        vault.put(WEBHOOK, _new(WEBHOOK))
        return (
            "Stored; the app accepts the old one too. Run the installer with the new one, then: operate.py retire webhook-secret."
        )
    kept = vault.get(SIGNIN).split(",")[: KEYS_KEPT - 1]
    vault.put(SIGNIN, ",".join([_new(SIGNIN), *kept]))
    return f"Stored. The new key seals, {len(kept)} earlier ones still open; each sign-in is sealed anew when it is next used."


def _new(name: str) -> str:
    """Return a fresh secret in the form that shared/settings.py reads."""
    if name == SIGNIN:
        return f"k{datetime.now(UTC):%Y%m%d%H%M%S}:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    return secrets.token_urlsafe(48)


def ask_person(name: str) -> str:
    """Return a secret from the environment, else from the terminal."""
    if given := os.environ.get(GIVEN[name], "").strip():
        return given
    if not sys.stdin.isatty():
        raise CannotGoOn(f"The secret {name} is missing. Set the variable {GIVEN[name]} for this one run, then run it again.")
    if typed := getpass.getpass(f"{GIVEN[name]} (it goes to the vault; nothing shows while you type): ").strip():
        return typed
    raise CannotGoOn(f"No {GIVEN[name]} was given, so nothing was stored. Run it again when you have it.")


def refresh_references(azure: Azure, app_id: str) -> None:
    """Let the app read the vault now instead of within a day (Learn: Use Key Vault references, Rotation).

    A process keeps the settings it began with, so the app is restarted after the references are read again.
    """
    for path in ("config/configreferences/appsettings/refresh", "restart"):
        answer = azure.manage("POST", f"{app_id}/{path}", {})
        if not answer.is_fine:
            print(f"The app could not be told to read the vault again (status {answer.status}). Restart it in the portal.")
            return


# ------------------------------------------------------------------ a deployment


def expected_functions(root: Path = ROOT) -> set[str]:
    """Return the names of all functions that the code declares."""
    calls = (
        node
        for path in (root / "function_app").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "function_name"
    )
    return {str(call.args[0].value) for call in calls if isinstance(call.args[0], ast.Constant)}


def verify(azure: Azure, app_id: str, url: str, expected: set[str], *, patience: float = 300.0) -> None:
    """Return when Azure shows exactly the expected functions and the app says that it is well.

    Both need a while after a deployment. Raises CannotGoOn with what is wrong when `patience` seconds are over.
    """
    waited, problem = 0.0, ""
    while True:
        problem = _wrong_functions(azure, app_id, expected) or _unhealthy(azure, url)
        if not problem:
            return
        if waited >= patience:
            raise CannotGoOn(problem)
        azure.sleep(PAUSE)
        waited += PAUSE


def _wrong_functions(azure: Azure, app_id: str, expected: set[str]) -> str:
    answer = azure.manage("GET", f"{app_id}/functions")
    if not answer.is_fine:
        return f"Azure did not list the functions (status {answer.status}). Check that you may read the function app."
    shown = {str(entry["name"]).rpartition("/")[2] for entry in answer.body.get("value", ())}
    if not shown:
        return (
            "Azure shows no functions at all. Either the remote build failed, or the app cannot be imported: "
            "look at the deployment's log, then deploy again."
        )
    if shown == expected:
        return ""
    missing, extra = sorted(expected - shown), sorted(shown - expected)
    return f"Azure shows other functions than the code has: missing {missing or 'none'}, unknown {extra or 'none'}. Deploy again."


def _unhealthy(azure: Azure, url: str) -> str:
    status = azure.send("GET", f"{url}/api/health", "", None).status
    if status == _OK:
        return ""
    return (
        f"{url}/api/health answers {status or 'nothing'} instead of 200. 503 means that a setting is missing or wrong: "
        "the log line with the action not-ready names it (docs/operations.md)."
    )


# ------------------------------------------------------------------ outside


def send_by_urllib(method: str, address: str, token: str, body: Any) -> Answer:
    """Send over HTTPS and return the answer whatever its status; status 0 when there is none."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, headers, method=method)  # noqa: S310  addresses begin with https above
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return Answer(response.status, _json(response.read()))
    except urllib.error.HTTPError as error:
        return Answer(error.code, _json(error.read()))
    except OSError:
        return Answer(0, {})


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return {}


def azd_token(resource: str) -> str:
    """Return a token of whoever is signed in to azd."""
    return str(json.loads(_output("azd", "auth", "token", "--scope", f"{resource}/.default", "--output", "json"))["token"])


def az_token(resource: str) -> str:
    """Return a token of whoever is signed in to the Azure CLI."""
    return _output("az", "account", "get-access-token", "--resource", resource, "--query", "accessToken", "--output", "tsv")


def from_environment(name: str) -> str:
    """Return a value of the azd environment: a hook finds it among its variables, a person's shell has to ask azd."""
    value = os.environ.get(name, "").strip() or _output("azd", "env", "get-value", name)
    if not value:
        raise CannotGoOn(
            f"The azd environment has no {name}. Run azd provision first, or choose the environment with azd env select."
        )
    return value


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, shell=os.name == "nt")  # noqa: S603
    except FileNotFoundError:
        raise CannotGoOn(f"The command {command[0]} was not found. Install it (docs/setup.md), then try again.") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        sign_in = "azd auth login" if command[0] == "azd" else "az login"
        raise CannotGoOn(f"{' '.join(command[:3])} failed. Sign in with {sign_in}, then try again.") from None
    return done.stdout.strip()


# ------------------------------------------------------------------ command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except CannotGoOn as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python infra/operate.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--az", action="store_true", help="sign in with the Azure CLI instead of azd")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("fill", help="make the secrets that are missing")
    one.set_defaults(command=_fill)
    one = commands.add_parser("rotate", help="change a secret")
    one.add_argument("name", choices=(LINKEDIN, WEBHOOK, SIGNIN, DATAVERSE))
    one.set_defaults(command=_rotate)
    one = commands.add_parser("retire", help="accept the present webhook secret alone")
    one.add_argument("name", choices=(WEBHOOK,))
    one.set_defaults(command=_retire)
    one = commands.add_parser("show", help="print a secret")
    one.add_argument("name", choices=(WEBHOOK,))
    one.set_defaults(command=_show)
    one = commands.add_parser("verify", help="compare the deployed functions with the code, and ask the app whether it is well")
    one.set_defaults(command=_verify)
    return parser


def _azure(options: argparse.Namespace) -> Azure:
    return Azure(az_token if options.az else azd_token, send_by_urllib)


def _vault(options: argparse.Namespace) -> Vault:
    return Vault(from_environment("LIMA_KEY_VAULT"), _azure(options))


def _fill(options: argparse.Namespace) -> None:
    by_secret = os.environ.get("LIMA_DATAVERSE_AUTH", "") == "secret"
    made = fill(_vault(options), dataverse_by_secret=by_secret, ask=ask_person)
    print(f"Stored in the vault: {', '.join(made)}." if made else "The vault has every secret already; nothing was changed.")
    if made:
        refresh_references(_azure(options), from_environment("LIMA_APP_ID"))
    print(f"Register this address in the LinkedIn app: {from_environment('LIMA_REDIRECT_URL')}")


def _rotate(options: argparse.Namespace) -> None:
    print(rotate(_vault(options), options.name, ask=ask_person))
    refresh_references(_azure(options), from_environment("LIMA_APP_ID"))


def _retire(options: argparse.Namespace) -> None:
    retire(_vault(options))
    refresh_references(_azure(options), from_environment("LIMA_APP_ID"))
    print("Only the present webhook secret is accepted now.")


def _show(options: argparse.Namespace) -> None:
    print(_vault(options).get(options.name))


def _verify(options: argparse.Namespace) -> None:
    expected = expected_functions()
    url = from_environment("LIMA_APP_URL")
    verify(_azure(options), from_environment("LIMA_APP_ID"), url, expected)
    print(f"{len(expected)} functions are deployed, and {url}/api/health answers 200.")


if __name__ == "__main__":
    sys.exit(main())
