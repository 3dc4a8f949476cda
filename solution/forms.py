"""Installing the tab in the main forms of the segment tables, and taking it out again."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from solution import formrules, formxml
from solution.environment import Environment
from solution.publishing import newest
from solution.run import Run
from solution.texts import Text
from solution.web import Refused, Web, any_of, rows
from solution.xmltext import NotAForm

MAIN = 2  # type of a main form
# The service's own copy of a real-time segment has no form that anybody opens; people open the definition.
FORM_TABLES = ("msdynmkt_segmentdefinition", "list", "msdyncrm_segment")
TAB_LABEL = Text("LinkedIn Matched Audience", "LinkedIn Matched Audience")
_COLUMNS = "formid,name,objecttypecode,type,formxml,formactivationstate"

type Change = Callable[[str], str]
"""Turns a form's XML into another."""


@dataclass(frozen=True)
class Form:
    """A main form: its XML after every change, and the version that a write must still find."""

    form_id: str
    name: str
    table: str
    xml: str
    etag: str

    def __str__(self) -> str:
        """Return the words for it in the report."""
        return f"form {self.name} of {self.table}"


def form_tables(environment: Environment) -> list[str]:
    """Return the tables whose forms get the tab, as far as they exist."""
    return [table for table in FORM_TABLES if table in environment.tables]


def find_forms(web: Web, tables: list[str], *, active: bool = True) -> list[Form]:
    """Return the main forms of tables, after every change, published or not; also switched-off ones without `active`."""
    found = newest(web, "systemforms", _query(tables)) if tables else []
    mine = [one for one in found if one["objecttypecode"] in tables and one["type"] == MAIN]
    return [_form(one) for one in mine if one.get("formactivationstate", 1) or not active]


def published_xml(web: Web, tables: list[str]) -> dict[str, str]:
    """Return the XML of the main forms as people see them, by form id."""
    return {one["formid"]: one.get("formxml") or "" for one in rows(web, f"systemforms?{_query(tables)}")} if tables else {}


def _query(tables: list[str]) -> str:
    return f"$select={_COLUMNS}&$filter={any_of('objecttypecode', tables)} and type eq {MAIN}"


def _form(row: dict[str, Any]) -> Form:
    return Form(row["formid"], row["name"], row["objecttypecode"], row.get("formxml") or "", row.get("@odata.etag") or "*")


def install_forms(run: Run, page_id: str, *, only: frozenset[str], backup: Path | None) -> None:
    """Put the tab and the OnLoad handler into every main form, or only into those of the names given and out of the others.

    A form that takes no change is left out with the reason; the command-bar button serves it.
    """
    tables = form_tables(run.environment)
    published = published_xml(run.web, tables)
    wanted = [form for form in find_forms(run.web, tables) if not only or form.name in only]
    for form in wanted:
        labels = [(language, TAB_LABEL.in_language(language)) for language in run.languages.spoken()]
        tab = formxml.Tab(form.form_id, labels, page_id)
        change_form(run, form, partial(formxml.with_ours, tab=tab), published.get(form.form_id, ""), backup)
    if not wanted:
        run.report.add("skipped", "tab", "no main form of a segment table was found" + (" under this name" if only else ""))
    if only:
        restore_forms(run, backup, but=frozenset(form.form_id for form in wanted))


def restore_forms(run: Run, backup: Path | None, *, but: frozenset[str] = frozenset()) -> None:
    """Take the tab and the handler out of every main form but those, inactive ones too; everything else stays as it is."""
    tables = form_tables(run.environment)
    published = published_xml(run.web, tables)
    for form in find_forms(run.web, tables, active=False):
        shown = published.get(form.form_id, "")
        if form.form_id not in but and ("lima_" in form.xml or "lima_" in shown):
            change_form(run, form, formxml.without_ours, shown, backup)


def change_form(run: Run, form: Form, change: Change, published: str, backup: Path | None) -> None:
    """Change a form's XML, checked before it is sent and saved beside as it was; a refusal is noted, not raised."""
    try:
        wanted = change(form.xml)
    except NotAForm as error:
        run.report.add("skipped", str(form), str(error))
        return
    if wanted == form.xml:
        run.report.add("unchanged", str(form))
        if published != form.xml:
            run.publish.tables.add(form.table)
        return
    broken = formrules.new_problems(form.xml, wanted)
    if broken:
        run.report.add("skipped", str(form), " ".join(broken))
        return
    saved = _save(form, backup) if backup and not run.web.dry else None
    try:
        run.web.patch(f"systemforms({form.form_id})", {"formxml": wanted}, solution=True, etag=form.etag)
    except Refused as refused:
        run.report.add("skipped", str(form), f"it takes no change. {refused}")
        return
    run.publish.tables.add(form.table)
    run.report.add("changed", str(form), _difference(form.xml, wanted) + (f"; as it was: {saved}" if saved else ""))


def _difference(before: str, after: str) -> str:
    """Return what is different about a form, in words."""
    looks: tuple[tuple[str, Change], ...] = (("tab", formxml.without_tab), ("OnLoad handler", formxml.without_handler))
    told = []
    for name, without in looks:
        had, has = without(before) != before, without(after) != after
        if had != has:
            told.append(f"{name} {'added' if has else 'taken out'}")
    return ", ".join(told) or "brought up to date"


def _save(form: Form, folder: Path) -> Path:
    """Save a form as it is before a change, never over an earlier copy."""
    folder.mkdir(parents=True, exist_ok=True)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    name = re.sub(r"[^\w.-]+", "-", f"{form.table}.{form.name}.{form.form_id}.{moment}.xml")
    path = folder / name
    path.write_text(form.xml, encoding="utf-8", newline="")
    return path
