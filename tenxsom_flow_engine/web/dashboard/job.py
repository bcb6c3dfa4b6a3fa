"""`/jobs/JOB`: all that is known about a job."""

from __future__ import annotations

from flask import Blueprint, render_template

from tenxsom_flow_engine.web.desk import Desk


def job(desk: Desk) -> Blueprint:
    """Return the page."""
    blueprint = Blueprint("job", __name__)

    @blueprint.get("/jobs/<job_id>")
    def page(job_id: str) -> str:
        store = desk.engine.store
        return render_template("job.html", record=store.require(job_id), now=store.now())

    return blueprint
