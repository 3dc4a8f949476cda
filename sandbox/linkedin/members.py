"""Member batches: what a batch may hold, and applying it to the set of members fast.

A batch of 5,000 plain elements (one SHA256_EMAIL each, nothing else) is read into typed structures and checked as one long hex
text, about two milliseconds; anything else takes the slow way, element by element, with the same verdicts.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from sandbox.linkedin.errors import bad_field, bad_request

_ID_SHAPES = {
    "SHA256_EMAIL": re.compile(r"[0-9a-f]{64}"),
    "SHA512_EMAIL": re.compile(r"[0-9a-f]{128}"),
    "GOOGLE_AID": re.compile(r"[0-9a-fA-F-]{36}"),
}
_LONGEST = {"firstName": 35, "lastName": 35, "title": 50, "company": 50}
_FIELDS = {"action", "userIds", "country", *_LONGEST}
_DIGITS = 64
_DIGEST = 32


class _UserId(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    id_type: Literal["SHA256_EMAIL"]
    id_value: str


class _Element(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    action: Literal["ADD", "REMOVE"]
    user_ids: tuple[_UserId]


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    elements: list[_Element]


_plain_batches = msgspec.json.Decoder(_Batch)


@dataclass(frozen=True)
class Change:
    """One element after checking: a digest to add or remove, or why it was refused.

    `digest` is None for an element without SHA-256 of an email address: it is accepted and not remembered.
    """

    adds: bool = True
    digest: bytes | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Batch:
    """The elements of one request, in order. `uniform` is set when all are good and do the same."""

    changes: list[Change] | None
    digests: list[bytes]
    uniform: Literal["ADD", "REMOVE"] | None

    def __len__(self) -> int:
        return len(self.digests) if self.changes is None else len(self.changes)


def read_batch(body: bytes, most: int) -> Batch:
    """Return the elements of a BATCH_CREATE body; raises the 400 of a body that is no batch or holds more than `most`."""
    try:
        elements = _plain_batches.decode(body).elements
    except msgspec.DecodeError:
        return _checked_one_by_one(body, most)
    _check_size(len(elements), most)
    digests = _digests([element.user_ids[0].id_value for element in elements])
    if digests is None:
        return _checked_one_by_one(body, most)
    actions = {element.action for element in elements}
    if len(actions) > 1:
        pairs = zip(elements, digests, strict=True)
        return Batch([Change(element.action == "ADD", digest) for element, digest in pairs], [], None)
    return Batch(None, digests, actions.pop() if actions else "ADD")


def read_one(body: bytes) -> Change:
    """Return the single element of a body sent without BATCH_CREATE; raises the 400 of a bad one."""
    element = read_json(body)
    if isinstance(element, dict) and "elements" in element:
        raise bad_field("elements", "unrecognized field found but not allowed")
    change = _checked(element)
    if change.problem:
        raise bad_request(change.problem, "INVALID_INPUT")
    return change


def read_json(body: bytes) -> Any:
    """Return the JSON value of a body; raises the 400 of anything else."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise bad_request("The request body is not valid JSON", "MALFORMED_BODY") from None


def _digests(values: list[str]) -> list[bytes] | None:
    """Return the digests of hex texts, or None when one of them is not 64 lower-case digits."""
    joined = "".join(values)
    if len(joined) != _DIGITS * len(values) or any(len(value) != _DIGITS for value in values):
        return None
    try:
        raw = bytes.fromhex(joined)
    except ValueError:
        return None
    if raw.hex() != joined:
        return None
    return [raw[at : at + _DIGEST] for at in range(0, len(raw), _DIGEST)]


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise bad_request(f"The batch holds {size} elements; at most {most} are allowed", "BATCH_TOO_LARGE")


def _checked_one_by_one(body: bytes, most: int) -> Batch:
    whole = read_json(body)
    if not isinstance(whole, dict) or not isinstance(whole.get("elements"), list):
        raise bad_field("elements", "field is required but not found and has no default value")
    if unknown := whole.keys() - {"elements"}:
        raise bad_field(min(unknown), "unrecognized field found but not allowed")
    _check_size(len(whole["elements"]), most)
    return Batch([_checked(element) for element in whole["elements"]], [], None)


def _checked(element: Any) -> Change:
    problem = _problem(element)
    if problem:
        return Change(problem=problem)
    emails = [entry["idValue"] for entry in element.get("userIds", []) if entry["idType"] == "SHA256_EMAIL"]
    return Change(element["action"] == "ADD", bytes.fromhex(emails[0]) if emails else None)


def _problem(element: Any) -> str | None:
    """Return what is wrong with an element, or None."""
    if not isinstance(element, dict):
        return "ERROR :: / :: an element must be an object"
    if unknown := element.keys() - _FIELDS:
        return f"ERROR :: /{min(unknown)} :: unrecognized field found but not allowed"
    if element.get("action") not in ("ADD", "REMOVE"):
        return "ERROR :: /action :: must be ADD or REMOVE"
    return _text_problem(element) or _ids_problem(element)


def _text_problem(element: dict[str, Any]) -> str | None:
    for field, longest in _LONGEST.items():
        if field in element and not (isinstance(element[field], str) and len(element[field]) <= longest):
            return f"ERROR :: /{field} :: must be text of at most {longest} characters"
    if "country" in element and not (isinstance(element["country"], str) and re.fullmatch("[A-Z]{2}", element["country"])):
        return "ERROR :: /country :: must be an ISO 3166-1 alpha-2 code"
    return None


def _ids_problem(element: dict[str, Any]) -> str | None:
    ids = element.get("userIds", [])
    if not isinstance(ids, list):
        return "ERROR :: /userIds :: must be an array"
    if not ids and not (element.get("firstName") and element.get("lastName")):
        return "ERROR :: /userIds :: without ids, firstName and lastName are required"
    return next((problem for entry in ids if (problem := _id_problem(entry))), None)


def _id_problem(entry: Any) -> str | None:
    if not isinstance(entry, dict) or entry.keys() != {"idType", "idValue"}:
        return "ERROR :: /userIds :: an id has idType and idValue"
    shape = _ID_SHAPES.get(entry["idType"]) if isinstance(entry["idType"], str) else None
    if shape is None:
        return "ERROR :: /userIds/idType :: not an enum symbol"
    if not isinstance(entry["idValue"], str) or not shape.fullmatch(entry["idValue"]):
        return f"ERROR :: /userIds/idValue :: not a valid {entry['idType']}"
    return None
