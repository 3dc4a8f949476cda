"""The sandbox's command line: `python -m sandbox run | demo | serve | rehearsal | chaos | burst`."""

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from sandbox.as_customer import as_administrator, give_marketer_role, is_installed
from sandbox.chaos import add_command as add_chaos
from sandbox.contacts import UnreadableFileError
from sandbox.display import Display
from sandbox.processes import ChildFailed
from sandbox.rehearsal import rehearse
from sandbox.run import Order, Run, write_json
from sandbox.world import Options, World, running


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except KeyboardInterrupt:
        return 130
    except (OSError, UnreadableFileError, ChildFailed) as error:
        print(f"This did not work: {error}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="The whole product on this machine, without a tenant. Everything listens on loopback only.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run one job from the button to the result; exit 0 only if it ended Ready")
    _add_order(run)
    run.add_argument("--json", type=Path, metavar="OUT", help="write the result to this file")
    run.set_defaults(command=_run)
    demo = commands.add_parser("demo", help="run a sample job, show the result, then keep serving (ONCE=1: end)")
    _add_order(demo)
    demo.set_defaults(command=_demo)
    serve = commands.add_parser("serve", help="start everything, print the addresses, keep it up until Ctrl-C")
    _add_order(serve)
    serve.add_argument("--empty", action="store_true", help="install nothing: an environment to try the installer on")
    serve.set_defaults(command=_serve)
    rehearsal = commands.add_parser("rehearsal", help="play the administrator's whole day: install, check, upgrade, remove")
    rehearsal.set_defaults(command=_rehearsal)
    add_chaos(commands)
    return parser


def _add_order(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--contacts", type=Path, metavar="FILE", help="CSV with logical names, or a Dynamics view export")
    parser.add_argument("--members", type=int, default=12_000, metavar="N", help="how many contacts to generate (default: 12000)")
    parser.add_argument("--segment", choices=("realtime", "list", "outbound"), default="realtime", help="kind of segment")
    parser.add_argument(
        "--trigger",
        choices=("button", "row", "live"),
        default="button",
        help="button: as the tab does; row: as an automation does; live: the marked segment goes live",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated contacts")
    parser.add_argument(
        "--no-second-yes",
        action="store_true",
        help="do not confirm an audience of fewer than 300 members (the button trigger does)",
    )


def _order(options: argparse.Namespace) -> Order:
    return Order(
        members=options.members,
        file=options.contacts,
        kind=options.segment,
        trigger=options.trigger,
        confirm_small=not options.no_second_yes,
        seed=options.seed,
    )


def _run(options: argparse.Namespace) -> int:
    display = Display()
    with running(tell=display.say) as world:
        ready = _one_job(world, _order(options), display, options.json)
    return 0 if ready else 1


def _one_job(world: World, order: Order, display: Display, target: Path | None = None) -> bool:
    run = Run(world, order)
    display.say("Loading the contacts and making the segment")
    made = run.prepare()
    display.say(f"Pulling the trigger: {order.trigger}")
    outcome = run.follow(made, display.watch)
    display.result(outcome)
    if target is not None:
        write_json(outcome, target)
        display.say(f"Written: {target}")
    return outcome.is_ready


def _demo(options: argparse.Namespace) -> int:
    display = Display()
    stays = sys.stdout.isatty() and not os.environ.get("ONCE")
    with running(Options(plain_sign_in=True), tell=display.say) as world:
        ready = _one_job(world, _order(options), display)
        if stays:
            _tell_addresses(world, display)
            _until_interrupted()
    return 0 if ready else 1


def _rehearsal(_options: argparse.Namespace) -> int:
    return 0 if rehearse(Display().say) else 1


def _serve(options: argparse.Namespace) -> int:
    display = Display()
    with running(Options(plain_sign_in=True, install=not options.empty), tell=display.say) as world:
        Run(world, _order(options)).prepare(signed_in=False)
        if options.empty:
            _tell_variables(world, display)
        _tell_addresses(world, display)
        if options.empty:
            _await_install(world, display)
        _until_interrupted()
    return 0


def _await_install(world: World, display: Display) -> None:
    """Give the marketers their role once it is installed, as an administrator does in the Power Platform admin centre."""
    while not is_installed(world):
        threading.Event().wait(2)
    give_marketer_role(world)
    display.say("The solution is installed; the marketers have the role LinkedIn Audience Marketer now")


def _tell_variables(world: World, display: Display) -> None:
    """Print what the installer needs to know of this environment, ready to be pasted into another terminal."""
    display.console.print("\n[bold]Set these in another terminal, then install:[/bold]")
    for name, value in as_administrator(world).items():
        display.console.print(f"  export {name}={value}", soft_wrap=True)


def _tell_addresses(world: World, display: Display) -> None:
    display.console.print()
    display.console.print("[bold]Open this address and create an audience by hand:[/bold]")
    display.console.print(f"  {world.dataverse.plain_url}/", style="cyan underline", soft_wrap=True)
    display.console.print(f"The function app answers at {world.app_url}, its log is {world.folder / 'host.log'}.", soft_wrap=True)
    display.console.print("Ctrl-C ends everything.")


def _until_interrupted() -> None:
    threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
