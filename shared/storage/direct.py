"""Requests to the storage services without Microsoft's clients, for what happens with every event, step and part.

Those clients take a millisecond of processor time or more for a call, several times what sending takes. They stay in use for
what is rare: searching, listing, making tables, queues and containers.
"""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import urlencode, urlsplit

from azure.core.exceptions import HttpResponseError

from shared.http import Answer, HttpClient, Request
from shared.storage.signing import Signer, Unsigned

VERSION = "2022-11-02"
NAME = "The app's storage account"
_READ_SECONDS = 30.0
_REFUSED = 400


class Service:
    """One of the account's three services. Its address may have a path (Azurite's has)."""

    def __init__(self, url: str, signer: Signer) -> None:
        """Send to `url`; nothing is sent yet."""
        self._http = HttpClient(url, name=NAME)
        self._root = urlsplit(self._http.base_url).path
        self._signer = signer

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send a signed request and return its answer; `path` is encoded as it is to be sent, header names are in lower case.

        Raises HttpResponseError, as Microsoft's clients do, when the service refuses it; RemoteUnavailable or OutcomeUnknown
        when there is no answer.
        """
        asked = {**(query or {}), **self._signer.query()}
        given = {"x-ms-date": _moment(int(time.time())), "x-ms-version": VERSION, **(headers or {})}
        signed = self._signer.headers(Unsigned(method, self._root + path, asked, given, len(body)))
        address = f"{path}?{urlencode(asked)}" if asked else path
        answer = self._http.send(Request(method, address, {**given, **signed}, body or None), read_seconds=_READ_SECONDS)
        if answer.status >= _REFUSED:
            raise _refusal(answer)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@lru_cache(maxsize=1)
def _moment(second: int) -> str:
    """Return a moment as the services want it; many requests share a second."""
    return formatdate(second, usegmt=True)


def _refusal(answer: Answer) -> HttpResponseError:
    """Return the exception that Microsoft's clients raise; not with the answer's body, which may repeat what was sent."""
    error = HttpResponseError(message=f"status {answer.status}")
    error.status_code = answer.status
    error.error_code = answer.headers.get("x-ms-error-code", "")  # type: ignore[attr-defined]
    return error
