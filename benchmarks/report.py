"""Time to build `/stats` and `/metrics`, on both stores, with a thousand and with a million records.

Run by `make bench-report`; takes some minutes and 2 GB of memory. Each store has 2,000 admitted creates and 300 jobs
that ended within the last day; half of the other jobs are due, half are scheduled.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from benchmarks.stores import engines_on_both_stores
from benchmarks.table import print_table
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import Failure, Ticket
from tenxsom_flow_engine.jobs.outcomes import Dead, Done
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.report.prometheus import metrics
from tenxsom_flow_engine.report.public_json import stats
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.testing.samples import VIDEO, a_claim, a_job

SIZES = (1_000, 1_000_000)
ADMISSIONS, ENDED, ROUNDS = 2_000, 300, 25
SERVICES = ("pixverse", "ltx_studio", "heygen", "draft")


def add_history(engine: Engine) -> None:
    """Admit creates and finish jobs, so that a report is not empty."""
    for number in range(ADMISSIONS):
        engine.limiter.ask(SERVICES[number % 3], f"a{number}")
    for number in range(ENDED):
        service = SERVICES[number % 4]
        engine.store.add("local", [NewJob(a_job(f"done-{number}", service=service))])
        record = engine.store.claim(a_claim(slots=dict.fromkeys(SERVICES, 9))).records[0]
        name, token = record.job_id, record.lease_token
        engine.store.intend(name, token, Intent(submission_id=name, service=service, lifetime=1e6, max_in_flight=9))
        engine.store.accept(name, Receipt(submission_id=name, ticket=Ticket("t"), lifetime=1e6))
        engine.store.settle(name, token, Done(VIDEO) if number % 5 else Dead(Failure("x", "x"), generation_failed=True))


def waiting_jobs(engine: Engine, first: int, last: int) -> Iterator[NewJob]:
    """Yield jobs that are alternately due now and in a day."""
    now = engine.store.now()
    for number in range(first, last):
        yield NewJob(a_job(f"job-{number}", service=SERVICES[number % 4]), now + 86400 if number % 2 else None)


def median_ms(function: Callable[[], object]) -> str:
    """Return the median duration of `ROUNDS` calls in milliseconds."""
    durations = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        function()
        durations.append((time.perf_counter() - began) * 1000)
    return f"{statistics.median(durations):.1f}"


def rows(name: str, engine: Engine) -> Iterator[list[str]]:
    """Measure one store at each size."""
    add_history(engine)
    filled = 0
    for size in SIZES:
        engine.store.add("local", waiting_jobs(engine, filled, size))
        filled = size
        stats_ms = median_ms(lambda: stats(take_report(engine)))
        yield [name, f"{size:,}", stats_ms, median_ms(lambda: metrics(take_report(engine)))]


def main() -> None:
    """Print the table."""
    table = [row for name, engine in engines_on_both_stores() for row in rows(name, engine)]
    print_table(["store", "records", "/stats ms", "/metrics ms"], table)


if __name__ == "__main__":
    main()
