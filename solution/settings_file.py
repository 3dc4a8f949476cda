"""Reading a file with the function app's settings, in the form of `local.settings.sample.json`."""

import json
from pathlib import Path

from solution.web import InstallError


def read_settings_file(file: Path) -> dict[str, str]:
    """Return the file's Values as texts. Raises InstallError when it cannot be read; nothing of its content is repeated."""
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))["Values"]  # editors on Windows write a byte order mark
        return {name: "" if value is None else str(value) for name, value in values.items()}
    except OSError as error:
        raise InstallError(f"The file given with --settings cannot be read ({type(error).__name__}).") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InstallError(
            "The file given with --settings does not hold the app's settings. It has to look like local.settings.sample.json."
        ) from None
