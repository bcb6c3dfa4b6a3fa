"""Error replies of a Redis server: those that pass keep the worker waiting, and a failover is followed."""

from __future__ import annotations

import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tenxsom_flow_engine.errors import FlowError, StoreBroken, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.jobs.outcomes import Done
from tenxsom_flow_engine.rate_limits.redis import RedisLedger
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.values import JobFilter, NewJob, WorkerInfo
from tenxsom_flow_engine.store.wakeup import WakeupEvent
from tenxsom_flow_engine.testing.samples import ALPHA, QUEUE, VIDEO, a_claim, a_job, new
from tenxsom_flow_engine.timings import Timings
from tests.contract.store_suite.shared import accept, intend, take
from tests.redis_proxy import RedisProxy
from tests.redis_server import RedisServer, newer_binary

#: Replies of Redis 6.2 to 8.2 and Valkey 8 and 9, as their sources write them, with the error that each one means.
REPLIES: dict[str, type[StoreError]] = {
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": StoreUnavailable,
    "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": StoreUnavailable,
    "LOADING Redis is loading the dataset in memory": StoreUnavailable,
    "READONLY You can't write against a read only replica.": StoreUnavailable,
    "NOREPLICAS Not enough good replicas to write.": StoreUnavailable,
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": StoreUnavailable,
    "CLUSTERDOWN The cluster is down": StoreUnavailable,
    "CLUSTERDOWN Hash slot not served": StoreUnavailable,
    "TRYAGAIN Multiple keys request during rehashing of slot": StoreUnavailable,
    "ASK 6674 127.0.0.1:7001": StoreUnavailable,
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)": StoreUnavailable,
    "ERR max number of clients reached": StoreUnavailable,
    "OOM command not allowed when used memory > 'maxmemory'.": StoreFull,
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.": StoreFull,
    "MOVED 6674 127.0.0.1:7001": StoreBroken,
    "NOAUTH Authentication required.": StoreBroken,
    "WRONGPASS invalid username-password pair or user is disabled.": StoreBroken,
    "NOPERM this user has no permissions to run the 'evalsha' command": StoreBroken,
    "WRONGTYPE Operation against a key holding the wrong kind of value": StoreBroken,
    "ERR unknown command 'EVALSHA'": StoreBroken,
}
#: Redis 6.2 wraps the reply of a command in a script, newer versions append the place in the script.
IN_SCRIPTS = {
    form.format(reply): meaning
    for reply, meaning in REPLIES.items()
    if reply.split()[0] in ("READONLY", "NOREPLICAS", "MASTERDOWN", "OOM", "MISCONF", "CLUSTERDOWN")
    for form in (
        "ERR Error running script (call to f_0c1): @user_script:44: @user_script: 44: -{} ",
        "{} script: 0c1, on @user_script:44.",
    )
}


WORKER = WorkerInfo("w-1", QUEUE, "host", 42, 3, started_at=1.0)


@pytest.fixture(scope="module")
def proxy(redis_server: RedisServer) -> Iterator[RedisProxy]:
    proxy = RedisProxy(redis_server.port)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("reply", [*REPLIES, *IN_SCRIPTS])
def test_each_reply_has_its_meaning_in_every_call(proxy: RedisProxy, reply: str) -> None:
    """A reply means the same in every call, its error has a next step, and afterwards the same handle works."""
    meaning = (REPLIES | IN_SCRIPTS)[reply]
    store = RedisStore(proxy.url, secrets.token_hex(6))
    store.add(QUEUE, new("a", "b"))
    record = intend(store, take(store))
    calls: list[Callable[[], object]] = [
        lambda: store.add(QUEUE, new("c")),
        lambda: accept(store, record),
        lambda: store.claim(a_claim()),
        lambda: store.renew({record.job_id: record.lease_token}, 30.0),
        lambda: store.page(JobFilter(), limit=10),
        lambda: store.heartbeat(WORKER),
        lambda: store.wait("0", timeout=5.0, wake=WakeupEvent()),
    ]
    with proxy.refusing(reply):
        for call in calls:
            with pytest.raises(StoreError) as refused:
                call()
            assert type(refused.value) is meaning
            assert refused.value.next_step or reply.startswith(("WRONGTYPE", "ERR unknown"))
            assert "{" not in refused.value.message
    done = store.settle(record.job_id, accept(store, record).lease_token, Done(VIDEO))
    assert done.result == VIDEO
    store.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"%1\r\n+a\r\n:1\r\n",
        b":1\r\n",
        b":x\r\n",
        b"+OK\r\n",
        b"$2\r\n\xff\xfe\r\n",
        b"*2\r\n$1\r\na\r\n*0\r\n",
        b"*1\r\n" * 5000 + b":1\r\n",
        b"_\r\n",
    ],
)
def test_a_reply_that_fits_no_command(proxy: RedisProxy, reply: bytes) -> None:
    """A server whose replies do not fit the commands is an error of the tree in every call and at the start."""
    store = RedisStore(proxy.url, secrets.token_hex(6))
    ledger = RedisLedger(store.connection)
    calls: list[Callable[[], object]] = [
        store.now,
        lambda: store.get("a"),
        lambda: store.queue_state(QUEUE),
        lambda: store.lock_owner("sweep"),
        store.endpoints,
        lambda: store.take_deliveries("we_1", 1, 30.0),
        lambda: store.delivery_counts("we_1"),
        lambda: store.claim(a_claim()),
        lambda: store.renew({"a": "t"}, 30.0),
        lambda: ledger.snapshot("alpha"),
        lambda: ledger.change("alpha", lambda gate, now: gate),
    ]
    with proxy.answering(lambda name: reply):
        for call in calls:
            with pytest.raises(StoreError):
                call()
        with pytest.raises(FlowError):
            RedisStore(proxy.url, "x")
    assert store.get("a") is None
    store.close()


def test_foreign_members_of_an_index_are_left_out(redis_server: RedisServer) -> None:
    """A list of jobs leaves out members of an index that other programs added, and shows all others."""
    prefix = secrets.token_hex(6)
    store = RedisStore(redis_server.url, prefix)
    store.add(QUEUE, new("a", "b"))
    with redis.Redis.from_url(redis_server.url) as client:
        members: dict[str | bytes, float] = {"no job": 1, "c": 0.5, "": 2, "1 2": 2, "x": 2, b"\xff": 1, "d 5": 1}
        client.zadd(f"{{{prefix}}}:status:{QUEUE}:queued", members)
    assert [record.job_id for record in store.page(JobFilter(), limit=10).records] == ["b", "a"]
    store.close()


def test_a_moved_slot_names_the_node(proxy: RedisProxy) -> None:
    """If the keys are at another cluster node, the error names that node."""
    store = RedisStore(proxy.url, secrets.token_hex(6))
    with proxy.refusing("MOVED 6674 127.0.0.1:7001"), pytest.raises(StoreBroken, match=r"MOVED 6674 127\.0\.0\.1:7001"):
        store.now()
    store.close()


def test_a_new_primary_is_found(tmp_path: Path) -> None:
    """After a failover that keeps connections open, the second call reaches the server that the address now names."""
    folders = [tmp_path / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    old, new_primary = (RedisServer(folder) for folder in folders)
    proxy = RedisProxy(old.port)
    store = RedisStore(proxy.url, "x")
    try:
        store.add(QUEUE, new("a"))
        with redis.Redis(port=old.port) as first, redis.Redis(port=new_primary.port) as second:
            second.replicaof("127.0.0.1", str(old.port))
            _until(lambda: second.info("replication")["master_link_status"] == "up")
            first.execute_command("WAIT", 1, 0)
            second.replicaof("NO", "ONE")
            proxy.to_port = new_primary.port
            first.replicaof("127.0.0.1", str(new_primary.port))
        with pytest.raises(StoreUnavailable):
            store.add(QUEUE, new("b"))
        assert store.add(QUEUE, new("b")).new == ("b",)
        assert store.get("a") is not None
    finally:
        store.close()
        proxy.close()
        for server in (old, new_primary):
            server.kill()


def test_a_write_waits_for_the_replicas_that_the_server_requires(tmp_path: Path) -> None:
    """With `min-replicas-to-write`, a write that no replica has yet fails: a promoted replica would not know it."""
    folders = [tmp_path / name for name in ("primary", "replica")]
    for folder in folders:
        folder.mkdir()
    primary = RedisServer(folders[0], program=newer_binary())
    replica = RedisServer(folders[1], "--replicaof", f"127.0.0.1 {primary.port}", program=newer_binary())
    with redis.Redis(port=primary.port) as client:
        _until(lambda: client.info("replication")["connected_slaves"] == 1)
        unsafe = RedisStore(primary.url, "x")
        assert unsafe.advice is not None
        assert "min-replicas-to-write" in unsafe.advice.next_step
        unsafe.close()
        client.config_set("min-replicas-to-write", 1)
        _until(lambda: client.info("replication").get("min_slaves_good_slaves") == 1)
    store, impatient = RedisStore(primary.url, "x"), RedisStore(primary.url, "x", timings=Timings(redis_file=0.2))
    try:
        store.add(QUEUE, new("a"))
        record = take(store)
        replica.process.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreUnavailable, match="0 of 1 replica had the write"):
            intend(impatient, record)
        replica.process.send_signal(signal.SIGCONT)
        _until(lambda: _succeeds(lambda: store.add(QUEUE, new("b"))))
    finally:
        store.close()
        impatient.close()
        replica.process.send_signal(signal.SIGCONT)
        replica.kill()
        primary.kill()


def test_a_full_server_adds_no_jobs_but_ends_them(tmp_path: Path) -> None:
    """A server out of memory refuses new jobs; the jobs that it has are listed, counted, settled and cancelled."""
    server = RedisServer(tmp_path, program=newer_binary())
    store = RedisStore(server.url, "x")
    try:
        store.add(QUEUE, new("a", "b"))
        record = accept(store, intend(store, take(store)))
        with redis.Redis(port=server.port) as client:
            client.config_set("maxmemory", 1)
        with pytest.raises(StoreFull):
            store.add(QUEUE, [NewJob(a_job("c"), None)])
        assert len(store.page(JobFilter(), limit=10).records) == 2
        assert store.status_counts().by_status[Status.QUEUED] == 1
        assert store.now() > 0
        assert store.settle(record.job_id, record.lease_token, Done(VIDEO)).result == VIDEO
        assert store.cancel_waiting(QUEUE, 10) == 1
    finally:
        store.close()
        server.kill()


@pytest.mark.parametrize("digits", [0, 6, 17])
def test_a_store_continues_at_half_speed_after_the_clock_was_ahead(redis_server: RedisServer, digits: int) -> None:
    """After the server's clock was ahead, the store's time moves on, but slower than the clock, and never back."""
    prefix = secrets.token_hex(6)
    store = RedisStore(redis_server.url, prefix)
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        ahead = time.time() + 86400
        client.set(f"{{{prefix}}}:clock", f"{ahead:.{digits}f}")
        begin = float(client.time()[0]) + client.time()[1] / 1e6
        first = float(store.connection.run("now", ""))
        _until(lambda: time.time() > begin + 0.3)
        second = float(store.connection.run("now", ""))
        passed = float(client.time()[0]) + client.time()[1] / 1e6 - begin
    assert int(ahead) <= first < second <= first + passed / 2
    store.close()


#: Values that other programs might write under our keys: the command and the part of the name after the prefix.
FOREIGN = [
    ("ZADD", "due:{queue}:alpha", "0", "nosuch"),
    ("ZADD", "due:{queue}:#alpha", "0", "nosuch"),
    ("ZADD", "line:{queue}:alpha:", "0", "nosuch"),
    ("ZADD", "turns:{queue}:auto", "0", "nosuch"),
    ("ZADD", "asleep:{queue}:alpha", "0", b"\xff\xfe"),
    ("HSET", "weights", "", "heavy"),
    ("HSET", "priorities:{queue}:alpha", "", "x5"),
    ("ZADD", "due:{queue}:alpha", "0", "a1nosuch"),
    ("ZADD", "due:{queue}:alpha", "0", ""),
    ("ZADD", "due:{queue}:alpha", "0", b"\xff\xfe"),
    ("ZADD", "leased:{queue}", "0", "nosuch"),
    ("HSET", "wanting:{queue}", "auto", "many"),
    ("HSET", "wanting:{queue}", ALPHA, "many"),
    ("SET", "clock", "1e300"),
    ("SET", "clock", "nan"),
    ("HSET", "queue:{queue}", "rate", "fast", "concurrent", "x", "tokens", "y", "refilled_at", "z"),
    ("SET", "clock", "yesterday"),
]


@pytest.mark.parametrize("command", FOREIGN, ids=lambda command: " ".join(map(str, command[:2])))
def test_foreign_values_stop_no_worker(redis_server: RedisServer, command: tuple[str | bytes, ...]) -> None:
    """A foreign value in an index is moved aside with the name of its key, and jobs are claimed."""
    prefix = secrets.token_hex(6)
    store = RedisStore(redis_server.url, prefix)
    store.add(QUEUE, new("a"))
    name, key, *rest = command
    full = f"{{{prefix}}}:{str(key).format(queue=QUEUE)}"
    with redis.Redis(port=redis_server.port) as client:
        client.execute_command(name, full, *rest)
        assert [record.job_id for record in store.claim(a_claim()).records] == ["a"]
        store.enter_missing_turns(QUEUE, 100)
        aside = client.lrange(f"{{{prefix}}}:set_aside", 0, -1)
    assert [entry.split(b" ")[0].decode() for entry in aside] == (
        [full] if re.search(":(due|line|leased):", full) else []
    )
    store.close()


@pytest.mark.parametrize(
    ("command", "call"),
    [
        (("HSET", "workers", "w", "[1]"), lambda store: list(store.workers(within=10.0))),
        (("HSET", "last_errors", "alpha", "{"), lambda store: store.last_errors()),
        (("HSET", "sums:day", "nonsense", "x"), lambda store: store.totals("day")),
        (("HSET", f"queue:{QUEUE}", "rate", "fast"), lambda store: store.queue_state(QUEUE)),
    ],
)
def test_a_value_that_cannot_be_read_is_named(
    redis_server: RedisServer, command: tuple[str, ...], call: Callable[[RedisStore], object]
) -> None:
    """An error about a value that is not the engine's names the key and how to remove it."""
    prefix = secrets.token_hex(6)
    store = RedisStore(redis_server.url, prefix)
    name, key, *rest = command
    with redis.Redis(port=redis_server.port) as client:
        client.execute_command(name, f"{{{prefix}}}:{key}", *rest)
    with pytest.raises(StoreBroken, match=key) as broken:
        call(store)
    assert f"DEL '{{{prefix}}}:{key}'" in broken.value.next_step
    store.close()


def _until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def _succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except StoreUnavailable:
        return False
    return True
