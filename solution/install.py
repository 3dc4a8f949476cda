"""Installing everything, in an order that can be broken off anywhere and taken up again.

Every part looks first and writes only what is missing or different. So an install that was interrupted is continued by
running it again, and a second run changes nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.dataverse.protocol import quoted
from shared.dataverse.schema import OPTION_PREFIX, PREFIX, SOLUTION
from solution import VERSION
from solution.definitions import PUBLISHER_NAME, SOLUTION_ABOUT, SOLUTION_TITLE, WORKER
from solution.environment import look_around
from solution.report import Progress, Report, silent
from solution.roles import install_app_user, install_roles
from solution.run import Run
from solution.tables import install_tables
from solution.web import InstallError, Web, first
from solution.webhook import install_webhook


def install(
    web: Web,
    *,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    app_user: str | None = None,
    tab_folder: Path | None = None,
    progress: Progress = silent,
) -> Report:
    """Install or upgrade the product in the environment behind `web` and return what was done.

    Without `webhook_url` there is no webhook, without `app_user` (the app registration's client id) no application user,
    and without `tab_folder` (the folder with the built web resources) no tab; each is said in the report. May be repeated.
    Raises InstallError with a sentence; what was done until then stays and is found by the next run.
    """
    run = Run(web, look_around(web), Report(dry=web.dry, progress=progress))
    _install_solution(run)
    install_tables(run)
    roles = install_roles(run)
    if app_user:
        install_app_user(run, app_user, roles[WORKER.name])
    else:
        run.report.add("skipped", "application user", "no client id was given")
    if webhook_url:
        install_webhook(run, webhook_url, webhook_secret or "")
    else:
        run.report.add("skipped", "webhook", "no address of the function app was given")
    if tab_folder is None:
        run.report.add("skipped", "tab", "no folder with the built tab was given")
    return run.report


def _install_solution(run: Run) -> None:
    publisher_id = _install_publisher(run)
    found = find_solution(run.web)
    title = SOLUTION_TITLE.in_language(run.languages.base)
    wanted = {"friendlyname": title, "description": SOLUTION_ABOUT, "version": VERSION}
    if found is None:
        body = {"uniquename": SOLUTION, "publisherid@odata.bind": f"/publishers({publisher_id})", **wanted}
        run.web.post("solutions", body)
        run.report.add("created", f"solution {SOLUTION}", VERSION)
        return
    _refuse_other(found)
    changes = {name: value for name, value in wanted.items() if found.get(name) != value}
    if changes:
        run.web.patch(f"solutions({found['solutionid']})", changes)
    run.report.add("changed" if changes else "unchanged", f"solution {SOLUTION}", VERSION)


def _refuse_other(found: Mapping[str, Any]) -> None:
    """Raise InstallError for a solution that this installer must not change."""
    if found.get("ismanaged"):
        raise InstallError(
            f"The solution {SOLUTION} is here as a managed solution, which only an import can change. "
            "Import the newer managed zip instead, or delete the solution first."
        )
    if _number(found.get("version")) > _number(VERSION):
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


def _number(version: str | None) -> tuple[int, ...]:
    """Return a version as numbers that can be compared; text that is none counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in (version or "0").split("."))
