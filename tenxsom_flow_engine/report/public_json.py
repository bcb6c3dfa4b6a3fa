"""The report as public JSON: only numbers and states, no text from a service, a person or this machine."""

from __future__ import annotations

from typing import Any

from tenxsom_flow_engine.budgets import to_usd
from tenxsom_flow_engine.budgets.forecast import BudgetUse
from tenxsom_flow_engine.budgets.limits import PRIVATE
from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.report.model import (
    Ended,
    Making,
    PurchaseTotals,
    QueueFigures,
    Report,
    ServiceFigures,
    Verdict,
    WindowFigures,
)

#: Version of this format: incremented when a key is removed or changes its meaning, not when one is added.
SCHEMA = 1


def stats(report: Report) -> dict[str, Any]:
    """Return the report as plain values."""
    jobs, workers = report.jobs, report.workers
    return {
        "schema": SCHEMA,
        "at": iso(report.at),
        "verdicts": [verdict(one) for one in report.verdicts],
        "jobs": {str(status): number for status, number in jobs.by_status.items()},
        "unfinished": jobs.unfinished,
        "oldest_due_seconds": round(jobs.oldest_due or 0.0, 1),
        "today": _ended(jobs.today) | {"bought": _money(jobs.bought_today)},
        "last_24_hours": _ended(jobs.day)
        | {"hours": [{"hour": iso(bar.at), **_ended(bar.ended)} for bar in jobs.hours]},
        "throughput_per_hour": round(jobs.throughput, 2),
        "queue": queue(report.queue),
        "workers": {
            "alive": workers.alive,
            "concurrency": workers.concurrency,
            "steps": workers.steps,
            "uptime_seconds": _rounded(workers.uptime),
            "seen_seconds_ago": _rounded(workers.seen),
        },
        "disk": {one.place: {"free_bytes": one.free, "days_left": _rounded(one.days_left)} for one in report.disks},
        "services": {service.name: _service(service) for service in report.services},
        "budgets": [_budget(use) for use in report.budgets if not use.budget.scope.startswith(PRIVATE)],
        "all_services": {"windows": [_window(window) for window in report.overall]},
    }


def verdict(one: Verdict) -> dict[str, Any]:
    """Return the public part of a verdict."""
    return {
        "code": one.code,
        "level": one.level,
        "text": one.text,
        "see": one.see,
        "actions": [str(action) for action in one.actions],
    }


def queue(figures: QueueFigures) -> dict[str, Any]:
    """Return the public part of the queue backend's figures."""
    public: dict[str, Any] = {"queue_type": figures.queue_type, "state": figures.state}
    return public | ({"rate_limits": rate_limits(figures)} if figures.limits else {})


def rate_limits(figures: QueueFigures) -> dict[str, Any]:
    """Return the limits of the queue backend; they must be known."""
    assert figures.limits is not None
    return {
        "max_dispatches_per_second": figures.limits.max_dispatches_per_second,
        "max_concurrent_dispatches": figures.limits.max_concurrent_dispatches,
        "set_at_run_time": list(figures.set_at_run_time),
        "set_at_carrier": list(figures.set_at_backend),
    }


def _service(service: ServiceFigures) -> dict[str, Any]:
    error = service.last_error
    return {
        "state": service.state,
        "opens_in": _rounded(service.opens_in),
        "pace": service.pace,
        "windows": [_window(window) for window in service.windows],
        "in_flight": {"used": service.in_flight, "limit": service.slots},
        "last_24_hours": _ended(service.day) | {"seconds": _making(service.making)},
        "today": {"bought": _money(service.bought_today) | {"credits": service.bought_today.credits}},
        "last_error": {"code": error.code, "at": iso(error.at)} if error else None,
    }


def _ended(ended: Ended) -> dict[str, Any]:
    rate = ended.success_rate
    return {
        "succeeded": ended.succeeded,
        "failed": ended.failed,
        "success_rate": None if rate is None else round(rate, 4),
    }


def _money(bought: PurchaseTotals) -> dict[str, Any]:
    return {"videos": bought.videos, "usd": bought.usd, "unpriced": bought.unpriced}


def _making(making: Making) -> dict[str, Any]:
    return {"p50": _rounded(making.p50), "p95": _rounded(making.p95)}


def _budget(use: BudgetUse) -> dict[str, Any]:
    return {
        "scope": use.budget.scope,
        "limit": str(use.limit),
        "period": use.period.name,
        "resets_at": iso(use.period.ends),
        "spent_usd": to_usd(use.amounts.spent),
        "reserved_usd": to_usd(use.amounts.reserved),
    }


def _window(window: WindowFigures) -> dict[str, Any]:
    return {
        "window": window.name,
        "used": window.used,
        "limit": window.limit,
        "limit_at_pace": window.limit_at_pace,
        "frees_in": window.frees_in,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
