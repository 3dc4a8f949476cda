"""What the control panel of the LinkedIn simulator can do; the docstring of `sandbox.linkedin` lists it."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sandbox.linkedin.limits import Limits
from sandbox.linkedin.oauth import OAuth
from sandbox.linkedin.seeds import SCOPES, give_many_accounts
from sandbox.linkedin.state import ROLES, Segment, State

_ENDINGS = ("INVALID_ACCESS_TOKEN", "REVOKED_ACCESS_TOKEN", "EXPIRED_ACCESS_TOKEN")
_USUAL_SCOPES = ("r_ads", "rw_ads", "rw_dmp_segments")


class ControlPanel:
    """The actions. Wrong words are a ValueError or AttributeError, so that a mistyped plan does not pass unnoticed."""

    def __init__(self, oauth: OAuth, state: State, limits: Limits, client_id: str) -> None:
        self.oauth = oauth
        self.state = state
        self.limits = limits
        self.client_id = client_id

    def actions(self) -> dict[str, Callable[..., Any]]:
        """Return every action by its name."""
        return {
            "segments": self.segments,
            "members": self.members,
            "member_digest": self.state.member_digest,
            "set_status": self.state.force_status,
            "grant": self.grant,
            "end_tokens": self.end_tokens,
            "register_redirect": self.oauth.register_redirect,
            "app_scopes": self.set_scopes,
            "set_role": self.set_role,
            "many_accounts": self.give_many_accounts,
            "no_accounts": self.take_roles,
            "speed": lambda **words: self.state.set_speeds(words),
            "settings": self.change_settings,
            "quota": self.limits.set_quota,
            "latency": self.set_latency,
        }

    def segments(self) -> list[dict[str, Any]]:
        """Return all segments with their counts; this is not a look that makes time pass."""
        with self.state.lock:
            return [self._counts(segment) for segment in self.state.segments.values()]

    def members(self, segment_id: int | str) -> list[str]:
        """Return the members of a segment as sorted hex texts."""
        with self.state.lock:
            members = list(self.state.segments[int(segment_id)].members)
        return sorted(member.hex() for member in members)

    def grant(self, person: str, scopes: list[str] | None = None, client_id: str | None = None) -> dict[str, Any]:
        """Return fresh tokens of a person, as the token address would give them."""
        with self.state.lock:
            if person not in self.state.people:
                raise ValueError(f"The LinkedIn simulator knows no person {person!r}.")
            return self.oauth.grant(person, client_id or self.client_id, scopes or _USUAL_SCOPES)

    def end_tokens(self, person: str, code: str = "REVOKED_ACCESS_TOKEN", *, refresh_too: bool | None = None) -> int:
        """End a person's tokens and return how many; refresh tokens outlive an expiry unless `refresh_too` says otherwise."""
        if code not in _ENDINGS:
            raise ValueError(f"{code!r} is no way for a token to end.")
        with self.state.lock:
            return self.oauth.end(
                person, code, refresh_too=code != "EXPIRED_ACCESS_TOKEN" if refresh_too is None else refresh_too
            )

    def set_scopes(self, scopes: list[str] | None = None, client_id: str | None = None) -> None:
        """Set the scopes that the app's products give; None gives the usual ones back."""
        self.oauth.apps[client_id or self.client_id].scopes = list(SCOPES if scopes is None else scopes)

    def set_role(self, person: str, account: int, role: str | None) -> None:
        """Set a person's role in an ad account (by number); None takes it away."""
        if role is not None and role not in ROLES:
            raise ValueError(f"{role!r} is no role in an ad account.")
        if account not in self.state.accounts:
            raise ValueError(f"The LinkedIn simulator knows no ad account {account!r}.")
        with self.state.lock:
            self.state.roles.pop((person, account), None)
            if role is not None:
                self.state.roles[person, account] = role

    def give_many_accounts(self, person: str, count: int) -> None:
        """Give a person this many further ad accounts."""
        with self.state.lock:
            give_many_accounts(self.state, person, count)

    def take_roles(self, person: str) -> None:
        """Take all of a person's roles away."""
        with self.state.lock:
            self.state.roles = {key: role for key, role in self.state.roles.items() if key[0] != person}

    def set_latency(self, seconds: float) -> None:
        """Let each answer wait."""
        self.state.change({"latency": seconds})

    def change_settings(self, **changes: Any) -> dict[str, Any]:
        """Change settings and return all of them."""
        if "users_per_minute" in changes:
            self.limits.users_per_minute = changes.pop("users_per_minute")
        signing_in = {name: changes.pop(name) for name in list(changes) if name in asdict(self.oauth.settings)}
        limits = {"users_per_minute": self.limits.users_per_minute}
        return self.state.change(changes) | self.oauth.change(signing_in) | limits

    def _counts(self, segment: Segment) -> dict[str, Any]:
        return {
            "id": segment.id,
            "name": segment.name,
            "account": segment.account,
            "type": segment.type,
            "sourcePlatform": segment.source_platform,
            "sourceSegmentId": segment.source_segment_id,
            "status": self.state.status(segment, look=False),
            "members": len(segment.members),
            "inputCount": self.state.input_count(segment),
            "matchedCount": self.state.matched_count(segment),
            "audienceSize": self.state.audience_size(segment),
            "destinationSegmentId": f"urn:li:adSegment:{segment.ad_segment}",
        }
