"""A day's slots: evenly spaced, none twice, none outside, the same in every run and on every machine."""

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
from tenxsom_flow_engine.planning.slots import (
    DAY,
    Window,
    before,
    capacity,
    civil_day,
    parse_rate,
    plan,
    slot_job_id,
    window,
)

instants = st.floats(min_value=0, max_value=4e9, allow_nan=False)
rates = st.one_of(
    st.integers(1, 60).map(Fraction),
    st.fractions(min_value=Fraction(1, 48), max_value=12, max_denominator=100),
)
zones = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
days = st.dates(date(1975, 1, 1), date(2090, 1, 1))
#: Channels as a job allows them.
channels = st.text(st.characters(whitelist_categories=("Lu", "Ll", "Nd"), whitelist_characters=".:@_-"), max_size=64)


@given(instants, rates, st.data())
def test_slots_are_evenly_spaced_and_inside(start: float, rate: Fraction, data: st.DataObject) -> None:
    """Any count that fits gives so many slots, in the window, in order, each a step of the grid after the other."""
    span = Window(start, start + DAY)
    count = data.draw(st.integers(1, max(1, capacity(span, rate))))
    if capacity(span, rate) == 0:
        return
    slots = plan(span, count, rate)
    assert len(slots) == count
    assert all(span.start <= slot.instant < span.end for slot in slots)
    steps = {later.instant - earlier.instant for earlier, later in itertools.pairwise(slots)}
    step = 3600 / rate
    assert steps <= {math.floor(step), math.ceil(step)}
    # No slot of the window was left out before the first.
    assert next(before(slots[0], rate)).instant < span.start


@given(instants, rates)
def test_one_more_than_fits_is_refused_saying_what_would(start: float, rate: Fraction) -> None:
    """The error names a count that then fits."""
    span = Window(start, start + DAY)
    room = capacity(span, rate)
    with pytest.raises(InvalidInput, match=f"--daily-count {room}" if room else "daily-count"):
        plan(span, room + 1, rate)
    if room:
        assert len(plan(span, room, rate)) == room


@given(instants, st.floats(0, DAY), rates)
def test_plans_that_overlap_share_their_slots(start: float, later: float, rate: Fraction) -> None:
    """Planning again later gives the slots of before where the windows overlap, and no other between them."""
    first, second = Window(start, start + DAY), Window(start + later, start + later + DAY)
    both = [
        {slot for slot in plan(span, capacity(span, rate), rate) if second.start <= slot.instant < first.end}
        for span in (first, second)
        if capacity(span, rate)
    ]
    assert len(both) < 2 or both[0] == both[1]


@given(days, zones, rates)
def test_a_civil_day_is_planned_whole(day: date, zone: ZoneInfo, rate: Fraction) -> None:
    """Slots of a calendar day have that date in its zone, and the days join without gap or overlap."""
    span = civil_day(day, zone)
    assert span.lost == DAY - (span.end - span.start)
    for slot in plan(span, capacity(span, rate), rate) if capacity(span, rate) else []:
        assert datetime.fromtimestamp(slot.instant, zone).date() == day
    assert span.end == civil_day(date.fromordinal(day.toordinal() + 1), zone).start


def test_a_day_of_23_hours_takes_what_fits() -> None:
    """In spring a usual day's count is planned as far as it goes; a count that no day takes is refused."""
    spring = civil_day(date(2027, 3, 28), ZoneInfo("Europe/Berlin"))
    assert spring.hours == 23
    assert len(plan(spring, 96, Fraction(4))) == 92
    with pytest.raises(InvalidInput):
        plan(spring, 97, Fraction(4))


def test_a_day_of_25_hours_takes_more() -> None:
    """In autumn there is room for another hour."""
    autumn = civil_day(date(2027, 10, 31), ZoneInfo("Europe/Berlin"))
    assert autumn.hours == 25
    assert len(plan(autumn, 100, Fraction(4))) == 100
    with pytest.raises(InvalidInput, match="101 videos do not fit: 4 an hour are 100 in 25 hours"):
        plan(autumn, 101, Fraction(4))


def test_ninety_seven_at_four_an_hour_do_not_fit() -> None:
    """The refusal says what would fit, both ways."""
    with pytest.raises(InvalidInput) as caught:
        plan(Window(0, DAY), 97, Fraction(4))
    assert caught.value.next_step == "ask for --daily-count 96 or --videos-per-hour 5"


@given(channels, channels, instants, rates)
def test_ids_are_stable_safe_and_apart(one: str, other: str, start: float, rate: Fraction) -> None:
    """An id follows from channel and slot alone, is a valid id, and differs where channel or slot differ."""
    span = Window(start, start + 4 * DAY)
    slots = plan(span, min(50, capacity(span, rate)), rate) if capacity(span, rate) else []
    ids = [slot_job_id(one, slot) for slot in slots]
    assert ids == [slot_job_id(one, slot) for slot in slots]
    assert len(set(ids)) == len(ids)
    for job_id in ids:
        check_job_id(job_id)
    if one != other:
        assert not set(ids) & {slot_job_id(other, slot) for slot in slots}


def test_an_id_names_channel_and_slot() -> None:
    """A person can read an id; it is the same for ever, since other machines rely on it."""
    (slot,) = plan(Window(1_800_000_000, 1_800_000_000 + DAY), 1, Fraction(4))
    assert slot_job_id("fun", slot) == "fun-20270115T080000Z"
    assert slot_job_id("", slot) == "slot-20270115T080000Z"
    assert slot_job_id("größe@x", slot) == "gr-e-x-e3278d4d-20270115T080000Z"


@given(instants, rates)
def test_before_goes_back_slot_by_slot(start: float, rate: Fraction) -> None:
    """The slots before one are the grid's, latest first, at least a day back."""
    span = Window(start + DAY, start + 3 * DAY + 3600 * 48)
    if not capacity(span, rate):
        return
    (slot,) = plan(span, 1, rate)
    back = list(before(slot, rate))
    numbers = [earlier.number for earlier in back]
    assert numbers == list(range(slot.number - 1, slot.number - 1 - len(back), -1))
    assert slot.instant - back[-1].instant >= DAY - 1


NOW = datetime(2026, 12, 23, 22, 30, tzinfo=UTC).timestamp()


def test_windows_as_people_name_them() -> None:
    """`today` and `tomorrow` are the zone's, a start is a time of that day, and nothing means 24 hours from now."""
    assert window(NOW) == Window(NOW, NOW + DAY)
    assert window(NOW, day="today").start == datetime(2026, 12, 23, tzinfo=UTC).timestamp()
    # In Tokyo it is the 24th already.
    tokyo = ZoneInfo("Asia/Tokyo")
    assert window(NOW, day="today", zone="Asia/Tokyo").start == datetime(2026, 12, 24, tzinfo=tokyo).timestamp()
    assert window(NOW, day="tomorrow", zone="Asia/Tokyo").start == datetime(2026, 12, 25, tzinfo=tokyo).timestamp()
    late = window(NOW, day="2026-12-24", zone="Asia/Tokyo", start="18:00")
    assert (late.start, late.hours) == (datetime(2026, 12, 24, 18, tzinfo=tokyo).timestamp(), 6)
    moment = window(NOW, start="2026-12-31T12:00Z")
    assert (moment.start, moment.hours) == (datetime(2026, 12, 31, 12, tzinfo=UTC).timestamp(), 24)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"day": "someday"}, "date: 'someday' is not a date"),
        ({"day": "2026-02-30"}, "date: '2026-02-30' is not a date"),
        ({"day": "today", "zone": "Mars/Olympus"}, "timezone: 'Mars/Olympus' is not known"),
        ({"day": "today", "zone": "../../etc/passwd"}, "timezone: '../../etc/passwd' is not known"),
        ({"day": "today", "start": "noon"}, "start: 'noon' is not a moment"),
        ({"day": "today", "start": "2030-01-01T00:00Z"}, "is not within the day"),
        ({"start": "noon"}, "start: 'noon' is not a moment"),
    ],
)
def test_windows_that_make_no_sense(words: dict[str, str], reason: str) -> None:
    """Each error names the option and what is wrong with it."""
    with pytest.raises(InvalidInput) as caught:
        window(NOW, **words)
    assert reason in str(caught.value)


def test_the_densest_grid_is_a_slot_a_second() -> None:
    """At 3,600 an hour every second of the day is a slot."""
    slots = plan(Window(0.5, 0.5 + DAY), DAY, Fraction(3600))
    assert [slot.instant for slot in slots] == list(range(1, DAY + 1))


def test_rates() -> None:
    """A rate is a number or a fraction; what no grid can hold is refused."""
    assert (parse_rate("4"), parse_rate("0.5"), parse_rate("1/3")) == (Fraction(4), Fraction(1, 2), Fraction(1, 3))
    for bad in ("0", "-1", "3601", "many", "", "1/0", "nan", "inf", "1e-9"):
        with pytest.raises(InvalidInput, match="videos-per-hour"):
            parse_rate(bad)
