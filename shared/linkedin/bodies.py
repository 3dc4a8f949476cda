"""Bodies of member batches for LinkedIn, written by joining text: no object per member."""

from binascii import hexlify

_DIGEST_SIZE = 32


def users_body(digests: bytes, action: str = "ADD") -> bytes:
    """Return the BATCH_CREATE body that adds (or with "REMOVE" removes) members, 32 bytes of digest each, in their order.

    Raises ValueError for no members: LinkedIn answers 200 to an empty batch and does nothing.
    https://learn.microsoft.com/linkedin/marketing/matched-audiences/create-and-manage-segment-users
    """
    if not digests or len(digests) % _DIGEST_SIZE:
        raise ValueError(f"A batch needs whole digests of {_DIGEST_SIZE} bytes, and at least one; it has {len(digests)} bytes.")
    opening = f'{{"action":"{action}","userIds":[{{"idType":"SHA256_EMAIL","idValue":"'.encode("ascii")
    elements = hexlify(digests, ",", _DIGEST_SIZE).replace(b",", b'"}]},' + opening)
    return b"".join((b'{"elements":[', opening, elements, b'"}]}]}'))
