"""Huey with its Redis storage and threads. A job leaves its list before it runs, so a killed worker loses it."""

from __future__ import annotations

from huey import RedisHuey

from benchmarks.peers.base import CONCURRENCY, URL, Peer, note, sent_now

huey = RedisHuey("bench", url=URL, results=False)
task = huey.task()(note)


class Adapter(Peer):
    def enqueue(self, count: int) -> None:
        for _ in range(count):
            task(sent_now())

    def work(self) -> None:
        huey.create_consumer(workers=CONCURRENCY, worker_type="thread").run()
