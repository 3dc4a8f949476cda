"""Form XML as pure functions: put our tab and our OnLoad handler into a form's XML, find them, take them out again.

The XML is edited as text, at positions that a parser found. So everything that is not ours stays as it was, character for
character, and taking out what was put in gives back the form as it was. Source of the rules: Microsoft Learn, "Form XML schema".
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr  # nosec B406 # writes XML, reads none

from solution.xmltext import Edit, Node, NotAForm, appended, edited, has_all_of, read, same, taken_out

TAB_NAME = "lima_tab"
SECTION_NAME = "lima_section"
CONTROL_ID = "WebResource_lima"
PAGE = "lima_/tab.html"
LIBRARY = "lima_/form.js"
HANDLER = "lima.form.onLoad"
WEB_RESOURCE_CONTROL = "{9FDF5F91-88B1-47f4-AD53-C11EFC01A01D}"
ROWS = 20  # height of the page, in rows of the form

_NAMESPACE = uuid.UUID("6f1a3c52-8f0b-5d0c-9c57-2d3b7b2f6a01")
# What an administrator may change about our tab without an upgrade changing it back.
_THEIRS_TO_CHANGE = frozenset({"visible", "expanded", "labelid", "ordinalvalue", "solutionaction"})


# ------------------------------------------------------------------ the tab


@dataclass(frozen=True)
class Tab:
    """What is put into a form: labels by language, the page's web resource, and whose form it is (for ids)."""

    form_id: str
    labels: Sequence[tuple[int, str]]
    web_resource_id: str

    def xml(self, *, visible: bool = True, expanded: bool = True) -> str:
        """Return the tab's XML; the same tab always has the same ids."""
        labels = _labels(self.labels)
        return (
            f'<tab name="{TAB_NAME}" id="{self._id("tab")}" IsUserDefined="0" locklevel="0" showlabel="true" '
            f'expanded="{_word(expanded)}" visible="{_word(visible)}">{labels}'
            f'<columns><column width="100%"><sections>'
            f'<section name="{SECTION_NAME}" id="{self._id("section")}" showlabel="false" showbar="false" IsUserDefined="0" '
            f'columns="1" locklevel="0" labelwidth="115" celllabelalignment="Left" celllabelposition="Left">{labels}'
            f'<rows><row><cell id="{self._id("cell")}" showlabel="false" rowspan="{ROWS}" colspan="1" auto="false">{labels}'
            f'<control id="{CONTROL_ID}" classid="{WEB_RESOURCE_CONTROL}"><parameters><Url>{PAGE}</Url>'
            # Security is cross-frame scripting: restricted, the page could not reach the form's Xrm.
            "<PassParameters>true</PassParameters><ShowOnMobileClient>false</ShowOnMobileClient><Security>false</Security>"
            f"<Scrolling>auto</Scrolling><Border>false</Border><WebResourceId>{{{self.web_resource_id}}}</WebResourceId>"
            f"</parameters></control></cell></row>{'<row/>' * (ROWS - 1)}</rows>"
            "</section></sections></column></columns></tab>"
        )

    def _id(self, part: str) -> str:
        return "{" + str(uuid.uuid5(_NAMESPACE, f"{self.form_id.lower()} {part}")) + "}"


def _labels(labels: Iterable[tuple[int, str]]) -> str:
    written = "".join(f'<label description={quoteattr(text)} languagecode="{language}"/>' for language, text in labels)
    return f"<labels>{written}</labels>"


def _word(value: bool) -> str:
    return "true" if value else "false"


def _our_tabs(root: Node) -> list[tuple[Node, Node]]:
    """Return our tabs, recognised by name, each with its parent."""
    return [(tab, tabs) for tabs in root.named("tabs") for tab in tabs.named("tab") if tab.attributes.get("name") == TAB_NAME]


def has_tab(xml: str) -> bool:
    """Tell whether our tab is in a form."""
    return bool(_our_tabs(read(xml)))


def with_tab(xml: str, tab: Tab) -> str:
    """Return a form's XML with our tab: behind the last one, or brought up to date where it stands.

    A tab that is as it should be is left alone, also when an administrator has hidden it. Raises NotAForm.
    """
    root = read(xml)
    tabs = root.child("tabs")
    if root.tag != "form" or tabs is None:
        raise NotAForm("The form's XML has no tabs.")
    ours = _our_tabs(root)
    if not ours:
        return edited(xml, [appended(tabs, tab.xml())])
    first, *doubles = (node for node, _ in ours)
    edits = [Edit(node.start, node.end) for node in doubles]
    if not has_all_of(first, read(tab.xml()), but=_THEIRS_TO_CHANGE):
        kept = {name: first.attributes.get(name) != "false" for name in ("visible", "expanded")}
        edits.append(Edit(first.start, first.end, tab.xml(**kept)))
    return edited(xml, edits)


def without_tab(xml: str) -> str:
    """Return a form's XML without our tab; the same when it has none."""
    return edited(xml, [taken_out(node, parent) for node, parent in _our_tabs(read(xml))])


# ------------------------------------------------------------------ the handler

# What the handler's guid tells: which elements around it are ours and have to go with it. Outermost first.
_AROUND_HANDLER = ("events", "event", "Handlers")
_AROUND_LIBRARY = ("formLibraries",)


def _guid(part: str, made: Sequence[str]) -> str:
    return "{" + str(uuid.uuid5(_NAMESPACE, " in new ".join((part, *made)))) + "}"


def _made_by_us(part: str, around: Sequence[str], guid: str | None) -> int:
    """Return how many of the elements around, counted from the innermost, were made with the one that has this guid."""
    for count in range(len(around), 0, -1):
        if same(guid, _guid(part, around[-count:])):
            return count
    return 0


def has_handler(xml: str) -> bool:
    """Tell whether a form calls our script when it loads: the handler is there, switched on, and so is its library."""
    root = read(xml)
    on = [node for node, *_ in _our_handlers(root) if node.attributes.get("enabled", "true") != "false"]
    return bool(on) and bool(_our_libraries(root))


def with_handler(xml: str) -> str:
    """Return a form's XML that loads our script and calls it when the form loads; the same when it does already.

    A handler that an administrator has switched off stays off. Raises NotAForm.
    """
    root = read(xml)
    if not _our_libraries(root):
        xml = edited(xml, [_library_edit(root)])
    root = read(xml)
    found = _our_handlers(root)
    if not found:
        return edited(xml, [_handler_edit(root)])
    first, attributes = found[0][0], found[0][0].attributes
    if attributes.get("functionName") == HANDLER and attributes.get("passExecutionContext") == "true":
        return xml
    renewed = _handler(attributes.get("handlerUniqueId") or _guid("handler", ()), attributes.get("enabled", "true"))
    return edited(xml, [Edit(first.start, first.end, renewed)])


def _handler(guid: str, enabled: str = "true") -> str:
    return (
        f'<Handler functionName="{HANDLER}" libraryName="{LIBRARY}" handlerUniqueId="{guid}" enabled="{enabled}" parameters="" '
        'passExecutionContext="true"/>'
    )


def _library_edit(root: Node) -> Edit:
    libraries = root.child("formLibraries")
    made = () if libraries else _AROUND_LIBRARY
    library = f'<Library name="{LIBRARY}" libraryUniqueId="{_guid("library", made)}"/>'
    return appended(libraries, library) if libraries else appended(root, f"<formLibraries>{library}</formLibraries>")


def _handler_edit(root: Node) -> Edit:
    """Return the edit that adds our handler, in the innermost element for it that is there."""
    events = root.child("events")
    event = _onload(events) if events else None
    handlers = event.child("Handlers") if event else None
    there = [one for one in (events, event, handlers) if one is not None]
    made = _AROUND_HANDLER[len(there) :]
    text = _handler(_guid("handler", made))
    for tag in reversed(made):
        opening = 'event name="onload" application="false" active="false"' if tag == "event" else tag
        text = f"<{opening}>{text}</{tag}>"
    return appended(there[-1] if there else root, text)


def _onload(events: Node) -> Node | None:
    return next((one for one in events.named("event") if one.attributes.get("name") == "onload"), None)


def _our_handlers(root: Node) -> list[tuple[Node, ...]]:
    """Return our handlers, each followed by the elements around it from the innermost out."""
    return [
        (handler, handlers, event, events, root)
        for events in root.named("events")
        for event in events.named("event")
        for handlers in event.named("Handlers")
        for handler in handlers.named("Handler")
        if handler.attributes.get("libraryName") == LIBRARY
    ]


def _our_libraries(root: Node) -> list[tuple[Node, ...]]:
    return [
        (library, libraries, root)
        for libraries in root.named("formLibraries")
        for library in libraries.named("Library")
        if library.attributes.get("name") == LIBRARY
    ]


def without_handler(xml: str) -> str:
    """Return a form's XML without our handlers and our library; the same when it has none."""
    while found := _next_to_go(read(xml)):
        xml = edited(xml, [found])
    return xml


def _next_to_go(root: Node) -> Edit | None:
    for path in _our_handlers(root):
        return _with_what_we_made(path, _made_by_us("handler", _AROUND_HANDLER, path[0].attributes.get("handlerUniqueId")))
    for path in _our_libraries(root):
        return _with_what_we_made(path, _made_by_us("library", _AROUND_LIBRARY, path[0].attributes.get("libraryUniqueId")))
    return None


def _with_what_we_made(path: tuple[Node, ...], made: int) -> Edit:
    """Return the edit that removes the first element of a path, and those around it that we made and nobody else uses."""
    going = 0
    while going < made and len(path[going + 1].children) == 1:
        going += 1
    # The schema allows no empty list of libraries or events, whoever made it.
    while path[going + 1].tag in ("formLibraries", "events") and len(path[going + 1].children) == 1:
        going += 1
    return taken_out(path[going], path[going + 1])


# ------------------------------------------------------------------ both


def with_ours(xml: str, tab: Tab) -> str:
    """Return a form's XML with our tab and our handler."""
    return with_handler(with_tab(xml, tab))


def without_ours(xml: str) -> str:
    """Return a form's XML as it was before us."""
    return without_tab(without_handler(xml))
