"""Exporting the solution as it is in an environment, for teams that deploy by pipeline."""

import base64
from pathlib import Path

from shared.dataverse.schema import SOLUTION
from solution.install import find_solution
from solution.web import InstallError, Web


def export(web: Web, folder: Path) -> list[Path]:
    """Write the unmanaged and the managed zip into a folder and return the two files.

    The webhook's secret is not inside: Dataverse never gives it out, so it is set after an import. Raises InstallError.
    """
    found = find_solution(web)
    if found is None:
        raise InstallError(f"The solution {SOLUTION} is not in this environment. Install it first: python -m solution install.")
    folder.mkdir(parents=True, exist_ok=True)
    return [_export(web, folder, str(found["version"]), managed=managed) for managed in (False, True)]


def _export(web: Web, folder: Path, version: str, *, managed: bool) -> Path:
    answer = web.post("ExportSolution", {"SolutionName": SOLUTION, "Managed": managed}).body or {}
    content = answer.get("ExportSolutionFile")
    if not content:
        raise InstallError("Dataverse exported the solution without a file in its answer. Export it in Power Apps instead.")
    path = folder / f"{SOLUTION}_{version.replace('.', '_')}{'_managed' if managed else ''}.zip"
    path.write_bytes(base64.b64decode(content))
    return path
