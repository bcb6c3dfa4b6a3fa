"""One worker process with 1,000 generations of 60 seconds in flight: how long until all are published.

Run by `make bench-in-flight`. Nothing is replaced here: `worker.py`, a real server, the service `simulated` (which
takes 60 seconds for a generation and delivers a real file), the output folder with its checks. A queue that gives each
job a thread while it waits needs 1,000 / 8 x 60 seconds with 8 threads: over two hours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from benchmarks.runner import Arena, arena, processor_time
from benchmarks.venvs import ROOT
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import Status, VideoJob
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import NewJob

JOBS, LATENCY, THREADS = 1_000, 60, 8
LIMITS = {"CLOUD_TASKS_MAX_DISPATCHES": "500", "CLOUD_TASKS_MAX_CONCURRENT": str(THREADS)}


def main() -> None:
    """Print how long it took, and what the worker needed for it."""
    with arena() as place:
        environment = {
            **LIMITS,
            "REDIS_URL": place.server.url,
            "TENXSOM_HOME": str(place.tally.parent / "home"),
            "TENXSOM_SIMULATED": f"latency={LATENCY} jitter=0 slots={JOBS}",
        }
        with open_engine(load(environment)) as engine:
            now = engine.store.now()
            engine.queue.enqueue(
                NewJob(VideoJob(job_id=f"flight-{n}", topic=f"topic {n}", service="simulated", created_at=now))
                for n in range(JOBS)
            )
            run(place, engine, environment)


def run(place: Arena, engine: Engine, environment: dict[str, str]) -> None:
    """Run a worker until all is published."""
    log = place.tally.parent / "log"
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
            flying = 0
            while (done := engine.store.status_counts().by_status[Status.SUCCEEDED]) < JOBS:
                flying = max(flying, engine.store.in_flight("simulated"))
                assert worker.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < began + 10 * LATENCY, f"{done} jobs done"
                time.sleep(0.1)
            seconds, used = time.monotonic() - began, processor_time(worker.pid)
        finally:
            worker.terminate()
    steps = log.read_text().count(" step=")
    print(f"{JOBS:,} generations of {LATENCY} s, one worker process with {THREADS} threads, {LIMITS}:")
    print(f"all published after {seconds:.1f} s; at most {flying:,} in flight")
    print(f"{steps:,} steps, {used:.1f} s of processor time")


if __name__ == "__main__":
    main()
