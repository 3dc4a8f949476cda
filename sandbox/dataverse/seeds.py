"""Microsoft's tables as an environment with Customer Insights - Journeys has them, with users, roles and forms.

Only the columns that matter to a product around segments are here. No customer table is: products create their own.
Sources: the tables' reference pages; Customer Insights - Journeys documentation of segments, consent and marketing lists.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sandbox.dataverse.building import (
    Builder,
    Spec,
    choice,
    flag,
    guid,
    insert,
    lookup,
    memo,
    moment,
    secret,
    text,
    whole,
)
from sandbox.dataverse.forms import main_form
from sandbox.dataverse.privileges import ADMINISTRATOR_ROLE, GLOBAL, VERBS, privilege_id, privilege_name
from sandbox.dataverse.state import State
from sandbox.dataverse.tables import seeded_id

ADMINISTRATOR_APPLICATION = "00000000-0000-0000-0000-0000000000ad"
COMMERCIAL_PURPOSE = "10000000-0000-0000-0000-000000000003"
ADMINISTRATOR = seeded_id("systemuser", "administrator")
ADMINISTRATOR_OBJECT = "00000000-0000-0000-0000-00000000ad01"
"""The administrator in the directory; tokens of the person carry it."""
ADMINISTRATOR_APPLICATION_USER = seeded_id("systemuser", "administrator application")
SYSTEM_USER = seeded_id("systemuser", "system")
MARKETERS = (seeded_id("systemuser", "marketer 1"), seeded_id("systemuser", "marketer 2"))
WEB_RESOURCE_TYPES = ("HTML", "CSS", "JS", "XML", "PNG", "JPG", "GIF", "XAP", "XSL", "ICO", "SVG", "RESX")
MESSAGES = ("Create", "Update", "Delete", "CreateMultiple", "UpdateMultiple", "SetState", "Retrieve", "RetrieveMultiple")

SEGMENT_STATES = {
    0: (
        "Active",
        {
            1: "Active",
            3: "Error",
            4: "Deleted",
            5: "Exporting",
            6: "Computing",
            7: "ComputedWithWarnings",
            8: "Stopping",
            9: "Stopped",
            11: "Faulted",
        },
    ),
    1: ("Inactive", {2: "Inactive"}),
}
DEFINITION_STATES = {
    0: (
        "Active",
        {
            723270001: "Draft",
            723270000: "Live",
            723270002: "Going live",
            723270003: "Deleted",
            723270004: "Live with warnings",
            723270005: "Stopping",
            723270006: "Stopped",
        },
    ),
    1: ("Inactive", {2: "Inactive"}),
}
OUTBOUND_STATES = {
    0: (
        "Active",
        {
            192350000: "Draft",
            192350001: "Live",
            192350002: "Stopped",
            192350003: "Live, editable",
            192350005: "Error",
            192350006: "Going live",
            192350007: "Stopping",
        },
    ),
    1: ("Inactive", {192350004: "Expired"}),
}
LEAD_STATES = {
    0: ("Open", {1: "New", 2: "Contacted"}),
    1: ("Qualified", {3: "Qualified"}),
    2: ("Disqualified", {4: "Lost", 5: "Cannot Contact", 6: "No Longer Interested", 7: "Canceled"}),
}
STEP_STATES = {0: ("Enabled", {1: "Enabled"}), 1: ("Disabled", {2: "Disabled"})}
JOB_STATES = {
    0: ("Ready", {0: "Waiting For Resources"}),
    1: ("Suspended", {10: "Waiting"}),
    2: ("Locked", {20: "In Progress", 21: "Pausing", 22: "Canceling"}),
    3: ("Completed", {30: "Succeeded", 31: "Failed", 32: "Canceled"}),
}
LIST_MEMBERS = {1: "Account", 2: "Contact", 4: "Lead"}


def seed(state: State, *, outbound: bool = True) -> None:
    """Fill an empty environment; without `outbound` there is no table msdyncrm_segment."""
    builder = Builder(state)
    _security_tables(builder)
    _sales_tables(builder)
    _journeys_tables(builder)
    if outbound:
        _outbound_tables(builder)
    _component_tables(builder)
    _event_tables(builder)
    builder.finish()
    _pairs(builder)
    for table in list(state.schema):
        if not table.intersect_of:
            state.privileges.add_for(table)
    for name in ("prvPublishCustomization", "prvCreateEntity", "prvWriteEntity", "prvDeleteEntity", "prvBulkDelete"):
        state.privileges.add(name)
    for name in ("prvExportCustomization", "prvImportCustomization"):
        state.privileges.add(name)
    _rows(state)
    _roles(state)
    _messages(state)
    _forms(state)
    state.next_versions(1000)


def _security_tables(builder: Builder) -> None:
    builder.table(
        "businessunit",
        "BusinessUnit",
        "businessunits",
        [text("name", 160), lookup("parentbusinessunitid", "businessunit"), flag("isdisabled")],
        code=10,
        name_column="name",
        user_owned=False,
        states=None,
        title="Business Unit",
    )
    builder.table(
        "systemuser", "SystemUser", "systemusers", _user_columns(), code=8, name_column="fullname", **_owned_by_unit("User")
    )
    builder.table(
        "team",
        "Team",
        "teams",
        [
            text("name", 160),
            lookup("businessunitid", "businessunit"),
            choice("teamtype", {0: "Owner", 1: "Access", 2: "Security Group"}, 0),
        ],
        code=9,
        name_column="name",
        **_owned_by_unit("Team"),
    )
    organization = [text("name", 160), whole("languagecode"), whole("localeid"), text("schemanameprefix", 8)]
    builder.table(
        "organization",
        "Organization",
        "organizations",
        organization,
        code=1019,
        name_column="name",
        **_owned_by_unit("Organization"),
    )
    builder.table(
        "usersettings",
        "UserSettings",
        "usersettingscollection",
        [whole("uilanguageid"), whole("localeid"), whole("helplanguageid"), whole("timezonecode")],
        code=150,
        key="systemuserid",
        **_owned_by_unit("User Settings"),
    )
    role = [
        text("name", 100),
        lookup("businessunitid", "businessunit"),
        memo("description", 2000),
        lookup("parentrootroleid", "role"),
    ]
    builder.table("role", "Role", "roles", role, code=1036, name_column="name", **_owned_by_unit("Security Role"))
    privilege = [
        text("name", 100),
        whole("accessright"),
        flag("canbebasic"),
        flag("canbelocal"),
        flag("canbedeep"),
        flag("canbeglobal"),
    ]
    builder.table("privilege", "Privilege", "privileges", privilege, code=1023, name_column="name", **_owned_by_unit("Privilege"))


def _owned_by_unit(title: str) -> dict[str, Any]:
    return {"user_owned": False, "states": None, "title": title}


def _user_columns() -> list[Spec]:
    return [
        text("fullname", 200),
        text("firstname", 256),
        text("lastname", 256),
        text("domainname", 1024),
        text("internalemailaddress", 100),
        guid("applicationid"),
        guid("azureactivedirectoryobjectid"),
        lookup("businessunitid", "businessunit"),
        flag("isdisabled"),
        choice("accessmode", {0: "Read-Write", 1: "Administrative", 2: "Read", 4: "Non-interactive"}, 0),
        flag("islicensed"),
    ]


def _sales_tables(builder: Builder) -> None:
    def allow(name: str) -> Spec:
        return flag(name, no="Allow", yes="Do Not Allow")

    person = [
        text("firstname", 50),
        text("lastname", 50),
        text("jobtitle", 100),
        text("emailaddress1", 100),
        text("emailaddress2", 100),
        text("emailaddress3", 100),
        text("telephone1", 50),
        allow("donotemail"),
        allow("donotbulkemail"),
        allow("donotphone"),
        allow("donotpostalmail"),
        memo("description", 2000),
        flag("msdyn_gdproptout"),
    ]
    builder.table(
        "contact",
        "Contact",
        "contacts",
        [
            text("fullname", 160),
            *person,
            flag("msdgpr_donottrack"),
            flag("msdgpr_gdprconsent"),
            lookup(
                "parentcustomerid",
                {"account": "parentcustomerid_account", "contact": "parentcustomerid_contact"},
                kind="Customer",
            ),
        ],
        code=2,
        name_column="fullname",
        HasNotes=True,
    )
    builder.table(
        "account",
        "Account",
        "accounts",
        [
            text("name", 160),
            text("emailaddress1", 100),
            text("websiteurl", 200),
            allow("donotemail"),
            allow("donotbulkemail"),
            whole("numberofemployees", 0, 1_000_000_000),
            Spec("revenue", "Money", {"MinValue": 0.0, "MaxValue": 100_000_000_000_000.0, "Precision": 2}),
            lookup("primarycontactid", "contact"),
            lookup("parentaccountid", "account"),
        ],
        code=1,
        name_column="name",
        HasNotes=True,
    )
    builder.table(
        "lead",
        "Lead",
        "leads",
        [text("fullname", 160), text("subject", 300), text("companyname", 100), *person],
        code=4,
        name_column="fullname",
        states=LEAD_STATES,
        HasNotes=True,
    )
    builder.table(
        "list", "List", "lists", _list_columns(), code=4300, name_column="listname", title="Marketing List", HasNotes=True
    )
    note = [
        text("subject", 500),
        memo("notetext", 100_000),
        text("filename", 255),
        memo("documentbody", 134_217_728),
        text("mimetype", 256),
        whole("filesize", 0),
        flag("isdocument"),
        text("objecttypecode", 64),
        lookup("objectid", {name: f"objectid_{name}" for name in ("contact", "account", "lead", "list")}, on_delete="Cascade"),
    ]
    builder.table("annotation", "Annotation", "annotations", note, code=5, name_column="subject", states=None, title="Note")


def _list_columns() -> list[Spec]:
    return [
        text("listname", 128),
        flag("type", no="Static", yes="Dynamic"),
        whole("membertype", 1, 1_000_000_000),
        choice("createdfromcode", LIST_MEMBERS),
        whole("membercount", 0),
        memo("query"),
        flag("donotsendonoptout", default=True),
        flag("ignoreinactivelistmembers", default=True),
        flag("lockstatus", no="Unlocked", yes="Locked"),
        text("purpose", 512),
        text("source", 128),
        moment("lastusedon"),
        memo("description", 2000),
    ]


def _journeys_tables(builder: Builder) -> None:
    builder.table(
        "msdynmkt_segment",
        "msdynmkt_segment",
        "msdynmkt_segments",
        _segment_columns(),
        code=10201,
        name_column="msdynmkt_sourcesegmentuid",
        states=SEGMENT_STATES,
        title="Segment",
    )
    builder.table(
        "msdynmkt_segmentdefinition",
        "msdynmkt_segmentdefinition",
        "msdynmkt_segmentdefinitions",
        _definition_columns(),
        code=10202,
        name_column="msdynmkt_name",
        states=DEFINITION_STATES,
        title="Segment Definition",
        HasNotes=True,
    )
    for name, plural in (("purpose", "purposes"), ("topic", "topics"), ("compliancesettings4", "compliancesettings4s")):
        columns = [text("msdynmkt_name", 200), text("msdynmkt_uniquename", 200)]
        if name == "purpose":
            columns.append(lookup("msdynmkt_compliancesettingsid", "msdynmkt_compliancesettings4"))
        builder.table(
            f"msdynmkt_{name}",
            f"msdynmkt_{name}",
            f"msdynmkt_{plural}",
            columns,
            code=10210 + len(name),
            name_column="msdynmkt_name",
            title=name.capitalize(),
        )
    consent = [
        text("msdynmkt_contactpointvalue", 500),
        choice("msdynmkt_contactpointtype", {534120000: "Email", 534120001: "Text message"}),
        choice("msdynmkt_contactpointconsenttype", {534120000: "Purpose", 534120001: "Topic"}),
        choice("msdynmkt_value", {534120000: "Not set", 534120001: "Opted in", 534120002: "Opted out"}),
        choice("msdynmkt_logicalreason", {534119999: "None"}),
        choice("msdynmkt_source", {534120000: "Internal", 534120001: "External"}),
        text("msdynmkt_reason", 1000),
        lookup("msdynmkt_purposeid", "msdynmkt_purpose"),
        lookup("msdynmkt_topicid", "msdynmkt_topic", "msdynmkt_topicId"),
    ]
    builder.table(
        "msdynmkt_contactpointconsent4",
        "msdynmkt_contactpointconsent4",
        "msdynmkt_contactpointconsent4s",
        consent,
        code=10203,
        name_column="msdynmkt_contactpointvalue",
        title="Contact Point Consent",
    )


def _segment_columns() -> list[Spec]:
    return [
        text("msdynmkt_displayname", 100),
        memo("msdynmkt_description", 1000),
        choice("msdynmkt_type", {10: "Static", 11: "Dynamic", 12: "Expansion"}),
        choice("msdynmkt_source", {10: "Marketing", 11: "Customer Insights", 12: "Real-time journeys"}),
        text("msdynmkt_baseentitylogicalname", 100),
        text("msdynmkt_cdmpartitionprimarykeycolumn", 100),
        text("msdynmkt_sourcesegmentuid", 200),
        whole("msdynmkt_membercount", 0),
        moment("msdynmkt_membercount_date"),
        whole("msdynmkt_membercount_state", 0),
        choice("msdynmkt_scope", {270100000: "Organization", 270100001: "Business unit"}),
        moment("msdynmkt_lastevaluated"),
        moment("msdynmkt_lastexportedat"),
        moment("msdynmkt_lastupdatedon"),
        moment("msdynmkt_lastusedinjourney"),
        whole("msdynmkt_publishedjourneycount", 0),
        moment("msdynmkt_sourcesegmentcreatedon"),
        text("msdynmkt_sourcesegmentcreatedby", 100),
        text("msdynmkt_datalakefolderid", 100),
        text("msdynmkt_cdmmanifestrelativepath", 1000),
    ]


def _definition_columns() -> list[Spec]:
    states = {723270000: "Running", 723270001: "Finished", 723270002: "Error", 723270003: "NotStarted"}
    return [
        text("msdynmkt_name", 100),
        memo("msdynmkt_description", 2000),
        memo("msdynmkt_segmentquery"),
        memo("msdynmkt_staticlistmembers"),
        memo("msdynmkt_includedmembers"),
        memo("msdynmkt_excludedmembers"),
        flag("msdynmkt_disablesegmentrefresh"),
        whole("msdynmkt_segmentrefreshintervalminutes", 0),
        moment("msdynmkt_stoprefreshafter"),
        whole("msdynmkt_timezonecode"),
        memo("msdynmkt_complianceprofiles"),
        memo("msdynmkt_dependentsegmentids"),
        memo("msdynmkt_targetedsegmentids"),
        moment("msdynmkt_sourcesegmentcreatedon"),
        text("msdynmkt_sourcesegmentcreatedby", 100),
        choice("msdynmkt_computationstatus", states),
    ]


def _outbound_tables(builder: Builder) -> None:
    columns = [
        text("msdyncrm_segmentname", 100),
        memo("msdyncrm_description", 2000),
        choice("msdyncrm_segmenttype", {192350000: "Dynamic", 192350001: "Static", 192350002: "Compound"}, 192350000),
        memo("msdyncrm_segmentquery", 4000),
        memo("msdyncrm_segmentfilterquery", 4000),
        text("msdyncrm_segmentqueryname", 100),
        memo("msdyncrm_segmentmemberids", 1_000_000),
        whole("msdyncrm_segmentsize", 0),
        flag("msdyncrm_islive"),
        moment("msdyncrm_lastevaluationtime"),
        moment("msdyncrm_lastupdatedtime"),
        moment("msdyncrm_nextevaluation"),
        choice("msdyncrm_querytype", {192350000: "Interaction", 192350001: "Profile"}),
        choice("msdyncrm_scope", {270100000: "Organization", 270100001: "Business unit"}),
        text("msdyncrm_segmenttargetprofiletypename", 100),
        choice("msdyncrm_externalsource", {192350000: "Customer Insight"}),
        text("msdyncrm_externalsegmenturl", 1000),
    ]
    builder.table(
        "msdyncrm_segment",
        "msdyncrm_segment",
        "msdyncrm_segments",
        columns,
        code=10101,
        name_column="msdyncrm_segmentname",
        states=OUTBOUND_STATES,
        title="Segment (outbound)",
        HasNotes=True,
    )


def _component_tables(builder: Builder) -> None:
    def component(name: str, schema_name: str, set_name: str, specs: list[Spec], code: int, **more: Any) -> None:
        managed = [flag("ismanaged"), whole("componentstate", 0)]
        builder.table(name, schema_name, set_name, [*specs, *managed], code=code, user_owned=False, states=None, **more)

    component("publisher", "Publisher", "publishers", _publisher_columns(), 7101, name_column="friendlyname")
    solution = [
        text("uniquename", 65),
        text("friendlyname", 256),
        text("version", 256),
        memo("description", 2000),
        flag("isvisible", default=True),
        moment("installedon"),
        lookup("publisherid", "publisher", on_delete="Restrict"),
    ]
    component("solution", "Solution", "solutions", solution, 7100, name_column="friendlyname")
    parts = [
        whole("componenttype", 0),
        guid("objectid"),
        lookup("solutionid", "solution", on_delete="Cascade"),
        whole("rootcomponentbehavior", 0),
        flag("ismetadata"),
    ]
    builder.table(
        "solutioncomponent",
        "SolutionComponent",
        "solutioncomponents",
        parts,
        code=7103,
        user_owned=False,
        states=None,
        title="Solution Component",
    )
    resource = [
        text("name", 256),
        text("displayname", 200),
        memo("description", 2000),
        choice("webresourcetype", dict(enumerate(WEB_RESOURCE_TYPES, start=1))),
        memo("content", 1_073_741_823),
        whole("languagecode"),
        flag("isenabledformobileclient"),
        flag("isavailableformobileoffline"),
        text("silverlightversion", 20),
    ]
    component("webresource", "WebResource", "webresourceset", resource, 9333, name_column="name", title="Web Resource")
    form = [
        text("name", 100),
        memo("description", 2000),
        Spec("objecttypecode", "EntityName"),
        choice("type", {0: "Dashboard", 2: "Main", 6: "Quick View Form", 7: "Quick Create", 11: "Card"}),
        memo("formxml", 1_073_741_823),
        memo("formjson", 1_073_741_823),
        choice("formactivationstate", {0: "Inactive", 1: "Active"}, 1),
        flag("isdefault"),
        flag("iscustomizable_value"),
        guid("formidunique"),
        text("uniquename", 100),
    ]
    component("systemform", "SystemForm", "systemforms", form, 1030, key="formid", name_column="name", title="Form")
    view = [
        text("name", 200),
        memo("description", 2000),
        Spec("returnedtypecode", "EntityName"),
        memo("fetchxml", 1_073_741_823),
        memo("layoutxml", 1_073_741_823),
        whole("querytype", 0),
        flag("isdefault"),
        flag("isquickfindquery"),
    ]
    component("savedquery", "SavedQuery", "savedqueries", view, 1039, name_column="name", title="View")
    component("appmodule", "AppModule", "appmodules", _app_columns(), 9800, name_column="name", title="App")
    component("appaction", "appaction", "appactions", _action_columns(), 10301, name_column="name", title="Command")


def _publisher_columns() -> list[Spec]:
    return [
        text("uniquename", 256),
        text("friendlyname", 256),
        memo("description", 2000),
        text("customizationprefix", 8),
        whole("customizationoptionvalueprefix", 10_000, 99_999),
        text("emailaddress", 100),
        text("supportingwebsiteurl", 200),
        flag("isreadonly"),
    ]


def _app_columns() -> list[Spec]:
    return [text("name", 100), text("uniquename", 100), memo("description", 2000), whole("clienttype", 0)]


def _action_columns() -> list[Spec]:
    locations = ("Form", "Main grid", "Sub grid", "Associated grid", "Quick form", "Global header", "Dashboard")
    return [
        text("name", 256),
        text("uniquename", 256),
        choice("context", {0: "All", 1: "Entity"}, 0),
        choice("type", {0: "Standard button", 1: "Dropdown button", 2: "Split button", 3: "Group"}, 0),
        choice("location", dict(enumerate(locations)), 0),
        choice("onclickeventtype", {0: "None", 1: "Formula", 2: "JavaScript"}, 0),
        text("onclickeventjavascriptfunctionname", 300),
        memo("onclickeventjavascriptparameters", 4000),
        lookup("onclickeventjavascriptwebresourceid", "webresource", "onclickeventjavascriptwebresourceid"),
        Spec("contextentity", "EntityName"),
        text("contextvalue", 150),
        lookup("appmoduleid", "appmodule"),
        text("buttonlabeltext", 256),
        text("buttontooltiptitle", 256),
        memo("buttontooltipdescription", 500),
        text("buttonaccessibilitytext", 256),
        text("fonticon", 256),
        lookup("iconwebresourceid", "webresource"),
        Spec("sequence", "Decimal", {"MinValue": -100_000_000_000.0, "MaxValue": 100_000_000_000.0, "Precision": 10}),
        flag("hidden"),
        choice("visibilitytype", {0: "None", 1: "Formula", 2: "Classic rules"}, 0),
        choice("clienttype", {0: "Browser", 1: "Mobile", 2: "Mail app"}, 0),
        flag("isdisabled"),
        whole("statecode", 0),
        whole("statuscode", 0),
    ]


def _event_tables(builder: Builder) -> None:
    contracts = "OneWay,Queue,Rest,TwoWay,Topic,Queue (Persistent),Event Hub,Webhook,Event Grid,Managed Data Lake"
    types = "ACS,SAS Key,SAS Token,Webhook Key,HTTP Header,HTTP Query String,Connection String,Access Key"
    endpoint = [
        text("name", 256),
        text("url", 2000),
        memo("description", 2000),
        choice("contract", dict(enumerate(contracts.split(","), start=1))),
        choice("authtype", dict(enumerate(types.split(","), start=1))),
        secret(memo("authvalue", 2048)),
        flag("isauthvalueset"),
        choice("connectionmode", {1: "Normal", 2: "Federated"}, 1),
        choice("messageformat", {1: "Binary XML", 2: "Json", 3: "Text XML"}, 2),
        choice("messagecharset", {0: "Default", 1: "UTF8"}, 0),
        choice("userclaim", {1: "None", 2: "UserId", 3: "UserInfo"}, 1),
        text("path", 160),
        text("solutionnamespace", 160),
        text("namespaceaddress", 160),
    ]
    internal: dict[str, Any] = {"user_owned": False, "states": None}
    builder.table("serviceendpoint", "ServiceEndpoint", "serviceendpoints", endpoint, code=4618, name_column="name", **internal)
    builder.table(
        "sdkmessage",
        "SdkMessage",
        "sdkmessages",
        [text("name", 256), flag("isprivate"), text("categoryname", 25)],
        code=4606,
        name_column="name",
        **internal,
    )
    message_filter = [
        Spec("primaryobjecttypecode", "EntityName"),
        Spec("secondaryobjecttypecode", "EntityName"),
        lookup("sdkmessageid", "sdkmessage"),
        flag("iscustomprocessingstepallowed", default=True),
        whole("availability", 0),
    ]
    builder.table("sdkmessagefilter", "SdkMessageFilter", "sdkmessagefilters", message_filter, code=4607, **internal)
    builder.table(
        "sdkmessageprocessingstep",
        "SdkMessageProcessingStep",
        "sdkmessageprocessingsteps",
        _step_columns(),
        code=4608,
        name_column="name",
        user_owned=False,
        states=STEP_STATES,
    )
    image = [
        text("name", 256),
        text("entityalias", 256),
        choice("imagetype", {0: "PreImage", 1: "PostImage", 2: "Both"}),
        text("messagepropertyname", 256),
        memo("attributes", 100_000),
        memo("description", 2000),
        lookup("sdkmessageprocessingstepid", "sdkmessageprocessingstep", on_delete="Cascade"),
    ]
    builder.table(
        "sdkmessageprocessingstepimage",
        "SdkMessageProcessingStepImage",
        "sdkmessageprocessingstepimages",
        image,
        code=4615,
        name_column="name",
        **internal,
    )
    job = [
        text("name", 256),
        memo("message"),
        memo("friendlymessage"),
        text("messagename", 160),
        whole("operationtype", 0),
        whole("errorcode"),
        whole("retrycount", 0),
        guid("correlationid"),
        guid("requestid"),
        text("primaryentitytype", 128),
        guid("regardingobjectid"),
        moment("startedon"),
        moment("completedon"),
        lookup("owningextensionid", "sdkmessageprocessingstep", on_delete="Cascade"),
    ]
    builder.table(
        "asyncoperation",
        "AsyncOperation",
        "asyncoperations",
        job,
        code=4700,
        name_column="name",
        states=JOB_STATES,
        title="System Job",
    )


def _step_columns() -> list[Spec]:
    return [
        text("name", 256),
        memo("description", 2000),
        choice("stage", {10: "Pre-validation", 20: "Pre-operation", 40: "Post-operation"}),
        choice("mode", {0: "Synchronous", 1: "Asynchronous"}, 0),
        whole("rank", 0, 2**31 - 1),
        choice("supporteddeployment", {0: "Server Only", 1: "Client Only", 2: "Both"}, 0),
        choice("invocationsource", {0: "Parent", 1: "Child", -1: "Internal"}, 0),
        flag("asyncautodelete"),
        memo("filteringattributes", 100_000),
        memo("configuration"),
        flag("canbebypassed", default=True),
        flag("ismanaged"),
        lookup("sdkmessageid", "sdkmessage"),
        lookup("sdkmessagefilterid", "sdkmessagefilter"),
        lookup("eventhandler", {"serviceendpoint": "eventhandler_serviceendpoint"}, on_delete="NoCascade"),
        lookup("impersonatinguserid", "systemuser"),
    ]


def _pairs(builder: Builder) -> None:
    builder.intersect("listmember", "listmembers", "listmemberid", ("listid", "entityid"), 4301)
    for table in ("contact", "account", "lead"):
        more = {"Entity1IntersectAttribute": "listid", "Entity2IntersectAttribute": "entityid"}
        builder.pair(f"list{table}_association", "listmember", "list", table, **more)
    _pair(
        builder,
        ("systemuserroles", "systemuserrolescollection", "systemuserroleid"),
        "systemuserroles_association",
        "systemuser",
        "role",
    )
    _pair(builder, ("teammembership", "teammemberships", "teammembershipid"), "teammembership_association", "team", "systemuser")
    names = ("roleprivileges", "roleprivilegescollection", "roleprivilegeid")
    _pair(builder, names, "roleprivileges_association", "role", "privilege")


def _pair(builder: Builder, names: tuple[str, str, str], schema_name: str, left: str, right: str) -> None:
    name, set_name, key = names
    builder.intersect(name, set_name, key, (f"{left}id", f"{right}id"))
    builder.pair(schema_name, name, left, right)


def _rows(state: State) -> None:
    insert(state, "businessunit", [{"businessunitid": state.root_unit, "name": state.organization}])
    organization = {"organizationid": state.organization_id, "name": state.organization, "languagecode": 1033, "localeid": 1033}
    insert(state, "organization", [organization])
    people = [
        (ADMINISTRATOR, "Dana Admin", "dana.admin@contoso.example", None),
        (ADMINISTRATOR_APPLICATION_USER, "Installer application", "installer@contoso.example", ADMINISTRATOR_APPLICATION),
        (SYSTEM_USER, "SYSTEM", "system@contoso.example", None),
        (MARKETERS[0], "Mara Keter", "mara.keter@contoso.example", None),
        (MARKETERS[1], "Miles Arket", "miles.arket@contoso.example", None),
    ]
    for row_id, name, address, application in people:
        add_user(state, row_id, name, address, application)
    insert(state, "msdynmkt_compliancesettings4", [{"msdynmkt_name": "Default compliance profile"}])
    purposes = [{"msdynmkt_purposeid": COMMERCIAL_PURPOSE, "msdynmkt_name": "Commercial", "msdynmkt_uniquename": "Commercial"}]
    insert(state, "msdynmkt_purpose", purposes)
    publisher = {
        "publisherid": seeded_id("publisher", "default"),
        "uniquename": "DefaultPublisher" + state.organization,
        "friendlyname": "Default Publisher for " + state.organization,
        "customizationprefix": "new",
        "customizationoptionvalueprefix": 10_000,
    }
    microsoft = publisher | {
        "publisherid": seeded_id("publisher", "microsoft"),
        "uniquename": "microsoftdynamics",
        "friendlyname": "Dynamics 365",
        "customizationprefix": "msdyn",
    }
    insert(state, "publisher", [publisher, microsoft])
    solution = {
        "solutionid": seeded_id("solution", "default"),
        "uniquename": "Default",
        "friendlyname": "Default Solution",
        "version": "1.0",
        "publisherid": publisher["publisherid"],
    }
    insert(state, "solution", [solution])
    insert(state, "appmodule", [{"name": "Customer Insights - Journeys", "uniquename": "msdyncrm_MarketingSMBApp"}])


def add_user(state: State, row_id: str, name: str, address: str, application: str | None = None) -> None:
    """Add a user; with an application id it is an application user."""
    first, _, last = name.partition(" ")
    row: dict[str, Any] = {
        "systemuserid": row_id,
        "fullname": name,
        "firstname": first,
        "lastname": last,
        "domainname": address,
        "internalemailaddress": address,
        "azureactivedirectoryobjectid": (
            ADMINISTRATOR_OBJECT if row_id == ADMINISTRATOR else seeded_id("directory object", row_id)
        ),
        "businessunitid": state.root_unit,
        "accessmode": 4 if application else 0,
        "islicensed": application is None,
    }
    if application:
        row["applicationid"] = application
    insert(state, "systemuser", [row])
    settings = {"systemuserid": row_id, "uilanguageid": 1033, "localeid": 1033, "helplanguageid": 1033, "timezonecode": 85}
    insert(state, "usersettings", [settings])


MARKETING_GLOBAL = (
    "contact lead account list msdynmkt_segment msdynmkt_segmentdefinition msdynmkt_contactpointconsent4 msdynmkt_purpose "
    "msdynmkt_topic msdynmkt_compliancesettings4"
)
READABLE_BY_ALL = (
    "systemuser team businessunit role publisher solution webresource systemform savedquery appmodule appaction sdkmessage "
    "sdkmessagefilter"
)


def _roles(state: State) -> None:
    everything = dict.fromkeys(MARKETING_GLOBAL.split(), VERBS)
    reading = dict.fromkeys(READABLE_BY_ALL.split(), ("Read",))
    marketing: dict[str, Iterable[str]] = {**everything, **reading, "systemuser": ("Read", "AppendTo"), "annotation": VERBS}
    _role(state, ADMINISTRATOR_ROLE, {})
    _role(state, "System Customizer", dict.fromkeys((*READABLE_BY_ALL.split(), "serviceendpoint"), VERBS))
    _role(state, "Basic User", reading)
    for name in ("Marketing Professional - Business", "Marketing Manager - Business"):
        _role(state, name, marketing)
    give_role(state, ADMINISTRATOR, ADMINISTRATOR_ROLE)
    give_role(state, ADMINISTRATOR_APPLICATION_USER, ADMINISTRATOR_ROLE)
    give_role(state, SYSTEM_USER, ADMINISTRATOR_ROLE)
    for marketer in MARKETERS:
        give_role(state, marketer, "Marketing Professional - Business")
        give_role(state, marketer, "Basic User")


def _role(state: State, name: str, verbs: Mapping[str, Iterable[str]], depth: int = GLOBAL) -> None:
    row_id = seeded_id("role", name)
    insert(state, "role", [{"roleid": row_id, "name": name, "businessunitid": state.root_unit}])
    granted = [
        (privilege_id(privilege_name(verb, state.schema.table(table))), depth) for table, some in verbs.items() for verb in some
    ]
    state.privileges.grant(row_id, granted)
    links = state.links["roleprivileges_association"]
    links.replace(row_id, dict.fromkeys(one for one, _ in granted))


def give_role(state: State, user_id: str, role: str) -> None:
    """Give a user one of the roles that come with the environment."""
    state.links["systemuserroles_association"].add(user_id, seeded_id("role", role))


def _messages(state: State) -> None:
    insert(state, "sdkmessage", [{"sdkmessageid": seeded_id("message", name), "name": name} for name in MESSAGES])
    for table in list(state.schema):
        if not table.intersect_of:
            add_message_filters(state, table.name)


def add_message_filters(state: State, table: str) -> None:
    """Let steps be registered for a table, as the service does when a table is created."""
    rows = [
        {
            "sdkmessagefilterid": seeded_id("message filter", name, table),
            "sdkmessageid": seeded_id("message", name),
            "primaryobjecttypecode": table,
            "secondaryobjecttypecode": "none",
        }
        for name in MESSAGES
    ]
    insert(state, "sdkmessagefilter", rows)


def _forms(state: State) -> None:
    shapes: Mapping[str, Sequence[tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
        "msdynmkt_segmentdefinition": [
            ("Information", ("General", "Members"), ("msdynmkt_name", "ownerid", "statuscode")),
            ("Customizations form", ("General",), ("msdynmkt_name", "ownerid")),
        ],
        "msdynmkt_segment": [("Information", ("General",), ("msdynmkt_sourcesegmentuid",))],
        "list": [("Information", ("Summary", "Members", "Notes"), ("listname", "type", "membertype", "ownerid"))],
        "msdyncrm_segment": [
            ("Segment", ("general_tab", "definition_tab", "members_tab", "insights_tab"), ("msdyncrm_segmentname", "statuscode"))
        ],
        "contact": [("Contact", ("Summary", "Details"), ("fullname", "emailaddress1", "ownerid"))],
    }
    for table, forms in shapes.items():
        if table not in state.schema.tables:
            continue
        for name, tabs, columns in forms:
            row_id = seeded_id("form", table, name)
            row = {
                "formid": row_id,
                "formidunique": row_id,
                "name": name,
                "objecttypecode": table,
                "type": 2,
                "formxml": main_form(state.schema.table(table), row_id, tabs, columns),
                "ismanaged": True,
            }
            insert(state, "systemform", [row])
