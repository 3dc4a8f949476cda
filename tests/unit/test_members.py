"""Pages of members as Dataverse sends them, and the parts that are made of them."""

import hashlib
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.jobs import Tallies
from shared.domain.members import read_page
from shared.domain.parts import (
    BUCKETS,
    HEADER_SIZE,
    LEFT_OUT_SIZE,
    RECORD_SIZE,
    Exclusions,
    Part,
    PartBuilder,
    PartHeader,
    opted_out_part,
)
from shared.domain.reasons import Reason
from shared.errors import UnexpectedAnswer


def member_id(number: int) -> str:
    """Return the id of the member with this number."""
    return str(UUID(int=number))


def contact(number: int, email: str | None = "", **columns: object) -> dict[str, Any]:
    """Return a row of contacts; what a test does not care about is left to Dataverse."""
    return {"@odata.etag": 'W/"1"', "contactid": member_id(number), "emailaddress1": email, **columns}


def page(*rows: dict[str, Any], **annotations: object) -> bytes:
    """Return the body of an answer with these rows."""
    return json.dumps({"@odata.context": "x", "value": rows, **annotations}).encode()


def part_of(*rows: dict[str, Any], exclusions: Exclusions | None = None) -> Part:
    """Return the part of one page with these rows."""
    builder = PartBuilder(exclusions) if exclusions else PartBuilder()
    builder.add(read_page(page(*rows)).rows)
    return builder.finish()


def left_out(part: Part) -> dict[int, Reason]:
    """Return the reasons of those a part leaves out, by member number."""
    records = part.left_out
    cut = [records[start : start + LEFT_OUT_SIZE] for start in range(0, len(records), LEFT_OUT_SIZE)]
    return {int.from_bytes(record[:16]): Reason(record[16]) for record in cut}


def records(part: Part) -> dict[int, bytes]:
    """Return who is in a part: digests by member number, read by the layout that the module describes."""
    stored, found, at = part.to_bytes(), {}, HEADER_SIZE
    for bucket, count in enumerate(part.header.counts):
        ids_at = at + 32 * count
        for place in range(count):
            digest = stored[at + 32 * place : at + 32 * (place + 1)]
            assert digest[0] * BUCKETS // 256 == bucket
            found[int.from_bytes(stored[ids_at + 16 * place : ids_at + 16 * (place + 1)])] = digest
        at += RECORD_SIZE * count
    return found


def sha256(text: str) -> bytes:
    """Return the digest of a text."""
    return hashlib.sha256(text.encode()).digest()


# ------------------------------------------------------------------ pages


def test_a_page_tells_its_members_and_the_address_of_the_next() -> None:
    """The link goes back to Dataverse as it came."""
    answer = read_page(page(contact(1), contact(2), **{"@odata.nextLink": "https://org.example/next?$skiptoken=%3C"}))

    assert len(answer.rows) == 2
    assert answer.next_link == "https://org.example/next?$skiptoken=%3C"
    assert (answer.paging_cookie, answer.more_records) == (None, False)


def test_the_last_page_has_no_next() -> None:
    """A missing link is the end."""
    assert read_page(page(contact(1))).next_link is None


def test_a_page_of_fetchxml_tells_its_cookie() -> None:
    """The cookie stays as it stands; whoever asks for the next page decodes it."""
    cookie = '<cookie pagenumber="2" pagingcookie="%253ccookie" istracking="False" />'
    annotations = {"@Microsoft.Dynamics.CRM.fetchxmlpagingcookie": cookie, "@Microsoft.Dynamics.CRM.morerecords": True}

    answer = read_page(page(contact(1), **annotations))

    assert (answer.paging_cookie, answer.more_records) == (cookie, True)


def test_leads_and_other_tables_have_their_own_key() -> None:
    """The rows of a lead segment are read like those of contacts."""
    row = {"leadid": member_id(7), "emailaddress1": "ada@example.com", "statecode": 0}
    builder = PartBuilder()

    builder.add(read_page(page(row), key="leadid").rows)

    assert records(builder.finish()) == {7: sha256("ada@example.com")}


def test_columns_that_were_not_asked_for_count_as_unknown() -> None:
    """A row with an id and nothing else has no address, but is no error; other columns are passed over."""
    part = part_of({"contactid": member_id(1)}, {**contact(2, "ada@example.com"), "fullname": "Ada", "x": {"y": [1]}})

    assert left_out(part) == {1: Reason.NO_EMAIL}
    assert list(records(part)) == [2]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>gateway</html>",
        b"[]",
        b"{}",
        b'{"value":null}',
        b'{"value":[{"emailaddress1":"ada@example.com"}]}',
        b'{"value":[{"contactid":"1","emailaddress1":["ada@example.com"]}]}',
        b'{"value":[{"contactid":"1","emailaddress1":"ada@example.com\xff"}]}',
        b'{"value":[{"contactid":"1","emailaddress1":"ada@example.com"}',
    ],
)
def test_an_answer_that_is_no_page_is_refused_without_quoting_it(body: bytes) -> None:
    """A gateway's page or a wrong type ends the step with a sentence, and no address gets into it."""
    with pytest.raises(UnexpectedAnswer, match="page of members") as caught:
        read_page(body)

    assert "ada" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "broken",
    [
        *("1", "not-a-guid", member_id(1)[:-1], member_id(1)[:-1] + "g", "é" * 36),
        *("0" * 36, "0" * 32, member_id(1)[1:] + "0", "{" + member_id(1)[1:], member_id(1) + member_id(2)),
    ],
)
def test_an_id_that_is_no_guid_is_refused(broken: str) -> None:
    """An id that cannot be stored is noticed before anything is."""
    with pytest.raises(UnexpectedAnswer, match="not a GUID"):
        part_of({"contactid": broken, "emailaddress1": "ada@example.com"})


def test_rows_do_not_show_themselves() -> None:
    """A stray log line of a page holds no address."""
    rows = read_page(page(contact(1, "ada@example.com"))).rows

    assert "ada" not in repr(rows) + repr(rows.rows) + str(rows.rows[0])


# ------------------------------------------------------------------ parts


def test_a_part_holds_digests_and_ids_of_those_who_can_be_sent() -> None:
    """Written with blanks and capitals, an address is still the one that LinkedIn knows."""
    part = part_of(contact(1, " Ada@Example.com "), contact(2, "bob@example.com"), contact(3, "josé@example.com"))

    assert records(part) == {1: sha256("ada@example.com"), 2: sha256("bob@example.com"), 3: sha256("josé@example.com")}
    assert part.tallies == Tallies(members=3, eligible=3)


def test_those_left_out_keep_id_and_reason() -> None:
    """The administrator can tell who was left out and why."""
    part = part_of(
        contact(1, None),
        contact(2, "  "),
        contact(3, "ada"),
        contact(4, "ada@example.com", donotemail=True),
        contact(5, "ada@example.com", donotbulkemail=True),
        contact(6, "ada@example.com", statecode=1),
        contact(7, "ada@example.com", donotemail=False, donotbulkemail=None, statecode=0),
    )

    assert left_out(part) == {
        1: Reason.NO_EMAIL,
        2: Reason.NO_EMAIL,
        3: Reason.NO_AT_SIGN,
        4: Reason.OPTED_OUT,
        5: Reason.OPTED_OUT,
        6: Reason.INACTIVE,
    }
    assert part.tallies == Tallies(members=7, no_email=2, invalid=1, opted_out=2, inactive=1, eligible=1)


def test_the_record_counts_before_the_person_s_wish_and_that_before_the_address() -> None:
    """Each member has one reason: inactive, then opted out, then what is wrong with the address."""
    part = part_of(
        contact(1, None, statecode=1, donotemail=True),
        contact(2, "ada", donotbulkemail=True),
        contact(3, None, donotemail=True),
        contact(4, "ada", statecode=2),
    )

    assert left_out(part) == {1: Reason.INACTIVE, 2: Reason.OPTED_OUT, 3: Reason.OPTED_OUT, 4: Reason.INACTIVE}


@pytest.mark.parametrize(
    ("exclusions", "kept"),
    [
        (Exclusions(), set()),
        (Exclusions(inactive=False), {1}),
        (Exclusions(donotemail=False), {2}),
        (Exclusions(donotbulkemail=False), {3}),
        (Exclusions(inactive=False, donotemail=False, donotbulkemail=False), {1, 2, 3, 4}),
    ],
)
def test_each_exclusion_can_be_switched_off(exclusions: Exclusions, kept: set[int]) -> None:
    """An administrator decides who is left out; the default is the careful one."""
    rows = [
        contact(1, "a@example.com", statecode=1),
        contact(2, "b@example.com", donotemail=True),
        contact(3, "c@example.com", donotbulkemail=True),
        contact(4, "d@example.com", statecode=2, donotemail=True, donotbulkemail=True),
    ]

    assert set(records(part_of(*rows, exclusions=exclusions))) == kept


def test_a_part_survives_storage() -> None:
    """A part is read back as it was written."""
    part = part_of(*[contact(number, f"m{number}@example.com") for number in range(1, 700)], contact(700, "none"))

    read = Part.from_bytes(part.to_bytes())

    assert read == part
    assert PartHeader.from_bytes(part.to_bytes()[:HEADER_SIZE]) == part.header


@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda stored: stored[:-1], lambda stored: stored + b"x", lambda stored: b"x" + stored]
)
def test_a_damaged_part_is_refused(damage: Callable[[bytes], bytes]) -> None:
    """Half a part is never merged."""
    stored = part_of(contact(1, "ada@example.com"), contact(2)).to_bytes()

    with pytest.raises(UnexpectedAnswer, match="stored part"):
        Part.from_bytes(damage(stored))


def test_several_pages_become_one_part_and_the_builder_starts_anew() -> None:
    """A part is a few pages, whatever their size."""
    builder = PartBuilder()
    for start in range(0, 5_000, 1_700):
        rows = [contact(number, f"m{number}@example.com") for number in range(start, min(start + 1_700, 5_000))]
        builder.add(read_page(page(*rows)).rows)
    assert len(builder) == 5_000

    part = builder.finish()

    assert records(part) == {number: sha256(f"m{number}@example.com") for number in range(5_000)}
    assert len(builder) == 0
    assert builder.finish().tallies == Tallies()


def test_an_empty_page_is_fine() -> None:
    """A segment may be empty."""
    part = part_of()

    assert part.tallies == Tallies()
    assert (records(part), left_out(part)) == ({}, {})


@given(st.lists(st.emails() | st.text(max_size=20) | st.none(), max_size=30))
def test_a_part_holds_no_address(addresses: list[str | None]) -> None:
    """Whatever stands in the field, only digests, ids and reasons are stored."""
    part = part_of(*[contact(number, address) for number, address in enumerate(addresses)])

    stored = part.to_bytes().lower()
    assert part.tallies.members == len(records(part)) + len(left_out(part)) == len(addresses)
    for address in addresses:
        text = "".join((address or "").split()).lower()
        assert len(text) < 8 or text.encode("utf-8", "surrogatepass") not in stored


def test_opted_out_addresses_are_normalised_and_need_not_be_valid() -> None:
    """Whoever opted out stays out, however the consent was written down."""
    part = opted_out_part([" Ada@Example.com", "ada@example.com", "no address", None, "", " "])

    assert set(records_of_opted_out(part)) == {sha256("ada@example.com"), sha256("noaddress")}


def records_of_opted_out(part: Part) -> list[bytes]:
    """Return the digests of a part in which nobody has an id."""
    stored, at, found = part.to_bytes(), HEADER_SIZE, []
    for count in part.header.counts:
        found += [stored[at + 32 * place : at + 32 * (place + 1)] for place in range(count)]
        at += RECORD_SIZE * count
    return found
