"""The engine and worker of one process, opened at first use, so that forked processes share nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenxsom_flow_engine.composition import Overrides, open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError, OutputAway, Stopping, StoreFull, StoreUnavailable
from tenxsom_flow_engine.queues.selection import QueueChoice
from tenxsom_flow_engine.report.query import findings
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.store.outage import Outage
from tenxsom_flow_engine.workers.push import Delivered, PushWorker

_log = logging.getLogger(__name__)


class Worker(Protocol):
    """Takes deliveries. The web layer's interface to `workers.push.PushWorker`, which documents the methods."""

    @property
    def active_steps(self) -> int:
        """Number of steps that are running."""

    def start(self) -> None:
        """Start the maintenance of the queue."""

    def deliver(self, body: bytes, *, previous_attempt_unanswered: bool = False) -> Delivered:
        """Run the step of one delivery; `body` is the body of its task."""

    def stop(self) -> None:
        """Refuse further deliveries; a second call also abandons writes that the store refuses."""

    def close(self) -> None:
        """Release the leases of steps that are still running."""


class NullWorker:
    """The worker of a dashboard process: refuses all deliveries."""

    active_steps = 0

    def start(self) -> None:
        """Do nothing."""

    def deliver(self, body: bytes, *, previous_attempt_unanswered: bool = False) -> Delivered:
        """Refuse. Raises `Stopping`."""
        raise Stopping

    def stop(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class OpenRuntime:
    """An open engine and the worker that runs its steps."""

    engine: Engine
    worker: Worker


class WorkerRuntime:
    """The engine and worker of one process, opened once. Thread-safe."""

    def __init__(self, open_runtime: Callable[[], OpenRuntime], *, retry_seconds: float = 5.0) -> None:
        self._open_runtime = open_runtime
        self._opened: OpenRuntime | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._draining = threading.Event()
        #: Seconds between two attempts to open an unavailable store.
        self._retry_seconds = retry_seconds
        #: The outage of the store before the engine is open; `Engine.store_outage` is a later one.
        self._outage = Outage(_log, "the store")

    def get(self) -> OpenRuntime:
        """Return the engine and worker. Raises the errors of opening them; the next call tries again."""
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = self._open_runtime()
                except (StoreUnavailable, StoreFull) as error:
                    self._outage.failed("open", f"waiting for the store: {error}")
                    raise
                self._outage.succeeded("open")
            return self._opened

    @property
    def opened(self) -> OpenRuntime | None:
        """The engine and worker; None before they are open."""
        return self._opened

    def store_failed(self, caller: str, message: str) -> None:
        """Log that a request found the store unavailable; its next success is reported to `Engine.store_outage`."""
        if (opened := self._opened) is not None:  # else `get` has logged it
            opened.engine.store_outage.failed(caller, message)

    @property
    def stopping(self) -> bool:
        """Whether deliveries are refused because the process is shutting down."""
        return self._closed.is_set()

    @property
    def draining(self) -> bool:
        """Whether the process lets its requests end, so that none should wait for a job any more."""
        return self._draining.is_set() or self.stopping

    def drain(self) -> None:
        """Let requests that wait for a job end; steps and deliveries continue."""
        self._draining.set()

    def start(self) -> None:
        """Open the engine and start the worker. If the store is unavailable, keep trying in the background.

        Raises the other errors of opening the engine.
        """
        try:
            self.get().worker.start()
        except (StoreUnavailable, StoreFull):  # `get` has logged it
            threading.Thread(target=self._keep_trying, name="opener", daemon=True).start()

    def stop(self) -> None:
        """Refuse further deliveries; a second call also abandons running steps.

        Not for signal handlers: it locks.
        """
        self._closed.set()
        if self._opened is not None:
            self._opened.worker.stop()

    def close(self) -> bool:
        """Release the leases of running steps and close everything; return whether no step was running.

        Closing twice is harmless.
        """
        self._closed.set()
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is None:
            return True
        idle = opened.worker.active_steps == 0
        opened.worker.close()
        if idle:  # else the threads of running steps might still use the store
            opened.engine.close()
        return idle

    def _keep_trying(self) -> None:
        while not self._closed.wait(self._retry_seconds):
            try:
                self.get().worker.start()
            except FlowError as error:
                self._outage.failed("open", f"waiting for the store: {error}")
                continue
            return


def open_runtime(settings: Settings, overrides: Overrides | None = None) -> OpenRuntime:
    """Open the runtime of a worker for Cloud Tasks. Raises `ConfigurationError`, `StoreError`, `OutputError`."""
    engine = open_engine(settings, "cloud_tasks", overrides=overrides)
    try:
        engine.check_output()
    except OutputAway as away:  # what is fetched until then waits in the spool
        _log.warning("%s", away)
    except BaseException:
        engine.close()
        raise
    return OpenRuntime(engine, PushWorker(engine, concurrency=settings.web.concurrency, findings=findings))


def open_view(settings: Settings, choice: QueueChoice) -> OpenRuntime:
    """Open the runtime of a dashboard process. Raises `ConfigurationError`, `StoreError`."""
    return OpenRuntime(open_engine(settings, choice=choice), NullWorker())
