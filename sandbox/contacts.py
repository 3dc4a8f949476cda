"""Contacts from a CSV file: with logical names, or as Dynamics exports a view, with display headings."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

COLUMNS = ("contactid", "fullname", "emailaddress1", "donotbulkemail", "donotemail", "statecode")

_HEADINGS = {
    "contact": "contactid",
    "contact id": "contactid",
    "(do not modify) contact": "contactid",
    "full name": "fullname",
    "name": "fullname",
    "email": "emailaddress1",
    "e-mail": "emailaddress1",
    "email address": "emailaddress1",
    "do not allow bulk emails": "donotbulkemail",
    "do not allow bulk e-mails": "donotbulkemail",
    "do not allow emails": "donotemail",
    "do not allow e-mails": "donotemail",
    "status": "statecode",
} | {name: name for name in COLUMNS}

# "Do Not Allow" and "Allow" are the labels of Microsoft's two-option columns donotemail and donotbulkemail.
_YES = frozenset({"yes", "true", "1", "do not allow"})
_INACTIVE = frozenset({"inactive", "1"})


class UnreadableFileError(ValueError):
    """The file is not a list of contacts; the message says what is missing."""


def read_contacts(path: Path) -> list[dict[str, Any]]:
    """Return the contacts of a file as Dataverse rows; missing columns take Dataverse's defaults.

    UTF-8 with or without BOM; comma, semicolon or tab between the cells.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        sample = file.read(8192)
        file.seek(0)
        return list(parse_contacts(csv.reader(file, delimiter=_delimiter(sample))))


def parse_contacts(lines: Iterable[list[str]]) -> Iterator[dict[str, Any]]:
    """Yield a row per line below the headings; unknown headings are passed over, empty lines too."""
    rows = iter(lines)
    headings = [_HEADINGS.get(heading.strip().lower()) for heading in next(rows, [])]
    if "emailaddress1" not in headings:
        raise UnreadableFileError(
            "The file has no column for the email address. Name it 'emailaddress1' or 'Email'; "
            f"known columns: {', '.join(COLUMNS)}."
        )
    for number, cells in enumerate(rows, start=1):
        if any(cell.strip() for cell in cells):
            yield _contact(number, {name: cell for name, cell in zip(headings, cells, strict=False) if name})


def _contact(number: int, cells: Mapping[str, str]) -> dict[str, Any]:
    identifier = cells.get("contactid", "").strip().strip("{}").lower()
    return {
        "contactid": identifier or str(uuid5(NAMESPACE_URL, f"sandbox:contact:{number}")),
        "fullname": cells.get("fullname", "").strip() or f"Contact {number}",
        "emailaddress1": cells.get("emailaddress1") or None,
        "donotbulkemail": cells.get("donotbulkemail", "").strip().lower() in _YES,
        "donotemail": cells.get("donotemail", "").strip().lower() in _YES,
        "statecode": int(cells.get("statecode", "").strip().lower() in _INACTIVE),
    }


def _delimiter(sample: str) -> str:
    first = sample.partition("\n")[0]
    return max(",;\t", key=first.count)
