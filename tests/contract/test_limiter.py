"""Every ledger keeps its promises, on the real thing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenxsom_flow_engine.rate_limits.ledger import Ledger
from tenxsom_flow_engine.rate_limits.redis import RedisLedger
from tenxsom_flow_engine.rate_limits.sqlite import SQLiteLedger
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.limiter_suite import LimiterSuite, OpenLedger
from tests.redis_server import RedisServer


class TestSQLiteLedger(LimiterSuite):
    """In a file of its own for each clock, so that each example of a property begins with nothing."""

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
    """Under keys of its own for each clock."""

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
