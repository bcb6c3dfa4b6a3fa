"""What a worker process has open: opened in the process that uses it, at first use, so that forks share nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenxsom_flow_engine.composition import Overrides, open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError, Stopping, StoreFull, StoreUnavailable
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.workers.push import Delivered, PushWorker

_log = logging.getLogger(__name__)


class Worker(Protocol):
    """Takes deliveries: what the web needs of `push_worker.PushWorker`, where its manual is."""

    @property
    def active_steps(self) -> int:
        """How many steps are being taken now."""

    def start(self) -> None:
        """Begin to look after the queue."""

    def deliver(self, body: bytes, *, previous_attempt_unanswered: bool = False) -> Delivered:
        """Take the step that a task's body asks for."""

    def stop(self) -> None:
        """Take no more deliveries; called again, give up writes that the store refuses."""

    def close(self) -> None:
        """Hand back what is still in hand."""


class NullWorker:
    """Takes no deliveries: the worker of a process that only shows."""

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
    """The open engine, and the worker that takes its steps."""

    engine: Engine
    worker: Worker


class WorkerRuntime:
    """The parts of one process, opened once. Safe to use from several threads."""

    def __init__(self, open_runtime: Callable[[], OpenRuntime], *, retry_seconds: float = 5.0) -> None:
        self._open_parts = open_runtime
        self._opened: OpenRuntime | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        #: Seconds between two attempts to open a store that cannot be used.
        self._retry_seconds = retry_seconds

    def get(self) -> OpenRuntime:
        """Return the open parts. Raises what opening raises; the next call tries again."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open_parts()
            return self._opened

    @property
    def stopping(self) -> bool:
        """Whether no more deliveries are taken."""
        return self._closed.is_set()

    def start(self) -> None:
        """Open the parts and begin to work; if the store is away, once it is back. Raises what else is wrong."""
        try:
            self.get().worker.start()
        except (StoreUnavailable, StoreFull) as error:
            _log.warning("waiting for the store: %s", error)
            threading.Thread(target=self._keep_trying, name="opener", daemon=True).start()

    def stop(self) -> None:
        """Take no more deliveries; called again, give up what is in hand. Safe to call from a signal handler."""
        self._closed.set()
        if self._opened is not None:
            self._opened.worker.stop()

    def close(self) -> bool:
        """Hand back the steps that have not ended, and let go of everything; return whether all had ended.

        Closing twice is harmless.
        """
        self._closed.set()
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is None:
            return True
        ended = opened.worker.active_steps == 0
        opened.worker.close()
        if ended:  # else their threads may still use the store
            opened.engine.close()
        return ended

    def _keep_trying(self) -> None:
        while not self._closed.wait(self._retry_seconds):
            try:
                self.get().worker.start()
            except FlowError as error:
                _log.warning("waiting for the store: %s", error)
                continue
            _log.info("the store is back")
            return


def open_runtime(settings: Settings, overrides: Overrides | None = None) -> OpenRuntime:
    """Open the parts of a worker for Cloud Tasks. Raises `ConfigurationError`, `StoreError`, `OutputError`."""
    engine = open_engine(settings, "cloud_tasks", overrides=overrides)
    try:
        engine.check_output()
    except BaseException:
        engine.close()
        raise
    return OpenRuntime(engine, PushWorker(engine, concurrency=settings.web.concurrency))


def open_view(settings: Settings, queue_type: str) -> OpenRuntime:
    """Open the parts of a process that only shows a queue. Raises `ConfigurationError`, `StoreError`."""
    return OpenRuntime(open_engine(settings, queue_type), NullWorker())
