"""Names of a job's files inside its folder. Digests and contact ids only; no address is ever stored."""

IDS = "ids"
MEMBER_LIST = "member-list"
LEFT_OUT = "left-out"


def part(number: int) -> str:
    """Return the name of the part with this number; parts sort by name."""
    return f"parts/{number:06d}"


def opted_out(number: int) -> str:
    """Return the name of a file of digests of opted-out addresses."""
    return f"opted-out/{number:06d}"
