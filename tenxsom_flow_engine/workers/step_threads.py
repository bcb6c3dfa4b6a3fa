"""The threads that run steps: as few as keep up with them."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.text import plural

_log = logging.getLogger(__name__)

#: Seconds without a new step after which each of the others gets a thread.
PATIENCE = 0.001


class StepThreads:
    """Runs steps with `run`, on up to `limit` threads; a thread that has no more steps calls `rest`.

    To wake a thread costs more than a step that does not wait for anything, so one thread runs such steps one after
    another. A step that waits, for example for a service, keeps its thread; then the others get one each.
    """

    def __init__(self, limit: int, run: Callable[[JobRecord], object], rest: Callable[[], object]) -> None:
        self.limit = limit
        self._run = run
        self._rest = rest
        self._steps: deque[JobRecord] = deque()
        #: The number of steps that threads have taken.
        self._taken = 0
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        #: Set by each thread that has become idle.
        self._rested = threading.Event()

    def run_all(self, records: Iterable[JobRecord]) -> None:
        """Run the steps of leased jobs; return when each has a thread, and no outcome waits for a thread."""
        with self._lock:
            self._steps.extend(records)
            self._rested.clear()
            if not self._steps:
                return
        self._call(1)
        seen = -1
        while True:
            if self._rested.wait(PATIENCE):
                self._rested.clear()
            elif (taken := self._taken) != seen:
                seen = taken
                continue
            else:
                self._rest()
                if not self._call(len(self._steps)):  # a thread that has ended its step takes them
                    return
            if not self._steps:
                return

    def _call(self, count: int) -> bool:
        """Wake or start threads; return whether there are as many."""
        for _ in range(count):
            with self._lock:
                is_idle = self._idle > 0
                self._idle -= is_idle
            if not is_idle and not self._start():
                return False
            self._calls.put(None)
        return True

    def _start(self) -> bool:
        if self._threads >= self.limit:
            return False
        # A daemon thread, so that a forced stop does not wait for a step that hangs.
        thread = threading.Thread(target=self._work, name=f"step-{self._threads}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # a limit of the system; the other steps must not be cut off
            if not self._threads:
                raise
            _log.warning("the worker continues with %s: %s", plural(self._threads, "thread"), error)
            self.limit = self._threads
            return False
        self._threads += 1
        return True

    def _work(self) -> None:
        while True:
            self._calls.get()
            while True:
                while (record := self._next()) is not None:
                    self._run(record)
                    if self._idle == 0 and self._threads >= self.limit:
                        self._rest()  # no other thread can, and the next step can take long
                self._rest()
                if self._becomes_idle():
                    break

    def _next(self) -> JobRecord | None:
        with self._lock:
            if not self._steps:
                return None
            self._taken += 1
            return self._steps.popleft()

    def _becomes_idle(self) -> bool:
        """Count this thread as idle, unless there are steps again; return whether it is."""
        with self._lock:
            if self._steps:
                return False
            self._idle += 1
            self._rested.set()
            return True
