"""Webhook events: from the RemoteExecutionContext that Dataverse posts to what the door needs to know.

An event is only a doorbell: what is read here says which row to look at, never what is in it.
Source: Microsoft Learn, "Use webhooks to create external handlers for server events".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import msgspec

from shared.dataverse.protocol import as_guid
from shared.dataverse.schema import AUDIENCE_TABLE, SEGMENT_TABLES, SIGN_IN_TABLE, Audience
from shared.errors import AudienceSyncError

_NOTHING = UUID(int=0)
_KEYS = UUID("1f0c2c1e-6a0d-4a5e-9d53-7f2f5b1d1a01")  # makes keys of events without an operation id
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,127}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?")


class BadEvent(AudienceSyncError):  # noqa: N818  errors are named after what is wrong
    """What arrived at the webhook is no event of Dataverse; the caller is told so and nothing is done."""


@dataclass(frozen=True)
class Event:
    """One event. Ids are in lower case without braces, empty when the event names none.

    `key` is the same for every delivery of the same event. `host` is the environment's, from a header. `depth` is
    above 1 when another piece of automation caused the event. `user_id` is who caused it. `shortened` says that
    Dataverse left parts of the body out because it was over 256 KB. `is_echo` says that the change empties the row's
    command, which only the worker does when it has taken one.
    """

    key: str
    table: str
    message: str
    row_id: str
    organization_id: str
    host: str
    user_id: str
    correlation: str
    depth: int
    shortened: bool
    is_echo: bool = False

    @property
    def kind(self) -> str | None:
        """Return what this is about in the queue's words: "audience", "signin" or "live"; None when it is none of ours."""
        if self.table in SEGMENT_TABLES:
            return "live"
        return {AUDIENCE_TABLE: "audience", SIGN_IN_TABLE: "signin"}.get(self.table)


class _Reference(msgspec.Struct):
    Id: str | None = None


class _Context(msgspec.Struct):
    """The members that are needed; Dataverse may add others at any time, and those are passed over."""

    PrimaryEntityName: str
    PrimaryEntityId: str
    MessageName: str = ""
    OrganizationId: str | None = None
    OperationId: str | None = None
    OperationCreatedOn: str | None = None
    CorrelationId: str | None = None
    InitiatingUserId: str | None = None
    UserId: str | None = None
    Depth: int | None = None
    OwningExtension: _Reference | None = None
    InputParameters: Any = None


_CONTEXT = msgspec.json.Decoder(_Context)


def read_event(body: bytes, headers: Mapping[str, str]) -> Event:
    """Return the event in a webhook's body; header names may have any case. Raises BadEvent, and nothing else."""
    try:
        context = _CONTEXT.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadEvent("The body is no event of Dataverse.") from None
    row_id = as_guid(context.PrimaryEntityId)
    if row_id is None or not _NAME.fullmatch(context.PrimaryEntityName):
        raise BadEvent("The event names no row.")
    named = {str(name).lower(): str(value) for name, value in headers.items()}
    host = named.get("x-ms-dynamics-organization", "").strip().lower()
    return Event(
        key=_key(context, row_id),
        table=context.PrimaryEntityName.lower(),
        message=context.MessageName if _NAME.fullmatch(context.MessageName) else "",
        row_id=row_id,
        organization_id=as_guid(context.OrganizationId) or "",
        host=host if _HOST.fullmatch(host) else "",
        user_id=as_guid(context.InitiatingUserId) or as_guid(context.UserId) or "",
        correlation=as_guid(context.CorrelationId) or as_guid(named.get("x-ms-correlation-request-id")) or "",
        depth=context.Depth or 1,
        shortened="x-ms-dynamics-msg-size-exceeded" in named,
        is_echo=_empties_command(context.InputParameters),
    )


def _empties_command(parameters: Any) -> bool:
    """Tell whether the change sets `lima_command` to nothing; anything that is not of the known shape does not."""
    for target in _values(parameters, "Target"):
        attributes = target.get("Attributes") if isinstance(target, dict) else None
        if any(value is None for value in _values(attributes, Audience.COMMAND)):
            return True
    return False


def _values(pairs: Any, key: str) -> list[Any]:
    """Return the values under a key of Dataverse's list of key and value pairs."""
    if not isinstance(pairs, list):
        return []
    return [pair.get("value") for pair in pairs if isinstance(pair, dict) and pair.get("key") == key and "value" in pair]


def _key(context: _Context, row_id: str) -> str:
    """Return the operation's id, or one made of what tells an event from another when it is all zero."""
    operation = as_guid(context.OperationId)
    if operation and operation != str(_NOTHING):
        return operation
    step = context.OwningExtension.Id if context.OwningExtension else None
    parts = (step, row_id, context.MessageName, context.CorrelationId, context.OperationCreatedOn)
    return str(uuid5(_KEYS, "|".join(part or "" for part in parts)))
