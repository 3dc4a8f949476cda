"""How reports and findings look in a terminal: one aligned line each, with colour where there is a person to see it."""

import sys
from collections import Counter

from solution.check import Finding
from solution.report import Change, Report

_COLOURS = {
    "created": "32",
    "changed": "33",
    "removed": "33",
    "skipped": "35",
    "found": "36",
    "unchanged": "2",
    "fine": "32",
    "note": "36",
    "wrong": "31",
}


def _painted(word: str, width: int) -> str:
    padded = word.ljust(width)
    return f"\x1b[{_COLOURS[word]}m{padded}\x1b[0m" if sys.stdout.isatty() else padded


def show_change(change: Change) -> None:
    """Print one line about what was done."""
    print(f"  {_painted(change.action, 9)}  {change.what}" + (f": {change.why}" if change.why else ""), flush=True)


def show_plan(change: Change) -> None:
    """Print one line about what would be done."""
    words = {"created": "would create", "changed": "would change", "removed": "would remove"}
    word = words.get(change.action, change.action)
    print(f"  {word:<12}  {change.what}" + (f": {change.why}" if change.why else ""), flush=True)


def show_finding(finding: Finding) -> None:
    """Print one finding, and below it what to do."""
    print(f"  {_painted(finding.verdict, 5)}  {finding.piece}: {finding.says}", flush=True)
    if finding.fix:
        print(f"         -> {finding.fix}", flush=True)


def summary(report: Report) -> str:
    """Return the last line of a run.

    >>> summary(Report())
    'Nothing had to be changed.'
    """
    counted = Counter(change.action for change in report.changes)
    done = [f"{counted[action]} {action}" for action in ("created", "changed", "removed") if counted[action]]
    if not done:
        return "Nothing would be changed." if report.dry else "Nothing had to be changed."
    left = f" {counted['skipped']} left out, see above." if counted["skipped"] else ""
    return f"{'Rehearsed, nothing was written: ' if report.dry else 'Done: '}{', '.join(done)}.{left}"
