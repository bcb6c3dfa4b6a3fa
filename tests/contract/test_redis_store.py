"""The Redis store keeps the contract, on a real server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.testing.store_machine import StoreMachine
from tenxsom_flow_engine.testing.store_suite import OpenStore, StoreSuite
from tests.redis_server import RedisServer


@pytest.fixture
def open_store(redis_server: RedisServer) -> Iterator[OpenStore]:
    opened: list[RedisStore] = []
    prefix = secrets.token_hex(6)

    def open_one(clock: Clock) -> RedisStore:
        store = RedisStore(redis_server.url, prefix, clock)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


class TestRedisStore(StoreSuite):
    """The conformance suite."""


class RedisMachine(StoreMachine):
    """Random operations, each example under keys of its own."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self._prefix = secrets.token_hex(6)

    def open_store(self, clock: Clock) -> RedisStore:
        return RedisStore(self.server.url, self._prefix, clock)


TestRedisMachine = RedisMachine.TestCase
TestRedisMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module", autouse=True)
def _machine_server(redis_server: RedisServer) -> None:
    RedisMachine.server = redis_server
