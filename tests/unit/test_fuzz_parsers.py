"""Every reader of outside data under random and nearly right inputs: it reads, or raises an error of the product.

`python scripts/fuzz.py` gives the same readers many more inputs.
"""

import time
from pathlib import Path

import pytest

from scripts.fuzzing.parsers import TARGETS, Broken, Target
from scripts.fuzzing.runs import read
from scripts.fuzzing.shapes import PERSON, TEXTS
from shared.errors import TryAgainLater, UnexpectedAnswer

ROOT = Path(__file__).resolve().parents[2]
INPUTS = 60


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_reader_reads_or_raises_an_error_of_the_product(target: Target) -> None:
    """With a sentence that names nobody, and a pause that can be waited; anything else would end in the poison queue."""
    outcomes = read(target, INPUTS, seed=int(time.time()))

    assert outcomes.total() >= min(INPUTS, 10)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("not foreseen"),
        UnexpectedAnswer(""),
        UnexpectedAnswer(f"About {PERSON}."),
        TryAgainLater("Later.", float("inf")),
    ],
)
def test_the_fuzzer_notices_what_must_not_be(error: Exception) -> None:
    """A fuzzer that finds nothing shows something only when it would have found it."""

    def fails(_: str) -> None:
        raise error

    with pytest.raises(Broken, match="seed 7"):
        read(Target("a reader that fails", TEXTS, fails), 5, seed=7)


def test_the_readers_of_all_services_are_among_them() -> None:
    """A new client must not be forgotten here."""
    fuzzed = (ROOT / "scripts" / "fuzzing" / "parsers.py").read_text("utf-8")
    clients = [*(ROOT / "shared" / "linkedin").glob("*.py"), *(ROOT / "shared" / "dataverse").rglob("*.py")]
    with_readers = {path.stem for path in clients if "msgspec.json.Decoder(" in path.read_text("utf-8")}

    assert with_readers == {"events", "members", "protocol", "oauth", "oauth_state", "refusals"}
    for name in ("read_event", "DataverseMembers", "DataverseRecords", "LinkedInClient", "LinkedInOAuth", "read_state"):
        assert name in fuzzed
