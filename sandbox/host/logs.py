"""What the host writes to standard error: one JSON object per line, the app's own lines unchanged."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}


def say(level: str, message: str, **facts: Any) -> None:
    """Write a line of the host's own; `level` is one of Functions' names, such as `Warning`."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "category": "Host", "message": message}
    sys.stderr.write(json.dumps({**line, **facts}, ensure_ascii=False, default=str) + "\n")
    sys.stderr.flush()


def listen_to_app(log_levels: Mapping[str, str]) -> None:
    """Send what the app logs to standard error, as Functions' worker would send it to its host.

    `log_levels` is host.json's `logging.logLevel`; a logger's own entry wins over `Function`, and that over `default`.
    """
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if os.environ.get("PYTHON_ENABLE_DEBUG_LOGGING", "").lower() in ("1", "true") else logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    handler.setLevel(_LEVELS.get(log_levels.get("Function", log_levels.get("default", "Information")).lower(), logging.INFO))
    handler.addFilter(_is_news)
    root.addHandler(handler)
    for category, level in log_levels.items():
        if category not in ("default", "Function") and not category.startswith("Host."):
            logging.getLogger(category).setLevel(_LEVELS.get(level.lower(), logging.INFO))
    logging.getLogger("azure.functions").setLevel(logging.WARNING)  # the library's own account of indexing


def _is_news(record: logging.LogRecord) -> bool:
    return record.msg != "Native invocation failed"  # the host says it with the function's name


class _OneLine(logging.Formatter):
    """Keeps a JSON line of the app as it is; everything else becomes one."""

    def format(self, record: logging.LogRecord) -> str:
        written = super().format(record)
        if written.startswith("{") and "\n" not in written:
            return written
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.title(),
            "category": record.name,
            "message": written,
        }
        return json.dumps(line, ensure_ascii=False)
