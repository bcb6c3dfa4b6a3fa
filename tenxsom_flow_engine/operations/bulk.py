"""Bulk actions: select jobs, predict the effect, and act on each, continuing after a refusal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ActionRefused, FlowError, InvalidInput, JobNotFound
from tenxsom_flow_engine.generation.routing import candidates_of, highest_price
from tenxsom_flow_engine.jobs import TRANSITIONS, JobRecord, Status, Step, lifecycle
from tenxsom_flow_engine.planning.plan import Price
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter

#: Records read per page.
PAGE_JOBS = 500


class Act(StrEnum):
    """A bulk action."""

    RETRY = "retry"
    CANCEL = "cancel"

    @property
    def statuses(self) -> frozenset[Status]:
        """The statuses of jobs that allow the action."""
        if self is Act.RETRY:
            return frozenset({Status.FAILED, Status.CANCELLED})
        return frozenset(status for status, onward in TRANSITIONS.items() if Status.CANCELLED in onward)

    def on(self, engine: Engine) -> Callable[[str], JobRecord]:
        """Return the engine's method that applies the action to one job."""
        return engine.retry if self is Act.RETRY else engine.cancel

    def refusal(self, record: JobRecord, now: float) -> ActionRefused | None:
        """Return why the job does not allow the action now; None if it does."""
        try:
            lifecycle.retry(record, now) if self is Act.RETRY else lifecycle.cancel(record, now)
        except ActionRefused as refusal:
            return refusal
        return None


@dataclass(frozen=True, slots=True)
class Refused:
    """A job that refused the action, and why."""

    job_id: str
    error: FlowError


@dataclass(slots=True)
class BulkPlan:
    """The predicted effect of a bulk action on the selected jobs."""

    act: Act
    #: Jobs that allow it, newest first.
    job_ids: list[str] = field(default_factory=list)
    #: Jobs that do not.
    refused: list[Refused] = field(default_factory=list)
    #: Whether these are all matching jobs; otherwise there might be older ones.
    whole: bool = True
    #: For a retry: jobs that are ordered again, the minimum cost in USD, and the number of them without a known price.
    ordered: int = 0
    usd: float = 0.0
    unpriced: int = 0
    #: The cost if `auto` chooses the most expensive service for each.
    highest_usd: float = 0.0
    #: For a retry: jobs that continue from their ticket, and jobs whose interrupted create is looked up first.
    followed: int = 0
    looked_up: int = 0
    #: For a cancel: jobs for which something was or might have been bought.
    bought: int = 0

    @property
    def price(self) -> Price:
        """The cost of the jobs that are ordered again."""
        return Price(self.ordered, self.usd, self.unpriced, self.highest_usd)


def price_of(records: Sequence[JobRecord], services: Mapping[str, VideoService]) -> Price:
    """Return the cost of ordering jobs again at the present prices."""
    return Price.of(_prices(record, services) for record in records)


def matching(store: JobStore, jobs: JobFilter) -> Iterator[Sequence[JobRecord]]:
    """Yield all jobs that match a filter, newest first, page by page (pages can be empty: see `Page`).

    Raises `InvalidInput` for a filter that matches every job, which is most likely a mistake.
    """
    if jobs == JobFilter(queue=jobs.queue):
        raise InvalidInput("filter", "matches every job", next_step="narrow it, for example by status")
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
    """Predict the effect of an action on at most `most` jobs, reading pages for at most `seconds`.

    `services` are used to estimate the cost of new orders.
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
                _predict(found, record, services, now)
        if time.monotonic() > until:
            found.whole = False  # this might have been the last page, but finding out means reading the next one
            break
    return found


def _predict(found: BulkPlan, record: JobRecord, services: Mapping[str, VideoService], now: float) -> None:
    if found.act is Act.CANCEL:
        found.bought += record.step is not Step.SUBMIT
        return
    match lifecycle.retry(record, now).step:
        case Step.SUBMIT:
            found.ordered += 1
            price = price_of([record], services)
            found.unpriced += price.unknown
            found.usd += price.usd
            found.highest_usd += price.highest
        case Step.LOOKUP:
            found.looked_up += 1
        case _:
            found.followed += 1


def _prices(record: JobRecord, services: Mapping[str, VideoService]) -> tuple[float | None, float | None]:
    """Return the minimum and the maximum cost in USD of ordering a job now; None if unknown."""
    try:
        able = candidates_of(msgspec.structs.replace(record, max_usd=None), services)
    except InvalidInput:  # no service in this process can make it; the worker will report the reason
        return None, None
    least = able[0].price
    return None if least == math.inf else least, highest_price(able)


def each(job_ids: Iterable[str], act: Callable[[str], JobRecord]) -> Iterator[JobRecord | Refused]:
    """Act on the jobs one by one, yielding `Refused` for each refusal. Other errors end the iteration."""
    for job_id in job_ids:
        try:
            yield act(job_id)
        except (ActionRefused, JobNotFound) as error:
            yield Refused(job_id, error)
