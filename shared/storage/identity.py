"""The app's own identity as a credential for the storage clients, by MSAL instead of a package of its own."""

import time
from typing import Any

import msal
from azure.core.credentials import AccessToken

from shared.errors import ConfigurationWrong, RemoteUnavailable
from shared.http import new_session

_SECONDS = (5, 30)


class ManagedIdentity:
    """What the storage clients ask for tokens; MSAL keeps them until shortly before their end."""

    def __init__(self, client_id: str = "", *, http_client: Any = None) -> None:
        """Be the user-assigned identity `client_id`, or the system-assigned one; `http_client` is for tests."""
        identity = msal.UserAssignedManagedIdentity(client_id=client_id) if client_id else msal.SystemAssignedManagedIdentity()
        self._client = msal.ManagedIdentityClient(identity, http_client=http_client or _Sender())

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Return a token for a scope. Raises ConfigurationWrong or RemoteUnavailable."""
        try:
            answer = self._client.acquire_token_for_client(resource=scopes[0].removesuffix("/.default"))
        except (OSError, ValueError) as error:  # what `requests` raises, and a body that is no JSON
            raise RemoteUnavailable("Azure gave no answer about the app's identity.") from error
        if "access_token" not in answer:
            raise ConfigurationWrong(
                f"Azure gives the app no token for its storage account ({answer.get('error', 'no reason given')}). Check that "
                "the function app has the identity that AzureWebJobsStorage__clientId names."
            )
        return AccessToken(answer["access_token"], int(time.time()) + int(answer.get("expires_in", 300)))


class _Sender:
    """The HTTP client that MSAL asks for, with time limits, which MSAL sets none."""

    def __init__(self) -> None:
        self._session = new_session()

    def get(self, url: str, **given: Any) -> Any:
        return self._session.get(url, timeout=_SECONDS, **given)

    def post(self, url: str, **given: Any) -> Any:
        return self._session.post(url, timeout=_SECONDS, **given)

    def close(self) -> None:
        self._session.close()
