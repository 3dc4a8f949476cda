"""Installing the command-bar button that shows the tab's page in a side pane, for forms that show no tab.

Source: Microsoft Learn, table reference of appaction; what hands over the form is seen in public solutions.
"""

from typing import Any

from solution.forms import form_tables
from solution.run import Run
from solution.texts import Text
from solution.web import Refused, Web, find, rows

FUNCTION = "lima.form.openPane"
PRIMARY_CONTROL = '[{"type":5,"value":null}]'
_LABEL = Text("LinkedIn audience", "LinkedIn-Zielgruppe")
_HINT = Text(
    "Show the LinkedIn Matched Audience of this segment beside the form.",
    "Die LinkedIn Matched Audience dieses Segments neben dem Formular zeigen.",
)


def unique_name(table: str) -> str:
    """Return the unique name of the button on a table's forms."""
    return f"lima__LinkedInMatchedAudience!{table}!0"


def find_commands(web: Web) -> dict[str, dict[str, Any]]:
    """Return our buttons by unique name."""
    columns = "appactionid,uniquename,buttonlabeltext,buttontooltipdescription,onclickeventjavascriptfunctionname,hidden"
    return {one["uniquename"]: one for one in rows(web, f"appactions?$select={columns}&$filter=startswith(uniquename,'lima__')")}


def install_commands(run: Run, script_id: str) -> None:
    """Install the button on the main forms of each segment table; an environment without modern commands goes without."""
    present = find_commands(run.web)
    navigations = _navigations(run.web)
    for table in form_tables(run.environment):
        _install_command(run, table, present.get(unique_name(table)), script_id, navigations)


def _install_command(run: Run, table: str, found: dict[str, Any] | None, script_id: str, navigations: dict[str, str]) -> None:
    what = f"button on forms of {table}"
    wanted = _look(run)
    try:
        if found is None:
            run.web.post("appactions", _command(run, table, script_id, navigations) | wanted, solution=True)
            run.report.add("created", what)
            run.publish.tables.add(table)
            return
        changes = {name: value for name, value in wanted.items() if found.get(name, value) != value}
        if changes:
            run.web.patch(f"appactions({found['appactionid']})", changes, solution=True)
            run.publish.tables.add(table)
        run.report.add("changed" if changes else "unchanged", what, ", ".join(changes))
    except Refused as refused:
        run.report.add("skipped", what, str(refused))


def _look(run: Run) -> dict[str, Any]:
    """Return what an upgrade may change."""
    base = run.languages.base
    return {
        "buttonlabeltext": _LABEL.in_language(base),
        "buttontooltipdescription": _HINT.in_language(base),
        "onclickeventjavascriptfunctionname": FUNCTION,
    }


def _command(run: Run, table: str, script_id: str, navigations: dict[str, str]) -> dict[str, Any]:
    label = _LABEL.in_language(run.languages.base)
    body: dict[str, Any] = {
        "name": unique_name(table),
        "uniquename": unique_name(table),
        "context": 1,
        "contextvalue": table,
        "location": 0,
        "type": 0,
        "onclickeventtype": 2,
        "onclickeventjavascriptparameters": PRIMARY_CONTROL,
        "buttontooltiptitle": label,
        "buttonaccessibilitytext": label,
        "fonticon": "$clientsvg:PeopleCommunity",
        "sequence": 727000000,
        "hidden": False,
        "visibilitytype": 0,
    }
    script = navigations.get("onclickeventjavascriptwebresourceid", "OnClickEventJavaScriptWebResourceId")
    body[f"{script}@odata.bind"] = f"/webresourceset({script_id})"
    if "contextentity" in navigations:
        metadata_id = (find(run.web, f"EntityDefinitions(LogicalName='{table}')?$select=MetadataId") or {}).get("MetadataId")
        body[f"{navigations['contextentity']}@odata.bind"] = f"/entities({metadata_id})"
    return body


def _navigations(web: Web) -> dict[str, str]:
    """Return the navigation property of each lookup of a command, by column: their capitals cannot be guessed."""
    path = "EntityDefinitions(LogicalName='appaction')/ManyToOneRelationships"
    columns = "ReferencingAttribute,ReferencingEntityNavigationPropertyName"
    return {
        one["ReferencingAttribute"]: one["ReferencingEntityNavigationPropertyName"]
        for one in rows(web, f"{path}?$select={columns}")
    }


def remove_commands(run: Run) -> None:
    """Delete our buttons."""
    for name, found in find_commands(run.web).items():
        if run.web.delete(f"appactions({found['appactionid']})"):
            run.report.add("removed", f"button {name}")
