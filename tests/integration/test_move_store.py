"""Moves between the embedded store and a Redis server: complete, resumable, and never with one job in two stores."""

from __future__ import annotations

import dataclasses
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result
from msgspec.structs import replace

from tenxsom_flow_engine.budgets import parse_budget
from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.errors import ActionRefused, InvalidInput, StoreMoved, StoreUnavailable
from tenxsom_flow_engine.events import DeliveryState, Endpoint, EndpointKind, Settled
from tenxsom_flow_engine.events.outbox import Health
from tenxsom_flow_engine.jobs import Cost, Status
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Held, Outcome, Wait
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.operations.backup import back_up
from tenxsom_flow_engine.operations.move_store import abandon_move, move_store
from tenxsom_flow_engine.operations.restore import restore
from tenxsom_flow_engine.planning.schedules import ScheduleTerms, new_schedule
from tenxsom_flow_engine.queues.stores import open_ledger, open_store_at
from tenxsom_flow_engine.rate_limits.base import Admission, Closed, Share
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, parse_windows
from tenxsom_flow_engine.settings import Settings, load
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.moving import TABLES, Contents
from tenxsom_flow_engine.store.redis import moving as redis_moving
from tenxsom_flow_engine.store.redis.moving import RedisContents
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.sqlite import moving as sqlite_moving
from tenxsom_flow_engine.store.sqlite.moving import SQLiteContents
from tenxsom_flow_engine.store.values import JobFilter, NewJob, Retention, WorkerInfo
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, TICKET, VIDEO, a_claim, a_job, new
from tenxsom_flow_engine.timings import Timings
from tests import fork_server, killable_move
from tests.redis_server import RedisServer

fork_server.preload(
    "tests.killable_move", "tenxsom_flow_engine.store.redis.moving", "tenxsom_flow_engine.store.sqlite.moving"
)
LIMITS = {ALPHA: parse_windows("5/h"), GLOBAL: parse_windows("100/d")}
DIRECTIONS = pytest.mark.parametrize(("source", "target"), [("local", "redis"), ("redis", "local")])


@pytest.fixture
def environment(tmp_path: Path, redis_server: RedisServer) -> dict[str, str]:
    return {
        "TENXSOM_HOME": str(tmp_path), "REDIS_URL": redis_server.url, "REDIS_QUEUE_KEY": f"m-{secrets.token_hex(6)}"
    }  # fmt: skip


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment)


def opened(settings: Settings, queue: str) -> JobStore:
    """Open the store of a queue. Raises `StoreMoved`."""
    if queue == "local":
        return open_store_at("sqlite", f"sqlite://{settings.home}/jobs.sqlite3", "", SystemClock())
    return open_store_at("redis", str(settings.redis.address), settings.redis.key, SystemClock())


def buy(store: JobStore, queue: str, job_id: str, outcome: Outcome | None, *, ticket: bool = True) -> str:
    """Add a job, order it for a dollar, and settle the step if there is an outcome; return the token of its lease."""
    store.add(queue, new(job_id, channel="sea"))
    (record,) = store.claim(a_claim(queue=queue, count=1)).records
    intent = Intent(submission_id=f"s-{job_id}", service=ALPHA, lifetime=9e4, reserve=1_000_000)
    store.intend(job_id, record.lease_token, intent)
    if ticket:
        receipt = Receipt(submission_id=f"s-{job_id}", ticket=TICKET, lifetime=9e4, cost=Cost(usd=0.75))
        store.accept(job_id, receipt)
    if outcome is not None:
        store.settle(job_id, record.lease_token, outcome)
    return record.lease_token


def fill(store: JobStore, queue: str) -> None:
    """Give a store jobs of each kind, and something of everything else."""
    now = store.now()
    buy(store, queue, "trimmed", Done(VIDEO))
    store.trim(Retention(age=0.0, count=0, ids=9e6))
    assert store.swap_endpoint(
        None, Endpoint(id="we_1", kind=EndpointKind.WEBHOOK, url="https://example.org/hook", secret="s", created_at=now)
    )
    buy(store, queue, "rendering", Wait(now + 900, "rendering"))
    buy(store, queue, "made", Done(VIDEO))
    buy(store, queue, "failed", Dead(FAILURE))
    buy(store, queue, "doubtful", Held(FAILURE), ticket=False)
    taken, other = store.take_deliveries("we_1", 2, 60.0)
    delivered = Settled(taken.message.event_id, taken.tries, DeliveryState.DELIVERED)
    later = Settled(other.message.event_id, other.tries, DeliveryState.PENDING, now + 90.0)
    store.settle_deliveries("we_1", [delivered, later], Health(failures=1, failing_since=now))
    jobs = [NewJob(a_job(f"waits-{number}", channel="sea", priority=number % 3)) for number in range(4)]
    store.add(queue, [*jobs, *new("later", due=now + 86400, start_by=now + 90000), *new("dropped")])
    store.add("cloud_tasks", new("pushed", service=BETA))
    store.cancel("dropped")
    store.set_budget("all", parse_budget("all", "100/mo"))
    store.set_channel("sea", lambda _: Channel(weight=2.0, limits="9/h"))
    store.set_queue_state(queue, lambda state: type(state)(state.paused, 7000.0, None))
    store.put_memo("api_key", "k1", "secret", 9e6, instead_of=None)
    store.acquire_lock("ended-session:abc", "gone", 9000.0)
    terms = ScheduleTerms(channel="sea", daily_count=4, videos_per_hour="1", zone="UTC")
    topics = [{"topic": f"Topic {number}"} for number in range(3)]
    assert store.swap_schedule(None, new_schedule("tides", terms, {}, 3, now), topics)
    built_in = new_schedule("built-in", terms, {}, None, now)
    assert store.swap_schedule(None, built_in)
    store.set_queue_state("cloud_tasks", lambda state: dataclasses.replace(state, paused=True))
    ledger = open_ledger(store)
    share = Share("sea", 2.0, parse_windows("9/h"))
    for number in range(3):
        assert isinstance(ledger.ask(ALPHA, f"w{number}", LIMITS, share), Admission)
    ledger.answered(ALPHA, 1.5)
    ledger.change(BETA, lambda gate, _: type(gate)(stopped="by hand", why="holidays", limits="3/60s"))


def contents_of(store: JobStore) -> Contents:
    if isinstance(store, SQLiteStore):
        return SQLiteContents(store)
    assert isinstance(store, RedisStore)
    return RedisContents(store)


def everything(store: JobStore, queue: str) -> dict[str, Any]:
    """Return what a store has, in a form that does not depend on its type, with `pull` for its pull queue."""
    contents = contents_of(store)
    found: dict[str, Any] = {
        table: sorted(row for row in contents.rows(table) if row[0] != "move" and row[2:] != (0, 0)) for table in TABLES
    }

    def named(name: str) -> str:
        return "pull" if name == queue else name

    found["jobs"] = [replace(one, queue=named(one.queue)) for chunk in contents.records() for one in chunk]
    found["counts"] = {named(name): store.status_counts(name).by_status for name in (queue, "cloud_tasks")}
    found["budgets"], found["channels"] = store.budgets(), store.channels()
    found["schedules"] = [(one, store.schedule_topics(one, range(one.topics or 0))) for one in store.schedules()]
    found["queues"] = {named(name): store.queue_state(name) for name in contents.queues()}
    found["ledger"] = {entry.name: entry for entry in open_ledger(store).entries()}
    found["events"] = {
        one.id: (sorted(store.deliveries(one.id, 99), key=repr), store.delivery_counts(one.id), store.health(one.id))
        for one in store.endpoints()
    }
    found["slots"] = (store.in_flight(ALPHA), store.channel_in_flight("sea"))
    found["finished"] = [
        record.job_id for record in store.page(JobFilter(statuses=(Status.SUCCEEDED,)), limit=9).records
    ]
    return found


@DIRECTIONS
def test_everything_arrives(settings: Settings, source: str, target: str) -> None:
    """All that a store has is in the other one after a move, and it is back after the way back."""
    with closing(opened(settings, source)) as store:
        fill(store, source)
        before = everything(store, source)
        clock = store.now()
    assert [record.job_id for record in before["jobs"]] == [
        "rendering", "made", "failed", "doubtful", *(f"waits-{number}" for number in range(4)), "later", "dropped",
        "pushed",
    ]  # fmt: skip
    states = {state: number for state, number in before["events"]["we_1"][1].items() if number}
    assert states.pop(DeliveryState.DELIVERED) == 1
    assert states[DeliveryState.PENDING] > 1
    moved = move_store(settings, source, target)
    assert (moved.jobs, moved.queue, moved.repeated) == (11, target, False)
    with closing(opened(settings, target)) as store:
        assert everything(store, target) == before
        assert store.now() >= clock
        assert store.knows_id("trimmed")
        assert store.add(target, new("trimmed")).new == ()
        # What was used of the quota counts: the ledger has 3 of 5.
        ledger = open_ledger(store)
        answers = [ledger.ask(ALPHA, f"x{number}", LIMITS) for number in range(3)]
        assert [type(answer) for answer in answers] == [Admission, Admission, Closed]
        claimed = store.claim(a_claim(queue=target)).records
        assert sorted(record.job_id for record in claimed) == [f"waits-{number}" for number in range(4)]
        for record in claimed:
            store.release_lease(record.job_id, record.lease_token)
        assert store.trim(Retention(age=0.0, count=0, ids=9e6)) == 2
        middle = everything(store, target)
    with pytest.raises(StoreMoved, match="were moved to"):
        opened(settings, source)
    assert move_store(settings, source, target).repeated
    assert move_store(settings, target, source).jobs == 9
    with closing(opened(settings, source)) as store:
        assert everything(store, source) == middle
    with pytest.raises(StoreMoved):
        opened(settings, target)
    assert move_store(settings, source, target).jobs == 9


@DIRECTIONS
def test_killed_at_each_write(
    settings: Settings, environment: dict[str, str], tmp_path: Path, source: str, target: str
) -> None:
    """Guarantees 1 and 2: whatever write it dies before, no job is usable in two stores, and it can be completed."""
    with closing(opened(settings, source)) as store:
        fill(store, source)
        before = everything(store, source)
    counted = tmp_path / "counted"

    def usable() -> list[str]:
        found = []
        for queue in (source, target):
            try:
                with closing(opened(settings, queue)) as store:
                    if any(store.status_counts().by_status.values()):
                        assert everything(store, queue) == before
                        found.append(queue)
            except StoreMoved:
                pass
        return found

    def move(dies_before: int | None) -> int:
        order = killable_move.Move(environment, source, target, counted, dies_before)
        return fork_server.start(killable_move.run, order, log=tmp_path / "move.log").wait()

    def back() -> None:
        move_store(settings, target, source)
        with redis.Redis.from_url(str(settings.redis.address)) as client:  # else each move counts more and more keys
            if kept := list(client.scan_iter(f"{{{settings.redis.key}}}.*", count=1000)):
                client.delete(*kept)

    for _ in range(2):  # the first one finds no earlier contents
        assert move(None) == 0, (tmp_path / "move.log").read_text()
        back()
    writes = int(counted.read_text())
    # Each write at the end, where the stores change places, and a part of those before.
    seen = set()
    for number in [*range(0, writes - 12, writes // 8), *range(writes - 12, writes)]:
        if move(number) != 0:
            seen.add(tuple(usable()))
            assert len(usable()) <= 1
            moved = move_store(settings, source, target)
            assert moved.jobs == 11 or moved.repeated
        assert usable() == [target]
        back()
        assert usable() == [source]
    assert seen == {(source,), (), (target,)}


@DIRECTIONS
def test_a_job_in_flight_stays(settings: Settings, source: str, target: str) -> None:
    """A lease or an intent keeps everything in place, and the message names the job."""
    with closing(opened(settings, source)) as store:
        store.add(source, new("leased"))
        (record,) = store.claim(a_claim(queue=source)).records
    with pytest.raises(ActionRefused, match="leased"):
        move_store(settings, source, target)
    with closing(opened(settings, source)) as store:
        store.release_lease("leased", record.lease_token)
        store.cancel("leased")
        token = buy(store, source, "ordered", None, ticket=False)
        store.release_lease("ordered", token)
    with pytest.raises(ActionRefused, match="ordered"):
        move_store(settings, source, target)
    with closing(opened(settings, source)) as store:
        receipt = Receipt(submission_id="s-ordered", ticket=TICKET, lifetime=9e4, cost=Cost(usd=0.75))
        store.accept("ordered", receipt)
    assert move_store(settings, source, target).jobs == 2


@DIRECTIONS
def test_a_fault_leaves_the_source_usable(
    settings: Settings, redis_server: RedisServer, source: str, target: str
) -> None:
    """An error before the jobs are in place undoes the freezing."""
    with closing(opened(settings, source)) as store:
        fill(store, source)
        before = everything(store, source)

    def fail(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move_store(settings, source, target, progress=fail)
    with closing(opened(settings, source)) as store:
        assert everything(store, source) == before
    assert move_store(settings, source, target).jobs == 11


def test_an_open_store_is_refused(settings: Settings) -> None:
    """Nothing moves while another process uses a store, and a process that has it open notices a move."""
    with closing(opened(settings, "local")) as store:
        fill(store, "local")
        with pytest.raises(StoreUnavailable, match="open"):
            move_store(settings, "local", "redis")
    move_store(settings, "local", "redis")
    with closing(opened(settings, "redis")) as store:
        store.heartbeat(WorkerInfo("w", "redis", "host", 1, 1, store.now(), store.now(), 0))
        with pytest.raises(StoreUnavailable, match="alive"):
            move_store(settings, "redis", "local")
        store.forget_worker("w")
        move_store(settings, "redis", "local")
        with pytest.raises(StoreMoved):
            store.add("redis", new("late"))
        with pytest.raises(StoreMoved):
            store.claim(a_claim(queue="redis"))
        with pytest.raises(StoreMoved):
            store.cancel("later")


def test_refusals(settings: Settings, redis_server: RedisServer, tmp_path: Path) -> None:
    """What cannot move says why, and changes nothing."""
    with closing(opened(settings, "local")) as store:
        store.add("local", new("a"))
    with closing(opened(settings, "redis")) as store:
        store.add("redis", new("b"))
    with pytest.raises(ActionRefused, match="has 1 job"):
        move_store(settings, "local", "redis")
    with pytest.raises(ActionRefused, match="has 1 job"):
        move_store(settings, "redis", "local")
    with pytest.raises(InvalidInput, match="same type"):
        move_store(settings, "local", f"sqlite://{tmp_path}/other.sqlite3")
    with pytest.raises(InvalidInput, match="is not a store"):
        move_store(settings, "local", "postgres://host")
    with pytest.raises(StoreUnavailable, match="no job store"):
        move_store(settings, f"sqlite://{tmp_path}/none.sqlite3", "redis")
    other = f"sqlite://{tmp_path}/other.sqlite3"
    with redis.Redis.from_url(redis_server.url) as client:
        client.lpush(settings.redis.key, "{}")
        with pytest.raises(ActionRefused, match="1 entry of the legacy list"):
            move_store(settings, "redis", other)
        client.delete(settings.redis.key)
    assert move_store(settings, "redis", other).jobs == 1
    with pytest.raises(ActionRefused, match="were moved to"):
        move_store(settings, "redis", "local")


def test_an_interrupted_move_can_be_abandoned(settings: Settings, environment: dict[str, str], tmp_path: Path) -> None:
    """The source is usable again, unless the jobs have arrived."""
    with closing(opened(settings, "redis")) as store:
        fill(store, "redis")
        before = everything(store, "redis")
    with pytest.raises(ActionRefused, match="no move"):
        abandon_move(settings, "redis", "local")
    counted = tmp_path / "counted"
    for number in range(110, 500, 40):
        order = killable_move.Move(environment, "redis", "local", counted, number)
        assert fork_server.start(killable_move.run, order, log=tmp_path / "log").wait() != 0
        try:
            opened(settings, "redis").close()
        except StoreMoved:
            break
    with pytest.raises(StoreMoved, match="are being moved"):
        opened(settings, "redis")
    with pytest.raises(ActionRefused, match="not to"):
        abandon_move(settings, "redis", f"sqlite://{tmp_path}/other.sqlite3")
    abandon_move(settings, "redis", "local")
    with closing(opened(settings, "redis")) as store:
        assert everything(store, "redis") == before
    assert move_store(settings, "redis", "local").jobs == 11
    with pytest.raises(ActionRefused, match="have arrived"):
        abandon_move(settings, "redis", "local")


def test_a_moved_store_stays_closed(settings: Settings, tmp_path: Path) -> None:
    """Earlier releases and restores are refused; the home remembers the queue that has the jobs now."""
    home = settings.home
    with open_engine(load({"TENXSOM_HOME": str(home), "REDIS_PORT": "1"})) as engine:
        engine.add(new("a"))
    file = tmp_path / "backup"
    back_up(settings, "local", file)
    assert (home / "queue").read_text() == "local\n"
    move_store(settings, "local", "redis")
    assert (home / "queue").read_text() == "redis\n"
    with closing(sqlite3.connect(home / "jobs.sqlite3")) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] > 100
    with pytest.raises(StoreMoved):
        restore(settings, "local", file)


def test_each_table_is_decided(settings: Settings) -> None:
    """What a store keeps either moves or is named here: a new table or key needs a decision."""
    by_methods = {"jobs", "budgets", "channels", "schedules", "schedule_topics", "queues"}
    by_ledger = {"gates", "admissions", "tallies"}
    # Made from the records, or of no use in another store.
    left = {"starts", "counts", "charge_periods", "turns", "virtual_times", "workers", "clock", "waiters",
            "waiter_channels", "admitted", "sqlite_sequence"}  # fmt: skip
    with closing(opened(settings, "local")) as store:
        fill(store, "local")
        assert isinstance(store, SQLiteStore)
        with store.reading() as (db, _):
            tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == set(TABLES) | by_methods | by_ledger | left
    copied = {"jobs", "finished_ids", "sums", "last_errors", "charges", "memos", "memo_ends", "hold", "budgets",
              "channels", "schedules", "topics", "queue", "gate", "log", "tally", "clock", "endpoints",
              "endpoint_health", "outbox", "outbox_at", "outbox_due", "outbox_state"}  # fmt: skip
    made = {"position", "status", "due", "line", "asleep", "priorities", "lanes", "queues", "slots", "channel_slots",
            "finished", "starts", "scheduled", "zones", "days", "changes", "charged", "virtual", "turns", "weights",
            "periods", "admitted", "behind", "asked", "told", "waiting", "hints", "asks", "waiter_channels", "leases",
            "leased", "wanting", "paused", "endpoints_version"}  # fmt: skip
    with closing(opened(settings, "redis")) as store:
        fill(store, "redis")
        assert isinstance(store, RedisStore)
        begin = store.connection.key("")
        keys = {name.removeprefix(begin).partition(":")[0] for name in store.connection.client.scan_iter(f"{begin}*")}
    assert keys <= copied | made


def test_the_command(environment: dict[str, str], redis_server: RedisServer, tmp_path: Path) -> None:
    """`queue move` says what arrived, what to set and what it refuses, and has no half of its options."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["queue", "move", *words], env=environment, standalone_mode=False)

    settings = load(environment)
    with closing(opened(settings, "local")) as store:
        store.add("local", new("a", "b"))
    for words in (("--from-store", "local"), ("--from", "local"), ("--from", "a", "--to", "b", "--abandon"), ()):
        assert "--from-store and --to-store" in str(run(*words).exception)
    moved = run("--from-store", "local", "--to-store", redis_server.url)
    assert moved.exception is None
    assert "moved 2 jobs to redis://" in moved.stderr.replace("moving jobs", "")
    assert "TENXSOM_QUEUE_TYPE=redis" in moved.stderr
    assert "already" in run("--from-store", "local", "--to-store", "redis").stderr
    back = f"sqlite://{tmp_path}/back.sqlite3"
    assert "no move" in str(run("--from-store", "redis", "--to-store", back, "--abandon").exception)
    assert "moved 2 jobs" in run("--from-store", "redis", "--to-store", back).stderr


@DIRECTIONS
def test_a_target_that_has_moved_on(
    settings: Settings, environment: dict[str, str], tmp_path: Path, source: str, target: str
) -> None:
    """A move that was killed just before its end adds nothing again to a target whose jobs are elsewhere by then."""
    with closing(opened(settings, source)) as store:
        store.add(source, new("a"))
    move_store(settings, source, target)
    timings, clock = Timings(), SystemClock()
    leaving = (
        sqlite_moving.leaving(settings.home / "jobs.sqlite3", clock, timings)
        if source == "local"
        else redis_moving.leaving(str(settings.redis.address), settings.redis.key, alive_within=0.0, timings=timings)
    )
    with leaving as departure:  # as a kill before the last write leaves it
        assert departure.marker is not None
        departure.finish(replace(departure.marker, done=False))
    with pytest.raises(StoreMoved, match="are being moved"):
        opened(settings, source)
    # The file moves on to a key of another name, the server to another file.
    onward = f"sqlite://{tmp_path}/onward.sqlite3" if target == "redis" else str(settings.redis.address)
    elsewhere = load(environment | ({"REDIS_QUEUE_KEY": "onward"} if target == "local" else {}))
    assert move_store(elsewhere, target, onward).jobs == 1
    assert move_store(settings, source, target).repeated
    with pytest.raises(StoreMoved):
        opened(settings, target)
