"""A plain list with redis-py, without guarantees: the upper bound for a queue in Python."""

from __future__ import annotations

import threading

import redis

from benchmarks.peers.base import CONCURRENCY, URL, Peer, note, sent_now

KEY = "raw"


class Adapter(Peer):
    has_bulk = True

    def __init__(self) -> None:
        self._client = redis.Redis.from_url(URL)

    def enqueue(self, count: int) -> None:
        for _ in range(count):
            self._client.lpush(KEY, str(sent_now()))

    def enqueue_many(self, count: int) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for _ in range(count):
                pipeline.lpush(KEY, str(sent_now()))
            pipeline.execute()

    def work(self) -> None:
        threads = [threading.Thread(target=self._loop) for _ in range(CONCURRENCY)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _loop(self) -> None:
        client = redis.Redis.from_url(URL, socket_timeout=None)
        while True:
            popped = client.brpop([KEY])
            assert isinstance(popped, list | tuple)
            note(float(popped[1]))
