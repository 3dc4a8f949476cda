"""Merging parts into the distinct member list, and the batches that are sent of it."""

import hashlib
import json
import tracemalloc
from uuid import UUID

import pytest

from benchmarks.member_path import InMemory, measure
from benchmarks.mixes import pages
from benchmarks.yardsticks import library_on_every_row
from shared.domain.jobs import Tallies
from shared.domain.member_lists import BATCH_SIZE, Piece, batch_count, merge, read_batch, sum_tallies
from shared.domain.members import read_page
from shared.domain.parts import LEFT_OUT_SIZE, PartBuilder, opted_out_part
from shared.domain.reasons import Reason
from shared.errors import UnexpectedAnswer
from shared.linkedin.bodies import users_body


class CountingFile(InMemory):
    """A stored file that notes how much was read at once."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads: list[int] = []

    def read(self, offset: int, size: int) -> bytes:
        """Return a piece and note its size."""
        self.reads.append(size)
        return super().read(offset, size)


def stored_part(members: dict[int, str | None]) -> CountingFile:
    """Return a stored part of members: addresses by member number."""
    builder = PartBuilder()
    rows = [{"contactid": str(UUID(int=number)), "emailaddress1": address} for number, address in members.items()]
    builder.add(read_page(json.dumps({"value": rows}).encode()).rows)
    return CountingFile(builder.finish().to_bytes())


def stored_opted_out(*addresses: str) -> CountingFile:
    """Return a stored part of opted-out addresses."""
    return CountingFile(opted_out_part(addresses).to_bytes())


def numbered(start: int, stop: int) -> dict[int, str | None]:
    """Return members with addresses of their own."""
    return {number: f"m{number}@example.com" for number in range(start, stop)}


def digests(*pieces: Piece) -> list[bytes]:
    """Return all digests of some pieces."""
    joined = b"".join(piece.digests for piece in pieces)
    return [joined[start : start + 32] for start in range(0, len(joined), 32)]


def left_out(*pieces: Piece) -> list[tuple[int, Reason]]:
    """Return (member number, reason) of everybody left out."""
    joined = b"".join(piece.left_out for piece in pieces)
    cut = [joined[start : start + LEFT_OUT_SIZE] for start in range(0, len(joined), LEFT_OUT_SIZE)]
    return sorted((int.from_bytes(record[:16]), Reason(record[16])) for record in cut)


def sha256(text: str) -> bytes:
    """Return the digest of a text."""
    return hashlib.sha256(text.encode()).digest()


def test_the_member_list_is_everybody_once_in_the_order_of_the_first_byte() -> None:
    """A member list can be compared with another one piece by piece."""
    pieces = list(merge([stored_part(numbered(0, 3_000)), stored_part(numbered(3_000, 5_000))]))

    found = digests(*pieces)
    assert len(found) == 5_000
    assert set(found) == {sha256(f"m{number}@example.com") for number in range(5_000)}
    assert [digest[0] // 4 for digest in found] == sorted(digest[0] // 4 for digest in found)
    assert pieces[-1].tallies == Tallies(members=5_000, eligible=5_000)


def test_the_same_address_on_several_pages_is_sent_once() -> None:
    """Of several members with one address the first is kept, the others are duplicates."""
    first = stored_part({1: "ada@example.com", 2: "Ada@Example.com ", 3: "bob@example.com"})
    second = stored_part({4: "a d a@example.com", 5: "cleo@example.com"})

    pieces = list(merge([first, second]))

    assert sorted(digests(*pieces)) == sorted(map(sha256, ("ada@example.com", "bob@example.com", "cleo@example.com")))
    assert left_out(*pieces) == [(2, Reason.DUPLICATE), (4, Reason.DUPLICATE)]
    assert pieces[-1].tallies == Tallies(members=5, duplicate=2, eligible=3)


def test_whoever_opted_out_of_the_purpose_is_left_out_with_every_record() -> None:
    """Consent belongs to the address, so each member with that address is left out for that reason."""
    part = stored_part({1: "ada@example.com", 2: "bob@example.com", 3: "ADA@example.com"})

    pieces = list(merge([part], [stored_opted_out("Ada@example.com", "nobody@example.com"), stored_opted_out("ada@example.com")]))

    assert digests(*pieces) == [sha256("bob@example.com")]
    assert left_out(*pieces) == [(1, Reason.OPTED_OUT_OF_PURPOSE), (3, Reason.OPTED_OUT_OF_PURPOSE)]
    assert pieces[-1].tallies == Tallies(members=3, opted_out=2, eligible=1)


def test_those_left_out_of_the_parts_come_along() -> None:
    """One list names everybody who is left out, whatever the step that found out."""
    pieces = list(merge([stored_part({1: None, 2: "ada@example.com"}), stored_part({3: "x", 4: "ada@example.com"})]))

    assert left_out(*pieces) == [(1, Reason.NO_EMAIL), (3, Reason.NO_AT_SIGN), (4, Reason.DUPLICATE)]
    assert pieces[-1].tallies == Tallies(members=4, no_email=1, invalid=1, duplicate=1, eligible=1)


@pytest.mark.parametrize("parts", [[], [stored_part({})], [stored_part({1: None}), stored_part({})]])
def test_nobody_is_a_list_too(parts: list[CountingFile]) -> None:
    """An empty segment has tallies and an empty member list."""
    pieces = list(merge(parts))

    assert digests(*pieces) == []
    assert pieces[-1].tallies.eligible == 0
    assert pieces[-1].tallies.members == len(left_out(*pieces))


@pytest.mark.parametrize("held_at_once", [1, 100, 1_000, 10**9])
def test_how_much_is_held_at_once_changes_nothing(held_at_once: int) -> None:
    """The order of the member list does not depend on the machine's memory."""
    parts = [stored_part(numbered(start, start + 1_000)) for start in (0, 700, 1_400)]
    opted_out = [stored_opted_out("m5@example.com", "m1999@example.com")]

    pieces = list(merge(parts, opted_out, held_at_once=held_at_once))

    usual = list(merge(parts, opted_out))
    assert digests(*pieces) == digests(*usual)
    assert left_out(*pieces) == left_out(*usual)
    assert pieces[-1].tallies == usual[-1].tallies == Tallies(members=3_000, duplicate=600, opted_out=2, eligible=2_398)


def test_parts_are_read_in_pieces() -> None:
    """Memory follows what is held at once, not the size of a segment."""
    parts = [stored_part(numbered(start, start + 5_000)) for start in range(0, 40_000, 5_000)]
    whole = sum(len(part.content) for part in parts)

    pieces = list(merge(parts, held_at_once=2_000))

    assert sum(max(part.reads) for part in parts) < whole / 10
    assert max(len(piece.digests) for piece in pieces) <= 2_000 * 32


def test_memory_stays_flat_while_members_grow() -> None:
    """Eight times the members cost a few part headers more, not eight times the memory."""
    peaks, sizes = [], []
    for count in (5_000, 40_000):
        parts = [stored_part(numbered(start, start + 5_000)) for start in range(0, count, 5_000)]
        tracemalloc.start()
        for _ in merge(parts, held_at_once=2_000):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        sizes.append(sum(len(part.content) for part in parts))

    assert peaks[1] - peaks[0] < (sizes[1] - sizes[0]) / 10


def test_a_part_that_was_cut_off_is_noticed() -> None:
    """A blob that lost its end never becomes half an audience."""
    part = stored_part(numbered(0, 100))
    part.content = part.content[:-10]

    with pytest.raises(UnexpectedAnswer, match="not complete"):
        list(merge([part]))


def test_tallies_add_up_name_by_name() -> None:
    """The progress of a job is the sum of its parts."""
    one = Tallies(members=5, no_email=1, invalid=1, duplicate=0, opted_out=1, inactive=1, eligible=1)

    assert sum_tallies([one, one]) == Tallies(members=10, no_email=2, invalid=2, duplicate=0, opted_out=2, inactive=2, eligible=2)
    assert sum_tallies([]) == Tallies()


# ------------------------------------------------------------------ batches


def test_batches_cover_the_member_list_without_overlap() -> None:
    """LinkedIn gets each member once, five thousand at a time."""
    member_list = InMemory(b"".join(sha256(str(number)) for number in range(12_001)))

    batches = [read_batch(member_list, number) for number in range(batch_count(len(member_list.content)))]

    assert [len(batch) // 32 for batch in batches] == [BATCH_SIZE, BATCH_SIZE, 2_001]
    assert b"".join(batches) == member_list.content
    assert read_batch(member_list, len(batches)) == b""


@pytest.mark.parametrize(("members", "batches"), [(0, 0), (1, 1), (5_000, 1), (5_001, 2)])
def test_the_number_of_batches_is_rounded_up(members: int, batches: int) -> None:
    """The last batch may be small; nobody means no batch."""
    assert batch_count(32 * members) == batches


@pytest.mark.parametrize("action", ["ADD", "REMOVE"])
def test_a_body_says_for_each_member_what_linkedin_expects(action: str) -> None:
    """The text is the JSON that building it from objects would give."""
    members = [sha256(str(number)) for number in range(3)]

    body = json.loads(users_body(b"".join(members), action))

    assert body == {
        "elements": [{"action": action, "userIds": [{"idType": "SHA256_EMAIL", "idValue": member.hex()}]} for member in members]
    }


@pytest.mark.parametrize("digests", [b"", b"x" * 31, b"x" * 33])
def test_a_body_of_nobody_or_of_half_a_digest_is_refused(digests: bytes) -> None:
    """LinkedIn answers 200 to an empty batch and does nothing, so none is ever built."""
    with pytest.raises(ValueError, match="whole digests"):
        users_body(digests)


# ------------------------------------------------------------------ the whole member path


@pytest.mark.parametrize("mix", ["clean", "realistic", "hostile"])
def test_the_member_path_sends_whom_the_library_alone_would_send(mix: str) -> None:
    """From page bytes to bodies the fast way ends with the same people as the plain way."""
    all_pages = list(pages(mix, 6_000))
    builder = PartBuilder()
    for body in all_pages:
        builder.add(read_page(body).rows)
    pieces = list(merge([InMemory(builder.finish().to_bytes())]))

    plain = [json.loads(body) for body in library_on_every_row(all_pages)]
    wanted = {element["userIds"][0]["idValue"] for body in plain for element in body["elements"]}
    assert {digest.hex() for digest in digests(*pieces)} == wanted
    assert len(digests(*pieces)) == len(wanted)


def test_the_benchmark_measures_what_it_names() -> None:
    """The figures of the performance page come from this function."""
    result = measure("realistic", members=10_000, rounds=1)

    assert result["members"] == 10_000
    assert 8_500 < result["sent"] < 9_500
    assert result["members_per_second"] > 0
    assert 0 < result["ratio_to_hashlib"] < 1
