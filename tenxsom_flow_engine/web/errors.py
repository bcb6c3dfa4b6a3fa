"""Error responses: a small JSON object for people, and a status for the queue.

Cloud Tasks delivers a task again after any status other than 2xx. 429 and 503 also slow down the whole queue, so they
are used only for conditions that affect every delivery.
"""

from __future__ import annotations

import logging

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from tenxsom_flow_engine.errors import (
    Action,
    ActionRefused,
    CertificatesUnavailable,
    FlowError,
    Forbidden,
    InvalidInput,
    JobNotFound,
    LeasedElsewhere,
    StoreError,
    Unauthenticated,
    WorkerBusy,
)

_log = logging.getLogger(__name__)

_STATUSES: tuple[tuple[type[FlowError], int], ...] = (
    (InvalidInput, 400),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (JobNotFound, 404),
    (ActionRefused, 409),
    (LeasedElsewhere, 409),
    (WorkerBusy, 429),
    (CertificatesUnavailable, 503),
    (StoreError, 503),
    (FlowError, 500),
)
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


def tell_errors(app: Flask) -> None:
    """Make an application answer every error as JSON, without a traceback."""

    def flow_error(error: FlowError) -> Response:
        return refusal(error)

    def http_error(error: HTTPException) -> Response:
        answer = _problem(error.code or 500, error.name.lower().replace(" ", "_"), error.description or error.name)
        # Keep its headers, such as `Allow`.
        answer.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
        return answer

    def defect(error: Exception) -> Response:
        _log.exception("unexpected error in a request")
        return _problem(500, "internal_error", "unexpected error", "this is a bug; see the worker's log")

    app.register_error_handler(FlowError, flow_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, defect)


def _problem(status: int, code: str, message: str, next_step: str = "", actions: tuple[Action, ...] = ()) -> Response:
    body: dict[str, object] = {"code": code, "message": message}
    if next_step:
        body["next_step"] = next_step
    if actions:
        body["actions"] = [str(action) for action in actions]
    answer = jsonify(error=body)
    answer.status_code = status
    return answer
