"""Run the entry points as real processes; each test has a separate home."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import JobStore
from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
#: Seconds after which an awaited condition counts as failed; a passing test never waits this long.
WAIT_SECONDS = 60.0
#: Runs a program with a clock that is off by a number of seconds.
CLOCK_OFF = """
import os, runpy, sys, time
off, program, right = float(sys.argv[1]), sys.argv[2], time.time
sys.path.insert(0, os.path.dirname(program))
time.time = lambda: right() + off
sys.argv = sys.argv[2:]
runpy.run_path(program, run_name="__main__")
"""


class Program(subprocess.Popen[str]):
    """A process whose end is not awaited for ever: a test must fail rather than hang."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, after at most `timeout` seconds."""
        return super().wait(4 * WAIT_SECONDS if timeout is None else timeout)


class Flow:
    """One installation: its home, its output folder, and the processes started in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **os.environ,
            "TENXSOM_HOME": str(home),
            "TENXSOM_OUTPUT_DIR": str(home / "videos"),
            "REDIS_PORT": "1",  # no server can listen here
            "TENXSOM_LEASE_SECONDS": "1",
            "CLOUD_TASKS_MAX_DISPATCHES": "500",
            "CLOUD_TASKS_MAX_CONCURRENT": "64",
        }
        self._workers: list[subprocess.Popen[str]] = []

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `run_flow_enhanced.py` to its end."""
        return subprocess.run(
            [sys.executable, str(ROOT / "run_flow_enhanced.py"), *arguments],
            env=self.environment | environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
            cwd=self.home,
        )  # fmt: skip

    def json(self, *arguments: str) -> Any:
        """Run `run_flow_enhanced.py` and return its output, parsed as JSON."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def worker(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a worker; its log goes to a file in the home."""
        return self._start([str(ROOT / "worker.py"), *arguments], environment)

    def worker_with_clock_off(self, seconds: float) -> subprocess.Popen[str]:
        """Start a worker with a clock that is ahead by a number of seconds."""
        return self._start(["-c", CLOCK_OFF, str(seconds), str(ROOT / "worker.py")], {})

    def _start(
        self, program: list[str], environment: dict[str, str], folder: Path | None = None
    ) -> subprocess.Popen[str]:
        log = self.home / f"worker-{len(self._workers)}.log"
        with log.open("w") as stream:
            process = Program(
                [sys.executable, *program],
                env=self.environment | environment, stderr=stream, stdout=subprocess.DEVNULL, text=True,
                cwd=folder or self.home, start_new_session=True,
            )  # fmt: skip
        self._workers.append(process)
        return process

    @staticmethod
    def kill(process: subprocess.Popen[str]) -> None:
        """Kill a worker and all processes of its session, as a power cut would."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def sold(self) -> list[str]:
        """Return the ledger of the simulated service: one ticket per sale."""
        return (self.home / "simulated-ledger").read_text().splitlines()

    def log(self) -> str:
        """Return the logs of all workers."""
        return "".join(path.read_text() for path in sorted(self.home.glob("worker-*.log")))

    def until(self, condition: Callable[[], Any], description: str) -> Any:
        """Wait for a condition; return its first true value."""
        ends = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < ends:
            if value := condition():
                return value
            time.sleep(0.02)
        raise AssertionError(f"timed out waiting for {description}; worker logs:\n{self.log()[-5000:]}")

    def close(self) -> None:
        """Kill the workers that still run."""
        for process in self._workers:
            self.kill(process)

    @property
    def queue(self) -> str:
        """The name of the queue that the processes use."""
        return "redis" if "REDIS_URL" in self.environment else "local"

    def store(self) -> JobStore:
        """Open the store that the processes use."""
        return open_engine(load(self.environment)).store


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    """An installation with the embedded queue."""
    flow = Flow(tmp_path)
    yield flow
    flow.close()


@pytest.fixture(params=["local", "redis"])
def either(request: pytest.FixtureRequest, flow: Flow) -> Flow:
    """An installation with each queue backend that workers pull from."""
    if request.param == "redis":
        request.getfixturevalue("on_redis")
    return flow


@pytest.fixture
def on_redis(flow: Flow, redis_server: RedisServer) -> Flow:
    """An installation with the queue on Redis."""
    flow.environment |= {"REDIS_URL": redis_server.url, "REDIS_QUEUE_KEY": secrets.token_hex(6)}
    return flow
