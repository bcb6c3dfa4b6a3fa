"""The state of the queue in about ten lines, for `status` on a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator

from tenxsom_flow_engine.cli.advice import advise
from tenxsom_flow_engine.cli.format import cut, short_time
from tenxsom_flow_engine.cli.program import program
from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import Failure
from tenxsom_flow_engine.queues.base import QueueStatus
from tenxsom_flow_engine.report.model import Report, ServiceFigures, Verdict, WindowFigures, WorkerFigures
from tenxsom_flow_engine.report.query import queue_figures_of, take_report
from tenxsom_flow_engine.text import ago, duration, number, percent, plural, usd, visible, within

#: Width of the labels.
_LABEL = 10
#: Maximum number of verdicts, and of budgets, that are shown.
MOST_VERDICTS, MOST_BUDGETS = 5, 3


def status_text(engine: Engine) -> tuple[str, Failure | None]:
    """Return the lines, and why the state of the queue backend is unknown (None: it is known)."""
    status = engine.queue.status()
    report = take_report(engine, queue_figures_of(status))
    width = shutil.get_terminal_size().columns
    return "\n".join(line for label, text in _lines(engine, status, report) for line in _fit(label, text, width)), (
        status.unknown
    )


def screen(text: str, *, first: bool) -> str:
    """Return the characters that show a text in place of the last one, as far as it fits the terminal."""
    size = shutil.get_terminal_size()
    lines = [cut(line, size.columns - 1) for line in visible(text).split("\n")][: max(1, size.lines - 1)]
    return ("\x1b[2J" if first else "") + "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"


def _fit(label: str, text: str, width: int) -> list[str]:
    """Wrap a text to a width, after its label."""
    before = f"{label[: _LABEL - 1]:{_LABEL}}" if len(label) < _LABEL else f"{label} "
    lines = textwrap.wrap(
        text,
        max(width, _LABEL + 20),
        initial_indent=before,
        subsequent_indent=" " * _LABEL,
        break_on_hyphens=False,
    )
    return lines or [before]


def _lines(engine: Engine, status: QueueStatus, report: Report) -> Iterator[tuple[str, str]]:
    """Yield label and text of each line."""
    yield from map(_verdict, report.verdicts[:MOST_VERDICTS])
    if (hidden := len(report.verdicts) - MOST_VERDICTS) > 0:
        yield "", f"and {plural(hidden, 'verdict')} more: {program()} status --json"
    yield "jobs", _jobs(status)
    yield "next due", _next_due(engine, report)
    yield "today", _today(report)
    yield "workers", _workers(report.workers)
    for service in report.services:
        if service.slots is not None or service.state not in ("open", "full"):
            yield service.name, _service(service)
    if report.overall:
        yield "global", ", ".join(map(_window, report.overall))
    yield "spent", _spent(report)
    yield "queue", _queue(status, report)
    yield "store", engine.store.place


def _verdict(one: Verdict) -> tuple[str, str]:
    advice = advise(one.detail, one.actions, one.subject)
    return one.level, f"{one.text}; {advice}" if advice else one.text


def _jobs(status: QueueStatus) -> str:
    counts = [f"{count:,} {name}" for name, count in status.counts.by_status.items() if count]
    return ", ".join(counts) or f"none; add one with: {program()} single TOPIC"


def _next_due(engine: Engine, report: Report) -> str:
    waits = report.jobs.oldest_due
    now = f"a job has been due for {duration(waits)}; " if waits is not None else ""
    following = engine.store.next_scheduled(1)
    if not following or following[0].due is None:
        return f"{now}nothing is scheduled"
    record = following[0]
    due = following[0].due
    return f"{now}{short_time(iso(due))} UTC, {within(due - report.at)}: {record.job.topic} ({record.job_id})"


def _today(report: Report) -> str:
    jobs = report.jobs
    expired = f", {jobs.expired:,} expired in 24 h" if jobs.expired else ""
    rate = f", {number(round(jobs.throughput, 1))} in the last hour" if jobs.throughput else ""
    return (
        f"{jobs.today.succeeded:,} of {jobs.planned_today:,} planned done, {jobs.today.failed:,} failed{expired}{rate}"
    )


def _workers(workers: WorkerFigures) -> str:
    if workers.alive:
        since = f", the oldest for {duration(workers.uptime)}" if workers.uptime is not None else ""
        steps = f"{plural(workers.concurrency, 'step')} at a time, {workers.steps:,} run"
        return f"{workers.alive:,} alive{since}: {steps}"
    seen = (
        f"; the last one {'ended' if workers.ended else 'was seen'} {ago(workers.seen)}"
        if workers.seen is not None
        else ""
    )
    return f"none alive{seen}"


def _service(service: ServiceFigures) -> str:
    state = service.state
    if service.why:
        state += f" ({service.why})"
    if service.opens_in:
        state += f", opens {within(service.opens_in)}"
    if service.pace < 1:
        state += f", pace {percent(service.pace)}"
    slots = [f"{service.in_flight} of {service.slots} in flight"] if service.slots is not None else []
    made = f"; today {plural(service.bought_today.videos, 'video')}" if service.bought_today.videos else ""
    return ", ".join([state, *slots, *map(_window, service.windows)]) + made


def _window(window: WindowFigures) -> str:
    """Describe the use of a limit: `3 of 20/m`."""
    return f"{window.used} of {window.name}"


def _spent(report: Report) -> str:
    bought = report.jobs.bought_today
    unpriced = f" ({bought.unpriced:,} without a known price)" if bought.unpriced else ""
    today = f"{usd(bought.usd)} today for {plural(bought.videos, 'video')}{unpriced}"
    fullest = sorted(report.budgets, key=lambda use: use.share, reverse=True)[:MOST_BUDGETS]
    budgets = [f"budget {use.budget.scope} ${use.limit}: {percent(use.share)} used" for use in fullest]
    return "; ".join([today, *budgets])


def _queue(status: QueueStatus, report: Report) -> str:
    state = report.queue.state.lower()
    if status.unknown:  # a verdict has the advice
        return f"{status.queue_type}, {state}: {status.unknown.message}"
    limits = status.limits
    pace = (
        f"; at most {limits.max_dispatches_per_second:g} steps a second, {limits.max_concurrent_dispatches} at a time"
        if limits
        else ""
    )
    return f"{status.queue_type}, {state}{pace}"
