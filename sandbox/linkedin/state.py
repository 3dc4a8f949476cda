"""What the LinkedIn simulator remembers about ad accounts, roles and segments, and LinkedIn's rules about them."""

import hashlib
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.linkedin import errors
from sandbox.linkedin.members import Batch, Change
from sandbox.linkedin.waiting import AT_ONCE, Speed, Wait
from sandbox.web import Clock

ROLES = ("VIEWER", "CREATIVE_MANAGER", "CAMPAIGN_MANAGER", "ACCOUNT_MANAGER", "ACCOUNT_BILLING_ADMIN")
STATUSES = ("BUILDING", "UPDATING", "READY", "ARCHIVED", "EXPIRED", "FAILED", "ERROR")
_CLOSED_TO_MEMBERS = ("EXPIRED", "FAILED", "ERROR")
_TYPES = ("USER", "COMPANY", "USER_LIST_UPLOAD", "COMPANY_LIST_UPLOAD")
_CREATE_FIELDS = ("name", "type", "account", "destinations", "sourcePlatform", "sourceSegmentId", "description", "accessPolicy")
_REQUIRED = ("name", "type", "account", "destinations", "sourcePlatform")
_CHANGEABLE = ("name", "description", "sourceSegmentId")
_ACCOUNT = re.compile(r"urn:li:sponsoredAccount:(\d+)")
_WEEK = 7 * 86400
_ARCHIVED_AFTER = 30 * 86400
_EXPIRED_AFTER = 90 * 86400
_UNKNOWN_FIELD = "unrecognized field found but not allowed"
_MISSING_FIELD = "field is required but not found and has no default value"


@dataclass
class Settings:
    """What the control panel can change about LinkedIn.

    `match_share`: matched members per member. `opted_out_share`: matched members that `audienceSize` leaves out.
    `least_for_ready`: smallest audience that becomes READY. `segment_limit`: segments per ad account.
    `most_elements`: elements per batch. `longest_name`: of a segment. `source_platforms`: those the app may write.
    `created_id_header`: older gateways answer with `x-linkedin-id`. `versions_end`: whether old versions stop answering.
    `latency`: seconds that each answer waits.
    """

    match_share: float = 0.6
    opted_out_share: float = 0.02
    least_for_ready: int = 1
    segment_limit: int = 1000
    most_elements: int = 5000
    longest_name: int = 255
    source_platforms: list[str] = field(default_factory=lambda: ["DIRECT_API", "AGENCY_API", "PARTNER_API", "LIST_UPLOAD"])
    created_id_header: str = "x-restli-id"
    versions_end: bool = True
    latency: float = 0.0


@dataclass
class Speeds:
    """How long things take.

    `spread`: until a new segment is found by its id. `find`: until the finder shows it. `build`: from the first members to
    READY. `update`: from later changes to READY again.
    """

    spread: Speed = AT_ONCE
    find: Speed = AT_ONCE
    build: Speed = AT_ONCE
    update: Speed = AT_ONCE


@dataclass(frozen=True)
class Person:
    """A member of LinkedIn; `id` is the last part of the URN, and the person's name on the control panel."""

    id: str
    first_name: str
    last_name: str

    @property
    def urn(self) -> str:
        """Return the person's URN."""
        return f"urn:li:person:{self.id}"


@dataclass(frozen=True)
class AdAccount:
    """An ad account."""

    id: int
    name: str
    status: str = "ACTIVE"
    type: str = "BUSINESS"
    currency: str = "EUR"
    test: bool = False
    organization: int = 1035

    @property
    def urn(self) -> str:
        """Return the account's URN."""
        return f"urn:li:sponsoredAccount:{self.id}"


@dataclass
class Segment:
    """A DMP segment and the digests of its members."""

    id: int
    account: str
    name: str
    type: str
    source_platform: str
    source_segment_id: str | None
    description: str | None
    destinations: list[str]
    created: float
    modified: float
    spread: Wait
    find: Wait
    members: set[bytes] = field(default_factory=set)
    inputs: list[tuple[float, int]] = field(default_factory=list)
    progress: Wait | None = None
    built: bool = False
    forced: str | None = None

    @property
    def ad_segment(self) -> int:
        """Return the number of the ad segment that campaigns target."""
        return 8_000_000 + self.id

    @property
    def source(self) -> tuple[str, str, str | None]:
        """Return what a caller knows a segment by."""
        return self.account, self.source_platform, self.source_segment_id


class State:
    """Accounts, roles, segments, speeds. Methods that take a person refuse as LinkedIn would."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.settings = Settings()
        self.speeds = Speeds()
        self.people: dict[str, Person] = {}
        self.accounts: dict[int, AdAccount] = {}
        self.roles: dict[tuple[str, int], str] = {}
        self.segments: dict[int, Segment] = {}
        self._next_segment = 9_821_736

    # Accounts and roles

    def reachable(self, person: str) -> Iterator[tuple[AdAccount, str]]:
        """Yield the ad accounts a person has a role in, with the role, in the order of their numbers."""
        for (who, number), role in sorted(self.roles.items(), key=lambda item: item[0][1]):
            if who == person and number in self.accounts:
                yield self.accounts[number], role

    def role(self, person: str, account: str) -> str | None:
        """Return a person's role in an ad account (by URN), or None."""
        found = _ACCOUNT.fullmatch(account)
        return self.roles.get((person, int(found[1]))) if found else None

    def check_writer(self, person: str, account: str, resource: str) -> None:
        """Refuse a person who may not write audiences of the ad account: any role will do except VIEWER."""
        if self.role(person, account) in (None, "VIEWER"):
            raise errors.not_allowed(resource)

    def check_reader(self, person: str, account: str, resource: str) -> None:
        """Refuse a person without any role in the ad account."""
        if self.role(person, account) is None:
            raise errors.not_allowed(resource)

    # Segments

    def create(self, person: str, wanted: Mapping[str, Any], resource: str, spread: Speed | None = None) -> Segment:
        """Create a segment. It is not idempotent: the same call twice makes two."""
        self._check_body(wanted)
        self.check_writer(person, wanted["account"], resource)
        if sum(segment.account == wanted["account"] for segment in self.segments.values()) >= self.settings.segment_limit:
            raise errors.segment_limit(wanted["account"])
        now = self.clock.time()
        segment = Segment(
            id=self._next_segment,
            account=wanted["account"],
            name=wanted["name"],
            type=wanted["type"],
            source_platform=wanted["sourcePlatform"],
            source_segment_id=wanted.get("sourceSegmentId"),
            description=wanted.get("description"),
            destinations=["LINKEDIN"],
            created=now,
            modified=now,
            spread=Wait(spread or self.speeds.spread, now),
            find=Wait(self.speeds.find, now),
        )
        self._next_segment += 1
        self.segments[segment.id] = segment
        return segment

    def settled(self, segment_id: str) -> Segment:
        """Return a segment by its id; one that is gone or has not spread yet is a 404."""
        segment = self.segments.get(int(segment_id))
        if segment is None or not segment.spread.is_over(self.clock.time()):
            raise errors.no_segment(segment_id)
        return segment

    def of_account(self, account: str, platform: str | None, source: str | None) -> list[Segment]:
        """Return what the finder shows: a new segment may be missing for a while."""
        return [
            segment
            for segment in self.segments.values()
            if segment.account == account
            and platform in (None, segment.source_platform)
            and source in (None, segment.source_segment_id)
            and segment.find.is_over(self.clock.time())
        ]

    def update(self, segment: Segment, changes: Mapping[str, Any]) -> None:
        """Change name, description or sourceSegmentId; everything else is fixed."""
        for name, value in changes.items():
            if name not in _CHANGEABLE:
                raise errors.bad_field(name, "field is read only" if name in _CREATE_FIELDS else _UNKNOWN_FIELD)
            self._check_text(name, value)
        segment.name = changes.get("name", segment.name)
        segment.description = changes.get("description", segment.description)
        segment.source_segment_id = changes.get("sourceSegmentId", segment.source_segment_id)
        segment.modified = self.clock.time()

    def delete(self, segment: Segment) -> None:
        """Delete a segment with everything in it."""
        del self.segments[segment.id]

    # Members

    def check_open(self, segment: Segment) -> None:
        """Refuse members for a segment that takes none."""
        status = self.status(segment, look=False)
        if status in _CLOSED_TO_MEMBERS:
            raise errors.bad_request(f"DMP segment {segment.id} is {status} and takes no members", "INVALID_SEGMENT_STATUS")
        if segment.type != "USER":
            raise errors.bad_request(f"DMP segment {segment.id} is of type {segment.type}", "INVALID_SEGMENT_TYPE")

    def apply(self, segment: Segment, batch: Batch, failed: Collection[int] = ()) -> None:
        """Apply the good elements of a batch, leaving out the positions in `failed`. Members are a set: once is enough."""
        before = len(segment.members)
        if batch.changes is not None or failed:
            _apply_in_order(segment.members, batch, failed)
        elif batch.uniform == "REMOVE":
            segment.members.difference_update(batch.digests)
        else:
            segment.members.update(batch.digests)
        if len(batch):
            self._changed(segment, max(len(segment.members) - before, 0))

    def apply_one(self, segment: Segment, change: Change) -> None:
        """Apply a single element."""
        self.apply(segment, Batch([change], [], None))

    # What readers see

    def status(self, segment: Segment, *, look: bool = True) -> str:
        """Return the segment's status now; a `look` is counted by speeds that need looks."""
        if segment.forced:
            return segment.forced
        now = self.clock.time()
        big_enough = self.audience_size(segment) >= self.settings.least_for_ready
        if segment.progress and big_enough and segment.progress.is_over(now, look=look):
            segment.built, segment.progress = True, None
        if segment.progress or not segment.built or not big_enough:
            return "UPDATING" if segment.built else "BUILDING"
        return self._aged(segment, now)

    def matched_count(self, segment: Segment) -> int:
        """Return how many of the last seven days' members LinkedIn knows."""
        return round(self.input_count(segment) * self.settings.match_share)

    def input_count(self, segment: Segment) -> int:
        """Return how many members came in during the last seven days; sending one again does not count again."""
        since = self.clock.time() - _WEEK
        return sum(count for at, count in segment.inputs if at > since)

    def audience_size(self, segment: Segment) -> int:
        """Return how many people an advertiser reaches: all matched members but those who opted out."""
        return round(len(segment.members) * self.settings.match_share * (1 - self.settings.opted_out_share))

    # The control panel

    def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings and return all of them; an unknown name is an AttributeError."""
        for name, value in changes.items():
            if name not in asdict(self.settings):
                raise AttributeError(f"The LinkedIn simulator has no setting {name!r}.")
            setattr(self.settings, name, value)
        return asdict(self.settings)

    def set_speeds(self, words: Mapping[str, str]) -> None:
        """Change how long things take, in the words of `Speed.parse`; an unknown name is an AttributeError."""
        for name, text in words.items():
            if name not in asdict(self.speeds):
                raise AttributeError(f"The LinkedIn simulator has no speed {name!r}.")
            setattr(self.speeds, name, Speed.parse(text))

    def force_status(self, segment_id: int | str, status: str | None) -> None:
        """Put a segment into a status until further notice; None lets it go on by itself. EXPIRED loses its members."""
        if status is not None and status not in STATUSES:
            raise ValueError(f"{status!r} is no status of a DMP segment.")
        with self.lock:
            segment = self.segments[int(segment_id)]
            segment.forced = status
            if status == "EXPIRED":
                segment.members.clear()

    def member_digest(self, segment_id: int | str) -> dict[str, Any]:
        """Return how many members a segment has, and the SHA-256 over their sorted digests."""
        with self.lock:
            members = sorted(self.segments[int(segment_id)].members)
        return {"count": len(members), "sha256": hashlib.sha256(b"".join(members)).hexdigest()}

    def _check_body(self, wanted: Mapping[str, Any]) -> None:
        for name in wanted:
            if name not in _CREATE_FIELDS:
                raise errors.bad_field(name, _UNKNOWN_FIELD)
        for name in _REQUIRED:
            if wanted.get(name) in (None, "", []):
                raise errors.bad_field(name, _MISSING_FIELD)
        for name in ("name", "description", "sourceSegmentId"):
            self._check_text(name, wanted.get(name, "-"))
        self._check_values(wanted)

    def _check_values(self, wanted: Mapping[str, Any]) -> None:
        symbols = {"type": _TYPES, "sourcePlatform": self.settings.source_platforms, "accessPolicy": ["PRIVATE"]}
        for name, allowed in symbols.items():
            if name in wanted and wanted[name] not in allowed:
                raise errors.bad_field(name, f"{wanted[name]!r} is not an enum symbol")
        if not isinstance(wanted["account"], str) or not _ACCOUNT.fullmatch(wanted["account"]):
            raise errors.bad_field("account", "is not a sponsoredAccount URN")
        if wanted["destinations"] != [{"destination": "LINKEDIN"}]:
            raise errors.bad_field("destinations", "only LINKEDIN is a destination")

    def _check_text(self, name: str, value: Any) -> None:
        if not isinstance(value, str):
            raise errors.bad_field(name, "must be a string")
        if name == "name" and not 0 < len(value) <= self.settings.longest_name:
            raise errors.bad_field(name, f"length must be between 1 and {self.settings.longest_name}")

    def _changed(self, segment: Segment, added: int) -> None:
        now = self.clock.time()
        segment.modified = now
        segment.inputs.append((now, added))
        if segment.built or segment.progress is None:
            segment.progress = Wait(self.speeds.update if segment.built else self.speeds.build, now)

    def _aged(self, segment: Segment, now: float) -> str:
        if now - segment.modified >= _EXPIRED_AFTER:
            segment.members.clear()
            segment.forced = "EXPIRED"
            return "EXPIRED"
        return "ARCHIVED" if now - segment.modified >= _ARCHIVED_AFTER else "READY"


def _apply_in_order(members: set[bytes], batch: Batch, failed: Collection[int]) -> None:
    changes = batch.changes
    if changes is None:
        changes = [Change(batch.uniform == "ADD", digest) for digest in batch.digests]
    for position, change in enumerate(changes):
        if change.digest is None or position in failed:
            continue
        if change.adds:
            members.add(change.digest)
        else:
            members.discard(change.digest)
