"""The function app from outside: its health, its webhook, its way back from LinkedIn, and the clocks."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from shared.http import HttpClient, Request
from solution.check import Finding

_OK, _BAD_REQUEST, _UNAUTHORIZED = 200, 400, 401
_CLOCKS = timedelta(minutes=2)


def look(app: HttpClient, now: datetime) -> Iterator[Finding]:
    """Ask for the app's health, its sign-in page and its webhook, as strangers would."""
    answer = app.send(Request("GET", "/api/health"))
    if answer.status == _OK:
        yield Finding("fine", "function app", "It is up, and its settings can be used.")
    else:
        yield Finding(
            "wrong",
            "function app",
            f"{app.base_url}/api/health answers {answer.status}.",
            "Look for the log line with the action not-ready; it names what is wrong. 404: nothing is deployed there.",
        )
    yield from _door(app)
    yield from _way_back(app)
    yield from _clock("the function app", answer.headers.get("Date"), now)


def _door(app: HttpClient) -> Iterator[Finding]:
    status = app.send(Request("POST", "/api/dataverse/events", body=b"{}")).status
    if status == _UNAUTHORIZED:
        yield Finding("fine", "webhook", "It is there, and refuses callers without the secret.")
    else:
        yield Finding("wrong", "webhook", f"Without a secret it answers {status}, not 401.", "Deploy the app again.")


def _way_back(app: HttpClient) -> Iterator[Finding]:
    status = app.send(Request("GET", "/api/linkedin/callback")).status
    address = f"{app.base_url}/api/linkedin/callback"
    if status == _BAD_REQUEST:
        yield Finding("fine", "sign-in page", f"{address} is there. It has to be registered at LinkedIn exactly so.")
    else:
        yield Finding("wrong", "sign-in page", f"{address} answers {status}.", "Check PUBLIC_URL, and deploy the app again.")


def compare_clock(dataverse: HttpClient, now: datetime) -> Iterator[Finding]:
    """Compare this machine's clock with Dataverse's."""
    yield from _clock("Dataverse", dataverse.send(Request("GET", "/")).headers.get("Date"), now)


def _clock(whose: str, date: str | None, now: datetime) -> Iterator[Finding]:
    if not date:
        return
    apart = abs(parsedate_to_datetime(date) - now)
    if apart > _CLOCKS:
        fix = "Set this machine's clock; if it is right, ask who runs the other one."
        yield Finding("wrong", "clock", f"This machine and {whose} are {apart.total_seconds():.0f} seconds apart.", fix)
    else:
        yield Finding("fine", "clock", f"This machine and {whose} agree.")
