"""What the routes show: the open engine and its report, which spares the queue backend's service repeated questions."""

from __future__ import annotations

import logging
import threading
import time

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.report.model import QueueFigures, Report
from tenxsom_flow_engine.report.query import queue_figures, take_report
from tenxsom_flow_engine.store.values import QueueState
from tenxsom_flow_engine.web.runtime import WorkerRuntime

_log = logging.getLogger(__name__)


class ReportCache:
    """Safe to use from several threads; opens nothing before the first question."""

    def __init__(self, parts: WorkerRuntime) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._told: QueueFigures | None = None
        self._until = float("-inf")
        self._asked_under: QueueState | None = None

    @property
    def engine(self) -> Engine:
        """The open engine. Raises what opening it raises."""
        return self._parts.get().engine

    @property
    def stopping(self) -> bool:
        """Whether this process is about to end."""
        return self._parts.stopping

    def report(self) -> Report:
        """Take the report. Raises `StoreError`."""
        engine = self.engine
        return take_report(engine, self._queue(engine))

    def _queue(self, engine: Engine) -> QueueFigures:
        # One asks; the others need not wait for a queue backend that is slow or away where something was told before.
        if not self._lock.acquire(blocking=self._told is None):
            assert self._told is not None
            return self._told
        try:
            # What was set through any process shows in all of them at once.
            state = engine.store.queue_state(engine.queue.name)
            if self._told is None or time.monotonic() >= self._until or state != self._asked_under:
                self._told = queue_figures(engine)
                if self._told.unknown:
                    _log.warning("the queue's state cannot be told: %s", self._told.unknown)
                self._until = time.monotonic() + engine.timings.queue_state_age
                self._asked_under = state
            return self._told
        finally:
            self._lock.release()
