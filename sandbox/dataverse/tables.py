"""Tables, columns, relationships and keys, and the schema that knows them all.

The definition as the Web API gives it (`metadata`) is the single source; what the rules need often is read from it once.
Column *kinds* are the service's AttributeType names (`String`, `Picklist`, ...).
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sandbox.dataverse import errors, values

NAMESPACE = uuid.UUID("5eed0000-0000-4000-8000-000000000000")
CRM = "Microsoft.Dynamics.CRM."
LANGUAGE = 1033
TYPE_NAMES = {
    "Memo": "MemoType",
    "String": "StringType",
    "Integer": "IntegerType",
    "BigInt": "BigIntType",
    "Decimal": "DecimalType",
    "Double": "DoubleType",
    "Money": "MoneyType",
    "DateTime": "DateTimeType",
    "Boolean": "BooleanType",
    "Picklist": "PicklistType",
    "MultiSelectPicklist": "MultiSelectPicklistType",
    "State": "StateType",
    "Status": "StatusType",
    "Lookup": "LookupType",
    "Owner": "OwnerType",
    "Customer": "CustomerType",
    "Uniqueidentifier": "UniqueidentifierType",
    "EntityName": "EntityNameType",
    "File": "FileType",
    "Image": "ImageType",
    "Virtual": "VirtualType",
}
VIRTUAL_KINDS = frozenset({"File", "Image", "MultiSelectPicklist"})
"""Kinds whose AttributeType the Web API calls Virtual; their AttributeTypeName tells them apart."""
DERIVED_TYPES = {"Customer": "Lookup", "Owner": "Lookup", "Uniqueidentifier": "UniqueIdentifier"}


@cache
def seeded_id(*names: str) -> str:
    """Return the guid that the same names always get; for things that come with the environment."""
    return str(uuid.uuid5(NAMESPACE, "/".join(names)))


def label(text: str | None, language: int = LANGUAGE) -> dict[str, Any]:
    """Return a label in the Web API's shape."""
    localized = [] if text is None else [_localized(text, language)]
    return {"LocalizedLabels": localized, "UserLocalizedLabel": localized[0] if localized else None}


def _localized(text: str, language: int) -> dict[str, Any]:
    return {"Label": text, "LanguageCode": language, "IsManaged": False, "MetadataId": str(uuid.uuid4()), "HasChanged": None}


def label_text(given: Any) -> str | None:
    """Return the text of a label, whatever its language; None when it has none."""
    if not isinstance(given, Mapping):
        return None
    chosen = given.get("UserLocalizedLabel") or next(iter(given.get("LocalizedLabels") or ()), None)
    return chosen.get("Label") if isinstance(chosen, Mapping) else None


def filled_label(given: Any) -> dict[str, Any]:
    """Return a posted label as the service gives it back, with the user's own label chosen."""
    localized = [
        {"IsManaged": False, "MetadataId": str(uuid.uuid4()), "HasChanged": None}
        | {name: value for name, value in one.items() if not name.startswith("@")}
        for one in (given or {}).get("LocalizedLabels") or ()
    ]
    own = next((one for one in localized if one.get("LanguageCode") == LANGUAGE), localized[0] if localized else None)
    return {"LocalizedLabels": localized, "UserLocalizedLabel": own}


def option_labels(option_set: Mapping[str, Any] | None) -> dict[int, str]:
    """Return value and label of every option of an option set, two-option sets included."""
    if not option_set:
        return {}
    given = option_set.get("Options") or [option_set.get("FalseOption"), option_set.get("TrueOption")]
    return {option["Value"]: label_text(option.get("Label")) or str(option["Value"]) for option in given if option}


@dataclass
class Column:
    """One column of a table; `metadata` is its definition as the Web API gives it."""

    name: str
    kind: str
    metadata: dict[str, Any]
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    precision: int | None = None
    options: dict[int, str] = field(default_factory=dict)
    states: dict[int, int] = field(default_factory=dict)
    default: Any = None
    date_only: bool = False
    targets: tuple[str, ...] = ()
    secret: bool = False

    @property
    def is_lookup(self) -> bool:
        """Tell whether this column points at another row."""
        return self.kind in values.LOOKUP_KINDS

    @property
    def property_name(self) -> str:
        """The name of this column in a row's JSON."""
        return f"_{self.name}_value" if self.is_lookup else self.name

    @property
    def schema_name(self) -> str:
        """The name with its capitals."""
        name: str = self.metadata["SchemaName"]
        return name

    @property
    def metadata_id(self) -> str:
        """The guid of the definition."""
        row_id: str = self.metadata["MetadataId"]
        return row_id

    @property
    def is_custom(self) -> bool:
        """Tell whether somebody added this column to the environment."""
        return bool(self.metadata.get("IsCustomAttribute"))

    def refresh(self) -> None:
        """Read the rules again after the definition was changed."""
        meta = self.metadata
        self.max_length = meta.get("MaxLength")
        self.minimum, self.maximum = meta.get("MinValue"), meta.get("MaxValue")
        self.precision = meta.get("Precision") if self.kind in ("Decimal", "Double", "Money") else None
        option_set = meta.get("OptionSet")
        self.options = option_labels(option_set)
        if self.kind == "Status" and option_set:
            self.states = {option["Value"]: option.get("State", 0) for option in option_set["Options"]}
        self.date_only = self.kind == "DateTime" and meta.get("Format") == "DateOnly"
        self.targets = tuple(meta.get("Targets") or ())
        default = meta.get("DefaultValue") if self.kind == "Boolean" else meta.get("DefaultFormValue")
        self.default = None if default == -1 else default


def column_from(metadata: dict[str, Any], kind: str) -> Column:
    """Return the column that a definition describes."""
    column = Column(metadata["LogicalName"], kind, metadata)
    column.refresh()
    return column


@dataclass
class OneToMany:
    """A lookup: many rows of `referencing` point at one row of `referenced`."""

    schema_name: str
    referenced: str
    referencing: str
    column: str
    navigation: str
    collection: str
    on_delete: str
    metadata: dict[str, Any]

    @property
    def metadata_id(self) -> str:
        """The guid of the definition."""
        row_id: str = self.metadata["MetadataId"]
        return row_id


@dataclass
class ManyToMany:
    """Pairs of rows of two tables, kept in an intersect table."""

    schema_name: str
    intersect: str
    left: str
    right: str
    left_navigation: str
    right_navigation: str
    left_column: str
    right_column: str
    metadata: dict[str, Any]

    @property
    def metadata_id(self) -> str:
        """The guid of the definition."""
        row_id: str = self.metadata["MetadataId"]
        return row_id


@dataclass
class Key:
    """An alternate key: columns whose values together occur once."""

    name: str
    columns: tuple[str, ...]
    metadata: dict[str, Any]


@dataclass
class Table:
    """One table; `metadata` is its definition as the Web API gives it, without its columns."""

    name: str
    metadata: dict[str, Any]
    columns: dict[str, Column] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    lookups: dict[str, OneToMany] = field(default_factory=dict)
    """Single-valued navigation properties of this table."""
    collections: dict[str, "OneToMany | ManyToMany"] = field(default_factory=dict)
    """Collection-valued navigation properties of this table."""
    intersect_of: tuple[ManyToMany, ...] = ()
    properties: dict[str, Column] = field(default_factory=dict)
    """Columns by the name they have in a row's JSON."""

    @property
    def key(self) -> str:
        """The primary key column."""
        name: str = self.metadata["PrimaryIdAttribute"]
        return name

    @property
    def name_column(self) -> str | None:
        """The column that names a row; None for tables without one."""
        name: str | None = self.metadata.get("PrimaryNameAttribute")
        return name

    @property
    def set_name(self) -> str:
        """The name in addresses."""
        name: str = self.metadata["EntitySetName"]
        return name

    @property
    def schema_name(self) -> str:
        """The name with its capitals; privileges end with it."""
        name: str = self.metadata["SchemaName"]
        return name

    @property
    def metadata_id(self) -> str:
        """The guid of the definition."""
        row_id: str = self.metadata["MetadataId"]
        return row_id

    @property
    def user_owned(self) -> bool:
        """Tell whether each row belongs to a user or team."""
        return self.metadata.get("OwnershipType") == "UserOwned"

    @property
    def is_custom(self) -> bool:
        """Tell whether somebody added this table to the environment."""
        return bool(self.metadata.get("IsCustomEntity"))

    def add_column(self, column: Column) -> None:
        """Add a column."""
        column.metadata.setdefault("ColumnNumber", len(self.columns) + 1)
        self.columns[column.name] = column
        self.properties[column.property_name] = column

    def drop_column(self, name: str) -> None:
        """Forget a column."""
        column = self.columns.pop(name)
        del self.properties[column.property_name]

    def column(self, name: str) -> Column:
        """Return a column by its logical name, or raise the 400 of a query that names none."""
        found = self.columns.get(name)
        if found is None:
            raise errors.unknown_property(name, self.name)
        return found

    def by_property(self, name: str) -> Column:
        """Return a column by its name in a row's JSON, or raise the 400 of a query that names none."""
        found = self.properties.get(name)
        if found is None:
            raise errors.unknown_property(name, self.name)
        return found

    def navigations_of(self, column: str) -> dict[str, OneToMany]:
        """Return the lookups that one column has, by the table they point at."""
        return {lookup.referenced: lookup for lookup in self.lookups.values() if lookup.column == column}


class Schema:
    """All tables, relationships and global choices of the environment."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.relationships: dict[str, OneToMany | ManyToMany] = {}
        self.choices: dict[str, dict[str, Any]] = {}
        """Global option sets by name."""
        self._sets: dict[str, Table] = {}

    def __iter__(self) -> Iterator[Table]:
        return iter(self.tables.values())

    def add_table(self, table: Table) -> None:
        """Add a table."""
        self.tables[table.name] = table
        self._sets[table.set_name] = table

    def drop_table(self, table: Table) -> None:
        """Forget a table with the relationships it takes part in."""
        for relationship in self.relationships_of(table.name):
            self.drop_relationship(relationship)
        del self.tables[table.name], self._sets[table.set_name]

    def table(self, name: str) -> Table:
        """Return a table by its logical name, or raise the 400 of an unknown table."""
        found = self.tables.get(name)
        if found is None:
            raise errors.unknown_table(name)
        return found

    def by_set(self, set_name: str) -> Table:
        """Return a table by its set name, or raise the 404 of an unknown segment."""
        found = self._sets.get(set_name)
        if found is None:
            raise errors.unknown_segment(set_name)
        return found

    def has_set(self, set_name: str) -> bool:
        """Tell whether a set of this name exists."""
        return set_name in self._sets

    def add_relationship(self, relationship: OneToMany | ManyToMany) -> None:
        """Add a relationship and its navigation properties on both sides."""
        self.relationships[relationship.schema_name.lower()] = relationship
        if isinstance(relationship, OneToMany):
            self.tables[relationship.referencing].lookups[relationship.navigation] = relationship
            self.tables[relationship.referenced].collections[relationship.collection] = relationship
            return
        self.tables[relationship.left].collections[relationship.left_navigation] = relationship
        self.tables[relationship.right].collections[relationship.right_navigation] = relationship
        intersect = self.tables[relationship.intersect]
        intersect.intersect_of = (*intersect.intersect_of, relationship)

    def drop_relationship(self, relationship: OneToMany | ManyToMany) -> None:
        """Forget a relationship; a lookup's column stays with its table."""
        self.relationships.pop(relationship.schema_name.lower(), None)
        if isinstance(relationship, OneToMany):
            self.tables[relationship.referencing].lookups.pop(relationship.navigation, None)
            self.tables[relationship.referenced].collections.pop(relationship.collection, None)
            return
        self.tables[relationship.left].collections.pop(relationship.left_navigation, None)
        self.tables[relationship.right].collections.pop(relationship.right_navigation, None)

    def relationships_of(self, table: str) -> list[OneToMany | ManyToMany]:
        """Return every relationship that a table takes part in."""
        return [one for one in self.relationships.values() if table in sides(one)]

    def many_to_one(self, table: str) -> list[OneToMany]:
        """Return the relationships in which a table holds the lookup."""
        return [r for r in self.relationships.values() if isinstance(r, OneToMany) and r.referencing == table]

    def one_to_many(self, table: str) -> list[OneToMany]:
        """Return the relationships in which a table is pointed at."""
        return [r for r in self.relationships.values() if isinstance(r, OneToMany) and r.referenced == table]

    def many_to_many(self, table: str) -> list[ManyToMany]:
        """Return the relationships that pair rows of a table."""
        return [r for r in self.relationships.values() if isinstance(r, ManyToMany) and table in (r.left, r.right)]


def sides(relationship: OneToMany | ManyToMany) -> tuple[str, ...]:
    """Return the tables that a relationship joins, the intersect table included."""
    if isinstance(relationship, OneToMany):
        return (relationship.referenced, relationship.referencing)
    return (relationship.left, relationship.right, relationship.intersect)


def required_level(level: str) -> dict[str, Any]:
    """Return a requirement level in the Web API's shape."""
    return {"Value": level, "CanBeChanged": True, "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings"}


def attribute(name: str, kind: str, schema_name: str | None = None, title: str | None = None, **more: Any) -> dict[str, Any]:
    """Return the definition of a column as the Web API gives it; `more` adds or replaces members."""
    shown = "Virtual" if kind in VIRTUAL_KINDS else kind
    return {
        "@odata.type": f"#{CRM}{DERIVED_TYPES.get(kind, kind)}AttributeMetadata",
        "MetadataId": more.pop("metadata_id", None) or str(uuid.uuid4()),
        "LogicalName": name,
        "SchemaName": schema_name or name,
        "AttributeType": shown,
        "AttributeTypeName": {"Value": TYPE_NAMES[kind]},
        "DisplayName": label(title or name),
        "Description": label(None),
        "RequiredLevel": required_level("None"),
        "EntityLogicalName": None,
        "AttributeOf": None,
        "IsPrimaryId": False,
        "IsPrimaryName": False,
        "IsCustomAttribute": False,
        "IsManaged": False,
        "IsLogical": False,
        "IsSecured": False,
        "IsValidForCreate": True,
        "IsValidForRead": True,
        "IsValidForUpdate": True,
        "IsValidForAdvancedFind": {"Value": True, "CanBeChanged": True},
        "IsCustomizable": {"Value": True, "CanBeChanged": True},
        "IsRenameable": {"Value": True, "CanBeChanged": True},
        "IsAuditEnabled": {"Value": False, "CanBeChanged": True},
        "HasChanged": None,
        "SourceType": 0 if kind not in values.LOOKUP_KINDS else None,
    } | more


BASE_ATTRIBUTE = frozenset(attribute("x", "String")) | {"ColumnNumber", "IntroducedVersion", "DeprecatedVersion", "ExternalName"}
"""Properties that every column's definition has; the others need a cast to the column's own type."""


def option_set(name: str, kind: str, options: Iterable[tuple[int, str]], **more: Any) -> dict[str, Any]:
    """Return a local option set in the Web API's shape; `kind` is Picklist, State, Status or Boolean."""
    listed = [_option(value, text) for value, text in options]
    shape: dict[str, Any] = {"Options": listed}
    if kind == "Boolean":
        shape = {"FalseOption": listed[0], "TrueOption": listed[1]}
    return {
        "MetadataId": str(uuid.uuid4()),
        "Name": name,
        "IsGlobal": False,
        "IsCustomOptionSet": False,
        "OptionSetType": kind,
        "DisplayName": label(name),
        "Description": label(None),
        **shape,
        **more,
    }


def _option(value: int, text: str) -> dict[str, Any]:
    return {"Value": value, "Label": label(text), "Description": label(None), "Color": None, "IsManaged": False}


def entity(name: str, schema_name: str, set_name: str, key: str, **more: Any) -> dict[str, Any]:
    """Return the definition of a table as the Web API gives it; `more` adds or replaces members."""
    return {
        "MetadataId": more.pop("metadata_id", None) or str(uuid.uuid4()),
        "LogicalName": name,
        "SchemaName": schema_name,
        "EntitySetName": set_name,
        "CollectionSchemaName": schema_name + "s",
        "LogicalCollectionName": set_name,
        "PrimaryIdAttribute": key,
        "PrimaryNameAttribute": None,
        "PrimaryImageAttribute": None,
        "OwnershipType": "UserOwned",
        "ObjectTypeCode": None,
        "DisplayName": label(schema_name),
        "DisplayCollectionName": label(schema_name + "s"),
        "Description": label(None),
        "TableType": "Standard",
        "IsActivity": False,
        "IsActivityParty": False,
        "IsCustomEntity": False,
        "IsIntersect": False,
        "IsManaged": False,
        "IsPrivate": False,
        "IsValidForAdvancedFind": True,
        "IsBPFEntity": False,
        "IsLogicalEntity": False,
        "HasActivities": False,
        "HasNotes": False,
        "HasFeedback": False,
        "ChangeTrackingEnabled": False,
        "IsOptimisticConcurrencyEnabled": True,
        "IsCustomizable": {"Value": True, "CanBeChanged": True},
        "IsRenameable": {"Value": True, "CanBeChanged": True},
        "CanCreateAttributes": {"Value": True, "CanBeChanged": False},
        "CanCreateForms": {"Value": True, "CanBeChanged": False},
        "CanCreateViews": {"Value": True, "CanBeChanged": False},
        "IsAuditEnabled": {"Value": False, "CanBeChanged": True},
        "IsConnectionsEnabled": {"Value": False, "CanBeChanged": True},
        "IsDuplicateDetectionEnabled": {"Value": False, "CanBeChanged": True},
        "IntroducedVersion": "1.0",
        "HasChanged": None,
    } | more


CASCADE = {
    "Assign": "NoCascade",
    "Delete": "RemoveLink",
    "Archive": "NoCascade",
    "Merge": "NoCascade",
    "Reparent": "NoCascade",
    "Share": "NoCascade",
    "Unshare": "NoCascade",
    "RollupView": "NoCascade",
}


def one_to_many(
    schema_name: str, referenced: Table, referencing: str, column: str, navigation: str | None = None, **more: Any
) -> OneToMany:
    """Return a lookup relationship with its definition; `more` adds or replaces members of the definition."""
    cascade = CASCADE | (more.pop("CascadeConfiguration", None) or {})
    cascade = {name: value for name, value in cascade.items() if not name.startswith("@")}
    metadata: dict[str, Any] = {
        "@odata.type": f"#{CRM}OneToManyRelationshipMetadata",
        "MetadataId": more.pop("metadata_id", None) or str(uuid.uuid4()),
        "SchemaName": schema_name,
        "RelationshipType": "OneToManyRelationship",
        "ReferencedEntity": referenced.name,
        "ReferencedAttribute": referenced.key,
        "ReferencingEntity": referencing,
        "ReferencingAttribute": column,
        "ReferencedEntityNavigationPropertyName": schema_name,
        "ReferencingEntityNavigationPropertyName": navigation or column,
        "CascadeConfiguration": cascade,
        "IsCustomRelationship": False,
        "IsManaged": False,
        "IsHierarchical": False,
        "IsValidForAdvancedFind": True,
        "IsCustomizable": {"Value": True, "CanBeChanged": True},
        "SecurityTypes": "None",
        "HasChanged": None,
    } | more
    return OneToMany(
        schema_name,
        referenced.name,
        referencing,
        column,
        metadata["ReferencingEntityNavigationPropertyName"],
        metadata["ReferencedEntityNavigationPropertyName"],
        cascade["Delete"],
        metadata,
    )


def many_to_many(schema_name: str, intersect: str, left: Table, right: Table, **more: Any) -> ManyToMany:
    """Return a many-to-many relationship with its definition; `more` adds or replaces members of the definition."""
    metadata: dict[str, Any] = {
        "@odata.type": f"#{CRM}ManyToManyRelationshipMetadata",
        "MetadataId": more.pop("metadata_id", None) or str(uuid.uuid4()),
        "SchemaName": schema_name,
        "RelationshipType": "ManyToManyRelationship",
        "IntersectEntityName": intersect,
        "Entity1LogicalName": left.name,
        "Entity2LogicalName": right.name,
        "Entity1IntersectAttribute": left.key,
        "Entity2IntersectAttribute": right.key if right.name != left.name else right.key + "two",
        "Entity1NavigationPropertyName": schema_name,
        "Entity2NavigationPropertyName": schema_name,
        "IsCustomRelationship": False,
        "IsManaged": False,
        "IsValidForAdvancedFind": True,
        "IsCustomizable": {"Value": True, "CanBeChanged": True},
        "SecurityTypes": "None",
        "HasChanged": None,
    } | more
    return ManyToMany(
        schema_name,
        intersect,
        left.name,
        right.name,
        metadata["Entity1NavigationPropertyName"],
        metadata["Entity2NavigationPropertyName"],
        metadata["Entity1IntersectAttribute"],
        metadata["Entity2IntersectAttribute"],
        metadata,
    )
