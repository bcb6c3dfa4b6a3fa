"""`/health`, `/ready`, `/stats` and `/metrics`: open to everybody, so they hold numbers and states only.

The numbers come from the store and the queue, never from this process, so that all processes tell the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.engine import CLOUD_TASKS, Engine
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.report.figures import QueueFigures, Report
from tenxsom_flow_engine.report.query import queue_figures, take_report
from tenxsom_flow_engine.report.verdicts import OK
from tenxsom_flow_engine.report.wire import stats, verdict
from tenxsom_flow_engine.web.answers import refusal
from tenxsom_flow_engine.web.parts import Parts

_log = logging.getLogger(__name__)

#: Seconds for which the queue's state and limits are told again: asking for them is a call to the carrier's service.
QUEUE_AGE = 10.0


def health(parts: Parts) -> Blueprint:
    """Return the routes that tell how the worker and its queue are."""
    blueprint = Blueprint("health", __name__)
    queue = _QueueState()
    began = time.monotonic()

    def report() -> Report:
        engine = parts.get().engine
        return take_report(engine, queue.of(engine))

    def check_output() -> None:
        parts.get().engine.check_output()

    @blueprint.get("/health")
    def alive() -> Response:
        # Touches nothing: a restart mends no store.
        return jsonify(
            status="ok",
            version=__version__,
            queue_type=CLOUD_TASKS,
            uptime_seconds=round(time.monotonic() - began, 1),
        )

    @blueprint.get("/ready")
    def ready() -> tuple[Response, int]:
        taken: list[Report] = []
        checks = {
            "store": _check(lambda: taken.append(report())),
            "output_folder": _check(check_output),
            "accepting": {"ok": not parts.stopping} | ({"code": "stopping"} if parts.stopping else {}),
        }
        if not all(check["ok"] for check in checks.values()):
            return jsonify(status="unavailable", checks=checks), 503
        # What shuts a gate, or stands still until a person acts, is mended by no other worker either.
        wanting = [verdict(one) for one in taken[0].verdicts if one.level != OK]
        return jsonify(status="degraded" if wanting else "ready", checks=checks, verdicts=wanting), 200

    @blueprint.get("/stats")
    def numbers() -> Response:
        return jsonify(stats(report()))

    @blueprint.get("/metrics")
    def scraped() -> Response:
        from tenxsom_flow_engine.report.prometheus import metrics

        return Response(metrics(report()), content_type="text/plain; version=0.0.4; charset=utf-8")

    @blueprint.errorhandler(FlowError)
    def unknown(error: FlowError) -> Response:
        # Whoever asks here learns that the store is away, not where it is.
        _log.warning("a question was answered without numbers: %s", error)
        return refusal(error, "the numbers cannot be had now")

    return blueprint


def _check(act: Callable[[], object]) -> dict[str, Any]:
    try:
        act()
    except FlowError as error:
        _log.warning("this worker is not ready: %s", error)
        return {"ok": False, "code": error.code}
    return {"ok": True}


class _QueueState:
    """The queue's state as its carrier told it last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: QueueFigures | None = None
        self._until = float("-inf")

    def of(self, engine: Engine) -> QueueFigures:
        # One asks; the others need not wait for a carrier that is slow or away where something was told before.
        if not self._lock.acquire(blocking=self._told is None):
            assert self._told is not None
            return self._told
        try:
            if self._told is None or time.monotonic() >= self._until:
                self._told = queue_figures(engine)
                if self._told.unknown:
                    _log.warning("the queue's state cannot be told: %s", self._told.unknown)
                self._until = time.monotonic() + QUEUE_AGE
            return self._told
        finally:
            self._lock.release()
