"""The HTTP API of real processes: keys of the command line, and requests whose answers are lost by kills."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from tenxsom_flow_engine.store.values import JobFilter
from tests.e2e.conftest import ROOT, WAIT_SECONDS, Flow


class Server:
    """A dashboard process on a fixed port, which can be killed and started again."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[str]
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        arguments = [str(ROOT / "run_flow_enhanced.py"), "dashboard", "--port", str(self.port)]
        self.process = self.flow._start(arguments, {})
        self.flow.until(self.answers, "an answer of the dashboard")

    def answers(self) -> bool:
        """Return whether the process answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def request(self, key: str, method: str, path: str, body: Any = None, once: str = "") -> tuple[int, Any]:
        """Send a request; return its status and content. Raises `OSError` if there is no answer."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        if once:
            headers["Idempotency-Key"] = once
        data = None if body is None else json.dumps(body).encode()
        wanted = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(wanted, timeout=WAIT_SECONDS) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def abandon(self, key: str, path: str, body: Any, once: str) -> None:
        """Send a request, and close the connection without reading the answer."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Idempotency-Key": once}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        with closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", path, json.dumps(body), headers)


@pytest.fixture
def server(either: Flow) -> Server:
    return Server(either)


def test_a_key_adds_and_follows_a_video(server: Server, either: Flow) -> None:
    """A key of the command line adds a job, waits for its video and gets it; after its revocation it does nothing."""
    made = either.json("key", "create", "--scopes", "read,add", "--channel", "fun", "--expires", "1d", "--json")
    key = made["key"]
    status, added = server.request(
        key, "POST", "/api/v1/jobs", {"topic": "How tides work", "service": "simulated"}, "one"
    )
    assert (status, added["added"]) == (201, 1)
    either.worker(TENXSOM_SIMULATED="latency=0")
    deadline = time.monotonic() + WAIT_SECONDS
    found: dict[str, Any] = {"status": "queued"}
    while found["status"] != "succeeded" and time.monotonic() < deadline:
        status, found = server.request(key, "GET", f"/api/v1/jobs/{added['job_ids'][0]}?wait=30")
    assert (status, found["status"], found["channel"]) == (200, "succeeded", "fun")
    wanted = urllib.request.Request(
        f"http://127.0.0.1:{server.port}{found['links']['video']}", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(wanted, timeout=WAIT_SECONDS) as answer:
        assert len(answer.read()) == found["video"]["size"]
    (listed,) = either.json("key", "list", "--json")["keys"]
    assert (listed["state"], listed["channel"], listed["last_used_at"] is not None) == ("valid", "fun", True)
    assert key not in either.run("key", "list").stdout
    assert either.run("key", "revoke", made["id"]).returncode == 0
    assert server.request(key, "GET", "/api/v1/jobs")[0] == 401
    assert "revoked" in either.run("key", "list").stdout


def test_a_wait_does_not_delay_the_end_of_the_process(flow: Flow) -> None:
    """A process that is stopped answers the requests that wait for a job, and ends."""
    server = Server(flow)
    key = flow.run("key", "create").stdout.strip()
    server.request(key, "POST", "/api/v1/jobs", {"topic": "a", "job_id": "a"})
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_SECONDS)) as waiting:
        waiting.request("GET", "/api/v1/jobs/a?wait=60", headers={"Authorization": f"Bearer {key}"})
        server.request(key, "GET", "/api/v1/jobs")  # answered after the server has read the first request
        os.killpg(server.process.pid, signal.SIGTERM)
        answer = waiting.getresponse()
        assert (answer.status, json.loads(answer.read())["status"]) == (200, "queued")
    assert server.process.wait(WAIT_SECONDS / 2) == 0


def test_nothing_is_lost_or_added_twice_by_kills(server: Server, either: Flow, api_requests: int) -> None:
    """Each request loses its answer and is repeated, while the server is killed: each job is added exactly once."""
    keys = [either.run("key", "create", "--scopes", "read,add").stdout.strip() for _ in range(1 + api_requests // 2000)]
    requests, kills, dice = api_requests, 8 + api_requests // 100, random.Random(7)
    answers: dict[str, list[tuple[int, Any]]] = {}
    left, lock = list(range(requests)), threading.Lock()

    def produce() -> None:
        while True:
            with lock:
                if not left:
                    return
                number = left.pop()
            body = [{"topic": f"topic {number}.{part}", "service": "simulated"} for part in range(number % 5 + 1)]
            if number % 7 == 0:
                answers[f"k{number}"] = [repeated(f"k{number}", {"plan": plan(number, body)})] * 2
                continue
            answers[f"k{number}"] = [repeated(f"k{number}", body) for _ in range(2)]

    def plan(number: int, body: Any) -> str:
        return str(repeated(f"p{number}", body, "/api/v1/plans")[1]["plan"])

    def repeated(once: str, body: Any, path: str = "/api/v1/jobs") -> tuple[int, Any]:
        key, ends = keys[int(once[1:]) % len(keys)], time.monotonic() + 2 * WAIT_SECONDS
        server.abandon(key, path, body, once)
        while time.monotonic() < ends:
            try:
                status, found = server.request(key, "POST", path, body, once)
            except (OSError, http.client.HTTPException, ValueError):  # no answer, or a part of one
                continue
            if status < 500 and status != 429:
                return status, found
            time.sleep(0.01)  # as the answer asks for
        raise AssertionError("no answer")

    producers = [threading.Thread(target=produce) for _ in range(4)]
    for producer in producers:
        producer.start()
    for _ in range(kills):
        wanted = min(requests, len(answers) + dice.randrange(1, max(4, 2 * requests // kills)))
        either.until(partial(lambda number: len(answers) >= number, wanted), "an answer")
        Flow.kill(server.process)
        server.start()
    for producer in producers:
        producer.join(requests * WAIT_SECONDS)
    assert len(answers) == requests
    assert all(status in (200, 201) for both in answers.values() for status, _ in both)
    assert all(first == second for (_, first), (_, second) in answers.values())
    with closing(either.store()) as store:
        pages = store.pages(JobFilter(), limit=500)
        stored = [record for page in pages for record in page.records]
    ordered = sorted(f"topic {number}.{part}" for number in range(requests) for part in range(number % 5 + 1))
    assert sorted(record.job.topic for record in stored) == ordered
    confirmed = {job_id for both in answers.values() for job_id in both[0][1]["job_ids"]}
    assert confirmed == {record.job_id for record in stored}
    assert not re.search("Traceback", either.log())
