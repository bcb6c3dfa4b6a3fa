"""What is kept of queues and workers, and how finished records are trimmed."""

from __future__ import annotations

from dataclasses import replace

from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Added, QueueState, Retention, WorkerInfo
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import QUEUE, WIDE, a_claim, new
from tests.contract.store_suite.shared import (
    DAY,
    OpenStore,
    Suite,
    check_counts,
    everything,
    finished,
    ids,
    race,
    take,
)


class QueueAndWorkerSuite(Suite):
    """Queue states, workers, trimming."""

    def test_a_queue_starts_unset(self, store: JobStore) -> None:
        """A queue on which nothing was set runs with its environment's limits."""
        assert store.queue_state(QUEUE) == QueueState()
        assert store.queue_state(QUEUE).limits(WIDE) == WIDE

    def test_a_queue_state_is_for_all(self, open_store: OpenStore, clock: ManualClock) -> None:
        """What is set on a queue is seen by every handle at once and concerns no other queue."""
        one, two = open_store(clock), open_store(clock)
        set_to = QueueState(paused=True, max_dispatches_per_second=2.5, max_concurrent_dispatches=3)
        assert one.set_queue_state(QUEUE, lambda state: set_to) == set_to
        assert two.queue_state(QUEUE) == set_to
        assert two.queue_state("other") == QueueState()
        two.set_queue_state(QUEUE, lambda state: replace(state, max_dispatches_per_second=None))
        assert one.queue_state(QUEUE) == replace(set_to, max_dispatches_per_second=None)

    def test_racing_changes_of_a_queue_are_all_seen(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Changes of a queue's state at once are applied one after the other; none is lost."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].set_queue_state(QUEUE, lambda state: QueueState(max_concurrent_dispatches=1))

        def more(state: QueueState) -> QueueState:
            return replace(state, max_concurrent_dispatches=(state.max_concurrent_dispatches or 0) + 1)

        race(20, lambda index: handles[index % 4].set_queue_state(QUEUE, more))
        assert handles[0].queue_state(QUEUE).max_concurrent_dispatches == 21

    def test_handing_out_keeps_what_was_set(self, store: JobStore) -> None:
        """Handing out steps does not disturb what was set on the queue, nor the other way round."""
        store.set_queue_state(QUEUE, lambda state: QueueState(max_dispatches_per_second=5.0))
        store.add(QUEUE, new("a", "b"))
        take(store)
        assert store.queue_state(QUEUE) == QueueState(max_dispatches_per_second=5.0)
        store.set_queue_state(QUEUE, lambda state: replace(state, max_concurrent_dispatches=50))
        assert store.claim(a_claim()).records == ()

    def test_signs_of_life(self, store: JobStore, clock: ManualClock) -> None:
        """A worker is alive as long as its last sign of life is within the window, in its own queue."""
        info = WorkerInfo("w-1", QUEUE, "host", 42, 3, started_at=clock.now(), steps=5)
        store.heartbeat(info)
        store.heartbeat(replace(info, id="w-2", queue="other"))
        assert list(store.workers(QUEUE, within=30)) == [replace(info, last_heartbeat_at=clock.now())]
        clock.advance(20)
        store.heartbeat(replace(info, steps=9))
        clock.advance(30)
        assert [(worker.id, worker.steps) for worker in store.workers(QUEUE, within=30)] == [("w-1", 9)]
        clock.advance(1)
        assert list(store.workers(QUEUE, within=30)) == []

    def test_a_worker_that_ended_is_forgotten(self, store: JobStore, clock: ManualClock) -> None:
        """A worker that says goodbye is not alive any more, and saying it twice is harmless."""
        store.heartbeat(WorkerInfo("w-1", QUEUE, "host", 42, 3, clock.now()))
        store.forget_worker("w-1")
        store.forget_worker("w-1")
        assert list(store.workers(QUEUE, within=30)) == []

    def test_old_finished_records_are_removed(self, store: JobStore, clock: ManualClock) -> None:
        """Succeeded and cancelled records go when they are older than their age; unfinished ones stay."""
        store.add(QUEUE, new("waiting"))
        finished(store, "old-done", Status.SUCCEEDED)
        finished(store, "old-cancelled", Status.CANCELLED)
        clock.advance(10 * DAY)
        finished(store, "young", Status.SUCCEEDED)
        assert store.trim(Retention(age=10 * DAY)) == 0
        clock.advance(1)
        assert store.trim(Retention(age=10 * DAY)) == 2
        assert ids(everything(store)) == ["young", "waiting"]
        check_counts(store)

    def test_failed_and_held_records_are_kept(self, store: JobStore, clock: ManualClock) -> None:
        """What a person must deal with is kept, however old and however many."""
        for number in range(3):
            finished(store, f"f{number}", Status.FAILED)
            finished(store, f"h{number}", Status.HELD)
        clock.advance(1000 * DAY)
        assert store.trim(Retention(age=DAY, count=0)) == 0
        assert len(everything(store)) == 6

    def test_records_beyond_the_count_are_removed(self, store: JobStore, clock: ManualClock) -> None:
        """Of more finished records than may be kept, those that finished first go."""
        for number in range(6):
            finished(store, f"j{number}", Status.SUCCEEDED if number % 2 else Status.CANCELLED)
            clock.advance(1)
        assert store.trim(Retention(count=4)) == 2
        assert ids(everything(store)) == ["j5", "j4", "j3", "j2"]
        assert store.trim(Retention(count=4)) == 0

    def test_thousands_are_removed_in_one_call(self, store: JobStore, clock: ManualClock) -> None:
        """One call removes all that need not be kept, however many."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(2300))))
        assert store.cancel_waiting(QUEUE, 5000) == 2300
        assert store.trim(Retention(count=100)) == 2200
        assert ids(everything(store)) == [f"j{number}" for number in reversed(range(2200, 2300))]
        check_counts(store)

    def test_a_trimmed_id_is_known_for_a_while(self, store: JobStore, clock: ManualClock) -> None:
        """The id of a removed record adds nothing for 32 days, and is a new one afterwards."""
        finished(store, "a", Status.SUCCEEDED)
        assert store.trim(Retention(count=0)) == 1
        assert store.get("a") is None
        clock.advance(32 * DAY - 1)
        store.trim(Retention())
        assert store.add(QUEUE, new("a")) == Added(new=(), known=("a",))
        clock.advance(2)
        store.trim(Retention())
        assert store.add(QUEUE, new("a")) == Added(new=("a",), known=())
