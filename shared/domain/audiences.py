"""Audiences: what a person asked for, what LinkedIn says of one, and the rules about names and sizes."""

from dataclasses import dataclass
from enum import StrEnum

SMALLEST_SERVED = 300
ADVISED = 10_000
NAME_LENGTH = 100


class State(StrEnum):
    """LinkedIn's word for the state of an audience's destination; UNKNOWN is any word we do not know."""

    BUILDING = "BUILDING"
    UPDATING = "UPDATING"
    READY = "READY"
    ARCHIVED = "ARCHIVED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"
    ERROR = "ERROR"
    UNKNOWN = "UNKNOWN"

    @property
    def takes_members(self) -> bool:
        """Tell whether members may still be sent; EXPIRED, FAILED and ERROR refuse them."""
        return self not in {State.EXPIRED, State.FAILED, State.ERROR}


@dataclass(frozen=True)
class Audience:
    """A Matched Audience as LinkedIn describes it (its API says "DMP segment").

    Every count is None while LinkedIn is still building and names none.
    """

    id: str
    name: str
    account: str
    state: State
    ad_segment: str | None = None
    input_count: int | None = None
    matched: int | None = None
    size: int | None = None

    @property
    def match_rate(self) -> float | None:
        """Return matched of received in per cent with two decimals; None when LinkedIn names no counts."""
        if self.matched is None or not self.input_count:
            return None
        return round(100 * self.matched / self.input_count, 2)


@dataclass(frozen=True)
class Request:
    """What the row `lima_audience` asks for, as read at one moment.

    `owner` and `sign_in_user` are ids of Dynamics users; the sign-in used is `sign_in_user`, else the
    owner's. `command` is None when nothing new is asked. `etag` is the row's version at this moment.
    """

    row_id: str
    etag: str
    name: str
    segment_table: str
    segment_id: str
    segment_name: str
    status: int
    command: int | None
    command_id: str
    origin: int | None
    small_confirmed: bool
    owner: str
    sign_in_user: str | None
    ad_account: str
    ad_account_name: str
    correlation: str

    @property
    def signs_in_as(self) -> str:
        """Return the id of the Dynamics user whose LinkedIn sign-in is used."""
        return self.sign_in_user or self.owner


def foreign_key(row_id: str, number: int = 0) -> str:
    """Return the key under which LinkedIn finds the audience of a row again (`sourceSegmentId`).

    `number` is raised when the audience under the earlier key has expired or failed and is made anew.
    """
    return f"dataverse:lima_audience:{row_id}" + (f":{number}" if number else "")


def audience_name(wanted: str, segment_name: str) -> str:
    """Return the audience's name at LinkedIn: what the person wrote, else the segment's name, cut to 100."""
    name = " ".join((wanted or segment_name or "Dynamics 365 segment").split())
    return name[:NAME_LENGTH]


def size_advice(usable: int) -> str:
    """Return what a person should know about this many usable members; empty when there is nothing to say."""
    if usable < SMALLEST_SERVED:
        return (
            f"Only {usable:,} members can be sent. LinkedIn shows campaigns to an audience only from "
            f"{SMALLEST_SERVED} matched members on, so this one will most likely not be served."
        )
    if usable < ADVISED:
        return f"LinkedIn advises {ADVISED:,} members or more; with {usable:,} the reach will be small."
    return ""
