"""Why a member is not sent to LinkedIn: a code for storage, a word for files, a sentence for people."""

from enum import IntEnum


class Reason(IntEnum):
    """Why a member is left out. The number is stored in parts, so it never changes its meaning."""

    INACTIVE = 1
    OPTED_OUT = 2
    OPTED_OUT_OF_PURPOSE = 3
    NO_EMAIL = 4
    DUPLICATE = 5
    NO_AT_SIGN = 10
    SEVERAL_ADDRESSES = 11
    NOTHING_BEFORE_AT_SIGN = 12
    NOTHING_AFTER_AT_SIGN = 13
    CHARACTERS_NOT_ALLOWED = 14
    DOTS_MISPLACED = 15
    DOMAIN_INCOMPLETE = 16
    DOMAIN_RESERVED = 17
    DOMAIN_NOT_VALID = 18
    TOO_LONG = 19
    FORM_NOT_SUPPORTED = 20

    @property
    def word(self) -> str:
        """Return the stable word that files and logs use."""
        return self.name.lower().replace("_", "-")

    @property
    def sentence(self) -> str:
        """Return what a person reads."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.INACTIVE: "The record is inactive, or the lead is no longer open.",
    Reason.OPTED_OUT: "The record does not allow emails or bulk emails.",
    Reason.OPTED_OUT_OF_PURPOSE: "The email address is opted out of the purpose that is used for audiences.",
    Reason.NO_EMAIL: "There is no email address.",
    Reason.DUPLICATE: "Another member of the segment has the same email address.",
    Reason.NO_AT_SIGN: "The email address has no at-sign.",
    Reason.SEVERAL_ADDRESSES: "The field holds more than one email address, or more than one at-sign.",
    Reason.NOTHING_BEFORE_AT_SIGN: "The email address has nothing before the at-sign.",
    Reason.NOTHING_AFTER_AT_SIGN: "The email address has nothing after the at-sign.",
    Reason.CHARACTERS_NOT_ALLOWED: "The email address contains characters that are not allowed there.",
    Reason.DOTS_MISPLACED: "The email address has a dot at a wrong place, or two in a row.",
    Reason.DOMAIN_INCOMPLETE: "The part after the at-sign is not complete: it lacks an ending such as .com.",
    Reason.DOMAIN_RESERVED: "The part after the at-sign is a name that is reserved and never receives email.",
    Reason.DOMAIN_NOT_VALID: "The part after the at-sign cannot be the name of a domain.",
    Reason.TOO_LONG: "The email address is longer than email allows.",
    Reason.FORM_NOT_SUPPORTED: "The field holds a name, quotation marks or brackets besides the email address.",
}

INVALID_EMAIL = tuple(reason for reason in Reason if reason >= Reason.NO_AT_SIGN)
"""The reasons that a tally counts as an invalid address."""
