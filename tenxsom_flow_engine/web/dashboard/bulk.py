"""`/bulk`: retrying or cancelling many jobs: what it would do is shown first, then done to those that were shown.

What is sent back are the ids that were shown. So whatever has changed meanwhile, no other job is touched; and one that
has gone on by itself is refused with the reason. A call acts for some seconds, and offers to go on with what is left.
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

#: Jobs that one question is about at most.
MAX_JOBS = 1000
#: Refusals that are told one by one.
TOLD = 5
_DONE = {Act.RETRY: "put in again", Act.CANCEL: "cancelled"}


def bulk(reports: ReportCache) -> Blueprint:
    """Return the question, and what is done on its answer."""
    blueprint = Blueprint("bulk", __name__)

    @blueprint.get("/bulk")
    def ask() -> Response | str:
        return _ask(reports.engine, request.args)

    @blueprint.post("/bulk")
    def do() -> Response | str:
        # Fifty ids are too long for an address, so those that are chosen one by one come in a form, too.
        if "sure" not in request.form:
            return _ask(reports.engine, request.form)
        return _do(reports.engine, request.form)

    return blueprint


def _ask(engine: Engine, fields: MultiDict[str, str]) -> Response | str:
    search, act, chosen = Search.read(fields), _act(fields.get("act", "")), _ids(fields.getlist("job"))
    everything = "all" in fields
    if not chosen and not (everything and search):
        told = "Every job would be meant: narrow the list first." if everything else "No job was chosen."
        flash(f"{told} Nothing was done.", "error")
        return _back(search)
    meant = _meant(act, search)
    if not everything:
        pages: Iterable[Sequence[JobRecord]] = [engine.store.get_each(chosen)]
    else:
        pages = matching(engine.store, meant) if meant.statuses else []
    found = plan(act, pages, engine.services, engine.store.now(), most=MAX_JOBS, seconds=engine.timings.bulk_request)
    return render_template(
        "bulk.html",
        plan=found,
        tally=None if found.whole else engine.store.count_matching(meant),
        search=search,
        everything=everything,
        act=act,
        told=TOLD,
    )


def _do(engine: Engine, fields: MultiDict[str, str]) -> Response | str:
    search, act, chosen = Search.read(fields), _act(fields.get("act", "")), _ids(fields.get("jobs", "").split())
    ends = time.monotonic() + engine.timings.bulk_request
    done = 0
    refused: list[Refused] = []
    try:
        for outcome in each(chosen, act.on(engine)):
            if isinstance(outcome, Refused):
                refused.append(outcome)
            else:
                done += 1
                audit(f"job {act}", job_id=outcome.job_id)
            if time.monotonic() > ends:
                break
    except (QueueError, StoreError) as error:  # what was done stays done, and is told
        flash(in_words(error), "error")
    left = chosen[done + len(refused) :]
    audit(f"jobs {act}", search=search.words, done=done, refused=len(refused), left=len(left))
    _tell(act, done, refused)
    if left:
        return render_template("bulk_left.html", act=act, search=search, left=left)
    return _back(search)


def _act(name: str) -> Act:
    if name not in set(Act):
        raise InvalidInput("act", f"must be {' or '.join(Act)}")
    return Act(name)


def _ids(given: Sequence[str]) -> list[str]:
    chosen = list(dict.fromkeys(given))
    if len(chosen) > MAX_JOBS:
        raise InvalidInput("jobs", f"are {len(chosen)}, and at most {MAX_JOBS} can be acted on at once")
    for job_id in chosen:
        check_job_id(job_id)
    return chosen


def _meant(act: Act, search: Search) -> JobFilter:
    """Return the jobs that a search finds, as far as it may be done to them."""
    return search.of(*(status for status in Status if status in act.statuses & set(search.statuses or Status))).jobs


def _tell(act: Act, done: int, refused: Sequence[Refused]) -> None:
    if done:
        flash(f"{plural(done, 'job was', 'jobs were')} {_DONE[act]}.")
    if refused:
        # They go into a cookie, so only some are told, and briefly.
        reasons = "; ".join(one.error.message[:160] for one in refused[:TOLD])
        more = f"; and {len(refused) - TOLD:,} more" if len(refused) > TOLD else ""
        flash(f"Not done for {len(refused):,}: {reasons}{more}.", "error")


def _back(search: Search) -> Response:
    return redirect(url_for("dashboard.jobs.page", **search.fields), 303)
