"""Processes that plan schedules until they are killed at a planned call, or until a given instant."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenxsom_flow_engine.channels.schedules import Schedule, Topic
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import Added, NewJob
from tests.killable_worker import SharedClock

#: The points at which a planner can die, around each write.
POINTS = ("before swap", "after swap", "before add", "after add")
#: Seconds by which a process moves the clock after each plan.
STEP = 3600.0


@dataclass(frozen=True, slots=True)
class PlannerOrder:
    """The configuration of a planner process."""

    queue: str
    environment: dict[str, str]
    clock: str
    #: Plan until this instant.
    until: float
    #: The point at which it dies, and at which of its occurrences; empty: it lives.
    point: str = ""
    occurrence: int = 1


class Death:
    """The point at which this process dies."""

    def __init__(self, order: PlannerOrder) -> None:
        self._order = order
        self._left = order.occurrence

    def reach(self, point: str) -> None:
        """Die with `kill -9` if this is the planned point."""
        if point == self._order.point:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


class _DyingStore(JobStore):
    """A store whose process can die before and after each write of a planner."""

    death: Death

    def swap_schedule(self, before: Schedule | None, after: Schedule | None, topics: Sequence[Topic] = ()) -> bool:
        self.death.reach("before swap")
        done = super().swap_schedule(before, after, topics)  # type: ignore[safe-super]
        self.death.reach("after swap")
        return done

    def add(self, queue: str, jobs: Iterable[NewJob]) -> Added:
        self.death.reach("before add")
        added = super().add(queue, jobs)  # type: ignore[safe-super]
        self.death.reach("after add")
        return added


class DyingPlannerSQLiteStore(_DyingStore, SQLiteStore):
    """The store of one machine."""


class DyingPlannerRedisStore(_DyingStore, RedisStore):
    """The store on a Redis server."""


def live(order: PlannerOrder) -> None:
    """Plan and move the clock, until the planned death or instant."""
    clock, settings = SharedClock(Path(order.clock)), load(order.environment)
    store: DyingPlannerSQLiteStore | DyingPlannerRedisStore
    if order.queue == "local":
        store = DyingPlannerSQLiteStore(settings.home / "jobs.sqlite3", clock)
    else:
        store = DyingPlannerRedisStore(settings.redis.address, settings.redis.key, clock)
    store.death = Death(order)
    with open_engine(settings, order.queue, clock=clock, store=store) as engine:
        while clock.now() < order.until:
            engine.planner.plan_all()
            clock.set(clock.now() + STEP)
        engine.planner.plan_all()
