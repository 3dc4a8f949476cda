"""Command lines: `python -m sandbox chaos --runs N --seed S --json OUT` and `python -m sandbox burst --json OUT`."""

import argparse
import os
import secrets
from pathlib import Path

# Children of the sandbox bring their own authority; these variables of the machine would win over it.
_OVERRIDES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
WHOLE = 200


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register both commands with the sandbox's command line."""
    chaos = commands.add_parser(
        "chaos",
        help="many whole jobs under injected faults; exit 0 only if every promise was kept",
        description=(
            "Plays whole jobs in waves while a seeded plan injects faults, and checks afterwards that nothing was lost. "
            f"With {WHOLE} runs or more it writes the table of docs/reliability.md."
        ),
    )
    chaos.add_argument("--runs", type=int, default=25, metavar="N", help="how many whole jobs (default: 25)")
    chaos.add_argument(
        "--seed", type=int, nargs="+", metavar="S", help="what the plan is made of (default: a fresh one, printed)"
    )
    chaos.add_argument("--only", type=int, metavar="K", help="play the wave of run K and judge that run and its wave")
    chaos.add_argument("--parallel", type=int, default=3, metavar="W", help="worlds side by side (default: 3)")
    chaos.add_argument("--json", type=Path, metavar="OUT", help="write the result to this file")
    chaos.set_defaults(command=_chaos)
    burst = commands.add_parser("burst", help="50 jobs at once, then 500 webhook calls a second for 20 seconds")
    burst.add_argument("--jobs", type=int, default=50, metavar="N", help="jobs at once (default: 50)")
    burst.add_argument("--rate", type=float, default=500.0, metavar="N", help="webhook calls a second (default: 500)")
    burst.add_argument("--seconds", type=float, default=20.0, metavar="S", help="for how long (default: 20)")
    burst.add_argument("--json", type=Path, metavar="OUT", help="write the result to this file")
    burst.set_defaults(command=_burst)


def _chaos(options: argparse.Namespace) -> int:
    from sandbox.chaos import campaign, report  # noqa: PLC0415  nothing of this is needed for other commands

    _forget_overrides()
    seeds = options.seed or [secrets.randbelow(10**6)]
    print(f"Seeds: {', '.join(str(seed) for seed in seeds)}", flush=True)
    results = campaign.run(seeds, options.runs, only=options.only, parallel=options.parallel)
    for result in results:
        report.tell(result)
    if options.json:
        report.write_json(results, options.json)
    if options.runs >= WHOLE and options.only is None:
        report.write_table(results)
    return 1 if any(result["failures"] for result in results) else 0


def _burst(options: argparse.Namespace) -> int:
    from sandbox.chaos import bursts, report  # noqa: PLC0415  as above

    _forget_overrides()
    result = bursts.run(options.jobs, options.rate, options.seconds)
    report.tell_burst(result)
    if options.json:
        report.write_json(result, options.json)
    if result["whole"]:
        report.write_burst(result)
    return 0 if result["kept"] else 1


def _forget_overrides() -> None:
    for name in _OVERRIDES:
        os.environ.pop(name, None)
