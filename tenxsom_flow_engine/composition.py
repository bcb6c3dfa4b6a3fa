"""The composition root: opens the components that the settings select, and passes them to the engine.

`queues.selection` chooses the queue backend and the store. The registry of services makes the services.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tenxsom_flow_engine.clock import Clock, SystemClock
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import StoreUnavailable
from tenxsom_flow_engine.events import EndpointKind
from tenxsom_flow_engine.events.changes import api_links
from tenxsom_flow_engine.files import make_private_folder
from tenxsom_flow_engine.notifiers.alert import AlertNotifier
from tenxsom_flow_engine.notifiers.base import Notifier
from tenxsom_flow_engine.notifiers.command import CommandNotifier
from tenxsom_flow_engine.notifiers.webhook import WebhookNotifier
from tenxsom_flow_engine.output.folder import OutputFolder
from tenxsom_flow_engine.queues.base import JobQueue
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.queues.selection import (
    CLOUD_TASKS,
    HomeQueue,
    QueueChoice,
    choose_queue,
    choose_store,
)
from tenxsom_flow_engine.queues.stores import open_store_at
from tenxsom_flow_engine.rate_limits.base import QuotaGate
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.registry import ServiceContext, ServiceSpec, service_specs
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import DispatchLimits
from tenxsom_flow_engine.timings import Timings


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


def make_notifiers(settings: Settings, timings: Timings) -> dict[str, Notifier]:
    """Make the notifiers of a process by the kind of endpoint; that of a command only if the settings have one."""
    made: dict[str, Notifier] = {
        EndpointKind.WEBHOOK: WebhookNotifier(allow_private=settings.allow_private_webhooks, timings=timings),
        EndpointKind.ALERT: AlertNotifier(),
    }
    if settings.on_video:
        made[EndpointKind.COMMAND] = CommandNotifier(settings.on_video, timings)
    return made


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
        make_private_folder(settings.home)


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
    monotonic: Callable[[], float] = time.monotonic,
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
    try:
        opened = store or open_store(settings, choice.queue_type, clock, timings)
    except StoreUnavailable as error:
        if choice.by_home and choice.queue_type == "redis":
            error.next_step += "; or set TENXSOM_QUEUE_TYPE=local to use the embedded queue"
        raise
    opened.video_link = api_links(settings.cloud_tasks.worker_url)
    home = HomeQueue(settings, choice)
    if not choice.fresh:
        home.remember()
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
        home=home,
        known_services=service_specs(),
        notifiers=make_notifiers(settings, timings),
        monotonic=monotonic,
    )
