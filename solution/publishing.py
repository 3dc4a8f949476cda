"""What shows only after publishing: reading it as it will be, and publishing once, at the end, what was changed.

Source: Microsoft Learn, "PublishXml action" and "Retrieve unpublished definitions".
"""

from typing import Any
from xml.sax.saxutils import escape  # nosec B406 # writes XML, reads none

from solution.run import Run
from solution.web import Refused, Web, rows


def newest(web: Web, table_set: str, query: str) -> list[dict[str, Any]]:
    """Return rows as they are after every change, published or not; the published ones where nothing else is offered."""
    try:
        found: list[dict[str, Any]] = web.get(f"{table_set}/Microsoft.Dynamics.CRM.RetrieveUnpublishedMultiple()?{query}")[
            "value"
        ]
    except Refused as refused:
        if not refused.is_not_offered:
            raise
        return rows(web, f"{table_set}?{query}")
    return found


def publish(run: Run) -> None:
    """Publish what was changed, in one request, because publishing is slow and runs one at a time."""
    if not run.publish:
        return
    run.web.post("PublishXml", {"ParameterXml": parameter_xml(run)})
    named = [*sorted(run.publish.tables), *sorted(run.publish.choices)]
    if run.publish.web_resources:
        named.append(f"{len(run.publish.web_resources)} web resources")
    run.report.add("changed", "publication", f"of {', '.join(named)}")


def parameter_xml(run: Run) -> str:
    """Return what PublishXml takes: exactly what was changed."""
    sections = (
        ("entities", "entity", run.publish.tables),
        ("optionsets", "optionset", run.publish.choices),
        ("webresources", "webresource", {f"{{{one}}}" for one in run.publish.web_resources}),
    )
    body = "".join(
        f"<{section}>{''.join(f'<{tag}>{escape(name)}</{tag}>' for name in sorted(names))}</{section}>"
        for section, tag, names in sections
        if names
    )
    return f"<importexportxml>{body}</importexportxml>"
