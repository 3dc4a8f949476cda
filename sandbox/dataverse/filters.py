"""OData `$filter`: text to a tree, tree to a test of one row.

Understood: `eq ne gt ge lt le`, `and or not`, parentheses, `null`, `contains startswith endswith`, column to column,
columns through a lookup (`nav/column`), and the query functions In, NotIn, Between, EqualUserId and NotEqualUserId.
Anything else of OData is refused as not imitated; nothing is silently ignored.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt
from typing import Any, NoReturn

from sandbox.dataverse import errors, values
from sandbox.dataverse.rows import folded

TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"[^"]*")
    | (?P<guid>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})
    | (?P<moment>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))
    | (?P<day>\d{4}-\d\d-\d\d)
    | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<enum>[A-Za-z_][\w.]*'(?:[^']|'')*')
    | (?P<name>@?[A-Za-z_][\w.]*(?:/[A-Za-z_$][\w.]*)*)
    | (?P<sign>[(),=\[\]:])
    )""",
    re.VERBOSE,
)
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {"eq": eq, "gt": gt, "ge": ge, "lt": lt, "le": le}
OPERATOR_KINDS = {
    "eq": "Equal",
    "ne": "NotEqual",
    "gt": "GreaterThan",
    "ge": "GreaterThanOrEqual",
    "lt": "LessThan",
    "le": "LessThanOrEqual",
}
TEXT_FUNCTIONS: Mapping[str, Callable[[str, str], bool]] = {
    "contains": lambda held, part: part in held,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
QUERY_FUNCTIONS = "Microsoft.Dynamics.CRM."

type Test = Callable[[Any], bool]


@dataclass(frozen=True)
class Literal:
    """A value written in the filter, with the type it has there."""

    type: str
    value: Any


@dataclass(frozen=True)
class Path:
    """A column, perhaps through a lookup."""

    name: str


@dataclass(frozen=True)
class Comparison:
    """`left operator right`."""

    operator: str
    left: "Path | Literal"
    right: "Path | Literal"


@dataclass(frozen=True)
class TextFunction:
    """`contains(column,'text')` and its like."""

    name: str
    path: Path
    text: str


@dataclass(frozen=True)
class QueryFunction:
    """One of the service's own functions, with its named arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Junction:
    """Parts joined by `and` or `or`."""

    word: str
    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Negation:
    """`not part`."""

    part: "Node"


type Node = Comparison | TextFunction | QueryFunction | Junction | Negation


class Resolver:
    """What a filter needs to know about the rows it tests; rows are whatever `getter` takes."""

    user_id: str | None = None
    typed = True

    def getter(self, path: str) -> Callable[[Any], Any]:
        """Return a function from row to value, or raise the error of an unknown property."""
        raise NotImplementedError

    def type_of(self, path: str) -> str | None:
        """Return the Edm type of a property, or None when it is not checked."""
        raise NotImplementedError


def parse(text: str, aliases: Mapping[str, str] | None = None) -> Node:
    """Return the tree of a filter; `aliases` are the `@name` parameters of the address."""
    return _Parser(text, aliases or {}).filter()


def compiled(node: Node, resolver: Resolver) -> Test:
    """Return a function that tests one row."""
    match node:
        case Junction("and", parts):
            return _all([compiled(part, resolver) for part in parts])
        case Junction(_, parts):
            tests = [compiled(part, resolver) for part in parts]
            return lambda row: any(test(row) for test in tests)
        case Negation(part):
            negated = compiled(part, resolver)
            return lambda row: not negated(row)
        case Comparison():
            return _comparison(node, resolver)
        case TextFunction():
            return _text_function(node, resolver)
        case QueryFunction():
            return _query_function(node, resolver)


def keyed(node: Node) -> tuple[str, Sequence[Any]] | None:
    """Return a property and the only values it may have, when the filter says so; None otherwise.

    This is what lets a query go to its rows instead of looking at all.
    """
    match node:
        case Comparison("eq", Path(name), Literal(_, value)) if value is not None and "/" not in name:
            return name, [value]
        case QueryFunction("In", {"PropertyName": str(name), "PropertyValues": list(given)}):
            return name, given
        case Junction("and", parts):
            found = [one for part in parts if (one := keyed(part)) is not None]
            return min(found, key=_selectivity) if found else None
        case _:
            return None


def _selectivity(found: tuple[str, Sequence[Any]]) -> tuple[bool, int]:
    name, given = found
    return not name.endswith(("id", "_value")), len(given)


def _all(tests: list[Test]) -> Test:
    if len(tests) == 2:  # noqa: PLR2004 - the common case without a generator
        first, second = tests
        return lambda row: first(row) and second(row)
    return lambda row: all(test(row) for test in tests)


def _comparison(node: Comparison, resolver: Resolver) -> Test:
    left, right = node.left, node.right
    if isinstance(left, Literal) and isinstance(right, Path):
        left, right = right, left
        node = Comparison({"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}.get(node.operator, node.operator), left, right)
    if not isinstance(left, Path):
        raise errors.invalid_query("A comparison needs a property on one side.")
    _check_types(node, resolver)
    get = resolver.getter(left.name)
    if isinstance(right, Path):
        return _column_to_column(node.operator, get, resolver.getter(right.name))
    return _column_to_value(node.operator, get, folded(right.value))


def _column_to_column(operator: str, left: Callable[[Any], Any], right: Callable[[Any], Any]) -> Test:
    if operator == "ne":
        return lambda row: folded(left(row)) != folded(right(row))
    compare = COMPARISONS[operator]

    def test(row: Any) -> bool:
        one, other = folded(left(row)), folded(right(row))
        return one is not None and other is not None and compare(one, other)

    return test


def _column_to_value(operator: str, get: Callable[[Any], Any], value: Any) -> Test:
    if isinstance(value, str):
        return _column_to_text(operator, get, value)
    if operator == "eq":
        return lambda row: get(row) == value
    if operator == "ne":
        return lambda row: get(row) != value
    if value is None:
        return lambda _: False
    compare = COMPARISONS[operator]
    return lambda row: (held := get(row)) is not None and compare(held, value)


def _column_to_text(operator: str, get: Callable[[Any], Any], value: str) -> Test:
    if operator == "ne":
        return lambda row: (held := get(row)) is None or str(held).casefold() != value
    compare = COMPARISONS[operator]
    return lambda row: (held := get(row)) is not None and compare(str(held).casefold(), value)


def _check_types(node: Comparison, resolver: Resolver) -> None:
    if not resolver.typed:
        return
    sides = [
        (side.type if isinstance(side, Literal) else resolver.type_of(side.name), isinstance(side, Literal))
        for side in (node.left, node.right)
    ]
    (left, _), (right, _) = sides
    if left is None or right is None or "Null" in (left, right) or _family(left) == _family(right):
        return
    raise errors.wrong_operand_types(left, right, OPERATOR_KINDS[node.operator])


def _family(edm: str) -> str:
    if edm in ("Int32", "Int64", "Decimal", "Double"):
        return "number"
    return "moment" if edm in ("DateTimeOffset", "Date") else edm


def _text_function(node: TextFunction, resolver: Resolver) -> Test:
    edm = resolver.type_of(node.path.name) if resolver.typed else None
    if edm not in (None, "String"):
        raise errors.invalid_query(f"No function signature for the function with name '{node.name}' matches Edm.{edm}.")
    get, part, holds = resolver.getter(node.path.name), node.text.casefold(), TEXT_FUNCTIONS[node.name]
    return lambda row: (held := get(row)) is not None and holds(str(held).casefold(), part)


def _query_function(node: QueryFunction, resolver: Resolver) -> Test:
    path = node.arguments.get("PropertyName")
    if not isinstance(path, str):
        raise errors.invalid_query(f"The function {node.name} needs a PropertyName.")
    get = resolver.getter(path)
    listed = node.arguments.get("PropertyValues", [])
    if not isinstance(listed, list) or (node.name in ("In", "NotIn") and not listed):
        raise errors.invalid_query(f"The function {node.name} needs PropertyValues.")
    given = [folded(value) for value in listed]
    match node.name:
        case "In":
            wanted = frozenset(_comparable(given, resolver.type_of(path)))
            return lambda row: folded(get(row)) in wanted
        case "NotIn":
            unwanted = frozenset(_comparable(given, resolver.type_of(path)))
            return lambda row: folded(get(row)) not in unwanted
        case "Between" if len(given) == 2:  # noqa: PLR2004 - low and high
            low, high = _comparable(given, resolver.type_of(path))
            return lambda row: (held := folded(get(row))) is not None and low <= held <= high
        case "EqualUserId":
            return lambda row: get(row) == resolver.user_id
        case "NotEqualUserId":
            return lambda row: get(row) != resolver.user_id
        case _:
            raise errors.not_imitated(f"the query function {node.name}")


def _comparable(given: Sequence[Any], edm: str | None) -> list[Any]:
    if edm in ("Int32", "Int64", "Decimal", "Double"):
        return [_as_number(value) for value in given]
    if edm == "Boolean":
        return [str(value).lower() == "true" for value in given]
    if edm == "Guid":
        return [values.guid(value) or value for value in given]
    return list(given)


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        raise errors.invalid_query(f"The value '{str(value)[:100]}' is not a number.") from None


def _number(text: str) -> Literal:
    return Literal("Int32", int(text)) if re.fullmatch(r"-?\d+", text) else Literal("Double", float(text))


LITERALS: Mapping[str, Callable[[str], Literal]] = {
    "text": lambda text: Literal("String", text[1:-1].replace("''", "'")),
    "guid": lambda text: Literal("Guid", text.lower()),
    "moment": lambda text: Literal("DateTimeOffset", values.date_time(text)),
    "day": lambda text: Literal("Date", text),
    "number": _number,
    "enum": lambda text: Literal("Enum", text.partition("'")[2][:-1]),
}
"""What each kind of token stands for."""


class _Parser:
    """A recursive descent over the tokens of one filter."""

    def __init__(self, text: str, aliases: Mapping[str, str]) -> None:
        self._text = text
        self._aliases = aliases
        self._tokens = _tokens(text)
        self._at = 0

    def filter(self) -> Node:
        """Return the tree of the whole text."""
        tree = self._or()
        if self._at < len(self._tokens):
            self._fail()
        return tree

    def _or(self) -> Node:
        return self._joined("or", self._and)

    def _and(self) -> Node:
        return self._joined("and", self._not)

    def _joined(self, word: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while self._take("name", word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))

    def _not(self) -> Node:
        if self._take("name", "not"):
            return Negation(self._not())
        return self._primary()

    def _primary(self) -> Node:
        if self._take("sign", "("):
            tree = self._or()
            self._expect(")")
            return tree
        kind, text = self._peek()
        if kind == "name" and self._peek(1) == ("sign", "("):
            return self._function(text)
        left = self._operand()
        _, operator = self._next()
        if operator not in OPERATOR_KINDS:
            self._fail()
        return Comparison(operator, left, self._operand())

    def _function(self, name: str) -> Node:
        self._at += 2
        if name in TEXT_FUNCTIONS:
            path = self._operand()
            self._expect(",")
            literal = self._operand()
            self._expect(")")
            if not isinstance(path, Path) or not isinstance(literal, Literal) or literal.type != "String":
                self._fail()
            return TextFunction(name, path, literal.value)
        if name.startswith(QUERY_FUNCTIONS):
            return QueryFunction(name.removeprefix(QUERY_FUNCTIONS), self._arguments())
        raise errors.not_imitated(f"the OData function {name} in a filter")

    def _arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        while not self._take("sign", ")"):
            _, name = self._next()
            self._expect("=")
            arguments[name] = self._argument()
            self._take("sign", ",")
        return arguments

    def _argument(self) -> Any:
        if self._take("sign", "["):
            items: list[Any] = []
            while not self._take("sign", "]"):
                items.append(self._value())
                self._take("sign", ",")
            return items
        return self._value()

    def _value(self) -> Any:
        kind, text = self._peek()
        if kind == "name" and text.startswith("@"):
            self._at += 1
            return _Parser(self._alias(text), {})._argument()  # noqa: SLF001 - the same class
        if kind == "quoted":  # only as one of several values of a query function
            self._at += 1
            return text[1:-1]
        operand = self._operand()
        return operand.value if isinstance(operand, Literal) else operand.name

    def _alias(self, name: str) -> str:
        if name not in self._aliases:
            raise errors.invalid_query(f"The parameter alias '{name}' has no value.")
        return self._aliases[name]

    def _operand(self) -> Path | Literal:
        kind, text = self._next()
        if kind == "name":
            return self._word(text)
        if kind not in LITERALS:
            self._fail()
        return LITERALS[kind](text)

    def _word(self, text: str) -> Path | Literal:
        if text in ("true", "false"):
            return Literal("Boolean", text == "true")
        if text == "null":
            return Literal("Null", None)
        if text.startswith("@"):
            operand = _Parser(self._alias(text), {})._operand()  # noqa: SLF001 - the same class
            return operand if isinstance(operand, Literal) else self._fail()
        return Path(text)

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        if token[0] == "end":
            self._fail()
        self._at += 1
        return token

    def _take(self, kind: str, text: str) -> bool:
        if self._peek() != (kind, text):
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._take("sign", sign):
            self._fail()

    def _fail(self) -> NoReturn:
        raise errors.invalid_query(f"Syntax error at position {self._at} in '{self._text[:200]}'.")


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        token = TOKEN.match(text, at)
        if token is None or token.lastgroup is None:
            raise errors.invalid_query(f"Syntax error: character '{text[at]}' is not valid at position {at} in the filter.")
        found.append((token.lastgroup, token.group(token.lastgroup)))
        at = token.end()
    return found
