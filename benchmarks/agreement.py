"""Compare the email rule's verdict with the library's on many addresses; not one may differ.

The addresses are those of the three mixes, spoiled and mutated ones, texts thrown together from the characters that matter
to the rule, and every address that the project's tests have collected. All come from a seed.

    python -m benchmarks.agreement [--count 2000000] [--seed 1] [--processes 2]
"""

import argparse
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

from email_validator import EmailNotValidError, validate_email

from benchmarks.mixes import addresses, domains, usable_address, world_address
from shared.domain.emails import normalise, prepare_emails, problem_with

COLLECTED = Path(__file__).parent.parent / "tests" / "unit" / "data" / "addresses.toml"
CHUNK = 20_000

_TELLING = (
    "ab1@@..--_+'\"<>[]()\\ ,;:/%\x00\x07\x1f\x7fxn--\u00a0\u00ad\u00df\u00e9\u0130\u0131\u0149\u0301\u0338\u0345\u034f\u0378"
)
_TELLING += (
    "\u03c2\u05d0\u0660\u06f0\u0915\u094d\u0958\u1680\u180e\u1e9e\u2000\u200b\u200d\u2024\u2028\u202e\u2060\u2122\u212a\u212b"
)
_TELLING += "\u2488\u2260\u3000\u3002\uac00\u1100\u1161\ud800\ue000\ufe0f\ufe52\ufe6b\ufeff\uff0e\uff20\uff21\uff61\ufffd"
_TELLING += "\U0001f600\U000e0001"
_ENDINGS = (
    ".com",
    ".example",
    ".local",
    ".test",
    ".x1",
    ".c-m",
    "",
    ".",
    ".рф",
    ".xn--p1ai",
    ".xn--x",
    ".arpa",
    ".invalid",
    ".例え",
)


def generated(seed: int) -> Iterator[str]:
    """Yield addresses without end, well written and not, in a fixed order for a seed."""
    random = Random(f"agreement {seed}")  # noqa: S311 - the same addresses everywhere
    companies = domains(random, 2_000)
    mixes = [addresses(mix, sys.maxsize, seed) for mix in ("clean", "realistic", "hostile")]
    collected = collected_addresses()
    number = 0
    while True:
        number += 1
        base = usable_address(random, companies, number) if random.random() < 0.7 else world_address(random, companies, number)
        yield from (next(mix) or "" for mix in mixes)
        yield _mutated(random, base)
        yield _mutated(random, _mutated(random, random.choice(collected)))
        yield _thrown_together(random)
        yield _long(random)


def collected_addresses() -> list[str]:
    """Return the addresses of the project's own tables."""
    with COLLECTED.open("rb") as file:
        return [entry["written"] for entry in tomllib.load(file)["address"]]


def _mutated(random: Random, text: str) -> str:
    at = random.randrange(len(text) + 1)
    return random.choice(
        (
            text[:at] + _character(random) + text[at:],
            text[:at] + _character(random) + text[at + 1 :],
            text[:at] + text[at + 1 :],
            text[:at] + text[at : at + 1] * 2 + text[at + 1 :],
            text.replace(".", random.choice(("..", "-", ".-", "-.", "。")), 1),
            text + random.choice(_ENDINGS),
        )
    )


def _character(random: Random) -> str:
    if random.random() < 0.8:
        return random.choice(_TELLING)
    return chr(random.randrange(0x110000))


def _thrown_together(random: Random) -> str:
    text = "".join(_character(random) for _ in range(random.randrange(12)))
    if random.random() < 0.7:
        text = f"{text[:5].replace('@', '')}a@b{text[5:].replace('@', '')}{random.choice(_ENDINGS)}"
    return text


def _long(random: Random) -> str:
    """Return an address near the limits on length: 63 in a label, 253 in a domain, 254 in all."""
    letter = random.choice("aé例")
    local = letter * random.randrange(1, 200)
    labels = [random.choice("bü") * random.choice((1, 5, 30, 60, 62, 63, 64)) for _ in range(random.randrange(1, 6))]
    return f"{local}@{'.'.join(labels)}.example"


def disagreements(count: int, seed: int) -> list[str]:
    """Return what the rule and the library see differently among `count` addresses, escaped for printing."""
    found: list[str] = []
    texts = generated(seed)
    for start in range(0, count, CHUNK):
        written = list(islice(texts, min(CHUNK, count - start)))
        rejected = prepare_emails(written).rejected
        for position, text in enumerate(written):
            address = normalise(text)
            wanted = is_valid(address)
            if wanted == (position in rejected) or wanted != (problem_with(address) is None):
                found.append(ascii(text))
    return found


def is_valid(address: str) -> bool:
    """Return the library's verdict on a normalised address."""
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def main() -> None:
    """Compare, print the result, and exit with 1 if anything differs."""
    options = argparse.ArgumentParser(description="Compare the email rule with email-validator.")
    options.add_argument("--count", type=int, default=2_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--processes", type=int, default=2)
    chosen = options.parse_args()
    share = -(-chosen.count // chosen.processes)
    seeds = range(chosen.seed, chosen.seed + chosen.processes)
    with ProcessPoolExecutor(chosen.processes) as processes:
        found = [text for texts in processes.map(partial(disagreements, share), seeds) for text in texts]
    print(f"{share * chosen.processes:,} addresses, {len(found)} disagreements")
    print("\n".join(found[:50]))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
