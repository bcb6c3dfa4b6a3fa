"""What `status` and `limits` say of an engine, as plain values ready for JSON."""

from __future__ import annotations

from typing import Any

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.report.public_json import rate_limits, verdict
from tenxsom_flow_engine.report.query import queue_figures_of, take_report
from tenxsom_flow_engine.store.base import LegacyImport
from tenxsom_flow_engine.store.values import JobFilter

#: Held jobs that the status names.
MOST_HELD = 10


def describe_limits(engine: Engine) -> dict[str, Any]:
    """Return the quotas as plain values (see `RateLimiter.get_rate_limit_stats`), with what is in flight."""
    found = engine.limiter.get_rate_limit_stats()
    slots = engine.slots
    for name, service in found["services"].items():
        in_flight = {"used": engine.store.in_flight(name), "limit": slots[name]} if name in slots else None
        service["in_flight"] = in_flight
    return found


def describe_queue(engine: Engine) -> dict[str, Any]:
    """Return the state of an engine's queue as plain values, ready for JSON."""
    status = engine.queue.status()
    figures = queue_figures_of(status)
    return {
        "queue_type": status.queue_type,
        "selected_because": engine.queue_reason,
        "state": figures.state,
        "state_unknown_because": status.unknown or None,
        "verdicts": [{**verdict(one), "detail": one.detail or None} for one in take_report(engine, figures).verdicts],
        "rate_limits": rate_limits(figures),
        "approximate_task_count": status.counts.unfinished if status.task_count is None else status.task_count,
        "jobs": {str(name): count for name, count in status.counts.by_status.items()},
        "held": _held(engine) if status.counts.by_status[Status.HELD] else {},
        "workers_alive": status.workers_alive,
        "services": list(engine.services),
        "store": engine.store.place,
        "advice": engine.store.advice or None,
        "output_dir": str(engine.settings.output_dir),
    } | ({"entries_set_aside": engine.store.rejected_count()} if isinstance(engine.store, LegacyImport) else {})


def _held(engine: Engine) -> dict[str, str]:
    """Return the latest jobs that wait for a person, with what that person can do."""
    held = JobFilter(statuses=(Status.HELD,), queue=engine.queue.name)
    page = engine.store.page(held, limit=MOST_HELD)
    return {record.job_id: record.error.next_step if record.error else "" for record in page.records}
