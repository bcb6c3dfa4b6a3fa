"""Tests that data outlives the handle that wrote it."""

from __future__ import annotations

from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.jobs.outcomes import Retry
from tenxsom_flow_engine.store.values import QueueState, Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, FAILURE, QUEUE, a_claim, new
from tests.contract.store_suite.shared import (
    OpenStore,
    Suite,
    accept,
    everything,
    finished,
    ids,
    intend,
    race,
    settle,
    take,
)


class DurabilitySuite(Suite):
    """Data is still stored after closing the handle."""

    def test_everything_outlives_the_handle(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Records, counts, slots, queue states and known ids are the same after closing and reopening."""
        store = open_store(clock)
        for number, status in enumerate((Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.HELD)):
            finished(store, f"f{number}", status)
        finished(store, "trimmed", Status.SUCCEEDED)
        store.trim(Retention(count=2))
        store.add(QUEUE, [*new("a", "b"), *new("later", due=clock.now() + 10)])
        accept(store, intend(store, take(store)))
        state = store.set_queue_state(QUEUE, lambda state: QueueState(True, 3.0, 4))
        before, counts, in_flight = everything(store), store.status_counts(), store.in_flight(ALPHA)
        store.close()
        again = open_store(clock)
        assert everything(again) == before
        assert (again.status_counts(), again.in_flight(ALPHA), again.queue_state(QUEUE)) == (counts, in_flight, state)
        gone = ({f"f{n}" for n in range(4)} | {"trimmed"}) - set(ids(before))
        assert len(gone) == 1
        assert again.add(QUEUE, new(*gone)).new == ()

    def test_a_lease_outlives_the_handle(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A lease and its token stay valid when another process opens and closes the store."""
        mine = open_store(clock)
        mine.add(QUEUE, new("a"))
        record = take(mine)
        other = open_store(clock)
        assert other.claim(a_claim()).records == ()
        other.close()
        settle(mine, record, Retry(clock.now(), FAILURE))

    def test_close_can_be_called_again(self, open_store: OpenStore, clock: ManualClock) -> None:
        """`close` can be called again on a closed store."""
        store = open_store(clock)
        store.close()
        store.close()

    def test_concurrent_opening_of_a_new_store(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Many processes can open a new store at the same moment, and all of them can use it."""

        def act(index: int) -> tuple[str, ...]:
            return open_store(clock).add(QUEUE, new(f"j{index}")).new

        assert race(12, act) == [(f"j{index}",) for index in range(12)]
