"""Runs the steps of jobs on an engine with a pull queue and a manual clock, as a worker would."""

from __future__ import annotations

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.testing.clock import ManualClock


def step(engine: Engine, times: int = 1) -> JobRecord:
    """Run the next steps of the job `a`."""
    assert isinstance(engine.queue, PullsJobs)
    assert isinstance(engine.clock, ManualClock)
    for _ in range(times):
        due = engine.store.require("a").due
        assert due is not None
        engine.clock.set(max(due, engine.clock.now() + 1.0))
        (record,) = engine.queue.claim("w-7", 1, engine.slots, auto_services=engine.auto_services).records
        engine.step(record)
    return engine.store.require("a")


def step_due(engine: Engine) -> None:
    """Let a minute pass, and run the next step of the jobs that are due, up to three."""
    assert isinstance(engine.queue, PullsJobs)
    assert isinstance(engine.clock, ManualClock)
    engine.clock.advance(60.0)
    for record in engine.queue.claim("w", 3, engine.slots, auto_services=engine.auto_services).records:
        engine.step(record)
