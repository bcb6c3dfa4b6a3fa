"""Tests of lists and counts of many jobs, compared with a plain search."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest

from tenxsom_flow_engine.errors import ActionRefused, JobNotFound
from tenxsom_flow_engine.jobs import AUTO, JobRecord, Status, lifecycle
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Held, Outcome, Retry, Wait
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter, ListBounds, MatchCount, Order, OrderedJobs, Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, VIDEO, a_job, new
from tests.contract.store_suite.shared import DAY, OpenStore, Suite, accept, everything, ids, intend, settle, take

CHANNELS = ("", "one", "two", "two", "rare")
TOPICS = ("Red Fox", "blue whale", "Straße am Meer", 'a "quoted" fox', "back\\slash", "комета")
TEXTS = ("fox", "WHALE", "strasse", '"q', "\\", "КОМЕТА", "j-1", "nothing", '","', "topic", ALPHA)


def fill_with_history(store: JobStore, clock: ManualClock, dice: random.Random, jobs: int = 150) -> None:
    """Fill a store with jobs of several days and every status, with gaps where some were removed."""
    for number in range(jobs):
        job_id, queue = f"J-{number:03}", dice.choice([QUEUE, QUEUE, "other"])
        due = clock.now() + dice.choice([0, 0, 600, 5 * DAY])
        # Some kinds are rare, so that there are long ranges without any.
        channel = CHANNELS[4] if number % 50 == 7 else dice.choice(CHANNELS[:4])
        service = BETA if number % 40 == 9 else dice.choice([ALPHA, AUTO])
        topic = dice.choice(TOPICS)
        store.add(queue, new(job_id, due=due, channel=channel, service=service, topic=topic))
        if queue == QUEUE and due <= clock.now():
            _finish(store, job_id, dice)
        if number % 30 == 29:
            _adopt(store, store.require(job_id), f"adopted-{number}", clock.now())
        if dice.random() < 0.1:
            with suppress(ActionRefused, JobNotFound):
                store.cancel(f"J-{dice.randrange(number + 1):03}")
        if number == jobs // 2:
            store.trim(Retention(count=10))
        clock.advance(dice.choice([1, 300, DAY / 8]))


def _finish(store: JobStore, job_id: str, dice: random.Random) -> None:
    record = take(store, only=job_id)
    service = ALPHA if record.job.service == AUTO and dice.random() < 0.9 else BETA
    later = record.updated_at + 60
    outcomes: list[Outcome] = [Dead(FAILURE), Retry(later, FAILURE), Wait(later, "closed")]
    match dice.randrange(4):
        case 0:
            settle(store, record, dice.choice(outcomes))
        case 1:
            record = intend(store, record, service=service)
            store.clear_submission(job_id, submission_id=record.submission.id, reason="refused")
            settle(store, record, dice.choice(outcomes))
        case 2:
            record = accept(store, intend(store, record, service=service))
            settle(store, record, dice.choice([Done(VIDEO), *outcomes[::2]]))
        case _:
            settle(store, intend(store, record, service=service), Held(FAILURE))


def _adopt(store: JobStore, like: JobRecord, job_id: str, now: float) -> None:
    """Adopt a job from its delivery: it was added long before the jobs next to it."""
    delivery = Delivery.of(like)
    job = a_job(job_id, channel=like.job.channel, service=like.job.service, topic=like.job.topic)
    old = msgspec.structs.replace(delivery, job=job, added_at=now - 2 * DAY)
    assert store.adopt(lifecycle.adopt(old, QUEUE, now, previous_attempt_unanswered=True))


def some_filters(dice: random.Random, begin: float, end: float, number: int) -> Iterator[JobFilter]:
    """Yield filters of up to four conditions."""
    for _ in range(number):
        instants = sorted(dice.uniform(begin - DAY, end + DAY) for _ in range(2))
        conditions = {
            "queue": dice.choice([QUEUE, "other", "none"]),
            "statuses": tuple(dice.sample(list(Status), dice.choice([1, 1, 2, 5]))),
            "service": dice.choice([ALPHA, BETA, AUTO, "none"]),
            "channel": dice.choice([*CHANNELS, "none"]),
            "text": dice.choice(TEXTS),
            "added_from": instants[0],
            "added_before": instants[1],
        }
        names = dice.sample(list(conditions), dice.choice([0, 1, 1, 2, 2, 3, 4]))
        yield JobFilter(**{name: conditions[name] for name in names})  # type: ignore[arg-type]


def matches(record: JobRecord, jobs: JobFilter, now: float) -> bool:
    """Return whether a record matches a filter, checking each condition."""
    text = (jobs.text or "").casefold()
    return (
        jobs.queue in (None, record.queue)
        and (not jobs.statuses or record.status_at(now) in jobs.statuses)
        and jobs.service in (None, record.effective_service)
        and jobs.channel in (None, record.job.channel)
        and (text in record.job.topic.casefold() or text in record.job_id.casefold())
        and (jobs.added_from is None or record.added_at >= jobs.added_from)
        and (jobs.added_before is None or record.added_at < jobs.added_before)
    )


def _instant(record: JobRecord, order: Order) -> float | None:
    return record.due if order is Order.DUE else record.finished_at


class ListsSuite(Suite):
    """`page` and `count_matching`."""

    @pytest.fixture
    def narrow_store(self, open_store: OpenStore, clock: ManualClock) -> JobStore:
        """Return a handle that examines few records for a page and for a count."""
        return open_store(clock, ListBounds(page=10, count=25))

    def test_lists_and_counts_equal_a_plain_search(self, store: JobStore, clock: ManualClock) -> None:
        """For every filter, the pages hold exactly the matching jobs, newest first, and their number is the count."""
        dice, begin = random.Random(1), clock.now()
        fill_with_history(store, clock, dice)
        records, now = everything(store), clock.now()
        assert {record.status_at(now) for record in records} >= set(Status) - {Status.RUNNING}
        for jobs in some_filters(dice, begin, now, 150):
            expected = [record for record in records if matches(record, jobs, now)]
            assert everything(store, jobs, limit=dice.choice([1, 4, 50])) == expected, jobs
            assert store.count_matching(jobs) == MatchCount(len(expected)), jobs

    def test_a_job_of_an_unknown_service(self, store: JobStore, clock: ManualClock) -> None:
        """A job adopted from an interrupted delivery that names no service is listed under `auto`."""
        delivery = Delivery(job=a_job("a", service=AUTO), nonce="n", seq=0, added_at=clock.now())
        store.adopt(lifecycle.adopt(delivery, QUEUE, clock.now(), previous_attempt_unanswered=True))
        assert ids(everything(store, JobFilter(service=AUTO))) == ["a"]

    def test_bounded_pages_hide_nothing(self, narrow_store: JobStore, clock: ManualClock) -> None:
        """Pages that end before they are full lead to all matching jobs; an incomplete count says so."""
        dice, begin = random.Random(7), clock.now()
        fill_with_history(narrow_store, clock, dice)
        records, now = everything(narrow_store), clock.now()
        partial = 0
        for jobs in some_filters(dice, begin, now, 100):
            expected = [record for record in records if matches(record, jobs, now)]
            assert everything(narrow_store, jobs, limit=4) == expected, jobs
            tally = narrow_store.count_matching(jobs)
            assert tally.jobs == len(expected) if tally.complete else tally.jobs <= len(expected), jobs
            partial += not tally.complete
        assert partial

    @pytest.mark.parametrize("order", Order)
    def test_an_order_equals_a_plain_search(self, store: JobStore, clock: ManualClock, order: Order) -> None:
        """For every filter, the first jobs by due time, or of those that finished last, are those of a plain search."""
        dice, begin = random.Random(3), clock.now()
        fill_with_history(store, clock, dice)
        now = clock.now()
        # A search yields the newest first; of equal instants, the job that was added first is due first.
        records = [record for record in everything(store) if _instant(record, order) is not None]
        records.sort(key=lambda record: _instant(record, order) or 0.0, reverse=order is Order.FINISHED)
        if order is Order.DUE:
            places = {record.job_id: place for place, record in enumerate(reversed(everything(store)))}
            records.sort(key=lambda record: (record.due, places[record.job_id]))
        for jobs in some_filters(dice, begin, now, 100):
            expected, limit = [record for record in records if matches(record, jobs, now)], dice.choice([1, 4, 500])
            assert store.ordered(order, jobs, limit=limit) == OrderedJobs(
                tuple(expected[:limit]), more=len(expected) > limit
            ), jobs

    @pytest.mark.parametrize("order", Order)
    def test_an_order_examines_a_bounded_number_of_records(
        self, narrow_store: JobStore, clock: ManualClock, order: Order
    ) -> None:
        """A search for jobs that are late in an order ends before it finds them, and says that more can follow."""
        for number in range(60):
            clock.advance(1)
            narrow_store.add(
                QUEUE, new("needle" if number == (30 if order is Order.FINISHED else 59) else f"straw-{number}")
            )
        if order is Order.FINISHED:
            for record in everything(narrow_store)[::-1]:
                clock.advance(1)
                narrow_store.cancel(record.job_id)
        assert narrow_store.ordered(order, JobFilter(text="needle"), limit=5) == OrderedJobs((), more=True)

    def test_a_page_examines_a_bounded_number_of_records(self, narrow_store: JobStore) -> None:
        """A search without a match among the newest records ends there, with a cursor to continue."""
        narrow_store.add(QUEUE, new("needle", *(f"straw-{number}" for number in range(60))))
        page = narrow_store.page(JobFilter(text="needle"), limit=5)
        assert page.records == ()
        assert page.cursor is not None
        assert ids(everything(narrow_store, JobFilter(text="needle"))) == ["needle"]
        assert narrow_store.count_matching(JobFilter(text="straw")).complete is False

    def test_counts_by_status_are_always_complete(self, narrow_store: JobStore, clock: ManualClock) -> None:
        """The number of jobs of some statuses in a queue is exact, however many there are."""
        narrow_store.add(QUEUE, new(*(f"j{number}" for number in range(40))))
        narrow_store.add("other", [*new("o"), *new("later", due=clock.now() + 10)])
        assert narrow_store.count_matching(JobFilter(statuses=[Status.QUEUED])) == MatchCount(41)
        unstarted = JobFilter(statuses=[Status.QUEUED, Status.SCHEDULED], queue="other")
        assert narrow_store.count_matching(unstarted) == MatchCount(2)
        clock.advance(10)
        assert narrow_store.count_matching(JobFilter(statuses=[Status.QUEUED], queue="other")) == MatchCount(2)
        assert narrow_store.count_matching(JobFilter()) == MatchCount(42)
