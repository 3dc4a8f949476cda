"""What a customer's people do before the first job, done with the product's own code: install it, sign in to LinkedIn.

This is the one module of the sandbox, with `memory.py`, that knows the product from inside.
"""

import base64
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import requests

from sandbox.tokens import issue
from shared.dataverse.schema import SOLUTION
from shared.domain.signins import SignIn
from shared.http import HttpClient
from shared.storage.connection import Connection
from shared.storage.signins import TableSignIns
from solution import VERSION
from solution.definitions import MARKETER
from solution.install import install
from solution.web import DataverseWeb

if TYPE_CHECKING:
    from sandbox.world import World

ADMINISTRATOR = "00000000-0000-0000-0000-0000000000ad"
WORKER = "00000000-0000-0000-0000-0000000000aa"
WEBHOOK_PATH = "/api/dataverse/events"


def install_solution(world: "World") -> None:
    """Install everything into the world's Dataverse as an administrator does, and let the marketers use it."""
    tab = world.tab_folder
    install(
        administrator_web(world),
        webhook_url=world.app_url + WEBHOOK_PATH,
        webhook_secret=world.webhook_secret,
        app_user=WORKER,
        tab_folder=tab if tab.is_dir() else None,
    )
    give_marketer_role(world)


def as_administrator(world: "World") -> dict[str, str]:
    """Return the variables with which the installer's commands reach this world as its administrator."""
    bundle = str(world.certificates.authority)
    return {
        "DATAVERSE_URL": world.dataverse.url,
        "DATAVERSE_AUTHORITY": world.entra.url,
        "DATAVERSE_TENANT_ID": world.settings()["DATAVERSE_TENANT_ID"],
        "DATAVERSE_CLIENT_ID": ADMINISTRATOR,
        "DATAVERSE_CLIENT_SECRET": "sandbox-admin-secret",
        "WORKER_CLIENT_ID": WORKER,
        "PUBLIC_URL": world.app_url,
        "WEBHOOK_SECRET": world.webhook_secret,
        "REQUESTS_CA_BUNDLE": bundle,
        "CURL_CA_BUNDLE": bundle,
    }


def administrator_web(world: "World") -> DataverseWeb:
    """Return the installer's way into the world's Dataverse, signed in as its administrator."""
    session = requests.Session()
    session.trust_env = False
    session.verify = str(world.certificates.authority)
    token = issue(appid=ADMINISTRATOR, audience=world.dataverse.url, now=time.time())
    http = HttpClient(world.dataverse.url, name="Dataverse", session=session)
    return DataverseWeb(http, lambda: {"Authorization": f"Bearer {token}"})


def is_installed(world: "World") -> bool:
    """Tell whether an install has ended: the solution's version is raised last."""
    return any(
        row["uniquename"] == SOLUTION and row["version"] == VERSION for row in world.dataverse.do("table", name="solution")
    )


def give_marketer_role(world: "World") -> None:
    """Let the environment's marketers use the product, as an administrator does after installing it."""
    name = MARKETER.name
    users = world.dataverse.do("users")
    administrator = users["administrator"]
    roles = world.dataverse.api("GET", f"roles?$select=roleid&$filter=name eq '{name}'", user=administrator).json()["value"]
    for marketer in users["marketers"]:
        world.dataverse.api(
            "POST",
            f"systemusers({marketer})/systemuserroles_association/$ref",
            {"@odata.id": f"{world.dataverse.url}/api/data/v9.2/roles({roles[0]['roleid']})"},
            user=administrator,
        )


def store_sign_in(world: "World", user_id: str, person: str) -> None:
    """Store LinkedIn tokens for a Dynamics user as the sign-in pages do."""
    granted = world.linkedin.do("grant", person=person)
    now = datetime.now(UTC)
    refresh_seconds = granted.get("refresh_token_expires_in")
    sign_in = SignIn(
        user_id=user_id,
        access_token=granted["access_token"],
        issued=now,
        expires=now + timedelta(seconds=granted["expires_in"]),
        refresh_token=granted.get("refresh_token"),
        refresh_expires=now + timedelta(seconds=refresh_seconds) if refresh_seconds else None,
        scopes=tuple(granted["scope"].replace(",", " ").split()),
    )
    connection = Connection.from_env({"AzureWebJobsStorage": world.azurite.connection_string})
    TableSignIns(connection, (("sandbox", base64.b64decode(world.signin_key)),)).save(sign_in)
