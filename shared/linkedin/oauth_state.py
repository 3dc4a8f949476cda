"""The `state` of a LinkedIn sign-in: which ticket it belongs to, signed, and bound to one browser.

LinkedIn hands the state back unread. It opens nothing by itself: the ticket behind it is used once, and the
browser must show the nonce that it was given as a cookie when the sign-in began.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

_LONGEST = 2000


class StateProblem(StrEnum):
    """Why a state is not accepted, as a sentence with a next step."""

    FORGED = "This sign-in did not begin here, or its address was damaged. Go back to the tab and press Sign in."
    OTHER_BROWSER = (
        "This sign-in began in another browser or window, or its cookie was removed. Go back to the tab and press Sign in."
    )
    EXPIRED = "This sign-in took too long. Go back to the tab and press Sign in."


@dataclass(frozen=True)
class SignedState:
    """A state that is genuine, fresh, and in the browser where it began."""

    ticket_id: str
    expires: datetime


class _Payload(msgspec.Struct):
    t: str  # ticket
    b: str  # digest of the browser's nonce
    e: int  # seconds since 1970


_PAYLOAD = msgspec.json.Decoder(_Payload)


def state_key(secret: bytes) -> bytes:
    """Return the key for states made from a secret that is used for something else besides."""
    return hmac.digest(secret, b"linkedin sign-in state", "sha256")


def sign_state(key: bytes, ticket_id: str, nonce: str, expires: datetime) -> str:
    """Return the state for one sign-in; `nonce` is what the browser keeps in its cookie. Safe in an address as it is."""
    payload = msgspec.json.encode(_Payload(ticket_id, _nonce_digest(nonce), int(expires.timestamp())))
    return f"{_to_text(payload)}.{_to_text(_signature(key, payload))}"


def read_state(key: bytes, state: str, nonce: str, now: datetime) -> SignedState | StateProblem:
    """Return what a state says, or why it is not accepted. `nonce` is the browser's cookie, "" when it has none.

    Never raises, whatever comes in; secrets are compared in constant time.
    """
    written, _, signed = state.partition(".")
    payload, signature = _to_bytes(written), _to_bytes(signed)
    if len(state) > _LONGEST or not hmac.compare_digest(signature, _signature(key, payload)):
        return StateProblem.FORGED
    said = _PAYLOAD.decode(payload)  # ours, since the signature is
    if not hmac.compare_digest(said.b.encode(), _nonce_digest(nonce).encode()):
        return StateProblem.OTHER_BROWSER
    if now.timestamp() >= said.e:
        return StateProblem.EXPIRED
    return SignedState(said.t, datetime.fromtimestamp(said.e, UTC))


def _signature(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, payload, "sha256")


def _nonce_digest(nonce: str) -> str:
    return hashlib.sha256(nonce.encode("utf-8", "surrogatepass")).hexdigest()


def _to_text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _to_bytes(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.encode("ascii", "replace") + b"==")
    except binascii.Error:
        return b""
