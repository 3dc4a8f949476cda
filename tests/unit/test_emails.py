"""The email rule: verdict, reason and hash of an address."""

import hashlib
import sys
import tomllib
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.agreement import disagreements, is_valid
from shared.domain.emails import HashedEmail, RejectedEmail, normalise, prepare_email, prepare_emails
from shared.domain.reasons import INVALID_EMAIL, Reason

TABLE = tomllib.loads((Path(__file__).parent / "data" / "addresses.toml").read_text(encoding="utf-8"))["address"]

# Addresses of any shape: well formed ones, and text with what matters to the rule strewn in.
telling = st.text(
    st.sampled_from('ab1@@..--_+"<>[]() ,;:\u00a0\u200b\u0301\u0130\u212a\u3002\uff20\u05d0') | st.characters(), max_size=30
)
anything = st.emails() | telling | st.builds("{}@{}.example".format, telling, telling)


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: ascii(entry["written"])[:60])
def test_an_address_gets_the_hash_or_the_reason_of_the_table(entry: dict[str, str]) -> None:
    """What becomes of an address never changes unnoticed."""
    outcome = prepare_email(entry["written"])

    if isinstance(outcome, HashedEmail):
        assert outcome.hex == entry.get("hash")
    else:
        assert outcome.reason.word == entry.get("reason")


def test_the_table_is_large_and_holds_every_reason() -> None:
    """A new reason comes with an example."""
    reasons = {entry["reason"] for entry in TABLE if "reason" in entry}

    assert len(TABLE) >= 150
    assert reasons == {reason.word for reason in (*INVALID_EMAIL, Reason.NO_EMAIL)}


def test_the_library_judges_the_table_alike() -> None:
    """An update of email-validator that changes a verdict is noticed here."""
    judged = {entry["written"]: is_valid(normalise(entry["written"])) for entry in TABLE}

    assert judged == {entry["written"]: "hash" in entry for entry in TABLE}


def test_many_at_once_are_treated_as_one_by_one() -> None:
    """The fast way and the plain way are one rule."""
    written = [entry["written"] for entry in TABLE]

    prepared = prepare_emails(written)

    assert prepared.digests == [bytes.fromhex(entry["hash"]) for entry in TABLE if "hash" in entry]
    assert {place: reason.word for place, reason in prepared.rejected.items()} == {
        place: entry["reason"] for place, entry in enumerate(TABLE) if "reason" in entry
    }


def test_no_addresses_at_all_are_fine() -> None:
    """An empty page is a page."""
    prepared = prepare_emails([])

    assert (prepared.digests, prepared.rejected) == ([], {})


def test_a_nul_character_shifts_nobody() -> None:
    """The character that closes an address in the joined text may come from outside."""
    prepared = prepare_emails(["ada@example.com", "b\0b@example.com", "\0", "cleo@example.com"])

    assert prepared.digests == [hashlib.sha256(text).digest() for text in (b"ada@example.com", b"cleo@example.com")]
    assert list(prepared.rejected) == [1, 2]


def test_a_missing_address_is_no_address() -> None:
    """Dataverse says null."""
    assert prepare_email(None) == RejectedEmail(Reason.NO_EMAIL)


@given(st.lists(anything, max_size=20))
def test_any_page_of_addresses_is_treated_as_one_by_one(written: list[str]) -> None:
    """No neighbour changes what becomes of an address."""
    alone = [prepare_email(text) for text in written]

    prepared = prepare_emails(written)

    assert prepared.digests == [outcome.digest for outcome in alone if isinstance(outcome, HashedEmail)]
    assert prepared.rejected == {
        place: outcome.reason for place, outcome in enumerate(alone) if isinstance(outcome, RejectedEmail)
    }


@given(anything)
def test_normalising_twice_changes_nothing(written: str) -> None:
    """An address that was normalised before keeps its hash."""
    once = normalise(written)

    assert normalise(once) == once


def test_normalising_any_single_character_twice_changes_nothing() -> None:
    """No letter of any script is an exception."""
    characters = [chr(number) for number in range(sys.maxunicode + 1)]

    changed = [ascii(character) for character in characters if normalise(normalise(character)) != normalise(character)]

    assert changed == []


@given(anything)
def test_the_verdict_is_the_library_s(written: str) -> None:
    """What email-validator accepts is hashed, what it refuses is not."""
    address = normalise(written)

    assert isinstance(prepare_email(written), HashedEmail) == is_valid(address)


def test_fifty_thousand_addresses_show_no_disagreement_with_the_library() -> None:
    """A sample of what `python -m benchmarks.agreement` compares on two million."""
    assert disagreements(50_000, seed=7) == []


@given(st.emails())
def test_no_part_of_an_address_survives(written: str) -> None:
    """What leaves the building is 64 hexadecimal digits and nothing else."""
    outcome = prepare_email(written)
    local = written.partition("@")[0]

    shown = repr(outcome) + str(outcome)
    assert written not in shown
    assert len(local) < 12 or local.lower() not in shown.lower()
    if isinstance(outcome, HashedEmail):
        assert len(outcome.hex) == 64
        assert set(outcome.hex) <= set("0123456789abcdef")
        assert outcome.digest == hashlib.sha256(normalise(written).encode()).digest()


def test_a_repr_of_many_shows_neither_addresses_nor_digests() -> None:
    """A stray log line of a page tells nothing about anybody."""
    prepared = prepare_emails(["ada@example.com", "not an address"])

    assert "ada" not in repr(prepared)
    assert prepared.digests[0].hex() not in repr(prepared)
    assert repr(prepared.digests[0]) not in repr(prepared)


def test_letters_and_digits_of_any_script_are_safe_to_the_library() -> None:
    """The short cut for texts of letters and digits holds for every character that Unicode has."""
    characters = map(chr, range(sys.maxunicode + 1))

    assert [character for character in characters if character.isalnum() and unicodedata.category(character)[0] not in "LN"] == []


def test_two_spellings_of_one_letter_are_one_address() -> None:
    """A CRM that writes é as two characters still matches what the member typed."""
    composed, decomposed = "josé@example.com", unicodedata.normalize("NFD", "josé@example.com")

    assert decomposed != composed
    assert prepare_email(decomposed) == prepare_email(composed)


def test_an_internationalised_domain_is_hashed_as_it_is_written() -> None:
    """LinkedIn hashes what its member typed; nobody types Punycode unless they mean it."""
    unicode_form, punycode = prepare_email("ada@bücher.example"), prepare_email("ada@xn--bcher-kva.example")

    assert isinstance(unicode_form, HashedEmail)
    assert isinstance(punycode, HashedEmail)
    assert unicode_form != punycode


def test_every_reason_has_a_word_and_a_sentence_of_its_own() -> None:
    """A person who reads why a member was left out gets a sentence."""
    assert len({reason.word for reason in Reason}) == len({reason.sentence for reason in Reason}) == len(Reason)
    assert all(reason.sentence.endswith(".") for reason in Reason)
    assert all(0 < reason < 256 for reason in Reason)
