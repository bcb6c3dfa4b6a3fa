"""Read records, and replace them unless another process has changed them since."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from tenxsom_flow_engine.budgets.charges import BudgetCheck
from tenxsom_flow_engine.errors import ActionRefused, FlowError, JobNotFound, SlotsBusy, StoreBroken
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.base import Change
from tenxsom_flow_engine.store.combining import Combiner
from tenxsom_flow_engine.store.redis.budgets import CHANGED, SPENT, Budgets
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.redis.leased_cache import LeasedRecords
from tenxsom_flow_engine.store.redis.outbox import OTHER_ENDPOINTS, JobEvents, Outbox
from tenxsom_flow_engine.store.redis.rows import Stored, encode_commit, index_position
from tenxsom_flow_engine.store.redis.server_clock import ServerClock
from tenxsom_flow_engine.store.values import Slots

_log = logging.getLogger(__name__)

#: A job's id and its stored value.
Row = tuple[str, str]


class Records:
    """The records on a server. `leased` caches the records that this handle has leased."""

    def __init__(
        self, connection: Connection, clock: ServerClock, budgets: Budgets, outbox: Outbox, events: JobEvents
    ) -> None:
        self._connection = connection
        self._budgets = budgets
        self._outbox = outbox
        self._events = events
        self._clock = clock
        self._commit = Combiner(self._commit_each)
        self.leased = LeasedRecords()

    def read(self, job_id: str) -> tuple[Stored | None, float]:
        """Return a stored job, or None, and the store's time."""
        value, lease, now = self._connection.run("read", self._clock.instant(), job_id)
        self._clock.learn(now)
        return (Stored.parse(job_id, value, lease) if value else None), float(now)

    def values(self, job_ids: Sequence[str]) -> list[Row]:
        """Return the stored values of several jobs, undecoded and without their leases."""
        if not job_ids:
            return []
        with self._connection.mapped():
            values = self._connection.client.hmget(self._connection.key("jobs"), job_ids)
        return [(job_id, value) for job_id, value in zip(job_ids, values, strict=True) if value]

    def decode(self, rows: Sequence[Row]) -> list[Stored]:
        """Return the readable records among stored values, with their current leases."""
        if not rows:
            return []
        with self._connection.mapped():
            leases = self._connection.client.hmget(self._connection.key("leases"), [job_id for job_id, _ in rows])
        return list(self.readable((*row, lease) for row, lease in zip(rows, leases, strict=True)))

    def read_many(self, job_ids: Sequence[str], *, claimed_in: str | None = None) -> list[Stored]:
        """Return the readable records among several jobs."""
        if not job_ids:
            return []
        with self._connection.mapped(), self._connection.client.pipeline() as pipeline:
            pipeline.hmget(self._connection.key("jobs"), job_ids)
            pipeline.hmget(self._connection.key("leases"), job_ids)
            values, leases = pipeline.execute()
        rows = (row for row in zip(job_ids, values, leases, strict=True) if row[1])
        return list(self.readable(rows, claimed_in))

    def readable(self, rows: Iterable[tuple[str, str, str | None]], claimed_in: str | None = None) -> Iterator[Stored]:
        """Yield the readable records and log the others: one unreadable record must not block the rest.

        With `claimed_in`, the claimed queue, an unreadable job is also removed from it: no worker gets it again.
        """
        for job_id, value, lease in rows:
            try:
                yield Stored.parse(job_id, value, lease)
            except StoreBroken as error:
                _log.error("%s", error)
                if claimed_in is not None:
                    with self._connection.mapped():
                        self._connection.client.zrem(self._connection.key(f"leased:{claimed_in}"), job_id)
                        self._connection.client.hdel(self._connection.key("leases"), job_id)

    def change(
        self,
        job_id: str,
        change: Change,
        *,
        slots: Slots | None = None,
        budgets: BudgetCheck | None = None,
        on_disk: bool = False,
    ) -> JobRecord:
        """Replace a record (see `JobStore.update`)."""
        for stored, now, fresh in self._attempts(job_id):
            try:
                record = change(stored.record, now)
            except FlowError:
                if fresh:
                    raise
                continue  # the cached record can be out of date, so its refusal does not count
            charges = self._budgets.change(stored.record, record, budgets, now)
            rows = self._outbox.job_rows(stored.record, record, self._events)
            commit = encode_commit(stored, record, now, slots, charges, rows)
            # The others must not wait for this one to be on disk.
            alone = on_disk and self._connection.waits_for_disk
            with self._connection.mapped():  # the answer to one of several can be an error of the driver
                answer = self._commit_each([commit], on_disk=True)[0] if alone else self._commit(commit)
            self._connection.raise_error(answer)
            match answer:
                case "done":
                    self.leased.keep(stored.followed_by(record))
                    return record
                case "busy" if slots:
                    raise SlotsBusy(slots.service, slots.limit)
                case "channel busy" if slots and slots.of_channel is not None:
                    raise SlotsBusy(f"channel {record.job.channel}", slots.of_channel)
                case "gone":
                    break
                case _ if answer == OTHER_ENDPOINTS:
                    self._outbox.refresh()
                case _ if charges and answer == CHANGED:
                    self._budgets.read(charges.scopes)
                case _ if charges and answer.startswith(SPENT):
                    raise charges.refusal(answer, now)
        raise JobNotFound(job_id)

    def change_leased(self, changes: Sequence[tuple[str, Change]]) -> list[JobRecord | Exception]:
        """Replace records that this handle has leased, in one round trip; return for each the new one or its error."""
        now = self._clock.now()
        results: list[JobRecord | Exception | None] = [None] * len(changes)
        prepared: list[tuple[int, Stored, JobRecord, bytes]] = []
        for index, (job_id, change) in enumerate(changes):
            if (cached := self.leased.get(job_id)) is not None:
                with suppress(Exception):  # the cached record can be out of date, so its refusal does not count
                    record = change(cached.record, max(now, cached.record.updated_at))
                    prepared.append((index, cached, record, self._encoded(cached, record, now)))
        answers = self._commit_each([encoded for *_, encoded in prepared]) if prepared else []
        for (index, stored, record, _), answer in zip(prepared, answers, strict=True):
            if answer == "done":
                self.leased.keep(stored.followed_by(record))
                results[index] = record
        return [
            self._result_of_change(*one) if result is None else result
            for one, result in zip(changes, results, strict=True)
        ]

    def _result_of_change(self, job_id: str, change: Change) -> JobRecord | Exception:
        try:
            return self.change(job_id, change)
        except Exception as error:
            return error

    def change_each(self, job_ids: Sequence[str], change: Change, *, claimed_in: str | None = None) -> int:
        """Replace records in two round trips, except where `change` refuses. Return how many were replaced."""
        now = self._clock.now()
        replaced: list[tuple[Stored, JobRecord]] = []
        for stored in self.read_many(job_ids, claimed_in=claimed_in):
            with suppress(ActionRefused):
                replaced.append((stored, change(stored.record, now)))
        answers = self._connection.run_each(
            "commit",
            [[self._clock.instant(), self._encoded(stored, record, now)] for stored, record in replaced],
        )
        done = 0
        for (stored, _), (answer,) in zip(replaced, answers, strict=True):
            self._connection.raise_error(answer)
            with suppress(ActionRefused, JobNotFound):
                if answer in ("changed", OTHER_ENDPOINTS):  # by another process: retry in a separate call
                    self.change(stored.record.job_id, change)
                done += answer != "gone"
        return done

    def _encoded(self, before: Stored, after: JobRecord, now: float) -> bytes:
        """Return a change that no budget can refuse as the argument of `commit.lua`."""
        charges = self._budgets.change(before.record, after, None, now)
        return encode_commit(
            before, after, now, None, charges, self._outbox.job_rows(before.record, after, self._events)
        )

    def remove_each(self, job_ids: Sequence[str], remember_until: float) -> int:
        """Remove finished records that are no longer in flight, in two round trips; return how many."""
        now = self._clock.now()
        removable = [
            stored
            for stored in self.read_many(job_ids)
            if not (stored.record.holds_slot and stored.record.submission.deadline > now)
        ]
        calls = [
            [
                self._clock.instant(),
                stored.record.job_id,
                stored.version,
                repr(remember_until),
                *index_position(stored.record),
            ]
            for stored in removable
        ]
        return sum(self._connection.run_each("remove", calls))

    def _commit_each(self, commits: Sequence[bytes], *, on_disk: bool = False) -> Sequence[Any]:
        """Run `commit.lua`; return for each commit its answer, which can be an error of the driver."""
        answers: Sequence[Any] = self._connection.run("commit", self._clock.instant(), *commits, on_disk=on_disk)
        return answers

    def _attempts(self, job_id: str) -> Iterator[tuple[Stored, float, bool]]:
        """Yield a record to change, the time, and whether it was just read; yields again until the change succeeds."""
        cached = self.leased.get(job_id)
        if cached is not None:
            yield cached, max(self._clock.now(), cached.record.updated_at), False
            self.leased.forget(job_id)
        while True:
            stored, now = self.read(job_id)
            if stored is None:
                return
            yield stored, now, True
