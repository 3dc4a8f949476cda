"""Solutions and what they hold: bookkeeping, dependencies, publishing, and the rules of component tables."""

import base64
import binascii
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox.dataverse import errors, forms
from sandbox.dataverse.privileges import Caller
from sandbox.dataverse.state import Rules, State
from sandbox.dataverse.tables import Table

ENTITY, ATTRIBUTE, RELATIONSHIP, OPTION_SET, KEY = 1, 2, 10, 9, 14
COMPONENT_TYPES = {
    "role": 20,
    "savedquery": 26,
    "systemform": 60,
    "webresource": 61,
    "fieldsecurityprofile": 70,
    "sdkmessageprocessingstep": 92,
    "sdkmessageprocessingstepimage": 93,
    "serviceendpoint": 95,
    "appaction": 10_301,
}
WITH_SUBCOMPONENTS, WITHOUT_SUBCOMPONENTS, SHELL = 0, 1, 2
PUBLISHABLE = {"systemform": ("formxml", "formjson", "name"), "webresource": ("content", "displayname")}
"""Columns whose changes are seen by ordinary reads only after publishing."""
WEB_RESOURCE_NAME = re.compile(r"[A-Za-z0-9_./]+")
UNIQUE_NAME = re.compile(r"[A-Za-z]\w*")
LARGEST_WEB_RESOURCE = 5 * 1024 * 1024


class Components:
    """Knows which component is in which solution, what depends on what, and what waits for publishing."""

    def __init__(self, state: State) -> None:
        self._state = state
        for table in COMPONENT_TYPES:
            state.rules.setdefault(table, ComponentRules(self, table))
        state.rules["solution"] = SolutionRules(self)
        state.rules["publisher"] = PublisherRules()
        state.rules["webresource"] = WebResourceRules(self, "webresource")
        state.rules["systemform"] = FormRules(self, "systemform")
        state.rules["savedquery"] = ViewRules(self, "savedquery")
        state.rules["appaction"] = ActionRules(self, "appaction")
        state.rules["role"] = RoleRules(self, "role")
        state.rules["systemuser"] = UserRules()

    def solution_id(self, unique_name: str) -> str:
        """Return the id of a solution, or raise the 404."""
        row = self._state.first("solution", uniquename=unique_name)
        if row is None:
            raise errors.ServiceError(404, errors.NOT_FOUND, f"The solution with unique name '{unique_name}' does not exist.")
        row_id: str = row["solutionid"]
        return row_id

    def add(self, solution: str | None, kind: int, object_id: str, behavior: int = WITH_SUBCOMPONENTS) -> str | None:
        """Put a component into a solution, once, and return the id of the entry; None without a solution."""
        if not solution or solution == "Default":
            return None
        solution_id = self.solution_id(solution)
        held = self._state.first("solutioncomponent", solutionid=solution_id, componenttype=kind, objectid=object_id)
        if held is not None:
            return str(held["solutioncomponentid"])
        row_id = str(uuid.uuid4())
        row = {
            "solutioncomponentid": row_id,
            "solutionid": solution_id,
            "componenttype": kind,
            "objectid": object_id,
            "rootcomponentbehavior": behavior,
            "ismetadata": kind in (ENTITY, ATTRIBUTE, RELATIONSHIP, OPTION_SET, KEY),
            "createdon": self._state.now(),
            "versionnumber": self._state.next_version(),
        }
        self._state.add_row("solutioncomponent", row)
        return row_id

    def add_part(self, solution: str | None, table: Table, kind: int, object_id: str) -> None:
        """Put a part of a table into a solution, with the table as a shell when it is not in there."""
        if not solution:
            return
        whole = self._state.first(
            "solutioncomponent",
            solutionid=self.solution_id(solution),
            componenttype=ENTITY,
            objectid=table.metadata_id,
        )
        if whole is not None and whole["rootcomponentbehavior"] == WITH_SUBCOMPONENTS:
            return
        if whole is None:
            self.add(solution, ENTITY, table.metadata_id, SHELL)
        self.add(solution, kind, object_id)

    def drop(self, object_id: str) -> None:
        """Take a component that is gone out of every solution."""
        for row in list(self._state.all_rows("solutioncomponent")):
            if row["objectid"] == object_id:
                at = self._state.store("solutioncomponent").position(row["solutioncomponentid"])
                if at is not None:
                    self._state.remove_row("solutioncomponent", at)

    def of(self, solution_id: str) -> Iterator[dict[str, Any]]:
        """Give the entries of a solution."""
        return (row for row in self._state.all_rows("solutioncomponent") if row["solutionid"] == solution_id)

    # ------------------------------------------------------------------ publishing

    def stage(self, table: str, before: Mapping[str, Any], changes: dict[str, Any]) -> None:
        """Keep changes of a published component back until it is published."""
        key = next(row_id for name, row_id in before.items() if name == self._state.schema.table(table).key)
        waiting = {name: changes.pop(name) for name in PUBLISHABLE[table] if name in changes}
        if not waiting:
            return
        held = self._state.unpublished.setdefault((table, key), {})
        old = dict(held)
        held.update(waiting)

        def undo() -> None:
            held.clear()
            held.update(old)

        self._state.undoable(undo)

    def publish(self, chosen: Iterable[tuple[str, str]] | None = None) -> None:
        """Publish rows of forms and web resources; None publishes all."""
        wanted = None if chosen is None else set(chosen)
        for table in PUBLISHABLE:
            for row_id in self._state.store(table).ids():
                if wanted is None or (table, row_id) in wanted:
                    self._publish_one(table, row_id)

    def _publish_one(self, table: str, row_id: str) -> None:
        self._state.published.add((table, row_id))
        waiting = self._state.unpublished.pop((table, row_id), None)
        at = self._state.store(table).position(row_id)
        if waiting and at is not None:
            self._state.set_values(table, at, {**waiting, "versionnumber": self._state.next_version()})

    def publish_xml(self, text: str) -> None:
        """Publish what a PublishXml request lists; what does not exist is refused."""
        root = forms.parsed(text)
        if root.tag != "importexportxml":
            raise errors.invalid_argument("The ParameterXml must have the root importexportxml.")
        chosen: set[tuple[str, str]] = set()
        for entity in root.iter("entity"):
            table = self._state.schema.table((entity.text or "").strip())
            chosen.update(
                ("systemform", row["formid"]) for row in self._state.all_rows("systemform") if row["objecttypecode"] == table.name
            )
        for resource in root.iter("webresource"):
            row_id = (resource.text or "").strip("{} \n").lower()
            if self._state.find("webresource", row_id) is None:
                raise errors.row_not_found("webresource", row_id)
            chosen.add(("webresource", row_id))
        for name in root.iter("optionset"):
            if (name.text or "").strip().lower() not in self._state.schema.choices:
                raise errors.invalid_argument(f"The option set '{name.text}' does not exist.")
        self.publish(chosen)

    # ------------------------------------------------------------------ dependencies

    def all_forms(self) -> Iterator[tuple[dict[str, Any], str]]:
        """Give every form with each FormXml that it has, published and waiting."""
        for row in self._state.all_rows("systemform"):
            if row.get("formxml"):
                yield row, row["formxml"]
            waiting = self._state.unpublished.get(("systemform", row["formid"]), {})
            if waiting.get("formxml"):
                yield row, waiting["formxml"]

    def users_of_web_resource(self, row: Mapping[str, Any]) -> set[str]:
        """Return the ids of what uses a web resource: forms and commands."""
        found: set[str] = set()
        for form, formxml in self.all_forms():
            ids, names = forms.web_resources_in(formxml)
            if row["webresourceid"] in ids or row["name"] in names:
                found.add(form["formid"])
        for action in self._state.all_rows("appaction"):
            used = (action.get("onclickeventjavascriptwebresourceid"), action.get("iconwebresourceid"))
            if row["webresourceid"] in used:
                found.add(action["appactionid"])
        return found

    def users_of_column(self, table: Table, column: str) -> set[str]:
        """Return the ids of what uses a column: forms, views and alternate keys."""
        found = {
            form["formid"]
            for form, formxml in self.all_forms()
            if form["objecttypecode"] == table.name and column in forms.columns_in(formxml)
        }
        for view in self._state.all_rows("savedquery"):
            text = (view.get("fetchxml") or "") + (view.get("layoutxml") or "")
            if view.get("returnedtypecode") == table.name and f'name="{column}"' in text.replace("'", '"'):
                found.add(view["savedqueryid"])
        return found | {key.metadata["MetadataId"] for key in table.keys.values() if column in key.columns}

    def users_of_table(self, table: Table) -> set[str]:
        """Return the ids of what needs a table: lookups of other tables, and registered steps."""
        found = {
            one.metadata_id
            for one in self._state.schema.one_to_many(table.name)
            if one.referencing != table.name and one.metadata["IsCustomRelationship"]
        }
        for step in self._state.all_rows("sdkmessageprocessingstep"):
            message_filter = self._state.find("sdkmessagefilter", step.get("sdkmessagefilterid") or "")
            if message_filter is not None and message_filter["primaryobjecttypecode"] == table.name:
                found.add(step["sdkmessageprocessingstepid"])
        return found


class ComponentRules(Rules):
    """What every component table has in common: the solution header, and leaving solutions when it goes."""

    def __init__(self, components: Components, table: str) -> None:
        self._components, self._table = components, table
        self._key = {"systemform": "formid"}.get(table, table + "id")

    def created(self, state: State, caller: Caller, row: Mapping[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Put the new component into the solution of the request."""
        self._components.add(caller.solution, COMPONENT_TYPES[self._table], row[self._key])

    def updating(self, state: State, caller: Caller, before: Mapping[str, Any], changes: dict[str, Any]) -> None:  # noqa: ARG002
        """Put the changed component into the solution of the request."""
        self._components.add(caller.solution, COMPONENT_TYPES[self._table], before[self._key])

    def deleting(self, state: State, caller: Caller, row: Mapping[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Take it out of every solution."""
        self._components.drop(row[self._key])
        state.unpublished.pop((self._table, row[self._key]), None)


class WebResourceRules(ComponentRules):
    """Names, content and dependencies of web resources."""

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Check name, type and content."""
        name = row.get("name") or ""
        if not WEB_RESOURCE_NAME.fullmatch(name) or "//" in name:
            raise errors.invalid_argument(
                "Web resource names may only include letters, numbers, periods, and nonconsecutive forward slash characters."
            )
        if name.partition("_")[0] not in prefixes(state) or "_" not in name:
            raise errors.invalid_argument(f"The web resource name '{name}' must include the customization prefix of a publisher.")
        if state.first("webresource", name=name) is not None:
            raise errors.ServiceError(412, errors.DUPLICATE_KEY, f"A webresource with the same name '{name}' already exists.")
        if row.get("webresourcetype") is None:
            raise errors.invalid_argument("A web resource needs a webresourcetype.")
        self._check_content(row)

    def _check_content(self, values: Mapping[str, Any]) -> None:
        content = values.get("content")
        if content is None:
            return
        try:
            size = len(base64.b64decode(content, validate=True))
        except (binascii.Error, ValueError):
            raise errors.invalid_argument("The content of a web resource must be base64.") from None
        if size > LARGEST_WEB_RESOURCE:
            raise errors.invalid_argument(f"Webresource content size is too big: more than {LARGEST_WEB_RESOURCE} bytes.")

    def updating(self, state: State, caller: Caller, before: Mapping[str, Any], changes: dict[str, Any]) -> None:
        """Keep new content back until publishing."""
        super().updating(state, caller, before, changes)
        self._check_content(changes)
        self._components.stage("webresource", before, changes)

    def deleting(self, state: State, caller: Caller, row: Mapping[str, Any]) -> None:
        """Refuse while a form or command uses it."""
        users = self._components.users_of_web_resource(row)
        if users:
            raise errors.is_referenced("WebResource", row["webresourceid"], len(users))
        super().deleting(state, caller, row)


class FormRules(ComponentRules):
    """FormXml is checked and its changes wait for publishing."""

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Check the table and the FormXml."""
        table = state.schema.table(row.get("objecttypecode") or "")
        forms.check_form(table, row.get("formxml") or "")
        row.setdefault("formidunique", row["formid"])

    def updating(self, state: State, caller: Caller, before: Mapping[str, Any], changes: dict[str, Any]) -> None:
        """Check new FormXml and keep it back until publishing."""
        super().updating(state, caller, before, changes)
        if changes.get("formxml") is not None:
            forms.check_form(state.schema.table(before["objecttypecode"]), changes["formxml"])
        self._components.stage("systemform", before, changes)

    def deleting(self, state: State, caller: Caller, row: Mapping[str, Any]) -> None:
        """Refuse forms that came with Microsoft's solutions."""
        if row.get("ismanaged"):
            raise errors.invalid_argument("The form belongs to a managed solution and cannot be deleted.")
        super().deleting(state, caller, row)


class ViewRules(ComponentRules):
    """A view's query must be well-formed and name columns that are there."""

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Check the table, the query and the layout."""
        table = state.schema.table(row.get("returnedtypecode") or "")
        self._check(table, row)

    def updating(self, state: State, caller: Caller, before: Mapping[str, Any], changes: dict[str, Any]) -> None:
        """Check what changes."""
        super().updating(state, caller, before, changes)
        self._check(state.schema.table(before["returnedtypecode"]), changes)

    def _check(self, table: Table, values: Mapping[str, Any]) -> None:
        for name in ("fetchxml", "layoutxml"):
            if values.get(name):
                root = forms.parsed(values[name])
                for part in (*root.findall("entity/attribute"), *root.iter("cell")):
                    column = part.get("name") or ""
                    if "." not in column and column not in table.columns:
                        raise errors.invalid_argument(f"The view names the column {column}, which {table.name} does not have.")


class ActionRules(ComponentRules):
    """Commands have a unique name and need what they call."""

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Check the unique name and the script."""
        name = row.get("uniquename")
        if not name:
            raise errors.invalid_argument("A command needs a uniquename.")
        if state.first("appaction", uniquename=name) is not None:
            raise errors.ServiceError(412, errors.DUPLICATE_KEY, f"A command with the unique name '{name}' already exists.")
        if row.get("contextvalue"):
            state.schema.table(row["contextvalue"])


class SolutionRules(Rules):
    """Names of solutions; a solution that goes leaves its components behind."""

    def __init__(self, components: Components) -> None:
        self._components = components

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Check name, version and publisher."""
        name = row.get("uniquename") or ""
        if not UNIQUE_NAME.fullmatch(name):
            raise errors.invalid_argument(f"The solution unique name '{name}' contains invalid characters.")
        if state.first("solution", uniquename=name) is not None:
            message = f"A solution with the unique name '{name}' already exists."
            raise errors.ServiceError(412, errors.DUPLICATE_KEY, message)
        if not row.get("publisherid") or not row.get("version"):
            raise errors.invalid_argument("A solution needs a publisher and a version.")
        row["installedon"] = state.now()

    def deleting(self, state: State, caller: Caller, row: Mapping[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Refuse the environment's own solution."""
        if row["uniquename"] in ("Default", "Active"):
            raise errors.invalid_argument("The system solution cannot be deleted.")


class PublisherRules(Rules):
    """Prefixes of publishers."""

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Check name and prefix."""
        prefix = row.get("customizationprefix") or ""
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{1,7}", prefix) or prefix.lower().startswith("mscrm"):
            raise errors.invalid_argument(
                f"The customization prefix '{prefix}' must be 2 to 8 letters or digits, start with a letter, "
                "and not start with mscrm."
            )
        if state.first("publisher", uniquename=row.get("uniquename")) is not None:
            raise errors.ServiceError(412, errors.DUPLICATE_KEY, "A publisher with this unique name already exists.")


class RoleRules(ComponentRules):
    """A role belongs to a business unit and takes its privileges with it."""

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:
        """Check the name, and give the caller's business unit when none is named."""
        if not row.get("name"):
            raise errors.invalid_argument("A role needs a name.")
        row.setdefault("businessunitid", caller.business_unit)
        if state.first("role", name=row["name"], businessunitid=row["businessunitid"]) is not None:
            message = "A role with the specified name already exists in the business unit."
            raise errors.ServiceError(400, errors.DUPLICATE_KEY, message)

    def created(self, state: State, caller: Caller, row: Mapping[str, Any]) -> None:
        """Start without privileges."""
        super().created(state, caller, row)
        state.privileges.by_role[row["roleid"]] = {}

    def deleting(self, state: State, caller: Caller, row: Mapping[str, Any]) -> None:
        """Forget its privileges."""
        super().deleting(state, caller, row)
        state.privileges.by_role.pop(row["roleid"], None)
        state.privileges.changed()


class UserRules(Rules):
    """Application users need a business unit, and an application has one user."""

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Check what an application user needs."""
        application = row.get("applicationid")
        if not row.get("businessunitid"):
            raise errors.ServiceError(500, "0x80040216", "An unexpected error occurred.")
        if application is not None and state.first("systemuser", applicationid=application) is not None:
            message = f"A user with the application id {application} already exists."
            raise errors.ServiceError(412, errors.DUPLICATE_KEY, message)
        row.setdefault("fullname", " ".join(filter(None, (row.get("firstname"), row.get("lastname")))) or f"# {application}")
        row.setdefault("azureactivedirectoryobjectid", str(uuid.uuid4()))


def prefixes(state: State) -> set[str]:
    """Return the customization prefixes of all publishers."""
    return {row["customizationprefix"] for row in state.all_rows("publisher") if row.get("customizationprefix")}
