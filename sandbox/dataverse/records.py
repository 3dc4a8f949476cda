"""The rules for single rows: create, read, update, delete, associate - with privileges, defaults, versions and events."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sandbox.dataverse import errors
from sandbox.dataverse.payloads import target_column
from sandbox.dataverse.privileges import BASIC, Caller
from sandbox.dataverse.rows import RowStore, folded
from sandbox.dataverse.state import Event, Rules, State
from sandbox.dataverse.tables import Key, ManyToMany, OneToMany, Table

STATE_COLUMNS = frozenset({"statecode", "statuscode"})
SERVICE_COLUMNS = frozenset({"modifiedon", "modifiedby", "versionnumber"})
_PLAIN = Rules()


def etag(version: Any) -> str:
    """Return the ETag of a row version."""
    return f'W/"{version}"'


def position_of(state: State, table: Table, row_id: str) -> int:
    """Return where a row is, or raise the 404."""
    at = state.store(table.name).position(row_id)
    if at is None:
        raise errors.row_not_found(table.name, row_id)
    return at


def readable(state: State, caller: Caller, table: Table, row_id: str) -> int:
    """Return where a row is when the caller may read it, or raise 403 or 404."""
    state.privileges.require(caller, "Read", table)
    at = position_of(state, table, row_id)
    state.privileges.require_row(caller, "Read", table, at)
    return at


def create(state: State, caller: Caller, table: Table, given: Mapping[str, Any]) -> str:
    """Create a row and return its id; raises 412 when its id or an alternate key is taken."""
    if table.intersect_of:
        raise errors.invalid_argument(f"The Create method does not support entities of type '{table.name}'. Associate rows.")
    depth = state.privileges.require(caller, "Create", table)
    row = dict(given)
    row[table.key] = row.get(table.key) or str(uuid.uuid4())
    if state.store(table.name).position(row[table.key]) is not None:
        raise errors.already_exists()
    _complete(state, caller, table, row)
    rules = state.rules.get(table.name, _PLAIN)
    rules.creating(state, caller, row)
    _check_owner(state, caller, table, row, depth)
    _check_append(state, caller, table, given)
    _check_keys(state, table, row, None)
    state.add_row(table.name, row)
    rules.created(state, caller, row)
    if state.listening("Create", table.name):
        state.happened(Event("Create", table.name, row[table.key], _sent(table, row), {}, row, caller, state.clock.time()))
    row_id: str = row[table.key]
    return row_id


def _complete(state: State, caller: Caller, table: Table, row: dict[str, Any]) -> None:
    now = state.now()
    for column in table.columns.values():
        if column.default is not None and row.get(column.name) is None:
            row[column.name] = column.default
    _complete_state(table, row, {"statecode": 0})
    if table.user_owned:
        row.setdefault("ownerid", caller.user_id)
        row.setdefault(target_column("ownerid"), "systemuser")
        row["owningbusinessunit"] = _unit_of(state, row["ownerid"]) or caller.business_unit
        if row[target_column("ownerid")] == "systemuser":
            row["owninguser"] = row["ownerid"]
    written = {"createdon": now, "modifiedon": now, "createdby": caller.user_id, "modifiedby": caller.user_id}
    row.update({name: value for name, value in written.items() if name in table.columns})
    row["versionnumber"] = state.next_version()


def _unit_of(state: State, owner: str) -> str | None:
    for table in ("systemuser", "team"):
        row = state.find(table, owner)
        if row is not None:
            unit: str | None = row.get("businessunitid")
            return unit
    return None


def _complete_state(table: Table, changes: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Fill in the state that belongs to a status and the default status of a state; refuse what does not fit."""
    status = table.columns.get("statuscode")
    if status is None or not status.states:
        return
    state_code, status_code = changes.get("statecode"), changes.get("statuscode")
    if status_code is None:
        wanted = before["statecode"] if state_code is None else state_code
        changes["statecode"] = wanted
        changes["statuscode"] = next((code for code, of in status.states.items() if of == wanted), None)
        return
    belongs = status.states[status_code]
    if state_code is not None and state_code != belongs:
        message = f"{status_code} is not a valid status code for state code {state_code} on {table.name}."
        raise errors.ServiceError(400, errors.WRONG_STATUS, message)
    changes["statecode"] = belongs


def _check_owner(state: State, caller: Caller, table: Table, row: Mapping[str, Any], depth: int) -> None:
    if not table.user_owned or row["ownerid"] == caller.user_id:
        return
    assign = state.privileges.require(caller, "Assign", table)
    if BASIC in (depth, assign):
        raise state.privileges.missing(caller, f"prvAssign{table.schema_name}", table)


def _check_append(state: State, caller: Caller, table: Table, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        column = table.columns.get(name)
        if column is None or not column.is_lookup or column.kind == "Owner" or value is None:
            continue
        target = state.schema.tables.get(given.get(target_column(name)) or next(iter(column.targets), ""))
        if target is not None:
            state.privileges.require(caller, "Append", table)
            state.privileges.require(caller, "AppendTo", target)


def _check_keys(state: State, table: Table, row: Mapping[str, Any], own: int | None) -> None:
    for key in table.keys.values():
        wanted = [folded(row.get(name)) for name in key.columns]
        if None in wanted or not wanted:
            continue
        if any(at != own for at in holders(state.store(table.name), key, wanted)):
            raise errors.alternate_key_exists(key.name, key.columns, table.name)


def holders(store: RowStore, key: Key, wanted: list[Any]) -> list[int]:
    """Return the positions of the rows that have these values of an alternate key."""
    candidates = store.matching(key.columns[0], [wanted[0]])
    among = store.positions() if candidates is None else candidates
    return [at for at in among if [folded(store.get(at, name)) for name in key.columns] == wanted]


def update(state: State, caller: Caller, table: Table, row_id: str, given: Mapping[str, Any]) -> None:
    """Change a row; raises 403 or 404. Every call counts as a change, as at the service."""
    at = position_of(state, table, row_id)
    state.privileges.require_row(caller, "Write", table, at)
    store = state.store(table.name)
    changes = {name: value for name, value in given.items() if name != table.key}
    before = store.row(at)
    if STATE_COLUMNS & changes.keys():
        _complete_state(table, changes, before)
    sent = dict(changes)
    state.rules.get(table.name, _PLAIN).updating(state, caller, before, changes)
    if changes.get("ownerid", before.get("ownerid")) != before.get("ownerid"):
        _change_owner(state, caller, table, changes)
    _check_append(state, caller, table, given)
    if any(set(key.columns) & changes.keys() for key in table.keys.values()):
        _check_keys(state, table, before | changes, at)
    touched = {"modifiedon": state.now(), "modifiedby": caller.user_id}
    changes |= {name: value for name, value in touched.items() if name in table.columns}
    state.set_values(table.name, at, changes | {"versionnumber": state.next_version()})
    if state.listening("Update", table.name):
        event = Event("Update", table.name, row_id, sent, before, store.row(at), caller, state.clock.time())
        _tell_update(state, table, event, changes)


def _change_owner(state: State, caller: Caller, table: Table, changes: dict[str, Any]) -> None:
    state.privileges.require(caller, "Assign", table)
    changes.setdefault(target_column("ownerid"), "systemuser")
    changes["owningbusinessunit"] = _unit_of(state, changes["ownerid"])
    changes["owninguser"] = changes["ownerid"] if changes[target_column("ownerid")] == "systemuser" else None


def _tell_update(state: State, table: Table, event: Event, changes: Mapping[str, Any]) -> None:
    """Tell steps: once for the ordinary columns and once for the state, when a request has both."""
    always = {name: changes[name] for name in SERVICE_COLUMNS if name in changes} | {table.key: event.row_id}
    ordinary = {name: value for name, value in event.target.items() if name not in STATE_COLUMNS}
    of_state = {name: value for name, value in event.target.items() if name in STATE_COLUMNS}
    for part in (ordinary, of_state):
        if part:
            state.happened(replace(event, target=_sent(table, part | always)))


def _sent(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not _is_secret(table, name)}


def _is_secret(table: Table, name: str) -> bool:
    column = table.columns.get(name)
    return column is not None and column.secret


def delete(state: State, caller: Caller, table: Table, row_id: str) -> None:
    """Delete a row with what hangs on it, or refuse when something that must stay points at it."""
    at = position_of(state, table, row_id)
    state.privileges.require_row(caller, "Delete", table, at)
    row = state.store(table.name).row(at)
    state.rules.get(table.name, _PLAIN).deleting(state, caller, row)
    for relationship in state.schema.one_to_many(table.name):
        _let_go(state, caller, relationship, row_id)
    for pairs in state.schema.many_to_many(table.name):
        _part_all(state, pairs, table.name, row_id)
    state.remove_row(table.name, at)
    if state.listening("Delete", table.name):
        target = {table.key: row_id}
        state.happened(Event("Delete", table.name, row_id, target, row, {}, caller, state.clock.time()))


def _let_go(state: State, caller: Caller, relationship: OneToMany, row_id: str) -> None:
    table = state.schema.tables[relationship.referencing]
    store = state.store(table.name)
    candidates = store.matching(relationship.column, [row_id])
    if candidates is None:
        get = store.getter(relationship.column)
        candidates = [at for at in store.positions() if get(at) == row_id]
    for at in candidates:
        if relationship.on_delete == "Cascade":
            delete(state, caller, table, store.id_at(at))
        elif relationship.on_delete == "Restrict":
            message = "The object you tried to delete is associated with another object and cannot be deleted"
            raise errors.ServiceError(400, errors.HAS_CHILDREN, message)
        elif relationship.on_delete == "RemoveLink":
            state.set_values(table.name, at, {relationship.column: None, "versionnumber": state.next_version()})


def _part_all(state: State, pairs: ManyToMany, table: str, row_id: str) -> None:
    links = state.links[pairs.schema_name]
    if table == pairs.left:
        for right in links.rights_of(row_id).present():
            state.unlink(pairs, row_id, right)
    if table == pairs.right:
        for left in links.lefts_of(row_id).present():
            state.unlink(pairs, left, row_id)


def associate(state: State, caller: Caller, navigation: tuple[Table, str], row_id: str, other: tuple[Table, str]) -> None:
    """Join two rows through a collection navigation; joining them again changes nothing."""
    table, name = navigation
    relationship = table.collections.get(name)
    if relationship is None:
        raise errors.unknown_segment(name)
    position_of(state, table, row_id)
    other_table, other_id = other
    if isinstance(relationship, OneToMany):
        update(state, caller, other_table, other_id, {relationship.column: row_id})
        return
    _require_both(state, caller, table, other_table)
    _check_other_side(relationship, table, other_table)
    left, right = (row_id, other_id) if is_left(relationship, table, name) else (other_id, row_id)
    state.link(relationship, left, right)
    state.privileges.changed()


def disassociate(state: State, caller: Caller, navigation: tuple[Table, str], row_id: str, other_id: str) -> None:
    """Part two rows; rows that were not joined give the 404."""
    table, name = navigation
    relationship = table.collections.get(name)
    if relationship is None:
        raise errors.unknown_segment(name)
    if isinstance(relationship, OneToMany):
        update(state, caller, state.schema.table(relationship.referencing), other_id, {relationship.column: None})
        return
    other_table = state.schema.table(relationship.right if is_left(relationship, table, name) else relationship.left)
    _require_both(state, caller, table, other_table)
    left, right = (row_id, other_id) if is_left(relationship, table, name) else (other_id, row_id)
    if not state.unlink(relationship, left, right):
        raise errors.row_not_found(other_table.name, other_id)
    state.privileges.changed()


def _require_both(state: State, caller: Caller, table: Table, other: Table) -> None:
    for one in (table, other):
        if state.privileges.depth(caller, "Append", one) == 0:
            state.privileges.require(caller, "AppendTo", one)


def _check_other_side(relationship: ManyToMany, table: Table, other: Table) -> None:
    if {table.name, other.name} != {relationship.left, relationship.right}:
        raise errors.invalid_argument(f"A row of {other.name} cannot be associated through {relationship.schema_name}.")


def is_left(relationship: ManyToMany, table: Table, navigation: str) -> bool:
    """Tell whether a table's navigation property starts on the first side of a relationship."""
    if relationship.left == relationship.right:
        return navigation == relationship.left_navigation
    return table.name == relationship.left


def shown(state: State, table: Table, position: int) -> dict[str, Any]:
    """Return a row as people with full access see it: property names, no secrets; for tests and the control panel."""
    store = state.store(table.name)
    row = {
        column.property_name: store.get(position, column.name)
        for column in table.columns.values()
        if not column.secret and store.get(position, column.name) is not None
    }
    return row | {"@odata.etag": etag(store.get(position, "versionnumber"))}


def display_name(state: State, table_name: str, row_id: str) -> str | None:
    """Return the primary name of a row, or None when it has none or is gone."""
    table = state.schema.tables.get(table_name)
    if table is None or table.name_column is None:
        return None
    store = state.store(table.name)
    at = store.position(row_id)
    name = None if at is None else store.get(at, table.name_column)
    return None if name is None else str(name)


def target_of(table: Table, row: Mapping[str, Any], column: str) -> str | None:
    """Return which table a lookup of a row points at."""
    definition = table.columns[column]
    target: str | None = row.get(target_column(column)) or next(iter(definition.targets), None)
    return target


def check_version(state: State, table: Table, position: int, wanted: str | None) -> None:
    """Raise the 412 when an If-Match header names another version of a row."""
    if wanted in (None, "*"):
        return
    if etag(state.store(table.name).get(position, "versionnumber")) != wanted:
        raise errors.version_mismatch()


def check_create_only(header: str | None, exists: bool) -> None:
    """Raise the 412 when an If-None-Match header forbids an existing row."""
    if header == "*" and exists:
        raise errors.already_exists()
