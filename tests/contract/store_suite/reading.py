"""Tests of counts, lists, filters and pages of jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import AUTO, JobRecord, Status
from tenxsom_flow_engine.jobs.outcomes import Wait
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter, Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, QUEUE, new
from tests.contract.store_suite.shared import (
    Suite,
    accept,
    check_counts,
    everything,
    finished,
    ids,
    intend,
    settle,
    take,
)


class ReadingSuite(Suite):
    """Counts and pages."""

    def test_scheduled_jobs_are_listed(self, store: JobStore, clock: ManualClock) -> None:
        """Jobs scheduled for later are listed in the order of their time, over all queues, and counted."""
        now = clock.now()
        store.add("local", new("later", due=now + 30.0))
        store.add("local", new("first", due=now + 10.0))
        store.add("other", new("second", due=now + 20.0))
        store.add("local", new("at-once"))
        store.add("local", new("overdue", due=now + 1.0))
        store.add("local", new("taken-back", due=now + 5.0))
        store.cancel("taken-back")
        clock.advance(2.0)
        assert [record.job_id for record in store.next_scheduled(10)] == ["first", "second", "later"]
        assert [record.job_id for record in store.next_scheduled(2)] == ["first", "second"]
        assert [store.scheduled_before(now + at) for at in (10.0, 20.5, 99.0)] == [0, 2, 3]

    def test_counts_of_an_empty_store(self, store: JobStore) -> None:
        """In an empty store every status counts zero."""
        counts = store.status_counts()
        assert counts.by_status == dict.fromkeys(Status, 0)
        assert (counts.oldest_due, counts.unfinished) == (None, 0)

    def test_counts_equal_a_count_of_the_records(self, store: JobStore, clock: ManualClock) -> None:
        """After every kind of change the counters equal a count of the records, in all queues and in each."""
        for number, status in enumerate((Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.HELD)):
            finished(store, f"f{number}", status)
            check_counts(store)
        store.add("other", [*new("o1"), *new("o2", due=clock.now() + 10)])
        check_counts(store)
        store.add(QUEUE, [*new("q1", "q2"), *new("q3", due=clock.now() + 10)])
        check_counts(store)
        record = accept(store, intend(store, take(store)))
        check_counts(store)
        store.retry("f1")
        store.trim(Retention(age=0.0))
        check_counts(store)
        settle(store, record, Wait(clock.now() + 5, "rendering"))
        check_counts(store)
        assert store.status_counts(QUEUE).unfinished == 4
        assert store.status_counts("nothing").by_status == dict.fromkeys(Status, 0)

    def test_a_scheduled_job_becomes_queued_without_a_write(self, store: JobStore, clock: ManualClock) -> None:
        """Counts and filters show a scheduled job as queued once it is due, without any write."""
        store.add(QUEUE, [*new("a", due=clock.now() + 10), *new("b", due=clock.now() + 20)])
        scheduled, queued = JobFilter(statuses=[Status.SCHEDULED]), JobFilter(statuses=[Status.QUEUED])
        assert (ids(everything(store, scheduled)), ids(everything(store, queued))) == (["b", "a"], [])
        check_counts(store)
        clock.advance(10)
        assert store.status_counts(QUEUE).by_status[Status.QUEUED] == 1
        check_counts(store)
        assert (ids(everything(store, scheduled)), ids(everything(store, queued))) == (["b"], ["a"])
        take(store)
        check_counts(store)

    def test_oldest_due(self, store: JobStore, clock: ManualClock) -> None:
        """The oldest due time is that of the job that has waited longest; leased and later jobs do not count."""
        store.add(QUEUE, [*new("later", due=clock.now() + 60), *new("a")])
        store.add("other", new("o"))
        began = clock.now()
        clock.advance(5)
        store.add(QUEUE, new("b"))
        assert store.status_counts(QUEUE).oldest_due == began
        take(store)
        assert store.status_counts(QUEUE).oldest_due == began + 5
        assert store.status_counts().oldest_due == began
        take(store)
        assert store.status_counts(QUEUE).oldest_due is None

    def _various(self, store: JobStore, clock: ManualClock) -> None:
        """Fill the store with jobs that differ in every field that filters use."""
        for number in range(24):
            queue = QUEUE if number % 2 else "other"
            store.add(queue, new(f"job-{number:02}", service=(ALPHA, BETA, AUTO)[number % 3],
                                 channel=("", "one", "two")[number % 5 % 3],
                                 topic=("Red Fox", "blue whale")[number % 4 // 2],
                                 due=clock.now() + 500 if number % 7 == 0 else None))  # fmt: skip
            clock.advance(10)
        store.cancel("job-01")
        store.cancel("job-02")
        record = intend(store, take(store, slots={ALPHA: 9, BETA: 9}))
        accept(store, record)

    def test_each_filter_and_all_pairs(self, store: JobStore, clock: ManualClock) -> None:
        """A page holds exactly the jobs that meet all conditions of its filter, newest first."""
        start = clock.now()
        self._various(store, clock)
        now = clock.now()
        conditions: list[tuple[dict[str, Any], Callable[[JobRecord], bool]]] = [
            ({"queue": QUEUE}, lambda r: r.queue == QUEUE),
            ({"statuses": [Status.CANCELLED]}, lambda r: r.status is Status.CANCELLED),
            ({"statuses": {Status.QUEUED, Status.RENDERING}},
             lambda r: r.status_at(now) in (Status.QUEUED, Status.RENDERING)),
            ({"service": BETA}, lambda r: r.effective_service == BETA),
            ({"service": AUTO}, lambda r: r.effective_service == AUTO),
            ({"channel": "two"}, lambda r: r.job.channel == "two"),
            ({"channel": ""}, lambda r: r.job.channel == ""),
            ({"text": "WHALE"}, lambda r: "whale" in r.job.topic),
            ({"text": "OB-1"}, lambda r: "ob-1" in r.job_id),
            ({"added_from": start + 50}, lambda r: r.added_at >= start + 50),
            ({"added_before": start + 150}, lambda r: r.added_at < start + 150),
        ]  # fmt: skip
        records = everything(store)
        assert ids(records) == [f"job-{number:02}" for number in reversed(range(24))]
        for first, is_first in conditions:
            expected = [record for record in records if is_first(record)]
            assert 0 < len(expected) < 24
            assert everything(store, JobFilter(**first), limit=5) == expected
            for second, is_second in conditions:
                both = JobFilter(**(first | second))
                if not set(first) & set(second):
                    assert everything(store, both) == [record for record in expected if is_second(record)]

    @pytest.mark.parametrize(
        ("topic", "text", "found"),
        [
            ("Über den Wolken", "über DEN", True),
            ("ÜBER DEN WOLKEN", "über", True),
            ("Straße am Meer", "STRASSE", True),
            ("ΟΔΟΣ", "οδος", True),
            ("Почему море солёное", "МОРЕ", True),
            ("海はなぜ塩辛い", "塩辛", True),
            ("100% sure", "100%", True),
            ("100 sure", "100%", False),
            ("snake_case", "e_c", True),
            ("snakeXcase", "e_c", False),
            ("a*b [c] \\ 'd' \"e\"", "*b [C] \\ 'D' \"e", True),
            ("plain", "", True),
        ],
    )
    def test_text(self, store: JobStore, topic: str, text: str, found: bool) -> None:
        """Text is searched literally, ignoring case in any script."""
        store.add(QUEUE, new("a", topic=topic))
        assert len(store.page(JobFilter(text=text), limit=5).records) == found

    def test_text_finds_ids(self, store: JobStore) -> None:
        """Text is searched in ids too, ignoring case."""
        store.add(QUEUE, new("Fox-1_x", "hen-2"))
        assert ids(everything(store, JobFilter(text="fOX-1_"))) == ["Fox-1_x"]

    def test_pages_while_jobs_are_added(self, store: JobStore) -> None:
        """Reading all pages returns every job that existed at the start once, even if jobs are added in between."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(25))))
        seen: list[str] = []
        cursor: str | None = None
        for turn in range(100):
            page = store.page(JobFilter(), limit=4, cursor=cursor)
            seen += ids(page.records)
            cursor = page.cursor
            if cursor is None:
                break
            store.add(QUEUE, new(f"late{turn}"))
        assert seen == [f"j{number}" for number in reversed(range(25))]

    def test_the_last_page_has_no_cursor(self, store: JobStore) -> None:
        """The page with the last record has no cursor, even if it is exactly full."""
        store.add(QUEUE, new("a", "b", "c", "d"))
        first = store.page(JobFilter(), limit=2)
        assert first.cursor is not None
        assert store.page(JobFilter(), limit=2, cursor=first.cursor).cursor is None
        assert store.page(JobFilter(), limit=4).cursor is None
        assert store.page(JobFilter(queue="none"), limit=4) == type(first)((), None)

    @pytest.mark.parametrize("cursor", ["", "x", "-1", "²", "9" * 40, "1; DROP TABLE jobs"])
    def test_an_invalid_cursor(self, store: JobStore, cursor: str) -> None:
        """A cursor that no page returned is invalid input, and the error names the field."""
        store.add(QUEUE, new("a"))
        with pytest.raises(InvalidInput) as refusal:
            store.page(JobFilter(), limit=5, cursor=cursor)
        assert refusal.value.field == "cursor"
