"""The installer's command line: `python -m solution install | check | remove | export`."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from shared.errors import AudienceSyncError
from shared.http import HttpClient
from solution import VERSION, web_resources
from solution.check import Finding, Question, check
from solution.export import export
from solution.install import install
from solution.remove import remove
from solution.report import Report, silent
from solution.settings_file import read_settings_file
from solution.signin import PUBLIC_AUTHORITY, sign_in
from solution.terminal import show_change, show_finding, show_plan, summary
from solution.web import DataverseWeb, InstallError, Rehearsal

FINE, FAULTY, FAILED = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 means all is well, 1 that `check` found something wrong, 2 that the command failed."""
    try:
        given = _parser(_told_by_settings(arguments)).parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = given.run
        return run(given)
    except (InstallError, AudienceSyncError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again; it goes on where it stopped.", file=sys.stderr)
        return FAILED


# ------------------------------------------------------------------ commands


def _install(given: argparse.Namespace) -> int:
    web = _web(given)
    report = install(
        Rehearsal(web) if given.dry_run else web,
        webhook_url=given.webhook_url,
        webhook_secret=_secret(given),
        app_user=given.app_user,
        tab_folder=given.tab_folder,
        tab=given.tab,
        button=given.button,
        only_forms=given.form,
        backup_folder=_backups(given, web),
        progress=_progress(given),
    )
    return _told(given, report)


def _check(given: argparse.Namespace) -> int:
    findings = []
    for finding in _findings(given):
        findings.append(finding)
        if not given.json:
            show_finding(finding)
    wrong = [finding for finding in findings if finding.verdict == "wrong"]
    if given.json:
        print(
            json.dumps({"fine": not wrong, "findings": [finding.as_json() for finding in findings]}, indent=2, ensure_ascii=False)
        )
    else:
        print(f"{len(wrong)} of {len(findings)} pieces are not as they should be." if wrong else "Everything is as it should be.")
    return FAULTY if wrong else FINE


def _findings(given: argparse.Namespace) -> Iterator[Finding]:
    web = _web(given)
    yield from check(web, Question(given.webhook_url, given.app_user, given.tab_folder))
    if given.all:
        from solution.doctor import examine  # noqa: PLC0415  brings storage clients that the installer does without

        yield from examine(web, os.environ | (read_settings_file(given.settings) if given.settings else {}))


def _remove(given: argparse.Namespace) -> int:
    web = _web(given)
    report = remove(
        Rehearsal(web) if given.dry_run else web,
        confirm=(lambda _: True) if given.yes else _ask,
        keep_data=given.keep_data,
        backup_folder=_backups(given, web),
        progress=_progress(given),
    )
    return _told(given, report)


def _export(given: argparse.Namespace) -> int:
    for path in export(_web(given), given.folder):
        print(path)
    return FINE


# ------------------------------------------------------------------ what they share


def _told_by_settings(arguments: Sequence[str] | None) -> dict[str, str]:
    """Return what the file given with --settings says; nothing without one.

    It is looked for before the command line is read, because addresses that are not given come from it. Whom to sign in as
    does not: the file names the app's own identity, and an administrator is wanted.
    """
    searcher = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    searcher.add_argument("--settings", type=Path)
    file = searcher.parse_known_args(arguments)[0].settings
    return read_settings_file(file) if file else {}


def _web(given: argparse.Namespace) -> DataverseWeb:
    url = given.url.rstrip("/")
    if not url:
        other = ", or name a file that holds the app's settings with --settings" if hasattr(given, "settings") else ""
        raise InstallError(
            f"Say which environment is meant: set DATAVERSE_URL or give --url, such as https://ORG.crm.dynamics.com{other}."
        )
    if not url.startswith("https://"):
        raise InstallError("The address given with --url has to begin with https://, such as https://ORG.crm.dynamics.com.")
    sign = sign_in(url, given.sign_in, authority=given.authority, tenant=given.tenant, client_id=given.client_id, say=_say)
    return DataverseWeb(HttpClient(url, name="Dataverse"), sign)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _ask(sentence: str) -> bool:
    """Ask a person; whoever is not there has not agreed. The question leaves the output to machines."""
    _say(f"{sentence}\nType yes to go on: ")
    return sys.stdin.readline().strip().lower() == "yes"


def _secret(given: argparse.Namespace) -> str:
    """Return the webhook's secret from its file or the environment; never from the command line, which others can read."""
    if given.webhook_secret_file is None:
        return os.environ.get("WEBHOOK_SECRET", "")
    try:
        return str(given.webhook_secret_file.read_text(encoding="utf-8")).strip()
    except OSError as error:
        raise InstallError(f"The file given with --webhook-secret-file cannot be read ({type(error).__name__}).") from error


def _backups(given: argparse.Namespace, web: DataverseWeb) -> Path:
    return Path(given.backup_folder) / web.host


def _progress(given: argparse.Namespace) -> Callable[..., None]:
    if given.json:
        return silent
    return show_plan if given.dry_run else show_change


def _told(given: argparse.Namespace, report: Report) -> int:
    print(json.dumps(report.as_json(), indent=2, ensure_ascii=False) if given.json else summary(report))
    return FINE


# ------------------------------------------------------------------ arguments


def _parser(told: Mapping[str, str] | None = None) -> argparse.ArgumentParser:
    """Return the parser; `told` are the app's settings that a file names, and defaults of `check`."""
    parser = argparse.ArgumentParser(
        prog="python -m solution",
        description="Installs LinkedIn Matched Audiences into a Dataverse environment, checks, removes or exports it.",
        epilog="Every command may be repeated and interrupted: it looks first and does only what is left to do.",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _install_arguments(_command(commands, "install", _install, "install or upgrade; changes only what is missing or different"))
    checking = _command(commands, "check", _check, "check every piece from outside and say how to put it right")
    _check_arguments(checking, told or {})
    _remove_arguments(_command(commands, "remove", _remove, "take everything out and give Microsoft's forms back as they were"))
    exporting = _command(commands, "export", _export, "write the managed and the unmanaged solution zip")
    exporting.add_argument("--folder", type=Path, default=Path("build/solution"), help="where to (default: %(default)s)")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    about: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    parser.set_defaults(run=run)
    parser.add_argument(
        "--url",
        default=os.environ.get("DATAVERSE_URL", ""),
        help="the environment, such as https://ORG.crm.dynamics.com (default: DATAVERSE_URL)",
    )
    parser.add_argument(
        "--sign-in",
        choices=("device", "browser", "app"),
        default="device",
        help="as a person by device code (default) or browser, or as an application with DATAVERSE_CLIENT_ID, "
        "DATAVERSE_CLIENT_SECRET and DATAVERSE_TENANT_ID",
    )
    parser.add_argument("--tenant", default="", help="the Entra tenant; for persons any by default")
    parser.add_argument(
        "--client-id", default="", help="the public client to sign in with (default: Microsoft's for Dataverse tools)"
    )
    parser.add_argument(
        "--authority",
        default=os.environ.get("DATAVERSE_AUTHORITY") or PUBLIC_AUTHORITY,
        help="where to sign in, for national clouds and the sandbox (default: %(default)s)",
    )
    return parser


def _install_arguments(parser: argparse.ArgumentParser) -> None:
    _app_arguments(parser)
    parser.add_argument(
        "--webhook-secret-file",
        type=Path,
        help="file with the secret that the function app has as WEBHOOK_SECRET (default: that variable)",
    )
    parser.add_argument(
        "--no-tab", dest="tab", action="store_false", help="no tab in the forms (taken out where it was); the button remains"
    )
    parser.add_argument(
        "--no-button", dest="button", action="store_false", help="no command-bar button (taken out where it was); the tab remains"
    )
    parser.add_argument(
        "--form", action="append", default=[], metavar="NAME", help="put the tab only into main forms of this name; repeatable"
    )
    _writing_arguments(parser)


def _check_arguments(parser: argparse.ArgumentParser, told: Mapping[str, str]) -> None:
    _app_arguments(parser)
    parser.add_argument("--json", action="store_true", help="findings as JSON")
    parser.add_argument(
        "--all", action="store_true", help="the app, its storage and LinkedIn too, and a test row on the whole way and back"
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="file with the app's settings, in the form of local.settings.sample.json (default: environment)",
    )
    options = {
        "url": "DATAVERSE_URL",
        "webhook_url": "PUBLIC_URL",
        "authority": "DATAVERSE_AUTHORITY",
        "app_user": "DATAVERSE_CLIENT_ID",
    }
    parser.set_defaults(**{option: told[name] for option, name in options.items() if told.get(name)})


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask before data is deleted")
    parser.add_argument("--keep-data", action="store_true", help="leave tables, columns, roles and the solution; remove the rest")
    _writing_arguments(parser)


def _app_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--webhook-url",
        default=os.environ.get("PUBLIC_URL", ""),
        help="the function app, such as https://APP.azurewebsites.net (default: PUBLIC_URL)",
    )
    parser.add_argument(
        "--app-user", default="", metavar="CLIENT_ID", help="client id of the app registration that the function app uses"
    )
    parser.add_argument(
        "--tab-folder", type=Path, default=web_resources.HOME, help="the built tab (default: where `make tab` puts it)"
    )


def _writing_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say exactly what would be changed and change nothing")
    parser.add_argument(
        "--backup-folder",
        type=Path,
        default=Path("build/form-backups"),
        help="where forms are saved before a change (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON")


if __name__ == "__main__":
    sys.exit(main())
