"""Installing the tab's files as web resources: every file of the built folder becomes `lima_/<file>`."""

import base64
import uuid
from pathlib import Path
from typing import Any

from shared.dataverse.schema import PREFIX
from solution.publishing import newest
from solution.report import Report
from solution.run import Run
from solution.web import InstallError, Refused, Web, rows

HOME = Path(__file__).parent / "tab" / "dist"
NEEDED = ("tab.html", "form.js")  # the page in the tab, and the script of form and button
LARGEST = 5 * 1024 * 1024  # Dataverse's default limit for attachments holds for web resources as well
# Microsoft Learn, table reference of webresource: webresourcetype.
TYPES = {
    ".html": 1,
    ".htm": 1,
    ".css": 2,
    ".js": 3,
    ".xml": 4,
    ".png": 5,
    ".jpg": 6,
    ".jpeg": 6,
    ".gif": 7,
    ".xsl": 9,
    ".ico": 10,
    ".svg": 11,
    ".resx": 12,
}
_NAMESPACE = uuid.UUID("c5b0c3a4-77c2-5f0f-9b6c-0d6a4c8f3b03")
_COLUMNS = "webresourceid,name,displayname,content,webresourcetype"
_OURS = f"startswith(name,'{PREFIX}_/')"


def is_built(folder: Path) -> bool:
    """Tell whether a folder holds what the tab cannot do without."""
    return all((folder / name).is_file() for name in NEEDED)


def files_of(folder: Path) -> list[Path]:
    """Return the files that become web resources. Raises InstallError for one that Dataverse would not take."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    for path in files:
        if path.suffix.lower() not in TYPES:
            raise InstallError(
                f"The tab's file {path.name} is of no type that a web resource can have. Build the tab again: make tab."
            )
        if path.stat().st_size > LARGEST:
            raise InstallError(
                f"The tab's file {path.name} is larger than 5 MB, which Dataverse does not take. Build the tab again: make tab."
            )
    return files


def web_resource_name(path: Path) -> str:
    """Return the name that a file gets in Dataverse."""
    return f"{PREFIX}_/{path.name}"


def encoded(path: Path) -> str:
    """Return a file's content as Dataverse stores it."""
    return base64.b64encode(path.read_bytes()).decode()


def find_web_resources(web: Web, columns: str = _COLUMNS) -> dict[str, dict[str, Any]]:
    """Return our web resources as they are published, by name."""
    return {one["name"]: one for one in rows(web, f"webresourceset?$select={columns}&$filter={_OURS}")}


def newest_web_resources(web: Web, columns: str = _COLUMNS) -> dict[str, dict[str, Any]]:
    """Return our web resources after every change, published or not, by name."""
    found = newest(web, "webresourceset", f"$select={columns}&$filter={_OURS}")
    return {one["name"]: one for one in found if one["name"].startswith(f"{PREFIX}_/")}


def install_web_resources(run: Run, folder: Path) -> dict[str, str]:
    """Install every file of the built tab and return the ids by web resource name."""
    present, published = newest_web_resources(run.web), find_web_resources(run.web)
    return {
        web_resource_name(path): _install_file(
            run, path, present.get(web_resource_name(path)), published.get(web_resource_name(path))
        )
        for path in files_of(folder)
    }


def _install_file(run: Run, path: Path, found: dict[str, Any] | None, published: dict[str, Any] | None) -> str:
    name, content = web_resource_name(path), encoded(path)
    if found is None:
        body = {
            "webresourceid": str(uuid.uuid5(_NAMESPACE, name)),  # forms name it, so it is the same in every environment
            "name": name,
            "displayname": f"LinkedIn Matched Audiences: {path.name}",
            "webresourcetype": TYPES[path.suffix.lower()],
            "content": content,
            "languagecode": run.languages.base,
        }
        made = run.web.post("webresourceset", body, solution=True)
        row_id = made.row_id or str(newest_web_resources(run.web, "webresourceid,name")[name]["webresourceid"])
        run.report.add("created", f"web resource {name}")
        run.publish.web_resources.add(row_id)
        return row_id
    row_id = str(found["webresourceid"])
    if found.get("content") != content:
        run.web.patch(f"webresourceset({row_id})", {"content": content}, solution=True)
        run.report.add("changed", f"web resource {name}")
    else:
        run.report.add("unchanged", f"web resource {name}")
    if published is None or published.get("content") != content:
        run.publish.web_resources.add(row_id)
    return row_id


def remove_stale(run: Run, folder: Path) -> None:
    """Delete web resources of older releases that the built tab no longer has; one that is still used stays."""
    kept = {web_resource_name(path) for path in files_of(folder)}
    for name, found in newest_web_resources(run.web, "webresourceid,name").items():
        if name not in kept:
            try:
                run.web.delete(f"webresourceset({found['webresourceid']})")
            except Refused as refused:
                run.report.add("skipped", f"web resource {name}", f"it is no longer needed and still used. {refused}")
            else:
                run.report.add("removed", f"web resource {name}", "no longer needed")


def remove_web_resources(web: Web, report: Report) -> None:
    """Delete all our web resources, also those of older releases; forms and commands must have let go of them."""
    for name, found in newest_web_resources(web, "webresourceid,name").items():
        if web.delete(f"webresourceset({found['webresourceid']})"):
            report.add("removed", f"web resource {name}")
