"""`/bulk`: retrying or cancelling many jobs. A page shows the effect first; then exactly the jobs shown are changed.

The confirmation sends back the ids that were shown, so no other job is changed, and a job whose state has changed since
is refused with the reason. A request runs for some seconds at most, then offers to continue with the rest.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput, QueueError, StoreError
from tenxsom_flow_engine.jobs import JobRecord, Status, check_job_id
from tenxsom_flow_engine.operations.bulk import Act, Refused, each, matching, plan
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.web.dashboard.advice import in_words
from tenxsom_flow_engine.web.dashboard.search import Search
from tenxsom_flow_engine.web.dashboard.session import audit
from tenxsom_flow_engine.web.report_cache import ReportCache

#: Maximum number of jobs in one confirmation.
MAX_JOBS = 1000
#: Maximum number of refusals that are listed.
MOST_REFUSED = 5
_DONE = {Act.RETRY: "queued again", Act.CANCEL: "cancelled"}


def bulk(reports: ReportCache) -> Blueprint:
    """Return the confirmation page and the route that carries the action out."""
    blueprint = Blueprint("bulk", __name__)

    @blueprint.get("/bulk")
    def ask() -> Response | str:
        return _ask(reports.engine, request.args)

    @blueprint.post("/bulk")
    def do() -> Response | str:
        # The ids of fifty selected jobs do not fit into an address, so the list sends them with a form.
        if "sure" not in request.form:
            return _ask(reports.engine, request.form)
        return _do(reports.engine, request.form)

    return blueprint


def _ask(engine: Engine, fields: MultiDict[str, str]) -> Response | str:
    search, act, selected = Search.read(fields), _act(fields.get("act", "")), _ids(fields.getlist("job"))
    everything = "all" in fields
    if not selected and not (everything and search):
        why = "This would affect every job; narrow the list first." if everything else "No job selected."
        flash(f"{why} Nothing was done.", "error")
        return _back(search)
    targets = _targets(act, search)
    if not everything:
        pages: Iterable[Sequence[JobRecord]] = [engine.store.get_each(selected)]
    else:
        pages = matching(engine.store, targets) if targets.statuses else []
    found = plan(act, pages, engine.services, engine.store.now(), most=MAX_JOBS, seconds=engine.timings.bulk_request)
    return render_template(
        "bulk.html",
        plan=found,
        tally=None if found.whole else engine.store.count_matching(targets),
        search=search,
        everything=everything,
        act=act,
        most_refused=MOST_REFUSED,
    )


def _do(engine: Engine, fields: MultiDict[str, str]) -> Response | str:
    search, act, selected = Search.read(fields), _act(fields.get("act", "")), _ids(fields.get("jobs", "").split())
    ends = time.monotonic() + engine.timings.bulk_request
    done = 0
    refused: list[Refused] = []
    try:
        for outcome in each(selected, act.on(engine)):
            if isinstance(outcome, Refused):
                refused.append(outcome)
            else:
                done += 1
                audit(f"job {act}", job_id=outcome.job_id)
            if time.monotonic() > ends:
                break
    except (QueueError, StoreError) as error:  # the jobs changed so far are still reported below
        flash(in_words(error), "error")
    left = selected[done + len(refused) :]
    audit(f"jobs {act}", search=search.words, done=done, refused=len(refused), left=len(left))
    _flash_result(act, done, refused)
    if left:
        return render_template("bulk_left.html", act=act, search=search, left=left)
    return _back(search)


def _act(name: str) -> Act:
    if name not in set(Act):
        raise InvalidInput("act", f"must be {' or '.join(Act)}")
    return Act(name)


def _ids(given: Sequence[str]) -> list[str]:
    ids = list(dict.fromkeys(given))
    if len(ids) > MAX_JOBS:
        raise InvalidInput("jobs", f"are {len(ids)}; the maximum is {MAX_JOBS} per request")
    for job_id in ids:
        check_job_id(job_id)
    return ids


def _targets(act: Act, search: Search) -> JobFilter:
    """Return the filter of a search, limited to the statuses that the action applies to."""
    return search.of(*(status for status in Status if status in act.statuses & set(search.statuses or Status))).jobs


def _flash_result(act: Act, done: int, refused: Sequence[Refused]) -> None:
    if done:
        flash(f"{plural(done, 'job was', 'jobs were')} {_DONE[act]}.")
    if refused:
        # Messages are stored in a cookie, which is limited in size.
        reasons = "; ".join(one.error.message[:160] for one in refused[:MOST_REFUSED])
        more = f"; and {len(refused) - MOST_REFUSED:,} more" if len(refused) > MOST_REFUSED else ""
        flash(f"{len(refused):,} refused: {reasons}{more}.", "error")


def _back(search: Search) -> Response:
    return redirect(url_for("dashboard.jobs.page", **search.fields), 303)
