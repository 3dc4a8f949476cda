"""FetchXML: conditions, links, order, and pages with cookies.

A query is worked out once and its result kept while its tables do not change, so that each page is a slice. The cookie
names the last row of a page; the next page begins after it. Paging by number alone stops at 50,000 rows, as at the
service. Aggregates other than a plain count are not imitated.
"""

import re
import xml.etree.ElementTree as ET
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import msgspec
from werkzeug.wrappers import Response

from sandbox.dataverse import errors, values
from sandbox.dataverse.context import Context, answer
from sandbox.dataverse.forms import parsed
from sandbox.dataverse.queries import (
    EDM_TYPES,
    FORMATTED,
    LOOKUP_TABLE,
    MOST_PER_PAGE,
    TOTAL,
    TOTAL_EXCEEDED,
    Options,
    Shape,
)
from sandbox.dataverse.records import display_name, etag, target_of
from sandbox.dataverse.rows import RowStore, folded
from sandbox.dataverse.state import State
from sandbox.dataverse.tables import Column, Table

COOKIE = "Microsoft.Dynamics.CRM.fetchxmlpagingcookie"
MORE = "Microsoft.Dynamics.CRM.morerecords"
MOST_WITHOUT_COOKIE = 50_000
MOST_KEPT = 16
NUMBER = re.compile(r"-?\d+(\.\d+)?")
ATTRIBUTES = frozenset(
    {
        "version",
        "output-format",
        "mapping",
        "distinct",
        "count",
        "page",
        "paging-cookie",
        "top",
        "returntotalrecordcount",
        "no-lock",
        "aggregate",
        "latematerialize",
        "useraworderby",
    }
)

type Row = tuple[int | None, ...]
"""Positions: of the row itself, then of each linked row; None where an outer link found nothing."""
type Test = Callable[[int], bool]


@dataclass
class Link:
    """One `link-entity`, or the query itself."""

    table: Table
    store: RowStore
    element: ET.Element
    alias: str | None
    parent: int
    """Which link this one hangs on; -1 for the query itself."""
    own_column: str = ""
    parent_column: str = ""
    outer: bool = False
    columns: list[tuple[Column, str]] = field(default_factory=list)
    """Columns to show, with the name each has in the answer."""


@dataclass(frozen=True)
class Result:
    """All rows of a query in order, and the versions of the tables they came from."""

    rows: Sequence[Row]
    versions: tuple[int, ...]
    ascending: bool
    """Whether the rows are in the order of the main table, so that a place in it can be searched."""
    places: dict[str, int]


def respond(context: Context, table: Table) -> Response:
    """Answer one page of a FetchXML query."""
    return Fetch(context.state, context, parsed(context.arguments["fetchXml"])).page(table)


class Fetch:
    """One FetchXML query, for one caller."""

    def __init__(self, state: State, context: Context, root: ET.Element) -> None:
        self._state, self._context, self._root = state, context, root
        self._caller = context.caller
        self._links: list[Link] = []
        if root.tag != "fetch" or len(root) != 1 or root[0].tag != "entity":
            raise errors.invalid_query("Invalid Fetch XML: one fetch element with one entity element was expected.")
        self._check_attributes()
        self._size = self._number("count", MOST_PER_PAGE, MOST_PER_PAGE)
        self._page = self._number("page", 1, None)
        self._top = self._number("top", 0, MOST_PER_PAGE) or None
        self._cookie = root.get("paging-cookie")

    def _check_attributes(self) -> None:
        unknown = set(self._root.attrib) - ATTRIBUTES
        if unknown:
            raise errors.not_imitated(f"the attribute {min(unknown)} of fetch")
        if self._root.get("top") and (self._root.get("page") or self._root.get("count")):
            raise errors.invalid_query("The top attribute can't be specified with paging attribute page")

    def _number(self, name: str, default: int, most: int | None) -> int:
        text = self._root.get(name)
        if text is None or not text.strip():
            return default
        if not text.isdigit() or (most is not None and int(text) > most and name == "top"):
            raise errors.invalid_query(f"Invalid value '{text}' for the attribute {name} of fetch.")
        return int(text) if most is None else min(int(text), most)

    def page(self, table: Table) -> Response:
        """Return the answer with one page."""
        main = self._root[0]
        if main.get("name") != table.name:
            raise errors.invalid_query(f"The entity '{main.get('name')}' in the Fetch XML is not the set in the address.")
        if self._root.get("aggregate") == "true":
            return self._counted(table)
        self._collect(main, table, None, -1)
        result = self._result()
        size = self._top or self._prefer_size()
        start = 0 if self._top else self._start(result, size)
        rows = result.rows[start : start + size]
        more = start + size < len(result.rows) and not self._top
        return answer(msgspec.json.encode(self._body(table, rows, result, more=more)), headers=self._headers())

    def _prefer_size(self) -> int:
        asked = self._context.prefer.page_size
        return min(self._size, asked) if asked and "count" not in self._root.attrib else self._size

    def _headers(self) -> dict[str, str]:
        applied = self._context.prefer.applied
        return {"Preference-Applied": ", ".join(applied)} if applied else {}

    def _counted(self, table: Table) -> Response:
        wanted = list(self._root[0].iter("attribute"))
        if len(wanted) != 1 or wanted[0].get("aggregate") not in ("count", "countcolumn") or wanted[0].get("groupby"):
            raise errors.not_imitated("FetchXML aggregates other than one count")
        alias = wanted[0].get("alias") or "count"
        column = None if wanted[0].get("aggregate") == "count" else wanted[0].get("name")
        self._collect(self._root[0], table, None, -1)
        rows = self._result().rows
        if len(rows) > MOST_WITHOUT_COOKIE:
            message = "The maximum record limit is exceeded. Reduce the number of records."
            raise errors.ServiceError(400, "0x8004E023", message)
        store = self._links[0].store
        total = len(rows) if column is None else sum(1 for row in rows if store.get(row[0] or 0, column) is not None)
        return answer({"@odata.context": f"{self._context.base}/$metadata#{table.set_name}", "value": [{alias: total}]})

    def _collect(self, element: ET.Element, table: Table, alias: str | None, parent: int) -> None:
        link = Link(table, self._state.store(table.name), element, alias, parent)
        self._links.append(link)
        number = len(self._links) - 1
        self._state.privileges.require(self._caller, "Read", table)
        everything = element.find("all-attributes") is not None
        for column in table.columns.values() if everything else ():
            link.columns.append((column, self._shown_name(link, column, None)))
        for wanted in element.findall("attribute"):
            column = self._column(table, wanted.get("name"))
            link.columns.append((column, self._shown_name(link, column, wanted.get("alias"))))
        for inner in element.findall("link-entity"):
            self._collect_link(inner, number)

    def _collect_link(self, element: ET.Element, parent: int) -> None:
        kind = element.get("link-type", "inner")
        if kind not in ("inner", "outer"):
            raise errors.not_imitated(f"the link type {kind}")
        name = element.get("name", "")
        table = self._table(name)
        number = len(self._links)
        self._collect(element, table, element.get("alias") or f"{name}{number}", parent)
        link = self._links[number]
        link.outer = kind == "outer"
        link.own_column = self._column(table, element.get("from") or table.key).name
        above = self._links[parent].table
        link.parent_column = self._column(above, element.get("to") or above.key).name

    def _table(self, name: str) -> Table:
        table = self._state.schema.tables.get(name)
        if table is None:
            raise errors.unknown_table(name)
        return table

    def _column(self, table: Table, name: str | None) -> Column:
        column = table.columns.get((name or "").lower())
        if column is None:
            message = f"'{table.name}' entity doesn't contain attribute with Name = '{name}' and NameMapping = 'Logical'."
            raise errors.ServiceError(400, "0x80041103", message)
        return column

    def _shown_name(self, link: Link, column: Column, alias: str | None) -> str:
        if alias:
            return alias
        return column.property_name if link.parent < 0 else f"{link.alias}.{column.name}"

    def _result(self) -> Result:
        key = (self._caller.user_id, self._canonical())
        versions = tuple(self._state.version_of(link.table.name) for link in self._links)
        results: dict[tuple[str, str], Result] = self._state.results
        kept = results.get(key)
        if kept is not None and kept.versions == versions:
            return kept
        results[key] = self._worked_out(versions)
        while len(results) > MOST_KEPT:
            del results[next(iter(results))]
        return results[key]

    def _canonical(self) -> str:
        entity = ET.tostring(self._root[0], encoding="unicode")
        return f"{self._root.get('distinct')}|{entity}"

    def _worked_out(self, versions: tuple[int, ...]) -> Result:
        main = self._links[0]
        rows: Sequence[Row] = [(at,) for at in self._main_positions(main)]
        for link in self._links[1:]:
            rows = self._joined(rows, link)
        orders = [(number, one) for number, link in enumerate(self._links) for one in link.element.findall("order")]
        rows = self._sorted(list(rows), orders)
        if self._root.get("distinct") == "true":
            rows = list({row[0] if not self._shows_links() else row: row for row in rows}.values())
        return Result(rows, versions, not orders, {} if not orders else self._places(rows))

    def _shows_links(self) -> bool:
        return any(link.columns for link in self._links[1:])

    def _places(self, rows: Sequence[Row]) -> dict[str, int]:
        store = self._links[0].store
        return {store.id_at(row[0] or 0): place for place, row in enumerate(rows)}

    def _main_positions(self, main: Link) -> Sequence[int]:
        """Return the main table's rows; an inner link decides first where it leaves few."""
        test = self._test(main)
        narrowed = self._narrowed(main)
        among = main.store.positions() if narrowed is None else narrowed
        return among if test is None else [at for at in among if test(at)]

    def _narrowed(self, main: Link) -> Sequence[int] | None:
        for link in self._links[1:]:
            if link.parent != 0 or link.outer:
                continue
            wanted = set(link.store.values(link.own_column, self._linked_positions(link)))
            return main.store.matching(link.parent_column, wanted)
        return None

    def _linked_positions(self, link: Link) -> Sequence[int]:
        test = self._test(link)
        among = link.store.positions()
        return among if test is None else [at for at in among if test(at)]

    def _joined(self, rows: Sequence[Row], link: Link) -> list[Row]:
        partners: dict[Any, list[int]] = {}
        positions = self._linked_positions(link)
        for at, value in zip(positions, link.store.values(link.own_column, positions), strict=True):
            partners.setdefault(folded(value), []).append(at)
        above = self._links[link.parent].store.getter(link.parent_column)
        found: list[Row] = []
        for row in rows:
            position = row[link.parent]
            value = None if position is None else folded(above(position))
            matches = partners.get(value) if value is not None else None
            if matches:
                found.extend((*row, at) for at in matches)
            elif link.outer:
                found.append((*row, None))
        return found

    def _test(self, link: Link) -> Test | None:
        tests = [self._filter(link, element) for element in link.element.findall("filter")]
        depth = self._state.privileges.require(self._caller, "Read", link.table)
        reach = self._state.privileges.visible(self._caller, link.table, depth)
        if reach is not None:
            tests.insert(0, reach)
        if not tests:
            return None
        return tests[0] if len(tests) == 1 else lambda at: all(test(at) for test in tests)

    def _filter(self, link: Link, element: ET.Element) -> Test:
        tests = [self._condition(link, part) if part.tag == "condition" else self._filter(link, part) for part in element]
        if element.get("type", "and") == "or":
            return lambda at: any(test(at) for test in tests)
        return lambda at: all(test(at) for test in tests)

    def _condition(self, link: Link, element: ET.Element) -> Test:
        if element.get("entityname"):
            raise errors.not_imitated("a condition with entityname")
        column = self._column(link.table, element.get("attribute"))
        given = (
            [element.get("value", "")] if "value" in element.attrib else [part.text or "" for part in element.findall("value")]
        )
        operator = element.get("operator", "")
        typed = given if operator in _PLAIN_VALUES else [folded(_typed(column, value)) for value in given]
        return _operator(operator, link.store.getter(column.name), typed, self)

    @property
    def user_id(self) -> str:
        """The caller, for conditions like eq-userid."""
        return self._caller.user_id

    def days_ago(self, days: int) -> str:
        """Return the moment this many days ago, for conditions like last-x-days."""
        return values.timestamp(self._state.clock.now() - timedelta(days=days))

    def _sorted(self, rows: list[Row], orders: Sequence[tuple[int, ET.Element]]) -> list[Row]:
        for number, order in reversed(orders):
            link = self._links[number]
            get = link.store.getter(self._column(link.table, order.get("attribute")).name)

            def key(row: Row, number: int = number, get: Callable[[int], Any] = get) -> tuple[bool, Any]:
                position = row[number]
                value = None if position is None else folded(get(position))
                return (value is not None, value)

            rows.sort(key=key, reverse=order.get("descending") == "true")
        return rows

    def _start(self, result: Result, size: int) -> int:
        by_number = (self._page - 1) * size
        if self._cookie:
            return self._after_cookie(result, self._cookie, by_number)
        if by_number + size > MOST_WITHOUT_COOKIE and self._page > 1:
            message = "Paging without a paging cookie is limited to 50000 records. Use a paging cookie."
            raise errors.ServiceError(400, errors.TOO_MANY_PAGED_ROWS, message)
        return by_number

    def _after_cookie(self, result: Result, cookie: str, by_number: int) -> int:
        main = self._links[0]
        try:
            last = ET.fromstring(cookie).find(main.table.key)  # noqa: S314 - as in forms.parsed
        except ET.ParseError:
            last = None
        row_id = values.guid(last.get("last")) if last is not None else None
        if row_id is None:
            raise errors.ServiceError(400, errors.PAGING_COOKIE, "Malformed XML in the Paging Cookie")
        at = main.store.position(row_id)
        if result.ascending and at is not None and len(self._links) == 1:
            return bisect_right(result.rows, (at,))
        if result.ascending and at is not None:
            return bisect_right(result.rows, at, key=lambda row: row[0] or 0)
        return result.places.get(row_id, by_number - 1) + 1 if not result.ascending else by_number

    def _body(self, table: Table, rows: Sequence[Row], result: Result, *, more: bool) -> dict[str, Any]:
        prefer = self._context.prefer
        options = Options(annotations=prefer.annotations)
        body: dict[str, Any] = {"@odata.context": f"{self._context.base}/$metadata#{table.set_name}"}
        counting = self._root.get("returntotalrecordcount") == "true"
        if options.annotated(TOTAL):
            body[f"@{TOTAL}"] = min(len(result.rows), MOST_PER_PAGE) if counting else -1
            body[f"@{TOTAL_EXCEEDED}"] = counting and len(result.rows) > MOST_PER_PAGE
        if options.annotated(MORE):
            body[f"@{MORE}"] = more
        if options.annotated(COOKIE) and more and rows and not self._ordered_by_link():
            body[f"@{COOKIE}"] = self._paging_cookie(rows)
        body["value"] = self._shown(rows, options)
        return body

    def _ordered_by_link(self) -> bool:
        return any(link.element.find("order") is not None for link in self._links[1:])

    def _paging_cookie(self, rows: Sequence[Row]) -> str:
        """Return the cookie annotation: XML whose attribute holds the cookie, URL-encoded twice."""
        main = self._links[0]
        first, last = (main.store.id_at(row[0] or 0).upper() for row in (rows[0], rows[-1]))
        inner = f'<cookie page="{self._page}"><{main.table.key} last="{{{last}}}" first="{{{first}}}" /></cookie>'
        twice = quote(quote(inner, safe=""), safe="")
        return f'<cookie pagenumber="{self._page + 1}" pagingcookie={quoteattr(twice)} istracking="False" />'

    def _shown(self, rows: Sequence[Row], options: Options) -> list[Any]:
        if len(self._links) == 1 or not self._shows_links():
            return self._main_shape(options).rows([row[0] or 0 for row in rows])
        return [self._shown_row(row, options) for row in rows]

    def _main_shape(self, options: Options) -> Shape:
        main = self._links[0]
        if any(name != column.property_name for column, name in main.columns):
            raise errors.not_imitated("an alias for a column of the main table")
        chosen = tuple(name for _, name in main.columns)
        asked = Options(select=chosen, annotations=options.annotations)
        return Shape(self._state, self._caller, main.table, asked)

    def _shown_row(self, row: Row, options: Options) -> dict[str, Any]:
        main = self._links[0]
        at = row[0] or 0
        shown: dict[str, Any] = {"@odata.etag": etag(main.store.get(at, "versionnumber")), main.table.key: main.store.id_at(at)}
        for link, position in zip(self._links, row, strict=True):
            for column, name in link.columns:
                value = None if position is None or column.secret else link.store.get(position, column.name)
                if value is None:
                    continue
                shown[name] = value
                shown |= self._annotations(link, position or 0, column, options, name)
        return shown

    def _annotations(self, link: Link, position: int, column: Column, options: Options, name: str) -> dict[str, Any]:
        """Return the annotations of one value that were asked for."""
        value, found = link.store.get(position, column.name), {}
        text = values.formatted(column, value)
        if column.is_lookup:
            target = target_of(link.table, link.store.row(position), column.name)
            text = display_name(self._state, target, value) if target else None
            if options.annotated(LOOKUP_TABLE):
                found[f"{name}@{LOOKUP_TABLE}"] = target
        if options.annotated(FORMATTED) and text is not None:
            found[f"{name}@{FORMATTED}"] = text
        return found


def _unreadable(column: Column, text: str) -> NoReturn:
    raise errors.invalid_query(f"The condition value '{text[:100]}' is not a value of the attribute {column.name}.")


def _typed(column: Column, text: str) -> Any:
    """Return the value of a condition in its stored form."""
    edm = EDM_TYPES.get(column.kind)
    if edm == "Guid":
        return values.guid(text) or _unreadable(column, text)
    if edm in ("Int32", "Int64", "Decimal", "Double"):
        return float(text) if NUMBER.fullmatch(text) else _unreadable(column, text)
    if edm == "Boolean":
        return text.lower() in ("1", "true")
    if edm == "DateTimeOffset":
        return values.date_time(text) or (text + "T00:00:00Z" if values.date_only(text) and not column.date_only else text)
    return text


def _operator(name: str, held: Callable[[int], Any], given: Sequence[Any], fetch: Fetch) -> Test:
    if name in ("null", "not-null"):
        return (lambda at: held(at) is None) if name == "null" else (lambda at: held(at) is not None)
    if name in ("eq-userid", "ne-userid"):
        same = name == "eq-userid"
        return lambda at: (held(at) == fetch.user_id) is same
    if name in ("in", "not-in"):
        wanted, inside = frozenset(given), name == "in"
        return lambda at: (folded(held(at)) in wanted) is inside
    if not given:
        raise errors.invalid_query(f"The condition operator '{name}' needs a value.")
    if name in _DAYS:
        if not str(given[0]).isdigit():
            raise errors.invalid_query(f"The condition operator '{name}' needs a number of days.")
        since = fetch.days_ago(int(given[0]))
        later = name == "last-x-days"
        return lambda at: (value := held(at)) is not None and (value >= since) is later
    if name in ("between", "not-between"):
        if len(given) != 2:  # noqa: PLR2004 - low and high
            raise errors.invalid_query(f"The condition operator '{name}' needs two values.")
        low, high = given
        return lambda at: (value := folded(held(at))) is not None and (low <= value <= high) is (name == "between")
    return _compared(name, held, given[0])


_DAYS = frozenset({"last-x-days", "olderthan-x-days"})
_PLAIN_VALUES = _DAYS | {"like", "not-like"}
"""Operators whose value is not one of the column's type."""
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda held, given: held == given,
    "gt": lambda held, given: held > given,
    "ge": lambda held, given: held >= given,
    "lt": lambda held, given: held < given,
    "le": lambda held, given: held <= given,
    "on": lambda held, given: held[:10] == given[:10],
    "on-or-after": lambda held, given: held[:10] >= given[:10],
    "on-or-before": lambda held, given: held[:10] <= given[:10],
    "begins-with": lambda held, given: held.startswith(given),
    "ends-with": lambda held, given: held.endswith(given),
    "contains": lambda held, given: given in held,
}
_NEGATED = {"ne": "eq", "neq": "eq", "not-begin-with": "begins-with", "not-end-with": "ends-with", "not-contain": "contains"}


def _compared(name: str, held: Callable[[int], Any], given: Any) -> Test:
    if name in ("like", "not-like"):
        return _like(held, given, negated=name == "not-like")
    if name in _NEGATED:
        compare = _COMPARED[_NEGATED[name]]
        return lambda at: (value := folded(held(at))) is None or not compare(value, given)
    if name not in _COMPARED:
        raise errors.not_imitated(f"the condition operator {name}")
    compare = _COMPARED[name]
    return lambda at: (value := folded(held(at))) is not None and compare(value, given)


def _like(held: Callable[[int], Any], pattern: str, *, negated: bool) -> Test:
    expression = re.compile(
        "".join({"%": ".*", "_": "."}.get(character, re.escape(character)) for character in pattern), re.DOTALL
    )
    return lambda at: ((value := folded(held(at))) is not None and bool(expression.fullmatch(value))) is not negated
