"""Acting on many jobs: which ones are meant, what it will do to them, and doing it, going on where one is refused."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ActionRefused, FlowError, InvalidInput, JobNotFound
from tenxsom_flow_engine.generation.routing import candidates
from tenxsom_flow_engine.jobs import TRANSITIONS, JobRecord, Status, Step, lifecycle
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter

#: Records read at a time.
PAGE_JOBS = 500


class Act(StrEnum):
    """What may be done to many jobs."""

    RETRY = "retry"
    CANCEL = "cancel"

    @property
    def statuses(self) -> frozenset[Status]:
        """The statuses of jobs to which it may be done."""
        if self is Act.RETRY:
            return frozenset({Status.FAILED, Status.CANCELLED})
        return frozenset(status for status, onward in TRANSITIONS.items() if Status.CANCELLED in onward)

    def on(self, engine: Engine) -> Callable[[str], JobRecord]:
        """Return what does it to one job."""
        return engine.retry if self is Act.RETRY else engine.cancel

    def refusal(self, record: JobRecord, now: float) -> ActionRefused | None:
        """Return why it cannot be done to a job as it stands; None if it can."""
        try:
            lifecycle.retry(record, now) if self is Act.RETRY else lifecycle.cancel(record, now)
        except ActionRefused as refusal:
            return refusal
        return None


@dataclass(frozen=True, slots=True)
class Refused:
    """A job to which it was not done, and why."""

    job_id: str
    error: FlowError


@dataclass(slots=True)
class BulkPlan:
    """What an act would do to the jobs that were chosen."""

    act: Act
    #: Those to which it can be done, newest first.
    job_ids: list[str] = field(default_factory=list)
    #: Those to which it cannot.
    refused: list[Refused] = field(default_factory=list)
    #: Whether these are all; else there may be more that are older.
    whole: bool = True
    #: Of a retry: how many are ordered anew, what that costs at least in USD, and of how many no price is known.
    ordered: int = 0
    usd: float = 0.0
    unpriced: int = 0
    #: Of a retry: how many go on from their ticket, and of how many an order that was cut off is looked up first.
    followed: int = 0
    looked_up: int = 0
    #: Of a cancel: for how many something was bought, or may be.
    bought: int = 0


def matching(store: JobStore, jobs: JobFilter) -> Iterator[Sequence[JobRecord]]:
    """Give all jobs that match a filter, newest first, page by page (some are empty: see `Page`).

    Raises `InvalidInput` for a filter that lets every job through: nobody means that.
    """
    if jobs == JobFilter(queue=jobs.queue):
        raise InvalidInput("filter", "lets every job through", next_step="say which ones are meant: their status, …")
    for page in store.pages(jobs, limit=PAGE_JOBS):
        yield page.records


def plan(
    act: Act,
    pages: Iterable[Sequence[JobRecord]],
    services: Mapping[str, VideoService],
    now: float,
    *,
    most: int,
    seconds: float,
) -> BulkPlan:
    """Say what an act would do to jobs: to so many of them at most, and looking for so long.

    `services` are those that an order could go to.
    """
    found, until = BulkPlan(act), time.monotonic() + seconds
    for records in pages:
        for record in records:
            if len(found.job_ids) == most:
                found.whole = False
                return found
            if refusal := act.refusal(record, now):
                found.refused.append(Refused(record.job_id, refusal))
            else:
                found.job_ids.append(record.job_id)
                _foresee(found, record, services, now)
        if time.monotonic() > until:
            found.whole = False  # or it was the last page, which nobody knows
            break
    return found


def _foresee(found: BulkPlan, record: JobRecord, services: Mapping[str, VideoService], now: float) -> None:
    if found.act is Act.CANCEL:
        found.bought += record.step is not Step.SUBMIT
        return
    match lifecycle.retry(record, now).step:
        case Step.SUBMIT:
            found.ordered += 1
            price = _price(record, services)
            found.unpriced += price == math.inf
            found.usd += price if price < math.inf else 0.0
        case Step.LOOKUP:
            found.looked_up += 1
        case _:
            found.followed += 1


def _price(record: JobRecord, services: Mapping[str, VideoService]) -> float:
    """Return what a job costs at least if it is ordered now; infinity where that is not known."""
    try:
        return candidates(record.job, services)[0].price
    except InvalidInput:  # no service here can make it: the worker will say so
        return math.inf


def each(job_ids: Iterable[str], act: Callable[[str], JobRecord]) -> Iterator[JobRecord | Refused]:
    """Act on one job after the other, going on where one is refused. Raises what has nothing to do with the job."""
    for job_id in job_ids:
        try:
            yield act(job_id)
        except (ActionRefused, JobNotFound) as error:
            yield Refused(job_id, error)
