"""The contacts of a chaos world, and which of them an audience may hold, worked out apart from the product.

Every address is under one domain that occurs nowhere else, so that a single one in a log, queue, table or blob is found.
"""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

DOMAIN = "chaos-pool.example.com"
SIZE = 24_000
_SEED = 20_261_123
_SORTS = (
    ("usable", 0.80),
    ("no email", 0.03),
    ("invalid", 0.03),
    ("repeated", 0.04),
    ("international", 0.02),
    ("bulk", 0.03),
    ("email", 0.01),
    ("inactive", 0.02),
    ("opted out", 0.02),
)


@dataclass(frozen=True)
class Contact:
    """One contact. `digest` is what LinkedIn may hold of it as hex, None when it must be left out."""

    id: str
    address: str | None
    digest: str | None
    bulk: bool = False
    email: bool = False
    inactive: bool = False
    opted_out: bool = False

    def row(self) -> dict[str, Any]:
        """Return the contact as a row of Dataverse."""
        return {
            "contactid": self.id,
            "fullname": f"Contact {self.id[:8]}",
            "emailaddress1": self.address,
            "donotbulkemail": self.bulk,
            "donotemail": self.email,
            "statecode": int(self.inactive),
        }


@dataclass(frozen=True)
class Pool:
    """All contacts of a world by id; the same in every world."""

    contacts: dict[str, Contact]

    @classmethod
    def of_size(cls, size: int = SIZE) -> "Pool":
        """Return the pool; a smaller one begins with the same contacts."""
        made = random.Random(_SEED)  # noqa: S311  chance that can be repeated, no secret
        contacts: list[Contact] = []
        for number in range(size):
            contacts.append(_contact(number, made, contacts))
        return cls({contact.id: contact for contact in contacts})

    def ids(self) -> list[str]:
        """Return all ids in their order."""
        return list(self.contacts)

    def opted_out(self) -> list[str]:
        """Return the addresses that are opted out of the commercial purpose."""
        return [contact.address for contact in self.contacts.values() if contact.opted_out and contact.address]

    def allowed(self, members: Iterable[str]) -> set[str]:
        """Return what an audience of these members holds: the distinct digests of those who may be sent."""
        return {digest for member in members if (digest := self.contacts[member].digest)}

    def sample(self, seed: str, size: int) -> list[str]:
        """Return some contacts' ids, the same for the same seed."""
        return random.Random(seed).sample(self.ids(), size)  # noqa: S311  as above


def _contact(number: int, made: random.Random, before: Sequence[Contact]) -> Contact:
    contact_id = str(UUID(bytes=made.randbytes(16), version=4))
    sort = made.choices([name for name, _ in _SORTS], [share for _, share in _SORTS])[0]
    address: str | None = f"person{number}.{made.randrange(10**6)}@{DOMAIN}"
    digest: str | None = digest_of(address or "")
    match sort:
        case "no email":
            address, digest = None, None
        case "invalid":
            address, digest = made.choice([f"person{number}.{DOMAIN}", f"@{DOMAIN}", f"two words at {DOMAIN}"]), None
        case "repeated" if twin := _plain_twin(before):
            address, digest = f"  {(twin.address or '').upper()} ", twin.digest
        case "international":
            address = f"grüße{number}@{DOMAIN}"
            digest = digest_of(address)
        case "bulk" | "email" | "inactive" | "opted out":
            return Contact(contact_id, address, None, **{sort.replace(" ", "_"): True})
    return Contact(contact_id, address, digest)


def _plain_twin(before: Sequence[Contact]) -> Contact | None:
    return next((contact for contact in reversed(before) if contact.digest and (contact.address or "").isascii()), None)


def digest_of(address: str) -> str:
    """Return LinkedIn's identifier of an address: SHA-256 of the lower-case text without white space, as hex."""
    return hashlib.sha256("".join(address.split()).lower().encode()).hexdigest()
