"""Simulate some days of two channels with schedules in the store, through a clock change and an outage of all workers.

Planner, store, queue, limiter, budgets and the maintenance of workers are the engine's. `week_results` has the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec import structs

from benchmarks.day.results import WindowUse, window_uses
from benchmarks.day.simulate import Parts, open_parts
from benchmarks.day.worker import Worker
from tenxsom_flow_engine.budgets import parse_budget
from tenxsom_flow_engine.channels.schedules import CatchUp, Schedule
from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.operations.schedules import add_schedule
from tenxsom_flow_engine.planning.schedules import ScheduleTerms, new_schedule
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock

ZONE = ZoneInfo("Europe/Berlin")
#: Seconds between two rounds of a worker's chores. Real ones are 10 seconds apart, which would take six times as long.
CHORES = 60.0
#: Seconds after the last day for the videos of its last slots.
EXTRA_TIME = 2 * 3600.0
PAGE_JOBS = 500
WEEKDAYS, ALL_DAYS = (0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5, 6)


@dataclass(frozen=True, slots=True)
class ChannelTerms:
    """A channel and its schedule: `daily_count` slots a day, one an hour from the hour `start` on."""

    name: str
    daily_count: int
    start: int
    days: tuple[int, ...]
    weight: float
    catch_up: CatchUp
    #: USD a day.
    budget: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """Days to simulate, and the outage of all workers in them. Dates and times are those of `ZONE`."""

    name: str
    first_day: date
    days: int
    #: In ISO 8601.
    outage_begins: str
    outage_ends: str
    channels: tuple[ChannelTerms, ...]

    @property
    def begin(self) -> float:
        """The first midnight, in seconds since 1970."""
        return midnight(self.first_day)

    @property
    def end(self) -> float:
        """The last midnight."""
        return midnight(self.first_day + timedelta(days=self.days))

    @property
    def outage(self) -> tuple[float, float]:
        """When the outage begins and ends, in seconds since 1970."""
        return _parse(self.outage_begins), _parse(self.outage_ends)

    @property
    def dates(self) -> Sequence[date]:
        """The days."""
        return [self.first_day + timedelta(days=number) for number in range(self.days)]


@dataclass(frozen=True, slots=True)
class Week:
    """The result of simulated days: schedules and jobs by channel, and the creates that the vendors received."""

    scenario: Scenario
    schedules: Mapping[str, Schedule]
    records: Mapping[str, Sequence[JobRecord]]
    #: When each create was received, in seconds since 1970, and its reference.
    creates: Sequence[tuple[float, str]]
    #: The references of all videos sold.
    sold: Sequence[str]
    windows: Sequence[WindowUse]
    #: Creates that arrived while all slots of the vendor were taken.
    overbooked: int


#: The clocks of `ZONE` skip an hour on 2027-03-28, a Sunday.
BEFORE_THE_CHANGE = Scenario(
    "outage before the clock change",
    date(2027, 3, 22),
    7,
    "2027-03-23 18:00",
    "2027-03-25 18:00",
    (
        ChannelTerms("fun", 24, 0, ALL_DAYS, 2.0, CatchUp.NONE, 4.00),
        ChannelTerms("news", 12, 6, WEEKDAYS, 1.0, CatchUp.LATEST, 2.00),
    ),
)
OVER_THE_CHANGE = Scenario(
    "outage over the clock change",
    date(2027, 3, 25),
    7,
    "2027-03-27 12:00",
    "2027-03-29 12:00",
    (
        ChannelTerms("fun", 24, 0, ALL_DAYS, 2.0, CatchUp.ALL, 7.00),
        ChannelTerms("news", 12, 6, ALL_DAYS, 1.0, CatchUp.ALL, 3.00),
    ),
)
SCENARIOS = (BEFORE_THE_CHANGE, OVER_THE_CHANGE)


def instant(local: datetime) -> float:
    """Return the instant of a local time, in seconds since 1970; the first one if clocks show it twice."""
    return local.replace(tzinfo=ZONE).timestamp()


def _parse(local: str) -> float:
    return instant(datetime.fromisoformat(local))


def midnight(day: date) -> float:
    """Return when a day begins, in seconds since 1970."""
    return instant(datetime.combine(day, time()))


def simulate_week(
    scenario: Scenario,
    folder: Path,
    *,
    services: Sequence[str],
    environment: Mapping[str, str],
    seed: int,
    chores: float = CHORES,
    open_store_with: Callable[[ManualClock], JobStore] | None = None,
) -> Week:
    """Simulate the days of a scenario. `chores` are the seconds between two rounds of a worker's chores."""
    with open_parts(
        folder,
        scenario.begin,
        services=services,
        environment=environment,
        seed=seed,
        open_store_with=open_store_with,
    ) as parts:
        _add_channels(parts, scenario)
        outage_begins, outage_ends = scenario.outage
        with _worker(parts, chores) as worker:
            worker.run(outage_begins)
        parts.clock.set(max(outage_ends, parts.clock.now()))
        with _worker(parts, chores) as worker:
            worker.run(scenario.end + EXTRA_TIME)
        store = parts.engine.store
        names = [terms.name for terms in scenario.channels]
        return Week(
            scenario,
            {name: store.require_schedule(name) for name in names},
            {name: _records(store, name) for name in names},
            sorted(create for vendor in parts.vendors.values() for create in vendor.received),
            [sale.reference for vendor in parts.vendors.values() for sale in vendor.sold.values()],
            list(window_uses(parts.engine.settings.limits, parts.vendors)),
            sum(vendor.overbooked for vendor in parts.vendors.values()),
        )


@contextmanager
def _worker(parts: Parts, chores: float) -> Iterator[Worker]:
    worker = Worker(parts.engine, parts.clock, parts.threads, chores=chores)
    worker.start()
    yield worker
    worker.stop()


def _add_channels(parts: Parts, scenario: Scenario) -> None:
    """Set the channels and their budgets, and keep their schedules, each with a topic for every slot and more."""
    store = parts.engine.store
    for terms in scenario.channels:
        settings = Channel(weight=terms.weight)
        store.set_channel(terms.name, lambda _, settings=settings: settings)  # type: ignore[misc]
        scope = f"channel:{terms.name}"
        store.set_budget(scope, parse_budget(scope, f"{terms.budget:.2f}/d {ZONE.key}"))
        topics = [f"{terms.name}, topic {number}" for number in range(terms.daily_count * (scenario.days + 2))]
        choices = ScheduleTerms(
            terms.name,
            terms.daily_count,
            "1",
            days=terms.days,
            zone=ZONE.key,
            start=f"{terms.start:02}:00",
            catch_up=terms.catch_up,
        )
        schedule = new_schedule(terms.name, choices, {}, len(topics), store.now())
        # The random stamp is part of the jobs' ids, from which waits are spread: the same seed must give the same week.
        schedule = structs.replace(schedule, stamp="week")
        add_schedule(parts.engine, schedule, [{"topic": topic} for topic in topics])


def _records(store: JobStore, channel: str) -> Sequence[JobRecord]:
    return [record for page in store.pages(JobFilter(channel=channel), limit=PAGE_JOBS) for record in page.records]
