"""Functions and actions: those of the platform, of lists, of real-time segments, and the bulk messages."""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox.dataverse import errors, payloads, records, values
from sandbox.dataverse.context import API, KEY, Context, answer, no_content
from sandbox.dataverse.privileges import DEPTH_NAMES
from sandbox.dataverse.rows import Members
from sandbox.dataverse.segments import LIVE, LIVE_WITH_WARNINGS, MOST_PER_GROUP, STOPPED, Segments
from sandbox.dataverse.state import Event, State
from sandbox.dataverse.tables import CRM, Table
from sandbox.web import Route, count_elements

MOST_ADDED_MEMBERS = 1000
ARGUMENTS = r"(?:\((?P<arguments>.*)\))?"


@dataclass(frozen=True)
class Operation:
    """One function or action: its name, what it is bound to (`nothing`, `set` or `row`), its method and handler."""

    name: str
    bound: str
    method: str
    handler: Callable[..., Response]
    about: str

    def path(self) -> str:
        """Return the regular expression of its address."""
        arguments = ARGUMENTS if self.method == "GET" else r"(?:\(\))?"
        if self.bound == "nothing":
            return f"{API}/{re.escape(self.name)}{arguments}"
        where = r"/(?P<set_name>[A-Za-z_]\w*)" + (KEY if self.bound == "row" else "")
        return f"{API}{where}/{re.escape(CRM + self.name)}{arguments}"


class ActionRoutes:
    """Handlers for functions and actions."""

    def __init__(self, state: State, segments: Segments) -> None:
        self._state, self._segments = state, segments

    def operations(self) -> Iterable[Operation]:
        """Return every function and action that is imitated."""
        yield Operation("WhoAmI", "nothing", "GET", self.who_am_i, "ids of user, business unit and organization")
        yield Operation("RetrieveVersion", "nothing", "GET", self.version, "version of the platform")
        yield Operation("RetrieveTotalRecordCount", "nothing", "GET", self.total_count, "rows of whole tables")
        yield Operation("RetrieveUserPrivileges", "row", "GET", self.user_privileges, "privileges of a user with depth")
        yield Operation("RetrieveRolePrivilegesRole", "nothing", "GET", self.role_privileges, "privileges of a role with depth")
        yield Operation("AddPrivilegesRole", "row", "POST", self.add_privileges, "give a role privileges")
        yield Operation("ReplacePrivilegesRole", "row", "POST", self.replace_privileges, "give a role exactly these privileges")
        yield Operation("RemovePrivilegeRole", "row", "POST", self.remove_privilege, "take one privilege from a role")
        yield Operation("CreateMultiple", "set", "POST", self.create_multiple, "create many rows, all or none")
        yield Operation("UpdateMultiple", "set", "POST", self.update_multiple, "update many rows, all or none")
        yield Operation("UpsertMultiple", "set", "POST", self.upsert_multiple, "create or update many rows, all or none")
        yield Operation("BulkDelete", "nothing", "POST", self.bulk_delete, "delete rows by id, as one job done at once")
        yield Operation("AddListMembersList", "nothing", "POST", self.add_list_members, "add members to a marketing list")
        yield Operation("AddMemberList", "row", "POST", self.add_list_member, "add one member to a marketing list")
        yield Operation("RemoveMemberList", "row", "POST", self.remove_list_member, "take one member out of a marketing list")
        yield Operation("msdynmkt_MembersList", "nothing", "POST", self.members_list, "all members of a real-time segment")
        yield Operation(
            "msdynmkt_ListGroupMembers", "nothing", "POST", self.group_members, "a page of one static group's members"
        )
        yield Operation("msdynmkt_AddStaticMembers", "nothing", "POST", self.add_static, "add members to a static group")
        yield Operation(
            "msdynmkt_RemoveStaticMembers", "nothing", "POST", self.remove_static, "take members out of a static group"
        )
        yield Operation("msdynmkt_PublishSegmentDefinition", "nothing", "POST", self.publish_segment, "let a segment go live")
        yield Operation("msdynmkt_StopSegments", "nothing", "POST", self.stop_segments, "stop live segments")

    def routes(self) -> Iterable[Route]:
        """Return the addresses of all functions and actions."""
        return [Route(one.method, one.path(), one.handler, one.about) for one in self.operations()]

    def _context(self, request: Request) -> Context:
        return Context(self._state, request)

    def _named(self, context: Context, arguments: str | None) -> dict[str, Any]:
        """Return a function's arguments, aliases included."""
        found: dict[str, Any] = {}
        for name, value in re.findall(r"(\w+)\s*=\s*(@\w+|\[.*?\]|'(?:[^']|'')*'|[^,]+)", arguments or ""):
            text = context.arguments.get(value, "") if value.startswith("@") else value
            found[name] = json.loads(text.replace("'", '"')) if text.startswith("[") else text.strip("'")
        return found

    def who_am_i(self, request: Request, arguments: str | None = None) -> Response:  # noqa: ARG002 - it has none
        """Answer who the caller is."""
        context = self._context(request)
        body = {
            "@odata.context": f"{context.base}/$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse",
            "BusinessUnitId": context.caller.business_unit,
            "UserId": context.caller.user_id,
            "OrganizationId": self._state.organization_id,
        }
        return answer(body)

    def version(self, request: Request, arguments: str | None = None) -> Response:  # noqa: ARG002 - it has none
        """Answer the platform's version."""
        context = self._context(request)
        return answer({"@odata.context": f"{context.base}/$metadata#{CRM}RetrieveVersionResponse", "Version": "9.2.26104.00170"})

    def total_count(self, request: Request, arguments: str | None = None) -> Response:
        """Answer how many rows some tables have."""
        context = self._context(request)
        names = self._named(context, arguments).get("EntityNames", [])
        counts = [len(self._state.store(self._state.schema.table(name).name)) for name in names]
        collection = {"Count": len(names), "IsReadOnly": False, "Keys": names, "Values": counts}
        head = f"{context.base}/$metadata#{CRM}RetrieveTotalRecordCountResponse"
        return answer({"@odata.context": head, "EntityRecordCountCollection": collection})

    def user_privileges(self, request: Request, set_name: str, key: str, arguments: str | None = None) -> Response:  # noqa: ARG002
        """Answer what a user may do and how far."""
        context = self._context(request)
        row_id = self._row(set_name, key, "systemusers")
        held = self._state.privileges.of(row_id)
        return answer(self._role_answer(context, held, "RetrieveUserPrivilegesResponse"))

    def role_privileges(self, request: Request, arguments: str | None = None) -> Response:
        """Answer what a role allows and how far."""
        context = self._context(request)
        role = values.guid(self._named(context, arguments).get("RoleId"))
        held = self._state.privileges.by_role.get(role or "")
        if held is None:
            raise errors.row_not_found("role", str(role))
        return answer(self._role_answer(context, held, "RetrieveRolePrivilegesRoleResponse"))

    def _role_answer(self, context: Context, held: Mapping[str, int], response: str) -> dict[str, Any]:
        listed = [
            {
                "Depth": DEPTH_NAMES[depth],
                "PrivilegeId": row_id,
                "BusinessUnitId": self._state.root_unit,
                "PrivilegeName": self._state.privileges.name_of(row_id),
            }
            for row_id, depth in held.items()
        ]
        return {"@odata.context": f"{context.base}/$metadata#{CRM}{response}", "RolePrivileges": listed}

    def _row(self, set_name: str, key: str, wanted: str) -> str:
        if set_name != wanted:
            raise errors.unknown_segment(set_name)
        table = self._state.schema.by_set(set_name)
        row_id, _ = payloads.row_key(self._state, table, key)
        if row_id is None or self._state.store(table.name).position(row_id) is None:
            raise errors.row_not_found(table.name, key)
        return row_id

    def add_privileges(self, request: Request, set_name: str, key: str) -> Response:
        """Give a role privileges."""
        context = self._context(request)
        role = self._role_to_change(context, set_name, key)
        self._grant(role, self._given(context.object()))
        return no_content()

    def replace_privileges(self, request: Request, set_name: str, key: str) -> Response:
        """Give a role exactly these privileges."""
        context = self._context(request)
        role = self._role_to_change(context, set_name, key)
        given = self._given(context.object())
        self._state.privileges.by_role[role] = {}
        self._state.links["roleprivileges_association"].replace(role, [])
        self._grant(role, given)
        return no_content()

    def remove_privilege(self, request: Request, set_name: str, key: str) -> Response:
        """Take one privilege from a role."""
        context = self._context(request)
        role = self._role_to_change(context, set_name, key)
        body = context.object()
        privilege = values.guid(body.get("PrivilegeId"))
        if privilege is None:
            _, privilege = payloads.referenced(self._state, (body.get("Privilege") or {}).get("@odata.id"))
        self._state.privileges.by_role.get(role, {}).pop(privilege, None)
        self._state.links["roleprivileges_association"].remove(role, privilege)
        self._state.privileges.changed()
        return no_content()

    def _role_to_change(self, context: Context, set_name: str, key: str) -> str:
        table = self._state.schema.table("role")
        self._state.privileges.require(context.caller, "Write", table)
        return self._row(set_name, key, "roles")

    def _given(self, body: Mapping[str, Any]) -> list[tuple[str, int]]:
        given: list[tuple[str, int]] = []
        for one in errors.listed(body, "Privileges"):
            row_id = values.guid(one.get("PrivilegeId"))
            if row_id is None or self._state.privileges.name_of(row_id) is None:
                raise errors.row_not_found("privilege", str(one.get("PrivilegeId")))
            given.append((row_id, self._state.privileges.read_depth(one.get("Depth"))))
        return given

    def _grant(self, role: str, given: Sequence[tuple[str, int]]) -> None:
        self._state.privileges.grant(role, given)
        for row_id, _ in given:
            self._state.links["roleprivileges_association"].add(role, row_id)

    def create_multiple(self, request: Request, set_name: str) -> Response:
        """Create every row of Targets, or none."""
        context, table, targets = self._targets(request, set_name)
        given = [payloads.read(self._state, table, target) for target in targets]
        ids = [records.create(self._state, context.caller, table, row) for row in given]
        self._tell_multiple(context, "CreateMultiple", table, list(zip(ids, given, strict=True)))
        return answer({"@odata.context": f"{context.base}/$metadata#{CRM}CreateMultipleResponse", "Ids": ids})

    def update_multiple(self, request: Request, set_name: str) -> Response:
        """Update every row of Targets, or none."""
        context, table, targets = self._targets(request, set_name)
        changed = [(self._target_id(table, target), payloads.read(self._state, table, target)) for target in targets]
        missing = [row_id for row_id, _ in changed if self._state.store(table.name).position(row_id) is None]
        if missing:
            raise errors.rows_not_found(table.name, missing)
        for row_id, given in changed:
            records.update(self._state, context.caller, table, row_id, given)
        self._tell_multiple(context, "UpdateMultiple", table, changed)
        return no_content()

    def upsert_multiple(self, request: Request, set_name: str) -> Response:
        """Create or update every row of Targets, or none."""
        context, table, targets = self._targets(request, set_name)
        for target in targets:
            self._upsert_one(context, table, target)
        return no_content()

    def _targets(self, request: Request, set_name: str) -> tuple[Context, Table, list[Mapping[str, Any]]]:
        context = self._context(request)
        table = self._state.schema.by_set(set_name)
        targets = context.object().get("Targets")
        if not isinstance(targets, list) or not all(isinstance(one, Mapping) for one in targets):
            raise errors.unreadable("The parameter 'Targets' must be a collection of entities.")
        for target in targets:
            if "@odata.type" not in target:
                raise errors.unreadable("A type named '' could not be resolved: every target needs an '@odata.type'.")
            if str(target["@odata.type"]).lstrip("#").removeprefix(CRM) != table.name:
                raise errors.unreadable(f"The type '{target['@odata.type']}' is not the type of the set '{set_name}'.")
        count_elements(request, len(targets))
        return context, table, targets

    def _target_id(self, table: Table, target: Mapping[str, Any]) -> str:
        if "@odata.id" in target:
            return payloads.referenced(self._state, target["@odata.id"])[1]
        row_id = values.guid(target.get(table.key)) or ""
        if not row_id:
            raise errors.invalid_argument(f"Every target of UpdateMultiple needs its key {table.key}.")
        return row_id

    def _upsert_one(self, context: Context, table: Table, target: Mapping[str, Any]) -> None:
        given = payloads.read(self._state, table, target)
        key = (
            re.sub(r"^.*\((.*)\)$", r"\1", str(target["@odata.id"]))
            if "@odata.id" in target
            else str(target.get(table.key) or "")
        )
        row_id, key_values = payloads.row_key(self._state, table, key) if key else (None, {})
        if row_id is not None and self._state.store(table.name).position(row_id) is not None:
            records.update(self._state, context.caller, table, row_id, given)
        else:
            records.create(self._state, context.caller, table, key_values | given)

    def _tell_multiple(
        self, context: Context, message: str, table: Table, changed: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> None:
        if changed and self._state.listening(message, table.name):
            at = self._state.clock.time()
            self._state.happened(Event(message, table.name, changed[0][0], {}, {}, {}, context.caller, at, rows=tuple(changed)))

    def bulk_delete(self, request: Request) -> Response:
        """Delete the rows that each query of QuerySet names by id; the job is done at once."""
        context = self._context(request)
        for query in errors.listed(context.object(), "QuerySet"):
            table = self._state.schema.table(query.get("EntityName", ""))
            for row_id in self._bulk_ids(table, query):
                if self._state.store(table.name).position(row_id) is not None:
                    records.delete(self._state, context.caller, table, row_id)
        job = {
            "name": "Bulk delete",
            "operationtype": 13,
            "statecode": 3,
            "statuscode": 30,
            "asyncoperationid": str(uuid.uuid4()),
        }
        self._state.add_row("asyncoperation", job | {"versionnumber": self._state.next_version(), "createdon": self._state.now()})
        return answer({"@odata.context": f"{context.base}/$metadata#{CRM}BulkDeleteResponse", "JobId": job["asyncoperationid"]})

    def _bulk_ids(self, table: Table, query: Mapping[str, Any]) -> list[str]:
        conditions = errors.listed(query.get("Criteria") or {}, "Conditions")
        for condition in conditions:
            if condition.get("AttributeName") == table.key and condition.get("Operator") in ("In", "Equal"):
                given = [one.get("Value") if isinstance(one, Mapping) else one for one in condition.get("Values") or ()]
                return [row_id for value in given if (row_id := values.guid(value)) is not None]
        raise errors.not_imitated("BulkDelete by anything but ids")

    def add_list_members(self, request: Request) -> Response:
        """Add members to a static marketing list."""
        context = self._context(request)
        body = context.object()
        list_id = self._entity_id(body.get("List"), "listid")
        members = errors.listed(body, "Members")
        self._add_to_list(context, list_id, members)
        return answer({"@odata.context": f"{context.base}/$metadata#{CRM}AddListMembersListResponse"})

    def add_list_member(self, request: Request, set_name: str, key: str) -> Response:
        """Add one member to a static marketing list."""
        context = self._context(request)
        member = context.object().get("EntityId") or context.object().get("Entity")
        list_id = self._row(set_name, key, "lists")
        self._add_to_list(context, list_id, [member if isinstance(member, Mapping) else {"contactid": member}])
        return no_content()

    def remove_list_member(self, request: Request, set_name: str, key: str) -> Response:
        """Take one member out of a static marketing list."""
        context = self._context(request)
        body = context.object()
        list_id = self._row(set_name, key, "lists")
        pairs = self._list_pairs(list_id)
        self._require_list_write(context)
        member = body.get("EntityId")
        row_id = values.guid(member) if isinstance(member, str) else self._entity_id(member, f"{pairs.right}id")
        self._state.unlink(pairs, list_id, row_id or "")
        self._count_list(list_id)
        return no_content()

    def _entity_id(self, given: Any, key: str) -> str:
        if isinstance(given, Mapping):
            row_id = values.guid(given.get(key))
            if row_id is None and "@odata.id" in given:
                _, row_id = payloads.referenced(self._state, given["@odata.id"])
            if row_id is not None:
                return row_id
        raise errors.unreadable(f"A reference with '{key}' was expected.")

    def _list_pairs(self, list_id: str) -> Any:
        row = self._state.find("list", list_id)
        if row is None:
            raise errors.row_not_found("list", list_id)
        if row.get("type"):
            raise errors.invalid_argument("Cannot add or remove members of a dynamic marketing list.")
        member = {1: "account", 2: "contact", 4: "lead"}[row.get("createdfromcode") or row.get("membertype") or 2]
        return self._state.schema.relationships[f"list{member}_association"]

    def _require_list_write(self, context: Context) -> None:
        self._state.privileges.require(context.caller, "Write", self._state.schema.table("list"))

    def _add_to_list(self, context: Context, list_id: str, members: Sequence[Any]) -> None:
        self._require_list_write(context)
        pairs = self._list_pairs(list_id)
        for member in members:
            row_id = self._entity_id(member, f"{pairs.right}id")
            if self._state.store(pairs.right).position(row_id) is None:
                raise errors.row_not_found(pairs.right, row_id)
            self._state.link(pairs, list_id, row_id)
        self._count_list(list_id)

    def _count_list(self, list_id: str) -> None:
        pairs = self._list_pairs(list_id)
        at = self._state.store("list").position(list_id)
        if at is not None:
            count = len(self._state.links[pairs.schema_name].rights_of(list_id))
            self._state.set_values("list", at, {"membercount": count, "versionnumber": self._state.next_version()})

    def members_list(self, request: Request) -> Response:
        """Answer all members of a live segment as JSON text inside JSON."""
        context = self._context(request)
        settings = self._state.settings
        if not settings.members_available:
            raise errors.unknown_segment("msdynmkt_MembersList")
        segment = self._segment(context, context.object().get("SegmentId"))
        body = {"@odata.context": f"{context.base}/$metadata#{CRM}msdynmkt_MembersListResponse"}
        if settings.members_status != 200:  # noqa: PLR2004 - the inner status of success
            return answer(
                body | {"StatusCode": settings.members_status, "ResultText": json.dumps({"message": "Members not available"})}
            )
        members = self._segments.members_of(segment["msdynmkt_segmentid"])
        given = members[: settings.members_limit]
        shape = [",".join(given)] if settings.members_shape == "comma-separated" and given else given
        base_table = segment.get("msdynmkt_baseentitylogicalname") or "contact"
        result: dict[str, Any] = {
            "baseEntityLogicalName": base_table,
            "primaryKeyColumnName": base_table + "id",
            "members": shape,
            "totalCount": len(members),
            "additionalProperties": {},
        }
        return answer(body | {"StatusCode": 200, "ResultText": json.dumps(result)})

    def _segment(self, context: Context, given: Any) -> dict[str, Any]:
        """Return the segment row that an id names; by default the segment's own id, by setting its definition's."""
        for name in ("msdynmkt_segment", "msdynmkt_segmentdefinition"):
            self._state.privileges.require(context.caller, "Read", self._state.schema.table(name))
        row_id = values.guid(given)
        found = None
        if row_id is not None and self._state.settings.members_key in ("segment", "both"):
            found = self._state.find("msdynmkt_segment", row_id)
        if found is None and row_id is not None and self._state.settings.members_key in ("definition", "both"):
            found = self._segments.of_definition(row_id)
        if found is None or found["msdynmkt_segmentid"] not in self._segments.groups:
            raise errors.row_not_found("msdynmkt_segment", str(given))
        return found

    def group_members(self, request: Request) -> Response:
        """Answer one page of a static group's members; there is no total."""
        context = self._context(request)
        body = context.object()
        members = self._group(context, body)
        page, size = body.get("PageNo"), body.get("PageSize")
        if not isinstance(page, int) or not isinstance(size, int) or page < 1 or size < 1:
            raise errors.invalid_argument("PageNo and PageSize must be at least 1.")
        present = members.present()
        text = json.dumps({"entityIds": present[(page - 1) * size : page * size], "additionalProperties": {}})
        head = f"{context.base}/$metadata#{CRM}msdynmkt_ListGroupMembersResponse"
        return answer({"@odata.context": head, "Response": text})

    def _group(self, context: Context, body: Mapping[str, Any]) -> Members:
        """Return the members of the group that a body names by segment and group."""
        row_id = values.guid(body.get("SegmentId"))
        found = None if row_id is None else self._state.find("msdynmkt_segment", row_id) or self._segments.of_definition(row_id)
        if found is None:
            raise errors.row_not_found("msdynmkt_segment", str(body.get("SegmentId")))
        self._state.privileges.require(context.caller, "Read", self._state.schema.table("msdynmkt_segmentdefinition"))
        group = values.guid(body.get("GroupId"))
        members = self._segments.groups[found["msdynmkt_segmentid"]].get(group or "")
        if members is None:
            raise errors.row_not_found("segment group", str(body.get("GroupId")))
        return members

    def add_static(self, request: Request) -> Response:
        """Add members to a static group."""
        context = self._context(request)
        body = context.object()
        ids = [row_id for one in errors.listed(body, "EntityIds", str) if (row_id := values.guid(one)) is not None]
        if len(ids) > MOST_ADDED_MEMBERS:
            raise errors.invalid_argument(f"At most {MOST_ADDED_MEMBERS} members can be added in one call.")
        members = self._group(context, body)
        if len(members) + len(ids) > MOST_PER_GROUP:
            raise errors.invalid_argument(f"A group holds at most {MOST_PER_GROUP} members.")
        for row_id in ids:
            members.add(row_id)
        return no_content()

    def remove_static(self, request: Request) -> Response:
        """Take members out of a static group."""
        context = self._context(request)
        body = context.object()
        members = self._group(context, body)
        for one in errors.listed(body, "EntityIds", str):
            members.remove(values.guid(one) or "")
        return no_content()

    def publish_segment(self, request: Request) -> Response:
        """Let a segment definition go live."""
        context = self._context(request)
        table = self._state.schema.table("msdynmkt_segmentdefinition")
        row_id = values.guid(context.object().get("SegmentId")) or ""
        at = records.position_of(self._state, table, row_id)
        self._state.privileges.require_row(context.caller, "Write", table, at)
        self._segments.go_live(table.name, row_id, context.caller)
        return no_content()

    def stop_segments(self, request: Request) -> Response:
        """Stop live segments and say which were stopped."""
        context = self._context(request)
        table = self._state.schema.table("msdynmkt_segmentdefinition")
        results = []
        for given in errors.listed(context.object(), "SegmentIdList", str):
            row = self._state.find(table.name, values.guid(given) or "")
            live = row is not None and row.get("statuscode") in (LIVE, LIVE_WITH_WARNINGS)
            if row is not None and live:
                records.update(self._state, context.caller, table, row[table.key], {"statuscode": STOPPED})
            message = "" if live else "The segment is not live."
            one = {"SegmentId": given, "WasStopped": live, "Message": message, "DependentJourneys": [], "DependentSegments": []}
            results.append(one)
        summary = f"{sum(one['WasStopped'] for one in results)} of {len(results)} segments were stopped."
        head = f"{context.base}/$metadata#{CRM}msdynmkt_StopSegmentsResponse"
        return answer({"@odata.context": head, "summary": summary, "stopSingleSegmentResults": results})
