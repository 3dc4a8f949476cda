"""Signing in to Dataverse for the installer: as a person by device code or browser, or as an application with a secret."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msal

from shared.http import Sign
from solution.web import InstallError

type Way = Literal["device", "browser", "app"]

PUBLIC_AUTHORITY = "https://login.microsoftonline.com"
# Microsoft's own public client for tools that work with Dataverse in a person's name (Microsoft Learn, "Use OAuth authentication
# with Microsoft Dataverse"); tenants that block it give the id of a registration of their own.
PUBLIC_CLIENT = "51f81489-12ee-4a9e-aaae-a2591f45987d"
BROWSER_SECONDS = 300
_CODE = re.compile(r"AADSTS\d+")


def sign_in(
    url: str,
    way: Way,
    *,
    authority: str = PUBLIC_AUTHORITY,
    tenant: str = "",
    client_id: str = "",
    env: Mapping[str, str] = os.environ,
    say: Callable[[str], None] = print,
) -> Sign:
    """Return what signs requests to the environment at `url`; tokens are renewed as long as it is used and never stored.

    `say` shows a person where to enter the device code. The application's id, secret and tenant come from `env`
    (DATAVERSE_CLIENT_ID, DATAVERSE_CLIENT_SECRET, DATAVERSE_TENANT_ID). Raises InstallError when nobody could sign in.
    """
    signer: _Application | _Person
    if way == "app":
        signer = _Application(url, authority, tenant, client_id, env)
    else:
        signer = _Person(url, f"{authority}/{tenant or 'organizations'}", client_id or PUBLIC_CLIENT, way, say)
    signer.token()
    return lambda: {"Authorization": f"Bearer {signer.token()}"}


class _Application:
    """An application's own sign-in; MSAL keeps its token while it lasts."""

    def __init__(self, url: str, authority: str, tenant: str, client_id: str, env: Mapping[str, str]) -> None:
        given = {
            "DATAVERSE_CLIENT_ID": client_id or env.get("DATAVERSE_CLIENT_ID", ""),
            "DATAVERSE_CLIENT_SECRET": env.get("DATAVERSE_CLIENT_SECRET", ""),
            "DATAVERSE_TENANT_ID": tenant or env.get("DATAVERSE_TENANT_ID", "") or env.get("DATAVERSE_TENANT", ""),
        }
        missing = [name for name, value in given.items() if not value]
        if missing:
            raise InstallError(f"To sign in as an application, set {' and '.join(missing)} in the environment.")
        self._scopes = [f"{url}/.default"]
        self._client = _made(
            lambda: msal.ConfidentialClientApplication(
                given["DATAVERSE_CLIENT_ID"],
                authority=f"{authority}/{given['DATAVERSE_TENANT_ID']}",
                client_credential=given["DATAVERSE_CLIENT_SECRET"],
                instance_discovery=_is_public(authority),
            )
        )

    def token(self) -> str:
        """Return an access token that is good now."""
        return _token(_asked(lambda: self._client.acquire_token_for_client(scopes=self._scopes)))


class _Person:
    """A person's sign-in; asked for once, then renewed without them."""

    def __init__(self, url: str, authority: str, client_id: str, way: Way, say: Callable[[str], None]) -> None:
        self._way, self._say = way, say
        self._scopes = [f"{url}/user_impersonation"]
        self._client = _made(
            lambda: msal.PublicClientApplication(client_id, authority=authority, instance_discovery=_is_public(authority))
        )

    def token(self) -> str:
        """Return an access token that is good now."""
        accounts = self._client.get_accounts()
        known = _asked(lambda: self._client.acquire_token_silent(self._scopes, account=accounts[0])) if accounts else None
        return _token(known or self._ask())

    def _ask(self) -> Any:
        if self._way == "browser":
            self._say("Sign in in the browser window that opens now.")
            return _asked(
                lambda: self._client.acquire_token_interactive(
                    scopes=self._scopes, prompt="select_account", timeout=BROWSER_SECONDS
                )
            )
        flow = _asked(lambda: self._client.initiate_device_flow(scopes=self._scopes))
        if "user_code" not in flow:
            return flow
        self._say(f"To sign in, open {flow['verification_uri']} in a browser and enter the code {flow['user_code']}.")
        return _asked(lambda: self._client.acquire_token_by_device_flow(flow))


def _is_public(authority: str) -> bool:
    """Tell whether an authority is Microsoft's; only that one can be asked what others it knows."""
    return urlsplit(authority).hostname == urlsplit(PUBLIC_AUTHORITY).hostname


def _made(make: Callable[[], Any]) -> Any:
    """Return an MSAL client; making one already asks the authority."""
    try:
        return make()
    except ValueError as error:
        raise InstallError(
            "Microsoft Entra does not know the tenant or the authority. Check --tenant and --authority."
        ) from error
    except OSError as error:
        raise _unreachable(error) from error


def _asked(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except msal.BrowserInteractionTimeoutError as error:
        raise InstallError("Nobody signed in in the browser within five minutes. Run the command again.") from error
    except OSError as error:
        raise _unreachable(error) from error


def _unreachable(error: Exception) -> InstallError:
    return InstallError(f"Microsoft Entra could not be reached ({type(error).__name__}). Check the network, then try again.")


def _token(result: Any) -> str:
    """Return the token in MSAL's result; of an error only its code is told, because the rest may name people."""
    token = result.get("access_token") if isinstance(result, dict) else None
    if isinstance(token, str) and token:
        return token
    found = _CODE.search(str((result or {}).get("error_description", "")))
    code = found[0] if found else str((result or {}).get("error", "no token"))[:60]
    raise InstallError(
        f"Microsoft Entra did not let you sign in ({code}). Sign in with an administrator of the environment; where the tenant "
        "blocks Microsoft's public client, give the id of your own registration with --client-id."
    )
