"""Simulated days of two channels with schedules, over a clock change and an outage of all workers."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from benchmarks.day.week import ALL_DAYS, ChannelTerms, Scenario, Week, simulate_week
from benchmarks.day.week_results import Row, WeekResults
from tenxsom_flow_engine.channels.schedules import CatchUp
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.redis_server import RedisServer

#: Seconds between two rounds of chores: fewer rounds than real ones, so that the tests take seconds.
CHORES = 300.0


def simulated(folder: Path, fun: CatchUp, news: CatchUp, redis: RedisServer | None = None) -> Week:
    """Simulate three days with SQLite, or with a Redis server. The outage is longer than workers plan ahead."""

    def open_redis(clock: ManualClock) -> JobStore:
        assert redis is not None
        return RedisStore(redis.url, secrets.token_hex(6), clock)

    scenario = Scenario(
        "outage over the clock change",
        date(2027, 3, 27),
        3,
        "2027-03-27 03:00",
        "2027-03-28 09:00",
        (
            ChannelTerms("fun", 12, 0, ALL_DAYS, 2.0, fun, 2.50),
            # On the second day, the clocks skip its first hour.
            ChannelTerms("news", 6, 2, ALL_DAYS, 1.0, news, 1.20),
        ),
    )
    return simulate_week(
        scenario,
        folder,
        services=["pixverse"],
        environment={},
        seed=1,
        chores=CHORES,
        open_store_with=open_redis if redis else None,
    )


@pytest.fixture(scope="module")
def caught_up(tmp_path_factory: pytest.TempPathFactory) -> Week:
    """Days after which both channels have caught up."""
    return simulated(tmp_path_factory.mktemp("week"), CatchUp.ALL, CatchUp.ALL)


def broken(week: Week) -> Sequence[str]:
    """Return the broken checks of a week, with the reasons."""
    return [f"{check.name}: {reason}" for check in WeekResults(week).checks() for reason in check.broken]


def rows(week: Week, channel: str) -> Sequence[Row]:
    """Return the rows of a channel."""
    return [row for row in WeekResults(week).rows() if row.channel == channel]


def check_caught_up(week: Week) -> None:
    """Check days after which both channels have caught up."""
    assert broken(week) == []
    fun, news = rows(week, "fun"), rows(week, "news")
    assert [row.slots for row in (*fun, *news)] == [12, 12, 12, 6, 6, 6]
    assert sum(row.caught_up for row in fun) > 0
    assert sum(row.caught_up for row in news) > 0
    assert sum(row.skipped + row.expired for row in (*fun, *news)) == 0


def test_all_slots_are_caught_up(caught_up: Week) -> None:
    """After the outage both channels get their shares of the backlog, within their budgets, and no slot is lost."""
    check_caught_up(caught_up)


def test_all_slots_are_caught_up_on_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    """The same with a Redis server."""
    check_caught_up(simulated(tmp_path, CatchUp.ALL, CatchUp.ALL, redis_server))


def test_slots_are_left_out(tmp_path: Path) -> None:
    """What was planned before the outage expires; what was not is left out, or its latest slot is made late."""
    week = simulated(tmp_path, CatchUp.NONE, CatchUp.LATEST)
    assert broken(week) == []
    fun, news = rows(week, "fun"), rows(week, "news")
    assert sum(row.expired for row in fun) > 0
    assert sum(row.expired for row in news) > 0
    assert [row.caught_up for row in fun] == [0, 0, 0]
    assert [row.caught_up for row in news] == [0, 1, 0]
    assert fun[1].skipped > 0


def test_checks_find_what_is_broken(caught_up: Week) -> None:
    """A lost job, a doubled topic, a create in the outage, a second sale and a small budget are found."""
    week = caught_up
    fun, news = week.scenario.channels
    records = sorted(week.records["fun"], key=lambda record: record.job_id)

    lost = replace(week, records={**week.records, "fun": records[1:]})
    assert any("fun: 2027-03-27 00:00 is lost" in reason for reason in broken(lost))

    doubled = replace(week, records={**week.records, "fun": [*records, records[0]]})
    assert any("has 2 jobs" in reason for reason in broken(doubled))
    assert any("fun, topic 0 is used 2 times" in reason for reason in broken(doubled))

    begin, _ = week.scenario.outage
    early = replace(week, creates=[*week.creates, (begin + 1, week.creates[0][1])])
    assert any(reason.startswith("no create during the outage") for reason in broken(early))

    again = replace(week, sold=[*week.sold, week.sold[0]])
    assert any(reason.startswith("no job is bought twice") for reason in broken(again))

    poor = replace(week, scenario=replace(week.scenario, channels=(replace(fun, budget=0.50), news)))
    assert any("fun spent $" in reason for reason in broken(poor))

    equal = replace(week, scenario=replace(week.scenario, channels=(replace(fun, weight=0.1), news)))
    assert any(reason.startswith("shares by weight") for reason in broken(equal))
