"""`/endpoints`: who gets messages about events, and how they answer. They are added on the command line."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from tenxsom_flow_engine.events import EndpointKind
from tenxsom_flow_engine.operations.endpoints import enable, send_test, state
from tenxsom_flow_engine.web.dashboard.session import audit
from tenxsom_flow_engine.web.report_cache import ReportCache


def endpoints(reports: ReportCache) -> Blueprint:
    """Return the page and its buttons."""
    blueprint = Blueprint("endpoints", __name__)

    @blueprint.get("/endpoints")
    def page() -> str:
        store = reports.engine.store
        found = [state(store, one) for one in store.endpoints()]
        return render_template("endpoints.html", endpoints=found, EndpointKind=EndpointKind, now=store.now())

    @blueprint.post("/endpoints/<any(webhook, alert):kind>/<endpoint_id>/<any(enable, test):act>")
    def change(kind: str, endpoint_id: str, act: str) -> Response:
        engine, of_kind = reports.engine, EndpointKind(kind)
        if act == "enable":
            enable(engine.store, endpoint_id, of_kind)
            audit(f"{kind} enabled", endpoint=endpoint_id)
            flash(f"{endpoint_id} gets messages again.")
        else:
            answer = send_test(engine, endpoint_id, of_kind)
            audit(f"{kind} tested", endpoint=endpoint_id)
            if answer.ok:
                flash(f"The test message was delivered: {answer.text}.")
            else:
                flash(f"The test message was not delivered: {answer.text}.", "error")
        return redirect(url_for("dashboard.endpoints.page", _anchor=endpoint_id), 303)

    return blueprint
