"""`/`: the current state, active problems, and the buttons that pause and resume."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import QueueError
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.operations import channels
from tenxsom_flow_engine.report.channels import channel_figures
from tenxsom_flow_engine.report.model import ServiceFigures
from tenxsom_flow_engine.report.verdicts import occupied_slots
from tenxsom_flow_engine.services.registry import service_specs
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.web.dashboard.advice import in_words, links
from tenxsom_flow_engine.web.dashboard.balances import Balances
from tenxsom_flow_engine.web.dashboard.session import audit
from tenxsom_flow_engine.web.job_files import existing
from tenxsom_flow_engine.web.report_cache import ReportCache

#: Number of scheduled jobs shown, and of latest videos.
NEXT_JOBS, LATEST_VIDEOS = 6, 8
#: Number of recently added jobs that are searched for the latest videos: the jobs of a day are often added together.
SOUGHT = 100
#: The recorded reason of a pause.
BY_HAND = "paused on the dashboard"


def overview(reports: ReportCache) -> Blueprint:
    """Return the page and its switches."""
    blueprint = Blueprint("overview", __name__)
    balances = Balances()

    @blueprint.get("/")
    def page() -> str:
        report = reports.report()
        engine = reports.engine
        return render_template(
            "overview.html",
            report=report,
            channels=channel_figures(engine.store, report.at),
            services=list(filter(_is_of_interest, report.services)),
            balances=balances.of(engine.services),
            coming=engine.store.next_scheduled(NEXT_JOBS),
            latest=_latest(engine),
            links=links,
            occupied=occupied_slots,
            busiest=max(bar.ended.succeeded + bar.ended.failed for bar in report.jobs.hours),
            Status=Status,
        )

    @blueprint.post("/queue/<any(pause, resume):act>")
    def switch_queue(act: str) -> Response:
        queue = reports.engine.queue
        try:
            queue.pause() if act == "pause" else queue.resume()
        except QueueError as error:
            flash(in_words(error), "error")
        else:
            audit(f"queue {act}d", queue=queue.name)
            flash(
                "The queue is paused: waiting jobs do not start, and running steps finish."
                if act == "pause"
                else "The queue is running again."
            )
        return redirect(url_for("dashboard.overview.page"), 303)

    @blueprint.post("/services/<name>/<any(pause, resume):act>")
    def switch_service(name: str, act: str) -> Response:
        limiter = reports.engine.limiter
        limiter.pause(name, BY_HAND) if act == "pause" else limiter.resume(name)
        audit(f"service {act}d", service=name)
        if act == "pause":
            flash(f"{name} is paused: nothing new is bought there, and renders in progress continue.")
        else:
            balances.forget()
            flash(f"{name} resumed.")
        return redirect(url_for("dashboard.overview.page"), 303)

    @blueprint.post("/channels/<name>/<any(pause, resume):act>")
    def switch_channel(name: str, act: str) -> Response:
        paused, store = act == "pause", reports.engine.store
        channels.pause(store, name, BY_HAND) if paused else channels.resume(store, name)
        audit(f"channel {act}d", channel=name)
        flash(
            f"Channel {name} is paused: its jobs wait, and what was bought is finished."
            if paused
            else f"Channel {name} resumed."
        )
        return redirect(url_for("dashboard.overview.page"), 303)

    return blueprint


def _latest(engine: Engine) -> Sequence[JobRecord]:
    """Return the most recently finished jobs that have a thumbnail."""
    made = engine.store.page(JobFilter(statuses=(Status.SUCCEEDED,)), limit=SOUGHT).records
    latest = sorted(made, key=lambda record: record.finished_at or 0.0, reverse=True)[:LATEST_VIDEOS]
    return [record for record in latest if "thumbnail.jpg" in (existing(engine, record) or ())]


def _is_of_interest(service: ServiceFigures) -> bool:
    """Return whether a service is configured for real videos, was ever used, or is stopped. Limits do not count."""
    used = service.bought.videos or any(service.ended.values()) or service.state in ("paused", "stopped")
    spec = service_specs().get(service.name)
    return bool(used) or (service.slots is not None and not (spec and spec.rehearsal))
