"""Schedules: their days, slots, catching up and topics."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tenxsom_flow_engine.channels.schedules import (
    NEVER,
    NEXT_SLOT,
    CatchUp,
    PendingJob,
    Schedule,
    check_name,
    decode_schedule,
    encode_schedule,
)
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.schedules import (
    BATCH_JOBS,
    ScheduleTerms,
    days_text,
    latest_start,
    new_schedule,
    next_slots,
    parse_days,
    plan_ahead,
    plan_now,
    runs_out_at,
    slots_between,
    unplanned,
    with_topics,
)

HOUR, DAY = 3600.0, 86400.0
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> float:
    """Return an instant, by default in UTC."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


#: A Monday.
NOW = at("2026-11-30T06:30")


def hourly(count: int = 24, *, topics: int | None = None, now: float = NOW, **terms: Any) -> Schedule:
    """Return a schedule of a video an hour."""
    return new_schedule("fun", ScheduleTerms("fun", count, "1", **terms), {}, topics, now)


def none(instants: Sequence[int]) -> Collection[int]:
    """Know no job."""
    return ()


def shown(schedule: Schedule, begin: str, end: str, zone: ZoneInfo = BERLIN) -> list[str]:
    """Return the local times of the slots between two instants."""
    slots = slots_between(schedule, at(begin), at(end))
    return [f"{datetime.fromtimestamp(slot.instant, zone):%d %H:%M}" for slot in slots]


def hours(schedule: Schedule) -> list[str]:
    """Return the times of the pending jobs in UTC."""
    return [f"{datetime.fromtimestamp(job.due, UTC):%d %H:%M}" for job in schedule.pending]


def run(schedule: Schedule, now: float, horizon: float = DAY) -> Schedule:
    """Plan as often as there is something to plan; return the schedule with all jobs still pending."""
    pending: list[Any] = []
    while (after := plan_ahead(schedule, now, now + horizon, none)) != schedule:
        pending += after.pending
        schedule = replace(after, pending=())
    return replace(schedule, pending=tuple(pending))


@pytest.mark.parametrize(
    ("text", "days", "formatted"),
    [
        ("mon-fri", (0, 1, 2, 3, 4), "mon-fri"),
        ("sat,sun", (5, 6), "sat,sun"),
        ("Fri-Mon", (0, 4, 5, 6), "mon,fri-sun"),
        ("mon, wed ,fri", (0, 2, 4), "mon,wed,fri"),
        ("mon-sun", (0, 1, 2, 3, 4, 5, 6), "mon-sun"),
        ("wed", (2,), "wed"),
    ],
)
def test_days_of_the_week(text: str, days: tuple[int, ...], formatted: str) -> None:
    """Days are names and ranges, which can pass the end of the week; they are shown in one form."""
    assert parse_days(text) == days
    assert days_text(days) == formatted
    assert parse_days(formatted) == days


@pytest.mark.parametrize("text", ["", "monday", "mon-", "mon;tue", "0-4", "mon--fri"])
def test_unknown_days_are_refused(text: str) -> None:
    """A text that names no days is refused with an example."""
    with pytest.raises(InvalidInput, match="does not name days"):
        parse_days(text)


def test_a_local_time_stays_over_clock_changes() -> None:
    """A video at 18:00 in Berlin is at 18:00 before and after both changes of the clocks."""
    schedule = hourly(1, start="18:00", zone="Europe/Berlin")
    assert shown(schedule, "2026-10-23", "2026-10-27") == ["23 18:00", "24 18:00", "25 18:00", "26 18:00"]
    assert shown(schedule, "2027-03-27", "2027-03-30") == ["27 18:00", "28 18:00", "29 18:00"]
    instants = [slot.instant for slot in slots_between(schedule, at("2026-10-24"), at("2026-10-27"))]
    assert [later - before for before, later in pairwise(instants)] == [25 * HOUR, 24 * HOUR]


def test_days_join_over_clock_changes() -> None:
    """Days of 23, 24 and 25 hours join without overlap; the day of 25 hours keeps its 24 videos."""
    schedule = hourly(zone="Europe/Berlin")
    spring = shown(schedule, "2027-03-27T23:00", "2027-03-28T22:00")
    assert (len(spring), "28 02:00" in spring, spring[2]) == (23, False, "28 03:00")
    autumn = [slot.instant for slot in slots_between(schedule, at("2026-10-24T22:00"), at("2026-10-25T23:00"))]
    assert len(autumn) == len(set(autumn)) == 24
    assert len(list(slots_between(schedule, at("2026-10-23T22:00"), at("2026-10-26T23:00")))) == 72


def test_a_start_that_the_clocks_skip_is_moved() -> None:
    """A start of 02:30 begins at 03:30 on the day without that hour, and once on the day that has it twice."""
    schedule = new_schedule("fun", ScheduleTerms("fun", 1, "2", zone="Europe/Berlin", start="02:30"), {}, None, NOW)
    assert shown(schedule, "2027-03-26T22:00", "2027-03-29T22:00") == ["27 02:30", "28 03:30", "29 02:30"]
    assert shown(schedule, "2026-10-23T22:00", "2026-10-26T22:00") == ["24 02:30", "25 02:30", "26 02:30"]


def test_days_are_those_of_the_zone() -> None:
    """The days of the week are the local ones: a Saturday in Auckland begins on Friday in UTC."""
    schedule = hourly(2, days=(5,), zone="Pacific/Auckland")
    slots = next_slots(schedule, NOW, 4)
    assert [f"{datetime.fromtimestamp(slot.instant, UTC):%a %d %H:%M}" for slot in slots] == [
        "Fri 04 11:00", "Fri 04 12:00", "Fri 11 11:00", "Fri 11 12:00"
    ]  # fmt: skip


def test_a_day_that_a_calendar_skipped_has_no_slots() -> None:
    """Samoa had no 30 December 2011: the slots continue on the next day."""
    schedule = hourly(1, start="12:00", zone="Pacific/Apia", now=at("2011-12-28"))
    days = shown(schedule, "2011-12-28", "2012-01-01", ZoneInfo("Pacific/Apia"))
    assert days == ["28 12:00", "29 12:00", "31 12:00", "01 12:00"]


def test_the_next_day_is_planned_once() -> None:
    """Slots up to the horizon are planned, each with its own topic and id; planning again later adds only new ones."""
    first = run(hourly(topics=100), NOW)
    assert hours(first) == [f"30 {hour:02}:00" for hour in range(7, 24)] + [f"01 {hour:02}:00" for hour in range(7)]
    assert [job.place for job in first.pending] == list(range(24))
    assert first.pending[0].job_id == f"fun-{first.stamp}-20261130T070000Z"
    assert plan_ahead(first, NOW, NOW + DAY, none) == first
    later = run(replace(first, pending=()), NOW + 2 * HOUR)
    assert hours(later) == ["01 07:00", "01 08:00"]
    assert [job.place for job in later.pending] == [24, 25]
    assert later.missed == 0


def outage(catch_up: CatchUp, *, topics: int | None = 500, **terms: Any) -> tuple[Schedule, float]:
    """Return what is planned after two days without a planner, with the time then."""
    before = replace(run(hourly(catch_up=catch_up, topics=topics, **terms), NOW), pending=())
    return run(before, NOW + 2 * DAY), NOW + 2 * DAY


def test_missed_slots_are_left_out() -> None:
    """Without catching up, an outage buys nothing later: the missed slots are counted, and take no topic."""
    after, now = outage(CatchUp.NONE)
    assert all(job.due >= now for job in after.pending)
    assert (len(after.pending), after.missed) == (24, 24)
    assert [job.place for job in after.pending] == list(range(24, 48))


def test_the_latest_missed_slot_is_made() -> None:
    """With `latest`, one missed slot is made now, until the next one; the others are counted."""
    after, now = outage(CatchUp.LATEST)
    assert hours(after)[:2] == ["02 06:00", "02 07:00"]
    assert after.pending[0].start_by == at("2026-12-02T07:00") > now
    assert after.pending[1].start_by == at("2026-12-02T08:00")
    assert (len(after.pending), after.missed) == (25, 23)


def test_all_missed_slots_are_made() -> None:
    """With `all`, each missed slot is made, in order, and no job expires."""
    after, _ = outage(CatchUp.ALL)
    assert (len(after.pending), after.missed) == (48, 0)
    assert hours(after)[0] == "01 07:00"
    assert {job.start_by for job in after.pending} == {None}


def test_a_long_outage_is_made_up_in_parts() -> None:
    """More slots than one change can have are planned by several, each slot once."""
    before = replace(run(hourly(catch_up=CatchUp.ALL), NOW), pending=())
    once = plan_ahead(before, NOW + 30 * DAY, NOW + 31 * DAY, none)
    assert len(once.pending) == BATCH_JOBS
    whole = run(before, NOW + 30 * DAY)
    assert len({job.due for job in whole.pending}) == len(whole.pending) == 30 * 24


def test_the_latest_start() -> None:
    """By default a job can start for one slot interval; a schedule can choose a time, the next slot, or no end."""
    assert latest_start(hourly(), NOW) == NOW + HOUR
    assert latest_start(hourly(start_by=90.0), NOW) == NOW + 90
    assert latest_start(hourly(start_by=NEVER), NOW) is None
    weekly = hourly(1, days=(0,), start="09:00", start_by=NEXT_SLOT)
    assert latest_start(weekly, at("2026-11-30T09:00")) == at("2026-12-07T09:00")
    assert latest_start(hourly(catch_up=CatchUp.ALL, start_by=60.0), NOW) == NOW + 60


def test_slots_with_a_job_take_no_topic() -> None:
    """After the clock of the store was set back, slots that have a job are left out and the others planned."""
    ahead = replace(run(hourly(topics=100), NOW), pending=(), planned_until=NOW + 20 * DAY)
    taken = {int(at("2026-11-30T07:00")), int(at("2026-11-30T09:00"))}
    after = plan_ahead(ahead, NOW, NOW + 4 * HOUR, lambda instants: taken & set(instants))
    assert hours(after) == ["30 08:00", "30 10:00"]
    assert [job.place for job in after.pending] == [24, 25]
    assert after.planned_until < NOW + 4 * HOUR


def test_a_list_that_runs_out() -> None:
    """Slots get topics while there are some; a slot without one is planned when topics are added in time."""
    short = hourly(topics=3)
    assert runs_out_at(short, NOW) == at("2026-11-30T10:00")
    after = run(short, NOW)
    assert hours(after) == ["30 07:00", "30 08:00", "30 09:00"]
    assert (after.topics_left, unplanned(after, NOW, DAY)) == (0, 21)
    assert runs_out_at(after, NOW) == at("2026-11-30T10:00")
    after = replace(after, pending=())
    assert plan_ahead(after, NOW + HOUR, NOW + 25 * HOUR, none) == after
    late = plan_ahead(after, at("2026-11-30T11:30"), NOW + 30 * HOUR, none)
    assert (late.pending, late.missed) == ((), 2)
    more = run(with_topics(late, 1), at("2026-11-30T11:30"))
    assert hours(more) == ["30 12:00"]


def test_a_repeated_list_never_runs_out() -> None:
    """A repeated list begins again, and the built-in topics do, too."""
    for schedule in (hourly(topics=3, repeat=True), hourly()):
        assert schedule.topics_left is None
        assert runs_out_at(schedule, NOW) is None
        assert len(run(schedule, NOW).pending) == 24
    longer = with_topics(replace(hourly(topics=3, repeat=True), next_topic=7), 2)
    assert (longer.topics, longer.next_topic) == (5, 1)
    with pytest.raises(InvalidInput, match="built-in topics"):
        with_topics(hourly(), 2)


def test_a_job_now_takes_the_next_topic() -> None:
    """A job that is added by hand is due now, has the next topic, and another id than the one of its slot."""
    now = at("2026-11-30T07:00")
    planned = run(hourly(topics=4, now=now), now, 2 * HOUR)
    after = plan_now(planned, now)
    assert after.pending[-1].due == now
    assert [job.place for job in after.pending] == [0, 1, 2]
    again = plan_now(after, now)
    assert len({job.job_id for job in again.pending}) == 4
    with pytest.raises(InvalidInput, match="none left"):
        plan_now(again, now)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"daily_count": 0}, "daily-count"),
        ({"daily_count": 25}, "daily-count"),
        ({"videos_per_hour": "x"}, "videos-per-hour"),
        ({"zone": "Berlin"}, "timezone"),
        ({"start": "2026-11-30T08:00"}, "time of day"),
        ({"start": "18.30"}, "colon"),
        ({"start": "08:00+01:00"}, "time zone"),
    ],
)
def test_impossible_schedules_are_refused(changes: dict[str, Any], why: str) -> None:
    """A schedule that cannot be planned is refused with the name of the wrong value."""
    fields: dict[str, Any] = {"channel": "fun", "daily_count": 24, "videos_per_hour": "1"}
    with pytest.raises(InvalidInput, match=why):
        new_schedule("fun", ScheduleTerms(**fields | changes), {}, None, NOW)


def test_the_name_is_part_of_job_ids() -> None:
    """A name has only characters that a job's id can have."""
    assert check_name("Fun_facts-2") == "Fun_facts-2"
    for name in ("", "a b", "fun.facts", "x" * 41):
        with pytest.raises(InvalidInput, match="1 to 40 letters"):
            check_name(name)


COUNTS = st.integers(1, 24)


@given(
    count=COUNTS,
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    start=st.sampled_from(["", "02:30", "08:00", "23:00"]),
    days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    begin=st.integers(0, 400 * 24),
    steps=st.lists(st.integers(1, 60), max_size=12),
    catch_up=st.sampled_from(CatchUp),
)
def test_any_steps_plan_each_slot_at_most_once(
    count: int, zone: str, start: str, days: tuple[int, ...], begin: int, steps: list[int], catch_up: CatchUp
) -> None:
    """However long the pauses between two plans are, no slot and no topic is used twice, and `all` leaves none out."""
    now = NOW + begin * HOUR
    try:
        schedule = hourly(count, topics=10_000, now=now, zone=zone, start=start, days=days, catch_up=catch_up)
    except InvalidInput:  # too many for the rest of a day
        return
    first = now
    jobs: list[PendingJob] = []
    for step in [0, *steps]:
        now += step * HOUR
        schedule = run(schedule, now)
        jobs += schedule.pending
        schedule = replace(schedule, pending=())
    assert decode_schedule(encode_schedule(schedule)) == schedule
    instants = [int(job.due) for job in jobs]
    assert len(set(instants)) == len(instants)
    assert [job.place for job in jobs] == list(range(len(jobs)))
    slots = [slot.instant for slot in slots_between(schedule, first, now + DAY)]
    assert set(instants) <= set(slots)
    assert len(instants) + schedule.missed == len(slots)
    if catch_up is CatchUp.ALL:
        assert instants == slots
