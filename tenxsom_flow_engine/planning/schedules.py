"""The slots of a schedule, and the next jobs to plan: the same on every machine and in every run.

The slots of a day are those of a day that is planned by hand (see `planning.slots`): the first `daily_count` slots of
the grid in the local day, from its start time. So a start time that the clocks skip is moved, and one that they repeat
is the first of both.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from tenxsom_flow_engine.channels.schedules import NEVER, NEXT_SLOT, CatchUp, PendingJob, Schedule, StartBy, check_name
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.periods import DAY, window
from tenxsom_flow_engine.planning.slots import Slot, check_count, grid, parse_rate, slot_job_id
from tenxsom_flow_engine.planning.timestamps import parse_time_of_day

#: Jobs planned in one change of a schedule.
BATCH_JOBS = 200
#: Slots that were missed longer ago are neither made up for nor counted.
MISSED_DAYS = 31
#: Two slots of a schedule are at most this many days apart, unless its zone skips days.
NEXT_DAYS = 9
#: How far the end of a list of topics is predicted.
PREDICTED_DAYS = 366

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class ScheduleTerms:
    """The choices of a user for a schedule."""

    channel: str
    daily_count: int
    videos_per_hour: str
    days: tuple[int, ...] = tuple(range(7))
    zone: str = "UTC"
    start: str = ""
    #: Seconds, `NEXT_SLOT` or `NEVER`; None: the default of `catch_up`.
    start_by: StartBy | None = None
    catch_up: CatchUp = CatchUp.NONE
    repeat: bool = False


def new_schedule(name: str, terms: ScheduleTerms, fields: dict[str, Any], topics: int | None, now: float) -> Schedule:
    """Return a schedule that begins now. Raises `InvalidInput`.

    By default a job expires one slot interval after its slot; if only the latest missed slot is made up for, when the
    next slot begins; and if all are, never.
    """
    rate = parse_rate(terms.videos_per_hour)
    if terms.start and parse_time_of_day(terms.start, "start") is None:
        raise InvalidInput("start", f"{terms.start[:40]!r} is not a time of day such as 18:00")
    start = terms.start.strip()
    usual: dict[CatchUp, StartBy] = {
        CatchUp.NONE: float(3600 / rate), CatchUp.LATEST: NEXT_SLOT, CatchUp.ALL: NEVER,
    }  # fmt: skip
    start_by = usual[terms.catch_up] if terms.start_by is None else terms.start_by
    check_count(window(now, day="today", zone=terms.zone, start=start or None), terms.daily_count, rate)
    return Schedule(
        name=check_name(name),
        stamp=secrets.token_hex(3),
        channel=terms.channel,
        created_at=now,
        daily_count=terms.daily_count,
        videos_per_hour=terms.videos_per_hour.strip(),
        days=terms.days,
        zone=terms.zone,
        start=start,
        fields=fields,
        start_by=float(start_by) if isinstance(start_by, int) else start_by,
        catch_up=terms.catch_up,
        topics=topics,
        repeat=terms.repeat,
        planned_until=now,
    )


def parse_days(text: str) -> tuple[int, ...]:
    """Parse days of the week: `mon-fri`, `sat,sun`, `fri-mon`. Monday is 0. Raises `InvalidInput`."""
    found: set[int] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        try:
            begin, end = DAYS.index(first), DAYS.index(last if dash else first)
        except ValueError:
            step = f"write for example mon-fri, or sat,sun; days are {', '.join(DAYS)}"
            raise InvalidInput("days", f"{text[:40]!r} does not name days of the week", next_step=step) from None
        found.update((begin + number) % 7 for number in range((end - begin) % 7 + 1))
    return tuple(sorted(found))


def days_text(days: Collection[int]) -> str:
    """Format days of the week as `parse_days` reads them."""
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(
        "-".join(dict.fromkeys((DAYS[run[0]], DAYS[run[-1]]))) if len(run) > 2 else ",".join(DAYS[day] for day in run)
        for run in runs
    )


def slots_between(schedule: Schedule, begin: float, end: float) -> Iterator[Slot]:
    """Yield the slots of a schedule from an instant to another (exclusive), in order."""
    rate, zone = parse_rate(schedule.videos_per_hour), ZoneInfo(schedule.zone)
    day = datetime.fromtimestamp(begin, zone).date() - timedelta(days=1)
    last = datetime.fromtimestamp(end, zone).date() + timedelta(days=1)
    while day <= last:
        if day.weekday() in schedule.days:
            for slot in _of_day(schedule, day, rate):
                if begin <= slot.instant < end:
                    yield slot
        day += timedelta(days=1)


def _of_day(schedule: Schedule, day: date, rate: Fraction) -> Sequence[Slot]:
    try:
        span = window(0.0, day=day.isoformat(), zone=schedule.zone, start=schedule.start or None)
    except InvalidInput:  # the zone's calendar skipped the day, or the clocks skip from its start to the next day
        return []
    return grid(span, rate)[: schedule.daily_count]


def plan_ahead(
    schedule: Schedule, now: float, until: float, has_job: Callable[[Sequence[int]], Collection[int]]
) -> Schedule:
    """Return a schedule with the jobs for its next slots before `until` as pending; unchanged if there are none.

    `has_job` returns the instants that have a job already: slots that were planned before the clock of the store was
    set back, or by hand. They take no topic. A schedule without a topic stays where it is.
    """
    begin = schedule.planned_until
    if begin > until:  # the clock was ahead, or the horizon longer
        begin = now
    slots = list(slots_between(schedule, max(begin, now - MISSED_DAYS * DAY), until))
    late = [slot for slot in slots if slot.instant < now]
    # Without catching up, reading the job of each is not worth its time.
    free = late if schedule.catch_up is CatchUp.NONE else _without_job(late, has_job)
    made_up = schedule.catch_up.choose(free)[:BATCH_JOBS]
    missed = [slot for slot in late if not made_up or slot.instant < made_up[0].instant]
    ahead = [slot for slot in slots if slot.instant >= now][: BATCH_JOBS - len(made_up)]
    chosen = [*made_up, *_without_job(ahead, has_job)]
    left = schedule.topics_left
    pending = [
        PendingJob(
            slot_job_id(schedule.key, slot.instant),
            float(slot.instant),
            schedule.next_topic + number,
            latest_start(schedule, max(now, slot.instant)),
        )
        for number, slot in enumerate(chosen if left is None else chosen[:left])
    ]
    # A slot without a topic is planned later, if it gets one in time.
    if len(pending) < len(chosen):
        done = [slot for slot in (*missed, *made_up, *ahead) if slot.instant < chosen[len(pending)].instant]
    else:
        done = [*missed, *made_up, *ahead]
    if not done:
        return schedule
    lost = set(missed) & set(free)
    return replace(
        schedule,
        pending=tuple(pending),
        next_topic=schedule.next_topic + len(pending),
        planned_until=float(done[-1].instant + 1),
        missed=schedule.missed + len(lost),
    )


def _without_job(slots: Sequence[Slot], has_job: Callable[[Sequence[int]], Collection[int]]) -> list[Slot]:
    taken = has_job([slot.instant for slot in slots]) if slots else ()
    return [slot for slot in slots if slot.instant not in taken]


def plan_now(schedule: Schedule, now: float) -> Schedule:
    """Return a schedule with one more pending job, which has the next topic and is due now. Raises `InvalidInput`."""
    if schedule.topics_left == 0:
        raise InvalidInput("topics", f"the schedule {schedule.name} has none left", next_step="add topics to its list")
    job_id = f"{slot_job_id(schedule.key, int(now))}-now-{schedule.next_topic}"
    job = PendingJob(job_id, now, schedule.next_topic, latest_start(schedule, now))
    return replace(schedule, pending=(*schedule.pending, job), next_topic=schedule.next_topic + 1)


def with_topics(schedule: Schedule, count: int) -> Schedule:
    """Return a schedule whose list has `count` more topics. Raises `InvalidInput` if it has the built-in ones."""
    if schedule.topics is None:
        raise InvalidInput("topics", f"the schedule {schedule.name} uses the built-in topics, not a list")
    place = schedule.next_topic % schedule.topics if schedule.repeat and schedule.topics else schedule.next_topic
    return replace(schedule, topics=schedule.topics + count, next_topic=place)


def latest_start(schedule: Schedule, due: float) -> float | None:
    """Return until when a job that is due at an instant can start; None: at any time."""
    if schedule.start_by == NEVER:
        return None
    if schedule.start_by == NEXT_SLOT:
        following = next(slots_between(schedule, due + 1, due + NEXT_DAYS * DAY), None)
        return float(following.instant) if following else due + NEXT_DAYS * DAY
    assert isinstance(schedule.start_by, float)
    return due + schedule.start_by


def next_slots(schedule: Schedule, now: float, count: int) -> list[Slot]:
    """Return the next slots from an instant on."""
    return list(islice(slots_between(schedule, now, now + count * NEXT_DAYS * DAY), count))


def unplanned(schedule: Schedule, now: float, seconds: float) -> int:
    """Count the slots of the next `seconds` that need a topic, because they are not planned yet."""
    begin = max(now, schedule.planned_until)
    return sum(1 for _ in slots_between(schedule, begin, now + seconds)) if begin < now + seconds else 0


def runs_out_at(schedule: Schedule, now: float) -> float | None:
    """Return the instant of the first slot without a topic; None: not within a year."""
    left = schedule.topics_left
    if left is None:
        return None
    begin = max(now, schedule.planned_until)
    slots = slots_between(schedule, begin, begin + PREDICTED_DAYS * DAY)
    first = next(islice(slots, left, None), None)
    return float(first.instant) if first else None
