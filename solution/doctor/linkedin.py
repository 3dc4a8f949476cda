"""LinkedIn's side of the developer app: its secret, its products, its way back, and how long the API version lives."""

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from shared.domain.signins import SCOPES
from shared.errors import ConfigurationWrong, SignInNeeded
from shared.http import HttpClient, Request
from shared.linkedin.oauth import LinkedInOAuth, explain_refusal
from shared.settings import Settings
from solution.check import Finding

WARN_BEFORE = timedelta(days=60)
# Microsoft Learn, "LinkedIn Marketing API migrations": most end on the 15th of the same month a year on, these a little later.
# Versions that are not listed there yet are taken to end on the 15th too.
_SUNSETS = {"202511": date(2026, 11, 16), "202603": date(2027, 3, 16)}
_VERSION = re.compile(r"20\d\d(0[1-9]|1[0-2])")
_NEVER_PUBLISHED = {"202512"}
_REFUSED = 400
_WAY_BACK = "way back from LinkedIn"


def sunset(version: str) -> date:
    """Return the day on which LinkedIn is expected to switch a version off.

    >>> sunset("202608")
    datetime.date(2027, 8, 15)
    """
    return _SUNSETS.get(version) or date(int(version[:4]) + 1, int(version[4:]), 15)


def look(settings: Settings, http: HttpClient, now: datetime) -> Iterator[Finding]:
    """Ask LinkedIn about the app, through `http`, as somebody would whom it sends there to sign in."""
    yield judge_version(settings.linkedin_version, now.date())
    oauth = LinkedInOAuth(http, client_id=settings.linkedin_client_id, client_secret=settings.linkedin_client_secret)
    yield _app(oauth)
    yield _sent_there(http, oauth, settings.redirect_uri)


def judge_version(version: str, today: date) -> Finding:
    """Tell how long an API version lives; a warning comes two months before its end."""
    piece, fix = "LinkedIn version", "Raise LINKEDIN_VERSION to a version that LinkedIn supports, as docs/upgrade.md says."
    if not _VERSION.fullmatch(version) or version in _NEVER_PUBLISHED or version > f"{today:%Y%m}":
        return Finding("wrong", piece, f"There is no version {version}.", fix)
    end = sunset(version)
    if end <= today:
        return Finding("wrong", piece, f"Version {version} ended about {end:%d %B %Y}.", fix)
    if end - today <= WARN_BEFORE:
        return Finding("note", piece, f"Version {version} ends about {end:%d %B %Y}.", fix)
    return Finding("fine", piece, f"Version {version} lives until about {end:%d %B %Y}.")


def _app(oauth: LinkedInOAuth) -> Finding:
    """Ask about an invented token: LinkedIn looks at the app's id and secret before it looks at the token."""
    piece, fix = "LinkedIn app", "Compare LINKEDIN_CLIENT_ID and LINKEDIN_CLIENT_SECRET with LinkedIn's Developer Portal."
    try:
        oauth.introspect("invented")
    except ConfigurationWrong as error:
        return Finding("wrong", piece, str(error), fix)
    except SignInNeeded as error:
        return Finding("note", piece, f"LinkedIn answered in a way that does not tell. {error}", fix)
    return Finding("fine", piece, "LinkedIn knows the app and its secret.")


def _sent_there(http: HttpClient, oauth: LinkedInOAuth, redirect_uri: str) -> Finding:
    """Open LinkedIn's sign-in page for all scopes, and say what comes.

    LinkedIn does not document what it tells somebody who has not signed in yet. Being sent back with an error is its own
    word; an answer that refuses is only worth a note, because it may be meant for the program that asks.
    """
    answer = http.send(Request("GET", oauth.authorization_url("doctor", redirect_uri)))
    location = answer.headers.get("Location", "")
    if location.startswith(f"{redirect_uri}?"):
        error = parse_qs(urlsplit(location).query).get("error", [""])[0]
        fix = "Request the products in LinkedIn's Developer Portal, as docs/setup.md says; approval can take days."
        return Finding("wrong", "LinkedIn app's products", explain_refusal(error), fix)
    if answer.status >= _REFUSED:
        fix = f"Look in LinkedIn's Developer Portal, page Auth, whether {redirect_uri} is registered exactly so."
        return Finding("note", _WAY_BACK, f"LinkedIn answered {answer.status} instead of its sign-in page.", fix)
    says = f"LinkedIn shows its sign-in page for {', '.join(SCOPES)} and does not object to {redirect_uri}."
    return Finding("fine", _WAY_BACK, says)
