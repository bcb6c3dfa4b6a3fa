"""`make storm`: the Redis server refuses commands in every way that passes, during paid creates, again and again.

For each refusal a share of the jobs is added, half of it while the server refuses. A refusal begins while creates are
under way at the services, and lasts until they have all been answered: their tickets must wait for the server.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

from benchmarks.table import print_table
from chaos.cluster import PROCESSES, Cluster, Stopped
from chaos.folders import in_new_folder
from chaos.judge import Finding, judge
from chaos.refusals import Refusals
from chaos.scenario import add, gather, wait_until_settled
from chaos.workers import PUSH_MODULES
from tenxsom_flow_engine.jobs import EventKind, JobRecord, Status
from tenxsom_flow_engine.services.http.fake_server import At, Request
from tests import fork_server
from tests.fake_vendors import Vendors
from tests.redis_server import newer_binary, older_binary

BACKENDS = ("redis", "cloud_tasks")
SERVERS = {"oldest": older_binary, "newest": newer_binary}
#: The creates that must be under way when a refusal begins, if there are as many.
UNDER_WAY = 4
#: Seconds that a service takes to answer a create after that, and the most that it waits for the refusal.
CREATE_SECONDS, MAX_HOLD = 0.2, 20.0
#: The longest wait for a condition, in seconds.
MAX_WAIT = 120.0
#: Seconds without a change of status after which jobs count as stuck, and the longest wait for jobs to settle.
STUCK, MAX_SETTLING = 150.0, 1800.0


@dataclass(frozen=True, slots=True)
class Storm:
    """The size of a storm: jobs, and seconds of each refusal. With `fast`, timings are short, as in `make chaos`."""

    jobs: int
    seconds: float
    fast: bool = False


@dataclass
class Creates:
    """The creates that the services have accepted and not yet answered, and the number of answered ones."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    #: Whether services wait before they answer.
    held: bool = False
    under_way: int = 0
    answered: int = 0

    def watch(self, route: str, at: At, request: Request) -> None:
        """Hold a create once it is sold. The `on_moment` of a fake service."""
        if at is not At.DONE or not route.startswith("create"):
            return
        with self.changed:
            self.under_way += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self.held, MAX_HOLD)
        time.sleep(CREATE_SECONDS)
        with self.changed:
            self.under_way -= 1
            self.answered += 1
            self.changed.notify_all()

    def release(self) -> None:
        """Let the services answer."""
        with self.changed:
            self.held = False
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], what: str, stop: threading.Event) -> None:
        """Wait for a condition on the numbers. Raises `Stopped`, or `TimeoutError` after two minutes."""
        ends = time.monotonic() + MAX_WAIT
        with self.changed:
            while not condition():
                if stop.is_set():
                    raise Stopped
                if time.monotonic() > ends:
                    raise TimeoutError(f"no {what} within {MAX_WAIT:g} s")
                self.changed.wait(0.2)


@dataclass(frozen=True, slots=True)
class StormResult:
    """The number of refused commands and of creates answered in that time, by refusal; a summary; broken guarantees."""

    name: str
    refused: Counter[str]
    answered: Counter[str]
    summary: dict[str, int]
    findings: Sequence[Finding]
    #: Has store, videos and log; deleted if there are no findings.
    folder: Path


def run_storm(storm: Storm, backend: str, server: str, stop: threading.Event) -> StormResult:
    """Run one storm. Raises `Stopped` soon after `stop` is set."""
    return in_new_folder(f"storm-{backend}-", partial(_run, storm, backend, server, stop))


def _run(storm: Storm, backend: str, server: str, stop: threading.Event, folder: Path) -> StormResult:
    vendors, creates, answered = Vendors(time.time), Creates(), Counter[str]()
    began = time.monotonic()
    with ExitStack() as stack:
        for vendor in vendors.servers:
            vendor.on_moment = creates.watch
            stack.enter_context(vendor)
        cluster = stack.enter_context(
            Cluster(
                backend, folder, vendors, {}, Random(backend), stop,
                timings="patient" if storm.fast else "production", proxied=True, redis_program=SERVERS[server](),
                appendfsync="always",  # before 7.2 a write is not sure to be in the file with any other value
            )
        )  # fmt: skip
        assert cluster.redis is not None
        assert cluster.proxy is not None
        cluster.backend = replace(cluster.backend, clock_offsets=(0.0,))
        refusals = Refusals(cluster.redis, cluster.proxy)
        added: list[str] = []
        for number, name in enumerate(refusals.names):
            share = range(storm.jobs)[number :: len(refusals.names)]
            middle = (len(share) + 1) // 2
            cluster.restart_ended()  # starts the workers; later, a worker that has ended is a finding
            creates.held = True
            add(cluster, share[:middle], added)
            creates.wait_for(lambda: creates.under_way >= min(UNDER_WAY, middle), f"creates before {name}", stop)  # noqa: B023
            before, all_answered = creates.answered, creates.answered + creates.under_way
            with refusals.refusing(name, storm.seconds):
                creates.release()
                adding = threading.Thread(target=add, args=(cluster, share[middle:], added), daemon=True)
                adding.start()
                stop.wait(storm.seconds)
                creates.wait_for(lambda: creates.answered >= all_answered, f"creates during {name}", stop)  # noqa: B023
            answered[name] = creates.answered - before
            adding.join()
        records = wait_until_settled(cluster, len(added), stuck=STUCK, max_wait=MAX_SETTLING)
        evidence = gather(cluster, vendors, added, records)
        for worker in cluster.workers:
            worker.signal(signal.SIGTERM)
        codes = [worker.wait(MAX_WAIT) for worker in cluster.workers]
        log = cluster.log.read_text()
        books = evidence.books
        summary = {
            "jobs": len(added),
            "succeeded": sum(record.status is Status.SUCCEEDED for record in records),
            "held at any time": sum(_was_held(record) for record in records),
            "creates received": sum(map(len, vendors.creates().values())),
            "generations sold": len(books),
            "sold twice": len(books) - len({bill.job_id for bill in books}),
            "tickets lost": len(books) - sum(len(record.purchases) for record in records),
            "writes given up in the log": log.count("was not saved"),
            "enqueues repeated": cluster.counts["enqueue repeated"],
            "worker processes started": log.count("Booting worker") or cluster.counts["workers started"],
            "workers that ended well": codes.count(0),
            "seconds": round(time.monotonic() - began),
        }
        findings = [*judge(evidence), *_findings(summary, refusals)]
    return StormResult(f"{backend}, {server}", refusals.refused, answered, summary, findings, folder)


def _findings(summary: Mapping[str, int], refusals: Refusals) -> Iterator[Finding]:
    """Return what a storm must not change, and each refusal that did not occur."""
    expected = {
        "succeeded": summary["jobs"], "held at any time": 0, "sold twice": 0, "tickets lost": 0,
        "writes given up in the log": 0, "worker processes started": PROCESSES, "workers that ended well": PROCESSES,
    }  # fmt: skip
    for name, number in expected.items():
        if summary[name] != number:
            yield Finding("a refusal passes", f"{name}: {summary[name]} instead of {number}")
    for name in refusals.names:
        if not refusals.refused[name]:
            yield Finding("a refusal passes", f"{name} did not occur")


def _was_held(record: JobRecord) -> bool:
    return any(event.what == EventKind.HELD for event in record.events)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the storms one after another; return 0 if every guarantee held, 1 if one was broken, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="make storm", description=__doc__)
    parser.add_argument("--jobs", type=int, default=500, help="jobs of each storm")
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds of each refusal")
    parser.add_argument("--backends", default=" ".join(BACKENDS), help=", ".join(BACKENDS))
    parser.add_argument("--servers", default=" ".join(SERVERS), help=", ".join(SERVERS))
    parser.add_argument("--fast", action="store_true", help="use the short timings of make chaos")
    options = parser.parse_args(arguments)
    backends, servers = options.backends.split(), options.servers.split()
    if set(backends) - set(BACKENDS) or set(servers) - SERVERS.keys():
        parser.error(f"the backends are {', '.join(BACKENDS)}; the servers are {', '.join(SERVERS)}")
    logging.getLogger().addHandler(logging.NullHandler())  # hides the log lines of the producers in this process
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop.set())
    fork_server.preload("chaos.workers", "cloud_tasks_worker", *PUSH_MODULES)
    storm = Storm(options.jobs, options.seconds, options.fast)
    broken = False
    for backend, server in itertools.product(backends, servers):
        try:
            result = run_storm(storm, backend, server, stop)
        except Stopped:
            return 130
        _print(result)
        broken = broken or bool(result.findings)
    return 1 if broken else 0


def _print(result: StormResult) -> None:
    """Print the commands refused and the creates answered during each refusal, the outcome, and what was broken."""
    rows: list[Sequence[str]] = [
        [name, f"{result.refused[name]} / {creates}"] for name, creates in result.answered.items()
    ]
    rows += [[""], *([name, str(number)] for name, number in result.summary.items())]
    print_table(["commands refused / creates answered", result.name], rows)
    for finding in result.findings:
        print(f"BROKEN on {result.name}: {finding}", flush=True)
    if result.findings:
        print(f"store, videos and log are kept in {result.folder}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
