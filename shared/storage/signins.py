"""LinkedIn tokens in a table, sealed; fulfils `ports.SignIns`. Only the end of a sign-in stands there in clear."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from shared.domain.signins import SignIn
from shared.errors import AudienceSyncError, SignInNeeded
from shared.storage.connection import Connection
from shared.storage.sealing import CannotOpen, Sealed, Sealer

TABLE = "limasignins"
PARTITION = "signin"
CANNOT_OPEN = (
    "The stored LinkedIn sign-in cannot be opened with the keys in the setting SIGNIN_KEYS. Sign in to LinkedIn again, or let an "
    "administrator put the earlier key back beside the new one."
)


class _Secrets(msgspec.Struct):
    """What is sealed; the user's id is the context and not repeated."""

    access_token: str
    issued: datetime
    expires: datetime
    refresh_token: str | None
    refresh_expires: datetime | None
    scopes: tuple[str, ...]


_SECRETS = msgspec.json.Decoder(_Secrets)


class TableSignIns:
    """One row per Dynamics user. Nobody reads a token without the key, and a row copied to another user does not open."""

    def __init__(self, connection: Connection, keys: Sequence[tuple[str, bytes]], *, table: str = TABLE) -> None:
        """Seal with the first of `keys` (id, 32 bytes), open with any."""
        self._connection, self._sealer, self._name = connection, Sealer(keys), table

    @property
    def _table(self) -> Any:
        return self._connection.table(self._name)

    def load(self, user_id: str) -> SignIn | None:
        """Return a user's sign-in; None when there is none. Raises SignInNeeded when it cannot be decrypted.

        A sign-in under an earlier key is sealed anew on the way, so that the key can be taken out of the settings.
        """
        found = self._table.get(PARTITION, user_id)
        if found is None:
            return None
        row, etag = found
        sign_in, is_current = self._opened(user_id, row)
        if not is_current:
            with suppress(AudienceSyncError):  # somebody else did it, or it is done the next time
                self._table.replace(self._row(sign_in), etag)
        return sign_in

    def look_at(self, user_id: str) -> SignIn | None:
        """Return a user's sign-in as `load` does, and leave it as it is: for those whose keys may not be the app's."""
        found = self._table.get(PARTITION, user_id)
        return None if found is None else self._opened(user_id, found[0])[0]

    def save(self, sign_in: SignIn) -> None:
        """Remember a sign-in, replacing the user's earlier one."""
        self._table.put(self._row(sign_in))

    def delete(self, user_id: str) -> bool:
        """Delete a user's sign-in; False when there was none."""
        if self._table.get(PARTITION, user_id) is None:
            return False
        self._table.delete(PARTITION, user_id)
        return True

    def expiring_before(self, moment: datetime) -> list[str]:
        """Return the users whose sign-in ends for good before a moment."""
        return [row["RowKey"] for row in self._table.select("ends lt @moment", {"moment": moment}, ())]

    def _opened(self, user_id: str, row: Any) -> tuple[SignIn, bool]:
        """Return what a row holds, and whether it is sealed under the present key."""
        sealed = Sealed(str(row["key"]), bytes(row["sealed"]))
        try:
            secrets = _SECRETS.decode(self._sealer.open(sealed, user_id))
        except (CannotOpen, msgspec.DecodeError):
            raise SignInNeeded(CANNOT_OPEN) from None
        sign_in = SignIn(user_id=user_id, **{name: getattr(secrets, name) for name in _Secrets.__struct_fields__})
        return sign_in, self._sealer.is_current(sealed)

    def _row(self, sign_in: SignIn) -> dict[str, Any]:
        content = {name: getattr(sign_in, name) for name in _Secrets.__struct_fields__}
        sealed = self._sealer.seal(msgspec.json.encode(content), sign_in.user_id)
        return {
            "PartitionKey": PARTITION,
            "RowKey": sign_in.user_id,
            "key": sealed.key_id,
            "sealed": sealed.content,
            "ends": sign_in.usable_until(),
        }
