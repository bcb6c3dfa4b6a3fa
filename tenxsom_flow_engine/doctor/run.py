"""Run all checks, in the order in which the checked parts depend on each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tenxsom_flow_engine.composition import CLOUD_TASKS, QueueChoice, choose_queue, open_engine
from tenxsom_flow_engine.doctor import machine
from tenxsom_flow_engine.doctor.checks import Finding, failed, looked_at, ok
from tenxsom_flow_engine.doctor.engine_checks import parts
from tenxsom_flow_engine.doctor.worker_url import door
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.settings import Settings, load


def examine(environment: Mapping[str, str] | None = None, queue_type: str | None = None) -> Iterator[Finding]:
    """Run all checks and give each finding as soon as it is known. Buys nothing and changes no job."""
    yield from looked_at("python", machine.python)
    yield from looked_at("libraries", machine.libraries)
    try:
        settings = load(environment)
        choice = choose_queue(settings, queue_type)
    except FlowError as error:
        # The other checks need the settings.
        yield failed("settings", error, "correct it in the environment")
        return
    yield ok("settings", "all environment variables are valid")
    yield from looked_at("disk", lambda: machine.disk(settings))
    yield from looked_at("output", lambda: machine.output(settings))
    yield from looked_at("fonts", machine.fonts)
    yield from looked_at("store", lambda: _opened(settings, choice))
    if choice.queue_type == CLOUD_TASKS:
        yield from looked_at("worker address", lambda: door(settings))


def _opened(settings: Settings, choice: QueueChoice) -> Iterator[Finding]:
    with open_engine(settings, choice=choice) as engine:
        yield from parts(engine)
