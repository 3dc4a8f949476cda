"""What the member path is measured against: the least anybody has to do, and what one would write first."""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256

from email_validator import EmailNotValidError, validate_email

BATCH = 5_000


def hash_alone(addresses: Sequence[bytes]) -> list[bytes]:
    """Return the digests of addresses that somebody else has read, checked, normalised and encoded."""
    return [sha256(address).digest() for address in addresses]


def naive(pages: Iterable[bytes]) -> list[bytes]:
    """Return the request bodies for some pages, written as one would at first: dictionaries, a check for an at-sign, a set."""
    return _bodies({_hash(address) for address in _addresses(pages) if "@" in address})


def library_on_every_row(pages: Iterable[bytes]) -> list[bytes]:
    """Return the request bodies for some pages, each address judged by the library."""
    return _bodies({_hash(address) for address in _addresses(pages) if _is_valid(address)})


def _addresses(pages: Iterable[bytes]) -> Iterable[str]:
    for page in pages:
        for row in json.loads(page)["value"]:
            if row["statecode"] == 0 and not row["donotemail"] and not row["donotbulkemail"]:
                yield "".join((row["emailaddress1"] or "").split()).lower()


def _is_valid(address: str) -> bool:
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def _hash(address: str) -> str:
    return sha256(address.encode()).hexdigest()


def _bodies(hashes: set[str]) -> list[bytes]:
    members = sorted(hashes)
    batches = [members[start : start + BATCH] for start in range(0, len(members), BATCH)]
    return [json.dumps({"elements": [_element(value) for value in batch]}).encode() for batch in batches]


def _element(value: str) -> dict[str, object]:
    return {"action": "ADD", "userIds": [{"idType": "SHA256_EMAIL", "idValue": value}]}
