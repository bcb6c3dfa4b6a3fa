"""Looks at the parts that an engine opens: store, time, queue, workers, services."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tenxsom_flow_engine.composition import CLOUD_TASKS
from tenxsom_flow_engine.doctor.checks import Finding, looked_at, ok, problem, warning
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Busy, ServiceError, Transient
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.report.verdicts import PROBLEM
from tenxsom_flow_engine.services.base import HasCredits, VideoService
from tenxsom_flow_engine.services.registry import service_specs
from tenxsom_flow_engine.store.values import IN_PROGRESS
from tenxsom_flow_engine.workers.maintenance import CLOCK_TOLERANCE


def parts(engine: Engine) -> Iterator[Finding]:
    """Look at everything that is open."""
    looks = {"store": store, "clock": clock, "queue": queue, "workers": workers, "services": services}
    for about, look in looks.items():
        yield from looked_at(about, lambda look=look: look(engine))  # type: ignore[misc]


def store(engine: Engine) -> Iterator[Finding]:
    """See that records can be read, and how safe they are."""
    engine.store.status_counts()
    yield ok("store", engine.store.place)
    if engine.store.advice:
        told, _, step = engine.store.advice.rpartition("; ")
        yield warning("store", told or engine.store.advice, step)


def clock(engine: Engine) -> Iterator[Finding]:
    """Compare the store's time, which schedules and leases go by, with this machine's."""
    ahead = engine.store.now() - time.time()
    if abs(ahead) > CLOCK_TOLERANCE:
        side = "ahead of" if ahead > 0 else "behind"
        text = f"the store's time is {abs(ahead):.0f} s {side} this machine's clock"
        yield problem("clock", text, "set the clocks of all machines: timedatectl set-ntp true")
    else:
        yield ok("clock", "the store's time is this machine's")


def queue(engine: Engine) -> Iterator[Finding]:
    """See that the carrier can be asked, and hands out jobs."""
    if engine.queue.name == CLOUD_TASKS:
        from tenxsom_flow_engine.queues.cloud_tasks.access import credentials_and_project

        if not engine.settings.cloud_tasks.emulator_host:
            _, project = credentials_and_project(engine.settings.cloud_tasks)
            yield ok("credentials", f"Google's, for the project {project}")
    status = engine.queue.status()
    if status.unknown:
        yield problem("queue", f"the {engine.queue.name} queue does not say how it is", status.unknown)
    elif status.paused:
        yield warning("queue", f"the {engine.queue.name} queue is paused", "run_flow_enhanced.py queue resume")
    else:
        yield ok("queue", f"{engine.queue.name} ({engine.queue_reason})")


def workers(engine: Engine) -> Iterator[Finding]:
    """See who would take jobs."""
    found = take_report(engine)
    if found.workers.alive:
        yield ok("workers", f"{found.workers.alive} alive")
        return
    door = "cloud_tasks_worker.py" if engine.queue.name == CLOUD_TASKS else "worker.py"
    waiting = sum(found.jobs.by_status[status] for status in IN_PROGRESS)
    yield warning("workers", f"none is alive, and {waiting:,} jobs wait", f"start one: python3 {door}")


def services(engine: Engine) -> Iterator[Finding]:
    """See that the services that cost take the keys that are configured, and have something left."""
    asked = {name: service for name, service in engine.services.items() if isinstance(service, HasCredits)}
    paid = [name for name, service in engine.services.items() if service.auto_selectable and not service.is_fallback]
    for name, service in asked.items():
        yield _credits(name, service)
    if not paid:
        keys = [f"{spec.switch} ({spec.docs or name})" for name, spec in service_specs().items() if spec.switch]
        step = f"to buy videos set one of {', '.join(keys)}"
        yield warning("services", "no paid service is configured, so only drafts are made", step)
    for name in paid:
        if name not in asked:
            yield ok(name, "configured; it cannot tell what is left")
    for verdict in take_report(engine).verdicts:
        if verdict.code in ("service-stopped", "failing") and verdict.level == PROBLEM:
            yield problem("services", f"{verdict.text}: {verdict.detail}", f"see {verdict.see}")


def _credits(name: str, service: HasCredits) -> Finding:
    assert isinstance(service, VideoService)
    try:
        left = service.credits()
    except (Transient, Busy) as error:
        return warning(name, error.message, error.next_step or "try again later, and see the service's status page")
    except ServiceError as error:
        return problem(name, error.message, error.next_step or "see the key and the account")
    note = f" ({left.note})" if left.note else ""
    if left.remaining is None:
        return ok(name, f"configured; it does not say what is left{note}")
    if left.remaining <= 0:
        return problem(name, f"nothing is left to spend{note}", f"buy {left.unit} at the service")
    return ok(name, f"{left.remaining:,.10g} {left.unit} left{note}")
