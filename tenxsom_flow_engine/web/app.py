"""The Flask applications of a worker and of a dashboard process. Each group of routes is a separate blueprint."""

from __future__ import annotations

from flask import Blueprint, Flask

from tenxsom_flow_engine.composition import CLOUD_TASKS
from tenxsom_flow_engine.web.auth import Access
from tenxsom_flow_engine.web.dashboard.session import Sessions
from tenxsom_flow_engine.web.dashboard.views import dashboard
from tenxsom_flow_engine.web.deliveries import deliveries
from tenxsom_flow_engine.web.errors import tell_errors
from tenxsom_flow_engine.web.health import health
from tenxsom_flow_engine.web.report_cache import ReportCache
from tenxsom_flow_engine.web.runtime import WorkerRuntime

#: Maximum bytes of a request's body. Cloud Tasks limits a task, with its headers, to 1 MiB.
MAX_BODY = 1024 * 1024 + 64 * 1024


def worker_app(runtime: WorkerRuntime, access: Access, *, concurrency: int, admin: str) -> Flask:
    """Return the application of a worker that runs up to `concurrency` steps concurrently; opens nothing.

    `admin` is the dashboard's admin token.
    """
    reports = ReportCache(runtime)
    return _app(admin, deliveries(runtime, access, concurrency), health(reports, CLOUD_TASKS), dashboard(reports))


def dashboard_app(runtime: WorkerRuntime, *, queue_type: str, admin: str) -> Flask:
    """Return the application of a dashboard process: the routes of a worker, without deliveries."""
    reports = ReportCache(runtime)
    return _app(admin, health(reports, queue_type), dashboard(reports))


def _app(admin: str, *blueprints: Blueprint) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY
    tell_errors(app)
    Sessions(admin).serve(app)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return app
