"""Signing in to Dataverse as the app itself: MSAL with a secret, a certificate or a managed identity.

One token source is made per process, because MSAL keeps its tokens in the client object (MSAL Python:
`acquire_token_for_client` looks into its own cache first).
"""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msal
import msal.exceptions

from shared.errors import ConfigurationWrong, RemoteUnavailable
from shared.http import new_session
from shared.settings import Settings

PUBLIC_AUTHORITY = "login.microsoftonline.com"
_TIMEOUT = (5.0, 30.0)  # seconds to connect, seconds to wait for an answer
_CODE = re.compile(r"AADSTS\d+")
_HINTS = {
    "AADSTS7000215": "The client secret is wrong: DATAVERSE_CLIENT_SECRET needs the secret's value, not its id.",
    "AADSTS7000222": "The client secret has expired. Make a new one and put it into DATAVERSE_CLIENT_SECRET.",
    "AADSTS700016": "There is no such app registration. Check DATAVERSE_CLIENT_ID and DATAVERSE_TENANT_ID.",
    "AADSTS90002": "There is no such tenant. Check DATAVERSE_TENANT_ID.",
    "AADSTS700027": "The certificate is not registered with the app. Upload its public part to the app registration.",
    "AADSTS500011": "Dataverse is not known under this address. Check DATAVERSE_URL.",
    "AADSTS53003": "A Conditional Access policy blocks the app. Ask your Entra administrator to allow it.",
}
_OTHER_HINT = "Check the settings that begin with DATAVERSE_ (docs/settings.md)."
_MAY_PASS = frozenset({"temporarily_unavailable", "server_error"})


class TokenSource(Protocol):
    """Gives access tokens for Dataverse; used by several threads."""

    def token(self) -> str:
        """Return an access token that is good now. Raises ConfigurationWrong or RemoteUnavailable."""

    def forget(self, refused: str) -> None:
        """Make sure that the next token is not this one, which Dataverse refused."""


class MsalTokens:
    """A token source on an MSAL client, which is made on first use because making it asks Entra."""

    def __init__(self, make_client: Callable[[], Any], ask: Callable[[Any], Any]) -> None:
        """Make the client with `make_client` when needed; `ask(client)` returns MSAL's result."""
        self._make_client, self._ask = make_client, ask
        self._client: Any = None
        self._given = ""
        self._lock = threading.Lock()

    def token(self) -> str:
        """Return an access token, from MSAL's cache while it lasts."""
        with self._lock:
            try:
                if self._client is None:
                    self._client = self._make_client()
                result = self._ask(self._client)
            except OSError as error:
                raise RemoteUnavailable(
                    f"Microsoft Entra gave no answer to the app's sign-in ({type(error).__name__}). The step is tried again."
                ) from None
            except (ValueError, RuntimeError, KeyError, msal.exceptions.MsalError) as error:
                raise _misconfigured(error) from None
            self._given = _read(result)
            return self._given

    def forget(self, refused: str) -> None:
        """Drop the client with its cache, unless another thread has had a new token meanwhile."""
        with self._lock:
            if refused == self._given:
                self._client = None


def token_source(settings: Settings, *, session: Any = None) -> TokenSource:
    """Return the token source that the settings describe; nothing is sent before the first token is asked for.

    `session` is a `requests` session for tests; by default one with time-outs and without cookies is made.
    """
    sender = _Sender(session or new_session())
    if settings.dataverse_auth == "managed-identity":
        return MsalTokens(
            lambda: msal.ManagedIdentityClient(_identity(settings.dataverse_client_id), http_client=sender),
            lambda client: client.acquire_token_for_client(resource=settings.dataverse_url),
        )
    return MsalTokens(
        lambda: msal.ConfidentialClientApplication(
            settings.dataverse_client_id,
            authority=f"{settings.dataverse_authority}/{settings.dataverse_tenant}",
            client_credential=_credential(settings),
            instance_discovery=urlsplit(settings.dataverse_authority).hostname == PUBLIC_AUTHORITY,
            http_client=sender,
        ),
        lambda client: client.acquire_token_for_client(scopes=[f"{settings.dataverse_url}/.default"]),
    )


class _Sender:
    """The HTTP client that MSAL asks for: a `requests` session with time-outs and without redirects."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def get(self, url: str, **given: Any) -> Any:
        return self._session.get(url, **(self._ours() | given))

    def post(self, url: str, **given: Any) -> Any:
        return self._session.post(url, **(self._ours() | given))

    def close(self) -> None:
        self._session.close()

    @staticmethod
    def _ours() -> dict[str, Any]:
        return {"timeout": _TIMEOUT, "allow_redirects": False}


def _identity(client_id: str) -> Any:
    """Return the user-assigned identity of this client id, else the system-assigned one."""
    return msal.UserAssignedManagedIdentity(client_id=client_id) if client_id else msal.SystemAssignedManagedIdentity()


def _credential(settings: Settings) -> str | dict[str, str]:
    if settings.dataverse_auth == "secret":
        return settings.dataverse_client_secret
    try:
        with Path(settings.dataverse_certificate).open("rb"):
            pass
    except OSError as error:
        raise ConfigurationWrong(
            f"The certificate named by DATAVERSE_CERTIFICATE_PATH cannot be read ({type(error).__name__}). "
            "Check the path and the file's permissions."
        ) from None
    credential = {"private_key_pfx_path": settings.dataverse_certificate}
    if settings.dataverse_certificate_password:
        credential["passphrase"] = settings.dataverse_certificate_password
    return credential


def _misconfigured(error: Exception) -> ConfigurationWrong | RemoteUnavailable:
    """Return what MSAL means by an exception; its own text is left out because it may repeat what it was given."""
    unreadable = any(isinstance(one, json.JSONDecodeError) for one in (error, error.__context__))
    if unreadable or not isinstance(error, ValueError):
        return RemoteUnavailable("Microsoft Entra could not answer the app's sign-in just now. The step is tried again.")
    if "authority" in str(error):
        return ConfigurationWrong("Microsoft Entra does not know the tenant. Check DATAVERSE_TENANT_ID and DATAVERSE_AUTHORITY.")
    return ConfigurationWrong(
        "The app cannot sign in to Dataverse with what it was given. Check that DATAVERSE_CERTIFICATE_PATH names a PFX file with "
        "its private key, and DATAVERSE_CERTIFICATE_PASSWORD; with a managed identity, that the function app has one."
    )


def _read(result: Any) -> str:
    """Return the token in MSAL's result; its description of an error is left out except for the code."""
    result = result if isinstance(result, dict) else {}
    if isinstance(token := result.get("access_token"), str) and token:
        return token
    if result.get("error") in _MAY_PASS:
        raise RemoteUnavailable("Microsoft Entra could not answer the app's sign-in just now. The step is tried again.")
    found = _CODE.search(str(result.get("error_description", "")))
    code = found[0] if found else str(result.get("error", "no token"))[:60]
    raise ConfigurationWrong(
        f"Microsoft Entra refused the app's sign-in to Dataverse ({code}). {_HINTS.get(code, _OTHER_HINT)} Then press Retry."
    )
