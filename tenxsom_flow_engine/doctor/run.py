"""Run all checks, in the order in which the checked parts depend on each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from tenxsom_flow_engine.composition import configured_specs, open_engine
from tenxsom_flow_engine.doctor import machine
from tenxsom_flow_engine.doctor.checks import Finding, failed, ok, run_check, warning
from tenxsom_flow_engine.doctor.engine_checks import parts
from tenxsom_flow_engine.doctor.tokens import check_tokens
from tenxsom_flow_engine.doctor.worker_url import check_worker_url
from tenxsom_flow_engine.env import fields_of
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.queues.selection import CLOUD_TASKS, QueueChoice, choose_queue
from tenxsom_flow_engine.settings import CloudTasksSettings, RedisSettings, Settings, load_valid

_FOLDERS = frozenset({"TENXSOM_HOME", "TENXSOM_OUTPUT_DIR"})


def examine(environment: Mapping[str, str] | None = None, queue_type: str | None = None) -> Iterator[Finding]:
    """Run all checks and give each finding as soon as it is known. Buys nothing and changes no job."""
    yield from run_check("python", machine.python)
    yield from run_check("libraries", machine.libraries)
    try:
        settings, invalid = load_valid(environment)
    except FlowError as error:
        # The other checks need the settings.
        yield failed("settings", error, "correct it in the environment")
        return
    errors: list[FlowError] = list(invalid.values())
    choice = None
    # With another queue or store than the intended one, their checks would mislead.
    if not invalid.keys() & _variables_of_places():
        try:
            choice = choose_queue(settings, queue_type)
        except FlowError as error:
            errors.append(error)
    if not errors:
        yield ok("settings", "all environment variables are valid")
    if not invalid.keys() & _FOLDERS:
        yield from run_check("disk", lambda: machine.disk(settings))
        yield from run_check("output", lambda: machine.output(settings))
        yield from run_check("privacy", lambda: machine.privacy(settings))
    for check in (check for spec in configured_specs(settings).values() for check in spec.machine_checks):
        yield from run_check(check.about, partial(machine.of_service, check))
    yield from run_check("network", lambda: machine.network(settings))
    if choice is not None:
        yield from run_check("store", partial(_opened, settings, choice))
    if choice is not None and choice.queue_type == CLOUD_TASKS:
        yield from run_check("tokens", lambda: check_tokens(settings))
        yield from run_check("worker address", lambda: check_worker_url(settings))
    if choice is None:
        step = "correct the settings, then run this command again"
        yield warning("store", "not-checked", "store, queue, workers and services were not checked", step)
    for problem in errors:
        yield failed("settings", problem, "correct it in the environment")


def _variables_of_places() -> frozenset[str]:
    """Return the variables that decide where jobs are."""
    groups = (*fields_of(RedisSettings), *fields_of(CloudTasksSettings))
    return frozenset({"TENXSOM_STORE", "TENXSOM_QUEUE_TYPE", *(one.variable.name for one in groups)}) | _FOLDERS


def _opened(settings: Settings, choice: QueueChoice) -> Iterator[Finding]:
    with open_engine(settings, choice=choice) as engine:
        yield from parts(engine)
