"""Lists and counts of many jobs, held against a plain search."""

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
from tenxsom_flow_engine.store.values import JobFilter, ListBounds, MatchCount, Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, VIDEO, a_job, new
from tests.contract.store_suite.shared import DAY, OpenStore, Suite, accept, everything, ids, intend, settle, take

CHANNELS = ("", "one", "two", "two", "rare")
TOPICS = ("Red Fox", "blue whale", "Straße am Meer", 'a "quoted" fox', "back\\slash", "комета")
TEXTS = ("fox", "WHALE", "strasse", '"q', "\\", "КОМЕТА", "j-1", "nothing", '","', "topic", ALPHA)


def a_life(store: JobStore, clock: ManualClock, dice: random.Random, jobs: int = 150) -> None:
    """Fill a store with jobs of some days that have come to all kinds of ends, with gaps where some were removed."""
    for number in range(jobs):
        job_id, queue = f"J-{number:03}", dice.choice([QUEUE, QUEUE, "other"])
        due = clock.now() + dice.choice([0, 0, 600, 5 * DAY])
        # Some kinds come seldom, so that there are wide places without any.
        channel = CHANNELS[4] if number % 50 == 7 else dice.choice(CHANNELS[:4])
        service = BETA if number % 40 == 9 else dice.choice([ALPHA, AUTO])
        topic = dice.choice(TOPICS)
        store.add(queue, new(job_id, due=due, channel=channel, service=service, topic=topic))
        if queue == QUEUE and due <= clock.now():
            _an_end(store, job_id, dice)
        if number % 30 == 29:
            _adopt(store, store.require(job_id), f"adopted-{number}", clock.now())
        if dice.random() < 0.1:
            with suppress(ActionRefused, JobNotFound):
                store.cancel(f"J-{dice.randrange(number + 1):03}")
        if number == jobs // 2:
            store.trim(Retention(count=10))
        clock.advance(dice.choice([1, 300, DAY / 8]))


def _an_end(store: JobStore, job_id: str, dice: random.Random) -> None:
    record = take(store, only=job_id)
    seller_of_it = ALPHA if record.job.service == AUTO and dice.random() < 0.9 else BETA
    later = record.updated_at + 60
    outcomes: list[Outcome] = [Dead(FAILURE), Retry(later, FAILURE), Wait(later, "closed")]
    match dice.randrange(4):
        case 0:
            settle(store, record, dice.choice(outcomes))
        case 1:
            record = intend(store, record, service=seller_of_it)
            store.clear_submission(job_id, submission_id=record.submission.id, reason="refused")
            settle(store, record, dice.choice(outcomes))
        case 2:
            record = accept(store, intend(store, record, service=seller_of_it))
            settle(store, record, dice.choice([Done(VIDEO), *outcomes[::2]]))
        case _:
            settle(store, intend(store, record, service=seller_of_it), Held(FAILURE))


def _adopt(store: JobStore, like: JobRecord, job_id: str, now: float) -> None:
    """Adopt a job from its delivery: one that was added long before its neighbours."""
    delivery = Delivery.of(like)
    job = a_job(job_id, channel=like.job.channel, service=like.job.service, topic=like.job.topic)
    old = msgspec.structs.replace(delivery, job=job, added_at=now - 2 * DAY)
    assert store.adopt(lifecycle.adopt(old, QUEUE, now, previous_attempt_unanswered=True))


def some_filters(dice: random.Random, begin: float, end: float, number: int) -> Iterator[JobFilter]:
    """Give filters of up to four conditions."""
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
    """Judge a record by a filter, one condition after the other."""
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


class ListsSuite(Suite):
    """`page` and `count_matching`."""

    @pytest.fixture
    def narrow_store(self, open_store: OpenStore, clock: ManualClock) -> JobStore:
        """Return a handle that examines few records for a page and for a count."""
        return open_store(clock, ListBounds(page=10, count=25))

    def test_every_list_and_count_is_what_a_plain_search_finds(self, store: JobStore, clock: ManualClock) -> None:
        """Whatever the filter: its pages together hold exactly the jobs that match, newest first, and so many count."""
        dice, begin = random.Random(1), clock.now()
        a_life(store, clock, dice)
        records, now = everything(store), clock.now()
        assert {record.status_at(now) for record in records} >= set(Status) - {Status.RUNNING}
        for jobs in some_filters(dice, begin, now, 150):
            expected = [record for record in records if matches(record, jobs, now)]
            assert everything(store, jobs, limit=dice.choice([1, 4, 50])) == expected, jobs
            assert store.count_matching(jobs) == MatchCount(len(expected)), jobs

    def test_a_job_whose_service_is_unknown(self, store: JobStore, clock: ManualClock) -> None:
        """A job adopted from a delivery that was cut off, and that names no service, is listed under `auto`."""
        delivery = Delivery(job=a_job("a", service=AUTO), nonce="n", seq=0, added_at=clock.now())
        store.adopt(lifecycle.adopt(delivery, QUEUE, clock.now(), previous_attempt_unanswered=True))
        assert ids(everything(store, JobFilter(service=AUTO))) == ["a"]

    def test_bounded_pages_hide_nothing(self, narrow_store: JobStore, clock: ManualClock) -> None:
        """Pages that end before they are full lead on to all that match; a count that is not whole says so."""
        dice, begin = random.Random(7), clock.now()
        a_life(narrow_store, clock, dice)
        records, now = everything(narrow_store), clock.now()
        partial = 0
        for jobs in some_filters(dice, begin, now, 100):
            expected = [record for record in records if matches(record, jobs, now)]
            assert everything(narrow_store, jobs, limit=4) == expected, jobs
            tally = narrow_store.count_matching(jobs)
            assert tally.jobs == len(expected) if tally.complete else tally.jobs <= len(expected), jobs
            partial += not tally.complete
        assert partial

    def test_a_page_looks_at_so_many_records_only(self, narrow_store: JobStore) -> None:
        """A search that finds nothing among the newest records ends there, and says where to go on."""
        narrow_store.add(QUEUE, new("needle", *(f"straw-{number}" for number in range(60))))
        page = narrow_store.page(JobFilter(text="needle"), limit=5)
        assert page.records == ()
        assert page.cursor is not None
        assert ids(everything(narrow_store, JobFilter(text="needle"))) == ["needle"]
        assert narrow_store.count_matching(JobFilter(text="straw")).complete is False

    def test_counts_by_status_are_always_whole(self, narrow_store: JobStore, clock: ManualClock) -> None:
        """How many jobs of some statuses a queue has is known exactly, however many they are."""
        narrow_store.add(QUEUE, new(*(f"j{number}" for number in range(40))))
        narrow_store.add("other", [*new("o"), *new("later", due=clock.now() + 10)])
        assert narrow_store.count_matching(JobFilter(statuses=[Status.QUEUED])) == MatchCount(41)
        unstarted = JobFilter(statuses=[Status.QUEUED, Status.SCHEDULED], queue="other")
        assert narrow_store.count_matching(unstarted) == MatchCount(2)
        clock.advance(10)
        assert narrow_store.count_matching(JobFilter(statuses=[Status.QUEUED], queue="other")) == MatchCount(2)
        assert narrow_store.count_matching(JobFilter()) == MatchCount(42)
