"""Celery on Redis with threads, late acknowledgement, and a prefetch of one job per thread."""

from __future__ import annotations

from celery import Celery

from benchmarks.peers.base import CONCURRENCY, URL, Peer, note, sent_now

app = Celery("bench", broker=URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 30},
)
task = app.task(name="note")(note)


class Adapter(Peer):
    def enqueue(self, count: int) -> None:
        for _ in range(count):
            task.delay(sent_now())

    def work(self) -> None:
        app.worker_main(["worker", "--pool", "threads", "--concurrency", str(CONCURRENCY), "--loglevel", "warning"])
