"""Generated contacts: as many as wanted in seconds, the same for the same seed, with a known share of every trouble."""

import csv
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from sandbox.dataverse import values
from sandbox.dataverse.building import defaults
from sandbox.dataverse.seeds import COMMERCIAL_PURPOSE, MARKETERS
from sandbox.dataverse.state import State
from sandbox.dataverse.tables import Table

FIRST = (
    "Ada", "Alan", "Amina", "Anders", "Anika", "Bao", "Beatriz", "Björn", "Chen", "Chloé", "Dana", "Dmitri", "Elif",
    "Emeka", "Fatima", "Fernando", "Grace", "Hana", "Hassan", "Ines", "Ivan", "Jana", "João", "Kemal", "Kofi", "Lena",
    "Li", "Luca", "Mai", "Malik", "Maria", "Mei", "Nadia", "Noah", "Olga", "Omar", "Priya", "Rosa", "Sami", "Sofia",
    "Tariq", "Uma", "Vera", "Yuki", "Zoë",
)  # fmt: skip
LAST = (
    "Abe", "Andersen", "Bakker", "Berg", "Costa", "Cruz", "Diaz", "Dubois", "Eriksen", "Evans", "Ferrari", "Fischer",
    "García", "Haddad", "Hansen", "Horvat", "Ito", "Ivanov", "Jansen", "Kaya", "Khan", "Kim", "Kowalski", "Lee",
    "Lopez", "Mbeki", "Meyer", "Moreau", "Müller", "Nakamura", "Nguyen", "Novak", "Okafor", "Olsen", "Park", "Patel",
    "Petrov", "Rossi", "Santos", "Schmidt", "Silva", "Singh", "Smith", "Tan", "Torres", "Wang", "Weber", "Wong",
    "Yilmaz", "Zhang",
)  # fmt: skip
DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com", "sales.example.org", "team.example.net")
INVALID = (
    "no-at-sign-{}",
    "@example.com",
    "somebody{}@",
    "some{}@@example.com",
    "somebody{}@example",
    "some..body{}@example.com",
    "somebody{}@-example.com",
)
INTERNATIONAL = ("müller{}@example.com", "用户{}@example.org", "zoë{}@bücher.example.com", "δοκιμή{}@example.net")
HEADINGS = {
    "contact": "contactid",
    "full name": "fullname",
    "first name": "firstname",
    "last name": "lastname",
    "email": "emailaddress1",
    "e-mail": "emailaddress1",
    "email address": "emailaddress1",
    "do not allow emails": "donotemail",
    "do not allow bulk emails": "donotbulkemail",
    "status": "statecode",
    "(do not modify) contact": "contactid",
    "company name": "companyname",
    "job title": "jobtitle",
    "business phone": "telephone1",
}
TRUE_WORDS = frozenset({"1", "true", "yes", "do not allow"})


def seed_contacts(
    state: State,
    count: int = 1000,
    seed: int = 1,
    *,
    table: str = "contact",
    without_email: float = 0.03,
    invalid: float = 0.02,
    duplicates: float = 0.02,
    donotbulkemail: float = 0.05,
    donotemail: float = 0.02,
    inactive: float = 0.03,
    internationalised: float = 0.01,
) -> dict[str, int]:
    """Add contacts (or leads) and return how many of each sort; the shares do not overlap.

    A duplicate is the address of an ordinary contact in other case or with spaces around it.
    """
    random = Random(seed)  # noqa: S311 - the same people for the same seed
    shares = {
        "without_email": without_email,
        "invalid": invalid,
        "duplicates": duplicates,
        "donotbulkemail": donotbulkemail,
        "donotemail": donotemail,
        "inactive": inactive,
        "internationalised": internationalised,
    }
    sizes = {name: int(count * share) for name, share in shares.items()}
    special = random.sample(range(count), min(count, sum(sizes.values())))
    groups: dict[str, list[int]] = {}
    for name, size in sizes.items():
        groups[name], special = special[:size], special[size:]
    offset = state.store(table).size
    names = [(FIRST[(at * 7 + seed) % len(FIRST)], LAST[(at // 3 + seed) % len(LAST)]) for at in range(count)]
    emails = _emails(names, groups, seed, offset)
    columns: dict[str, Sequence[Any]] = {
        table + "id": _guids(random, count),
        "fullname": [f"{first} {last}" for first, last in names],
        "firstname": [first for first, _ in names],
        "lastname": [last for _, last in names],
        "emailaddress1": emails,
        "versionnumber": state.next_versions(count),
    }
    for name in ("donotbulkemail", "donotemail"):
        columns[name] = _marked(count, groups[name], False, True)
    columns["statecode"] = _marked(count, groups["inactive"], 0, 1)
    off = 2 if table == "contact" else 3
    columns["statuscode"] = _marked(count, groups["inactive"], 1, off)
    add_columns(state, table, columns)
    return {"count": count, **{name: len(group) for name, group in groups.items()}}


def _guids(random: Random, count: int) -> list[str]:
    text = random.randbytes(16 * count).hex()
    blocks = (text[at : at + 32] for at in range(0, 32 * count, 32))
    return [f"{one[:8]}-{one[8:12]}-4{one[13:16]}-a{one[17:20]}-{one[20:]}" for one in blocks]


def _emails(names: Sequence[tuple[str, str]], groups: Mapping[str, Sequence[int]], seed: int, offset: int) -> list[str | None]:
    local = [f"{first}.{last}".lower() for first in _ascii(FIRST) for last in _ascii(LAST)]
    found: list[str | None] = [
        f"{local[(at * 13 + seed) % len(local)]}.{seed}.{at + offset}@{DOMAINS[at % len(DOMAINS)]}" for at in range(len(names))
    ]
    for group, shapes in (("invalid", INVALID), ("internationalised", INTERNATIONAL)):
        for number, at in enumerate(groups[group]):
            found[at] = shapes[number % len(shapes)].format(f".{seed}.{at + offset}")
    for at in groups["without_email"]:
        found[at] = None
    taken = {at for group in groups.values() for at in group}
    ordinary = [at for at in range(min(len(names), 4 * len(taken) + 10)) if at not in taken]
    for number, at in enumerate(groups["duplicates"] if ordinary else ()):
        original = found[ordinary[number % len(ordinary)]] or ""
        found[at] = (original.upper(), f" {original.title()}", f"{original}  ")[number % 3]
    return found


def _ascii(names: Iterable[str]) -> list[str]:
    return [name.encode("ascii", "ignore").decode() for name in names]


def _marked(count: int, marked: Iterable[int], usual: Any, other: Any) -> list[Any]:
    found = [usual] * count
    for at in marked:
        found[at] = other
    return found


def add_columns(state: State, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Add many rows column by column, with the usual values for what is missing."""
    definition = state.schema.table(table)
    everything = dict(columns)
    if "versionnumber" in definition.columns and "versionnumber" not in everything:
        everything["versionnumber"] = state.next_versions(len(everything[definition.key]))
    usual = usual_values(state, definition)
    state.store(table).extend(everything, {name: value for name, value in usual.items() if name not in everything})


def usual_values(state: State, table: Table) -> dict[str, Any]:
    """Return what a loaded row has unless it says otherwise: defaults, times, and a marketer as its owner."""
    now = state.now()
    times = {"createdon": now, "modifiedon": now, "createdby": MARKETERS[0], "modifiedby": MARKETERS[0]}
    found = defaults(table) | {name: value for name, value in times.items() if name in table.columns}
    if table.user_owned:
        found |= {
            "ownerid": MARKETERS[0],
            "ownerid@target": "systemuser",
            "owninguser": MARKETERS[0],
            "owningbusinessunit": state.root_unit,
        }
    return found


def load_rows(state: State, table: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Add rows as they are given, lookups by column or `_x_value` name, and return their ids; no rule and no event."""
    definition = state.schema.table(table)
    read = [_read_row(definition.key, row) for row in rows]
    if not read:
        return []
    names = {name for row in read for name in row}
    unknown = names - definition.columns.keys() - {name for name in names if name.endswith("@target")}
    if unknown:
        raise ValueError(f"The table {table} has no column {min(unknown)}.")
    usual = usual_values(state, definition)
    columns = {name: [row.get(name, usual.get(name)) for row in read] for name in names}
    add_columns(state, table, columns)
    return [str(row[definition.key]) for row in read]


def _read_row(key: str, row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name[1:-6] if name.startswith("_") and name.endswith("_value") else name: value for name, value in row.items()}
    found[key] = values.guid(found.get(key)) or str(uuid.uuid4())
    return found


def load_contacts(state: State, rows: Iterable[Mapping[str, Any]] | None = None, path: str | None = None) -> list[str]:
    """Add contacts from rows, or from a CSV file with logical names or a view's headings, and return their ids."""
    given = list(rows) if rows is not None else _read_file(Path(path or ""))
    return load_rows(state, "contact", [_contact(row) for row in given])


def _read_file(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _contact(row: Mapping[str, Any]) -> dict[str, Any]:
    known = ("contactid", "fullname", "firstname", "lastname", "emailaddress1", "donotemail", "donotbulkemail", "statecode")
    found: dict[str, Any] = {}
    for heading, value in row.items():
        name = HEADINGS.get(heading.strip().lower(), heading.strip().lower())
        if name in known and value not in (None, ""):
            found[name] = _contact_value(name, value)
    if "statecode" in found:
        found["statuscode"] = 2 if found["statecode"] else 1
    return found


def _contact_value(name: str, value: Any) -> Any:
    word = str(value).strip().lower()
    if name in ("donotemail", "donotbulkemail"):
        return word in TRUE_WORDS
    if name == "statecode":
        return 0 if word in ("0", "active") else 1
    return value


def opt_out(state: State, addresses: Sequence[str] | None = None, share: float = 0.0, seed: int = 1) -> list[str]:
    """Opt addresses out of the commercial purpose, given or as a share of all contacts', and return them."""
    if addresses is None:
        held = state.store("contact").values("emailaddress1", state.store("contact").positions())
        known = sorted({address.strip().lower() for address in held if address and "@" in address})
        addresses = Random(seed).sample(known, int(len(known) * share))  # noqa: S311 - the same people for the same seed
    consent = {
        "msdynmkt_contactpointtype": 534120000,
        "msdynmkt_contactpointconsenttype": 534120000,
        "msdynmkt_value": 534120002,
        "msdynmkt_purposeid": COMMERCIAL_PURPOSE,
        "msdynmkt_logicalreason": 534119999,
        "msdynmkt_source": 534120000,
    }
    load_rows(state, "msdynmkt_contactpointconsent4", [consent | {"msdynmkt_contactpointvalue": one} for one in addresses])
    return list(addresses)
