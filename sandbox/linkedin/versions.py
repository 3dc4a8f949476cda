"""Which versions of the Marketing API are served on a given day.

The dates of 202508 to 202607 are those of LinkedIn's page "Migrations"; later versions are taken to end in the middle of the
same month a year on, as all before them did. There is no 202512.
"""

import re
from datetime import UTC, date, datetime

_SUNSETS = {
    "202508": date(2026, 8, 17),
    "202509": date(2026, 9, 15),
    "202510": date(2026, 10, 15),
    "202511": date(2026, 11, 16),
    "202601": date(2027, 1, 15),
    "202602": date(2027, 2, 15),
    "202603": date(2027, 3, 16),
    "202604": date(2027, 4, 15),
    "202605": date(2027, 5, 15),
    "202606": date(2027, 6, 15),
    "202607": date(2027, 7, 15),
}
_NEVER = {"202512"}
_FIRST_KNOWN = "202508"


def sunset(version: str) -> date:
    """Return the day on which a version stops answering.

    >>> sunset("202608")
    datetime.date(2027, 8, 15)
    """
    return _SUNSETS.get(version) or date(int(version[:4]) + 1, int(version[4:]), 15)


def is_active(version: str, now: float, *, versions_end: bool = True) -> bool:
    """Tell whether a version answers at `now` (seconds since 1970).

    With `versions_end` off, a version that once existed answers for ever, so that a demonstration works in later years.
    """
    if not re.fullmatch(r"20\d\d(0[1-9]|1[0-2])", version) or version in _NEVER:
        return False
    today = datetime.fromtimestamp(now, UTC).date()
    if not versions_end:
        return version >= _FIRST_KNOWN
    return version >= _FIRST_KNOWN and version <= f"{today:%Y%m}" and today < sunset(version)
