"""The report: its figures compared with a count over all records, and each verdict."""

from __future__ import annotations

import random
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenxsom_flow_engine.budgets import parse_budget
from tenxsom_flow_engine.cli.advice import advise
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Busy, Misconfigured, QueueUnavailable
from tenxsom_flow_engine.events import Endpoint, EndpointKind
from tenxsom_flow_engine.jobs import AUTO, Cost, Failure, JobRecord, Status, Ticket
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Held, Retry, Wait
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.planning.schedules import ScheduleTerms, new_schedule
from tenxsom_flow_engine.queues.base import QueueStatus
from tenxsom_flow_engine.report.model import DiskFigures, Report, ServiceFigures
from tenxsom_flow_engine.report.operator_json import describe_queue
from tenxsom_flow_engine.report.prometheus import metrics
from tenxsom_flow_engine.report.public_json import stats
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.report.verdicts import CODES, verdicts
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.histogram import bound, bucket
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.values import WorkerInfo
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import FAILURE, QUEUE, VIDEO, a_claim, new
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance
from tests.contract.store_suite.shared import everything
from tests.redis_server import RedisServer
from tests.scripted_parts import Script, ScriptedQueue, ScriptedStore, open_scripted

DAY = 86400.0
#: Number of random records.
MANY = 10_000
SERVICES = ("draft", "simulated")
#: Half past ten in the morning.
NOW = DAY * 21_000 + 10.5 * 3600


@pytest.fixture
def time() -> ManualClock:
    clock = ManualClock()
    clock.set(NOW)
    return clock


def open_with(folder: Path, time: ManualClock, store: JobStore | None = None) -> Engine:
    settings = load({"TENXSOM_HOME": str(folder), "TENXSOM_SIMULATED": "latency=1"})
    return open_engine(settings, "local", clock=time, store=store) if store else open_scripted(settings, time, Script())


@pytest.fixture
def engine(tmp_path: Path, time: ManualClock) -> Iterator[Engine]:
    with open_with(tmp_path, time) as engine:
        yield engine


@pytest.fixture
def redis_store(redis_server: RedisServer, time: ManualClock) -> RedisStore:
    """A store on a server, with the test's clock."""
    return RedisStore(redis_server.url, secrets.token_hex(6), time)


@pytest.fixture(params=["sqlite", "redis"])
def any_engine(request: pytest.FixtureRequest, tmp_path: Path, time: ManualClock) -> Iterator[Engine]:
    store = request.getfixturevalue("redis_store") if request.param == "redis" else None
    with open_with(tmp_path, time, store) as engine:
        yield engine


def live(store: JobStore, record: JobRecord, time: ManualClock, draw: random.Random) -> None:
    """Give a leased job a random outcome."""
    fate = draw.random()
    if fate < 0.1:
        store.settle(record.job_id, record.lease_token, Wait(store.now() + draw.choice([0, 1e6]), "waiting"))
    elif fate < 0.15:
        store.cancel(record.job_id)
    elif fate < 0.3:
        store.settle(record.job_id, record.lease_token, Dead(Failure("rejected", "no")))
    else:
        service = record.job.service
        store.intend(
            record.job_id,
            record.lease_token,
            Intent(submission_id=record.nonce, service=service, lifetime=1e6, max_in_flight=10**6),
        )
        cost = draw.choice([None, Cost(usd=0.25, credits=50.0, estimated=False)])
        store.accept(record.job_id, Receipt(submission_id=record.nonce, ticket=Ticket("t"), lifetime=1e6, cost=cost))
        if fate < 0.9:
            time.advance(draw.expovariate(0.2))
            store.settle(record.job_id, record.lease_token, Done(VIDEO))


def by_brute_force(records: list[JobRecord], now: float) -> dict[str, Any]:
    """Compute the figures of a report from all records."""
    midnight, first = now // DAY * DAY, now // 3600 * 3600 - 23 * 3600
    over = {status: [r for r in records if r.status is status] for status in Status}
    done, failed = over[Status.SUCCEEDED], over[Status.FAILED]

    def since(at: float, many: list[JobRecord]) -> list[JobRecord]:
        return [r for r in many if r.finished_at is not None and r.finished_at >= at]

    bought = [p for r in records for p in r.purchases if p.at >= midnight]
    due = [r.due for r in records if r.due is not None and r.due <= now]
    bars: Counter[tuple[float, str]] = Counter()
    for record in since(first, done + failed):
        bars[(record.finished_at or 0) // 3600 * 3600, record.status] += 1
    return {
        "by_status": Counter(r.status_at(now) for r in records),
        "oldest_due": now - min(due),
        "today": (len(since(midnight, done)), len(since(midnight, failed))),
        "day": (len(since(first, done)), len(since(first, failed))),
        "bars": bars,
        "bought": (len(bought), sum(p.cost.usd or 0 for p in bought if p.cost), sum(p.cost is None for p in bought)),
        "services": {
            name: {
                "in_flight": sum(r.holds_slot and r.service == name for r in records),
                "day": sum(r.service == name for r in since(first, done)),
                "sizes": sorted(
                    bound(bucket((r.finished_at or 0) - r.submission.first_intended_at))
                    for r in since(first, done)
                    if r.service == name
                ),
            }
            for name in SERVICES
        },
    }


def test_every_figure_equals_a_count_by_brute_force(any_engine: Engine, time: ManualClock) -> None:
    """For 10,000 random records, each figure of the report equals a count over all records, on both stores."""
    draw = random.Random(9)
    store = any_engine.store
    jobs = [
        job
        for number in range(MANY)
        for job in new(f"j{number}", service=draw.choice(SERVICES), due=NOW + draw.choice([0, 0, 3, 60]) * 3600)
    ]
    store.add(QUEUE, jobs)
    slots = dict.fromkeys(SERVICES, 10**6)
    for _ in range(10):
        for record in store.claim(a_claim(count=100, lease=1e6, slots=slots)).records:
            live(store, record, time, draw)
        time.advance(3.7 * 3600)
    report = take_report(any_engine)
    records = everything(store, limit=2000)
    assert len(records) == MANY
    truth = by_brute_force(records, report.at)
    jobs_ = report.jobs
    assert {status: count for status, count in jobs_.by_status.items() if count} == truth["by_status"]
    assert jobs_.oldest_due == pytest.approx(truth["oldest_due"])
    assert (jobs_.today.succeeded, jobs_.today.failed) == truth["today"]
    assert (jobs_.day.succeeded, jobs_.day.failed) == truth["day"]
    assert jobs_.day.success_rate == pytest.approx(truth["day"][0] / sum(truth["day"]))
    bars = {(bar.at, name): getattr(bar.ended, name) for bar in jobs_.hours for name in ("succeeded", "failed")}
    assert {bar: count for bar, count in bars.items() if count} == truth["bars"]
    bought = jobs_.bought_today
    assert (bought.videos, pytest.approx(bought.usd), bought.unpriced) == truth["bought"]
    for name in SERVICES:
        figures, true = service(report, name), truth["services"][name]
        assert (figures.in_flight, figures.day.succeeded) == (true["in_flight"], true["day"])
        sizes = true["sizes"]
        assert figures.making.videos == len(sizes)
        assert figures.making.p50 == sizes[-(-len(sizes) // 2) - 1]
        assert figures.making.p95 == sizes[-(-len(sizes) * 95 // 100) - 1]


def service(report: Report, name: str) -> ServiceFigures:
    return next(service for service in report.services if service.name == name)


def test_throughput_counts_the_hour_before_in_proportion(engine: Engine, time: ManualClock) -> None:
    """The throughput counts the previous hour's videos by the share of that hour within the last 60 minutes."""
    for at, names in ((NOW, "abcd"), (NOW + 3600, "ef")):
        time.set(at)
        engine.store.add(QUEUE, new(*names, service="draft"))
        for record in engine.store.claim(a_claim(slots={"draft": 100})).records:
            make(engine.store, record)
    report = take_report(engine)
    assert report.jobs.throughput == pytest.approx(2 + 4 * 0.5)
    assert [bar.ended.succeeded for bar in report.jobs.hours][-2:] == [4, 2]
    assert len(report.jobs.hours) == 24


def make(store: JobStore, record: JobRecord) -> None:
    store.intend(
        record.job_id, record.lease_token, Intent(submission_id="s", service="draft", lifetime=9.0, max_in_flight=100)
    )
    store.accept(record.job_id, Receipt(submission_id="s", ticket=Ticket("t"), lifetime=9.0))
    store.settle(record.job_id, record.lease_token, Done(VIDEO))


def alive(engine: Engine, name: str = "w-1", **changes: Any) -> None:
    fields: dict[str, Any] = {"host": "h", "pid": 1, "concurrency": 4, "started_at": engine.store.now()} | changes
    engine.store.heartbeat(WorkerInfo(name, QUEUE, **fields))


def test_workers_of_all_queues_count(engine: Engine, time: ManualClock) -> None:
    """The report counts every worker of the store with a recent heartbeat, whatever its queue."""
    alive(engine, steps=7)
    engine.store.heartbeat(WorkerInfo("w-2", "cloud_tasks", "h", 2, 8, NOW - 100, steps=5))
    time.advance(20)
    workers = take_report(engine).workers
    assert (workers.alive, workers.concurrency, workers.steps) == (2, 12, 12)
    assert workers.uptime == pytest.approx(120.0)
    assert workers.seen == pytest.approx(20.0)
    time.advance(20)
    assert take_report(engine).workers.alive == 0


def lease(engine: Engine, name: str) -> JobRecord:
    engine.store.add(QUEUE, new(name, service="draft"))
    return engine.store.claim(a_claim(only=name, slots={"draft": 100})).records[0]


def no_worker(engine: Engine, time: ManualClock) -> None:
    alive(engine)
    engine.store.add(QUEUE, new("lonely"))
    time.advance(200)


def held(engine: Engine, time: ManualClock) -> None:
    for name in "ab":
        record = lease(engine, name)
        engine.store.intend(
            name, record.lease_token, Intent(submission_id=name, service="draft", lifetime=9.0, max_in_flight=100)
        )
        engine.store.settle(name, record.lease_token, Held(FAILURE))


def stopped(engine: Engine, time: ManualClock) -> None:
    engine.limiter.refused("pixverse", Misconfigured("pixverse", "the key secret-1 is wrong"))


def failing(engine: Engine, time: ManualClock) -> None:
    for name in "abc":
        engine.store.settle(name, lease(engine, name).lease_token, Dead(Failure("rejected", "no secret-1")))


def late(engine: Engine, time: ManualClock) -> None:
    alive(engine)
    engine.store.add(QUEUE, new("a", start_by=time.now() + 1))
    time.advance(2)
    engine.expire_unstarted()


def behind(engine: Engine, time: ManualClock) -> None:
    engine.store.add(QUEUE, new("a"))
    time.advance(25 * 60)
    alive(engine)


def unknown(engine: Engine, time: ManualClock) -> None:
    def status(real: Callable[[], QueueStatus]) -> QueueStatus:
        raise QueueUnavailable("no answer of secret-1")

    assert isinstance(engine.queue, ScriptedQueue)
    engine.queue.script.instead["status"] = status


def queue_paused(engine: Engine, time: ManualClock) -> None:
    engine.store.add(QUEUE, new("a", "b"))
    engine.queue.pause()
    time.advance(700)


def paused(engine: Engine, time: ManualClock) -> None:
    engine.limiter.pause("pixverse", "secret-1")


def closed(engine: Engine, time: ManualClock) -> None:
    engine.limiter.refused("pixverse", Busy("pixverse", "secret-1", retry_after=65.0))


def full(engine: Engine, time: ManualClock) -> None:
    for number in range(10):
        engine.limiter.ask("pixverse", f"j{number}")
        time.advance(1.8)


def slow(engine: Engine, time: ManualClock) -> None:
    for _ in range(3):
        engine.limiter.refused("pixverse", Busy("pixverse", "secret-1", retry_after=1.0))
        time.advance(30)


def budget(micro_usd: int) -> Callable[[Engine, ManualClock], None]:
    def use(engine: Engine, time: ManualClock) -> None:
        engine.store.set_budget("channel:secret-1", parse_budget("channel:secret-1", "1/d"))
        engine.store.add(QUEUE, new("a", service="draft", channel="secret-1"))
        (record,) = engine.store.claim(a_claim(slots=engine.slots)).records
        engine.store.intend(
            "a",
            record.lease_token,
            Intent(submission_id="a", service="draft", lifetime=9.0, max_in_flight=100, reserve=micro_usd),
        )
        alive(engine)

    return use


def schedule(topics: int, **fields: Any) -> Callable[[Engine, ManualClock], None]:
    def plan(engine: Engine, time: ManualClock) -> None:
        alive(engine)
        one = new_schedule("secret-1", ScheduleTerms("fun", 24, "1"), fields, topics, time.now())
        engine.store.swap_schedule(None, one, [{"topic": f"Topic {number}"} for number in range(topics)])
        engine.planner.plan_all()
        time.advance(1)

    return plan


def endpoint_disabled(engine: Engine, time: ManualClock) -> None:
    alive(engine)
    url = "https://example.org/secret-1"
    engine.store.swap_endpoint(None, Endpoint(id="we_1", kind=EndpointKind.WEBHOOK, url=url, disabled="it failed"))


def skewed(engine: Engine, time: ManualClock) -> None:
    time.advance(5400)
    alive(engine)
    time.advance(-5400)


def at_risk(engine: Engine, time: ManualClock) -> None:
    assert isinstance(engine.store, ScriptedStore)
    engine.store.warn("the Redis server secret-1 keeps no file")


def disk(free: int) -> Callable[[Engine, ManualClock], None]:
    def fill(engine: Engine, time: ManualClock) -> None:
        assert isinstance(engine.store, ScriptedStore)
        engine.store.script.instead["free_space"] = lambda real: free

    return fill


@pytest.mark.parametrize(
    ("code", "provoke", "text"),
    [
        ("disk-full", disk(10**8), "little disk space is left: 0.1 GB for records"),
        ("disk-low", disk(10**9), "little disk space is left: 1.0 GB for records"),
        ("clock-skew", skewed, "the store's clock is 1 h 30 min ahead of this machine's, so jobs start at wrong times"),
        ("no-worker", no_worker, "no worker has been alive for 3 min, and a job has been due for 3 min"),
        ("held", held, "2 jobs need a decision: it is unknown whether they were charged"),
        ("service-stopped", stopped, "pixverse is stopped because of its key, plan or credit; next try in 5 min"),
        ("failing", failing, "draft: 3 of 3 jobs failed in 24 hours, last with rejected"),
        ("falling-behind", behind, "the oldest due job has waited for 25 min, with 1 worker alive"),
        (
            "schedule-stuck",
            schedule(48, service="secret_1"),
            "the next slots of a schedule cannot be planned",
        ),
        ("topics-running-out", schedule(29), "a schedule has 5 topics left, but 24 slots a day"),
        ("topics-running-out", schedule(20), "a schedule has no topics left"),
        ("endpoint-disabled", endpoint_disabled, "a webhook is disabled, so nothing is sent to it"),
        ("queue-unknown", unknown, "the state of the queue backend is unknown"),
        ("queue-paused", queue_paused, "the queue is paused, with 2 unfinished jobs"),
        ("service-paused", paused, "pixverse was paused by an operator"),
        ("service-closed", closed, "pixverse is rate-limiting us, opens in 1 min 5 s"),
        ("service-full", full, "pixverse 10 of 10 this minute, opens in 42 s"),
        (
            "budget-spent",
            budget(1_000_000),
            "the budget of a channel 1/d is spent: $0.00 left until 2027-07-02 00:00 UTC",
        ),
        (
            "budget-used",
            budget(800_000),
            "80 % of the budget of a channel 1/d is used: $0.20 left until 2027-07-02 00:00 UTC",
        ),
        ("service-slow", slow, "pixverse runs at 12% of its limits, because it reported busy or answered slowly"),
        ("expired", late, "1 job expired in 24 hours: they bought nothing by their latest start"),
        ("store-at-risk", at_risk, "recently added jobs could be lost if the store's machine crashes"),
        ("all-is-well", lambda engine, time: alive(engine), "all is well: 1 worker alive, 0 unfinished jobs"),
    ],
)
def test_verdicts(
    engine: Engine, time: ManualClock, code: str, provoke: Callable[[Engine, ManualClock], None], text: str
) -> None:
    """Each condition causes exactly one verdict, with a public text."""
    provoke(engine, time)
    found = {verdict.code: verdict for verdict in take_report(engine).verdicts}
    assert {code: found[code].text} == dict.fromkeys(found, text)
    assert "secret-1" not in found[code].text


def test_a_front_end_words_what_to_do(engine: Engine, time: ManualClock) -> None:
    """The state of the queue lists actions; it contains commands only if the caller passes a function for them."""
    held(engine, time)
    plain, worded = describe_queue(engine), describe_queue(engine, advise)
    (verdict,) = [one for one in plain["verdicts"] if one["code"] == "held"]
    assert verdict["actions"] == ["list_held", "resubmit", "confirm_purchase", "give_up"]
    assert verdict["detail"] is None
    (verdict,) = [one for one in worded["verdicts"] if one["code"] == "held"]
    assert verdict["detail"].startswith("see them with: tenxsom-flow jobs --status held; ")
    ways = ["resubmit", "confirm_purchase", "give_up"]
    assert plain["held_actions"] == {"b": ways, "a": ways}
    assert plain["held"] == {"b": FAILURE.next_step, "a": FAILURE.next_step}
    for job_id in "ab":
        assert worded["held"][job_id].startswith(f"{FAILURE.next_step}; ")
        assert f"tenxsom-flow jobs resolve {job_id} --resubmit" in worded["held"][job_id]


def test_a_job_without_a_worker_is_a_notice_at_first(engine: Engine) -> None:
    """A due job without a live worker is reported immediately, as a notice."""
    engine.store.add(QUEUE, new("a"))
    (verdict,) = take_report(engine).verdicts
    assert (verdict.code, verdict.level) == ("no-worker", "notice")
    assert verdict.text == "no worker was alive in the last 24 hours, and a job is due"


def test_a_worker_that_ended_is_not_missing(engine: Engine, time: ManualClock) -> None:
    """After the graceful end of the only worker, the verdict says when it ended, and not that all is well."""
    worker = WorkerMaintenance(engine, concurrency=4)
    worker.start()
    engine.store.add(QUEUE, new("a", due=NOW + 3600))
    assert take_report(engine).verdicts[0].text == "all is well: 1 worker alive, 1 unfinished job"
    worker.end()
    time.advance(20)
    report = take_report(engine)
    (verdict,) = report.verdicts
    assert (verdict.code, verdict.level) == ("no-worker", "notice")
    assert verdict.text == "the last worker ended 20 s ago, and 1 job will be due later"
    assert (report.workers.alive, describe_queue(engine)["workers_alive"]) == (0, 0)


def test_nothing_to_do_without_a_worker(engine: Engine) -> None:
    """Without jobs, no worker is missing, and the verdict does not count workers."""
    (verdict,) = take_report(engine).verdicts
    assert (verdict.code, verdict.text) == ("all-is-well", "nothing is due: 0 unfinished jobs")


def test_jobs_without_a_chosen_service_count_as_auto(any_engine: Engine) -> None:
    """Jobs that fail before a service is chosen count as `auto` in Prometheus, and cause a verdict."""
    for name in "abc":
        any_engine.store.add(QUEUE, new(name, service=AUTO))
        record = any_engine.store.claim(a_claim(only=name, slots={"draft": 9})).records[0]
        any_engine.store.settle(name, record.lease_token, Dead(Failure("rejected", "no secret-1")))
    report = take_report(any_engine)
    assert report.verdicts[0].text == "auto: 3 of 3 jobs failed in 24 hours, last with rejected"
    assert AUTO not in [service.name for service in report.services]
    assert 'tenxsom_jobs_ended_total{service="auto",status="failed"} 3.0' in metrics(report).decode()


def test_a_job_that_is_retried_counts_once(any_engine: Engine, time: ManualClock) -> None:
    """A job that failed twice is one failed job, and one of the planned ones; the counters have both failures."""
    for name in "abc":
        any_engine.store.settle(name, lease(any_engine, name).lease_token, Dead(Failure("rejected", "no")))
    for outcome in (Dead(Failure("rejected", "no")), None):
        any_engine.store.retry("a")
        record = any_engine.store.claim(a_claim(only="a", slots={"draft": 100})).records[0]
        if outcome:
            any_engine.store.settle("a", record.lease_token, outcome)
    make(any_engine.store, record)
    report = take_report(any_engine)
    assert (report.jobs.today.succeeded, report.jobs.today.failed) == (1, 2)
    assert (report.jobs.day.failed, service(report, "draft").day.failed) == (2, 2)
    assert report.jobs.planned_today == 3
    assert service(report, "draft").ended["failed"] == 4
    any_engine.store.retry("b")
    any_engine.store.cancel("b")
    assert take_report(any_engine).jobs.planned_today == 3


def test_the_last_failure_is_that_of_a_failed_job(engine: Engine, time: ManualClock) -> None:
    """The verdict on failing jobs names the error of a failed job, not that of one that is retried."""
    held(engine, time)
    for name in "cde":
        engine.store.settle(name, lease(engine, name).lease_token, Dead(FAILURE))
    (verdict,) = [one for one in take_report(engine).verdicts if one.code == "failing"]
    assert verdict.text == f"draft: 3 of 3 jobs failed in 24 hours, last with {FAILURE.code}"
    record = lease(engine, "f")
    engine.store.settle("f", record.lease_token, Retry(time.now() + 60, FAILURE))
    (verdict,) = [one for one in take_report(engine).verdicts if one.code == "failing"]
    assert verdict.text == "draft: 3 of 3 jobs failed in 24 hours"


def test_rejected_entries_are_a_verdict(tmp_path: Path, time: ManualClock, redis_store: RedisStore) -> None:
    """Rejected entries of the legacy list cause a verdict, because only a person can fix them."""
    connection = redis_store.connection
    with open_with(tmp_path, time, redis_store) as engine:
        connection.client.lpush(connection.prefix.strip("{}"), "{not json")
        engine.import_legacy()
        # Whether the server syncs its file often enough depends on its version.
        (verdict,) = [one for one in take_report(engine).verdicts if one.code != "store-at-risk"]
    assert (verdict.code, verdict.text) == ("entries-set-aside", "1 entry of the legacy list was rejected")


def test_full_slots_are_reported_only_while_jobs_wait(engine: Engine) -> None:
    """A service with all its in-flight slots in use causes a verdict only while jobs are waiting."""
    alive(engine)
    slots = engine.slots["simulated"]
    for number in range(slots):
        name = f"j{number}"
        engine.store.add(QUEUE, new(name, service="simulated"))
        record = engine.store.claim(a_claim(only=name, slots={"simulated": slots})).records[0]
        engine.store.intend(
            name, record.lease_token, Intent(submission_id=name, service="simulated", lifetime=9.0, max_in_flight=slots)
        )
    assert [verdict.code for verdict in take_report(engine).verdicts] == ["all-is-well"]
    engine.store.add(QUEUE, new("more", service="simulated"))
    text = f"simulated is full: {slots} of {slots} slots in use"
    assert [verdict.text for verdict in take_report(engine).verdicts] == [text]


def test_the_free_disk_space_is_a_figure(engine: Engine, any_engine: Engine) -> None:
    """The report has the free bytes for videos, and for records in a file, for Prometheus and as JSON."""
    disk(10**8)(engine, ManualClock())
    found = stats(take_report(engine))["disk"]
    assert found["records"] == {"free_bytes": 10**8, "days_left": None}
    assert found["videos"]["free_bytes"] > 0
    assert 'tenxsom_disk_free_bytes{place="records"} 1e+08' in metrics(take_report(engine)).decode()
    on_a_server = any_engine.store.scheme == "redis"
    assert ("records" in stats(take_report(any_engine))["disk"]) is not on_a_server


def test_the_pace_of_the_videos_says_when_the_disk_is_full(engine: Engine) -> None:
    """A folder that is full within a week is a notice, unless old videos are removed; the days left are a metric."""
    for number in range(4):
        finish(engine, f"made-{number}")
    report = take_report(engine)
    (disk_of_videos,) = [one for one in report.disks if one.place == "videos"]
    assert disk_of_videos.days_left == pytest.approx(disk_of_videos.free / 4e6)
    assert 'tenxsom_disk_days_left{place="videos"}' in metrics(report).decode()
    full = DiskFigures(place="videos", free=50 * 10**9, days_left=3.1)
    found = verdicts(msgspec.structs.replace(report, disks=(full,)))
    assert ("disk-low", "50.0 GB is left for videos, enough for 3 days at this pace") in [
        (one.code, one.text) for one in found
    ]


def finish(engine: Engine, job_id: str) -> None:
    """Make a job that succeeds."""
    store = engine.store
    store.add(QUEUE, new(job_id, service="draft"))
    (record,) = store.claim(a_claim(slots={"draft": 9})).records
    intent = Intent(submission_id=job_id, service="draft", lifetime=9.0, max_in_flight=9)
    store.intend(job_id, record.lease_token, intent)
    store.accept(job_id, Receipt(submission_id=job_id, ticket=Ticket("t"), lifetime=9.0))
    store.settle(job_id, record.lease_token, Done(VIDEO))


def test_videos_that_cannot_be_published_are_a_problem(engine: Engine) -> None:
    """Videos in the spool, which their bucket does not take, are counted."""
    report = msgspec.structs.replace(take_report(engine), spooled=2)
    texts = {verdict.code: verdict.text for verdict in verdicts(report)}
    assert texts["videos-spooled"] == "2 videos on this machine cannot be published: the bucket cannot be used"


def test_verdicts_are_sorted_by_severity(engine: Engine, time: ManualClock) -> None:
    """With several verdicts, the most serious one comes first."""
    paused(engine, time)
    held(engine, time)
    no_worker(engine, time)
    assert [verdict.code for verdict in take_report(engine).verdicts] == ["no-worker", "held", "service-paused"]


def test_each_verdict_has_its_section() -> None:
    """`docs/operations.md` has a section for exactly the existing verdicts, in their order."""
    manual = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    sections = manual.partition("\n## Verdicts\n")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^### (.+)$", sections, re.MULTILINE)) == CODES
