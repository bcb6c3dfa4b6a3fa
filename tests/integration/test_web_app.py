"""The routes of the worker: which answer means what, and what is never in one."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

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
from tenxsom_flow_engine.queues.base import QueueStatus
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import StoreAdvice
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import TICKET, VIDEO, a_claim, new
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.web import server
from tenxsom_flow_engine.web.app import worker_app
from tenxsom_flow_engine.web.auth import Access, advice, anybody, open_access
from tenxsom_flow_engine.web.runtime import OpenRuntime, WorkerRuntime
from tenxsom_flow_engine.web.server_log import ServerLog
from tenxsom_flow_engine.workers.push import Delivered
from tests.scripted_parts import Script, open_scripted

STUCK = 60.0
DONE = Delivered("job-1", worked=True, status=Status.RENDERING, detail="bought")


class ScriptedWorker:
    """Does with each delivery what a test says."""

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
    """What happens instead of some calls of the engine's queue and store."""
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


def test_a_delivery_is_answered_with_what_became_of_it(client: FlaskClient, worker: ScriptedWorker) -> None:
    """A step that was taken is a 200 that says in small JSON how the job stands."""
    answer = post(client, b'{"v": 1}')
    assert (answer.status_code, worker.bodies) == (200, [b'{"v": 1}'])
    assert answer.get_json() == {"job": "job-1", "worked": True, "status": "rendering", "detail": "bought"}


@pytest.mark.parametrize(
    ("tries", "answered", "previous_attempt_unanswered"),
    [("0", "0", False), ("3", "3", False), ("3", "2", True), ("1", "0", True), ("", "", False), ("x", "0", False),
     ("9" * 5000, "0", True), (None, None, False)],
)  # fmt: skip
def test_a_try_that_ended_unheard_is_told(
    client: FlaskClient,
    worker: ScriptedWorker,
    tries: str | None,
    answered: str | None,
    previous_attempt_unanswered: bool,
) -> None:
    """The worker learns from Cloud Tasks' counts whether an earlier try ended in a 5xx or without an answer."""
    counts = {"X-CloudTasks-TaskRetryCount": tries, "X-CloudTasks-TaskExecutionCount": answered}
    post(client, headers={name: count for name, count in counts.items() if count is not None})
    assert worker.previous_attempt_unanswered == [previous_attempt_unanswered]


@pytest.mark.parametrize("status", [Status.FAILED, Status.HELD, None])
def test_a_jobs_own_failure_is_no_failure_of_the_delivery(
    client: FlaskClient, worker: ScriptedWorker, status: Status | None
) -> None:
    """A dead or held job is a 200, so it slows the queue for nobody."""
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
def test_what_this_worker_cannot_do_comes_again(
    client: FlaskClient, worker: ScriptedWorker, error: Any, status: int, retry_after: str | None
) -> None:
    """Only what would meet every delivery alike slows down the whole queue: a store that is away."""
    worker.fails_with(error)
    answer = post(client)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry_after)
    told = error_of(answer)
    assert (told["code"], told["message"], told.get("next_step", "")) == (error.code, error.message, error.next_step)


def test_a_defect_tells_nothing_of_the_code(
    client: FlaskClient, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of our own is a 500 without a trace of where it arose; the trace is in the log."""
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
def test_what_is_no_delivery_is_refused_unread(
    client: FlaskClient, worker: ScriptedWorker, options: dict[str, Any], status: int
) -> None:
    """Deliveries are JSON, and no larger than Cloud Tasks makes them."""
    answer = post(client, **options)
    assert (answer.status_code, worker.bodies) == (status, [])
    assert error_of(answer)["message"]


def test_the_largest_task_is_taken(client: FlaskClient, worker: ScriptedWorker) -> None:
    """A body of one MiB, more than any task holds, is read whole."""
    assert post(client, b"x" * 1024 * 1024).status_code == 200
    assert len(worker.bodies[0]) == 1024 * 1024


@pytest.mark.parametrize(
    ("error", "status", "challenge"),
    [
        (Unauthenticated("the token cannot be read"), 401, "Bearer"),
        (Forbidden("the token is not one of ours"), 403, None),
        (CertificatesUnavailable("no answer"), 503, None),
    ],
)
def test_who_is_not_let_in_is_told_why(
    worker: ScriptedWorker, engine: Engine, caplog: pytest.LogCaptureFixture, error: Any, status: int,
    challenge: str | None,
) -> None:  # fmt: skip
    """Bad tokens are a 401, good ones of others a 403, and while nothing can be checked the task waits."""

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
def test_nobody_gets_in_before_it_is_set_who_may(
    worker: ScriptedWorker, engine: Engine, tmp_path: Path, environment: dict[str, str], named: list[str]
) -> None:
    """Until account and audience are both known every delivery is a 403 that names what is missing."""
    access = open_access(load({"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path)} | environment))
    client = client_of(WorkerRuntime(lambda: OpenRuntime(engine, worker)), access)
    for headers in ({}, {"Authorization": "Bearer x"}, {"X-Forwarded-For": "127.0.0.1"}):
        answer = post(client, headers=headers)
        assert (answer.status_code, worker.bodies) == (403, [])
        told = error_of(answer)
        assert all(name in told["message"] for name in named)
        assert "TENXSOM_ALLOW_UNAUTHENTICATED" in told["next_step"]


def test_anybody_gets_in_where_that_is_said() -> None:
    """With TENXSOM_ALLOW_UNAUTHENTICATED=true no token is asked for, and the worker's log says so."""
    settings = load({"TENXSOM_ALLOW_UNAUTHENTICATED": "true"})
    open_access(settings)(None)
    assert "anybody" in advice(settings)
    assert not advice(load(BOTH))
    assert "CLOUD_TASKS_AUDIENCE" in advice(load({"CLOUD_TASKS_SERVICE_ACCOUNT": "flow@p.test"}))


def test_other_certificates_than_googles_need_an_emulator() -> None:
    """An address of certificates that is set without an emulator is an error, since it says whose tokens open."""
    with pytest.raises(ConfigurationError, match="TENXSOM_TOKEN_CERTS_URL"):
        open_access(load(BOTH | {"TENXSOM_TOKEN_CERTS_URL": "http://localhost:1/certs"}))
    with pytest.raises(CertificatesUnavailable, match="http://localhost:1/certs"):
        open_access(load(BOTH | EMULATOR))("Bearer eyJraWQiOiAiayJ9.e30.eA")


def test_only_so_many_steps_at_once(worker: ScriptedWorker, engine: Engine) -> None:
    """A process that has all its steps in hand puts a delivery off at once, and answers other questions."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def stalled() -> Delivered:
        begun.release()
        assert go_on.wait(STUCK)
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
    go_on.set()
    for thread in threads:
        thread.join(STUCK)
    assert answers == [200, 200]
    worker.fails_with(StoreUnavailable("the store is locked"))
    assert [post(client).status_code for _ in range(3)] == [503] * 3  # a failed step frees its place
    worker.act = lambda: DONE
    assert post(client).status_code == 200


def test_other_ways_and_methods_are_told_in_json(client: FlaskClient) -> None:
    """What is not there, and what may not be done to it, is said in the same form, without a redirect."""
    lost = client.get("/nowhere")
    assert (lost.status_code, error_of(lost)["code"]) == (404, "not_found")
    assert client.post("/process/").status_code == 404
    wrong = client.get("/process")
    assert (wrong.status_code, error_of(wrong)["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]


def away() -> OpenRuntime:
    raise StoreUnavailable("the Redis server cache.internal:6379 does not answer", next_step="start it")


def test_a_live_worker_says_so_whatever_the_store_does(worker: ScriptedWorker) -> None:
    """`/health` touches nothing: a restart would not bring the store back."""
    answer = client_of(WorkerRuntime(away)).get("/health")
    told = answer.get_json()
    assert (answer.status_code, told["status"], told["queue_type"]) == (200, "ok", "cloud_tasks")
    assert told["version"] == __version__
    assert told["uptime_seconds"] >= 0


def test_a_store_that_is_away_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Deliveries wait and `/stats` says that the store is away, but not to everybody where it is."""
    client = client_of(WorkerRuntime(away))
    numbers = client.get("/stats")
    assert (numbers.status_code, error_of(numbers)["code"]) == (503, "store_unavailable")
    assert b"cache.internal" not in numbers.data
    assert post(client).status_code == 503
    assert "cache.internal" in caplog.text


def test_the_numbers_are_the_stores(client: FlaskClient, engine: Engine) -> None:
    """`/stats` tells the jobs by status, the queue's state and its limits, whoever wrote them."""
    engine.store.add("local", new("a", "b"))
    engine.store.add("local", new("c", due=engine.store.now() + 60))
    engine.queue.pause()
    told = client.get("/stats").get_json()
    assert {name: number for name, number in told["jobs"].items() if number} == {"queued": 2, "scheduled": 1}
    assert (told["unfinished"], told["oldest_due_seconds"]) == (3, 0.0)
    assert told["queue"]["state"] == "PAUSED"
    assert told["queue"]["rate_limits"]["max_dispatches_per_second"] == 10
    assert str(engine.settings.home) not in str(told)


def test_a_ready_worker_says_what_it_looked_at(client: FlaskClient, engine: Engine) -> None:
    """`/ready` is a 200 with the result of each check; a paused service or queue leaves it ready, but degraded."""
    engine.output.root.mkdir(parents=True, exist_ok=True)
    answer = client.get("/ready")
    told = answer.get_json()
    assert (answer.status_code, told["status"], told["verdicts"]) == (200, "ready", [])
    assert told["checks"] == {name: {"ok": True} for name in ("store", "output_folder", "accepting")}
    engine.limiter.pause("pixverse", "by secret-1")
    answer = client.get("/ready")
    told = answer.get_json()
    assert (answer.status_code, told["status"]) == (200, "degraded")
    assert [one["code"] for one in told["verdicts"]] == ["service-paused"]
    assert b"secret-1" not in answer.data


@pytest.mark.parametrize("broken", ["store", "output_folder", "accepting"])
def test_a_worker_that_is_not_ready_says_why(
    worker: ScriptedWorker, engine: Engine, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`/ready` is a 503 while the store is away, videos cannot be written, or the worker stops; the log says where."""
    parts = WorkerRuntime(away if broken == "store" else lambda: OpenRuntime(engine, worker))
    if broken == "output_folder":
        engine.settings.output_dir.parent.mkdir(parents=True, exist_ok=True)
        engine.settings.output_dir.write_text("a file in its place")
    if broken == "accepting":
        parts.stop()
    answer = client_of(parts).get("/ready")
    told = answer.get_json()
    assert (answer.status_code, told["status"]) == (503, "unavailable")
    wrong = {name: check["code"] for name, check in told["checks"].items() if not check["ok"]}
    assert wrong[broken] == {"store": "store_unavailable", "output_folder": "output", "accepting": "stopping"}[broken]
    assert b"cache.internal" not in answer.data
    assert str(engine.settings.output_dir).encode() not in answer.data
    assert broken == "accepting" or "is not ready" in caplog.text


def test_metrics_follow_the_conventions(client: FlaskClient, engine: Engine) -> None:
    """`/metrics` is text that Prometheus reads, with names and units as it advises, and no job or topic in a label."""
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
    """Have a video made."""
    engine.store.add("local", new(name, service="draft"))
    record = engine.store.claim(a_claim(only=name, slots={"draft": 9})).records[0]
    engine.store.intend(
        name, record.lease_token, Intent(submission_id=name, service="draft", lifetime=9.0, max_in_flight=9)
    )
    engine.store.accept(name, Receipt(submission_id=name, ticket=TICKET, lifetime=9.0))
    engine.store.settle(name, record.lease_token, Done(VIDEO))


def test_stats_hold_no_word_of_anybody(client: FlaskClient, engine: Engine) -> None:
    """What everybody may read has numbers, states and codes, never what a service or a person said, nor a path."""
    engine.limiter.pause("pixverse", "secret-1")
    engine.store.advice = StoreAdvice("secret-2")
    engine.store.add("local", new("secret-3", service="draft"))
    record = engine.store.claim(a_claim(slots={"draft": 9})).records[0]
    engine.store.settle("secret-3", record.lease_token, Dead(Failure("rejected", "secret-4")))
    answer = client.get("/stats")
    told = answer.get_json()
    assert told["schema"] == 1
    assert told["services"]["draft"]["last_error"]["code"] == "rejected"
    assert told["today"]["failed"] == told["last_24_hours"]["failed"] == 1
    assert len(told["last_24_hours"]["hours"]) == 24
    assert {one["code"] for one in told["verdicts"]} == {"service-paused", "store-at-risk"}
    assert "secret" not in answer.get_data(as_text=True)
    assert str(engine.settings.home) not in answer.get_data(as_text=True)


def test_a_queue_that_cannot_be_asked_hides_no_numbers(client: FlaskClient, engine: Engine, script: Script) -> None:
    """Where the queue backend is away, the store's numbers are told all the same; it is asked now and then, not each time."""
    asked = []

    def status(real: Callable[[], QueueStatus]) -> QueueStatus:
        asked.append(1)
        raise QueueUnavailable("reading the queue failed")

    script.instead["status"] = status
    engine.store.add("local", new("a"))
    for _ in range(3):
        told = client.get("/stats").get_json()
        assert (told["jobs"]["queued"], told["queue"]) == (1, {"queue_type": "local", "state": "UNKNOWN"})
    assert asked == [1]


def test_one_question_alone_waits_for_a_slow_queue(tmp_path: Path, worker: ScriptedWorker, script: Script) -> None:
    """While the queue's state is read again and takes its time, other requests get the state that was read before."""
    settings = load({"TENXSOM_HOME": str(tmp_path)})
    always = Overrides(timings=Timings(queue_state_age=0.0))
    with open_scripted(settings, ManualClock(), script, overrides=always) as engine:
        check_that_one_question_waits(client_of(WorkerRuntime(lambda: OpenRuntime(engine, worker))), script)


def check_that_one_question_waits(client: FlaskClient, script: Script) -> None:
    assert client.get("/stats").get_json()["queue"]["state"] == "RUNNING"
    begun, go_on = threading.Event(), threading.Event()

    def status(real: Callable[[], QueueStatus]) -> QueueStatus:
        begun.set()
        assert go_on.wait(STUCK)
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
    told = list(answers)
    go_on.set()
    first.join(STUCK)
    second.join(STUCK)
    assert told == ["RUNNING"]
    assert answers == ["RUNNING", "UNKNOWN"]


class Openings:
    """Opens parts, or fails as long as a test says."""

    def __init__(self, engine: Engine, worker: ScriptedWorker) -> None:
        self.opened = OpenRuntime(engine, worker)
        self.count = 0
        self.error: Exception | None = None

    def __call__(self) -> OpenRuntime:
        self.count += 1
        if self.error:
            raise self.error
        return self.opened


def test_parts_are_opened_once_at_first_use(engine: Engine, worker: ScriptedWorker) -> None:
    """However many requests come first at the same moment, one engine is opened; before them, none."""
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
    """A store that is away at the start is waited for, without a delivery; what else is wrong ends the start."""
    caplog.set_level(logging.INFO)
    openings = Openings(engine, worker)
    openings.error = ConfigurationError("no project is set")
    with pytest.raises(ConfigurationError):
        WorkerRuntime(openings).start()
    openings.error = StoreUnavailable("no answer")
    parts = WorkerRuntime(openings, retry_seconds=0.01)
    parts.start()
    while openings.count < 4:
        threading.Event().wait(0.005)
    openings.error = None
    while "the store is back" not in caplog.text:
        threading.Event().wait(0.005)
    parts.close()
    assert worker.started
    assert worker.closed


def test_unfinished_steps_keep_the_store_open(engine: Engine, worker: ScriptedWorker) -> None:
    """A firm stop hands back the steps in hand and leaves the store to their threads; otherwise it is closed."""
    parts = WorkerRuntime(lambda: OpenRuntime(engine, worker))
    parts.get()
    worker.active_steps = 1
    parts.stop()
    assert not parts.close()
    assert parts.close()
    assert (worker.stops, worker.closed) == (1, True)
    assert engine.store.status_counts().unfinished == 0
    parts = WorkerRuntime(lambda: OpenRuntime(engine, worker))
    parts.get()
    worker.active_steps = 0
    assert parts.close()
    with pytest.raises(StoreUnavailable):
        engine.store.status_counts()


def test_who_falls_silent_in_a_request_does_not_hold_a_thread_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that brings only a part of a request is given up after some seconds, without noise in the log."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.when_ready(SimpleNamespace(LISTENERS=[SimpleNamespace(sock=listener)]), silence=1)
        with socket.create_connection(listener.getsockname()) as theirs, listener.accept()[0] as ours:
            ours.setblocking(True)  # as gunicorn does
            theirs.sendall(b"GET / HTTP/1.1\r\nHos")
            assert ours.recv(99)
            with pytest.raises(BlockingIOError) as silence:
                ours.recv(99)
    log = object.__new__(ServerLog)  # its making would set up the log of this process
    log.error_log = logging.getLogger("gunicorn.error")
    caplog.set_level("INFO")
    try:
        raise silence.value
    except BlockingIOError:
        log.exception("Socket error processing request.")
    assert [(record.levelname, "did not come" in record.message) for record in caplog.records] == [("INFO", True)]
