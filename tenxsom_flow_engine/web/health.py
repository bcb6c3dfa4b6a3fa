"""`/health`, `/ready`, `/stats` and `/metrics`: public, so they contain only numbers and states.

With an API key, `/stats` and `/metrics` also have the channels that it may see.

The numbers come from the store and the queue, not from this process, so every process reports the same ones.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, Response, jsonify

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.api.access import Caller
from tenxsom_flow_engine.errors import FlowError, OutputAway, StoreFull, StoreUnavailable
from tenxsom_flow_engine.report.channels import channel_figures
from tenxsom_flow_engine.report.model import ChannelFigures, Report
from tenxsom_flow_engine.report.operator_json import channel
from tenxsom_flow_engine.report.public_json import stats, verdict
from tenxsom_flow_engine.report.verdicts import OK
from tenxsom_flow_engine.store.outage import Outage
from tenxsom_flow_engine.web.errors import refusal
from tenxsom_flow_engine.web.report_cache import ReportCache

_log = logging.getLogger(__name__)

#: Seconds for which `/ready` trusts a successful check of a bucket.
VERIFIED_SECONDS = 10.0


def health(reports: ReportCache, queue_type: str, reader: Callable[[], Caller | None]) -> Blueprint:
    """Return the routes for the state of this process and its queue; `reader` returns the key of a request."""
    blueprint = Blueprint("health", __name__)
    started_at = time.monotonic()
    outage = Outage(_log, "this worker")

    verified_until = float("-inf")

    def check_output() -> None:
        nonlocal verified_until
        # The route is public, and the check of a bucket is a request that costs money.
        if time.monotonic() < verified_until:
            return
        reports.engine.check_output()
        if not reports.engine.output.local:
            verified_until = time.monotonic() + VERIFIED_SECONDS

    def visible(report: Report) -> Sequence[ChannelFigures] | None:
        """Return the channels that the request may see; None without a key."""
        caller = reader()
        if caller is None:
            return None
        return [one for one in channel_figures(reports.engine.store, report.at) if caller.covers(one.name)]

    @blueprint.get("/health")
    def alive() -> Response:
        # No I/O: this is the liveness probe, and a restart does not help against a store that is unavailable.
        return jsonify(
            status="ok",
            version=__version__,
            queue_type=queue_type,
            uptime_seconds=round(time.monotonic() - started_at, 1),
        )

    @blueprint.get("/ready")
    def ready() -> tuple[Response, int]:
        taken: list[Report] = []
        checks = {
            "store": _check(outage, "store", lambda: taken.append(reports.report())),
            "output_folder": _check(outage, "output_folder", check_output),
            "accepting": {"ok": not reports.stopping} | ({"code": "stopping"} if reports.stopping else {}),
        }
        away = checks["output_folder"].get("code") == OutputAway.code
        if not all(check["ok"] for name, check in checks.items() if not (away and name == "output_folder")):
            return jsonify(status="unavailable", checks=checks), 503
        # Another worker would have the same verdicts, so they do not make this one unavailable.
        active = [verdict(one) for one in taken[0].verdicts if one.level != OK]
        # While the bucket is away, a worker keeps what it fetches in its spool; without deliveries, links would expire.
        return jsonify(status="degraded" if active or away else "ready", checks=checks, verdicts=active), 200

    @blueprint.get("/stats")
    def numbers() -> Response:
        report = reports.report()
        channels = visible(report)
        known = {} if channels is None else {"channels": [channel(one) for one in channels]}
        return jsonify(stats(report) | known)

    @blueprint.get("/metrics")
    def scraped() -> Response:
        from tenxsom_flow_engine.report.prometheus import metrics

        report = reports.report()
        return Response(metrics(report, visible(report) or ()), content_type="text/plain; version=0.0.4; charset=utf-8")

    @blueprint.errorhandler(FlowError)
    def unknown(error: FlowError) -> Response:
        # The route is public: the response must not contain the address of the store.
        if not isinstance(error, StoreUnavailable | StoreFull):  # else `ReportCache` has logged it
            _log.warning("statistics unavailable: %s", error)
        return refusal(error, "statistics are temporarily unavailable")

    return blueprint


def _check(outage: Outage, name: str, act: Callable[[], object]) -> dict[str, Any]:
    try:
        act()
    except FlowError as error:
        outage.failed(name, f"this worker is not ready: {error}")
        return {"ok": False, "code": error.code}
    outage.succeeded(name)
    return {"ok": True}
