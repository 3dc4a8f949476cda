"""Timer schedules: what is a schedule, and when is its next moment."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.host.schedule import BadSchedule, Schedule

RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
SATURDAY = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@st.composite
def parts(draw: st.DrawFn, lowest: int, highest: int) -> str:
    """Draw one part of a field: `*`, a value or a range, perhaps with a step."""
    values = st.integers(lowest, highest)
    span = draw(st.one_of(st.just("*"), values.map(str), st.tuples(values, values).map(lambda two: f"{two[0]}-{two[1]}")))
    step = draw(st.one_of(st.just(""), st.integers(1, highest).map(lambda number: f"/{number}")))
    return span + step


def fields(lowest: int, highest: int) -> st.SearchStrategy[str]:
    """Return a strategy for one field: a list of parts."""
    return st.lists(parts(lowest, highest), min_size=1, max_size=3).map(",".join)


schedules = st.tuples(*(fields(lowest, highest) for lowest, highest in RANGES)).map(" ".join)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001


def matches(schedule: Schedule, moment: datetime) -> bool:
    """Tell whether every field allows the moment."""
    return (
        moment.second in schedule.seconds
        and moment.minute in schedule.minutes
        and moment.hour in schedule.hours
        and moment.day in schedule.days
        and moment.month in schedule.months
        and (moment.weekday() + 1) % 7 in schedule.days_of_week
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("*/10 * * * * *", "2026-11-21T12:00:10+00:00"),
        ("0 */5 * * * *", "2026-11-21T12:05:00+00:00"),
        ("*/5 * * * *", "2026-11-21T12:05:00+00:00"),
        ("0 0 * * * *", "2026-11-21T13:00:00+00:00"),
        ("30 17 3 * * *", "2026-11-22T03:17:30+00:00"),
        ("0 0 9-17 * * 1-5", "2026-11-23T09:00:00+00:00"),
        ("0 0 9 * * Mon-Friday", "2026-11-23T09:00:00+00:00"),
        ("0 0 0 1 jan *", "2027-01-01T00:00:00+00:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
        ("0 0 0 13 * 5", "2027-08-13T00:00:00+00:00"),
        ("0 50/5 * * * *", "2026-11-21T12:50:00+00:00"),
        ("0 0 17-15 * * *", "2026-11-21T15:00:00+00:00"),
        ("0 0,30 12 * * *", "2026-11-21T12:30:00+00:00"),
    ],
)
def test_a_schedule_names_its_next_moment(written: str, expected: str) -> None:
    """The forms that Functions documents, and NCrontab's own rules for the rest."""
    found = Schedule.parse(written).next_after(SATURDAY)

    assert found is not None
    assert found.isoformat() == expected


@pytest.mark.parametrize(
    "written",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * * *",
        "* 60 * * * *",
        "* * 24 * * *",
        "* * * 0 * *",
        "* * * 32 * *",
        "* * * * 13 *",
        "* * * * * 7",
        "a * * * * *",
        "* * * * xyz *",
        "*/ * * * * *",
        "*/x * * * * *",
        "1- * * * * *",
        "-1 * * * * *",
        "1,,2 * * * * *",
        ", * * * * *",
        "00:05:00",
        "? * * * * *",
        "٣ * * * * *",
    ],
)
def test_what_is_no_schedule_is_refused_with_a_sentence(written: str) -> None:
    """A timer that would never or always run is found before it does harm."""
    with pytest.raises(BadSchedule, match=r"write "):
        Schedule.parse(written)


def test_a_day_that_never_comes_has_no_next_moment() -> None:
    """30 February does not keep the host searching."""
    assert Schedule.parse("0 0 0 30 2 *").next_after(SATURDAY) is None


def test_moments_are_utc_whatever_the_zone_of_the_question() -> None:
    """Azure's timers run in UTC."""
    one_zone_east = SATURDAY.astimezone(timezone(timedelta(hours=1)))

    assert Schedule.parse("0 30 * * * *").next_after(one_zone_east) == SATURDAY.replace(minute=30)


@given(schedules, moments)
@settings(max_examples=150, deadline=None)
def test_the_next_moment_is_later_and_allowed_by_every_field(written: str, moment: datetime) -> None:
    """No timer runs early, twice in a second, or outside its schedule."""
    schedule = Schedule.parse(written)
    found = schedule.next_after(moment)

    if found is not None:
        assert found > moment
        assert found.microsecond == 0
        assert matches(schedule, found)


@given(schedules, moments)
@settings(max_examples=60, deadline=None)
def test_no_allowed_moment_of_the_next_hour_is_left_out(written: str, moment: datetime) -> None:
    """Compared second by second with a search that knows nothing of fields."""
    schedule = Schedule.parse(written)
    start = moment.replace(microsecond=0)
    found = schedule.next_after(moment)
    seconds = (start + timedelta(seconds=number) for number in range(1, 3601))
    by_search = next((second for second in seconds if matches(schedule, second)), None)

    assert by_search == found or (by_search is None and (found is None or found > start + timedelta(hours=1)))


@given(st.text(max_size=30))
@settings(deadline=None)
def test_any_text_is_a_schedule_or_refused(written: str) -> None:
    """A setting with a slip of the keyboard gives a sentence, never another error."""
    try:
        schedule = Schedule.parse(written)
    except BadSchedule:
        return
    assert all((schedule.seconds, schedule.minutes, schedule.hours, schedule.days, schedule.months, schedule.days_of_week))
