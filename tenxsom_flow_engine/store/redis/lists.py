"""List and count jobs through indexes, at a bounded cost that does not grow with the number of waiting jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.redis.position_bitmaps import TOP_POSITION, Range, ranges
from tenxsom_flow_engine.store.redis.records import Records, Row
from tenxsom_flow_engine.store.redis.rows import Stored, Summary, id_in, packed
from tenxsom_flow_engine.store.values import Counts, JobFilter, ListBounds, MatchCount, Order, OrderedJobs, Page

#: Reading a record takes about 5 µs, decoding it completely about 4 µs more.
LIST_BOUNDS = ListBounds(page=3_000, count=10_000)
#: A job's id and its position in the text that `newest.lua` returns.
_ID_AND_POSITION = re.compile(r"(?<!\S)([A-Za-z0-9_-]+) (\d{1,16})(?!\S)")


class Lists:
    """Pages and counts of jobs."""

    def __init__(self, connection: Connection, records: Records, bounds: ListBounds) -> None:
        self._connection = connection
        self._records = records
        self._bounds = bounds
        #: Maximum number of records, and of ranges of positions, read at a time.
        self._batch = max(1, bounds.count // 10)

    def page(self, jobs: JobFilter, now: float, *, limit: int, cursor: str | None) -> Page:
        """See `JobStore.page`."""
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
            raise InvalidInput("cursor", f"{cursor!r} is not a cursor of an earlier page")
        found: list[Stored] = []
        end: int | None = None
        below = TOP_POSITION if cursor is None else int(cursor)
        for rows, end in self._matching(jobs, below, count=limit + 1, most=max(self._bounds.page, limit + 1)):
            found += self._decode(rows, jobs, now)
            if len(found) > limit:
                end = found[limit - 1].position
                break
        return Page(tuple(item.record for item in found[:limit]), None if end is None else str(end))

    def ordered(self, order: Order, jobs: JobFilter, now: float, *, limit: int) -> OrderedJobs:
        """See `JobStore.ordered`."""
        most = max(self._bounds.page, limit + 1)
        ids, more = self._due(jobs, most) if order is Order.DUE else self._finished(jobs, most)
        matching = _matches(jobs)
        found: list[JobRecord] = []
        size = limit + 1
        while ids and len(found) <= limit:
            rows = self._records.values(ids[:size])
            ids, size = ids[size:], self._batch
            found += [
                item.record
                for item in self._decode(rows if matching is None else list(filter(matching, rows)), jobs, now)
                # It can have changed since its index was read.
                if (item.record.due if order is Order.DUE else item.record.finished_at) is not None
                and jobs.queue in (None, item.record.queue)
            ]
        return OrderedJobs(tuple(found[:limit]), more or len(found) > limit)

    def _due(self, jobs: JobFilter, most: int) -> tuple[list[str], bool]:
        """Return the ids of at most `most` jobs by due time, and whether others follow."""
        keys = [f"due:{queue}:{lane}" for queue in self._queues(jobs.queue) for lane in self.lanes(queue)]
        with self._connection.mapped(), self._connection.client.pipeline() as pipeline:
            for key in keys:
                pipeline.zrange(self._connection.key(key), 0, most, withscores=True)
            members = sorted((due, member) for answer in pipeline.execute() for member, due in answer)
        with self._connection.decoding("due"):
            return [id_in(member) for _, member in members[:most]], len(members) > most

    def _finished(self, jobs: JobFilter, most: int) -> tuple[list[str], bool]:
        """Return the ids of at most `most` finished jobs, the latest first, and whether others follow.

        There is no index of failed jobs by time, so those that were added last are read.
        """
        with self._connection.mapped(), self._connection.client.pipeline() as pipeline:
            pipeline.zrevrange(self._connection.key("finished"), 0, most, withscores=True)
            for queue in self._queues(jobs.queue):
                pipeline.zrevrange(self._connection.key(f"status:{queue}:{Status.FAILED}"), 0, most)
            finished, *failed = pipeline.execute()
        members = [(at, member) for member, at in finished]
        for item in self._records.read_many([job_id for answer in failed for job_id in answer]):
            members.append((item.record.finished_at or 0.0, packed(item.position) + item.record.job_id))
        members.sort(reverse=True)
        with self._connection.decoding("finished"):
            return [id_in(member) for _, member in members[:most]], len(members) > most

    def count_matching(self, jobs: JobFilter, now: float) -> MatchCount:
        """See `JobStore.count_matching`."""
        if jobs == JobFilter(queue=jobs.queue, statuses=jobs.statuses):
            by_status = self.status_counts(jobs.queue, now).by_status
            return MatchCount(sum(by_status[status] for status in set(jobs.statuses or Status)))
        found, end = 0, None
        # A job in the sorted set `scheduled` becomes queued when it is due, without a write; the other sets are exact.
        needs_status = (Status.SCHEDULED in jobs.statuses) != (Status.QUEUED in jobs.statuses)
        for rows, end in self._matching(  # noqa: B007 (`end` of the last batch is used)
            jobs, TOP_POSITION, count=self._batch, most=self._bounds.count
        ):
            found += len(self._decode(rows, jobs, now) if needs_status else rows)
        return MatchCount(found, complete=end is None)

    def _matching(
        self, jobs: JobFilter, below: int, *, count: int, most: int
    ) -> Iterator[tuple[Sequence[Row], int | None]]:
        """Yield batches of matching rows below a position, newest first, and the position to continue from (None: end).

        The first batch examines `count` records, later ones more. Ends when `most` records have been examined.
        """
        sets = self._sets(jobs)
        matching = _matches(jobs)
        all_ranges = ranges(self._connection, jobs, below)
        remaining: list[Range] = []
        while most > 0:
            remaining += islice(all_ranges, self._batch - len(remaining))
            if not remaining:
                yield [], None
                return
            ids, left = self._newest(sets, remaining, min(count, most))
            # Reading a range whose jobs were all removed also takes time.
            most -= max(len(ids), len(remaining) - len(left))
            remaining = left
            rows = self._records.values([job_id for job_id, _ in ids])
            if not remaining:
                remaining += islice(all_ranges, 1)
            yield rows if matching is None else list(filter(matching, rows)), remaining[0][0] + 1 if remaining else None
            count = min(count * 2, self._batch)

    def _decode(self, rows: Sequence[Row], jobs: JobFilter, now: float) -> list[Stored]:
        stored = self._records.decode(rows)
        return [item for item in stored if not jobs.statuses or item.record.status_at(now) in jobs.statuses]

    def status_counts(self, queue: str | None, now: float) -> Counts:
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
        return [stored.record for stored in self._records.read_many([job_id for job_id, _ in found[:limit]])]

    def scheduled_before(self, instant: float, now: float) -> int:
        """See `JobStore.scheduled_before`."""
        return sum(self._scheduled("zcount", f"({now!r}", f"({instant!r}"))

    def _scheduled(self, command: str, *arguments: Any) -> list[Any]:
        """Run a command on the sorted set of scheduled jobs of each queue, in one round trip."""
        with self._connection.mapped(), self._connection.client.pipeline() as pipeline:
            for name in self._queues(None):
                getattr(pipeline, command)(self._connection.key(f"scheduled:{name}"), *arguments)
            answers: list[Any] = pipeline.execute()
            return answers

    def lanes(self, queue: str) -> Iterable[str]:
        """Return all lanes in which jobs of a queue have ever waited."""
        with self._connection.mapped():
            names: set[str] = self._connection.client.smembers(self._connection.key(f"lanes:{queue}"))
            return sorted(names)

    def _newest(
        self, sets: Sequence[str], within: Sequence[Range], count: int
    ) -> tuple[list[tuple[str, int]], list[Range]]:
        """Return the newest ids in sorted sets with their positions, and the ranges still to read."""
        edges = [edge for range_ in within for edge in range_]
        done, text = self._connection.run("newest", "", count, len(sets), *sets, *edges)
        parts = text.split()
        try:
            pairs = list(zip(parts[::2], map(int, parts[1::2]), strict=True))
        except ValueError:  # another program has added members
            pairs = [(job_id, int(position)) for job_id, position in _ID_AND_POSITION.findall(text)]
        found = sorted(pairs, key=lambda pair: -pair[1])
        left = list(within[done:])
        if len(found) >= count:
            found = found[:count]
            below, lowest = found[-1][1], within[done - 1][1]
            if below > lowest:
                left.insert(0, (below - 1, lowest))
        return found, left

    def _sets(self, jobs: JobFilter) -> list[str]:
        """Return the names of the sorted sets of the statuses in a filter."""
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


def _matches(jobs: JobFilter) -> Callable[[Row], bool] | None:
    """Return a predicate for all fields of a filter except queue and status; None: all rows match."""
    if jobs == JobFilter(queue=jobs.queue, statuses=jobs.statuses):
        return None
    text = (jobs.text or "").casefold()

    def matching(row: Row) -> bool:
        item = Summary.parse(*row)
        return item is None or (  # an unreadable record is logged when it is decoded completely
            jobs.service in (None, item.effective_service)
            and jobs.channel in (None, item.job.channel)
            and (not text or text in item.job.topic.casefold() or text in item.job.job_id.casefold())
            and (jobs.added_from is None or item.added_at >= jobs.added_from)
            and (jobs.added_before is None or item.added_at < jobs.added_before)
        )

    return matching
