"""The embedded queue and its store with calls that a test answers, for faults and slow responses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tenxsom_flow_engine.budgets import Budget
from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.composition import Overrides, open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.jobs.outcomes import Terms
from tenxsom_flow_engine.jobs.submission import Intent
from tenxsom_flow_engine.queues.base import QueueStatus
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.sqlite.lists import LIST_BOUNDS
from tenxsom_flow_engine.store.values import (
    Added,
    DispatchLimits,
    JobFilter,
    ListBounds,
    NewJob,
    Page,
    QueueState,
    StoreAdvice,
)


class Script:
    """Replacements of calls, by name; a replacement gets the real call and its arguments."""

    def __init__(self) -> None:
        self.instead: dict[str, Callable[..., Any]] = {}

    def call(self, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Make a call, or its replacement."""
        replacement = self.instead.get(real.__name__)
        return replacement(real, *arguments, **options) if replacement else real(*arguments, **options)


class ScriptedStore(SQLiteStore):
    """A store of which a test answers calls."""

    script: Script

    def warn(self, message: str) -> None:
        """Warn operators about the durability of the records."""
        self.advice = StoreAdvice(message)

    def free_space(self) -> int | None:
        free: int | None = self.script.call(super().free_space)
        return free

    def page(self, jobs: JobFilter, *, limit: int, cursor: str | None = None) -> Page:
        page: Page = self.script.call(super().page, jobs, limit=limit, cursor=cursor)
        return page

    def get_each(self, job_ids: Sequence[str]) -> Sequence[JobRecord]:
        records: Sequence[JobRecord] = self.script.call(super().get_each, job_ids)
        return records

    def queue_state(self, queue: str) -> QueueState:
        state: QueueState = self.script.call(super().queue_state, queue)
        return state

    def intend(self, job_id: str, token: str, intent: Intent, budgets: Mapping[str, Budget] | None = None) -> JobRecord:
        record: JobRecord = self.script.call(super().intend, job_id, token, intent, budgets)
        return record

    def retry(self, job_id: str, changes: Terms | None = None) -> JobRecord:
        record: JobRecord = self.script.call(super().retry, job_id, changes)
        return record


class ScriptedQueue(PullQueue):
    """A queue of which a test answers calls."""

    script: Script

    def enqueue(self, jobs: Iterable[NewJob]) -> Added:
        added: Added = self.script.call(super().enqueue, list(jobs))
        return added

    def pause(self) -> None:
        self.script.call(super().pause)

    def status(self) -> QueueStatus:
        status: QueueStatus = self.script.call(super().status)
        return status


def open_scripted(
    settings: Settings,
    clock: Clock,
    script: Script,
    *,
    services: Mapping[str, VideoService] | None = None,
    overrides: Overrides | None = None,
    bounds: ListBounds = LIST_BOUNDS,
) -> Engine:
    """Open an engine with the embedded queue, of which the script answers calls."""
    store = ScriptedStore(settings.home / "jobs.sqlite3", clock, bounds=bounds)
    store.script = script
    limits = DispatchLimits(settings.max_dispatches_per_second, settings.max_concurrent_dispatches)
    queue = ScriptedQueue("local", store, limits, settings.lease)
    queue.script = script
    return open_engine(settings, "local", clock=clock, store=store, queue=queue, services=services, overrides=overrides)
