"""Threads in time that is moved by hand: what takes time takes none, and overlaps as it would."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from threading import Semaphore

from tenxsom_flow_engine.testing.clock import ManualClock


class Stage:
    """Runs acts of which one at a time has the word, so that a run with the same seed repeats.

    An act gives the word back when it ends, or while it sleeps.
    """

    def __init__(self, clock: ManualClock, threads: int) -> None:
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads)
        self._word = Semaphore(0)
        #: When each sleeper wakes; of those that wake at once, who slept first comes first.
        self._sleepers: list[tuple[float, int, Semaphore]] = []
        self._number = count()

    def sleep(self, seconds: float) -> None:
        """Let an act wait while time goes on."""
        turn = Semaphore(0)
        heapq.heappush(self._sleepers, (self._clock.now() + seconds, next(self._number), turn))
        self._word.release()
        turn.acquire()

    def start(self, act: Callable[[], None]) -> Future[None]:
        """Run an act until it ends or sleeps. What it raises is in the future."""
        future = self._pool.submit(act)
        future.add_done_callback(lambda done: self._word.release())
        self._word.acquire()
        return future

    @property
    def wakes_at(self) -> float | None:
        """When the next sleeper wakes; None if nobody sleeps."""
        return self._sleepers[0][0] if self._sleepers else None

    def go_on(self) -> None:
        """Let those go on who have slept long enough."""
        while self._sleepers and self._sleepers[0][0] <= self._clock.now():
            _, _, turn = heapq.heappop(self._sleepers)
            turn.release()
            self._word.acquire()

    def close(self) -> None:
        """End the threads, which must be done."""
        self._pool.shutdown()
