"""`POST /process`: one delivery of a job, which runs one short step.

A status other than 2xx makes Cloud Tasks deliver the task again, so it is only for failures of this worker. A step that
fails for the job's own reasons is recorded in the store and answered with 200.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import UnsupportedMediaType

from tenxsom_flow_engine.errors import AccessError, FlowError, StoreFull, StoreUnavailable, WorkerBusy
from tenxsom_flow_engine.web.auth import Access
from tenxsom_flow_engine.web.errors import refusal
from tenxsom_flow_engine.web.runtime import WorkerRuntime

_log = logging.getLogger(__name__)


def previous_attempt_got_no_response(headers: Mapping[str, str] | Headers) -> bool:
    """Return whether an earlier attempt of this delivery ended with a 5xx or without a response.

    Cloud Tasks counts all retries in one header, and in the other the attempts that got a response other than 5xx. The
    headers can be trusted only after the request is authenticated.
    """
    retries, answered = (headers.get(f"X-CloudTasks-Task{name}Count", "0") for name in ("Retry", "Execution"))
    return retries.isdecimal() and answered.isdecimal() and int(retries[:9]) > int(answered[:9])


def deliveries(runtime: WorkerRuntime, access: Access, concurrency: int) -> Blueprint:
    """Return the route for deliveries, which runs up to `concurrency` steps concurrently in this process.

    Further deliveries get 429 immediately instead of waiting in a thread, so that the other routes keep their threads.
    """
    blueprint = Blueprint("deliveries", __name__)
    free = threading.BoundedSemaphore(concurrency)

    @blueprint.before_request
    def authenticate() -> None:
        access(request.headers.get("Authorization"))

    @blueprint.post("/process")
    def process() -> Response:
        if request.mimetype != "application/json":
            raise UnsupportedMediaType("a delivery is application/json")
        body = request.get_data(cache=False)
        if not free.acquire(blocking=False):
            raise WorkerBusy(
                f"this worker is already running {concurrency} steps",
                next_step="start more workers, or raise TENXSOM_WORKER_CONCURRENCY",
            )
        try:
            opened = runtime.get()
            done = opened.worker.deliver(
                body, previous_attempt_unanswered=previous_attempt_got_no_response(request.headers)
            )
        finally:
            free.release()
        opened.engine.store_outage.succeeded("delivery")
        return jsonify(job=done.job_id, worked=done.worked, status=done.status, detail=done.detail)

    @blueprint.errorhandler(FlowError)
    def refuse(error: FlowError) -> Response:
        answer = refusal(error)
        # The headers of a request that is not authenticated can hold any text, so they are not logged.
        task = "" if isinstance(error, AccessError) else request.headers.get("X-CloudTasks-TaskName", "")[:200]
        message = f"delivery {task or '-'}: response {answer.status_code}: {error}"
        if isinstance(error, StoreUnavailable | StoreFull):
            runtime.store_failed("delivery", message)
        else:
            _log.warning("%s", message)
        return answer

    return blueprint
