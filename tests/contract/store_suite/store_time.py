"""Tests of the store's time."""

from __future__ import annotations

from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import QUEUE, a_claim, new
from tests.contract.store_suite.shared import OpenStore, Suite, ids, take


class TimeSuite(Suite):
    """The store's time."""

    def test_time_follows_the_clock(self, store: JobStore, clock: ManualClock) -> None:
        """While the clock moves forward, the store's time is the clock's."""
        assert store.now() == clock.now()
        clock.advance(12.5)
        assert store.now() == clock.now()

    def test_time_continues_when_the_clock_steps_back(self, store: JobStore, clock: ManualClock) -> None:
        """When the clock steps back, the store's time continues at half speed until the clock has caught up."""
        clock.advance(100)
        store.add(QUEUE, new("a"))
        first = store.now()
        clock.advance(-50)
        assert store.now() == first
        store.add(QUEUE, new("b"))
        assert store.require("b").added_at == first
        clock.advance(50)
        assert store.now() == first + 25
        clock.advance(50)
        assert store.now() == first + 50 == clock.now()
        clock.advance(1)
        assert store.now() == clock.now()

    def test_time_that_was_only_read_counts_too(self, store: JobStore, clock: ManualClock) -> None:
        """The store never returns an earlier time than before, even if nothing was written in between."""
        first = store.now()
        clock.advance(100)
        assert store.now() == first + 100
        clock.advance(-50)
        assert store.now() == first + 100

    def test_time_is_shared(self, open_store: OpenStore, clock: ManualClock) -> None:
        """If two handles have different clocks, a write of the later one sets the time of both."""
        ahead, behind = open_store(ManualClock(clock.now() + 500)), open_store(clock)
        ahead.add(QUEUE, new("a"))
        assert behind.now() == clock.now() + 500
        assert take(behind).lease is not None
        behind.add(QUEUE, new("b"))
        assert behind.require("b").added_at == clock.now() + 500

    def test_time_outlives_the_handle(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Reopened with a clock that is behind, the store's time continues from its latest instant."""
        store = open_store(clock)
        store.add(QUEUE, new("a"))
        first = store.now()
        store.close()
        assert open_store(ManualClock(first - 1000)).now() == first

    def test_a_step_back_leases_nothing_early_and_loses_nothing(self, store: JobStore, clock: ManualClock) -> None:
        """While the clock is behind, due jobs are leased, leases hold, later jobs wait, and none waits for ever."""
        store.add(QUEUE, [*new("a", "b"), *new("later", due=clock.now() + 10)])
        take(store)
        clock.advance(-1000)
        claim = store.claim(a_claim())
        assert ids(claim.records) == ["b"]
        clock.advance(19)
        assert store.claim(a_claim()).records == ()
        clock.advance(2)
        assert ids(store.claim(a_claim()).records) == ["later"]
