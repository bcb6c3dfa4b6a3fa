"""Enqueue rate of Cloud Tasks: one by one and in a batch, with and without network latency; CPU time of `single`.

Run by `make bench`. The API server is the project's emulator in a separate process. Google is assumed to be 20 ms away,
so a proxy delays each response by that. In each round, our calls and Google's client (from 32 threads) create as many
tasks without any records.
"""

from __future__ import annotations

import asyncio
import itertools
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import grpc
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from benchmarks import results
from benchmarks.table import print_table
from benchmarks.venvs import ROOT
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.jobs.codec import encode
from tenxsom_flow_engine.queues.cloud_tasks.api import Api, NewTask
from tenxsom_flow_engine.queues.cloud_tasks.queue import CloudTasksQueue
from tenxsom_flow_engine.settings import Settings, load
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import DispatchLimits, NewJob

#: Latency of a response, in seconds.
DELAY = 0.02
ONE_BY_ONE, BATCH, ROUNDS, COLD = 50, 1000, 3, 5
#: Threads of Google's client.
THREADS = 32


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
        loop.call_later(delay, target.close)

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


def settings_for(port: int, queue: str) -> Settings:
    return load({
        "CLOUD_TASKS_EMULATOR_HOST": f"127.0.0.1:{port}", "GOOGLE_CLOUD_PROJECT": "p-1",
        "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9", "CLOUD_TASKS_QUEUE": queue,
    })  # fmt: skip


Rates = tuple[float, float, float]


def rates(name: str, one: Callable[[NewJob], object], many: Callable[[list[NewJob]], object]) -> Rates:
    """Return the rates of two functions that add jobs, one by one and in a batch, and CPU ms per job of a batch."""
    one_by_one, batch = jobs(ONE_BY_ONE, f"{name}-one"), jobs(BATCH, f"{name}-batch")
    began = time.perf_counter()
    for job in one_by_one:
        one(job)
    between, used = time.perf_counter(), time.process_time()
    many(batch)
    took, cpu = time.perf_counter() - between, time.process_time() - used
    return ONE_BY_ONE / (between - began), BATCH / took, cpu / BATCH * 1e3


def enqueue(settings: Settings, home: Path) -> Rates:
    """Return the rates of our queue, which it creates."""
    with (
        closing(SQLiteStore(home / "jobs.sqlite3", SystemClock())) as store,
        closing(CloudTasksQueue(store, settings.cloud_tasks, DispatchLimits(500.0, 5000))) as queue,
    ):
        queue.create()
        queue.pause()
        return rates("queue", lambda job: queue.enqueue([job]), queue.enqueue)


def our_calls(settings: Settings) -> Rates:
    """Return the rates of our calls without records."""

    def create(added: list[NewJob]) -> None:
        for _ in api.create_tasks([NewTask(item.job.job_id, encode(item.job)) for item in added]):
            pass

    with closing(Api(settings.cloud_tasks)) as api:
        return rates("calls", lambda job: create([job]), create)


def googles_client(settings: Settings) -> Rates:
    """Return the rates of Google's client without records: one by one, and from threads."""
    queue = f"projects/p-1/locations/{settings.cloud_tasks.location}/queues/{settings.cloud_tasks.queue}"

    def create(item: NewJob) -> None:
        request = tasks_v2.HttpRequest(
            url="http://127.0.0.1:9/process", http_method=tasks_v2.HttpMethod.POST, body=encode(item.job),
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        task = tasks_v2.Task(
            name=f"{queue}/tasks/{item.job.job_id}", http_request=request, dispatch_deadline=timedelta(minutes=10)
        )
        client.create_task(parent=queue, task=task, retry=None, timeout=5.0)

    with grpc.insecure_channel(settings.cloud_tasks.emulator_host) as channel, ThreadPoolExecutor(THREADS) as threads:
        client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
        return rates("google", create, lambda added: list(threads.map(create, added)))


def cold_single(port: int, home: Path, queue_type: str) -> float:
    """Return the CPU seconds of a command that adds one job."""
    environment = os.environ | {
        "TENXSOM_HOME": str(home), "CLOUD_TASKS_EMULATOR_HOST": f"127.0.0.1:{port}", "GOOGLE_CLOUD_PROJECT": "p-1",
        "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9", "CLOUD_TASKS_QUEUE": "q-0", "REDIS_PORT": "1",
    }  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, str(ROOT / "run_flow_enhanced.py"), "single", "--topic", "x", "--queue-type", queue_type],
        env=environment, check=True, capture_output=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the rates and the processor time of a command, and report their ratios."""
    server, near = start(serve)
    network, far = start(delay_responses, near)
    ratios: dict[str, float] = {}
    print("Tasks/s (emulator); ours with a SQLite store, in which each job is synced before its task is created\n")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        homes = (Path(folder) / str(number) for number in itertools.count())
        for place, port in (("on this machine", near), (f"with {DELAY * 1000:.0f} ms of latency", far)):
            rounds = []
            for home in itertools.islice(homes, ROUNDS):
                home.mkdir()
                settings = settings_for(port, f"q-{home.name}")
                rounds.append([*enqueue(settings, home), *our_calls(settings), *googles_client(settings)])
            medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
            for number, name in enumerate(
                ("ours, with records", "our calls, no records", "Google's client, no records")
            ):
                one, batch, cpu = medians[3 * number : 3 * number + 3]
                rows.append([place if number == 0 else "", name, f"{one:,.0f}", f"{batch:,.0f}", f"{cpu:.2f}"])
            _, queue_batch, _, one, batch, cpu, googles_one, googles_batch, googles_cpu = medians
            ratios[f"one by one, {place}: our calls : Google's client"] = one / googles_one
            ratios[f"in a batch, {place}: our calls : Google's client"] = batch / googles_batch
            ratios[f"in a batch, {place}: with records : without"] = queue_batch / batch
            ratios[f"CPU time of a batch, {place}: Google's client : our calls"] = googles_cpu / cpu
        print_table(("", "", "one by one", "in a batch", "CPU ms a task, in a batch"), rows)
        home = Path(folder) / "home"
        pairs = [[cold_single(near, home, kind) for kind in ("cloud_tasks", "local")] for _ in range(COLD)]
    cloud, local = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"\nCPU time of a cold `single`: --queue-type cloud_tasks {cloud:.2f} s, local {local:.2f} s")
    ratios["CPU time of a cold single: local : cloud_tasks"] = local / cloud
    results.report("cloud_tasks", ratios)
    for process in (server, network):
        process.terminate()


if __name__ == "__main__":
    main()
