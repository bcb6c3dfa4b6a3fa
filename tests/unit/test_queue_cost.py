"""Prices of queue backends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.cli.cost import pace
from tenxsom_flow_engine.jobs import JobRecord, lifecycle
from tenxsom_flow_engine.report.queue_cost import REDIS_USD, TYPICAL, Load, choices, measure, queue_cost
from tenxsom_flow_engine.store.totals import Spent
from tenxsom_flow_engine.testing.samples import a_job


def video_record(steps: int, prompt: str = "") -> JobRecord:
    """Return the record of a video that took a number of deliveries."""
    from msgspec.structs import replace

    record = lifecycle.add(a_job(prompt=prompt), queue="q", nonce="n", now=0.0, due=0.0)
    return replace(record, seq=steps)


def test_the_free_million_is_free() -> None:
    """96 videos a day cost nothing on Cloud Tasks."""
    month = queue_cost(TYPICAL, 96, REDIS_USD)
    assert month.cloud_tasks_usd == 0.0
    assert month.operations == pytest.approx(96 * 14 * 2 * 30.4375)


def test_operations_above_the_free_million_are_priced() -> None:
    """Ten thousand videos a day with twenty steps each take 12.2 million operations a month; a million are free."""
    month = queue_cost(Load(steps=20, units=1.0, measured=5), 10_000, 36.0)
    assert month.operations == pytest.approx(12_175_000)
    assert month.cloud_tasks_usd == pytest.approx(4.47)


def test_steps_are_measured_on_finished_videos() -> None:
    """The deliveries of finished videos count; a task counts once for each 32 KB or part of it."""
    assert measure([]) == TYPICAL
    load = measure([video_record(10), video_record(30)])
    assert (load.steps, load.units, load.measured, load.operations) == (20, 1, 2, 40)
    assert measure([video_record(10, prompt="\N{GRINNING FACE}" * 9000)]).units == 2


@given(st.floats(1, 100), st.floats(1, 3), st.floats(0, 1000))
def test_at_the_break_even_both_cost_the_same(steps: float, units: float, redis_usd: float) -> None:
    """Below the break-even Cloud Tasks is cheaper, at it both cost the same."""
    load = Load(steps, units, measured=1)
    month = queue_cost(load, 96, redis_usd)
    at = queue_cost(load, month.break_even, redis_usd)
    assert at.cloud_tasks_usd == pytest.approx(redis_usd, abs=1e-6)
    assert queue_cost(load, month.break_even * 0.9, redis_usd).cloud_tasks_usd <= redis_usd


def test_cloud_tasks_is_compared_with_its_store() -> None:
    """Cloud Tasks needs a store as well, so it never costs less than that store alone."""
    month = queue_cost(Load(steps=20, units=1.0, measured=5), 10_000, 36.0)
    found = {(one.queue_type, one.store): one.usd for one in choices(month, 10.0)}
    assert found == {
        ("local", "sqlite"): 10.0,
        ("cloud_tasks", "sqlite"): pytest.approx(14.47),
        ("redis", "redis"): 36.0,
        ("cloud_tasks", "redis"): pytest.approx(40.47),
    }
    assert [one.usd for one in choices(month)] == pytest.approx([0.0, 4.47, 36.0, 40.47])


def test_the_rate_counts_from_the_first_purchase() -> None:
    """The daily rate is taken over the days since the first purchase, not over thirty days."""
    spent = [Spent("2027-06-30", "alpha", 6, 0.0, 0.0, 0), Spent("2027-07-01", "beta", 3, 0.0, 0.0, 0)]
    assert pace(spent, "2027-07-02") == 3.0
    assert pace([], "2027-07-02") == 0.0
