"""OData queries: options of the address, pages of rows, next links, `$expand`, annotations.

A page is worked out column by column and encoded by msgspec, so that 5,000 rows of five columns cost a few milliseconds.
A next link says where to go on: the position in the table, the place in a list's members, or the place in a sorted result
that is kept for it. It is opaque to the client, as at the service.
"""

import base64
import json
import re
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec

from sandbox.dataverse import errors, filters, values
from sandbox.dataverse.payloads import target_column
from sandbox.dataverse.privileges import Caller
from sandbox.dataverse.records import display_name, etag, is_left
from sandbox.dataverse.rows import RowStore, folded
from sandbox.dataverse.state import State
from sandbox.dataverse.tables import Column, OneToMany, Table

MOST_PER_PAGE = 5000
FORMATTED = "OData.Community.Display.V1.FormattedValue"
LOOKUP_TABLE = "Microsoft.Dynamics.CRM.lookuplogicalname"
LOOKUP_NAVIGATION = "Microsoft.Dynamics.CRM.associatednavigationproperty"
TOTAL = "Microsoft.Dynamics.CRM.totalrecordcount"
TOTAL_EXCEEDED = "Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"
SUPPORTED = frozenset({"$select", "$filter", "$orderby", "$top", "$count", "$expand", "$skiptoken"})
EDM_TYPES = {
    "String": "String",
    "Memo": "String",
    "EntityName": "String",
    "MultiSelectPicklist": "String",
    "Integer": "Int32",
    "BigInt": "Int64",
    "Decimal": "Decimal",
    "Double": "Double",
    "Money": "Decimal",
    "Boolean": "Boolean",
    "Picklist": "Int32",
    "State": "Int32",
    "Status": "Int32",
    "DateTime": "DateTimeOffset",
    "Uniqueidentifier": "Guid",
    "Lookup": "Guid",
    "Owner": "Guid",
    "Customer": "Guid",
    "File": "Guid",
}

type Positions = Sequence[int]


@dataclass(frozen=True)
class Expand:
    """One navigation property to expand, with its own options."""

    navigation: str
    select: tuple[str, ...] | None = None
    filter: str | None = None
    orderby: str | None = None
    top: int | None = None
    expand: tuple["Expand", ...] = ()


@dataclass(frozen=True)
class Options:
    """What the address and the Prefer header of a query ask for."""

    select: tuple[str, ...] | None = None
    filter: filters.Node | None = None
    orderby: tuple[tuple[str, bool], ...] = ()
    top: int | None = None
    count: bool = False
    expand: tuple[Expand, ...] = ()
    page_size: int | None = None
    annotations: tuple[str, ...] = ()
    token: Mapping[str, Any] | None = None

    def annotated(self, name: str) -> bool:
        """Tell whether an annotation was asked for."""
        return any(_matches(pattern, name) for pattern in self.annotations)


@dataclass(frozen=True)
class Prefer:
    """What the Prefer header asks for."""

    page_size: int | None = None
    annotations: tuple[str, ...] = ()
    representation: bool = False
    continue_on_error: bool = False
    track_changes: bool = False
    applied: tuple[str, ...] = field(default=(), compare=False)


def read_prefer(header: str | None) -> Prefer:
    """Return what a Prefer header asks for; unknown wishes are passed over, as the service does."""
    if not header:
        return Prefer()
    applied: list[str] = []
    size = re.search(r"odata\.maxpagesize\s*=\s*(\d+)", header)
    annotations = re.search(r'odata\.include-annotations\s*=\s*("[^"]*"|[^\s,;]+)', header)
    if size:
        applied.append(f"odata.maxpagesize={size[1]}")
    if annotations:
        applied.append(f"odata.include-annotations={annotations[1]}")
    return Prefer(
        page_size=int(size[1]) if size else None,
        annotations=tuple(part.strip() for part in annotations[1].strip('"').split(",")) if annotations else (),
        representation=bool(re.search(r"return\s*=\s*representation", header)),
        continue_on_error="odata.continue-on-error" in header,
        track_changes="odata.track-changes" in header,
        applied=tuple(applied),
    )


def read_options(arguments: Mapping[str, str], prefer: Prefer) -> Options:
    """Return the options of a query; refuses what the service or this simulator does not take."""
    for name in arguments:
        if name == "$skip":
            raise errors.invalid_query("Skip Clause is not supported in CRM")
        if name.startswith("$") and name not in SUPPORTED:
            raise errors.not_imitated(f"the query option {name}")
    top = arguments.get("$top")
    if top is not None and not top.isdigit():
        raise errors.invalid_query(f"Invalid value '{top}' for $top query option found.")
    text = arguments.get("$filter")
    return Options(
        select=split_list(arguments.get("$select")),
        filter=filters.parse(text, arguments) if text else None,
        orderby=read_orderby(arguments.get("$orderby")),
        top=None if top is None else int(top),
        count=arguments.get("$count", "").lower() == "true",
        expand=read_expand(arguments.get("$expand")),
        page_size=prefer.page_size,
        annotations=prefer.annotations,
        token=read_token(arguments["$skiptoken"]) if "$skiptoken" in arguments else None,
    )


def split_list(text: str | None) -> tuple[str, ...] | None:
    """Return the names of a comma-separated list; None when there is none."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def read_orderby(text: str | None) -> tuple[tuple[str, bool], ...]:
    """Return properties and whether each is descending."""
    found: list[tuple[str, bool]] = []
    for part in split_list(text) or ():
        name, _, direction = part.partition(" ")
        if direction.strip() not in ("", "asc", "desc"):
            raise errors.invalid_query(f"Syntax error in $orderby near '{part}'.")
        found.append((name, direction.strip() == "desc"))
    return tuple(found)


def read_expand(text: str | None) -> tuple[Expand, ...]:
    """Return the navigation properties of an `$expand`."""
    return tuple(_one_expand(part) for part in _split_outside_brackets(text or "", ",") if part.strip())


def _one_expand(text: str) -> Expand:
    name, bracket, inside = text.strip().partition("(")
    options: dict[str, str] = {}
    if bracket:
        for part in _split_outside_brackets(inside.rstrip()[:-1], ";"):
            option, _, value = part.strip().partition("=")
            options[option] = value
    if not options.get("$top", "0").isdigit():
        raise errors.invalid_query(f"Invalid value '{options['$top']}' for $top query option found.")
    unknown = options.keys() - {"$select", "$filter", "$orderby", "$top", "$expand", ""}
    if unknown:
        raise errors.not_imitated(f"the option {min(unknown)} inside $expand")
    return Expand(
        name,
        split_list(options.get("$select")),
        options.get("$filter"),
        options.get("$orderby"),
        int(options["$top"]) if "$top" in options else None,
        read_expand(options.get("$expand")),
    )


def _split_outside_brackets(text: str, separator: str) -> list[str]:
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == "'"
        depth += 0 if quoted else (character == "(") - (character == ")")
        if character == separator and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _matches(pattern: str, name: str) -> bool:
    return pattern in ("*", name) or (pattern.endswith("*") and name.startswith(pattern[:-1]))


def make_token(content: Mapping[str, Any]) -> str:
    """Return an opaque token in the shape of the service's paging cookie."""
    inner = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
    return f'<cookie pagenumber="{content["n"]}" pagingcookie="{inner}" istracking="False" />'


def read_token(text: str) -> Mapping[str, Any]:
    """Return the content of a token that `make_token` made; anything else is the service's 400."""
    found = re.search(r'pagingcookie="([^"]+)"', text)
    try:
        content = json.loads(base64.urlsafe_b64decode(found[1])) if found else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise errors.ServiceError(400, errors.PAGING_COOKIE, "Malformed XML in the Paging Cookie")
    return content


class TableResolver(filters.Resolver):
    """Finds the columns that a filter names, also through lookups."""

    def __init__(self, state: State, table: Table, user_id: str | None) -> None:
        self._state, self._table = state, table
        self._store = state.store(table.name)
        self.user_id = user_id

    def getter(self, path: str) -> Callable[[Any], Any]:
        """Return a function from position to value."""
        first, _, rest = path.partition("/")
        if not rest:
            return self._store.getter(_column(self._table, first).name)
        lookup, other = self._through(first)
        inner = TableResolver(self._state, other, self.user_id).getter(rest)
        points_at, where = self._store.getter(lookup.column), self._state.store(other.name)

        def value(position: int) -> Any:
            row_id = points_at(position)
            at = None if row_id is None else where.position(row_id)
            return None if at is None else inner(at)

        return value

    def type_of(self, path: str) -> str | None:
        """Return the Edm type of a column."""
        first, _, rest = path.partition("/")
        if rest:
            return TableResolver(self._state, self._through(first)[1], self.user_id).type_of(rest)
        column = _column(self._table, first)
        return "Date" if column.date_only else EDM_TYPES.get(column.kind)

    def _through(self, navigation: str) -> tuple[OneToMany, Table]:
        lookup = self._table.lookups.get(navigation)
        if lookup is None:
            raise errors.unknown_property(navigation, self._table.name)
        return lookup, self._state.schema.table(lookup.referenced)


def _column(table: Table, name: str) -> Column:
    """Return a column named in a filter or order; lookups also by In's bare column name."""
    column = table.properties.get(name) or table.columns.get(name)
    if column is None:
        raise errors.unknown_property(name, table.name)
    return column


@dataclass(frozen=True)
class Source:
    """Where the rows of a query come from, in which order, and how they are reached.

    `entries` are positions, or ids when `members` is true. `by_position` says that a token is a position and not a place.
    """

    entries: Sequence[Any]
    members: bool = False
    by_position: bool = False


@dataclass(frozen=True)
class Page:
    """Some rows of a query's result; `next_place` is None on the last page."""

    positions: Positions
    next_place: int | None
    snapshot: str | None = None
    total: int | None = None


class Query:
    """One query over one table, for one caller."""

    def __init__(self, state: State, caller: Caller, table: Table, options: Options, base: str) -> None:
        self.state, self.caller, self.table, self.options, self.base = state, caller, table, options, base
        self.store = state.store(table.name)

    def rows(self, source: Source | None = None) -> Page:
        """Return one page of the rows that the caller may see and the filter lets pass."""
        depth = self.state.privileges.require(self.caller, "Read", self.table)
        accept = self._accept(depth)
        chosen, snapshot = self._source(source, accept)
        limit = self._limit()
        start = self._start(chosen)
        taken = self._take(chosen, start, limit, accept)
        next_place = taken[1] if self.options.top is None else None
        total = self._total(chosen, accept) if self.options.count or self.options.annotated(TOTAL) else None
        return Page(taken[0], next_place, snapshot, total)

    def _limit(self) -> int:
        if self.options.top is not None:
            return min(self.options.top, MOST_PER_PAGE)
        return min(self.options.page_size or MOST_PER_PAGE, MOST_PER_PAGE)

    def _accept(self, depth: int) -> Callable[[int], bool] | None:
        tests: list[Callable[[int], bool]] = []
        reach = self.state.privileges.visible(self.caller, self.table, depth)
        if reach is not None:
            tests.append(reach)
        if self.options.filter is not None:
            tests.append(filters.compiled(self.options.filter, TableResolver(self.state, self.table, self.caller.user_id)))
        if len(self.store) != self.store.size:
            tests.insert(0, self.store.is_alive)
        if not tests:
            return None
        return tests[0] if len(tests) == 1 else lambda at: all(test(at) for test in tests)

    def _source(self, given: Source | None, accept: Callable[[int], bool] | None) -> tuple[Source, str | None]:
        token = self.options.token
        if token is not None and token.get("s") is not None:
            return Source(self._kept(token["s"])), token["s"]
        source = given or self._candidates()
        if not self.options.orderby:
            return source, None
        positions = self._take(source, 0, self.store.size + 1, accept)[0]
        ordered = self._ordered(positions)
        return Source(ordered), self.state.keep_snapshot(ordered)

    def _kept(self, snapshot: str) -> Positions:
        kept = self.state.snapshots.get(snapshot)
        if kept is None:
            raise errors.ServiceError(400, errors.PAGING_COOKIE, "The paging cookie has expired. Start the query again.")
        return kept

    def _candidates(self) -> Source:
        found = filters.keyed(self.options.filter) if self.options.filter is not None else None
        if found is not None:
            column = _column(self.table, found[0])
            given = [values.guid(value) or value for value in found[1]] if EDM_TYPES.get(column.kind) == "Guid" else found[1]
            positions = self.store.matching(column.name, given)
            if positions is not None:
                return Source(positions, by_position=True)
        return Source(range(self.store.size))

    def _start(self, source: Source) -> int:
        token = self.options.token
        if token is None:
            return 0
        if token.get("g") != self.state.link_generation:
            raise errors.ServiceError(400, errors.PAGING_COOKIE, "The paging cookie has expired. Start the query again.")
        if token.get("q") != self.signature():
            raise errors.ServiceError(400, errors.PAGING_COOKIE, "The paging cookie does not belong to this query.")
        place = int(token["p"])
        return bisect_left(source.entries, place) if source.by_position else place

    def _take(self, source: Source, start: int, limit: int, accept: Callable[[int], bool] | None) -> tuple[Positions, int | None]:
        entries, at = source.entries, start
        found: list[int] = []
        while at < len(entries) and limit:
            block = entries[at : at + limit]
            positions: Sequence[int | None] = [self.store.position(one) for one in block] if source.members else block
            if accept is None and not found and None not in (positions if source.members else ()):
                return positions, self._place(source, at + len(block))  # type: ignore[return-value]
            for offset, position in enumerate(positions):
                if position is None or (accept is not None and not accept(position)):
                    continue
                if len(found) == limit:
                    return found, self._place(source, at + offset)
                found.append(position)
            at += len(block)
        return found, None

    def _place(self, source: Source, at: int) -> int | None:
        if at >= len(source.entries):
            return None
        return source.entries[at] if source.by_position else at

    def _ordered(self, positions: Iterable[int]) -> list[int]:
        ordered = list(positions)
        for name, descending in reversed(self.options.orderby):
            get = TableResolver(self.state, self.table, None).getter(name)
            ordered.sort(key=lambda at, get=get: _sort_key(get(at)), reverse=descending)  # type: ignore[misc]
        return ordered

    def _total(self, source: Source, accept: Callable[[int], bool] | None) -> int:
        if accept is None and not source.members:
            return min(len(source.entries), MOST_PER_PAGE + 1)
        return len(self._take(source, 0, MOST_PER_PAGE + 1, accept)[0])

    def signature(self) -> int:
        """Return a number that is the same for every page of one query."""
        options = self.options
        return zlib.crc32(repr((self.table.name, options.select, options.filter, options.orderby)).encode())

    def answer(self, page: Page, context: str, next_link: Callable[[str], str]) -> bytes:
        """Return the JSON of a page."""
        body: dict[str, Any] = {"@odata.context": f"{self.base}/$metadata#{context}{self._selected()}"}
        if page.total is not None and self.options.count:
            body["@odata.count"] = min(page.total, MOST_PER_PAGE)
        if self.options.annotated(TOTAL):
            body[f"@{TOTAL}"] = min(page.total or 0, MOST_PER_PAGE) if self.options.count else -1
            body[f"@{TOTAL_EXCEEDED}"] = self.options.count and (page.total or 0) > MOST_PER_PAGE
        body["value"] = self.shape().rows(page.positions)
        if page.next_place is not None:
            body["@odata.nextLink"] = next_link(self._token(page))
        return msgspec.json.encode(body)

    def _selected(self) -> str:
        return f"({','.join(self.options.select)})" if self.options.select else ""

    def _token(self, page: Page) -> str:
        number = int(self.options.token["n"]) + 1 if self.options.token else 2
        content = {"n": number, "p": page.next_place, "s": page.snapshot, "q": self.signature(), "g": self.state.link_generation}
        return make_token(content)

    def shape(self) -> "Shape":
        """Return what turns positions into JSON rows."""
        return Shape(self.state, self.caller, self.table, self.options)


def _sort_key(value: Any) -> tuple[bool, Any]:
    return (value is not None, folded(value))


class Shape:
    """Which members a row's JSON has, worked out column by column for many rows at once."""

    def __init__(self, state: State, caller: Caller, table: Table, options: Options) -> None:
        self._state, self._caller, self._table, self._options = state, caller, table, options
        self._store: RowStore = state.store(table.name)
        self._members: list[tuple[str, Callable[[Positions], Iterable[Any]]]] = []
        self._etag()
        for column in self._columns():
            self._add(column)
        for expand in options.expand:
            self._expand(expand)

    def rows(self, positions: Positions) -> list[Any]:
        """Return an encodable object for each row."""
        names = tuple(name for name, _ in self._members)
        produced = [produce(positions) for _, produce in self._members]
        return list(map(row_type(names), *produced))

    def row(self, position: int) -> dict[str, Any]:
        """Return one row as a dictionary."""
        one = range(position, position + 1)
        found = {name: next(iter(produce(one))) for name, produce in self._members}
        return {name: value for name, value in found.items() if value is not msgspec.UNSET}

    def _etag(self) -> None:
        if "versionnumber" in self._table.columns:
            store = self._store
            self._members.append(("@odata.etag", lambda at: [etag(version) for version in store.values("versionnumber", at)]))

    def _columns(self) -> list[Column]:
        if self._options.select is None:
            return list(self._table.columns.values())
        chosen: dict[str, Column] = {}
        for name in self._options.select:
            if name in self._table.lookups and name not in self._table.properties:
                continue
            column = self._table.by_property(name)
            chosen[column.name] = column
        chosen.setdefault(self._table.key, self._table.columns[self._table.key])
        return list(chosen.values())

    def _add(self, column: Column) -> None:
        store, name = self._store, column.name
        if column.secret:
            self._members.append((column.property_name, lambda at: [None] * len(at)))
            return
        if column.is_lookup:
            self._lookup_annotations(column)
        if self._options.annotated(FORMATTED):
            self._formatted(column)
        self._members.append((column.property_name, lambda at: store.values(name, at)))

    def _formatted(self, column: Column) -> None:
        store, member = self._store, f"{column.property_name}@{FORMATTED}"
        if column.is_lookup:
            self._members.append((member, lambda at: [_or_unset(self._name_of(column, one)) for one in at]))
        elif column.kind not in ("Uniqueidentifier", "String", "Memo", "File"):
            produce = lambda at: [_or_unset(values.formatted(column, value)) for value in store.values(column.name, at)]  # noqa: E731
            self._members.append((member, produce))

    def _target(self, column: Column, position: int) -> str | None:
        target: str | None = self._store.get(position, target_column(column.name)) or next(iter(column.targets), None)
        return target

    def _name_of(self, column: Column, position: int) -> str | None:
        row_id, target = self._store.get(position, column.name), self._target(column, position)
        return None if row_id is None or target is None else display_name(self._state, target, row_id)

    def _lookup_annotations(self, column: Column) -> None:
        held = self._store.getter(column.name)
        property_name = column.property_name
        if self._options.annotated(LOOKUP_NAVIGATION):
            navigations = self._table.navigations_of(column.name)

            def navigation(at: int) -> str | None:
                found = navigations.get(self._target(column, at) or "") or next(iter(navigations.values()), None)
                return found.navigation if found else None

            produce = lambda at: [_or_unset(navigation(one) if held(one) else None) for one in at]  # noqa: E731
            self._members.append((f"{property_name}@{LOOKUP_NAVIGATION}", produce))
        if self._options.annotated(LOOKUP_TABLE):
            targets = lambda at: [_or_unset(self._target(column, one) if held(one) else None) for one in at]  # noqa: E731
            self._members.append((f"{property_name}@{LOOKUP_TABLE}", targets))

    def _expand(self, expand: Expand) -> None:
        lookup = self._table.lookups.get(expand.navigation)
        if lookup is not None:
            self._members.append((expand.navigation, self._expanded_lookup(expand, lookup)))
        elif expand.navigation in self._table.collections:
            self._members.append((expand.navigation, self._expanded_collection(expand)))
        else:
            raise errors.unknown_property(expand.navigation, self._table.name)

    def _inner(self, expand: Expand) -> Options:
        return Options(
            select=expand.select,
            filter=filters.parse(expand.filter) if expand.filter else None,
            orderby=read_orderby(expand.orderby),
            top=expand.top,
            expand=expand.expand,
            annotations=self._options.annotations,
        )

    def _expanded_lookup(self, expand: Expand, lookup: OneToMany) -> Callable[[Positions], list[Any]]:
        other = self._state.schema.table(lookup.referenced)
        inner = Shape(self._state, self._caller, other, self._inner(expand))
        depth = self._state.privileges.require(self._caller, "Read", other)
        reach = self._state.privileges.visible(self._caller, other, depth)
        where, points_at = self._state.store(other.name), self._store.getter(lookup.column)

        def one(position: int) -> dict[str, Any] | None:
            row_id = points_at(position)
            at = None if row_id is None else where.position(row_id)
            if at is None or (reach is not None and not reach(at)):
                return None
            return inner.row(at)

        return lambda at: [one(position) for position in at]

    def _expanded_collection(self, expand: Expand) -> Callable[[Positions], list[Any]]:
        other = related_table(self._state, self._table, expand.navigation)
        options = self._inner(expand)

        def some(position: int) -> list[Any]:
            query = Query(self._state, self._caller, other, options, "")
            source = related_rows(self._state, self._table, expand.navigation, self._store.id_at(position))
            return query.shape().rows(query.rows(source).positions)

        return lambda at: [some(position) for position in at]


def _or_unset(value: Any) -> Any:
    return msgspec.UNSET if value is None else value


@lru_cache(maxsize=512)
def row_type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Return a type whose JSON has these members; msgspec encodes it faster than a dictionary."""
    fields = [(f"f{number}", Any) for number in range(len(names))]
    rename = {f"f{number}": name for number, name in enumerate(names)}
    return msgspec.defstruct("Row", fields, rename=rename, gc=False)


def related_table(state: State, table: Table, navigation: str) -> Table:
    """Return the table at the other end of a collection navigation, or raise the 404."""
    relationship = table.collections.get(navigation)
    if relationship is None:
        raise errors.unknown_segment(navigation)
    if isinstance(relationship, OneToMany):
        return state.schema.table(relationship.referencing)
    return state.schema.table(relationship.right if is_left(relationship, table, navigation) else relationship.left)


def related_rows(state: State, table: Table, navigation: str, row_id: str) -> Source:
    """Return where the rows of a collection navigation come from."""
    relationship = table.collections[navigation]
    if isinstance(relationship, OneToMany):
        store = state.store(relationship.referencing)
        positions = store.matching(relationship.column, [row_id])
        if positions is None:
            get = store.getter(relationship.column)
            positions = [at for at in store.positions() if get(at) == row_id]
        return Source(positions, by_position=True)
    links = state.links[relationship.schema_name]
    if is_left(relationship, table, navigation):
        return Source(links.rights_of(row_id).ids, members=True)
    return Source(links.lefts_of(row_id).ids, members=True)


def next_link(address: str, raw_query: str) -> Callable[[str], str]:
    """Return a function from token to the address of the next page."""
    kept = [part for part in raw_query.split("&") if part and not re.match(r"(\$|%24)skiptoken=", part)]
    return lambda token: f"{address}?{'&'.join([*kept, '$skiptoken=' + quote(token, safe='')])}"
