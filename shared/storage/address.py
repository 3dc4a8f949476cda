"""How to reach the storage account: `AzureWebJobsStorage` in the forms that the Functions host knows.

Either a connection string, or the app's identity in settings that begin with `AzureWebJobsStorage__`
(https://learn.microsoft.com/azure/azure-functions/functions-reference#connecting-to-host-storage-with-an-identity).
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.errors import ConfigurationWrong

SETTING = "AzureWebJobsStorage"
# Account and key of Azurite and the older emulators, public by design:
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
_EMULATOR = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"  # pragma: allowlist secret
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)


NO_ACCOUNT = f"The setting {SETTING} does not describe a storage account. docs/settings.md shows what it looks like."


@dataclass(frozen=True)
class AccountAddress:
    """With a connection string, or without one as the app's identity at three addresses.

    `client_id` names a user-assigned identity; "" means the app's own, system-assigned one.
    """

    connection_string: str = field(default="", repr=False)
    blob_url: str = ""
    queue_url: str = ""
    table_url: str = ""
    client_id: str = ""


def read_address(env: Mapping[str, str]) -> AccountAddress:
    """Return how the environment says to reach the storage account; a connection string wins.

    Raises ConfigurationWrong when it says nothing, or not enough.
    """
    if written := env.get(SETTING, "").strip():
        return AccountAddress(_expanded(written))
    if env.get(f"{SETTING}__credential", "").strip().lower() != "managedidentity":
        raise ConfigurationWrong(
            f"The setting {SETTING} is missing: a connection string, or {SETTING}__credential=managedidentity with the account's "
            "name or addresses. docs/settings.md explains both."
        )
    urls = {service: _service_url(env, service) for service in ("blob", "queue", "table")}
    if missing := [f"{SETTING}__{service}ServiceUri" for service, url in urls.items() if not url]:
        raise ConfigurationWrong(f"These settings are missing: {', '.join(missing)} (or {SETTING}__accountName for all of them).")
    return AccountAddress("", urls["blob"], urls["queue"], urls["table"], env.get(f"{SETTING}__clientId", "").strip())


@dataclass(frozen=True)
class Account:
    """What a connection string says: the addresses of the services, and the account's key or a shared access signature."""

    urls: Mapping[str, str]
    name: str
    key: bytes = field(repr=False)
    signature: str = field(default="", repr=False)


def read_connection_string(written: str) -> Account:
    """Return what a connection string says. Raises ConfigurationWrong when it describes no storage account.

    https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
    """
    said = {name.strip().lower(): value.strip() for name, _, value in (part.partition("=") for part in written.split(";"))}
    name, signature = said.get("accountname", ""), said.get("sharedaccesssignature", "")
    suffix, scheme = said.get("endpointsuffix", "core.windows.net"), said.get("defaultendpointsprotocol", "https")
    usual = f"{scheme}://{name}.{{}}.{suffix}" if name else ""
    urls = {service: said.get(f"{service}endpoint", usual.format(service)).rstrip("/") for service in ("blob", "queue", "table")}
    try:
        key = b64decode(said.get("accountkey", ""), validate=True)
    except ValueError:
        key = b""
    if not ((name and key) or signature) or not all(url.startswith(("https://", "http://")) for url in urls.values()):
        raise ConfigurationWrong(NO_ACCOUNT)  # what was written is left out, because a key may be in it
    return Account(urls, name, key, signature)


def _service_url(env: Mapping[str, str], service: str) -> str:
    if url := env.get(f"{SETTING}__{service}ServiceUri", "").strip():
        return url.rstrip("/")
    name = env.get(f"{SETTING}__accountName", "").strip()
    return f"https://{name}.{service}.core.windows.net" if name else ""


def _expanded(connection_string: str) -> str:
    """Return a connection string that the Python clients understand; the short form is only known to the host."""
    words = connection_string.strip(";").replace(" ", "").lower()
    return _EMULATOR if words == "usedevelopmentstorage=true" else connection_string
