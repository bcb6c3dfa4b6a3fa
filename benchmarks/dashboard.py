"""How long the dashboard's pages take to make, on both stores, with a thousand and with a hundred thousand jobs.

Run by `make bench-dashboard`; takes a minute or two. Beside 300 jobs that ended, half of the jobs are due and half are
scheduled. Measured is the whole answer, from the request in this process to the page, the login's check with it; and of
it the questions to the store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.report import begin, milliseconds, waiting
from benchmarks.table import print_table
from tenxsom_flow_engine.engine import Engine, open_engine
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import JobFilter
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.parts import Onlooker, Opened, Parts
from tests.redis_server import RedisServer
from tests.visitor import TOKEN, Visitor

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
    parts = Parts(lambda: Opened(engine, Onlooker()))
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
    engine.store.counts()


def main() -> None:
    """Print the table."""
    found: list[list[str]] = []
    wide = "; ".join(f"{name}=100000/s,100000/d" for name in ("pixverse", "ltx_studio", "heygen", "global"))
    with tempfile.TemporaryDirectory() as folder:
        home = {"TENXSOM_HOME": folder, "TENXSOM_LIMITS": wide}
        with open_engine(load(home), "local") as engine:
            found += rows("SQLite", engine)
        server = RedisServer(Path(folder))
        try:
            with open_engine(load(home | {"REDIS_URL": server.url}), "redis") as engine:
                found += rows("Redis", engine)
        finally:
            server.kill()
    order = list(PAGES)
    found.sort(key=lambda row: (order.index(row[0]), row[1]))
    print_table(["page", "store", "jobs", "store's answer ms", "page ms"], found)


if __name__ == "__main__":
    main()
