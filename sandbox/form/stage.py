"""The form page on a Dataverse environment without a worker: whoever uses it plays the worker, row by row.

For showing every screen of the tab at will: browser tests of single screens, and pictures. The whole product runs with
`python -m sandbox serve`.
"""

import base64
import json
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sandbox.dataverse import DataverseSimulator
from sandbox.dataverse.building import (
    Builder,
    Spec,
    build_column,
    choice,
    flag,
    insert,
    lookup,
    memo,
    moment,
    relate,
    text,
    whole,
)
from sandbox.dataverse.privileges import GLOBAL, VERBS, privilege_id, privilege_name
from sandbox.dataverse.seeds import MARKETERS
from sandbox.dataverse.state import StoredFile
from sandbox.dataverse.tables import seeded_id
from sandbox.form.routes import routes_for
from sandbox.web import Route, make_server

MARA, MILES = MARKETERS
ROLE = seeded_id("role", "LinkedIn Audience Marketer")
STATUS = {
    name: 727000000 + number
    for number, name in enumerate(
        [
            "REQUESTED",
            "CHECKING",
            "WAITING_FOR_SIGN_IN",
            "WAITING_FOR_AD_ACCOUNT",
            "READY_TO_CREATE",
            "UPLOADING",
            "BUILDING",
            "READY",
            "TOO_SMALL",
            "NOT_ALLOWED",
            "FAILED",
            "CANCELLED",
            "ARCHIVED",
            "EXPIRED",
        ]
    )
}
SIGN_IN_STATUS = {
    name: 727000000 + number
    for number, name in enumerate(["NOT_SIGNED_IN", "WAITING", "SIGNED_IN", "EXPIRES_SOON", "EXPIRED", "REFUSED"])
}
COMMANDS = {727000000: "CHECK", 727000001: "CREATE", 727000002: "CANCEL", 727000003: "RETRY"}
SIGN_IN_COMMANDS = {727000000: "CONNECT", 727000001: "DISCONNECT", 727000002: "REFRESH_ACCOUNTS"}
SEGMENT_TABLES = ("msdynmkt_segmentdefinition", "msdynmkt_segment", "list", "msdyncrm_segment")


def _options(names: Mapping[str, int]) -> dict[int, str]:
    return {value: name.replace("_", " ").capitalize() for name, value in names.items()}


def _audience_specs() -> list[Spec]:
    counts = [
        "progress",
        "members",
        "noemail",
        "invalid",
        "duplicate",
        "optedout",
        "inactive",
        "eligible",
        "sent",
        "refused",
        "matched",
        "audiencesize",
    ]
    return [
        text("lima_name", 200),
        *(
            text(f"lima_{name}", 400)
            for name in ["segmenttable", "segmentid", "segmentname", "commandid", "adaccount", "adaccountname"]
        ),
        *(text(f"lima_{name}", 400) for name in ["linkedinaudienceid", "adsegment", "link", "correlationid"]),
        choice("lima_status", _options(STATUS)),
        choice("lima_command", COMMANDS),
        choice("lima_origin", {727000000: "Person", 727000001: "Automation", 727000002: "Went live"}),
        memo("lima_statusmessage", 4000),
        flag("lima_smallconfirmed"),
        *(whole(f"lima_{name}") for name in counts),
        Spec("lima_matchrate", "Decimal", {"MinValue": 0, "MaxValue": 100, "Precision": 2}),
        moment("lima_started"),
        moment("lima_finished"),
        lookup("lima_signinuser", "systemuser", "lima_SignInUser"),
        Spec("lima_leftout", "File", {"MaxSizeInKB": 131072}),
    ]


def _sign_in_specs() -> list[Spec]:
    return [
        text("lima_name", 200),
        choice("lima_status", _options(SIGN_IN_STATUS)),
        choice("lima_command", SIGN_IN_COMMANDS),
        memo("lima_statusmessage", 4000),
        *(text(f"lima_{name}", 2000) for name in ["linkedinname", "address", "commandid"]),
        moment("lima_expireson"),
        moment("lima_addressexpireson"),
        memo("lima_adaccounts"),
    ]


def _mark_specs() -> list[Spec]:
    return [
        flag("lima_createwhenlive"),
        text("lima_liveadaccount", 100),
        text("lima_liveadaccountname", 200),
        lookup("lima_livesetby", "systemuser", "lima_LiveSetBy"),
    ]


class Stage(DataverseSimulator):
    """A Dataverse environment with our tables, the form page, and two marketers who hold all privileges on them.

    `tab` is the folder with the tab's built web resources.
    """

    def __init__(self, tab: Path) -> None:
        super().__init__()
        state = self.state
        builder = Builder(state)
        builder.table("lima_audience", "lima_Audience", "lima_audiences", _audience_specs(), code=10_100, name_column="lima_name")
        builder.table("lima_signin", "lima_SignIn", "lima_signins", _sign_in_specs(), code=10_101, name_column="lima_name")
        builder.finish()
        for name in SEGMENT_TABLES:
            for spec in _mark_specs():
                build_column(state.schema.table(name), spec)
                relate(state, state.schema.table(name), spec)
        self._role()
        self._publish(tab)

    def _publish(self, tab: Path) -> None:
        for file in sorted(tab.glob("*.*")):
            row_id = seeded_id("webresource", file.name)
            content = base64.b64encode(file.read_bytes()).decode()
            kind = {".html": 1, ".css": 2, ".js": 3}.get(file.suffix)
            if kind:
                row = {"webresourceid": row_id, "name": f"lima_/{file.name}", "content": content, "webresourcetype": kind}
                insert(self.state, "webresource", [row])
                self.state.published.add(("webresource", row_id))

    def _role(self) -> None:
        insert(
            self.state, "role", [{"roleid": ROLE, "name": "LinkedIn Audience Marketer", "businessunitid": self.state.root_unit}]
        )
        for name in ("lima_audience", "lima_signin"):
            table = self.state.schema.table(name)
            self.state.privileges.add_for(table)
            self.state.privileges.grant(ROLE, [(privilege_id(privilege_name(verb, table)), GLOBAL) for verb in VERBS])
        for marketer in MARKETERS:
            self.state.links["systemuserroles_association"].add(marketer, ROLE)

    def routes(self) -> list[Route]:
        """Return the addresses of the environment and of the form page."""
        return [*super().routes(), *routes_for(self)]

    # -------------------------------------------------------------- what a test or a picture sets up

    def segment(
        self, name: str = "Autumn webinar attendees", *, members: int = 12_480, live: bool = True, static: bool = True
    ) -> str:
        """Add a real-time segment that says it has this many members, and return the id of its definition."""
        ids = self.make_segment(name=name, members=[], live=live, static=static)
        with self.state.lock:
            store = self.state.store("msdynmkt_segment")
            at = store.position(ids["segment"])
            if at is not None:
                store.set(at, "msdynmkt_membercount", members)
        return ids["definition"]

    def audience(
        self, segment: str, status: str, *, owner: str = MARA, table: str = SEGMENT_TABLES[0], days: float = -1, **values: Any
    ) -> str:
        """Add an audience of a segment, asked for so many days from now, as the worker would have left it; return its id."""
        row_id = str(uuid.uuid4())
        row = {
            "lima_audienceid": row_id,
            "lima_name": "Autumn webinar attendees",
            "lima_segmenttable": table,
            "lima_segmentid": segment,
            "lima_status": STATUS[status],
            "lima_origin": 727000000,
            "createdon": self.moment(days=days),
            **self._owned(owner),
            **{f"lima_{name}": value for name, value in values.items()},
        }
        with self.state.lock:
            insert(self.state, "lima_audience", [row])
        return row_id

    def sign_in(
        self, owner: str = MARA, status: str = "SIGNED_IN", *, days: float = 41, accounts: Iterable[Any] = (), **values: Any
    ) -> str:
        """Add a user's sign-in that ends in so many days, and return its id."""
        row_id = str(uuid.uuid4())
        row = {
            "lima_signinid": row_id,
            "lima_name": "LinkedIn",
            "lima_status": SIGN_IN_STATUS[status],
            "lima_expireson": self.moment(days=days),
            "lima_adaccounts": json.dumps(list(accounts)),
            **self._owned(owner),
            **{f"lima_{name}": value for name, value in values.items()},
        }
        with self.state.lock:
            insert(self.state, "lima_signin", [row])
        return row_id

    def change(self, table: str, row_id: str, **values: Any) -> None:
        """Change columns of a row as the worker does; names without their prefix, `status` by its name."""
        if isinstance(status := values.get("status"), str):
            values["status"] = (STATUS if table == "lima_audience" else SIGN_IN_STATUS)[status]
        with self.state.lock:
            at = self.state.store(table).position(row_id)
            assert at is not None, "the row is gone"  # noqa: S101 - a mistake of the script that plays the worker
            self.state.set_values(table, at, {f"lima_{name}": value for name, value in values.items()})

    def take_role(self, user: str) -> None:
        """Take the role that allows our tables from a user."""
        with self.state.lock:
            self.state.links["systemuserroles_association"].remove(user, ROLE)

    def left_out(self, audience: str, content: str) -> None:
        """Attach the list of members left out to an audience."""
        with self.state.lock:
            self.state.files["lima_audience", audience, "lima_leftout"] = StoredFile(
                "members-left-out.csv", content.encode(), "text/csv"
            )
        self.change("lima_audience", audience, leftout=str(uuid.uuid4()))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return all rows of a table, oldest first, with their columns without the prefix."""
        with self.state.lock:
            return [{name.removeprefix("lima_"): value for name, value in row.items()} for row in self.state.all_rows(table)]

    def moment(self, **ahead: float) -> str:
        """Return a time so far from now, in the Web API's form."""
        return f"{self.clock.now() + timedelta(**ahead):%Y-%m-%dT%H:%M:%SZ}"

    def _owned(self, owner: str) -> dict[str, Any]:
        return {
            "ownerid": owner,
            "ownerid@target": "systemuser",
            "owninguser": owner,
            "owningbusinessunit": self.state.root_unit,
            "createdby": owner,
            "modifiedby": owner,
        }


def account(
    number: int,
    name: str,
    *,
    role: str | None = "CAMPAIGN_MANAGER",
    status: str = "ACTIVE",
    currency: str = "EUR",
    test: bool = False,
) -> dict[str, Any]:
    """Return an ad account as the worker offers it."""
    usable = status == "ACTIVE" and role not in (None, "VIEWER")
    urn = f"urn:li:sponsoredAccount:{number}"
    return {"urn": urn, "name": name, "currency": currency, "status": status, "role": role, "test": test, "usable": usable}


@contextmanager
def served(stage: Stage) -> Iterator[str]:
    """Serve a stage on loopback for the length of a block; gives its address."""
    server = make_server(stage, 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
