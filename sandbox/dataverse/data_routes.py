"""Addresses of rows: sets, single rows, single properties, references, file columns."""

import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from sandbox.dataverse import errors, fetchxml, filters, payloads, records, values
from sandbox.dataverse.context import API, KEY, Context, answer, no_content
from sandbox.dataverse.queries import MOST_PER_PAGE, Query, Shape, next_link, read_options, related_rows, related_table
from sandbox.dataverse.state import State, StoredFile
from sandbox.dataverse.tables import Column, Table
from sandbox.web import Route

SET = r"/(?P<set_name>[A-Za-z_]\w*)"
PART = r"/(?P<part>[A-Za-z_]\w*)"
OTHER = r"\((?P<other>[^)]*)\)"
CHUNK_BYTES = 4 * 1024 * 1024


class DataRoutes:
    """Handlers for everything that is a row."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> Iterable[Route]:
        """Return the addresses; the order matters."""
        row = API + SET + KEY
        return [
            Route("GET", API + SET + r"/\$count", self.count, "how many rows, as plain text, at most 5,000"),
            Route("GET", API + SET, self.list, "rows of a table by OData options or FetchXML, in pages"),
            Route("POST", API + SET, self.create, "create a row"),
            Route("GET", row, self.retrieve, "one row by primary or alternate key"),
            Route("PATCH", row, self.upsert, "update or create a row; If-Match and If-None-Match decide"),
            Route("DELETE", row, self.delete, "delete a row; If-Match guards it"),
            Route("GET", row + PART + r"/\$ref", self.references, "addresses of related rows"),
            Route("PUT", row + PART + r"/\$ref", self.set_reference, "point a lookup at another row"),
            Route("POST", row + PART + r"/\$ref", self.add_reference, "associate a row"),
            Route("DELETE", row + PART + r"/\$ref", self.drop_reference, "clear a lookup, or disassociate the row in $id"),
            Route("DELETE", row + PART + OTHER + r"/\$ref", self.drop_member, "disassociate a row"),
            Route("GET", row + PART + r"/\$value", self.raw_value, "a property or file as it is"),
            Route("GET", row + PART + r"/\$count", self.count_related, "how many related rows"),
            Route("GET", row + PART, self.property, "one property, a related row, or a page of related rows"),
            Route("PUT", row + PART, self.set_property, "change one property"),
            Route("PATCH", row + PART, self.upload, "write a file column, whole or in blocks"),
            Route("DELETE", row + PART, self.clear_property, "clear one property or file column"),
        ]

    def _context(self, request: Request) -> Context:
        return Context(self._state, request)

    def list(self, request: Request, set_name: str) -> Response:
        """Answer one page of a table."""
        context = self._context(request)
        table = self._state.schema.by_set(set_name)
        if "fetchXml" in context.arguments:
            return fetchxml.respond(context, table)
        for unsupported in ("savedQuery", "userQuery", "sql"):
            if unsupported in context.arguments:
                raise errors.not_imitated(f"the query option {unsupported}")
        return self._page(context, table, None, f"{context.base}/{set_name}", set_name)

    def _page(self, context: Context, table: Table, source: Any, address: str, set_name: str) -> Response:
        prefer = context.prefer
        if prefer.track_changes or "$deltatoken" in context.arguments:
            raise errors.not_imitated("change tracking")
        options = read_options(context.arguments, prefer)
        check_names(self._state, table, options.filter)
        query = Query(self._state, context.caller, table, options, context.base)
        page = query.rows(source)
        headers = {"Preference-Applied": ", ".join(prefer.applied)} if prefer.applied else {}
        return answer(query.answer(page, set_name, next_link(address, context.raw_query)), headers=headers)

    def count(self, request: Request, set_name: str) -> Response:
        """Answer how many rows a query has, up to 5,000."""
        context = self._context(request)
        return self._count(context, self._state.schema.by_set(set_name), None)

    def _count(self, context: Context, table: Table, source: Any) -> Response:
        options = read_options({**context.arguments, "$count": "true", "$top": "1"}, context.prefer)
        page = Query(self._state, context.caller, table, options, context.base).rows(source)
        text = "\ufeff" + str(min(page.total or 0, MOST_PER_PAGE))
        return Response(text.encode(), 200, {"OData-Version": "4.0"}, content_type="text/plain")

    def create(self, request: Request, set_name: str) -> Response:
        """Create a row."""
        context = self._context(request)
        table = self._state.schema.by_set(set_name)
        row_id = records.create(self._state, context.caller, table, payloads.read(self._state, table, context.body()))
        return self._created(context, table, row_id)

    def _created(self, context: Context, table: Table, row_id: str) -> Response:
        address = context.row_address(table.set_name, row_id)
        if context.prefer.representation:
            headers = {"OData-EntityId": address, "Location": address, "Preference-Applied": "return=representation"}
            return answer(self._one(context, table, records.readable(self._state, context.caller, table, row_id)), 201, headers)
        return no_content({"OData-EntityId": address, "Location": address})

    def _one(self, context: Context, table: Table, position: int) -> dict[str, Any]:
        options = read_options(context.arguments, context.prefer)
        selected = f"({','.join(options.select)})" if options.select else ""
        head = {"@odata.context": f"{context.base}/$metadata#{table.set_name}{selected}/$entity"}
        return head | Shape(self._state, context.caller, table, options).row(position)

    def _row(self, context: Context, set_name: str, key: str) -> tuple[Table, str]:
        table = self._state.schema.by_set(set_name)
        row_id, _ = payloads.row_key(self._state, table, key)
        if row_id is None:
            self._state.privileges.require(context.caller, "Read", table)
            raise errors.no_row_for_key(key)
        return table, row_id

    def retrieve(self, request: Request, set_name: str, key: str) -> Response:
        """Answer one row, or 304 when the client has this version."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        at = records.readable(self._state, context.caller, table, row_id)
        version = records.etag(self._state.store(table.name).get(at, "versionnumber"))
        plain = "$expand" not in context.arguments and not context.prefer.annotations
        if context.header("If-None-Match") == version and plain and table.metadata["IsOptimisticConcurrencyEnabled"]:
            return Response(b"", 304, {"OData-Version": "4.0"})
        return answer(self._one(context, table, at), headers={"ETag": version})

    def upsert(self, request: Request, set_name: str, key: str) -> Response:
        """Update a row, or create it under this key when there is none."""
        context = self._context(request)
        table = self._state.schema.by_set(set_name)
        row_id, key_values = payloads.row_key(self._state, table, key)
        at = None if row_id is None else self._state.store(table.name).position(row_id)
        if_match = context.header("If-Match")
        given = payloads.read(self._state, table, context.body())
        if at is None:
            if if_match is not None:
                raise errors.row_not_found(table.name, key) if row_id else errors.no_row_for_key(key)
            return self._created(context, table, records.create(self._state, context.caller, table, key_values | given))
        records.check_create_only(context.header("If-None-Match"), exists=True)
        records.check_version(self._state, table, at, if_match)
        row_id = self._state.store(table.name).id_at(at)
        records.update(self._state, context.caller, table, row_id, given)
        if context.prefer.representation:
            row = self._one(context, table, records.readable(self._state, context.caller, table, row_id))
            return answer(row, headers={"Preference-Applied": "return=representation"})
        return no_content({"OData-EntityId": context.row_address(table.set_name, row_id)})

    def delete(self, request: Request, set_name: str, key: str) -> Response:
        """Delete a row."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        at = records.position_of(self._state, table, row_id)
        records.check_version(self._state, table, at, context.header("If-Match"))
        records.delete(self._state, context.caller, table, row_id)
        return no_content()

    def property(self, request: Request, set_name: str, key: str, part: str) -> Response:
        """Answer one property's value, the row a lookup points at, or a page of a collection."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        at = records.readable(self._state, context.caller, table, row_id)
        if part in table.collections:
            other = related_table(self._state, table, part)
            address = f"{context.row_address(table.set_name, row_id)}/{part}"
            return self._page(context, other, related_rows(self._state, table, part, row_id), address, other.set_name)
        if part in table.lookups:
            return self._related(context, table, at, part)
        column = self._named(table, part)
        if column.kind in ("File", "Image"):
            return self._download(table, row_id, column)
        value = None if column.secret else self._state.store(table.name).get(at, column.name)
        if value is None:
            return no_content()
        return answer({"@odata.context": f"{context.base}/$metadata#{table.set_name}({row_id})/{part}", "value": value})

    def _named(self, table: Table, part: str) -> Column:
        column = table.properties.get(part)
        if column is None:
            raise errors.unknown_segment(part)
        return column

    def _related(self, context: Context, table: Table, position: int, navigation: str) -> Response:
        target = self._target(table, position, navigation)
        if target is None:
            return no_content()
        other, row_id = target
        return answer(self._one(context, other, records.readable(self._state, context.caller, other, row_id)))

    def _target(self, table: Table, position: int, navigation: str) -> tuple[Table, str] | None:
        lookup = table.lookups[navigation]
        row = self._state.store(table.name).row(position)
        row_id = row.get(lookup.column)
        target = records.target_of(table, row, lookup.column)
        if row_id is None or target is None:
            return None
        if target != lookup.referenced and table.columns[lookup.column].kind != "Owner":
            return None
        return self._state.schema.table(target), row_id

    def raw_value(self, request: Request, set_name: str, key: str, part: str) -> Response:
        """Answer a property as plain text, or the bytes of a file column."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        at = records.readable(self._state, context.caller, table, row_id)
        column = self._named(table, part)
        if column.kind in ("File", "Image"):
            return self._download(table, row_id, column)
        value = self._state.store(table.name).get(at, column.name)
        if value is None or column.secret:
            return no_content()
        return Response(str(value).encode(), 200, {"OData-Version": "4.0"}, content_type="text/plain")

    def _download(self, table: Table, row_id: str, column: Column) -> Response:
        file = self._state.files.get((table.name, row_id, column.name))
        if file is None:
            return no_content()
        headers = {
            "OData-Version": "4.0",
            "x-ms-file-name": quote(file.name),
            "x-ms-file-size": str(len(file.content)),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}",
        }
        return Response(file.content, 200, headers, content_type="application/octet-stream")

    def upload(self, request: Request, set_name: str, key: str, part: str) -> Response:
        """Write a file column from the body, or take one block of it."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        column = self._named(table, part)
        if column.kind not in ("File", "Image"):
            return self.set_property(request, set_name, key, part)
        at = records.position_of(self._state, table, row_id)
        self._state.privileges.require_row(context.caller, "Write", table, at)
        name = context.header("x-ms-file-name") or context.arguments.get("x-ms-file-name")
        if name is None:
            raise errors.invalid_argument("The header x-ms-file-name is missing.")
        where = (table.name, row_id, column.name)
        if context.header("x-ms-transfer-mode") == "chunked":
            session = f"{context.row_address(table.set_name, row_id)}/{part}?sessiontoken={uuid.uuid4().hex}"
            self._state.blocks[where] = bytearray()
            return Response(b"", 200, {"Location": session, "x-ms-chunk-size": str(CHUNK_BYTES), "OData-Version": "4.0"})
        content = request.get_data()
        content_range = context.header("Content-Range")
        if content_range is not None:
            first, last, total = read_range(content_range)
            held = self._state.blocks.setdefault(where, bytearray())
            if first != len(held) or last - first + 1 != len(content):
                raise errors.invalid_argument(f"The block {content_range} does not follow the {len(held)} bytes received.")
            held.extend(content)
            if len(held) < total:
                return Response(b"", 206, {"OData-Version": "4.0"})
            content = bytes(self._state.blocks.pop(where))
        self._keep_file(context, table, row_id, column, StoredFile(name, content, request.mimetype))
        return no_content()

    def _keep_file(self, context: Context, table: Table, row_id: str, column: Column, file: StoredFile) -> None:
        limit = (column.metadata.get("MaxSizeInKB") or 32_768) * 1024
        if len(file.content) > limit:
            raise errors.invalid_argument(f"The file is larger than the {limit // 1024} KB that {column.name} takes.")
        self._state.files[table.name, row_id, column.name] = file
        changes: dict[str, Any] = {column.name: str(uuid.uuid4())}
        if column.name + "_name" in table.columns:
            changes[column.name + "_name"] = file.name
        records.update(self._state, context.caller, table, row_id, changes)

    def set_property(self, request: Request, set_name: str, key: str, part: str) -> Response:
        """Change one property to the body's `value`."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        body = context.object()
        if "value" not in body:
            raise errors.unreadable("The property 'value' is missing in the request payload.")
        given = payloads.read(self._state, table, {part: body["value"]})
        records.update(self._state, context.caller, table, row_id, given)
        return no_content()

    def clear_property(self, request: Request, set_name: str, key: str, part: str) -> Response:
        """Empty one property or file column."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        column = self._named(table, part)
        self._state.files.pop((table.name, row_id, column.name), None)
        changes = {column.name: None}
        if column.kind in ("File", "Image") and column.name + "_name" in table.columns:
            changes[column.name + "_name"] = None
        records.update(self._state, context.caller, table, row_id, changes)
        return no_content()

    def references(self, request: Request, set_name: str, key: str, part: str) -> Response:
        """Answer the addresses of related rows."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        at = records.readable(self._state, context.caller, table, row_id)
        if part in table.lookups:
            target = self._target(table, at, part)
            if target is None:
                return no_content()
            address = context.row_address(target[0].set_name, target[1])
            return answer({"@odata.context": f"{context.base}/$metadata#$ref", "@odata.id": address})
        other = related_table(self._state, table, part)
        options = read_options(context.arguments, context.prefer)
        query = Query(self._state, context.caller, other, options, context.base)
        page = query.rows(related_rows(self._state, table, part, row_id))
        store = self._state.store(other.name)
        found = [{"@odata.id": context.row_address(other.set_name, store.id_at(one))} for one in page.positions]
        return answer({"@odata.context": f"{context.base}/$metadata#Collection($ref)", "value": found})

    def count_related(self, request: Request, set_name: str, key: str, part: str) -> Response:
        """Answer how many related rows there are, up to 5,000."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        records.readable(self._state, context.caller, table, row_id)
        other = related_table(self._state, table, part)
        return self._count(context, other, related_rows(self._state, table, part, row_id))

    def set_reference(self, request: Request, set_name: str, key: str, part: str) -> Response:
        """Point a lookup at the row in `@odata.id`."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        if part not in table.lookups:
            raise errors.unknown_segment(part)
        given = payloads.read(self._state, table, {part + payloads.BIND: context.object().get("@odata.id")})
        records.update(self._state, context.caller, table, row_id, given)
        return no_content()

    def add_reference(self, request: Request, set_name: str, key: str, part: str) -> Response:
        """Associate the row in `@odata.id`."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        if part in table.lookups:
            return self.set_reference(request, set_name, key, part)
        other = payloads.referenced(self._state, context.object().get("@odata.id"))
        records.associate(self._state, context.caller, (table, part), row_id, other)
        return no_content()

    def drop_reference(self, request: Request, set_name: str, key: str, part: str) -> Response:
        """Clear a lookup, or disassociate the row whose address is in `$id`."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        if part in table.lookups:
            records.update(self._state, context.caller, table, row_id, {table.lookups[part].column: None})
            return no_content()
        _, other_id = payloads.referenced(self._state, context.arguments.get("$id"))
        records.disassociate(self._state, context.caller, (table, part), row_id, other_id)
        return no_content()

    def drop_member(self, request: Request, set_name: str, key: str, part: str, other: str) -> Response:
        """Disassociate one row of a collection."""
        context = self._context(request)
        table, row_id = self._row(context, set_name, key)
        other_id = values.guid(other)
        if other_id is None:
            raise errors.invalid_query(f"The key '{other}' is not a guid.")
        records.disassociate(self._state, context.caller, (table, part), row_id, other_id)
        return no_content()


def read_range(header: str) -> tuple[int, int, int]:
    """Return first byte, last byte and total of a Content-Range header."""
    span, _, total = header.removeprefix("bytes ").partition("/")
    first, _, last = span.partition("-")
    try:
        return int(first), int(last), int(total)
    except ValueError:
        raise errors.invalid_argument(f"The header Content-Range '{header}' could not be read.") from None


def check_names(state: State, table: Table, node: Any) -> None:
    """Refuse a query for message filters of a table that does not exist, as the service does."""
    if table.name != "sdkmessagefilter" or node is None:
        return
    if isinstance(node, filters.Junction):
        for part in node.parts:
            check_names(state, table, part)
    if isinstance(node, filters.Comparison) and node.left == filters.Path("primaryobjecttypecode"):
        name = getattr(node.right, "value", None)
        if isinstance(name, str) and name != "none":
            state.schema.table(name.lower())
