"""`/jobs`: the jobs that a search finds, newest first."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from tenxsom_flow_engine.jobs import AUTO, JobRecord, Status
from tenxsom_flow_engine.operations.bulk import Act
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.totals import EVER
from tenxsom_flow_engine.web.dashboard.search import Search
from tenxsom_flow_engine.web.report_cache import ReportCache

#: Jobs on a page.
PAGE_JOBS = 50


def jobs(reports: ReportCache) -> Blueprint:
    """Return the page."""
    blueprint = Blueprint("jobs", __name__)

    @blueprint.get("/jobs")
    def page() -> str:
        search, store = Search.read(request.args), reports.engine.store
        after = request.args.get("after")
        found = store.page(search.jobs, limit=PAGE_JOBS, cursor=after)
        counts = store.status_counts().by_status
        return render_template(
            "jobs.html",
            search=search,
            found=found,
            now=store.now(),
            # The counts are by status only; with another filter they would be wrong.
            counts=None if search.of() else counts,
            any_jobs=any(counts.values()),
            after=after,
            # The search stopped early: the number of jobs read for one page is limited.
            cut=found.cursor is not None and len(found.records) < PAGE_JOBS,
            services=sorted({AUTO, *reports.engine.services, *_used(store), search.service} - {""}),
            took=_took,
            acts=[act for act in Act if not search.statuses or act.statuses & set(search.statuses)],
            Status=Status,
        )

    return blueprint


def _used(store: JobStore) -> set[str]:
    """Return the services that have ever been used."""
    return {one.service for one in store.totals(EVER)}


def _took(record: JobRecord) -> float | None:
    """Return the seconds from the order to the end; None for a job that was not ordered or has not ended."""
    ordered_at = record.submission.first_intended_at
    return record.finished_at - ordered_at if ordered_at and record.finished_at is not None else None
