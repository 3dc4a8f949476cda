"""Building tables from short descriptions: the columns every table has, and helpers for those that differ."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.dataverse.state import State
from sandbox.dataverse.tables import (
    CASCADE,
    Column,
    ManyToMany,
    Table,
    attribute,
    column_from,
    entity,
    label,
    many_to_many,
    one_to_many,
    option_set,
    seeded_id,
)

LONGEST_MEMO = 1_048_576
ACTIVE_INACTIVE = {0: ("Active", {1: "Active"}), 1: ("Inactive", {2: "Inactive"})}
FIRST_CUSTOM_CODE = 10_001
RELATIONSHIP_NAMES = {
    ("serviceendpoint", "sdkmessageprocessingstep", "eventhandler"): "serviceendpoint_sdkmessageprocessingstep",
    ("sdkmessageprocessingstep", "sdkmessageprocessingstepimage", "sdkmessageprocessingstepid"): (
        "sdkmessageprocessingstepid_sdkmessageprocessingstepimage"
    ),
    ("sdkmessage", "sdkmessagefilter", "sdkmessageid"): "sdkmessageid_sdkmessagefilter",
    ("sdkmessage", "sdkmessageprocessingstep", "sdkmessageid"): "sdkmessageid_sdkmessageprocessingstep",
    ("sdkmessagefilter", "sdkmessageprocessingstep", "sdkmessagefilterid"): "sdkmessagefilterid_sdkmessageprocessingstep",
    ("solution", "solutioncomponent", "solutionid"): "solution_solutioncomponent",
    ("publisher", "solution", "publisherid"): "publisher_solution",
    ("businessunit", "systemuser", "businessunitid"): "business_unit_system_users",
    ("businessunit", "role", "businessunitid"): "business_unit_roles",
    ("contact", "annotation", "objectid"): "Contact_Annotation",
    ("account", "annotation", "objectid"): "Account_Annotation",
    ("lead", "annotation", "objectid"): "Lead_Annotation",
    ("list", "annotation", "objectid"): "List_Annotations",
}
"""Schema names of Microsoft's own relationships, by referenced table, referencing table and column."""

type States = Mapping[int, tuple[str, Mapping[int, str]]]


@dataclass(frozen=True)
class Spec:
    """A column in short: its name, kind and whatever its definition has besides."""

    name: str
    kind: str
    more: Mapping[str, Any] = field(default_factory=dict)
    navigations: Mapping[str, str] = field(default_factory=dict)
    """Only lookups: navigation property by the table it points at."""
    on_delete: str = "RemoveLink"
    secret: bool = False


def text(name: str, length: int = 100, **more: Any) -> Spec:
    """Return a single line of text."""
    return Spec(name, "String", {"MaxLength": length, "FormatName": {"Value": "Text"}, "Format": "Text"} | more)


def memo(name: str, length: int = LONGEST_MEMO, **more: Any) -> Spec:
    """Return a text of several lines."""
    return Spec(name, "Memo", {"MaxLength": length, "FormatName": {"Value": "TextArea"}, "Format": "TextArea"} | more)


def whole(name: str, low: int = -(2**31), high: int = 2**31 - 1, **more: Any) -> Spec:
    """Return a whole number."""
    return Spec(name, "Integer", {"MinValue": low, "MaxValue": high, "Format": "None"} | more)


def big(name: str, **more: Any) -> Spec:
    """Return a whole number of 64 bits."""
    return Spec(name, "BigInt", {"MinValue": -(2**63), "MaxValue": 2**63 - 1} | more)


def moment(name: str, **more: Any) -> Spec:
    """Return a date with time."""
    return Spec(name, "DateTime", {"Format": "DateAndTime", "DateTimeBehavior": {"Value": "UserLocal"}} | more)


def flag(name: str, *, no: str = "No", yes: str = "Yes", default: bool = False, **more: Any) -> Spec:
    """Return a choice of two."""
    choices = option_set(name, "Boolean", [(0, no), (1, yes)])
    return Spec(name, "Boolean", {"OptionSet": choices, "DefaultValue": default} | more)


def choice(name: str, options: Mapping[int, str], default: int = -1, **more: Any) -> Spec:
    """Return a choice of several; -1 is no default."""
    choices = option_set(name, "Picklist", options.items())
    return Spec(name, "Picklist", {"OptionSet": choices, "DefaultFormValue": default} | more)


def guid(name: str, **more: Any) -> Spec:
    """Return a guid that is not a lookup."""
    return Spec(name, "Uniqueidentifier", more)


def lookup(
    name: str, target: str | Mapping[str, str], navigation: str | None = None, on_delete: str = "RemoveLink", **more: Any
) -> Spec:
    """Return a lookup to one table, or to several given as table and navigation property."""
    navigations = {target: navigation or name} if isinstance(target, str) else target
    kind = more.pop("kind", "Lookup")
    return Spec(name, kind, {"Targets": list(navigations)} | more, navigations, on_delete)


def secret(spec: Spec) -> Spec:
    """Return a column that can be written and never read."""
    return Spec(spec.name, spec.kind, spec.more, spec.navigations, spec.on_delete, secret=True)


def system_specs(*, user_owned: bool, states: States | None) -> list[Spec]:
    """Return the columns that the service gives to every table."""
    fixed: dict[str, Any] = {"IsValidForCreate": False, "IsValidForUpdate": False}
    who: dict[str, Any] = {"kind": "Lookup", "on_delete": "NoCascade"} | fixed
    specs = [
        moment("createdon", **fixed),
        lookup("createdby", "systemuser", **who),
        moment("modifiedon", **fixed),
        lookup("modifiedby", "systemuser", **who),
        big("versionnumber", **fixed),
    ]
    if user_owned:
        owner = lookup("ownerid", {"systemuser": "ownerid", "team": "ownerid"}, kind="Owner", on_delete="NoCascade")
        specs += [
            owner,
            lookup("owningbusinessunit", "businessunit", **who),
            lookup("owninguser", "systemuser", **who),
        ]
    return specs + (state_specs(states) if states else [])


def state_specs(states: States) -> list[Spec]:
    """Return statecode and statuscode; the first status of a state is its default."""
    state_options = option_set("statecode", "State", [(code, title) for code, (title, _) in states.items()])
    for option, (statuses) in zip(state_options["Options"], states.values(), strict=True):
        option["DefaultStatus"] = next(iter(statuses[1]))
    listed = [(status, title, code) for code, (_, statuses) in states.items() for status, title in statuses.items()]
    status_options = option_set("statuscode", "Status", [(status, title) for status, title, _ in listed])
    for option, (_, _, code) in zip(status_options["Options"], listed, strict=True):
        option["State"] = code
    return [Spec("statecode", "State", {"OptionSet": state_options}), Spec("statuscode", "Status", {"OptionSet": status_options})]


def build_column(table: Table, spec: Spec, *, metadata_id: str | None = None) -> Column:
    """Add a column to a table; its relationships come later."""
    more = dict(spec.more)
    more["EntityLogicalName"] = table.name
    if metadata_id:
        more["metadata_id"] = metadata_id
    column = column_from(attribute(spec.name, spec.kind, more.pop("SchemaName", None), **more), spec.kind)
    column.secret = spec.secret
    table.add_column(column)
    return column


def relate(state: State, table: Table, spec: Spec) -> None:
    """Add the relationships of a lookup column."""
    for target, navigation in spec.navigations.items():
        if spec.kind == "Owner" and target != "systemuser":
            continue
        name = RELATIONSHIP_NAMES.get((target, table.name, spec.name)) or _relationship_name(target, table.name, spec.name)
        cascade = CASCADE | {"Delete": spec.on_delete}
        state.add_relationship(
            one_to_many(
                name,
                state.schema.table(target),
                table.name,
                spec.name,
                navigation,
                CascadeConfiguration=cascade,
                metadata_id=seeded_id("relationship", name),
            )
        )


def _relationship_name(target: str, table: str, column: str) -> str:
    return f"lk_{table}_{column}" if target == "systemuser" else f"{target}_{table}_{column}"


class Builder:
    """Builds the tables that come with an environment: first all tables, then all relationships."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._waiting: list[tuple[Table, Spec]] = []

    def table(
        self,
        name: str,
        schema_name: str,
        set_name: str,
        specs: Sequence[Spec],
        *,
        code: int,
        key: str | None = None,
        name_column: str | None = None,
        user_owned: bool = True,
        states: States | None = ACTIVE_INACTIVE,
        title: str | None = None,
        **more: Any,
    ) -> Table:
        """Add a table with its own columns and those that every table has."""
        key = key or name + "id"
        definition = entity(
            name,
            schema_name,
            set_name,
            key,
            metadata_id=seeded_id("table", name),
            PrimaryNameAttribute=name_column,
            OwnershipType="UserOwned" if user_owned else "OrganizationOwned",
            ObjectTypeCode=code,
            DisplayName=label(title or schema_name),
            DisplayCollectionName=label((title or schema_name) + "s"),
            IsManaged=True,
            **more,
        )
        table = Table(name, definition)
        key_spec = Spec(key, "Uniqueidentifier", {"IsPrimaryId": True, "IsValidForUpdate": False})
        own = {spec.name for spec in specs}
        system = [spec for spec in system_specs(user_owned=user_owned, states=states) if spec.name not in own]
        for spec in (key_spec, *specs, *system):
            column = build_column(table, spec, metadata_id=seeded_id("column", name, spec.name))
            column.metadata["IsManaged"] = True
            self._waiting.append((table, spec))
        if name_column:
            table.columns[name_column].metadata["IsPrimaryName"] = True
        self._state.add_table(table)
        return table

    def intersect(self, name: str, set_name: str, key: str, columns: tuple[str, str], code: int = 0) -> Table:
        """Add an intersect table with the columns of its two sides."""
        specs = [guid(column) for column in columns]
        if name == "listmember":
            specs = [lookup("listid", "list"), lookup("entityid", {"contact": "entityid"}), text("entitytype", 64)]
        definition = entity(
            name, name, set_name, key, metadata_id=seeded_id("table", name), IsIntersect=True, ObjectTypeCode=code
        )
        table = Table(name, definition | {"OwnershipType": "None", "IsOptimisticConcurrencyEnabled": False})
        for spec in (Spec(key, "Uniqueidentifier", {"IsPrimaryId": True}), *specs):
            build_column(table, spec, metadata_id=seeded_id("column", name, spec.name))
        self._state.add_table(table)
        return table

    def finish(self) -> None:
        """Add the relationships of all lookups; every table they point at exists now."""
        for table, spec in self._waiting:
            relate(self._state, table, spec)
        self._waiting = []

    def pair(self, schema_name: str, intersect: str, left: str, right: str, **more: Any) -> ManyToMany:
        """Add a many-to-many relationship between two tables."""
        schema = self._state.schema
        metadata_id = seeded_id("relationship", schema_name)
        pairs = many_to_many(schema_name, intersect, schema.table(left), schema.table(right), metadata_id=metadata_id, **more)
        self._state.add_relationship(pairs)
        return pairs


def new_code(state: State) -> int:
    """Return the object type code of the next custom table."""
    used = [table.metadata.get("ObjectTypeCode") or 0 for table in state.schema]
    return max([FIRST_CUSTOM_CODE - 1, *used]) + 1


def insert(state: State, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows as they come with the environment: no rules, but versions and times."""
    definition = state.schema.table(table)
    now = state.now()
    for row in rows:
        filled = {definition.key: str(uuid.uuid4())} | defaults(definition) | dict(row)
        filled |= {name: now for name in ("createdon", "modifiedon") if name in definition.columns and name not in row}
        if "versionnumber" in definition.columns:
            filled["versionnumber"] = state.next_version()
        state.add_row(table, filled)


def defaults(table: Table) -> dict[str, Any]:
    """Return the values that a row has when nobody sets them."""
    found = {column.name: column.default for column in table.columns.values() if column.default is not None}
    status = table.columns.get("statuscode")
    if status is not None and status.states:
        first = next(iter(status.states))
        found |= {"statecode": status.states[first], "statuscode": first}
    return found
