"""Settings: read from a mapping, every problem at once, no secret shown."""

import base64

import pytest

from shared.errors import ConfigurationWrong
from shared.settings import NAMES, Settings

ENOUGH = {
    "DATAVERSE_URL": "https://contoso.crm4.dynamics.example/",
    "DATAVERSE_TENANT_ID": "tenant",
    "DATAVERSE_CLIENT_ID": "client",
    "DATAVERSE_CLIENT_SECRET": "dataverse-hush",
    "WEBHOOK_SECRET": "webhook-hush",
    "LINKEDIN_CLIENT_ID": "linkedin-client",
    "LINKEDIN_CLIENT_SECRET": "linkedin-hush",
    "SIGNIN_KEYS": "one:" + base64.b64encode(b"k" * 32).decode(),
    "PUBLIC_URL": "https://app.example",
}


def test_what_is_required_is_enough() -> None:
    """Everything else has a careful default."""
    settings = Settings.from_env(ENOUGH)

    assert settings.dataverse_url == "https://contoso.crm4.dynamics.example"
    assert settings.exclude_inactive
    assert settings.exclude_do_not_email
    assert settings.exclude_do_not_bulk_email
    assert settings.exclude_opted_out
    assert not settings.allow_snapshots
    assert settings.redirect_uri == "https://app.example/api/linkedin/callback"


def test_all_missing_settings_are_named_in_one_message() -> None:
    """Nobody should have to mend them one by one."""
    with pytest.raises(ConfigurationWrong) as caught:
        Settings.from_env({})

    for name in ("DATAVERSE_URL", "WEBHOOK_SECRET", "LINKEDIN_CLIENT_ID", "LINKEDIN_CLIENT_SECRET", "SIGNIN_KEYS", "PUBLIC_URL"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATAVERSE_URL", "http://contoso.example"),
        ("DATAVERSE_PAGE_SIZE", "5001"),
        ("DATAVERSE_AUTH", "password"),
        ("LINKEDIN_VERSION", "2026-08"),
        ("LINKEDIN_BATCH_SIZE", "many"),
        ("SIGNIN_KEYS", "one:short"),
        ("EXCLUDE_INACTIVE", "perhaps"),
        ("WEBHOOK_SECRET", "@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/x)"),
        ("LIVE_STATUSES", "going-live"),
        ("PROGRESS_SECONDS", "0.5"),
    ],
)
def test_an_unusable_value_is_named_but_never_repeated(name: str, value: str) -> None:
    """A value may be a secret, so only its name is told."""
    with pytest.raises(ConfigurationWrong) as caught:
        Settings.from_env(ENOUGH | {name: value})

    assert name in str(caught.value)
    assert value not in str(caught.value)


@pytest.mark.parametrize("way", ["secret", "certificate"])
def test_each_way_to_sign_in_to_dataverse_names_what_it_needs(way: str) -> None:
    """A managed identity needs nothing; the others do."""
    env = {name: value for name, value in ENOUGH.items() if not name.startswith("DATAVERSE_CLIENT")}

    with pytest.raises(ConfigurationWrong, match="DATAVERSE_CLIENT_ID"):
        Settings.from_env(env | {"DATAVERSE_AUTH": way})
    assert Settings.from_env(env | {"DATAVERSE_AUTH": "managed-identity"}).dataverse_auth == "managed-identity"


def test_no_secret_shows_in_a_repr() -> None:
    """Values end up in tracebacks and logs."""
    shown = repr(Settings.from_env(ENOUGH | {"AzureWebJobsStorage": "AccountKey=storage-hush"}))

    assert "hush" not in shown
    assert ENOUGH["SIGNIN_KEYS"].partition(":")[2] not in shown


def test_the_first_sign_in_key_seals_and_all_are_kept() -> None:
    """That is how a key is changed without signing everybody out."""
    second = base64.b64encode(b"s" * 32).decode()
    settings = Settings.from_env(ENOUGH | {"SIGNIN_KEYS": f"two:{second},{ENOUGH['SIGNIN_KEYS']}"})

    assert [key_id for key_id, _ in settings.signin_keys] == ["two", "one"]


def test_every_setting_has_a_name_of_its_own() -> None:
    """Two settings under one name could not be told apart."""
    assert len({setting.name for setting in NAMES.values()}) == len(NAMES)
