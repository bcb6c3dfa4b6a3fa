"""The web worker as real processes: gunicorn, the Cloud Tasks API over gRPC, and a real store."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from grpc import StatusCode

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord, Status, SubmissionState, VideoJob
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.web.file_streaming import STREAMS
from tests.dashboard_client import TOKEN
from tests.ports import free_port

from .conftest import CLOCK_OFF, ROOT, Flow

ACCOUNT = "caller@project.iam.gserviceaccount.com"
#: Records the start (1) and end (-1) of each request in a worker process, by a clock that all processes share.
COUNTED = """
import os, time
from cloud_tasks_worker import app as worker

notes = os.open({notes!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

class Counted:
    start, abandon, close = worker.start, worker.abandon, worker.close

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] != "/process":
            return worker(environ, start_response)
        os.write(notes, b"%.6f 1\\n" % time.monotonic())
        try:
            return [b"".join(worker(environ, start_response))]
        finally:
            os.write(notes, b"%.6f -1\\n" % time.monotonic())

app = Counted()
"""


class Cloud:
    """A project with its queue, emulated here, and the web workers that receive the queue's tasks."""

    def __init__(self, flow: Flow, server: CloudTasksServer) -> None:
        self.flow = flow
        self.server = server
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        flow.environment |= {
            "GOOGLE_CLOUD_PROJECT": "project",
            "CLOUD_TASKS_EMULATOR_HOST": server.target,
            "TENXSOM_TOKEN_CERTS_URL": server.certs_url,
            "CLOUD_TASKS_WORKER_URL": self.url,
            "CLOUD_TASKS_SERVICE_ACCOUNT": ACCOUNT,
            "CLOUD_TASKS_MAX_DISPATCHES": "100",
            "CLOUD_TASKS_MAX_CONCURRENT": "5",
            "TENXSOM_QUEUE_TYPE": "cloud_tasks",
        }
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine of a producer; the first access opens it with the current settings and creates its queue."""
        if self._engine is None:
            self._engine = open_engine(load(self.flow.environment))
            self._engine.queue.create()  # type: ignore[attr-defined]
        return self._engine

    def add(self, count: int) -> None:
        """Add simulated jobs."""
        now = self.engine.store.now()
        jobs = [VideoJob(job_id=f"job-{n}", topic="x", service="simulated", created_at=now) for n in range(count)]
        self.engine.queue.enqueue([NewJob(job) for job in jobs])

    def gunicorn(self, *arguments: str, app: str = "cloud_tasks_worker:app", **env: str) -> subprocess.Popen[str]:
        """Start gunicorn with the project's configuration, and wait until it answers."""
        program = ["-m", "gunicorn", "-c", "gunicorn.conf.py", "-b", f"127.0.0.1:{self.port}", *arguments, app]
        return self._answering(self.flow._start(program, env, ROOT))

    def script(self, *, clock_ahead: float = 0.0, **env: str) -> subprocess.Popen[str]:
        """Start `cloud_tasks_worker.py`, and wait until it answers."""
        program = [str(ROOT / "cloud_tasks_worker.py"), "--port", str(self.port)]
        before = ["-c", CLOCK_OFF, str(clock_ahead)] if clock_ahead else []
        return self._answering(self.flow._start([*before, *program], env))

    def _answering(self, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        def answers() -> bool:
            assert process.poll() is None, self.flow.log()
            try:
                return bool(self.get("/health")["status"] == "ok")
            except OSError:
                return False

        self.flow.until(answers, "the worker's answer")
        return process

    def get(self, path: str) -> Any:
        """GET a path of the worker and return the JSON."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def post(self, token: str | None, body: bytes = b"{}") -> tuple[int, Any]:
        """POST to `/process`; return status and JSON."""
        headers = {"Content-Type": "application/json", "X-CloudTasks-QueueName": "q", "X-Forwarded-For": "127.0.0.1"}
        headers |= {"Authorization": f"Bearer {token}"} if token is not None else {}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{self.url}/process", body, headers)) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def record(self, number: int = 0) -> JobRecord:
        """Read a job's record."""
        return self.engine.store.require(f"job-{number}")

    def has_made(self, count: int) -> bool:
        """Return whether at least `count` videos are made."""
        return self.engine.store.status_counts("cloud_tasks").by_status[Status.SUCCEEDED] >= count

    def made(self, count: int) -> None:
        """Wait until `count` videos are made, and assert that each was bought once."""
        self.flow.until(partial(self.has_made, count), f"{count} videos")
        bought = Counter(line.rsplit("/", 1)[1].split(".")[0] for line in self.flow.sold())
        assert bought == Counter({f"job-{n}": 1 for n in range(count)})

    def answers(self) -> set[int | None]:
        """Return the statuses of all finished deliveries."""
        return {delivery.status for delivery in self.server.deliveries}

    def close(self) -> None:
        """Close the engine."""
        if self._engine is not None:
            self._engine.close()


@pytest.fixture
def cloud(flow: Flow) -> Iterator[Cloud]:
    with CloudTasksServer() as server:
        cloud = Cloud(flow, server)
        yield cloud
        cloud.close()
        flow.close()


@pytest.fixture(params=["sqlite", "redis"])
def on_either(request: pytest.FixtureRequest, cloud: Cloud) -> Cloud:
    """The same project with each store."""
    if request.param == "redis":
        request.getfixturevalue("on_redis")
    return cloud


def test_the_limits_hold_over_all_processes(on_either: Cloud, tmp_path: Path) -> None:
    """With two processes every video is made once, and concurrent steps never exceed the queue's limit."""
    cloud = on_either
    cloud.flow.environment["CLOUD_TASKS_MAX_DISPATCHES"] = "40"
    (tmp_path / "counted.py").write_text(COUNTED.format(notes=str(tmp_path / "notes")))
    cloud.gunicorn(
        "-w", "2", "--preload", "--pythonpath", str(tmp_path), app="counted:app", TENXSOM_SIMULATED="latency=0.2"
    )
    cloud.add(30)
    cloud.made(30)
    notes = sorted(tuple(map(float, line.split())) for line in (tmp_path / "notes").read_text().splitlines())
    running = most = 0
    for _, change in notes:
        running += int(change)
        most = max(most, running)
    # The response of the last step might still be under way.
    assert sum(change > 0 for _, change in notes) >= 3 * 30
    assert 2 <= most <= 5
    dispatched = sorted(delivery.at for delivery in cloud.server.deliveries)
    burst = 40 / 5
    for first, at in enumerate(dispatched):
        assert sum(at <= other < at + 1 for other in dispatched[first:]) <= 40 + burst
    assert cloud.answers() == {200}
    # Every process reports the same.
    answers = {json.dumps(cloud.get("/stats")["jobs"]) for _ in range(12)}
    assert [json.loads(jobs)["succeeded"] for jobs in answers] == [30]


@pytest.mark.usefixtures("on_redis")
def test_every_process_reports_the_same(cloud: Cloud) -> None:
    """Two web worker processes, a pull worker and the `stats` command report the same numbers."""
    cloud.flow.environment["TENXSOM_SIMULATED"] = "latency=0"
    cloud.gunicorn("-w", "2")
    cloud.flow.worker("--queue-type", "redis")
    cloud.add(6)
    single = ["single", "--topic", "x", "--service", "simulated", "--queue-type", "redis"]
    assert cloud.flow.run(*single).returncode == 0
    store = cloud.engine.store
    cloud.flow.until(lambda: store.status_counts().by_status[Status.SUCCEEDED] == 7, "7 videos")

    def alike() -> bool:
        # Heartbeats report the last steps a moment later.
        reports = [without_times(cloud.get("/stats")) for _ in range(6)]
        reports.append(without_times(cloud.flow.json("stats")))
        return all(one == reports[0] for one in reports) and reports[0]["workers"]["alive"] == 3

    cloud.flow.until(alike, "equal numbers everywhere")
    stats = cloud.get("/stats")
    assert (stats["jobs"]["succeeded"], stats["unfinished"], stats["last_24_hours"]["success_rate"]) == (7, 0, 1.0)
    assert stats["services"]["simulated"]["last_24_hours"]["succeeded"] == 7
    # gunicorn's own log lines have the same format.
    lines = [json.loads(line) for line in cloud.flow.log().splitlines()]
    assert {"Booting worker", "submit of job-0"} <= {line["message"][:n] for line in lines for n in (14, 15)}


def without_times(stats: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers without those that depend on the time of the request, or that only operators see."""
    times = ("uptime_seconds", "seen_seconds_ago")
    workers = {name: value for name, value in stats["workers"].items() if name not in times}
    return stats | {"at": "", "workers": workers, "disk": {}, "channels": []}


def test_killed_workers_lose_no_job_and_buy_nothing_twice(on_either: Cloud) -> None:
    """The whole server is killed with SIGKILL during steps, twice: each job is made and bought once."""
    cloud = on_either
    plan = {"TENXSOM_SIMULATED": "latency=0.3 create_latency=0.05 idempotent=1"}
    cloud.add(20)
    for goal in (1, 8):
        worker = cloud.gunicorn(**plan)
        cloud.flow.until(partial(cloud.has_made, goal), f"{goal} videos")
        cloud.flow.kill(worker)
    cloud.gunicorn(**plan)
    cloud.made(20)


def test_faults_of_deliveries_are_harmless(on_either: Cloud) -> None:
    """Repeated, late and reordered deliveries, and refused or unacknowledged tasks, still make each video once."""
    cloud = on_either
    cloud.add(20)
    faults = cloud.server.faults
    faults.shuffle = random.Random(7)
    faults.deliver_twice(20)
    faults.miss_answers(10)
    faults.refuse("CreateTask", StatusCode.PERMISSION_DENIED, times=5)
    faults.lose_answer("CreateTask", times=5)
    cloud.gunicorn(TENXSOM_SIMULATED="latency=0.2")
    cloud.made(20)
    assert 500 in cloud.answers()


@pytest.mark.parametrize("start", ["gunicorn", "script", "script on a closed terminal"])
def test_a_graceful_stop_completes_a_create(cloud: Cloud, start: str) -> None:
    """After a signal during a paid create, the create completes, its ticket is saved, and the delivery is answered."""
    cloud.add(1)
    worker = getattr(cloud, start.split()[0])(TENXSOM_SIMULATED="create_latency=1 latency=600")
    cloud.flow.until(lambda: cloud.record().submission.id, "the create")
    if start.endswith("terminal"):
        os.killpg(worker.pid, signal.SIGHUP)
    else:
        worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert cloud.record().submission.state is SubmissionState.ACCEPTED
    assert len(cloud.flow.sold()) == 1
    cloud.server.wait_until(lambda: bool(cloud.server.deliveries), "the recorded answer")
    assert 200 in cloud.answers()


def test_a_second_interrupt_releases_the_jobs(cloud: Cloud) -> None:
    """A second Ctrl-C ends the worker immediately; the job is queued again and keeps the intent of its create."""
    cloud.add(1)
    worker = cloud.script(TENXSOM_SIMULATED="create_latency=600", TENXSOM_LEASE_SECONDS="600")
    cloud.flow.until(lambda: cloud.record().submission.id, "the create")
    worker.send_signal(signal.SIGINT)
    cloud.flow.until(lambda: "Handling signal: int" in cloud.flow.log(), "the first signal's arrival")
    assert cloud.record().lease is not None
    worker.send_signal(signal.SIGINT)
    worker.wait()
    record = cloud.record()
    assert (record.status, record.lease, record.submission.state) == (Status.QUEUED, None, "intent")
    assert record.due is not None


def test_a_worker_with_an_empty_store_continues_a_paid_job(cloud: Cloud, tmp_path: Path) -> None:
    """If the store is lost during a render, the next delivery has the ticket, and nothing is bought again."""
    cloud.add(1)
    worker = cloud.script(TENXSOM_SIMULATED="latency=2")
    cloud.flow.until(lambda: 200 in cloud.answers(), "the first step's end")
    assert cloud.record().submission.ticket
    cloud.flow.kill(worker)
    other = tmp_path / "other"
    cloud.script(TENXSOM_HOME=str(other), TENXSOM_OUTPUT_DIR=str(other / "videos"))
    with open_engine(load(cloud.flow.environment | {"TENXSOM_HOME": str(other)})) as engine:
        cloud.flow.until(lambda: engine.store.status_counts().by_status[Status.SUCCEEDED], "the video")
        record = engine.store.require("job-0")
    assert "adopted" in [event.what for event in record.events]
    assert record.submission.ticket == cloud.record().submission.ticket
    assert not (other / "simulated-ledger").exists()


def test_an_idle_worker_restores_lost_tasks(cloud: Cloud) -> None:
    """A paused queue delivers nothing; an idle worker recreates tasks that were purged outside the engine."""
    cloud.engine.queue.pause()
    cloud.add(5)
    client = cloud.server.client()
    queue = client.queue_path("project", "us-central1", "tenxsom-video-generation")
    worker = cloud.script(TENXSOM_SIMULATED="latency=0")
    assert cloud.get("/stats")["queue"]["state"] == "PAUSED"
    assert cloud.get("/stats")["jobs"]["queued"] == 5
    assert not cloud.server.deliveries
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    client.purge_queue(name=queue)
    assert not list(client.list_tasks(parent=queue))
    cloud.engine.queue.resume()
    # The worker's clock, which the embedded store uses, is ten minutes ahead.
    cloud.script(clock_ahead=600.0, TENXSOM_SIMULATED="latency=0")
    cloud.made(5)


def test_stalled_viewers_block_no_other_request(cloud: Cloud) -> None:
    """While the maximum number of viewers have stopped reading, the next one gets a 503, and other requests succeed."""
    cloud.gunicorn(TENXSOM_SIMULATED="latency=0", TENXSOM_ADMIN_TOKEN=TOKEN, TENXSOM_WORKER_CONCURRENCY="1")
    cloud.add(1)
    cloud.made(1)
    video = cloud.record().result
    assert video is not None
    os.truncate(video.path, 64 << 20)  # more than the socket buffers hold
    with requests.Session() as browser, ExitStack() as viewers:
        browser.post(f"{cloud.url}/login", {"token": TOKEN})
        at = f"{cloud.url}/jobs/job-0/video"
        stalled = [viewers.enter_context(browser.get(at, stream=True)) for _ in range(STREAMS)]
        assert [viewer.status_code for viewer in stalled] == [200] * STREAMS
        refused = browser.get(at)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert cloud.get("/health")["status"] == "ok"
        cloud.add(2)
        cloud.made(2)
        stalled[0].close()
        cloud.flow.until(lambda: browser.get(at, headers={"Range": "bytes=0-9"}).status_code == 206, "a free stream")


@pytest.mark.parametrize("start", ["gunicorn", "script"])
def test_bad_clients_make_no_other_wait(cloud: Cloud, start: str) -> None:
    """While clients drip requests, say nothing, or leave closed connections open, deliveries and `/health` continue."""
    limits = {"gunicorn": ["--worker-connections", "100"], "script": []}[start]
    getattr(cloud, start)(*limits, TENXSOM_SIMULATED="latency=0", TENXSOM_WORKER_CONCURRENCY="1")
    stop = threading.Event()
    begun = {
        b"": 120,
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Drip: ": 30,
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n": 30,
        b"POST /process HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n": 30,
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n": 30,
        b"NO REQUEST\r\n\r\n": 30,
    }
    with ExitStack() as connections:
        dripping = []
        for request, count in begun.items():
            for _ in range(count):
                client = connections.enter_context(socket.create_connection(("127.0.0.1", cloud.port)))
                client.sendall(request)
                dripping += [client] if request.endswith((b"9999\r\n\r\n", b": ")) else []

        def drip() -> None:
            while not stop.wait(1.0):
                for client in dripping:
                    with suppress(OSError):  # the server closed it
                        client.send(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            cloud.add(2)
            cloud.made(2)
            assert [cloud.get("/health")["status"] for _ in range(20)] == ["ok"] * 20
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("start", ["gunicorn", "script"])
def test_clients_that_pipeline_make_no_other_wait(cloud: Cloud, start: str) -> None:
    """Clients that send many requests and read nothing occupy no thread; an upload after requests gets its refusal."""
    getattr(cloud, start)(TENXSOM_SIMULATED="latency=0", TENXSOM_WORKER_CONCURRENCY="1", TENXSOM_ADMIN_TOKEN=TOKEN)
    asked = b"GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20_000
    with ExitStack() as connections:

        def connect() -> socket.socket:
            return connections.enter_context(socket.create_connection(("127.0.0.1", cloud.port), 60))

        for _ in range(40):
            client = connect()
            client.setblocking(False)
            with suppress(BlockingIOError):
                while asked:
                    client.send(asked)
        cloud.add(2)
        cloud.made(2)
        assert [cloud.get("/health")["status"] for _ in range(20)] == ["ok"] * 20
        client, length = connect(), 8 << 20
        upload = b"POST /process HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length
        health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        sending = threading.Thread(target=client.sendall, args=(health * 20 + upload + bytes(length),))
        sending.start()
        received = b""
        while more := client.recv(65536):
            received += more
        sending.join(60)
        statuses = re.findall(rb"HTTP/1\.[01] (\d+) ", received)
        assert statuses[:20] == [b"200"] * 20
        assert statuses[20:] in ([b"401"], [b"413"])


def test_only_valid_tokens_are_accepted(cloud: Cloud) -> None:
    """A missing, forged, unsigned, expired or misdirected token gets a 401; a token of another account gets a 403."""
    cloud.gunicorn()
    tokens = cloud.server.tokens
    refused = {
        "no token": (None, 401),
        "forged": (tokens.forge(ACCOUNT, cloud.url), 401),
        "forged, of an unknown key": (tokens.forge(ACCOUNT, cloud.url, known_key=False), 401),
        "unsigned": (tokens.unsigned(ACCOUNT, cloud.url), 401),
        "expired": (tokens.issue(ACCOUNT, cloud.url, age=3700), 401),
        "of a clock ahead": (tokens.issue(ACCOUNT, cloud.url, age=-60), 401),
        "of another issuer": (tokens.issue(ACCOUNT, cloud.url, iss="https://example.test"), 401),
        "for another audience": (tokens.issue(ACCOUNT, "https://example.test"), 401),
        "of another account": (tokens.issue("mallory@project.iam.gserviceaccount.com", cloud.url), 403),
        "of an unproved address": (tokens.issue(ACCOUNT, cloud.url, email_verified=False), 403),
    }
    assert {why: cloud.post(token)[0] for why, (token, _) in refused.items()} == {
        why: status for why, (_, status) in refused.items()
    }
    status, answer = cloud.post(tokens.issue(ACCOUNT, cloud.url))
    assert (status, answer["error"]["code"]) == (400, "invalid_input")
    log = cloud.flow.log()
    assert "401" in log
    assert "the token is not valid yet: check this machine's clock" in log
    assert not any(part in log for token, _ in refused.values() for part in (token or "").split(".") if len(part) > 20)


def test_three_commands_run_the_whole_path_on_a_laptop(flow: Flow, tmp_path: Path) -> None:
    """With the emulator's output as their settings, worker and producer make a video, with signed tokens."""
    port = free_port()
    settings = tmp_path / "emulator.env"
    with settings.open("w") as output:
        emulator = subprocess.Popen(
            [sys.executable, str(ROOT / "run_flow_enhanced.py"), "emulator", "--port", "0", "--queue", "videos",
             "--worker-url", f"http://127.0.0.1:{port}"],
            stdout=output, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    try:
        assert emulator.stderr is not None
        assert "serving" in emulator.stderr.readline()
        flow.environment |= {"TENXSOM_ENV_FILE": str(settings), "TENXSOM_SIMULATED": "latency=0"}
        worker = flow._start([str(ROOT / "cloud_tasks_worker.py"), "--port", str(port)], {})
        single = ["single", "--topic", "x", "--service", "simulated", "--queue-type", "cloud_tasks", "--wait"]
        done = flow.run(*single)
        assert done.returncode == 0, done.stderr + flow.log()
        assert Path(done.stdout.strip()).stat().st_size > 0
        worker.send_signal(signal.SIGTERM)
        assert worker.wait() == 0
    finally:
        emulator.kill()
        emulator.communicate()
