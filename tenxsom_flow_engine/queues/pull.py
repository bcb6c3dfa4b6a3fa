"""The queue that workers pull from: a queue backend on top of any job store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

from tenxsom_flow_engine.errors import LeaseLost
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.jobs.outcomes import Outcome
from tenxsom_flow_engine.queues.base import LIMITS, JobQueue, PullsJobs, QueueStatus, check_limits, count_alive
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Added, Claim, ClaimRequest, DispatchLimits, NewJob

#: Jobs cancelled in one transaction by a purge.
PURGE_CHUNK = 500


class PullQueue(JobQueue, PullsJobs):
    """A queue named `name` in a store, with the environment's limits and lease (seconds)."""

    def __init__(self, name: str, store: JobStore, limits: DispatchLimits, lease: float) -> None:
        self.name = name
        self._store = store
        self._limits = limits
        self.lease = lease

    def enqueue(self, jobs: Iterable[NewJob]) -> Added:
        return self._store.add(self.name, jobs)

    def status(self) -> QueueStatus:
        state = self._store.queue_state(self.name)
        return QueueStatus(
            queue_type=self.name,
            paused=state.paused,
            limits=state.limits(self._limits),
            set_at_run_time=tuple(name for name in LIMITS if getattr(state, name) is not None),
            counts=self._store.status_counts(self.name),
            workers_alive=count_alive(self._store, self.name, self.lease),
        )

    def pause(self) -> None:
        self._store.set_queue_state(self.name, lambda state: replace(state, paused=True))

    def resume(self) -> None:
        self._store.set_queue_state(self.name, lambda state: replace(state, paused=False))

    def purge(self) -> int:
        purged = 0
        while chunk := self._store.cancel_waiting(self.name, PURGE_CHUNK):
            purged += chunk
        return purged

    def set_limits(self, rate: float | None, concurrent: int | None) -> DispatchLimits:
        check_limits(rate, concurrent)
        state = self._store.set_queue_state(self.name, lambda state: state.with_limits(rate, concurrent))
        return state.limits(self._limits)

    def claim(
        self,
        worker: str,
        count: int,
        slots: Mapping[str, int],
        *,
        auto_services: Collection[str] | None = None,
        only: str | None = None,
        closed: Mapping[str, float] = MappingProxyType({}),
    ) -> Claim:
        now = self._store.now() if closed else 0.0
        closed_now = {service: until for service, until in closed.items() if until > now}
        # A closed service gets no slots, so the claim skips its lane, except for jobs with a ticket.
        free = {service: 0 if service in closed_now else number for service, number in slots.items()}
        claim = self._store.claim(
            ClaimRequest(
                self.name, worker, count, self.lease, self._limits, free, auto_services=auto_services, only=only
            )
        )
        again_at = min([until for until in (claim.again_at, *closed_now.values()) if until is not None], default=None)
        return replace(claim, again_at=again_at)

    def renew(self, leases: Mapping[str, str]) -> Collection[str]:
        return self._store.renew(leases, self.lease)

    def settle(self, record: JobRecord, outcome: Outcome) -> JobRecord:
        return self._store.settle(record.job_id, record.lease_token, outcome)

    def settle_each(self, steps: Sequence[tuple[JobRecord, Outcome]]) -> Sequence[JobRecord | Exception]:
        return self._store.settle_each([(record.job_id, record.lease_token, outcome) for record, outcome in steps])

    def release_lease(self, record: JobRecord) -> None:
        with suppress(LeaseLost):
            self._store.release_lease(record.job_id, record.lease_token)

    def close(self) -> None:
        """Do nothing: the caller owns the store."""
