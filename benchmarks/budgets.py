"""Budgets: the exactness of a cap under four processes, and the cost of keeping it, on both stores.

Run by `make bench-budgets`. Four processes journal 10,000 creates of 4 cents under a budget for 1,000 of them: each
create is an intent and then a ticket, or now and then a refusal that returns the amount. Then one process makes
decisions about creates (admission, intent, ticket) without a budget, and with three budgets of two periods each; rounds
are interleaved, and the results are medians. `--decisions SECONDS` prints the decisions per second without a budget
only, also with a release that has none, for a comparison.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.jobs import Cost, JobRecord, Ticket, VideoJob
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.queues.stores import open_ledger, open_store_at
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.rate_limits.windows import parse_limits
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import ClaimRequest, DispatchLimits, NewJob
from tests.redis_server import RedisServer

PROCESSES, CREATES, COVERED, CENTS = 4, 10_000, 1_000, 4
#: Every n-th create is refused by the service after its intent.
REFUSED = 13
SERVICE, CHANNEL, QUEUE = "pixverse", "fun", "local"
ROUNDS, SECONDS = 5, 2.0
LIMITS = parse_limits(f"{SERVICE}=50000/s,60000/m,70000/h; global=80000/s,90000/m")


@contextmanager
def stores() -> Iterator[list[tuple[str, str, str]]]:
    """Yield name, scheme and URL of a new store of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            yield [("SQLite", "sqlite", f"sqlite://{folder}/jobs.sqlite3"), ("Redis", "redis", server.url)]
        finally:
            server.kill()


def opened(scheme: str, url: str) -> JobStore:
    """Open a store."""
    return open_store_at(scheme, url, "bench", SystemClock())


def add(store: JobStore, queue: str, number: int) -> None:
    """Add jobs to a queue."""
    names = [f"{queue}-{n}" for n in range(number)]
    store.add(queue, [NewJob(VideoJob(job_id=name, topic="Tides", service=SERVICE, channel=CHANNEL,
                                        created_at=0.0)) for name in names])  # fmt: skip


def claim(store: JobStore, queue: str, count: int) -> tuple[JobRecord, ...]:
    """Lease due jobs."""
    request = ClaimRequest(queue, "w", count, 3600.0, DispatchLimits(1e9, 10**9), {SERVICE: 10**9})
    return store.claim(request).records


def intent_of(record: JobRecord, cents: int) -> Intent:
    """Return the intent of a create; a release without budgets knows no reservation."""
    reserve: dict[str, Any] = {"reserve": cents * 10_000} if "reserve" in Intent.__slots__ else {}
    return Intent(submission_id=f"s-{record.job_id}", service=SERVICE, lifetime=3600.0, max_in_flight=10**9, **reserve)


def receipt_of(record: JobRecord, cents: int) -> Receipt:
    """Return the receipt of a create."""
    cost = Cost(usd=cents / 100)
    return Receipt(submission_id=f"s-{record.job_id}", ticket=Ticket("t"), lifetime=3600.0, cost=cost, service=SERVICE)


def buy(scheme: str, url: str) -> None:
    """Journal creates until no job is left; print how many were bought, refused by the service, and held back."""
    from tenxsom_flow_engine.errors import BudgetSpent

    bought = returned = held_back = 0
    with closing(opened(scheme, url)) as store:
        while records := claim(store, QUEUE, 50):
            for record in records:
                try:
                    store.intend(record.job_id, record.lease_token, intent_of(record, CENTS))
                except BudgetSpent:
                    held_back += 1
                    continue
                if (bought + returned) % REFUSED == REFUSED - 1:
                    store.clear_submission(record.job_id, submission_id=f"s-{record.job_id}", reason="refused")
                    returned += 1
                else:
                    store.accept(record.job_id, receipt_of(record, CENTS))
                    bought += 1
    print(bought, returned, held_back)


def exactness(name: str, scheme: str, url: str) -> None:
    """Print what four processes have spent of a cap."""
    from tenxsom_flow_engine.budgets import ALL, Span, parse_budget
    from tenxsom_flow_engine.budgets.limits import period

    with closing(opened(scheme, url)) as store:
        cap = COVERED * CENTS
        store.set_budget(ALL, parse_budget(ALL, f"{cap / 100:g}/mo"))
        add(store, QUEUE, CREATES)
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.budgets", "--buy", scheme, url]
        children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
        counts = [list(map(int, child.communicate()[0].split())) for child in children]
        bought, returned, held_back = (sum(column) for column in zip(*counts, strict=True))
        (used,) = store.amounts([(ALL, period(Span.MONTH, "UTC", store.now()))])
        over = max(0, bought * CENTS - cap)
        print(
            f"{name}: {CREATES:,} creates in {PROCESSES} processes, cap {cap} cents: {bought:,} bought for"
            f" {bought * CENTS} cents ({over} over, {bought * CENTS / cap:.1%} used), {returned} returned,"
            f" {held_back:,} held back; the store has {used.spent / 1e4:g} cents spent and {used.reserved / 1e4:g}"
            f" reserved; {time.monotonic() - began:.1f} s"
        )


def decisions(store: JobStore, seconds: float, cents: int, queue: str) -> float:
    """Return how many creates a process decides about in a second: admission, intent and ticket."""
    limiter = RateLimiter(open_ledger(store), LIMITS)
    # More jobs than can be used in the time.
    add(store, queue, int(seconds * 3000))
    count, spent = 0, 0.0
    while spent < seconds and (records := claim(store, queue, 200)):
        began = time.perf_counter()
        for record in records:
            limiter.ask(SERVICE, record.job_id)
            store.intend(record.job_id, record.lease_token, intent_of(record, cents))
            store.accept(record.job_id, receipt_of(record, cents))
            count += 1
        spent += time.perf_counter() - began
    return count / spent


def cost(name: str, scheme: str, url: str) -> None:
    """Print the decisions per second without and with budgets."""
    from tenxsom_flow_engine.budgets import parse_budgets

    found: dict[str, list[float]] = {"free creates": [], "charged, no budget": [], "three budgets": []}
    with closing(opened(scheme, url)) as store:
        budgets = parse_budgets(f"all=1000000/d,1000000/mo; channel:{CHANNEL}=1000000/d,1000000/w Europe/Berlin;"
                                f" service:{SERVICE}=1000000/d,1000000/mo")  # fmt: skip
        for number in range(ROUNDS):
            for label, rates in found.items():
                for scope, budget in budgets.items():
                    store.set_budget(scope, budget if label == "three budgets" else None)
                cents = 0 if label == "free creates" else CENTS
                rates.append(decisions(store, SECONDS, cents, f"d{number}-{label[:2]}{label[-3]}"))
    medians = {label: statistics.median(rates) for label, rates in found.items()}
    first = medians["free creates"]
    print(f"{name}: " + ", ".join(f"{label} {rate:,.0f}/s ({rate / first:.0%})" for label, rate in medians.items()))


def main() -> None:
    """Run the benchmark, or one part of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buy", nargs=2)
    parser.add_argument("--decisions", type=float)
    arguments = parser.parse_args()
    if arguments.buy:
        buy(*arguments.buy)
        return
    if arguments.decisions:
        with stores() as known:
            for name, scheme, url in known:
                with closing(opened(scheme, url)) as store:
                    rates = [decisions(store, arguments.decisions, CENTS, f"d{n}") for n in range(3)]
                print(f"{name}: {statistics.median(rates):,.0f} decisions/s")
        return
    parts: list[Callable[[str, str, str], None]] = [exactness, cost]
    for part in parts:
        with stores() as known:
            for one in known:
                part(*one)


if __name__ == "__main__":
    main()
