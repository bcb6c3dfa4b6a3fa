"""`QueueManager`: the async API of the queues, the same for every queue backend.

The stores block, so each call runs in a thread and the event loop stays free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, TypeVar

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import JobRecord, Ticket, VideoJob
from tenxsom_flow_engine.jobs.outcomes import GiveUp, Resubmit, Times
from tenxsom_flow_engine.planning.past import Past, is_past
from tenxsom_flow_engine.planning.starts import LatestStart
from tenxsom_flow_engine.report.operator_json import describe_queue
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import Added, JobFilter, NewJob, Page
from tenxsom_flow_engine.text import either, plural

_T = TypeVar("_T")

#: The keys of the `config` dict, each with the variable that it overrides.
CONFIG_KEYS: Mapping[str, Mapping[str, str]] = {
    "cloud_tasks": {
        "project_id": "GOOGLE_CLOUD_PROJECT",
        "location": "CLOUD_TASKS_LOCATION",
        "queue_name": "CLOUD_TASKS_QUEUE",
        "max_dispatches_per_second": "CLOUD_TASKS_MAX_DISPATCHES",
        "max_concurrent_dispatches": "CLOUD_TASKS_MAX_CONCURRENT",
    },
    "redis": {"host": "REDIS_HOST", "port": "REDIS_PORT", "queue_key": "REDIS_QUEUE_KEY"},
}


class QueueManager:
    """Adds jobs, reads them and controls their queue.

    ```python
    async with QueueManager() as manager:
        await manager.enqueue(VideoJob(job_id="tides-1", topic="How tides work", created_at=time.time()))
    ```

    `queue_type` is a queue backend's name or `auto`; `config` wins over the environment. The constructor opens nothing;
    opening (`initialize` or entering `async with`) raises `ConfigurationError` and `StoreError`.
    """

    def __init__(self, queue_type: str | None = None, config: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._queue_type = queue_type
        self._config = config or {}
        self._opened: Engine | None = None
        self._opening = asyncio.Lock()
        #: A separate pool, so that closing can wait for it: a call keeps running if its caller is cancelled.
        self._threads: ThreadPoolExecutor | None = None

    async def initialize(self) -> None:
        """Choose the queue and open it. Safe to call twice."""
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncio.to_thread(self._open)
                self._threads = ThreadPoolExecutor(thread_name_prefix="queue-manager")

    async def close(self) -> None:
        """Wait for running calls, then close files and connections. Safe to call twice."""
        async with self._opening:
            opened, self._opened = self._opened, None
            if opened is not None and self._threads is not None:
                await asyncio.to_thread(self._threads.shutdown)
                await asyncio.to_thread(opened.close)

    async def __aenter__(self) -> QueueManager:
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def engine(self) -> Engine:
        """The underlying engine. Raises `RuntimeError` before `initialize`."""
        if self._opened is None:
            raise RuntimeError("the QueueManager is not open: await initialize() first, or use async with")
        return self._opened

    async def enqueue(
        self,
        job: VideoJob,
        *,
        due: float | None = None,
        past: Literal["refuse", "now", "skip"] = "refuse",
        start_within: float | None = None,
    ) -> Added:
        """Add a job that is due at the instant `due` (default: now). A known id adds nothing.

        If it has bought nothing `start_within` seconds after it is due, it expires. Raises `InvalidInput` if no
        configured service can make it, or if `due` lies in the past (see `enqueue_many`).
        """
        return await self.enqueue_many([(job, due)], past=past, start_within=start_within)

    async def enqueue_many(
        self,
        jobs: Iterable[tuple[VideoJob, float | None]],
        *,
        past: Literal["refuse", "now", "skip"] = "refuse",
        start_within: float | None = None,
    ) -> Added:
        """Add several jobs with their due instants; all are checked before the first is added.

        If the due instant of a new job lies more than a minute in the past, `past` applies: `refuse` raises
        `InvalidInput` and adds nothing, `now` starts these jobs at once, `skip` leaves them out of the result.
        """

        def add(engine: Engine) -> Added:
            latest = LatestStart(engine.store.now(), start_within)
            prepared: list[NewJob] = [engine.prepare(job, due, latest.of(due)).new for job, due in jobs]
            return engine.add(_without_past(prepared, past, engine))

        return await self._call(add)

    async def get(self, job_id: str) -> JobRecord:
        """Return a job's record. Raises `JobNotFound`."""
        return await self._call(lambda engine: engine.store.require(job_id))

    async def jobs(self, jobs: JobFilter | None = None, *, limit: int = 50, cursor: str | None = None) -> Page:
        """Return a page of records, newest first."""
        return await self._call(lambda engine: engine.store.page(jobs or JobFilter(), limit=limit, cursor=cursor))

    async def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job. Raises `JobNotFound`, `ActionRefused`."""
        return await self._call(lambda engine: engine.cancel(job_id))

    async def retry(self, job_id: str, **changes: Any) -> JobRecord:
        """Retry a failed or cancelled job, at the present price if it is bought again.

        `changes` are new values of the job's fields, such as `prompt`, if it is bought again. Raises `JobNotFound`,
        `ActionRefused`, `InvalidInput`.
        """
        return await self._call(lambda engine: engine.retry(job_id, changes))

    async def edit(self, job_id: str, **changes: Any) -> JobRecord:
        """Change fields of a job that has bought nothing, such as `prompt`, at the present price.

        A failed or cancelled job keeps its status. Raises `JobNotFound`, `ActionRefused`, `InvalidInput`.
        """
        return await self._call(lambda engine: engine.edit(job_id, changes))

    async def reschedule(self, job_id: str, *, due: float | None = None, start_by: float | None = None) -> JobRecord:
        """Give a job that has bought nothing another due instant or latest start (infinity removes that).

        A failed or cancelled job is retried then. Raises `JobNotFound`, `ActionRefused`, `InvalidInput`.
        """
        return await self._call(lambda engine: engine.reschedule(job_id, Times(due, start_by)))

    async def run_now(self, job_id: str) -> JobRecord:
        """Let a waiting job that has bought nothing start now. Raises `JobNotFound`, `ActionRefused`."""
        return await self._call(lambda engine: engine.run_now(job_id))

    async def resolve(self, job_id: str, decision: Resubmit | GiveUp | Ticket, *, force: bool = False) -> JobRecord:
        """Apply a decision on a paid create of unknown outcome; a ticket means that it was bought.

        Until the video exists, another decision can correct a ticket. The service must know the ticket, unless `force`
        is set. Raises `JobNotFound`, `ActionRefused`.
        """
        return await self._call(lambda engine: engine.resolve(job_id, decision, force=force))

    async def pause(self) -> None:
        """Stop dispatching jobs to any worker until `resume`."""
        await self._call(lambda engine: engine.queue.pause())

    async def resume(self) -> None:
        """Dispatch jobs again."""
        await self._call(lambda engine: engine.queue.resume())

    async def purge(self) -> int:
        """Cancel all waiting jobs that certainly bought nothing; return their number."""
        return await self._call(lambda engine: engine.queue.purge())

    async def update_rate_limits(
        self, *, max_dispatches_per_second: float | None = None, max_concurrent_dispatches: int | None = None
    ) -> dict[str, Any]:
        """Set the queue's limits for all workers until they are changed again; return them.

        Raises `InvalidInput`.
        """
        await self._call(lambda engine: engine.queue.set_limits(max_dispatches_per_second, max_concurrent_dispatches))
        limits: dict[str, Any] = (await self.status())["rate_limits"]
        return limits

    async def status(self) -> dict[str, Any]:
        """Return the state of the queue as JSON values."""
        return await self._call(describe_queue)

    async def _call(self, act: Callable[[Engine], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act, self.engine)

    def _open(self) -> Engine:
        return open_engine(load(over=_variables(self._config)), self._queue_type)


def _without_past(jobs: Sequence[NewJob], choice: str, engine: Engine) -> Sequence[NewJob]:
    """Return the jobs to add, after applying a choice to the new ones that are due in the past."""
    if choice not in tuple(Past):
        raise InvalidInput("past", f"must be {either(list(Past))}, not {choice!r}")
    now = engine.store.now()
    late = {item.job.job_id for item in jobs if is_past(item.due, now) and not engine.store.knows_id(item.job.job_id)}
    if late and choice == Past.REFUSE:
        first = next(item for item in jobs if item.job.job_id in late)
        raise InvalidInput(
            "due",
            f"{len(late):,} of {plural(len(jobs), 'job')} are due in the past; the first is {first.job.job_id}, at "
            f"{iso(first.due or 0.0)}",
            next_step='pass past="now" to start them at once, or past="skip" to leave them out',
        )
    if choice == Past.SKIP:
        return [item for item in jobs if item.job.job_id not in late]
    return [replace(item, due=None) if item.job.job_id in late else item for item in jobs]


def _variables(config: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Convert a `config` dict to environment variables, so that both are validated in one place."""
    values: dict[str, str] = {}
    if not isinstance(config, Mapping) or not all(isinstance(entries, Mapping) for entries in config.values()):
        raise InvalidInput("config", 'must be a dict of dicts such as {"redis": {"host": "localhost"}}')
    for section, entries in config.items():
        known = CONFIG_KEYS.get(section)
        if known is None:
            raise InvalidInput("config", f"has no section {section!r}, only {', '.join(CONFIG_KEYS)}")
        for key, value in entries.items():
            if key not in known:
                raise InvalidInput(f"config.{section}", f"has no key {key!r}, only {', '.join(known)}")
            values[known[key]] = str(value)
    if "REDIS_HOST" in values:
        values["REDIS_URL"] = ""  # a URL in the environment would win over the host
    return values
