"""`/jobs`: the jobs, newest first."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.store.base import JobFilter
from tenxsom_flow_engine.web.desk import Desk


def jobs(desk: Desk) -> Blueprint:
    """Return the page."""
    blueprint = Blueprint("jobs", __name__)

    @blueprint.get("/jobs")
    def page() -> str:
        statuses = [Status(name) for name in request.args.getlist("status") if name in set(Status)]
        store = desk.engine.store
        found = store.page(JobFilter(statuses=statuses), limit=50, cursor=request.args.get("after"))
        return render_template("jobs.html", found=found, now=store.now())

    return blueprint
