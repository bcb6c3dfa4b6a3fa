"""Time to render the dashboard's pages, on both stores, with a thousand and with a hundred thousand jobs.

Run by `make bench-dashboard`; takes a minute or two. 300 jobs have ended; half of the others are due, half are
scheduled. Measured are the whole request in this process, including the login check, and the store queries alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.report import add_history, median_ms, waiting_jobs
from benchmarks.stores import engines_on_both_stores
from benchmarks.table import print_table
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime
from tests.dashboard_client import TOKEN, Visitor

SIZES = (1_000, 100_000)
PAGE = 50
PAGES = {
    "overview": "/",
    "jobs": "/jobs",
    "jobs of two statuses": "/jobs?status=scheduled&status=failed",
    "jobs with a word that no job has": "/jobs?text=nowhere",
    "a job": "/jobs/done-7",
}


def rows(name: str, engine: Engine) -> Iterator[list[str]]:
    """Measure one store at each size."""
    add_history(engine)
    runtime = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    visitor = Visitor.let_in(dashboard_app(runtime, queue_type=name.lower(), admin=TOKEN).test_client())
    filled = 0
    for size in SIZES:
        engine.store.add("local", waiting_jobs(engine, filled, size))
        filled = size
        queries: dict[str, Callable[[], object]] = {
            "overview": lambda: take_report(engine),
            "jobs": partial(_query_list, engine, JobFilter()),
            "jobs of two statuses": partial(_query_list, engine, JobFilter(statuses=[Status.SCHEDULED, Status.FAILED])),
            "jobs with a word that no job has": partial(_query_list, engine, JobFilter(text="nowhere")),
            "a job": lambda: engine.store.require("done-7"),
        }
        for page, path in PAGES.items():
            response = visitor.client.get(path)
            assert response.status_code == 200, response.text
            yield [
                page, name, f"{size:,}", median_ms(queries[page]), median_ms(partial(visitor.client.get, path))
            ]  # fmt: skip


def _query_list(engine: Engine, jobs: JobFilter) -> None:
    engine.store.page(jobs, limit=PAGE)
    engine.store.status_counts()


def main() -> None:
    """Print the table."""
    table = [row for name, engine in engines_on_both_stores() for row in rows(name, engine)]
    order = list(PAGES)
    table.sort(key=lambda row: (order.index(row[0]), row[1]))
    print_table(["page", "store", "jobs", "query ms", "page ms"], table)


if __name__ == "__main__":
    main()
