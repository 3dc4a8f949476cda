"""Logs: one JSON object per line, a correlation id on each, and nothing personal or secret.

A record is a sentence plus fields: `logger.info("Sent a batch", extra={"action": "batch-sent", "count": 5000})`.
The `action` names are stable; `docs/operations.md` lists them. Without OpenTelemetry the Functions host passes
on the message text only, so the fields are folded into it.
"""

import json
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_correlation: ContextVar[str] = ContextVar("correlation", default="")

# What must never be read in a log, whatever way it came there; before it the sign without which a line cannot hold any, because
# looking for that is quick.
_SECRETS = (
    ("bearer", re.compile(r"(?i)\b(bearer)\s+[A-Za-z0-9._~+/=-]+"), r"\1 ***"),
    ("=", re.compile(r"(?i)\b(code|sig|state|access_token|refresh_token|client_secret|ticket)=[^&\s\"']+"), r"\1=***"),
    (
        '"',
        re.compile(r"(?i)(\"(?:access_token|refresh_token|client_secret|authvalue)\"\s*:\s*\")[^\"]*"),
        r"\1***",
    ),
    (".", re.compile(r"\b[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\b"), "***"),
    ("", re.compile(r"\b[0-9a-fA-F]{64}\b"), "***"),
    ("@", re.compile(r"[^\s\"<>()\[\],;:]+@[^\s\"<>()\[\],;:]+"), "***"),
)
_ORDINARY = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_CHATTY = ("requests", "urllib3", "msal", "azure", "azure.core.pipeline.policies.http_logging_policy")


def redacted(text: str) -> str:
    """Return the text without tokens, codes, hashes and email addresses.

    >>> redacted("sent to ada@contoso.example with Bearer abc.def")
    'sent to *** with Bearer ***'
    """
    lower = text.lower()
    for sign, pattern, instead in _SECRETS:
        if sign in lower:
            text = pattern.sub(instead, text)
    return text


@contextmanager
def correlated(correlation: str) -> Iterator[None]:
    """Put this correlation id on every record logged inside."""
    token = _correlation.set(correlation)
    try:
        yield
    finally:
        _correlation.reset(token)


def current_correlation() -> str:
    """Return the correlation id of the work at hand; empty outside of any."""
    return _correlation.get()


def fold(record: logging.LogRecord) -> str:
    """Return a record as one line of JSON: sentence, level, fields, correlation id, and where it failed."""
    line = {"message": record.getMessage(), "level": record.levelname, "logger": record.name}
    if correlation := _correlation.get():
        line["correlation"] = correlation
    line |= {key: value for key, value in record.__dict__.items() if key not in _ORDINARY and not key.startswith("_")}
    if record.exc_info and record.exc_info[0]:
        line["error"] = "".join(traceback.format_exception(*record.exc_info))
    return redacted(json.dumps(line, default=str, ensure_ascii=False))


def set_up() -> None:
    """Fold and redact every record of the process from now on; calling it again changes nothing.

    A log record factory is the one place that sees the records of every logger; a filter on the root
    logger would miss those of its children.
    """
    if getattr(logging.getLogRecordFactory(), "folds", False):
        return
    made_by = logging.getLogRecordFactory()

    def factory(*args: object, **kwargs: object) -> logging.LogRecord:
        record = made_by(*args, **kwargs)
        record.__class__ = _FoldedRecord
        return record

    factory.folds = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(factory)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


class _FoldedRecord(logging.LogRecord):
    """A record whose message is the whole line, whichever handler asks."""

    def getMessage(self) -> str:  # noqa: N802  the name is the standard library's
        line = self.__dict__.get("_line")
        if line is None:
            self.__dict__["_line"] = ""  # fold asks for the plain message below
            plain = logging.LogRecord.getMessage(self)
            line = _folded(self, plain)
            self.__dict__["_line"] = line
            self.exc_info, self.exc_text = None, None
        return str(line)


def _folded(record: logging.LogRecord, message: str) -> str:
    copy = logging.makeLogRecord({})
    copy.__class__ = logging.LogRecord
    copy.__dict__.update(record.__dict__)
    copy.msg, copy.args = message, None
    return fold(copy)


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module; records carry an `action` in `extra`."""
    return logging.getLogger(name)
