"""The Dataverse simulator: who asks, how much is allowed, and which handler answers."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox import tokens
from sandbox.dataverse import errors, people, records, seeds, values
from sandbox.dataverse.actions import ActionRoutes
from sandbox.dataverse.batch import BatchRoutes
from sandbox.dataverse.components import Components
from sandbox.dataverse.context import CALLER
from sandbox.dataverse.data_routes import DataRoutes
from sandbox.dataverse.metadata import Definitions
from sandbox.dataverse.metadata_routes import MetadataRoutes
from sandbox.dataverse.privileges import Caller
from sandbox.dataverse.protection import NAMES, TOO_LONG, TOO_MANY, TOO_PARALLEL, Limits, Protection
from sandbox.dataverse.segments import Segments
from sandbox.dataverse.solutions import SolutionRoutes
from sandbox.dataverse.state import State
from sandbox.dataverse.webhooks import Webhooks, plans_from
from sandbox.web import Clock, Fault, Refusal, Route, Simulator

LONGEST_ADDRESS = 32_768
COOKIE = "sandbox-user"
API_PATH = "/api/data/"
TOO_MANY_REQUESTS = 429
SERVICE_FAULTS = {
    "deadlock": (500, "0x80044150", "Generic SQL error. Transaction was deadlocked and has been chosen as the deadlock victim."),
    "sql-timeout": (500, "0x80044151", "SQL timeout expired."),
    "unavailable": (503, "", "The service is unavailable."),
    "too-many": (429, TOO_MANY, "Number of requests exceeded the limit of 6000 over time window of 300 seconds."),
    "too-long": (429, TOO_LONG, "Combined execution time of incoming requests exceeded limit of 1200000 milliseconds."),
    "too-parallel": (429, TOO_PARALLEL, "Number of concurrent requests exceeded the limit of 52."),
    "link-expired": (400, errors.PAGING_COOKIE, "The paging cookie has expired. Start the query again."),
    "publishing": (400, "0x80071151", "Cannot start another customization operation: one is running at this moment."),
}
"""Faults by name: HTTP status, code and sentence. A fault's `seconds` is the Retry-After of a 429."""


class DataverseSimulator(Simulator):
    """A Dataverse environment; `routes` lists what it imitates, the package's docstring what it does not.

    `host` is what webhooks name as the environment; without it the host of the latest request is.
    `outbound=False` leaves out the table of outbound segments. `webhook_ca` is a file with the authority that signed the
    certificates of webhook receivers. `pages` gives more addresses to be served from the same origin.
    """

    name = "dataverse"

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        organization: str = "contoso",
        host: str | None = None,
        outbound: bool = True,
        webhook_ca: str | None = None,
        pages: Callable[["DataverseSimulator"], Iterable[Route]] | None = None,
    ) -> None:
        clock = clock or Clock()
        self.state = State(clock, organization, host or "")
        self._fixed_host = host is not None
        seeds.seed(self.state, outbound=outbound)
        self.segments = Segments(self.state)
        self.components = Components(self.state)
        self.definitions = Definitions(self.state, self.components)
        self.webhooks = Webhooks(self.state, self.components, webhook_ca)
        self.protection = Protection(clock)
        self._pages = pages
        super().__init__(clock)

    def routes(self) -> Iterable[Route]:
        """Return every imitated address."""
        return [
            *BatchRoutes(self.state, self.dispatch).routes(),
            *MetadataRoutes(self.state, self.definitions, self.components).routes(),
            *SolutionRoutes(self.state, self.components).routes(),
            *ActionRoutes(self.state, self.segments).routes(),
            *DataRoutes(self.state).routes(),
            *(self._pages(self) if self._pages else ()),
        ]

    def handle(self, request: Request) -> Response:
        """Answer one request of a client."""
        if not request.path.startswith(API_PATH):
            return super().handle(request)
        try:
            response = self._answered(request)
        except Refusal as refusal:
            response = refusal.response()
        response.headers.setdefault("OData-Version", "4.0")
        response.headers["x-ms-service-request-id"] = str(uuid.uuid4())
        response.headers["x-ms-dop-hint"] = str(self.state.settings.dop_hint)
        if request.scheme == "https":
            response.headers["Set-Cookie"] = "ARRAffinity=sandbox; Path=/; HttpOnly; Secure"
        return response

    def _answered(self, request: Request) -> Response:
        length = len(request.path) + len(request.query_string)
        if length > LONGEST_ADDRESS:
            raise errors.ServiceError(414, "", "The request URI is longer than 32768 characters.")
        if not self._fixed_host and request.scheme == "https":
            self.state.host = request.host
        request.environ[CALLER] = caller = self.caller_of(request)
        with self.protection.counted(caller.user_id) as headers:
            if self.state.settings.latency and request.method == "GET":
                time.sleep(self.state.settings.latency)
            with self.state.lock:
                response = self.dispatch(request)
        response.headers.update(headers)
        return response

    def dispatch(self, request: Request) -> Response:
        """Answer a request whose caller is known, as one transaction; also each part of a batch."""
        with self.state.transaction():
            return super().handle(request)

    def named_fault(self, fault: Fault, request: Request) -> Response | None:
        """Return the answer of a fault named after what goes wrong in the service (`SERVICE_FAULTS`)."""
        if fault.kind not in SERVICE_FAULTS:
            return super().named_fault(fault, request)
        status, code, message = SERVICE_FAULTS[fault.kind]
        headers = {"Retry-After": str(int(fault.seconds or 1)), **fault.headers} if status == TOO_MANY_REQUESTS else fault.headers
        return errors.ServiceError(status, code, message, headers).response()

    def unknown_route(self, request: Request) -> Response:
        """Return the 404 of an unknown segment, or the 405 of a wrong verb."""
        if any(pattern.fullmatch(request.path) for pattern, _ in self._routes):
            message = f"The HTTP verb {request.method} is not supported for this address."
            return errors.ServiceError(405, "0x80060888", message).response()
        segment = request.path.rstrip("/").rpartition("/")[2]
        return errors.unknown_segment(segment).response()

    def caller_of(self, request: Request) -> Caller:
        """Return who asks, or raise the 401 or 403."""
        user = self._user_of(request)
        for name in ("CallerObjectId", "MSCRMCallerID"):
            if name in request.headers:
                raise errors.not_imitated(f"acting for another user (the header {name})")
        if user.get("isdisabled"):
            message = f"The specified user(Id = {user['systemuserid']}) is disabled. Consider enabling this user."
            raise errors.ServiceError(403, errors.USER_DISABLED, message)
        return Caller(
            user_id=user["systemuserid"],
            business_unit=user["businessunitid"],
            application_id=user.get("applicationid"),
            solution=request.headers.get("MSCRM.SolutionUniqueName") or request.args.get("SolutionUniqueName"),
            tag=request.args.get("tag"),
            correlation_id=request.headers.get("x-ms-correlation-request-id"),
        )

    def _user_of(self, request: Request) -> dict[str, Any]:
        header = request.headers.get("Authorization", "")
        if header.lower().startswith("bearer "):
            return self._token_user(request, header[7:].strip())
        user_id = values.guid(request.cookies.get(COOKIE))
        user = None if user_id is None else self.state.find("systemuser", user_id)
        if user is None:
            raise self._unauthorized(request, "0x80048306", "The request has no credentials that this environment knows.")
        return user

    def _token_user(self, request: Request, token: str) -> dict[str, Any]:
        audience = request.host_url.rstrip("/")
        try:
            claims = tokens.read(token, audience, self.clock.time())
        except tokens.ExpiredToken:
            raise self._unauthorized(request, errors.TOKEN_EXPIRED, "The access token has expired.") from None
        except tokens.InvalidToken as error:
            raise self._unauthorized(request, errors.TOKEN_EXPIRED, str(error)) from None
        return self._known(claims)

    def _known(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        """Return the user of a token: a person by their object in the directory, an application by its id."""
        if "scp" in claims:
            wanted = {"azureactivedirectoryobjectid": str(claims.get("oid")).lower()}
        else:
            wanted = {"applicationid": str(claims["appid"]).lower()}
        user = self.state.first("systemuser", **wanted)
        if user is None:
            raise errors.ServiceError(403, errors.NOT_A_MEMBER, "The user is not a member of the organization.")
        return user

    def _unauthorized(self, request: Request, code: str, message: str) -> errors.ServiceError:
        authority = f"https://login.microsoftonline.com/{tokens.TENANT}/oauth2/authorize"
        challenge = f"Bearer authorization_uri={authority}, resource_id={request.host_url}"
        return errors.ServiceError(401, code, message, {"WWW-Authenticate": challenge})

    def close(self) -> None:
        """Stop telling webhook receivers anything; the rest needs no closing."""
        self.webhooks.close()

    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """Return what the control panel can do; every one is also a method."""
        named = (
            self.seed_contacts,
            self.load_contacts,
            self.load_rows,
            self.make_segment,
            self.change_members,
            self.opt_out,
            self.go_live,
            self.settle_segments,
            self.forbid_steps,
            self.table,
            self.row,
            self.users,
            self.marketer,
            self.settings,
            self.expire_links,
            self.limits,
            self.throttle,
            self.plan_deliveries,
            self.deliveries,
            self.await_deliveries,
            self.redeliver,
        )
        return {action.__name__: action for action in named}

    def seed_contacts(self, count: int = 1000, seed: int = 1, **shares: Any) -> dict[str, int]:
        """Add generated contacts (`table="lead"`: leads) and return how many of each sort."""
        with self.state.lock:
            return people.seed_contacts(self.state, count, seed, **shares)

    def load_contacts(self, rows: Sequence[Mapping[str, Any]] | None = None, path: str | None = None) -> dict[str, Any]:
        """Add contacts from rows or a CSV file and return their ids."""
        with self.state.lock:
            ids = people.load_contacts(self.state, rows, path)
        return {"count": len(ids), "ids": ids}

    def load_rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Add rows of any table as they are, without rules and events, and return their ids."""
        with self.state.lock:
            ids = people.load_rows(self.state, table, rows)
        return {"count": len(ids), "ids": ids}

    def make_segment(
        self,
        kind: str = "realtime",
        name: str = "Sample segment",
        members: Sequence[str] | str = "all",
        base: str = "contact",
        *,
        live: bool = True,
        static: bool = True,
        query: str | None = None,
        uid: str = "plain",
        prefix: str = "",
    ) -> dict[str, str]:
        """Add a segment of a kind (`realtime`, `list`, `outbound`) and return its table, set, id, and the ids of its rows.

        `members` are ids, or `all` rows of `base`. `query` is the FetchXML of a dynamic list; `uid` how the segment row
        writes the id of its definition (`plain`, `upper`, `braces`); `prefix` stands before ids of an outbound segment.
        """
        with self.state.lock:
            ids = self.state.store(base).ids() if members == "all" else list(members)
            if kind == "realtime":
                made = self.segments.make_realtime(name, ids, base, live=live, static=static, uid=uid)
                return self._made("msdynmkt_segmentdefinition", made["definition"], name) | made
            if kind == "list":
                dynamic = None if static else query or default_query(base)
                made = self.segments.make_list(name, ids, base, live=live, query=dynamic)
                return self._made("list", made["list"], name) | made
            if kind == "outbound":
                made = self.segments.make_outbound(name, ids, live=live, static=static, prefix=prefix)
                return self._made("msdyncrm_segment", made["outbound"], name) | made
        raise ValueError(f"There is no kind of segment called {kind!r}: realtime, list or outbound.")

    def _made(self, table: str, row_id: str, name: str) -> dict[str, str]:
        return {"table": table, "set": self.state.schema.table(table).set_name, "id": row_id, "name": name}

    def change_members(self, id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> dict[str, int]:  # noqa: A002
        """Add and take out members of a list or real-time segment behind everybody's back."""
        with self.state.lock:
            return {"members": self.segments.change(id, add, remove)}

    def opt_out(self, addresses: Sequence[str] | None = None, share: float = 0.0, seed: int = 1) -> dict[str, Any]:
        """Opt addresses (or a share of all contacts') out of the commercial purpose."""
        with self.state.lock:
            opted_out = people.opt_out(self.state, addresses, share, seed)
        return {"count": len(opted_out), "addresses": opted_out}

    def go_live(self, table: str, id: str) -> dict[str, Any]:  # noqa: A002 - the word of the control panel
        """Let a segment go live as the service does: steps hear of each change of status."""
        with self.state.lock, self.state.transaction():
            self.segments.go_live(table, id)
        return {}

    def settle_segments(self) -> dict[str, int]:
        """Let segments that are still going live be live."""
        with self.state.lock, self.state.transaction():
            return {"live": self.segments.settle()}

    def forbid_steps(self, table: str) -> dict[str, int]:
        """Let a table take no steps, as some of Microsoft's do; return how many messages that concerns."""
        with self.state.lock:
            store = self.state.store("sdkmessagefilter")
            found = [at for at in store.positions() if store.get(at, "primaryobjecttypecode") == table]
            for at in found:
                self.state.set_values("sdkmessagefilter", at, {"iscustomprocessingstepallowed": False})
        return {"messages": len(found)}

    def table(self, name: str) -> list[dict[str, Any]]:
        """Return every row of a table, with formatted names of columns as in the Web API."""
        with self.state.lock:
            definition = self.state.schema.table(name)
            return [records.shown(self.state, definition, at) for at in self.state.store(name).positions()]

    def row(self, table: str, id: str) -> dict[str, Any] | None:  # noqa: A002 - the word of the control panel
        """Return one row, or None."""
        with self.state.lock:
            at = self.state.store(table).position(id.lower())
            return None if at is None else records.shown(self.state, self.state.schema.table(table), at)

    def marketer(self, number: int = 0) -> str:
        """Return the id of one of the marketers."""
        return seeds.MARKETERS[number]

    def users(self) -> dict[str, Any]:
        """Return the ids of the people and applications that come with the environment."""
        return {
            "administrator": seeds.ADMINISTRATOR,
            "administrator_application": seeds.ADMINISTRATOR_APPLICATION,
            "administrator_application_user": seeds.ADMINISTRATOR_APPLICATION_USER,
            "marketers": list(seeds.MARKETERS),
            "business_unit": self.state.root_unit,
            "organization": self.state.organization_id,
        }

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Change settings of the environment's behaviour and return all of them."""
        known = {one.name for one in fields(self.state.settings)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"There is no setting {name!r}; there are {', '.join(sorted(known))}.")
            setattr(self.state.settings, name, value)
        return {name: getattr(self.state.settings, name) for name in sorted(known)}

    def expire_links(self) -> dict[str, Any]:
        """Let every next link that was given out so far be too old."""
        self.state.link_generation += 1
        self.state.snapshots.clear()
        return {}

    def limits(self, **limits: Any) -> dict[str, Any]:
        """Switch service protection on: `requests`, `milliseconds`, `concurrency` for each `window` of seconds; {} is off."""
        self.protection.limits = Limits(**limits)
        return asdict(self.protection.limits)

    def throttle(self, limit: str = "requests", seconds: float = 1.0, times: int = 1) -> dict[str, Any]:
        """Refuse the next requests with 429 for one limit (`requests`, `time`, `concurrency`), whatever was counted."""
        self.protection.planned.extend([(NAMES[limit], seconds)] * times)
        return {"planned": len(self.protection.planned)}

    def plan_deliveries(
        self,
        mode: str = "once",
        seconds: float = 0.0,
        times: int | None = None,
        message: str | None = None,
        table: str | None = None,
    ) -> dict[str, Any]:
        """Let the next webhook deliveries happen `once`, `twice`, `never` or `late`; `once` for all forgets earlier plans."""
        if mode == "once" and times is None:
            self.webhooks.plans.clear()
        else:
            self.webhooks.plans.append(plans_from(mode, seconds, times, message, table))
        return {"plans": len(self.webhooks.plans)}

    def deliveries(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the log of webhook deliveries, oldest first."""
        return self.webhooks.log(since)

    def await_deliveries(self, seconds: float = 30.0) -> dict[str, bool]:
        """Wait until nothing is being delivered."""
        return {"idle": self.webhooks.wait(seconds)}

    def redeliver(self, number: int) -> dict[str, int]:
        """Send a delivery of the log once more and return the status of the answer."""
        return {"status": self.webhooks.redeliver(number)}


def default_query(base: str) -> str:
    """Return the FetchXML of a dynamic list of all active rows."""
    name = "name" if base == "account" else "fullname"
    return (
        f'<fetch version="1.0" mapping="logical"><entity name="{base}"><attribute name="{base}id"/><attribute name="{name}"/>'
        '<filter type="and"><condition attribute="statecode" operator="eq" value="0"/></filter></entity></fetch>'
    )
