"""Tests of how an idle worker learns of changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event

import pytest

from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import QUEUE, a_claim, new
from tests.contract.store_suite.shared import STUCK, OpenStore, Suite


class NotificationSuite(Suite):
    """`revision` and `wait`. Threads are joined with a timeout, so a lost wake-up fails the test."""

    def _waits(self, store: JobStore, between: Callable[[], None] = lambda: None) -> tuple[threading.Thread, Event]:
        """Start a thread that takes a revision, calls `between` and waits; return it once it is waiting or about to."""
        wake, ready = Event(), Event()

        def run() -> None:
            revision = store.revision()
            between()
            ready.set()
            store.wait(revision, timeout=1000.0, wake=wake)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert ready.wait(STUCK)
        return thread, wake

    def _ended(self, thread: threading.Thread, wake: Event) -> bool:
        thread.join(STUCK)
        ended = not thread.is_alive()
        wake.set()
        thread.join(STUCK)
        return ended

    def test_a_change_by_another_handle_ends_a_wait(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A waiting worker is woken by a job that another process adds."""
        mine, other = open_store(clock), open_store(clock)
        thread, wake = self._waits(mine)
        other.add(QUEUE, new("a"))
        assert self._ended(thread, wake)

    def test_a_change_by_another_thread_ends_a_wait(self, store: JobStore) -> None:
        """A waiting worker is woken by a change that another thread makes through the same handle."""
        store.add(QUEUE, new("a"))
        thread, wake = self._waits(store)
        store.cancel("a")
        assert self._ended(thread, wake)

    def test_no_change_is_missed_between_revision_and_wait(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A change after `revision` and before `wait` ends the wait at once."""
        mine, other = open_store(clock), open_store(clock)

        def add() -> None:
            assert other.add(QUEUE, new("a")).new == ("a",)

        thread, wake = self._waits(mine, between=add)
        assert self._ended(thread, wake)

    @pytest.mark.parametrize(
        "change",
        [
            lambda store: store.cancel("a"),
            lambda store: store.set_queue_state(QUEUE, lambda state: replace(state, paused=True)),
            lambda store: store.claim(a_claim()),
        ],
        ids=["cancel", "pause", "claim"],
    )
    def test_every_kind_of_change_counts(
        self, open_store: OpenStore, clock: ManualClock, change: Callable[[JobStore], object]
    ) -> None:
        """Every change that can concern a worker ends a wait, not only new jobs."""
        mine, other = open_store(clock), open_store(clock)
        other.add(QUEUE, new("a"))
        thread, wake = self._waits(mine)
        change(other)
        assert self._ended(thread, wake)

    def test_wake_ends_a_wait(self, store: JobStore) -> None:
        """Setting `wake` ends a wait at once, even if it was set before the wait."""
        thread, wake = self._waits(store)
        wake.set()
        assert self._ended(thread, wake)
        store.wait(store.revision(), timeout=1000.0, wake=wake)

    def test_a_wait_is_bounded_and_waits(self, store: JobStore) -> None:
        """Without a change a wait lasts for its timeout, so an idle worker does not spin."""
        began = time.monotonic()
        store.wait(store.revision(), timeout=0.2, wake=Event())
        assert time.monotonic() - began >= 0.19

    def test_reading_is_no_change(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Reads, and claims that find nothing due, wake no worker."""
        mine, other = open_store(clock), open_store(clock)
        revision = mine.revision()
        other.claim(a_claim())
        other.status_counts()
        other.page(JobFilter(), limit=5)
        other.now()
        other.queue_state(QUEUE)
        assert mine.revision() == revision
