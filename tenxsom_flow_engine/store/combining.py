"""Group commit: calls that several threads make at the same time are executed together, by one of these threads.

A call never waits for others to join it: while one batch runs, the next one collects. So a thread alone pays nothing,
and under load the fixed cost of a batch (a round trip, a synced file) is shared.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from tenxsom_flow_engine.errors import StoreUnavailable

_T = TypeVar("_T")

#: Calls in one batch, so that the first of them does not wait long for the last.
MAX_BATCH = 64


class Combiner(Generic[_T]):
    """Executes calls with `run`, which gets a batch in the order of the calls.

    `run` returns for each call its result, or the exception to raise in its thread. If `run` itself raises, all calls
    of the batch raise that error. A process runs one batch at a time. Thread-safe, and safe to use after a fork.
    """

    def __init__(self, run: Callable[[Sequence[_T]], Sequence[Any]]) -> None:
        self._run = run
        #: By process: after a fork, the threads that the parent's group waits for do not exist.
        self._groups: dict[int, _Group] = {}

    def __call__(self, call: _T) -> Any:
        """Execute a call with those of other threads; return its result or raise its exception."""
        pid = os.getpid()
        group = self._groups.get(pid) or self._groups.setdefault(pid, _Group())
        entry = _Entry(call)
        try:
            group.join(entry)
            if not entry.leads:
                entry.turn.acquire()
            if entry.leads:
                self._lead(group, entry)
        except BaseException:  # an interrupt
            group.leave(entry)
            if entry.leads and not entry.has_led:
                group.hand_over()
            raise
        if isinstance(entry.outcome, BaseException):
            raise entry.outcome
        return entry.outcome

    @property
    def waiting(self) -> Sequence[_T]:
        """The calls that wait for the next batch of this process."""
        group = self._groups.get(os.getpid())
        return [entry.call for entry in group.waiting] if group else []

    def _lead(self, group: _Group, own: _Entry) -> None:
        batch: Sequence[_Entry] = ()
        outcomes: Sequence[Any] = ()
        try:
            batch = group.take()
            outcomes = self._run([entry.call for entry in batch])
            if len(outcomes) != len(batch):
                raise StoreUnavailable(f"{len(batch)} calls got {len(outcomes)} answers")
        except Exception as error:
            outcomes = [error] * len(batch)
        finally:
            own.has_led = True
            group.hand_over()
            for number, entry in enumerate(batch):
                # Without an outcome, this thread was interrupted.
                known = number < len(outcomes)
                entry.outcome = outcomes[number] if known else StoreUnavailable("the call was interrupted")
                entry.turn.release()


class _Entry:
    """A call. Its thread waits for `turn`: then the call has its outcome, or the thread leads the next batch."""

    __slots__ = ("call", "has_led", "leads", "outcome", "turn")

    def __init__(self, call: Any) -> None:
        self.call = call
        self.leads = False
        #: Whether it has led, so that another thread does now.
        self.has_led = False
        self.outcome: Any = None
        self.turn = threading.Lock()
        self.turn.acquire()


class _Group:
    """The calls of one process that wait for the next batch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.waiting: list[_Entry] = []
        self._led = False

    def join(self, entry: _Entry) -> None:
        """Let a call wait; its thread leads the next batch if no thread leads."""
        with self._lock:
            entry.leads = not self._led
            self._led = True
            self.waiting.append(entry)

    def leave(self, entry: _Entry) -> None:
        """Withdraw a call, unless it is being executed."""
        with self._lock:
            if entry in self.waiting:
                self.waiting.remove(entry)

    def take(self) -> list[_Entry]:
        """Remove and return the calls of the next batch."""
        with self._lock:
            batch, self.waiting = self.waiting[:MAX_BATCH], self.waiting[MAX_BATCH:]
        return batch

    def hand_over(self) -> None:
        """Let the thread of the longest waiting call lead the next batch."""
        with self._lock:
            self._led = bool(self.waiting)
            if self._led:
                self.waiting[0].leads = True
                self.waiting[0].turn.release()
