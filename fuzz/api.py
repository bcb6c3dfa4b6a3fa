"""Generated requests for the HTTP API: valid and invalid ones by its OpenAPI document, against the real application.

Each answer must have a documented status, content type and content, and never be a defect. Invalid requests must be
refused. Run by `make fuzz-api`, and with few requests by `tests/integration/test_api_document.py`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from typing import Any

import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.samples import new
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime

ADMIN = "an-admin-token-of-the-fuzzer"
#: Jobs that exist, so that not every job of a generated request is unknown.
JOBS = ("a", "b", "c")
#: The checks of every answer, and of those to invalid requests.
ALWAYS = (
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
)  # fmt: skip
NEGATIVE = (*ALWAYS, negative_data_rejection)


def run(app: Flask, cases: int, first: int) -> int:
    """Send about `cases` requests, the same ones for the same `first`; return their number.

    Raises the error of a check, with the request.
    """
    schema: Any = schemathesis.openapi.from_wsgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    each = max(1, cases // (len(operations) * len(modes)))
    return sum(send(operation, mode, each, first) for operation in operations for mode in modes)


def send(operation: Any, mode: GenerationMode, most: int, first: int) -> int:
    """Send at most so many requests of one operation; return their number."""
    checks = NEGATIVE if mode is GenerationMode.NEGATIVE else ALWAYS
    sent = 0

    @seed(first)
    @settings(max_examples=most, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def try_one(case: Any) -> None:
        nonlocal sent
        sent += 1
        if "job_id" in case.path_parameters and sent % 2:
            case.path_parameters["job_id"] = JOBS[sent % len(JOBS)]
        answer = case.call(headers={"Authorization": f"Bearer {ADMIN}"})
        # The check of invalid requests does not know that a body can be refused for its size.
        case.validate_response(answer, checks=ALWAYS if answer.status_code == 413 else checks)

    try_one()
    return sent


def application(engine: Engine) -> Flask:
    """Return the application of a dashboard process with some jobs."""
    engine.store.add(engine.queue.name, new(*JOBS))
    parts = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    parts.stop()  # then no request waits for a job
    return dashboard_app(parts, queue_type="local", admin=ADMIN)


def main() -> int:
    """Run the command; return its exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=7)
    given_ones = arguments.parse_args()
    with tempfile.TemporaryDirectory() as home, open_engine(load({"TENXSOM_HOME": home}), "local") as engine:
        sent = run(application(engine), given_ones.cases, given_ones.seed)
    print(f"{sent:,} requests, and every answer is as documented")
    return 0


if __name__ == "__main__":
    sys.exit(main())
