"""Dramatiq with its Redis broker: jobs are acknowledged when done; jobs of dead workers are requeued at random."""

from __future__ import annotations

import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.base import CONCURRENCY, URL, Peer, note, sent_now

broker = RedisBroker(url=URL)
dramatiq.set_broker(broker)
actor = dramatiq.actor(note, broker=broker)


class Adapter(Peer):
    def enqueue(self, count: int) -> None:
        for _ in range(count):
            actor.send(sent_now())

    def work(self) -> None:
        dramatiq.Worker(broker, worker_threads=CONCURRENCY).start()
        threading.Event().wait()
