"""Rest.li 2.0 in query strings: `List(1,2)`, `(key:value)` and percent-encoded plain values."""

from typing import Any
from urllib.parse import unquote

_RESERVED = frozenset("(),:'")


class Malformed(Exception):
    """The text is not Rest.li 2.0."""


def parse_query(raw: str) -> dict[str, Any]:
    """Return the parameters of a raw query string; raises `Malformed`.

    `fields` stays as it is written: it is the one parameter that is not encoded as Rest.li 2.0.

    >>> parse_query("ids=List(1,2)&account=urn%3Ali%3AsponsoredAccount%3A7&fields=id,name")
    {'ids': ['1', '2'], 'account': 'urn:li:sponsoredAccount:7', 'fields': 'id,name'}
    >>> parse_query("search=(status:(values:List(ACTIVE)),test:false)")
    {'search': {'status': {'values': ['ACTIVE']}, 'test': 'false'}}
    """
    pairs = (part.partition("=") for part in raw.split("&") if part)
    return {unquote(key): unquote(value) if key == "fields" else decode(value) for key, _, value in pairs}


def decode(text: str) -> Any:
    """Return the value of one parameter; every plain value is text. Raises `Malformed`.

    >>> decode("''")
    ''
    """
    value, end = _value(text, 0)
    if end != len(text):
        raise Malformed(f"{text!r} has something unencoded at position {end}.")
    return value


def names(fields: str) -> list[str]:
    """Return the outermost names of a `fields` parameter.

    >>> names("id,owner:(name,id),status")
    ['id', 'owner', 'status']
    """
    depth, found = 0, [""]
    for sign in fields:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            found.append("")
        elif depth == 0 and sign != ")":
            found[-1] += sign
    return [name.rstrip(":") for name in found if name]


def _value(text: str, at: int) -> tuple[Any, int]:
    if text.startswith("List(", at):
        return _list(text, at + 5)
    if text.startswith("(", at):
        return _record(text, at + 1)
    if text.startswith("''", at):
        return "", at + 2
    end = next((i for i in range(at, len(text)) if text[i] in _RESERVED), len(text))
    return unquote(text[at:end]), end


def _list(text: str, at: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    if text.startswith(")", at):
        return found, at + 1
    while True:
        value, at = _value(text, at)
        found.append(value)
        if _closed(text, at):
            return found, at + 1
        at += 1


def _record(text: str, at: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    if text.startswith(")", at):
        return found, at + 1
    while True:
        key, at = _value(text, at)
        if not text.startswith(":", at):
            raise Malformed(f"{text!r} lacks a colon at position {at}.")
        value, at = _value(text, at + 1)
        found[str(key)] = value
        if _closed(text, at):
            return found, at + 1
        at += 1


def _closed(text: str, at: int) -> bool:
    """Tell whether a list or record ends here; else it must go on with a comma."""
    if text[at : at + 1] not in (")", ","):
        raise Malformed(f"{text!r} lacks a closing bracket at position {at}.")
    return text[at] == ")"
