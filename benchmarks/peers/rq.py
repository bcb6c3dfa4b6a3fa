"""RQ: a worker forks a process for each job; RQ has no worker with threads."""

from __future__ import annotations

import redis
from rq import Queue, Retry, Worker

from benchmarks.peers.base import URL, Peer, note, sent_now


class Adapter(Peer):
    has_bulk = True

    def __init__(self) -> None:
        self._connection = redis.Redis.from_url(URL)
        self._queue = Queue("bench", connection=self._connection)

    def enqueue(self, count: int) -> None:
        for _ in range(count):
            self._queue.enqueue(note, sent_now(), result_ttl=0, retry=Retry(max=3))

    def enqueue_many(self, count: int) -> None:
        retry = Retry(max=3)
        for start in range(0, count, 500):
            some = range(min(500, count - start))
            self._queue.enqueue_many([Queue.prepare_data(note, (sent_now(),), result_ttl=0, retry=retry) for _ in some])

    def work(self) -> None:
        Worker([self._queue], connection=self._connection).work(logging_level="WARNING")
