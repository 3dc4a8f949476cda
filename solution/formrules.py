"""The rules of the form schema that an edit of ours could break, checked before a form is sent.

Source: Microsoft Learn, "Form XML schema". Microsoft's own forms break some of it, so only what an edit breaks anew counts.
"""

import re
from collections.abc import Iterator

from solution.formxml import WEB_RESOURCE_CONTROL
from solution.xmltext import Node, NotAForm, read, same

_GUID = re.compile(r"\{[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}")
_WIDTH = re.compile(r"(100|[0-9]{1,2})%")
_ROOT_CHILDREN = frozenset(
    (
        "ancestor",
        "hiddencontrols",
        "controlDescriptions",
        "tabs",
        "header",
        "footer",
        "events",
        "formLibraries",
        "externaldependencies",
        "formparameters",
        "clientresources",
        "Navigation",
        "DisplayConditions",
        "RibbonDiffXml",
    )
)
_MOST_TABS, _MOST_COLUMNS, _MOST_LIBRARIES = 100, 3, 50
_CHILDREN = {
    "tab": ("labels", "tabheader", "tabfooter", "columns", "events"),
    "section": ("labels", "rows"),
    "cell": ("labels", "control", "events"),
}
_NEEDED = {
    "Handler": ("functionName", "libraryName", "handlerUniqueId"),
    "Library": ("name", "libraryUniqueId"),
    "label": ("description", "languagecode"),
}


def problems(xml: str) -> list[str]:
    """Return every rule of the form schema that a form breaks, as sentences; none means that it may be sent.

    Covers what our edits could break: the skeleton of the form, ids, tabs, sections, cells, events and libraries.
    """
    try:
        root = read(xml)
    except NotAForm as error:
        return [str(error)]
    rules = (_root_rules, _tab_rules, _id_rules, _child_rules, _attribute_rules, _event_rules, _row_rules, _page_rules)
    return [sentence for rule in rules for sentence in rule(root)]


def new_problems(before: str, after: str) -> list[str]:
    """Return the rules that a form breaks after an edit and did not before; Microsoft's own forms break some."""
    old = set(problems(before))
    return [sentence for sentence in problems(after) if sentence not in old]


def _root_rules(root: Node) -> Iterator[str]:
    if root.tag != "form":
        yield f"The root element is {root.tag} instead of form."
    tags = [child.tag for child in root.children]
    for tag in sorted(set(tags)):
        if tag not in _ROOT_CHILDREN:
            yield f"The form has an element {tag}, which the schema does not know."
        elif tags.count(tag) > 1:
            yield f"The form has more than one element {tag}."
    if "tabs" not in tags:
        yield "The form has no tabs."


def _tab_rules(root: Node) -> Iterator[str]:
    tabs = [tab for parent in root.named("tabs") for tab in parent.named("tab")]
    if root.named("tabs") and not 1 <= len(tabs) <= _MOST_TABS:
        yield f"The form has {len(tabs)} tabs; 1 to {_MOST_TABS} are allowed."
    names = [name for tab in tabs if (name := tab.attributes.get("name"))]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"Two tabs are called {name}."
    for tab in tabs:
        columns = [column for parent in tab.named("columns") for column in parent.named("column")]
        if not 1 <= len(columns) <= _MOST_COLUMNS:
            yield f"The tab {tab.attributes.get('name')} has {len(columns)} columns; 1 to {_MOST_COLUMNS} are allowed."
        for column in columns:
            if not _WIDTH.fullmatch(column.attributes.get("width", "")):
                yield f"A column of the tab {tab.attributes.get('name')} has no width in per cent."


def _id_rules(root: Node) -> Iterator[str]:
    seen: set[str] = set()
    for node in root.all("tab", "section", "cell"):
        identity = node.attributes.get("id")
        if identity is None or not _GUID.fullmatch(identity):
            yield f"A {node.tag} has the id {identity}, which is no guid in braces."
        elif identity.lower() in seen:
            yield f"The id {identity.lower()} is used twice."
        else:
            seen.add(identity.lower())


def _child_rules(root: Node) -> Iterator[str]:
    for node in root.all(*_CHILDREN):
        tags = [child.tag for child in node.children]
        for tag in sorted(set(tags)):
            if tag not in _CHILDREN[node.tag]:
                yield f"A {node.tag} has a {tag} inside."
            elif tags.count(tag) > 1:
                yield f"A {node.tag} has more than one {tag}."


def _attribute_rules(root: Node) -> Iterator[str]:
    for node in root.all(*_NEEDED):
        for name in _NEEDED[node.tag]:
            if name not in node.attributes:
                yield f"A {node.tag} has no {name}."


def _event_rules(root: Node) -> Iterator[str]:
    libraries = [one.attributes.get("name") for parent in root.named("formLibraries") for one in parent.named("Library")]
    if root.named("formLibraries") and not 1 <= len(libraries) <= _MOST_LIBRARIES:
        yield f"The form has {len(libraries)} libraries; 1 to {_MOST_LIBRARIES} are allowed."
    for name in sorted({name for name in libraries if name and libraries.count(name) > 1}):
        yield f"The library {name} is listed twice."
    for events in root.all("events"):
        if not events.named("event"):
            yield "An element events has no event."
    for handlers in root.all("Handlers"):
        for handler in handlers.named("Handler"):
            if handler.attributes.get("libraryName") not in libraries:
                yield f"A handler uses the library {handler.attributes.get('libraryName')}, which the form does not list."


def _row_rules(root: Node) -> Iterator[str]:
    for section in root.all("section"):
        listed = [row for rows in section.named("rows") for row in rows.named("row")]
        for number, row in enumerate(listed):
            for cell in row.named("cell"):
                span = cell.attributes.get("rowspan", "1")
                if span.isdigit() and number + int(span) > len(listed):
                    yield f"A cell of the section {section.attributes.get('name')} spans more rows than the section has."


def _page_rules(root: Node) -> Iterator[str]:
    for control in root.all("control"):
        if not same(control.attributes.get("classid"), WEB_RESOURCE_CONTROL):
            continue
        given = {one.tag: one.text.strip() for one in control.all("Url", "WebResourceId")}
        if not given.get("Url"):
            yield f"The control {control.attributes.get('id')} shows a web resource and does not say which."
