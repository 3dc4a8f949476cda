"""Fuzz everything that reads outside data, and the running app over HTTP: `python scripts/fuzz.py --inputs 20000 --seed 7`.

Two fifths of the inputs go over HTTP to the app in a sandbox, the others straight to the readers. The first input that is
answered with a 5xx, raises anything but an error of the product, or makes a message repeat people's data ends the run with
exit code 1 and is printed with the seed that makes it again. `--write` puts the figures into docs/reliability.md.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sandbox.world import Options, World  # noqa: E402  the project is found by the line above
from scripts.fuzzing import doors, runs  # noqa: E402
from scripts.fuzzing.parsers import Broken  # noqa: E402

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- fuzz -->", "<!-- /fuzz -->"
OVER_HTTP = 0.4
_EMPTY_PAGE = """# Reliability

Figures that the project's own harnesses have written; each block is replaced when its harness runs again.

<!-- chaos -->
<!-- /chaos -->

<!-- fuzz -->
<!-- /fuzz -->
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fuzzer and print its figures; 1 when something broke."""
    options = _parser().parse_args(arguments)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)  # they would win over the sandbox's own authority
    began = time.monotonic()
    over_http = 0 if options.parsers_only else int(options.inputs * OVER_HTTP)
    try:
        read = runs.read_all(options.inputs - over_http, options.seed)
        answered = knock(over_http, options.seed) if over_http else Counter[tuple[str, int]]()
    except Broken as error:
        print(f"Broken: {error}", file=sys.stderr)
        return 1
    block = figures(read, answered, options.seed, time.monotonic() - began)
    print(block)
    if options.write:
        write(block)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python scripts/fuzz.py", description="Fuzz every reader of outside data.")
    parser.add_argument("--inputs", type=int, default=20_000, help="how many inputs at least (default: 20,000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same inputs (default: 1)")
    parser.add_argument("--parsers-only", action="store_true", help="start no sandbox; all inputs go straight to the readers")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/reliability.md")
    return parser


def knock(inputs: int, seed: int) -> Counter[tuple[str, int]]:
    """Fuzz the app in a sandbox of its own; return the answers by address and status."""
    with World.start(Options()) as world:
        return doors.knock(world, inputs, seed)


def figures(read: Mapping[str, Counter[str]], answered: Counter[tuple[str, int]], seed: int, seconds: float) -> str:
    """Return the figures as Markdown."""
    inputs = answered.total() + sum(outcomes.total() for outcomes in read.values())
    promises = "no 5xx answer, no unhandled exception, no failed run, nothing in the poison queue, nobody's data in a message"
    lines = [f"{inputs:,} generated inputs, seed {seed}, {seconds:,.0f} seconds, {datetime.now(UTC):%d %B %Y}: {promises}.", ""]
    if answered:
        lines += [f"Over HTTP, to the running app ({answered.total():,}):", "", "| Address | Answers |", "|---|---|"]
        for address in sorted({address for address, _ in answered}):
            statuses = ", ".join(f"{status}: {count:,}" for (at, status), count in sorted(answered.items()) if at == address)
            lines.append(f"| {address} | {statuses} |")
        lines.append("")
    lines += [
        f"Straight to the readers ({inputs - answered.total():,}):",
        "",
        "| Reader | Inputs | Read | Refused as |",
        "|---|--:|--:|---|",
    ]
    for name, outcomes in read.items():
        refused = ", ".join(f"{error} {count:,}" for error, count in outcomes.most_common() if error != "read")
        lines.append(f"| {name} | {outcomes.total():,} | {outcomes['read']:,} | {refused or '-'} |")
    return "\n".join(lines)


def write(block: str) -> None:
    """Put the figures between the fuzzer's marks in docs/reliability.md; the rest of the page is left as it is."""
    page = PAGE.read_text("utf-8") if PAGE.exists() else _EMPTY_PAGE
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        before, after = page.rstrip("\n") + "\n\n", "\n"
    PAGE.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
