"""Takes jobs back from the fallback once Cloud Tasks answers again."""

from __future__ import annotations

from contextlib import closing

from tenxsom_flow_engine.composition import open_queue
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.queues.fallback import take_back
from tenxsom_flow_engine.queues.selection import CLOUD_TASKS


def take_back_jobs(engine: Engine, owner: str) -> int:
    """Move the jobs of the fallback back to Cloud Tasks, if there are some; return how many.

    Workers of both queues call this, and one of them a minute does it. Raises `StoreError`, `QueueError`.
    """
    fallback = engine.settings.fallback
    if engine.queue.name not in (CLOUD_TASKS, fallback) or not fallback:
        return 0
    if not engine.store.status_counts(fallback).unfinished:
        return 0
    if not engine.store.acquire_lock("fallback", owner, engine.timings.lost_delivery_interval):
        return 0
    if engine.queue.name == CLOUD_TASKS:
        return take_back(engine.store, engine.queue, fallback)
    with closing(open_queue(engine.settings, CLOUD_TASKS, engine.store, engine.timings)) as queue:
        return take_back(engine.store, queue, fallback)
