"""Contacts from files: logical names or a Dynamics view export, as people really save them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.contacts import UnreadableFileError, parse_contacts, read_contacts

EXPORT = (
    "(Do Not Modify) Contact;Full Name;Email;Do not allow Bulk Emails;Do not allow Emails;Status;Business Phone\r\n"
    '{6D1E8A30-0000-4000-8000-000000000001};"Lovelace; Ada";ada@example.com;Allow;Allow;Active;1\r\n'
    "{6D1E8A30-0000-4000-8000-000000000002};Grüße;gruss@example.com;Do Not Allow;Allow;Active;2\r\n"
    "{6D1E8A30-0000-4000-8000-000000000003};Zoë;zoe@example.com;Allow;Do Not Allow;Inactive;3\r\n"
    "\r\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_view_export_is_read_with_its_display_headings(tmp_path: Path, encoding: str) -> None:
    """With or without BOM, with semicolons, as Excel saves it."""
    file = tmp_path / "export.csv"
    file.write_bytes(EXPORT.encode(encoding))
    ada, gruss, zoe = read_contacts(file)

    assert ada["contactid"] == "6d1e8a30-0000-4000-8000-000000000001"
    assert ada["fullname"] == "Lovelace; Ada"
    assert (ada["donotbulkemail"], ada["donotemail"], ada["statecode"]) == (False, False, 0)
    assert gruss["donotbulkemail"]
    assert zoe["donotemail"]
    assert zoe["statecode"] == 1


def test_missing_columns_take_dataverses_defaults() -> None:
    """A list of addresses alone is enough."""
    (contact,) = parse_contacts([["emailaddress1"], ["ada@example.com"]])

    assert (contact["donotbulkemail"], contact["donotemail"], contact["statecode"]) == (False, False, 0)
    assert contact["contactid"]


@pytest.mark.parametrize("yes", ["Yes", "true", "TRUE", "1", "Do Not Allow"])
def test_every_usual_yes_is_a_yes(yes: str) -> None:
    """Exports differ by language pack and tool."""
    (contact,) = parse_contacts([["emailaddress1", "donotbulkemail"], ["ada@example.com", yes]])

    assert contact["donotbulkemail"]


def test_an_address_stays_as_it_was_written() -> None:
    """Cleaning it is the product's work, and is tested by it."""
    (contact,) = parse_contacts([["emailaddress1"], ["  Ada@Example.COM "]])

    assert contact["emailaddress1"] == "  Ada@Example.COM "


def test_a_file_without_addresses_is_refused_with_what_is_missing() -> None:
    """The sentence names the columns."""
    with pytest.raises(UnreadableFileError, match="emailaddress1"):
        list(parse_contacts([["fullname"], ["Ada"]]))


@given(st.lists(st.lists(st.text(max_size=8), max_size=6), max_size=6))
def test_no_table_of_text_breaks_the_reader(lines: list[list[str]]) -> None:
    """It answers with rows or with its own error."""
    try:
        rows = list(parse_contacts([["emailaddress1", "statecode"], *lines]))
    except UnreadableFileError:
        return
    assert all(row["statecode"] in {0, 1} for row in rows)
