"""The composition root: chooses and opens the components that the settings select, and passes them to the engine.

This is the only module that chooses a queue backend or a store. The registry of services makes the services.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tenxsom_flow_engine.clock import Clock, SystemClock
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.jobs import AUTO
from tenxsom_flow_engine.output.folder import OutputFolder
from tenxsom_flow_engine.queues.base import JobQueue
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.queues.stores import open_store_at
from tenxsom_flow_engine.rate_limits.base import QuotaGate
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.registry import ServiceContext, ServiceSpec, service_specs
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import DispatchLimits
from tenxsom_flow_engine.timings import Timings

#: The one queue backend that pushes.
CLOUD_TASKS = "cloud_tasks"
#: The names of the queue backends, as used on the command line.
QUEUE_TYPES = (CLOUD_TASKS, "redis", "local")


@dataclass(frozen=True, slots=True)
class QueueChoice:
    """Which queue backend was chosen, and why."""

    queue_type: str
    reason: str


def choose_queue(settings: Settings, flag: str | None, *, pulled: bool = False) -> QueueChoice:
    """Choose the queue backend: a flag wins over the environment, and `auto` takes the first that is available.

    A Redis server that is set in the environment is never skipped silently: if it is down, opening its store fails.
    With `pulled`, the choice is for a pull worker, so `auto` skips backends that push.
    """
    requested, source = (flag, "requested") if flag else (settings.queue_type, "set in the environment")
    if requested != AUTO:
        if requested not in QUEUE_TYPES:
            raise ConfigurationError(
                f"unknown queue type {requested!r}", next_step=f"use one of: {AUTO}, {', '.join(QUEUE_TYPES)}"
            )
        return QueueChoice(requested, source)
    if pulled:
        skipped = "workers do not pull from Cloud Tasks"
    else:
        from tenxsom_flow_engine.queues.cloud_tasks.access import lacking

        missing = lacking(settings.cloud_tasks)
        if not missing:
            return QueueChoice(CLOUD_TASKS, "auto: credentials, project and worker of Cloud Tasks are configured")
        skipped = f"Cloud Tasks lacks {', '.join(missing)}"
    if settings.redis.named:
        return QueueChoice("redis", f"auto: {skipped}, and a Redis server is set in the environment")
    from tenxsom_flow_engine.store.redis.probe import is_redis_listening

    if is_redis_listening(settings.redis.address):
        return QueueChoice("redis", f"auto: {skipped}, and a Redis server is running")
    return QueueChoice("local", f"auto: {skipped}, no Redis server is set or running, so the embedded queue is used")


#: The URL schemes of Redis servers.
REDIS_SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class StoreChoice:
    """Which type of store keeps a queue's records, and its URL, which can contain a password."""

    scheme: str
    url: str


def choose_store(settings: Settings, queue_type: str) -> StoreChoice:
    """Choose the store that keeps a queue's records. Raises `ConfigurationError`."""
    named = str(settings.store or "")
    if queue_type == "redis" and named:
        raise ConfigurationError(
            "the redis queue keeps its records on the Redis server, so TENXSOM_STORE does not apply",
            next_step="unset TENXSOM_STORE",
        )
    if queue_type == "redis" or (queue_type == CLOUD_TASKS and not named and settings.redis.named):
        return StoreChoice("redis", str(settings.redis.address))
    if not named:
        return StoreChoice("sqlite", f"sqlite://{settings.home / 'jobs.sqlite3'}")
    scheme, separator, _ = named.partition("://")
    if separator and scheme == "sqlite":
        return StoreChoice("sqlite", named)
    if separator and scheme in REDIS_SCHEMES and queue_type == CLOUD_TASKS:
        return StoreChoice("redis", named)
    alternative = " or redis://HOST" if queue_type == CLOUD_TASKS else ""
    shown = f"{scheme}://…" if separator else named  # the URL of a server can contain a password
    raise ConfigurationError(
        f"TENXSOM_STORE {shown!r} is not a valid store for the {queue_type} queue",
        next_step=f"write sqlite:///ABSOLUTE/PATH{alternative}",
    )


def open_store(
    settings: Settings, queue_type: str, clock: Clock | None = None, timings: Timings = Timings()
) -> JobStore:
    """Open the store of a queue's records. Raises `ConfigurationError`, `StoreError`."""
    choice = choose_store(settings, queue_type)
    return open_store_at(choice.scheme, choice.url, settings.redis.key, clock or SystemClock(), timings)


def open_queue(settings: Settings, queue_type: str, store: JobStore, timings: Timings = Timings()) -> JobQueue:
    """Open a queue backend with the given store."""
    limits = DispatchLimits(settings.max_dispatches_per_second, settings.max_concurrent_dispatches)
    if queue_type == CLOUD_TASKS:
        from tenxsom_flow_engine.queues.cloud_tasks.queue import CloudTasksQueue

        return CloudTasksQueue(store, settings.cloud_tasks, limits, settings.lease, timings)
    return PullQueue(queue_type, store, limits, settings.lease)


def configured_specs(settings: Settings) -> Mapping[str, ServiceSpec]:
    """Return the specs of the configured services by name."""
    return {name: spec for name, spec in service_specs().items() if spec.config is None or name in settings.services}


def make_services(settings: Settings, clock: Clock, timings: Timings) -> dict[str, VideoService]:
    """Make the configured services. Raises `ConfigurationError`."""
    context = ServiceContext(
        clock=clock,
        timings=timings,
        home=settings.home,
        output_dir=settings.output_dir,
        allow_private_downloads=settings.allow_private_downloads,
    )
    return {name: spec.make(settings.services.get(name), context) for name, spec in configured_specs(settings).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Replacements for defaults, for tests and load simulations; commands take it as click's `obj`."""

    timings: Timings = Timings()
    retry: RetryPolicy = RetryPolicy()
    make_services: Callable[[Settings, Clock, Timings], Mapping[str, VideoService]] = make_services


def make_home(settings: Settings) -> None:
    """Create the home, if it does not exist, for its owner only: it holds topics, orders and the admin token.

    A folder that cannot be created is reported by the part that needs it.
    """
    with suppress(OSError):
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_engine(
    settings: Settings,
    queue_type: str | None = None,
    *,
    choice: QueueChoice | None = None,
    pulled: bool = False,
    clock: Clock | None = None,
    services: Mapping[str, VideoService] | None = None,
    store: JobStore | None = None,
    queue: JobQueue | None = None,
    gate: QuotaGate | None = None,
    output: OutputFolder | None = None,
    overrides: Overrides | None = None,
) -> Engine:
    """Open the components that the settings select; the flag `queue_type` wins over them (see `choose_queue`).

    A component or `choice` that is passed replaces the default. Raises `ConfigurationError`, `StoreError`.
    """
    make_home(settings)
    overrides = overrides or Overrides()
    clock, timings = clock or SystemClock(), overrides.timings
    choice = choice or choose_queue(settings, queue_type, pulled=pulled)
    if services is None:
        services = overrides.make_services(settings, clock, timings)
    opened = store or open_store(settings, choice.queue_type, clock, timings)
    return Engine(
        settings,
        store=opened,
        queue=queue or open_queue(settings, choice.queue_type, opened, timings),
        services=services,
        gate=gate,
        output=output,
        clock=clock,
        timings=timings,
        retry=overrides.retry,
        open_queue=lambda name: open_queue(settings, name, opened, timings),
        queue_reason=choice.reason,
        known_services=service_specs(),
    )
