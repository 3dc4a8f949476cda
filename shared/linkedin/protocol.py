"""LinkedIn's dialect as pure functions: requests are built and answers are read here, nothing is sent.

What this product calls an audience, LinkedIn's API calls a DMP segment. Query strings are written by hand:
LinkedIn wants the colons of URNs encoded but the brackets and commas of its lists raw, and `requests` would
encode both. Unknown fields are passed over and every count may be missing, because LinkedIn names none while
it builds. https://learn.microsoft.com/linkedin/marketing/matched-audiences/create-and-manage-segments
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from shared.domain.audiences import Audience, State
from shared.domain.signins import AdAccount
from shared.errors import OutcomeUnknown, RemoteUnavailable, TryAgainLater
from shared.http import Answer, Request
from shared.logs import redacted
from shared.ports import BatchOutcome

ACCOUNT_URN = "urn:li:sponsoredAccount:"
FIND_COUNT = 100
USERS_COUNT = 100
ACCOUNTS_COUNT = 1000

_JSON = {"Content-Type": "application/json"}
_TAKEN = frozenset({200, 201})
_NOT_NOW = frozenset({408, 423, 429})
_REASON_LENGTH = 120
_MOST_REASONS = 10
_HASH_LIKE = re.compile(r"[0-9A-Fa-f]{16,}|[A-Za-z0-9+/_-]{40,}={0,2}")
_NUMBER = re.compile(r"\d+")


def encoded(value: str) -> str:
    """Return a value for a query string or a path, with everything encoded that means something to LinkedIn.

    >>> encoded("urn:li:sponsoredAccount:5")
    'urn%3Ali%3AsponsoredAccount%3A5'
    """
    return quote(value, safe="")


def headers(token: str, version: str) -> dict[str, str]:
    """Return what every call carries; the version has no default at LinkedIn (Learn: Versioning)."""
    return {"Authorization": f"Bearer {token}", "LinkedIn-Version": version, "X-Restli-Protocol-Version": "2.0.0"}


# ------------------------------------------------------------------ audiences


class _Destination(msgspec.Struct, gc=False):
    destination: Any = None
    status: Any = None
    matchedCount: Any = None  # noqa: N815  LinkedIn's spelling
    audienceSize: Any = None  # noqa: N815
    destinationSegmentId: Any = None  # noqa: N815


class _Segment(msgspec.Struct, gc=False):
    id: int | str
    name: Any = None
    account: Any = None
    sourcePlatform: Any = None  # noqa: N815
    sourceSegmentId: Any = None  # noqa: N815
    inputCount: Any = None  # noqa: N815
    destinations: list[_Destination] | None = None


class _Paging(msgspec.Struct, gc=False):
    start: int = 0
    count: int = 0
    total: int | None = None


class _Segments(msgspec.Struct, gc=False):
    elements: list[_Segment]
    paging: _Paging | None = None


def find_request(account: str, platform: str, key: str, start: int = 0) -> Request:
    """Return the request for the account's audiences with this foreign key, from number `start` on."""
    return Request(
        "GET",
        f"/dmpSegments?q=account&account={encoded(account)}&sourcePlatform={encoded(platform)}"
        f"&sourceSegmentId={encoded(key)}&start={start}&count={FIND_COUNT}",
    )


@dataclass(frozen=True)
class Found:
    """One page of the search by foreign key: the audiences that really carry it, and where the next page begins (0: no more)."""

    audiences: tuple[Audience, ...]
    next_start: int


def read_found(answer: Answer, account: str, platform: str, key: str, start: int = 0) -> Found:
    """Return the audiences on this page that carry the key; the filter of the search is not trusted.

    Raises RemoteUnavailable when the body cannot be read.
    """
    page = _read(answer, _SEGMENTS)
    mine = [_audience(segment) for segment in page.elements if _carries(segment, account, platform, key)]
    return Found(tuple(mine), _next_start(page.paging, start, len(page.elements), FIND_COUNT))


def best_of(audiences: Sequence[Audience]) -> Audience | None:
    """Return the audience to go on with: one that still takes members before a dead one, then the oldest.

    Two can carry one key when a create was carried out twice behind our back.
    """
    return min(audiences, key=lambda audience: (not audience.state.takes_members, len(audience.id), audience.id), default=None)


def create_request(account: str, platform: str, key: str, name: str) -> Request:
    """Return the request that creates an audience which members are streamed into."""
    body = {
        "name": name,
        "type": "USER",
        "sourcePlatform": platform,
        "sourceSegmentId": key,
        "account": account,
        "destinations": [{"destination": "LINKEDIN"}],
    }
    return Request("POST", "/dmpSegments", _JSON, msgspec.json.encode(body))


def read_created(answer: Answer) -> str:
    """Return the id of the audience just created.

    Raises OutcomeUnknown when the answer names none: the audience is then found by its foreign key.
    """
    made = answer.headers.get("x-restli-id") or answer.headers.get("x-linkedin-id") or ""
    made = made.rpartition(":")[2].strip()
    if not made:
        raise OutcomeUnknown("LinkedIn created the audience without naming its id.")
    return made


def read_request(audience_id: str) -> Request:
    """Return the request for one audience."""
    return Request("GET", f"/dmpSegments/{encoded(audience_id)}")


def read_audience(answer: Answer) -> Audience:
    """Return the audience in an answer. Raises RemoteUnavailable when the body cannot be read."""
    return _audience(_read(answer, _SEGMENT))


def _carries(segment: _Segment, account: str, platform: str, key: str) -> bool:
    return segment.sourceSegmentId == key and segment.account in (None, account) and segment.sourcePlatform in (None, platform)


def _audience(segment: _Segment) -> Audience:
    destinations = segment.destinations or []
    at_linkedin = (destination for destination in destinations if destination.destination == "LINKEDIN")
    chosen = next(at_linkedin, None) or _Destination()
    return Audience(
        id=str(segment.id),
        name=_text(segment.name) or "",
        account=_text(segment.account) or "",
        state=_state(chosen.status),
        ad_segment=_text(chosen.destinationSegmentId),
        input_count=_count(segment.inputCount),
        matched=_count(chosen.matchedCount),
        size=_count(chosen.audienceSize),
    )


def _state(word: Any) -> State:
    return State(word) if word in State.__members__.values() else State.UNKNOWN


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


# ------------------------------------------------------------------ members


class _ElementError(msgspec.Struct, gc=False):
    message: Any = None
    code: Any = None


class _Element(msgspec.Struct, gc=False):
    status: int = 0
    error: _ElementError | None = None


class _Elements(msgspec.Struct, gc=False):
    elements: list[_Element]


def members_request(audience_id: str, body: bytes) -> Request:
    """Return the request that adds or removes a batch of members; `body` comes from `bodies.users_body`."""
    return Request("POST", f"/dmpSegments/{encoded(audience_id)}/users", {**_JSON, "X-RestLi-Method": "BATCH_CREATE"}, body)


def read_outcome(answer: Answer, sent: int) -> BatchOutcome:
    """Return how many of the members sent were accepted, and why the others were not.

    LinkedIn answers with one entry per member in the order sent. TryAgainLater is raised when their number
    differs, when the body cannot be read, and when LinkedIn says of some members that it could not take them
    just now; sending the whole batch again is harmless.
    """
    if _all_taken(answer.body, sent):
        return BatchOutcome(sent, 0, {})
    elements = _read(answer, _ELEMENTS).elements
    if len(elements) != sent:
        raise TryAgainLater(f"LinkedIn answered for {len(elements):,} of {sent:,} members.")
    refused = [element for element in elements if element.status not in _TAKEN]
    if not refused:
        return BatchOutcome(sent, 0, {})
    if not_now := sum(_is_passing(element.status) for element in refused):
        raise RemoteUnavailable(f"LinkedIn could not take {not_now:,} of {sent:,} members just now.")
    return BatchOutcome(sent - len(refused), len(refused), _reasons(refused))


def _all_taken(body: bytes, sent: int) -> bool:
    """Tell whether this is, letter for letter, the answer that takes everybody; any other has to be read."""
    return body == b'{"elements":[' + b'{"status":201},' * (sent - 1) + b'{"status":201}]}'


def _is_passing(status: int) -> bool:
    """Tell whether a refusal may be gone the next time; an entry without a status says nothing, so it is asked again."""
    return status in _NOT_NOW or status >= 500 or status == 0  # noqa: PLR2004  HTTP's own border


def _reasons(refused: Sequence[_Element]) -> Mapping[str, int]:
    """Return LinkedIn's words with their counts; the rarest are put together so that a log line stays short."""
    counted = Counter(_reason(element) for element in refused).most_common()
    reasons = dict(counted[:_MOST_REASONS])
    if others := sum(count for _, count in counted[_MOST_REASONS:]):
        reasons["other reasons"] = others
    return reasons


def _reason(element: _Element) -> str:
    """Return why one member was refused, without anything that belongs to that member alone."""
    error = element.error or _ElementError()
    words = _text(error.message) or _text(error.code)
    return without_data(_NUMBER.sub("n", _HASH_LIKE.sub("…", words))) if words else f"status {element.status}"


def without_data(words: str, length: int = _REASON_LENGTH) -> str:
    """Return a service's own words cut to `length`, without hashes, addresses and tokens.

    >>> without_data("Bad value 584c4423c421df49955759498a71495a for ada@contoso.example")
    'Bad value … for ***'
    """
    return redacted(_HASH_LIKE.sub("…", " ".join(words.split())))[:length]


# ------------------------------------------------------------------ ad accounts


class _Account(msgspec.Struct, gc=False):
    id: int | str
    name: Any = None
    currency: Any = None
    status: Any = None
    test: Any = None


class _Metadata(msgspec.Struct, gc=False):
    nextPageToken: str | None = None  # noqa: N815


class _Accounts(msgspec.Struct, gc=False):
    elements: list[_Account]
    metadata: _Metadata | None = None


class _User(msgspec.Struct, gc=False):
    account: Any = None
    role: Any = None


class _Users(msgspec.Struct, gc=False):
    elements: list[_User]
    paging: _Paging | None = None


def accounts_request(cursor: str = "") -> Request:
    """Return the request for the ad accounts a person can reach; without a search all of them come."""
    page = f"&pageToken={encoded(cursor)}" if cursor else ""
    return Request("GET", f"/adAccounts?q=search&pageSize={ACCOUNTS_COUNT}{page}")


def read_accounts(answer: Answer, roles: Mapping[str, str]) -> tuple[list[AdAccount], str]:
    """Return one page of ad accounts with the person's role in each, and the token of the next page or "".

    `roles` is role by account URN. Raises RemoteUnavailable when the body cannot be read.
    """
    page = _read(answer, _ACCOUNTS)
    following = page.metadata.nextPageToken if page.metadata else None
    return [_account(account, roles) for account in page.elements], following or ""


def account_request(urn: str) -> Request:
    """Return the request for one ad account."""
    return Request("GET", f"/adAccounts/{encoded(urn.removeprefix(ACCOUNT_URN))}")


def read_account(answer: Answer, roles: Mapping[str, str]) -> AdAccount:
    """Return the ad account in an answer. Raises RemoteUnavailable when the body cannot be read."""
    return _account(_read(answer, _ACCOUNT), roles)


def roles_request(start: int = 0) -> Request:
    """Return the request for the person's roles in ad accounts, from number `start` on."""
    return Request("GET", f"/adAccountUsers?q=authenticatedUser&start={start}&count={USERS_COUNT}")


def read_roles(answer: Answer, start: int = 0) -> tuple[dict[str, str], int]:
    """Return role by account URN, and where the next page begins (0: no more).

    Raises RemoteUnavailable when the body cannot be read.
    """
    page = _read(answer, _USERS)
    roles = {user.account: user.role for user in page.elements if _text(user.account) and _text(user.role)}
    return roles, _next_start(page.paging, start, len(page.elements), USERS_COUNT)


def _account(account: _Account, roles: Mapping[str, str]) -> AdAccount:
    number = str(account.id)
    urn = number if number.startswith(ACCOUNT_URN) else ACCOUNT_URN + number
    return AdAccount(
        urn=urn,
        name=_text(account.name) or number,
        currency=_text(account.currency) or "",
        status=_text(account.status) or "",
        role=roles.get(urn),
        test=account.test is True,
    )


# ------------------------------------------------------------------ reading

_SEGMENTS = msgspec.json.Decoder(_Segments)
_SEGMENT = msgspec.json.Decoder(_Segment)
_ELEMENTS = msgspec.json.Decoder(_Elements)
_ACCOUNTS = msgspec.json.Decoder(_Accounts)
_ACCOUNT = msgspec.json.Decoder(_Account)
_USERS = msgspec.json.Decoder(_Users)


def _read[T](answer: Answer, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the body as the decoder's type; a body that is none is most likely a gateway's page, gone the next time."""
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RemoteUnavailable(f"LinkedIn's answer (status {answer.status}) could not be read.") from None


def _next_start(paging: _Paging | None, start: int, received: int, asked_for: int) -> int:
    """Return where the next page begins, 0 after the last; without a total, a page shorter than asked for is the last."""
    following = start + received
    more = received >= asked_for if paging is None or paging.total is None else following < paging.total
    return following if received and more else 0
