"""One fault injection run on a queue backend: add jobs under faults, wait until all settle, and judge the result."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from chaos.capped import CHANNEL, CappedJobs
from chaos.cluster import Cluster, Scale
from chaos.folders import in_new_folder
from chaos.judge import ROUNDING, Evidence, Finding, judge, lag
from chaos.local_faults import LocalFaults
from chaos.mirror import mirror
from chaos.operator import resolve_and_retry
from chaos.service_faults import ServiceFaults
from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.errors import QueueError, StoreError
from tenxsom_flow_engine.jobs import JobRecord, Status, VideoJob
from tenxsom_flow_engine.queues.stores import open_ledger
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Limits
from tenxsom_flow_engine.store.totals import EVER
from tenxsom_flow_engine.store.values import IN_PROGRESS, JobFilter, NewJob
from tests.contract.limiter_suite import sliding_maximum
from tests.fake_vendors import KINDS, Vendors

#: Options of the jobs, in turn: each kind of job of each service, and one that `auto` can send to any of them.
JOB_OPTIONS = [*KINDS.values(), {"duration": 4}]
#: Jobs added in one call, and the share of the faults' time in which all jobs are added.
BATCH, ADDING_SHARE = 10, 0.6
#: Seconds without a change of status after which jobs count as stuck, and the longest wait for jobs to settle.
STUCK, MAX_WAIT = 20.0, 300.0
#: Every n-th job is in the channel that has a budget. Seconds without a change after which they are read.
CAPPED, QUIET = 3, 2.0
#: The channel of as many other jobs. It has a weight, limits and slots, and is paused while half of the jobs are added.
BUSY = "busy"
#: Times the operator resolves and retries jobs, at most; a job that fails again after that stays failed.
OPERATOR_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """The injected faults of a run, a summary of it, and the broken guarantees."""

    backend: str
    faults: Counter[str]
    summary: dict[str, str]
    findings: Sequence[Finding]
    #: Has store, videos and log; deleted if there are no findings.
    folder: Path


def run_scenario(scale: Scale, seed: int, stop: threading.Event, backend: str) -> ScenarioResult:
    """Run a queue backend under faults that are drawn from the seed. Raises `Stopped` soon after `stop` is set."""
    return in_new_folder(f"chaos-{backend}-", partial(_run, scale, seed, stop, backend))


def _run(scale: Scale, seed: int, stop: threading.Event, backend: str, folder: Path) -> ScenarioResult:
    vendors = Vendors(time.time)
    random = Random(f"{seed} {backend}")
    service_faults = ServiceFaults(vendors, f"{seed} {backend}")
    with ExitStack() as stack:
        for server in vendors.servers:
            stack.enter_context(server)
        limits = scale.limits(vendors.by_service)
        cluster = stack.enter_context(Cluster(backend, folder, vendors, limits, random, stop, bucket=scale.bucket))
        added: list[str] = []
        prepared = _prepared(cluster, range(scale.jobs))
        budget = CappedJobs.limit(cluster.engine, prepared)
        producer = threading.Thread(target=_add_all, args=(cluster, scale, prepared, added), daemon=True)
        began = time.monotonic()
        cluster.restart_ended()
        service_faults.start()
        producer.start()
        LocalFaults(cluster, scale, random).run()
        producer.join()
        service_faults.stop()
        wait_until_settled(cluster, len(added), budget=budget)
        capped = budget.evidence(vendors)
        budget.remove()
        records = wait_until_settled(cluster, len(added))
        after_faults = Counter(record.status for record in records)
        findings = judge(replace(gather(cluster, vendors, added, records), capped=capped))
        for _ in range(OPERATOR_ROUNDS):
            if not resolve_and_retry(cluster.engine, records, vendors, cluster.counts):
                break
            records = wait_until_settled(cluster, len(added))
        evidence = gather(cluster, vendors, added, records)
        findings += [finding for finding in judge(evidence) if finding not in findings]
        faults = cluster.counts + service_faults.counts + (cluster.cloud.faults.used if cluster.cloud else Counter())
        summary = (
            _summary(evidence, after_faults) | budget.summary(capped) | {"seconds": f"{time.monotonic() - began:.0f}"}
        )
    return ScenarioResult(backend, faults, summary, findings, folder)


def _prepared(cluster: Cluster, numbers: Sequence[int]) -> list[NewJob]:
    """Prepare the jobs with these numbers, every third in the channel that has a budget, others in a busy one."""
    now = time.time()
    return [
        cluster.engine.prepare(
            VideoJob(
                job_id=f"job-{n}",
                topic=f"Topic {n}",
                created_at=now,
                channel=CHANNEL if n % CAPPED == 0 else BUSY if n % CAPPED == 1 else "",
                priority=n % 10,
                **JOB_OPTIONS[n % len(JOB_OPTIONS)],
            )
        ).new
        for n in numbers
    ]


def _add_all(cluster: Cluster, scale: Scale, jobs: Sequence[NewJob], added: list[str]) -> None:
    """Add the jobs in batches, each repeated until the queue confirms it."""
    batches = [jobs[first : first + BATCH] for first in range(0, scale.jobs, BATCH)]
    _set_busy(cluster, paused=True)
    for number, new in enumerate(batches):
        _enqueue(cluster, new, added)
        if number == len(batches) // 2:
            _set_busy(cluster, paused=False)
        time.sleep(scale.seconds * ADDING_SHARE / len(batches))


def _set_busy(cluster: Cluster, *, paused: bool) -> None:
    """Give the busy channel its settings, and pause or resume it; repeated until the store confirms it."""
    settings = Channel(weight=3.0, limits="200/m", slots=5, paused=paused)
    while True:
        with suppress(StoreError):
            cluster.engine.store.set_channel(BUSY, lambda present: settings)
            return
        cluster.counts["channel set again"] += 1
        time.sleep(0.1)


def add(cluster: Cluster, numbers: Sequence[int], added: list[str]) -> None:
    """Add the jobs with these numbers in one call, which is repeated until the queue confirms it."""
    _enqueue(cluster, _prepared(cluster, numbers), added)


def _enqueue(cluster: Cluster, new: Sequence[NewJob], added: list[str]) -> None:
    while True:
        try:
            cluster.engine.queue.enqueue(new)
            break
        except (StoreError, QueueError):
            cluster.counts["enqueue repeated"] += 1
            time.sleep(0.1)
    added += [item.job.job_id for item in new]


def wait_until_settled(
    cluster: Cluster,
    jobs: int,
    *,
    stuck: float = STUCK,
    max_wait: float = MAX_WAIT,
    budget: CappedJobs | None = None,
) -> list[JobRecord]:
    """Wait until every job is final, held or waits for the budget, or nothing has changed for `stuck` seconds.

    Returns the records.
    """
    store = cluster.engine.store
    deadline = time.monotonic() + max_wait
    last, changed_at = None, time.monotonic()
    while time.monotonic() < deadline:
        cluster.restart_ended()
        try:
            counts = store.status_counts().by_status
        except StoreError:
            continue
        if not any(counts[status] for status in (*IN_PROGRESS, Status.SCHEDULED)):
            break
        if counts != last:
            last, changed_at = counts, time.monotonic()
        elif time.monotonic() > changed_at + stuck or (
            budget is not None and time.monotonic() > changed_at + QUIET and budget.only_these_wait(jobs)
        ):
            break
        time.sleep(0.1)
    return list(store.page(JobFilter(), limit=jobs + 1).records)


def gather(cluster: Cluster, vendors: Vendors, added: list[str], records: list[JobRecord]) -> Evidence:
    """Return the facts about a run."""
    videos = cluster.engine.settings.work_dir
    if not cluster.engine.output.local:
        videos = cluster.folder / f"mirror-{secrets.token_hex(4)}"
        records = mirror(cluster.engine.output, records, videos)
    store = cluster.engine.store
    ledger = open_ledger(store)
    creates = vendors.creates()
    ended: Counter[str] = Counter()
    for total in store.totals(EVER):
        ended[total.name] += total.amount  # type: ignore[assignment]
    return Evidence(
        added=added,
        records=records,
        books=vendors.books(),
        creates=creates | {GLOBAL: sorted(instant for instants in creates.values() for instant in instants)},
        admissions={name: ledger.snapshot(name).recent for name in cluster.limits},
        limits=cluster.limits,
        spent=store.spent("2000-01-01"),
        ended=ended,
        videos=videos,
    )


def _summary(evidence: Evidence, after_faults: Counter[Status]) -> dict[str, str]:
    lags = [lag(evidence.creates[name], sorted(evidence.admissions[name])) for name in evidence.limits]
    return {
        "jobs": str(len(evidence.added)),
        "succeeded after the faults": str(after_faults[Status.SUCCEEDED]),
        "failed after the faults": str(after_faults[Status.FAILED]),
        "held after the faults": str(after_faults[Status.HELD]),
        "succeeded in the end": str(sum(record.status is Status.SUCCEEDED for record in evidence.records)),
        "creates received": str(len(evidence.creates[GLOBAL])),
        "generations sold": str(len(evidence.books)),
        "failed generations": str(sum(bill.failed for bill in evidence.books)),
        "fullest window, admissions": f"{_fullest(evidence.limits, evidence.admissions):.0%}",
        "fullest window, creates received": f"{_fullest(evidence.limits, evidence.creates):.0%}",
        "longest create delay": "?" if None in lags else f"{max(filter(None, lags), default=0.0):.1f} s",
    }


def _fullest(limits: Limits, instants: Mapping[str, Sequence[float]]) -> float:
    """Return the largest share of a limit that was in use in any window."""
    return max(
        sliding_maximum(list(instants[name]), window.span - ROUNDING) / window.limit
        for name, windows in limits.items()
        for window in windows
    )
