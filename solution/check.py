"""Checking an installation from outside, piece by piece: what is there, what is not as it should be, and how to put it right."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from shared.dataverse.schema import AUDIENCE_TABLE, PREFIX, SOLUTION, WEBHOOK_NAME
from solution import VERSION, formxml, metadata
from solution.commands import find_commands, unique_name
from solution.definitions import CHOICES, RESULT_COLUMNS, ROLES, TABLES, WORKER, Column
from solution.detection import describe, try_member_lists
from solution.environment import Environment, look_around
from solution.forms import find_forms, form_tables, published_xml
from solution.install import find_publisher, find_solution, version_number
from solution.roles import DEPTHS, find_app_user, find_roles, grants_of, has_role, held_by, privilege_ids
from solution.tables import columns_of, find_choice
from solution.views import FORM_NAME, VIEWS, find_audience_form, find_views
from solution.web import Web, rows
from solution.web_resources import (
    NEEDED,
    encoded,
    files_of,
    find_web_resources,
    is_built,
    newest_web_resources,
    web_resource_name,
)
from solution.webhook import (
    HTTP_HEADER,
    WANTED,
    WEBHOOK,
    columns_in,
    endpoint_url,
    find_endpoint,
    find_steps,
    message_filters,
)

type Verdict = Literal["fine", "note", "wrong"]
INSTALL = "Run `python -m solution install`; it adds what is missing and leaves the rest alone."


@dataclass(frozen=True)
class Finding:
    """What is the case with one piece. `fix` says what to do about it; empty when nothing has to be done."""

    verdict: Verdict
    piece: str
    says: str
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the finding for machines."""
        return asdict(self)


@dataclass(frozen=True)
class Question:
    """What an administrator expects: all parts are optional, and what is not given is not compared."""

    webhook_url: str = ""
    app_user: str = ""
    tab_folder: Path | None = None


def check(web: Web, expected: Question | None = None) -> Iterator[Finding]:
    """Give the findings one by one, in the order of the parts; nothing is changed.

    What the app may do is tried in its name, as far as the signed-in person may act for others. Raises InstallError only
    when the environment cannot be read at all.
    """
    expected = expected or Question()
    environment = look_around(web)
    yield from (Finding("note", what, why) for what, why in describe(environment))
    yield from _solution(web)
    yield from _choices(web, environment)
    yield from _tables(web, environment)
    yield from _roles(web, environment)
    yield from _app_user(web, environment, expected.app_user)
    yield from _webhook(web, environment, expected.webhook_url)
    yield from _views(web, environment)
    yield from _web_resources(web, expected.tab_folder)
    yield from _forms(web, environment)
    yield from _commands(web, environment)


def _fine(piece: str, says: str = "as it should be") -> Finding:
    return Finding("fine", piece, says)


def _wrong(piece: str, says: str, fix: str = INSTALL) -> Finding:
    return Finding("wrong", piece, says, fix)


# ------------------------------------------------------------------ solution, choices, tables


def _solution(web: Web) -> Iterator[Finding]:
    yield _fine(f"publisher {PREFIX}") if find_publisher(web) else _wrong(f"publisher {PREFIX}", "is missing")
    found, piece = find_solution(web), f"solution {SOLUTION}"
    if found is None:
        yield _wrong(piece, "is missing")
    elif version_number(found["version"]) < version_number(VERSION):
        yield _wrong(piece, f"is at version {found['version']}; this is {VERSION}, or an install was broken off")
    elif version_number(found["version"]) > version_number(VERSION):
        yield _wrong(
            piece, f"is at version {found['version']}, newer than this checker's {VERSION}", "Check with the newer release."
        )
    else:
        yield _fine(piece, f"version {VERSION}")


def _choices(web: Web, environment: Environment) -> Iterator[Finding]:
    for choice in CHOICES:
        piece, found = f"choice {choice.name}", find_choice(web, choice.name)
        if found is None:
            yield _wrong(piece, "is missing")
            continue
        labels = {option["Value"]: option["Label"] for option in found.get("Options", ())}
        lacking = [text.english for value, text in choice.options.items() if int(value) not in labels]
        other = [
            text.english
            for value, text in choice.options.items()
            if int(value) in labels and not environment.languages.says(labels[int(value)], text)
        ]
        yield _verdict(piece, {"lacks the options": lacking, "has other labels for": other})


def _tables(web: Web, environment: Environment) -> Iterator[Finding]:
    for table in TABLES:
        if table.name in environment.tables:
            yield _columns(web, table.name, table.columns, environment)
        else:
            yield _wrong(f"table {table.name}", "is missing")
    for name in environment.segment_tables():
        yield _columns(web, name, RESULT_COLUMNS, environment)


def _columns(web: Web, table: str, columns: tuple[Column, ...], environment: Environment) -> Finding:
    present = columns_of(web, table)
    there = [column for column in columns if column.name in present]
    foreign = [column.name for column in there if metadata.has_other_type(column, present[column.name])]
    if foreign:
        says = f"has columns of another type: {', '.join(foreign)}"
        return _wrong(f"columns of {table}", says, "Rename or delete them in Power Apps, then run the installer.")
    lacking = [column.name for column in columns if column.name not in present]
    older = [one.name for one in there if metadata.column_changes(one, present[one.name], environment.languages)]
    return _verdict(f"columns of {table}", {"lacks": lacking, "has older definitions of": older})


def _verdict(piece: str, troubles: Mapping[str, list[str]]) -> Finding:
    said = [f"{what} {', '.join(names)}" for what, names in troubles.items() if names]
    return _wrong(piece, "; ".join(said)) if said else _fine(piece)


# ------------------------------------------------------------------ roles and the app's user


def _roles(web: Web, environment: Environment) -> Iterator[Finding]:
    present = find_roles(web, environment)
    wanted = {role.name: grants_of(role, environment) for role in ROLES}
    ids = privilege_ids(web, {grant.privilege for grants in wanted.values() for grant in grants})
    for role in ROLES:
        piece, found = f"role {role.name}", present.get(role.name)
        if found is None:
            yield _wrong(piece, "is missing")
            continue
        held = held_by(web, found["roleid"])
        needed = {ids[grant.privilege.lower()].lower(): grant for grant in wanted[role.name] if grant.privilege.lower() in ids}
        lacking = [one.privilege for key, one in needed.items() if DEPTHS.get(held.get(key, ""), -1) < DEPTHS[one.depth]]
        yield _verdict(piece, {"lacks the privileges": lacking})
        if len(held) > len(needed):
            yield Finding("note", piece, f"holds {len(held) - len(needed)} privileges more than the product needs")


def _app_user(web: Web, environment: Environment, client_id: str) -> Iterator[Finding]:
    role = find_roles(web, environment).get(WORKER.name)
    users = _app_users(web, client_id, role)
    piece = "application user"
    if not users:
        says = f"there is none for the client id {client_id}" if client_id else f"nobody holds the role {WORKER.name}"
        yield _wrong(piece, says, "Run `python -m solution install --app-user CLIENT_ID`.")
    for user in users:
        if user.get("isdisabled"):
            yield _wrong(piece, "is disabled", "Enable it in the Power Platform admin centre, or run the installer.")
        elif role is None or not has_role(web, user["systemuserid"], role["roleid"]):
            yield _wrong(piece, f"does not hold the role {WORKER.name}", "Run `python -m solution install --app-user CLIENT_ID`.")
        else:
            yield _fine(piece, f"is enabled and holds the role {WORKER.name}")
    yield _member_lists(web, environment, users[0]["systemuserid"] if users else "")


def _app_users(web: Web, client_id: str, role: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the application user of a client id, or every one that holds the worker's role."""
    if client_id:
        found = find_app_user(web, client_id)
        return [found] if found else []
    if role is None:
        return []
    path = f"roles({role['roleid']})/systemuserroles_association?$select=systemuserid,isdisabled,applicationid"
    return [one for one in rows(web, path) if one.get("applicationid")]


def _member_lists(web: Web, environment: Environment, app_user_id: str) -> Finding:
    piece, tried = "member lists of real-time segments", try_member_lists(web, environment, app_user_id)
    if tried.answers is None:
        return Finding("note", piece, tried.sentence)
    if tried.answers and tried.id_kind == "segment":
        return _fine(piece, tried.sentence)
    if tried.answers:
        return Finding("note", piece, tried.sentence, "Set REALTIME_SEGMENT_ID=definition in the function app.")
    fix = "Let the app call msdynmkt_MembersList; until then real-time segments cannot be read, and marketing lists can."
    return _wrong(piece, tried.sentence, fix)


# ------------------------------------------------------------------ the webhook


def _webhook(web: Web, environment: Environment, app_url: str) -> Iterator[Finding]:
    piece, found = f"webhook {WEBHOOK_NAME}", find_endpoint(web)
    again = "Run `python -m solution install --webhook-url ADDRESS` with the webhook's secret."
    if found is None:
        yield _wrong(piece, "is missing", again)
        return
    troubles = [
        ("is no webhook with header authentication", (found.get("contract"), found.get("authtype")) != (WEBHOOK, HTTP_HEADER)),
        ("has no secret", found.get("isauthvalueset") is False),
        (f"rings {found['url']}", bool(app_url) and found["url"] != endpoint_url(app_url)),
    ]
    said = [says for says, is_so in troubles if is_so]
    yield _wrong(piece, "; ".join(said), again) if said else _fine(piece, f"rings {found['url']}")
    yield from _steps(web, environment, found["serviceendpointid"])


def _steps(web: Web, environment: Environment, endpoint_id: str) -> Iterator[Finding]:
    present = find_steps(web)
    filters = message_filters(web, {step.table for step in WANTED if step.table in environment.tables})
    for step in WANTED:
        piece, found = f"webhook step {step.message} of {step.table}", present.get(step.name)
        if (step.message, step.table) not in filters:
            yield Finding("note", piece, "is not possible in this environment")
        elif found is None:
            yield _wrong(piece, "is missing")
        else:
            yield _step(piece, found, step.columns, endpoint_id)
            yield from _failures(web, piece, found["sdkmessageprocessingstepid"])


def _step(piece: str, found: Mapping[str, Any], columns: tuple[str, ...], endpoint_id: str) -> Finding:
    troubles = [
        ("is switched off", bool(found.get("statecode"))),
        ("rings another endpoint", str(found.get("_eventhandler_value")).lower() != endpoint_id.lower()),
        ("listens to other columns", columns_in(found.get("filteringattributes")) != set(columns)),
    ]
    said = [says for says, is_so in troubles if is_so]
    return _wrong(piece, "; ".join(said)) if said else _fine(piece)


def _failures(web: Web, piece: str, step_id: str) -> Iterator[Finding]:
    """Tell of events that the app did not take; Dataverse keeps each as a failed system job."""
    path = f"asyncoperations?$select=createdon&$filter=statuscode eq 31 and _owningextensionid_value eq {step_id}"
    failed = rows(web, path + "&$orderby=createdon desc&$top=100")
    if failed:
        says = f"{len(failed)} events were not taken, the newest on {failed[0]['createdon']}"
        yield Finding(
            "note", piece, says, "Check that the function app is up and has the same secret; a timer makes up for lost events."
        )


# ------------------------------------------------------------------ what people see


def _views(web: Web, environment: Environment) -> Iterator[Finding]:
    if AUDIENCE_TABLE not in environment.tables:
        return
    present = find_views(web)
    lacking = [view.name.english for view in VIEWS if view.view_id not in present]
    yield _verdict(f"views of {AUDIENCE_TABLE}", {"lack": lacking})
    name = FORM_NAME.in_language(environment.languages.base)
    found = find_audience_form(web, name)
    piece = f"main form of {AUDIENCE_TABLE}"
    yield _fine(piece) if found and found["name"] == name else _wrong(piece, "is missing")


def _web_resources(web: Web, folder: Path | None) -> Iterator[Finding]:
    newest, published = newest_web_resources(web), find_web_resources(web)
    built = {web_resource_name(path): encoded(path) for path in files_of(folder)} if folder and is_built(folder) else {}
    for name in sorted({f"{PREFIX}_/{needed}" for needed in NEEDED} | set(built)):
        piece = f"web resource {name}"
        if name not in newest:
            yield _wrong(piece, "is missing", "Build the tab with `make tab`, then run the installer.")
        elif name not in published or published[name].get("content") != newest[name].get("content"):
            yield _wrong(piece, "has changes that are not published", "Publish all customizations, or run the installer.")
        elif name in built and newest[name].get("content") != built[name]:
            yield _wrong(piece, "is another one than the one built here")
        else:
            yield _fine(piece)


def _forms(web: Web, environment: Environment) -> Iterator[Finding]:
    tables = form_tables(environment)
    published = published_xml(web, tables)
    for form in find_forms(web, tables):
        shown = published.get(form.form_id, "")
        ready = formxml.has_tab(form.xml) and formxml.has_handler(form.xml)
        if not ready:
            says = "has no tab that loads our script; the button serves it if it is there"
            yield Finding("note", str(form), says, INSTALL)
        elif not (formxml.has_tab(shown) and formxml.has_handler(shown)):
            yield _wrong(str(form), "has the tab, but it is not published", "Publish all customizations, or run the installer.")
        else:
            yield _fine(str(form), "shows the tab")


def _commands(web: Web, environment: Environment) -> Iterator[Finding]:
    present = find_commands(web)
    for table in form_tables(environment):
        piece, found = f"button on forms of {table}", present.get(unique_name(table))
        if found is None:
            yield Finding("note", piece, "is not there; the tab serves the form if it is there", INSTALL)
        elif found.get("hidden"):
            yield Finding("note", piece, "is hidden")
        else:
            yield _fine(piece)
