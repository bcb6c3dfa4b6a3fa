"""A scheduler for threads in simulated time: a sleep takes no real time, and sleeps overlap as they would."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from threading import Semaphore

from tenxsom_flow_engine.testing.clock import ManualClock


class SimulatedThreads:
    """Runs tasks in threads of which only one runs at a time, so that a run with the same seed repeats.

    A task runs until it ends or calls `sleep`.
    """

    def __init__(self, clock: ManualClock, threads: int) -> None:
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads)
        #: Released when the running task ends or sleeps.
        self._paused = Semaphore(0)
        #: Heap of (wake-up time, number, semaphore); the number orders tasks with the same time by their calls.
        self._sleepers: list[tuple[float, int, Semaphore]] = []
        self._number = count()
        #: The first exception of a task.
        self._error: BaseException | None = None
        self._closed = False

    def sleep(self, seconds: float) -> None:
        """Suspend the calling task for some simulated seconds. Raises `RuntimeError` if the scheduler is closed."""
        wake_up = Semaphore(0)
        heapq.heappush(self._sleepers, (self._clock.now() + seconds, next(self._number), wake_up))
        self._paused.release()
        wake_up.acquire()
        if self._closed:
            raise RuntimeError("the simulation was closed")

    def start(self, task: Callable[[], None]) -> None:
        """Run a task until it ends or sleeps. Raises the task's exception, also from a later `resume`."""
        self._pool.submit(task).add_done_callback(self._end)
        self._wait_until_paused()

    @property
    def next_wake_up(self) -> float | None:
        """When the next task wakes up, in simulated seconds since 1970; None if no task sleeps."""
        return self._sleepers[0][0] if self._sleepers else None

    def resume(self) -> None:
        """Run the tasks whose wake-up time has come, one after another."""
        while self._sleepers and self._sleepers[0][0] <= self._clock.now():
            _, _, wake_up = heapq.heappop(self._sleepers)
            wake_up.release()
            self._wait_until_paused()

    def close(self) -> None:
        """End the threads; `sleep` raises in those that still sleep."""
        self._closed = True
        for _, _, wake_up in self._sleepers:
            wake_up.release()
        self._pool.shutdown()

    def _end(self, task: Future[None]) -> None:
        self._error = self._error or task.exception()
        self._paused.release()

    def _wait_until_paused(self) -> None:
        """Wait until the running task ends or sleeps."""
        self._paused.acquire()
        if self._error is not None:
            raise self._error
