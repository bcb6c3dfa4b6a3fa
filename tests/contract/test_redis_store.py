"""The Redis store passes the store suite, on a real server."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tenxsom_flow_engine.budgets import ALL, Amounts, parse_budget
from tenxsom_flow_engine.budgets.charges import BudgetCheck
from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import ConfigurationError, StoreBroken, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord, Status, Step, SubmissionState, lifecycle
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Wait
from tenxsom_flow_engine.jobs.submission import Intent
from tenxsom_flow_engine.store.redis.budgets import Budgets
from tenxsom_flow_engine.store.redis.lists import LIST_BOUNDS
from tenxsom_flow_engine.store.redis.rows import Stored, encode_commit, packed
from tenxsom_flow_engine.store.redis.shared_connection import SharedConnection
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.values import JobFilter, ListBounds, NewJob
from tenxsom_flow_engine.store.wakeup import WakeupEvent
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, FAILURE, QUEUE, VIDEO, a_claim, a_job, new
from tenxsom_flow_engine.timings import Timings
from tests.contract.budget_machine import BudgetMachine
from tests.contract.store_machine import StoreMachine
from tests.contract.store_suite import OpenStore, StoreSuite
from tests.contract.store_suite.pushing import PUSHED
from tests.contract.store_suite.shared import STUCK, accept, everything, intend, take
from tests.redis_server import RedisServer, newer_binary, older_binary


@pytest.fixture
def open_store(redis_server: RedisServer) -> Iterator[OpenStore]:
    opened: list[RedisStore] = []
    prefix = secrets.token_hex(6)

    def open_one(clock: Clock, bounds: ListBounds | None = None) -> RedisStore:
        store = RedisStore(redis_server.url, prefix, clock, bounds=bounds or LIST_BOUNDS)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


class TestRedisStore(StoreSuite):
    """The store suite."""


class NewKeys(RuleBasedStateMachine):
    """Runs each example under different keys."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self._prefix = secrets.token_hex(6)

    def open_store(self, clock: Clock) -> RedisStore:
        return RedisStore(self.server.url, self._prefix, clock)


class RedisMachine(NewKeys, StoreMachine):
    """Random operations."""


TestRedisMachine = RedisMachine.TestCase
TestRedisMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


class RedisBudgets(NewKeys, BudgetMachine):
    """Random operations on budgets."""


TestRedisBudgets = RedisBudgets.TestCase
TestRedisBudgets.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module", autouse=True)
def _machine_server(redis_server: RedisServer) -> None:
    NewKeys.server = redis_server


def test_adding_many_to_a_pushing_backend_costs_few_round_trips(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading jobs and marking them as dispatched takes the same few round trips for any number of jobs."""
    sent: list[object] = []
    send: Any = redis.Connection.send_packed_command

    def count_and_send(connection: redis.Connection, command: object, check_health: bool = True) -> None:
        sent.append(command)
        send(connection, command, check_health)

    monkeypatch.setattr(redis.Connection, "send_packed_command", count_and_send)
    store = RedisStore(redis_server.url, secrets.token_hex(6))
    try:
        for count in (3, 100):
            names = [f"j{count}-{number}" for number in range(count)]
            store.add(PUSHED, new(*names))
            sent.clear()
            assert all(record.undispatched for record in store.get_each(names))
            store.mark_dispatched(dict.fromkeys(names, 0))
            assert len(sent) < 10
            assert not any(record.undispatched for record in store.get_each(names))
    finally:
        store.close()


def test_a_server_that_would_evict_jobs_is_refused(tmp_path: Path) -> None:
    """A memory policy that evicts keys is an error that names the command to fix it."""
    server = RedisServer(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ConfigurationError, match="allkeys-lru") as refusal:
            RedisStore(server.url, "x")
        assert "noeviction" in refusal.value.next_step
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (("--appendonly", "no"), "has no append-only file"),
        (("--appendfsync", "no"), "leaves syncing its append-only file to the operating system"),
        (("--appendfsync", "everysec"), "syncs its append-only file only once a second"),
        (("--appendfsync", "everysec", "--rename-command", "CONFIG", ""), "does not report when"),
        (("--appendfsync", "always"), ""),
    ],
)
def test_a_warning_about_durability(tmp_path: Path, options: tuple[str, ...], warning: str) -> None:
    """A server that could lose jobs in a crash is used with a warning and a next step; others have no warning."""
    server = RedisServer(tmp_path, *options, program=older_binary())  # a newer one supports WAITAOF
    try:
        store = RedisStore(server.url, "x")
        assert warning in str(store.advice or "")
        assert bool(store.advice and store.advice.next_step) is bool(warning)
        store.close()
    finally:
        server.kill()


class FileServer:
    """A server that supports `WAITAOF`, with a disk that the test can stall."""

    def __init__(self, folder: Path) -> None:
        self.server = RedisServer(folder, "--appendfsync", "everysec", program=newer_binary())
        self.client = redis.Redis(port=self.server.port)

    def stall(self, stalled: bool) -> None:
        self.client.config_set("appendfsync", "no" if stalled else "everysec")

    def waits(self) -> int:
        return int(self.client.info("commandstats").get("cmdstat_waitaof", {"calls": 0})["calls"])


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[FileServer]:
    server = FileServer(tmp_path)
    yield server
    server.client.close()
    server.server.kill()


def test_jobs_intents_and_tickets_are_on_disk(file_server: FileServer) -> None:
    """Enqueue, intent and ticket return when they are on the server's disk; no other write waits for it."""
    store = RedisStore(file_server.server.url, "x")
    assert store.advice is None
    store.add(QUEUE, new("warm"))  # loads the scripts
    record = accept(store, intend(store, take(store)))
    store.settle(record.job_id, record.lease_token, Done(VIDEO))
    waits = [file_server.waits()]
    for act in (
        lambda: store.add(QUEUE, new(*(f"j{number}" for number in range(1200)))),
        lambda: take(store),
        lambda: intend(store, store.require("j0")),
        lambda: accept(store, store.require("j0")),
        lambda: store.settle("j0", store.require("j0").lease_token, Done(VIDEO)),
    ):
        act()
        waits.append(file_server.waits())
    assert [count - waits[0] for count in waits] == [0, 1, 1, 2, 3, 3]
    store.close()


def test_a_stalled_disk_loses_and_repeats_nothing(file_server: FileServer) -> None:
    """If the server's disk stalls, enqueue, intent and ticket fail; repeated later, each is stored once."""
    store = RedisStore(file_server.server.url, "x", timings=Timings(redis_file=0.5))
    file_server.stall(True)
    with pytest.raises(StoreUnavailable, match="has not synced its append-only file"):
        store.add(QUEUE, new("a"))
    file_server.stall(False)
    assert store.add(QUEUE, new("a")).known == ("a",)
    record = take(store)
    file_server.stall(True)
    with pytest.raises(StoreUnavailable):
        intend(store, record)
    # Another worker must assume that it was bought, so the job is looked up, not submitted.
    assert store.require("a").step is Step.LOOKUP
    record = store.require("a")
    with pytest.raises(StoreUnavailable):
        accept(store, record)
    file_server.stall(False)
    record = accept(store, record)
    assert [event.what for event in record.events] == ["added", "submitting", "accepted"]
    assert record == store.require("a")
    store.close()


def test_a_full_server(tmp_path: Path) -> None:
    """A server out of memory refuses new jobs with `StoreFull` and keeps the existing ones."""
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


def test_the_servers_time_is_used(redis_server: RedisServer) -> None:
    """Without a clock a store uses the server's time, which never goes back."""
    store = RedisStore(redis_server.url, secrets.token_hex(6))
    with redis.Redis(port=redis_server.port) as client:
        seconds, _ = client.time()
        times = [store.now() for _ in range(100)]
        assert times == sorted(times)
        assert seconds <= times[0] <= times[-1] <= client.time()[0] + 1
    store.close()


def test_a_change_of_a_leased_job_is_one_round_trip(redis_server: RedisServer) -> None:
    """A job that goes through intent and ticket to its end costs one call for each, and one for the claim."""
    store = RedisStore(redis_server.url, secrets.token_hex(6))
    store.add(QUEUE, new("a", "b"))
    calls = []
    with redis.Redis(port=redis_server.port) as client:
        for _ in range(2):  # the first round loads the scripts
            record = accept(store, intend(store, take(store)))
            store.settle(record.job_id, record.lease_token, Done(VIDEO))
            calls.append(client.info("commandstats")["cmdstat_evalsha"]["calls"])
    assert calls[1] - calls[0] == 4
    store.close()


@pytest.mark.parametrize("program", [older_binary, newer_binary])
def test_a_commit_that_fails_keeps_no_other_from_its_call(tmp_path: Path, program: Callable[[], str]) -> None:
    """Of several changes in one call, one meets a foreign value in its key: the others are committed."""
    server = RedisServer(tmp_path, program=program())
    store = RedisStore(server.url, "p")
    for queue, name in (("q", "a"), ("foreign", "b"), ("q", "c")):
        store.add(queue, new(name))
        store.claim(a_claim(queue=queue))
    with redis.Redis(port=server.port) as client:
        client.set("{p}:status:foreign:failed", "a foreign value")
    records = [Stored.parse(*row) for row in _stored_rows(server, "a", "b", "c")]
    ends = [lifecycle.settle(one.record, one.record.lease_token, Dead(FAILURE), store.now()) for one in records]
    commits = [encode_commit(before, after, store.now(), None) for before, after in zip(records, ends, strict=True)]
    first, second, third = store.connection.run("commit", "", *commits)
    assert [first, third] == ["done", "done"]
    with pytest.raises(StoreBroken, match="WRONGTYPE"):
        store.connection.raise_error(second)
    assert [store.require(name).status for name in ("a", "c")] == [Status.FAILED] * 2
    store.close()
    server.kill()


@pytest.mark.parametrize("program", [older_binary, newer_binary])
def test_a_foreign_value_beside_the_records_fails_no_outcome(tmp_path: Path, program: Callable[[], str]) -> None:
    """A foreign value where a queue has its virtual times: the outcomes are saved, and slots are counted."""
    server = RedisServer(tmp_path, program=program())
    store = RedisStore(server.url, "p")
    for queue, name in (("q", "a"), ("foreign", "b"), ("q", "c")):
        store.add(queue, new(name))
    claimed = [record for queue in ("q", "foreign") for record in store.claim(a_claim(queue=queue, count=5)).records]
    with redis.Redis(port=server.port) as client:
        client.set("{p}:virtual:foreign", "a foreign value")
        until = store.now() + 9
        results = store.settle_each(
            [(one.job_id, one.lease_token, Wait(until, "the gate is closed", worked=False)) for one in claimed]
        )
        assert [type(one) for one in results] == [JobRecord] * 3
        assert client.hlen("{p}:wanting") == 0
        assert client.hvals("{p}:wanting:q") == [b"0"]
    store.close()
    server.kill()


@pytest.mark.parametrize("program", [older_binary, newer_binary])
def test_creates_in_one_call_see_the_reservations_of_each_other(tmp_path: Path, program: Callable[[], str]) -> None:
    """Of several creates in one call, the one that finds its budget spent is refused alone."""
    server = RedisServer(tmp_path, program=program())
    store = RedisStore(server.url, "p")
    store.add(QUEUE, new("a", "b", "c"))
    leased = store.claim(a_claim(count=3)).records
    store.set_budget(ALL, parse_budget(ALL, "1/d"))
    budgets, now = Budgets(store.connection), store.now()
    budgets.read([ALL])
    commits = []
    for one, amount in zip((Stored.parse(*row) for row in _stored_rows(server, "a", "b", "c")), (6, 5, 4), strict=True):
        intent = Intent(submission_id=one.record.job_id, service=ALPHA, lifetime=9.0, reserve=amount * 100_000)
        after = lifecycle.intend(one.record, one.record.lease_token, now, intent)
        commits.append(encode_commit(one, after, now, None, budgets.change(one.record, after, BudgetCheck({}), now)))
    assert store.connection.run("commit", "", *commits) == ["done", "spent 0 600000 0", "done"]
    ((_, today),) = parse_budget(ALL, "1/d").periods(now)
    assert store.amounts([(ALL, today)]) == [Amounts(reserved=1_000_000)]
    states = [store.require(record.job_id).submission.state for record in leased]
    assert states == [SubmissionState.INTENT, SubmissionState.NONE, SubmissionState.INTENT]
    store.close()
    server.kill()


def _stored_rows(server: RedisServer, *job_ids: str) -> list[tuple[str, str, str | None]]:
    with redis.Redis(port=server.port, decode_responses=True) as client:
        return [(name, client.hget("{p}:jobs", name), client.hget("{p}:leases", name)) for name in job_ids]


def test_a_connection_that_the_server_closed_is_opened_again(redis_server: RedisServer) -> None:
    """An idle connection that the server has closed fails no call."""
    store = RedisStore(redis_server.url, secrets.token_hex(6))
    store.add(QUEUE, new("a"))
    with redis.Redis(port=redis_server.port) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert store.require("a").status is Status.QUEUED
    store.close()


def test_closing_ends_a_call_under_way() -> None:
    """A call to a server that does not answer fails when the handle is closed, and so do the calls behind it."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(2) as pool:
        client = redis.Redis(port=silent.getsockname()[1], socket_timeout=60.0)
        shared = SharedConnection(client.connection_pool.make_connection)
        calls = [pool.submit(shared.execute, "PING") for _ in range(2)]
        peer, _ = silent.accept()
        with peer:
            assert peer.recv(1)  # a call is under way
            while not all(call.done() for call in calls):
                shared.close()
            for call in calls:
                with pytest.raises(redis.RedisError):
                    call.result()


def test_use_after_a_fork(redis_server: RedisServer) -> None:
    """After a fork, parent and child use the store on separate connections."""
    script = """
import os, sys
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.testing.samples import new

store = RedisStore(sys.argv[1], sys.argv[2])
store.add("q", new("before"))
children = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        for turn in range(25):
            store.add("q", new(f"child-{number}-{turn}"))
            assert store.require(f"child-{number}-{turn}").job_id == f"child-{number}-{turn}"
        store.close()
        os._exit(0)
    children.append(pid)
for turn in range(25):
    store.add("q", new(f"parent-{turn}"))
    assert store.require(f"parent-{turn}").job_id == f"parent-{turn}"
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
assert sum(store.status_counts("q").by_status.values()) == 126
store.close()
"""
    command = [sys.executable, "-c", script, redis_server.url, secrets.token_hex(6)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_cached_record_refuses_no_change(open_store: OpenStore) -> None:
    """A change applies to the current record, even if this handle has cached an older one."""
    clock = ManualClock()
    mine, other = open_store(clock), open_store(clock)
    mine.add(QUEUE, new("a"))
    record = take(mine)
    other.renew({"a": record.lease_token}, 500.0)
    lease = intend(mine, record).lease
    assert lease is not None
    assert lease.until == clock.now() + 500
    other.cancel("a")
    assert mine.retry("a").status is Status.QUEUED


def test_an_event_ends_a_wait(redis_server: RedisServer) -> None:
    """An event of the caller ends a wait, even if it was set before or in an earlier wait."""
    store = RedisStore(redis_server.url, secrets.token_hex(6))
    wake = WakeupEvent()
    for _ in range(3):
        thread = threading.Thread(
            target=store.wait, args=(store.revision(),), kwargs={"timeout": 1000.0, "wake": wake}, daemon=True
        )
        thread.start()
        wake.set()
        thread.join(STUCK)
        assert not thread.is_alive()
        wake.clear()
    store.close()


def test_a_wait_outlives_the_server(tmp_path: Path) -> None:
    """If the server ends, a waiting call fails; when it is back, the same handle waits and is woken again."""
    server = RedisServer(tmp_path)
    store = RedisStore(server.url, "x")
    store.add(QUEUE, new("a"))
    revision = store.revision()
    store.wait(revision, timeout=0.01, wake=WakeupEvent())  # leaves a read under way
    server.kill()
    with pytest.raises(StoreUnavailable):
        store.wait(revision, timeout=1000.0, wake=WakeupEvent())
    server.start()
    try:
        assert store.add(QUEUE, new("b")).new == ("b",)
        store.wait(revision, timeout=1000.0, wake=WakeupEvent())
        assert store.claim(a_claim()).revision != revision
        store.close()
    finally:
        server.kill()


@given(st.lists(st.integers(0, 1 << 53)))
def test_packed_numbers_sort_as_numbers(numbers: list[int]) -> None:
    """Positions, which order jobs due at the same moment, sort as text like as numbers."""
    assert sorted(map(packed, numbers)) == [packed(number) for number in sorted(numbers)]


def test_an_invalid_address() -> None:
    """An invalid address, and an address without a server, are errors that say so."""
    with pytest.raises(StoreBroken, match="address of the Redis server is invalid"):
        RedisStore("http://localhost", "x")
    with pytest.raises(StoreUnavailable, match="cannot be used now"):
        RedisStore("redis://127.0.0.1:1/0", "x")


def test_jobs_from_before_the_marks_are_found(redis_server: RedisServer) -> None:
    """Every filter finds jobs that older versions added, which left no marks for lists."""
    prefix = secrets.token_hex(6)
    store = RedisStore(redis_server.url, prefix)
    try:
        store.add(QUEUE, new(*(f"old-{number}" for number in range(20)), channel="sea"))
        with redis.Redis.from_url(redis_server.url) as client:
            client.delete(*client.keys(f"{{{prefix}}}:zones:*"), *client.keys(f"{{{prefix}}}:days:*"))
        filters = (JobFilter(channel="sea"), JobFilter(service=ALPHA), JobFilter(added_from=1.0, added_before=4e9))
        assert [len(everything(store, jobs)) for jobs in filters] == [20, 20, 20]
        store.add(QUEUE, new("later", channel="sky"))
        assert [len(everything(store, jobs)) for jobs in filters] == [20, 21, 21]
        assert len(everything(store, JobFilter(channel="sky"))) == 1
    finally:
        store.close()


@pytest.mark.parametrize("password", ["se/cr#et", "p@ss/secret#et:1%", "a@b?secret=1", "a@secret/b#c", "a@b/secret"])
def test_an_unescaped_password_is_not_shown(password: str) -> None:
    """An address whose password needs percent-encoding is refused without any part of the password."""
    with pytest.raises(StoreBroken) as error:
        RedisStore(f"redis://:{password}@127.0.0.1:1/0", "flow")
    assert "percent-encode" in error.value.next_step
    assert not any(part in str(error.value) for part in ("secret", "cr#et", "a@", "b?"))
    assert error.value.__cause__ is None


def test_a_socket_path_can_contain_an_at_sign(tmp_path: Path) -> None:
    """The path of a Unix socket is not taken for a password."""
    with pytest.raises(StoreUnavailable):
        RedisStore(f"unix://{tmp_path}/redis@1.sock", "flow")
