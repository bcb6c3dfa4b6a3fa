"""The worker as a WSGI application, for any server: `cloud_tasks_worker:app`.

Importing it opens nothing, so a server can import it before it forks (gunicorn's `preload_app`).
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterable
from queue import SimpleQueue
from typing import TYPE_CHECKING

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.logs import about
from tenxsom_flow_engine.settings import Settings, load
from tenxsom_flow_engine.web.trace import trace_fields

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from flask import Flask

    from tenxsom_flow_engine.composition import Overrides
    from tenxsom_flow_engine.queues.selection import QueueChoice
    from tenxsom_flow_engine.web.runtime import WorkerRuntime


_log = logging.getLogger(__name__)


class Application:
    """A WSGI application, built by `start` or at the first request; the settings default to the environment's.

    With `showing`, the application serves only the dashboard of that queue, and takes no deliveries.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        showing: QueueChoice | None = None,
        overrides: Overrides | None = None,
    ) -> None:
        self._settings = settings
        self._overrides = overrides
        self._showing = showing
        self._lock = threading.Lock()
        self._made: tuple[Flask, WorkerRuntime] | None = None
        #: The project of the traces; empty if it is unknown.
        self._project = ""
        self._abandoned: SimpleQueue[None] = SimpleQueue()

    def __call__(self, request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = self._make()[0]
        with about(**trace_fields(request, self._project)):
            return app(request, start_response)

    def start(self) -> None:
        """Open the engine and start the worker, so that errors appear at startup. Raises `FlowError`."""
        runtime = self._make()[1]
        runtime.start()
        threading.Thread(target=self._abandon, args=(runtime,), name="abandon", daemon=True).start()

    def drain(self) -> None:
        """Let requests that wait for a job end, because the process is about to stop. Not for signal handlers."""
        if self._made is not None:
            self._made[1].drain()

    def abandon(self) -> None:
        """Make a thread refuse further deliveries and abandon running steps. Re-entrant, for signal handlers.

        Has no effect before `start`.
        """
        self._abandoned.put(None)

    def close(self) -> bool:
        """Release the leases of running steps and close everything; return whether no step was running."""
        return self._made is None or self._made[1].close()

    def _abandon(self, runtime: WorkerRuntime) -> None:
        self._abandoned.get()
        # The first call refuses further deliveries, the second stops waiting for running steps.
        runtime.stop()
        runtime.stop()

    def _make(self) -> tuple[Flask, WorkerRuntime]:
        with self._lock:
            if self._made is None:
                settings = self._settings or load()
                self._project = settings.cloud_tasks.project
                self._made = (
                    _dashboard(settings, self._showing) if self._showing else _worker(settings, self._overrides)
                )
            return self._made


def _worker(settings: Settings, overrides: Overrides | None) -> tuple[Flask, WorkerRuntime]:
    from tenxsom_flow_engine.composition import Overrides
    from tenxsom_flow_engine.web.app import worker_app
    from tenxsom_flow_engine.web.auth import advice, open_access
    from tenxsom_flow_engine.web.dashboard.session import admin_token
    from tenxsom_flow_engine.web.hosts import known_hosts
    from tenxsom_flow_engine.web.runtime import WorkerRuntime, open_runtime

    runtime = WorkerRuntime(
        lambda: open_runtime(settings, overrides), retry_seconds=(overrides or Overrides()).timings.store_open_retry
    )
    access = open_access(settings)
    if text := advice(settings):
        _log.warning("%s", text)
    try:
        admin = admin_token(settings)
    except ConfigurationError as error:
        # Deliveries do not need the dashboard.
        _log.warning("the dashboard cannot be opened: %s", error)
        admin = secrets.token_urlsafe(32)
    hosts = known_hosts(settings)
    app = worker_app(
        runtime,
        access,
        concurrency=settings.web.concurrency,
        admin=admin,
        hosts=hosts,
        origins=settings.web.api_origins,
    )
    return app, runtime


def _dashboard(settings: Settings, choice: QueueChoice) -> tuple[Flask, WorkerRuntime]:
    from tenxsom_flow_engine.web.app import dashboard_app
    from tenxsom_flow_engine.web.dashboard.session import admin_token
    from tenxsom_flow_engine.web.hosts import known_hosts
    from tenxsom_flow_engine.web.runtime import WorkerRuntime, open_view

    runtime = WorkerRuntime(lambda: open_view(settings, choice))
    admin, hosts = admin_token(settings), known_hosts(settings)
    app = dashboard_app(
        runtime, queue_type=choice.queue_type, admin=admin, hosts=hosts, origins=settings.web.api_origins
    )
    return app, runtime


app = Application()
