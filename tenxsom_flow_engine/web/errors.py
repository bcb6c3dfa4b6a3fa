"""Error responses: a small JSON object for people, and a status for the queue.

Cloud Tasks delivers a task again after any status other than 2xx. 429 and 503 also slow down the whole queue, so they
are used only for conditions that affect every delivery.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from tenxsom_flow_engine.api.blueprint import error_outside
from tenxsom_flow_engine.errors import (
    Action,
    ActionRefused,
    CertificatesUnavailable,
    FlowError,
    Forbidden,
    InvalidInput,
    JobNotFound,
    LeasedElsewhere,
    OutputAway,
    StoreError,
    Unauthenticated,
    WorkerBusy,
)
from tenxsom_flow_engine.web.headers import DATA, PAGE
from tenxsom_flow_engine.web.hosts import UnknownHost

_log = logging.getLogger(__name__)

_STATUSES: tuple[tuple[type[FlowError], int], ...] = (
    (InvalidInput, 400),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (JobNotFound, 404),
    (UnknownHost, 421),
    (ActionRefused, 409),
    (LeasedElsewhere, 409),
    (WorkerBusy, 429),
    (CertificatesUnavailable, 503),
    (StoreError, 503),
    (OutputAway, 503),
    (FlowError, 500),
)
#: Renders the page about an error from its message and next step.
Page = Callable[[str, str], str]
#: Value of the `Retry-After` header in seconds, by status.
RETRY_AFTER = {429: 1, 503: 10}


def status_of(error: FlowError) -> int:
    """Return the HTTP status of an error."""
    return next(status for kind, status in _STATUSES if isinstance(error, kind))


def refusal(error: FlowError, message: str | None = None) -> Response:
    """Return the response for an error. A `message` replaces the error's text, which can contain internal details."""
    status = status_of(error)
    if message is None:
        answer = _problem(status, error.code, error.message, error.next_step, error.actions)
    else:
        answer = _problem(status, error.code, message)
    if isinstance(error, Unauthenticated):
        answer.headers["WWW-Authenticate"] = "Bearer"
    if status in RETRY_AFTER:
        answer.headers["Retry-After"] = str(RETRY_AFTER[status])
    return answer


def respond(error: FlowError, page: Page) -> Response:
    """Return the response for an error: JSON, or a page in a browser."""
    return _in_browser(refusal(error), page, error.message, error.next_step)


def tell_errors(app: Flask, page: Page) -> None:
    """Make an application answer every error without a traceback: as JSON, and with a `page` in a browser."""

    def flow_error(error: FlowError) -> Response:
        return respond(error, page)

    def http_error(error: HTTPException) -> Response:
        if (problem := error_outside(error)) is not None:
            return problem
        answer = _problem(error.code or 500, error.name.lower().replace(" ", "_"), error.description or error.name)
        answer = _in_browser(answer, page, error.description or error.name)
        # Keep its headers, such as `Allow`.
        answer.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
        return answer

    def defect(error: Exception) -> Response:
        _log.exception("unexpected error in a request")
        return _problem(500, "internal_error", "unexpected error", "this is a bug; see the worker's log")

    def protect(answer: Response) -> Response:
        for name, value in DATA.items():
            answer.headers.setdefault(name, value)
        return answer

    app.after_request(protect)
    app.register_error_handler(FlowError, flow_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, defect)


def _in_browser(answer: Response, page: Page, message: str, next_step: str = "") -> Response:
    """Return an answer with a page as its body if the client prefers one to JSON."""
    accepted = request.accept_mimetypes
    if accepted["text/html"] > accepted["application/json"]:
        answer.data, answer.content_type = page(message, next_step), "text/html; charset=utf-8"
        answer.headers.update(PAGE)
    return answer


def _problem(status: int, code: str, message: str, next_step: str = "", actions: tuple[Action, ...] = ()) -> Response:
    body: dict[str, object] = {"code": code, "message": message}
    if next_step:
        body["next_step"] = next_step
    if actions:
        body["actions"] = [str(action) for action in actions]
    answer = jsonify(error=body)
    answer.status_code = status
    return answer
