"""The sandbox's access tokens: the Entra simulator issues them, the Dataverse simulator reads them.

They have the shape of Entra's (a signed JWT with `aud`, `appid`, `oid`, `tid`, `exp`), but are signed with a key that
everybody may know, because they open nothing but simulators.
"""

import uuid
from typing import Any

import jwt
from jwt.types import Options

TENANT = "00000000-0000-0000-0000-000000000001"
_KEY = b"sandbox-only-key-that-is-no-secret-and-opens-nothing"
_ALGORITHM = "HS256"
_SIGNATURE_ONLY: Options = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "require": ["aud", "exp", "appid"],
}
_NAMESPACE = uuid.UUID("5a1db0c5-0000-4000-8000-000000000000")


class InvalidToken(Exception):
    """The text is no token of the sandbox, or it was issued for another audience."""


class ExpiredToken(InvalidToken):
    """The token was good once; its time is over."""


def object_id(appid: str) -> str:
    """Return the object id of an application's service principal: always the same for the same application.

    >>> object_id("a") == object_id("a") != object_id("b")
    True
    """
    return str(uuid.uuid5(_NAMESPACE, appid))


def issue(
    *, appid: str, audience: str, now: float, seconds: int = 3599, oid: str | None = None, claims: dict[str, Any] | None = None
) -> str:
    """Return an access token for one application and one resource.

    `audience` is the resource's address, `now` seconds since 1970 on the issuer's clock, `seconds` its life.
    Without `oid` the token is the application's own; `claims` adds what a person's token carries besides.
    """
    payload = {
        "aud": audience.rstrip("/"),
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now) + seconds,
        "appid": appid,
        "oid": oid or object_id(appid),
        "tid": TENANT,
        "ver": "1.0",
        "uti": uuid.uuid4().hex,
    }
    return jwt.encode(payload | (claims or {}), _KEY, _ALGORITHM)


def read(token: str, audience: str, now: float) -> dict[str, Any]:
    """Return the claims of a token that is good for `audience` at `now` (seconds since 1970).

    Trailing slashes of audiences do not count. Raises `ExpiredToken` when its time is over, else `InvalidToken`.
    """
    try:
        claims: dict[str, Any] = jwt.decode(token, _KEY, [_ALGORITHM], options=_SIGNATURE_ONLY)
    except jwt.InvalidTokenError as error:
        raise InvalidToken("This is not a token of the sandbox's Entra simulator.") from error
    if str(claims["aud"]).rstrip("/").lower() != audience.rstrip("/").lower():
        raise InvalidToken(f"The token was issued for {claims['aud']}, not for {audience}.")
    if claims["exp"] <= now:
        raise ExpiredToken("The token has expired.")
    return claims
