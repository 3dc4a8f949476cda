"""The LinkedIn client: audiences, their members, and ad accounts. What is sent and read is in `protocol.py`."""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from shared.domain.audiences import Audience
from shared.domain.signins import AdAccount
from shared.errors import AccessTokenExpired, AudienceGone, SignInNeeded, TryAgainLater, UnexpectedAnswer
from shared.http import Answer, HttpClient, Request
from shared.linkedin import protocol
from shared.linkedin.bodies import users_body
from shared.linkedin.brake import Brake
from shared.linkedin.refusals import refusal
from shared.ports import BatchOutcome

DIGEST = 32
SUCCESS = frozenset({200, 201, 204})
FORBIDDEN = 403
NOT_FOUND = 404
MOST_PAGES = 50
YOUNG_SECONDS = 30.0
YOUNG_PAUSE = 7.0
_REMEMBERED = 1000


class LinkedInClient:
    """Talks to LinkedIn's Marketing API as whoever the access token stands for; fulfils `ports.LinkedIn`.

    One instance serves all threads of the process. Nothing is repeated here: the pipeline decides.
    """

    def __init__(
        self,
        http: HttpClient,
        *,
        version: str,
        source_platform: str,
        calls_per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Send through `http`, whose base is LinkedIn's REST address, at most `calls_per_minute` member batches.

        `clock` tells seconds that only grow; it and `sleep` are for the brake.
        """
        self._http, self._version, self._platform = http, version, source_platform
        self._brake = Brake(calls_per_minute, clock=clock, sleep=sleep)
        self._first_use = _FirstUse(clock)

    # -------------------------------------------------------------- audiences

    def find_audience(self, token: str, account: str, key: str) -> Audience | None:
        """Return the account's audience with this foreign key; None when there is none.

        When several carry the key, one that still takes members wins. Changes nothing, so it may be repeated.
        """
        mine: list[Audience] = []
        start = 0
        for _ in range(MOST_PAGES):
            answer = self._succeed(token, protocol.find_request(account, self._platform, key, start))
            page = protocol.read_found(answer, account, self._platform, key, start)
            mine.extend(page.audiences)
            start = page.next_start
            if not start:
                break
        return protocol.best_of(mine)

    def create_audience(self, token: str, account: str, key: str, name: str) -> str:
        """Create an audience and return its id. NOT repeatable: after OutcomeUnknown, find before creating again."""
        answer = self._send(token, protocol.create_request(account, self._platform, key, name))
        if answer.status not in SUCCESS:
            raise self._refusal(token, answer, creates=True)
        return protocol.read_created(answer)

    def read_audience(self, token: str, audience_id: str) -> Audience | None:
        """Return an audience; None when LinkedIn does not know it (yet, or any more). May be repeated."""
        answer = self._known(token, protocol.read_request(audience_id))
        return None if answer is None else protocol.read_audience(answer)

    def add_members(self, token: str, audience_id: str, digests: bytes) -> BatchOutcome | None:
        """Add up to 5,000 members (32 bytes each); None when LinkedIn does not know the audience (yet, or any more).

        201 means accepted, not matched. Adding a member twice is harmless, so a batch may be sent again after any
        error. May wait a little, so that all threads together keep to the calls per minute.
        """
        return self._send_members(token, audience_id, digests, "ADD")

    def remove_members(self, token: str, audience_id: str, digests: bytes) -> BatchOutcome | None:
        """Remove up to 5,000 members; as `add_members`."""
        return self._send_members(token, audience_id, digests, "REMOVE")

    def _send_members(self, token: str, audience_id: str, digests: bytes, action: str) -> BatchOutcome | None:
        body = users_body(digests, action)
        self._brake.wait()
        answer = self._send(token, protocol.members_request(audience_id, body))
        if answer.status == NOT_FOUND:
            return None
        if answer.status not in SUCCESS:
            raise self._members_refusal(token, audience_id, answer)
        return protocol.read_outcome(answer, len(digests) // DIGEST)

    def _members_refusal(self, token: str, audience_id: str, answer: Answer) -> Exception:
        """Return why a batch was refused; LinkedIn documents no code for an audience at its end, so its state is asked."""
        error = self._refusal(token, answer)
        if not isinstance(error, UnexpectedAnswer):
            return error
        audience = self.read_audience(token, audience_id)
        if audience is None or audience.state.takes_members:
            return error
        return AudienceGone(
            f"LinkedIn marks the audience {audience.state} and takes no more members into it. Press Retry to make it again."
        )

    # -------------------------------------------------------------- ad accounts

    def ad_accounts(self, token: str) -> list[AdAccount]:
        """Return the ad accounts this person can reach, all pages, with the role in each. May be repeated.

        An empty list is normal for an app on LinkedIn's Development tier to which no account was mapped.
        """
        roles = self._roles(token, "")
        accounts: list[AdAccount] = []
        cursor, seen = "", set[str]()
        while cursor not in seen and len(seen) < MOST_PAGES:
            seen.add(cursor)
            answer = self._succeed(token, protocol.accounts_request(cursor), about_accounts=True)
            page, cursor = protocol.read_accounts(answer, roles)
            accounts.extend(page)
            if not cursor:
                break
        return accounts

    def ad_account(self, token: str, urn: str) -> AdAccount | None:
        """Return one ad account with this person's role; None when it cannot be reached. May be repeated.

        Costs two requests, more only for people with more than a hundred roles.
        """
        roles = self._roles(token, urn)  # first, because a 403 here means the app, and below the account
        answer = self._send(token, protocol.account_request(urn))
        if answer.status in (FORBIDDEN, NOT_FOUND):
            return None
        if answer.status not in SUCCESS:
            raise self._refusal(token, answer, about_accounts=True)
        return protocol.read_account(answer, roles)

    def _roles(self, token: str, wanted: str) -> dict[str, str]:
        """Return role by ad account; the reading stops at the page that names the one wanted ("" wants all)."""
        roles: dict[str, str] = {}
        start = 0
        for _ in range(MOST_PAGES):
            answer = self._succeed(token, protocol.roles_request(start), about_accounts=True)
            page, start = protocol.read_roles(answer, start)
            roles |= page
            if not start or wanted in roles:
                break
        return roles

    # -------------------------------------------------------------- sending

    def _send(self, token: str, request: Request) -> Answer:
        self._first_use.note(token)
        headers = {**request.headers, **protocol.headers(token, self._version)}
        return self._http.send(replace(request, headers=headers))

    def _succeed(self, token: str, request: Request, *, about_accounts: bool = False) -> Answer:
        answer = self._send(token, request)
        if answer.status not in SUCCESS:
            raise self._refusal(token, answer, about_accounts=about_accounts)
        return answer

    def _known(self, token: str, request: Request) -> Answer | None:
        """Return the answer about an audience; None when LinkedIn does not know that audience."""
        answer = self._send(token, request)
        if answer.status == NOT_FOUND:
            return None
        if answer.status not in SUCCESS:
            raise self._refusal(token, answer)
        return answer

    def _refusal(self, token: str, answer: Answer, *, creates: bool = False, about_accounts: bool = False) -> Exception:
        error = refusal(answer, version=self._version, creates=creates, about_accounts=about_accounts)
        if isinstance(error, SignInNeeded) and not isinstance(error, AccessTokenExpired) and self._first_use.is_young(token):
            return TryAgainLater("LinkedIn does not know the new sign-in yet.", YOUNG_PAUSE)
        return error


class _FirstUse:
    """When this process first used a token: LinkedIn may refuse one as revoked seconds after issuing it.

    A token that only seems young because this process is, costs the person a wait of seconds. Only digests are kept.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._moments: dict[bytes, float] = {}

    def note(self, token: str) -> None:
        with self._lock:
            self._moments.setdefault(_digest(token), self._clock())
            if len(self._moments) > _REMEMBERED:
                del self._moments[next(iter(self._moments))]

    def is_young(self, token: str) -> bool:
        with self._lock:
            return self._clock() - self._moments.get(_digest(token), float("-inf")) < YOUNG_SECONDS


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
