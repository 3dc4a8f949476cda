"""What a run shows in a terminal: progress while it lasts, then the result in tables."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sandbox.run import STATUS_WORDS, Outcome

_TALLY = (
    ("members in the segment", "lima_members"),
    ("without an email address", "lima_noemail"),
    ("email address not valid", "lima_invalid"),
    ("same address as another member", "lima_duplicate"),
    ("opted out", "lima_optedout"),
    ("inactive", "lima_inactive"),
    ("eligible", "lima_eligible"),
    ("sent to LinkedIn", "lima_sent"),
    ("refused by LinkedIn", "lima_refused"),
)
_RECORD = (
    ("status", "lima_linkedinstatus"),
    ("message", "lima_linkedinmessage"),
    ("LinkedIn audience id", "lima_linkedinaudienceid"),
    ("members sent", "lima_linkedinsent"),
    ("audience size", "lima_linkedinsize"),
    ("match rate, %", "lima_linkedinmatchrate"),
    ("time", "lima_linkedintime"),
    ("link", "lima_linkedinlink"),
)


class Display:
    """Prints to a terminal with a live bar, elsewhere one line per change."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._bar: Progress | None = None
        self._last = ""

    def say(self, sentence: str) -> None:
        """Print one line."""
        self.console.print(f"[dim]•[/dim] {sentence}")

    def watch(self, row: Mapping[str, Any]) -> None:
        """Show where the job stands."""
        status = STATUS_WORDS.get(row.get("lima_status") or 0, "Requested")
        percent = row.get("lima_progress") or 0
        if self.console.is_terminal:
            self._bar_at(status, percent)
        elif status != self._last:
            self.console.print(f"  {status:<22} {percent:>3} %")
        self._last = status

    def _bar_at(self, status: str, percent: int) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("  {task.description:<22}"),
                BarColumn(40),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                console=self.console,
            )
            self._bar.add_task(status, total=100)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], description=status, completed=percent)

    def close(self) -> None:
        """End the live bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def result(self, outcome: Outcome) -> None:
        """Print the segment record before and after, the tally, the audience, the requests and the time."""
        self.close()
        self.console.print()
        self.console.print(_record_table(outcome))
        self.console.print(_tally_table(outcome))
        self.console.print(_linkedin_table(outcome))
        self.console.print(_requests_table(outcome))
        self.console.print(
            f"{outcome.seconds:.1f} seconds, worker: {outcome.cpu_seconds:.1f} processor seconds, "
            f"{outcome.peak_rss_mb:.0f} MB at its peak."
        )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=True, show_header=len(columns) > 2)  # noqa: PLR2004
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", style="dim" if number == 0 else "", max_width=64)
    return table


def _record_table(outcome: Outcome) -> Table:
    table = _table("The segment record in Dynamics", "", "before", "after")
    for label, column in _RECORD:
        table.add_row(label, _word(column, outcome.before.get(column)), _word(column, outcome.segment.get(column)))
    return table


def _tally_table(outcome: Outcome) -> Table:
    table = _table("The tally", "", "")
    for label, column in _TALLY:
        table.add_row(label, _word(column, outcome.row.get(column)))
    return table


def _linkedin_table(outcome: Outcome) -> Table:
    table = _table("The audience at LinkedIn", "", "")
    table.add_row("audiences in the account", str(outcome.linkedin_segments))
    table.add_row("members it holds", f"{len(outcome.linkedin_members):,}")
    table.add_row("matched", _word("", outcome.row.get("lima_matched")))
    table.add_row("state", outcome.status)
    return table


def _requests_table(outcome: Outcome) -> Table:
    table = _table("Requests", "", "")
    for name, requests in (("Dataverse", outcome.dataverse_requests), ("LinkedIn", outcome.linkedin_requests)):
        methods = Counter(request["method"] for request in requests)
        table.add_row(name, f"{len(requests)} ({', '.join(f'{count} {method}' for method, count in sorted(methods.items()))})")
    return table


def _word(column: str, value: Any) -> str:
    if value is None:
        return "-"
    if column == "lima_linkedinstatus":
        return STATUS_WORDS.get(value, str(value))
    return f"{value:,}" if isinstance(value, int) else str(value)
