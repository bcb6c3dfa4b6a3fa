"""A real Redis server for benchmarks, and a runner for each job queue, which works in separate processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import redis

from benchmarks.peers.base import ENTRY
from benchmarks.venvs import ROOT
from tests.redis_server import RedisServer

#: Time limit of a measurement, in seconds.
TIMEOUT = 180.0


class PeerFailed(Exception):
    """A job queue did not start, or failed during a measurement. The message has the reason."""


class BenchServer:
    """A Redis server with an append-only file, synced every second, and a tally file with an entry per started job."""

    def __init__(self, folder: Path) -> None:
        # No rewrite of the file falls into the measurement of one queue.
        self.server = RedisServer(folder, "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
        self.client = redis.Redis(port=self.server.port, decode_responses=True, socket_timeout=60.0)
        self.tally = folder / "tally"
        self.tally.touch()
        self._home = folder / "home"

    def clear(self) -> None:
        """Delete all jobs and the tally."""
        self.client.flushall()
        self.tally.write_bytes(b"")

    def delete_prefix(self, prefix: str) -> None:
        """Delete the jobs of our queue under one key prefix."""
        for key in self.client.scan_iter(f"{{{prefix}}}:*", count=1000):
            self.client.unlink(key)

    def used_memory(self) -> int:
        """Return the server's memory use in bytes."""
        return int(self._info()["used_memory"])

    @property
    def version(self) -> str:
        """The version of the server."""
        return str(self._info()["redis_version"])

    def _info(self) -> dict[str, Any]:
        info: Any = self.client.info()
        return dict(info)

    def started(self) -> int:
        """Return the number of started jobs."""
        return self.tally.stat().st_size // ENTRY.size

    def entries(self) -> list[tuple[float, float]]:
        """Return for each started job its start on the monotonic clock, and the seconds since it was sent."""
        return list(ENTRY.iter_unpack(self.tally.read_bytes()))

    def close(self) -> None:
        """Stop the server."""
        self.client.close()
        self.server.kill()

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for the processes of a job queue."""
        bench = {"BENCH_REDIS_URL": self.server.url, "BENCH_TALLY": str(self.tally), "BENCH_HOME": str(self._home)}
        return {**os.environ, **bench, **more}


@contextmanager
def bench_server() -> Iterator[BenchServer]:
    """Run a Redis server for a benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        server = BenchServer(Path(folder))
        try:
            yield server
        finally:
            server.close()


class Worker:
    """A running worker process with its children."""

    def __init__(self, process: subprocess.Popen[str], log: IO[str]) -> None:
        self._process = process
        self._log = log

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def output(self) -> str:
        """Return the output on stdout and stderr so far."""
        self._log.seek(0)
        return self._log.read()

    def last_line(self) -> str:
        """Return the last line of the output."""
        return _last_line(self.output())

    def processor_time(self) -> float:
        """Return the CPU seconds of the process and its children."""
        return processor_time(self._process.pid)

    def kill(self) -> None:
        """Kill the process and its children with SIGKILL."""
        for pid in family(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class PeerRunner:
    """Runs a job queue on a server: module `name` of `benchmarks.peers`, with an interpreter that has its library."""

    def __init__(self, server: BenchServer, name: str, python: Path = Path(sys.executable), **environment: str) -> None:
        self._server = server
        self._command = [str(python), "-m", "benchmarks.peers", name]
        self._environment = server.environment(environment)

    def fill(self, one: int, many: int, total: int) -> dict[str, float | None]:
        """See `peers.__main__.fill`."""
        rates: dict[str, float | None] = self._run("fill", one, many, total)
        return rates

    def pick(self, count: int) -> list[float]:
        """See `peers.__main__.pick`."""
        latencies: list[float] = self._run("pick", count)
        return latencies

    def idle_and_pick(self, seconds: float, count: int) -> tuple[float, list[float]]:
        """Run an idle worker; return its CPU time as a share of one core, and then the result of `pick`."""
        with self.worker() as worker:
            self.pick(1)
            time.sleep(0.5)
            before = worker.processor_time()
            time.sleep(seconds)
            idle = (worker.processor_time() - before) / seconds
            return idle, self.pick(count)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """Run a worker process, and kill it and its children at the end."""
        with (
            tempfile.TemporaryFile("w+") as log,
            subprocess.Popen(
                [*self._command, "work"], cwd=ROOT, env=self._environment, stdout=log, stderr=log, text=True
            ) as process,
        ):
            worker = Worker(process, log)
            try:
                yield worker
            finally:
                worker.kill()

    def throughput(self, seconds: float, first: int) -> float:
        """Run a worker on the waiting jobs; return jobs/s over some seconds after the first `first` jobs started."""
        self._server.tally.write_bytes(b"")
        with self.worker() as worker:
            deadline = time.monotonic() + TIMEOUT
            while self._server.started() < first:
                if worker.ended or time.monotonic() > deadline:
                    raise PeerFailed(
                        f"its worker started {self._server.started()} of {first} jobs: {worker.last_line()}"
                    )
                time.sleep(0.005)
            time.sleep(seconds)
            # Up to the last start, since the jobs can have run out before the end.
            instants = [instant for instant, _ in self._server.entries()[first:]]
            if "Traceback" in worker.output():
                raise PeerFailed(f"its worker logged an error: {worker.last_line()}")
            return (len(instants) - 1) / (max(instants) - min(instants))

    def _run(self, *arguments: object) -> Any:
        done = subprocess.run(
            [*self._command, *map(str, arguments)], cwd=ROOT, env=self._environment, capture_output=True, text=True,
            timeout=TIMEOUT, check=False,
        )  # fmt: skip
        if done.returncode:
            raise PeerFailed(_last_line(done.stderr))
        return json.loads(done.stdout.splitlines()[-1])


def p95(seconds: list[float]) -> float:
    """Return the 95th percentile of durations in milliseconds."""
    return sorted(seconds)[int(len(seconds) * 0.95)] * 1e3


def processor_time(pid: int) -> float:
    """Return the CPU seconds of a process and its children, as the scheduler counts them."""
    stats = (path for member in family(pid) for path in Path(f"/proc/{member}/task").glob("*/schedstat"))
    return sum(int(path.read_text().split()[0]) for path in stats) / 1e9


def family(pid: int) -> list[int]:
    """Return the ids of a process and its descendants."""
    members = [pid]
    for member in members:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            members += map(int, children.read_text().split())
    return members


def _last_line(text: str) -> str:
    """Return the last line with a word; the report of a group of exceptions ends with a frame."""
    lines = [line.strip("| ") for line in text.splitlines() if any(map(str.isalpha, line))]
    return (lines or ["no output"])[-1][:200]
