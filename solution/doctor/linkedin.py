"""LinkedIn: the app and its secret, how long the API version lives, and the sign-ins that are stored."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta

import requests

from shared.domain.signins import EXPIRES_SOON, SCOPES, SignIn
from shared.errors import AudienceSyncError, SignInNeeded
from shared.http import HttpClient
from shared.linkedin.oauth import LinkedInOAuth
from shared.settings import Settings
from shared.storage.connection import Connection
from shared.storage.signins import TableSignIns
from solution.check import Finding

WARN_BEFORE = timedelta(days=60)
_EVERYBODY = timedelta(days=10_000)
# LinkedIn's page "Migrations"; later versions are taken to end in the middle of the same month a year on.
_SUNSETS = {"202603": date(2027, 3, 16)}


def sunset(version: str) -> date:
    """Return the day on which LinkedIn is expected to switch a version off.

    >>> sunset("202608")
    datetime.date(2027, 8, 15)
    """
    return _SUNSETS.get(version) or date(int(version[:4]) + 1, int(version[4:]), 15)


def look(settings: Settings, env: Mapping[str, str], session: requests.Session, now: datetime) -> Iterator[Finding]:
    """Ask LinkedIn about the app, and about the tokens that are stored."""
    yield _version(settings.linkedin_version, now.date())
    http = HttpClient(settings.linkedin_oauth_url, name="LinkedIn's sign-in", session=session)
    oauth = LinkedInOAuth(http, client_id=settings.linkedin_client_id, client_secret=settings.linkedin_client_secret)
    yield _app(oauth)
    sign_ins = TableSignIns(Connection.from_env(env), settings.signin_keys)
    users = sign_ins.expiring_before(now + _EVERYBODY)
    if not users:
        yield Finding("note", "sign-ins", "Nobody is signed in to LinkedIn yet.")
    for user_id in users:
        yield _sign_in(oauth, sign_ins, user_id, now)


def _version(version: str, today: date) -> Finding:
    end = sunset(version)
    fix = "Raise LINKEDIN_VERSION to a version that LinkedIn supports, as docs/upgrade.md says."
    if end <= today:
        return Finding("wrong", "LinkedIn version", f"Version {version} ended on {end:%d %B %Y}.", fix)
    if end - today <= WARN_BEFORE:
        return Finding("note", "LinkedIn version", f"Version {version} ends on {end:%d %B %Y}.", fix)
    return Finding("fine", "LinkedIn version", f"Version {version} lives until about {end:%d %B %Y}.")


def _app(oauth: LinkedInOAuth) -> Finding:
    """LinkedIn looks at the app's id and secret before it looks at the token, so an invented token tells."""
    try:
        oauth.introspect("an invented token")
    except AudienceSyncError as error:
        return Finding(
            "wrong", "LinkedIn app", str(error), "Compare LINKEDIN_CLIENT_ID and LINKEDIN_CLIENT_SECRET with the portal."
        )
    return Finding("fine", "LinkedIn app", "LinkedIn knows the app and its secret.")


def _sign_in(oauth: LinkedInOAuth, sign_ins: TableSignIns, user_id: str, now: datetime) -> Finding:
    piece = f"sign-in of user {user_id}"
    try:
        sign_in = sign_ins.load(user_id)
    except SignInNeeded as error:
        return Finding("wrong", piece, str(error), "The person signs in again on the tab.")
    if sign_in is None:
        return Finding("note", piece, "It was deleted just now.")
    if sign_in.usable_until() <= now:
        return Finding("wrong", piece, "It has ended.", "The person signs in again on the tab.")
    return _granted(oauth, sign_in, piece, now)


def _granted(oauth: LinkedInOAuth, sign_in: SignIn, piece: str, now: datetime) -> Finding:
    if not sign_in.has_expired(now):
        facts = oauth.introspect(sign_in.access_token)
        if not facts.active:
            return Finding("wrong", piece, f"LinkedIn calls the token {facts.status}.", "The person signs in again on the tab.")
        if missing := [scope for scope in SCOPES if scope not in facts.scopes]:
            fix = "Request the product that grants it in LinkedIn's Developer Portal; then the person signs in again."
            return Finding("wrong", piece, f"LinkedIn did not grant {', '.join(missing)}.", fix)
    if sign_in.usable_until() - now <= EXPIRES_SOON:
        return Finding("note", piece, f"It ends in {sign_in.days_left(now)} days.", "The person signs in again on the tab.")
    return Finding("fine", piece, f"It lasts {sign_in.days_left(now)} days and grants what is needed.")
