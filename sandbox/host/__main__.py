"""Command line of the local Functions host: `python -m sandbox.host --app FOLDER`."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.host import runtime
from sandbox.host.faults import BadFault, Plan
from sandbox.host.logs import listen_to_app
from sandbox.host.settings import BadSettings, HostFile, LocalSettings, read_host_file, read_local_settings

_ROOT = Path(__file__).resolve().parents[2]


def main(args: Sequence[str] | None = None) -> int:
    """Run the host until it is asked to end (SIGTERM or Ctrl-C), or only list the functions; 1 when the app is not right."""
    options = _parser().parse_args(args)
    try:
        app = options.app.resolve()
        local = _local_settings(app, options.settings)
        for name, value in local.values.items():
            os.environ.setdefault(name, value)
        host_file = read_host_file(app)
        return asyncio.run(_list(app) if options.list else _serve(app, host_file, local, options))
    except (BadSettings, BadFault, runtime.NotIndexed, runtime.RuntimeChanged, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.host", description="Run a Functions app on this machine.")
    parser.add_argument(
        "--app", type=Path, default=_ROOT, help="folder with function_app.py and host.json (default: the project)"
    )
    parser.add_argument("--settings", type=Path, help="settings file (default: local.settings.json in the app's folder, if any)")
    parser.add_argument("--list", action="store_true", help="print the functions as JSON and end")
    parser.add_argument("--name", default="host", help="what the ready line calls this host")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--lease", type=int, default=600, metavar="SECONDS", help="how long a received message is hidden")
    parser.add_argument("--shortest-poll", type=float, default=0.05, metavar="SECONDS", help="first pause after an empty poll")
    parser.add_argument(
        "--longest-poll", type=float, default=0.5, metavar="SECONDS", help="cap over host.json's maxPollingInterval"
    )
    parser.add_argument(
        "--grace", type=float, default=5.0, metavar="SECONDS", help="how long running functions may go on at the end"
    )
    parser.add_argument("--largest-body", type=int, metavar="BYTES", help="larger requests are answered 413 (default: 100 MiB)")
    parser.add_argument(
        "--key", default=os.environ.get("SANDBOX_FUNCTION_KEY"), help="key that functions of level function ask for"
    )
    parser.add_argument("--faults", type=Path, metavar="FILE", help="planned faults, see sandbox.host.faults")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults that strike by chance")
    return parser


def _local_settings(app: Path, named: Path | None) -> LocalSettings:
    usual = app / "local.settings.json"
    if named is None and not usual.exists():
        return LocalSettings()
    return read_local_settings(named.resolve() if named else usual)


async def _list(app: Path) -> int:
    functions = await runtime.index(app)
    print(json.dumps([{"name": function.name, "bindings": list(function.bindings)} for function in functions]), flush=True)
    runtime.stop()
    return 0


async def _serve(app: Path, host_file: HostFile, local: LocalSettings, options: argparse.Namespace) -> int:
    # Only a host that serves needs aiohttp; `--list` works with nothing but what ships.
    from sandbox.host.queues import Pace  # noqa: PLC0415
    from sandbox.host.serving import Host  # noqa: PLC0415

    plan = _plan(options)
    pace = Pace(options.lease, options.shortest_poll, options.longest_poll)
    listen_to_app(host_file.log_levels)
    functions = await runtime.index(app)
    host = Host(options.name, functions, host_file, plan, pace=pace, key=options.key, cors=local.cors)
    if options.largest_body is not None:
        host.http.largest_body = options.largest_body
    await host.serve(options.port, options.grace)
    sys.stdout.flush()
    os._exit(0)  # a function that still runs has a thread that nobody can end


def _plan(options: argparse.Namespace) -> Plan:
    plan = Plan(options.seed)
    if options.faults:
        try:
            plan.add(json.loads(options.faults.read_text("utf-8")))
        except json.JSONDecodeError as error:
            raise BadFault(f"{options.faults} is not JSON: {error}.") from error
    return plan


if __name__ == "__main__":
    sys.exit(main())
