"""What the pipeline needs from outside, as protocols. Adapters fulfil them; `function_app/compose.py` joins them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared.domain.audiences import Audience, Request
from shared.domain.jobs import Job
from shared.domain.members import MemberRows
from shared.domain.segments import Segment, SegmentRef
from shared.domain.signins import AdAccount, SignIn

type Changes = Mapping[Any, Any]  # column name → value


class Clock(Protocol):
    """Tells the time and throws dice, so that tests can do both."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""

    def dice(self) -> float:
        """Return a random number from 0 up to 1."""


class RangeReader(Protocol):
    """A stored file that is read piece by piece."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer only at the end."""


# ------------------------------------------------------------------ Dataverse


@dataclass(frozen=True)
class LiveMark:
    """The mark "create an audience when this goes live" on a segment record.

    `set_by` is a user's id or None. `version` is the same as long as the record does not change.
    """

    wanted: bool
    is_live: bool
    ad_account: str
    ad_account_name: str
    set_by: str | None
    segment_name: str
    version: str


@dataclass(frozen=True)
class SignInRequest:
    """What a row `lima_signin` asks for. `status` and `command` are the choice values or None."""

    row_id: str
    etag: str
    owner: str
    status: int | None
    command: int | None
    command_id: str


class Records(Protocol):
    """Our rows in Dataverse and the result columns of segment records.

    Every method may raise TryAgainLater (and its kinds) or ConfigurationWrong. Writes carry absolute
    values, so each may be repeated. Keys of `changes` are names from `shared/dataverse/schema.py`;
    values are plain (datetime aware; None clears a column).
    """

    def read_request(self, row_id: str) -> Request | None:
        """Return what an audience row asks for; None when the row is gone."""

    def update_audience(self, row_id: str, changes: Changes, *, etag: str | None = None) -> None:
        """Write columns of an audience row.

        With `etag` only if the row is still at that version, else SomebodyElseChangedIt. RowGone when
        the row was deleted: it is never made again.
        """

    def create_audience(self, row_id: str, values: Changes, *, owner: str | None) -> bool:
        """Create an audience row under this id, owned by `owner`; False when it is there already."""

    def attach_left_out(self, row_id: str, content: Iterable[bytes]) -> None:
        """Store the list of members left out (CSV, UTF-8) in the row's file column, replacing an earlier one."""

    def forget_left_out(self, before: datetime) -> int:
        """Delete the lists of members left out from rows that have not changed since a moment; return how many."""

    def write_result(self, ref: SegmentRef, changes: Changes) -> None:
        """Write result columns of the segment record; a record or columns that are gone are passed over."""

    def pending_audiences(self, since: datetime) -> list[str]:
        """Return ids of rows with an untaken command that changed after `since` (their webhook may be lost)."""

    def pending_sign_ins(self, since: datetime) -> list[str]:
        """Return ids of sign-in rows with an untaken command that changed after `since`."""

    def live_mark(self, ref: SegmentRef) -> LiveMark | None:
        """Return the going-live mark of a segment record; None when the record is gone."""

    def went_live_since(self, ref: SegmentRef, since: datetime) -> bool:
        """Tell whether this segment's going live has made an audience row since a moment."""

    def read_sign_in_request(self, row_id: str) -> SignInRequest | None:
        """Return what a sign-in row asks for; None when the row is gone."""

    def sign_in_row_of(self, user_id: str) -> str | None:
        """Return the id of the user's newest sign-in row; None when there is none."""

    def update_sign_in(self, row_id: str, changes: Changes, *, etag: str | None = None) -> None:
        """Write columns of a sign-in row; as `update_audience`."""


@dataclass(frozen=True)
class SourcePage:
    """One page of members and where the next begins; `cursor` is None after the last page."""

    rows: MemberRows
    cursor: str | None


class MemberSource(Protocol):
    """Reads segments and their members, whatever kind they are."""

    def look_up(self, ref: SegmentRef) -> Segment:
        """Return what Dataverse says of a segment. Raises SegmentNotFound, or NotAllowed with the reason."""

    def list_ids(self, segment: Segment) -> Iterator[bytes] | None:
        """Return the members' ids, packed 16 bytes each, in blocks; None when pages need no ids first.

        Asking again gives the members of that later moment. Raises UnexpectedAnswer when Dataverse
        kept some back (a truncated list is never used).
        """

    def pages(self, segment: Segment, cursor: str, ids: RangeReader | None) -> Iterator[SourcePage]:
        """Return the pages from `cursor` on (empty: from the start), each with the cursor behind it.

        Pages come in order; the next ones are read while the caller works on one. Closing the iterator
        stops that. `ids` is what `list_ids` gave, stored.
        """

    def opted_out(self, cursor: str) -> Iterator[tuple[list[str], str | None]]:
        """Return pages of opted-out addresses for the configured purpose and the cursor behind each.

        Nothing comes when the environment keeps no such consent, or the setting is off.
        """


# ------------------------------------------------------------------ LinkedIn


@dataclass(frozen=True)
class BatchOutcome:
    """What LinkedIn answered to one batch. `reasons` are LinkedIn's words with counts, without any member's data."""

    accepted: int
    refused: int
    reasons: Mapping[str, int]


class LinkedIn(Protocol):
    """Audiences and ad accounts at LinkedIn, as one signed-in person.

    Every method takes that person's access token and may raise TryAgainLater (and its kinds),
    SignInExpired-like SignInNeeded, AdAccountNeeded (no write role), ConfigurationWrong (version, scope).
    """

    def find_audience(self, token: str, account: str, key: str) -> Audience | None:
        """Return the account's audience with this foreign key; None when there is none."""

    def create_audience(self, token: str, account: str, key: str, name: str) -> str:
        """Create an audience and return its id. NOT repeatable: after OutcomeUnknown, find before creating again."""

    def read_audience(self, token: str, audience_id: str) -> Audience | None:
        """Return an audience; None when LinkedIn does not know it (yet, or any more)."""

    def add_members(self, token: str, audience_id: str, digests: bytes) -> BatchOutcome | None:
        """Add up to 5,000 members (32 bytes each); None when LinkedIn does not know the audience (yet, or any more).

        Adding a member twice is harmless, so a batch may be sent again after any error.
        """

    def remove_members(self, token: str, audience_id: str, digests: bytes) -> BatchOutcome | None:
        """Remove up to 5,000 members; as `add_members`."""

    def ad_accounts(self, token: str) -> list[AdAccount]:
        """Return the ad accounts this person can reach, all pages, with the role in each."""

    def ad_account(self, token: str, urn: str) -> AdAccount | None:
        """Return one ad account with this person's role; None when it cannot be reached."""


class OAuth(Protocol):
    """LinkedIn's three-legged OAuth."""

    def authorization_url(self, state: str, redirect_uri: str) -> str:
        """Return the address at LinkedIn where a person signs in."""

    def exchange(self, user_id: str, code: str, redirect_uri: str, now: datetime) -> SignIn:
        """Exchange a code for tokens, once. Raises SignInNeeded when LinkedIn refuses the code."""

    def refresh(self, sign_in: SignIn, now: datetime) -> SignIn:
        """Return the sign-in with a new access token. Raises SignInNeeded when LinkedIn refuses."""

    def revoke(self, sign_in: SignIn) -> None:
        """Tell LinkedIn to forget a token; best effort, never raises."""


# ------------------------------------------------------------------ storage


class Jobs(Protocol):
    """The engine's memory of jobs: one table row each, changed conditionally."""

    def load(self, job_id: str) -> tuple[Job, str] | None:
        """Return a job and its version; None when there is none."""

    def create(self, job: Job) -> bool:
        """Remember a new job; False when it is there already."""

    def save(self, job: Job, etag: str) -> str:
        """Remember the job if it is still at that version and return the new one, else SomebodyElseChangedIt."""

    def forget(self, job_id: str) -> None:
        """Delete a job; one that is gone already is fine."""

    def overdue(self, now: datetime) -> list[tuple[str, int]]:
        """Return (id, fence) of jobs whose `due` has passed."""

    def waiting_for_sign_in(self, user_id: str) -> list[str]:
        """Return ids of jobs that wait for a person and would use this user's sign-in."""

    def finished_before(self, moment: datetime) -> list[str]:
        """Return ids of jobs that ended before a moment, for clearing up."""


class Doorbells(Protocol):
    """Events that were taken already: create-once rows."""

    def take(self, event_key: str, now: datetime) -> bool:
        """Note an event; False when it was noted before."""

    def release(self, event_key: str) -> None:
        """Un-note an event whose message could not be sent, so that a second delivery is taken."""

    def clear_before(self, moment: datetime) -> int:
        """Forget events noted before a moment; return how many."""


@dataclass(frozen=True)
class Message:
    """What travels on the queue: never personal data.

    `fence` is None on a doorbell ("look at the row"), else the number the job must have. `kind` is
    "audience", "signin" or "live"; `table` names the segment's table on a "live" message.
    """

    kind: str
    id: str
    fence: int | None = None
    table: str = ""
    correlation: str = ""
    attempt: int = 0  # how often this same message came back


class Queue(Protocol):
    """The queue that wakes steps."""

    def send(self, message: Message, *, delay_seconds: float = 0.0) -> None:
        """Put a message on the queue, visible after a delay of at most seven days."""


class Files(Protocol):
    """Parts, member lists, id lists and lists of members left out. Paths begin with the job's id."""

    def write(self, path: str, content: bytes | Iterable[bytes]) -> int:
        """Store a file, replacing an earlier one of that name; return its length. A stream is stored in blocks."""

    def open(self, path: str) -> RangeReader:
        """Return a reader; raises FileNotFoundError when there is no such file."""

    def delete_all(self, prefix: str) -> int:
        """Delete every file whose path begins so; return how many."""

    def older_than(self, moment: datetime) -> Iterator[str]:
        """Return paths of files last written before a moment."""


class SignIns(Protocol):
    """LinkedIn tokens, encrypted at rest."""

    def load(self, user_id: str) -> SignIn | None:
        """Return a user's sign-in; None when there is none. Raises SignInNeeded when it cannot be decrypted."""

    def save(self, sign_in: SignIn) -> None:
        """Remember a sign-in, replacing the user's earlier one."""

    def delete(self, user_id: str) -> bool:
        """Delete a user's sign-in; False when there was none."""

    def expiring_before(self, moment: datetime) -> list[str]:
        """Return the users whose sign-in ends for good before a moment."""


@dataclass(frozen=True)
class Ticket:
    """A one-time permission to begin a LinkedIn sign-in for one user; only its hash is stored."""

    user_id: str
    row_id: str
    expires: datetime


class Tickets(Protocol):
    """One-time sign-in tickets."""

    def issue(self, ticket_id: str, ticket: Ticket) -> None:
        """Remember a ticket under a secret id."""

    def look_at(self, ticket_id: str) -> Ticket | None:
        """Return a ticket that has not been used; None when there is none."""

    def use_up(self, ticket_id: str) -> Ticket | None:
        """Return a ticket and make it useless, once; None when it was used or never was."""

    def clear_before(self, moment: datetime) -> int:
        """Forget tickets that expired before a moment; return how many."""
