"""Moves waiting jobs from one queue backend to another, during an outage or a migration.

Both backends share a store, so a move is an ordinary change of a record: a job is never in two queues, and a delivery
that the old backend still sends is recognised as outdated.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from tenxsom_flow_engine.composition import open_store
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput
from tenxsom_flow_engine.queues.fallback import CHUNK_JOBS, moved_jobs, waiting
from tenxsom_flow_engine.queues.selection import QUEUE_TYPES


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of a move: the number of moved jobs, and those that could not be moved."""

    jobs: int
    #: Job ids with the reason.
    left: tuple[tuple[str, str], ...]


def move_jobs(
    engine: Engine, source: str, *, progress: Callable[[int], None] = lambda jobs: None, chunk: int = CHUNK_JOBS
) -> Moved:
    """Move all waiting jobs of the queue `source` to the engine's queue; `progress` gets the size of each chunk.

    It can be interrupted at any point; calling it again completes the move. Raises `InvalidInput` for an unknown queue,
    `ConfigurationError` if the two queues do not share a store, `StoreError`, `QueueError`.
    """
    target = engine.queue
    if source not in QUEUE_TYPES or source == target.name:
        others = ", ".join(name for name in QUEUE_TYPES if name != target.name)
        raise InvalidInput("from", f"must be one of {others}, not {source!r}")
    _check_same_store(engine, source)
    target.dispatch([record for record in waiting(engine.store, target.name, chunk) if record.undispatched])
    jobs, left = 0, list[tuple[str, str]]()
    for moved in moved_jobs(engine.store, source, target, lambda *job: left.append(job), chunk):
        target.dispatch(moved)
        progress(len(moved))
        jobs += len(moved)
    return Moved(jobs, tuple(left))


def _check_same_store(engine: Engine, source: str) -> None:
    with closing(open_store(engine.settings, source, engine.clock)) as store:
        place = store.place
    if place != engine.store.place:
        raise ConfigurationError(
            f"the {source} queue keeps its records in {place}, and the {engine.queue.name} queue in "
            f"{engine.store.place}: jobs can only move between queues that share a store",
            next_step="let both use one store: cloud_tasks can share that of redis (set REDIS_HOST) or of local",
        )
