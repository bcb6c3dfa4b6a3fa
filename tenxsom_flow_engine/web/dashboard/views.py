"""The blueprint of the dashboard: all views behind a login, with common headers, and errors as pages."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.jobs.purchases import bought_nothing
from tenxsom_flow_engine.web.dashboard import filters as words
from tenxsom_flow_engine.web.dashboard.add import add
from tenxsom_flow_engine.web.dashboard.advice import links
from tenxsom_flow_engine.web.dashboard.bulk import bulk
from tenxsom_flow_engine.web.dashboard.edit import edit
from tenxsom_flow_engine.web.dashboard.endpoints import endpoints
from tenxsom_flow_engine.web.dashboard.job import job
from tenxsom_flow_engine.web.dashboard.jobs import jobs
from tenxsom_flow_engine.web.dashboard.login import login
from tenxsom_flow_engine.web.dashboard.overview import overview
from tenxsom_flow_engine.web.dashboard.session import (
    StaleForm,
    check_csrf,
    csrf_field,
    logged_in,
    messages,
    shows_menu,
)
from tenxsom_flow_engine.web.errors import status_of
from tenxsom_flow_engine.web.headers import page_headers
from tenxsom_flow_engine.web.job_files import JobFiles
from tenxsom_flow_engine.web.report_cache import ReportCache

_log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
#: Seconds that a browser caches a style sheet or script; the address contains a hash of the content.
KEEP_STATIC = 365 * 86400
#: Maximum bytes of a form sent without a login: any client can send one, and reading it takes time.
LOGIN_BODY = 16 * 1024
_STATIC, _LOGIN = "dashboard.static", "dashboard.login.enter"


def dashboard(reports: ReportCache, files: JobFiles) -> Blueprint:
    """Return the routes of all pages. They open nothing before the first request."""
    blueprint = Blueprint("dashboard", __name__, template_folder="templates", static_folder="static")
    blueprint.get_send_file_max_age = lambda filename: KEEP_STATIC  # type: ignore[method-assign]
    blueprint.record_once(_prepare)
    for view in (
        login(),
        overview(reports),
        jobs(reports),
        bulk(reports),
        job(reports, files),
        edit(reports),
        add(reports),
        endpoints(reports),
    ):
        blueprint.register_blueprint(view)

    @blueprint.before_request
    def let_in() -> AnyResponse | None:
        if request.endpoint == _STATIC:
            return None
        if not logged_in():
            request.max_content_length = LOGIN_BODY
            if request.blueprint != "dashboard.login":
                # A POST cannot be repeated after the login, because its form data is lost.
                wanted = request.full_path.rstrip("?") if request.method == "GET" else None
                return redirect(url_for("dashboard.login.form", next=wanted), 303)
        if request.endpoint != _LOGIN:  # the token that it sends is what another site does not know
            check_csrf()
        return None

    @blueprint.after_request
    def guard(answer: Response) -> Response:
        answer.headers.update(page_headers(reports.link_origin))
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    @blueprint.errorhandler(FlowError)
    def flow_error(error: FlowError) -> tuple[str, int]:
        status = 400 if isinstance(error, StaleForm) else status_of(error)
        _log.warning("%s %s: response %d: %s", request.method, request.path, status, error)
        return error_page(error.message, error.next_step, links(error.actions, error.subject)), status

    @blueprint.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        answer = Response(error_page(error.description or error.name), error.code or 500)
        # Keep its headers, such as `Allow`.
        answer.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
        return answer

    @blueprint.errorhandler(Exception)
    def defect(error: Exception) -> tuple[str, int]:
        _log.exception("%s %s: unexpected error", request.method, request.path)
        return error_page("Unexpected error.", "This is a bug; see the log of this process."), 500

    return blueprint


def error_page(message: str, next_step: str = "", advice: Sequence[Any] = ()) -> str:
    """Return the page about an error."""
    return render_template("error.html", message=message, next_step=next_step, advice=advice)


def _prepare(state: BlueprintSetupState) -> None:
    versions = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in (_HERE / "static").iterdir()}

    def static(name: str) -> str:
        return url_for(_STATIC, filename=name, v=versions[name])

    templates = state.app.jinja_env
    templates.filters.update(words.FILTERS)
    templates.globals.update(
        bought_nothing=bought_nothing,
        static=static,
        csrf_field=csrf_field,
        logged_in=shows_menu,
        messages=messages,
        version=__version__,
    )
    templates.undefined = StrictUndefined
    templates.trim_blocks = templates.lstrip_blocks = True
