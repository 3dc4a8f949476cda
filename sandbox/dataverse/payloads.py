"""From the JSON body of a request to column values: types, `@odata.bind`, and references in addresses."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from sandbox.dataverse import errors, values
from sandbox.dataverse.state import State
from sandbox.dataverse.tables import Column, OneToMany, Table

BIND = "@odata.bind"
_REFERENCE = re.compile(r"/?(?P<set>[A-Za-z_]\w*)\((?P<key>(?:[^()']|'(?:[^']|'')*')*)\)")
_KEY_PART = re.compile(r"\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>'(?:[^']|'')*'|[^,]*)\s*(?:,|$)")
READ_ONLY = frozenset({"createdon", "modifiedon", "createdby", "modifiedby", "versionnumber", "owninguser", "owningbusinessunit"})


def read(state: State, table: Table, body: Any) -> dict[str, Any]:
    """Return the column values of a body; columns that only the service writes are left out, as the service does.

    Raises `ServiceError` for unknown names, values that do not fit, and lookups to rows that do not exist.
    """
    if not isinstance(body, Mapping):
        raise errors.unreadable("A JSON object was expected in the request payload.")
    found: dict[str, Any] = {}
    for name, value in body.items():
        if name.endswith(BIND):
            found.update(_bound(state, table, name.removesuffix(BIND), value))
        elif "@" not in name:
            found.update(_plain(table, name, value))
    return found


def _plain(table: Table, name: str, value: Any) -> dict[str, Any]:
    column = table.columns.get(name)
    if name in table.lookups:
        return _cleared(table.lookups[name], name, value)
    if column is not None and not column.is_lookup:
        if name in READ_ONLY or not _writable(column):
            return {}
        if column.kind in ("File", "Image"):
            raise errors.invalid_argument(f"The file column {name} is written with a request to its own address.")
        return {name: values.stored(column, value, table.name)}
    if column is not None or name in table.properties:
        message = "CRM do not support direct update of Entity Reference properties, Use Navigation properties instead."
        raise errors.ServiceError(400, errors.INVALID_QUERY, message)
    if name in table.collections:
        raise errors.not_imitated("deep insert")
    raise errors.unknown_body_property(name, table.name, table.set_name)


def _writable(column: Column) -> bool:
    return bool(column.metadata.get("IsValidForCreate") or column.metadata.get("IsValidForUpdate"))


def _cleared(lookup: OneToMany, name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {lookup.column: None}
    if isinstance(value, Mapping):
        raise errors.not_imitated("deep insert")
    raise errors.unreadable(f"The navigation property '{name}' needs an object, null or an @odata.bind annotation.")


def _bound(state: State, table: Table, navigation: str, value: Any) -> dict[str, Any]:
    lookup = table.lookups.get(navigation)
    if lookup is None:
        if navigation in table.collections:
            raise errors.not_imitated("binding a collection in a body")
        message = (
            f"An undeclared property '{navigation}' which only has property annotations in the payload but no property "
            "value was found in the payload. In OData, only declared navigation properties and declared named streams "
            "can be represented as properties without values."
        )
        raise errors.unreadable(message)
    if value is None:
        return {lookup.column: None}
    target, row_id = referenced(state, value)
    column = table.columns[lookup.column]
    allowed = (lookup.referenced, *column.targets) if column.kind == "Owner" else (lookup.referenced,)
    if target.name not in allowed:
        raise errors.unreadable(
            f"A node of type 'Microsoft.Dynamics.CRM.{target.name}' cannot be bound to the property '{navigation}'."
        )
    bound = {lookup.column: row_id}
    if len(column.targets) > 1:
        bound[target_column(lookup.column)] = target.name
    return bound


def target_column(column: str) -> str:
    """Return where it is kept which table a lookup with several targets points at."""
    return column + "@target"


def referenced(state: State, address: Any) -> tuple[Table, str]:
    """Return table and id of the row that an address names; the row must exist.

    Accepts `/set(key)`, `set(key)` and whole addresses, with primary or alternate keys.
    """
    if not isinstance(address, str):
        raise errors.unreadable(f"The value '{address}' is not an address of a row.")
    path = unquote(urlsplit(address).path) if "://" in address else address
    found = _REFERENCE.fullmatch(re.sub(r"^.*/api/data/v\d+\.\d+/", "", path))
    if found is None:
        raise errors.unreadable(f"The value '{address}' is not an address of a row.")
    table = state.schema.by_set(found["set"])
    row_id, _ = row_key(state, table, found["key"])
    if row_id is None or state.store(table.name).position(row_id) is None:
        raise errors.row_not_found(table.name, found["key"])
    return table, row_id


def row_key(state: State, table: Table, key: str) -> tuple[str | None, dict[str, Any]]:
    """Return the id that the key of an address stands for, and the values that the key gives to a new row.

    The id is None when an alternate key has no row yet.
    """
    bare = values.guid(key.strip())
    if bare is not None and "{" not in key:
        return bare, {table.key: bare}
    parts = key_parts(table, key)
    if set(parts) == {table.key}:
        return parts[table.key], parts
    if not any(set(one.columns) == set(parts) for one in table.keys.values()):
        raise errors.invalid_query(f"The specified key properties do not form a key of '{table.name}'.")
    store = state.store(table.name)
    first, value = next(iter(parts.items()))
    candidates = store.matching(first, [value])
    for at in store.positions() if candidates is None else candidates:
        if all(_same(store.get(at, name), wanted) for name, wanted in parts.items()):
            return store.id_at(at), parts
    return None, parts


def _same(held: Any, wanted: Any) -> bool:
    if isinstance(held, str) and isinstance(wanted, str):
        return held.casefold() == wanted.casefold()
    return bool(held == wanted)


def key_parts(table: Table, key: str) -> dict[str, Any]:
    """Return the column values that the key of an address gives."""
    parts: dict[str, Any] = {}
    at = 0
    while at < len(key):
        found = _KEY_PART.match(key, at)
        if found is None:
            raise errors.invalid_query(f"Bad Request - Error in query syntax: the key '{key}' could not be read.")
        column = table.by_property(found["name"])
        parts[column.name] = _key_value(column, found["value"], table)
        at = found.end()
    return parts


def _key_value(column: Column, text: str, table: Table) -> Any:
    if text.startswith("'"):
        return values.stored(column, text[1:-1].replace("''", "'"), table.name)
    if column.kind in values.NUMBER_KINDS or column.kind in values.CHOICE_KINDS:
        try:
            return values.stored(column, int(text) if re.fullmatch(r"-?\d+", text) else float(text), table.name)
        except ValueError:
            raise errors.invalid_query(f"The key value '{text}' is not a number.") from None
    if text == "null":
        return None
    return values.stored(column, text, table.name)
