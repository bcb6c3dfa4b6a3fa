"""One default worker process with generations at a service that is 200 ms away.

Run by `make bench`, and alone by `make bench-remote`. All parts but the vendor are real: `worker.py`, the store, the
output folder with its checks, and HTTP. The ideal is the time that one generation takes alone: a render, the calls, and
the wait until a poll sees its end. Many take as long if no call waits for a thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import results
from benchmarks.distant_vendor import Traffic
from benchmarks.runner import processor_time
from benchmarks.table import print_table
from benchmarks.venvs import ROOT
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.jobs import Status, VideoJob
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import NewJob
from tests.redis_server import RedisServer

#: The limits that an operator must raise for this many generations at once, on any worker.
LIMITS = {
    "CLOUD_TASKS_MAX_DISPATCHES": "500",
    "CLOUD_TASKS_MAX_CONCURRENT": "5000",
    "TENXSOM_LIMITS": "pixverse=none; global=none",
    "USEAPI_PIXVERSE_SLOTS": "1000",
    "TENXSOM_ALLOW_PRIVATE_DOWNLOADS": "1",
}


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run. Seconds."""

    #: From the first request to the last publication, so without the start of the worker.
    wall: float
    processor: float
    warnings: Sequence[str]
    traffic: Traffic


@contextmanager
def store(queue_type: str, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of an empty queue."""
    home = {"TENXSOM_HOME": str(folder / "home"), "TENXSOM_QUEUE_TYPE": queue_type}
    if queue_type == "local":
        yield home
        return
    server = RedisServer(folder, "--appendfsync", "everysec")
    try:
        yield home | {"REDIS_URL": server.url}
    finally:
        server.kill()


def measure(arguments: argparse.Namespace, jobs: int, prefix: Sequence[str] = ()) -> Run:
    """Run a worker until all jobs are published; `prefix` is a command in front of the worker's, such as a profiler."""
    vendor_command = ["-m", "benchmarks.distant_vendor", str(arguments.seconds), str(arguments.round_trip)]
    with (
        tempfile.TemporaryDirectory() as folder,
        store(arguments.queue_type, Path(folder)) as home,
        subprocess.Popen(
            [sys.executable, *vendor_command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as vendor,
    ):
        assert vendor.stdout is not None
        at = json.loads(vendor.stdout.readline())
        environment = LIMITS | home | {"USEAPI_BASE_URL": at["url"], "USEAPI_TOKEN": at["key"]}
        published, processor, log = run_worker(environment, jobs, arguments, prefix)
        traffic = Traffic(**json.loads(vendor.communicate()[0]))
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        warnings = [line["message"] for line in lines if line["severity"] in ("WARNING", "ERROR")]
        return Run(published - traffic.first_at, processor, warnings, traffic)


def run_worker(
    environment: dict[str, str], jobs: int, arguments: argparse.Namespace, prefix: Sequence[str]
) -> tuple[float, float, str]:
    """Return the instant at which all jobs were published, the processor seconds of the worker, and its log."""
    log = Path(environment["TENXSOM_HOME"]).parent / "log"
    threads = ["--concurrency", str(arguments.concurrency)] if arguments.concurrency else []
    with open_engine(load(environment)) as engine:
        now = engine.store.now()
        engine.add(
            NewJob(VideoJob(job_id=f"far-{n}", topic=f"topic {n}", service="pixverse", created_at=now))
            for n in range(jobs)
        )
        with (
            log.open("w") as stream,
            subprocess.Popen(
                [*prefix, sys.executable, str(ROOT / "worker.py"), *threads],
                env=os.environ | environment,
                stderr=stream,
            ) as worker,
        ):
            try:
                deadline = time.monotonic() + 20 * arguments.seconds + 60
                while engine.store.status_counts().by_status[Status.SUCCEEDED] < jobs:
                    assert worker.poll() is None, log.read_text()[-2000:]
                    assert time.monotonic() < deadline, log.read_text()[-2000:]
                    time.sleep(0.2)
                return time.time(), processor_time(worker.pid), log.read_text()
            finally:
                worker.terminate()


def main() -> None:
    """Print the results as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of a render")
    parser.add_argument("--round-trip", type=float, default=0.2, help="seconds to the vendor and back")
    parser.add_argument("--queue-type", choices=("local", "redis"), default="local")
    parser.add_argument("--concurrency", type=int, help="threads of the worker, instead of its default")
    parser.add_argument("--ideal", type=float, help="use this ideal instead of a run of one generation")
    parser.add_argument("--prefix", default="", help="a command that starts the worker, such as a profiler")
    arguments = parser.parse_args()
    ideal = arguments.ideal or measure(arguments, 1).wall
    run = measure(arguments, arguments.jobs, arguments.prefix.split())
    print(
        f"{arguments.jobs:,} generations of {arguments.seconds:g} s, {arguments.round_trip * 1000:g} ms away, "
        f"{arguments.queue_type} queue, {arguments.concurrency or 'default'} threads"
    )
    print_table(
        ("ideal s", "wall s", "ratio", "processor s", "requests", "connections", "warnings"),
        [
            (
                f"{ideal:.1f}", f"{run.wall:.1f}", f"{run.wall / ideal:.2f}", f"{run.processor:.1f}",
                f"{sum(run.traffic.requests.values()):,}", f"{run.traffic.connections:,}", f"{len(run.warnings)}",
            )
        ],
    )  # fmt: skip
    print(run.traffic.requests)
    if len(sys.argv) == 1:
        results.report("remote_service", {"one generation alone : 1,000 at once": ideal / run.wall})
    for warning in run.warnings[:10]:
        print(warning)


if __name__ == "__main__":
    main()
