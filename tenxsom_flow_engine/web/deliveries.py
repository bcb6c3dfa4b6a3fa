"""`POST /process`: one delivery of one job, which is one short step.

Any answer but 2xx means that this worker could not do its part, so that the task comes again. What became of the job
is the engine's affair; a job's own failure is a 200.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import UnsupportedMediaType

from tenxsom_flow_engine.errors import AccessError, FlowError, WorkerBusy
from tenxsom_flow_engine.web.auth import Access
from tenxsom_flow_engine.web.errors import refusal
from tenxsom_flow_engine.web.runtime import WorkerRuntime

_log = logging.getLogger(__name__)


def previous_attempt_got_no_response(headers: Mapping[str, str] | Headers) -> bool:
    """Tell whether an earlier try of a delivery ended in a 5xx or without an answer.

    Cloud Tasks counts all tries in one header, and in the other those that were answered with something else. Anybody
    can send these; who was let in is Cloud Tasks.
    """
    tries, answered = (headers.get(f"X-CloudTasks-Task{name}Count", "0") for name in ("Retry", "Execution"))
    return tries.isdecimal() and answered.isdecimal() and int(tries[:9]) > int(answered[:9])


def deliveries(parts: WorkerRuntime, access: Access, concurrency: int) -> Blueprint:
    """Return the route that takes deliveries, with at most `concurrency` steps at once in this process.

    What comes over that is put off at once rather than kept waiting in a thread: the other routes need threads too.
    """
    blueprint = Blueprint("deliveries", __name__)
    free = threading.BoundedSemaphore(concurrency)

    @blueprint.before_request
    def let_in() -> None:
        access(request.headers.get("Authorization"))

    @blueprint.post("/process")
    def process() -> Response:
        if request.mimetype != "application/json":
            raise UnsupportedMediaType("a delivery is application/json")
        body = request.get_data(cache=False)
        if not free.acquire(blocking=False):
            raise WorkerBusy(
                f"this worker has {concurrency} steps in hand",
                next_step="start more workers, or raise TENXSOM_WORKER_CONCURRENCY",
            )
        try:
            done = parts.get().worker.deliver(
                body, previous_attempt_unanswered=previous_attempt_got_no_response(request.headers)
            )
        finally:
            free.release()
        return jsonify(job=done.job_id, worked=done.worked, status=done.status, detail=done.detail)

    @blueprint.errorhandler(FlowError)
    def put_off(error: FlowError) -> Response:
        answer = refusal(error)
        # Before access is granted, what a request says of itself is anybody's text.
        task = "" if isinstance(error, AccessError) else request.headers.get("X-CloudTasks-TaskName", "")[:200]
        _log.warning("delivery %s answered %d: %s", task or "-", answer.status_code, error)
        return answer

    return blueprint
