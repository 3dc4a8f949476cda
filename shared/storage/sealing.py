"""Sealing: AES-256-GCM under keys from the settings, so that what is stored opens nothing by itself."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


class CannotOpen(ValueError):  # noqa: N818  named after what is wrong
    """The seal is of a key that is not set any more, of another context, or damaged."""


@dataclass(frozen=True)
class Sealed:
    """Sealed bytes and the id of the key that sealed them."""

    key_id: str
    content: bytes = field(repr=False)


class Sealer:
    """The first key seals, every key opens; so a new key is put first and the old one removed later."""

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """Take (id, 32 bytes) pairs, at least one."""
        self._keys = {key_id: AESGCM(key) for key_id, key in reversed(keys)}
        self._first = keys[0][0]

    def seal(self, content: bytes, context: str) -> Sealed:
        """Seal content so that it opens only in the same context (a user's id, say)."""
        nonce = os.urandom(_NONCE)
        return Sealed(self._first, nonce + self._keys[self._first].encrypt(nonce, content, context.encode()))

    def open(self, sealed: Sealed, context: str) -> bytes:
        """Return what was sealed. Raises CannotOpen."""
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise CannotOpen("no such key")
        try:
            return key.decrypt(sealed.content[:_NONCE], sealed.content[_NONCE:], context.encode())
        except (InvalidTag, ValueError):
            raise CannotOpen("wrong key, context or content") from None

    def is_current(self, sealed: Sealed) -> bool:
        """Tell whether the key that seals now has sealed this."""
        return sealed.key_id == self._first
