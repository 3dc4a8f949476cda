"""Dataverse as the app sees it: whether the app may sign in, and whether it takes the environment for its own.

What its roles allow is looked at by `solution.check`.
"""

from collections.abc import Iterator

import requests

from shared.dataverse import protocol
from shared.dataverse.auth import token_source
from shared.http import HttpClient
from shared.settings import Settings
from solution.check import Finding
from solution.web import Web

PIECE = "Dataverse sign-in of the app"


def look(settings: Settings, environment: HttpClient, web: Web, session: requests.Session) -> Iterator[Finding]:
    """Compare the environment's id with the setting, then sign in as the app where that is possible from here."""
    yield from _organization(settings.dataverse_organization_id, web)
    if settings.dataverse_auth == "managed-identity":
        says = "Only the app itself can use its managed identity; whether it may sign in shows by the test row."
        yield Finding("note", PIECE, says)
        return
    token = token_source(settings, session=session).token()
    fault = protocol.fault(environment.send(protocol.request("GET", "WhoAmI", headers={"Authorization": f"Bearer {token}"})))
    if fault is None:
        yield Finding("fine", PIECE, "It works.")
    else:
        fix = "Run `python -m solution install --app-user CLIENT_ID`, and check DATAVERSE_URL."
        yield Finding("wrong", PIECE, f"Entra lets the app sign in, and Dataverse does not ({fault.details()}).", fix)


def _organization(wanted: str, web: Web) -> Iterator[Finding]:
    """Tell whether events of this environment are taken: those of another one are passed over (`pipeline.door`)."""
    if not wanted:
        return
    really = str(web.get("WhoAmI").get("OrganizationId", ""))
    if protocol.as_guid(wanted) == protocol.as_guid(really):
        yield Finding("fine", "DATAVERSE_ORGANIZATION_ID", "It is the id of this environment.")
    else:
        fix = f"Set it to {really}, or to nothing."
        says = "It is not the id of this environment, so the app passes over every event."
        yield Finding("wrong", "DATAVERSE_ORGANIZATION_ID", says, fix)
