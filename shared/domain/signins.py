"""Sign-ins: one Dynamics user's LinkedIn authorisation, its age, and the ad accounts it opens."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

EXPIRES_SOON = timedelta(days=10)
WRITE_ROLES = frozenset({"ACCOUNT_BILLING_ADMIN", "ACCOUNT_MANAGER", "CAMPAIGN_MANAGER", "CREATIVE_MANAGER"})
SCOPES = ("r_ads", "rw_ads", "rw_dmp_segments")


@dataclass(frozen=True)
class SignIn:
    """A LinkedIn authorisation. Times are aware and in UTC; tokens never show in a repr.

    `refresh_token` and `refresh_expires` are None when LinkedIn grants this app no refresh tokens.
    """

    user_id: str
    access_token: str = field(repr=False)
    issued: datetime
    expires: datetime
    refresh_token: str | None = field(default=None, repr=False)
    refresh_expires: datetime | None = None
    scopes: tuple[str, ...] = SCOPES

    def usable_until(self) -> datetime:
        """Return when a person has to sign in again: the later of both tokens' ends."""
        return max(self.expires, self.refresh_expires or self.expires)

    def has_expired(self, now: datetime) -> bool:
        """Tell whether the access token is (about to be) refused; a minute early, for clocks that differ."""
        return now >= self.expires - timedelta(minutes=1)

    def can_refresh(self, now: datetime) -> bool:
        """Tell whether a new access token can be had without a person."""
        return self.refresh_token is not None and (self.refresh_expires is None or now < self.refresh_expires)

    def days_left(self, now: datetime) -> int:
        """Return whole days until a person has to sign in again; negative once that has passed."""
        return (self.usable_until() - now).days

    def missing_scopes(self) -> tuple[str, ...]:
        """Return what LinkedIn did not grant of what the product needs."""
        return tuple(scope for scope in SCOPES if scope not in self.scopes)


@dataclass(frozen=True)
class AdAccount:
    """An ad account that a signed-in person can reach; `role` is None when LinkedIn names none."""

    urn: str
    name: str
    currency: str
    status: str
    role: str | None
    test: bool = False

    @property
    def is_usable(self) -> bool:
        """Tell whether audiences can be written with this account: active, and any role but VIEWER."""
        return self.status == "ACTIVE" and self.role in WRITE_ROLES
