"""Webhooks: registering endpoints and steps, and telling receivers what happened as the platform does.

Every delivery is asynchronous, in threads of its own: 60 seconds, any 2xx is success, exactly one more attempt on 502, 503
and 504, and a failed System Job otherwise (DV docs, use-webhooks). All are kept in a log that tests read.
"""

import json
import re
import threading
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import urllib3

from sandbox.dataverse import errors, values
from sandbox.dataverse.components import ComponentRules, Components
from sandbox.dataverse.payloads import target_column
from sandbox.dataverse.privileges import Caller
from sandbox.dataverse.records import target_of
from sandbox.dataverse.state import Event, State
from sandbox.dataverse.tables import Table

WEBHOOK, WEBHOOK_KEY, HTTP_HEADER, HTTP_QUERY = 8, 4, 5, 6
POST_OPERATION, ASYNCHRONOUS, PRE_IMAGE, POST_IMAGE, BOTH_IMAGES = 40, 1, 0, 1, 2
ENDPOINT_HANDLER = "serviceendpoint"
CONTRACTS = "http://schemas.microsoft.com/xrm/2011/Contracts"
LARGEST_BODY = 256 * 1024
TIMEOUT_SECONDS = 60.0
ONCE_MORE = frozenset({502, 503, 504})
STRIPPED = ("ParentContext", "InputParameters", "PreEntityImages", "PostEntityImages")
FAILED_JOB, SUCCEEDED_JOB = 31, 30
IMAGE_PROPERTIES = {"Create": "id", "Update": "target", "Delete": "target"}
SETTINGS_XML = re.compile(r"\s*<settings>.*</settings>\s*", re.DOTALL)

type Send = Callable[[str, Mapping[str, str], bytes], int]
"""Posts a body and returns the HTTP status; 0 when there was no answer."""


@dataclass
class Delivery:
    """One notification: what, to whom, and how it went."""

    number: int
    at: float
    step: str
    step_id: str
    message: str
    table: str
    row_id: str
    url: str
    body: dict[str, Any]
    stripped: bool
    statuses: list[int] = field(default_factory=list)
    outcome: str = "waiting"
    """`waiting`, `succeeded`, `failed`, or `withheld` when settings keep it back."""


@dataclass
class DeliveryPlan:
    """How the next deliveries behave: `once`, `twice`, `never` or `late` (by `seconds`), `times` of them; None is all."""

    mode: str = "once"
    seconds: float = 0.0
    times: int | None = None
    message: str | None = None
    table: str | None = None

    def takes(self, event: Event) -> bool:
        """Tell whether this plan is for an event, and count it."""
        if self.times == 0 or (self.message or event.message) != event.message or (self.table or event.table) != event.table:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Webhooks:
    """Finds the steps of an event and delivers to their endpoints."""

    def __init__(self, state: State, components: Components, ca: str | None) -> None:
        self._state = state
        self.deliveries: list[Delivery] = []
        self.plans: list[DeliveryPlan] = []
        self._connections = urllib3.PoolManager(num_pools=4, maxsize=16, ca_certs=ca, retries=False, timeout=TIMEOUT_SECONDS)
        self.send: Send = self._post
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="webhook")
        self._open = 0
        self._idle = threading.Condition()
        self._steps: tuple[int, dict[tuple[str, str], list[dict[str, Any]]]] = (-1, {})
        state.listening, state.tell = self.listening, self.tell
        state.rules["serviceendpoint"] = EndpointRules(components, "serviceendpoint")
        state.rules["sdkmessageprocessingstep"] = StepRules(components, "sdkmessageprocessingstep")
        state.rules["sdkmessageprocessingstepimage"] = ImageRules(components, "sdkmessageprocessingstepimage")

    # ------------------------------------------------------------------ finding steps

    def listening(self, message: str, table: str) -> bool:
        """Tell whether any enabled step waits for a message on a table, alone or as one of many."""
        steps = self._all_steps()
        return any((one, table) in steps for one in (message, f"{message}Multiple", message.removesuffix("Multiple")))

    def _all_steps(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        version = sum(self._state.store(name).version for name in ("sdkmessageprocessingstep", "sdkmessagefilter", "sdkmessage"))
        if self._steps[0] != version:
            self._steps = (version, self._registered())
        return self._steps[1]

    def _registered(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for step in self._state.all_rows("sdkmessageprocessingstep"):
            message = self._state.find("sdkmessage", step["sdkmessageid"])
            message_filter = self._state.find("sdkmessagefilter", step.get("sdkmessagefilterid") or "")
            if step["statecode"] == 0 and message is not None and message_filter is not None:
                found.setdefault((message["name"], message_filter["primaryobjecttypecode"]), []).append(step)
        for steps in found.values():
            steps.sort(key=lambda step: step.get("rank") or 0)
        return found

    def tell(self, events: list[Event]) -> None:
        """Send what happened to every step that waits for it; returns at once."""
        for event in events:
            for single in self._as_steps_see(event):
                for step in self._all_steps().get((single.message, single.table), ()):
                    if _concerns(step, single):
                        self._plan(step, single)

    def _as_steps_see(self, event: Event) -> list[Event]:
        """Return the event, and the one that the merged pipeline makes of it for a step on the other message."""
        if event.message in ("Create", "Update"):
            rows = ((event.row_id, event.target),)
            return [event, _with(event, message=event.message + "Multiple", rows=rows)]
        return [event]

    # ------------------------------------------------------------------ delivering

    def _plan(self, step: Mapping[str, Any], event: Event) -> None:
        plan = next((one for one in self.plans if one.takes(event)), DeliveryPlan())
        delivery = self._delivery(step, event)
        self.deliveries.append(delivery)
        if plan.mode == "never":
            delivery.outcome = "withheld"
            return
        with self._idle:
            self._open += 2 if plan.mode == "twice" else 1
        delay = plan.seconds if plan.mode == "late" else 0.0
        for _ in range(2 if plan.mode == "twice" else 1):
            self._pool.submit(self._deliver, step, delivery, event, delay)

    def _delivery(self, step: Mapping[str, Any], event: Event) -> Delivery:
        endpoint = self._state.find("serviceendpoint", step["eventhandler"]) or {}
        body = execution_context(self._state, step, event, self._images(step, event))
        stripped = len(encoded(body)) > LARGEST_BODY
        if stripped:
            body = {name: value for name, value in body.items() if name not in STRIPPED}
        url = endpoint.get("url", "")
        return Delivery(
            number=len(self.deliveries) + 1,
            at=self._state.clock.time(),
            step=step.get("name", ""),
            step_id=step["sdkmessageprocessingstepid"],
            message=event.message,
            table=event.table,
            row_id=event.row_id,
            url=url,
            body=body,
            stripped=stripped,
        )

    def _images(self, step: Mapping[str, Any], event: Event) -> tuple[list[Any], list[Any]]:
        before, after = [], [{"key": "AsynchronousStepPrimaryName", "value": {"Attributes": []}}]
        table = self._state.schema.table(event.table)
        for image in self._state.all_rows("sdkmessageprocessingstepimage"):
            if image["sdkmessageprocessingstepid"] != step["sdkmessageprocessingstepid"]:
                continue
            wanted = [name.strip() for name in (image.get("attributes") or "").split(",") if name.strip()]
            alias = image["entityalias"]
            if image["imagetype"] in (PRE_IMAGE, BOTH_IMAGES) and event.before:
                before.append({"key": alias, "value": entity_value(table, event.row_id, _some(event.before, wanted))})
            if image["imagetype"] in (POST_IMAGE, BOTH_IMAGES) and event.after:
                after.append({"key": alias, "value": entity_value(table, event.row_id, _some(event.after, wanted))})
        return before, after

    def _deliver(self, step: Mapping[str, Any], delivery: Delivery, event: Event, delay: float) -> None:
        try:
            if delay:
                threading.Event().wait(delay)
            with self._state.lock:
                endpoint = self._state.find("serviceendpoint", step["eventhandler"])
            if endpoint is None:
                return
            url, headers = self._address(endpoint, delivery, event)
            data = encoded(delivery.body)
            status = self._attempt(delivery, url, headers, data)
            if status in ONCE_MORE:
                status = self._attempt(delivery, url, headers, data)
            self._finish(step, delivery, event, status)
        finally:
            with self._idle:
                self._open -= 1
                self._idle.notify_all()

    def _attempt(self, delivery: Delivery, url: str, headers: Mapping[str, str], data: bytes) -> int:
        status = self.send(url, headers, data)
        delivery.statuses.append(status)
        return status

    def _address(self, endpoint: Mapping[str, Any], delivery: Delivery, event: Event) -> tuple[str, dict[str, str]]:
        headers = {
            "Content-Type": "application/json",
            "x-ms-dynamics-organization": self._state.host,
            "x-ms-dynamics-entity-name": event.table,
            "x-ms-dynamics-request-name": event.message,
            "x-ms-correlation-request-id": delivery.body["CorrelationId"],
        }
        if delivery.stripped:
            headers["x-ms-dynamics-msg-size-exceeded"] = "true"
        url = endpoint["url"]
        secret = endpoint.get("authvalue") or ""
        if endpoint["authtype"] == HTTP_HEADER:
            headers |= settings_of(secret)
        else:
            query = {"code": secret} if endpoint["authtype"] == WEBHOOK_KEY else settings_of(secret)
            url += ("&" if "?" in url else "?") + urlencode(query)
        return url, headers

    def _finish(self, step: Mapping[str, Any], delivery: Delivery, event: Event, status: int) -> None:
        succeeded = 200 <= status < 300  # noqa: PLR2004 - any 2xx
        delivery.outcome = "succeeded" if succeeded else "failed"
        if succeeded and step.get("asyncautodelete"):
            return
        with self._state.lock:
            now = self._state.now()
            row = {
                "asyncoperationid": str(uuid.uuid4()),
                "name": step.get("name"),
                "operationtype": 1,
                "messagename": event.message,
                "primaryentitytype": event.table,
                "regardingobjectid": event.row_id,
                "statecode": 3,
                "statuscode": SUCCEEDED_JOB if succeeded else FAILED_JOB,
                "owningextensionid": delivery.step_id,
                "correlationid": delivery.body["CorrelationId"],
                "requestid": delivery.body["RequestId"],
                "createdon": now,
                "startedon": now,
                "completedon": now,
                "retrycount": len(delivery.statuses) - 1,
                "ownerid": event.caller.user_id,
                "versionnumber": self._state.next_version(),
            }
            if not succeeded:
                row["message"] = f"The webhook call failed because the http request got rejected with http status code {status}."
                row["friendlymessage"] = f"The web service answered {status or 'nothing'}."
                row["errorcode"] = -2147164129
            self._state.add_row("asyncoperation", row)

    def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        try:
            return self._connections.request("POST", url, body=body, headers=dict(headers), redirect=False).status
        except urllib3.exceptions.HTTPError:
            return 0

    def close(self) -> None:
        """Stop delivering and close connections."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._connections.clear()

    # ------------------------------------------------------------------ for tests

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is being delivered; False when it takes longer than this."""
        with self._idle:
            return self._idle.wait_for(lambda: self._open == 0, timeout=seconds)

    def redeliver(self, number: int) -> int:
        """Send a delivery again as it was and return the answer's status; the platform never does this by itself."""
        delivery = self.deliveries[number - 1]
        endpoint = next(row for row in self._state.all_rows("serviceendpoint") if row["url"] == delivery.url)
        event = Event(delivery.message, delivery.table, delivery.row_id, {}, {}, {}, Caller("", ""), delivery.at)
        url, headers = self._address(endpoint, delivery, event)
        return self._attempt(delivery, url, headers, encoded(delivery.body))

    def log(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the deliveries, oldest first, without the first `since`."""
        return [asdict(one) for one in self.deliveries[since:]]


def _with(event: Event, *, message: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Event:
    return Event(message, event.table, event.row_id, event.target, event.before, event.after, event.caller, event.at, rows)


def _concerns(step: Mapping[str, Any], event: Event) -> bool:
    filtering = {name.strip() for name in (step.get("filteringattributes") or "").split(",") if name.strip()}
    if not filtering or event.message not in ("Update", "UpdateMultiple"):
        return True
    return any(filtering & target.keys() for _, target in event.rows or ((event.row_id, event.target),))


def _some(row: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not wanted or name in wanted}


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a notification; slashes are escaped, as the platform does."""
    return json.dumps(body, separators=(",", ":")).replace("/", "\\/").encode()


def settings_of(authvalue: str) -> dict[str, str]:
    """Return names and values of an endpoint's `<settings>` XML."""
    try:
        root = ET.fromstring(authvalue)  # noqa: S314 - a simulator on loopback that reads what its own tests send
    except ET.ParseError:
        return {}
    return {one.get("name") or "": one.get("value") or "" for one in root.iter("setting")}


def _typed(kind: str) -> str:
    return f"{kind}:{CONTRACTS}"


def json_date(moment: str) -> str:
    """Return a stored date-time as `/Date(ms)/`."""
    parsed = datetime.fromisoformat(moment if "T" in moment else moment + "T00:00:00Z")
    return f"/Date({int(parsed.astimezone(UTC).timestamp() * 1000)})/"


def attribute_value(table: Table, row: Mapping[str, Any], name: str) -> Any:
    """Return a column's value as the execution context writes it; text, numbers and two-options are written plainly."""
    column, value = table.columns[name], row[name]
    if value is not None and column.is_lookup:
        return reference(target_of(table, row, name) or "", value, "EntityReference")
    write = _WRITTEN.get(column.kind)
    return value if value is None or write is None else write(value)


def _option(value: Any) -> dict[str, Any]:
    return {"__type": _typed("OptionSetValue"), "Value": int(value)}


_WRITTEN: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(values.CHOICE_KINDS, _option),
    "MultiSelectPicklist": lambda value: [_option(part) for part in value.split(",")],
    "Money": lambda value: {"__type": _typed("Money"), "Value": value},
    "DateTime": json_date,
}


def reference(table: str, row_id: str, kind: str | None = None, name: str | None = None) -> dict[str, Any]:
    """Return a reference to a row as the execution context writes it."""
    typed = {"__type": _typed(kind)} if kind else {}
    return typed | {"Id": row_id, "KeyAttributes": [], "LogicalName": table, "Name": name, "RowVersion": None}


def entity_value(table: Table, row_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as the execution context writes it."""
    names = [name for name in row if name in table.columns and not table.columns[name].secret]
    return {
        "__type": _typed("Entity"),
        "Attributes": [{"key": name, "value": attribute_value(table, row, name)} for name in names],
        "EntityState": None,
        "FormattedValues": [],
        "Id": row_id,
        "KeyAttributes": [],
        "LogicalName": table.name,
        "RelatedEntities": [],
        "RowVersion": None,
    }


def execution_context(state: State, step: Mapping[str, Any], event: Event, images: tuple[list[Any], list[Any]]) -> dict[str, Any]:
    """Return the RemoteExecutionContext of an event for one step."""
    operation, request_id = str(uuid.uuid4()), str(uuid.uuid4())
    correlation = values.guid(event.caller.correlation_id) or str(uuid.uuid4())
    base: dict[str, Any] = {
        "BusinessUnitId": event.caller.business_unit,
        "CorrelationId": correlation,
        "Depth": event.caller.depth,
        "InitiatingUserId": event.caller.user_id,
        "InputParameters": _input_parameters(state, event),
        "IsExecutingOffline": False,
        "IsInTransaction": False,
        "IsOfflinePlayback": False,
        "IsolationMode": 1,
        "MessageName": event.message,
        "Mode": step["mode"],
        "OperationCreatedOn": f"/Date({int(event.at * 1000)}-0000)/",
        "OperationId": operation,
        "OrganizationId": state.organization_id,
        "OrganizationName": state.organization,
        "OutputParameters": [{"key": "id", "value": event.row_id}] if event.message == "Create" else [],
        "OwningExtension": reference("sdkmessageprocessingstep", step["sdkmessageprocessingstepid"], name=step.get("name")),
        "PostEntityImages": images[1],
        "PreEntityImages": images[0],
        "PrimaryEntityId": event.row_id if not event.message.endswith("Multiple") else str(uuid.UUID(int=0)),
        "PrimaryEntityName": event.table,
        "RequestId": request_id,
        "SecondaryEntityName": "none",
        "SharedVariables": [{"key": "tag", "value": event.caller.tag}] if event.caller.tag else [],
        "Stage": step["stage"],
        "UserId": event.caller.user_id,
    }
    parent = base | {"Stage": 30, "ParentContext": None, "PostEntityImages": [], "PreEntityImages": []}
    return dict(sorted((base | {"ParentContext": parent}).items()))


def _input_parameters(state: State, event: Event) -> list[dict[str, Any]]:
    table = state.schema.table(event.table)
    if event.message == "Delete":
        return [{"key": "Target", "value": reference(event.table, event.row_id, "EntityReference")}]
    if event.message.endswith("Multiple"):
        entities = [entity_value(table, row_id, target) for row_id, target in event.rows]
        collection = {"__type": _typed("EntityCollection"), "Entities": entities, "EntityName": event.table}
        return [{"key": "Targets", "value": collection}]
    return [{"key": "Target", "value": entity_value(table, event.row_id, event.target)}]


class EndpointRules(ComponentRules):
    """What a webhook endpoint needs; other contracts are not imitated."""

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Check contract, address and authentication."""
        if row.get("contract") != WEBHOOK:
            raise errors.not_imitated("service endpoints other than webhooks (contract 8)")
        self._check(row)
        row["isauthvalueset"] = bool(row.get("authvalue"))

    def updating(self, state: State, caller: Caller, before: Mapping[str, Any], changes: dict[str, Any]) -> None:
        """Check what changes."""
        super().updating(state, caller, before, changes)
        self._check({**before, **changes})
        if "authvalue" in changes:
            changes["isauthvalueset"] = bool(changes["authvalue"])

    def _check(self, row: Mapping[str, Any]) -> None:
        if not re.match(r"https?://", row.get("url") or ""):
            raise errors.invalid_argument("The url of a webhook endpoint must be an absolute http or https address.")
        if row.get("authtype") not in (WEBHOOK_KEY, HTTP_HEADER, HTTP_QUERY):
            raise errors.invalid_argument("The authtype of a webhook endpoint must be 4, 5 or 6.")
        secret = row.get("authvalue")
        if not secret:
            raise errors.invalid_argument("A webhook endpoint needs an authvalue.")
        if row["authtype"] in (HTTP_HEADER, HTTP_QUERY) and (not SETTINGS_XML.fullmatch(secret) or not settings_of(secret)):
            raise errors.invalid_argument('The authvalue must be XML: <settings><setting name="..." value="..."/></settings>.')

    def deleting(self, state: State, caller: Caller, row: Mapping[str, Any]) -> None:
        """Refuse while a step uses it."""
        users = [
            step for step in state.all_rows("sdkmessageprocessingstep") if step.get("eventhandler") == row["serviceendpointid"]
        ]
        if users:
            raise errors.is_referenced("ServiceEndpoint", row["serviceendpointid"], len(users))
        super().deleting(state, caller, row)


class StepRules(ComponentRules):
    """What a step needs."""

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Check message, table, handler, stage and filtering columns."""
        if row.get("eventhandler") is None:
            raise errors.invalid_argument("A step needs an event handler: bind eventhandler_serviceendpoint.")
        row[target_column("eventhandler")] = ENDPOINT_HANDLER
        message = state.find("sdkmessage", row.get("sdkmessageid") or "")
        if message is None:
            raise errors.invalid_argument("A step needs a message: bind sdkmessageid.")
        self._check(state, row, message["name"])

    def updating(self, state: State, caller: Caller, before: Mapping[str, Any], changes: dict[str, Any]) -> None:
        """Check what changes."""
        super().updating(state, caller, before, changes)
        row = {**before, **changes}
        message = state.find("sdkmessage", row["sdkmessageid"]) or {"name": ""}
        self._check(state, row, message["name"])

    def _check(self, state: State, row: Mapping[str, Any], message: str) -> None:
        message_filter = state.find("sdkmessagefilter", row.get("sdkmessagefilterid") or "")
        if message_filter is None:
            raise errors.not_imitated("steps without a table (bind sdkmessagefilterid)")
        if not message_filter.get("iscustomprocessingstepallowed"):
            raise errors.invalid_argument(f"Custom steps are not allowed on {message_filter['primaryobjecttypecode']}.")
        if message_filter["sdkmessageid"] != row["sdkmessageid"]:
            raise errors.invalid_argument("The message filter belongs to another message.")
        if row.get("stage") != POST_OPERATION and row.get("mode") == ASYNCHRONOUS:
            raise errors.invalid_argument("Asynchronous steps can be registered in the stage post-operation (40) only.")
        if row.get("mode") != ASYNCHRONOUS:
            raise errors.not_imitated("synchronous steps on webhooks")
        table = state.schema.table(message_filter["primaryobjecttypecode"])
        filtering = [name.strip() for name in (row.get("filteringattributes") or "").split(",") if name.strip()]
        if filtering and not message.startswith("Update"):
            raise errors.invalid_argument("Filtering attributes can be given for the message Update only.")
        for name in filtering:
            if name not in table.columns:
                raise errors.invalid_argument(f"The filtering attribute {name} does not exist in {table.name}.")


class ImageRules(ComponentRules):
    """What an image needs."""

    def creating(self, state: State, caller: Caller, row: dict[str, Any]) -> None:  # noqa: ARG002 - the rules' signature
        """Check alias, property and columns."""
        step = state.find("sdkmessageprocessingstep", row.get("sdkmessageprocessingstepid") or "")
        if step is None or not row.get("entityalias"):
            raise errors.invalid_argument("An image needs a step and an entityalias.")
        message = (state.find("sdkmessage", step["sdkmessageid"]) or {"name": ""})["name"]
        wanted = IMAGE_PROPERTIES.get(message)
        if wanted is None or (row.get("messagepropertyname") or "").lower() != wanted:
            text = f"Message property name '{row.get('messagepropertyname')}' is not valid on message {message}."
            raise errors.ServiceError(400, errors.IMAGE_PROPERTY, text)
        if row.get("attributes") == "":
            raise errors.invalid_argument("The attributes of an image must name columns, or be left out for all columns.")
        if message == "Create" and row.get("imagetype") != POST_IMAGE:
            raise errors.invalid_argument("Only a post image can be registered for the message Create.")


def plans_from(mode: str, seconds: float, times: int | None, message: str | None, table: str | None) -> DeliveryPlan:
    """Return a plan for deliveries, or raise ValueError for a mode that is none."""
    if mode not in ("once", "twice", "never", "late"):
        raise ValueError(f"There is no delivery mode {mode!r}: once, twice, never or late.")
    return DeliveryPlan(mode, seconds, times, message, table)
