"""Installing the two security roles and the app's own user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from solution.definitions import PRIVILEGE_NAMES, ROLES, WORKER, Role
from solution.environment import Environment
from solution.report import Report
from solution.run import Run
from solution.web import InstallError, Refused, Web, any_of, first, rows

DEPTHS = {"Basic": 0, "Local": 1, "Deep": 2, "Global": 3}


@dataclass(frozen=True)
class Grant:
    """One privilege of a role: its name and how far it reaches."""

    privilege: str
    depth: str


def grants_of(role: Role, environment: Environment) -> list[Grant]:
    """Return what a role is to hold here: privileges on tables that exist."""
    return [
        Grant(privilege_name(verb, table, environment), depth)
        for table, verbs in role.grants.items()
        if table in environment.tables
        for verb, depth in verbs.items()
    ]


def privilege_name(verb: str, table: str, environment: Environment) -> str:
    """Return the name of the privilege for one verb on one table."""
    return f"prv{verb}{PRIVILEGE_NAMES.get(table, environment.tables[table].schema_name)}"


def install_roles(run: Run) -> dict[str, str]:
    """Install the roles and return their ids by name."""
    wanted = {role.name: grants_of(role, run.environment) for role in ROLES}
    ids = privilege_ids(run.web, {grant.privilege for grants in wanted.values() for grant in grants})
    present = find_roles(run.web, run.environment)
    return {role.name: _install_role(run, role, wanted[role.name], ids, present.get(role.name)) for role in ROLES}


def find_roles(web: Web, environment: Environment) -> dict[str, dict[str, Any]]:
    """Return our roles in the top business unit, by name; Dataverse copies them to the units below by itself."""
    names = any_of("name", [role.name for role in ROLES])
    unit = f"_businessunitid_value eq {environment.root_unit}"
    found = rows(web, f"roles?$select=roleid,name,description&$filter={names} and {unit}")
    return {one["name"]: one for one in found}


def privilege_ids(web: Web, names: set[str]) -> dict[str, str]:
    """Return the ids of privileges, by name in lower case; one that does not exist is left out."""
    listed = sorted(names)
    found: list[dict[str, Any]] = []
    for start in range(0, len(listed), 100):
        found += rows(web, f"privileges?$select=privilegeid,name&$filter={any_of('name', listed[start : start + 100])}")
    return {one["name"].lower(): one["privilegeid"] for one in found}


def held_by(web: Web, role_id: str) -> dict[str, str]:
    """Return the privileges that a role holds: id in lower case and depth."""
    held = web.get(f"RetrieveRolePrivilegesRole(RoleId={role_id})").get("RolePrivileges", ())
    return {one["PrivilegeId"].lower(): one["Depth"] for one in held}


def _install_role(run: Run, role: Role, grants: list[Grant], ids: Mapping[str, str], found: Mapping[str, Any] | None) -> str:
    role_id = str(found["roleid"]) if found else _create_role(run, role)
    held = held_by(run.web, role_id) if found else {}
    missing = [grant for grant in grants if not _holds(grant, ids, held)]
    known = [_granted(grant, ids, run.environment) for grant in missing if grant.privilege.lower() in ids]
    if known:
        run.web.post(f"roles({role_id})/Microsoft.Dynamics.CRM.AddPrivilegesRole", {"Privileges": known})
    unknown = [grant.privilege for grant in missing if grant.privilege.lower() not in ids and not run.web.dry]
    if unknown:
        run.report.add("skipped", f"privileges {', '.join(unknown)}", "this environment has none of this name")
    _tell(run.report, role, new=found is None, granted=len(missing) - len(unknown))
    return role_id


def _create_role(run: Run, role: Role) -> str:
    unit = {"businessunitid@odata.bind": f"/businessunits({run.environment.root_unit})"}
    made = run.web.post("roles", {"name": role.name, "description": role.about, **unit}, solution=True)
    return made.row_id or str(find_roles(run.web, run.environment)[role.name]["roleid"])


def _holds(grant: Grant, ids: Mapping[str, str], held: Mapping[str, str]) -> bool:
    """Tell whether a role holds a privilege to at least the depth wanted."""
    depth = held.get(ids.get(grant.privilege.lower(), "").lower())
    return depth is not None and DEPTHS.get(depth, -1) >= DEPTHS[grant.depth]


def _granted(grant: Grant, ids: Mapping[str, str], environment: Environment) -> dict[str, Any]:
    return {
        "PrivilegeId": ids[grant.privilege.lower()],
        "PrivilegeName": grant.privilege,
        "BusinessUnitId": environment.root_unit,
        "Depth": grant.depth,
    }


def _tell(report: Report, role: Role, *, new: bool, granted: int) -> None:
    what, why = f"role {role.name}", f"{granted} privileges"
    if new:
        report.add("created", what, why)
    elif granted:
        report.add("changed", what, why)
    else:
        report.add("unchanged", what)


# ------------------------------------------------------------------ the app's user


def find_app_user(web: Web, client_id: str) -> dict[str, Any] | None:
    """Return the application user of a client id, or None."""
    return first(web, f"systemusers?$select=systemuserid,isdisabled,fullname&$filter=applicationid eq {client_id}")


def has_role(web: Web, user_id: str, role_id: str) -> bool:
    """Tell whether a user holds a role."""
    path = f"systemusers({user_id})/systemuserroles_association?$select=roleid&$filter=roleid eq {role_id}"
    return bool(rows(web, path))


def install_app_user(run: Run, client_id: str, role_id: str) -> None:
    """Let the app sign in: an application user that holds the worker's role and, by us, nothing else."""
    found = find_app_user(run.web, client_id)
    user_id = str(found["systemuserid"]) if found else _create_app_user(run, client_id)
    if found is not None and found.get("isdisabled"):
        run.web.patch(f"systemusers({user_id})", {"isdisabled": False})
        run.report.add("changed", f"application user {client_id}", "enabled again")
    if found is not None and has_role(run.web, user_id, role_id):
        run.report.add("unchanged", f"application user {client_id}")
        return
    run.web.post(f"systemusers({user_id})/systemuserroles_association/$ref", {"@odata.id": _reference(f"roles({role_id})")})
    run.report.add("changed" if found else "created", f"application user {client_id}", f"holds the role {WORKER.name}")


def _create_app_user(run: Run, client_id: str) -> str:
    body = {
        "applicationid": client_id,
        "firstname": "LinkedIn Matched Audiences",
        "lastname": "application",
        "businessunitid@odata.bind": f"/businessunits({run.environment.root_unit})",
    }
    try:
        made = run.web.post("systemusers", body)
    except Refused as refused:
        raise InstallError(
            f"The application user for {client_id} could not be created. {refused} Create it in the Power Platform admin centre "
            f"(environment, Settings, Application users) with the role {WORKER.name}, then run the installer again."
        ) from refused
    return made.row_id or str((find_app_user(run.web, client_id) or {})["systemuserid"])


def _reference(path: str) -> str:
    return f"/api/data/v9.2/{path}"
