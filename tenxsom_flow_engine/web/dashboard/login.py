"""`/login`, `/logout`: starting and ending a session."""

from __future__ import annotations

from flask import Blueprint, current_app, flash, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from tenxsom_flow_engine.web.dashboard.session import Sessions, audit, logged_in


def login() -> Blueprint:
    """Return the routes for logging in and out."""
    blueprint = Blueprint("login", __name__)

    @blueprint.get("/login")
    def form() -> Response | str:
        if logged_in():
            return redirect(_onward(), 303)
        return render_template("login.html", onward=_onward(), wrong=False)

    @blueprint.post("/login")
    def enter() -> Response | tuple[str, int]:
        sessions: Sessions = current_app.extensions["admin"]
        if not sessions.log_in(request.form.get("token", "")):
            audit("login refused")
            return render_template("login.html", onward=_onward(), wrong=True), 403
        audit("logged in")
        return redirect(_onward(), 303)

    @blueprint.post("/logout")
    def leave() -> Response:
        session.clear()
        audit("logged out")
        flash("You are logged out.")
        return redirect(url_for("dashboard.login.form"), 303)

    return blueprint


def _onward() -> str:
    """Return the page to open after the login: a path of this site, never another site."""
    wanted = request.values.get("next", "")
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if inside else url_for("dashboard.overview.page")
