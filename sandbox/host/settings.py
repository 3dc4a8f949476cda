"""What an app is configured with: local.settings.json, host.json, and settings named in bindings."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The account and key that Azurite and the older emulators share, public by design:
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # pragma: allowlist secret
_SPAN = re.compile(r"(?:(\d+)\.)?(\d+):(\d\d):(\d\d)(\.\d+)?")
_NAMED = re.compile(r"%([^%]+)%")


class BadSettings(ValueError):
    """A settings file or a setting is missing or wrong; the sentence says which and what to do."""


@dataclass(frozen=True)
class QueueRules:
    """host.json's `extensions.queues`; seconds. `message_encoding` is `base64` or `none`."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: float = 0.0
    max_polling_interval: float = 60.0
    message_encoding: str = "base64"


@dataclass(frozen=True)
class HostFile:
    """What the host takes from host.json. `function_timeout` is in seconds, None for no limit."""

    route_prefix: str = "api"
    queues: QueueRules = field(default_factory=QueueRules)
    function_timeout: float | None = 1800.0
    log_levels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LocalSettings:
    """local.settings.json: `values` become environment variables; `cors` are the origins that may call."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    cors: tuple[str, ...] = ()


def read_local_settings(path: Path) -> LocalSettings:
    """Return what a local.settings.json file says; raises BadSettings."""
    content = _read(path)
    values = content.get("Values", {})
    for name, value in values.items():
        if not isinstance(value, str):
            raise BadSettings(f"{name} in {path} has to be a text in quotation marks: Functions passes settings as texts only.")
    origins = str(content.get("Host", {}).get("CORS", ""))
    return LocalSettings(values, tuple(origin.strip() for origin in origins.split(",") if origin.strip()))


def read_host_file(app: Path) -> HostFile:
    """Return what the app's host.json says, with Functions' defaults; raises BadSettings when it is missing or wrong."""
    content = _read(app / "host.json")
    extensions = content.get("extensions", {})
    timeout = str(content.get("functionTimeout", "00:30:00"))
    return HostFile(
        route_prefix=str(extensions.get("http", {}).get("routePrefix", "api")).strip("/"),
        queues=_queue_rules(extensions.get("queues", {})),
        function_timeout=None if timeout == "-1" else _seconds(timeout, "functionTimeout"),
        log_levels=content.get("logging", {}).get("logLevel", {}),
    )


def _queue_rules(written: Mapping[str, Any]) -> QueueRules:
    batch_size = int(written.get("batchSize", 16))
    if not 1 <= batch_size <= 32:  # noqa: PLR2004 - the service's own limits
        raise BadSettings(f"batchSize in host.json is {batch_size}; it has to be from 1 to 32.")
    encoding = str(written.get("messageEncoding", "base64")).lower()
    if encoding not in ("base64", "none"):
        raise BadSettings(f"messageEncoding in host.json is {encoding!r}; it has to be base64 or none.")
    return QueueRules(
        batch_size=batch_size,
        new_batch_threshold=int(written.get("newBatchThreshold", batch_size // 2)),
        max_dequeue_count=int(written.get("maxDequeueCount", 5)),
        visibility_timeout=_seconds(str(written.get("visibilityTimeout", "00:00:00")), "visibilityTimeout"),
        max_polling_interval=_seconds(str(written.get("maxPollingInterval", "00:01:00")), "maxPollingInterval"),
        message_encoding=encoding,
    )


def _seconds(span: str, name: str) -> float:
    found = _SPAN.fullmatch(span)
    if not found:
        raise BadSettings(f"{name} in host.json is {span!r}; write it as hours:minutes:seconds, such as 00:00:30.")
    days, hours, minutes, seconds, fraction = found.groups(default="0")
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds) + float(fraction)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise BadSettings(f"There is no {path}. Create it, or name another folder or file.") from error
    except json.JSONDecodeError as error:
        raise BadSettings(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise BadSettings(f"{path} has to hold a JSON object.")
    return content


def resolve(text: str) -> str:
    """Return a binding's text with each `%SETTING%` replaced by that setting; raises BadSettings when one is missing."""
    return _NAMED.sub(lambda found: _setting(found[1]), text)


def connection_string(name: str) -> str:
    """Return the connection string that a binding's `connection` names; raises BadSettings when it is missing.

    `UseDevelopmentStorage=true` becomes Azurite on its usual ports.
    """
    value = os.environ.get(f"AzureWebJobs{name}") or _setting(name or "AzureWebJobsStorage")
    return development_storage() if value.replace(" ", "").rstrip(";").lower() == "usedevelopmentstorage=true" else value


def development_storage(blobs: int = 10000, queues: int = 10001, tables: int = 10002) -> str:
    """Return the connection string of an Azurite that listens on these ports of loopback."""
    ports = {"Blob": blobs, "Queue": queues, "Table": tables}
    endpoints = (f"{service}Endpoint=http://127.0.0.1:{port}/{_ACCOUNT}" for service, port in ports.items())
    return ";".join(("DefaultEndpointsProtocol=http", f"AccountName={_ACCOUNT}", f"AccountKey={_KEY}", *endpoints)) + ";"


def is_disabled(function: str) -> bool:
    """Tell whether `AzureWebJobs.<function>.Disabled` switches a function off, as on Azure."""
    return os.environ.get(f"AzureWebJobs.{function}.Disabled", "").lower() in ("1", "true")


def _setting(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise BadSettings(f"The setting {name} is missing. Add it to Values in local.settings.json or to the environment.")
    return value
