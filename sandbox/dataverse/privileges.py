"""Who may do what: roles, privileges and their depth, enforced on every row.

A privilege is named prv + verb + schema name of the table, as the service names them. Depth is one of Basic (own rows),
Local (own business unit), Deep (with units below) and Global, stored as 1, 2, 4, 8 as in the service's depth mask.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.dataverse import errors
from sandbox.dataverse.tables import Table, seeded_id

if TYPE_CHECKING:
    from sandbox.dataverse.state import State

VERBS = ("Create", "Read", "Write", "Delete", "Append", "AppendTo", "Assign", "Share")
BASIC, LOCAL, DEEP, GLOBAL = 1, 2, 4, 8
DEPTHS = {"Basic": BASIC, "Local": LOCAL, "Deep": DEEP, "Global": GLOBAL}
DEPTH_NUMBERS = dict(enumerate(DEPTHS.values()))
DEPTH_NAMES = {mask: name for name, mask in DEPTHS.items()}
ADMINISTRATOR_ROLE = "System Administrator"
RIGHTS = {"Read": "ReadAccess", "Write": "WriteAccess", "Delete": "DeleteAccess", "Assign": "AssignAccess"}

# Tables that have no privilege of their own, with the table whose privilege is asked instead (None: any signed-in user).
STAND_INS: dict[str, str | None] = {
    "listmember": "list",
    "systemuserroles": "role",
    "roleprivileges": "role",
    "privilege": None,
    "solutioncomponent": "solution",
    "sdkmessageprocessingstepimage": "sdkmessageprocessingstepimage",
    "usersettings": None,
    "organization": None,
}
NAMES = {"systemuser": "User", "annotation": "Note", "savedquery": "Query", "msdynmkt_segment": "msdynmkt_segment"}
"""Tables whose privileges do not end with the schema name."""


@dataclass(frozen=True)
class Caller:
    """On whose behalf a request runs, and what its headers ask for."""

    user_id: str
    business_unit: str
    application_id: str | None = None
    solution: str | None = None
    tag: str | None = None
    correlation_id: str | None = None
    depth: int = 1


def privilege_name(verb: str, table: Table) -> str:
    """Return the name of the privilege for one verb on one table."""
    return f"prv{verb}{NAMES.get(table.name, table.schema_name)}"


def privilege_id(name: str) -> str:
    """Return the guid of a privilege; the same name always has the same."""
    return seeded_id("privilege", name.lower())


class Privileges:
    """Answers what a user may do, from roles and their privileges as they are now."""

    def __init__(self, state: "State") -> None:
        self._state = state
        self.by_role: dict[str, dict[str, int]] = {}
        """Privilege id and depth of every role, by role id."""
        self.used: dict[str, set[str]] = {}
        """Names of the privileges that each user's requests have needed and had, by user id."""
        self._names: dict[str, str] = {}
        self._kept: dict[str, dict[str, int]] = {}
        self._kept_at = -1

    def add_for(self, table: Table) -> None:
        """Create the privileges of a table as rows of `privilege`."""
        verbs = VERBS if table.user_owned else VERBS[:6]
        for verb in verbs:
            self.add(privilege_name(verb, table))

    def add(self, name: str) -> None:
        """Create one privilege, unless it exists."""
        store = self._state.store("privilege")
        if store.position(privilege_id(name)) is None:
            store.add({"privilegeid": privilege_id(name), "name": name, "canbebasic": True, "canbeglobal": True})
        self._names[privilege_id(name)] = name

    def drop_for(self, table: Table) -> None:
        """Forget the privileges of a table."""
        store = self._state.store("privilege")
        for verb in VERBS:
            row_id = privilege_id(privilege_name(verb, table))
            at = store.position(row_id)
            if at is not None:
                store.remove(at)
            for held in self.by_role.values():
                held.pop(row_id, None)
        self.changed()

    def name_of(self, row_id: str) -> str | None:
        """Return the name of a privilege by its id."""
        return self._names.get(row_id)

    def changed(self) -> None:
        """Forget what was worked out, because a role changed."""
        self._kept_at = -1

    def roles_of(self, user_id: str) -> list[str]:
        """Return the roles of a user."""
        return self._state.links["systemuserroles_association"].rights_of(user_id).present()

    def is_administrator(self, user_id: str) -> bool:
        """Tell whether a user holds the role System Administrator, which may do everything."""
        return seeded_id("role", ADMINISTRATOR_ROLE) in self.roles_of(user_id)

    def of(self, user_id: str) -> dict[str, int]:
        """Return the privileges of a user: id and greatest depth."""
        version = self._state.links["systemuserroles_association"].version
        if version != self._kept_at:
            self._kept, self._kept_at = {}, version
        if user_id not in self._kept:
            self._kept[user_id] = self._worked_out(user_id)
        return self._kept[user_id]

    def _worked_out(self, user_id: str) -> dict[str, int]:
        roles = self.roles_of(user_id)
        if seeded_id("role", ADMINISTRATOR_ROLE) in roles:
            return dict.fromkeys(self._names, GLOBAL)
        held: dict[str, int] = {}
        for role in roles:
            for row_id, depth in self.by_role.get(role, {}).items():
                held[row_id] = max(depth, held.get(row_id, 0))
        return held

    def depth(self, caller: Caller, verb: str, table: Table) -> int:
        """Return how far a caller may reach with one verb on one table; 0 is not at all."""
        asked = STAND_INS.get(table.name, table.name)
        if asked is None:
            return GLOBAL
        stands_for = self._state.schema.tables.get(asked, table)
        row_id = privilege_id(privilege_name(verb, stands_for))
        return self.of(caller.user_id).get(row_id, GLOBAL if self.is_administrator(caller.user_id) else 0)

    def require(self, caller: Caller, verb: str, table: Table) -> int:
        """Return the depth of a privilege, or raise the 403 that names the missing one."""
        depth = self.depth(caller, verb, table)
        stands_for = self._state.schema.tables.get(STAND_INS.get(table.name) or table.name, table)
        if not depth:
            raise self.missing(caller, privilege_name(verb, stands_for), table)
        self.used.setdefault(caller.user_id, set()).add(privilege_name(verb, stands_for))
        return depth

    def require_named(self, caller: Caller, name: str) -> None:
        """Raise the 403 unless a caller holds a privilege that belongs to no table."""
        if privilege_id(name) not in self.of(caller.user_id) and not self.is_administrator(caller.user_id):
            raise self.missing(caller, name, None)

    def missing(self, caller: Caller, name: str, table: Table | None) -> errors.ServiceError:
        """Return the 403 that names a missing privilege."""
        roles, held = self.roles_of(caller.user_id), self.of(caller.user_id)
        about = f" on OTC={table.metadata.get('ObjectTypeCode')} for entity '{table.name}'" if table else ""
        message = (
            f"Principal user (Id={caller.user_id}, type=8, roleCount={len(roles)}, privilegeCount={len(held)}, "
            f"accessMode=0), is missing {name} privilege (Id={privilege_id(name)}){about}. context.Caller={caller.user_id}"
        )
        return errors.ServiceError(403, errors.MISSING_PRIVILEGE, message)

    def visible(self, caller: Caller, table: Table, depth: int) -> Callable[[int], bool] | None:
        """Return a test of whether a row is within reach, or None when every row is."""
        if depth >= GLOBAL or not table.user_owned:
            return None
        store = self._state.store(table.name)
        if depth == BASIC:
            owner = store.getter("ownerid")
            mine = {caller.user_id, *self._state.teams_of(caller.user_id)}
            return lambda at: owner(at) in mine
        unit = store.getter("owningbusinessunit")
        units = self._state.units_below(caller.business_unit) if depth == DEEP else {caller.business_unit}
        return lambda at: unit(at) in units

    def require_row(self, caller: Caller, verb: str, table: Table, position: int) -> None:
        """Raise the 403 unless a caller may do this to this row."""
        depth = self.require(caller, verb, table)
        reach = self.visible(caller, table, depth)
        if reach is not None and not reach(position):
            row_id = self._state.store(table.name).id_at(position)
            message = (
                f"SecLib::AccessCheckEx failed. Principal user (Id={caller.user_id}, type=8) does not have "
                f"{RIGHTS.get(verb, verb)} right(s) for record with id {row_id} of entity {table.name}."
            )
            raise errors.ServiceError(403, errors.ACCESS_DENIED, message)

    def grant(self, role_id: str, granted: Iterable[tuple[str, int]]) -> None:
        """Give a role privileges, by id and depth; a privilege it has gets the new depth."""
        self.by_role.setdefault(role_id, {}).update(granted)
        self.changed()

    def read_depth(self, given: Any) -> int:
        """Return the depth mask of a request's Depth: its name, or its number 0 to 3."""
        mask = DEPTHS.get(given) if isinstance(given, str) else DEPTH_NUMBERS.get(given)
        if mask is None:
            raise errors.unreadable(f"Requested value '{given}' was not found.")
        return mask
