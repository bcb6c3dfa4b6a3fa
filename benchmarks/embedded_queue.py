"""The embedded queue: time of a step with a short and a long backlog, enqueue rate, pick-up latency and idle CPU.

Run by `make bench`. The two sides of a ratio are measured alternately, so the ratio holds on a busy machine too.
"""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import results
from benchmarks.runner import processor_time
from benchmarks.venvs import ROOT
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.jobs.codec import encode
from tenxsom_flow_engine.jobs.outcomes import Wait
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import ClaimRequest, DispatchLimits, NewJob

SHORT, LONG = 1_000, 100_000
ROUNDS = 40
#: Jobs added one by one, by several threads at the same time, and in one call.
ONE, THREADED, MANY = 200, 800, 10_000
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


def backlog(folder: Path) -> dict[str, float]:
    """Print the time of a step with a short and a long backlog; return the ratio."""
    short, long = filled(folder, SHORT), filled(folder, LONG)
    pairs = [(timed(lambda: step(short)), timed(lambda: step(long))) for _ in range(ROUNDS)]
    few, many = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"a step (claim and outcome), {SHORT:,} jobs waiting    {few:8.2f} ms")
    print(f"a step (claim and outcome), {LONG:,} jobs waiting  {many:8.2f} ms    ratio {ratio:.2f}")
    short.close()
    long.close()
    return {f"a step: {SHORT:,} jobs waiting : {LONG:,}": 1 / ratio}


def enqueue(folder: Path) -> dict[str, float]:
    """Print the rates of adding jobs one by one, by threads and in one call, ours and bare inserts; return ratios."""
    store = SQLiteStore(folder / "enqueue.sqlite3", SystemClock())
    bare = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, job BLOB)")

    def insert(added: list[NewJob]) -> None:
        bare.execute("BEGIN IMMEDIATE")
        bare.executemany("INSERT INTO jobs VALUES (?, ?)", [(item.job.job_id, encode(item.job)) for item in added])
        bare.execute("COMMIT")

    def add(added: list[NewJob]) -> None:
        store.add("local", added)

    def by_threads(name: str) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(add, [[job] for job in jobs(THREADED, name)]))

    rates: dict[str, list[float]] = {}
    for round_ in range(5):
        rates.setdefault("threads", []).append(THREADED / timed(lambda: by_threads(f"threads{round_}")))  # noqa: B023
        for name, act in (("ours", add), ("bare", insert)):
            one_by_one = [[job] for job in jobs(ONE, f"single{round_}")]
            together = jobs(MANY, f"bulk{round_}")
            rates.setdefault(f"{name} one", []).append(ONE / timed(lambda: [act(item) for item in one_by_one]))  # noqa: B023
            rates.setdefault(f"{name} many", []).append(MANY / timed(lambda: act(together)))  # noqa: B023
    median = {name: statistics.median(values) for name, values in rates.items()}
    for name, title in (("one", "one by one, each synced"), ("many", f"{MANY:,} in one call")):
        ours, base = median[f"ours {name}"], median[f"bare {name}"]
        print(f"enqueue {title:37} {ours:8.0f} jobs/s; bare inserts {base:.0f}/s, ratio {ours / base:.2f}")
    shared = median["threads"] / median["ours one"]
    print(f"enqueue one by one by {THREADS} threads {median['threads']:26.0f} jobs/s; one thread: ratio {shared:.1f}")
    store.close()
    bare.close()
    return {
        f"enqueue one by one: {THREADS} threads : one": shared,
        "enqueue one by one: ours : bare inserts": median["ours one"] / median["bare one"],
        "enqueue in one call: ours : bare inserts": median["ours many"] / median["bare many"],
    }


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
        ratios = backlog(Path(name)) | enqueue(Path(name))
        worker(Path(name))
        results.report("embedded_queue", ratios)
