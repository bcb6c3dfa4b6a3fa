"""Answers: small JSON that says plainly what happened. The status is for the queue, the words for people.

To Cloud Tasks every status but 2xx means: deliver again later. 429 and 503 also slow down the whole queue, so they
stand only where every delivery would meet the same fate.
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
#: Seconds after which a request that was put off is worth another try.
RETRY_AFTER = {429: 1, 503: 10}


def status_of(error: FlowError) -> int:
    """Return the HTTP status that an error is answered with."""
    return next(status for kind, status in _STATUSES if isinstance(error, kind))


def refusal(error: FlowError, message: str | None = None) -> Response:
    """Return the answer that tells an error; with `message`, instead of what the error says of this machine."""
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
    """Let an application answer every error in this form, and never with a trace of where it arose."""

    def flow_error(error: FlowError) -> Response:
        return refusal(error)

    def http_error(error: HTTPException) -> Response:
        answer = _problem(error.code or 500, error.name.lower().replace(" ", "_"), error.description or error.name)
        # Its headers say more, such as which methods are allowed.
        answer.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
        return answer

    def defect(error: Exception) -> Response:
        _log.exception("a request broke")
        return _problem(500, "internal_error", "the request broke", "see the worker's log; this is a defect")

    app.register_error_handler(FlowError, flow_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, defect)


def _problem(status: int, code: str, message: str, next_step: str = "", actions: tuple[Action, ...] = ()) -> Response:
    told: dict[str, object] = {"code": code, "message": message}
    if next_step:
        told["next_step"] = next_step
    if actions:
        told["actions"] = [str(action) for action in actions]
    answer = jsonify(error=told)
    answer.status_code = status
    return answer
