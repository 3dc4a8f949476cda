"""The email rule: what an address as the CRM wrote it becomes before LinkedIn sees it.

Remove all white space, lower-case, Unicode NFC, UTF-8, SHA-256. Nothing else: dots and plus-tags stay, an internationalised
domain stays as it is written. LinkedIn compares with the hash of what its member typed, and browsers type NFC (RFC 6532,
section 3.1, asks for it too), so two spellings of one letter in the CRM are one address.

The verdict on that text is the one of the library `email-validator` 2.4 without DNS, otherwise with its defaults: letters
of any script are welcome on both sides of the at-sign; quoted local parts, display names and bracketed IP addresses are
not, nor are the reserved names .test, .local, .localhost, .invalid, .onion and .arpa. The reserved example domains pass,
because the library (after RFC 6761) does not treat them as special.

The library takes about 17 seconds per million addresses. So the rules it applies to plain ASCII are answered here, where
they are few and exact, and the library is asked once per domain for every other domain. `benchmarks/agreement.py` compares
both on millions of addresses.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Final
from unicodedata import category, normalize

from email_validator import SPECIAL_USE_DOMAIN_NAMES, validate_email

from shared.domain.reasons import Reason

DIGEST_SIZE: Final = 32

_LONGEST_ADDRESS = 254  # bytes; RFC 5321 4.5.3.1.3 with errata 1690 of RFC 3696
_LONGEST_DOMAIN = 253
_LONGEST_LABEL = 63  # RFC 1035 2.3.1
_SHORT = _LONGEST_ADDRESS // 4  # characters that cannot be too many bytes
_REMEMBERED_DOMAINS = 20_000


@dataclass(frozen=True, slots=True)
class HashedEmail:
    """The SHA-256 of a usable address: 32 bytes. A repr does not show them, for they still stand for a person."""

    digest: bytes = field(repr=False)

    @property
    def hex(self) -> str:
        """Return the digest as LinkedIn wants it: 64 lower-case hexadecimal digits."""
        return self.digest.hex()


@dataclass(frozen=True, slots=True)
class RejectedEmail:
    """Why an address is not used. It does not hold the address."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class PreparedEmails:
    """What became of many addresses: the digests of the usable ones in their order, and reasons by position for the others."""

    digests: list[bytes] = field(repr=False)
    rejected: dict[int, Reason]


def normalise(written: str) -> str:
    """Return the text that is judged and hashed: without white space, lower-case, NFC.

    >>> normalise(" Ada.Lovelace @Example.com")
    'ada.lovelace@example.com'
    """
    text = "".join(written.split()).lower()
    return text if text.isascii() else normalize("NFC", text)


def prepare_email(written: str | None) -> HashedEmail | RejectedEmail:
    """Turn an address as the CRM wrote it into what LinkedIn matches on, or say why it cannot be used.

    >>> prepare_email(" Ada@Example.com ") == prepare_email("ada@example.com")
    True
    >>> prepare_email("ada").reason.word
    'no-at-sign'
    """
    address = normalise(written or "")
    problem = problem_with(address)
    return RejectedEmail(problem) if problem else HashedEmail(sha256(address.encode()).digest())


# ------------------------------------------------------------------ many at once

_END = "\0"  # closes an address; Dataverse stores none
_END_BYTE = _END.encode()
_NEVER_ALLOWED = "\1"
_LOWER = bytes(range(256)).lower()
_ASCII_WHITE_SPACE = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"

# Lower-case ASCII addresses that the library certainly accepts; others need a closer look. Words are bounded so that no
# label passes 63 characters and no address 254. Names that end like a reserved one (.test, .local, .arpa, .onion, .invalid,
# .localhost) are left out.
_ATOM = r"[a-z0-9_!#$%&'*+/=?^`{|}~-]"
_WORD = "[a-z0-9A]"  # no capital is left when this is asked; three ranges make `re` use a table, which takes a seventh off
_USUAL_LOCAL = rf"{_ATOM}{{1,50}}+(?:\.{_ATOM}{{1,20}}+){{0,3}}+"
_USUAL_DOMAIN = (
    rf"{_WORD}{{1,30}}+(?:-{_WORD}{{1,15}}+){{0,2}}+"
    rf"\.{_WORD}{{1,20}}+(?:[.-]{_WORD}{{1,20}}+){{0,2}}+"
    r"(?<=[a-z])(?<!test|ocal|arpa|nion|alid|host)"
)
_runs_of_usual = re.compile(rf"((?:{_USUAL_LOCAL}@{_USUAL_DOMAIN}\0)*+)[^\0]*+\0".encode()).findall
_is_usual_domain = re.compile(_USUAL_DOMAIN).fullmatch


def prepare_emails(written: Sequence[str]) -> PreparedEmails:
    """Return for many addresses at once what `prepare_email` returns for each; "" stands for no address."""
    lines, unusual = _usual_lines(written)
    rejected = {}
    for position in unusual:
        text = written[position]
        address = normalise(text) if text else text
        problem = problem_with(address)
        if problem:
            rejected[position] = problem
        else:
            lines[position] = address.encode()
    for position in reversed(rejected):
        del lines[position]
    return PreparedEmails([sha256(line).digest() for line in lines], rejected)


def _usual_lines(written: Sequence[str]) -> tuple[list[bytes], list[int]]:
    """Return the normalised address for each that is usual, and where the others are (b""), which need a closer look."""
    plain = [address if address.isascii() else "" for address in written]  # one other letter would make all texts wider
    text = (_END.join(plain) + 2 * _END).encode("ascii").translate(_LOWER, _ASCII_WHITE_SPACE)
    lines: list[bytes] = []
    unusual: list[int] = []
    for run in _runs_of_usual(text):
        lines += run.split(_END_BYTE)  # a run ends with _END, so the last of its pieces is empty: the one behind the run
        unusual.append(len(lines) - 1)
    del lines[-1], unusual[-1]  # those that close the text
    if not written:
        return [], []
    if len(lines) != len(written):
        return _usual_lines([address.replace(_END, _NEVER_ALLOWED) for address in written])
    return lines, unusual


# ------------------------------------------------------------------ the verdict

_LOCAL_WORD = r"[a-z0-9_!#$%&'*+/=?^`{|}~\x80-\U0010ffff-]++"
_is_dot_atom = re.compile(rf"{_LOCAL_WORD}(?:\.{_LOCAL_WORD})*+").fullmatch
_DOMAIN_CHARACTERS = re.compile(r"[a-z0-9.\x80-\U0010ffff-]++")
_RESERVED_LABEL = re.compile(r"(?:^|\.)(?!xn)..--")  # RFC 5890: "--" at the third place is for Punycode
_MISPLACED_DOT = re.compile(r"^\.|\.\.|\.$")
_MISPLACED_HYPHEN = re.compile(r"^-|\.-|-\.|-$")
_LONG_LABEL = re.compile(rf"[^.]{{{_LONGEST_LABEL + 1}}}")
_SPECIAL_USE = re.compile(rf"(?:^|\.)(?:{'|'.join(map(re.escape, SPECIAL_USE_DOMAIN_NAMES))})$")


def problem_with(address: str) -> Reason | None:  # noqa: PLR0911 - a list of rules reads best as one
    """Return why a normalised address cannot be used; None when it can.

    Quotation marks and angle brackets are refused wherever they stand. Without them an address is what stands before the
    first at-sign and what stands behind it, and the library judges the two apart from each other, as is done here.
    """
    if not address:
        return Reason.NO_EMAIL
    local, at_sign, domain = address.partition("@")
    if '"' in address or "<" in address:
        return Reason.FORM_NOT_SUPPORTED
    if not at_sign:
        return Reason.NO_AT_SIGN
    if "@" in domain:
        return Reason.SEVERAL_ADDRESSES
    if not (_is_dot_atom(local) and _is_safe(local)):
        return _problem_with_local(local)
    if _is_usual_domain(domain) and len(address) <= _SHORT:
        return None
    return _problem_with_domain(local, domain)


def _problem_with_local(local: str) -> Reason:
    """Return what is wrong with a local part that the library refuses."""
    if not local:
        return Reason.NOTHING_BEFORE_AT_SIGN
    words = local.replace(".", "")
    return Reason.DOTS_MISPLACED if not words or (_is_dot_atom(words) and _is_safe(words)) else Reason.CHARACTERS_NOT_ALLOWED


def _problem_with_domain(local: str, domain: str) -> Reason | None:
    if domain.isascii() and "xn--" not in domain:
        problem, longest = _visible_problem(domain), len(domain)
    else:
        problem, longest = _library_on_domain(domain)
    if problem is None and len(local.encode()) + len("@") + longest > _LONGEST_ADDRESS:
        return Reason.TOO_LONG
    return problem


def _visible_problem(domain: str) -> Reason | None:  # noqa: PLR0911 - a list of rules reads best as one
    """Return what is wrong with a domain as far as its characters tell; for plain ASCII that is all there is."""
    if not domain:
        return Reason.NOTHING_AFTER_AT_SIGN
    if domain.startswith("[") and domain.endswith("]"):
        return Reason.FORM_NOT_SUPPORTED
    if not _DOMAIN_CHARACTERS.fullmatch(domain) or not _is_safe(domain):
        return Reason.CHARACTERS_NOT_ALLOWED
    if _MISPLACED_DOT.search(domain):
        return Reason.DOTS_MISPLACED
    if _MISPLACED_HYPHEN.search(domain) or _RESERVED_LABEL.search(domain):
        return Reason.DOMAIN_NOT_VALID
    if len(domain) > _LONGEST_DOMAIN or _LONG_LABEL.search(domain):
        return Reason.TOO_LONG
    if _SPECIAL_USE.search(domain):
        return Reason.DOMAIN_RESERVED
    return None if "." in domain and not domain[-1].isdigit() else Reason.DOMAIN_INCOMPLETE


@lru_cache(maxsize=_REMEMBERED_DOMAINS)
def _library_on_domain(domain: str) -> tuple[Reason | None, int]:
    """Return what the library thinks of a domain, and how many bytes its longest form has."""
    try:
        judged = validate_email("a@" + domain, check_deliverability=False)
    except ValueError:  # EmailNotValidError, or what Unicode itself refuses
        return _visible_problem(domain) or Reason.DOMAIN_NOT_VALID, 0
    return None, max(len(form.encode()) for form in (domain, judged.domain, judged.ascii_domain))


def _is_safe(text: str) -> bool:
    """Tell whether text holds only letters, digits, punctuation, symbols, and marks that are not its first character."""
    if text.isascii() or text.isalnum():
        return True  # what is left of ASCII here is printable
    kinds = [category(character)[0] for character in text]
    return kinds[0] != "M" and "Z" not in kinds and "C" not in kinds
