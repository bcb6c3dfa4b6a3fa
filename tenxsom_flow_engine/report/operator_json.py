"""The output of `status` and `limits` as plain values ready for JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from tenxsom_flow_engine.budgets import to_usd
from tenxsom_flow_engine.budgets.forecast import BudgetUse
from tenxsom_flow_engine.channels.schedules import Schedule
from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action
from tenxsom_flow_engine.jobs import Failure, JobRecord, Status
from tenxsom_flow_engine.jobs.remedies import failure_of
from tenxsom_flow_engine.planning.schedules import days_text, next_slots, runs_out_at
from tenxsom_flow_engine.queues.base import count_alive
from tenxsom_flow_engine.report.channels import channel_figures
from tenxsom_flow_engine.report.model import ChannelFigures
from tenxsom_flow_engine.report.public_json import rate_limits, verdict
from tenxsom_flow_engine.report.query import queue_figures_of, take_report
from tenxsom_flow_engine.store.base import LegacyImport
from tenxsom_flow_engine.store.values import JobFilter, WorkerInfo

#: Maximum number of held jobs that the status lists.
MOST_HELD = 10
#: Number of slots of a schedule that are shown.
NEXT_SLOTS = 5


def describe_limits(engine: Engine) -> dict[str, Any]:
    """Return the quotas as plain values (see `RateLimiter.get_rate_limit_stats`), with the generations in flight."""
    found = engine.limiter.get_rate_limit_stats()
    slots = engine.slots
    for name, service in found["services"].items():
        service["in_flight"] = _in_flight(engine, name, slots[name]) if name in slots else None
    return found


def _in_flight(engine: Engine, service: str, limit: int) -> dict[str, Any]:
    """Return the slots of a service, with the jobs that hold one although no worker polls them."""
    unattended = engine.unattended_slots(service)
    return {
        "used": engine.store.in_flight(service),
        "limit": limit,
        "cancelled_or_failed": list(unattended.ended),
        "in_doubt": list(unattended.in_doubt),
        "unattended_for": round(max(0.0, unattended.until - engine.store.now()), 1) if unattended else None,
    }


def channel(figures: ChannelFigures) -> dict[str, Any]:
    """Return the figures of a channel in the present month as plain values."""
    rates = {"success_rate": figures.ended.success_rate, "on_time_rate": figures.on_time_rate}
    return {
        "channel": figures.name,
        "paused": figures.settings.paused,
        "weight": figures.settings.weight,
        "month": {
            "videos": figures.videos,
            "usd": figures.usd,
            "unpriced": figures.unpriced,
            "forecast_usd": figures.forecast_usd,
            "succeeded": figures.ended.succeeded,
            "failed": figures.ended.failed,
            "expired": figures.expired,
            **{name: None if rate is None else round(rate, 4) for name, rate in rates.items()},
        },
        "next_due": None if figures.next_due is None else iso(figures.next_due),
    }


#: Makes one line of advice from a sentence, the possible actions, and the job or service that they apply to.
Advise = Callable[[str, tuple[Action, ...], str], str]


def describe_queue(engine: Engine, advise: Advise = lambda text, actions, subject: text) -> dict[str, Any]:
    """Return the state of an engine's queue as plain values, ready for JSON.

    `advise` adds the front end's wording of the possible actions.
    """
    status = engine.queue.status()
    figures = queue_figures_of(status)
    report = take_report(engine, figures)
    waiting = _held(engine) if status.counts.by_status[Status.HELD] else ()
    held = {record.job_id: failure for record in waiting if (failure := failure_of(record)) is not None}
    return {
        "queue_type": status.queue_type,
        "selected_because": engine.queue_reason,
        "state": figures.state,
        "state_unknown_because": _because(status.unknown, advise) if status.unknown else None,
        "state_unknown_code": status.unknown.code if status.unknown else None,
        "verdicts": [
            {**verdict(one), "detail": advise(one.detail, one.actions, one.subject) or None} for one in report.verdicts
        ],
        "rate_limits": rate_limits(figures),
        "approximate_task_count": status.counts.unfinished if status.task_count is None else status.task_count,
        "jobs": {str(name): count for name, count in status.counts.by_status.items()},
        "held": {job_id: advise(error.next_step, error.actions, job_id) for job_id, error in held.items()},
        "held_actions": {job_id: list(map(str, error.actions)) for job_id, error in held.items()},
        "budgets": [budget(use) for use in report.budgets],
        "channels": [channel(one) for one in channel_figures(engine.store, report.at)],
        "workers_alive": count_alive(engine.store, engine.queue.name, engine.queue.lease),
        "services": list(engine.services),
        "store": engine.store.place,
        "other_stores": [asdict(other) for other in report.other_stores],
        "advice": str(engine.store.advice) if engine.store.advice else None,
        "output_dir": str(engine.settings.output_dir),
    } | ({"entries_set_aside": engine.store.rejected_count()} if isinstance(engine.store, LegacyImport) else {})


def worker(info: WorkerInfo, state: str, now: float) -> dict[str, Any]:
    """Return a worker and its state (see `query.known_workers`) as plain values."""
    return {
        "id": info.id,
        "host": info.host,
        "pid": info.pid,
        "queue": info.queue,
        "state": state,
        "concurrency": None if info.ended else info.concurrency,
        "steps": info.steps,
        "started_at": iso(info.started_at),
        "last_heartbeat_at": iso(info.last_heartbeat_at),
        "heartbeat_seconds_ago": round(max(0.0, now - info.last_heartbeat_at), 1),
    }


def budget(use: BudgetUse) -> dict[str, Any]:
    """Return the use of one limit of a budget as plain values."""
    return {
        "scope": use.budget.scope,
        "limit": str(use.limit),
        "limit_usd": to_usd(use.limit.micro_usd),
        "timezone": use.budget.zone,
        "period": use.period.name,
        "begins_at": iso(use.period.begins),
        "resets_at": iso(use.period.ends),
        "spent_usd": to_usd(use.amounts.spent),
        "reserved_usd": to_usd(use.amounts.reserved),
        "left_usd": use.free,
        "used_share": round(use.share, 4),
        "set_at_run_time": use.stored,
    }


def schedule(one: Schedule, now: float) -> dict[str, Any]:
    """Return a schedule as plain values, with its next slots and the time at which its topics run out."""
    ends, following = runs_out_at(one, now), next_slots(one, now, NEXT_SLOTS)
    return {
        "name": one.name,
        "channel": one.channel,
        "state": "paused" if one.paused else "stuck" if one.problem else "active",
        "why": one.why or None,
        "problem": one.problem or None,
        "daily_count": one.daily_count,
        "videos_per_hour": one.videos_per_hour,
        "days": days_text(one.days),
        "timezone": one.zone,
        "start": one.start or None,
        "job": one.fields,
        "start_by": one.start_by,
        "catch_up": str(one.catch_up),
        "topics": one.topics,
        "repeat": one.repeat,
        "topics_left": one.topics_left,
        "topics_run_out_at": iso(ends) if ends is not None else None,
        "days_of_topics_left": round(max(0.0, ends - now) / 86400, 1) if ends is not None else None,
        "planned_until": iso(one.planned_until),
        "missed_slots": one.missed,
        "next_slots": [iso(float(slot.instant)) for slot in following],
        "created_at": iso(one.created_at),
    }


def _because(unknown: Failure, advise: Advise) -> str:
    next_step = advise(unknown.next_step, unknown.actions, "")
    return f"{unknown.message} ({next_step})" if next_step else unknown.message


def _held(engine: Engine) -> Sequence[JobRecord]:
    """Return the newest held jobs."""
    held = JobFilter(statuses=(Status.HELD,), queue=engine.queue.name)
    return engine.store.page(held, limit=MOST_HELD).records
