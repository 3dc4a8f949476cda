"""Installing everything, in an order that can be broken off anywhere and taken up again.

Every part looks first and writes only what is missing or different. So an install that was interrupted is continued by
running it again, and a second run changes nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.dataverse.protocol import as_guid, quoted
from shared.dataverse.schema import OPTION_PREFIX, PREFIX, SOLUTION
from solution import VERSION
from solution.commands import install_commands, remove_commands
from solution.definitions import PUBLISHER_NAME, SOLUTION_ABOUT, SOLUTION_TITLE, TABLES, WORKER
from solution.detection import describe, try_member_lists
from solution.environment import look_around
from solution.forms import form_tables, install_forms, restore_forms
from solution.formxml import LIBRARY, PAGE
from solution.publishing import publish
from solution.report import Progress, Report, silent
from solution.roles import find_app_user, install_app_user, install_roles
from solution.run import Run
from solution.tables import install_tables
from solution.views import install_audience_form, install_views
from solution.web import InstallError, Web, first
from solution.web_resources import install_web_resources, is_built, newest_web_resources, remove_stale
from solution.webhook import install_webhook


@dataclass(frozen=True)
class Decisions:
    """What an administrator may decide about an install.

    `webhook_url` is the function app's address and `webhook_secret` its secret; `app_user` the client id of its app
    registration; `tab_folder` the folder with the built web resources. Without one of them its part is left out, and the
    report says so. `tab` and `button` switch the two surfaces: one that is switched off is taken out where it was. `only_forms`
    names the main forms that get the tab (none: all).
    Forms are saved in `backup_folder` before they are changed.
    """

    webhook_url: str = ""
    webhook_secret: str = field(default="", repr=False)
    app_user: str = ""
    tab_folder: Path | None = None
    tab: bool = True
    button: bool = True
    only_forms: frozenset[str] = frozenset()
    backup_folder: Path | None = None


def install(
    web: Web,
    *,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    app_user: str | None = None,
    tab_folder: Path | None = None,
    tab: bool = True,
    button: bool = True,
    only_forms: Iterable[str] = (),
    backup_folder: Path | None = None,
    progress: Progress = silent,
) -> Report:
    """Install or upgrade the product in the environment behind `web` and return what was done; see `Decisions`.

    May be repeated. Raises InstallError with a sentence; what was done until then stays and is found by the next run.
    """
    chosen = Decisions(
        webhook_url or "", webhook_secret or "", app_user or "", tab_folder, tab, button, frozenset(only_forms), backup_folder
    )
    if chosen.app_user and as_guid(chosen.app_user) is None:
        raise InstallError(
            "The client id given with --app-user is no guid. Copy it from the app registration in Microsoft Entra."
        )
    run = Run(web, look_around(web), Report(dry=web.dry, progress=progress))
    _install_everything(run, chosen)
    return run.report


def _install_everything(run: Run, chosen: Decisions) -> None:
    solution = _install_solution(run)
    install_tables(run)
    roles = install_roles(run)
    install_views(run)
    install_audience_form(run)
    if chosen.app_user:
        install_app_user(run, chosen.app_user, roles[WORKER.name])
    else:
        run.report.add("skipped", "application user", "no client id was given (--app-user)")
    if chosen.webhook_url:
        install_webhook(run, chosen.webhook_url, chosen.webhook_secret)
    else:
        run.report.add("skipped", "webhook", "no address of the function app was given (--webhook-url)")
    _install_surfaces(run, chosen)
    if solution["version"] != VERSION:
        _publish_all_of_ours(run)
    publish(run)
    if chosen.tab_folder is not None and is_built(chosen.tab_folder):
        remove_stale(run, chosen.tab_folder)
    _tell_what_was_found(run, chosen)
    _finish_solution(run, solution)


def _publish_all_of_ours(run: Run) -> None:
    """Publish everything that could wait for it, because an install that was broken off may have changed it before."""
    run.publish.tables |= {*(table.name for table in TABLES), *form_tables(run.environment)}
    run.publish.web_resources |= {
        str(one["webresourceid"]) for one in newest_web_resources(run.web, "webresourceid,name").values()
    }


def _tell_what_was_found(run: Run, chosen: Decisions) -> None:
    """Say what the environment is like and whether member lists answer, asked as the app where it has a user."""
    for what, why in describe(run.environment):
        run.report.add("found", what, why)
    user = find_app_user(run.web, chosen.app_user) if chosen.app_user else None
    tried = try_member_lists(run.web, run.environment, str(user["systemuserid"]) if user else "")
    run.report.add("found", "member lists of real-time segments", tried.sentence)


def _install_surfaces(run: Run, chosen: Decisions) -> None:
    """Install the web resources, the tab and the button."""
    if chosen.tab_folder is None or not is_built(chosen.tab_folder):
        run.report.add("skipped", "tab and button", "the tab is not built; build it with `make tab`, then install again")
        return
    ids = install_web_resources(run, chosen.tab_folder)
    if chosen.tab:
        install_forms(run, ids[PAGE], only=chosen.only_forms, backup=chosen.backup_folder)
    else:
        run.report.add("skipped", "tab", "switched off")
        restore_forms(run, chosen.backup_folder)
    if chosen.button:
        install_commands(run, ids[LIBRARY])
    else:
        run.report.add("skipped", "button", "switched off")
        remove_commands(run)


# ------------------------------------------------------------------ publisher and solution

UNFINISHED = "0.0.0.1"
"""Version of the solution until an install has come to its end; so a later run knows that one was broken off."""


def _install_solution(run: Run) -> dict[str, Any]:
    """Install publisher and solution and return the solution; its version is raised at the very end."""
    publisher_id = _install_publisher(run)
    found = find_solution(run.web)
    if found is not None:
        _refuse_other(found)
        return found
    about = _about(run)
    body = {"uniquename": SOLUTION, "publisherid@odata.bind": f"/publishers({publisher_id})", "version": UNFINISHED, **about}
    made = run.web.post("solutions", body)
    run.report.add("created", f"solution {SOLUTION}")
    return {"solutionid": made.row_id or (find_solution(run.web) or {})["solutionid"], "version": UNFINISHED, **about}


def _finish_solution(run: Run, found: Mapping[str, Any]) -> None:
    wanted = {"version": VERSION, **_about(run)}
    changes = {name: value for name, value in wanted.items() if found.get(name) != value}
    if changes:
        run.web.patch(f"solutions({found['solutionid']})", changes)
    run.report.add("changed" if changes else "unchanged", f"solution {SOLUTION}", f"version {VERSION}")


def _about(run: Run) -> dict[str, str]:
    return {"friendlyname": SOLUTION_TITLE.in_language(run.languages.base), "description": SOLUTION_ABOUT}


def _refuse_other(found: Mapping[str, Any]) -> None:
    """Raise InstallError for a solution that this installer must not change."""
    if found.get("ismanaged"):
        raise InstallError(
            f"The solution {SOLUTION} is here as a managed solution, which only an import can change. "
            "Import the newer managed zip instead, or delete the solution first."
        )
    if version_number(found.get("version")) > version_number(VERSION):
        raise InstallError(
            f"The environment holds version {found['version']} of the solution, which is newer than this installer's {VERSION}. "
            "Use the newer release."
        )


def find_solution(web: Web) -> dict[str, Any] | None:
    """Return our solution, or None."""
    columns = "solutionid,uniquename,friendlyname,description,version,ismanaged"
    return first(web, f"solutions?$select={columns}&$filter=uniquename eq {quoted(SOLUTION)}")


def find_publisher(web: Web) -> dict[str, Any] | None:
    """Return our publisher, or None."""
    columns = "publisherid,uniquename,customizationprefix,customizationoptionvalueprefix"
    return first(web, f"publishers?$select={columns}&$filter=uniquename eq {quoted(PREFIX)}")


def _install_publisher(run: Run) -> str:
    found = find_publisher(run.web)
    if found is not None:
        run.report.add("unchanged", f"publisher {PREFIX}")
        return str(found["publisherid"])
    body = {
        "uniquename": PREFIX,
        "friendlyname": PUBLISHER_NAME,
        "description": SOLUTION_ABOUT,
        "customizationprefix": PREFIX,
        "customizationoptionvalueprefix": OPTION_PREFIX,
    }
    made = run.web.post("publishers", body)
    run.report.add("created", f"publisher {PREFIX}")
    return made.row_id or str((find_publisher(run.web) or {})["publisherid"])


def version_number(version: str | None) -> tuple[int, ...]:
    """Return a version as numbers that can be compared; text that is none counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in (version or "0").split("."))
