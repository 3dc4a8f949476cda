"""Column values: from the JSON of a request to what is stored, and to the text that annotations show.

Stored forms: guids in lower case, date-times as `YYYY-MM-DDTHH:MM:SSZ` (so that they sort as text), several choices as
comma-separated numbers, lookups as the guid of the row they point at.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sandbox.dataverse import errors

if TYPE_CHECKING:
    from sandbox.dataverse.tables import Column

GUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_INT32 = 2**31
_INT64 = 2**63
TEXT_KINDS = frozenset({"String", "Memo", "EntityName"})
LOOKUP_KINDS = frozenset({"Lookup", "Owner", "Customer"})
CHOICE_KINDS = frozenset({"Picklist", "State", "Status"})
NUMBER_KINDS = frozenset({"Integer", "BigInt", "Decimal", "Double", "Money"})


def guid(text: Any) -> str | None:
    """Return a guid in its stored form, or None when the text is none; braces and capitals are accepted.

    >>> guid("{0F0E0D0C-0000-4000-8000-00000000000A}")
    '0f0e0d0c-0000-4000-8000-00000000000a'
    """
    if not isinstance(text, str):
        return None
    bare = text.strip().removeprefix("{").removesuffix("}")
    return bare.lower() if GUID.fullmatch(bare) else None


def timestamp(moment: datetime) -> str:
    """Return a moment as the Web API writes it, to the second.

    >>> timestamp(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
    '2026-11-23T12:00:00Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def date_time(text: Any) -> str | None:
    """Return a date-time with zone in its stored form, or None when the text is none.

    >>> date_time("2026-01-01T01:00:00+01:00")
    '2026-01-01T00:00:00Z'
    """
    if not isinstance(text, str) or not _DATE_TIME.fullmatch(text):
        return None
    try:
        return timestamp(datetime.fromisoformat(text))
    except ValueError:
        return None


def date_only(text: Any) -> str | None:
    """Return a calendar date in its stored form, or None when the text is none."""
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return None


def stored(column: "Column", value: Any, table: str) -> Any:
    """Return the value of a request's JSON as it is stored; None stays None.

    Raises `ServiceError` with the service's code when type, length, range or option do not fit.
    """
    if value is None:
        return None
    read = _READERS.get(column.kind)
    if read is None:
        raise errors.invalid_argument(f"The column {column.name} of {table} cannot be set this way.")
    return read(column, value, table)


def _cannot_convert(value: Any, edm: str) -> errors.ServiceError:
    shown = value if isinstance(value, str) else repr(value)
    return errors.unreadable(f"Cannot convert the literal '{shown[:100]}' to the expected type 'Edm.{edm}'.")


def _text(column: "Column", value: Any, table: str) -> str:
    if not isinstance(value, str):
        raise _cannot_convert(value, "String")
    if column.max_length is not None and len(value) > column.max_length:
        message = (
            f"A validation error occurred. The length of the '{column.name}' attribute of the '{table}' entity "
            f"exceeded the maximum allowed length of '{column.max_length}'."
        )
        raise errors.ServiceError(400, errors.TEXT_TOO_LONG, message)
    return value


def _number(column: "Column", value: Any, table: str) -> float | int:
    whole = column.kind in ("Integer", "BigInt")
    if isinstance(value, bool) or not isinstance(value, int | float) or (whole and value != int(value)):
        raise _cannot_convert(value, {"Integer": "Int32", "BigInt": "Int64", "Double": "Double"}.get(column.kind, "Decimal"))
    bound = _INT32 if column.kind == "Integer" else _INT64
    low = column.minimum if column.minimum is not None else -bound
    high = column.maximum if column.maximum is not None else bound - 1
    if not low <= value <= high:
        message = (
            f"A validation error occurred. The value of '{column.name}' on record of type '{table}' "
            f"is outside the valid range. Accepted Values: {low} to {high}"
        )
        raise errors.ServiceError(400, errors.OUT_OF_RANGE, message)
    if whole:
        return int(value)
    return value if column.precision is None else round(value, column.precision)


def _choice(column: "Column", value: Any, table: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _cannot_convert(value, "Int32")
    if column.options and value not in column.options:
        raise _not_an_option(column, value, table)
    return value


def _choices(column: "Column", value: Any, table: str) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(r"\s*(-?\d+(\s*,\s*-?\d+)*)?\s*", value):
        raise _cannot_convert(value, "String")
    chosen = sorted({int(part) for part in value.split(",") if part.strip()})
    for option in chosen:
        if column.options and option not in column.options:
            raise _not_an_option(column, option, table)
    return ",".join(map(str, chosen)) or None


def _not_an_option(column: "Column", value: int, table: str) -> errors.ServiceError:
    accepted = ",".join(map(str, column.options))
    message = (
        f"A validation error occurred. The value {value} of '{column.name}' on record of type '{table}' "
        f"is outside the valid range. Accepted Values: {accepted}"
    )
    return errors.ServiceError(400, errors.NOT_AN_OPTION, message)


def _truth(column: "Column", value: Any, table: str) -> bool:  # noqa: ARG001 - the readers' signature
    if not isinstance(value, bool):
        raise _cannot_convert(value, "Boolean")
    return value


def _guid(column: "Column", value: Any, table: str) -> str:  # noqa: ARG001 - the readers' signature
    clean = guid(value)
    if clean is None:
        raise _cannot_convert(value, "Guid")
    return clean


def _moment(column: "Column", value: Any, table: str) -> str:  # noqa: ARG001 - the readers' signature
    if column.date_only:
        day = date_only(value) or (date_time(value) or "")[:10]
        if not day:
            raise _cannot_convert(value, "Date")
        return day
    moment = date_time(value)
    if moment is None:
        raise _cannot_convert(value, "DateTimeOffset")
    return moment


_READERS: Mapping[str, Callable[["Column", Any, str], Any]] = {
    **dict.fromkeys(TEXT_KINDS, _text),
    **dict.fromkeys(NUMBER_KINDS, _number),
    **dict.fromkeys(CHOICE_KINDS, _choice),
    **dict.fromkeys(LOOKUP_KINDS, _guid),
    "Uniqueidentifier": _guid,
    "Boolean": _truth,
    "DateTime": _moment,
    "MultiSelectPicklist": _choices,
}


def formatted(column: "Column", value: Any) -> str | None:
    """Return the text of the FormattedValue annotation, or None for kinds that have none."""
    show = _SHOWN.get(column.kind)
    return None if value is None or show is None else show(column, value)


def _shown_choices(column: "Column", value: str) -> str:
    return "; ".join(column.options.get(int(part), part) for part in value.split(","))


def _shown_moment(column: "Column", value: str) -> str:
    moment = datetime.fromisoformat(value)
    day = f"{moment.month}/{moment.day}/{moment.year}"
    return day if column.date_only else f"{day} {moment.strftime('%I:%M %p').lstrip('0')}"


_SHOWN: Mapping[str, Callable[["Column", Any], str]] = {
    **dict.fromkeys(CHOICE_KINDS, lambda column, value: column.options.get(value, str(value))),
    **dict.fromkeys(NUMBER_KINDS, lambda _, value: f"{value:,}"),
    "MultiSelectPicklist": _shown_choices,
    "Boolean": lambda column, value: column.options.get(int(value), "Yes" if value else "No"),
    "DateTime": _shown_moment,
}
