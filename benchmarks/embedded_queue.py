"""The embedded queue: time of a step with a short and a long backlog, enqueue rate, pick-up latency and idle CPU.

Run by `make bench`. The two sides of a ratio are measured alternately, so the ratio holds on a busy machine too.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.runner import processor_time
from benchmarks.venvs import ROOT
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.jobs.outcomes import Wait
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import Added, ClaimRequest, DispatchLimits, NewJob

SHORT, LONG = 1_000, 100_000
ROUNDS = 40
#: Threads that add jobs at the same time.
THREADS = 8


def jobs(count: int, prefix: str) -> list[NewJob]:
    now = time.time()
    return [
        NewJob(VideoJob(job_id=f"{prefix}-{n}", topic=f"topic {n}", service="simulated", created_at=now))
        for n in range(count)
    ]


def timed(function: Callable[[], object]) -> float:
    """Return the duration of a call in seconds."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def filled(folder: Path, count: int) -> SQLiteStore:
    """Return a store with waiting jobs."""
    store = SQLiteStore(folder / f"{count}.sqlite3", SystemClock())
    store.add("local", jobs(count, "waiting"))
    return store


def step(store: SQLiteStore) -> None:
    """Claim one job and store its outcome: the two transactions of every step."""
    limits = DispatchLimits(max_dispatches_per_second=1e9, max_concurrent_dispatches=5000)
    claim = store.claim(ClaimRequest("local", "bench", 1, 30.0, limits, {"simulated": 10**9}))
    record = claim.records[0]
    store.settle(record.job_id, record.lease_token, Wait(time.time() + 3600, "bench"))


def backlog(folder: Path) -> None:
    """Print the time of a step with a short and a long backlog."""
    short, long = filled(folder, SHORT), filled(folder, LONG)
    pairs = [(timed(lambda: step(short)), timed(lambda: step(long))) for _ in range(ROUNDS)]
    few, many = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"a step (claim and outcome), {SHORT:,} jobs waiting    {few:8.2f} ms")
    print(f"a step (claim and outcome), {LONG:,} jobs waiting  {many:8.2f} ms    ratio {ratio:.2f}")
    short.close()
    long.close()


def enqueue(folder: Path) -> None:
    """Print the rates of adding jobs one by one, by one thread and by several, and in one call."""
    store = SQLiteStore(folder / "enqueue.sqlite3", SystemClock())
    single, threaded, bulk = [], [], []

    def add(job: NewJob) -> Added:
        return store.add("local", [job])

    for round_ in range(5):
        one_by_one = jobs(200, f"single{round_}")
        single.append(200 / timed(lambda: [add(job) for job in one_by_one]))  # noqa: B023
        by_threads = jobs(800, f"threads{round_}")
        with ThreadPoolExecutor(THREADS) as pool:
            threaded.append(800 / timed(lambda: list(pool.map(add, by_threads))))  # noqa: B023
        together = jobs(10_000, f"bulk{round_}")
        bulk.append(10_000 / timed(lambda: store.add("local", together)))  # noqa: B023
    ratio = statistics.median(b / a for a, b in zip(single, bulk, strict=True))
    shared = statistics.median(b / a for a, b in zip(single, threaded, strict=True))
    print(f"enqueue one by one, each synced               {statistics.median(single):8.0f} jobs/s")
    rate = statistics.median(threaded)
    print(f"the same by {THREADS} threads                       {rate:8.0f} jobs/s  ratio {shared:.1f}")
    print(f"enqueue 10,000 in one call                    {statistics.median(bulk):8.0f} jobs/s  ratio {ratio:.0f}")
    store.close()


def worker(folder: Path) -> None:
    """Print the pick-up latency and the CPU time of an idle worker."""
    environment = {**os.environ, "TENXSOM_HOME": str(folder), "TENXSOM_SIMULATED": "latency=0"}
    with subprocess.Popen(
        [sys.executable, str(ROOT / "worker.py"), "--log-level", "error"], env=environment
    ) as process:
        store = SQLiteStore(folder / "jobs.sqlite3", SystemClock())
        while not store.workers("local", within=30):
            time.sleep(0.01)
        latencies = []
        for item in jobs(20, "pick"):
            store.add("local", [item])
            while not (record := store.require(item.job.job_id)).submission.id:
                time.sleep(0.001)
            latencies.append(record.submission.intended_at - record.added_at)
            while store.require(item.job.job_id).result is None:
                time.sleep(0.01)
            time.sleep(0.3 + random.random() / 10)  # until the worker is idle, at a random phase of its polling
        before = processor_time(process.pid)
        time.sleep(10)
        idle = (processor_time(process.pid) - before) / 10
        process.terminate()
        store.close()
    p95 = sorted(latencies)[-2]
    median = statistics.median(latencies)
    print(f"pick-up by an idle worker, median and p95     {median * 1e3:8.1f} ms, {p95 * 1e3:.1f} ms")
    print(f"CPU time of an idle worker                    {idle:8.2%}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        backlog(Path(name))
        enqueue(Path(name))
        worker(Path(name))
