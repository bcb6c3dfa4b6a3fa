"""Lists and counts of jobs, from indexes: what they cost does not grow with what waits, and is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import AUTO, JobRecord, Status
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.redis.records import Records
from tenxsom_flow_engine.store.redis.rows import Stored
from tenxsom_flow_engine.store.redis.zones import TOP, Range, zones
from tenxsom_flow_engine.store.values import Counts, JobFilter, MatchCount, Page

#: Records looked at for one page, and for one count. One takes some 7 microseconds.
LOOKED, COUNTED = 3_000, 10_000
#: Records looked at together at most, and ranges of positions.
MANY = 1000


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
        end: int | None = None
        below = TOP if cursor is None else int(cursor)
        for batch, end in self._matching(jobs, now, below, count=limit + 1, most=max(LOOKED, limit + 1)):
            found += batch
            if len(found) > limit:
                end = found[limit - 1].position
                break
        return Page(tuple(item.record for item in found[:limit]), None if end is None else str(end))

    def count(self, jobs: JobFilter, now: float) -> MatchCount:
        """See `JobStore.count_matching`."""
        if jobs == JobFilter(queue=jobs.queue, statuses=jobs.statuses):
            by_status = self.counts(jobs.queue, now).by_status
            return MatchCount(sum(by_status[status] for status in set(jobs.statuses or Status)))
        found, end = 0, None
        for batch, end in self._matching(jobs, now, TOP, count=MANY, most=COUNTED):  # noqa: B007 (the last one counts)
            found += len(batch)
        return MatchCount(found, complete=end is None)

    def _matching(
        self, jobs: JobFilter, now: float, below: int, *, count: int, most: int
    ) -> Iterator[tuple[list[Stored], int | None]]:
        """Give the matching records below a position, newest first, and below which one to go on (None: all are given).

        They come in batches: of `count` records that are looked at, then of more. Ends when `most` have been.
        """
        sets = self._sets(jobs)
        may_match = _screen(jobs)
        all_ranges = zones(self._connection, jobs).ranges(below)
        ranges: list[Range] = []
        while most > 0:
            ranges += islice(all_ranges, MANY - len(ranges))
            if not ranges:
                yield [], None
                return
            ids, left = self._newest(sets, ranges, min(count, most))
            # Places where nothing is left take time, too.
            most -= max(len(ids), len(ranges) - len(left))
            ranges = left
            names = [job_id for job_id, _ in ids]
            stored = self._records.read_many(self._records.screen(names, may_match) if may_match else names)
            found = [item for item in stored if _matches(item.record, jobs, now)]
            if not ranges:
                ranges += islice(all_ranges, 1)
            yield found, ranges[0][0] + 1 if ranges else None
            count = min(count * 2, MANY)

    def counts(self, queue: str | None, now: float) -> Counts:
        """See `JobStore.status_counts`."""
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

    def next_scheduled(self, limit: int, now: float) -> Sequence[JobRecord]:
        """See `JobStore.next_scheduled`."""
        after = f"({now!r}"
        found = [pair for ids in self._scheduled("zrangebyscore", after, "+inf", 0, limit, True) for pair in ids]
        found.sort(key=lambda pair: pair[1])
        return [one.record for one in self._records.read_many([job_id for job_id, _ in found[:limit]])]

    def scheduled_before(self, instant: float, now: float) -> int:
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

    def _newest(
        self, sets: Sequence[str], ranges: Sequence[Range], count: int
    ) -> tuple[list[tuple[str, int]], list[Range]]:
        """Return the newest ids in sorted sets, with their positions, and the ranges that are left to look into."""
        edges = [edge for one in ranges for edge in one]
        done, text = self._connection.run("newest", "", count, len(sets), *sets, *edges)
        parts = text.split()
        found = sorted(zip(parts[::2], map(int, parts[1::2]), strict=True), key=lambda pair: -pair[1])
        left = list(ranges[done:])
        if len(found) >= count:
            found = found[:count]
            below, lowest = found[-1][1], ranges[done - 1][1]
            if below > lowest:
                left.insert(0, (below - 1, lowest))
        return found, left

    def _sets(self, jobs: JobFilter) -> list[str]:
        """Return the sorted sets in which the jobs of the statuses asked for are, with their positions."""
        statuses = {Status(status) for status in jobs.statuses or Status}
        if Status.QUEUED in statuses:
            statuses.add(Status.SCHEDULED)
        return [f"status:{queue}:{status}" for queue in self._queues(jobs.queue) for status in statuses]

    def _queues(self, queue: str | None) -> Iterable[str]:
        if queue is not None:
            return [queue]
        with self._connection.mapped():
            names: set[str] = self._connection.client.smembers(self._connection.key("queues"))
            return sorted(names)


def _screen(jobs: JobFilter) -> Callable[[str, str], bool] | None:
    """Return what judges a job by its id and its record as it is written: it lets all through that match, and few more.

    That takes far less time than decoding. None: it would let all through.
    """
    text = (jobs.text or "").casefold()
    if "\\" in text or '"' in text or not text.isprintable():  # these are written in another way
        text = ""
    tags = [f'"channel":"{jobs.channel}"'] if jobs.channel else []
    tags += [f'"service":"{jobs.service}"'] if jobs.service and jobs.service != AUTO else []  # which is left out
    if not text and not tags:
        return None

    def may_match(job_id: str, value: str) -> bool:
        if not all(tag in value for tag in tags):
            return False
        if not text or text in job_id.casefold():
            return True
        begin = value.find(_TOPIC)
        # Within a text a quote has a backslash before it, so this is where the topic ends.
        return text in value[begin + len(_TOPIC) : value.find('","', begin)].casefold()

    return may_match


#: Before the topic, in a record as it is written; another text stands behind it, or a comma.
_TOPIC = '"topic":"'


def _matches(record: JobRecord, jobs: JobFilter, now: float) -> bool:
    """Tell whether a record is one that a filter asks for, at an instant."""
    text = (jobs.text or "").casefold()
    return (
        (not jobs.statuses or record.status_at(now) in jobs.statuses)
        and jobs.service in (None, record.effective_service)
        and jobs.channel in (None, record.job.channel)
        and (not text or text in record.job.topic.casefold() or text in record.job_id.casefold())
        and (jobs.added_from is None or record.added_at >= jobs.added_from)
        and (jobs.added_before is None or record.added_at < jobs.added_before)
    )
