"""How long the dashboard's pages take to make, on both stores, with a thousand and with a hundred thousand jobs.

Run by `make bench-dashboard`; takes a minute or two. Beside 300 jobs that ended, half of the jobs are due and half are
scheduled. Measured is the whole answer, from the request in this process to the page, the login's check with it; and of
it the questions to the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.report import begin, milliseconds, waiting
from benchmarks.stores import on_both_stores
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
    "jobs with a word that none has": "/jobs?text=nowhere",
    "a job": "/jobs/done-7",
}


def rows(name: str, engine: Engine) -> Iterator[list[str]]:
    """Measure one store at each size."""
    begin(engine)
    parts = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    visitor = Visitor.let_in(dashboard_app(parts, queue_type=name.lower(), admin=TOKEN).test_client())
    filled = 0
    for size in SIZES:
        engine.store.add("local", waiting(engine, filled, size))
        filled = size
        questions: dict[str, Callable[[], object]] = {
            "overview": lambda: take_report(engine),
            "jobs": partial(_listed, engine, JobFilter()),
            "jobs of two statuses": partial(_listed, engine, JobFilter(statuses=[Status.SCHEDULED, Status.FAILED])),
            "jobs with a word that none has": partial(_listed, engine, JobFilter(text="nowhere")),
            "a job": lambda: engine.store.require("done-7"),
        }
        for page, path in PAGES.items():
            answer = visitor.client.get(path)
            assert answer.status_code == 200, answer.text
            yield [
                page, name, f"{size:,}", milliseconds(questions[page]), milliseconds(partial(visitor.client.get, path))
            ]  # fmt: skip


def _listed(engine: Engine, jobs: JobFilter) -> None:
    engine.store.page(jobs, limit=PAGE)
    engine.store.status_counts()


def main() -> None:
    """Print the table."""
    found = [row for name, engine in on_both_stores() for row in rows(name, engine)]
    order = list(PAGES)
    found.sort(key=lambda row: (order.index(row[0]), row[1]))
    print_table(["page", "store", "jobs", "store's answer ms", "page ms"], found)


if __name__ == "__main__":
    main()
