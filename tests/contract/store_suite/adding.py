"""Tests of `add`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import pytest

from tenxsom_flow_engine.errors import JobNotFound
from tenxsom_flow_engine.jobs import Cost, Status, Submission
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Added, NewJob
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, QUEUE, a_claim, a_job, new
from tests.contract.store_suite.shared import (
    OpenStore,
    Suite,
    check_counts,
    everything,
    finished,
    ids,
    race,
)


class AddingSuite(Suite):
    """Adding jobs."""

    def test_an_added_job_can_be_got(self, store: JobStore, clock: ManualClock) -> None:
        """An added job has all its fields and waits in its queue from now."""
        job = a_job(prompt="line one\nline two", options={ALPHA: {"seed": 7}}, channel="sea.one", quality="720p")
        assert store.add("elsewhere", [NewJob(job)]) == Added(new=("job-1",), known=())
        record = store.require("job-1")
        assert (record.job, record.queue, record.status) == (job, "elsewhere", Status.QUEUED)
        assert (record.due, record.added_at, record.updated_at) == (clock.now(), clock.now(), clock.now())
        assert (record.seq, record.attempts, record.submission, record.lease) == (0, 0, Submission(), None)

    def test_an_unknown_job(self, store: JobStore) -> None:
        """`get` returns None for an unknown id, and `require` raises."""
        assert store.get("absent") is None
        with pytest.raises(JobNotFound):
            store.require("absent")

    def test_a_known_id_adds_nothing(self, store: JobStore) -> None:
        """Adding a known id leaves its record unchanged, even if the new job differs."""
        store.add(QUEUE, new("a", "b"))
        before = store.require("a")
        added = store.add("other", new("c", "a", "d", topic="Something else"))
        assert added == Added(new=("c", "d"), known=("a",))
        assert store.require("a") == before

    def test_an_id_twice_in_one_call_adds_one(self, store: JobStore) -> None:
        """If a call has two jobs with one id, the first is added and the second is known."""
        jobs = [*new("a", topic="First"), *new("a", topic="Second")]
        assert store.add(QUEUE, jobs) == Added(new=("a",), known=("a",))
        assert store.require("a").job.topic == "First"

    def test_a_finished_id_is_known(self, store: JobStore) -> None:
        """The id of a finished job adds nothing."""
        before = finished(store, "a", Status.SUCCEEDED)
        assert store.add(QUEUE, new("a")).known == ("a",)
        assert store.require("a") == before

    def test_a_long_list_is_added_completely_and_in_order(self, store: JobStore) -> None:
        """A list of thousands, also from a generator and with repeats, is added in order, each id once."""
        names = [f"j{number}" for number in range(2500)]
        added = store.add(QUEUE, (item for name in names for item in new(name, name)))
        assert added.new == tuple(names)
        assert added.known == tuple(names)
        assert ids(everything(store)) == names[::-1]
        assert ids(store.claim(a_claim(count=2500)).records) == names

    def test_a_broken_call_is_completed_by_the_same_call(self, store: JobStore) -> None:
        """If adding stops in the middle, adding the same list again adds exactly the missing jobs."""
        jobs = new(*(f"j{number}" for number in range(3000)))

        def breaks() -> Iterator[NewJob]:
            yield from islice(jobs, 2100)
            raise RuntimeError("the list's source broke")

        with pytest.raises(RuntimeError):
            store.add(QUEUE, breaks())
        survived = store.status_counts(QUEUE).by_status[Status.QUEUED]
        added = store.add(QUEUE, jobs)
        assert (len(added.known), len(added.new)) == (survived, 3000 - survived)
        assert ids(everything(store)) == [job.job.job_id for job in reversed(jobs)]

    def test_due_times(self, store: JobStore, clock: ManualClock) -> None:
        """A job for later is scheduled until then; a job with a past time is due now."""
        now = clock.now()
        store.add(QUEUE, [*new("later", due=now + 60), *new("past", due=now - 60), *new("now", due=now)])
        later, past, present = (store.require(name) for name in ("later", "past", "now"))
        assert (later.status, later.due) == (Status.SCHEDULED, now + 60)
        assert (past.status, past.due) == (Status.QUEUED, now)
        assert (present.status, present.due) == (Status.QUEUED, now)

    def test_the_expected_cost_is_kept(self, store: JobStore) -> None:
        """The expected cost of a job stays in its record."""
        store.add(QUEUE, [NewJob(a_job(), cost=Cost(usd=0.25))])
        assert store.require("job-1").cost == Cost(usd=0.25)

    def test_each_chain_has_its_own_nonce(self, store: JobStore) -> None:
        """No two records share a nonce."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(50))))
        assert len({record.nonce for record in everything(store)}) == 50

    def test_racing_adds_add_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """When twenty callers add the same ids concurrently, each id is new to exactly one of them."""
        handles = [open_store(clock) for _ in range(4)]
        names = [f"j{number}" for number in range(30)]
        results = race(20, lambda index: handles[index % 4].add(QUEUE, new(*names)))
        assert Counter(name for added in results for name in added.new) == Counter(names)
        assert all(len(added.new) + len(added.known) == 30 for added in results)
        check_counts(handles[0])
