"""Who signs a request to a storage service: the account's key, a shared access signature, or the app's identity.

https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

_SCOPE = "https://storage.azure.com/.default"
_RENEW_SECONDS = 300.0


@dataclass(frozen=True)
class Unsigned:
    """A request before it is signed. Header names are in lower case; `path` is the whole path of the address, as it is sent."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    length: int


class Signer(Protocol):
    """Says what makes the service believe a request."""

    def headers(self, request: Unsigned) -> Mapping[str, str]:
        """Return headers to add."""

    def query(self) -> Mapping[str, str]:
        """Return parameters to add to the address."""


@dataclass(frozen=True)
class SharedKey:
    """The account's key. The table service signs less of a request than the other two."""

    account: str
    key: bytes = field(repr=False)
    for_tables: bool = False

    def headers(self, request: Unsigned) -> Mapping[str, str]:
        """Return the signature over the request."""
        text = "\n".join(self._table_lines(request) if self.for_tables else self._lines(request))
        signature = base64.b64encode(hmac.digest(self.key, text.encode(), hashlib.sha256)).decode("ascii")
        return {"authorization": f"SharedKey {self.account}:{signature}"}

    def query(self) -> Mapping[str, str]:
        """Return nothing."""
        return {}

    def _lines(self, request: Unsigned) -> tuple[str, ...]:
        given = request.headers
        length = str(request.length) if request.length else ""
        standard = (
            request.method,
            "",
            "",
            length,
            "",
            given.get("content-type", ""),
            "",
            "",
            given.get("if-match", ""),
            "",
            "",
            "",
        )
        ours = (f"{name}:{given[name]}" for name in sorted(given) if name.startswith("x-ms-"))
        asked = (f"{name}:{request.query[name]}" for name in sorted(request.query))
        return (*standard, *ours, f"/{self.account}{request.path}", *asked)

    def _table_lines(self, request: Unsigned) -> tuple[str, ...]:
        given = request.headers
        return (request.method, "", given.get("content-type", ""), given["x-ms-date"], f"/{self.account}{request.path}")


@dataclass(frozen=True)
class SharedAccess:
    """A shared access signature, which is part of every address."""

    signature: str = field(repr=False)

    def headers(self, request: Unsigned) -> Mapping[str, str]:  # noqa: ARG002  every signer takes the request
        """Return nothing."""
        return {}

    def query(self) -> Mapping[str, str]:
        """Return the signature's parameters."""
        return dict(parse_qsl(self.signature.lstrip("?")))


class Bearer:
    """The app's identity. Its token is asked for again some minutes before its end."""

    def __init__(self, identity: Any) -> None:
        """Take whatever has the `get_token` of Microsoft's credentials."""
        self._identity = identity
        self._token, self._renew_at = "", 0.0

    def headers(self, request: Unsigned) -> Mapping[str, str]:  # noqa: ARG002  every signer takes the request
        """Return the token. Raises ConfigurationWrong or RemoteUnavailable when there is none."""
        if time.time() >= self._renew_at:
            found = self._identity.get_token(_SCOPE)
            self._token, self._renew_at = found.token, found.expires_on - _RENEW_SECONDS
        return {"authorization": f"Bearer {self._token}"}

    def query(self) -> Mapping[str, str]:
        """Return nothing."""
        return {}
