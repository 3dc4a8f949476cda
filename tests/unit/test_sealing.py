"""Sealing: what is stored opens only under a key that is set, in its own context, unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.storage.sealing import CannotOpen, Sealed, Sealer

OLD, NEW = ("old", b"o" * 32), ("new", b"n" * 32)


@given(st.binary(max_size=3000), st.text(max_size=50))
def test_what_is_sealed_opens_again(content: bytes, context: str) -> None:
    """Any content, in the context of any user."""
    sealer = Sealer([NEW])

    assert sealer.open(sealer.seal(content, context), context) == content


def test_a_seal_shows_nothing_and_never_repeats() -> None:
    """Neither in what is stored nor in a repr."""
    sealer = Sealer([NEW])
    first, second = sealer.seal(b"a very secret token", "user"), sealer.seal(b"a very secret token", "user")

    assert first.content != second.content
    assert b"secret" not in first.content
    assert "content" not in repr(first)


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    """Keys are changed without anybody having to sign in again."""
    sealed_before = Sealer([OLD]).seal(b"token", "user")
    changing = Sealer([NEW, OLD])

    assert changing.open(sealed_before, "user") == b"token"
    assert not changing.is_current(sealed_before)
    assert changing.seal(b"token", "user").key_id == "new"
    assert changing.is_current(changing.seal(b"token", "user"))


def test_a_key_that_was_taken_out_opens_nothing() -> None:
    """Nor does another key under the same id."""
    sealed = Sealer([OLD]).seal(b"token", "user")

    for keys in ([NEW], [("old", b"x" * 32)]):
        with pytest.raises(CannotOpen):
            Sealer(keys).open(sealed, "user")


def test_a_seal_of_one_user_does_not_open_for_another() -> None:
    """A row that was copied in the table is worthless."""
    sealer = Sealer([NEW])

    with pytest.raises(CannotOpen):
        sealer.open(sealer.seal(b"token", "user-1"), "user-2")


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_noticed(position: int, change: int) -> None:
    """Nonce, content or tag."""
    sealer = Sealer([NEW])
    content = bytearray(sealer.seal(b"token", "user").content)
    content[position % len(content)] ^= change

    with pytest.raises(CannotOpen):
        sealer.open(Sealed("new", bytes(content)), "user")


@given(st.binary(max_size=40))
def test_bytes_that_are_no_seal_do_not_open(content: bytes) -> None:
    """However short."""
    with pytest.raises(CannotOpen):
        Sealer([NEW]).open(Sealed("new", content), "user")
