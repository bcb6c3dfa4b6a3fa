"""Lists and counts of jobs, from indexes alone: what they cost does not grow with what waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.store.base import Counts, JobFilter, Page
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.redis.records import Records
from tenxsom_flow_engine.store.redis.rows import Stored, matches

#: Records read at a time at most, where a filter lets few through.
LONGEST_READ = 2000


class Lists:
    """What is asked about many jobs at once."""

    def __init__(self, connection: Connection, records: Records) -> None:
        self._connection = connection
        self._records = records

    def page(self, jobs: JobFilter, now: float, *, limit: int, cursor: str | None) -> Page:
        """See `JobStore.page`."""
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
            raise InvalidInput("cursor", f"{cursor!r} does not come from an earlier list")
        found: list[Stored] = []
        below = f"({cursor}" if cursor is not None else "+inf"
        count = limit + 1
        while len(found) <= limit:
            ids = self._newest(jobs, below, count)
            if not ids:
                break
            below = f"({ids[-1][1]:.0f}"
            stored = self._records.read_many([job_id for job_id, _ in ids], text=_sought(jobs))
            found += [item for item in stored if matches(item.record, jobs, now)]
            count = max(count, min(count * 2, LONGEST_READ))
        more = len(found) > limit
        found = found[:limit]
        return Page(tuple(item.record for item in found), str(found[-1].position) if more and found else None)

    def counts(self, queue: str | None, now: float) -> Counts:
        """See `JobStore.counts`."""
        by_status = dict.fromkeys(Status, 0)
        oldest: list[float] = []
        key = self._connection.key
        for name in self._queues(queue):
            with self._connection.mapped(), self._connection.client.pipeline() as pipeline:
                for status in Status:
                    pipeline.zcard(key(f"status:{name}:{status}"))
                pipeline.zcount(key(f"scheduled:{name}"), "-inf", repr(now))
                for lane in self.lanes(name):
                    pipeline.zrange(key(f"due:{name}:{lane}"), 0, 0, withscores=True)
                answers = pipeline.execute()
            overdue = answers[len(Status)]
            for status, size in zip(Status, answers[: len(Status)], strict=True):
                by_status[status] += size
            by_status[Status.SCHEDULED] -= overdue
            by_status[Status.QUEUED] += overdue
            oldest += [due for first in answers[len(Status) + 1 :] for _, due in first if due <= now]
        return Counts(by_status, min(oldest, default=None))

    def coming(self, now: float, limit: int) -> Sequence[JobRecord]:
        """See `JobStore.coming`."""
        after = f"({now!r}"
        found = [pair for ids in self._scheduled("zrangebyscore", after, "+inf", 0, limit, True) for pair in ids]
        found.sort(key=lambda pair: pair[1])
        return [one.record for one in self._records.read_many([job_id for job_id, _ in found[:limit]])]

    def scheduled_before(self, now: float, instant: float) -> int:
        """See `JobStore.scheduled_before`."""
        return sum(self._scheduled("zcount", f"({now!r}", f"({instant!r}"))

    def _scheduled(self, command: str, *arguments: Any) -> list[Any]:
        """Ask each queue's list of scheduled jobs, all in one round trip."""
        with self._connection.mapped(), self._connection.client.pipeline() as pipeline:
            for name in self._queues(None):
                getattr(pipeline, command)(self._connection.key(f"scheduled:{name}"), *arguments)
            answers: list[Any] = pipeline.execute()
            return answers

    def lanes(self, queue: str) -> Iterable[str]:
        """Return the lanes that jobs of a queue have ever waited in."""
        with self._connection.mapped():
            names: set[str] = self._connection.client.smembers(self._connection.key(f"lanes:{queue}"))
            return sorted(names)

    def _newest(self, jobs: JobFilter, below: str, count: int) -> list[tuple[str, float]]:
        """Return ids with their positions, newest first, of all jobs that may match."""
        statuses = set(jobs.statuses or Status)
        if Status.QUEUED in statuses:
            statuses.add(Status.SCHEDULED)
        with self._connection.mapped(), self._connection.client.pipeline() as pipeline:
            for queue in self._queues(jobs.queue):
                for status in statuses:
                    key = self._connection.key(f"status:{queue}:{status}")
                    pipeline.zrevrangebyscore(key, below, "-inf", start=0, num=count, withscores=True)
            ids = [pair for answer in pipeline.execute() for pair in answer]
        return sorted(ids, key=lambda pair: -pair[1])[:count]

    def _queues(self, queue: str | None) -> Iterable[str]:
        if queue is not None:
            return [queue]
        with self._connection.mapped():
            names: set[str] = self._connection.client.smembers(self._connection.key("queues"))
            return sorted(names)


def _sought(jobs: JobFilter) -> str:
    """Return the text that a record must hold somewhere as it is written, which spares decoding most of the others."""
    text = (jobs.text or "").casefold()
    # These are written in another way in JSON.
    return "" if "\\" in text or '"' in text or not text.isprintable() else text
