"""Changes of a job that has bought nothing: its fields, its due time and its latest start."""

from __future__ import annotations

import math
from typing import Any

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.errors import Action, ActionRefused
from tenxsom_flow_engine.jobs.lifecycle.changes import begin_again, change
from tenxsom_flow_engine.jobs.lifecycle.journal import buys_again
from tenxsom_flow_engine.jobs.model import FINAL, EventKind, JobRecord, Status, Submission
from tenxsom_flow_engine.jobs.outcomes import Terms, Times


def edit(record: JobRecord, now: float, terms: Terms) -> JobRecord:
    """Change the fields of a job that has bought nothing, or that is bought again if it is retried.

    A waiting job gets a new delivery at the same due time, and any service can be chosen again; another one keeps its
    status.
    """
    _check_unbought(record, "changed", "add a changed copy as a new job")
    changes: dict[str, Any] = {"job": terms.job, "max_usd": terms.max_usd}
    if not record.purchases:
        changes["cost"] = terms.cost
    if record.due is not None:
        changes |= {"seq": record.seq + 1, "attempts": 0, "expiries": 0, "error": None, "service": ""}
    return change(record, now, record.status, EventKind.EDITED, terms.detail, **changes)


def reschedule(record: JobRecord, now: float, times: Times) -> JobRecord:
    """Give a job that has bought nothing other times; a failed or cancelled one is retried at its new due time."""
    _check_unbought(record, "rescheduled", "add a changed copy as a new job")
    if record.due is None and record.status not in FINAL:
        raise ActionRefused(f"job {record.job_id} cannot be rescheduled: it is {record.status}")
    due = max(now, record.due or now if times.due is None else times.due)
    status = Status.SCHEDULED if due > now else Status.QUEUED
    start_by = None if times.start_by == math.inf else times.start_by
    if times.start_by is None and record.start_by is not None and record.due is not None:
        start_by = record.start_by + max(0.0, due - max(now, record.due))
    return begin_again(
        record, now, status, EventKind.RESCHEDULED, iso(due),
        due=due, start_by=start_by, planned=None, submission=Submission(), service="",
    )  # fmt: skip


def run_now(record: JobRecord, now: float) -> JobRecord:
    """Let a waiting job that has bought nothing be due immediately; one that is due stays unchanged."""
    _check_unbought(record, "started", "it continues without a command")
    if record.due is None:
        raise ActionRefused(
            f"job {record.job_id} cannot be started: it is {record.status}",
            actions=(Action.RETRY,) if record.status in FINAL else (),
            subject=record.job_id,
        )
    if record.due <= now:
        return record
    return begin_again(
        record, now, Status.QUEUED, EventKind.RESCHEDULED, "now", start_by=record.start_by, planned=None, service=""
    )


def _check_unbought(record: JobRecord, what: str, otherwise: str) -> None:
    """Raise `ActionRefused` if a job has bought something, might have, or is leased."""
    refusal = f"job {record.job_id} cannot be {what}: "
    if not buys_again(record) or record.status is Status.SUCCEEDED:
        raise ActionRefused(f"{refusal}its video is bought, or might be", next_step=otherwise)
    if record.lease is not None:
        raise ActionRefused(f"{refusal}a worker is working on it", next_step="try again in a moment")
