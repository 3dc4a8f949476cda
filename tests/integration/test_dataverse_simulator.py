"""The Dataverse simulator, rule by rule: everything of the service that the product relies on, seen from outside."""

import base64
import io
import json
import ssl
import threading
import time
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4
from xml.sax.saxutils import quoteattr

import pytest
import requests
import trustme

from sandbox import tokens
from sandbox.dataverse import DataverseSimulator
from sandbox.dataverse.seeds import ADMINISTRATOR, ADMINISTRATOR_APPLICATION, ADMINISTRATOR_OBJECT, COMMERCIAL_PURPOSE, MARKETERS
from sandbox.web import Fault, InProcess

URL = "https://contoso.crm.dynamics.com"
API = URL + "/api/data/v9.2/"
NOBODY = "11111111-1111-4111-8111-111111111111"
ENGLISH = 1033


class Api:
    """The Web API of one environment as one user."""

    def __init__(self, simulator: DataverseSimulator, headers: Mapping[str, str]) -> None:
        self.session = requests.Session()
        self.session.mount(URL, InProcess(simulator))
        self.session.headers.update(headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Send a request; header names are given with underscores."""
        given = {name.replace("MSCRM_", "MSCRM.").replace("_", "-"): value for name, value in headers.items()}
        address = path if path.startswith("https://") else API + path
        return self.session.request(method, address, json=body, headers=given)

    def get(self, path: str, **headers: str) -> Any:
        """Return the JSON of a GET that succeeds."""
        answer = self.send("GET", path, **headers)
        assert answer.ok, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, **headers: str) -> str:
        """Create something and return its id; for actions whatever they answer is let go."""
        answer = self.send("POST", path, {} if body is None else body, **headers)
        assert answer.ok, answer.text
        return answer.headers.get("OData-EntityId", "()").rpartition("(")[2][:-1]

    def patch(self, path: str, body: Any, **headers: str) -> None:
        """Change a row."""
        answer = self.send("PATCH", path, body, **headers)
        assert answer.ok, answer.text

    def refused(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Return status and code of a request that fails."""
        answer = self.send(method, path, body, **headers)
        assert not answer.ok, answer.text
        return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture
def simulator() -> DataverseSimulator:
    """Give an empty environment."""
    return DataverseSimulator()


@pytest.fixture
def api(simulator: DataverseSimulator) -> Api:
    """Give the Web API as the administrator's application."""
    token = tokens.issue(appid=ADMINISTRATOR_APPLICATION, audience=URL, now=time.time())
    return Api(simulator, {"Authorization": f"Bearer {token}"})


def as_person(simulator: DataverseSimulator, user_id: str) -> Api:
    """Return the Web API as a signed-in person."""
    return Api(simulator, {"Cookie": f"sandbox-user={user_id}"})


def titled(text: str) -> dict[str, Any]:
    """Return a label."""
    return {"LocalizedLabels": [{"Label": text, "LanguageCode": ENGLISH}]}


def publisher_and_solution(api: Api) -> None:
    """Create publisher `lima` and solution `Lima`."""
    prefix = {"customizationprefix": "lima", "customizationoptionvalueprefix": 72700}
    publisher = api.post("publishers", {"uniquename": "lima", "friendlyname": "Lima", **prefix})
    solution = {"uniquename": "Lima", "friendlyname": "Lima", "version": "1.0.0.0"}
    api.post("solutions", {**solution, "publisherid@odata.bind": f"/publishers({publisher})"})


def column(kind: str, schema_name: str, **more: Any) -> dict[str, Any]:
    """Return the definition of a column."""
    named = {"@odata.type": f"Microsoft.Dynamics.CRM.{kind}AttributeMetadata", "SchemaName": schema_name}
    return {**named, "DisplayName": titled(schema_name), **more}


def create_table(api: Api, schema_name: str = "lima_Audience", *columns: dict[str, Any], **more: Any) -> str:
    """Create a table with a name column and others, and return its metadata id."""
    body = {
        "SchemaName": schema_name,
        "DisplayName": titled(schema_name),
        "DisplayCollectionName": titled(schema_name + "s"),
        "OwnershipType": "UserOwned",
        "HasNotes": True,
        "Attributes": [column("String", "lima_Name", IsPrimaryName=True, MaxLength=100), *columns],
        **more,
    }
    return api.post("EntityDefinitions", body, MSCRM_SolutionUniqueName="Lima")


@pytest.fixture
def table(api: Api) -> str:
    """Give a table of our own, in a solution of our own, and return its logical name."""
    publisher_and_solution(api)
    create_table(api, "lima_Audience", column("String", "lima_Command"), column("Integer", "lima_Size", MaxValue=100))
    return "lima_audience"


# ---------------------------------------------------------------------- who asks


def test_a_request_without_credentials_is_not_answered(simulator: DataverseSimulator) -> None:
    """A client learns from the challenge where tokens come from."""
    answer = Api(simulator, {}).send("GET", "WhoAmI")

    assert answer.status_code == 401
    assert "authorization_uri=" in answer.headers["WWW-Authenticate"]


def test_an_expired_token_is_told_apart(simulator: DataverseSimulator, api: Api) -> None:
    """A client refreshes once on this code."""
    simulator.clock.advance(7200)

    assert api.refused("GET", "WhoAmI") == (401, "0x8005F101")


def test_a_token_for_another_environment_does_not_open_this_one(simulator: DataverseSimulator) -> None:
    """The audience is checked."""
    token = tokens.issue(appid=ADMINISTRATOR_APPLICATION, audience="https://other.crm.dynamics.com", now=time.time())

    assert Api(simulator, {"Authorization": f"Bearer {token}"}).send("GET", "WhoAmI").status_code == 401


def test_an_application_without_a_user_is_no_member(simulator: DataverseSimulator) -> None:
    """An app registration alone opens nothing: it needs an application user."""
    token = tokens.issue(appid=NOBODY, audience=URL, now=time.time())

    assert Api(simulator, {"Authorization": f"Bearer {token}"}).refused("GET", "WhoAmI") == (403, "0x80072560")


def test_an_application_user_can_ask_once_it_is_created(simulator: DataverseSimulator, api: Api) -> None:
    """The installer creates it with its application id and the business unit."""
    unit = api.get("WhoAmI")["BusinessUnitId"]
    user_id = api.post("systemusers", {"applicationid": NOBODY, "businessunitid@odata.bind": f"/businessunits({unit})"})
    token = tokens.issue(appid=NOBODY, audience=URL, now=time.time())
    worker = Api(simulator, {"Authorization": f"Bearer {token}"})

    assert worker.get("WhoAmI")["UserId"] == user_id
    assert api.refused("POST", "systemusers", {"applicationid": str(uuid4())})[0] == 500


def test_a_person_s_token_is_the_person_whatever_application_it_came_through(simulator: DataverseSimulator) -> None:
    """Who signs in with a device code is the administrator, not the application."""
    token = tokens.issue(
        appid=NOBODY, audience=URL, now=time.time(), oid=ADMINISTRATOR_OBJECT, claims={"scp": "user_impersonation"}
    )

    assert Api(simulator, {"Authorization": f"Bearer {token}"}).get("WhoAmI")["UserId"] == ADMINISTRATOR


def test_a_disabled_user_is_refused(simulator: DataverseSimulator, api: Api) -> None:
    """Switching a user off takes effect at once."""
    api.patch(f"systemusers({MARKETERS[0]})", {"isdisabled": True})

    assert as_person(simulator, MARKETERS[0]).refused("GET", "WhoAmI") == (403, "0x80040225")


def test_acting_for_another_user_is_refused_honestly(api: Api) -> None:
    """What is not imitated answers 501 instead of doing something else."""
    assert api.refused("GET", "WhoAmI", CallerObjectId=NOBODY)[0] == 501


def test_every_answer_has_a_request_id_and_a_hint_of_parallelism(api: Api) -> None:
    """Support asks for the id; clients go by the hint."""
    headers = api.send("GET", "WhoAmI").headers

    assert headers["x-ms-service-request-id"]
    assert headers["x-ms-dop-hint"] == "4"
    assert headers["OData-Version"] == "4.0"


# ---------------------------------------------------------------------- single rows


def test_creating_a_row_answers_with_its_address(api: Api) -> None:
    """204 and OData-EntityId, or 201 and the row when asked for."""
    plain = api.send("POST", "contacts", {"lastname": "A"})
    full = api.send("POST", "contacts?$select=lastname", {"lastname": "B"}, Prefer="return=representation")

    assert plain.status_code == 204
    assert plain.headers["OData-EntityId"].startswith(API + "contacts(")
    assert (full.status_code, full.json()["lastname"]) == (201, "B")


def test_a_row_may_come_with_its_own_id_once(api: Api) -> None:
    """A client-made id makes a create repeatable: the second is told that it exists."""
    row_id = str(uuid4())

    assert api.post("contacts", {"contactid": row_id}) == row_id
    assert api.refused("POST", "contacts", {"contactid": row_id}) == (412, "0x80040237")


def test_a_new_row_has_owner_times_state_and_defaults(api: Api) -> None:
    """What the service fills in."""
    row_id = api.post("contacts", {"lastname": "A"})
    row = api.get(f"contacts({row_id})")
    me = api.get("WhoAmI")["UserId"]

    assert row["_ownerid_value"] == row["_createdby_value"] == row["_owninguser_value"] == me
    assert (row["statecode"], row["statuscode"], row["donotemail"]) == (0, 1, False)
    assert row["createdon"] == row["modifiedon"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"lastnam": "A"}, 400, "0x80048d19"),
        ({"lastname": 5}, 400, "0x80048d19"),
        ({"lastname": "x" * 51}, 400, "0x80044331"),
        ({"donotemail": "yes"}, 400, "0x80048d19"),
        ({"statuscode": 77}, 400, "0x8004431a"),
        ({"statecode": 0, "statuscode": 2}, 400, "0x80048408"),
        ({"contactid": "abc"}, 400, "0x80048d19"),
        ({"parentcustomerid_account@odata.bind": f"/accounts({NOBODY})"}, 404, "0x80040217"),
        ({"parentcustomerid_account@odata.bind": f"/contacts({NOBODY})"}, 404, "0x80040217"),
        ({"_ownerid_value": NOBODY}, 400, "0x80060888"),
        ({"nonsense@odata.bind": f"/contacts({NOBODY})"}, 400, "0x80048d19"),
    ],
)
def test_a_body_with_something_wrong_is_refused(api: Api, body: dict[str, Any], status: int, code: str) -> None:
    """Each mistake has the service's own code, and nothing is created."""
    assert api.refused("POST", "contacts", body) == (status, code)
    assert api.get("contacts?$select=contactid")["value"] == []


def test_a_number_outside_its_range_is_refused(api: Api, table: str) -> None:
    """The range of the column's definition holds."""
    assert api.refused("POST", f"{table}s", {"lima_size": 101}) == (400, "0x80044330")


def test_what_only_the_service_writes_is_passed_over(api: Api) -> None:
    """Clients that send a whole row back do not fail."""
    row_id = api.post("contacts", {"lastname": "A", "createdon": "2001-01-01T00:00:00Z", "versionnumber": 1})

    assert not api.get(f"contacts({row_id})?$select=createdon")["createdon"].startswith("2001")


def test_a_missing_row_and_a_missing_set_are_told_apart(api: Api) -> None:
    """The code says whether the row or the table is not there."""
    assert api.refused("GET", f"contacts({NOBODY})") == (404, "0x80040217")
    assert api.refused("GET", "nonsenses") == (404, "0x8006088a")
    assert api.refused("GET", "contacts?$select=nonsense") == (400, "0x0")
    assert api.send("PUT", "contacts").status_code == 405


def test_a_changed_row_has_a_new_version(api: Api) -> None:
    """The ETag guards a row against changes by others."""
    row_id = api.post("contacts", {"lastname": "A"})
    first = api.get(f"contacts({row_id})?$select=lastname")["@odata.etag"]
    api.patch(f"contacts({row_id})", {"lastname": "B"}, If_Match=first)

    assert api.refused("PATCH", f"contacts({row_id})", {"lastname": "C"}, If_Match=first) == (412, "0x80060882")
    assert api.refused("DELETE", f"contacts({row_id})", If_Match=first) == (412, "0x80060882")
    assert api.get(f"contacts({row_id})?$select=lastname")["lastname"] == "B"


def test_patch_creates_updates_or_refuses_as_its_headers_say(api: Api) -> None:
    """Without headers it is an upsert; If-Match: * only updates, If-None-Match: * only creates."""
    path = f"contacts({uuid4()})"

    assert api.refused("PATCH", path, {"lastname": "A"}, If_Match="*") == (404, "0x80040217")
    assert api.send("PATCH", path, {"lastname": "A"}, If_None_Match="*").status_code == 204
    assert api.refused("PATCH", path, {"lastname": "B"}, If_None_Match="*")[0] == 412
    assert api.send("PATCH", path, {"lastname": "C"}, If_None_Match="null").status_code == 204
    assert api.get(path + "?$select=lastname")["lastname"] == "C"


def test_an_unchanged_row_is_not_sent_again(api: Api) -> None:
    """304 on a conditional GET without expand and annotations."""
    row_id = api.post("contacts", {"lastname": "A"})
    version = api.get(f"contacts({row_id})")["@odata.etag"]

    assert api.send("GET", f"contacts({row_id})", If_None_Match=version).status_code == 304
    assert api.send("GET", f"contacts({row_id})", If_None_Match='W/"1"').status_code == 200


def test_single_properties_are_read_changed_and_cleared(api: Api) -> None:
    """A property has an address of its own; an empty one answers 204."""
    path = f"contacts({api.post('contacts', {'lastname': 'A'})})/lastname"
    read = api.get(path)["value"]
    api.send("PUT", path, {"value": "B"})
    raw = api.send("GET", path + "/$value").text
    api.send("DELETE", path)

    assert (read, raw) == ("A", "B")
    assert api.send("GET", path).status_code == 204


def test_lookups_are_bound_read_and_cleared(api: Api) -> None:
    """By bind, by reference, and by null."""
    account = api.post("accounts", {"name": "Contoso"})
    path = f"contacts({api.post('contacts', {'parentcustomerid_account@odata.bind': f'accounts({account})'})})"
    reference = api.get(path + "/parentcustomerid_account/$ref")["@odata.id"]
    api.patch(path, {"parentcustomerid_account@odata.bind": None})
    cleared = api.get(path + "?$select=_parentcustomerid_value")["_parentcustomerid_value"]
    api.send("PUT", path + "/parentcustomerid_account/$ref", {"@odata.id": reference})
    expanded = api.get(path + "?$select=lastname&$expand=parentcustomerid_account($select=name)")

    assert reference == f"{API}accounts({account})"
    assert cleared is None
    assert expanded["parentcustomerid_account"]["name"] == "Contoso"


def test_annotations_come_when_asked_for(api: Api) -> None:
    """Formatted values, and where a lookup points."""
    row_id = api.post("contacts", {"lastname": "A"})
    row = api.get(f"contacts({row_id})?$select=statecode,_ownerid_value", Prefer='odata.include-annotations="*"')

    assert row["statecode@OData.Community.Display.V1.FormattedValue"] == "Active"
    assert row["_ownerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"] == "systemuser"
    assert row["_ownerid_value@OData.Community.Display.V1.FormattedValue"] == "Installer application"


def test_an_alternate_key_finds_and_protects_rows(api: Api, table: str) -> None:
    """Who comes second is told so by a code of its own."""
    api.post(f"EntityDefinitions(LogicalName='{table}')/Keys", {"SchemaName": "lima_NameKey", "KeyAttributes": ["lima_name"]})
    api.post(f"{table}s", {"lima_name": "one"})
    api.patch(f"{table}s(lima_name='one')", {"lima_size": 5})
    api.patch(f"{table}s(lima_name='it''s two')", {"lima_size": 6})

    assert api.refused("POST", f"{table}s", {"lima_name": "ONE"}) == (412, "0x80060892")
    assert api.get(f"{table}s(lima_name='one')?$select=lima_size")["lima_size"] == 5
    assert api.get(f"{table}s(lima_name='it''s two')?$select=lima_size")["lima_size"] == 6
    assert api.refused("GET", f"{table}s(lima_name='three')") == (404, "0x80060891")


def test_deleting_a_row_takes_its_notes_and_list_places_along(simulator: DataverseSimulator, api: Api) -> None:
    """Nothing points at a row that is gone."""
    contact = api.post("contacts", {"lastname": "A"})
    made = simulator.make_segment(kind="list")
    api.post("annotations", {"subject": "n", "objectid_contact@odata.bind": f"/contacts({contact})"})
    api.send("DELETE", f"contacts({contact})")

    assert api.get("annotations")["value"] == []
    assert api.get(f"lists({made['list']})/listcontact_association")["value"] == []


def test_a_file_column_is_written_read_and_cleared(api: Api, table: str) -> None:
    """The list of members left out is kept in such a column."""
    api.post(f"EntityDefinitions(LogicalName='{table}')/Attributes", column("File", "lima_LeftOut", MaxSizeInKB=1))
    path = f"{table}s({api.post(f'{table}s', {'lima_name': 'n'})})"
    headers = {"Content-Type": "application/octet-stream", "x-ms-file-name": "left out.csv"}
    written = api.session.patch(API + path + "/lima_leftout", data=b"id,reason", headers=headers)
    read = api.send("GET", path + "/lima_leftout/$value")
    named = api.get(path + "?$select=lima_leftout_name")["lima_leftout_name"]
    too_large = api.session.patch(API + path + "/lima_leftout", data=b"x" * 2000, headers=headers)
    api.send("DELETE", path + "/lima_leftout")

    assert (written.status_code, read.content, named) == (204, b"id,reason", "left out.csv")
    assert too_large.status_code == 400
    assert api.send("GET", path + "/lima_leftout/$value").status_code == 204


# ---------------------------------------------------------------------- queries


@pytest.fixture
def people(simulator: DataverseSimulator) -> list[str]:
    """Load six contacts whose differences the filters below ask for."""
    rows: list[dict[str, Any]] = [
        {"lastname": "Able", "emailaddress1": "able@example.com", "donotemail": True, "statecode": 0, "statuscode": 1},
        {"lastname": "baker", "emailaddress1": "Baker@Example.com", "jobtitle": "baker", "statecode": 0, "statuscode": 1},
        {"lastname": "Charlie", "emailaddress1": None, "statecode": 1, "statuscode": 2},
        {"lastname": "O'Dog", "emailaddress1": "dog@example.org", "statecode": 0, "statuscode": 1},
        {"lastname": "Easy", "createdon": "2020-01-01T00:00:00Z", "statecode": 0, "statuscode": 1},
        {"lastname": None, "emailaddress1": "fox@example.com", "statecode": 1, "statuscode": 2},
    ]
    ids: list[str] = simulator.load_rows("contact", rows)["ids"]
    return ids


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("lastname eq 'BAKER'", "1"),
        ("lastname ne 'baker'", "02345"),
        ("emailaddress1 eq null", "24"),
        ("emailaddress1 ne null", "0135"),
        ("not (statecode eq 0)", "25"),
        ("statecode eq 0 and (donotemail eq true or contains(emailaddress1,'DOG'))", "03"),
        ("startswith(emailaddress1,'b') or endswith(emailaddress1,'.org')", "13"),
        ("lastname eq 'O''Dog'", "3"),
        ("lastname eq jobtitle", "1"),
        ("createdon lt 2021-01-01T00:00:00Z", "4"),
        ("createdon ge 2021-01-01T00:00:00Z and lastname gt 'c'", "23"),
        ("statuscode gt 1", "25"),
        ("owninguser/fullname eq 'Mara Keter'", "012345"),
        ("Microsoft.Dynamics.CRM.In(PropertyName='lastname',PropertyValues=['able','EASY'])", "04"),
        ("Microsoft.Dynamics.CRM.In(PropertyName='statecode',PropertyValues=['1'])", "25"),
        ("Microsoft.Dynamics.CRM.NotIn(PropertyName='lastname',PropertyValues=['able','easy'])", "1235"),
        ("Microsoft.Dynamics.CRM.EqualUserId(PropertyName='ownerid')", ""),
    ],
)
def test_a_filter_finds_what_it_says(api: Api, people: list[str], condition: str, found: str) -> None:
    """Comparisons without regard to case, nulls as the service treats them, functions, columns through lookups."""
    rows = api.get(f"contacts?$select=contactid&$filter={condition}")["value"]

    assert "".join(str(people.index(row["contactid"])) for row in rows) == found


def test_ids_are_compared_as_guids_not_as_text(api: Api, people: list[str]) -> None:
    """Quoting a guid is the commonest mistake; the service says so."""
    assert len(api.get(f"contacts?$filter=contactid eq {people[0]}")["value"]) == 1
    assert api.refused("GET", f"contacts?$filter=contactid eq '{people[0]}'") == (400, "0x80060888")
    assert api.refused("GET", f"contacts?$filter=lastname eq {people[0]}") == (400, "0x80060888")


def test_values_may_stand_apart_from_the_filter(api: Api, people: list[str]) -> None:
    """Parameter aliases carry the values of a query function."""
    values = json.dumps(people[:2])
    path = "contacts?$filter=Microsoft.Dynamics.CRM.In(PropertyName=@p1,PropertyValues=@p2)&@p1='contactid'&@p2=" + values

    assert [row["contactid"] for row in api.get(path)["value"]] == people[:2]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("$skip=5", 400),
        ("$filter=lastname eq", 400),
        ("$filter=lastname zz 'a'", 400),
        ("$top=x", 400),
        ("$orderby=lastname sideways", 400),
        ("$filter=tolower(lastname) eq 'a'", 501),
        ("$apply=aggregate($count as total)", 501),
        ("$search=a", 501),
        ("$filter=Microsoft.Dynamics.CRM.LastXDays(PropertyName='createdon',PropertyValue=3)", 501),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(api: Api, people: list[str], query: str, status: int) -> None:
    """What the service does not take is 400; what only the simulator lacks is mostly an honest 501."""
    assert api.refused("GET", f"contacts?{query}")[0] == status
    assert people


def test_rows_are_sorted_limited_and_counted(api: Api, people: list[str]) -> None:
    """Nulls come first, as in SQL."""
    page = api.get("contacts?$select=lastname&$orderby=statecode desc,lastname&$top=3&$count=true")

    assert [row["lastname"] for row in page["value"]] == [None, "Charlie", "Able"]
    assert page["@odata.count"] == 6
    assert "@odata.nextLink" not in page
    assert api.send("GET", "contacts/$count").content.decode("utf-8-sig") == "6"
    assert people


def test_counting_stops_at_5000(simulator: DataverseSimulator, api: Api) -> None:
    """The annotation says that there are more."""
    simulator.seed_contacts(count=5_001)
    page = api.get("contacts?$select=contactid&$top=1&$count=true", Prefer='odata.include-annotations="*"')

    assert page["@odata.count"] == 5_000
    assert page["@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"] is True
    assert api.get("RetrieveTotalRecordCount(EntityNames=['contact'])")["EntityRecordCountCollection"]["Values"] == [5_001]


def pages(api: Api, path: str, **headers: str) -> Iterator[list[dict[str, Any]]]:
    """Give every page of a query."""
    link: str | None = path
    while link:
        page = api.get(link, **headers)
        yield page["value"]
        link = page.get("@odata.nextLink")


@pytest.mark.parametrize(
    "query",
    ["$select=contactid", "$select=contactid&$filter=statecode eq 0", "$select=contactid&$orderby=fullname desc"],
    ids=["all", "filtered", "sorted"],
)
def test_pages_bring_every_row_once(simulator: DataverseSimulator, api: Api, query: str) -> None:
    """Whatever the query, next links neither lose nor repeat rows."""
    simulator.seed_contacts(count=1_003, inactive=0.1)
    whole = [row["contactid"] for row in api.get(f"contacts?{query}")["value"]]
    read = [[row["contactid"] for row in page] for page in pages(api, f"contacts?{query}", Prefer="odata.maxpagesize=250")]

    assert [row_id for page in read for row_id in page] == whole
    assert {len(page) for page in read[:-1]} == {250}


def test_a_page_has_at_most_5000_rows_and_says_what_it_applied(simulator: DataverseSimulator, api: Api) -> None:
    """Larger wishes are cut."""
    simulator.seed_contacts(count=5_001)
    answer = api.send("GET", "contacts?$select=contactid", Prefer="odata.maxpagesize=9999")

    assert len(answer.json()["value"]) == 5_000
    assert answer.headers["Preference-Applied"] == "odata.maxpagesize=9999"


def test_rows_deleted_while_reading_are_not_missed_by_the_next_page(simulator: DataverseSimulator, api: Api) -> None:
    """A link stands for a place, not for a number of rows to skip."""
    simulator.seed_contacts(count=30)
    page = api.get("contacts?$select=contactid", Prefer="odata.maxpagesize=10")
    rest = {row["contactid"] for row in api.get("contacts?$select=contactid")["value"][10:]}
    for row in page["value"]:
        api.send("DELETE", f"contacts({row['contactid']})")

    assert {row["contactid"] for row in api.get(page["@odata.nextLink"])["value"]} == rest


def test_a_next_link_can_grow_too_old_and_fits_one_query_only(simulator: DataverseSimulator, api: Api) -> None:
    """A client that meets an expired link has to begin again."""
    simulator.seed_contacts(count=30)
    link = api.get("contacts?$select=contactid", Prefer="odata.maxpagesize=10")["@odata.nextLink"]
    other = link.replace("$select=contactid", "$select=fullname")

    assert api.send("GET", other).status_code == 400
    assert api.send("GET", link.partition("skiptoken=")[0] + "skiptoken=nonsense").status_code == 400
    simulator.expire_links()
    assert api.refused("GET", link)[0] == 400


def test_an_address_has_at_most_32768_characters(api: Api) -> None:
    """About 600 guids fit into one In; longer queries travel in a batch."""
    ids = ",".join(f"'{uuid4()}'" for _ in range(900))
    query = f"contacts?$select=contactid&$filter=Microsoft.Dynamics.CRM.In(PropertyName='contactid',PropertyValues=[{ids}])"

    assert api.send("GET", query).status_code == 414
    assert batch(api, [("GET", query, None)])[0] == (200, [])


def test_looking_up_600_ids_among_many_costs_next_to_nothing(simulator: DataverseSimulator, api: Api) -> None:
    """In goes to its rows instead of looking at all."""
    simulator.seed_contacts(count=50_000)
    ids = simulator.state.store("contact").ids()[1000:1600]
    listed = ",".join(f"'{row_id}'" for row_id in ids)
    query = f"contacts?$select=contactid&$filter=Microsoft.Dynamics.CRM.In(PropertyName='contactid',PropertyValues=[{listed}])"
    api.get(query)
    began = time.process_time()
    rows = api.get(query)["value"]
    spent = time.process_time() - began

    assert [row["contactid"] for row in rows] == ids
    assert spent < 0.1


def test_a_page_of_5000_rows_is_served_in_milliseconds(simulator: DataverseSimulator, api: Api) -> None:
    """The simulator must not be what a speed measurement measures."""
    simulator.seed_contacts(count=50_000)
    link = "contacts?$select=contactid,emailaddress1,donotbulkemail,donotemail,statecode"
    spent: list[float] = []
    while link:
        began = time.process_time()
        answer = api.send("GET", link)
        spent.append(time.process_time() - began)
        link = answer.json().get("@odata.nextLink")

    assert len(spent) == 10
    assert min(spent) < 0.012


# ---------------------------------------------------------------------- FetchXML

COOKIE = "@Microsoft.Dynamics.CRM.fetchxmlpagingcookie"
MORE = "@Microsoft.Dynamics.CRM.morerecords"
WITH_COOKIES = f'odata.include-annotations="{COOKIE[1:]},{MORE[1:]}"'


def fetch(api: Api, xml: str) -> Any:
    """Return a page of a FetchXML query on contacts."""
    answer = api.session.get(API + "contacts", params={"fetchXml": xml}, headers={"Prefer": WITH_COOKIES})
    assert answer.ok, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ('<condition attribute="lastname" operator="eq" value="BAKER"/>', "1"),
        ('<condition attribute="lastname" operator="ne" value="baker"/>', "02345"),
        ('<condition attribute="emailaddress1" operator="null"/>', "24"),
        ('<condition attribute="emailaddress1" operator="not-null"/>', "0135"),
        ('<condition attribute="emailaddress1" operator="like" value="%@example.c_m"/>', "015"),
        ('<condition attribute="emailaddress1" operator="not-like" value="%@example.com"/>', "234"),
        ('<condition attribute="emailaddress1" operator="begins-with" value="D"/>', "3"),
        ('<condition attribute="statecode" operator="in"><value>1</value></condition>', "25"),
        ('<condition attribute="statecode" operator="not-in"><value>1</value></condition>', "0134"),
        ('<condition attribute="donotemail" operator="eq" value="1"/>', "0"),
        ('<condition attribute="createdon" operator="on-or-before" value="2020-06-01"/>', "4"),
        ('<condition attribute="createdon" operator="last-x-days" value="30"/>', "01235"),
        ('<condition attribute="ownerid" operator="eq-userid"/>', ""),
    ],
)
def test_a_fetchxml_condition_finds_what_it_says(api: Api, people: list[str], condition: str, found: str) -> None:
    """The operators that lists and views are made of."""
    rows = fetch(api, f'<fetch><entity name="contact"><attribute name="contactid"/><filter>{condition}</filter></entity></fetch>')

    assert "".join(str(people.index(row["contactid"])) for row in rows["value"]) == found


def test_fetchxml_pages_are_followed_by_cookies_decoded_twice(simulator: DataverseSimulator, api: Api) -> None:
    """The cookie is XML in an attribute, URL-encoded twice; the next page begins after the row it names."""
    simulator.seed_contacts(count=25)
    query = (
        '<entity name="contact"><attribute name="contactid"/>'
        '<filter><condition attribute="fullname" operator="not-null"/></filter></entity>'
    )
    found, paging, page = [], "", 1
    while True:
        answer = fetch(api, f'<fetch count="10" page="{page}"{paging}>{query}</fetch>')
        found += [row["contactid"] for row in answer["value"]]
        if not answer[MORE]:
            break
        cookie = ET.fromstring(answer[COOKIE])
        inner = unquote(unquote(cookie.attrib["pagingcookie"]))
        assert ET.fromstring(inner).find("contactid") is not None
        paging, page = f" paging-cookie={quoteattr(inner)}", int(cookie.attrib["pagenumber"])

    assert len(found) == len(set(found)) == 25


def test_paging_by_number_alone_ends_at_50000_rows(simulator: DataverseSimulator, api: Api) -> None:
    """Without cookies large lists cannot be read."""
    simulator.seed_contacts(count=50_010)
    query = '<entity name="contact"><attribute name="contactid"/></entity>'

    assert len(fetch(api, f'<fetch page="10">{query}</fetch>')["value"]) == 5_000
    refused = api.session.get(API + "contacts", params={"fetchXml": f'<fetch page="11">{query}</fetch>'})
    assert refused.status_code == 400


def test_links_join_filter_and_show_columns(simulator: DataverseSimulator, api: Api, people: list[str]) -> None:
    """Inner links leave rows out, outer links keep them; linked columns are named by alias."""
    made = simulator.make_segment(kind="list", name="Chosen", members=people[1:3])
    link = (
        '<fetch><entity name="contact"><attribute name="lastname"/><order attribute="lastname"/>'
        '<link-entity name="listmember" from="entityid" to="contactid" link-type="{kind}" alias="m"><attribute name="listid"/>'
        f'<filter><condition attribute="listid" operator="eq" value="{made["list"]}"/></filter>'
        '<link-entity name="list" from="listid" to="listid" link-type="{kind}" alias="l"><attribute name="listname"/>'
        "</link-entity>"
        "</link-entity></entity></fetch>"
    )
    inner, outer = (fetch(api, link.format(kind=kind))["value"] for kind in ("inner", "outer"))

    assert [(row["lastname"], row["l.listname"]) for row in inner] == [("baker", "Chosen"), ("Charlie", "Chosen")]
    assert len(outer) == 6
    assert sum("m.listid" in row for row in outer) == 2


def test_a_list_changed_between_pages_is_read_anew(simulator: DataverseSimulator, api: Api, people: list[str]) -> None:
    """Results are kept only while their tables do not change."""
    made = simulator.make_segment(kind="list", members=people[:2])
    query = (
        '<fetch><entity name="contact"><attribute name="contactid"/>'
        '<link-entity name="listmember" from="entityid" to="contactid">'
        f'<filter><condition attribute="listid" operator="eq" value="{made["list"]}"/></filter></link-entity></entity></fetch>'
    )
    first = fetch(api, query)["value"]
    simulator.change_members(made["list"], add=[people[3]], remove=[people[0]])
    second = fetch(api, query)["value"]

    assert [row["contactid"] for row in first] == people[:2]
    assert [row["contactid"] for row in second] == [people[1], people[3]]


# ---------------------------------------------------------------------- lists and many-to-many


def test_a_list_gives_its_members_with_their_columns_in_pages(simulator: DataverseSimulator, api: Api) -> None:
    """The way a marketing list is read: one request for each 5,000 members."""
    simulator.seed_contacts(count=700)
    ids = simulator.state.store("contact").ids()[:520]
    made = simulator.make_segment(kind="list", members=ids)
    path = f"lists({made['list']})/listcontact_association?$select=contactid,emailaddress1,statecode"
    read = [[row["contactid"] for row in page] for page in pages(api, path, Prefer="odata.maxpagesize=200")]

    assert [len(page) for page in read] == [200, 200, 120]
    assert [row_id for page in read for row_id in page] == ids
    assert (
        api.get(f"listmembers?$select=_entityid_value,entitytype&$filter=_listid_value eq {made['list']}")["value"][0][
            "entitytype"
        ]
        == "contact"
    )


def test_members_are_added_and_taken_out_by_actions(api: Api, people: list[str]) -> None:
    """AddListMembersList, AddMemberList and RemoveMemberList, with the count on the list."""
    list_id = api.post("lists", {"listname": "L", "createdfromcode": 2, "membertype": 2})
    members = [{"@odata.type": "Microsoft.Dynamics.CRM.contact", "contactid": row_id} for row_id in people[:3]]
    api.post("AddListMembersList", {"List": {"listid": list_id}, "Members": members})
    api.post(f"lists({list_id})/Microsoft.Dynamics.CRM.RemoveMemberList", {"EntityId": people[0]})

    assert api.get(f"lists({list_id})?$select=membercount")["membercount"] == 2
    assert [row["contactid"] for row in api.get(f"lists({list_id})/listcontact_association")["value"]] == people[1:3]
    assert api.send("GET", f"lists({list_id})/listcontact_association/$count").content.decode("utf-8-sig") == "2"


def test_a_dynamic_list_keeps_its_query(simulator: DataverseSimulator, api: Api) -> None:
    """Members are found by running the query; there are none in the intersect table."""
    made = simulator.make_segment(kind="list", static=False)
    row = api.get(f"lists({made['list']})?$select=type,query")

    assert row["type"] is True
    assert row["query"].startswith("<fetch")
    assert api.get(f"lists({made['list']})/listcontact_association")["value"] == []


def test_rows_are_associated_and_parted_by_reference(api: Api) -> None:
    """Roles are given to users this way; doing it twice changes nothing."""
    role = api.get("roles?$select=roleid&$filter=name eq 'Basic User'")["value"][0]["roleid"]
    user = api.get("systemusers?$select=systemuserid&$filter=fullname eq 'Installer application'")["value"][0]["systemuserid"]
    path = f"systemusers({user})/systemuserroles_association"
    for _ in range(2):
        api.post(path + "/$ref", {"@odata.id": f"{API}roles({role})"})
    names = [row["name"] for row in api.get(path + "?$select=name")["value"]]
    parted = api.send("DELETE", f"{path}({role})/$ref")

    assert sorted(names) == ["Basic User", "System Administrator"]
    assert parted.status_code == 204
    assert api.send("DELETE", f"{path}/$ref?$id={API}roles({role})").status_code == 404


# ---------------------------------------------------------------------- batches and bulk messages


def batch(api: Api, requests_: list[tuple[str, str, Any]], change_set: bool = False, **headers: str) -> list[tuple[int, Any]]:
    """Send a batch and return status and JSON (its `value` if it has one) of each part."""
    lines: list[str] = []
    for number, (method, path, body) in enumerate(requests_, start=1):
        lines += ["--b" if not change_set else "--c", "Content-Type: application/http", "Content-Transfer-Encoding: binary"]
        lines += [f"Content-ID: {number}"] if change_set else []
        lines += ["", f"{method} {path if path.startswith('$') else API + path} HTTP/1.1", "Content-Type: application/json", ""]
        lines.append(json.dumps(body) if body is not None else "")
    if change_set:
        lines = ["--b", "Content-Type: multipart/mixed; boundary=c", "", *lines, "--c--"]
    data = "\r\n".join([*lines, "--b--", ""]).encode()
    given = {"Content-Type": "multipart/mixed; boundary=b", **{name.replace("_", "-"): value for name, value in headers.items()}}
    answer = api.session.post(API + "$batch", data=data, headers=given)
    assert answer.status_code == 200, answer.text
    found: list[tuple[int, Any]] = []
    for part in answer.text.split("HTTP/1.1 ")[1:]:
        text = part.partition("\r\n\r\n")[2].partition("\r\n--")[0].strip()
        content = json.loads(text) if text.startswith("{") else None
        found.append((int(part[:3]), content.get("value", content) if content else None))
    return found


def test_a_batch_answers_its_parts_in_order_and_stops_at_the_first_error(api: Api) -> None:
    """Unless it is asked to go on."""
    parts: list[tuple[str, str, Any]] = [
        ("POST", "contacts", {"lastname": "A"}),
        ("GET", f"contacts({NOBODY})", None),
        ("GET", "contacts?$select=lastname", None),
    ]

    assert [status for status, _ in batch(api, parts)] == [204, 404]
    assert [status for status, _ in batch(api, parts, Prefer="odata.continue-on-error")] == [204, 404, 200]


def test_a_change_set_refers_to_what_it_made_and_is_all_or_nothing(simulator: DataverseSimulator, api: Api) -> None:
    """Content-ID 1 is `$1`, in addresses and in binds."""
    good: list[tuple[str, str, Any]] = [
        ("POST", "contacts", {"lastname": "A"}),
        ("POST", "accounts", {"name": "N", "primarycontactid@odata.bind": "$1"}),
        ("PATCH", "$1", {"jobtitle": "J"}),
    ]
    done = batch(api, good, change_set=True)
    failed = batch(api, [*good, ("POST", "contacts", {"nonsense": 1})], change_set=True)

    assert [status for status, _ in done] == [204, 204, 204]
    assert [status for status, _ in failed] == [400]
    assert len(simulator.table("contact")) == len(simulator.table("account")) == 1
    assert simulator.table("account")[0]["_primarycontactid_value"] == simulator.table("contact")[0]["contactid"]


def test_a_batch_has_at_most_1000_parts_and_lines_that_end_with_crlf(simulator: DataverseSimulator, api: Api) -> None:
    """More, or bare line feeds, are refused as a whole; the call log knows how many parts there were."""
    parts: list[tuple[str, str, Any]] = [("GET", "WhoAmI", None)] * 1000
    assert len(batch(api, parts)) == 1000
    assert simulator.calls[-1].elements == 1000
    with pytest.raises(AssertionError, match="0x"):
        batch(api, [*parts, ("GET", "WhoAmI", None)])
    bare = "--b\nContent-Type: application/http\n\nGET /api/data/v9.2/WhoAmI HTTP/1.1\n\n--b--\n"
    headers = {"Content-Type": "multipart/mixed; boundary=b"}
    assert api.session.post(API + "$batch", data=bare, headers=headers).status_code == 400


def test_bulk_messages_create_update_and_upsert_all_or_none(simulator: DataverseSimulator, api: Api) -> None:
    """On standard tables one bad row takes the others back."""
    kind = {"@odata.type": "Microsoft.Dynamics.CRM.contact"}
    created = api.send("POST", "contacts/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": [{**kind, "lastname": "A"}] * 3})
    ids = created.json()["Ids"]
    changes = [{**kind, "contactid": row_id, "lastname": "B"} for row_id in ids]
    missing = {**kind, "contactid": NOBODY, "lastname": "C"}

    assert api.send("POST", "contacts/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": changes}).status_code == 204
    assert api.refused("POST", "contacts/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [*changes, missing]})[0] == 404
    assert api.send("POST", "contacts/Microsoft.Dynamics.CRM.UpsertMultiple", {"Targets": [missing]}).status_code == 204
    assert api.refused("POST", "contacts/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": [{"lastname": "A"}]})[0] == 400
    assert sorted(row["lastname"] for row in simulator.table("contact")) == ["B", "B", "B", "C"]


# ---------------------------------------------------------------------- segments


def members_list(api: Api, segment_id: str) -> Any:
    """Return the decoded ResultText of MembersList."""
    answer = api.send("POST", "msdynmkt_MembersList", {"SegmentId": segment_id}).json()
    assert answer["StatusCode"] == 200
    return json.loads(answer["ResultText"])


def test_a_real_time_segment_has_two_rows_joined_by_text(simulator: DataverseSimulator, api: Api, people: list[str]) -> None:
    """The segment names its definition as text, in any case, with or without braces."""
    made = simulator.make_segment(name="S", members=people)
    odd = simulator.make_segment(name="T", members=people, uid="braces")
    row = api.get(f"msdynmkt_segments?$filter=msdynmkt_sourcesegmentuid eq '{made['definition']}'")["value"][0]

    assert row["msdynmkt_segmentid"] == made["segment"]
    assert (row["msdynmkt_type"], row["msdynmkt_membercount"], row["msdynmkt_baseentitylogicalname"]) == (10, 6, "contact")
    assert api.get(f"msdynmkt_segments({odd['segment']})")["msdynmkt_sourcesegmentuid"] == "{" + odd["definition"].upper() + "}"
    assert made["id"] == made["definition"]
    assert made["set"] == "msdynmkt_segmentdefinitions"


def test_members_come_as_json_text_in_both_documented_shapes(simulator: DataverseSimulator, api: Api, people: list[str]) -> None:
    """One guid for each element, or one string with all of them."""
    made = simulator.make_segment(members=people)
    first = members_list(api, made["segment"])
    simulator.settings(members_shape="comma-separated")
    second = members_list(api, made["segment"])

    assert first["members"] == people
    assert second["members"] == [",".join(people)]
    assert (first["baseEntityLogicalName"], first["primaryKeyColumnName"], first["totalCount"]) == ("contact", "contactid", 6)


def test_members_can_be_cut_off_denied_or_asked_for_by_the_other_id(
    simulator: DataverseSimulator, api: Api, people: list[str]
) -> None:
    """Each trap of the action can be set."""
    made = simulator.make_segment(members=people)
    simulator.settings(members_limit=4)
    cut = members_list(api, made["segment"])
    simulator.settings(members_status=500)
    inner = api.send("POST", "msdynmkt_MembersList", {"SegmentId": made["segment"]})
    simulator.settings(members_limit=None, members_status=200, members_key="definition")

    assert (len(cut["members"]), cut["totalCount"]) == (4, 6)
    assert (inner.status_code, inner.json()["StatusCode"]) == (200, 500)
    assert members_list(api, made["definition"])["members"] == people
    assert api.refused("POST", "msdynmkt_MembersList", {"SegmentId": made["segment"]})[0] == 404
    simulator.settings(members_available=False)
    assert api.refused("POST", "msdynmkt_MembersList", {"SegmentId": made["definition"]}) == (404, "0x8006088a")


def test_a_static_group_is_read_in_pages_until_fewer_come(simulator: DataverseSimulator, api: Api, people: list[str]) -> None:
    """There is no total."""
    made = simulator.make_segment(members=people)
    groups = json.loads(api.get(f"msdynmkt_segmentdefinitions({made['definition']})")["msdynmkt_staticlistmembers"])
    asked = {"SegmentId": made["segment"], "GroupId": groups[0]["groupId"], "PageSize": 4}
    read = [
        json.loads(api.send("POST", "msdynmkt_ListGroupMembers", asked | {"PageNo": page}).json()["Response"])["entityIds"]
        for page in (1, 2, 3)
    ]

    assert read == [people[:4], people[4:], []]
    assert groups[0]["includeType"] == "Include"


def test_going_live_passes_through_going_live_and_makes_the_segment_row(
    simulator: DataverseSimulator, api: Api, people: list[str]
) -> None:
    """A draft has no segment row; the service sets Going live and then Live."""
    made = simulator.make_segment(members=people, live=False)
    before = api.send("GET", f"msdynmkt_segments({made['segment']})").status_code
    simulator.settings(going_live="on-demand")
    api.post("msdynmkt_PublishSegmentDefinition", {"SegmentId": made["definition"]})
    path = f"msdynmkt_segmentdefinitions({made['definition']})?$select=statuscode"
    between = api.get(path)["statuscode"]
    simulator.settle_segments()

    assert before == 404
    assert (between, api.get(path)["statuscode"]) == (723270002, 723270000)
    assert api.get(f"msdynmkt_segments({made['segment']})")["msdynmkt_displayname"] == "Sample segment"


def test_an_outbound_segment_keeps_its_members_as_text(simulator: DataverseSimulator, api: Api, people: list[str]) -> None:
    """Where the table is gone, its set is unknown."""
    made = simulator.make_segment(kind="outbound", members=people, prefix="crm")
    row = api.get(f"msdyncrm_segments({made['outbound']})")

    assert json.loads(row["msdyncrm_segmentmemberids"]) == ["crm" + row_id for row_id in people]
    assert (row["msdyncrm_segmenttype"], row["statuscode"]) == (192350001, 192350001)
    without = Api(DataverseSimulator(outbound=False), api.session.headers)  # type: ignore[arg-type]
    assert without.refused("GET", "msdyncrm_segments") == (404, "0x8006088a")


def test_consent_belongs_to_addresses(simulator: DataverseSimulator, api: Api) -> None:
    """Opted-out addresses of a purpose are found by the documented query."""
    simulator.opt_out(["ada@example.com", "grace@example.com"])
    rows = api.get(
        "msdynmkt_contactpointconsent4s?$select=msdynmkt_contactpointvalue&$filter=msdynmkt_contactpointtype eq 534120000 and "
        "msdynmkt_contactpointconsenttype eq 534120000 and msdynmkt_value eq 534120002 and statecode eq 0 and "
        f"_msdynmkt_purposeid_value eq {COMMERCIAL_PURPOSE}"
    )["value"]

    assert [row["msdynmkt_contactpointvalue"] for row in rows] == ["ada@example.com", "grace@example.com"]


def test_generated_contacts_are_the_same_for_the_same_seed(simulator: DataverseSimulator) -> None:
    """With known numbers of every trouble."""
    tally = simulator.seed_contacts(count=1_000, seed=7, without_email=0.1, invalid=0.05, duplicates=0.02)
    other = DataverseSimulator()
    other.seed_contacts(count=1_000, seed=7, without_email=0.1, invalid=0.05, duplicates=0.02)
    rows = [{name: row.get(name) for name in ("contactid", "emailaddress1", "statecode")} for row in simulator.table("contact")]
    again = [{name: row.get(name) for name in ("contactid", "emailaddress1", "statecode")} for row in other.table("contact")]

    assert rows == again
    assert tally["without_email"] == sum(row["emailaddress1"] is None for row in rows) == 100
    assert tally["inactive"] == sum(row["statecode"] == 1 for row in rows)
    folded = [
        row["emailaddress1"].strip().lower() for row in rows if row["emailaddress1"] and "@e" in row["emailaddress1"].lower()
    ]
    assert len(folded) > len(set(folded))


def test_contacts_are_loaded_from_a_view_s_export(simulator: DataverseSimulator, tmp_path: Path) -> None:
    """Display headings, a byte order mark, and words for choices."""
    path = tmp_path / "view.csv"
    path.write_text(
        "\ufeffFull Name,Email,Do not allow Bulk Emails,Status\nAda,ada@example.com,Do Not Allow,Active\nBob,,Allow,Inactive\n",
        encoding="utf-8",
    )
    simulator.load_contacts(path=str(path))
    ada, bob = simulator.table("contact")

    assert (ada["fullname"], ada["emailaddress1"], ada["donotbulkemail"], ada["statecode"]) == ("Ada", "ada@example.com", True, 0)
    assert (bob.get("emailaddress1"), bob["donotbulkemail"], bob["statuscode"]) == (None, False, 2)


# ---------------------------------------------------------------------- privileges


def role_with(api: Api, user_id: str, **privileges: str) -> str:
    """Give a user a new role with privileges by name and depth, and return its id."""
    role = api.post("roles", {"name": f"Role {uuid4()}"})
    given = []
    for name, depth in privileges.items():
        found = api.get(f"privileges?$select=privilegeid&$filter=name eq '{name}'")["value"]
        given.append({"PrivilegeId": found[0]["privilegeid"], "PrivilegeName": name, "Depth": depth})
    api.post(f"roles({role})/Microsoft.Dynamics.CRM.AddPrivilegesRole", {"Privileges": given})
    api.post(f"systemusers({user_id})/systemuserroles_association/$ref", {"@odata.id": f"{API}roles({role})"})
    return role


@pytest.fixture
def worker(simulator: DataverseSimulator, api: Api) -> tuple[str, Api]:
    """Create an application user without any role; gives its id and its Web API."""
    unit = api.get("WhoAmI")["BusinessUnitId"]
    user_id = api.post("systemusers", {"applicationid": NOBODY, "businessunitid@odata.bind": f"/businessunits({unit})"})
    token = tokens.issue(appid=NOBODY, audience=URL, now=time.time())
    return user_id, Api(simulator, {"Authorization": f"Bearer {token}"})


def test_a_missing_privilege_is_named(api: Api, worker: tuple[str, Api], people: list[str]) -> None:
    """Whoever reads the message knows what to add to the role."""
    user_id, asking = worker
    answer = asking.send("GET", "contacts?$select=contactid")
    role_with(api, user_id, prvReadContact="Global")

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "0x80040220")
    assert "is missing prvReadContact privilege" in answer.json()["error"]["message"]
    assert len(asking.get("contacts?$select=contactid")["value"]) == len(people)
    assert asking.refused("PATCH", f"contacts({people[0]})", {"lastname": "X"}) == (403, "0x80040220")
    assert asking.refused("DELETE", f"contacts({people[0]})") == (403, "0x80040220")
    assert asking.refused("POST", "contacts", {"lastname": "X"}) == (403, "0x80040220")


def test_basic_depth_shows_own_rows_only(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """A marketer's sign-in row is seen by nobody else, by list or by id."""
    basic = {f"prv{verb}lima_Audience": "Basic" for verb in ("Create", "Read", "Write", "Delete")}
    for marketer in MARKETERS:
        role_with(api, marketer, **basic)
    mara, miles = (as_person(simulator, marketer) for marketer in MARKETERS)
    row_id = mara.post(f"{table}s", {"lima_name": "mine"})

    assert [row["lima_name"] for row in mara.get(f"{table}s")["value"]] == ["mine"]
    assert miles.get(f"{table}s")["value"] == []
    assert miles.refused("GET", f"{table}s({row_id})") == (403, "0x80048306")
    assert miles.refused("PATCH", f"{table}s({row_id})", {"lima_name": "yours"}) == (403, "0x80048306")
    assert len(api.get(f"{table}s")["value"]) == 1


def test_giving_a_row_away_needs_the_assign_privilege(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """Neither at creation nor later can a row be put on somebody else without it."""
    user = MARKETERS[0]
    role_with(api, user, prvCreatelima_Audience="Global", prvReadlima_Audience="Global", prvWritelima_Audience="Global")
    mara = as_person(simulator, user)
    row_id = mara.post(f"{table}s", {"lima_name": "mine"})
    other = {"ownerid@odata.bind": f"/systemusers({MARKETERS[1]})"}

    assert mara.refused("POST", f"{table}s", other) == (403, "0x80040220")
    assert mara.refused("PATCH", f"{table}s({row_id})", other) == (403, "0x80040220")
    role_with(api, user, prvAssignlima_Audience="Global")
    mara.patch(f"{table}s({row_id})", other)
    assert mara.get(f"{table}s({row_id})")["_ownerid_value"] == MARKETERS[1]


def test_setting_a_lookup_needs_append_and_append_to(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """Append on the row's table, AppendTo on the table pointed at."""
    relationship = {
        "@odata.type": "Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata",
        "SchemaName": "lima_list_audience",
        "ReferencedEntity": "list",
        "ReferencingEntity": table,
        "Lookup": column("Lookup", "lima_ListId"),
    }
    api.post("RelationshipDefinitions", relationship)
    user = MARKETERS[0]
    role_with(api, user, prvCreatelima_Audience="Basic")
    body = {"lima_ListId@odata.bind": f"/lists({simulator.make_segment(kind='list')['list']})"}
    mara = as_person(simulator, user)

    assert "prvAppendlima_Audience" in mara.send("POST", f"{table}s", body).text
    role_with(api, user, prvAppendlima_Audience="Basic")
    assert mara.post(f"{table}s", body)


def test_a_role_tells_its_privileges_and_loses_them(api: Api, worker: tuple[str, Api]) -> None:
    """The installer compares before it grants; ReplacePrivilegesRole leaves exactly what it names."""
    user_id, asking = worker
    role = role_with(api, user_id, prvReadContact="Global", prvReadLead="Local")
    held = api.get(f"RetrieveRolePrivilegesRole(RoleId={role})")["RolePrivileges"]
    mine = api.get(f"systemusers({user_id})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()")["RolePrivileges"]
    lead = next(one["PrivilegeId"] for one in held if one["PrivilegeName"] == "prvReadLead")
    only = {"Privileges": [{"PrivilegeId": lead, "Depth": "Global"}]}
    api.post(f"roles({role})/Microsoft.Dynamics.CRM.ReplacePrivilegesRole", only)

    assert {(one["PrivilegeName"], one["Depth"]) for one in held} == {("prvReadContact", "Global"), ("prvReadLead", "Local")}
    assert sorted(one["PrivilegeId"] for one in mine) == sorted(one["PrivilegeId"] for one in held)
    assert asking.refused("GET", "contacts")[0] == 403
    assert asking.get("leads")["value"] == []


def test_a_marketer_cannot_change_the_environment(simulator: DataverseSimulator) -> None:
    """Definitions, solutions, steps and publishing are an administrator's."""
    mara = as_person(simulator, MARKETERS[0])

    assert mara.refused("POST", "EntityDefinitions", {"SchemaName": "new_X"}) == (403, "0x80040220")
    assert mara.refused("POST", "PublishAllXml") == (403, "0x80040220")
    assert mara.refused("GET", "serviceendpoints") == (403, "0x80040220")
    assert mara.refused("GET", "msdyncrm_segments") == (403, "0x80040220")
    assert mara.get("msdynmkt_segmentdefinitions")["value"] == []


# ---------------------------------------------------------------------- events


class Receiver:
    """What a webhook calls: keeps what arrives and answers as planned."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.received: list[tuple[str, Mapping[str, str], bytes]] = []

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Take one notification."""
        self.received.append((url, headers, body))
        return self.statuses.pop(0) if self.statuses else 202


def register(api: Api, message: str, table: str, filtering: str | None = None, authtype: int = 5, **more: Any) -> str:
    """Register an endpoint and a step, and return the step's id."""
    secret = '<settings><setting name="x-lima-key" value="s3cret"/></settings>' if authtype != 4 else "s3cret"
    hook = {"name": "app", "url": "https://app.example.com/api/events", "contract": 8, "authtype": authtype, "authvalue": secret}
    endpoint = api.post("serviceendpoints", hook)
    found = api.get(f"sdkmessages?$select=sdkmessageid&$filter=name eq '{message}'")["value"][0]["sdkmessageid"]
    condition = f"_sdkmessageid_value eq {found} and primaryobjecttypecode eq '{table}'"
    chosen = api.get(f"sdkmessagefilters?$select=sdkmessagefilterid&$filter={condition}")["value"][0]["sdkmessagefilterid"]
    step = {
        "name": f"{message} of {table}",
        "stage": 40,
        "mode": 1,
        "rank": 1,
        "asyncautodelete": True,
        "sdkmessageid@odata.bind": f"/sdkmessages({found})",
        "sdkmessagefilterid@odata.bind": f"/sdkmessagefilters({chosen})",
        "eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({endpoint})",
        **({"filteringattributes": filtering} if filtering else {}),
    }
    return api.post("sdkmessageprocessingsteps", step | more)


def delivered(simulator: DataverseSimulator) -> list[dict[str, Any]]:
    """Wait for deliveries and return their log."""
    assert simulator.await_deliveries(10)["idle"]
    return simulator.deliveries()


def test_creating_a_row_rings_with_the_true_context(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """All members of RemoteExecutionContext, slashes escaped, the row's id in three places."""
    simulator.webhooks.send = receiver = Receiver()
    step = register(api, "Create", table)
    row_id = api.post(f"{table}s?tag=x", {"lima_name": "a/b", "lima_size": 5})
    delivered(simulator)
    url, headers, body = receiver.received[0]
    context = json.loads(body)
    target = context["InputParameters"][0]["value"]
    values = {one["key"]: one["value"] for one in target["Attributes"]}

    assert url == "https://app.example.com/api/events"
    assert headers["x-ms-dynamics-organization"] == "contoso.crm.dynamics.com"
    assert (headers["x-ms-dynamics-entity-name"], headers["x-ms-dynamics-request-name"]) == (table, "Create")
    assert headers["x-ms-correlation-request-id"] == context["CorrelationId"]
    assert headers["x-lima-key"] == "s3cret"
    assert b"a\\/b" in body
    assert b"http:\\/\\/schemas.microsoft.com" in body
    assert context["PrimaryEntityId"] == target["Id"] == context["OutputParameters"][0]["value"] == row_id
    assert (context["MessageName"], context["Stage"], context["Mode"], context["Depth"]) == ("Create", 40, 1, 1)
    assert context["OwningExtension"]["Id"] == step
    assert context["SharedVariables"] == [{"key": "tag", "value": "x"}]
    assert context["ParentContext"]["Stage"] == 30
    assert values["lima_name"] == "a/b"
    assert values["lima_size"] == 5
    assert values["createdon"].startswith("/Date(")
    assert values["ownerid"]["LogicalName"] == "systemuser"
    assert values["statecode"]["Value"] == 0


def test_an_update_rings_only_for_the_columns_of_the_step(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """A column that is sent counts, whether its value changed or not."""
    simulator.webhooks.send = receiver = Receiver()
    register(api, "Update", table, "lima_command")
    row_id = api.post(f"{table}s", {"lima_name": "n"})
    api.patch(f"{table}s({row_id})", {"lima_name": "m"})
    api.patch(f"{table}s({row_id})", {"lima_command": "create"})
    api.patch(f"{table}s({row_id})", {"lima_command": "create"})
    delivered(simulator)

    assert len(receiver.received) == 2


def test_state_and_other_columns_in_one_update_ring_twice(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """Once for the ordinary columns and once for the state."""
    simulator.webhooks.send = receiver = Receiver()
    register(api, "Update", table, "lima_command,statuscode")
    row_id = api.post(f"{table}s", {"lima_name": "n"})
    api.patch(f"{table}s({row_id})", {"lima_command": "x", "statecode": 1})
    delivered(simulator)
    sent = [
        {one["key"] for one in json.loads(body)["InputParameters"][0]["value"]["Attributes"]} for _, _, body in receiver.received
    ]

    assert len(sent) == 2
    assert "lima_command" in sent[0]
    assert "statuscode" not in sent[0]
    assert {"statecode", "statuscode"} <= sent[1]
    assert "lima_command" not in sent[1]


def test_bulk_updates_ring_the_step_on_update_for_each_row(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """The pipelines are merged, in both directions."""
    simulator.webhooks.send = receiver = Receiver()
    ids = [api.post(f"{table}s", {"lima_name": "n"}) for _ in range(3)]
    register(api, "Update", table, "lima_command")
    register(api, "UpdateMultiple", table)
    kind = {"@odata.type": f"Microsoft.Dynamics.CRM.{table}"}
    changes = [{**kind, f"{table}id": row_id, "lima_command": "x"} for row_id in ids]
    api.post(f"{table}s/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": changes})
    delivered(simulator)
    after_many = [headers["x-ms-dynamics-request-name"] for _, headers, _ in receiver.received]
    api.patch(f"{table}s({ids[0]})", {"lima_command": "y"})
    delivered(simulator)

    assert after_many.count("Update") == 3
    assert after_many.count("UpdateMultiple") >= 1
    assert {headers["x-ms-dynamics-request-name"] for _, headers, _ in receiver.received[len(after_many) :]} == {
        "Update",
        "UpdateMultiple",
    }


def test_what_is_taken_back_rings_nobody(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """Steps after the operation hear of committed changes only."""
    simulator.webhooks.send = receiver = Receiver()
    register(api, "Create", table)
    batch(api, [("POST", f"{table}s", {"lima_name": "n"}), ("POST", f"{table}s", {"nonsense": 1})], change_set=True)
    delivered(simulator)

    assert receiver.received == []


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [([202], "succeeded"), ([503, 200], "succeeded"), ([502, 504], "failed"), ([500], "failed"), ([0], "failed")],
)
def test_a_delivery_is_tried_once_more_only_on_gateway_errors(
    simulator: DataverseSimulator, api: Api, table: str, answers: list[int], outcome: str
) -> None:
    """A failure leaves a System Job that a reconciliation finds."""
    simulator.webhooks.send = receiver = Receiver(*answers, 418)
    step = register(api, "Create", table)
    api.post(f"{table}s", {"lima_name": "n"})
    log = delivered(simulator)
    failed = api.get(f"asyncoperations?$select=statecode,message&$filter=statuscode eq 31 and _owningextensionid_value eq {step}")

    assert len(receiver.received) == len(answers)
    assert log[0]["outcome"] == outcome
    assert [row["statecode"] for row in failed["value"]] == ([3] if outcome == "failed" else [])


def test_a_body_over_256_kb_arrives_stripped(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """Only ids are left; the receiver reads the row."""
    api.post(f"EntityDefinitions(LogicalName='{table}')/Attributes", column("Memo", "lima_Long", MaxLength=500_000))
    simulator.webhooks.send = receiver = Receiver()
    register(api, "Create", table)
    row_id = api.post(f"{table}s", {"lima_long": "x" * 300_000})
    delivered(simulator)
    _, headers, body = receiver.received[0]
    context = json.loads(body)

    assert headers["x-ms-dynamics-msg-size-exceeded"] == "true"
    assert "InputParameters" not in context
    assert context["PrimaryEntityId"] == row_id


@pytest.mark.parametrize(("authtype", "expected"), [(4, "?code=s3cret"), (6, "?x-lima-key=s3cret")])
def test_a_secret_can_travel_in_the_address(
    simulator: DataverseSimulator, api: Api, table: str, authtype: int, expected: str
) -> None:
    """WebhookKey and HttpQueryString."""
    simulator.webhooks.send = receiver = Receiver()
    register(api, "Create", table, authtype=authtype)
    api.post(f"{table}s", {"lima_name": "n"})
    delivered(simulator)

    assert receiver.received[0][0].endswith(expected)


def test_a_webhook_reaches_a_receiver_over_https(tmp_path: Path) -> None:
    """With the authority that signed the receiver's certificate; without it nothing is delivered."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    received: list[bytes] = []

    class Endpoint(BaseHTTPRequestHandler):
        """Takes one notification."""

        def do_POST(self) -> None:
            """Read the body and answer 202."""
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        outcomes = []
        for trusted in (str(tmp_path / "ca.pem"), None):
            simulator = DataverseSimulator(webhook_ca=trusted)
            token = tokens.issue(appid=ADMINISTRATOR_APPLICATION, audience=URL, now=time.time())
            api = Api(simulator, {"Authorization": f"Bearer {token}"})
            step = register(api, "Create", "contact")
            hook = api.get(f"sdkmessageprocessingsteps({step})?$select=_eventhandler_value")["_eventhandler_value"]
            api.patch(f"serviceendpoints({hook})", {"url": f"https://127.0.0.1:{server.server_port}/events"})
            api.post("contacts", {"lastname": "A"})
            outcomes.append(delivered(simulator)[0]["outcome"])
            simulator.close()
        server.shutdown()
        thread.join()

    assert outcomes == ["succeeded", "failed"]
    assert [json.loads(body)["MessageName"] for body in received] == ["Create"]


def test_deliveries_come_twice_late_or_never_when_planned(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """The chaos harness plans what the network may do."""
    simulator.webhooks.send = receiver = Receiver()
    register(api, "Create", table)
    simulator.plan_deliveries("twice", times=1)
    simulator.plan_deliveries("never", times=1)
    simulator.plan_deliveries("late", seconds=0.01, times=1)
    for name in ("a", "b", "c", "d"):
        api.post(f"{table}s", {"lima_name": name})
        delivered(simulator)
    names = [
        next(one["value"] for one in json.loads(body)["InputParameters"][0]["value"]["Attributes"] if one["key"] == "lima_name")
        for _, _, body in receiver.received
    ]

    assert names == ["a", "a", "c", "d"]
    assert [one["outcome"] for one in simulator.deliveries()] == ["succeeded", "withheld", "succeeded", "succeeded"]
    simulator.redeliver(1)
    assert len(receiver.received) == 5


def test_a_segment_going_live_rings_for_each_status(simulator: DataverseSimulator, api: Api, people: list[str]) -> None:
    """The service's own changes ring like everybody's."""
    simulator.webhooks.send = receiver = Receiver()
    step = register(api, "Update", "msdynmkt_segmentdefinition", "statuscode")
    image = {"name": "post", "entityalias": "post", "imagetype": 1, "attributes": "msdynmkt_name,statuscode"}
    bound = {"sdkmessageprocessingstepid@odata.bind": f"/sdkmessageprocessingsteps({step})"}
    api.post("sdkmessageprocessingstepimages", {**image, **bound, "messagepropertyname": "Target"})
    made = simulator.make_segment(name="Autumn", members=people, live=False)
    simulator.go_live(made["table"], made["id"])
    delivered(simulator)
    images = [json.loads(body)["PostEntityImages"][1]["value"]["Attributes"] for _, _, body in receiver.received]
    statuses = sorted(next(one["value"]["Value"] for one in image if one["key"] == "statuscode") for image in images)

    assert statuses == [723270000, 723270002]
    assert all({"key": "msdynmkt_name", "value": "Autumn"} in image for image in images)


def test_a_step_is_registered_only_as_the_service_allows(api: Api, table: str) -> None:
    """Unknown tables, wrong stages, columns that are not there, images in the wrong place."""
    assert api.refused("GET", "sdkmessagefilters?$filter=primaryobjecttypecode eq 'lima_nothing'") == (400, "0x80041102")
    with pytest.raises(AssertionError, match="filtering attribute lima_nothing does not exist"):
        register(api, "Update", table, "lima_nothing")
    with pytest.raises(AssertionError, match="for the message Update only"):
        register(api, "Create", table, "lima_name")
    with pytest.raises(AssertionError, match="post-operation"):
        register(api, "Update", table, stage=20)
    with pytest.raises(AssertionError, match="does not imitate synchronous"):
        register(api, "Update", table, mode=0)
    step = register(api, "Create", table)
    bound = {"sdkmessageprocessingstepid@odata.bind": f"/sdkmessageprocessingsteps({step})"}
    image = {"name": "post", "entityalias": "post", "imagetype": 1, **bound}
    assert api.refused("POST", "sdkmessageprocessingstepimages", {**image, "messagepropertyname": "Target"}) == (
        400,
        "0x8004416b",
    )
    assert api.send("POST", "sdkmessageprocessingstepimages", {**image, "messagepropertyname": "Id"}).status_code == 204


def test_a_webhook_s_secret_is_written_and_never_read(api: Api, table: str) -> None:
    """The endpoint says only that it has one; steps are found from it, and keep it from being deleted."""
    register(api, "Create", table)
    endpoint = api.get("serviceendpoints")["value"][0]
    path = f"serviceendpoints({endpoint['serviceendpointid']})"

    assert (endpoint["authvalue"], endpoint["isauthvalueset"]) == (None, True)
    assert len(api.get(path + "/serviceendpoint_sdkmessageprocessingstep")["value"]) == 1
    assert api.refused("DELETE", path) == (400, "0x8004f01f")
    assert api.refused("POST", "serviceendpoints", {"name": "x", "url": "nowhere", "contract": 8, "authtype": 5})[0] == 400


def test_a_disabled_step_stays_silent(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """Until it is enabled again."""
    simulator.webhooks.send = receiver = Receiver()
    step = register(api, "Create", table)
    api.patch(f"sdkmessageprocessingsteps({step})", {"statecode": 1, "statuscode": 2})
    api.post(f"{table}s", {"lima_name": "silent"})
    api.patch(f"sdkmessageprocessingsteps({step})", {"statecode": 0, "statuscode": 1})
    api.post(f"{table}s", {"lima_name": "heard"})
    delivered(simulator)

    assert len(receiver.received) == 1


# ---------------------------------------------------------------------- definitions


def test_a_new_table_has_set_name_privileges_and_message_filters(api: Api, table: str) -> None:
    """Everything that hangs on a table is there at once."""
    definition = api.get(f"EntityDefinitions(LogicalName='{table}')?$select=EntitySetName,PrimaryIdAttribute,ObjectTypeCode")
    privileges = api.get("privileges?$select=name&$filter=endswith(name,'lima_Audience')")["value"]
    filters = api.get(f"sdkmessagefilters?$filter=primaryobjecttypecode eq '{table}' and sdkmessageid/name eq 'Create'")["value"]

    assert (definition["EntitySetName"], definition["PrimaryIdAttribute"]) == ("lima_audiences", "lima_audienceid")
    assert definition["ObjectTypeCode"] >= 10_000
    assert {row["name"] for row in privileges} >= {"prvReadlima_Audience", "prvAssignlima_Audience", "prvAppendTolima_Audience"}
    assert len(filters) == 1


def test_definitions_are_found_by_simple_filters_only(api: Api, table: str) -> None:
    """Text functions on definitions answer 501."""
    found = api.get(f"EntityDefinitions?$select=LogicalName&$filter=LogicalName eq '{table}' or LogicalName eq 'contact'")[
        "value"
    ]

    assert {one["LogicalName"] for one in found} == {table, "contact"}
    assert api.refused("GET", "EntityDefinitions?$filter=startswith(LogicalName,'lima')")[0] == 501
    assert api.refused("GET", "EntityDefinitions(LogicalName='lima_nothing')") == (404, "0x80040217")


def test_the_navigation_name_of_a_lookup_is_asked_for_not_guessed(api: Api, table: str) -> None:
    """A lookup of our own is bound by its schema name, with capitals."""
    body = {
        "@odata.type": "Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata",
        "SchemaName": "lima_systemuser_audience",
        "ReferencedEntity": "systemuser",
        "ReferencingEntity": table,
        "Lookup": column("Lookup", "lima_SignedInAs"),
    }
    api.post("RelationshipDefinitions", body, MSCRM_SolutionUniqueName="Lima")
    path = f"EntityDefinitions(LogicalName='{table}')/ManyToOneRelationships"
    found = api.get(path + "?$select=ReferencingEntityNavigationPropertyName,ReferencingAttribute,ReferencedEntity")["value"]
    names = {one["ReferencingAttribute"]: one["ReferencingEntityNavigationPropertyName"] for one in found}

    assert names["lima_signedinas"] == "lima_SignedInAs"
    assert api.post(f"{table}s", {"lima_SignedInAs@odata.bind": f"/systemusers({MARKETERS[0]})"})
    assert api.refused("POST", f"{table}s", {"lima_signedinas@odata.bind": f"/systemusers({MARKETERS[0]})"})[0] == 400


def test_choices_are_global_or_local_and_grow(api: Api, table: str) -> None:
    """A global choice is bound by its id and changed by actions of its own."""
    body = {
        "Name": "lima_status",
        "Options": [{"Value": 727000000, "Label": titled("Requested")}],
        "DisplayName": titled("Status"),
    }
    choice = api.post("GlobalOptionSetDefinitions", {"@odata.type": "Microsoft.Dynamics.CRM.OptionSetMetadata", **body})
    bound = {"GlobalOptionSet@odata.bind": f"/GlobalOptionSetDefinitions({choice})"}
    path = f"EntityDefinitions(LogicalName='{table}')/Attributes"
    api.post(path, column("Picklist", "lima_Status", **bound))
    refused = api.refused("POST", f"{table}s", {"lima_status": 727000001})
    api.post("InsertOptionValue", {"OptionSetName": "lima_status", "Value": 727000001, "Label": titled("Checking")})
    row_id = api.post(f"{table}s", {"lima_status": 727000001})
    shown = api.get(f"{table}s({row_id})?$select=lima_status", Prefer='odata.include-annotations="*"')
    cast = "Microsoft.Dynamics.CRM.PicklistAttributeMetadata"
    options = api.get(f"{path}(LogicalName='lima_status')/{cast}?$select=LogicalName&$expand=GlobalOptionSet")

    assert refused == (400, "0x8004431a")
    assert shown["lima_status@OData.Community.Display.V1.FormattedValue"] == "Checking"
    assert [one["Value"] for one in options["GlobalOptionSet"]["Options"]] == [727000000, 727000001]
    assert api.refused("DELETE", f"GlobalOptionSetDefinitions({choice})") == (400, "0x8004f01f")


def test_a_column_is_changed_by_sending_its_whole_definition(api: Api, table: str) -> None:
    """Labels in other languages stay with MergeLabels; without the header they go."""
    path = f"EntityDefinitions(LogicalName='{table}')/Attributes(LogicalName='lima_command')"
    before = api.get(path)
    german = {"LocalizedLabels": [{"Label": "Befehl", "LanguageCode": 1031}]}
    changed = before | {"MaxLength": 250, "DisplayName": german}
    api.send("PUT", path, changed, MSCRM_MergeLabels="true")
    merged = api.get(path)
    api.send("PUT", path, changed)
    replaced = api.get(path)

    assert merged["MaxLength"] == 250
    assert len(merged["DisplayName"]["LocalizedLabels"]) == 2
    assert [one["Label"] for one in replaced["DisplayName"]["LocalizedLabels"]] == ["Befehl"]
    assert api.post(f"{table}s", {"lima_command": "x" * 250})


@pytest.mark.parametrize(
    "body",
    [
        column("String", "Command"),
        column("String", "abc_Command"),
        column("String", "lima_Command"),
        column("String", "lima_Other", MaxLength=4001),
        column("Picklist", "lima_Other"),
        column("Lookup", "lima_Other"),
        column("Nonsense", "lima_Other"),
    ],
    ids=["no prefix", "unknown prefix", "there already", "too long", "no options", "lookup alone", "unknown type"],
)
def test_a_column_that_cannot_be_is_refused(api: Api, table: str, body: dict[str, Any]) -> None:
    """Names need a publisher's prefix, types their limits."""
    assert api.refused("POST", f"EntityDefinitions(LogicalName='{table}')/Attributes", body)[0] == 400


def test_what_is_used_cannot_be_deleted(simulator: DataverseSimulator, api: Api, table: str) -> None:
    """Columns in keys, tables with steps; afterwards all goes, with rows and privileges."""
    api.post(
        f"EntityDefinitions(LogicalName='{table}')/Keys", {"SchemaName": "lima_CommandKey", "KeyAttributes": ["lima_command"]}
    )
    step = register(api, "Create", table)
    attribute = f"EntityDefinitions(LogicalName='{table}')/Attributes(LogicalName='lima_command')"

    assert api.refused("DELETE", attribute) == (400, "0x8004f01f")
    assert api.refused("DELETE", f"EntityDefinitions(LogicalName='{table}')") == (400, "0x8004f01f")
    assert api.refused("DELETE", "EntityDefinitions(LogicalName='contact')")[0] == 400
    api.send("DELETE", f"EntityDefinitions(LogicalName='{table}')/Keys(LogicalName='lima_commandkey')")
    api.send("DELETE", attribute)
    api.send("DELETE", f"sdkmessageprocessingsteps({step})")
    assert api.send("DELETE", f"EntityDefinitions(LogicalName='{table}')").status_code == 204
    assert api.refused("GET", f"{table}s") == (404, "0x8006088a")
    assert api.get("privileges?$filter=contains(name,'lima_')")["value"] == []
    assert simulator.table("solutioncomponent") == []


def test_a_key_over_values_that_occur_twice_fails_to_build(api: Api, table: str) -> None:
    """The installer looks at the index's status."""
    for _ in range(2):
        api.post(f"{table}s", {"lima_command": "same"})
    key = {"SchemaName": "lima_CommandKey", "KeyAttributes": ["lima_command"]}
    api.post(f"EntityDefinitions(LogicalName='{table}')/Keys", key)

    assert api.get(f"EntityDefinitions(LogicalName='{table}')/Keys")["value"][0]["EntityKeyIndexStatus"] == "Failed"


# ---------------------------------------------------------------------- solutions, forms, web resources


def web_resource(api: Api, name: str = "lima_/tab.html", text: str = "<p>one</p>") -> str:
    """Create a web resource in our solution and return its id."""
    content = base64.b64encode(text.encode()).decode()
    return api.post("webresourceset", {"name": name, "webresourcetype": 1, "content": content}, MSCRM_SolutionUniqueName="Lima")


def publish(api: Api, body: str) -> None:
    """Publish what a ParameterXml body lists."""
    api.post("PublishXml", {"ParameterXml": f"<importexportxml>{body}</importexportxml>"})


def test_a_web_resource_is_served_once_it_is_published(api: Api, table: str) -> None:
    """Changes wait for publishing; the strict policy comes along."""
    row_id = web_resource(api)
    unpublished = api.send("GET", f"{URL}/WebResources/lima_/tab.html")
    publish(api, f"<webresources><webresource>{{{row_id}}}</webresource></webresources>")
    first = api.send("GET", f"{URL}/WebResources/lima_/tab.html")
    new = base64.b64encode(b"<p>two</p>").decode()
    api.patch(f"webresourceset({row_id})", {"content": new})
    waiting = api.send("GET", f"{URL}/%7B1%7D/WebResources/lima_/tab.html")
    stored = api.get(f"webresourceset({row_id})?$select=content")["content"]
    coming = api.get(f"webresourceset({row_id})/Microsoft.Dynamics.CRM.RetrieveUnpublished()?$select=content")["content"]
    listed = api.get("webresourceset/Microsoft.Dynamics.CRM.RetrieveUnpublishedMultiple()?$filter=startswith(name,'lima_')")[
        "value"
    ]
    api.post("PublishAllXml")

    assert unpublished.status_code == 404
    assert (first.text, waiting.text) == ("<p>one</p>", "<p>one</p>")
    assert "connect-src 'self'" in first.headers["Content-Security-Policy"]
    assert (stored == new, coming == new, listed[0]["content"] == new) == (False, True, True)
    assert api.send("GET", f"{URL}/WebResources/lima_/tab.html").text == "<p>two</p>"
    assert table


def test_a_form_takes_our_tab_when_it_is_published(api: Api, table: str) -> None:
    """FormXml is checked, kept back, and guarded by its version; what a form uses cannot be deleted."""
    resource = web_resource(api)
    query = "systemforms?$select=formid,name,formxml,type&$filter=objecttypecode eq 'msdynmkt_segmentdefinition' and type eq 2"
    form = next(row for row in api.get(query)["value"] if row["name"] == "Information")
    tab = (
        f'<tab name="lima_tab" id="{{{uuid4()}}}"><labels><label description="LinkedIn" languagecode="1033"/></labels><columns>'
        f'<column width="100%"><sections><section name="s" id="{{{uuid4()}}}"><rows><row><cell id="{{{uuid4()}}}">'
        '<control id="WebResource_lima" classid="{9FDF5F91-88B1-47f4-AD53-C11EFC01A01D}"><parameters>'
        f"<Url>lima_/tab.html</Url><WebResourceId>{{{resource}}}</WebResourceId></parameters></control></cell></row></rows>"
        "</section></sections></column></columns></tab>"
    )
    changed = form["formxml"].replace("</tabs>", tab + "</tabs>")
    path = f"systemforms({form['formid']})"
    api.patch(path, {"formxml": changed}, If_Match=form["@odata.etag"], MSCRM_SolutionUniqueName="Lima")
    before = api.get(path + "?$select=formxml")["formxml"]
    publish(api, "<entities><entity>msdynmkt_segmentdefinition</entity></entities>")

    assert before == form["formxml"]
    assert api.get(path + "?$select=formxml")["formxml"] == changed
    assert api.refused("PATCH", path, {"formxml": changed}, If_Match=form["@odata.etag"]) == (412, "0x80060882")
    assert api.refused("PATCH", path, {"formxml": "<form><tabs>"})[0] == 400
    assert api.refused("PATCH", path, {"formxml": changed.replace(tab, tab + tab)})[0] == 400
    assert api.refused("DELETE", f"webresourceset({resource})") == (400, "0x8004f01f")
    assert table


def test_components_are_counted_into_the_solution_of_the_header(api: Api, table: str) -> None:
    """A table of ours is in as a whole, Microsoft's tables only with what we added to them."""
    resource = web_resource(api)
    path = "EntityDefinitions(LogicalName='msdynmkt_segmentdefinition')/Attributes"
    api.post(path, column("String", "lima_Result"), MSCRM_SolutionUniqueName="Lima")
    solution = api.get("solutions?$select=solutionid&$filter=uniquename eq 'Lima'")["value"][0]["solutionid"]
    parts = api.get(f"solutioncomponents?$filter=_solutionid_value eq {solution}")["value"]
    by_type = {(row["componenttype"], row["rootcomponentbehavior"]) for row in parts}

    assert by_type == {(1, 0), (1, 2), (2, 0), (61, 0)}
    body = {"ComponentId": resource, "ComponentType": 61, "SolutionUniqueName": "Lima", "AddRequiredComponents": False}
    assert api.send("POST", "AddSolutionComponent", body).json()["id"]
    assert len(api.get(f"solutioncomponents?$filter=_solutionid_value eq {solution}")["value"]) == len(parts)
    assert api.refused("POST", "webresourceset", {"name": "lima_/x.js"}, MSCRM_SolutionUniqueName="Nothing")[0] in (400, 404)
    assert table


def test_deleting_a_solution_leaves_its_components(api: Api, table: str) -> None:
    """An unmanaged solution is only a list; its publisher can go once no solution names it."""
    solution = api.get("solutions?$select=solutionid,_publisherid_value&$filter=uniquename eq 'Lima'")["value"][0]

    assert api.refused("DELETE", f"publishers({solution['_publisherid_value']})") == (400, "0x80040227")
    api.send("DELETE", f"solutions({solution['solutionid']})")
    assert api.send("DELETE", f"publishers({solution['_publisherid_value']})").status_code == 204
    assert api.get(f"{table}s")["value"] == []


def test_a_solution_is_exported_as_a_zip(api: Api, table: str) -> None:
    """Managed or not, with the files of its web resources."""
    web_resource(api)
    answer = api.send("POST", "ExportSolution", {"SolutionName": "Lima", "Managed": True}).json()["ExportSolutionFile"]
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(answer)))
    names = archive.namelist()
    manifest = ET.fromstring(archive.read("solution.xml"))

    assert {"[Content_Types].xml", "solution.xml", "customizations.xml"} <= set(names)
    assert any(name.startswith("WebResources/lima_tabhtml") for name in names)
    assert manifest.findtext(".//Managed") == "1"
    assert {part.get("schemaName") for part in manifest.iter("RootComponent")} == {table, "lima_/tab.html"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("webresourceset", {"name": "tab.html", "webresourcetype": 1}),
        ("webresourceset", {"name": "lima_/a b.html", "webresourcetype": 1}),
        ("webresourceset", {"name": "lima_/tab.html", "webresourcetype": 1, "content": "not base64!"}),
        ("publishers", {"uniquename": "x", "friendlyname": "x", "customizationprefix": "mscrmx"}),
        ("solutions", {"uniquename": "with space", "friendlyname": "x", "version": "1.0"}),
        (
            "savedqueries",
            {
                "name": "v",
                "returnedtypecode": "contact",
                "fetchxml": '<fetch><entity name="contact"><attribute name="zz"/></entity></fetch>',
            },
        ),
        ("systemforms", {"name": "f", "objecttypecode": "contact", "type": 2, "formxml": "<form/>"}),
        ("appactions", {"name": "a"}),
    ],
    ids=["no prefix", "blank", "not base64", "prefix mscrm", "solution name", "view column", "no tabs", "no unique name"],
)
def test_a_component_that_cannot_be_is_refused(api: Api, table: str, path: str, body: dict[str, Any]) -> None:
    """The rules of names, content and references."""
    assert api.refused("POST", path, body)[0] == 400
    assert table


# ---------------------------------------------------------------------- limits and faults


def test_too_many_requests_in_the_window_are_refused_until_it_has_passed(simulator: DataverseSimulator, api: Api) -> None:
    """Retry-After grows while a client keeps pushing."""
    simulator.limits(requests=3, window=300)
    statuses = [api.send("GET", "WhoAmI").status_code for _ in range(3)]
    first, second = api.send("GET", "WhoAmI"), api.send("GET", "WhoAmI")
    simulator.clock.advance(301)

    assert statuses == [200, 200, 200]
    assert first.json()["error"]["code"] == "0x80072322"
    assert int(second.headers["Retry-After"]) > int(first.headers["Retry-After"]) >= 299
    assert api.send("GET", "WhoAmI").status_code == 200


@pytest.mark.parametrize(("limit", "code"), [("requests", "0x80072322"), ("time", "0x80072321"), ("concurrency", "0x80072326")])
def test_each_limit_can_be_made_to_strike(simulator: DataverseSimulator, api: Api, limit: str, code: str) -> None:
    """With the wait that a test wants."""
    simulator.throttle(limit, seconds=12)
    answer = api.send("GET", "contacts")

    assert (answer.status_code, answer.json()["error"]["code"], answer.headers["Retry-After"]) == (429, code, "12")
    assert "x-ms-ratelimit-burst-remaining-xrm-requests" in api.send("GET", "contacts").headers


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("deadlock", 500, "0x80044150"),
        ("sql-timeout", 500, "0x80044151"),
        ("unavailable", 503, ""),
        ("link-expired", 400, "0x80041129"),
    ],
)
def test_the_service_s_own_troubles_can_be_planned(
    simulator: DataverseSimulator, api: Api, kind: str, status: int, code: str
) -> None:
    """By name, for requests that match, so often as planned."""
    simulator.faults.append(Fault(kind, path="contacts", times=1))

    assert api.refused("GET", "contacts") == (status, code)
    assert api.send("GET", "contacts").status_code == 200


def test_the_control_panel_lists_every_route_with_a_description(simulator: DataverseSimulator) -> None:
    """The fidelity table is held against this list."""
    answer = requests.Session()
    answer.mount(URL, InProcess(simulator))
    routes = answer.get(URL + "/__sandbox__/routes").json()

    assert len(routes) > 80
    assert all(route["about"] for route in routes)
    assert len({(route["method"], route["path"]) for route in routes}) == len(routes)
