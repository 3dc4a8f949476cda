"""FormXml: what a main form looks like, and the checks that the service makes before it takes one.

The shape of tabs, sections, rows and cells follows Microsoft's form XML schema and exported forms.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import quoteattr

from sandbox.dataverse import errors
from sandbox.dataverse.tables import Table, label_text, seeded_id

TEXT_CONTROL = "{4273EDBD-AC1D-40D3-9FB2-095C621B552D}"
CONTROLS = {
    "Lookup": "{270BD3DB-D9AF-4782-9025-509E298DEC0A}",
    "Owner": "{270BD3DB-D9AF-4782-9025-509E298DEC0A}",
    "Customer": "{270BD3DB-D9AF-4782-9025-509E298DEC0A}",
    "Picklist": "{3EF39988-22BB-4F0B-BBBE-64B5A3748AEE}",
    "Status": "{5D68B988-0661-4DB2-BC3E-17598AD3BE6C}",
}
WEB_RESOURCE_CONTROL = "{9FDF5F91-88B1-47F4-AD53-C11EFC01A01D}"


def main_form(table: Table, form_id: str, tabs: Sequence[str], columns: Iterable[str]) -> str:
    """Return the FormXml of a main form; the columns stand in the first tab."""
    body = "".join(_tab(table, form_id, name, columns if number == 0 else ()) for number, name in enumerate(tabs))
    header = f'<header id="{_id(form_id, "header")}"><rows><row/></rows></header>'
    footer = f'<footer id="{_id(form_id, "footer")}"><rows><row/></rows></footer>'
    return f"<form><tabs>{body}</tabs>{header}{footer}</form>"


def _id(*names: str) -> str:
    return "{" + seeded_id("form part", *names) + "}"


def _labels(text: str) -> str:
    return f'<labels><label description={quoteattr(text)} languagecode="1033"/></labels>'


def _tab(table: Table, form_id: str, name: str, columns: Iterable[str]) -> str:
    rows = "".join(f"<row>{_cell(table, form_id, column)}</row>" for column in columns) or "<row/>"
    section = (
        f'<section name="{name}_section" id="{_id(form_id, name, "section")}" showlabel="false" showbar="false" '
        'IsUserDefined="0" locklevel="0" columns="1" labelwidth="115" celllabelalignment="Left" celllabelposition="Left">'
        f"{_labels(name)}<rows>{rows}</rows></section>"
    )
    return (
        f'<tab name="{name}" id="{_id(form_id, name)}" IsUserDefined="0" locklevel="0" showlabel="true" expanded="true">'
        f'{_labels(name)}<columns><column width="100%"><sections>{section}</sections></column></columns></tab>'
    )


def _cell(table: Table, form_id: str, column: str) -> str:
    definition = table.columns[column]
    classid = CONTROLS.get(definition.kind, TEXT_CONTROL)
    title = label_text(definition.metadata["DisplayName"]) or column
    return (
        f'<cell id="{_id(form_id, column)}" showlabel="true" locklevel="0">{_labels(title)}'
        f'<control id="{column}" classid="{classid}" datafieldname="{column}"/></cell>'
    )


def check_form(table: Table, formxml: str) -> None:
    """Refuse FormXml that the service would not take: not well-formed, no tabs, doubled ids, unknown columns."""
    root = parsed(formxml)
    if root.tag != "form" or root.find("tabs") is None:
        raise errors.invalid_argument("The FormXml has no form element with tabs.")
    seen: set[str] = set()
    for part in root.iter():
        if part.tag in ("tab", "section", "cell"):
            identity = (part.get("id") or "").lower()
            if identity and identity in seen:
                raise errors.invalid_argument(f"The FormXml has a {part.tag} whose id is used twice: '{identity}'.")
            seen.add(identity)
    for control in root.iter("control"):
        column = control.get("datafieldname")
        if column is not None and column not in table.columns:
            raise errors.invalid_argument(f"The FormXml has a control for the column {column}, which {table.name} does not have.")


def parsed(xml: str) -> ET.Element:
    """Return the root of an XML text, or raise the service's 400."""
    try:
        return ET.fromstring(xml)  # noqa: S314 - a simulator on loopback that reads what its own tests send
    except ET.ParseError as error:
        raise errors.invalid_argument(f"The XML could not be read: {error}.") from None


def columns_in(formxml: str) -> set[str]:
    """Return the columns that a form shows."""
    return {name for control in parsed(formxml).iter("control") if (name := control.get("datafieldname"))}


def web_resources_in(formxml: str) -> tuple[set[str], set[str]]:
    """Return the web resources that a form uses: ids, and names."""
    root = parsed(formxml)
    ids = {(part.text or "").strip("{} ").lower() for part in root.iter("WebResourceId")}
    names = {part.text or "" for part in root.iter("Url")}
    names |= {library.get("name") or "" for library in root.iter("Library")}
    return ids, names
