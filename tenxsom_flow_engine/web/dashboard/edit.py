"""`/jobs/JOB/edit`: change a job that has bought nothing, or is ordered again, and see the price before saving."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from tenxsom_flow_engine.errors import ActionRefused, InvalidInput, QueueError
from tenxsom_flow_engine.jobs import ASPECT_RATIOS, AUTO, MAX_DURATION, STYLES, JobRecord, Status
from tenxsom_flow_engine.jobs.outcomes import Times
from tenxsom_flow_engine.planning.entries import read_options, read_whole
from tenxsom_flow_engine.planning.timestamps import parse_moment
from tenxsom_flow_engine.web.dashboard.actions import JobAction, choices, edited
from tenxsom_flow_engine.web.dashboard.add_form import copy_of
from tenxsom_flow_engine.web.dashboard.advice import in_words
from tenxsom_flow_engine.web.dashboard.session import audit
from tenxsom_flow_engine.web.report_cache import ReportCache

_REPLACES = "the job's page shows it as it is now; this form has your values, and saving it replaces the job's"
_START = "%Y-%m-%dT%H:%M"
#: The fields of the form, each with the reader of its text.
_FIELDS: Mapping[str, Callable[[str], Any]] = {
    "topic": str.strip,
    "prompt": str.strip,
    "script": str.strip,
    "style": str,
    "service": str,
    "duration": lambda text: read_whole("duration", text),
    "aspect_ratio": str,
    "quality": str.strip,
    "options": read_options,
}


def edit(reports: ReportCache) -> Blueprint:
    """Return the page."""
    blueprint = Blueprint("edit", __name__)

    @blueprint.get("/jobs/<job_id>/edit")
    def page(job_id: str) -> Response | str:
        record = reports.engine.store.require(job_id)
        if "edit" not in choices(record, reports.engine.services):
            return _back(job_id)
        start = datetime.fromtimestamp(record.due, UTC).strftime(_START) if record.due is not None else ""
        return form(record, {**copy_of(record.job), "topic": record.job.topic, "start": start})

    @blueprint.post("/jobs/<job_id>/edit")
    def act(job_id: str) -> Response | str | tuple[str, int]:
        engine = reports.engine
        record = engine.store.require(job_id)
        # Browsers send a line break as CR LF.
        typed = {name: request.form.get(name, "").replace("\r\n", "\n") for name in _FIELDS}
        typed["start"] = request.form.get("start", "")
        waits = record.due is not None
        try:
            if request.form.get("seen") != _seen(record):
                raise ActionRefused("The job has just been changed by someone else", next_step=_REPLACES)
            changes = _changes(typed, record)
            times = _new_times(typed["start"], record)
            if waits and not changes and times is None:
                return _back(job_id)
            action = _action(record, changes)
            if action is None:
                return _back(job_id)
            if action.confirm and request.form.get("sure") != action.terms.token:
                return form(record, typed, action)
            if waits:
                engine.edit(job_id, changes, times)
            else:
                engine.retry(job_id, changes)
        except (InvalidInput, ActionRefused, QueueError) as error:
            return form(record, typed, trouble=in_words(error)), 400
        audit("job edit" if waits else "job edit and retry", job_id=job_id, changed=",".join(changes))
        flash("The job is changed." if waits else "The job is changed and queued again.")
        return _back(job_id)

    def _action(record: JobRecord, changes: Mapping[str, Any]) -> JobAction | None:
        """Return what saving does to the changed job, with its price; None if the job cannot be changed any more."""
        terms = reports.engine.new_terms(record, changes)
        changed = msgspec.structs.replace(record, job=terms.job, cost=terms.cost) if terms else record
        possible = choices(changed, reports.engine.services)
        if record.due is None:
            return possible.get("retry")
        return edited(changed, reports.engine.services) if "edit" in possible else None

    def form(record: JobRecord, typed: Mapping[str, str], action: JobAction | None = None, *, trouble: str = "") -> str:
        services = dict.fromkeys((AUTO, *reports.engine.services, typed["service"]))
        lists = {"service": services, "style": STYLES, "aspect_ratio": ASPECT_RATIOS}
        return render_template(
            "edit.html", record=record, typed=typed, action=action, trouble=trouble, lists=lists, longest=MAX_DURATION,
            seen=_seen(record),
        )  # fmt: skip

    return blueprint


def _seen(record: JobRecord) -> str:
    """Return a digest of what a form shows, which its submission is compared with."""
    # The start of a queued job moves without a person, while the job waits for a limit or for a retry.
    start = record.due if record.status is Status.SCHEDULED else None
    return hashlib.sha256(msgspec.json.encode((record.job, start))).hexdigest()


def _changes(typed: Mapping[str, str], record: JobRecord) -> dict[str, Any]:
    """Return the fields of the form that differ from the job. Raises `InvalidInput`."""
    values = {name: read(typed[name]) for name, read in _FIELDS.items()}
    # Keys that the form does not show stay in the options.
    shown = copy_of(record.job)["options"]
    if values["options"] == read_options(shown):
        values["options"] = record.job.options
    return {name: value for name, value in values.items() if value != getattr(record.job, name)}


def _new_times(start: str, record: JobRecord) -> Times | None:
    """Return the new start of a waiting job; None if the form has none, or the present one. Raises `InvalidInput`."""
    if record.due is None or not start.strip():
        return None
    due = parse_moment(start, "start", UTC)
    # The field has a resolution of one minute.
    return None if abs(due - record.due) < 60 else Times(due)


def _back(job_id: str) -> Response:
    return redirect(url_for("dashboard.job.page", job_id=job_id), 303)
