"""Every ledger passes the limiter suite, on real stores."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenxsom_flow_engine.rate_limits.ledger import Ledger
from tenxsom_flow_engine.rate_limits.redis import RedisLedger
from tenxsom_flow_engine.rate_limits.sqlite import SQLiteLedger
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.contract.limiter_suite import LimiterSuite, OpenLedger, sliding_maximum
from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]


class TestSQLiteLedger(LimiterSuite):
    """Open a file for each clock, so that each example of a property starts empty."""

    @pytest.fixture
    def open_ledger(self, tmp_path: Path) -> Iterator[OpenLedger]:
        opened: list[SQLiteStore] = []
        files: dict[ManualClock, Path] = {}

        def open_one(clock: ManualClock) -> Ledger:
            file = files.setdefault(clock, tmp_path / f"{secrets.token_hex(4)}.sqlite3")
            opened.append(SQLiteStore(file, clock))
            return SQLiteLedger(opened[-1])

        yield open_one
        for store in opened:
            store.close()


class TestRedisLedger(LimiterSuite):
    """Use other keys for each clock."""

    @pytest.fixture
    def open_ledger(self, redis_server: RedisServer) -> Iterator[OpenLedger]:
        opened: list[Connection] = []
        prefixes: dict[ManualClock, str] = {}

        def open_one(clock: ManualClock) -> Ledger:
            opened.append(Connection(redis_server.url, prefixes.setdefault(clock, secrets.token_hex(6))))
            return RedisLedger(opened[-1], clock)

        yield open_one
        for connection in opened:
            connection.close()


HAMMER = """
import json, os, sys, time
from pathlib import Path
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.rate_limits.base import Admission
from tenxsom_flow_engine.rate_limits.windows import parse_limits

kind, place, folder = sys.argv[1:]
limits = parse_limits("alpha=50/s")
if kind == "redis":
    from tenxsom_flow_engine.rate_limits.redis import RedisLedger
    from tenxsom_flow_engine.store.redis.connection import Connection
    ledger = RedisLedger(Connection(place, "hammer"))
else:
    from tenxsom_flow_engine.rate_limits.sqlite import SQLiteLedger
    from tenxsom_flow_engine.store.sqlite import SQLiteStore
    ledger = SQLiteLedger(SQLiteStore(Path(place), SystemClock()))


def ask_without_pause(waiter_id):
    admitted, ends = [], time.time() + 2.5
    while time.time() < ends:
        answer = ledger.ask("alpha", waiter_id, limits)
        if isinstance(answer, Admission):
            admitted.append(answer.at)
    Path(folder, f"{kind}-{waiter_id}.json").write_text(json.dumps(admitted))


children = []
for waiter_id in "abcd":
    pid = os.fork()
    if pid == 0:
        ask_without_pause(waiter_id)
        os._exit(0)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
"""


def test_processes_share_a_window(redis_server: RedisServer, tmp_path: Path) -> None:
    """Four processes that ask without pause get at most 50 admissions in any second, and at least 99 % of them."""
    places = {"redis": redis_server.url, "sqlite": str(tmp_path / "jobs.sqlite3")}
    running = [
        subprocess.Popen([sys.executable, "-c", HAMMER, kind, place, str(tmp_path)], cwd=ROOT)
        for kind, place in places.items()
    ]
    assert [process.wait() for process in running] == [0, 0]
    for kind in places:
        times = [at for waiter_id in "abcd" for at in json.loads((tmp_path / f"{kind}-{waiter_id}.json").read_text())]
        assert sliding_maximum(times, 1.0) == 50, kind
        # Each window is full again after 1 s: two windows fit into 1.9 s, even on a slow machine.
        assert sum(at < min(times) + 1.9 for at in times) >= 99, kind
