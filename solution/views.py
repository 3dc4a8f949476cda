"""Views and the main form of `lima_audience`, so that administrators see every run and everything about it."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr  # nosec B406 # writes XML, reads none

from shared.dataverse.protocol import quoted
from shared.dataverse.schema import AUDIENCE_TABLE, Audience, Status
from solution.definitions import AUDIENCE, Column
from solution.forms import MAIN
from solution.publishing import newest
from solution.run import Run
from solution.texts import Languages, Text
from solution.web import Web, rows
from solution.xmltext import NotAForm, has_all_of, read

FORM_NAME = Text("LinkedIn audience", "LinkedIn-Zielgruppe")
PUBLIC_VIEW = 0  # querytype
_NAMESPACE = uuid.UUID("0a5ab0de-93c5-5d0e-8b57-6b1f1d8b3f02")
# Microsoft Learn, "control Element (FormXML)": the control that shows a column of each type.
_CONTROLS = {
    "text": "{4273EDBD-AC1D-40d3-9FB2-095C621B552D}",
    "address": "{71716B6C-711E-476c-8AB8-5D11542BFB47}",
    "memo": "{E0DECE4B-6FC8-4a8f-A065-082708572369}",
    "whole": "{C6D124CA-7EDA-4a60-AEA9-7FB8D318B68F}",
    "decimal": "{C3EFE0C3-0EC6-42be-8349-CBD9079DFD8E}",
    "moment": "{5B773807-9FB2-42db-97C3-7A91EFF8ADFF}",
    "flag": "{67FAC785-CD58-4f9f-ABB3-4B7DDC6ED5ED}",
    "choice": "{3EF39988-22BB-4f0b-BBBE-64B5A3748AEE}",
    "lookup": "{270BD3DB-D9AF-4782-9025-509E298DEC0A}",
}
_OWNER = Column("ownerid", "lookup", Text("Owner", "Besitzer"), Text("Who asked.", "Wer gefragt hat."))
_COLUMNS: Mapping[str, Column] = {column.name: column for column in (*AUDIENCE.columns, _OWNER)}


# ------------------------------------------------------------------ views


@dataclass(frozen=True)
class View:
    """A public view: which runs it shows (a FetchXML condition or none) and in which columns."""

    name: Text
    about: Text
    condition: str = ""

    @property
    def view_id(self) -> str:
        """The id that this view always has."""
        return str(uuid.uuid5(_NAMESPACE, self.name.english))


_AT_WORK = (Status.REQUESTED, Status.CHECKING, Status.UPLOADING, Status.BUILDING)
_WAITING = (Status.WAITING_FOR_SIGN_IN, Status.WAITING_FOR_AD_ACCOUNT, Status.READY_TO_CREATE)
_WENT_WRONG = (Status.FAILED, Status.NOT_ALLOWED, Status.TOO_SMALL)
_WIDTHS = {
    Audience.NAME: 220,
    Audience.SEGMENT_NAME: 200,
    Audience.STATUS: 150,
    Audience.PROGRESS: 90,
    Audience.ELIGIBLE: 100,
    Audience.SENT: 100,
    Audience.SIZE: 110,
    Audience.MATCH_RATE: 100,
    Audience.MESSAGE: 320,
    "ownerid": 140,
    "createdon": 140,
}


def _among(statuses: Sequence[Status]) -> str:
    listed = "".join(f"<value>{int(status)}</value>" for status in statuses)
    return f'<filter type="and"><condition attribute="{Audience.STATUS}" operator="in">{listed}</condition></filter>'


VIEWS = (
    View(
        Text("All LinkedIn audiences", "Alle LinkedIn-Zielgruppen"),
        Text("Every time an audience was asked for, newest first.", "Jede angeforderte Zielgruppe, die neueste zuerst."),
    ),
    View(
        Text("LinkedIn audiences at work", "LinkedIn-Zielgruppen in Arbeit"),
        Text("What is being checked, uploaded or built.", "Was geprüft, hochgeladen oder aufgebaut wird."),
        _among(_AT_WORK),
    ),
    View(
        Text("LinkedIn audiences that wait for a person", "LinkedIn-Zielgruppen, die auf eine Person warten"),
        Text("What needs a sign-in, an ad account or a yes.", "Was eine Anmeldung, ein Werbekonto oder ein Ja braucht."),
        _among(_WAITING),
    ),
    View(
        Text("LinkedIn audiences that went wrong", "Fehlgeschlagene LinkedIn-Zielgruppen"),
        Text("What failed or was refused, with the reason.", "Was fehlschlug oder abgelehnt wurde, mit Grund."),
        _among(_WENT_WRONG),
    ),
)


def fetchxml(view: View) -> str:
    """Return the query of a view."""
    columns = "".join(f'<attribute name="{name}"/>' for name in (*_WIDTHS, Audience.ID))
    return (
        f'<fetch version="1.0" output-format="xml-platform" mapping="logical"><entity name="{AUDIENCE_TABLE}">{columns}'
        f'<order attribute="createdon" descending="true"/>{view.condition}</entity></fetch>'
    )


def layoutxml() -> str:
    """Return the columns that every view shows."""
    cells = "".join(f'<cell name="{name}" width="{width}"/>' for name, width in _WIDTHS.items())
    return (
        f'<grid name="resultset" jump="{Audience.NAME}" select="1" icon="1" preview="1">'
        f'<row name="result" id="{Audience.ID}">{cells}</row></grid>'
    )


def find_views(web: Web) -> dict[str, dict[str, Any]]:
    """Return the views of our table, by id."""
    columns = "savedqueryid,name,description,fetchxml,layoutxml"
    found = rows(web, f"savedqueries?$select={columns}&$filter=returnedtypecode eq {quoted(AUDIENCE_TABLE)}")
    return {one["savedqueryid"].lower(): one for one in found}


def install_views(run: Run) -> None:
    """Install the views; one that an administrator has changed is set back, because it is ours."""
    present = find_views(run.web)
    for view in VIEWS:
        _install_view(run, view, present.get(view.view_id))


def _install_view(run: Run, view: View, found: Mapping[str, Any] | None) -> None:
    base = run.languages.base
    what = f"view {view.name.english}"
    texts = {"name": view.name.in_language(base), "description": view.about.in_language(base)}
    shapes = {"fetchxml": fetchxml(view), "layoutxml": layoutxml()}
    if found is None:
        fixed = {"savedqueryid": view.view_id, "returnedtypecode": AUDIENCE_TABLE, "querytype": PUBLIC_VIEW}
        run.web.post("savedqueries", fixed | texts | shapes, solution=True)
        run.report.add("created", what)
        run.publish.tables.add(AUDIENCE_TABLE)
        return
    changes = {name: value for name, value in texts.items() if found.get(name) != value}
    changes |= {name: value for name, value in shapes.items() if not means_the_same(found.get(name), value)}
    if changes:
        run.web.patch(f"savedqueries({view.view_id})", changes, solution=True)
        run.publish.tables.add(AUDIENCE_TABLE)
    run.report.add("changed" if changes else "unchanged", what, ", ".join(changes))


def means_the_same(found: str | None, wanted: str) -> bool:
    """Tell whether XML read from Dataverse has everything that is wanted; the service adds attributes of its own."""
    try:
        return has_all_of(read(found or ""), read(wanted), but=("version", "output-format"))
    except NotAForm:
        return False


# ------------------------------------------------------------------ the main form

_SECTIONS: Sequence[tuple[str, Text, Sequence[str]]] = (
    (
        "state",
        Text("State", "Stand"),
        (
            Audience.NAME,
            Audience.SEGMENT_NAME,
            Audience.STATUS,
            Audience.MESSAGE,
            Audience.PROGRESS,
            Audience.AD_ACCOUNT_NAME,
            Audience.SIGN_IN_USER,
            "ownerid",
        ),
    ),
    (
        "members",
        Text("Members", "Mitglieder"),
        (
            Audience.MEMBERS,
            Audience.NO_EMAIL,
            Audience.INVALID,
            Audience.DUPLICATE,
            Audience.OPTED_OUT,
            Audience.INACTIVE,
            Audience.ELIGIBLE,
        ),
    ),
    (
        "linkedin",
        Text("At LinkedIn", "Bei LinkedIn"),
        (
            Audience.SENT,
            Audience.REFUSED,
            Audience.MATCHED,
            Audience.SIZE,
            Audience.MATCH_RATE,
            Audience.LINK,
            Audience.STARTED,
            Audience.FINISHED,
        ),
    ),
)
_DETAILS: Sequence[tuple[str, Text, Sequence[str]]] = (
    (
        "details",
        Text("Details for support", "Einzelheiten für den Support"),
        (
            Audience.ORIGIN,
            Audience.COMMAND,
            Audience.COMMAND_ID,
            Audience.SMALL_CONFIRMED,
            Audience.SEGMENT_TABLE,
            Audience.SEGMENT_ID,
            Audience.AD_ACCOUNT,
            Audience.AUDIENCE_ID,
            Audience.AD_SEGMENT,
            Audience.CORRELATION,
        ),
    ),
)


def audience_form(languages: Languages) -> str:
    """Return the XML of the main form; everything is shown and nothing can be typed, because the app writes it."""
    tabs = _tab("audience", FORM_NAME, _SECTIONS, languages) + _tab(
        "details", Text("Details", "Einzelheiten"), _DETAILS, languages
    )
    parts = f'<header id="{_id("header")}"><rows><row/></rows></header><footer id="{_id("footer")}"><rows><row/></rows></footer>'
    return f"<form><tabs>{tabs}</tabs>{parts}</form>"


def _tab(name: str, title: Text, sections: Sequence[tuple[str, Text, Sequence[str]]], languages: Languages) -> str:
    width = 100 // len(sections)
    columns = "".join(
        f'<column width="{width}%"><sections>{_section(one, label, names, languages)}</sections></column>'
        for one, label, names in sections
    )
    return (
        f'<tab name="lima_{name}" id="{_id("tab", name)}" IsUserDefined="0" locklevel="0" showlabel="true" expanded="true">'
        f"{_labels(title, languages)}<columns>{columns}</columns></tab>"
    )


def _section(name: str, title: Text, columns: Sequence[str], languages: Languages) -> str:
    listed = "".join(f"<row>{_cell(_COLUMNS[column], languages)}</row>" for column in columns)
    return (
        f'<section name="lima_{name}" id="{_id("section", name)}" showlabel="true" showbar="false" IsUserDefined="0" '
        'locklevel="0" columns="1" labelwidth="115" celllabelalignment="Left" celllabelposition="Left">'
        f"{_labels(title, languages)}<rows>{listed}</rows></section>"
    )


def _cell(column: Column, languages: Languages) -> str:
    return (
        f'<cell id="{_id("cell", column.name)}" showlabel="true" locklevel="0">{_labels(column.title, languages)}'
        f'<control id="{column.name}" classid="{_CONTROLS[column.kind]}" datafieldname="{column.name}" disabled="true"/></cell>'
    )


def _labels(text: Text, languages: Languages) -> str:
    spoken = ((one, text.in_language(one)) for one in languages.spoken())
    return (
        "<labels>" + "".join(f'<label description={quoteattr(said)} languagecode="{one}"/>' for one, said in spoken) + "</labels>"
    )


def _id(*names: str) -> str:
    return "{" + str(uuid.uuid5(_NAMESPACE, " ".join(names))) + "}"


def install_audience_form(run: Run) -> None:
    """Install the main form: the one that Dataverse made with the table becomes ours, or a new one is made."""
    wanted = audience_form(run.languages)
    name = FORM_NAME.in_language(run.languages.base)
    what = f"main form of {AUDIENCE_TABLE}"
    found = find_audience_form(run.web, name)
    if found is None:
        body = {
            "name": name,
            "objecttypecode": AUDIENCE_TABLE,
            "type": MAIN,
            "formxml": wanted,
            "formid": _id("form").strip("{}"),
        }
        run.web.post("systemforms", body, solution=True)
        run.report.add("created", what)
        run.publish.tables.add(AUDIENCE_TABLE)
    elif found["name"] != name or not means_the_same(found.get("formxml"), wanted):
        run.web.patch(f"systemforms({found['formid']})", {"name": name, "formxml": wanted}, solution=True)
        run.report.add("changed", what)
        run.publish.tables.add(AUDIENCE_TABLE)
    else:
        run.report.add("unchanged", what)


def find_audience_form(web: Web, name: str) -> dict[str, Any] | None:
    """Return our main form after every change, or the one to become it, or None."""
    query = (
        f"$select=formid,name,objecttypecode,type,formxml&$filter=objecttypecode eq {quoted(AUDIENCE_TABLE)} and type eq {MAIN}"
    )
    forms = [one for one in newest(web, "systemforms", query) if one["objecttypecode"] == AUDIENCE_TABLE and one["type"] == MAIN]
    return next((one for one in forms if one["name"] == name), forms[0] if forms else None)
