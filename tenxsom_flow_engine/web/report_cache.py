"""The engine and the report for the routes, with the state of the queue backend cached to limit remote calls."""

from __future__ import annotations

import logging
import threading
import time

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import StoreFull, StoreUnavailable
from tenxsom_flow_engine.report.model import QueueFigures, Report
from tenxsom_flow_engine.report.query import queue_figures, take_report
from tenxsom_flow_engine.store.values import QueueState
from tenxsom_flow_engine.web.runtime import WorkerRuntime

_log = logging.getLogger(__name__)


class ReportCache:
    """The report of one process. Thread-safe; opens nothing before the first call."""

    def __init__(self, runtime: WorkerRuntime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._cached: QueueFigures | None = None
        self._until = float("-inf")
        #: The stored queue state at the time of the cached figures.
        self._cached_under: QueueState | None = None

    @property
    def engine(self) -> Engine:
        """The engine, opened at the first use. Raises `ConfigurationError`, `StoreError` or `OutputError`."""
        return self._runtime.get().engine

    @property
    def link_origin(self) -> str:
        """The origin of links to videos; empty if there are none, or the engine is not open yet."""
        opened = self._runtime.opened
        return opened.engine.output.link_origin if opened else ""

    @property
    def stopping(self) -> bool:
        """Whether this process is shutting down."""
        return self._runtime.stopping

    @property
    def draining(self) -> bool:
        """Whether requests should no longer wait for a job."""
        return self._runtime.draining

    def report(self) -> Report:
        """Query the report. Raises `StoreError`."""
        engine = self.engine
        try:
            report = take_report(engine, self._queue(engine))
        except (StoreUnavailable, StoreFull) as error:
            engine.store_outage.failed("report", f"the state of the queue cannot be read: {error}")
            raise
        engine.store_outage.succeeded("report")
        return report

    def _queue(self, engine: Engine) -> QueueFigures:
        # One thread refreshes the figures. The others use the cached ones rather than wait for a slow queue backend.
        if not self._lock.acquire(blocking=self._cached is None):
            assert self._cached is not None
            return self._cached
        try:
            # A change made through any process invalidates the cache of every process.
            state = engine.store.queue_state(engine.queue.name)
            if self._cached is None or time.monotonic() >= self._until or state != self._cached_under:
                self._cached = queue_figures(engine)
                if self._cached.unknown:
                    _log.warning("the state of the queue is unknown: %s", self._cached.unknown)
                self._until = time.monotonic() + engine.timings.queue_state_age
                self._cached_under = state
            return self._cached
        finally:
            self._lock.release()
