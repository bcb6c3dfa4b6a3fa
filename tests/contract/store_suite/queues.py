"""Tests of queue states, workers, and the trimming of finished records."""

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
        """A queue without run-time settings has the limits of its environment."""
        assert store.queue_state(QUEUE) == QueueState()
        assert store.queue_state(QUEUE).limits(WIDE) == WIDE

    def test_a_queue_state_is_shared(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A queue's run-time settings are visible to every handle at once and do not affect other queues."""
        one, two = open_store(clock), open_store(clock)
        set_to = QueueState(paused=True, max_dispatches_per_second=2.5, max_concurrent_dispatches=3)
        assert one.set_queue_state(QUEUE, lambda state: set_to) == set_to
        assert two.queue_state(QUEUE) == set_to
        assert two.queue_state("other") == QueueState()
        two.set_queue_state(QUEUE, lambda state: replace(state, max_dispatches_per_second=None))
        assert one.queue_state(QUEUE) == replace(set_to, max_dispatches_per_second=None)

    def test_racing_changes_of_a_queue_are_all_seen(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Concurrent changes of a queue's state are applied one after another; none is lost."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].set_queue_state(QUEUE, lambda state: QueueState(max_concurrent_dispatches=1))

        def more(state: QueueState) -> QueueState:
            return replace(state, max_concurrent_dispatches=(state.max_concurrent_dispatches or 0) + 1)

        race(20, lambda index: handles[index % 4].set_queue_state(QUEUE, more))
        assert handles[0].queue_state(QUEUE).max_concurrent_dispatches == 21

    def test_dispatching_keeps_the_settings(self, store: JobStore) -> None:
        """Dispatching does not change run-time settings, nor the reverse."""
        store.set_queue_state(QUEUE, lambda state: QueueState(max_dispatches_per_second=5.0))
        store.add(QUEUE, new("a", "b"))
        take(store)
        assert store.queue_state(QUEUE) == QueueState(max_dispatches_per_second=5.0)
        store.set_queue_state(QUEUE, lambda state: replace(state, max_concurrent_dispatches=50))
        assert store.claim(a_claim()).records == ()

    def test_heartbeats(self, store: JobStore, clock: ManualClock) -> None:
        """A worker is alive while its last heartbeat is within the window, in its own queue."""
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

    def test_a_worker_that_ended_is_removed(self, store: JobStore, clock: ManualClock) -> None:
        """A worker that is removed is no longer alive, and removing it again has no effect."""
        store.heartbeat(WorkerInfo("w-1", QUEUE, "host", 42, 3, clock.now()))
        store.forget_worker("w-1")
        store.forget_worker("w-1")
        assert list(store.workers(QUEUE, within=30)) == []

    def test_old_finished_records_are_removed(self, store: JobStore, clock: ManualClock) -> None:
        """Succeeded and cancelled records older than the retention age are removed; unfinished ones stay."""
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
        """Failed and held records are kept, regardless of age and number."""
        for number in range(3):
            finished(store, f"f{number}", Status.FAILED)
            finished(store, f"h{number}", Status.HELD)
        clock.advance(1000 * DAY)
        assert store.trim(Retention(age=DAY, count=0)) == 0
        assert len(everything(store)) == 6

    def test_records_beyond_the_count_are_removed(self, store: JobStore, clock: ManualClock) -> None:
        """If there are more finished records than the maximum, those that finished first are removed."""
        for number in range(6):
            finished(store, f"j{number}", Status.SUCCEEDED if number % 2 else Status.CANCELLED)
            clock.advance(1)
        assert store.trim(Retention(count=4)) == 2
        assert ids(everything(store)) == ["j5", "j4", "j3", "j2"]
        assert store.trim(Retention(count=4)) == 0

    def test_thousands_are_removed_in_one_call(self, store: JobStore, clock: ManualClock) -> None:
        """One call removes all records beyond the retention, however many."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(2300))))
        assert store.cancel_waiting(QUEUE, 5000) == 2300
        assert store.trim(Retention(count=100)) == 2200
        assert ids(everything(store)) == [f"j{number}" for number in reversed(range(2200, 2300))]
        check_counts(store)

    def test_a_trimmed_id_is_known_for_a_while(self, store: JobStore, clock: ManualClock) -> None:
        """The id of a removed record stays known for 32 days, and is new afterwards."""
        finished(store, "a", Status.SUCCEEDED)
        assert store.trim(Retention(count=0)) == 1
        assert store.get("a") is None
        clock.advance(32 * DAY - 1)
        store.trim(Retention())
        assert store.add(QUEUE, new("a")) == Added(new=(), known=("a",))
        clock.advance(2)
        store.trim(Retention())
        assert store.add(QUEUE, new("a")) == Added(new=("a",), known=())
