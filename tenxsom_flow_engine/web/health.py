"""`/health`, `/ready`, `/stats` and `/metrics`: open to everybody, so they hold numbers and states only.

The numbers come from the store and the queue, never from this process, so that all processes tell the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.report.model import Report
from tenxsom_flow_engine.report.public_json import stats, verdict
from tenxsom_flow_engine.report.verdicts import OK
from tenxsom_flow_engine.web.errors import refusal
from tenxsom_flow_engine.web.report_cache import ReportCache

_log = logging.getLogger(__name__)


def health(desk: ReportCache, queue_type: str) -> Blueprint:
    """Return the routes that tell how this process and its queue are."""
    blueprint = Blueprint("health", __name__)
    began = time.monotonic()

    def check_output() -> None:
        desk.engine.check_output()

    @blueprint.get("/health")
    def alive() -> Response:
        # Touches nothing: a restart mends no store.
        return jsonify(
            status="ok",
            version=__version__,
            queue_type=queue_type,
            uptime_seconds=round(time.monotonic() - began, 1),
        )

    @blueprint.get("/ready")
    def ready() -> tuple[Response, int]:
        taken: list[Report] = []
        checks = {
            "store": _check(lambda: taken.append(desk.report())),
            "output_folder": _check(check_output),
            "accepting": {"ok": not desk.stopping} | ({"code": "stopping"} if desk.stopping else {}),
        }
        if not all(check["ok"] for check in checks.values()):
            return jsonify(status="unavailable", checks=checks), 503
        # What shuts a gate, or stands still until a person acts, is mended by no other worker either.
        wanting = [verdict(one) for one in taken[0].verdicts if one.level != OK]
        return jsonify(status="degraded" if wanting else "ready", checks=checks, verdicts=wanting), 200

    @blueprint.get("/stats")
    def numbers() -> Response:
        return jsonify(stats(desk.report()))

    @blueprint.get("/metrics")
    def scraped() -> Response:
        from tenxsom_flow_engine.report.prometheus import metrics

        return Response(metrics(desk.report()), content_type="text/plain; version=0.0.4; charset=utf-8")

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
