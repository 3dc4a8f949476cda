"""Inputs: any JSON, any bytes, and samples of real data with something changed, cut or torn.

Nearly right inputs reach deep: a reader that refuses random bytes at once has shown little.
"""

import copy
import json
from typing import Any

from hypothesis import strategies as st

PERSON = "planted.person@secret.example"
"""Put into samples where people's data stands; it must never come out in a message."""

_ODD_NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**40, 1e308, -1e308, 0.1, True, False])
_ODD_TEXTS = st.sampled_from(
    [
        "",
        " ",
        "null",
        "0",
        "\x00",
        "\u202e",
        "é",
        "\U0001d538",
        "a" * 5000,
        "{}",
        "%00",
        "../..",
        "https://evil.example/",
        "'",
        '"',
        "<x>",
    ]
)
TEXTS = st.one_of(st.text(max_size=40), _ODD_TEXTS)
SCALARS = st.one_of(st.none(), st.booleans(), _ODD_NUMBERS, st.integers(), st.floats(), TEXTS)
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=8
)
_USUAL_STATUSES = [200] * 8 + [201, 204, 301, 400, 401, 403, 404, 409, 412, 413, 423, 426, 429, 500, 503]
STATUSES = st.one_of(st.sampled_from(_USUAL_STATUSES), st.sampled_from(_USUAL_STATUSES), st.integers(100, 599))
HEADER_TEXTS = st.one_of(
    st.sampled_from(
        ["", "0", "7", "-1", "1e300", "inf", "nan", "9" * 400, "Tue, 24 Nov 2026 00:00:00 GMT", "Tue, 24 Nov 2026 00:00:00", "x"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
)


@st.composite
def changed(draw: st.DrawFn, sample: Any) -> Any:
    """Return a copy of a JSON value with up to three places changed, left out or added to."""
    value = copy.deepcopy(sample)
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 1, 2, 3]))):
        value = _changed_once(draw, value)
    return value


def _changed_once(draw: st.DrawFn, value: Any) -> Any:
    holders = [holder for holder in _holders(value) if holder]
    if not holders:
        return draw(ANY_JSON)
    holder = draw(st.sampled_from(holders))
    key = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
    match draw(st.sampled_from(["change", "change", "leave out", "add", "repeat"])):
        case "leave out":
            del holder[key]
        case "add" if isinstance(holder, dict):
            holder[draw(TEXTS)] = draw(ANY_JSON)
        case "repeat" if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        case _:
            holder[key] = draw(ANY_JSON)
    return value


def _holders(value: Any) -> list[Any]:
    """Return every list and object in a value, itself first."""
    if isinstance(value, dict):
        return [value, *(holder for inner in value.values() for holder in _holders(inner))]
    if isinstance(value, list):
        return [value, *(holder for inner in value for holder in _holders(inner))]
    return []


@st.composite
def torn(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return bytes with up to three of them changed, a piece cut out, or the end missing."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(0, 3))):
        if not content:
            break
        place = draw(st.integers(0, len(content) - 1))
        match draw(st.sampled_from(["change", "cut", "end", "put in"])):
            case "change":
                content[place] = draw(st.integers(0, 255))
            case "cut":
                del content[place : place + draw(st.integers(1, 40))]
            case "end":
                del content[place:]
            case _:
                content[place:place] = draw(st.binary(min_size=1, max_size=20))
    return bytes(content)


@st.composite
def bodies(draw: st.DrawFn, *samples: Any) -> bytes:
    """Return a body: one of the samples with something changed or torn, any JSON, or any bytes."""
    match draw(st.sampled_from(["changed"] * 6 + ["torn"] * 2 + ["json", "bytes"])):
        case "changed" if samples:
            return json.dumps(draw(changed(draw(st.sampled_from(samples))))).encode("utf-8", "surrogatepass")
        case "torn" if samples:
            return draw(torn(json.dumps(draw(st.sampled_from(samples))).encode()))
        case "bytes":
            return draw(st.binary(max_size=200))
        case _:
            return json.dumps(draw(ANY_JSON)).encode("utf-8", "surrogatepass")
