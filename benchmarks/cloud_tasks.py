"""Enqueue rate of Cloud Tasks: in a batch and one by one, with and without network latency; CPU time of `single`.

Run by `make bench`. The API server is the project's emulator in a separate process. Google is assumed to be 20 ms away,
so a proxy delays each response by that.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.venvs import ROOT
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.queues.cloud_tasks.queue import CloudTasksQueue
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import DispatchLimits, NewJob

#: Latency of a response, in seconds.
DELAY = 0.02
ONE_BY_ONE, BATCH, ROUNDS = 50, 1000, 3


def serve(ready: Connection) -> None:
    """Run the Cloud Tasks emulator; send its port to `ready`."""
    from tenxsom_flow_engine.emulator.server import CloudTasksServer

    with CloudTasksServer() as server:
        ready.send(int(server.target.rpartition(":")[2]))
        threading.Event().wait()


def delay_responses(ready: Connection, port: int) -> None:
    """Run a TCP proxy that delays responses; send its port to `ready`."""

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
        loop = asyncio.get_running_loop()
        while data := await source.read(65536):
            loop.call_later(delay, target.write, data)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, server_writer, 0), pump(server_reader, writer, DELAY))

    async def run() -> None:
        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def start(target: Callable[..., None], *args: int) -> tuple[BaseProcess, int]:
    """Start a server in a new process; return the process and the port."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe()
    process = context.Process(target=target, args=(sender, *args), daemon=True)
    process.start()
    return process, receiver.recv()


def jobs(count: int, name: str) -> list[NewJob]:
    return [NewJob(VideoJob(job_id=f"{name}-{n}", topic="Why the sea is salt", created_at=1.0)) for n in range(count)]


def measure(port: int, home: Path) -> tuple[float, float]:
    """Return the enqueue rates in jobs/s: one by one, and in a batch."""
    settings = load({
        "CLOUD_TASKS_EMULATOR_HOST": f"127.0.0.1:{port}", "GOOGLE_CLOUD_PROJECT": "p-1",
        "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9", "CLOUD_TASKS_QUEUE": f"q-{home.name}",
    })  # fmt: skip
    with (
        closing(SQLiteStore(home / "jobs.sqlite3", SystemClock())) as store,
        closing(CloudTasksQueue(store, settings.cloud_tasks, DispatchLimits(500.0, 5000))) as queue,
    ):
        queue.create()
        queue.pause()
        began = time.perf_counter()
        for job in jobs(ONE_BY_ONE, "one"):
            queue.enqueue([job])
        between = time.perf_counter()
        queue.enqueue(jobs(BATCH, "batch"))
        return ONE_BY_ONE / (between - began), BATCH / (time.perf_counter() - between)


def cold_single(port: int, home: Path) -> float:
    """Return the CPU seconds of a command that adds one job."""
    environment = os.environ | {
        "TENXSOM_HOME": str(home), "CLOUD_TASKS_EMULATOR_HOST": f"127.0.0.1:{port}", "GOOGLE_CLOUD_PROJECT": "p-1",
        "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9", "CLOUD_TASKS_QUEUE": "q-0", "REDIS_PORT": "1",
    }  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, str(ROOT / "run_flow_enhanced.py"), "single", "--topic", "x", "--queue-type", "cloud_tasks"],
        env=environment, check=True, capture_output=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print both comparisons."""
    server, near = start(serve)
    network, far = start(delay_responses, near)
    print("Adding jobs to Cloud Tasks (emulator; SQLite store, each job is synced before its task is created)\n")
    print(f"{'':26} {'one by one':>12} {'in a batch':>12} {'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        number = 0
        for place, port in (("on this machine", near), (f"with {DELAY * 1000:.0f} ms of latency", far)):
            rounds = []
            for _ in range(ROUNDS):
                home = Path(folder) / str(number)
                home.mkdir()
                rounds.append(measure(port, home))
                number += 1
            single, batch = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"{place:26} {single:>10,.0f}/s {batch:>10,.0f}/s {batch / single:>7.1f}x")
        cpu = statistics.median(cold_single(near, Path(folder) / "home") for _ in range(5))
        print(f"\na cold `single --queue-type cloud_tasks`: {cpu:.2f} s of CPU")
    for process in (server, network):
        process.terminate()


if __name__ == "__main__":
    main()
