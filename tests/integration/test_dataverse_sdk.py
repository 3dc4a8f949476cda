"""Microsoft's own Python SDK, unmodified, against the Dataverse simulator over TLS: the simulator answers as the SDK expects."""

import threading
import time
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
import trustme
from PowerPlatform.Dataverse.client import DataverseClient
from PowerPlatform.Dataverse.core.errors import HttpError
from PowerPlatform.Dataverse.models import ExpandOption, col
from PowerPlatform.Dataverse.models.labels import Label, LocalizedLabel
from PowerPlatform.Dataverse.models.relationship import (
    LookupAttributeMetadata,
    ManyToManyRelationshipMetadata,
    OneToManyRelationshipMetadata,
)
from PowerPlatform.Dataverse.models.upsert import UpsertItem

from sandbox import tokens
from sandbox.dataverse import DataverseSimulator
from sandbox.dataverse.seeds import ADMINISTRATOR_APPLICATION
from sandbox.web import make_server


class Credential:
    """What the SDK asks of azure-identity: a token for a scope."""

    def get_token(self, *scopes: str, **_: Any) -> Any:
        """Return an access token for the environment in the scope."""
        audience = scopes[0].removesuffix("/.default")
        token = tokens.issue(appid=ADMINISTRATOR_APPLICATION, audience=audience, now=time.time())
        return type("AccessToken", (), {"token": token, "expires_on": int(time.time()) + 3599})()


class Colour(IntEnum):
    """A choice column as the SDK takes it."""

    RED = 1
    GREEN = 2


@pytest.fixture
def simulator() -> DataverseSimulator:
    """Give an empty environment."""
    return DataverseSimulator()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a throw-away authority and a certificate for loopback."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return folder


@pytest.fixture
def client(simulator: DataverseSimulator, certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataverseClient]:
    """Give the SDK's client on a simulator that listens with TLS."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "ca.pem"))
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    server = make_server(simulator, 0, str(certificates / "server.pem"), str(certificates / "server.key"))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with DataverseClient(f"https://127.0.0.1:{server.port}", Credential()) as client:
        yield client
    server.shutdown()
    server.server_close()
    thread.join()


def test_rows_are_created_read_changed_and_deleted(client: DataverseClient) -> None:
    """The everyday verbs agree with the SDK."""
    row_id = client.records.create("contact", {"firstname": "Ada", "emailaddress1": "ada@example.com"})
    client.records.update("contact", row_id, {"lastname": "Lovelace"})
    row = client.records.retrieve("contact", row_id, select=["firstname", "lastname", "emailaddress1"])
    client.records.delete("contact", row_id)

    assert row is not None
    assert (row["firstname"], row["lastname"], row["emailaddress1"]) == ("Ada", "Lovelace", "ada@example.com")
    assert client.records.retrieve("contact", row_id) is None


def test_an_update_of_a_row_that_is_gone_is_refused(client: DataverseClient) -> None:
    """The SDK sends If-Match: *, which means update only."""
    with pytest.raises(HttpError) as caught:
        client.records.update("contact", "11111111-1111-4111-8111-111111111111", {"lastname": "Nobody"})

    assert caught.value.status_code == 404
    assert caught.value.details["service_error_code"] == "0x80040217"


def test_a_lookup_is_bound_and_expanded(client: DataverseClient) -> None:
    """Lookups use the names that the metadata gives."""
    account = client.records.create("account", {"name": "Contoso"})
    contact = client.records.create("contact", {"lastname": "A", "parentcustomerid_account@odata.bind": f"/accounts({account})"})
    row = client.records.retrieve("contact", contact, select=["lastname"], expand=["parentcustomerid_account($select=name)"])

    assert row is not None
    assert row["parentcustomerid_account"]["name"] == "Contoso"


def test_a_list_is_read_in_pages(client: DataverseClient, simulator: DataverseSimulator) -> None:
    """Next links bring every row once."""
    simulator.seed_contacts(count=1_234)
    pages = [
        [row["contactid"] for row in page] for page in client.records.list_pages("contact", select=["contactid"], page_size=500)
    ]

    assert [len(page) for page in pages] == [500, 500, 234]
    assert len({row_id for page in pages for row_id in page}) == 1_234


def test_the_query_builder_filters_sorts_and_expands(client: DataverseClient, simulator: DataverseSimulator) -> None:
    """Comparisons, In, text functions, order and formatted values are understood as the SDK writes them."""
    simulator.seed_contacts(count=200, inactive=0.1)
    query = (
        client.query.builder("contact")
        .select("fullname", "statecode")
        .where((col("statecode") == 0) & ~col("emailaddress1").is_null() & col("emailaddress1").contains("example"))
        .order_by("fullname", descending=True)
        .expand(ExpandOption("owninguser").select("fullname"))
        .include_formatted_values()
        .page_size(50)
    )
    rows: list[Any] = list(query.execute())
    chosen = [row["contactid"] for row in rows[:3]]
    again: list[Any] = list(client.query.builder("contact").select("contactid").where(col("contactid").in_(chosen)).execute())

    assert 150 < len(rows) < 200
    assert [row["fullname"].casefold() for row in rows] == sorted((row["fullname"].casefold() for row in rows), reverse=True)
    assert {row["statecode@OData.Community.Display.V1.FormattedValue"] for row in rows} == {"Active"}
    assert {row["owninguser"]["fullname"] for row in rows} == {"Mara Keter"}
    assert sorted(row["contactid"] for row in again) == sorted(chosen)


def test_fetchxml_is_paged_with_cookies(client: DataverseClient, simulator: DataverseSimulator) -> None:
    """The SDK decodes the cookie twice and finds every row once, without a warning about simple paging."""
    simulator.seed_contacts(count=120)
    list_id = simulator.make_segment(kind="list")["list"]
    pages = client.query.fetchxml(
        '<fetch count="50"><entity name="contact"><attribute name="contactid"/><attribute name="emailaddress1"/>'
        '<order attribute="fullname"/><link-entity name="listmember" from="entityid" to="contactid">'
        f'<filter><condition attribute="listid" operator="eq" value="{list_id}"/></filter></link-entity></entity></fetch>'
    ).execute_pages()
    found = [[row["contactid"] for row in page] for page in pages]

    assert [len(page) for page in found] == [50, 50, 20]
    assert len({row_id for page in found for row_id in page}) == 120


def test_many_rows_are_created_updated_and_deleted_at_once(client: DataverseClient) -> None:
    """CreateMultiple gives ids, UpdateMultiple takes one change for all or one for each, BulkDelete deletes."""
    ids = client.records.create("contact", [{"lastname": f"N{number}"} for number in range(30)])
    client.records.update("contact", ids, {"jobtitle": "Analyst"})
    client.records.update("contact", ids[:2], [{"lastname": "X"}, {"lastname": "Y"}])
    rows = client.records.list("contact", select=["lastname", "jobtitle"], filter="jobtitle eq 'Analyst'")
    job = client.records.delete("contact", ids)

    assert len(rows) == 30
    assert {row["lastname"] for row in rows} >= {"X", "Y", "N29"}
    assert job
    assert list(client.records.list("contact", select=["contactid"])) == []


def test_many_rows_are_all_refused_when_one_is_wrong(client: DataverseClient, simulator: DataverseSimulator) -> None:
    """On standard tables a bulk message is all or nothing."""
    with pytest.raises(HttpError):
        client.records.create("contact", [{"lastname": "good"}, {"lastname": "x" * 51}])

    assert simulator.table("contact") == []


def test_rows_are_upserted_by_alternate_key(client: DataverseClient) -> None:
    """One key, one row, whether it is sent alone or among many."""
    client.tables.create("new_Place", {"new_Code": "string", "new_Size": "int"})
    client.tables.create_alternate_key("new_Place", "new_PlaceCode", ["new_code"])
    for size in (1, 2):
        client.records.upsert("new_Place", [UpsertItem({"new_code": "A"}, {"new_size": size})])
    client.records.upsert("new_Place", [UpsertItem({"new_code": code}, {"new_size": 7}) for code in ("A", "B")])
    rows = client.records.list("new_Place", select=["new_code", "new_size"], orderby=["new_code"])

    assert [(row["new_code"], row["new_size"]) for row in rows] == [("A", 7), ("B", 7)]
    assert [key.status for key in client.tables.get_alternate_keys("new_Place")] == ["Active"]


def test_a_table_is_created_with_columns_of_every_type(client: DataverseClient) -> None:
    """CreateEntities makes the table and all its columns in one request."""
    columns = {
        "new_Title": "string",
        "new_Text": {"type": "memo", "max_length": 5000},
        "new_Count": {"type": "int", "min_value": 1, "max_value": 5},
        "new_Price": "decimal",
        "new_Ratio": "float",
        "new_When": "datetime",
        "new_Open": "bool",
        "new_Colour": Colour,
        "new_File": "file",
    }
    made = client.tables.create("new_Thing", columns, display_name="Thing")
    row_id = client.records.create("new_Thing", {"new_title": "t", "new_count": 3, "new_open": True, "new_colour": "green"})
    row = client.records.retrieve("new_Thing", row_id, select=["new_title", "new_count", "new_open", "new_colour", "new_when"])

    assert made["entity_set_name"] == "new_things"
    assert row is not None
    assert (row["new_count"], row["new_open"], row["new_colour"], row["new_when"]) == (3, True, 2, None)
    with pytest.raises(HttpError, match="outside the valid range"):
        client.records.update("new_Thing", row_id, {"new_count": 6})


def test_columns_are_added_changed_listed_and_removed(client: DataverseClient) -> None:
    """The metadata addresses answer in the shapes that the SDK reads, typed and untyped."""
    client.tables.create("new_Thing", {})
    client.tables.add_columns("new_Thing", {"new_Note": "string", "new_Age": "int"})
    client.tables.update_column("new_Thing", "new_Note", {"max_length": 300, "display_name": "Remark"})
    column = client.tables.get_column("new_Thing", "new_Note", typed=True)
    client.tables.remove_columns("new_Thing", "new_Age")
    names = {column["LogicalName"] for column in client.tables.list_columns("new_Thing", select=["LogicalName"])}

    assert column is not None
    assert column["MaxLength"] == 300
    assert "new_note" in names
    assert "new_age" not in names


def test_relationships_are_created_found_and_deleted(client: DataverseClient) -> None:
    """Lookups and many-to-many relationships exist as soon as they were created."""
    client.tables.create("new_Thing", {})
    text = Label([LocalizedLabel("Contact", 1033)])
    lookup = LookupAttributeMetadata("new_ContactId", text)
    relationship = OneToManyRelationshipMetadata("new_contact_thing", "contact", "new_thing", "contactid")
    made = client.tables.create_one_to_many_relationship(lookup, relationship)
    pairs = client.tables.create_many_to_many_relationship(ManyToManyRelationshipMetadata("new_thing_list", "new_thing", "list"))
    contact = client.records.create("contact", {"lastname": "A"})
    thing = client.records.create("new_Thing", {"new_name": "n", "new_ContactId@odata.bind": f"/contacts({contact})"})
    row = client.records.retrieve("new_Thing", thing, select=["_new_contactid_value"])
    names = {one["SchemaName"] for one in client.tables.list_table_relationships("new_Thing")}
    client.tables.delete_relationship(str(made.relationship_id))

    assert row is not None
    assert row["_new_contactid_value"] == contact
    assert {"new_contact_thing", "new_thing_list"} <= names
    assert client.tables.get_relationship("new_contact_thing") is None
    assert client.tables.get_relationship("new_thing_list") is not None
    assert pairs.relationship_id


def test_a_table_is_found_listed_and_deleted(client: DataverseClient) -> None:
    """A table that is deleted is not found any more."""
    client.tables.create("new_Thing", {})
    listed = client.tables.list(filter="SchemaName eq 'new_Thing'", select=["LogicalName"])
    client.tables.delete("new_Thing")

    assert [table["LogicalName"] for table in listed] == ["new_thing"]
    assert client.tables.get("new_Thing") is None


def test_a_batch_does_many_things_in_one_request(client: DataverseClient, simulator: DataverseSimulator) -> None:
    """Single requests and a change set with references between its parts are answered in order."""
    batch = client.batch.new()
    batch.records.create("account", {"name": "Fabrikam"})
    with batch.changeset() as changes:
        first = changes.records.create("contact", {"lastname": "Primary"})
        changes.records.create("account", {"name": "Contoso", "primarycontactid@odata.bind": first})
        changes.records.update("contact", first, {"jobtitle": "Owner"})
    batch.records.list("account", select=["name"], orderby=["name"])
    result = batch.execute()

    assert not result.has_errors
    assert [item.status_code for item in result.responses] == [204, 204, 204, 204, 200]
    assert [row["name"] for row in (result.responses[-1].data or {})["value"]] == ["Contoso", "Fabrikam"]
    contoso = next(row for row in simulator.table("account") if row["name"] == "Contoso")
    assert simulator.table("contact")[0]["contactid"] == contoso["_primarycontactid_value"]
    assert simulator.table("contact")[0]["jobtitle"] == "Owner"


def test_a_change_set_is_done_wholly_or_not_at_all(client: DataverseClient, simulator: DataverseSimulator) -> None:
    """When one part fails the parts before it are taken back; with continue-on-error the batch goes on."""
    batch = client.batch.new()
    with batch.changeset() as changes:
        changes.records.create("contact", {"lastname": "taken back"})
        changes.records.create("contact", {"lastname": "x" * 51})
    batch.records.create("contact", {"lastname": "kept"})
    result = batch.execute(continue_on_error=True)

    assert [item.status_code for item in result.responses] == [400, 204]
    assert [row["lastname"] for row in simulator.table("contact")] == ["kept"]


def test_a_file_column_is_written_whole_and_in_blocks(
    client: DataverseClient, simulator: DataverseSimulator, tmp_path: Path
) -> None:
    """Small files go in one request, large ones in blocks; both end as the same bytes."""
    client.tables.create("new_Thing", {"new_File": "file"})
    row_id = client.records.create("new_Thing", {"new_name": "n"})
    path = tmp_path / "left out.csv"
    path.write_bytes(b"0123456789" * 500_000)
    client.files.upload("new_Thing", row_id, "new_File", str(path), mode="chunk")
    in_blocks = simulator.state.files["new_thing", row_id, "new_file"]
    client.files.upload("new_Thing", row_id, "new_File", str(path), mode="small", if_none_match=False)
    whole = simulator.state.files["new_thing", row_id, "new_file"]

    assert in_blocks.content == whole.content == path.read_bytes()
    assert simulator.table("new_thing")[0]["new_file_name"] == "left out.csv"


def test_throttling_reaches_the_sdk_as_a_passing_error(client: DataverseClient, simulator: DataverseSimulator) -> None:
    """The SDK reads code and Retry-After of a 429."""
    simulator.throttle("requests", seconds=7)
    with pytest.raises(HttpError) as caught:
        client.records.list("contact", select=["contactid"])

    assert caught.value.is_transient
    assert caught.value.details["service_error_code"] == "0x80072322"
    assert caught.value.details["retry_after"] == 7
