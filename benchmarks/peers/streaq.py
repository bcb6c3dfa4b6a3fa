"""streaQ on Redis streams: a job is taken over after `idle_timeout`, which its worker renews."""

from __future__ import annotations

import asyncio

from streaq import Worker

from benchmarks.peers.base import CONCURRENCY, URL, Peer, note_async, sent_now

worker = Worker(redis_url=URL, concurrency=CONCURRENCY, idle_timeout=30)


async def job(sent: float) -> None:
    await note_async(sent)


task = worker.task(job)


class Adapter(Peer):
    has_bulk = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._entered = False

    def enqueue(self, count: int) -> None:
        async def loop() -> None:
            await self._enter()
            for _ in range(count):
                await task.enqueue(sent_now())

        self._runner.run(loop())

    def enqueue_many(self, count: int) -> None:
        async def many() -> None:
            await self._enter()
            await worker.enqueue_many([task.enqueue(sent_now()) for _ in range(count)])

        self._runner.run(many())

    async def _enter(self) -> None:
        if not self._entered:
            self._entered = True
            await worker.__aenter__()

    def work(self) -> None:
        worker.run_sync()
