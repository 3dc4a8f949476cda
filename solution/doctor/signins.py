"""The stored LinkedIn sign-ins: whether each still works, for how long, and what it opens. No token is ever told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import requests

from shared.domain.signins import EXPIRES_SOON, SCOPES, SignIn
from shared.errors import NeedsAttention, SignInNeeded
from shared.http import HttpClient
from shared.linkedin.client import LinkedInClient
from shared.linkedin.oauth import LinkedInOAuth
from shared.settings import Settings
from shared.storage.signins import TableSignIns
from solution.check import Finding

_EVERYBODY = timedelta(days=10_000)
_AGAIN = "The person signs in again on the tab."


def look(settings: Settings, sign_ins: TableSignIns, session: Callable[[], requests.Session], now: datetime) -> Iterator[Finding]:
    """Look at every stored sign-in, and ask LinkedIn about those that have not ended."""
    users = sign_ins.expiring_before(now + _EVERYBODY)
    if not users:
        yield Finding("note", "sign-ins", "Nobody is signed in to LinkedIn yet.")
        return
    asked = _Asked.made(settings, session)
    for user_id in users:
        yield _Patient(f"sign-in of user {user_id}", asked, now).judge(sign_ins, user_id)


@dataclass(frozen=True)
class _Asked:
    """Who is asked at LinkedIn."""

    oauth: LinkedInOAuth
    api: LinkedInClient

    @classmethod
    def made(cls, settings: Settings, session: Callable[[], requests.Session]) -> "_Asked":
        oauth = HttpClient(settings.linkedin_oauth_url, name="LinkedIn's sign-in", session=session())
        api = HttpClient(settings.linkedin_api_url, name="LinkedIn", session=session())
        return cls(
            LinkedInOAuth(oauth, client_id=settings.linkedin_client_id, client_secret=settings.linkedin_client_secret),
            LinkedInClient(
                api,
                version=settings.linkedin_version,
                source_platform=settings.linkedin_source_platform,
                calls_per_minute=settings.linkedin_calls_per_minute,
            ),
        )


@dataclass(frozen=True)
class _Patient:
    """One sign-in under examination."""

    piece: str
    asked: _Asked
    now: datetime

    def judge(self, sign_ins: TableSignIns, user_id: str) -> Finding:
        try:
            sign_in = sign_ins.look_at(user_id)
        except SignInNeeded as error:
            return self._wrong(str(error))
        if sign_in is None:
            return Finding("note", self.piece, "It was deleted just now.")
        if sign_in.usable_until() <= self.now:
            return self._wrong("It has ended.")
        if sign_in.has_expired(self.now):
            return self._lasting(sign_in, "its access token is renewed by the next job")
        return self._active(sign_in)

    def _active(self, sign_in: SignIn) -> Finding:
        facts = self.asked.oauth.introspect(sign_in.access_token)
        if not facts.active:
            return self._wrong(f"LinkedIn calls the token {facts.status or 'not active'}.")
        if missing := [scope for scope in SCOPES if scope not in facts.scopes]:
            fix = "Request the product that grants it in LinkedIn's Developer Portal; then the person signs in again."
            return self._wrong(f"LinkedIn did not grant {', '.join(missing)}.", fix)
        return self._opens(sign_in)

    def _opens(self, sign_in: SignIn) -> Finding:
        """Ask for the person's ad accounts: the first call that jobs make, with the version that jobs use."""
        try:
            accounts = self.asked.api.ad_accounts(sign_in.access_token)
        except NeedsAttention as error:
            return self._wrong(str(error))
        usable = sum(account.is_usable for account in accounts)
        if not usable:
            fix = "On the Development tier, map ad accounts to the app; else ask the ad account's owner for a role above Viewer."
            return Finding("note", self.piece, f"It opens {len(accounts)} ad accounts, none of which takes audiences.", fix)
        return self._lasting(sign_in, f"it opens {usable} ad accounts for audiences")

    def _lasting(self, sign_in: SignIn, besides: str) -> Finding:
        days = sign_in.days_left(self.now)
        if sign_in.usable_until() - self.now <= EXPIRES_SOON:
            return Finding("note", self.piece, f"It ends in {days} days; {besides}.", _AGAIN)
        return Finding("fine", self.piece, f"It lasts {days} days; {besides}.")

    def _wrong(self, says: str, fix: str = _AGAIN) -> Finding:
        return Finding("wrong", self.piece, says, fix)
