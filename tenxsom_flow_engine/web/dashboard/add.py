"""`/add`: adding work. A form, then the plan that it comes to, then exactly that plan is added.

The plan's page carries the form, the instant at which it was planned, and the plan's digest. From form and instant the
same plan follows again, in any process; where it does not, since a price or a setting has changed or somebody changed a
field, nothing is added and the new plan is shown. The ids of the jobs follow too, so a plan that is sent twice adds
nothing twice.
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

#: The latest jobs whose channels are offered.
LATEST_JOBS = 200
#: Seconds that a start may lie back when the plan is added, since a person has looked at it meanwhile.
LATE_SECONDS = 600.0


def add(reports: ReportCache) -> Blueprint:
    """Return the page."""
    blueprint = Blueprint("add", __name__)

    @blueprint.get("/add")
    def page() -> str:
        wanted = request.args.get("from")
        record = reports.engine.store.get(wanted) if wanted else None
        if wanted and record is None:
            return form_page(BLANK, trouble=f"There is no job {wanted} any more, so the form is empty.")
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
        wrong = WrongFields({"topics": f"are too many to be sent at once; {FROM_A_FILE}"})
        return form_page(BLANK, wrong=wrong), 413

    def form_page(typed: Typed, *, wrong: WrongFields | None = None, trouble: str = "") -> str:
        engine = reports.engine
        return render_template(
            "add.html",
            typed={**typed, "salt": typed["salt"] or secrets.token_hex(8)},
            wrong=wrong.by_field if wrong else {},
            bad=BadLines.of(wrong.bad if wrong else (), typed),
            trouble=trouble,
            choices=_choices(engine),
            channels=_channels(engine.store),
            longest=MAX_DURATION,
            most_lines=MOST_LINES,
        )

    def plan_page(typed: Typed, at: float, *, trouble: str = "") -> str:
        typed = {**typed, "salt": typed["salt"] or secrets.token_hex(8)}
        view = PlanView.of(reports.engine, reports.report(), plan_form(reports.engine, typed, at), typed, at)
        return render_template("plan.html", typed=typed, plan=view, trouble=trouble)

    def carry_out(typed: Typed, at: float, digest: str) -> str | Response | tuple[str, int]:
        """Add the plan that was shown, or show how it has changed."""
        engine = reports.engine
        plan = plan_form(engine, typed, at)
        changed = plan.digest != digest
        if changed or _gone_by(engine, plan, at):
            why = "this is not the plan that was shown before" if changed else "some of its starts have gone by"
            return plan_page(typed, engine.store.now(), trouble=f"Nothing was added: {why}. Look at it again."), 409
        try:
            added = engine.queue.enqueue(plan.new)
        except FlowError as error:
            trouble = f"{in_words(error)}. What was added stays, and nothing is added twice: add again what is left."
            return plan_page(typed, at, trouble=trouble), status_of(error)
        first = plan.new[0].job
        audit("jobs added", jobs=len(added.new), known=len(added.known), queue=engine.queue.name, first=first.job_id)
        flash(_told(added))
        if added.new and engine.unattended:
            flash("No worker is running, so they wait until one is started.", "error")
        if len(plan.jobs) == 1:
            return redirect(url_for("dashboard.job.page", job_id=first.job_id), 303)
        return redirect(url_for("dashboard.jobs.page", channel=typed["channel"].strip() or None), 303)

    return blueprint


def _instant(form: Mapping[str, str]) -> float:
    """Return when the plan of a page was made; of one that says nothing of the kind, long ago."""
    try:
        at = float(form.get("planned_at", ""))
    except ValueError:
        return 0.0
    return at if 0.0 < at < 1e11 else 0.0


def _told(added: Added) -> str:
    new, known = len(added.new), len(added.known)
    return f"{plural(new, 'job')} added" + (f", {known:,} known already." if known else ".")


def _choices(engine: Engine) -> Mapping[str, Mapping[str, str]]:
    """Return what the lists of the form offer: values, and what they are called there."""
    names = service_specs()
    lacking = names.keys() - engine.services.keys()
    return {
        "service": {name: f"{name} (not configured)" if name in lacking else name for name in (AUTO, *names)},
        "aspect_ratio": {ratio: ratio for ratio in ASPECT_RATIOS},
        "style": {style: style for style in STYLES},
    }


def _channels(store: JobStore) -> Sequence[str]:
    """Return the channels of the latest jobs; none while the store is away, since a form is not worth less for it."""
    try:
        latest = store.page(JobFilter(), limit=LATEST_JOBS).records
    except StoreError:
        return ()
    return sorted({record.job.channel for record in latest if record.job.channel})


def _gone_by(engine: Engine, plan: AddPlan, at: float) -> bool:
    """Tell whether jobs would start at once, and all together, whose starts lay ahead when the plan was shown."""
    late = engine.store.now() - LATE_SECONDS
    gone = [item.job.job_id for item in plan.new if item.due is not None and at < item.due < late]
    # Those that were added meanwhile did start.
    return len(engine.store.get_each(gone)) < len(gone)
