"""Taking everything out again: what rings, what shows (Microsoft's forms as they were), what stores, and the solution.

Each part is looked for and deleted if it is there, so a removal that was broken off is continued by running it again.
"""

from collections.abc import Callable
from pathlib import Path

from shared.dataverse.protocol import quoted
from shared.dataverse.schema import AUDIENCE_SET, PREFIX, SIGN_IN_SET, SOLUTION, WEBHOOK_NAME, Audience, SignIn
from solution import metadata
from solution.commands import remove_commands
from solution.definitions import CHOICES, RESULT_COLUMNS, ROLES, TABLES, WORKER
from solution.detection import count_rows
from solution.environment import attribute_path, look_around
from solution.forms import restore_forms
from solution.install import find_publisher, find_solution
from solution.publishing import publish
from solution.report import Progress, Report, silent
from solution.roles import find_roles
from solution.run import Run
from solution.tables import columns_of, find_choice
from solution.web import InstallError, Refused, Web, rows
from solution.web_resources import remove_web_resources
from solution.webhook import find_endpoint, find_steps

type Confirm = Callable[[str], bool]


class NotConfirmed(InstallError):  # noqa: N818 - named after what is lacking
    """The person did not agree to the loss of data; nothing was removed."""


def remove(
    web: Web,
    *,
    confirm: Confirm,
    keep_data: bool = False,
    backup_folder: Path | None = None,
    progress: Progress = silent,
) -> Report:
    """Take the product out of the environment and return what was done.

    `confirm` is asked once, with a sentence that says what is lost, before anything is touched; with `keep_data` tables,
    columns, roles and the solution stay and nothing is asked. May be repeated. Raises NotConfirmed or InstallError.
    """
    run = Run(web, look_around(web), Report(dry=web.dry, progress=progress))
    if not keep_data and not web.dry and not confirm(what_is_lost(run)):
        raise NotConfirmed("Nothing was removed.")
    _remove_webhook(run)
    remove_commands(run)
    restore_forms(run, backup_folder)
    publish(run)  # Dataverse deletes a web resource only when no published form uses it
    remove_web_resources(run.web, run.report)
    if not keep_data:
        _remove_data(run)
    return run.report


def what_is_lost(run: Run) -> str:
    """Return the sentence that a person has to agree to."""
    audiences = count_rows(run.web, AUDIENCE_SET, Audience.ID)
    sign_ins = count_rows(run.web, SIGN_IN_SET, SignIn.ID)
    tables = ", ".join(run.environment.segment_tables()) or "no table"
    return (
        f"This deletes {audiences} LinkedIn audience rows, {sign_ins} sign-in rows, and the result columns with their values on "
        f"{tables}. Audiences at LinkedIn stay. It cannot be undone."
    )


def _remove_webhook(run: Run) -> None:
    for name, step in find_steps(run.web).items():
        if run.web.delete(f"sdkmessageprocessingsteps({step['sdkmessageprocessingstepid']})"):
            run.report.add("removed", f"webhook step {name.partition(': ')[2]}")
    endpoint = find_endpoint(run.web)
    if endpoint and run.web.delete(f"serviceendpoints({endpoint['serviceendpointid']})"):
        run.report.add("removed", f"webhook {WEBHOOK_NAME}")


def _remove_data(run: Run) -> None:
    for table in run.environment.segment_tables():
        _remove_columns(run, table)
    for definition in TABLES:
        if run.web.delete(f"EntityDefinitions(LogicalName={quoted(definition.name)})"):
            run.report.add("removed", f"table {definition.name}")
    for choice in CHOICES:
        found = find_choice(run.web, choice.name)
        if found and run.web.delete(f"GlobalOptionSetDefinitions({found['MetadataId']})"):
            run.report.add("removed", f"choice {choice.name}")
    _remove_roles(run)
    _remove_solution(run)


def _remove_columns(run: Run, table: str) -> None:
    present = columns_of(run.web, table)
    for column in RESULT_COLUMNS:
        if column.name not in present:
            continue
        if column.kind == "lookup":
            # A lookup goes with its relationship.
            run.web.delete(f"RelationshipDefinitions(SchemaName={quoted(metadata.relationship_name(table, column))})")
        else:
            run.web.delete(attribute_path(table, column.name))
        run.report.add("removed", f"column {table}.{column.name}")


def _remove_roles(run: Run) -> None:
    roles = find_roles(run.web, run.environment)
    worker = roles.get(WORKER.name)
    if worker:
        _retire_app_users(run, worker["roleid"])
    for role in ROLES:
        if role.name in roles and run.web.delete(f"roles({roles[role.name]['roleid']})"):
            run.report.add("removed", f"role {role.name}")


def _retire_app_users(run: Run, role_id: str) -> None:
    """Disable application users that hold nothing but our role; Dataverse does not delete users."""
    path = f"roles({role_id})/systemuserroles_association?$select=systemuserid,applicationid,isdisabled"
    for user in rows(run.web, path):
        if not user.get("applicationid"):
            continue
        others = rows(run.web, f"systemusers({user['systemuserid']})/systemuserroles_association?$select=roleid")
        if len(others) > 1:
            run.report.add("skipped", f"application user {user['applicationid']}", "it holds other roles and stays")
            continue
        run.web.patch(f"systemusers({user['systemuserid']})", {"isdisabled": True})
        run.report.add("removed", f"application user {user['applicationid']}", "disabled; users are never deleted")


def _remove_solution(run: Run) -> None:
    solution = find_solution(run.web)
    if solution and run.web.delete(f"solutions({solution['solutionid']})"):
        run.report.add("removed", f"solution {SOLUTION}")
    publisher = find_publisher(run.web)
    if publisher is None:
        return
    try:
        if run.web.delete(f"publishers({publisher['publisherid']})"):
            run.report.add("removed", f"publisher {PREFIX}")
    except Refused as refused:
        run.report.add("skipped", f"publisher {PREFIX}", f"another solution uses it. {refused}")
