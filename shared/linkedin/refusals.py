"""What LinkedIn's error answers mean for the job, decided on status and codes, never on the wording.

LinkedIn may change its messages at any time (Learn: Error handling), so they are only shown, never read.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import msgspec

from shared.errors import (
    AccessTokenExpired,
    AdAccountNeeded,
    AudienceSyncError,
    ConfigurationWrong,
    OutcomeUnknown,
    RemoteUnavailable,
    SignInNeeded,
    Throttled,
    UnexpectedAnswer,
)
from shared.http import Answer
from shared.linkedin.protocol import without_data

SIGN_IN_AGAIN = "LinkedIn no longer accepts this sign-in. Sign in to LinkedIn again; then the work goes on by itself."
SIGN_IN_EXPIRED = "The LinkedIn sign-in has expired. Sign in to LinkedIn again; then the work goes on by itself."
NO_WRITE_ROLE = (
    "LinkedIn does not let this person work with audiences of this ad account. Choose an ad account in which the person has a "
    "role above Viewer. If every ad account is refused, an administrator has to check that the LinkedIn app has the product "
    "that grants rw_dmp_segments."
)
NO_ADVERTISING_API = (
    "LinkedIn does not let the app read ad accounts. An administrator has to check in LinkedIn's Developer Portal that the app "
    "has the Advertising API (r_ads, rw_ads); afterwards, sign in to LinkedIn again."
)
TOO_MANY_AUDIENCES = (
    "The ad account already holds as many audiences as LinkedIn allows. Somebody has to delete audiences in Campaign Manager "
    "(Plan, Audiences); then press Retry."
)
WRONG_VERSION = (
    "LinkedIn has switched off the API version {version} that is set. An administrator has to raise the setting LINKEDIN_VERSION "
    "to a version that LinkedIn supports."
)

_EXPIRED = (65602, "EXPIRED_ACCESS_TOKEN")
_EMPTY = "EMPTY_ACCESS_TOKEN"
_SEGMENT_LIMIT = "SEGMENT_LIMIT_EXCEEDED"
_NO_VERSION = "NONEXISTENT_VERSION"
_UPGRADE_REQUIRED = 426
_LOCKED = 423
_NOT_NOW = frozenset({408, 409, _LOCKED})
_SERVER_ERRORS = 500
_REQUEST_IDS = ("x-li-uuid", "x-li-request-id")


class Body(msgspec.Struct, gc=False):
    """LinkedIn's error body; whatever is missing or of another type is None."""

    serviceErrorCode: Any = None  # noqa: N815  LinkedIn's spelling
    code: Any = None
    message: Any = None


_BODY = msgspec.json.Decoder(Body)


def read_body(answer: Answer) -> Body:
    """Return the error body of an answer; an empty one when it holds no JSON object."""
    try:
        return _BODY.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Body()


def refusal(answer: Answer, *, version: str, creates: bool = False, about_accounts: bool = False) -> AudienceSyncError:
    """Return the error that an answer other than a success stands for.

    `creates` marks the one request that must not be sent twice: whatever is unclear becomes OutcomeUnknown, a
    conflict too, because it means that somebody else may just have created the audience. `about_accounts` marks
    requests that need no ad account yet, so that a refusal is the app's and not the account's.
    """
    body = read_body(answer)
    if answer.status == _UPGRADE_REQUIRED or body.code == _NO_VERSION:
        return ConfigurationWrong(WRONG_VERSION.format(version=version))
    match answer.status:
        case 401:
            return _not_signed_in(answer, body)
        case 403:
            return ConfigurationWrong(NO_ADVERTISING_API) if about_accounts else AdAccountNeeded(NO_WRITE_ROLE)
        case 429:
            return _too_much(answer, body)
    if answer.status in _NOT_NOW or answer.status >= _SERVER_ERRORS:
        return _not_now(answer, creates=creates)
    return UnexpectedAnswer(_unforeseen(answer, body))


def _not_signed_in(answer: Answer, body: Body) -> AudienceSyncError:
    if body.code == _EMPTY:
        return UnexpectedAnswer(_unforeseen(answer, body))
    if body.serviceErrorCode in _EXPIRED or body.code in _EXPIRED:
        return AccessTokenExpired(SIGN_IN_EXPIRED)
    return SignInNeeded(SIGN_IN_AGAIN)


def _too_much(answer: Answer, body: Body) -> AudienceSyncError:
    if body.code == _SEGMENT_LIMIT:
        return ConfigurationWrong(TOO_MANY_AUDIENCES)
    return Throttled("LinkedIn asked us to slow down.", retry_after(answer.headers))


def _not_now(answer: Answer, *, creates: bool) -> AudienceSyncError:
    """Return what "not now" means; a locked resource (423) is the one case in which surely nothing was done."""
    kind = OutcomeUnknown if creates and answer.status != _LOCKED else RemoteUnavailable
    return kind(f"LinkedIn cannot answer now (status {answer.status}{_traced(answer)}).", retry_after(answer.headers))


def _unforeseen(answer: Answer, body: Body) -> str:
    code = f", {without_data(str(body.code), 60)}" if body.code else ""
    words = f' It says: "{without_data(body.message, 200)}".' if isinstance(body.message, str) else ""
    return (
        f"LinkedIn refused a request in a way nobody foresaw (status {answer.status}{code}{_traced(answer)}).{words} "
        "Press Retry; if it happens again, give this sentence to support."
    )


def _traced(answer: Answer) -> str:
    """Return LinkedIn's own id of the request, which its support asks for."""
    known = next((answer.headers[name] for name in _REQUEST_IDS if answer.headers.get(name)), "")
    return f", request {known[:60]}" if known else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for, None when it does not; LinkedIn promises no such header.

    A date counts from the answer's own `Date`, so that clocks need not agree (RFC 9110, section 10.2.3).
    """
    written = headers.get("Retry-After")
    if not written:
        return None
    try:
        seconds = float(written)
    except ValueError:
        seconds = _seconds_between(headers.get("Date", ""), written)
    return seconds if isfinite(seconds) and seconds >= 0 else None


def _seconds_between(earlier: str, later: str) -> float:
    try:
        return (parsedate_to_datetime(later) - parsedate_to_datetime(earlier)).total_seconds()
    except (ValueError, TypeError):  # no dates, or one with and one without a zone
        return -1.0
