"""Settings: one frozen value read from a mapping, with every problem named in one message."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import ConfigurationWrong

_KEY_BYTES = 32  # AES-256


@dataclass(frozen=True)
class Setting:
    """How one setting is read: its name in the environment, its default (None: required), and its reader."""

    name: str
    default: str | None
    read: Callable[[str], Any]


def _text(value: str) -> str:
    return value.strip()


def _secret(value: str) -> str:
    if value.startswith("@Microsoft.KeyVault"):
        raise ValueError("is a Key Vault reference that was not resolved; check the identity's access to the vault")
    return value.strip()


def _url(value: str) -> str:
    if not value.startswith("https://") and not value.startswith("http://127.0.0.1"):
        raise ValueError("must begin with https://")
    return value.strip().rstrip("/")


def _yes_no(value: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if value.strip().lower() not in words:
        raise ValueError("must be true or false")
    return words[value.strip().lower()]


def _parsed[T](kind: Callable[[str], T], value: str, what: str) -> T:
    """Return the value as this kind; the error does not repeat it."""
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"must be {what}") from None


def _number(least: float, most: float) -> Callable[[str], float]:
    def read(value: str) -> float:
        number = _parsed(float, value, "a number")
        if not least <= number <= most:
            raise ValueError(f"must be between {least:g} and {most:g}")
        return number

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        number = _parsed(int, value, "a whole number")
        if not least <= number <= most:
            raise ValueError(f"must be a whole number between {least} and {most}")
        return number

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value.strip().lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value.strip().lower()

    return read


def _version(value: str) -> str:
    if not re.fullmatch(r"20\d{4}", value):
        raise ValueError("must be a version like 202608")
    return value


def _whole_list(value: str) -> frozenset[int]:
    return frozenset(_parsed(int, word, "whole numbers, separated by commas") for word in value.split(",") if word.strip())


def _keys(value: str) -> tuple[tuple[str, bytes], ...]:
    """Read `id:base64,id:base64`; the first key seals, all of them open."""
    keys = []
    for entry in _secret(value).split(","):
        key_id, _, encoded = entry.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError("must be id:base64, several separated by commas") from error
        if not key_id or len(key) != _KEY_BYTES:
            raise ValueError("must hold keys of 32 bytes, each written id:base64")
        keys.append((key_id, key))
    return tuple(keys)


@dataclass(frozen=True)
class Settings:
    """Everything that can be set. Secrets never show in a repr. `docs/settings.md` explains each name."""

    storage: str = field(repr=False)
    dataverse_url: str
    dataverse_tenant: str
    dataverse_auth: str
    dataverse_client_id: str
    dataverse_client_secret: str = field(repr=False)
    dataverse_certificate: str
    dataverse_certificate_password: str = field(repr=False)
    dataverse_authority: str
    dataverse_organization_id: str
    dataverse_page_size: int
    dataverse_parallel: int
    webhook_secret: str = field(repr=False)
    webhook_secret_previous: str = field(repr=False)
    linkedin_client_id: str
    linkedin_client_secret: str = field(repr=False)
    linkedin_version: str
    linkedin_api_url: str
    linkedin_oauth_url: str
    linkedin_source_platform: str
    linkedin_batch_size: int
    linkedin_calls_per_minute: int
    linkedin_parallel: int
    campaign_manager_url: str
    campaign_manager_suffix: str
    signin_keys: tuple[tuple[str, bytes], ...] = field(repr=False)
    public_url: str
    realtime_segment_id: str
    live_statuses: frozenset[int]
    allow_snapshots: bool
    exclude_inactive: bool
    exclude_do_not_email: bool
    exclude_do_not_bulk_email: bool
    exclude_opted_out: bool
    consent_purpose_id: str
    step_seconds: float
    progress_seconds: float
    confirm_first_seconds: float
    confirm_longest_seconds: float
    confirm_patience_hours: float
    new_audience_seconds: float
    new_audience_patience_seconds: float
    create_claim_seconds: float
    overdue_seconds: float
    part_members: int
    retention_days: float
    left_out_limit: int
    left_out_days: float

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Return the settings found in `env`.

        Raises ConfigurationWrong naming every missing and every unusable setting at once; values are
        never repeated in the message, because they may be secrets.
        """
        values, missing, wrong = {}, [], []
        for attribute, setting in NAMES.items():
            written = env.get(setting.name) or setting.default
            if written is None:
                missing.append(setting.name)
                continue
            try:
                values[attribute] = setting.read(written)
            except ValueError as error:
                wrong.append(f"{setting.name} {error}")
        if not missing and not wrong:
            wrong += _contradictions(values)
        if missing or wrong:
            raise ConfigurationWrong(_problem(missing, wrong))
        return cls(**values)

    @property
    def redirect_uri(self) -> str:
        """Return the address LinkedIn sends people back to, exactly as it must be registered there."""
        return f"{self.public_url}/api/linkedin/callback"


# attribute → how it is read. The order is that of docs/settings.md.
NAMES: dict[str, Setting] = {
    "storage": Setting("AzureWebJobsStorage", "", _text),
    "dataverse_url": Setting("DATAVERSE_URL", None, _url),
    "dataverse_tenant": Setting("DATAVERSE_TENANT_ID", "", _text),
    "dataverse_auth": Setting("DATAVERSE_AUTH", "secret", _one_of("secret", "certificate", "managed-identity")),
    "dataverse_client_id": Setting("DATAVERSE_CLIENT_ID", "", _text),
    "dataverse_client_secret": Setting("DATAVERSE_CLIENT_SECRET", "", _secret),
    "dataverse_certificate": Setting("DATAVERSE_CERTIFICATE_PATH", "", _text),
    "dataverse_certificate_password": Setting("DATAVERSE_CERTIFICATE_PASSWORD", "", _secret),
    "dataverse_authority": Setting("DATAVERSE_AUTHORITY", "https://login.microsoftonline.com", _url),
    "dataverse_organization_id": Setting("DATAVERSE_ORGANIZATION_ID", "", _text),
    "dataverse_page_size": Setting("DATAVERSE_PAGE_SIZE", "5000", _whole(1, 5000)),
    "dataverse_parallel": Setting("DATAVERSE_PARALLEL", "8", _whole(1, 50)),
    "webhook_secret": Setting("WEBHOOK_SECRET", None, _secret),
    "webhook_secret_previous": Setting("WEBHOOK_SECRET_PREVIOUS", "", _secret),
    "linkedin_client_id": Setting("LINKEDIN_CLIENT_ID", None, _text),
    "linkedin_client_secret": Setting("LINKEDIN_CLIENT_SECRET", None, _secret),
    "linkedin_version": Setting("LINKEDIN_VERSION", "202608", _version),
    "linkedin_api_url": Setting("LINKEDIN_API_URL", "https://api.linkedin.com/rest", _url),
    "linkedin_oauth_url": Setting("LINKEDIN_OAUTH_URL", "https://www.linkedin.com/oauth/v2", _url),
    "linkedin_source_platform": Setting("LINKEDIN_SOURCE_PLATFORM", "DIRECT_API", _text),
    "linkedin_batch_size": Setting("LINKEDIN_BATCH_SIZE", "5000", _whole(1, 5000)),
    "linkedin_calls_per_minute": Setting("LINKEDIN_CALLS_PER_MINUTE", "450", _whole(1, 100000)),
    "linkedin_parallel": Setting("LINKEDIN_PARALLEL", "8", _whole(1, 16)),
    "campaign_manager_url": Setting("CAMPAIGN_MANAGER_URL", "https://www.linkedin.com/campaignmanager/accounts", _url),
    "campaign_manager_suffix": Setting("CAMPAIGN_MANAGER_SUFFIX", "", _text),
    "signin_keys": Setting("SIGNIN_KEYS", None, _keys),
    "public_url": Setting("PUBLIC_URL", None, _url),
    "realtime_segment_id": Setting("REALTIME_SEGMENT_ID", "segment", _one_of("segment", "definition")),
    "live_statuses": Setting("LIVE_STATUSES", "723270000,723270004", _whole_list),
    "allow_snapshots": Setting("ALLOW_SNAPSHOTS", "false", _yes_no),
    "exclude_inactive": Setting("EXCLUDE_INACTIVE", "true", _yes_no),
    "exclude_do_not_email": Setting("EXCLUDE_DO_NOT_EMAIL", "true", _yes_no),
    "exclude_do_not_bulk_email": Setting("EXCLUDE_DO_NOT_BULK_EMAIL", "true", _yes_no),
    "exclude_opted_out": Setting("EXCLUDE_OPTED_OUT", "true", _yes_no),
    "consent_purpose_id": Setting("CONSENT_PURPOSE_ID", "10000000-0000-0000-0000-000000000003", _text),
    "step_seconds": Setting("STEP_SECONDS", "45", _number(1, 300)),
    "progress_seconds": Setting("PROGRESS_SECONDS", "2", _number(2, 60)),
    "confirm_first_seconds": Setting("CONFIRM_FIRST_SECONDS", "30", _number(0.1, 3600)),
    "confirm_longest_seconds": Setting("CONFIRM_LONGEST_SECONDS", "1800", _number(0.1, 86400)),
    "confirm_patience_hours": Setting("CONFIRM_PATIENCE_HOURS", "72", _number(0.01, 720)),
    "new_audience_seconds": Setting("NEW_AUDIENCE_SECONDS", "5", _number(0, 300)),
    "create_claim_seconds": Setting("CREATE_CLAIM_SECONDS", "180", _number(1, 3600)),
    "overdue_seconds": Setting("OVERDUE_SECONDS", "900", _number(1, 86400)),
    "new_audience_patience_seconds": Setting("NEW_AUDIENCE_PATIENCE_SECONDS", "600", _number(5, 3600)),
    "part_members": Setting("PART_MEMBERS", "50000", _whole(1, 500000)),
    "retention_days": Setting("RETENTION_DAYS", "7", _number(0.01, 365)),
    "left_out_limit": Setting("LEFT_OUT_LIMIT", "200000", _whole(0, 2000000)),
    "left_out_days": Setting("LEFT_OUT_DAYS", "30", _number(0.01, 3650)),
}


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """Return what is needed besides, depending on how the app signs in to Dataverse."""
    needed = {
        "secret": ("dataverse_tenant", "dataverse_client_id", "dataverse_client_secret"),
        "certificate": ("dataverse_tenant", "dataverse_client_id", "dataverse_certificate"),
        "managed-identity": (),
    }[values["dataverse_auth"]]
    way = values["dataverse_auth"]
    return [f"{NAMES[name].name} is needed with DATAVERSE_AUTH={way}" for name in needed if not values[name]]


def _problem(missing: list[str], wrong: list[str]) -> str:
    sentences = []
    if missing:
        sentences.append(f"These settings are missing: {', '.join(missing)}.")
    sentences += [f"The setting {problem}." for problem in wrong]
    return " ".join([*sentences, "docs/settings.md explains each."])
