"""The email rule: what an address as the CRM wrote it becomes before LinkedIn sees it.

Remove all white space, lower-case, Unicode NFC, UTF-8, SHA-256. The verdict on that text is the one of the library
`email-validator` without DNS and otherwise with its defaults.
"""

from dataclasses import dataclass
from hashlib import sha256
from unicodedata import normalize

from email_validator import EmailNotValidError, validate_email

from shared.domain.reasons import Reason

DIGEST_SIZE = 32


@dataclass(frozen=True, slots=True)
class HashedEmail:
    """The SHA-256 of a usable address: 32 bytes."""

    digest: bytes

    @property
    def hex(self) -> str:
        """Return the digest as LinkedIn wants it: 64 lower-case hexadecimal digits."""
        return self.digest.hex()


@dataclass(frozen=True, slots=True)
class RejectedEmail:
    """Why an address is not used. It does not hold the address."""

    reason: Reason


def normalise(written: str) -> str:
    """Return the text that is judged and hashed: without white space, lower-case, NFC."""
    return normalize("NFC", "".join(written.split()).lower())


def prepare_email(written: str | None) -> HashedEmail | RejectedEmail:
    """Turn an address as the CRM wrote it into what LinkedIn matches on, or say why it cannot be used.

    >>> prepare_email(" Ada@Example.com ") == prepare_email("ada@example.com")
    True
    """
    address = normalise(written or "")
    if not address:
        return RejectedEmail(Reason.NO_EMAIL)
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return RejectedEmail(Reason.CHARACTERS_NOT_ALLOWED)
    return HashedEmail(sha256(address.encode()).digest())
