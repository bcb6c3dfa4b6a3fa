"""The job store on a Redis or Valkey server (6.2 or newer): for any number of machines.

A record lies in one hash, after its position and its version; sorted sets hold what claims and lists ask for. A claim
writes no record: the lease lies beside it, and reading one puts it in (`Stored`). Any other change is made here, by
`lifecycle`, and committed by a script that refuses it if the version is not the one that was read.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice
from threading import Event
from typing import Any

import msgspec
import redis

from tenxsom_flow_engine import lifecycle
from tenxsom_flow_engine.clock import Clock, SteadyClock
from tenxsom_flow_engine.codec import encode
from tenxsom_flow_engine.errors import ActionRefused, FlowError, InvalidInput, JobNotFound, SlotsBusy, StoreBroken
from tenxsom_flow_engine.jobs import TICKET_MARK, JobRecord, Status
from tenxsom_flow_engine.store import base
from tenxsom_flow_engine.store.redis.changes import Changes
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.redis.known import Known
from tenxsom_flow_engine.store.redis.rows import Stored, addition, commitment, matches, newcomer, past, place
from tenxsom_flow_engine.store.redis.server_clock import ServerClock
from tenxsom_flow_engine.store.redis.spending import sums

_log = logging.getLogger(__name__)

#: Jobs added by one call of a script.
CHUNK = 500
#: Entries of the plain list that are moved at a time.
INTAKE = 200


class RedisStore(base.JobStore, base.TakesIn):
    """See `store.base.JobStore`. `clock` replaces the server's time, for tests."""

    def __init__(self, url: str, prefix: str, clock: Clock | None = None) -> None:
        self._connection = Connection(url, prefix)
        #: The plain list that producers of old push onto: the name that our keys begin with, by itself.
        self._list = prefix
        self._clock = None if clock is None else SteadyClock(clock)
        self.place = self._connection.place
        self._server_clock = ServerClock(lambda: float(self._connection.run("now", "")))
        self._known = Known()
        self._changes = Changes(self._connection)
        self.advice = self._connection.check_server()

    @property
    def connection(self) -> Connection:
        """The server and our keys there, for what else is kept beside the records."""
        return self._connection

    def now(self) -> float:
        if self._clock is not None:
            return self._clock.learn(float(self._connection.run("now", self._instant())))
        return self._server_clock.now()

    def add(self, queue: str, jobs: Iterable[base.NewJob]) -> base.Added:
        new: list[str] = []
        known: list[str] = []
        remaining = iter(jobs)
        chunk = list(islice(remaining, CHUNK))
        while chunk:
            now = self.now()
            arguments: list[object] = []
            for item in chunk:
                arguments += newcomer(base.new_record(queue, item, now))
            following = list(islice(remaining, CHUNK))
            # What is on disk with the last chunk is so with those before it.
            answer = self._connection.run("add", self._instant(), queue, *arguments, on_disk=not following)
            for item, added in zip(chunk, answer, strict=True):
                (new if added else known).append(item.job.job_id)
            chunk = following
        return base.Added(tuple(new), tuple(known))

    def adopt(self, record: JobRecord) -> bool:
        slot = place(record)[4:6]
        arguments = [*addition(record, encode(record)), *slot]
        return bool(self._connection.run("adopt", self._instant(), record.queue, *arguments, on_disk=True))

    def get(self, job_id: str) -> JobRecord | None:
        stored = self._read(job_id)[0]
        return stored.record if stored else None

    def page(self, jobs: base.JobFilter, *, limit: int, cursor: str | None = None) -> base.Page:
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
            raise InvalidInput("cursor", f"{cursor!r} does not come from an earlier list")
        now = self.now()
        found: list[Stored] = []
        below = f"({cursor}" if cursor is not None else "+inf"
        while len(found) <= limit:
            ids = self._newest(jobs, below, limit + 1)
            if not ids:
                break
            below = f"({ids[-1][1]:.0f}"
            stored = self._read_many([job_id for job_id, _ in ids])
            found += [item for item in stored if matches(item.record, jobs, now)]
        more = len(found) > limit
        found = found[:limit]
        return base.Page(tuple(item.record for item in found), str(found[-1].position) if more and found else None)

    def counts(self, queue: str | None = None) -> base.Counts:
        now = self.now()
        by_status = dict.fromkeys(Status, 0)
        oldest: list[float] = []
        key = self._connection.key
        for name in self._queues(queue):
            with self._connection.mapped(), self._connection.client.pipeline() as pipeline:
                for status in Status:
                    pipeline.zcard(key(f"status:{name}:{status}"))
                pipeline.zcount(key(f"scheduled:{name}"), "-inf", repr(now))
                for lane in self._lanes(name):
                    pipeline.zrange(key(f"due:{name}:{lane}"), 0, 0, withscores=True)
                answers = pipeline.execute()
            overdue = answers[len(Status)]
            for status, size in zip(Status, answers[: len(Status)], strict=True):
                by_status[status] += size
            by_status[Status.SCHEDULED] -= overdue
            by_status[Status.QUEUED] += overdue
            oldest += [due for first in answers[len(Status) + 1 :] for _, due in first if due <= now]
        return base.Counts(by_status, min(oldest, default=None))

    def spent(self, since: str) -> Sequence[base.Spent]:
        with self._connection.mapped():
            return sums(self._connection.client.hgetall(self._connection.key("spent")), since)

    def in_flight(self, service: str) -> int:
        with self._connection.mapped():
            key = self._connection.key(f"slots:{service}")
            return int(self._connection.client.zcount(key, f"({self.now()!r}", "+inf"))

    def claim(self, request: base.ClaimRequest) -> base.Claim:
        services = [
            part
            for service, slots in request.slots.items()
            for part in (service, slots, "1" if service in request.open_to_all else "")
        ]
        while True:
            expired, taken, again, now, latest = self._connection.run(
                "claim", self._instant(), request.queue, request.worker, request.count, request.lease,
                request.limits.max_dispatches_per_second, request.limits.max_concurrent_dispatches,
                secrets.token_hex(6), request.only or "", *services,
            )  # fmt: skip
            if not expired:
                break
            for job_id in expired:
                self._expire(job_id)
        self._told(float(now))
        stored = list(self._readable(zip(*[iter(taken)] * 3, strict=True), request.queue))
        for one in stored:
            self._known.keep(one)
        return base.Claim(tuple(one.record for one in stored), float(again) if again else None, latest)

    def renew(self, leases: Mapping[str, str], duration: float) -> Collection[str]:
        pairs = [part for pair in leases.items() for part in pair]
        lost = set(self._connection.run("renew", self._instant(), duration, *pairs))
        for job_id in leases:
            self._known.forget(job_id)
        return lost

    def update(
        self,
        job_id: str,
        change: Callable[[JobRecord, float], JobRecord],
        *,
        slots: tuple[str, int] | None = None,
        on_disk: bool = False,
    ) -> JobRecord:
        for stored, now, fresh in self._reads(job_id):
            try:
                record = change(stored.record, now)
            except FlowError:
                if fresh:
                    raise
                continue  # what was known may be old, so it refuses nothing
            replacement = commitment(stored, record, now, slots)
            match self._connection.run("commit", self._instant(), *replacement, on_disk=on_disk):
                case "done":
                    self._known.keep(stored.followed_by(record))
                    return record
                case "busy" if slots:
                    raise SlotsBusy(*slots)
                case "gone":
                    break
        raise JobNotFound(job_id)

    def cancel_waiting(self, queue: str, limit: int) -> int:
        cancelled = 0
        for lane in self._lanes(queue):
            if lane.startswith(TICKET_MARK) or cancelled == limit:
                continue
            with self._connection.mapped():
                key = self._connection.key(f"due:{queue}:{lane}")
                waiting = self._connection.client.zrange(key, 0, limit - cancelled - 1)
            for member in waiting:
                # Claimed or cancelled by somebody else meanwhile: then it does not wait any more.
                with suppress(ActionRefused, JobNotFound):
                    self.update(_id_in(member), _cancel_waiting)
                    cancelled += 1
        return cancelled

    def overdue(self, queue: str, before: float, limit: int) -> Sequence[JobRecord]:
        client, key, bounds = self._connection.client, self._connection.key, ("-inf", f"({before!r}")
        due: list[tuple[str, float]] = []
        for lane in self._lanes(queue):
            with self._connection.mapped():
                due += client.zrangebyscore(key(f"due:{queue}:{lane}"), *bounds, start=0, num=limit, withscores=True)
        with self._connection.mapped():
            leased = client.zrangebyscore(key(f"leased:{queue}"), *bounds, start=0, num=limit)
        oldest = [_id_in(member) for member, _ in sorted(due, key=lambda pair: pair[1])]
        ids = [*oldest, *leased][:limit]
        return [stored.record for stored in self._read_many(ids)] if ids else []

    def hold(self, name: str, owner: str, seconds: float) -> bool:
        return bool(self._connection.run("hold", self._instant(), name, owner, seconds))

    def queue_state(self, queue: str) -> base.QueueState:
        with self._connection.mapped():
            paused, rate, concurrent = self._connection.client.hmget(
                self._connection.key(f"queue:{queue}"), "paused", "rate", "concurrent"
            )
        return base.QueueState(paused == "1", float(rate) if rate else None, int(concurrent) if concurrent else None)

    def set_queue_state(self, queue: str, change: Callable[[base.QueueState], base.QueueState]) -> base.QueueState:
        key = self._connection.key(f"queue:{queue}")
        state = base.QueueState()

        def write(pipeline: Any) -> None:
            nonlocal state
            state = change(self.queue_state(queue))
            pipeline.multi()
            values = {"rate": state.max_dispatches_per_second, "concurrent": state.max_concurrent_dispatches}
            pipeline.hset(
                key, mapping={"paused": int(state.paused)} | {k: v for k, v in values.items() if v is not None}
            )
            pipeline.hdel(key, *[k for k, v in values.items() if v is None] or ["-"])
            pipeline.xadd(self._connection.key("changes"), {"c": ""}, maxlen=16)

        with self._connection.mapped():
            self._connection.client.transaction(write, key)
        return state

    def beat(self, worker: base.WorkerInfo) -> None:
        seen = replace(worker, seen_at=self.now())
        with self._connection.mapped():
            self._connection.client.hset(self._connection.key("workers"), worker.id, msgspec.json.encode(asdict(seen)))

    def forget_worker(self, worker_id: str) -> None:
        with self._connection.mapped():
            self._connection.client.hdel(self._connection.key("workers"), worker_id)

    def workers(self, queue: str, *, within: float) -> Sequence[base.WorkerInfo]:
        since = self.now() - within
        return [worker for worker in self._all_workers() if worker.queue == queue and worker.seen_at >= since]

    def trim(self, retention: base.Retention) -> int:
        now = self.now()
        client, key = self._connection.client, self._connection.key
        with self._connection.mapped():
            client.zremrangebyscore(key("finished_ids"), "-inf", repr(now))
            old = client.zrangebyscore(key("finished"), "-inf", f"({now - retention.age!r}")
            excess = client.zcard(key("finished")) - retention.count
            if excess > len(old):
                old = client.zrange(key("finished"), 0, excess - 1)
            for worker in self._all_workers():
                if worker.seen_at < now - base.FORGET_WORKERS:
                    client.hdel(key("workers"), worker.id)
        return sum(self._remove(_id_in(member), now, now + retention.ids) for member in old)

    def take_in(self, queue: str, read: Callable[[str], base.NewJob]) -> base.TakenIn:
        with self._connection.mapped():
            try:
                entries = self._connection.client.lrange(self._list, -INTAKE, -1)
            except redis.exceptions.ResponseError:  # the key is something else than a list: not ours to touch
                return base.TakenIn()
        if not entries:
            return base.TakenIn()
        now = self.now()
        arguments: list[object] = []
        for entry in reversed(entries):
            try:
                item = read(entry)
            except InvalidInput as error:
                _log.warning("an entry of %s is set aside: %s", self._list, error)
                arguments += [entry, "", "", "", "", ""]
            else:
                record = base.new_record(queue, item, now)
                arguments += [entry, *newcomer(record)]
        moved, aside = self._connection.run("intake", self._instant(), queue, self._list, *arguments)
        return base.TakenIn(moved, aside)

    def set_aside(self) -> int:
        with self._connection.mapped():
            return int(self._connection.client.llen(self._connection.key("rejected")))

    def revision(self) -> object:
        return self._changes.latest()

    def wait(self, revision: object, *, timeout: float, wake: Event) -> None:
        self._changes.wait(str(revision), timeout, wake)

    def close(self) -> None:
        self._changes.close()
        self._connection.close()

    def _instant(self) -> str:
        return "" if self._clock is None else repr(self._clock.now())

    def _told(self, now: float) -> None:
        """Take the time that a script told."""
        if self._clock is None:
            self._server_clock.learn(now)

    def _read(self, job_id: str) -> tuple[Stored | None, float]:
        value, lease, now = self._connection.run("read", self._instant(), job_id)
        self._told(float(now))
        return (Stored.parse(job_id, value, lease) if value else None), float(now)

    def _reads(self, job_id: str) -> Iterator[tuple[Stored, float, bool]]:
        """Give a record to change, the time, and whether it was read just now; again as long as the change fails."""
        known = self._known.get(job_id)
        if known is not None:
            yield known, max(self.now(), known.record.updated_at), False
            self._known.forget(job_id)
        while True:
            stored, now = self._read(job_id)
            if stored is None:
                return
            yield stored, now, True

    def _readable(self, rows: Iterable[tuple[str, str, str | None]], queue: str | None = None) -> Iterator[Stored]:
        """Give the records that can be read, and tell of the others: one bad record must not stop the rest.

        With `queue`, a bad one that was claimed there is set aside: no worker gets it again.
        """
        for job_id, value, lease in rows:
            try:
                yield Stored.parse(job_id, value, lease)
            except StoreBroken as error:
                _log.error("%s", error)
                if queue is not None:
                    with self._connection.mapped():
                        self._connection.client.zrem(self._connection.key(f"leased:{queue}"), job_id)

    def _read_many(self, job_ids: Sequence[str]) -> list[Stored]:
        with self._connection.mapped(), self._connection.client.pipeline() as pipeline:
            pipeline.hmget(self._connection.key("jobs"), job_ids)
            pipeline.hmget(self._connection.key("leases"), job_ids)
            values, leases = pipeline.execute()
        rows = zip(job_ids, values, leases, strict=True)
        return list(self._readable((job_id, value, lease) for job_id, value, lease in rows if value))

    def _newest(self, jobs: base.JobFilter, below: str, count: int) -> list[tuple[str, float]]:
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

    def _lanes(self, queue: str) -> Iterable[str]:
        """Return the lanes that jobs of a queue have ever waited in."""
        with self._connection.mapped():
            names: set[str] = self._connection.client.smembers(self._connection.key(f"lanes:{queue}"))
            return sorted(names)

    def _queues(self, queue: str | None) -> Iterable[str]:
        if queue is not None:
            return [queue]
        with self._connection.mapped():
            names: set[str] = self._connection.client.smembers(self._connection.key("queues"))
            return sorted(names)

    def _all_workers(self) -> Iterator[base.WorkerInfo]:
        with self._connection.mapped():
            known = self._connection.client.hvals(self._connection.key("workers"))
        for value in known:
            yield msgspec.json.decode(value, type=base.WorkerInfo)

    def _expire(self, job_id: str) -> None:
        def expire(record: JobRecord, now: float) -> JobRecord:
            # Another worker may have taken it back, or its own may have come round.
            return lifecycle.expire(record, now) if record.lease and record.lease.until <= now else record

        self.update(job_id, expire)

    def _remove(self, job_id: str, now: float, remember_until: float) -> bool:
        stored, _ = self._read(job_id)
        if stored is None or (stored.record.holds_slot and stored.record.submission.deadline > now):
            return False
        where = place(stored.record)
        return bool(
            self._connection.run("remove", self._instant(), job_id, stored.version, repr(remember_until), *where)
        )


def _id_in(member: str) -> str:
    """Return the job's id of an index's member, which begins with its position."""
    return member[past(member, 0) :]


def _cancel_waiting(record: JobRecord, now: float) -> JobRecord:
    if record.due is None or record.lane.startswith(TICKET_MARK):
        raise ActionRefused(f"job {record.job_id} does not wait any more")
    return lifecycle.cancel(record, now)
