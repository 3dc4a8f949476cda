"""The function app from outside: its health, its webhook, its way back from LinkedIn, and the clocks."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from shared.dataverse.schema import WEBHOOK_HEADER
from shared.errors import AudienceSyncError
from shared.http import Answer, HttpClient, Request
from solution.check import Finding

PIECE = "function app"
_OK, _BAD_REQUEST, _UNAUTHORIZED, _NOT_FOUND = 200, 400, 401, 404
_CLOCKS = timedelta(minutes=2)
_EVENTS, _CALLBACK = "/api/dataverse/events", "/api/linkedin/callback"


def look(app: HttpClient, webhook_secret: str, now: Callable[[], datetime]) -> Iterator[Finding]:
    """Ask for the app's health, its sign-in page and its webhook; nothing that it would take up is sent."""
    try:
        answer = app.send(Request("GET", "/api/health"))
        yield _health(app, answer)
        if answer.status != _NOT_FOUND:
            yield _door(app)
            yield _secret(app, webhook_secret)
            yield _way_back(app)
        yield from _clock("the function app", answer.headers.get("Date"), now())
    except AudienceSyncError:
        fix = "Check PUBLIC_URL, and look in Azure whether the function app runs."
        yield Finding("wrong", PIECE, f"{app.base_url} does not answer.", fix)


def _health(app: HttpClient, answer: Answer) -> Finding:
    if answer.status == _OK and _says_ok(answer):
        return Finding("fine", PIECE, "It is up, and its settings can be used.")
    says = f"{app.base_url}/api/health answers {answer.status}" + (", but not as the app does." if answer.status == _OK else ".")
    if answer.status in (_OK, _NOT_FOUND):
        return Finding("wrong", PIECE, says, "The app is not deployed there. Check PUBLIC_URL, and deploy it.")
    return Finding("wrong", PIECE, says, "Look for the app's log line with the action not-ready; it names what is wrong.")


def _says_ok(answer: Answer) -> bool:
    try:
        return bool(json.loads(answer.body) == {"status": "ok"})
    except ValueError:
        return False


def _door(app: HttpClient) -> Finding:
    status = app.send(Request("POST", _EVENTS, body=b"{}")).status
    if status == _UNAUTHORIZED:
        return Finding("fine", "webhook", "It is there, and refuses callers without the secret.")
    return Finding("wrong", "webhook", f"Without a secret it answers {status}, not 401.", "Deploy the app again.")


def _secret(app: HttpClient, secret: str) -> Finding:
    """Knock with the secret and an event that is none: 400 says that the secret was taken, and nothing comes of it."""
    piece = "webhook secret"
    status = app.send(Request("POST", _EVENTS, {WEBHOOK_HEADER: secret}, b"no event")).status
    if status == _BAD_REQUEST:
        return Finding("fine", piece, "The app takes the one in these settings.")
    if status == _UNAUTHORIZED:
        fix = "Compare WEBHOOK_SECRET here with the app's; whichever is right, install with it once more."
        return Finding("wrong", piece, "The app has another one than these settings.", fix)
    return Finding("wrong", piece, f"With the secret, the app answers {status}.", "Look at the app's log.")


def _way_back(app: HttpClient) -> Finding:
    status = app.send(Request("GET", _CALLBACK)).status
    address = app.base_url + _CALLBACK
    if status == _BAD_REQUEST:
        return Finding("fine", "sign-in page", f"{address} is there.")
    return Finding("wrong", "sign-in page", f"{address} answers {status}.", "Check PUBLIC_URL, and deploy the app again.")


def compare_clock(dataverse: HttpClient, now: Callable[[], datetime]) -> Iterator[Finding]:
    """Compare this machine's clock with Dataverse's."""
    date = dataverse.send(Request("GET", "/")).headers.get("Date")
    yield from _clock("Dataverse", date, now())


def _clock(whose: str, date: str | None, now: datetime) -> Iterator[Finding]:
    """Compare clocks to a few seconds; nothing comes when the other one tells no time."""
    try:
        apart = abs(parsedate_to_datetime(date or "") - now)
    except (TypeError, ValueError):
        return
    if apart > _CLOCKS:
        fix = "Set this machine's clock; if it is right, ask who runs the other one."
        yield Finding("wrong", "clock", f"This machine and {whose} are {apart.total_seconds():.0f} seconds apart.", fix)
    else:
        yield Finding("fine", "clock", f"This machine and {whose} agree.")
