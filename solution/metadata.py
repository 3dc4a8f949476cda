"""Definitions as the Web API's JSON, and what of a column in Dataverse differs from its definition.

Pure functions. Source of the shapes: Microsoft Learn, "Create and update table definitions using the Web API" and
"Create and update column definitions using the Web API".
"""

from collections.abc import Mapping
from typing import Any

from solution.definitions import Choice, Column, Table
from solution.texts import Languages, Text

CRM = "Microsoft.Dynamics.CRM."
TYPES = {
    "text": "String",
    "address": "String",
    "memo": "Memo",
    "whole": "Integer",
    "decimal": "Decimal",
    "moment": "DateTime",
    "flag": "Boolean",
    "choice": "Picklist",
    "lookup": "Lookup",
    "file": "File",
}
TYPE_NAMES = {kind: {"Value": f"{name}Type"} for kind, name in TYPES.items()}
_NO, _YES = Text("No", "Nein"), Text("Yes", "Ja")


def choice_json(choice: Choice, languages: Languages) -> dict[str, Any]:
    """Return what creates a global choice."""
    return {
        "@odata.type": f"{CRM}OptionSetMetadata",
        "Name": choice.name,
        "IsGlobal": True,
        "OptionSetType": "Picklist",
        "DisplayName": languages.label(choice.title),
        "Description": languages.label(choice.about),
        "Options": [option_json(int(value), text, languages) for value, text in choice.options.items()],
    }


def option_json(value: int, text: Text, languages: Languages) -> dict[str, Any]:
    """Return one option of a choice."""
    return {"Value": value, "Label": languages.label(text)}


def table_json(table: Table, columns: list[dict[str, Any]], languages: Languages) -> dict[str, Any]:
    """Return what creates a table with these columns; the first is the one that names a row."""
    return {
        "@odata.type": f"{CRM}EntityMetadata",
        "SchemaName": table.schema_name,
        "DisplayName": languages.label(table.title),
        "DisplayCollectionName": languages.label(table.plural),
        "Description": languages.label(table.about),
        "OwnershipType": "UserOwned",
        "HasActivities": False,
        "HasNotes": False,
        "IsActivity": False,
        "PrimaryNameAttribute": table.columns[0].name,
        "Attributes": [columns[0] | {"IsPrimaryName": True}, *columns[1:]],
    }


def column_json(column: Column, languages: Languages, choices: Mapping[str, str]) -> dict[str, Any]:
    """Return what creates a column; `choices` gives the metadata id of each global choice."""
    return {
        "@odata.type": f"{CRM}{TYPES[column.kind]}AttributeMetadata",
        "AttributeType": "Virtual" if column.kind == "file" else TYPES[column.kind],
        "AttributeTypeName": TYPE_NAMES[column.kind],
        "SchemaName": column.schema_name,
        "DisplayName": languages.label(column.title),
        "Description": languages.label(column.about),
        "RequiredLevel": {"Value": "ApplicationRequired" if column.required else "None"},
        **_special(column, languages, choices),
    }


def _special(column: Column, languages: Languages, choices: Mapping[str, str]) -> dict[str, Any]:
    """Return what a definition has because of the column's type."""
    by_kind: dict[str, dict[str, Any]] = {
        "text": {"MaxLength": column.length, "FormatName": {"Value": "Text"}},
        "address": {"MaxLength": column.length, "FormatName": {"Value": "Url"}},
        "memo": {"MaxLength": column.length, "Format": "TextArea"},
        "whole": {"MinValue": 0, "MaxValue": column.most, "Format": "None"},
        "decimal": {"MinValue": 0, "MaxValue": column.most, "Precision": 2},
        "moment": {"Format": "DateAndTime", "DateTimeBehavior": {"Value": "UserLocal"}},
        "flag": {"DefaultValue": False, "OptionSet": _no_or_yes(languages)},
        "choice": {"GlobalOptionSet@odata.bind": f"/GlobalOptionSetDefinitions({choices.get(column.choice)})"},
        "file": {"MaxSizeInKB": column.most},
    }
    return by_kind[column.kind]


def _no_or_yes(languages: Languages) -> dict[str, Any]:
    return {
        "@odata.type": f"{CRM}BooleanOptionSetMetadata",
        "TrueOption": option_json(1, _YES, languages),
        "FalseOption": option_json(0, _NO, languages),
    }


def lookup_json(table: str, column: Column, languages: Languages) -> dict[str, Any]:
    """Return what creates a lookup column of a table together with its relationship."""
    cascade = dict.fromkeys(("Assign", "Merge", "Reparent", "Share", "Unshare", "RollupView"), "NoCascade")
    return {
        "@odata.type": f"{CRM}OneToManyRelationshipMetadata",
        "SchemaName": relationship_name(table, column),
        "ReferencedEntity": column.target,
        "ReferencedAttribute": f"{column.target}id",
        "ReferencingEntity": table,
        "CascadeConfiguration": cascade | {"Delete": "RemoveLink"},
        "AssociatedMenuConfiguration": {"Behavior": "DoNotDisplay"},
        "Lookup": {
            "@odata.type": f"{CRM}LookupAttributeMetadata",
            "AttributeType": "Lookup",
            "AttributeTypeName": TYPE_NAMES["lookup"],
            "SchemaName": column.schema_name,
            "DisplayName": languages.label(column.title),
            "Description": languages.label(column.about),
            "RequiredLevel": {"Value": "None"},
        },
    }


def relationship_name(table: str, column: Column) -> str:
    """Return the schema name of a lookup's relationship."""
    return f"lima_{column.target}_{table}_{column.schema_name.removeprefix('lima_')}"


def type_of(present: Mapping[str, Any]) -> str:
    """Return the type of a column in Dataverse as the service names it, such as `StringType`."""
    named: str = (present.get("AttributeTypeName") or {}).get("Value") or f"{present.get('AttributeType')}Type"
    return named


def has_other_type(column: Column, present: Mapping[str, Any]) -> bool:
    """Tell whether a column of this name is of another type, which no installer can change."""
    return type_of(present) != TYPE_NAMES[column.kind]["Value"]


def column_changes(column: Column, present: Mapping[str, Any], languages: Languages) -> dict[str, Any]:
    """Return what of a column's definition has to change; nothing when it is as it should be.

    A length is only ever made greater, because a shorter one could cut what is stored.
    """
    changes: dict[str, Any] = {}
    if not languages.says(present.get("DisplayName"), column.title):
        changes["DisplayName"] = languages.label(column.title)
    if not languages.says(present.get("Description"), column.about):
        changes["Description"] = languages.label(column.about)
    limit = "MaxValue" if column.most and column.kind != "file" else "MaxLength"
    wanted = column.most if limit == "MaxValue" else column.length
    if wanted and (present.get(limit) or 0) < wanted:
        changes[limit] = wanted
    return changes


def table_changes(table: Table, present: Mapping[str, Any], languages: Languages) -> dict[str, Any]:
    """Return which labels of a table have to change; nothing when they are as they should be."""
    wanted = {"DisplayName": table.title, "DisplayCollectionName": table.plural, "Description": table.about}
    return {name: languages.label(text) for name, text in wanted.items() if not languages.says(present.get(name), text)}


def whole(present: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole definition with changes, as a PUT takes it: without the members that only answers carry."""
    return {name: value for name, value in present.items() if name not in ("@odata.context", "@odata.etag", "Attributes")} | dict(
        changes
    )
