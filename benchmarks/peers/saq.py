"""SAQ on Redis: active jobs are swept every minute. Here a job has no time limit, and is retried when it is swept."""

from __future__ import annotations

import asyncio
from typing import Any

from saq import Queue, Worker

from benchmarks.peers.base import CONCURRENCY, URL, Peer, note_async, sent_now


async def job(context: Any, *, sent: float) -> None:
    await note_async(sent)


class Adapter(Peer):
    has_bulk = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._queue = Queue.from_url(URL)

    def enqueue(self, count: int) -> None:
        async def loop() -> None:
            for _ in range(count):
                await self._enqueue()

        self._runner.run(loop())

    def enqueue_many(self, count: int) -> None:
        async def gather() -> None:
            await asyncio.gather(*(self._enqueue() for _ in range(count)))

        self._runner.run(gather())

    async def _enqueue(self) -> None:
        # The manual's `timeout` and `heartbeat` for jobs that must be retried when their worker dies.
        await self._queue.enqueue("job", sent=sent_now(), timeout=0, heartbeat=30, retries=3)

    def work(self) -> None:
        self._runner.run(Worker(self._queue, functions=[job], concurrency=CONCURRENCY).start())
