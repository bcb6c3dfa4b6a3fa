"""One real Redis server, and the queues that are measured on it, each in processes of its own."""

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

#: Seconds that a process may take for anything that is measured.
PATIENCE = 180.0


class NotRunning(Exception):
    """A contestant could not be started, or did not do what was asked; says why."""


class Arena:
    """A server that keeps an append-only file, synced each second, and a file that jobs write to."""

    def __init__(self, folder: Path) -> None:
        self.server = RedisServer(folder, "--appendfsync", "everysec")
        self.client = redis.Redis(port=self.server.port, decode_responses=True, socket_timeout=60.0)
        self.tally = folder / "tally"
        self.tally.touch()
        self._home = folder / "home"

    def clear(self) -> None:
        """Forget all jobs."""
        self.client.flushall()
        self.tally.write_bytes(b"")

    def forget(self, prefix: str) -> None:
        """Forget the jobs of ours under one prefix."""
        for key in self.client.scan_iter(f"{{{prefix}}}:*", count=1000):
            self.client.unlink(key)

    def used_memory(self) -> int:
        """Return the bytes that the server's data takes."""
        return int(self._info()["used_memory"])

    def calm(self) -> None:
        """Wait until the server does not rewrite its file any more."""
        while self._info()["aof_rewrite_in_progress"]:
            time.sleep(0.1)

    def _info(self) -> dict[str, Any]:
        found: Any = self.client.info()
        return dict(found)

    def began(self) -> int:
        """Return how many jobs have begun."""
        return self.tally.stat().st_size // ENTRY.size

    def entries(self) -> list[tuple[float, float]]:
        """Return when each job began, by the machine's steady clock, and how long that was after it was sent."""
        return list(ENTRY.iter_unpack(self.tally.read_bytes()))

    def close(self) -> None:
        """End the server."""
        self.client.close()
        self.server.kill()

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a contestant's processes."""
        bench = {"BENCH_REDIS_URL": self.server.url, "BENCH_TALLY": str(self.tally), "BENCH_HOME": str(self._home)}
        return {**os.environ, **bench, **more}


@contextmanager
def arena() -> Iterator[Arena]:
    """Open an arena for the length of a benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        opened = Arena(Path(folder))
        try:
            yield opened
        finally:
            opened.close()


class Worker:
    """A worker process that runs, and its children."""

    def __init__(self, process: subprocess.Popen[str], log: IO[str]) -> None:
        self._process = process
        self._log = log

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def said(self) -> str:
        """Return what it has written on its standard streams."""
        self._log.seek(0)
        return self._log.read()

    def last_line(self) -> str:
        """Return the last line of that."""
        return _last_line(self.said())

    def processor_time(self) -> float:
        """See `processor_time`."""
        return processor_time(self._process.pid)

    def kill(self) -> None:
        """Kill -9 it and its children."""
        for pid in family(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Contestant:
    """A queue in the arena: module `name` of `benchmarks.peers`, run by an interpreter that has it."""

    def __init__(self, arena: Arena, name: str, python: Path = Path(sys.executable), **environment: str) -> None:
        self._arena = arena
        self._command = [str(python), "-m", "benchmarks.peers", name]
        self._environment = arena.environment(environment)

    def fill(self, one: int, many: int, total: int) -> dict[str, float | None]:
        """See `peers.__main__.fill`."""
        rates: dict[str, float | None] = self._ask("fill", one, many, total)
        return rates

    def pick(self, count: int) -> list[float]:
        """See `peers.__main__.pick`."""
        taken: list[float] = self._ask("pick", count)
        return taken

    def rest_and_pick(self, seconds: float, count: int) -> tuple[float, list[float]]:
        """Run a worker with nothing to do; return its share of a processor, and what `pick` returns after that."""
        with self.worker() as worker:
            self.pick(1)
            time.sleep(0.5)
            before = worker.processor_time()
            time.sleep(seconds)
            idle = (worker.processor_time() - before) / seconds
            return idle, self.pick(count)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """Run a worker process (and its children); killed -9 at the end."""
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
        """Run a worker on what waits; return jobs/s over some seconds from when `first` jobs have begun."""
        self._arena.tally.write_bytes(b"")
        with self.worker() as worker:
            ends = time.monotonic() + PATIENCE
            while self._arena.began() < first:
                if worker.ended or time.monotonic() > ends:
                    raise NotRunning(f"its worker began {self._arena.began()} of {first} jobs: {worker.last_line()}")
                time.sleep(0.005)
            time.sleep(seconds)
            # The last one's own time, since what waits may have run out before.
            instants = [instant for instant, _ in self._arena.entries()[first:]]
            if "Traceback" in worker.said():
                raise NotRunning(f"its worker complains: {worker.last_line()}")
            return (len(instants) - 1) / (max(instants) - min(instants))

    def _ask(self, *words: object) -> Any:
        done = subprocess.run(
            [*self._command, *map(str, words)], cwd=ROOT, env=self._environment, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NotRunning(_last_line(done.stderr))
        return json.loads(done.stdout.splitlines()[-1])


def p95(seconds: list[float]) -> float:
    """Return the value that 95 of 100 do not exceed, in milliseconds."""
    return sorted(seconds)[int(len(seconds) * 0.95)] * 1e3


def processor_time(pid: int) -> float:
    """Return the seconds that a process and its children have used, as the scheduler counts them."""
    stats = (path for member in family(pid) for path in Path(f"/proc/{member}/task").glob("*/schedstat"))
    return sum(int(path.read_text().split()[0]) for path in stats) / 1e9


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    members = [pid]
    for member in members:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            members += map(int, children.read_text().split())
    return members


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1][:200]
