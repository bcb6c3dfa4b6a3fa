"""The list of jobs that answers an operator's questions: what failed, what runs, what comes next, what is done."""

from __future__ import annotations

from dataclasses import replace

from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter, Order, OrderedJobs

#: The groups of the list, each with the order of its jobs; None: the order of adding, newest first.
_GROUPS: tuple[tuple[Order | None, tuple[Status, ...]], ...] = (
    (None, (Status.HELD,)),
    (Order.FINISHED, (Status.FAILED,)),
    (None, (Status.RUNNING, Status.RENDERING)),
    (Order.DUE, (Status.QUEUED, Status.SCHEDULED)),
    (Order.FINISHED, (Status.SUCCEEDED, Status.CANCELLED)),
)


def by_attention(store: JobStore, jobs: JobFilter, *, limit: int) -> OrderedJobs:
    """Return at most `limit` matching jobs: held, failed, running, next due, and the latest results.

    Each group gets an equal share of the list, and the first ones what the others leave.
    """
    groups = [
        _group(store, replace(jobs, statuses=wanted), order, limit)
        for order, statuses in _GROUPS
        if (wanted := [status for status in statuses if not jobs.statuses or status in jobs.statuses])
    ]
    share = max(1, limit // len(groups))
    taken = [min(len(group.records), share) for group in groups]
    for number, group in enumerate(groups):
        taken[number] += max(0, min(len(group.records) - taken[number], limit - sum(taken)))
    shown: list[JobRecord] = []
    for group, count in zip(groups, taken, strict=True):
        shown += group.records[:count]
    more = any(group.more or len(group.records) > count for group, count in zip(groups, taken, strict=True))
    return OrderedJobs(tuple(shown[:limit]), more or len(shown) > limit)


def _group(store: JobStore, jobs: JobFilter, order: Order | None, limit: int) -> OrderedJobs:
    if order is not None:
        return store.ordered(order, jobs, limit=limit)
    page = store.page(jobs, limit=limit)
    return OrderedJobs(page.records, page.cursor is not None)
