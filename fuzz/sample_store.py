"""A store with jobs of every kind, to be damaged."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord, VideoJob
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.rate_limits.windows import parse_windows
from tenxsom_flow_engine.services.simulated.config import SimulationPlan
from tenxsom_flow_engine.services.simulated.service import SimulatedService
from tenxsom_flow_engine.settings import Settings, load
from tenxsom_flow_engine.store.values import NewJob, WorkerInfo

SERVICE = "simulated"
#: How the simulated service treats the jobs of each kind, and how many of their steps are run.
KINDS: Mapping[str, tuple[SimulationPlan, int]] = {
    "finished": (SimulationPlan(latency=0), 10),
    "failed": (SimulationPlan(rejected=1), 1),
    "unknown": (SimulationPlan(uncertain=1, latency=0, create_timeout=0.1), 1),
    "rendering": (SimulationPlan(latency=0), 1),
    "waiting": (SimulationPlan(), 0),
}


@dataclass(frozen=True)
class Sample:
    """The jobs of a store, as they were left."""

    records: Mapping[str, JobRecord]
    #: The number of purchases of each job.
    bought: Mapping[str, int]


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the variables of an installation whose service sells at once, and whose leases soon run out."""
    return {
        "TENXSOM_HOME": str(home), "TENXSOM_OUTPUT_DIR": str(home / "videos"),
        "TENXSOM_SIMULATED": "latency=0 create_timeout=0.1", "TENXSOM_QUEUE_TYPE": "local",
        "TENXSOM_LEASE_SECONDS": "1", "CLOUDSDK_CONFIG": str(home), "CLOUD_TASKS_MAX_DISPATCHES": "500",
        "CLOUD_TASKS_MAX_CONCURRENT": "64", **more,
    }  # fmt: skip


class _Earlier:
    """A clock half an hour ago, so that every wait of the jobs that it adds is over."""

    def now(self) -> float:
        """Return the instant half an hour ago."""
        return time.time() - 1800


def fill(variables: Mapping[str, str]) -> Sample:
    """Add jobs of every kind to the store of an installation, and settings of its queue and service."""
    settings, clock = load(variables), _Earlier()
    random.seed(7)  # the service's
    for kind, (plan, steps) in KINDS.items():
        service = SimulatedService(plan, settings.home / "simulated-ledger", clock)
        with open_engine(settings, services={SERVICE: service}, clock=clock) as engine:
            jobs = [_job(f"{kind}-{number}", engine.store.now()) for number in (1, 2, 3)]
            engine.queue.enqueue([NewJob(job) for job in jobs])
            for _ in range(steps):
                _step_each(engine)
    with open_engine(settings, clock=clock) as engine:
        later = engine.store.now() + 86400
        engine.queue.enqueue([NewJob(_job("scheduled-1", later - 86400), later)])
        engine.queue.set_limits(400.0, 32)
        engine.limiter.set_limits(SERVICE, parse_windows("1000/60s"))
        engine.limiter.ask(SERVICE, "sample-waiter")
        engine.limiter.pause("draft", "for the sample")
        engine.store.acquire_lock("sample-lock", "sample-worker", 3600.0)
        engine.store.heartbeat(WorkerInfo("sample-worker", engine.queue.name, "host", 1, 4, engine.store.now()))
        ids = [f"{kind}-{number}" for kind in KINDS for number in (1, 2, 3)] + ["scheduled-1"]
        return Sample({job_id: engine.store.require(job_id) for job_id in ids}, bought(settings))


def bought(settings: Settings) -> dict[str, int]:
    """Count the sales of the simulated service by job."""
    ledger = settings.home / "simulated-ledger"
    references = [line.rpartition("/")[2] for line in ledger.read_text("utf-8").splitlines()]
    found: dict[str, int] = {}
    for reference in references:
        job_id = reference.partition(".")[0]
        found[job_id] = found.get(job_id, 0) + 1
    return found


def _job(job_id: str, now: float) -> VideoJob:
    return VideoJob(job_id=job_id, topic=f"Topic of {job_id}", service=SERVICE, channel="sea", created_at=now)


def _step_each(engine: Engine) -> None:
    assert isinstance(engine.queue, PullsJobs)
    for record in engine.queue.claim("sample-worker", 100, engine.slots).records:
        engine.step(record)
