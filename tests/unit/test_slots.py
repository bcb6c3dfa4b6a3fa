"""The slots of a day: evenly spaced, unique, within the day, the same in every run and on every machine."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, date, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import check_job_id
from tenxsom_flow_engine.planning.periods import DAY, Period, civil_day, window
from tenxsom_flow_engine.planning.slots import (
    capacity,
    check_count,
    first_slots,
    grid,
    parse_rate,
    slot_instant,
    slot_job_id,
    steady_slots,
)
from tenxsom_flow_engine.text import plural

instants = st.floats(min_value=0, max_value=4e9, allow_nan=False).map(lambda instant: round(instant, 3))
rates = st.one_of(
    st.integers(1, 60).map(Fraction),
    st.fractions(min_value=Fraction(1, 48), max_value=12, max_denominator=100),
)
zones = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
days = st.dates(date(1975, 1, 1), date(2090, 1, 1))
#: Valid channels of a job.
channels = st.text(st.characters(whitelist_categories=("Lu", "Ll", "Nd"), whitelist_characters=".:@_-"), max_size=64)


@given(instants, rates)
def test_slots_are_evenly_spaced_and_inside(start: float, rate: Fraction) -> None:
    """The slots are in the period, in order, one step of the grid apart, without gaps."""
    span = Period(start, start + DAY)
    slots = grid(span, rate)
    assert len(slots) == capacity(span, rate) in (math.floor(24 * rate), math.ceil(24 * rate))
    assert all(span.start <= slot.instant < span.end for slot in slots)
    steps = {later.instant - earlier.instant for earlier, later in itertools.pairwise(slots)}
    step = 3600 / rate
    assert steps <= {math.floor(step), math.ceil(step)}
    assert not slots or slots[0].instant - span.start <= math.ceil(step)
    assert not slots or span.end - slots[-1].instant <= math.ceil(step)


@given(instants, rates)
def test_a_count_that_fits_on_one_day_fits_on_every_day(start: float, rate: Fraction) -> None:
    """A count is refused because of the day's length alone, not the grid's position, with the number that fits."""
    span = Period(start, start + DAY)
    most = math.ceil(24 * rate)
    check_count(span, most, rate)
    with pytest.raises(InvalidInput, match=f"use {plural(most, 'video')}"):
        check_count(span, most + 1, rate)


def test_eight_a_day_at_three_in_ten_hours() -> None:
    """If the grid has 7 slots on some days and 8 on others, both can be planned."""
    rate = parse_rate("0.3")
    days = [Period(n * DAY, (n + 1) * DAY) for n in range(20_000, 20_010)]
    assert {capacity(day, rate) for day in days} == {7, 8}
    for day in days:
        check_count(day, 8, rate)


@given(instants, st.floats(0, DAY), rates)
def test_plans_that_overlap_share_their_slots(start: float, later: float, rate: Fraction) -> None:
    """Planning again later gives the same slots where the periods overlap."""
    first, second = Period(start, start + DAY), Period(start + later, start + later + DAY)
    both = [{slot for slot in grid(span, rate) if second.start <= slot.instant < first.end} for span in (first, second)]
    assert both[0] == both[1]


@given(days, zones, rates)
def test_a_civil_day_is_planned_whole(day: date, zone: ZoneInfo, rate: Fraction) -> None:
    """Slots of a calendar day have that date in its zone, and consecutive days join without gap or overlap."""
    try:
        span = civil_day(day, zone)
        assert span.end == civil_day(date.fromordinal(day.toordinal() + 1), zone).start
    except InvalidInput:
        return  # the zone's calendar skipped a day
    assert span.lost == DAY - (span.end - span.start)
    for slot in grid(span, rate):
        assert datetime.fromtimestamp(slot.instant, zone).date() == day


def test_a_day_that_the_calendar_skipped_is_refused() -> None:
    """Samoa had no 30 December 2011."""
    with pytest.raises(InvalidInput, match="2011-12-30 does not exist in Pacific/Apia"):
        civil_day(date(2011, 12, 30), ZoneInfo("Pacific/Apia"))


def test_a_day_of_23_hours_takes_a_usual_count_as_far_as_possible() -> None:
    """In spring, a usual day's count is planned as far as possible; a count that fits on no day is refused."""
    spring = civil_day(date(2027, 3, 28), ZoneInfo("Europe/Berlin"))
    assert spring.seconds == 23 * 3600
    check_count(spring, 96, Fraction(4))
    assert len(first_slots(grid(spring, Fraction(4)), 96, ())) == 92
    with pytest.raises(InvalidInput, match="4 per hour gives 96 in 1 day"):
        check_count(spring, 97, Fraction(4))


def test_a_day_of_25_hours_takes_more() -> None:
    """In autumn, one more hour is available."""
    autumn = civil_day(date(2027, 10, 31), ZoneInfo("Europe/Berlin"))
    assert autumn.seconds == 25 * 3600
    assert len(first_slots(grid(autumn, Fraction(4)), 100, ())) == 100
    with pytest.raises(InvalidInput, match="101 videos do not fit: 4 per hour gives 100 in 1 day 1 h"):
        check_count(autumn, 101, Fraction(4))


def test_ninety_seven_at_four_an_hour_do_not_fit() -> None:
    """The refusal names a count and a rate that fit."""
    with pytest.raises(InvalidInput) as caught:
        check_count(Period(0, DAY), 97, Fraction(4))
    assert caught.value.next_step == "use 96 videos, or 5 per hour"


def test_a_refusal_suggests_at_least_one_video() -> None:
    """A period shorter than the interval of the rate has room for one video."""
    with pytest.raises(InvalidInput, match=r"at most 1 in 10 min \(use 1 video, or"):
        check_count(Period(0, 600), 2, Fraction(4))


hourly = st.lists(st.integers(1, 30), min_size=1, max_size=8)


@given(instants, st.integers(1, 30), rates, hourly, st.sets(st.integers(0, 3 * DAY), max_size=10))
def test_no_24_hours_hold_more_than_the_daily_count(
    start: float, count: int, rate: Fraction, pauses: list[int], others: set[int]
) -> None:
    """Planning the next 24 hours repeatedly keeps the count in any 24 hours; an immediate repeat adds nothing."""
    taken = {int(start) + other for other in others} if len(others) <= count else set()
    now = start
    for pause in pauses:
        slots = grid(Period(now, now + DAY), rate)
        planned = {slot.instant for slot in steady_slots(slots, count, taken)}
        assert {slot.instant for slot in steady_slots(slots, count, taken | planned)} == planned
        taken |= planned
        assert all(sum(begin <= other < begin + DAY for other in taken) <= count for begin in taken)
        now += pause * 3600


def test_hourly_runs_keep_a_days_rhythm() -> None:
    """24 a day at 4 per hour, planned every hour of three days, use the same six hours on each day."""
    taken: set[int] = set()
    for hour in range(49):
        slots = grid(Period(hour * 3600, hour * 3600 + DAY), Fraction(4))
        taken |= {slot.instant for slot in steady_slots(slots, 24, taken)}
    assert sorted(taken) == [day * DAY + n * 900 for day in range(3) for n in range(24)]


def test_videos_off_the_grid_count_on_a_day() -> None:
    """Videos planned at another rate count towards the day's count."""
    slots = grid(Period(0, DAY), Fraction(1))
    assert [slot.instant for slot in first_slots(slots, 5, {0, 900, 1800})] == [0, 3600, 7200]


@given(channels, channels, instants, rates)
def test_ids_are_stable_safe_and_apart(one: str, other: str, start: float, rate: Fraction) -> None:
    """An id depends on channel and slot only, is valid, contains the instant, and is unique."""
    slots = grid(Period(start, start + 4 * DAY), rate)[:50]
    ids = [slot_job_id(one, slot.instant) for slot in slots]
    assert len(set(ids)) == len(ids)
    for slot, job_id in zip(slots, ids, strict=True):
        check_job_id(job_id)
        assert slot_instant(one, job_id) == slot.instant
        if one != other:
            assert job_id != slot_job_id(other, slot.instant)
            assert slot_instant(other, job_id) is None


def test_an_id_names_channel_and_slot() -> None:
    """An id is readable, and it must never change, because other machines compute the same id."""
    at = 1_800_000_000
    assert slot_job_id("fun", at) == "fun-20270115T080000Z"
    assert slot_job_id("", at) == "slot-20270115T080000Z"
    assert slot_job_id("größe@x", at) == "gr-e-x-e3278d4d-20270115T080000Z"


def test_a_channel_may_be_called_slot() -> None:
    """A channel named `slot` shares no id with jobs without a channel."""
    job_id = slot_job_id("slot", 1_800_000_000)
    assert job_id == "slot-65588383-20270115T080000Z"
    assert slot_instant("", job_id) is None
    assert slot_instant("slot", "slot-20270115T080000Z") is None
    assert slot_instant("", "slot-20271315T080000Z") is None


NOW = datetime(2026, 12, 23, 22, 30, tzinfo=UTC).timestamp()


def test_windows_as_people_name_them() -> None:
    """`today` and `tomorrow` depend on the zone, a start is a time of that day, and no day means 24 hours from now."""
    assert window(NOW) == Period(NOW, NOW + DAY)
    assert window(NOW, day="today").start == datetime(2026, 12, 23, tzinfo=UTC).timestamp()
    # In Tokyo it is already the 24th.
    tokyo = ZoneInfo("Asia/Tokyo")
    assert window(NOW, day="today", zone="Asia/Tokyo").start == datetime(2026, 12, 24, tzinfo=tokyo).timestamp()
    assert window(NOW, day="tomorrow", zone="Asia/Tokyo").start == datetime(2026, 12, 25, tzinfo=tokyo).timestamp()
    late = window(NOW, day="2026-12-24", zone="Asia/Tokyo", start="18:00")
    assert (late.start, late.seconds) == (datetime(2026, 12, 24, 18, tzinfo=tokyo).timestamp(), 6 * 3600)
    assert window(NOW, day="2026-12-24", zone="Asia/Tokyo", start="2026-12-24T18:00") == late
    moment = window(NOW, start="2026-12-31T12:00Z")
    assert (moment.start, moment.seconds) == (datetime(2026, 12, 31, 12, tzinfo=UTC).timestamp(), DAY)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"day": "someday"}, "date: 'someday' is not a date"),
        ({"day": "2026-02-30"}, "date: '2026-02-30' is not a date"),
        ({"day": "today", "zone": "Mars/Olympus"}, "timezone: 'Mars/Olympus' is unknown"),
        ({"day": "today", "zone": "../../etc/passwd"}, "timezone: '../../etc/passwd' is unknown"),
        ({"day": "today", "start": "noon"}, "start: 'noon' is not a date and time"),
        ({"day": "today", "start": "2030-01-01T00:00Z"}, "is not on 2026-12-23, the day to plan"),
        ({"start": "noon"}, "start: 'noon' is not a date and time"),
        ({"day": "today", "start": "08:00+02:00"}, "contains a time zone (pass the time zone separately)"),
        ({"day": "9999-12-31"}, "date: 9999-12-31 is outside the years 1971 to 9998"),
        ({"start": "9998-12-31T23:00Z"}, "start: must be in the years 1970 to 9998"),
        ({"start": "9999-12-31T23:00Z"}, "start: must be in the years 1970 to 9998"),
        ({"day": "2011-12-30", "zone": "Pacific/Apia"}, "date: 2011-12-30 does not exist in Pacific/Apia"),
    ],
)
def test_invalid_periods(words: dict[str, str], reason: str) -> None:
    """Each error names the option and the reason."""
    with pytest.raises(InvalidInput) as caught:
        window(NOW, **words)
    assert reason in str(caught.value)


def test_a_start_that_the_clocks_skip_is_noted() -> None:
    """If the clocks skip the start, the plan begins at the next time that exists."""
    span = window(NOW, day="2027-03-28", zone="Europe/Berlin", start="02:30")
    assert span.note == "the clocks skip 02:30 on 2027-03-28, so the period begins at 03:30"
    assert span.start == datetime(2027, 3, 28, 1, 30, tzinfo=UTC).timestamp()
    assert span.lost == 0


def test_an_hour_lost_before_the_start_is_not_granted() -> None:
    """A day that starts after the clock change has its remaining hours."""
    morning = window(NOW, day="2027-03-28", zone="Europe/Berlin", start="08:00")
    assert (morning.seconds, morning.lost, morning.note) == (16 * 3600, 0, "")
    with pytest.raises(InvalidInput, match="4 per hour gives 64 in 16 h"):
        check_count(morning, 65, Fraction(4))
    assert window(NOW, day="2027-03-28", zone="Europe/Berlin", start="01:00").lost == 3600


def test_the_densest_grid_is_a_slot_a_second() -> None:
    """At 3,600 per hour, every second of the day is a slot."""
    slots = grid(Period(0.5, 0.5 + DAY), Fraction(3600))
    assert [slot.instant for slot in slots] == list(range(1, DAY + 1))


def test_rates() -> None:
    """A rate is a number or a fraction; values that no grid can represent are refused."""
    assert (parse_rate("4"), parse_rate(".5"), parse_rate("1/3")) == (Fraction(4), Fraction(1, 2), Fraction(1, 3))
    for bad in ("-1", "many", "", "1/0", "nan", "inf", "1e-9", "1e999999999", "9" * 5000):
        with pytest.raises(InvalidInput, match="is not a number such as 4"):
            parse_rate(bad)
    for bad in ("0", "3601"):
        with pytest.raises(InvalidInput, match=f"must be more than 0 and at most 3600, not {bad}"):
            parse_rate(bad)
    with pytest.raises(InvalidInput, match="1/20000 is too precise"):
        parse_rate("1/20000")
