"""`/jobs/JOB`: all information about a job, its video, and the available actions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action, ActionRefused, InvalidInput, JobNotFound, QueueError
from tenxsom_flow_engine.generation.order_excerpt import read_order
from tenxsom_flow_engine.jobs import AUTO, EventKind, Failure, JobRecord, Status, Ticket
from tenxsom_flow_engine.jobs.outcomes import GiveUp, Resubmit, Withdraw
from tenxsom_flow_engine.jobs.remedies import failure_of
from tenxsom_flow_engine.text import duration
from tenxsom_flow_engine.web.dashboard.actions import JobAction, choices
from tenxsom_flow_engine.web.dashboard.advice import in_words, links
from tenxsom_flow_engine.web.dashboard.media import add_media
from tenxsom_flow_engine.web.dashboard.session import audit
from tenxsom_flow_engine.web.dashboard.timeline import timeline
from tenxsom_flow_engine.web.job_files import KINDS, JobFiles, existing
from tenxsom_flow_engine.web.report_cache import ReportCache

_DONE = {
    "retry": "The job is queued again.",
    "run-now": "The job starts now.",
    "cancel": "The job is cancelled.",
    "ticket": "The job continues with this ticket.",
    "resubmit": "The job will be ordered again.",
    "give-up": "The job is marked as failed.",
    "withdraw": "The purchase that was entered by hand is withdrawn.",
}


def job(reports: ReportCache, files: JobFiles) -> Blueprint:
    """Return the routes of a job: its page, its files and its actions."""
    blueprint = Blueprint("job", __name__)
    add_media(blueprint, reports, files)

    @blueprint.get("/jobs/<job_id>")
    def page(job_id: str) -> str:
        engine = reports.engine
        record, now = engine.store.require(job_id), engine.store.now()
        service = engine.services.get(record.service)
        files = existing(engine, record)
        possible, failure = choices(record, engine.services), failure_of(record)
        return render_template(
            "job.html",
            record=record,
            failure=failure,
            now=now,
            status=record.status_at(now),
            next=_next(record, now, paused=engine.store.queue_state(record.queue).paused),
            files=[name for name, kind in KINDS.items() if kind.file in (files or ())],
            away=files is None,
            lines=timeline(record),
            order=json.dumps(read_order(record.order), ensure_ascii=False, indent=2) if record.order else "",
            options=json.dumps(record.job.options, ensure_ascii=False) if record.job.options else "",
            choices=possible,
            sellers=sorted(engine.auto_services | {record.service} - {""}) if record.job.service == AUTO else (),
            advice=links(_possible(failure, possible.values()), job_id, editable="edit" in possible),
            lookup_hint=service.lookup_hint if service else "",
        )

    @blueprint.get("/jobs/<job_id>/<any(retry, cancel, resubmit, 'run-now', 'give-up', withdraw):act>")
    def ask(job_id: str, act: str) -> Response | str:
        engine = reports.engine
        record = engine.store.require(job_id)
        choice = choices(record, engine.services).get(act)
        if choice is None:  # the job has changed since the page was loaded
            return _back(job_id)
        return render_template("ask.html", record=record, choice=choice)

    @blueprint.post("/jobs/<job_id>/<any(retry, cancel, resubmit, 'run-now', 'give-up', withdraw, ticket):act>")
    def do(job_id: str, act: str) -> Response:
        engine = reports.engine
        choice = choices(engine.store.require(job_id), engine.services).get(act)
        # Act only on the confirmed terms: the job or a price could have changed since the page was loaded.
        if choice is not None and choice.confirm and request.form.get("sure") != choice.terms.token:
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


def _possible(failure: Failure | None, possible: Iterable[JobAction]) -> Iterator[Action]:
    """Give the actions that the job's failure suggests and that are available now."""
    now = {Action.EDIT, *(one.action for one in possible)}  # without an edit, there is always a changed copy
    return (action for action in (failure.actions if failure else ()) if action in now)


def _next(record: JobRecord, now: float, *, paused: bool) -> str:
    """Describe what happens next to an unfinished job. `paused`: whether its queue is paused."""
    if record.lease is not None:
        return f"Worker {record.lease.worker} is working on it."
    if record.due is None:
        return "Waiting for you: tell us below what happened to its order."
    waited, last = now - record.due, record.events[-1]
    why = (
        f": {last.detail}"
        if record.status is Status.QUEUED and last.what in (EventKind.WAITING, EventKind.FAULT)
        else ""
    )
    if waited >= 0:
        what = "its queue is paused" if paused else f"waiting for its turn{why}" if why else "waiting for a worker"
        return f"Due for {duration(waited)}; {what}."
    match record.status:
        case Status.SCHEDULED:
            act = "Starts"
        case Status.RENDERING:
            act = f"Next poll of {record.service}"
        case _:
            act = "Continues"
    return f"{act} in {duration(-waited)}{why}."


def _act(engine: Engine, job_id: str, act: str) -> None:
    match act:
        case "retry":
            engine.retry(job_id)
        case "run-now":
            engine.run_now(job_id)
        case "cancel":
            engine.cancel(job_id)
        case "resubmit":
            engine.resolve(job_id, Resubmit())
        case "give-up":
            engine.resolve(job_id, GiveUp())
        case "withdraw":
            engine.resolve(job_id, Withdraw())
        case "ticket":
            ticket = Ticket(request.form.get("ticket", "").strip(), account=request.form.get("account", "").strip())
            name = request.form.get("service", "").strip()
            engine.resolve(job_id, ticket, service_name=name, force="force" in request.form)


def _back(job_id: str) -> Response:
    return redirect(url_for("dashboard.job.page", job_id=job_id), 303)
