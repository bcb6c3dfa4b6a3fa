"""`/add`: adding jobs. A form, then a preview of the resulting plan, then exactly that plan is added.

The preview carries the form, the instant of planning and the plan's digest. Any process computes the same plan from the
form and the instant. If the digest differs, because a price, a setting or a field has changed, nothing is added and the
new plan is shown. The job ids are computed as well, so submitting a plan twice adds no job twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError, StoreError
from tenxsom_flow_engine.jobs import ASPECT_RATIOS, AUTO, MAX_DURATION, STYLES
from tenxsom_flow_engine.planning.past import Past
from tenxsom_flow_engine.planning.plan import AddPlan
from tenxsom_flow_engine.services.registry import service_specs
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Added, JobFilter
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.web.dashboard.add_form import (
    BLANK,
    FROM_A_FILE,
    MOST_LINES,
    Typed,
    WrongFields,
    as_typed,
    copy_of,
    plan_form,
)
from tenxsom_flow_engine.web.dashboard.add_plan import BadLines, PlanView
from tenxsom_flow_engine.web.dashboard.advice import in_words
from tenxsom_flow_engine.web.dashboard.session import audit
from tenxsom_flow_engine.web.errors import status_of
from tenxsom_flow_engine.web.report_cache import ReportCache

#: Number of the latest jobs whose channels are suggested.
LATEST_JOBS = 200
#: The choices for jobs whose time lies in the past.
PAST_CHOICES: Mapping[str, str] = {"": "add nothing", Past.NOW: "start them now", Past.SKIP: "leave them out"}
#: Accepted lateness of a start in seconds when the plan is added: time for a person to read the preview.
LATE_SECONDS = 600.0


def add(reports: ReportCache) -> Blueprint:
    """Return the page."""
    blueprint = Blueprint("add", __name__)

    @blueprint.get("/add")
    def page() -> str:
        wanted = request.args.get("from")
        record = reports.engine.store.get(wanted) if wanted else None
        if wanted and record is None:
            return form_page(BLANK, trouble=f"Job {wanted} no longer exists, so the form is empty.")
        given = {"topics": request.args.get("topic", ""), **request.args, "salt": ""}
        return form_page(copy_of(record.job) if record else as_typed(given))

    @blueprint.post("/add")
    def act() -> str | Response | tuple[str, int]:
        typed = as_typed(request.form)
        try:
            match request.form.get("act"):
                case "change":
                    return form_page(typed)
                case "add":
                    return carry_out(typed, _instant(request.form), request.form.get("digest", ""))
                case _:
                    return plan_page(typed, reports.engine.store.now())
        except WrongFields as error:
            return form_page(typed, wrong=error), 400
        except FlowError as error:
            return form_page(typed, trouble=in_words(error)), status_of(error)

    @blueprint.errorhandler(RequestEntityTooLarge)
    def too_large(error: RequestEntityTooLarge) -> tuple[str, int]:
        wrong = WrongFields({"topics": f"are too many for one request; {FROM_A_FILE}"})
        return form_page(BLANK, wrong=wrong), 413

    def form_page(typed: Typed, *, wrong: WrongFields | None = None, trouble: str = "") -> str:
        engine = reports.engine
        return render_template(
            "add.html",
            typed={**typed, "salt": typed["salt"] or secrets.token_hex(8)},
            wrong=wrong.by_field if wrong else {},
            bad=BadLines.of(wrong.bad if wrong else (), typed),
            trouble=trouble,
            choices={**_choices(engine), "past": PAST_CHOICES},
            channels=_channels(engine.store),
            longest=MAX_DURATION,
            most_lines=MOST_LINES,
        )

    def plan_page(typed: Typed, at: float, *, trouble: str = "") -> str:
        typed = {**typed, "salt": typed["salt"] or secrets.token_hex(8)}
        view = PlanView.of(reports.engine, reports.report(), plan_form(reports.engine, typed, at), typed, at)
        return render_template("plan.html", typed=typed, plan=view, trouble=trouble, past_choices=PAST_CHOICES)

    def carry_out(typed: Typed, at: float, digest: str) -> str | Response | tuple[str, int]:
        """Add the previewed plan, or show the new plan if it has changed."""
        engine = reports.engine
        plan = plan_form(engine, typed, at)
        changed = plan.digest != digest
        if changed or _starts_passed(engine, plan, at):
            why = "the plan has changed since it was shown" if changed else "some of its start times have passed"
            return plan_page(typed, engine.store.now(), trouble=f"Nothing was added: {why}. Check it again."), 409
        if plan.refused or not plan.jobs:
            return plan_page(typed, at, trouble="Nothing was added: the times of its jobs lie in the past."), 409
        try:
            added = engine.add(plan.new)
        except FlowError as error:
            trouble = f"{in_words(error)}. Jobs added so far stay. Add again to add the rest; no job is added twice."
            return plan_page(typed, at, trouble=trouble), status_of(error)
        first = plan.new[0].job
        audit("jobs added", jobs=len(added.new), known=len(added.known), queue=engine.queue.name, first=first.job_id)
        flash(_result(added))
        if added.new and engine.paused:
            flash("The queue is paused; the jobs wait until you resume it on the overview.", "error")
        if added.new and engine.unattended:
            flash("No worker is running; the jobs wait until you start one.", "error")
        if len(plan.jobs) == 1:
            return redirect(url_for("dashboard.job.page", job_id=first.job_id), 303)
        return redirect(url_for("dashboard.jobs.page", channel=typed["channel"].strip() or None), 303)

    return blueprint


def _instant(form: Mapping[str, str]) -> float:
    """Return the instant of planning that a form carries; 0 if it carries none."""
    try:
        at = float(form.get("planned_at", ""))
    except ValueError:
        return 0.0
    return at if 0.0 < at < 1e11 else 0.0


def _result(added: Added) -> str:
    new, known = len(added.new), len(added.known)
    return f"{plural(new, 'job')} added" + (f"; {known:,} already existed." if known else ".")


def _choices(engine: Engine) -> Mapping[str, Mapping[str, str]]:
    """Return the options of the form's lists: values with their labels."""
    names = service_specs()
    lacking = names.keys() - engine.services.keys()
    return {
        "service": {name: f"{name} (not configured)" if name in lacking else name for name in (AUTO, *names)},
        "aspect_ratio": {ratio: ratio for ratio in ASPECT_RATIOS},
        "style": {style: style for style in STYLES},
    }


def _channels(store: JobStore) -> Sequence[str]:
    """Return the channels of the latest jobs; none if the store is unavailable, because the form works without them."""
    try:
        latest = store.page(JobFilter(), limit=LATEST_JOBS).records
    except StoreError:
        return ()
    return sorted({record.job.channel for record in latest if record.job.channel})


def _starts_passed(engine: Engine, plan: AddPlan, at: float) -> bool:
    """Return whether start times that were in the future when the plan was shown have passed.

    Such jobs would all start immediately, at the same time.
    """
    late = engine.store.now() - LATE_SECONDS
    passed = [item.job.job_id for item in plan.new if item.due is not None and at < item.due < late]
    # Jobs that exist by now were added in time.
    return len(engine.store.get_each(passed)) < len(passed)
