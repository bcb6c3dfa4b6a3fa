"""Run all checks, in the order in which the checked parts depend on each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from tenxsom_flow_engine.composition import configured_specs, open_engine
from tenxsom_flow_engine.doctor import machine
from tenxsom_flow_engine.doctor.checks import Finding, failed, ok, run_check
from tenxsom_flow_engine.doctor.engine_checks import parts
from tenxsom_flow_engine.doctor.worker_url import check_worker_url
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.queues.selection import CLOUD_TASKS, QueueChoice, choose_queue
from tenxsom_flow_engine.settings import Settings, load


def examine(environment: Mapping[str, str] | None = None, queue_type: str | None = None) -> Iterator[Finding]:
    """Run all checks and give each finding as soon as it is known. Buys nothing and changes no job."""
    yield from run_check("python", machine.python)
    yield from run_check("libraries", machine.libraries)
    try:
        settings = load(environment)
        choice = choose_queue(settings, queue_type)
    except FlowError as error:
        # The other checks need the settings.
        yield failed("settings", error, "correct it in the environment")
        return
    yield ok("settings", "all environment variables are valid")
    yield from run_check("disk", lambda: machine.disk(settings))
    yield from run_check("output", lambda: machine.output(settings))
    yield from run_check("privacy", lambda: machine.privacy(settings))
    for check in (check for spec in configured_specs(settings).values() for check in spec.machine_checks):
        yield from run_check(check.about, partial(machine.of_service, check))
    yield from run_check("store", lambda: _opened(settings, choice))
    if choice.queue_type == CLOUD_TASKS:
        yield from run_check("worker address", lambda: check_worker_url(settings))


def _opened(settings: Settings, choice: QueueChoice) -> Iterator[Finding]:
    with open_engine(settings, choice=choice) as engine:
        yield from parts(engine)
