"""The Flask applications of a worker and of a dashboard process. Each group of routes is a separate blueprint."""

from __future__ import annotations

from collections.abc import Collection

from flask import Blueprint, Flask, Response, request

from tenxsom_flow_engine.api.access import Access as ApiAccess
from tenxsom_flow_engine.api.access import Caller, TooManyRequests
from tenxsom_flow_engine.api.blueprint import Parts, api, document
from tenxsom_flow_engine.queues.selection import CLOUD_TASKS
from tenxsom_flow_engine.web.auth import Access
from tenxsom_flow_engine.web.dashboard.session import Sessions, TooManyLogins
from tenxsom_flow_engine.web.dashboard.views import dashboard, error_page
from tenxsom_flow_engine.web.deliveries import deliveries
from tenxsom_flow_engine.web.errors import respond, tell_errors
from tenxsom_flow_engine.web.health import health
from tenxsom_flow_engine.web.hosts import UnknownHost, check_host
from tenxsom_flow_engine.web.http_server import MAX_BODY
from tenxsom_flow_engine.web.job_files import JobFiles
from tenxsom_flow_engine.web.report_cache import ReportCache
from tenxsom_flow_engine.web.runtime import WorkerRuntime

#: Routes for any `Host` header: a delivery proves its sender, and `/health` says nothing that is worth protecting.
_ANY_HOST = ("deliveries.process", "health.alive")


def worker_app(
    runtime: WorkerRuntime,
    access: Access,
    *,
    concurrency: int,
    admin: str,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
) -> Flask:
    """Return the application of a worker that runs up to `concurrency` steps concurrently; opens nothing.

    `admin` is the dashboard's admin token, and `hosts` are the domains of this server. Scripts of `origins` may use the
    API.
    """
    reports = ReportCache(runtime)
    return _app(reports, CLOUD_TASKS, admin, hosts, origins, deliveries(runtime, access, concurrency))


def dashboard_app(
    runtime: WorkerRuntime,
    *,
    queue_type: str,
    admin: str,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
) -> Flask:
    """Return the application of a dashboard process: the routes of a worker, without deliveries."""
    reports = ReportCache(runtime)
    return _app(reports, queue_type, admin, hosts, origins)


def _app(
    reports: ReportCache,
    queue_type: str,
    admin: str,
    hosts: Collection[str],
    origins: Collection[str],
    *blueprints: Blueprint,
) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY
    tell_errors(app, error_page)
    sessions = Sessions(admin, lambda: reports.engine.store)
    sessions.serve(app)
    files = JobFiles(reports)

    def is_admin(token: str) -> bool:
        try:
            return sessions.proves_admin(token)
        except TooManyLogins as error:
            raise TooManyRequests(error.message, error.wait) from error

    keys = ApiAccess(is_admin)
    parts = Parts(reports, files.send, keys, origins)

    def reader() -> Caller | None:
        return keys.reader(lambda: reports.engine.store, request.headers.get("Authorization"))

    @app.before_request
    def check() -> Response | None:
        try:
            if request.endpoint not in _ANY_HOST:
                check_host(request.headers.get("Host"), hosts)
        except UnknownHost as error:  # no error of a route, whose blueprint would word it
            return respond(error, error_page)
        return None

    for blueprint in (
        *blueprints,
        health(reports, queue_type, reader),
        dashboard(reports, files),
        api(parts),
        document(),
    ):
        app.register_blueprint(blueprint)
    return app
