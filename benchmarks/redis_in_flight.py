"""Time until one worker process has published 1,000 generations that take 60 seconds each.

Run by `make bench-in-flight`. All parts are real: `worker.py`, the Redis server, the output folder with its checks, and
the service `simulated`, which takes 60 seconds for a generation and makes a real file. A queue that occupies a thread
while a job waits would need 1,000 / 8 x 60 seconds with 8 threads: over two hours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from benchmarks.runner import BenchServer, bench_server, processor_time
from benchmarks.venvs import ROOT
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import Status, VideoJob
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import NewJob

JOBS, LATENCY, THREADS = 1_000, 60, 8
LIMITS = {"CLOUD_TASKS_MAX_DISPATCHES": "500", "CLOUD_TASKS_MAX_CONCURRENT": str(THREADS)}


def main() -> None:
    """Print the total time, and the steps and the CPU time of the worker."""
    with bench_server() as bench:
        environment = {
            **LIMITS,
            "REDIS_URL": bench.server.url,
            "TENXSOM_HOME": str(bench.tally.parent / "home"),
            "TENXSOM_SIMULATED": f"latency={LATENCY} jitter=0 slots={JOBS}",
        }
        with open_engine(load(environment)) as engine:
            now = engine.store.now()
            engine.queue.enqueue(
                NewJob(VideoJob(job_id=f"flight-{n}", topic=f"topic {n}", service="simulated", created_at=now))
                for n in range(JOBS)
            )
            run(bench, engine, environment)


def run(bench: BenchServer, engine: Engine, environment: dict[str, str]) -> None:
    """Run a worker until all jobs are published."""
    log = bench.tally.parent / "log"
    began = time.monotonic()
    with (
        log.open("w") as stream,
        subprocess.Popen(
            [sys.executable, str(ROOT / "worker.py"), "--concurrency", str(THREADS)],
            env=os.environ | environment,
            stderr=stream,
        ) as worker,
    ):
        try:
            most = 0
            while (done := engine.store.status_counts().by_status[Status.SUCCEEDED]) < JOBS:
                most = max(most, engine.store.in_flight("simulated"))
                assert worker.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < began + 10 * LATENCY, f"{done} jobs done"
                time.sleep(0.1)
            seconds, used = time.monotonic() - began, processor_time(worker.pid)
        finally:
            worker.terminate()
    steps = log.read_text().count('"step":')  # one line for each step, in JSON
    print(f"{JOBS:,} generations of {LATENCY} s, one worker process with {THREADS} threads, {LIMITS}:")
    print(f"all published after {seconds:.1f} s; at most {most:,} in flight")
    print(f"{steps:,} steps, {used:.1f} s of CPU time")


if __name__ == "__main__":
    main()
