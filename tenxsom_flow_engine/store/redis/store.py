"""The job store on a Redis or Valkey server (6.2 or newer): for any number of machines.

All records are in one hash, each as JSON after its position and its version; sorted sets are the indexes for claims and
lists. A claim writes no record: leases are in a separate hash, and reading a record adds its lease (`Stored`). Other
changes are computed here, by `lifecycle`, and committed by a script that refuses them if the version has changed since
the read.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain, islice
from threading import Event as Signal

import msgspec
import redis

from tenxsom_flow_engine.budgets import Amounts, Budget, Period
from tenxsom_flow_engine.budgets.charges import BudgetCheck, charge_changes, quarter
from tenxsom_flow_engine.channels.schedules import Schedule, Topic
from tenxsom_flow_engine.channels.settings import Channel, parse_channel
from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import ActionRefused, InvalidInput
from tenxsom_flow_engine.events import Delivery, DeliveryState, Endpoint, Event, Settled
from tenxsom_flow_engine.events.changes import queue_events
from tenxsom_flow_engine.events.outbox import Health
from tenxsom_flow_engine.jobs import TICKET_MARK, JobRecord, lifecycle
from tenxsom_flow_engine.store.base import Change, JobStore, LegacyImport, new_record
from tenxsom_flow_engine.store.claiming import expire
from tenxsom_flow_engine.store.redis.budgets import Budgets, Charges
from tenxsom_flow_engine.store.redis.changes import Changes
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.redis.lists import LIST_BOUNDS, Lists
from tenxsom_flow_engine.store.redis.outbox import Outbox
from tenxsom_flow_engine.store.redis.position_bitmaps import day_of
from tenxsom_flow_engine.store.redis.records import Records
from tenxsom_flow_engine.store.redis.rows import added_job, id_in, index_position, is_member
from tenxsom_flow_engine.store.redis.schedules import Schedules
from tenxsom_flow_engine.store.redis.server_clock import ServerClock
from tenxsom_flow_engine.store.redis.totals import before_period, read_errors, read_sums
from tenxsom_flow_engine.store.totals import HOUR, KEEP_HOURS, LastError, Total, expired_kind, hour
from tenxsom_flow_engine.store.values import (
    FORGET_WORKERS_AFTER_SECONDS,
    Added,
    Claim,
    ClaimRequest,
    Counts,
    ImportResult,
    JobFilter,
    ListBounds,
    MatchCount,
    NewJob,
    Order,
    OrderedJobs,
    Page,
    QueueState,
    Retention,
    Slots,
    WorkerInfo,
)
from tenxsom_flow_engine.text import one_line
from tenxsom_flow_engine.timings import Timings

_log = logging.getLogger(__name__)

#: Jobs added by one call of a script.
CHUNK_JOBS = 500
#: Entries of the legacy list imported at a time.
CHUNK_ENTRIES = 200
#: Characters of a rejected entry that the log shows.
SHOWN_ENTRY = 120


class RedisStore(JobStore, LegacyImport):
    """See `store.base.JobStore`. `clock` replaces the server's time in tests; `bounds` limit the cost of a list.

    `suffix` follows the prefix of the keys: another store beside this one, for a restore.
    """

    scheme = "redis"

    def __init__(
        self,
        url: str,
        prefix: str,
        clock: Clock | None = None,
        timings: Timings = Timings(),
        bounds: ListBounds = LIST_BOUNDS,
        suffix: str = "",
    ) -> None:
        self._connection = Connection(url, prefix, timings, suffix)
        #: The legacy list: its key is the prefix of the store's keys.
        self._list = prefix
        self.place = self._connection.place
        self._clock = ServerClock(self._connection, clock)
        self._budgets = Budgets(self._connection)
        self._outbox = Outbox(self._connection)
        self._records = Records(self._connection, self._clock, self._budgets, self._outbox, self.job_events)
        self._lists = Lists(self._connection, self._records, bounds)
        self._schedules = Schedules(self._connection)
        self._changes = Changes(self._connection)
        self.advice = self._connection.check_server()
        self._budgets.seed(self.now)
        self._enter_turns()

    @property
    def connection(self) -> Connection:
        """The connection, for other data that is stored next to the records."""
        return self._connection

    def now(self) -> float:
        return self._clock.now()

    def set_clock_back(self, instant: float) -> None:
        self._connection.run("set_clock_back", repr(instant))
        self._connection.run("charges_back", "", quarter(instant))

    def add(self, queue: str, jobs: Iterable[NewJob]) -> Added:
        new: list[str] = []
        known: list[str] = []
        remaining = iter(jobs)
        chunk = list(islice(remaining, CHUNK_JOBS))
        while chunk:
            now = self.now()
            added = msgspec.msgpack.encode([added_job(new_record(queue, item, now)) for item in chunk])
            following = list(islice(remaining, CHUNK_JOBS))
            # When the last chunk is on disk, all chunks before it are too.
            answer = self._connection.run(
                "add", self._clock.instant(), queue, day_of(now), added, on_disk=not following
            )
            for item, is_new in zip(chunk, answer, strict=True):
                (new if is_new == "1" else known).append(item.job.job_id)
            chunk = following
        return Added(tuple(new), tuple(known))

    def adopt(self, record: JobRecord) -> bool:
        place = index_position(record)
        changes = charge_changes(None, record)
        arguments = [
            day_of(record.added_at),
            msgspec.msgpack.encode(added_job(record)),
            *place[4:6],
            Charges(changes).encoded() if changes else "",
        ]
        return bool(self._connection.run("adopt", self._clock.instant(), record.queue, *arguments, on_disk=True))

    def knows_id(self, job_id: str) -> bool:
        client, key = self._connection.client, self._connection.key
        with self._connection.mapped():
            until = client.zscore(key("finished_ids"), job_id)
            return bool(client.hexists(key("jobs"), job_id)) or (until is not None and float(until) > self.now())

    def get(self, job_id: str) -> JobRecord | None:
        stored = self._records.read(job_id)[0]
        return stored.record if stored else None

    def get_each(self, job_ids: Sequence[str]) -> Sequence[JobRecord]:
        return [stored.record for stored in self._records.read_many(job_ids)]

    def page(self, jobs: JobFilter, *, limit: int, cursor: str | None = None) -> Page:
        return self._lists.page(jobs, self.now(), limit=limit, cursor=cursor)

    def count_matching(self, jobs: JobFilter) -> MatchCount:
        return self._lists.count_matching(jobs, self.now())

    def status_counts(self, queue: str | None = None) -> Counts:
        return self._lists.status_counts(queue, self.now())

    def holds_jobs(self) -> bool:
        with self._connection.mapped():
            return bool(self._connection.client.exists(self._connection.key("queues")))

    def ordered(self, order: Order, jobs: JobFilter, *, limit: int) -> OrderedJobs:
        return self._lists.ordered(order, jobs, self.now(), limit=limit)

    def next_scheduled(self, limit: int) -> Sequence[JobRecord]:
        return self._lists.next_scheduled(limit, self.now())

    def scheduled_before(self, instant: float) -> int:
        return self._lists.scheduled_before(instant, self.now())

    def totals(self, kind: str, since: str = "") -> Sequence[Total]:
        name = f"sums:{kind}"
        with self._connection.mapped(), self._connection.decoding(name):
            return read_sums(kind, self._connection.client.hgetall(self._connection.key(name)), since)

    def last_errors(self) -> Mapping[str, LastError]:
        with self._connection.mapped(), self._connection.decoding("last_errors"):
            return read_errors(self._connection.client.hgetall(self._connection.key("last_errors")))

    def in_flight(self, service: str) -> int:
        with self._connection.mapped():
            key = self._connection.key(f"slots:{service}")
            return int(self._connection.client.zcount(key, f"({self.now()!r}", "+inf"))

    def channel_in_flight(self, channel: str) -> int:
        with self._connection.mapped():
            key = self._connection.key(f"channel_slots:{channel}")
            return int(self._connection.client.zcount(key, f"({self.now()!r}", "+inf"))

    def slot_holders(self, service: str, limit: int) -> Sequence[JobRecord]:
        with self._connection.mapped():
            key = self._connection.key(f"slots:{service}")
            ids = self._connection.client.zrangebyscore(key, f"({self.now()!r}", "+inf", 0, limit)
        return self.get_each(ids)

    def claim(self, request: ClaimRequest) -> Claim:
        services = [
            part
            for service, slots in request.slots.items()
            for part in (service, slots, "1" if service in request.open_to_all else "")
        ]
        while True:
            expired, taken, again, now, latest = self._connection.run(
                "claim", self._clock.instant(), request.queue, request.worker, request.count, request.lease,
                request.limits.max_dispatches_per_second, request.limits.max_concurrent_dispatches,
                secrets.token_hex(6), request.only or "", *services,
            )  # fmt: skip
            if not expired:
                break
            self._clock.learn(now)
            self._records.change_each(expired, expire, claimed_in=request.queue)
        self._clock.learn(now)
        stored = list(self._records.readable(map(_claimed_row, taken), request.queue))
        for item in stored:
            self._records.leased.keep(item)
        return Claim(tuple(item.record for item in stored), float(again) if again else None, latest)

    def renew(self, leases: Mapping[str, str], duration: float) -> Collection[str]:
        pairs = [part for pair in leases.items() for part in pair]
        lost = set(self._connection.run("renew", self._clock.instant(), duration, *pairs))
        for job_id in leases:
            self._records.leased.forget(job_id)
        return lost

    def update(
        self,
        job_id: str,
        change: Change,
        *,
        slots: Slots | None = None,
        budgets: BudgetCheck | None = None,
        on_disk: bool = False,
    ) -> JobRecord:
        return self._records.change(job_id, change, slots=slots, budgets=budgets, on_disk=on_disk)

    def update_each(self, changes: Sequence[tuple[str, Change]]) -> Sequence[JobRecord | Exception]:
        return self._records.change_leased(changes)

    def budgets(self) -> Mapping[str, Budget]:
        return self._budgets.stored()

    def set_budget(self, scope: str, budget: Budget | None) -> None:
        self._budgets.put(scope, budget)

    def amounts(self, periods: Sequence[tuple[str, Period]]) -> Sequence[Amounts]:
        return self._budgets.amounts(periods)

    def channels(self) -> Mapping[str, Channel]:
        with self._connection.mapped(), self._connection.decoding("channels"):
            found = self._connection.client.hgetall(self._connection.key("channels"))
            return {name: parse_channel(found[name]) for name in sorted(found)}

    def channel(self, name: str) -> Channel:
        with self._connection.mapped(), self._connection.decoding("channels"):
            found = self._connection.client.hget(self._connection.key("channels"), name)
            return parse_channel(found) if found else Channel()

    def set_channel(self, name: str, change: Callable[[Channel], Channel | None]) -> None:
        while True:
            with self._connection.mapped(), self._connection.decoding("channels"):
                found = self._connection.client.hget(self._connection.key("channels"), name) or ""
                present = parse_channel(found) if found else Channel()
            channel = change(present)
            new, kept = channel.text if channel else "", channel or Channel()
            arguments = (found, new, repr(float(kept.weight)), "1" if kept.paused else "")
            if self._connection.run("set_channel", self._clock.instant(), name, *arguments):
                return

    def _enter_turns(self) -> None:
        """Give turns to the waiting jobs of lanes that an earlier release has filled."""
        found = self._connection.run("enter_turns", self._clock.instant())
        with self._connection.decoding("lanes"):
            places = list(zip(found[::2], found[1::2], strict=True))
        for queue, lane in places:
            self._enter_turns_of(queue, lane, None)

    def enter_missing_turns(self, queue: str, limit: int) -> None:
        for lane in self._lists.lanes(queue):
            if not lane.startswith(TICKET_MARK):
                self._enter_turns_of(queue, lane, limit)

    def _enter_turns_of(self, queue: str, lane: str, limit: int | None) -> None:
        """Give turns to the first jobs that wait in a lane, unless they have them; None: to all of them."""
        with self._connection.mapped():
            key = self._connection.key(f"due:{queue}:{lane}")
            members = self._connection.client.zrange(key, 0, -1 if limit is None else limit - 1)
        for begin in range(0, len(members), CHUNK_JOBS):
            ids = {member: id_in(member) if is_member(member) else "" for member in members[begin : begin + CHUNK_JOBS]}
            jobs = self.get_each(list(filter(None, ids.values())))
            tags = {record.job_id: (record.job.channel, record.job.priority) for record in jobs}
            found = [(member, *tags.get(job_id, ("", ""))) for member, job_id in ids.items()]
            self._connection.run("enter_turns", self._clock.instant(), queue, lane, *chain.from_iterable(found))

    def schedules(self) -> Sequence[Schedule]:
        return self._schedules.all()

    def schedule(self, name: str) -> Schedule | None:
        return self._schedules.get(name)

    def swap_schedule(self, before: Schedule | None, after: Schedule | None, topics: Sequence[Topic] = ()) -> bool:
        return self._schedules.swap(before, after, topics)

    def schedule_topics(self, schedule: Schedule, places: Collection[int]) -> Mapping[int, Topic]:
        return self._schedules.topics(schedule, places)

    def endpoints(self) -> Sequence[Endpoint]:
        return self._outbox.endpoints()

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        return self._outbox.endpoint(endpoint_id)

    def swap_endpoint(self, before: Endpoint | None, after: Endpoint | None) -> bool:
        return self._outbox.swap(before, after)

    def health(self, endpoint_id: str) -> Health:
        return self._outbox.health(endpoint_id)

    def next_delivery(self, endpoint_id: str) -> float | None:
        return self._outbox.next_at(endpoint_id)

    def take_deliveries(self, endpoint_id: str, limit: int, seconds: float) -> Sequence[Delivery]:
        return self._outbox.take(self._clock.instant(), endpoint_id, limit, seconds)

    def settle_deliveries(self, endpoint_id: str, settled: Sequence[Settled], health: Health | None = None) -> None:
        self._outbox.settle(endpoint_id, settled, health)

    def deliveries(self, endpoint_id: str, limit: int) -> Sequence[Delivery]:
        return self._outbox.listed(endpoint_id, limit)

    def delivery_counts(self, endpoint_id: str) -> Mapping[DeliveryState, int]:
        return self._outbox.counts(endpoint_id)

    def replay(self, endpoint_id: str, since: float) -> int:
        return self._outbox.replay(self._clock.instant(), endpoint_id, since)

    def mark_dispatched(self, deliveries: Mapping[str, int]) -> None:
        if len(deliveries) > 1:  # two round trips for all; one leased record needs only one
            self._records.change_each(
                list(deliveries), lambda record, now: lifecycle.dispatched(record, deliveries[record.job_id])
            )
        else:
            super().mark_dispatched(deliveries)

    def cancel_waiting(self, queue: str, limit: int) -> int:
        cancelled = 0
        for lane in self._lists.lanes(queue):
            if lane.startswith(TICKET_MARK) or cancelled == limit:
                continue
            with self._connection.mapped():
                key = self._connection.key(f"due:{queue}:{lane}")
                waiting = self._connection.client.zrange(key, 0, limit - cancelled - 1)
            cancelled += self._records.change_each([id_in(member) for member in waiting], _cancel_waiting)
        return cancelled

    def overdue(self, queue: str, before: float, limit: int) -> Sequence[JobRecord]:
        client, key, bounds = self._connection.client, self._connection.key, ("-inf", f"({before!r}")
        due: list[tuple[str, float]] = []
        for lane in self._lists.lanes(queue):
            with self._connection.mapped():
                due += client.zrangebyscore(key(f"due:{queue}:{lane}"), *bounds, start=0, num=limit, withscores=True)
        with self._connection.mapped():
            leased = client.zrangebyscore(key(f"leased:{queue}"), *bounds, start=0, num=limit)
        oldest = [id_in(member) for member, _ in sorted(due, key=lambda pair: pair[1])]
        ids = [*oldest, *leased][:limit]
        return [stored.record for stored in self._records.read_many(ids)] if ids else []

    def late_to_start(self, limit: int) -> Sequence[JobRecord]:
        client, key = self._connection.client, self._connection.key("starts")
        with self._connection.mapped():
            ids = client.zrangebyscore(key, "-inf", f"({self.now()!r}", 0, limit)
        records = self.get_each(ids)
        if over := set(ids) - {record.job_id for record in records if record.expires_at is not None}:
            # A worker of an earlier release has ordered these jobs, and did not remove them here.
            with self._connection.mapped():
                client.zrem(key, *over)
        return [record for record in records if record.due is not None and record.expires_at is not None]

    def acquire_lock(self, name: str, owner: str, seconds: float) -> bool:
        return bool(self._connection.run("acquire_lock", self._clock.instant(), name, owner, seconds))

    def lock_owner(self, name: str) -> str | None:
        with self._connection.mapped():
            found = self._connection.client.hmget(self._connection.key(f"hold:{name}"), "owner", "until")
        with self._connection.decoding(f"hold:{name}"):
            owner, until = found
            return owner if owner and float(until) > self.now() else None

    def memo(self, kind: str, name: str) -> str | None:
        with self._connection.mapped():
            text: str | None = self._connection.client.hget(self._connection.key(f"memos:{kind}"), name)
            until = self._connection.client.zscore(self._connection.key(f"memo_ends:{kind}"), name)
        return text if until is not None and float(until) > self.now() else None

    def memos(self, kind: str) -> Mapping[str, str]:
        now = self.now()
        with self._connection.mapped():
            names = self._connection.client.zrangebyscore(
                self._connection.key(f"memo_ends:{kind}"), f"({now!r}", "+inf"
            )
            found = self._connection.client.hmget(self._connection.key(f"memos:{kind}"), names) if names else []
        texts = dict(zip(names, found, strict=True))
        return {name: texts[name] for name in sorted(texts) if texts[name] is not None}

    def put_memo(
        self,
        kind: str,
        name: str,
        text: str | None,
        seconds: float,
        *,
        instead_of: str | None,
        events: Sequence[Event] = (),
    ) -> str | None:
        # A leading mark tells an empty text from none.
        marked = ["" if one is None else f"={one}" for one in (text, instead_of)]
        while True:
            arguments = (kind, name, seconds, *marked, self._outbox.encoded_rows(events))
            stored = str(self._connection.run("put_memo", self._clock.instant(), *arguments, on_disk=True) or "")
            if stored != "!":
                return stored[1:] if stored else None
            self._outbox.refresh()

    def queue_state(self, queue: str) -> QueueState:
        return self._queue_state(queue, self._stored_queue_state(queue))

    def _stored_queue_state(self, queue: str) -> list[str]:
        name = f"queue:{queue}"
        with self._connection.mapped(), self._connection.decoding(name):
            found = self._connection.client.hmget(self._connection.key(name), "paused", "rate", "concurrent")
            return [text or "" for text in found]

    def _queue_state(self, queue: str, stored: Sequence[str]) -> QueueState:
        with self._connection.decoding(f"queue:{queue}"):
            paused, rate, concurrent = stored
            return QueueState(paused == "1", float(rate) if rate else None, int(concurrent) if concurrent else None)

    def set_queue_state(self, queue: str, change: Callable[[QueueState], QueueState]) -> QueueState:
        while True:
            stored = self._stored_queue_state(queue)
            before = self._queue_state(queue, stored)
            state, now = change(before), self.now()
            limits = (state.max_dispatches_per_second, state.max_concurrent_dispatches)
            texts = [str(int(state.paused)), *("" if one is None else repr(one) for one in limits)]
            rows = self._outbox.encoded_rows(queue_events(queue, before.paused, state.paused, now))
            if self._connection.run("set_queue", self._clock.instant(), queue, *stored, *texts, rows):
                return state
            self._outbox.refresh()

    def heartbeat(self, worker: WorkerInfo) -> None:
        seen = replace(worker, last_heartbeat_at=self.now())
        with self._connection.mapped():
            self._connection.client.hset(self._connection.key("workers"), worker.id, encode_worker(seen))

    def forget_worker(self, worker_id: str) -> None:
        with self._connection.mapped():
            self._connection.client.hdel(self._connection.key("workers"), worker_id)

    def workers(self, queue: str | None = None, *, within: float) -> Sequence[WorkerInfo]:
        since = self.now() - within
        alive = (worker for worker in self._all_workers() if worker.last_heartbeat_at >= since)
        return [worker for worker in alive if queue in (None, worker.queue)]

    def trim(self, retention: Retention) -> int:
        now = self.now()
        client, key = self._connection.client, self._connection.key
        with self._connection.mapped():
            client.zremrangebyscore(key("finished_ids"), "-inf", repr(now))
            old = client.zrangebyscore(key("finished"), "-inf", f"({now - retention.age!r}")
            excess = client.zcard(key("finished")) - retention.count
            if excess > len(old):
                old = client.zrange(key("finished"), 0, excess - 1)
            for worker in self._all_workers():
                if worker.last_heartbeat_at < now - FORGET_WORKERS_AFTER_SECONDS:
                    client.hdel(key("workers"), worker.id)
            if past_hours := before_period(client.hkeys(key(f"sums:{HOUR}")), hour(now - KEEP_HOURS)):
                client.hdel(key(f"sums:{HOUR}"), *past_hours)
            client.unlink(key(f"sums:{expired_kind(now)}"))
        self._outbox.trim(now)
        ids = [id_in(member) for member in old]
        chunks = [ids[begin : begin + CHUNK_JOBS] for begin in range(0, len(ids), CHUNK_JOBS)]
        return sum(self._records.remove_each(chunk, now + retention.ids) for chunk in chunks)

    def import_legacy(self, queue: str, read: Callable[[bytes], NewJob]) -> ImportResult:
        with self._connection.mapped():
            try:
                # As bytes: other programs write these, and each is decoded separately.
                entries = self._connection.client.execute_command(
                    "LRANGE", self._list, -CHUNK_ENTRIES, -1, NEVER_DECODE=True
                )
            except redis.exceptions.ResponseError as error:
                if "WRONGTYPE" not in str(error):
                    raise
                return ImportResult()  # the key is not a list, so it belongs to another program
        if not entries:
            return ImportResult()
        now = self.now()
        arguments: list[object] = []
        for entry in reversed(entries):
            try:
                item = read(entry)
            except InvalidInput as error:
                shown = one_line(entry.decode("utf-8", "backslashreplace"), SHOWN_ENTRY)
                _log.warning("rejected an entry of the list %s: %s: %s", self._list, error, shown)
                arguments += [entry, ""]
            else:
                arguments += [entry, msgspec.msgpack.encode(added_job(new_record(queue, item, now)))]
        moved, rejected = self._connection.run(
            "intake", self._clock.instant(), queue, day_of(now), self._list, *arguments
        )
        return ImportResult(moved, rejected)

    def rejected_count(self) -> int:
        with self._connection.mapped():
            return int(self._connection.client.llen(self._connection.key("rejected")))

    def revision(self) -> object:
        return self._changes.latest()

    def wait(self, revision: object, *, timeout: float, wake: Signal) -> None:
        self._changes.wait(str(revision), timeout, wake)

    def close(self) -> None:
        self._changes.close()
        self._connection.close()

    def _all_workers(self) -> Iterator[WorkerInfo]:
        with self._connection.mapped():
            known = self._connection.client.hvals(self._connection.key("workers"))
        with self._connection.decoding("workers"):
            for value in known:
                yield decode_worker(value)


def _claimed_row(text: str) -> tuple[str, str, str]:
    """Split a job as `claim.lua` returns it: its lease, its id and its stored value."""
    lease, _, rest = text.partition("\n")
    job_id, _, value = rest.partition("\n")
    return job_id, value, lease


def encode_worker(worker: WorkerInfo) -> bytes:
    """Return a worker's heartbeat for storing, with the field names of release 0.1, whose processes can read it."""
    fields = asdict(worker)
    return msgspec.json.encode(fields | {"seen_at": fields.pop("last_heartbeat_at")})


def decode_worker(data: bytes) -> WorkerInfo:
    """Decode a stored heartbeat."""
    fields = msgspec.json.decode(data)
    return msgspec.convert({**fields, "last_heartbeat_at": fields["seen_at"]}, WorkerInfo)


def _cancel_waiting(record: JobRecord, now: float) -> JobRecord:
    if record.due is None or record.lane.startswith(TICKET_MARK):
        raise ActionRefused(f"job {record.job_id} is no longer waiting")
    return lifecycle.cancel(record, now)
