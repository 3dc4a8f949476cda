"""XML that is edited as text, at positions that a parser found, so that everything else stays as it was, to the character."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

_OPENING = re.compile(rb"<[^\s/>]+")
_ATTRIBUTE = re.compile(rb"""\s[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*')""")


class NotAForm(ValueError):  # noqa: N818 - named after what the text is
    """The text is not the XML of a form; the message says why."""


# ------------------------------------------------------------------ reading


@dataclass
class Node:
    """An element and where it stands in the text, in bytes: `start` to `inside`, its content, `inside_end` to `end`."""

    tag: str
    attributes: dict[str, str]
    start: int
    inside: int
    inside_end: int = 0
    end: int = 0
    text: str = ""
    children: list["Node"] = field(default_factory=list)

    @property
    def is_self_closing(self) -> bool:
        """Tell whether the element was written as one tag."""
        return self.inside == self.end

    def all(self, *tags: str) -> Iterator["Node"]:
        """Give this element and everything in it that has one of these tags, in the order of the text."""
        if self.tag in tags:
            yield self
        for child in self.children:
            yield from child.all(*tags)

    def child(self, tag: str) -> "Node | None":
        """Return the first child with this tag, or None."""
        return next((one for one in self.children if one.tag == tag), None)

    def named(self, tag: str) -> "list[Node]":
        """Return the children with this tag."""
        return [one for one in self.children if one.tag == tag]


def read(xml: str) -> Node:
    """Return the form as a tree. Raises NotAForm for text that is not well-formed or declares a document type."""
    return _Reader(xml.encode()).root()


class _Reader:
    """Builds the tree while expat goes through the text."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._parser = expat.ParserCreate("UTF-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._open: list[Node] = []
        self._root: Node | None = None

    def root(self) -> Node:
        """Return the root of the tree."""
        try:
            self._parser.Parse(self._text, True)
        except expat.ExpatError as error:
            raise NotAForm(f"The form's XML is not well-formed: {error}.") from error
        if self._root is None:  # pragma: no cover - expat has refused such a text already
            raise NotAForm("The form's XML is empty.")
        return self._root

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        start = self._parser.CurrentByteIndex
        node = Node(tag, attributes, start, _end_of_tag(self._text, start))
        if self._open:
            self._open[-1].children.append(node)
        else:
            self._root = node
        self._open.append(node)

    def _end(self, tag: str) -> None:  # noqa: ARG002 - the open element is known
        node = self._open.pop()
        if self._text[node.inside - 2 : node.inside] == b"/>":
            node.inside_end = node.end = node.inside
        else:
            node.inside_end = self._parser.CurrentByteIndex
            node.end = self._text.index(b">", node.inside_end) + 1

    def _characters(self, text: str) -> None:
        self._open[-1].text += text

    def _doctype(self, *declared: object) -> None:  # noqa: ARG002 - none is wanted
        raise NotAForm("The form's XML declares a document type, which no form does.")


def _end_of_tag(text: bytes, start: int) -> int:
    """Return the position behind a start tag; a `>` inside an attribute's value does not end it."""
    at = _OPENING.match(text, start).end()  # type: ignore[union-attr]  # expat saw a tag here
    while found := _ATTRIBUTE.match(text, at):
        at = found.end()
    return text.index(b">", at) + 1


# ------------------------------------------------------------------ writing


@dataclass(frozen=True)
class Edit:
    """Replace the bytes from `start` to `end` by `text`."""

    start: int
    end: int
    text: str = ""


def edited(xml: str, edits: Iterable[Edit]) -> str:
    """Return the text with edits made, none of which overlap."""
    data = xml.encode()
    for edit in sorted(edits, key=lambda one: one.start, reverse=True):
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
    return data.decode()


def appended(parent: Node, text: str) -> Edit:
    """Return the edit that makes text the last thing inside an element."""
    if parent.is_self_closing:
        return Edit(parent.inside - 2, parent.inside, f">{text}</{parent.tag}>")
    return Edit(parent.inside_end, parent.inside_end, text)


def taken_out(node: Node, parent: Node) -> Edit:
    """Return the edit that removes an element; a parent left empty by it is written as one tag again."""
    if parent.children == [node] and parent.inside == node.start and parent.inside_end == node.end:
        return Edit(parent.inside - 1, parent.end, "/>")
    return Edit(node.start, node.end)


def has_all_of(found: Node, wanted: Node, *, but: Collection[str] = ()) -> bool:
    """Tell whether an element has everything that is wanted of it; attributes named in `but` may be any.

    What the service added besides does not count, and labels may have been translated into more languages than ours.
    """
    attributes = (name in but or same(found.attributes.get(name), value) for name, value in wanted.attributes.items())
    return (
        found.tag == wanted.tag
        and all(attributes)
        and same(found.text.strip(), wanted.text.strip())
        and _inside(found, wanted, but)
    )


def _inside(found: Node, wanted: Node, but: Collection[str]) -> bool:
    if wanted.tag == "labels":
        return all(any(has_all_of(there, label, but=but) for there in found.children) for label in wanted.children)
    return len(found.children) == len(wanted.children) and all(
        has_all_of(*pair, but=but) for pair in zip(found.children, wanted.children, strict=True)
    )


def same(found: str | None, wanted: str) -> bool:
    """Tell whether two values are the same but for case and braces, which the service changes in guids."""
    return found is not None and found.strip("{}").lower() == wanted.strip("{}").lower()
