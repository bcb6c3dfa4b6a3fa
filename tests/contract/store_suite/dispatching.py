"""Tests of the dispatch limits of a queue, over all its workers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenxsom_flow_engine.jobs.outcomes import Dead
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import DispatchLimits
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import FAILURE, QUEUE, a_claim, new
from tests.contract.store_suite.shared import OpenStore, Suite, ids, race, settle, take


class DispatchSuite(Suite):
    """The dispatch rate and concurrency of a queue."""

    @pytest.mark.parametrize(("rate", "burst"), [(50.0, 10), (10.0, 2), (3.0, 1), (0.5, 1)])
    def test_the_burst(self, store: JobStore, rate: float, burst: int) -> None:
        """After a pause, the steps of 0.2 s are dispatched at once, but at least one."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(20))))
        limits = DispatchLimits(rate, 1000)
        assert len(store.claim(a_claim(limits=limits)).records) == burst
        assert store.claim(a_claim(limits=limits)).records == ()

    def test_the_rate_over_several_handles(self, open_store: OpenStore, clock: ManualClock) -> None:
        """All handles together get at most burst and rate, and almost all of them."""
        handles = [open_store(clock) for _ in range(3)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(200))))
        limits = DispatchLimits(10.0, 1000)
        got = 0
        for tick in range(100):
            got += len(handles[tick % 3].claim(a_claim(limits=limits)).records)
            assert got <= 2 + tick
            clock.advance(0.1)
        assert got >= 98

    def test_an_unused_rate_is_not_saved_up(self, store: JobStore, clock: ManualClock) -> None:
        """After an idle hour, no more steps than the burst are dispatched at once."""
        limits = DispatchLimits(10.0, 1000)
        store.add(QUEUE, new(*(f"j{number}" for number in range(10))))
        assert len(store.claim(a_claim(limits=limits)).records) == 2
        clock.advance(3600)
        assert len(store.claim(a_claim(limits=limits, lease=1e6)).records) == 2

    def test_a_claim_that_takes_nothing_costs_no_token(self, store: JobStore, clock: ManualClock) -> None:
        """Only dispatched steps count against the rate."""
        limits = DispatchLimits(1.0, 1000)
        store.add(QUEUE, new("a", due=clock.now() + 10))
        for _ in range(5):
            assert store.claim(a_claim(limits=limits)).records == ()
        clock.advance(10)
        assert ids(store.claim(a_claim(limits=limits)).records) == ["a"]

    @pytest.mark.parametrize("rate", [0.3, 0.7, 1.0, 3.0, 7.0, 10.0, 33.0, 110.0])
    def test_claiming_at_again_at_finds_a_token(self, store: JobStore, clock: ManualClock, rate: float) -> None:
        """At the `again_at` of a claim refused by the rate, a step is dispatched, and well before it none."""
        request = a_claim(limits=DispatchLimits(rate, 1000), lease=1e6)
        store.add(QUEUE, new(*(f"j{number}" for number in range(40))))
        store.claim(request)
        for _ in range(10):
            now, again_at = clock.now(), store.claim(request).again_at
            assert again_at is not None
            assert now < again_at < now + 1 / rate + 0.001
            clock.set(now + (again_at - now) * 0.9)
            assert store.claim(request).records == ()
            clock.set(again_at)
            assert len(store.claim(request).records) == 1

    def test_the_concurrency_over_several_handles(self, open_store: OpenStore, clock: ManualClock) -> None:
        """No more steps run concurrently than allowed, over all handles; each that ends lets one start."""
        one, two = open_store(clock), open_store(clock)
        one.add(QUEUE, new(*(f"j{number}" for number in range(6))))
        limits = DispatchLimits(1e6, 3)
        first = one.claim(a_claim(limits=limits, count=2)).records
        assert len(two.claim(a_claim(limits=limits)).records) == 1
        assert one.claim(a_claim(limits=limits)).records == ()
        settle(two, first[0], Dead(FAILURE))
        assert len(two.claim(a_claim(limits=limits)).records) == 1

    def test_concurrency_ignores_other_queues(self, store: JobStore) -> None:
        """Steps of another queue do not count."""
        store.add("other", new("a"))
        store.add(QUEUE, new("b"))
        take(store, queue="other", limits=DispatchLimits(1e6, 1))
        assert take(store, limits=DispatchLimits(1e6, 1)).job_id == "b"

    def test_racing_claimers_keep_the_concurrency(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Twenty concurrent claimers get exactly as many steps as the concurrency limit allows."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(60))))
        request = a_claim(count=5, limits=DispatchLimits(1e6, 13))
        claims = race(20, lambda index: handles[index % 4].claim(request))
        assert sum(len(claim.records) for claim in claims) == 13

    def test_racing_claimers_keep_the_rate(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Twenty concurrent claimers get exactly the burst."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(60))))
        request = a_claim(count=5, limits=DispatchLimits(35.0, 1000))
        claims = race(20, lambda index: handles[index % 4].claim(request))
        assert sum(len(claim.records) for claim in claims) == 7

    def test_run_time_limits_win(self, store: JobStore) -> None:
        """Run-time limits of the queue win over those of the worker's environment."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(20))))
        store.set_queue_state(QUEUE, lambda state: replace(state, max_concurrent_dispatches=2))
        assert len(store.claim(a_claim(limits=DispatchLimits(1e6, 10))).records) == 2
        store.set_queue_state(
            QUEUE, lambda state: replace(state, max_concurrent_dispatches=100, max_dispatches_per_second=20.0)
        )
        assert len(store.claim(a_claim(limits=DispatchLimits(1e6, 2))).records) == 4
