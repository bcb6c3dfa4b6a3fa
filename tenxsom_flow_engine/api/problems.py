"""Errors as `application/problem+json` (RFC 9457), with the engine's code, actions, field and line."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from http import HTTPStatus

import msgspec
from flask import Response
from werkzeug.exceptions import HTTPException

from tenxsom_flow_engine.api.access import TooManyRequests
from tenxsom_flow_engine.errors import (
    ActionRefused,
    ConfigurationError,
    FlowError,
    Forbidden,
    InvalidInput,
    JobNotFound,
    LeasedElsewhere,
    OutputAway,
    QueueError,
    StoreError,
    Unauthenticated,
)

_log = logging.getLogger(__name__)

MIMETYPE = "application/problem+json"
#: Value of `Retry-After` in seconds while the store or the queue is away.
RETRY_AFTER = 10
#: Maximum number of invalid values that one answer names.
MOST_WRONG = 50


class WrongValue(msgspec.Struct, frozen=True, omit_defaults=True):
    """An invalid value of a request."""

    #: Its place, such as `[3].duration`; empty for the whole body.
    field: str
    detail: str
    #: The line of the body, from 1.
    line: int = 0


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An error. `type` is absent, which means `about:blank` in RFC 9457."""

    #: The name of the status.
    title: str
    status: int
    #: A stable code for programs.
    code: str
    #: One sentence: the thing and the reason.
    detail: str
    #: Any other remedy.
    next_step: str = ""
    #: Remedies that the engine offers: `retry`, `edit`, `resubmit`, `list_jobs` and others.
    actions: tuple[str, ...] = ()
    #: The first invalid value, and its line in the body.
    field: str = ""
    line: int = 0
    #: All invalid values, at most 50.
    errors: tuple[WrongValue, ...] = ()


class InvalidRequest(InvalidInput):
    """A request has invalid values."""

    def __init__(self, wrong: Sequence[WrongValue], next_step: str = "") -> None:
        first = wrong[0]
        more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
        super().__init__(first.field or "body", first.detail + more, next_step=next_step)
        self.wrong = tuple(wrong[:MOST_WRONG])


class KeyReused(FlowError):
    """An idempotency key was used for another request."""

    code = "idempotency_key_reused"


class KeyMissing(FlowError):
    """A request that adds jobs has nothing by which a repetition is recognised."""

    code = "idempotency_key_missing"


class InProgress(FlowError):
    """The same request is being carried out; `wait` is in seconds."""

    code = "request_in_progress"
    wait = 1.0


class Interrupted(FlowError):
    """The same request was interrupted, and the job has changed since."""

    code = "request_interrupted"


class FilesBusy(FlowError):
    """The process sends as many videos as it can."""

    code = "files_busy"

    def __init__(self) -> None:
        super().__init__("this process sends as many videos as it can", next_step="try again in a moment")


class PlanNotFound(FlowError):
    """No plan has this token, or it has expired."""

    code = "plan_not_found"


class PlanChanged(FlowError):
    """A plan can no longer be added as it was shown."""

    code = "plan_changed"


_STATUSES: tuple[tuple[type[FlowError], int], ...] = (
    (KeyMissing, 400),
    (InvalidInput, 400),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (JobNotFound, 404),
    (PlanNotFound, 404),
    (ActionRefused, 409),
    (LeasedElsewhere, 409),
    (InProgress, 409),
    (Interrupted, 409),
    (PlanChanged, 409),
    (KeyReused, 422),
    (TooManyRequests, 429),
    (FilesBusy, 503),
    (StoreError, 503),
    (OutputAway, 503),
    (QueueError, 503),
    (ConfigurationError, 503),
    (FlowError, 500),
)


def of_error(error: FlowError) -> Response:
    """Return the answer for an error of the engine."""
    status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    detail, next_step, actions = error.message, error.next_step, tuple(map(str, error.actions))
    if status >= 500:
        _log.warning("response %d: %s", status, error)
    if isinstance(error, StoreError | QueueError):
        # The message can name hosts and paths, which are for the log.
        detail, next_step, actions = "the store or the queue cannot be used now", "try again later", ()
    wrong = error.wrong if isinstance(error, InvalidRequest) else ()
    field = error.field if isinstance(error, InvalidInput) else ""
    answer = _answer(
        Problem(
            title=HTTPStatus(status).phrase, status=status, code=error.code, detail=detail, next_step=next_step,
            actions=actions, field=field, line=wrong[0].line if wrong else 0, errors=wrong,
        )
    )  # fmt: skip
    if isinstance(error, Unauthenticated):
        answer.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyRequests | InProgress):
        answer.headers["Retry-After"] = str(math.ceil(error.wait))
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = str(RETRY_AFTER)
    return answer


def of_http_error(error: HTTPException) -> Response:
    """Return the answer for an error of the framework: an unknown address, a wrong method, a body that is too large."""
    status = error.code or 500
    answer = _answer(
        Problem(
            title=error.name, status=status, code=error.name.lower().replace(" ", "_"),
            detail=error.description or error.name,
        )
    )  # fmt: skip
    # Keep its headers, such as `Allow`.
    answer.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
    return answer


def of_defect() -> Response:
    """Return the answer for an unexpected error, and log it."""
    _log.exception("unexpected error in a request of the API")
    return _answer(
        Problem(
            title="Internal Server Error", status=500, code="internal_error", detail="unexpected error",
            next_step="this is a bug; see the log of this process",
        )
    )  # fmt: skip


def _answer(problem: Problem) -> Response:
    return Response(msgspec.json.encode(problem), problem.status, content_type=MIMETYPE)
