"""taskiq with taskiq-redis's stream broker: a job is acknowledged when done, and taken over after `idle_timeout`."""

from __future__ import annotations

import asyncio

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from benchmarks.peers.base import CONCURRENCY, URL, Peer, note_async, sent_now

broker = RedisStreamBroker(url=URL, idle_timeout=30_000)
task = broker.task(task_name="note")(note_async)


class Adapter(Peer):
    has_bulk = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(broker.startup())

    def enqueue(self, count: int) -> None:
        async def loop() -> None:
            for _ in range(count):
                await task.kiq(sent_now())

        self._runner.run(loop())

    def enqueue_many(self, count: int) -> None:
        async def gather() -> None:
            for _ in range(0, count, 100):  # a larger batch only opens more connections
                await asyncio.gather(*(task.kiq(sent_now()) for _ in range(100)))

        self._runner.run(gather())

    def work(self) -> None:
        self._runner.run(run_receiver_task(broker, max_async_tasks=CONCURRENCY, run_startup=True))
