"""The HTTP API over a connection on this machine, with 100,000 records, on both stores.

Run by `make bench-api`; takes a minute. `POST /jobs` adds one job with an idempotency key, and is compared with the
store's own addition of one job, in turn.
"""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import requests

from benchmarks.report import waiting_jobs
from benchmarks.stores import engines_on_both_stores
from benchmarks.table import print_table
from tenxsom_flow_engine.api import keys
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.testing.samples import new
from tenxsom_flow_engine.web.http_server import Limits, Server
from tests.api_client import app_of

RECORDS, ROUNDS, KEYS = 100_000, 500, 40
LISTS = (
    "",
    "?status=scheduled",
    "?status=failed,held",
    "?limit=50&service=draft",
    "?since=2026-01-01T00:00:00Z",
)


@contextmanager
def served(engine: Engine) -> Iterator[str]:
    """Serve the API of an engine; yield its address."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(app_of(engine), [listener], Limits(threads=4))

        def serve() -> None:
            while not ended.is_set():
                server.turn(0.05)
            server.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"
        finally:
            ended.set()
            thread.join()


def milliseconds(act: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1000


def rows(name: str, engine: Engine) -> Iterator[list[str]]:
    """Measure one store."""
    engine.store.add("local", waiting_jobs(engine, 0, RECORDS))
    # So many that none sends more than its rate.
    tokens = cycle([keys.create(engine.store, tuple(Scope))[0] for _ in range(KEYS)])
    with served(engine) as address, requests.Session() as client:

        def ask(method: str, path: str, key: str = "", **options: Any) -> None:
            headers = {"Authorization": f"Bearer {next(tokens)}", "Idempotency-Key": key or None}
            answer = client.request(method, address + path, headers=headers, **options)
            assert answer.status_code in (200, 201), answer.text

        def one(number: int) -> None:
            order = {"topic": "How tides work", "service": "draft"}
            ask("POST", "/jobs", f"k{number}", json=order)

        pages = cycle(LISTS)
        listed = [milliseconds(lambda: ask("GET", f"/jobs{next(pages)}")) for _ in range(ROUNDS)]
        yield [name, "GET /jobs", *figures(listed)]
        added, posted = [], []
        for number in range(ROUNDS):
            added.append(milliseconds(lambda: engine.store.add("local", new(f"own-{number}"))))  # noqa: B023
            posted.append(milliseconds(lambda: one(number)))  # noqa: B023
        yield [name, "the store's add", *figures(added)]
        yield [name, "POST /jobs", *figures(posted)]


def figures(times: Sequence[float]) -> list[str]:
    """Return the median and the 99th percentile."""
    ordered = statistics.quantiles(times, n=100)
    return [f"{ordered[49]:.1f}", f"{ordered[98]:.1f}"]


def main() -> None:
    """Print the table."""
    table = [row for name, engine in engines_on_both_stores() for row in rows(name, engine)]
    print_table(["store", "request", "median ms", "p99 ms"], table)


if __name__ == "__main__":
    main()
