"""Publishing, solution components, export, published web resources, and reading what is not published yet."""

import base64
import io
import mimetypes
import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape, quoteattr

from werkzeug.wrappers import Request, Response

from sandbox.dataverse import errors, values
from sandbox.dataverse.components import COMPONENT_TYPES, ENTITY, PUBLISHABLE, WITH_SUBCOMPONENTS, Components
from sandbox.dataverse.context import API, KEY, Context, answer, no_content
from sandbox.dataverse.queries import Query, Shape, read_options
from sandbox.dataverse.records import readable
from sandbox.dataverse.state import State
from sandbox.dataverse.tables import CRM
from sandbox.web import Route

SET = r"/(?P<set_name>[A-Za-z_]\w*)"
STRICT_POLICY = (
    "default-src 'self'; script-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; connect-src 'self' blob: data: wss:; "
    "font-src 'self' data:; img-src 'self' blob: data:; worker-src 'self' blob:; frame-src 'self' blob:; base-uri 'none'; "
    "frame-ancestors 'self' https://*.powerapps.com"
)
CONTENT_TYPES = {
    1: "text/html",
    2: "text/css",
    3: "text/javascript",
    4: "text/xml",
    5: "image/png",
    6: "image/jpeg",
    7: "image/gif",
}
CONTENT_TYPES |= {9: "text/xml", 10: "image/x-icon", 11: "image/svg+xml", 12: "text/xml"}
BYTE_ORDER_MARK = "\ufeff"


class SolutionRoutes:
    """Handlers around solutions."""

    def __init__(self, state: State, components: Components) -> None:
        self._state, self._components = state, components

    def routes(self) -> Iterable[Route]:
        """Return the addresses."""
        unpublished = re.escape(f"/{CRM}RetrieveUnpublished")
        return [
            Route("POST", API + "/PublishXml", self.publish_xml, "publish the components listed"),
            Route("POST", API + "/PublishAllXml", self.publish_all, "publish everything"),
            Route("POST", API + "/AddSolutionComponent", self.add_component, "put a component into a solution"),
            Route("POST", API + "/RemoveSolutionComponent", self.remove_component, "take a component out of a solution"),
            Route("POST", API + "/ExportSolution", self.export, "a solution as a zip in base64"),
            Route("GET", API + r"/RetrieveProvisionedLanguages(?:\(\))?", self.languages, "languages of the environment"),
            Route(
                "GET",
                API + SET + KEY + unpublished + r"(?:\(\))?",
                self.unpublished,
                "a form or web resource with waiting changes",
            ),
            Route(
                "GET", API + SET + unpublished + r"Multiple(?:\(\))?", self.all_unpublished, "forms or web resources with changes"
            ),
            Route(
                "GET", r"(?:/(?:%7B|\{)[^/]*(?:%7D|\}))?/WebResources/(?P<name>.+)", self.web_resource, "a published web resource"
            ),
        ]

    def _context(self, request: Request) -> Context:
        return Context(self._state, request)

    def publish_xml(self, request: Request) -> Response:
        """Publish what ParameterXml lists."""
        context = self._context(request)
        self._state.privileges.require_named(context.caller, "prvPublishCustomization")
        self._components.publish_xml(str(context.object().get("ParameterXml")))
        return no_content()

    def publish_all(self, request: Request) -> Response:
        """Publish everything."""
        self._state.privileges.require_named(self._context(request).caller, "prvPublishCustomization")
        self._components.publish()
        return no_content()

    def add_component(self, request: Request) -> Response:
        """Put an existing component into a solution."""
        context = self._context(request)
        body = context.object()
        self._state.privileges.require(context.caller, "Write", self._state.schema.table("solution"))
        object_id, kind = values.guid(body.get("ComponentId")), body.get("ComponentType")
        if object_id is None or not isinstance(kind, int):
            raise errors.invalid_argument("ComponentId and ComponentType are needed.")
        if not self._exists(kind, object_id):
            raise errors.ServiceError(404, errors.NOT_FOUND, f"The component {object_id} of type {kind} does not exist.")
        behavior = 1 if body.get("DoNotIncludeSubcomponents") else WITH_SUBCOMPONENTS
        row_id = self._components.add(str(body.get("SolutionUniqueName")), kind, object_id, behavior)
        return answer({"@odata.context": f"{context.base}/$metadata#{CRM}AddSolutionComponentResponse", "id": row_id})

    def _exists(self, kind: int, object_id: str) -> bool:
        table = next((name for name, number in COMPONENT_TYPES.items() if number == kind), None)
        if table is not None:
            return table in self._state.schema.tables and self._state.find(table, object_id) is not None
        if kind == ENTITY:
            return any(one.metadata_id == object_id for one in self._state.schema)
        return True

    def remove_component(self, request: Request) -> Response:
        """Take a component out of a solution."""
        context = self._context(request)
        body = context.object()
        self._state.privileges.require(context.caller, "Write", self._state.schema.table("solution"))
        solution_id = self._components.solution_id(str(body.get("SolutionUniqueName")))
        component = body.get("SolutionComponent") or {}
        object_id = values.guid(component.get("solutioncomponentid") or component.get("objectid") or body.get("ComponentId"))
        row = self._state.first("solutioncomponent", solutionid=solution_id, objectid=object_id)
        at = None if row is None else self._state.store("solutioncomponent").position(row["solutioncomponentid"])
        if at is None:
            raise errors.row_not_found("solutioncomponent", str(object_id))
        self._state.remove_row("solutioncomponent", at)
        return answer({"@odata.context": f"{context.base}/$metadata#{CRM}RemoveSolutionComponentResponse", "id": object_id})

    def languages(self, request: Request) -> Response:
        """Answer the languages that are switched on."""
        context = self._context(request)
        head = f"{context.base}/$metadata#{CRM}RetrieveProvisionedLanguagesResponse"
        return answer({"@odata.context": head, "RetrieveProvisionedLanguages": self._state.settings.languages})

    def unpublished(self, request: Request, set_name: str, key: str) -> Response:
        """Answer a form or web resource as it will be after publishing."""
        context = self._context(request)
        table = self._state.schema.by_set(set_name)
        if table.name not in PUBLISHABLE:
            raise errors.unknown_segment("RetrieveUnpublished")
        row_id = values.guid(key) or ""
        at = readable(self._state, context.caller, table, row_id)
        head = {"@odata.context": f"{context.base}/$metadata#{set_name}/$entity"}
        return answer(head | self._with_changes(context, table.name, at))

    def all_unpublished(self, request: Request, set_name: str) -> Response:
        """Answer forms or web resources as they will be after publishing."""
        context = self._context(request)
        table = self._state.schema.by_set(set_name)
        if table.name not in PUBLISHABLE:
            raise errors.unknown_segment("RetrieveUnpublishedMultiple")
        options = read_options(context.arguments, context.prefer)
        found = Query(self._state, context.caller, table, options, context.base).rows().positions
        shown = [self._with_changes(context, table.name, at) for at in found]
        return answer({"@odata.context": f"{context.base}/$metadata#{set_name}", "value": shown})

    def _with_changes(self, context: Context, table: str, position: int) -> dict[str, Any]:
        definition = self._state.schema.table(table)
        options = read_options(
            {"$select": context.arguments["$select"]} if "$select" in context.arguments else {}, context.prefer
        )
        shown = Shape(self._state, context.caller, definition, options).row(position)
        waiting = self._state.unpublished.get((table, self._state.store(table).id_at(position)), {})
        return shown | {name: value for name, value in waiting.items() if name in shown}

    def web_resource(self, request: Request, name: str) -> Response:  # noqa: ARG002 - the route's signature
        """Answer a published web resource with the strict content security policy, unless settings say otherwise."""
        with self._state.lock:
            row = self._state.first("webresource", name=unquote(name))
            if row is None or ("webresource", row["webresourceid"]) not in self._state.published:
                return Response(b"", 404)
            kind = CONTENT_TYPES.get(row["webresourcetype"]) or mimetypes.guess_type(name)[0] or "application/octet-stream"
            content = base64.b64decode(row.get("content") or "")
        headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        if self._state.settings.strict_policy:
            headers["Content-Security-Policy"] = STRICT_POLICY
        charset = "; charset=utf-8" if kind.startswith("text/") or kind.endswith("xml") else ""
        return Response(content, 200, headers, content_type=kind + charset)

    # ------------------------------------------------------------------ export

    def export(self, request: Request) -> Response:
        """Answer a zip with the members that a real export has, in short form."""
        context = self._context(request)
        body = context.object()
        self._state.privileges.require_named(context.caller, "prvExportCustomization")
        solution_id = self._components.solution_id(str(body.get("SolutionName")))
        solution = self._state.find("solution", solution_id) or {}
        data = self._zip(solution, managed=bool(body.get("Managed")))
        head = f"{context.base}/$metadata#{CRM}ExportSolutionResponse"
        return answer({"@odata.context": head, "ExportSolutionFile": base64.b64encode(data).decode()})

    def _zip(self, solution: Mapping[str, Any], *, managed: bool) -> bytes:
        resources = [
            row
            for entry in self._components.of(solution["solutionid"])
            if entry["componenttype"] == COMPONENT_TYPES["webresource"]
            and (row := self._state.find("webresource", entry["objectid"]))
        ]
        files = {_file_name(row): base64.b64decode(row.get("content") or "") for row in resources}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("[Content_Types].xml", _content_types(files))
            archive.writestr("solution.xml", self._solution_xml(solution, managed=managed))
            archive.writestr("customizations.xml", self._customizations_xml(resources))
            for name, content in files.items():
                archive.writestr(name, content)
        return out.getvalue()

    def _solution_xml(self, solution: Mapping[str, Any], *, managed: bool) -> str:
        publisher = self._state.find("publisher", solution["publisherid"]) or {}
        parts = "".join(self._root_component(entry) for entry in self._components.of(solution["solutionid"]))
        name, friendly = solution["uniquename"], solution.get("friendlyname") or solution["uniquename"]
        return (
            '<ImportExportXml version="9.2.26104.170" SolutionPackageVersion="9.2" languagecode="1033" generatedBy="CrmLive" '
            'OrganizationVersion="9.2.26104.170" OrganizationSchemaType="Full" CRMServerServiceabilityVersion="9.2.26104.00170">'
            f"<SolutionManifest><UniqueName>{escape(name)}</UniqueName><LocalizedNames><LocalizedName "
            f'description={quoteattr(friendly)} languagecode="1033"/></LocalizedNames><Descriptions/>'
            f"<Version>{escape(solution['version'])}</Version><Managed>{int(managed)}</Managed>"
            f"<Publisher><UniqueName>{escape(publisher.get('uniquename', ''))}</UniqueName><LocalizedNames/><Descriptions/>"
            f"<CustomizationPrefix>{escape(publisher.get('customizationprefix', ''))}</CustomizationPrefix>"
            f"<CustomizationOptionValuePrefix>{publisher.get('customizationoptionvalueprefix', '')}"
            f"</CustomizationOptionValuePrefix></Publisher><RootComponents>{parts}</RootComponents>"
            "<MissingDependencies/></SolutionManifest></ImportExportXml>"
        )

    def _root_component(self, entry: Mapping[str, Any]) -> str:
        kind, object_id, behavior = entry["componenttype"], entry["objectid"], entry["rootcomponentbehavior"]
        name: str | None = None
        if kind == ENTITY:
            name = next((table.name for table in self._state.schema if table.metadata_id == object_id), None)
        elif kind == COMPONENT_TYPES["webresource"]:
            name = (self._state.find("webresource", object_id) or {}).get("name")
        identity = f"schemaName={quoteattr(name)}" if name else f'id="{{{object_id}}}"'
        return f'<RootComponent type="{kind}" {identity} behavior="{behavior}"/>'

    def _customizations_xml(self, resources: Iterable[Mapping[str, Any]]) -> str:
        listed = "".join(
            f"<WebResource><WebResourceId>{{{row['webresourceid']}}}</WebResourceId><Name>{escape(row['name'])}</Name>"
            f"<DisplayName>{escape(row.get('displayname') or '')}</DisplayName>"
            f"<WebResourceType>{row['webresourcetype']}</WebResourceType><IntroducedVersion>1.0</IntroducedVersion>"
            f"<FileName>/{escape(_file_name(row))}</FileName></WebResource>"
            for row in resources
        )
        return (
            "<ImportExportXml><Entities/><Roles/><Workflows/><FieldSecurityProfiles/><Templates/><EntityMaps/>"
            f"<EntityRelationships/><OrganizationSettings/><optionsets/><WebResources>{listed}</WebResources>"
            "<Languages><Language>1033</Language></Languages></ImportExportXml>"
        )


def _file_name(row: Mapping[str, Any]) -> str:
    return f"WebResources/{re.sub(r'[^A-Za-z0-9_]', '', row['name'])}{row['webresourceid'].upper()}"


def _content_types(files: Iterable[str]) -> str:
    overrides = "".join(f'<Override PartName="/{name}" ContentType="application/octet-stream"/>' for name in files)
    return (
        BYTE_ORDER_MARK + '<?xml version="1.0" encoding="utf-8"?>'
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        f'<Default Extension="xml" ContentType="application/octet-stream"/>{overrides}</Types>'
    )
