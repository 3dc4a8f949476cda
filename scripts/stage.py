"""Put what ships, and only that, into build/stage: an allow-list, so nothing else can slip into a deployment."""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHIPS = ("function_app.py", "function_app", "shared", "host.json", "requirements.txt")


def stage(target: Path) -> list[str]:
    """Fill `target` anew and return the staged files, relative, in order."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in SHIPS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / name)
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "stage"
    print(f"Staged {len(stage(folder))} files in {folder}.")
