"""Members to measure with: pages as Dataverse sends them, made up from a seed, the same on every machine.

Three mixes: clean (every address usable and written well), realistic (2 % invalid, 5 % duplicates, mixed case, blanks,
3 % without an address, 1 % internationalised) and hostile (half invalid, the other half as awkward as valid gets).
Every name and domain is invented.
"""

import json
from collections.abc import Callable, Iterator
from random import Random
from uuid import UUID

PAGE_SIZE = 5_000
MIXES = ("clean", "realistic", "hostile")


def _words(text: str) -> list[str]:
    return text.split()


_FIRST = _words(
    "ada alan anna bela carl chen dana dora emil enzo eva farid gita hana hugo ines ivan jana joao kofi lena liam "
    "lucia maria marek mina nils nora olga omar paula pavel rosa ravi sara sven tara theo uma vera wang yara yusuf "
    "zoe"
)
_LAST = _words(
    "abel andersson banerjee becker castillo cohen dubois eriksen fischer garcia haddad horvath ivanova jensen "
    "johnson kaplan kowalski lindqvist lopez martin mueller nakamura novak okafor papadopoulos petrov quist rossi "
    "santos schmidt silva singh smith tanaka thompson torres ueda varga virtanen weber williams xu yilmaz young "
    "zhang zimmermann"
)
_PROVIDERS = tuple(f"{name}.example" for name in ["post", "hub", "mail", "web", "inbox", "letter", "fast", "air"])
_TRADES = _words("nord sud blue oak prime rex sol glob urb delta vex alp river ston ilo")
_ENDINGS = ("example", "example", "example", "example", "co.example", "at.example", "example.org")
_WORLD_LOCALS = _words("josé zoë søren łukasz дмитрий ιωάννης 山田 김민수 अजय محمد นภา štěpán jürgen françois")
_WORLD_DOMAINS = _words("bücher.example почта.example παράδειγμα.example 例え.example 예시.example उदाहरण.example café.example")


def domains(random: Random, count: int = 20_000) -> list[str]:
    """Return invented company domains; about one in twelve has a hyphen."""
    made = []
    for number in range(count):
        joint = "-" if random.random() < 0.08 else ""
        made.append(f"{random.choice(_TRADES)}{joint}{_short(number)}.{random.choice(_ENDINGS)}")
    return made


def usable_address(random: Random, companies: list[str], number: int) -> str:
    """Return a well-written address that no other number gives."""
    first, last, mark = random.choice(_FIRST), random.choice(_LAST), _short(number)
    local = random.choice((f"{first}.{last}{mark}", f"{first}{mark}", f"{first[0]}{last}{mark}", f"{first}_{last[0]}{mark}"))
    if random.random() < 0.02:
        local += "+news"
    domain = random.choice(_PROVIDERS) if random.random() < 0.4 else companies[int(len(companies) * random.random() ** 3)]
    return f"{local}@{domain}"


def _short(number: int) -> str:
    """Return a number in few letters and digits."""
    text = ""
    while number or not text:
        number, digit = divmod(number, 36)
        text = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + text
    return text


def world_address(random: Random, companies: list[str], number: int) -> str:
    """Return a usable internationalised address."""
    mark = _short(number)
    if random.random() < 0.5:
        return f"{random.choice(_WORLD_LOCALS)}{mark}@{random.choice(companies)}"
    return f"{random.choice((*_FIRST, *_WORLD_LOCALS))}{mark}@{random.choice(_WORLD_DOMAINS)}"


def with_blanks(random: Random, address: str) -> str:
    """Return the address with white space around it or inside, as people paste it."""
    at = random.randrange(len(address))
    blank = random.choice((" ", "  ", "\t", "\u00a0", "\r\n"))
    return random.choice((f" {address}", f"{address} ", f"{address}\t", f"{address[:at]}{blank}{address[at:]}"))


def with_capitals(random: Random, address: str) -> str:
    """Return the address in other case."""
    return random.choice((address.upper(), address.title(), address.capitalize(), address.swapcase()))


_SPOILED: tuple[Callable[[str, str], str], ...] = (
    lambda local, domain: local + domain,
    lambda local, domain: f"{local}@@{domain}",
    lambda local, domain: f"{local}@{domain}.",
    lambda local, domain: f".{local}@{domain}",
    lambda local, domain: f"{local}.@{domain}",
    lambda local, domain: f"{local[:2]}..{local[2:]}@{domain}",
    lambda local, domain: f"{local}@{domain.split('.')[0]}",
    lambda local, domain: f"{local}@{domain.split('.')[0]}..com",
    lambda local, _: f"{local}@",
    lambda _, domain: f"@{domain}",
    lambda local, domain: f"{local}@{domain};{local}2@{domain}",
    lambda local, domain: f"{local},{domain}",
    lambda local, domain: f"{local}@{domain},",
    lambda local, domain: f"{local.title()} <{local}@{domain}>",
    lambda local, domain: f'"{local}"@{domain}',
    lambda local, domain: f"mailto:{local}@{domain}",
    lambda local, domain: f"{local}@{domain.split('.')[0]}.local",
    lambda local, domain: f"{local}@{domain.split('.')[0]}.invalid",
    lambda local, domain: f"{local}@-{domain}",
    lambda local, domain: f"{local}(at){domain}",
    lambda local, _: f"{local}@192.168.0.1",
    lambda local, _: f"{local}@[192.168.0.1]",
    lambda *_: "n/a",
    lambda *_: "none",
    lambda *_: "-",
    lambda *_: "unknown@unknown",
)
_SPOILED_BADLY: tuple[Callable[[str, str], str], ...] = (
    *_SPOILED,
    lambda local, domain: f"{local}\u200b@{domain}",
    lambda local, domain: f"{local}\uff20{domain}",
    lambda local, domain: f"\u0301{local}@{domain}",
    lambda local, domain: f"{local}é@-{domain}",
    lambda local, domain: f"é{local}..@{domain}",
    lambda local, _: f"{local}@\u2488com.example",
    lambda local, domain: f"{local}\x07@{domain}",
    lambda local, domain: f"{local * 30}@{domain}",
    lambda local, domain: f"{local}@{'x' * 64}.{domain}",
)


def invalid_address(random: Random, companies: list[str], number: int, *, hostile: bool = False) -> str:
    """Return something in the address field that is no address."""
    local, _, domain = usable_address(random, companies, number).partition("@")
    return random.choice(_SPOILED_BADLY if hostile else _SPOILED)(local, domain)


def addresses(mix: str, members: int, seed: int = 1) -> Iterator[str | None]:
    """Yield what stands in the address field of each member of a mix."""
    random = Random(f"{mix} {seed}")  # noqa: S311 - measuring needs the same dice everywhere, not secret ones
    companies = domains(random)
    if mix == "clean":
        return (usable_address(random, companies, number) for number in range(members))
    return (_realistic if mix == "realistic" else _hostile)(random, companies, members)


def _realistic(random: Random, companies: list[str], members: int) -> Iterator[str | None]:
    earlier: list[str] = []
    for number in range(members):
        dice = random.random()
        if dice < 0.02:
            yield invalid_address(random, companies, number)
        elif dice < 0.05:
            yield random.choice((None, "", " "))
        elif dice < 0.06:
            yield world_address(random, companies, number)
        else:
            address = random.choice(earlier) if dice < 0.11 and earlier else usable_address(random, companies, number)
            earlier.append(address)
            manner = random.random()
            written = with_capitals(random, address) if manner < 0.15 else address
            yield with_blanks(random, written) if manner > 0.96 else written


def _hostile(random: Random, companies: list[str], members: int) -> Iterator[str | None]:
    for number in range(members):
        dice = random.random()
        if dice < 0.5:
            yield invalid_address(random, companies, number, hostile=True)
        else:
            address = world_address(random, companies, number) if dice < 0.6 else usable_address(random, companies, number)
            yield random.choice((with_blanks, with_capitals))(random, address)


def page(written: list[str | None], random: Random, page_number: int = 0) -> bytes:
    """Return one page of contacts with these addresses as Dataverse sends it (UTF-8, nothing escaped that need not be)."""
    rows = [
        {
            "@odata.etag": f'W/"{random.randrange(10**8)}"',
            "contactid": str(UUID(int=random.getrandbits(128))),
            "emailaddress1": address,
            "donotemail": False,
            "donotbulkemail": False,
            "statecode": 0,
        }
        for address in written
    ]
    answer = {
        "@odata.context": "https://org.crm4.example/api/data/v9.2/$metadata#contacts(contactid,emailaddress1,donotemail,donotbulkemail,statecode)",
        "value": rows,
        "@odata.nextLink": f"https://org.crm4.example/api/data/v9.2/contacts?$skiptoken={page_number + 1}",
    }
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


def pages(mix: str, members: int, seed: int = 1) -> Iterator[bytes]:
    """Yield the pages of a mix."""
    random = Random(seed)  # noqa: S311
    waiting: list[str | None] = []
    number = 0
    for address in addresses(mix, members, seed):
        waiting.append(address)
        if len(waiting) == PAGE_SIZE:
            yield page(waiting, random, number)
            number, waiting = number + 1, []
    if waiting:
        yield page(waiting, random, number)
