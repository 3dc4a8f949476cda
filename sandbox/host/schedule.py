"""Timer schedules as Azure Functions writes them, and the moments they name.

Six fields: `{second} {minute} {hour} {day} {month} {day of week}`; five fields mean second 0. A field is `*`, a value, a
range `a-b`, a list `a,b` of those, each with an optional step `/n`; months and days of the week may be English names, as
short as you like, Sunday is 0. Functions reads them with NCrontab, whose rules hold here
(https://github.com/atifaziz/NCrontab, Apache-2.0, read for its behaviour): a moment must match every field, also day and day of
the week together; `a/n` runs to the end of the field; a range written backwards is turned round. Time is UTC, as on Azure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_LONGEST_SEARCH = timedelta(days=366 * 8)  # 29 February comes at least once in eight years


class BadSchedule(ValueError):
    """The text is no schedule; the sentence says which field is wrong and what it may be."""


@dataclass(frozen=True)
class _Kind:
    """What one field may hold. `names` stand for the values from `lowest` on."""

    name: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()


_KINDS = (
    _Kind("second", 0, 59),
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day", 1, 31),
    _Kind("month", 1, 12, _MONTHS),
    _Kind("day of week", 0, 6, _DAYS),
)


@dataclass(frozen=True)
class Schedule:
    """The values that each field allows, ascending."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    days_of_week: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Return the schedule that a text describes; raises BadSchedule.

        >>> Schedule.parse("0 */15 * * * *").minutes
        (0, 15, 30, 45)
        """
        fields = text.split()
        if len(fields) == len(_KINDS) - 1:
            fields = ["0", *fields]
        if len(fields) != len(_KINDS):
            raise BadSchedule(
                f"The schedule {text!r} has {len(fields)} fields; write six: second, minute, hour, day, month, day of week."
            )
        return cls(*(_values(kind, field) for kind, field in zip(_KINDS, fields, strict=True)))

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment later than the given one, in UTC, or None when there is none (such as 30 February).

        >>> Schedule.parse("0 30 2 * * mon-fri").next_after(datetime(2026, 11, 21, 12, tzinfo=UTC)).isoformat()
        '2026-11-23T02:30:00+00:00'
        """
        start = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        for day in self._days_from(start.date()):
            found = self._first_time(start.time() if day == start.date() else time.min)
            if found is not None:
                return datetime.combine(day, found, UTC)
        return None

    def _days_from(self, first: date) -> Iterator[date]:
        until = min(first.toordinal() + _LONGEST_SEARCH.days, date.max.toordinal())
        for ordinal in range(first.toordinal(), until + 1):
            day = date.fromordinal(ordinal)
            if day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.days_of_week:
                yield day

    def _first_time(self, since: time) -> time | None:
        for hour in self.hours:
            for minute in self.minutes:
                if (hour, minute) < (since.hour, since.minute):
                    continue
                earliest = since.second if (hour, minute) == (since.hour, since.minute) else 0
                for second in self.seconds:
                    if second >= earliest:
                        return time(hour, minute, second)
        return None


def _values(kind: _Kind, field: str) -> tuple[int, ...]:
    allowed: set[int] = set()
    for part in field.split(","):
        allowed.update(_part(kind, part))
    return tuple(sorted(allowed))


def _part(kind: _Kind, part: str) -> range:
    span, slash, step_text = part.partition("/")
    step = _number(kind, step_text, part) if slash else 1
    if span == "*":
        return range(kind.lowest, kind.highest + 1, max(step, 1))
    first_text, dash, last_text = span.partition("-")
    first = _value(kind, first_text, part)
    last = _value(kind, last_text, part) if dash else kind.highest if slash else first
    first, last = min(first, last), max(first, last)
    return range(first, last + 1, max(step, 1))


def _value(kind: _Kind, text: str, part: str) -> int:
    if text[:1].isdigit():
        value = _number(kind, text, part)
    else:
        matches = (kind.lowest + index for index, name in enumerate(kind.names) if text and name.startswith(text.lower()))
        value = next(matches, -1)
    if not kind.lowest <= value <= kind.highest:
        raise _bad(kind, part)
    return value


def _number(kind: _Kind, text: str, part: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise _bad(kind, part)
    return int(text)


def _bad(kind: _Kind, part: str) -> BadSchedule:
    names = " or an English name" if kind.names else ""
    return BadSchedule(
        f"{part!r} is no {kind.name}: write *, a number from {kind.lowest} to {kind.highest}{names}, a range or a step."
    )
