"""One queue backend goes through a storm: jobs are added, everything goes wrong, then all is calm, and the judge looks."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from chaos.cluster import Scale, Site, Stopped
from chaos.judge import ROUNDING, Evidence, Finding, judge, lag
from chaos.local_faults import Storm
from chaos.operator import put_in_order
from chaos.service_faults import Weather
from tenxsom_flow_engine.composition import open_ledger
from tenxsom_flow_engine.errors import QueueError, StoreError
from tenxsom_flow_engine.jobs import JobRecord, Status, VideoJob
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Limits
from tenxsom_flow_engine.store.totals import EVER
from tenxsom_flow_engine.store.values import IN_PROGRESS, JobFilter, NewJob
from tests.contract.limiter_suite import sliding_maximum
from tests.fake_vendors import KINDS, Vendors

#: What jobs ask for: each kind of the vendors', and a length that all of them make, of whoever is first.
WISHES = [*KINDS.values(), {"duration": 4}]
#: Jobs added in one go, and the share of the storm's time within which all are.
BATCH, ADDED_WITHIN = 10, 0.6
#: Seconds without any progress after which a job counts as stuck, and after which the calm is given up at all.
STUCK, WAIT_SECONDS = 20.0, 300.0
#: How often a person comes by at most: what fails once more is left as it is.
VISITS = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was done to a queue backend, and what was found."""

    backend: str
    done: Counter[str]
    found: dict[str, str]
    findings: Sequence[Finding]
    #: Where store, videos and log are left, if anything was found.
    folder: Path


def undergo(scale: Scale, seed: int, stop: threading.Event, backend: str) -> Verdict:
    """Let a queue backend go through a storm, in a process with fast timings. The seed draws the weather and the blows.

    Raises `Stopped` soon after `stop` is set.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{backend}-"))
    try:
        verdict = _undergo(scale, seed, stop, backend, folder)
    except Stopped:
        shutil.rmtree(folder)
        raise
    if not verdict.findings:
        shutil.rmtree(folder)
    return verdict


def _undergo(scale: Scale, seed: int, stop: threading.Event, backend: str, folder: Path) -> Verdict:
    vendors = Vendors(time.time)
    draw = Random(f"{seed} {backend}")
    weather = Weather(vendors, f"{seed} {backend}")
    with ExitStack() as parts:
        for server in vendors.servers:
            parts.enter_context(server)
        site = parts.enter_context(Site(backend, folder, vendors, scale, draw, stop))
        added: list[str] = []
        producer = threading.Thread(target=_add_all, args=(site, scale, added), daemon=True)
        began = time.monotonic()
        site.revive()
        weather.begin()
        producer.start()
        Storm(site, scale, draw).rage()
        producer.join()
        weather.clear_up()
        records = _calm(site, len(added))
        stormy = Counter(record.status for record in records)
        findings = judge(_evidence(site, vendors, added, records))
        for _ in range(VISITS):
            if not put_in_order(site.engine, records, vendors, site.counts):
                break
            records = _calm(site, len(added))
        evidence = _evidence(site, vendors, added, records)
        findings += [finding for finding in judge(evidence) if finding not in findings]
        done = site.counts + weather.counts + (site.cloud.faults.used if site.cloud else Counter())
        found = _found(evidence, stormy) | {"seconds in all": f"{time.monotonic() - began:.0f}"}
    return Verdict(backend, done, found, findings, folder)


def _add_all(site: Site, scale: Scale, added: list[str]) -> None:
    """Add the jobs batch by batch, each again until that was confirmed."""
    batches = [range(first, min(first + BATCH, scale.jobs)) for first in range(0, scale.jobs, BATCH)]
    for numbers in batches:
        now = time.time()
        jobs = [
            VideoJob(job_id=f"job-{n}", topic=f"Topic {n}", created_at=now, **WISHES[n % len(WISHES)]) for n in numbers
        ]
        new: list[NewJob] = [site.engine.prepare(job).new for job in jobs]
        while True:
            try:
                site.engine.queue.enqueue(new)
                break
            except (StoreError, QueueError):
                site.counts["adding repeated"] += 1
                time.sleep(0.1)
        added += [job.job_id for job in jobs]
        time.sleep(scale.seconds * ADDED_WITHIN / len(batches))


def _calm(site: Site, jobs: int) -> list[JobRecord]:
    """Wait until every job has come to an end, or none goes on any more; return the records."""
    store = site.engine.store
    gives_up = time.monotonic() + WAIT_SECONDS
    seen, seen_at = None, time.monotonic()
    while time.monotonic() < gives_up:
        site.revive()
        try:
            counts = store.status_counts().by_status
        except StoreError:
            continue
        if not any(counts[status] for status in (*IN_PROGRESS, Status.SCHEDULED)):
            break
        if counts != seen:
            seen, seen_at = counts, time.monotonic()
        elif time.monotonic() > seen_at + STUCK:
            break
        time.sleep(0.1)
    return list(store.page(JobFilter(), limit=jobs + 1).records)


def _evidence(site: Site, vendors: Vendors, added: list[str], records: list[JobRecord]) -> Evidence:
    store = site.engine.store
    ledger = open_ledger(store)
    creates = vendors.creates()
    ended: Counter[str] = Counter()
    for one in store.totals(EVER):
        ended[one.name] += one.amount  # type: ignore[assignment]
    return Evidence(
        added=added,
        records=records,
        books=vendors.books(),
        creates=creates | {GLOBAL: sorted(instant for instants in creates.values() for instant in instants)},
        admissions={name: ledger.snapshot(name).recent for name in site.limits},
        limits=site.limits,
        spent=store.spent("2000-01-01"),
        ended=ended,
        videos=site.engine.settings.output_dir,
    )


def _found(evidence: Evidence, stormy: Counter[Status]) -> dict[str, str]:
    lags = [lag(evidence.creates[name], sorted(evidence.admissions[name])) for name in evidence.limits]
    return {
        "jobs": str(len(evidence.added)),
        "made in the storm's wake": str(stormy[Status.SUCCEEDED]),
        "failed then": str(stormy[Status.FAILED]),
        "held then": str(stormy[Status.HELD]),
        "made in the end": str(sum(record.status is Status.SUCCEEDED for record in evidence.records)),
        "creates sent": str(len(evidence.creates[GLOBAL])),
        "generations sold": str(len(evidence.books)),
        "of them failed": str(sum(bill.failed for bill in evidence.books)),
        "fullest window": f"{_fullest(evidence.limits, evidence.admissions):.0%}",
        "the same where they came": f"{_fullest(evidence.limits, evidence.creates):.0%}",
        "slowest create": "?" if None in lags else f"{max(filter(None, lags), default=0.0):.1f} s",
    }


def _fullest(limits: Limits, instants: Mapping[str, Sequence[float]]) -> float:
    """Return how full the fullest window was, as a share of its limit."""
    return max(
        sliding_maximum(list(instants[name]), window.span - ROUNDING) / window.limit
        for name, windows in limits.items()
        for window in windows
    )
