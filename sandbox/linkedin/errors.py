"""Error answers of LinkedIn: their bodies, codes and sub-codes.

Where a text was never seen in LinkedIn's own words it is ours; products must decide on `status`, `serviceErrorCode` and
`code`, never on `message`.
"""

from typing import Any

from sandbox.web import Refusal

ACCESS_DENIED = 100
THROTTLED = 101


class LinkedInRefusal(Refusal):
    """An error of the REST API: `status` and `message` always, the two codes where LinkedIn gives them."""

    def __init__(self, status: int, message: str, code: str | None = None, service_code: int | None = None) -> None:
        body: dict[str, Any] = {"status": status}
        if service_code is not None:
            body["serviceErrorCode"] = service_code
        if code is not None:
            body["code"] = code
        super().__init__(status, body | {"message": message})


class OAuthRefusal(Refusal):
    """An error of the token, introspection and revocation addresses."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(status, {"error": error, "error_description": description})


class ShownError(Exception):
    """A mistake in the authorisation request that LinkedIn shows to the person and sends to nobody."""


_UNAUTHORISED = {
    "EMPTY_ACCESS_TOKEN": (65604, "Empty oauth2 access token"),
    "INVALID_ACCESS_TOKEN": (65600, "Invalid access token"),
    "REVOKED_ACCESS_TOKEN": (65601, "The token used in the request has been revoked by the user"),
    "EXPIRED_ACCESS_TOKEN": (65602, "The token used in the request has expired"),
}


def unauthorised(code: str) -> LinkedInRefusal:
    """Return the 401 of this code."""
    service_code, message = _UNAUTHORISED[code]
    return LinkedInRefusal(401, message, code, service_code)


def not_allowed(resource: str) -> LinkedInRefusal:
    """Return the 403 of an application without the scope, or a person without the role."""
    return LinkedInRefusal(403, f"Not enough permissions to access: {resource}", "ACCESS_DENIED", ACCESS_DENIED)


def throttled() -> LinkedInRefusal:
    """Return the 429 of every rate limit: there is no Retry-After and no header that tells which limit it was."""
    message = "Resource level throttle limit for calls to this resource is reached."
    return LinkedInRefusal(429, message, service_code=THROTTLED)


def segment_limit(account: str) -> LinkedInRefusal:
    """Return the 429 of an ad account that holds as many segments as it may."""
    return LinkedInRefusal(429, f"The limit of DMP segments is reached for {account}", "SEGMENT_LIMIT_EXCEEDED")


def no_segment(segment_id: str) -> LinkedInRefusal:
    """Return the 404 of a segment that is gone, never was, or has not spread yet."""
    return LinkedInRefusal(404, f"Could not find DMP segment with ID {segment_id}", "NOT_FOUND", 0)


def bad_request(message: str, code: str = "ILLEGAL_ARGUMENT") -> LinkedInRefusal:
    """Return the 400 of a request that cannot be understood."""
    return LinkedInRefusal(400, message, code, 0)


def bad_field(field: str, why: str) -> LinkedInRefusal:
    """Return the 400 of a body that breaks the schema, in Rest.li's own form."""
    return bad_request(f"ERROR :: /{field} :: {why}", "INVALID_INPUT")


def no_version() -> LinkedInRefusal:
    """Return the 400 of a request without a version."""
    return LinkedInRefusal(400, "A version must be present. Specify one in the LinkedIn-Version header.", "VERSION_MISSING")


def inactive_version(version: str) -> LinkedInRefusal:
    """Return the 426 of a version that has ended, or does not exist."""
    return LinkedInRefusal(426, f"Requested version {version}01 is not active", "NONEXISTENT_VERSION")


def conflict() -> LinkedInRefusal:
    """Return the 409 that creates at the same moment may meet."""
    return LinkedInRefusal(409, "Another change of this resource is going on", "CONFLICT", 0)


def unavailable(status: int = 500) -> LinkedInRefusal:
    """Return a 5xx."""
    return LinkedInRefusal(status, "Internal Server Error", "INTERNAL_SERVER_ERROR", 0)
