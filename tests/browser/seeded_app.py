"""An installation for the browser tests: a sample day, the real worker under gunicorn, and a Cloud Tasks emulator."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord, Lease, Status
from tenxsom_flow_engine.jobs.lifecycle import take
from tenxsom_flow_engine.jobs.outcomes import Done
from tenxsom_flow_engine.queues.selection import CLOUD_TASKS
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter

ROOT = Path(__file__).resolve().parents[2]
#: Number of gunicorn's worker processes.
PROCESSES = 2
#: Time-out in seconds for a condition; tests that pass do not wait for it.
WAIT_SECONDS = 30.0
#: Runs gunicorn with its clock set ahead by a number of seconds.
_AHEAD = """
import sys, time
ahead, right = float(sys.argv.pop(1)), time.time
time.time = lambda: right() + ahead
from gunicorn.app.wsgiapp import run
run()
"""


class ClockAhead(SystemClock):
    """The machine's clock, set ahead by `ahead` seconds."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def now(self) -> float:
        return super().now() + self.ahead


class Installation:
    """A home and its worker, at `url`, with their clocks set ahead of the machine's by `ahead` seconds."""

    def __init__(self, home: Path, environment: Mapping[str, str], ahead: float = 0.0) -> None:
        self.home = home
        self.ahead = ahead
        self.token = secrets.token_urlsafe(24)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self._open = ExitStack()
        clock = ClockAhead(ahead)
        cloud = self._open.enter_context(CloudTasksServer(clock))
        self.environment = {
            **os.environ,
            **environment,
            "TENXSOM_ADMIN_TOKEN": self.token,
            "TENXSOM_QUEUE_TYPE": CLOUD_TASKS,
            "GOOGLE_CLOUD_PROJECT": "project",
            "CLOUD_TASKS_EMULATOR_HOST": cloud.target,
            "CLOUD_TASKS_WORKER_URL": self.url,
            # The emulator's tokens use the machine's clock, which the worker would reject.
            "TENXSOM_ALLOW_UNAUTHENTICATED": "true",
            # The worker's maintenance starts after a third of the lease and would change the sample records.
            "TENXSOM_LEASE_SECONDS": "600",
        }
        #: The engine of a producer, in this process.
        self.engine: Engine = self._open.enter_context(open_engine(load(self.environment), CLOUD_TASKS, clock=clock))
        self.engine.queue.create()  # type: ignore[attr-defined]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start gunicorn, and wait until it answers."""
        address = self.url.removeprefix("http://")
        program = ["-c", _AHEAD, str(self.ahead), "-c", "gunicorn.conf.py", "-b", address, "-w", str(PROCESSES)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *program, "cloud_tasks_worker:app"],
                cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
            )  # fmt: skip
        # Wait for both processes, so that the tests use both.
        self.until(
            lambda: self._answers() and self.log().count("Booting worker") % PROCESSES == 0, "the worker's answer"
        )

    def kill(self) -> None:
        """Kill gunicorn and its processes without a shutdown, like a power failure."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def processes(self) -> list[int]:
        """Return the ids of gunicorn's processes."""
        assert self._process is not None
        master = self._process.pid
        return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]

    def newest(self, status: Status, service: str | None = None) -> JobRecord:
        """Return the newest job of a status."""
        (record,) = self.engine.store.page(JobFilter(statuses=[status], service=service), limit=1).records
        return record

    def finish_one(self) -> JobRecord:
        """Finish one of the rendering jobs."""
        store, record = self.engine.store, self.newest(Status.RENDERING)
        made = self.newest(Status.SUCCEEDED, record.service).result
        assert made is not None
        leased = store.update(record.job_id, lambda record, now: take(record, Lease("token", "w", now + 60), now))
        return store.settle(leased.job_id, leased.lease_token, Done(made))

    def close(self) -> None:
        """Stop gunicorn and close everything."""
        self.kill()
        self._open.close()

    def log(self) -> str:
        """Return gunicorn's log."""
        return self._log.read_text("utf-8")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds."""
        ends = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < ends, f"timed out waiting for {what}; the worker's log:\n{self.log()[-5000:]}"
            time.sleep(0.02)

    @property
    def _log(self) -> Path:
        return self.home / "gunicorn.log"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=WAIT_SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
