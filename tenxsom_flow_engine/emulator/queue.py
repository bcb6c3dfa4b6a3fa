"""One queue in memory: its tasks in the order they become due, and the names that cannot be used again yet."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any

from google.cloud import tasks_v2

from tenxsom_flow_engine.emulator.protobuf import short, write
from tenxsom_flow_engine.emulator.rates import Pace

#: Seconds after which a task is deleted, delivered or not (documented).
TASK_TTL = 31 * 86_400.0
#: Number of due tasks from which a shuffled queue chooses.
_SHUFFLED = 32

_order = itertools.count()


@dataclass(eq=False, slots=True)
class StoredTask:
    """A task that has not succeeded yet. `message` is its representation in the API."""

    message: Any
    due: float
    created: float
    first_attempt: float | None = None
    #: Number of answers so far, without 5xx and timeouts.
    executions: int = 0
    #: The status of the last answer; 504 after a passed deadline, None without an answer.
    previous: int | None = None
    #: Its sequence number among the waiting tasks; None while an attempt is under way.
    place: int | None = None

    @property
    def name(self) -> str:
        """The full name."""
        return str(self.message.name)


class Queue:
    """The state of one queue. Not thread-safe: callers hold the lock of `Cloud`."""

    def __init__(self, message: Any, now: float, tombstone_ttl: float) -> None:
        self.message = message
        self.tasks: dict[str, StoredTask] = {}  # by name, in order of creation
        #: Attempts under way.
        self.concurrent = 0
        self.policy: Any = None
        self._pace = Pace(message.rate_limits, now)
        self._tombstone_ttl = tombstone_ttl
        self._tombstones: dict[str, float] = {}  # when each name can be used again, in that order
        self._waiting: list[tuple[float, int, StoredTask]] = []  # a heap; entries with an old place are ignored
        self._answered: deque[float] = deque()

    @property
    def name(self) -> str:
        """The full name."""
        return str(self.message.name)

    @property
    def id(self) -> str:
        """The last part of the name."""
        return short(self.name)

    @property
    def running(self) -> bool:
        """Whether tasks are dispatched."""
        return bool(self.message.state == tasks_v2.Queue.State.RUNNING)

    def limits_changed(self, now: float) -> None:
        """Apply the current rate limits of the message."""
        self._pace.limit(self.message.rate_limits, now)

    def knows(self, name: str, now: float) -> bool:
        """Return whether a task's name is in use, or was until too recently."""
        self.forget(now)
        return name in self.tasks or name in self._tombstones

    def add(self, task: StoredTask) -> None:
        """Add a new task, due at its time."""
        self.tasks[task.name] = task
        self.wait(task, task.due)

    def wait(self, task: StoredTask, due: float) -> None:
        """Make a task wait until it is due."""
        task.due, task.place = due, next(_order)
        heapq.heappush(self._waiting, (due, task.place, task))

    def remove(self, task: StoredTask, now: float) -> None:
        """Remove a task that has succeeded, was given up or deleted; its name stays in use for `tombstone_ttl`."""
        task.place = None
        if self.tasks.pop(task.name, None) is not None:
            self._tombstones[task.name] = now + self._tombstone_ttl

    def purge(self, now: float) -> None:
        """Remove all tasks. Attempts under way continue, but their answers are ignored."""
        for task in list(self.tasks.values()):
            self.remove(task, now)

    def forget(self, now: float) -> None:
        """Remove expired tasks, and the names of ended tasks that can be used again."""
        while (oldest := next(iter(self.tasks.values()), None)) and oldest.created + TASK_TTL <= now:
            self.remove(oldest, now)
        while (name := next(iter(self._tombstones), None)) and self._tombstones[name] <= now:
            del self._tombstones[name]

    def take(self, now: float, shuffle: Random | None) -> StoredTask | None:
        """Take the task to dispatch now, if state, concurrency and rate allow one: the task with the earliest due time.

        With `shuffle`, take a random due task.
        """
        if (at := self.next_dispatch(now)) is None or at > now:
            return None
        self._pace.spend(now)
        due = [heapq.heappop(self._waiting)]
        if shuffle is not None:
            while len(due) < _SHUFFLED and (at := self._next_due()) is not None and at <= now:
                due.append(heapq.heappop(self._waiting))
            shuffle.shuffle(due)
        *others, (_, _, task) = due
        for entry in others:
            heapq.heappush(self._waiting, entry)
        task.place = None
        return task

    def next_dispatch(self, now: float) -> float | None:
        """Return when the next task can be dispatched; None if none waits, or the queue may not dispatch."""
        due = self._next_due() if self._can_dispatch() else None
        return None if due is None else max(due, self._pace.ready_at(now))

    def answered(self, status: int | None, now: float) -> None:
        """Count an answer and adapt the rate: 429 and 503 slow the queue down, a success lets it recover."""
        self._answered.append(now)
        self._forget_answers(now)
        if status in (429, 503):
            self._pace.overloaded(now)
        elif status is not None and 200 <= status < 300:
            self._pace.succeeded(now)

    def write_stats(self, stats: Any, now: float) -> None:
        """Write the queue's statistics (`QueueStats` of v2beta3)."""
        self.forget(now)
        self._forget_answers(now)
        stats.tasks_count = len(self.tasks)
        stats.executed_last_minute_count = len(self._answered)
        stats.concurrent_dispatches_count = self.concurrent
        stats.effective_execution_rate = self._pace.rate
        if (due := self._next_due()) is not None:
            write(stats.oldest_estimated_arrival_time, due)

    def _can_dispatch(self) -> bool:
        return self.running and self.concurrent < self.message.rate_limits.max_concurrent_dispatches

    def _next_due(self) -> float | None:
        while self._waiting and self._waiting[0][1] != self._waiting[0][2].place:
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    def _forget_answers(self, now: float) -> None:
        while self._answered and self._answered[0] <= now - 60:
            self._answered.popleft()
