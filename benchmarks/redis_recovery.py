"""Recovery of job queues on Redis: after a killed worker, during a long job, and after an outage of the server.

Run by `make bench-recovery`; takes seven minutes. The queues run at the same time, since they mostly wait, each with
its own server. A queue that has a lease or a heartbeat timeout gets one of 30 seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.redis_queue import NAMES, interpreter
from benchmarks.runner import BenchServer, PeerFailed, PeerRunner, bench_server
from benchmarks.table import print_table

#: Seconds to wait for the restart of a killed worker's job.
MAX_RESTART = 180.0
#: Seconds of the long job, and of its observation.
LONG, WATCHED = 75.0, 100.0
#: Seconds of the outage, and the longest wait for the next job after it.
OUTAGE, MAX_RESUME = 30.0, 60.0
HEAD = ("", "SIGKILL: the job runs again after", "starts of a 75 s job", "server down for 30 s: runs a job after")


def killed_worker(bench: BenchServer, make: Callable[..., PeerRunner]) -> str:
    """Return the seconds from the kill of a worker to the restart of its job in another worker."""
    runner = make(BENCH_DURATION="600")
    with runner.worker() as first:
        runner.pick(1)
        with runner.worker():
            time.sleep(5)  # the second worker is up, and the first has renewed its lease
            first.kill()
            ended = time.monotonic()
            while bench.started() < 2 and time.monotonic() < ended + MAX_RESTART:
                time.sleep(0.05)
            if bench.started() < 2:
                return f"not within {MAX_RESTART:.0f} s"
            return f"{bench.entries()[1][0] - ended:.1f} s"


def long_job(bench: BenchServer, make: Callable[..., PeerRunner]) -> str:
    """Return how often a job of 75 s is started, with two healthy workers."""
    runner = make(BENCH_DURATION=str(LONG))
    with runner.worker(), runner.worker():
        runner.pick(1)
        time.sleep(WATCHED)
        return f"{bench.started()} x"


def outage(bench: BenchServer, make: Callable[..., PeerRunner]) -> str:
    """Return the seconds until a worker takes a job after an outage of its server."""
    runner = make()
    with runner.worker() as worker:
        runner.pick(1)
        time.sleep(2)  # until the server has synced its file
        bench.server.kill()
        time.sleep(OUTAGE)
        bench.server.start()
        began, before = time.monotonic(), bench.started()
        runner.fill(0, 1, 1)
        while bench.started() == before and time.monotonic() < began + MAX_RESUME:
            time.sleep(0.05)
        if bench.started() > before:
            return f"{bench.entries()[before][0] - began:.1f} s"
        return "the worker ended" if worker.ended else f"not within {MAX_RESUME:.0f} s"


def measure(name: str, python: Path) -> list[str]:
    """Return the results of a queue."""
    row = []
    for experiment in (killed_worker, long_job, outage):
        with bench_server() as bench:

            def make(**environment: str) -> PeerRunner:
                return PeerRunner(bench, name, python, **environment)

            try:
                row.append(experiment(bench, make))
            except PeerFailed as error:
                row.append(str(error)[:40])
    return row


def main() -> None:
    """Print the table."""
    names = sys.argv[1:] or list(NAMES)
    others = interpreter()
    with ThreadPoolExecutor(len(names)) as pool:
        rows = {
            name: pool.submit(measure, name, Path(python))
            for name in names
            if (python := sys.executable if name == "ours" else others) is not None
        }
    print_table(HEAD, [[NAMES[name], *row.result()] for name, row in rows.items()])


if __name__ == "__main__":
    main()
