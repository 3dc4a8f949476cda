"""Addresses of definitions: tables, columns, keys, relationships, choices - and the actions around them."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox.dataverse import errors, filters, values
from sandbox.dataverse.components import Components
from sandbox.dataverse.context import API, KEY, Context, answer, no_content
from sandbox.dataverse.metadata import Definitions
from sandbox.dataverse.queries import Expand, read_expand, split_list
from sandbox.dataverse.state import State
from sandbox.dataverse.tables import (
    BASE_ATTRIBUTE,
    CRM,
    Column,
    Key,
    ManyToMany,
    OneToMany,
    Table,
)
from sandbox.web import Route

TABLE_KEY = KEY.replace("<key>", "<table>")
CAST = rf"/{re.escape(CRM)}(?P<cast>\w+)Metadata"
TABLE_PARTS = ("Attributes", "Keys", "OneToManyRelationships", "ManyToOneRelationships", "ManyToManyRelationships")
UNSELECTABLE = frozenset({"OptionSet", "GlobalOptionSet"})


class MetadataRoutes:
    """Handlers for definitions."""

    def __init__(self, state: State, definitions: Definitions, components: Components) -> None:
        self._state, self._definitions, self._components = state, definitions, components

    def routes(self) -> Iterable[Route]:
        """Return the addresses; the order matters."""
        tables = API + "/EntityDefinitions"
        table = tables + TABLE_KEY
        columns = table + "/Attributes"
        relationships, choices = API + "/RelationshipDefinitions", API + "/GlobalOptionSetDefinitions"
        return [
            Route("GET", tables, self.tables, "definitions of tables"),
            Route("POST", tables, self.create_table, "create a table"),
            Route("POST", API + "/CreateEntities", self.create_tables, "create tables with all their columns"),
            Route("GET", table, self.table, "definition of a table"),
            Route("PUT", table, self.change_table, "change a table's definition"),
            Route("DELETE", table, self.delete_table, "delete a custom table"),
            Route("GET", columns, self.columns, "definitions of a table's columns"),
            Route("GET", columns + CAST, self.columns, "definitions of a table's columns of one type"),
            Route("POST", columns, self.create_column, "create a column"),
            Route("GET", columns + KEY, self.column, "definition of a column"),
            Route("GET", columns + KEY + CAST, self.column, "definition of a column with what its type adds"),
            Route("PUT", columns + KEY, self.change_column, "change a column's definition"),
            Route("PUT", columns + KEY + CAST, self.change_column, "change a column's definition, with its type in the address"),
            Route("DELETE", columns + KEY, self.delete_column, "delete a custom column"),
            Route("GET", columns + KEY + CAST + r"/(?:Global)?OptionSet", self.column_options, "options of a choice column"),
            Route("GET", table + "/Keys", self.keys, "alternate keys of a table"),
            Route("POST", table + "/Keys", self.create_key, "create an alternate key"),
            Route("GET", table + "/Keys" + KEY, self.key, "one alternate key"),
            Route("DELETE", table + "/Keys" + KEY, self.delete_key, "delete an alternate key"),
            Route(
                "GET", table + "/(?P<which>OneToMany|ManyToOne|ManyToMany)Relationships", self.related, "relationships of a table"
            ),
            Route("GET", relationships, self.relationships, "definitions of relationships"),
            Route("GET", relationships + CAST, self.relationships, "definitions of relationships of one type"),
            Route("POST", relationships, self.create_relationship, "create a lookup or a many-to-many relationship"),
            Route("GET", relationships + KEY, self.relationship, "definition of a relationship"),
            Route("GET", relationships + KEY + CAST, self.relationship, "definition of a relationship, with its type"),
            Route("DELETE", relationships + KEY, self.delete_relationship, "delete a custom relationship"),
            Route("GET", choices, self.choices, "global choices"),
            Route("POST", choices, self.create_choice, "create a global choice"),
            Route("GET", choices + KEY, self.choice, "one global choice"),
            Route("GET", choices + KEY + CAST, self.choice, "one global choice, with its type"),
            Route("PUT", choices + KEY, self.change_choice, "change a global choice's labels"),
            Route("DELETE", choices + KEY, self.delete_choice, "delete a global choice"),
            Route("POST", API + "/InsertOptionValue", self.insert_option, "add an option to a choice"),
            Route("POST", API + "/UpdateOptionValue", self.update_option, "change an option's label"),
            Route("POST", API + "/DeleteOptionValue", self.delete_option, "take an option out of a choice"),
            Route(
                "GET", API + r"/RetrieveMetadataChanges\(Query=@p1\)", self.changes, "definitions of columns, all types in one"
            ),
        ]

    def _context(self, request: Request) -> Context:
        return Context(self._state, request)

    # ------------------------------------------------------------------ finding

    def _table(self, key: str) -> Table:
        name = _named(key, "LogicalName")
        row_id = values.guid(key)
        for table in self._state.schema:
            if table.name == name or table.metadata_id == row_id:
                return table
        message = f"Could not find an entity with {'name ' + name if name else 'specified entity MetadataId: ' + key}."
        raise errors.ServiceError(404, errors.NOT_FOUND, message)

    def _column(self, table: Table, key: str, cast: str | None = None) -> Column:
        name = _named(key, "LogicalName")
        row_id = values.guid(key)
        for column in table.columns.values():
            if column.name == name or column.metadata_id == row_id:
                if cast is not None and not _is_of_type(column.metadata, cast):
                    break
                return column
        message = (
            f"Could not find an attribute with {'name ' + name if name else 'MetadataId ' + key} in the entity {table.name}."
        )
        raise errors.ServiceError(404, errors.NOT_FOUND, message)

    def _relationship(self, key: str) -> OneToMany | ManyToMany:
        name = _named(key, "SchemaName")
        row_id = values.guid(key)
        for one in self._state.schema.relationships.values():
            if one.schema_name == name or one.metadata_id == row_id:
                return one
        raise errors.ServiceError(404, errors.NOT_FOUND, f"Could not find an entity relationship with {name or key}.")

    def _key(self, table: Table, key: str) -> Key:
        name = _named(key, "LogicalName") or _named(key, "SchemaName")
        for one in table.keys.values():
            if one.metadata["MetadataId"] == values.guid(key) or (name and one.name.lower() == name.lower()):
                return one
        raise errors.ServiceError(404, errors.NOT_FOUND, f"Could not find an entity key with {name or key}.")

    # ------------------------------------------------------------------ showing

    def _listed(self, context: Context, items: Sequence[Mapping[str, Any]], what: str, *, derived: bool = True) -> Response:
        unknown = [name for name in context.arguments if name.startswith("$") and name not in ("$select", "$filter", "$expand")]
        if unknown:
            message = f"The query option '{unknown[0]}' is not supported for metadata."
            raise errors.ServiceError(501, errors.NOT_IMITATED, message)
        chosen = _filtered(items, context.arguments.get("$filter"), context.arguments)
        shown = [self._shown(context, one, derived=derived) for one in chosen]
        return answer({"@odata.context": f"{context.base}/$metadata#{what}", "value": shown})

    def _single(self, context: Context, item: Mapping[str, Any], what: str, *, derived: bool = True) -> Response:
        return answer(
            {"@odata.context": f"{context.base}/$metadata#{what}/$entity"} | self._shown(context, item, derived=derived)
        )

    def _shown(self, context: Context, item: Mapping[str, Any], *, derived: bool) -> dict[str, Any]:
        return self._projected(
            item,
            split_list(context.arguments.get("$select")),
            read_expand(context.arguments.get("$expand")),
            derived=derived,
        )

    def _projected(
        self, item: Mapping[str, Any], select: tuple[str, ...] | None, expand: Iterable[Expand], *, derived: bool
    ) -> dict[str, Any]:
        """Return the members of a definition that were asked for; without `derived` those of its own type cannot be chosen."""
        is_column = "AttributeType" in item
        if select is None:
            shown = {name: value for name, value in item.items() if name not in UNSELECTABLE}
        else:
            allowed = set(item) - UNSELECTABLE
            if is_column and not derived:
                allowed &= BASE_ATTRIBUTE
            for name in select:
                if name not in allowed:
                    kind = "AttributeMetadata" if is_column else "EntityMetadata"
                    raise errors.unknown_property(name, kind)
            kept = {"@odata.type", "MetadataId", *select}
            shown = {name: value for name, value in item.items() if name in kept}
        if is_column and derived:
            shown.pop("@odata.type", None)
        for one in expand:
            shown[one.navigation] = self._expanded(item, one)
        return shown

    def _expanded(self, item: Mapping[str, Any], expand: Expand) -> Any:
        if expand.navigation in ("OptionSet", "GlobalOptionSet"):
            held = item.get("OptionSet")
            if held is None or (expand.navigation == "GlobalOptionSet") != bool(held.get("IsGlobal")):
                return None if held is None or expand.navigation == "GlobalOptionSet" else _chosen(held, expand.select)
            return _chosen(held, expand.select)
        table = self._state.schema.tables.get(str(item.get("LogicalName")))
        if table is None or expand.navigation not in TABLE_PARTS:
            raise errors.unknown_property(expand.navigation, "EntityMetadata")
        parts = _filtered(self._parts(table, expand.navigation), expand.filter, {})
        return [self._projected(one, expand.select, expand.expand, derived=False) for one in parts]

    def _parts(self, table: Table, which: str) -> list[dict[str, Any]]:
        schema = self._state.schema
        found: dict[str, Callable[[], Iterable[Any]]] = {
            "Attributes": table.columns.values,
            "Keys": table.keys.values,
            "OneToManyRelationships": lambda: schema.one_to_many(table.name),
            "ManyToOneRelationships": lambda: schema.many_to_one(table.name),
            "ManyToManyRelationships": lambda: schema.many_to_many(table.name),
        }
        return [one.metadata for one in found[which]()]

    # ------------------------------------------------------------------ tables

    def tables(self, request: Request) -> Response:
        """Answer definitions of tables."""
        context = self._context(request)
        return self._listed(context, [table.metadata for table in self._state.schema], "EntityDefinitions")

    def table(self, request: Request, table: str) -> Response:
        """Answer one table's definition."""
        return self._single(self._context(request), self._table(table).metadata, "EntityDefinitions")

    def create_table(self, request: Request) -> Response:
        """Create a table."""
        context = self._context(request)
        made = self._definitions.create_table(context.caller, context.object(), context.caller.solution)
        return no_content({"OData-EntityId": f"{context.base}/EntityDefinitions({made.metadata_id})"})

    def create_tables(self, request: Request) -> Response:
        """Create every table of Entities."""
        context = self._context(request)
        posted = errors.listed(context.object(), "Entities")
        ids = [self._definitions.create_table(context.caller, one, context.caller.solution).metadata_id for one in posted]
        return answer({"@odata.context": f"{context.base}/$metadata#{CRM}CreateEntitiesResponse", "EntityIds": ids})

    def change_table(self, request: Request, table: str) -> Response:
        """Change a table."""
        context = self._context(request)
        found, merge = self._table(table), _merges(request)
        self._definitions.change_table(context.caller, found, context.object(), context.caller.solution, merge=merge)
        return no_content()

    def delete_table(self, request: Request, table: str) -> Response:
        """Delete a table."""
        self._definitions.delete_table(self._context(request).caller, self._table(table))
        return no_content()

    # ------------------------------------------------------------------ columns

    def columns(self, request: Request, table: str, cast: str | None = None) -> Response:
        """Answer a table's columns, perhaps only those of one type."""
        found = self._table(table)
        items = [column.metadata for column in found.columns.values() if cast is None or _is_of_type(column.metadata, cast)]
        what = f"EntityDefinitions('{found.name}')/Attributes"
        return self._listed(self._context(request), items, what, derived=cast is not None)

    def column(self, request: Request, table: str, key: str, cast: str | None = None) -> Response:
        """Answer one column."""
        found = self._table(table)
        column = self._column(found, key, cast)
        what = f"EntityDefinitions('{found.name}')/Attributes"
        return self._single(self._context(request), column.metadata, what, derived=cast is not None)

    def create_column(self, request: Request, table: str) -> Response:
        """Create a column."""
        context = self._context(request)
        found = self._table(table)
        made = self._definitions.create_column(context.caller, found, context.object(), context.caller.solution)
        address = f"{context.base}/EntityDefinitions({found.metadata_id})/Attributes({made.metadata_id})"
        return no_content({"OData-EntityId": address})

    def change_column(self, request: Request, table: str, key: str, cast: str | None = None) -> Response:
        """Change a column."""
        context = self._context(request)
        found = self._table(table)
        column = self._column(found, key, cast)
        solution, merge = context.caller.solution, _merges(request)
        self._definitions.change_column(context.caller, found, column, context.object(), solution, merge=merge)
        return no_content()

    def delete_column(self, request: Request, table: str, key: str) -> Response:
        """Delete a column."""
        found = self._table(table)
        self._definitions.delete_column(self._context(request).caller, found, self._column(found, key))
        return no_content()

    def column_options(self, request: Request, table: str, key: str, cast: str) -> Response:
        """Answer the options of a choice column."""
        context = self._context(request)
        options = self._column(self._table(table), key, cast).metadata.get("OptionSet")
        if options is None:
            return no_content()
        chosen = _chosen(options, split_list(context.arguments.get("$select")))
        return answer({"@odata.context": f"{context.base}/$metadata#GlobalOptionSetDefinitions/$entity"} | chosen)

    def changes(self, request: Request) -> Response:
        """Answer columns by RetrieveMetadataChanges, so far as one table and its columns are asked for."""
        context = self._context(request)
        query = json.loads(context.arguments.get("@p1") or "{}")
        tables = [table for table in self._state.schema if _meets(table.metadata, query.get("Criteria"))]
        inner = query.get("AttributeQuery") or {}
        names = ((inner.get("Properties") or {}).get("PropertyNames")) or None
        found = [
            {
                "LogicalName": table.name,
                "MetadataId": table.metadata_id,
                "Attributes": [
                    {
                        name: value
                        for name, value in column.metadata.items()
                        if names is None or name in names or name in ("MetadataId", "@odata.type", "LogicalName")
                    }
                    for column in table.columns.values()
                    if _meets(column.metadata, inner.get("Criteria"))
                ],
            }
            for table in tables
        ]
        head = f"{context.base}/$metadata#{CRM}RetrieveMetadataChangesResponse"
        return answer({"@odata.context": head, "ServerVersionStamp": "1!sandbox", "EntityMetadata": found})

    # ------------------------------------------------------------------ keys

    def keys(self, request: Request, table: str) -> Response:
        """Answer a table's alternate keys."""
        found = self._table(table)
        items = [key.metadata for key in found.keys.values()]
        return self._listed(self._context(request), items, f"EntityDefinitions('{found.name}')/Keys")

    def key(self, request: Request, table: str, key: str) -> Response:
        """Answer one alternate key."""
        found = self._table(table)
        return self._single(self._context(request), self._key(found, key).metadata, f"EntityDefinitions('{found.name}')/Keys")

    def create_key(self, request: Request, table: str) -> Response:
        """Create an alternate key."""
        context = self._context(request)
        found = self._table(table)
        made = self._definitions.create_key(context.caller, found, context.object(), context.caller.solution)
        address = f"{context.base}/EntityDefinitions({found.metadata_id})/Keys({made.metadata['MetadataId']})"
        return no_content({"OData-EntityId": address})

    def delete_key(self, request: Request, table: str, key: str) -> Response:
        """Delete an alternate key."""
        found = self._table(table)
        self._definitions.delete_key(self._context(request).caller, found, self._key(found, key))
        return no_content()

    # ------------------------------------------------------------------ relationships

    def related(self, request: Request, table: str, which: str) -> Response:
        """Answer the relationships of a table in one direction."""
        found = self._table(table)
        items = self._parts(found, f"{which}Relationships")
        return self._listed(self._context(request), items, f"EntityDefinitions('{found.name}')/{which}Relationships")

    def relationships(self, request: Request, cast: str | None = None) -> Response:
        """Answer relationships, perhaps only those of one type."""
        every = self._state.schema.relationships.values()
        items = [one.metadata for one in every if cast is None or _is_of_type(one.metadata, cast)]
        return self._listed(self._context(request), items, "RelationshipDefinitions")

    def relationship(self, request: Request, key: str, cast: str | None = None) -> Response:
        """Answer one relationship."""
        found = self._relationship(key).metadata
        if cast is not None and not _is_of_type(found, cast):
            raise errors.ServiceError(404, errors.NOT_FOUND, f"The relationship is not of the type {cast}Metadata.")
        return self._single(self._context(request), found, "RelationshipDefinitions")

    def create_relationship(self, request: Request) -> Response:
        """Create a relationship."""
        context = self._context(request)
        made = self._definitions.create_relationship(context.caller, context.object(), context.caller.solution)
        return no_content({"OData-EntityId": f"{context.base}/RelationshipDefinitions({made.metadata_id})"})

    def delete_relationship(self, request: Request, key: str) -> Response:
        """Delete a relationship."""
        self._definitions.delete_relationship(self._context(request).caller, self._relationship(key))
        return no_content()

    # ------------------------------------------------------------------ choices

    def choices(self, request: Request) -> Response:
        """Answer all global choices; the service filters them by nothing."""
        context = self._context(request)
        if "$filter" in context.arguments:
            message = "The query parameter $filter is not supported for GlobalOptionSetDefinitions."
            raise errors.ServiceError(501, errors.NOT_IMITATED, message)
        return self._listed(context, list(self._state.schema.choices.values()), "GlobalOptionSetDefinitions")

    def choice(self, request: Request, key: str, cast: str | None = None) -> Response:  # noqa: ARG002 - there is one type
        """Answer one global choice."""
        context = self._context(request)
        found = _chosen(self._definitions.choice(key), split_list(context.arguments.get("$select")))
        return answer({"@odata.context": f"{context.base}/$metadata#GlobalOptionSetDefinitions/$entity"} | found)

    def create_choice(self, request: Request) -> Response:
        """Create a global choice."""
        context = self._context(request)
        made = self._definitions.create_choice(context.caller, context.object(), context.caller.solution)
        return no_content({"OData-EntityId": f"{context.base}/GlobalOptionSetDefinitions({made['MetadataId']})"})

    def change_choice(self, request: Request, key: str) -> Response:
        """Change a global choice."""
        context = self._context(request)
        self._definitions.change_choice(context.caller, self._definitions.choice(key), context.object(), merge=_merges(request))
        return no_content()

    def delete_choice(self, request: Request, key: str) -> Response:
        """Delete a global choice."""
        self._definitions.delete_choice(self._context(request).caller, self._definitions.choice(key))
        return no_content()

    def insert_option(self, request: Request) -> Response:
        """Add an option."""
        context = self._context(request)
        value = self._definitions.insert_option(context.caller, context.object())
        return answer({"@odata.context": f"{context.base}/$metadata#{CRM}InsertOptionValueResponse", "NewOptionValue": value})

    def update_option(self, request: Request) -> Response:
        """Change an option."""
        context = self._context(request)
        self._definitions.update_option(context.caller, context.object())
        return no_content()

    def delete_option(self, request: Request) -> Response:
        """Take an option out."""
        context = self._context(request)
        self._definitions.delete_option(context.caller, context.object())
        return no_content()


class DefinitionResolver(filters.Resolver):
    """Finds the members of definitions that a filter names; types are not checked."""

    typed = False

    def __init__(self, known: set[str]) -> None:
        self._known = known

    def getter(self, path: str) -> Callable[[Any], Any]:
        """Return a function from definition to value, through nested members."""
        names = path.split("/")
        if names[0] not in self._known:
            raise errors.unknown_property(names[0], "MetadataBase")

        def value(item: Any) -> Any:
            for name in names:
                item = item.get(name) if isinstance(item, Mapping) else None
            return item

        return value

    def type_of(self, path: str) -> str | None:  # noqa: ARG002 - the resolver's signature
        """Return None: nothing is checked."""
        return None


def _filtered(items: Sequence[Mapping[str, Any]], text: str | None, aliases: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
    if not text:
        return items
    tree = filters.parse(text, aliases)
    if _has_text_function(tree):
        message = "The query parameter $filter with a string function is not supported for metadata."
        raise errors.ServiceError(501, errors.NOT_IMITATED, message)
    known = {name for item in items for name in item}
    test = filters.compiled(tree, DefinitionResolver(known)) if known else (lambda _: False)
    return [item for item in items if test(item)]


def _has_text_function(node: filters.Node) -> bool:
    if isinstance(node, filters.Junction):
        return any(_has_text_function(part) for part in node.parts)
    if isinstance(node, filters.Negation):
        return _has_text_function(node.part)
    return isinstance(node, filters.TextFunction)


def _chosen(options: Mapping[str, Any], select: tuple[str, ...] | None) -> dict[str, Any]:
    return {name: value for name, value in options.items() if select is None or name in select or name == "MetadataId"}


def _named(key: str, property_name: str) -> str | None:
    found = re.fullmatch(rf"{property_name}='((?:[^']|'')*)'", key)
    return found[1].replace("''", "'") if found else None


def _is_of_type(metadata: Mapping[str, Any], cast: str) -> bool:
    return str(metadata.get("@odata.type")) == f"#{CRM}{cast}Metadata" or cast == "Attribute"


def _merges(request: Request) -> bool:
    return request.headers.get("MSCRM.MergeLabels", "").lower() == "true"


def _meets(metadata: Mapping[str, Any], criteria: Any) -> bool:
    conditions = (criteria or {}).get("Conditions") or ()
    for condition in conditions:
        if condition.get("ConditionOperator") != "Equals":
            raise errors.not_imitated("a metadata condition other than Equals")
        if metadata.get(condition.get("PropertyName")) != (condition.get("Value") or {}).get("Value"):
            return False
    return True
