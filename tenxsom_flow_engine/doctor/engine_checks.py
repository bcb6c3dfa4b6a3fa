"""Checks of an open engine: store, clock, queue, workers, services."""

from __future__ import annotations

from collections.abc import Iterator

from tenxsom_flow_engine.clock import CLOCK_TOLERANCE
from tenxsom_flow_engine.doctor.checks import Finding, failed, ok, problem, run_check, warning
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action, Busy, OutOfCredit, ServiceError, Transient
from tenxsom_flow_engine.queues.selection import CLOUD_TASKS
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.report.verdicts import PROBLEM
from tenxsom_flow_engine.services.base import HasCredits, VideoService
from tenxsom_flow_engine.services.registry import service_specs
from tenxsom_flow_engine.settings import CloudTasksSettings
from tenxsom_flow_engine.store.values import IN_PROGRESS
from tenxsom_flow_engine.text import balance, clock_lead, plural

#: Seconds to look for damage in the store's file; the rest of a larger file is not examined.
CHECK_SECONDS = 20.0


def parts(engine: Engine) -> Iterator[Finding]:
    """Run all checks of an open engine."""
    checks = {"store": store, "clock": clock, "queue": queue, "workers": workers, "services": services}
    for about, check in checks.items():
        yield from run_check(about, lambda check=check: check(engine))  # type: ignore[misc]


def store(engine: Engine) -> Iterator[Finding]:
    """Check that records can be read and are undamaged, and report a risk to their durability."""
    engine.store.status_counts()
    if damage := engine.store.find_damage(CHECK_SECONDS):
        text = f"{engine.store.place} is damaged: {damage.splitlines()[0]}"
        yield problem("store", "store-damaged", text, "stop all workers", (Action.RESTORE,))
    else:
        yield ok("store", engine.store.place)
    if advice := engine.store.advice:
        yield warning("store", "store-at-risk", advice.message, advice.next_step)
    for other in engine.other_stores:
        text = f"{plural(other.unfinished, 'unfinished job')} of this home in another store: {other.place}"
        yield warning("store", "jobs-elsewhere", text, "", (Action.LIST_OTHER_QUEUE,), other.queue_type)


def clock(engine: Engine) -> Iterator[Finding]:
    """Compare the store's clock, which schedules and leases use, with this machine's."""
    ahead = engine.clock_lead
    if abs(ahead) > CLOCK_TOLERANCE:
        text = f"the store's clock is {clock_lead(ahead)} this machine's clock"
        step = "set the clocks of all machines: timedatectl set-ntp true"
        yield problem("clock", "clock-skew", text, step, (Action.REPAIR_CLOCK,) if ahead > 0 else ())
    else:
        yield ok("clock", "the clocks of the store and this machine agree")


def queue(engine: Engine) -> Iterator[Finding]:
    """Check that the queue backend answers and delivers jobs."""
    if engine.queue.name == CLOUD_TASKS:
        from tenxsom_flow_engine.queues.cloud_tasks.access import credentials_and_project

        if not engine.settings.cloud_tasks.emulator_host:
            google = engine.settings.cloud_tasks
            _, project = credentials_and_project(google)
            yield ok("credentials", google_identity(google, project))
    status = engine.queue.status()
    if status.unknown:
        yield problem(
            "queue", "queue-unknown", f"the state of the {engine.queue.name} queue is unknown",
            str(status.unknown), status.unknown.actions,
        )  # fmt: skip
    elif status.paused:
        text = f"the {engine.queue.name} queue is paused"
        yield warning("queue", "queue-paused", text, actions=(Action.RESUME_QUEUE,))
    else:
        yield ok("queue", f"{engine.queue.name} ({engine.queue_reason})")


def google_identity(google: CloudTasksSettings, project: str) -> str:
    """Say which identity and project are used, and where each comes from."""
    origin = f"from {google.credentials_origin}" + (f", {google.credentials_file}" if google.credentials_file else "")
    identity = f" {google.identity}" if google.identity else ""
    return f"Google identity{identity} ({origin}), project {project} (from {google.project_origin})"


def workers(engine: Engine) -> Iterator[Finding]:
    """Check that a worker is running."""
    found = take_report(engine)
    if found.workers.alive:
        yield ok("workers", f"{found.workers.alive} alive")
        return
    waiting = sum(found.jobs.by_status[status] for status in IN_PROGRESS)
    start = Action.START_PUSH_WORKER if engine.queue.pushes else Action.START_WORKER
    yield warning("workers", "no-worker", f"none is running; {plural(waiting, 'job')} waiting", actions=(start,))


def services(engine: Engine) -> Iterator[Finding]:
    """Check that paid services accept the configured keys and have credit left."""
    with_credits = {name: service for name, service in engine.services.items() if isinstance(service, HasCredits)}
    paid = [name for name, service in engine.services.items() if service.auto_selectable and not service.is_fallback]
    for name, service in with_credits.items():
        yield _credits(name, service)
    if not paid:
        keys = [f"{spec.switch} ({spec.docs or name})" for name, spec in service_specs().items() if spec.switch]
        step = f"to buy videos, set one of {', '.join(keys)}"
        yield warning("services", "no-paid-service", "no paid service is configured, so only drafts are made", step)
    for name in paid:
        if name not in with_credits:
            yield ok(name, "configured; it does not report its remaining credit")
    for verdict in take_report(engine).verdicts:
        if verdict.code in ("service-stopped", "failing") and verdict.level == PROBLEM:
            text = f"{verdict.text}: {verdict.detail}"
            yield problem("services", verdict.code, text, f"see {verdict.see}", verdict.actions, verdict.subject)


def _credits(name: str, service: HasCredits) -> Finding:
    assert isinstance(service, VideoService)
    try:
        left = service.credits()
    except (Transient, Busy) as error:
        step = error.next_step or "try again later, and see the service's status page"
        return warning(name, error.code, error.reason, step)
    except ServiceError as error:
        return failed(name, error, "check the key and the account")
    note = f" ({left.note})" if left.note else ""
    if left.remaining is None:
        return ok(name, f"configured; it does not report its remaining credit{note}")
    if left.remaining <= 0:
        return problem(name, OutOfCredit.code, f"no credit left{note}", f"buy {left.unit} at the service")
    return ok(name, f"{balance(left.remaining, left.unit)} left{note}")
