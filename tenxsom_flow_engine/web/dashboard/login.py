"""`/login`, `/logout`: starting and ending a session."""

from __future__ import annotations

import math

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from tenxsom_flow_engine.text import duration
from tenxsom_flow_engine.web.dashboard.session import Sessions, TooManyLogins, audit, logged_in


def login() -> Blueprint:
    """Return the routes for logging in and out."""
    blueprint = Blueprint("login", __name__)

    @blueprint.get("/login")
    def form() -> Response | str:
        if logged_in():
            return redirect(_onward(), 303)
        return _form()

    @blueprint.post("/login")
    def enter() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
        try:
            right = _sessions().log_in(request.form.get("token", ""))
        except TooManyLogins as error:
            wait = math.ceil(error.wait)
            text = (
                f"Too many wrong tokens were sent. Try again in {duration(wait)}, or use a browser that has logged in "
                "before."
            )
            return _form(text), 429, {"Retry-After": str(wait)}
        if not right:
            audit("login refused")
            return _form("That is not the admin token."), 403
        audit("logged in")
        answer = redirect(_onward(), 303)
        _sessions().remember_browser(answer)
        return answer

    @blueprint.post("/logout")
    def leave() -> Response:
        _sessions().log_out()
        audit("logged out")
        flash("You are logged out.")
        return redirect(url_for("dashboard.login.form"), 303)

    return blueprint


def _sessions() -> Sessions:
    sessions: Sessions = current_app.extensions["admin"]
    return sessions


def _form(problem: str = "") -> str:
    return render_template("login.html", onward=_onward(), problem=problem)


def _onward() -> str:
    """Return the page to open after the login: a path of this site, never another site."""
    wanted = request.values.get("next", "")
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if inside else url_for("dashboard.overview.page")
