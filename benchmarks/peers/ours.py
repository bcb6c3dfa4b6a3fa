"""Our queue: the real worker and the real store with all guarantees, and a step that ends immediately."""

from __future__ import annotations

import os
import secrets
import time

from benchmarks.peers.base import CONCURRENCY, URL, Peer, note, sent_now
from tenxsom_flow_engine import logs
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.composition import open_engine, open_store
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.services.base import Fit
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import DispatchLimits, NewJob
from tenxsom_flow_engine.testing.gates import OpenGate
from tenxsom_flow_engine.testing.services import ScriptedService
from tenxsom_flow_engine.workers.pull import PullWorker

#: Key prefix, and seconds after which an added job is due.
PREFIX = os.environ.get("BENCH_PREFIX", "bench")
DELAY = float(os.environ.get("BENCH_DELAY", "0"))
#: The service of the jobs.
SERVICE = "refusing"
#: Never reached, since the benchmark measures the queue and not its limits.
LIMITS = DispatchLimits(max_dispatches_per_second=1e6, max_concurrent_dispatches=5000)


class _Refusing(ScriptedService):
    """Records the start of each job's step and then rejects the job, since a video would need more steps."""

    def fit(self, job: VideoJob) -> Fit:
        note(float(job.topic))
        raise InvalidInput("topic", "the benchmark makes no videos")


class Adapter(Peer):
    has_bulk = True

    def __init__(self) -> None:
        logs.configure("critical")
        settings = load({"REDIS_URL": URL, "REDIS_QUEUE_KEY": PREFIX, "TENXSOM_HOME": os.environ["BENCH_HOME"]})
        clock = SystemClock()
        store = open_store(settings, "redis", clock)
        self._engine = open_engine(
            settings,
            "redis",
            services={SERVICE: _Refusing(clock, name=SERVICE, max_in_flight=5000)},
            store=store,
            queue=PullQueue("redis", store, LIMITS, settings.lease),
            gate=OpenGate(clock),
        )

    def enqueue(self, count: int) -> None:
        for _ in range(count):
            self._engine.queue.enqueue([_job()])

    def enqueue_many(self, count: int) -> None:
        self._engine.queue.enqueue(_job() for _ in range(count))

    def work(self) -> None:
        PullWorker(self._engine, concurrency=CONCURRENCY).run()


def _job() -> NewJob:
    now = time.time()
    job = VideoJob(job_id=secrets.token_hex(8), topic=repr(sent_now()), service=SERVICE, created_at=now)
    return NewJob(job, now + DELAY if DELAY else None)
