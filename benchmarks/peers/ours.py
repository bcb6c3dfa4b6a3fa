"""Our queue: the real worker, the real store and all guarantees, with a step that is done at once."""

from __future__ import annotations

import os
import secrets
import time

from benchmarks.peers.base import CONCURRENCY, URL, Peer, note, sent_now
from tenxsom_flow_engine import logs
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.engine import Engine, QueueChoice
from tenxsom_flow_engine.jobs import Failure, JobRecord, VideoJob
from tenxsom_flow_engine.jobs.outcomes import Dead
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import DispatchLimits, NewJob
from tenxsom_flow_engine.workers.pull import PullWorker

#: What our keys begin with, and for how many seconds jobs are put off.
PREFIX = os.environ.get("BENCH_PREFIX", "bench")
DELAY = float(os.environ.get("BENCH_DELAY", "0"))
#: Never reached: what is measured is the queue, not its limits.
LIMITS = DispatchLimits(max_dispatches_per_second=1e6, max_concurrent_dispatches=5000)
#: Ends a job with its first delivery; a video would need a ticket before it.
OVER = Dead(Failure("benchmark", "there is nothing to make"))


class _NoOp(Engine):
    def step(self, record: JobRecord) -> JobRecord:
        note(float(record.job.topic))
        return self.queue.settle(record, OVER)


class Contestant(Peer):
    has_bulk = True

    def __init__(self) -> None:
        logs.configure("warning")
        settings = load(
            {
                "REDIS_URL": URL,
                "REDIS_QUEUE_KEY": PREFIX,
                "TENXSOM_HOME": os.environ["BENCH_HOME"],
                "TENXSOM_SIMULATED": "slots=5000",
            }
        )
        self._engine = _NoOp(settings, QueueChoice("redis", "for a benchmark"), SystemClock())
        self._engine.queue = PullQueue("redis", self._engine.store, LIMITS, settings.lease)

    def enqueue(self, count: int) -> None:
        for _ in range(count):
            self._engine.queue.enqueue([_job()])

    def enqueue_many(self, count: int) -> None:
        self._engine.queue.enqueue(_job() for _ in range(count))

    def work(self) -> None:
        PullWorker(self._engine, concurrency=CONCURRENCY).run()


def _job() -> NewJob:
    now = time.time()
    job = VideoJob(job_id=secrets.token_hex(8), topic=repr(sent_now()), service="simulated", created_at=now)
    return NewJob(job, now + DELAY if DELAY else None)
