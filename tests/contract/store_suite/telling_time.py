"""The store's time."""

from __future__ import annotations

from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import QUEUE, a_claim, new
from tests.contract.store_suite.shared import OpenStore, Suite, ids, take


class TimeSuite(Suite):
    """The store's own time."""

    def test_time_follows_the_clock(self, store: JobStore, clock: ManualClock) -> None:
        """While the clock goes forwards the store's time is the clock's."""
        assert store.now() == clock.now()
        clock.advance(12.5)
        assert store.now() == clock.now()

    def test_time_goes_on_when_the_clock_steps_back(self, store: JobStore, clock: ManualClock) -> None:
        """A clock that steps backwards does not take the store with it: it goes on at half speed until caught up."""
        clock.advance(100)
        store.add(QUEUE, new("a"))
        said = store.now()
        clock.advance(-50)
        assert store.now() == said
        store.add(QUEUE, new("b"))
        assert store.require("b").added_at == said
        clock.advance(50)
        assert store.now() == said + 25
        clock.advance(50)
        assert store.now() == said + 50 == clock.now()
        clock.advance(1)
        assert store.now() == clock.now()

    def test_time_that_was_only_read_stands_too(self, store: JobStore, clock: ManualClock) -> None:
        """The store never says an earlier time than it said before, also where nothing was written in between."""
        said = store.now()
        clock.advance(100)
        assert store.now() == said + 100
        clock.advance(-50)
        assert store.now() == said + 100

    def test_time_is_shared(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Of two handles with different clocks, the later one's writes set the time of both."""
        ahead, behind = open_store(ManualClock(clock.now() + 500)), open_store(clock)
        ahead.add(QUEUE, new("a"))
        assert behind.now() == clock.now() + 500
        assert take(behind).lease is not None
        behind.add(QUEUE, new("b"))
        assert behind.require("b").added_at == clock.now() + 500

    def test_time_outlives_the_handle(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Reopened with a clock that is behind, the store's time goes on from where it was."""
        store = open_store(clock)
        store.add(QUEUE, new("a"))
        said = store.now()
        store.close()
        assert open_store(ManualClock(said - 1000)).now() == said

    def test_a_step_back_hands_out_nothing_early_and_loses_nothing(self, store: JobStore, clock: ManualClock) -> None:
        """While the clock is behind, due jobs are handed out, leases hold, later jobs wait, and none for ever."""
        store.add(QUEUE, [*new("a", "b"), *new("later", due=clock.now() + 10)])
        take(store)
        clock.advance(-1000)
        claim = store.claim(a_claim())
        assert ids(claim.records) == ["b"]
        clock.advance(19)
        assert store.claim(a_claim()).records == ()
        clock.advance(2)
        assert ids(store.claim(a_claim()).records) == ["later"]
