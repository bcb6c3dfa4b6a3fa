"""`/jobs/JOB/edit`: change a job that is ordered again, see the price, then retry it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from tenxsom_flow_engine.errors import ActionRefused, InvalidInput, QueueError
from tenxsom_flow_engine.jobs import ASPECT_RATIOS, AUTO, MAX_DURATION, STYLES, JobRecord
from tenxsom_flow_engine.planning.entries import read_options, read_whole
from tenxsom_flow_engine.web.dashboard.actions import JobAction, choices
from tenxsom_flow_engine.web.dashboard.add_form import copy_of
from tenxsom_flow_engine.web.dashboard.advice import in_words
from tenxsom_flow_engine.web.dashboard.session import audit
from tenxsom_flow_engine.web.report_cache import ReportCache

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
        return form(record, {**copy_of(record.job), "topic": record.job.topic})

    @blueprint.post("/jobs/<job_id>/edit")
    def act(job_id: str) -> Response | str | tuple[str, int]:
        engine = reports.engine
        record = engine.store.require(job_id)
        # Browsers send a line break as CR LF.
        typed = {name: request.form.get(name, "").replace("\r\n", "\n") for name in _FIELDS}
        try:
            changes = _changes(typed, record)
            retry = _retry_of(record, changes)
            if retry is None:
                return _back(job_id)
            if retry.confirm and request.form.get("sure") != retry.terms.token:
                return form(record, typed, retry)
            engine.retry(job_id, changes)
        except (InvalidInput, ActionRefused, QueueError) as error:
            return form(record, typed, trouble=in_words(error)), 400
        audit("job edit and retry", job_id=job_id, changed=",".join(changes))
        flash("The job is changed and queued again.")
        return _back(job_id)

    def _retry_of(record: JobRecord, changes: Mapping[str, Any]) -> JobAction | None:
        """Return the retry of the changed job, with its price."""
        terms = reports.engine.new_terms(record, changes)
        changed = msgspec.structs.replace(record, job=terms.job, cost=terms.cost) if terms else record
        return choices(changed, reports.engine.services).get("retry")

    def form(record: JobRecord, typed: Mapping[str, str], retry: JobAction | None = None, *, trouble: str = "") -> str:
        services = dict.fromkeys((AUTO, *reports.engine.services, typed["service"]))
        lists = {"service": services, "style": STYLES, "aspect_ratio": ASPECT_RATIOS}
        return render_template(
            "edit.html", record=record, typed=typed, retry=retry, trouble=trouble, lists=lists, longest=MAX_DURATION
        )

    return blueprint


def _changes(typed: Mapping[str, str], record: JobRecord) -> dict[str, Any]:
    """Return the fields of the form that differ from the job. Raises `InvalidInput`."""
    values = {name: read(typed[name]) for name, read in _FIELDS.items()}
    # Keys that the form does not show stay in the options.
    shown = copy_of(record.job)["options"]
    if values["options"] == read_options(shown):
        values["options"] = record.job.options
    return {name: value for name, value in values.items() if value != getattr(record.job, name)}


def _back(job_id: str) -> Response:
    return redirect(url_for("dashboard.job.page", job_id=job_id), 303)
