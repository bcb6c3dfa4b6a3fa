"""The routes of the worker: their responses, and the details that they must not contain."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import Client, TestResponse

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.composition import Overrides
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import (
    CertificatesUnavailable,
    ConfigurationError,
    Forbidden,
    InvalidInput,
    LeasedElsewhere,
    QueueUnavailable,
    Stopping,
    StoreBroken,
    StoreFull,
    StoreUnavailable,
    Unauthenticated,
)
from tenxsom_flow_engine.jobs import Failure, Status
from tenxsom_flow_engine.jobs.outcomes import Dead, Done
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.logs import handler
from tenxsom_flow_engine.queues.base import QueueStatus
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import TICKET, VIDEO, a_claim, new
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.web.app import worker_app
from tenxsom_flow_engine.web.auth import Access, advice, anybody, open_access
from tenxsom_flow_engine.web.runtime import OpenRuntime, WorkerRuntime
from tenxsom_flow_engine.web.wsgi import Application
from tenxsom_flow_engine.workers.push import Delivered
from tests.scripted_parts import Script, ScriptedStore, open_scripted

STUCK = 60.0
DONE = Delivered("job-1", worked=True, status=Status.RENDERING, detail="bought")


class ScriptedWorker:
    """A worker whose deliveries are scripted by a test."""

    def __init__(self) -> None:
        self.active_steps = 0
        self.bodies: list[bytes] = []
        self.previous_attempt_unanswered: list[bool] = []
        self.act: Callable[[], Delivered] = lambda: DONE
        self.stops = 0
        self.started = False
        self.closed = False

    def start(self) -> None:
        self.started = True

    def deliver(self, body: bytes, *, previous_attempt_unanswered: bool = False) -> Delivered:
        self.bodies.append(body)
        self.previous_attempt_unanswered.append(previous_attempt_unanswered)
        return self.act()

    def fails_with(self, error: BaseException) -> None:
        def fail() -> Delivered:
            raise error

        self.act = fail

    def stop(self) -> None:
        self.stops += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def worker() -> ScriptedWorker:
    return ScriptedWorker()


@pytest.fixture
def script() -> Script:
    """Scripted replacements for calls of the engine's queue and store."""
    return Script()


@pytest.fixture
def engine(tmp_path: Path, script: Script) -> Iterator[Engine]:
    with open_scripted(load({"TENXSOM_HOME": str(tmp_path)}), ManualClock(), script) as engine:
        yield engine


@pytest.fixture
def client(worker: ScriptedWorker, engine: Engine) -> FlaskClient:
    return client_of(WorkerRuntime(lambda: OpenRuntime(engine, worker)))


def client_of(parts: WorkerRuntime, access: Access = anybody, concurrency: int = 2) -> FlaskClient:
    return worker_app(parts, access, concurrency=concurrency, admin="an-admin-token-of-tests").test_client()


def post(client: FlaskClient, body: bytes = b"{}", **options: Any) -> TestResponse:
    return client.post("/process", data=body, content_type=options.pop("content_type", "application/json"), **options)


def error_of(answer: TestResponse) -> dict[str, str]:
    assert answer.mimetype == "application/json"
    error: dict[str, str] = answer.get_json()["error"]
    return error


def test_a_delivery_returns_its_result(client: FlaskClient, worker: ScriptedWorker) -> None:
    """A step that ran is a 200 with the job's status as JSON."""
    answer = post(client, b'{"v": 1}')
    assert (answer.status_code, worker.bodies) == (200, [b'{"v": 1}'])
    assert answer.get_json() == {"job": "job-1", "worked": True, "status": "rendering", "detail": "bought"}


@pytest.mark.parametrize(
    ("retries", "answered", "previous_attempt_unanswered"),
    [("0", "0", False), ("3", "3", False), ("3", "2", True), ("1", "0", True), ("", "", False), ("x", "0", False),
     ("9" * 5000, "0", True), (None, None, False)],
)  # fmt: skip
def test_an_unanswered_attempt_is_passed_to_the_worker(
    client: FlaskClient,
    worker: ScriptedWorker,
    retries: str | None,
    answered: str | None,
    previous_attempt_unanswered: bool,
) -> None:
    """The headers of Cloud Tasks say whether an earlier attempt ended with a 5xx or without a response."""
    counts = {"X-CloudTasks-TaskRetryCount": retries, "X-CloudTasks-TaskExecutionCount": answered}
    post(client, headers={name: count for name, count in counts.items() if count is not None})
    assert worker.previous_attempt_unanswered == [previous_attempt_unanswered]


@pytest.mark.parametrize("status", [Status.FAILED, Status.HELD, None])
def test_a_jobs_own_failure_is_no_failure_of_the_delivery(
    client: FlaskClient, worker: ScriptedWorker, status: Status | None
) -> None:
    """A failed or held job is a 200, so it does not slow down the queue."""
    worker.act = lambda: replace(DONE, status=status)
    assert post(client).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (InvalidInput("seq", "is missing"), 400, None),
        (LeasedElsewhere("job-1", "w-2"), 409, None),
        (QueueUnavailable("adding a task failed", next_step="look"), 500, None),
        (Stopping(), 500, None),
        (StoreUnavailable("the store is locked", next_step="wait"), 503, "10"),
        (StoreFull("the disk is full"), 503, "10"),
        (StoreBroken("this is no store"), 503, "10"),
    ],
)
def test_a_failure_of_the_worker_causes_another_delivery(
    client: FlaskClient, worker: ScriptedWorker, error: Any, status: int, retry_after: str | None
) -> None:
    """Only a failure that affects every delivery, such as an unavailable store, is a 503, which slows the queue."""
    worker.fails_with(error)
    answer = post(client)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry_after)
    body = error_of(answer)
    assert (body["code"], body["message"], body.get("next_step", "")) == (error.code, error.message, error.next_step)


def test_an_unexpected_error_reveals_no_details(
    client: FlaskClient, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error is a 500 without a traceback; the log has the traceback."""
    worker.fails_with(RuntimeError("secret detail"))
    answer = post(client)
    assert (answer.status_code, error_of(answer)["code"]) == (500, "internal_error")
    assert b"secret" not in answer.data
    assert b"Traceback" not in answer.data
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"content_type": "text/plain"}, 415),
        ({"content_type": ""}, 415),
        ({"body": b"x" * (1024 * 1024 + 64 * 1024 + 1)}, 413),
    ],
)
def test_an_invalid_delivery_is_refused(
    client: FlaskClient, worker: ScriptedWorker, options: dict[str, Any], status: int
) -> None:
    """A delivery that is not JSON, or larger than a task can be, does not reach the worker."""
    answer = post(client, **options)
    assert (answer.status_code, worker.bodies) == (status, [])
    assert error_of(answer)["message"]


def test_the_largest_task_is_taken(client: FlaskClient, worker: ScriptedWorker) -> None:
    """A body of one MiB, the limit of a task, is accepted."""
    assert post(client, b"x" * 1024 * 1024).status_code == 200
    assert len(worker.bodies[0]) == 1024 * 1024


@pytest.mark.parametrize(
    ("error", "status", "challenge"),
    [
        (Unauthenticated("the token cannot be read"), 401, "Bearer"),
        (Forbidden("the token belongs to another account"), 403, None),
        (CertificatesUnavailable("no answer"), 503, None),
    ],
)
def test_a_rejected_request_gets_the_reason(
    worker: ScriptedWorker, engine: Engine, caplog: pytest.LogCaptureFixture, error: Any, status: int,
    challenge: str | None,
) -> None:  # fmt: skip
    """An invalid token is a 401, one of another account a 403, and unavailable certificates are a 503."""

    def refuse(authorization: str | None) -> None:
        assert authorization == "Bearer a-token"
        raise error

    client = client_of(WorkerRuntime(lambda: OpenRuntime(engine, worker)), refuse)
    headers = {"Authorization": "Bearer a-token", "X-CloudTasks-TaskName": "forged-name"}
    answer = post(client, headers=headers)
    assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (status, challenge)
    assert (error_of(answer)["message"], worker.bodies) == (error.message, [])
    assert error.message in caplog.text
    assert "a-token" not in caplog.text
    assert "forged-name" not in caplog.text


EMULATOR = {"CLOUD_TASKS_EMULATOR_HOST": "localhost:8123", "TENXSOM_TOKEN_CERTS_URL": "http://localhost:1/certs"}
BOTH = {"CLOUD_TASKS_SERVICE_ACCOUNT": "flow@p.iam.gserviceaccount.com", "CLOUD_TASKS_AUDIENCE": "https://w.test"}


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, ["CLOUD_TASKS_SERVICE_ACCOUNT", "CLOUD_TASKS_AUDIENCE", "CLOUD_TASKS_WORKER_URL"]),
        ({"CLOUD_TASKS_AUDIENCE": "https://w.test"}, ["CLOUD_TASKS_SERVICE_ACCOUNT"]),
        ({"CLOUD_TASKS_WORKER_URL": "https://w.test"}, ["CLOUD_TASKS_SERVICE_ACCOUNT"]),
        ({"CLOUD_TASKS_SERVICE_ACCOUNT": "flow@p.test"}, ["CLOUD_TASKS_AUDIENCE"]),
        ({"TENXSOM_ALLOW_UNAUTHENTICATED": "false"} | EMULATOR, ["CLOUD_TASKS_SERVICE_ACCOUNT"]),
    ],
)
def test_deliveries_are_rejected_until_the_account_is_set(
    worker: ScriptedWorker, engine: Engine, tmp_path: Path, environment: dict[str, str], named: list[str]
) -> None:
    """Until account and audience are both set, every delivery is a 403 that names the missing variables."""
    access = open_access(load({"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path)} | environment))
    client = client_of(WorkerRuntime(lambda: OpenRuntime(engine, worker)), access)
    for headers in ({}, {"Authorization": "Bearer x"}, {"X-Forwarded-For": "127.0.0.1"}):
        answer = post(client, headers=headers)
        assert (answer.status_code, worker.bodies) == (403, [])
        body = error_of(answer)
        assert all(name in body["message"] for name in named)
        assert "TENXSOM_ALLOW_UNAUTHENTICATED" in body["next_step"]


def test_authentication_can_be_disabled() -> None:
    """With TENXSOM_ALLOW_UNAUTHENTICATED=true deliveries need no token, and the worker logs a warning."""
    settings = load({"TENXSOM_ALLOW_UNAUTHENTICATED": "true"})
    open_access(settings)(None)
    assert "without authentication" in advice(settings)
    assert not advice(load(BOTH))
    assert "CLOUD_TASKS_AUDIENCE" in advice(load({"CLOUD_TASKS_SERVICE_ACCOUNT": "flow@p.test"}))


def test_other_certificates_than_googles_need_an_emulator() -> None:
    """Setting the address of the certificates without an emulator is an error."""
    with pytest.raises(ConfigurationError, match="TENXSOM_TOKEN_CERTS_URL"):
        open_access(load(BOTH | {"TENXSOM_TOKEN_CERTS_URL": "http://localhost:1/certs"}))
    with pytest.raises(CertificatesUnavailable, match="http://localhost:1/certs"):
        open_access(load(BOTH | EMULATOR))("Bearer eyJraWQiOiAiayJ9.e30.eA")


def test_the_number_of_concurrent_steps_is_limited(worker: ScriptedWorker, engine: Engine) -> None:
    """A process at its limit of steps rejects a delivery immediately, and still answers other requests."""
    begun, released = threading.Semaphore(0), threading.Event()

    def stalled() -> Delivered:
        begun.release()
        assert released.wait(STUCK)
        return DONE

    worker.act = stalled
    client = client_of(WorkerRuntime(lambda: OpenRuntime(engine, worker)))
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(post(client.application.test_client()).status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
        assert begun.acquire(timeout=STUCK)
    answer = post(client)
    assert (answer.status_code, error_of(answer)["code"], answer.headers["Retry-After"]) == (429, "worker_busy", "1")
    assert client.get("/health").status_code == 200
    released.set()
    for thread in threads:
        thread.join(STUCK)
    assert answers == [200, 200]
    worker.fails_with(StoreUnavailable("the store is locked"))
    assert [post(client).status_code for _ in range(3)] == [503] * 3  # a failed step frees its place
    worker.act = lambda: DONE
    assert post(client).status_code == 200


def test_unknown_paths_and_methods_are_json_errors(client: FlaskClient) -> None:
    """An unknown path or method is a JSON error, without a redirect."""
    lost = client.get("/nowhere")
    assert (lost.status_code, error_of(lost)["code"]) == (404, "not_found")
    assert client.post("/process/").status_code == 404
    wrong = client.get("/process")
    assert (wrong.status_code, error_of(wrong)["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]


def test_an_unknown_address_is_a_page_in_a_browser(client: FlaskClient) -> None:
    """A browser gets errors as pages, also where no page is; other clients get JSON."""
    for path, status in (("/nowhere", 404), ("/process", 405)):
        page = client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert (page.status_code, page.mimetype) == (status, "text/html")
        assert "Back to overview" in page.text
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert error_of(client.get(path, headers={"Accept": "*/*"}))


@pytest.mark.parametrize(
    "path", ["/health", "/stats", "/metrics", "/ready", "/nowhere", "/process", "/", "/login", "//"]
)
def test_every_response_forbids_browsers_to_guess_and_to_load(client: FlaskClient, path: str) -> None:
    """Every response, also of an error, has a content policy and forbids to guess its type."""
    for method in ("GET", "POST", "PUT"):
        answer = client.open(path, method=method)
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "a b", "[::1", "127.0.0.1.nip.io"]
)
def test_a_foreign_domain_reads_nothing(client: FlaskClient, host: str) -> None:
    """A request for a domain that is not ours gets nothing but `/health`: it can come from a hostile page."""
    for path in ("/stats", "/metrics", "/ready", "/", "/login", "/nowhere"):
        answer = client.get(path, headers={"Host": host})
        assert (answer.status_code, error_of(answer)["code"]) == (421, "unknown_host")
        assert "TENXSOM_ALLOWED_HOSTS" in error_of(answer)["next_step"]
    assert client.get("/health", headers={"Host": host}).status_code == 200
    assert client.post("/process", json={}, headers={"Host": host}).status_code == 200


def unavailable() -> OpenRuntime:
    raise StoreUnavailable("the Redis server cache.internal:6379 does not answer", next_step="start it")


def test_health_does_not_depend_on_the_store(worker: ScriptedWorker) -> None:
    """`/health` is a 200 even if the store is unavailable, because a restart would not help."""
    answer = client_of(WorkerRuntime(unavailable)).get("/health")
    body = answer.get_json()
    assert (answer.status_code, body["status"], body["queue_type"]) == (200, "ok", "cloud_tasks")
    assert body["version"] == __version__
    assert body["uptime_seconds"] >= 0


def test_an_unavailable_store_is_reported_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    """`/stats` and deliveries are a 503 while the store is unavailable; only the log has its address."""
    client = client_of(WorkerRuntime(unavailable))
    numbers = client.get("/stats")
    assert (numbers.status_code, error_of(numbers)["code"]) == (503, "store_unavailable")
    assert b"cache.internal" not in numbers.data
    assert post(client).status_code == 503
    assert "cache.internal" in caplog.text


def test_stats_come_from_the_store(client: FlaskClient, engine: Engine) -> None:
    """`/stats` has the stored jobs by status, the queue's state and its limits."""
    engine.store.add("local", new("a", "b"))
    engine.store.add("local", new("c", due=engine.store.now() + 60))
    engine.queue.pause()
    body = client.get("/stats").get_json()
    assert {name: number for name, number in body["jobs"].items() if number} == {"queued": 2, "scheduled": 1}
    assert (body["unfinished"], body["oldest_due_seconds"]) == (3, 0.0)
    assert body["queue"]["state"] == "PAUSED"
    assert body["queue"]["rate_limits"]["max_dispatches_per_second"] == 10
    assert str(engine.settings.home) not in str(body)


def test_a_ready_worker_lists_its_checks(client: FlaskClient, engine: Engine) -> None:
    """`/ready` is a 200 with the result of each check; a paused service makes it degraded."""
    engine.settings.work_dir.mkdir(parents=True, exist_ok=True)
    answer = client.get("/ready")
    body = answer.get_json()
    assert (answer.status_code, body["status"], body["verdicts"]) == (200, "ready", [])
    assert body["checks"] == {name: {"ok": True} for name in ("store", "output_folder", "accepting")}
    engine.limiter.pause("pixverse", "by secret-1")
    answer = client.get("/ready")
    body = answer.get_json()
    assert (answer.status_code, body["status"]) == (200, "degraded")
    assert [one["code"] for one in body["verdicts"]] == ["service-paused"]
    assert b"secret-1" not in answer.data


@pytest.mark.parametrize("broken", ["store", "output_folder", "accepting"])
def test_a_worker_that_is_not_ready_has_a_reason(
    worker: ScriptedWorker, engine: Engine, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`/ready` is a 503 if the store is unavailable, videos cannot be written or the worker stops; the log says why."""
    runtime = WorkerRuntime(unavailable if broken == "store" else lambda: OpenRuntime(engine, worker))
    if broken == "output_folder":
        engine.settings.work_dir.parent.mkdir(parents=True, exist_ok=True)
        engine.settings.work_dir.write_text("a file in its place")
    if broken == "accepting":
        runtime.stop()
    answer = client_of(runtime).get("/ready")
    body = answer.get_json()
    assert (answer.status_code, body["status"]) == (503, "unavailable")
    wrong = {name: check["code"] for name, check in body["checks"].items() if not check["ok"]}
    assert wrong[broken] == {"store": "store_unavailable", "output_folder": "output", "accepting": "stopping"}[broken]
    assert b"cache.internal" not in answer.data
    assert str(engine.settings.work_dir).encode() not in answer.data
    assert broken == "accepting" or "is not ready" in caplog.text


def test_metrics_follow_the_conventions(client: FlaskClient, engine: Engine) -> None:
    """`/metrics` follows Prometheus's conventions for names and units, and no label contains a job or topic."""
    engine.store.add("local", new("secret-job", topic="secret topic", service="draft"))
    for number in range(3):
        finish(engine, f"secret-{number}")
    text = client.get("/metrics").get_data(as_text=True)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert "secret" not in text
    assert all(name.startswith("tenxsom_") for name in families)
    samples = {(s.name, *sorted(s.labels.values())): s.value for family in families.values() for s in family.samples}
    assert samples["tenxsom_jobs", "queued"] == 1
    assert samples["tenxsom_jobs", "succeeded"] == samples["tenxsom_jobs_ended_total", "draft", "succeeded"] == 3
    assert samples["tenxsom_purchases_total", "draft"] == 3
    assert samples["tenxsom_video_seconds_count", "draft"] == 3
    assert samples["tenxsom_video_seconds_bucket", "+Inf", "draft"] == 3
    assert samples["tenxsom_queue_state", "RUNNING"] == 1
    for family in families.values():
        assert family.documentation.endswith(".")
        assert family.type == "counter" or not family.name.endswith("_total")
        assert not {"job", "job_id", "topic"} & {label for s in family.samples for label in s.labels}
    buckets = [
        value for key, value in samples.items() if key[0] == "tenxsom_video_seconds_bucket" and key[1] == "draft"
    ]
    assert buckets == sorted(buckets)


def finish(engine: Engine, name: str) -> None:
    """Add a job and finish it."""
    engine.store.add("local", new(name, service="draft"))
    record = engine.store.claim(a_claim(only=name, slots={"draft": 9})).records[0]
    engine.store.intend(
        name, record.lease_token, Intent(submission_id=name, service="draft", lifetime=9.0, max_in_flight=9)
    )
    engine.store.accept(name, Receipt(submission_id=name, ticket=TICKET, lifetime=9.0))
    engine.store.settle(name, record.lease_token, Done(VIDEO))


def test_stats_contain_no_texts(client: FlaskClient, engine: Engine) -> None:
    """`/stats` has only numbers, states and codes: no text from a service or a person, and no path."""
    engine.limiter.pause("pixverse", "secret-1")
    assert isinstance(engine.store, ScriptedStore)
    engine.store.warn("secret-2")
    engine.store.add("local", new("secret-3", service="draft"))
    record = engine.store.claim(a_claim(slots={"draft": 9})).records[0]
    engine.store.settle("secret-3", record.lease_token, Dead(Failure("rejected", "secret-4")))
    answer = client.get("/stats")
    body = answer.get_json()
    assert body["schema"] == 1
    assert body["services"]["draft"]["last_error"]["code"] == "rejected"
    assert body["today"]["failed"] == body["last_24_hours"]["failed"] == 1
    assert len(body["last_24_hours"]["hours"]) == 24
    assert {one["code"] for one in body["verdicts"]} == {"service-paused", "store-at-risk"}
    assert "secret" not in answer.get_data(as_text=True)
    assert str(engine.settings.home) not in answer.get_data(as_text=True)


def test_an_unavailable_queue_does_not_hide_the_stats(client: FlaskClient, engine: Engine, script: Script) -> None:
    """If the queue backend is unavailable, `/stats` still has the store's numbers, and does not call it each time."""
    calls = []

    def status(real: Callable[[], QueueStatus]) -> QueueStatus:
        calls.append(1)
        raise QueueUnavailable("reading the queue failed")

    script.instead["status"] = status
    engine.store.add("local", new("a"))
    for _ in range(3):
        body = client.get("/stats").get_json()
        assert (body["jobs"]["queued"], body["queue"]) == (1, {"queue_type": "local", "state": "UNKNOWN"})
    assert calls == [1]


def test_only_one_request_waits_for_a_slow_queue(tmp_path: Path, worker: ScriptedWorker, script: Script) -> None:
    """While one request refreshes the queue's state, other requests get the cached state."""
    settings = load({"TENXSOM_HOME": str(tmp_path)})
    always = Overrides(timings=Timings(queue_state_age=0.0))
    with open_scripted(settings, ManualClock(), script, overrides=always) as engine:
        check_that_one_request_waits(client_of(WorkerRuntime(lambda: OpenRuntime(engine, worker))), script)


def check_that_one_request_waits(client: FlaskClient, script: Script) -> None:
    assert client.get("/stats").get_json()["queue"]["state"] == "RUNNING"
    begun, released = threading.Event(), threading.Event()

    def status(real: Callable[[], QueueStatus]) -> QueueStatus:
        begun.set()
        assert released.wait(STUCK)
        raise QueueUnavailable("reading the queue failed")

    script.instead["status"] = status
    answers: list[str] = []

    def ask() -> None:
        answers.append(client.application.test_client().get("/stats").get_json()["queue"]["state"])

    first, second = threading.Thread(target=ask), threading.Thread(target=ask)
    first.start()
    assert begun.wait(STUCK)
    second.start()
    second.join(STUCK / 6)
    early = list(answers)
    released.set()
    first.join(STUCK)
    second.join(STUCK)
    assert early == ["RUNNING"]
    assert answers == ["RUNNING", "UNKNOWN"]


class Openings:
    """Opens a runtime, or fails while `error` is set."""

    def __init__(self, engine: Engine, worker: ScriptedWorker) -> None:
        self.opened = OpenRuntime(engine, worker)
        self.count = 0
        self.error: Exception | None = None

    def __call__(self) -> OpenRuntime:
        self.count += 1
        if self.error:
            raise self.error
        return self.opened


def test_the_engine_is_opened_once_at_first_use(engine: Engine, worker: ScriptedWorker) -> None:
    """Concurrent first requests open one engine; before them, none is open."""
    openings = Openings(engine, worker)
    client = client_of(WorkerRuntime(openings), concurrency=8)
    assert client.get("/health").status_code == 200
    assert openings.count == 0
    threads = [threading.Thread(target=lambda: post(client.application.test_client())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(STUCK)
    assert (openings.count, len(worker.bodies)) == (1, 8)


def test_a_worker_waits_for_its_store(engine: Engine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture) -> None:
    """If the store is unavailable at startup, the worker keeps trying; other errors end the startup."""
    caplog.set_level(logging.INFO)
    openings = Openings(engine, worker)
    openings.error = ConfigurationError("no project is set")
    with pytest.raises(ConfigurationError):
        WorkerRuntime(openings).start()
    openings.error = StoreUnavailable("no answer")
    runtime = WorkerRuntime(openings, retry_seconds=0.01)
    runtime.start()
    while openings.count < 4:
        threading.Event().wait(0.005)
    openings.error = None
    while "the store is available again" not in caplog.text:
        threading.Event().wait(0.005)
    runtime.close()
    assert worker.started
    assert worker.closed


def test_unfinished_steps_keep_the_store_open(engine: Engine, worker: ScriptedWorker) -> None:
    """Closing with running steps leaves the store open for their threads; otherwise it is closed."""
    runtime = WorkerRuntime(lambda: OpenRuntime(engine, worker))
    runtime.get()
    worker.active_steps = 1
    runtime.stop()
    assert not runtime.close()
    assert runtime.close()
    assert (worker.stops, worker.closed) == (1, True)
    assert engine.store.status_counts().unfinished == 0
    runtime = WorkerRuntime(lambda: OpenRuntime(engine, worker))
    runtime.get()
    worker.active_steps = 0
    assert runtime.close()
    with pytest.raises(StoreUnavailable):
        engine.store.status_counts()


def test_the_lines_of_a_request_have_its_trace(tmp_path: Path) -> None:
    """What a worker logs about a delivery belongs to the request's trace in Cloud Logging."""
    settings = load({
        "TENXSOM_HOME": str(tmp_path), "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:9", "GOOGLE_CLOUD_PROJECT": "p-1",
        "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9", "TENXSOM_ALLOW_UNAUTHENTICATED": "true", "REDIS_PORT": "1",
    })  # fmt: skip
    stream = io.StringIO()
    logger, written = logging.getLogger("tenxsom_flow_engine"), handler(stream)
    application = Application(settings)
    logger.addHandler(written)
    try:
        trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        answer = Client(application).post("/process", data=b"{", content_type="application/json", headers=trace)
        assert answer.status_code == 400
    finally:
        logger.removeHandler(written)
        application.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line for line in lines if line.get("logging.googleapis.com/trace") == f"projects/p-1/traces/{'a' * 32}"]
