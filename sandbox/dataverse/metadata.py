"""Creating, changing and deleting tables, columns, relationships, choices and keys from definitions in JSON."""

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.dataverse import errors
from sandbox.dataverse.building import (
    ACTIVE_INACTIVE,
    Spec,
    build_column,
    guid,
    new_code,
    relate,
    system_specs,
)
from sandbox.dataverse.components import ATTRIBUTE, ENTITY, KEY, OPTION_SET, RELATIONSHIP, Components, prefixes
from sandbox.dataverse.privileges import Caller
from sandbox.dataverse.records import holders
from sandbox.dataverse.rows import folded
from sandbox.dataverse.seeds import add_message_filters
from sandbox.dataverse.state import State
from sandbox.dataverse.tables import (
    CRM,
    Column,
    Key,
    ManyToMany,
    OneToMany,
    Table,
    attribute,
    column_from,
    entity,
    filled_label,
    label,
    label_text,
    many_to_many,
    one_to_many,
    option_set,
    required_level,
)

TYPE_LIMITS = {"String": 4000, "Memo": 1_048_576}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "String": {"MaxLength": 100, "FormatName": {"Value": "Text"}, "Format": "Text", "ImeMode": "Auto"},
    "Memo": {"MaxLength": 2000, "FormatName": {"Value": "TextArea"}, "Format": "TextArea", "ImeMode": "Auto"},
    "Integer": {"MinValue": -(2**31), "MaxValue": 2**31 - 1, "Format": "None"},
    "BigInt": {"MinValue": -(2**63), "MaxValue": 2**63 - 1},
    "Decimal": {"MinValue": -100_000_000_000.0, "MaxValue": 100_000_000_000.0, "Precision": 2},
    "Double": {"MinValue": 0.0, "MaxValue": 1_000_000_000.0, "Precision": 2},
    "Money": {"MinValue": -922_337_203_685_477.0, "MaxValue": 922_337_203_685_477.0, "Precision": 2, "PrecisionSource": 2},
    "DateTime": {"Format": "DateAndTime", "DateTimeBehavior": {"Value": "UserLocal"}, "ImeMode": "Auto"},
    "Boolean": {"DefaultValue": False},
    "Picklist": {"DefaultFormValue": -1},
    "MultiSelectPicklist": {"DefaultFormValue": -1},
    "File": {"MaxSizeInKB": 32_768},
    "Image": {"MaxSizeInKB": 10_240, "CanStoreFullImage": False, "IsPrimaryImage": False},
    "Lookup": {},
}
FIXED = frozenset(
    {"MetadataId", "LogicalName", "SchemaName", "AttributeType", "AttributeTypeName", "EntityLogicalName", "@odata.type"}
)
FIXED_OF_TABLE = frozenset({"MetadataId", "LogicalName", "SchemaName", "EntitySetName", "PrimaryIdAttribute", "ObjectTypeCode"})
SCHEMA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*_[A-Za-z0-9_]+")
OPTION_BLOCK = 10_000


class Definitions:
    """Changes the schema as requests to the metadata addresses ask; every method may raise the service's error."""

    def __init__(self, state: State, components: Components) -> None:
        self._state, self._components = state, components

    # ------------------------------------------------------------------ tables

    def create_table(self, caller: Caller, body: Mapping[str, Any], solution: str | None) -> Table:
        """Create a table with the columns of its definition."""
        self._state.privileges.require_named(caller, "prvCreateEntity")
        schema_name = self._schema_name(body)
        name = schema_name.lower()
        if name in self._state.schema.tables:
            raise errors.ServiceError(
                400, errors.DUPLICATE_SCHEMA_NAME, f"An entity with the specified name {schema_name} already exists."
            )
        posted = errors.listed(body, "Attributes")
        primary = [one for one in posted if one.get("IsPrimaryName")]
        if len(primary) != 1:
            raise errors.invalid_argument(f"The table {schema_name} needs exactly one column with IsPrimaryName in Attributes.")
        for needed in ("DisplayName", "DisplayCollectionName"):
            if not label_text(body.get(needed)) and not (body.get(needed) or {}).get("LocalizedLabels"):
                raise errors.invalid_argument(f"The table {schema_name} needs a {needed}.")
        table = self._new_table(name, schema_name, body, primary[0]["SchemaName"].lower())
        for one in posted:
            self._add_column(table, one, caller)
        self._finish_table(table, has_notes=bool(body.get("HasNotes")))
        self._components.add(solution, ENTITY, table.metadata_id)
        return table

    def _new_table(self, name: str, schema_name: str, body: Mapping[str, Any], primary_name: str) -> Table:
        user_owned = body.get("OwnershipType", "UserOwned") == "UserOwned"
        given = {
            key: value
            for key, value in body.items()
            if not key.startswith("@") and key not in ("Attributes", "SchemaName", "LogicalName", "MetadataId")
        }
        for one in ("DisplayName", "DisplayCollectionName", "Description"):
            given[one] = filled_label(given.get(one))
        plural = given.pop("EntitySetName", None) or plural_of(name)
        fixed = {
            "PrimaryNameAttribute": primary_name,
            "OwnershipType": "UserOwned" if user_owned else "OrganizationOwned",
            "IsCustomEntity": True,
            "ObjectTypeCode": new_code(self._state),
            "CollectionSchemaName": plural_of(schema_name),
        }
        table = Table(name, entity(name, schema_name, plural, name + "id", **(given | fixed)))
        self._state.add_table(table)
        key = Spec(
            name + "id", "Uniqueidentifier", {"IsPrimaryId": True, "IsValidForUpdate": False, "SchemaName": schema_name + "Id"}
        )
        build_column(table, key)
        return table

    def _finish_table(self, table: Table, *, has_notes: bool) -> None:
        specs = system_specs(user_owned=table.user_owned, states=ACTIVE_INACTIVE)
        for spec in specs:
            build_column(table, spec)
        for spec in specs:
            relate(self._state, table, spec)
        if has_notes:
            notes = self._state.schema.table("annotation")
            self._state.add_relationship(
                one_to_many(
                    f"{table.name}_Annotations",
                    table,
                    "annotation",
                    "objectid",
                    f"objectid_{table.name}",
                    CascadeConfiguration={"Delete": "Cascade"},
                )
            )
            column = notes.columns["objectid"]
            column.metadata["Targets"] = [*column.targets, table.name]
            column.refresh()
        self._state.privileges.add_for(table)
        self._state.privileges.changed()
        add_message_filters(self._state, table.name)

    def _schema_name(self, body: Mapping[str, Any]) -> str:
        name = body.get("SchemaName")
        if not isinstance(name, str) or not SCHEMA_NAME.fullmatch(name):
            raise errors.invalid_argument(f"The schema name '{name}' is not valid: it needs a customization prefix and a name.")
        known = {prefix.lower() for prefix in prefixes(self._state)}
        if name.partition("_")[0].lower() not in known:
            raise errors.invalid_argument(
                f"The schema name '{name}' does not begin with the customization prefix of a publisher."
            )
        return name

    def change_table(self, caller: Caller, table: Table, body: Mapping[str, Any], solution: str | None, *, merge: bool) -> None:
        """Change a table's definition to the body's; names and identity stay."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        for name, value in body.items():
            if name.startswith("@") or name in FIXED_OF_TABLE or name == "Attributes" or name not in table.metadata:
                continue
            is_label = name in ("DisplayName", "DisplayCollectionName", "Description")
            table.metadata[name] = merged_label(table.metadata.get(name), value, merge=merge) if is_label else value
        self._components.add(solution, ENTITY, table.metadata_id)

    def delete_table(self, caller: Caller, table: Table) -> None:
        """Delete a custom table with its rows; refused while something outside it needs it."""
        self._state.privileges.require_named(caller, "prvDeleteEntity")
        if not table.is_custom:
            raise errors.invalid_argument(f"The entity {table.name} is a system entity and cannot be deleted.")
        users = self._components.users_of_table(table)
        if users:
            raise errors.is_referenced("Entity", table.metadata_id, len(users))
        self._forget_components_of(table)
        self._forget_filters_of(table)
        notes = self._state.schema.table("annotation").columns["objectid"]
        notes.metadata["Targets"] = [target for target in notes.targets if target != table.name]
        notes.refresh()
        for relationship in self._state.schema.relationships_of(table.name):
            self._components.drop(relationship.metadata_id)
        for column in table.columns.values():
            self._components.drop(column.metadata_id)
        self._components.drop(table.metadata_id)
        self._state.drop_table(table)

    def _forget_components_of(self, table: Table) -> None:
        for component, column in (
            ("systemform", "objecttypecode"),
            ("savedquery", "returnedtypecode"),
            ("appaction", "contextvalue"),
        ):
            store = self._state.store(component)
            for at in list(store.positions()):
                if store.get(at, column) == table.name:
                    self._components.drop(store.id_at(at))
                    self._state.remove_row(component, at)

    def _forget_filters_of(self, table: Table) -> None:
        store = self._state.store("sdkmessagefilter")
        for at in list(store.positions()):
            if store.get(at, "primaryobjecttypecode") == table.name:
                self._state.remove_row("sdkmessagefilter", at)

    # ------------------------------------------------------------------ columns

    def create_column(self, caller: Caller, table: Table, body: Mapping[str, Any], solution: str | None) -> Column:
        """Create a column."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        if body.get("IsPrimaryName"):
            raise errors.invalid_argument("A primary name column is created with its table.")
        column = self._add_column(table, body, caller)
        self._components.add_part(solution, table, ATTRIBUTE, column.metadata_id)
        return column

    def _add_column(self, table: Table, body: Mapping[str, Any], caller: Caller) -> Column:
        kind = kind_of(body)
        if kind == "Lookup":
            raise errors.invalid_argument("A lookup column is created with its relationship.")
        column = self._new_column(table, body, kind, caller)
        if kind == "File":
            build_column(
                table, Spec(column.name + "_name", "String", {"MaxLength": 200, "AttributeOf": column.name} | _READ_ONLY)
            )
        return column

    def _new_column(self, table: Table, body: Mapping[str, Any], kind: str, caller: Caller) -> Column:
        schema_name = self._schema_name(body)
        name = schema_name.lower()
        if name in table.columns:
            message = f"An attribute with the specified name {schema_name} already exists in the entity {table.name}."
            raise errors.ServiceError(400, errors.DUPLICATE_SCHEMA_NAME, message)
        given = {key: value for key, value in body.items() if "@" not in key and key not in FIXED and key != "GlobalOptionSet"}
        for one in ("DisplayName", "Description"):
            given[one] = filled_label(given.get(one))
        level = (given.get("RequiredLevel") or {}).get("Value", "None")
        given["RequiredLevel"] = required_level(level)
        choices = self._choices(table, name, kind, body, caller)
        if choices is not None:
            given["OptionSet"] = choices
        filled = {**DEFAULTS[kind], **{key: value for key, value in given.items() if value is not None}}
        _check_limits(kind, name, filled)
        definition = attribute(name, kind, schema_name, IsCustomAttribute=True, **(filled | {"EntityLogicalName": table.name}))
        column = column_from(definition, kind)
        table.add_column(column)
        return column

    def _choices(self, table: Table, name: str, kind: str, body: Mapping[str, Any], caller: Caller) -> dict[str, Any] | None:
        if kind not in ("Picklist", "MultiSelectPicklist", "Boolean"):
            return None
        bound = body.get("GlobalOptionSet@odata.bind")
        if bound is not None:
            return self.choice(re.sub(r"^.*\((.*)\)$", r"\1", str(bound)))
        posted = body.get("OptionSet")
        if kind == "Boolean":
            return _boolean_choices(table, name, posted)
        if not isinstance(posted, Mapping):
            raise errors.invalid_argument(f"The choice column {name} needs an OptionSet or a GlobalOptionSet.")
        if posted.get("IsGlobal") and posted.get("Name"):
            return self.choice(f"Name='{posted['Name']}'")
        return self._local_choices(f"{table.name}_{name}", posted, caller)

    def _local_choices(self, name: str, posted: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        choices = option_set(posted.get("Name") or name, "Picklist", [], IsCustomOptionSet=True)
        choices["DisplayName"] = filled_label(posted.get("DisplayName"))
        choices["Options"] = self._options(errors.listed(posted, "Options"), caller)
        return choices

    def _options(self, posted: Iterable[Mapping[str, Any]], caller: Caller) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = []
        for one in posted:
            value = one.get("Value")
            if value is None:
                value = self._option_prefix(caller) * OPTION_BLOCK + len(listed)
            if any(option["Value"] == value for option in listed):
                raise errors.invalid_argument(f"The option value {value} is used twice.")
            listed.append(_option(value, one))
        return listed

    def _option_prefix(self, caller: Caller) -> int:
        solution = self._state.first("solution", uniquename=caller.solution or "Default")
        publisher = self._state.find("publisher", (solution or {}).get("publisherid") or "")
        return int((publisher or {}).get("customizationoptionvalueprefix") or OPTION_BLOCK)

    def change_column(
        self, caller: Caller, table: Table, column: Column, body: Mapping[str, Any], solution: str | None, *, merge: bool
    ) -> None:
        """Change a column's definition to the body's; names, type and options stay."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        changed = dict(column.metadata)
        for name, value in body.items():
            if "@" in name or name in FIXED or name in ("OptionSet", "GlobalOptionSet") or value is None:
                continue
            is_label = name in ("DisplayName", "Description")
            changed[name] = merged_label(changed.get(name), value, merge=merge) if is_label else value
        _check_limits(column.kind, column.name, changed)
        column.metadata.update(changed)
        column.refresh()
        self._components.add_part(solution, table, ATTRIBUTE, column.metadata_id)

    def delete_column(self, caller: Caller, table: Table, column: Column) -> None:
        """Delete a custom column with its values; refused while a form, view or key uses it."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        if not column.is_custom or column.metadata["IsPrimaryName"]:
            raise errors.invalid_argument(f"The attribute {column.name} of {table.name} cannot be deleted.")
        users = self._components.users_of_column(table, column.name)
        if users:
            raise errors.is_referenced("Attribute", column.metadata_id, len(users))
        for relationship in list(table.navigations_of(column.name).values()):
            self._components.drop(relationship.metadata_id)
            self._state.drop_relationship(relationship)
        self._drop_column(table, column)

    def _drop_column(self, table: Table, column: Column) -> None:
        for name in (column.name, column.name + "_name"):
            if name in table.columns and (name == column.name or column.kind == "File"):
                self._components.drop(table.columns[name].metadata_id)
                self._state.store(table.name).drop_column(name)
                table.drop_column(name)

    # ------------------------------------------------------------------ relationships

    def create_relationship(self, caller: Caller, body: Mapping[str, Any], solution: str | None) -> OneToMany | ManyToMany:
        """Create a lookup with its column, or a many-to-many relationship with its intersect table."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        schema_name = self._schema_name(body)
        if schema_name.lower() in self._state.schema.relationships:
            message = f"A relationship with the specified name {schema_name} already exists."
            raise errors.ServiceError(400, errors.DUPLICATE_SCHEMA_NAME, message)
        if "ManyToMany" in str(body.get("@odata.type")):
            return self._create_many_to_many(body, schema_name, solution)
        return self._create_one_to_many(caller, body, schema_name, solution)

    def _create_one_to_many(self, caller: Caller, body: Mapping[str, Any], schema_name: str, solution: str | None) -> OneToMany:
        referenced = self._state.schema.table(str(body.get("ReferencedEntity")))
        referencing = self._state.schema.table(str(body.get("ReferencingEntity")))
        posted = body.get("Lookup")
        if not isinstance(posted, Mapping):
            raise errors.invalid_argument("A one-to-many relationship needs a Lookup.")
        column = self._new_column(referencing, {**posted, "Targets": [referenced.name]}, "Lookup", caller)
        more = {name: body[name] for name in ("CascadeConfiguration", "AssociatedMenuConfiguration") if name in body}
        navigations = {
            "ReferencingEntityNavigationPropertyName": body.get("ReferencingEntityNavigationPropertyName") or column.schema_name,
            "ReferencedEntityNavigationPropertyName": body.get("ReferencedEntityNavigationPropertyName") or schema_name,
        }
        relationship = one_to_many(
            schema_name, referenced, referencing.name, column.name, IsCustomRelationship=True, **more, **navigations
        )
        self._state.add_relationship(relationship)
        self._components.add_part(solution, referencing, ATTRIBUTE, column.metadata_id)
        self._components.add_part(solution, referencing, RELATIONSHIP, relationship.metadata_id)
        return relationship

    def _create_many_to_many(self, body: Mapping[str, Any], schema_name: str, solution: str | None) -> ManyToMany:
        left = self._state.schema.table(str(body.get("Entity1LogicalName")))
        right = self._state.schema.table(str(body.get("Entity2LogicalName")))
        intersect = str(body.get("IntersectEntityName") or schema_name).lower()
        if intersect in self._state.schema.tables:
            message = f"An entity with the specified name {intersect} already exists."
            raise errors.ServiceError(400, errors.DUPLICATE_SCHEMA_NAME, message)
        definition = entity(intersect, intersect, intersect + "set", intersect + "id", IsIntersect=True, IsCustomEntity=True)
        table = Table(intersect, definition | {"OwnershipType": "None", "ObjectTypeCode": new_code(self._state)})
        more = {name: body[name] for name in ("Entity1NavigationPropertyName", "Entity2NavigationPropertyName") if body.get(name)}
        relationship = many_to_many(schema_name, intersect, left, right, IsCustomRelationship=True, **more)
        build_column(table, Spec(intersect + "id", "Uniqueidentifier", {"IsPrimaryId": True}))
        for column in (relationship.left_column, relationship.right_column):
            build_column(table, guid(column))
        self._state.add_table(table)
        self._state.add_relationship(relationship)
        self._components.add(solution, RELATIONSHIP, relationship.metadata_id)
        return relationship

    def delete_relationship(self, caller: Caller, relationship: OneToMany | ManyToMany) -> None:
        """Delete a custom relationship with its lookup column or intersect table."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        if not relationship.metadata["IsCustomRelationship"]:
            raise errors.invalid_argument(f"The relationship {relationship.schema_name} cannot be deleted.")
        if isinstance(relationship, OneToMany):
            table = self._state.schema.table(relationship.referencing)
            self.delete_column(caller, table, table.columns[relationship.column])
            return
        self._components.drop(relationship.metadata_id)
        self._state.drop_relationship(relationship)
        self._state.drop_table(self._state.schema.table(relationship.intersect))

    # ------------------------------------------------------------------ choices

    def choice(self, key: str) -> dict[str, Any]:
        """Return a global choice by its id or `Name='...'`, or raise the 404."""
        name = re.fullmatch(r"Name='((?:[^']|'')*)'", key)
        for one in self._state.schema.choices.values():
            if (name and one["Name"] == name[1]) or one["MetadataId"] == key.lower():
                return one
        message = f"Could not find an optionset with {'Name' if name else 'MetadataId'} {name[1] if name else key}."
        raise errors.ServiceError(404, errors.NOT_FOUND, message)

    def create_choice(self, caller: Caller, body: Mapping[str, Any], solution: str | None) -> dict[str, Any]:
        """Create a global choice."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        name = str(body.get("Name") or "")
        if not SCHEMA_NAME.fullmatch(name):
            raise errors.invalid_argument(f"The option set name '{name}' is not valid: it needs a customization prefix.")
        if name.lower() in self._state.schema.choices:
            message = f"An OptionSet with the specified name {name} already exists."
            raise errors.ServiceError(400, errors.DUPLICATE_SCHEMA_NAME, message)
        made = option_set(name, "Picklist", [], IsGlobal=True, IsCustomOptionSet=True)
        made |= {"@odata.type": f"#{CRM}OptionSetMetadata", "Options": self._options(errors.listed(body, "Options"), caller)}
        for one in ("DisplayName", "Description"):
            made[one] = filled_label(body.get(one))
        self._state.schema.choices[name.lower()] = made
        self._components.add(solution, OPTION_SET, made["MetadataId"])
        return made

    def change_choice(self, caller: Caller, choice: dict[str, Any], body: Mapping[str, Any], *, merge: bool) -> None:
        """Change a global choice's labels; its options have actions of their own."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        for name in ("DisplayName", "Description"):
            if body.get(name):
                choice[name] = merged_label(choice[name], body[name], merge=merge)

    def delete_choice(self, caller: Caller, choice: dict[str, Any]) -> None:
        """Delete a global choice; refused while a column uses it."""
        self._state.privileges.require_named(caller, "prvDeleteEntity")
        users = [
            column
            for table in self._state.schema
            for column in table.columns.values()
            if column.metadata.get("OptionSet") is choice
        ]
        if users:
            raise errors.is_referenced("OptionSet", choice["MetadataId"], len(users))
        del self._state.schema.choices[choice["Name"].lower()]
        self._components.drop(choice["MetadataId"])

    def options_of(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the option set that an option action names: a global choice, or a column's own."""
        if body.get("OptionSetName"):
            return self.choice(f"Name='{body['OptionSetName']}'")
        table = self._state.schema.table(str(body.get("EntityLogicalName")))
        options: dict[str, Any] | None = table.column(str(body.get("AttributeLogicalName"))).metadata.get("OptionSet")
        if options is None:
            raise errors.invalid_argument(f"The column {body.get('AttributeLogicalName')} has no options.")
        return options

    def insert_option(self, caller: Caller, body: Mapping[str, Any]) -> int:
        """Add an option and return its value."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        options = self.options_of(body)["Options"]
        value = body.get("Value")
        if value is None:
            value = max([self._option_prefix(caller) * OPTION_BLOCK - 1, *(one["Value"] for one in options)]) + 1
        if any(one["Value"] == value for one in options):
            raise errors.invalid_argument(f"The option value {value} exists already.")
        options.append(_option(int(value), body))
        self._refresh_columns()
        return int(value)

    def update_option(self, caller: Caller, body: Mapping[str, Any]) -> None:
        """Change an option's label."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        option = self._option_of(body)
        option["Label"] = merged_label(option["Label"], body.get("Label"), merge=bool(body.get("MergeLabels")))
        self._refresh_columns()

    def delete_option(self, caller: Caller, body: Mapping[str, Any]) -> None:
        """Take an option out."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        self.options_of(body)["Options"].remove(self._option_of(body))
        self._refresh_columns()

    def _option_of(self, body: Mapping[str, Any]) -> dict[str, Any]:
        for one in self.options_of(body)["Options"]:
            if one["Value"] == body.get("Value"):
                found: dict[str, Any] = one
                return found
        raise errors.invalid_argument(f"The option {body.get('Value')} does not exist.")

    def _refresh_columns(self) -> None:
        for table in self._state.schema:
            for column in table.columns.values():
                if column.metadata.get("OptionSet"):
                    column.refresh()

    # ------------------------------------------------------------------ keys

    def create_key(self, caller: Caller, table: Table, body: Mapping[str, Any], solution: str | None) -> Key:
        """Create an alternate key; its index is there at once, and failed when values occur twice already."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        schema_name = self._schema_name(body)
        columns = tuple(str(one).lower() for one in errors.listed(body, "KeyAttributes", str))
        if not columns:
            raise errors.invalid_argument("An alternate key needs KeyAttributes.")
        for name in columns:
            table.column(name)
        if schema_name.lower() in table.keys:
            message = f"An entity key with the specified name {schema_name} already exists."
            raise errors.ServiceError(400, errors.DUPLICATE_SCHEMA_NAME, message)
        metadata: dict[str, Any] = {
            "MetadataId": str(uuid.uuid4()),
            "SchemaName": schema_name,
            "LogicalName": schema_name.lower(),
            "EntityLogicalName": table.name,
            "KeyAttributes": list(columns),
            "DisplayName": filled_label(body.get("DisplayName")) if body.get("DisplayName") else label(schema_name),
            "EntityKeyIndexStatus": "Active",
            "IsManaged": False,
            "IsSynchronous": False,
            "IsCustomizable": {"Value": True, "CanBeChanged": True},
            "HasChanged": None,
        }
        key = Key(schema_name, columns, metadata)
        if self._occurs_twice(table, key):
            metadata["EntityKeyIndexStatus"] = "Failed"
        table.keys[schema_name.lower()] = key
        self._components.add_part(solution, table, KEY, metadata["MetadataId"])
        return key

    def _occurs_twice(self, table: Table, key: Key) -> bool:
        store = self._state.store(table.name)
        for at in store.positions():
            wanted = [folded(store.get(at, name)) for name in key.columns]
            if None not in wanted and len(holders(store, key, wanted)) > 1:
                return True
        return False

    def delete_key(self, caller: Caller, table: Table, key: Key) -> None:
        """Delete an alternate key."""
        self._state.privileges.require_named(caller, "prvWriteEntity")
        del table.keys[key.name.lower()]
        self._components.drop(key.metadata["MetadataId"])


_READ_ONLY = {"IsValidForCreate": False, "IsValidForUpdate": False}


def kind_of(body: Mapping[str, Any]) -> str:
    """Return the kind of column that a definition's `@odata.type` names."""
    found = re.fullmatch(rf"#?{re.escape(CRM)}(?:Complex)?(\w+)AttributeMetadata", str(body.get("@odata.type")))
    if found is None or found[1] not in DEFAULTS:
        raise errors.invalid_argument(f"The attribute type '{body.get('@odata.type')}' cannot be created here.")
    return found[1]


def plural_of(name: str) -> str:
    """Return the plural that the service makes of a name.

    >>> plural_of("lima_audience"), plural_of("new_city"), plural_of("new_box")
    ('lima_audiences', 'new_cities', 'new_boxes')
    """
    lower = name.lower()
    if lower.endswith("y") and lower[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + ("es" if lower.endswith(("s", "x", "z", "ch", "sh")) else "s")


def merged_label(old: Any, new: Any, *, merge: bool) -> dict[str, Any]:
    """Return a label after a change; with `merge`, languages that the change does not name stay."""
    if not merge or not isinstance(old, Mapping):
        return filled_label(new)
    by_language = {one["LanguageCode"]: one for one in old.get("LocalizedLabels") or ()}
    by_language |= {one["LanguageCode"]: one for one in (new or {}).get("LocalizedLabels") or ()}
    return filled_label({"LocalizedLabels": list(by_language.values())})


def _option(value: int, posted: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Value": value,
        "Label": filled_label(posted.get("Label")),
        "Description": filled_label(posted.get("Description")),
        "Color": posted.get("Color"),
        "IsManaged": False,
    }


def _boolean_choices(table: Table, name: str, posted: Any) -> dict[str, Any]:
    choices = option_set(f"{table.name}_{name}", "Boolean", [(0, "No"), (1, "Yes")])
    if isinstance(posted, Mapping):
        for member, value in (("FalseOption", 0), ("TrueOption", 1)):
            if posted.get(member):
                choices[member] = _option(value, posted[member])
    return choices


def _check_limits(kind: str, name: str, definition: Mapping[str, Any]) -> None:
    most = TYPE_LIMITS.get(kind)
    length = definition.get("MaxLength")
    if most is not None and not (isinstance(length, int) and 1 <= length <= most):
        raise errors.invalid_argument(f"The length {length} of the attribute {name} must be between 1 and {most}.")
