"""Installing the webhook: the endpoint with its secret, and the steps that ring it.

Source: Microsoft Learn, "Register a WebHook" and the table references of serviceendpoint and sdkmessageprocessingstep.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr  # nosec B406 # writes XML, reads none

from shared.dataverse.protocol import quoted
from shared.dataverse.schema import STEPS, WEBHOOK_HEADER, WEBHOOK_NAME, WEBHOOK_PATH
from solution.run import Run
from solution.web import InstallError, Web, any_of, first, rows

WEBHOOK, HTTP_HEADER = 8, 5  # contract and authtype
AFTERWARDS, IN_THE_BACKGROUND = 40, 1  # stage and mode: once the change is saved, without making anybody wait
SHORTEST_SECRET = 16


@dataclass(frozen=True)
class Step:
    """One of our steps: when to ring."""

    name: str
    table: str
    message: str
    columns: tuple[str, ...]


WANTED = tuple(Step(name, table, message, tuple(str(column) for column in columns)) for name, table, message, columns in STEPS)


def endpoint_url(app_url: str) -> str:
    """Return the full address of the webhook, whether the app's address was given with its path or without.

    >>> endpoint_url("https://app.azurewebsites.net/")
    'https://app.azurewebsites.net/api/dataverse/events'
    """
    trimmed = app_url.rstrip("/")
    return trimmed if trimmed.endswith(WEBHOOK_PATH) else trimmed + WEBHOOK_PATH


def about(secret: str) -> str:
    """Return the endpoint's description, which tells a later install whether the secret is still the same.

    Dataverse never gives the secret back. Eight digits of its hash tell nothing about a secret of this length.
    """
    mark = hashlib.sha256(b"lima webhook " + secret.encode()).hexdigest()[:8]
    return f"Rings the LinkedIn Matched Audiences app. Secret {mark}."


def install_webhook(run: Run, url: str, secret: str) -> None:
    """Install the endpoint and its steps; steps of tables that do not exist, or take none, are left out with a word."""
    endpoint_id = _install_endpoint(run, endpoint_url(url), secret)
    present = find_steps(run.web)
    filters = message_filters(run.web, {step.table for step in WANTED if step.table in run.environment.tables})
    for step in WANTED:
        if _is_possible(run, step, filters):
            _install_step(run, step, endpoint_id, present.get(step.name), filters)


# ------------------------------------------------------------------ endpoint


def find_endpoint(web: Web) -> dict[str, Any] | None:
    """Return our endpoint, or None."""
    columns = "serviceendpointid,name,url,contract,authtype,description,isauthvalueset"
    return first(web, f"serviceendpoints?$select={columns}&$filter=name eq {quoted(WEBHOOK_NAME)}")


def _install_endpoint(run: Run, url: str, secret: str) -> str:
    _refuse_unusable(url, secret)
    what = f"webhook {WEBHOOK_NAME}"
    present = find_endpoint(run.web)
    if present is None:
        if not secret:
            raise InstallError("A new webhook needs a secret. Give it with --webhook-secret-file or in WEBHOOK_SECRET.")
        made = run.web.post("serviceendpoints", {"name": WEBHOOK_NAME, **_endpoint(url), **_secret(secret)}, solution=True)
        run.report.add("created", what, url)
        return made.row_id or str((find_endpoint(run.web) or {})["serviceendpointid"])
    changes = {name: value for name, value in _endpoint(url).items() if present.get(name) != value}
    if secret and present.get("description") != about(secret):
        changes |= _secret(secret)
    if changes:
        run.web.patch(f"serviceendpoints({present['serviceendpointid']})", changes, solution=True)
        run.report.add("changed", what, "its secret" if "authvalue" in changes else url)
    else:
        run.report.add("unchanged", what)
    return str(present["serviceendpointid"])


def _refuse_unusable(url: str, secret: str) -> None:
    if not url.startswith(("https://", "http://127.0.0.1:")):  # the sandbox's app answers on loopback
        raise InstallError(
            "The webhook's address has to begin with https://. Give the function app's address with --webhook-url."
        )
    if secret and len(secret) < SHORTEST_SECRET:
        raise InstallError(
            f"The webhook's secret is shorter than {SHORTEST_SECRET} characters. Use the one the function app has."
        )


def _endpoint(url: str) -> dict[str, Any]:
    return {"url": url, "contract": WEBHOOK, "authtype": HTTP_HEADER}


def _secret(secret: str) -> dict[str, Any]:
    setting = f"<setting name={quoteattr(WEBHOOK_HEADER)} value={quoteattr(secret)}/>"
    return {"authvalue": f"<settings>{setting}</settings>", "description": about(secret)}


# ------------------------------------------------------------------ steps


def find_steps(web: Web) -> dict[str, dict[str, Any]]:
    """Return our steps by name, whatever endpoint they ring."""
    columns = "sdkmessageprocessingstepid,name,filteringattributes,statecode,stage,mode,_eventhandler_value"
    found = rows(web, f"sdkmessageprocessingsteps?$select={columns}&$filter=startswith(name,{quoted(WEBHOOK_NAME + ':')})")
    return {one["name"]: one for one in found}


def message_filters(web: Web, tables: set[str]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (message id, filter id) by (message, table), for tables that exist and messages that take steps."""
    if not tables:
        return {}
    messages = sorted({step.message for step in WANTED})
    ids = {
        one["sdkmessageid"]: one["name"]
        for one in rows(web, f"sdkmessages?$select=sdkmessageid,name&$filter={any_of('name', messages)}")
    }
    wanted = " or ".join(f"_sdkmessageid_value eq {one}" for one in ids)
    tables_filter = any_of("primaryobjecttypecode", sorted(tables))
    columns = "sdkmessagefilterid,primaryobjecttypecode,_sdkmessageid_value"
    found = rows(
        web,
        f"sdkmessagefilters?$select={columns}&$filter={tables_filter} and ({wanted}) and iscustomprocessingstepallowed eq true",
    )
    return {
        (ids[one["_sdkmessageid_value"]], one["primaryobjecttypecode"]): (one["_sdkmessageid_value"], one["sdkmessagefilterid"])
        for one in found
    }


def _is_possible(run: Run, step: Step, filters: Mapping[tuple[str, str], tuple[str, str]]) -> bool:
    """Tell whether this environment takes a step; say so in the report when not."""
    if step.table not in run.environment.tables:
        run.report.add("skipped", _what(step), "this environment has no such table")
        return False
    if (step.message, step.table) not in filters and not run.web.dry:
        run.report.add("skipped", _what(step), f"Dataverse offers no steps on {step.message} for this table")
        return False
    return True


def _what(step: Step) -> str:
    return f"webhook step {step.message} of {step.table}"


def _install_step(
    run: Run, step: Step, endpoint_id: str, found: Mapping[str, Any] | None, filters: Mapping[tuple[str, str], tuple[str, str]]
) -> None:
    if found is None:
        message_id, filter_id = filters.get((step.message, step.table), ("", ""))
        run.web.post("sdkmessageprocessingsteps", _step(step, endpoint_id, message_id, filter_id), solution=True)
        run.report.add("created", _what(step))
        return
    changes = _step_changes(step, found)
    if str(found.get("_eventhandler_value")).lower() != endpoint_id.lower():
        changes |= _rings(endpoint_id)
    if changes:
        run.web.patch(f"sdkmessageprocessingsteps({found['sdkmessageprocessingstepid']})", changes, solution=True)
    run.report.add("changed" if changes else "unchanged", _what(step), ", ".join(changes))


def _step(step: Step, endpoint_id: str, message_id: str, filter_id: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": step.name,
        "description": "Rings the LinkedIn Matched Audiences app.",
        "stage": AFTERWARDS,
        "mode": IN_THE_BACKGROUND,
        "rank": 1,
        "supporteddeployment": 0,
        "asyncautodelete": True,
        "sdkmessageid@odata.bind": f"/sdkmessages({message_id})",
        "sdkmessagefilterid@odata.bind": f"/sdkmessagefilters({filter_id})",
    } | _rings(endpoint_id)
    return body | ({"filteringattributes": ",".join(step.columns)} if step.columns else {})


def _rings(endpoint_id: str) -> dict[str, Any]:
    return {"eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({endpoint_id})"}


def _step_changes(step: Step, found: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if columns_in(found.get("filteringattributes")) != set(step.columns):
        changes["filteringattributes"] = ",".join(step.columns) or None
    if found.get("statecode"):
        changes |= {"statecode": 0, "statuscode": 1}
    return changes


def columns_in(written: str | None) -> set[str]:
    """Return the columns that a step listens to."""
    return {one.strip() for one in (written or "").split(",") if one.strip()}
