"""The Redis store works on keys that release 0.1 wrote, and next to processes of that release."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tenxsom_flow_engine.budgets import ALL, Amounts, Span, parse_budget
from tenxsom_flow_engine.budgets.limits import period
from tenxsom_flow_engine.clock import utc_datetime
from tenxsom_flow_engine.errors import BudgetSpent
from tenxsom_flow_engine.jobs import AUTO, Cost, Status
from tenxsom_flow_engine.jobs.outcomes import Done
from tenxsom_flow_engine.jobs.submission import Intent
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.totals import DAY
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, QUEUE, VIDEO, a_claim, new
from tests.contract.store_suite.events import an_endpoint
from tests.contract.store_suite.shared import accept, check_counts, everything, ids, intend, settle
from tests.redis_server import RedisServer

#: The keys of a store of release 0.1 (commit 8f2af24), as Redis commands, one JSON list a line.
DUMP = Path(__file__).parent / "data/redis_store_8f2af24.jsonl"
#: The time of writing: the third day of its jobs.
WRITTEN_AT = 1_800_172_800.0
NEWEST_FIRST = [
    "elsewhere", "tomorrow", "b", "a", "priced", "leased", "with-ticket", "held", "cancelled", "failed", "succeeded"
]  # fmt: skip


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    """Return a handle on the store of release 0.1."""
    prefix = secrets.token_hex(6)
    with redis.Redis(port=redis_server.port) as client:
        for line in DUMP.read_text("utf-8").splitlines():
            command, key, *rest = json.loads(line)
            client.execute_command(command, key.replace("legacy", prefix), *(part.encode("latin-1") for part in rest))
    store = RedisStore(redis_server.url, prefix, ManualClock(WRITTEN_AT))
    yield store
    store.close()


def test_jobs_of_an_earlier_release_cause_events(store: RedisStore) -> None:
    """Jobs that release 0.1 has added cause events for an endpoint of this release."""
    assert store.swap_endpoint(None, an_endpoint())
    store.cancel("a")
    assert [(one.message.type, one.message.subject) for one in store.deliveries("we_1", 10)] == [("job.cancelled", "a")]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (JobFilter(), NEWEST_FIRST),
        (JobFilter(channel="sea"), ["b", "a", "priced", "with-ticket"]),
        (JobFilter(channel="sea", service=AUTO), ["priced"]),
        (JobFilter(service=BETA), ["tomorrow"]),
        (JobFilter(text="STRASSE"), ["b", "a"]),
        (JobFilter(text='"rain"', queue=QUEUE), ["leased"]),
        (JobFilter(statuses=[Status.QUEUED]), ["elsewhere", "b", "a", "priced"]),
        (JobFilter(statuses=[Status.RUNNING, Status.HELD]), ["leased", "held"]),
        (JobFilter(added_from=1_800_050_000.0, added_before=1_800_100_000.0), NEWEST_FIRST[2:7]),
    ],
)
def test_its_jobs_are_listed(store: RedisStore, jobs: JobFilter, expected: list[str]) -> None:
    """Every filter finds the jobs that release 0.1 added."""
    assert ids(everything(store, jobs, limit=2)) == expected
    assert store.count_matching(jobs).jobs == len(expected)


def test_its_records_and_totals_are_read(store: RedisStore) -> None:
    """Jobs, costs, leases, counts, totals, limits and workers of release 0.1 are read."""
    check_counts(store)
    priced = store.require("priced")
    assert (priced.cost, priced.due, priced.events[0].what) == (Cost(usd=0.25), 1_800_086_400.0, "added")
    assert store.require("a").job.options == {ALPHA: {"seed": 7}}
    lease = store.require("leased").lease
    assert lease is not None
    assert (lease.worker, lease.until) == ("old-worker", 1_800_087_000.0)
    assert sum(one.amount for one in store.totals(DAY) if one.name == "videos") == 2
    assert store.queue_state(QUEUE).max_concurrent_dispatches == 7
    assert [worker.id for worker in store.workers(within=60.0)] == ["w-1"]
    assert store.in_flight(ALPHA) == 1
    assert store.add(QUEUE, new("a", "succeeded")).known == ("a", "succeeded")


def test_its_purchases_count_against_budgets(store: RedisStore, redis_server: RedisServer) -> None:
    """Amounts that release 0.1 has spent count for the budgets of all jobs and of services, once."""
    prefix = store.connection.prefix
    with redis.Redis(port=redis_server.port) as client:
        client.hset(f"{prefix}:sums:day", f"{utc_datetime(WRITTEN_AT):%Y-%m-%d}|{ALPHA}|usd", "1.5")
        client.delete(f"{prefix}:charged")
    for _ in range(2):
        RedisStore(redis_server.url, prefix.strip("{}"), ManualClock(WRITTEN_AT)).close()
    month = period(Span.MONTH, "UTC", WRITTEN_AT)
    amounts = store.amounts([(ALL, month), (f"service:{ALPHA}", month), ("channel:sea", month)])
    assert amounts == [Amounts(spent=1_500_000), Amounts(spent=1_500_000), Amounts()]
    store.set_budget(ALL, parse_budget(ALL, "1.5/mo"))
    (record, *_) = store.claim(a_claim(only="a")).records
    with pytest.raises(BudgetSpent):
        store.intend("a", record.lease_token, Intent(submission_id="s", service=ALPHA, lifetime=9.0, reserve=1))


def test_its_jobs_are_claimed_and_settled(store: RedisStore) -> None:
    """Jobs of release 0.1 are claimed in the fair order of their channels, and settled."""
    store.set_queue_state(QUEUE, lambda state: state.with_limits(1e6, 100))
    store.add(QUEUE, new("new"))
    claimed = store.claim(a_claim()).records
    assert ids(claimed) == ["with-ticket", "priced", "new", "leased", "a", "b"]
    done = settle(store, claimed[0], Done(VIDEO))
    record = accept(store, intend(store, next(one for one in claimed if one.job_id == "a")))
    assert settle(store, record, Done(VIDEO)).status is done.status is Status.SUCCEEDED
    assert [store.require(name).status for name in ("with-ticket", "a")] == [Status.SUCCEEDED] * 2
    assert store.cancel("tomorrow").status is Status.CANCELLED
    assert store.cancel_waiting("other", 10) == 1
    check_counts(store)
    assert ids(everything(store)) == ["new", *NEWEST_FIRST]


def test_a_job_that_it_adds_after_an_upgrade_is_found(store: RedisStore, redis_server: RedisServer) -> None:
    """A producer of release 0.1 can add jobs after newer ones: lists and claims find them."""
    store.add(QUEUE, new("newer", channel="sea"))
    prefix = store.connection.prefix
    with redis.Redis(port=redis_server.port) as client:
        # The writes of its script `add`, for the thirteenth job.
        text = '[{"v":1,"topic":"Tides","channel":"sea","created_at":1800172800.0},"local","0123456789ab",1800172800.0]'
        client.set(f"{prefix}:position", 13)
        client.hset(f"{prefix}:jobs", "late", f"ada1{text}")
        client.zadd(f"{prefix}:status:local:queued", {"late": 13})
        client.zadd(f"{prefix}:due:local:auto", {"adlate": WRITTEN_AT})
        for name in ("service:auto", "channel:sea"):
            client.setbit(f"{prefix}:zones:{name}", 0, 1)
    assert ids(everything(store, JobFilter(channel="sea")))[:2] == ["late", "newer"]
    assert ids(everything(store, JobFilter(added_from=WRITTEN_AT))) == ["late", "newer", "elsewhere", "tomorrow"]
    assert store.cancel("late").status is Status.CANCELLED
    check_counts(store)
