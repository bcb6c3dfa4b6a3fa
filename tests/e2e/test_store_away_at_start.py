"""Workers and the dashboard, started while their store is away."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.redis_server import RedisServer

from .conftest import ROOT, WAIT_SECONDS, Flow

SERVED = {
    "dashboard": ["run_flow_enhanced.py", "dashboard", "--port", "0"],
    "web worker": ["cloud_tasks_worker.py", "--port", "0"],
}
CLOUD = {
    "GOOGLE_CLOUD_PROJECT": "p", "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:1",
    "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:1", "CLOUD_TASKS_SERVICE_ACCOUNT": "a@p.iam.gserviceaccount.com",
}  # fmt: skip


@pytest.fixture
def server(flow: Flow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that is away until the test starts it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.kill()
    flow.environment["REDIS_URL"] = server.url
    yield server
    server.kill()


def test_a_worker_waits_for_its_store(flow: Flow, server: RedisServer) -> None:
    """A worker whose server is away waits for it, with one line in the log, and then makes videos."""
    worker = flow.worker(TENXSOM_SIMULATED="latency=0")
    flow.until(lambda: "waiting for the store" in flow.log(), "the wait")
    server.start()
    flow.until(lambda: "serves the redis queue" in flow.log(), "the worker's start")
    assert flow.log().count("waiting for the store") == 1
    flow.run("single", "--topic", "Tides", "--service", "simulated", "--job-id", "tides")
    flow.until(lambda: flow.json("show", "tides", "--json")["status"] == "succeeded", "the video")
    assert worker.poll() is None


def test_a_waiting_worker_can_be_stopped(flow: Flow, server: RedisServer) -> None:
    """SIGTERM ends a worker that waits for its store; a burst does not wait and exits with 5."""
    worker = flow.worker()
    flow.until(lambda: "waiting for the store" in flow.log(), "the wait")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(WAIT_SECONDS) == 0
    assert flow.worker("--burst").wait(WAIT_SECONDS) == 5


@pytest.mark.parametrize("program", SERVED)
def test_pages_wait_for_their_store(flow: Flow, server: RedisServer, program: str) -> None:
    """The dashboard and the web worker run without their store, are ready when it returns, and can be stopped."""
    script, *arguments = SERVED[program]
    process = flow._start([str(ROOT / script), *arguments], CLOUD if program == "web worker" else {})
    url = flow.until(lambda: re.search(r"Listening at: (http://[\d.:]+)", flow.log()), "the address")[1]
    with urllib.request.urlopen(f"{url}/health", timeout=WAIT_SECONDS) as answer:
        assert json.load(answer)["status"] == "ok"
    assert status_of(f"{url}/ready") == 503
    server.start()
    flow.until(lambda: status_of(f"{url}/ready") == 200, "the store")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_SECONDS) == 0


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_configuration_error_ends_a_worker(flow: Flow, server: RedisServer) -> None:
    """A worker does not wait for a server that it can never use, such as one that evicts jobs."""
    server.options = ("--maxmemory-policy", "allkeys-lru")
    server.start()
    assert flow.worker().wait(WAIT_SECONDS) == 2
    assert "evicts keys" in flow.log()
