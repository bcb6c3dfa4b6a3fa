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
        #: What an act has raised.
        self._fault: BaseException | None = None
        self._closed = False

    def sleep(self, seconds: float) -> None:
        """Let an act wait while time goes on."""
        turn = Semaphore(0)
        heapq.heappush(self._sleepers, (self._clock.now() + seconds, next(self._number), turn))
        self._word.release()
        turn.acquire()
        if self._closed:
            raise RuntimeError("the day was broken off")

    def start(self, act: Callable[[], None]) -> None:
        """Run an act until it ends or sleeps. Raises what it raises, now or when it goes on."""
        self._pool.submit(act).add_done_callback(self._end)
        self._listen()

    @property
    def wakes_at(self) -> float | None:
        """When the next sleeper wakes; None if nobody sleeps."""
        return self._sleepers[0][0] if self._sleepers else None

    def go_on(self) -> None:
        """Let those go on who have slept long enough."""
        while self._sleepers and self._sleepers[0][0] <= self._clock.now():
            _, _, turn = heapq.heappop(self._sleepers)
            turn.release()
            self._listen()

    def close(self) -> None:
        """End the threads; in those that still sleep, `sleep` raises."""
        self._closed = True
        for _, _, turn in self._sleepers:
            turn.release()
        self._pool.shutdown()

    def _end(self, act: Future[None]) -> None:
        self._fault = self._fault or act.exception()
        self._word.release()

    def _listen(self) -> None:
        """Wait until the word is given back."""
        self._word.acquire()
        if self._fault is not None:
            raise self._fault
