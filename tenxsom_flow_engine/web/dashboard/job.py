"""`/jobs/JOB`: all that is known about a job, its video, and what may be done with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action, ActionRefused, InvalidInput, JobNotFound, QueueError
from tenxsom_flow_engine.jobs import EventKind, JobRecord, Status, Ticket
from tenxsom_flow_engine.jobs.outcomes import GiveUp, Resubmit
from tenxsom_flow_engine.text import duration
from tenxsom_flow_engine.web.dashboard.actions import JobAction, choices
from tenxsom_flow_engine.web.dashboard.advice import in_words, links
from tenxsom_flow_engine.web.dashboard.media import KINDS, add_media
from tenxsom_flow_engine.web.dashboard.session import audit
from tenxsom_flow_engine.web.dashboard.timeline import timeline
from tenxsom_flow_engine.web.report_cache import ReportCache

_DONE = {
    "retry": "The job goes on.",
    "cancel": "The job is cancelled.",
    "ticket": "The job goes on from its ticket.",
    "resubmit": "The job is ordered anew.",
    "give-up": "The job was given up.",
}


def job(reports: ReportCache) -> Blueprint:
    """Return the page, the job's files, and what is done with it."""
    blueprint = Blueprint("job", __name__)
    add_media(blueprint, reports)

    @blueprint.get("/jobs/<job_id>")
    def page(job_id: str) -> str:
        engine = reports.engine
        record, now = engine.store.require(job_id), engine.store.now()
        service = engine.services.get(record.service)
        files = engine.output.files(record.result) if record.result else {}
        possible = choices(record, engine.services)
        return render_template(
            "job.html",
            record=record,
            now=now,
            status=record.status_at(now),
            next=_next(record, now, paused=engine.store.queue_state(record.queue).paused),
            files={kind: files[told.file] for kind, told in KINDS.items() if told.file in files},
            lines=timeline(record),
            order=json.dumps(json.loads(record.order), ensure_ascii=False, indent=2) if record.order else "",
            options=json.dumps(record.job.options, ensure_ascii=False) if record.job.options else "",
            choices=possible,
            advice=links(_possible(record, possible.values()), job_id),
            lookup_hint=service.lookup_hint if service else "",
        )

    @blueprint.get("/jobs/<job_id>/<any(retry, cancel, resubmit, 'give-up'):act>")
    def ask(job_id: str, act: str) -> Response | str:
        engine = reports.engine
        record = engine.store.require(job_id)
        choice = choices(record, engine.services).get(act)
        if choice is None:  # it has gone on since the page was loaded
            return _back(job_id)
        return render_template("ask.html", record=record, choice=choice)

    @blueprint.post("/jobs/<job_id>/<any(retry, cancel, resubmit, 'give-up', ticket):act>")
    def do(job_id: str, act: str) -> Response:
        engine = reports.engine
        choice = choices(engine.store.require(job_id), engine.services).get(act)
        # Only what the person agreed to is done: the job, or a price, could have changed since the page was loaded.
        if choice is not None and choice.asks and request.form.get("sure") != choice.terms.token:
            return redirect(url_for("dashboard.job.ask", job_id=job_id, act=act), 303)
        try:
            _act(engine, job_id, act)
        except (ActionRefused, InvalidInput, QueueError) as error:
            flash(in_words(error), "error")
        else:
            audit(f"job {act}", job_id=job_id)
            flash(_DONE[act])
        return _back(job_id)

    @blueprint.errorhandler(JobNotFound)
    def unknown(error: JobNotFound) -> tuple[str, int]:
        remembered = reports.engine.store.knows_id(error.job_id)
        days = reports.engine.settings.keep_days
        return render_template("unknown_job.html", job_id=error.job_id, remembered=remembered, days=days), 404

    return blueprint


def _possible(record: JobRecord, possible: Iterable[JobAction]) -> Iterator[Action]:
    """Give what the job's failure says can be done, as far as it can be done now."""
    now = {Action.EDIT, *(one.action for one in possible)}
    return (action for action in (record.error.actions if record.error else ()) if action in now)


def _next(record: JobRecord, now: float, *, paused: bool) -> str:
    """Say what happens next to a job that is not over. `paused`: whether its queue hands out nothing."""
    if record.lease is not None:
        return f"Worker {record.lease.worker} is working on it."
    if record.due is None:
        return "Waiting for you: say below what happened to its order."
    waited, last = now - record.due, record.events[-1]
    why = (
        f": {last.detail}"
        if record.status is Status.QUEUED and last.what in (EventKind.WAITING, EventKind.FAULT)
        else ""
    )
    if waited >= 0:
        what = "its queue is paused" if paused else f"waits for its turn{why}" if why else "waits for a worker"
        return f"It has been due for {duration(waited)}, and {what}."
    match record.status:
        case Status.SCHEDULED:
            act = "It starts"
        case Status.RENDERING:
            act = f"{record.service} is asked again"
        case _:
            act = "It goes on"
    return f"{act} in {duration(-waited)}{why}."


def _act(engine: Engine, job_id: str, act: str) -> None:
    match act:
        case "retry":
            engine.retry(job_id)
        case "cancel":
            engine.cancel(job_id)
        case "resubmit":
            engine.resolve(job_id, Resubmit())
        case "give-up":
            engine.resolve(job_id, GiveUp())
        case "ticket":
            told = Ticket(request.form.get("ticket", "").strip(), account=request.form.get("account", "").strip())
            engine.resolve(job_id, told)


def _back(job_id: str) -> Response:
    return redirect(url_for("dashboard.job.page", job_id=job_id), 303)
