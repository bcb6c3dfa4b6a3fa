"""The Flask applications: routes over what the process has open. Each group of routes is a blueprint of its own."""

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

#: Bytes of a request's body. Cloud Tasks stores tasks of less than 1 MiB, all counted.
MAX_BODY = 1024 * 1024 + 64 * 1024


def worker_app(parts: WorkerRuntime, access: Access, *, concurrency: int, admin: str) -> Flask:
    """Return the application of a worker that takes `concurrency` steps at once; opens nothing.

    `admin` is the token that opens the dashboard.
    """
    desk = ReportCache(parts)
    return _app(admin, deliveries(parts, access, concurrency), health(desk, CLOUD_TASKS), dashboard(desk))


def dashboard_app(parts: WorkerRuntime, *, queue_type: str, admin: str) -> Flask:
    """Return the application of a process that only shows: all that a worker serves, but no deliveries."""
    desk = ReportCache(parts)
    return _app(admin, health(desk, queue_type), dashboard(desk))


def _app(admin: str, *blueprints: Blueprint) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY
    tell_errors(app)
    Sessions(admin).serve(app)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return app
