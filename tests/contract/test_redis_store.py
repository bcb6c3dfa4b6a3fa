"""The Redis store keeps the contract, on a real server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import ConfigurationError, StoreBroken, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import Cost, Status
from tenxsom_flow_engine.outcomes import Done
from tenxsom_flow_engine.store.base import NewJob, new_record
from tenxsom_flow_engine.store.redis.rows import Stored, newcomer, packed
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.push_suite import PushSuite
from tenxsom_flow_engine.testing.samples import ALPHA, QUEUE, VIDEO, a_job, new
from tenxsom_flow_engine.testing.store_machine import StoreMachine
from tenxsom_flow_engine.testing.store_suite import OpenStore, StoreSuite, accept, intend, take
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


class TestPushed(PushSuite):
    """Its part about carriers that push."""


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


def test_a_server_that_would_throw_jobs_away_is_refused(tmp_path: Path) -> None:
    """A memory policy that evicts keys is an error that names the command to mend it."""
    server = RedisServer(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ConfigurationError, match="allkeys-lru") as refusal:
            RedisStore(server.url, "x")
        assert "noeviction" in refusal.value.next_step
    finally:
        server.kill()


def test_a_server_without_a_file_is_warned_of(tmp_path: Path, redis_server: RedisServer) -> None:
    """A server that keeps nothing on disk is used, and the store says what that means; of another it says nothing."""
    server = RedisServer(tmp_path, "--appendonly", "no")
    try:
        for url, said in ((server.url, True), (redis_server.url, False)):
            store = RedisStore(url, secrets.token_hex(6))
            assert ("keeps no append-only file" in store.advice) is said
            store.close()
    finally:
        server.kill()


def test_a_server_that_is_full_is_said(tmp_path: Path) -> None:
    """A server out of memory refuses new jobs with an error of ours, and keeps those it has."""
    server = RedisServer(tmp_path, "--maxmemory", "4mb")
    try:
        store = RedisStore(server.url, "x")
        many = (NewJob(a_job(f"j{number}", prompt="x" * 1_000)) for number in range(10_000))
        with pytest.raises(StoreFull, match="out of memory"):
            store.add(QUEUE, many)
        assert store.require("j0").job.prompt
        store.close()
    finally:
        server.kill()


def test_the_servers_time_counts(redis_server: RedisServer) -> None:
    """Without a clock of its own a store goes by the server's, never backwards."""
    store = RedisStore(redis_server.url, secrets.token_hex(6))
    with redis.Redis(port=redis_server.port) as client:
        seconds, _ = client.time()
        said = [store.now() for _ in range(100)]
        assert said == sorted(said)
        assert seconds <= said[0] <= said[-1] <= client.time()[0] + 1
    store.close()


def test_a_change_of_a_job_in_hand_is_one_round_trip(redis_server: RedisServer) -> None:
    """A job that goes through intent and ticket to its end costs one call for each, and one for the claim."""
    store = RedisStore(redis_server.url, secrets.token_hex(6))
    store.add(QUEUE, new("a", "b"))
    said = []
    with redis.Redis(port=redis_server.port) as client:
        for _ in range(2):  # the first time loads the scripts
            record = accept(store, intend(store, take(store)))
            store.settle(record.job_id, record.lease_token, Done(VIDEO))
            said.append(client.info("commandstats")["cmdstat_evalsha"]["calls"])
    assert said[1] - said[0] == 4
    store.close()


def test_what_was_known_refuses_nothing(open_store: OpenStore) -> None:
    """A change is made on the record as it is now, also where this handle knows an older one."""
    clock = ManualClock()
    mine, other = open_store(clock), open_store(clock)
    mine.add(QUEUE, new("a"))
    record = take(mine)
    other.renew({"a": record.lease_token}, 500.0)
    lease = intend(mine, record).lease
    assert lease is not None
    assert lease.until == clock.now() + 500
    other.cancel("a")
    assert mine.requeue("a").status is Status.QUEUED


@given(position=st.integers(0, 1 << 53), due=st.none() | st.floats(0, 4e9), cost=st.none() | st.just(Cost(usd=0.25)))
def test_a_new_record_is_read_as_it_was_made(position: int, due: float | None, cost: Cost | None) -> None:
    """The short form of a record to which nothing has happened tells all of it, and where it stands in the order."""
    record = new_record(QUEUE, NewJob(a_job(options={ALPHA: {"seed": 7}}), due, cost), 1_800_000_000.25)
    *_, text = newcomer(record)
    assert isinstance(text, bytes)
    stored = Stored.parse("job-1", packed(position) + packed(1) + text.decode(), None)
    assert (stored.record, stored.position) == (record, position)


@given(st.lists(st.integers(0, 1 << 53)))
def test_packed_numbers_sort_as_numbers(numbers: list[int]) -> None:
    """Positions, which order jobs that are due at the same moment, sort as text as they do as numbers."""
    assert sorted(map(packed, numbers)) == [packed(number) for number in sorted(numbers)]


def test_a_wrong_address_is_said() -> None:
    """An address that is no Redis address, and one where nobody listens, are errors that say so."""
    with pytest.raises(StoreBroken, match="address of the Redis server is wrong"):
        RedisStore("http://localhost", "x")
    with pytest.raises(StoreUnavailable, match="cannot be used now"):
        RedisStore("redis://127.0.0.1:1/0", "x")
