"""The conformance suite of job stores: every promise of `store.base`, stated as a test.

A back end's test module subclasses `StoreSuite` and supplies one fixture, `open_store`: a function that opens the same
place each time it is called, with the clock that it is given, so that several handles can be open at once.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from threading import Barrier, Event
from typing import Any

import msgspec
import pytest

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import ActionRefused, InvalidInput, JobNotFound, LeaseLost, SlotsBusy
from tenxsom_flow_engine.jobs import AUTO, Cost, JobRecord, Status, Step, Submission, SubmissionState, Ticket
from tenxsom_flow_engine.lifecycle import MAX_EXPIRIES
from tenxsom_flow_engine.outcomes import Bought, Dead, Done, GiveUp, Held, Outcome, Resolution, Resubmit, Retry, Wait
from tenxsom_flow_engine.store.base import (
    Added,
    Claim,
    DispatchLimits,
    JobFilter,
    JobStore,
    NewJob,
    QueueState,
    Retention,
    WorkerInfo,
)
from tenxsom_flow_engine.store.sums import Spent
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, TICKET, VIDEO, WIDE, a_claim, a_job, new

OpenStore = Callable[[Clock], JobStore]

DAY = 86400.0
#: Seconds after which a thread that should have ended counts as stuck.
STUCK = 30.0


def everything(store: JobStore, jobs: JobFilter | None = None, *, limit: int = 500) -> list[JobRecord]:
    """Return all records that a filter lets through, newest first, page by page."""
    records: list[JobRecord] = []
    cursor: str | None = None
    while True:
        page = store.page(jobs or JobFilter(), limit=limit, cursor=cursor)
        assert len(page.records) <= limit
        records += page.records
        cursor = page.cursor
        if cursor is None:
            return records


def ids(records: Sequence[JobRecord]) -> list[str]:
    """Return the ids of records, in their order."""
    return [record.job_id for record in records]


def check_counts(store: JobStore) -> None:
    """Compare the counts that the store keeps with a count of its records, for all queues and for each."""
    now = store.now()
    records = everything(store)
    for queue in (None, *{record.queue for record in records}):
        mine = [record for record in records if queue in (None, record.queue)]
        counts = store.counts(queue)
        expected = Counter(record.status_at(now) for record in mine)
        assert {status: number for status, number in counts.by_status.items() if number} == expected
        assert set(counts.by_status) == set(Status)
        due = [record.due for record in mine if record.due is not None and record.due <= now]
        assert counts.oldest_due == min(due, default=None)


def take(store: JobStore, **changes: Any) -> JobRecord:
    """Claim one job, which must be there."""
    claim = store.claim(a_claim(count=1, **changes))
    assert len(claim.records) == 1
    return claim.records[0]


def intend(store: JobStore, record: JobRecord, *, service: str = ALPHA, slots: int = 100,
           lifetime: float = 100.0, submission_id: str = "") -> JobRecord:  # fmt: skip
    """Journal the intent of a leased job, with a submission of its own."""
    return store.intend(record.job_id, record.lease_token, submission_id=submission_id or f"s-{record.job_id}",
                        service=service, lifetime=lifetime, slots=slots)  # fmt: skip


def accept(store: JobStore, record: JobRecord, *, lifetime: float = 100.0, ticket: Ticket = TICKET) -> JobRecord:
    """Journal the ticket of a job's present submission."""
    return store.accept(record.job_id, submission_id=record.submission.id, ticket=ticket, lifetime=lifetime)


def settle(store: JobStore, record: JobRecord, outcome: Outcome) -> JobRecord:
    """Settle a leased job."""
    return store.settle(record.job_id, record.lease_token, outcome)


def finished(store: JobStore, job_id: str, status: Status) -> JobRecord:
    """Add a job and bring it to a status."""
    store.add(QUEUE, new(job_id))
    match status:
        case Status.CANCELLED:
            return store.cancel(job_id)
        case Status.FAILED:
            return settle(store, take(store, only=job_id), Dead(FAILURE))
        case Status.HELD:
            record = intend(store, take(store, only=job_id))
            return settle(store, record, Held(FAILURE))
        case Status.SUCCEEDED:
            record = accept(store, intend(store, take(store, only=job_id)))
            return settle(store, record, Done(VIDEO))
    raise AssertionError(f"{status} is not a status that a job ends in")


def race(number: int, act: Callable[[int], Any]) -> list[Any]:
    """Call `act(0)`, `act(1)` … at the same moment, each in a thread of its own; return what they return or raise."""
    barrier = Barrier(number)

    def run(index: int) -> Any:
        barrier.wait(STUCK)
        try:
            return act(index)
        except Exception as error:
            return error

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


class _Suite:
    """What all parts of the suite share."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Return the clock that `store` is opened with."""
        return ManualClock()

    @pytest.fixture
    def store(self, open_store: OpenStore, clock: ManualClock) -> JobStore:
        """Return a handle on an empty place."""
        return open_store(clock)


class AddingSuite(_Suite):
    """`add`."""

    def test_an_added_job_can_be_got(self, store: JobStore, clock: ManualClock) -> None:
        """A job that was added is there with all its fields, waiting in its queue from now."""
        job = a_job(prompt="line one\nline two", options={ALPHA: {"seed": 7}}, channel="sea.one", quality="720p")
        assert store.add("elsewhere", [NewJob(job)]) == Added(new=("job-1",), known=())
        record = store.require("job-1")
        assert (record.job, record.queue, record.status) == (job, "elsewhere", Status.QUEUED)
        assert (record.due, record.added_at, record.updated_at) == (clock.now(), clock.now(), clock.now())
        assert (record.seq, record.attempts, record.submission, record.lease) == (0, 0, Submission(), None)

    def test_an_unknown_job_is_none(self, store: JobStore) -> None:
        """`get` answers None for an id that nobody added, and `require` raises."""
        assert store.get("nobody") is None
        with pytest.raises(JobNotFound):
            store.require("nobody")

    def test_a_known_id_adds_nothing(self, store: JobStore) -> None:
        """Adding an id again leaves its record as it is, whatever the new job says."""
        store.add(QUEUE, new("a", "b"))
        before = store.require("a")
        added = store.add("other", new("c", "a", "d", topic="Something else"))
        assert added == Added(new=("c", "d"), known=("a",))
        assert store.require("a") == before

    def test_an_id_twice_in_one_call_adds_one(self, store: JobStore) -> None:
        """The first of two jobs with one id in a call is added, the second is known."""
        jobs = [*new("a", topic="First"), *new("a", topic="Second")]
        assert store.add(QUEUE, jobs) == Added(new=("a",), known=("a",))
        assert store.require("a").job.topic == "First"

    def test_a_finished_id_is_known(self, store: JobStore) -> None:
        """The id of a finished job adds nothing."""
        before = finished(store, "a", Status.SUCCEEDED)
        assert store.add(QUEUE, new("a")).known == ("a",)
        assert store.require("a") == before

    def test_a_long_list_is_added_whole_and_in_order(self, store: JobStore) -> None:
        """A list of thousands, also from a generator and with repeats, is added once each and in its order."""
        names = [f"j{number}" for number in range(2500)]
        added = store.add(QUEUE, (item for name in names for item in new(name, name)))
        assert added.new == tuple(names)
        assert added.known == tuple(names)
        assert ids(everything(store)) == names[::-1]
        assert ids(store.claim(a_claim(count=2500)).records) == names

    def test_a_broken_call_is_completed_by_the_same_call(self, store: JobStore) -> None:
        """When adding stops in the middle, adding the same list again adds exactly what is missing."""
        jobs = new(*(f"j{number}" for number in range(3000)))

        def breaks() -> Iterator[NewJob]:
            yield from islice(jobs, 2100)
            raise RuntimeError("the list's source broke")

        with pytest.raises(RuntimeError):
            store.add(QUEUE, breaks())
        survived = store.counts(QUEUE).by_status[Status.QUEUED]
        added = store.add(QUEUE, jobs)
        assert (len(added.known), len(added.new)) == (survived, 3000 - survived)
        assert ids(everything(store)) == [job.job.job_id for job in reversed(jobs)]

    def test_due_times(self, store: JobStore, clock: ManualClock) -> None:
        """A job for later is scheduled until then; one for the past is due now."""
        now = clock.now()
        store.add(QUEUE, [*new("later", due=now + 60), *new("past", due=now - 60), *new("now", due=now)])
        later, past, present = (store.require(name) for name in ("later", "past", "now"))
        assert (later.status, later.due) == (Status.SCHEDULED, now + 60)
        assert (past.status, past.due) == (Status.QUEUED, now)
        assert (present.status, present.due) == (Status.QUEUED, now)

    def test_the_expected_cost_is_kept(self, store: JobStore) -> None:
        """What a job is expected to cost stays in its record."""
        store.add(QUEUE, [NewJob(a_job(), cost=Cost(usd=0.25))])
        assert store.require("job-1").cost == Cost(usd=0.25)

    def test_each_chain_has_its_own_nonce(self, store: JobStore) -> None:
        """No two records share a nonce."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(50))))
        assert len({record.nonce for record in everything(store)}) == 50

    def test_racing_adds_add_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """When twenty callers add the same ids at once, each id is new to exactly one of them."""
        handles = [open_store(clock) for _ in range(4)]
        names = [f"j{number}" for number in range(30)]
        results = race(20, lambda index: handles[index % 4].add(QUEUE, new(*names)))
        assert Counter(name for added in results for name in added.new) == Counter(names)
        assert all(len(added.new) + len(added.known) == 30 for added in results)
        check_counts(handles[0])


class ClaimingSuite(_Suite):
    """Which jobs `claim` hands out."""

    def test_a_claimed_job_is_leased(self, store: JobStore, clock: ManualClock) -> None:
        """A claim leases the job to the worker for the time that it asked for, and says so in the record."""
        store.add(QUEUE, new("a"))
        record = take(store, worker="w-7", lease=12.0)
        assert record.lease is not None
        assert (record.lease.worker, record.lease.until) == ("w-7", clock.now() + 12.0)
        assert (record.status, record.due) == (Status.RUNNING, None)
        assert store.require("a") == record
        assert store.claim(a_claim()).records == ()

    def test_each_delivery_has_its_own_token(self, store: JobStore) -> None:
        """The fence differs for each delivery, also of the same job to the same worker."""
        store.add(QUEUE, new("a"))
        tokens = set()
        for _ in range(3):
            record = take(store)
            tokens.add(record.lease_token)
            store.hand_back("a", record.lease_token)
        assert len(tokens) == 3

    def test_tickets_then_due_then_order_of_adding(self, store: JobStore, clock: ManualClock) -> None:
        """Jobs with a ticket come first, then those due earlier, then those added earlier."""
        now = clock.now()
        store.add(QUEUE, new("ticket-late", "ticket-early"))
        for name, due in (("ticket-late", now + 9), ("ticket-early", now + 8)):
            record = accept(store, intend(store, take(store, only=name)))
            settle(store, record, Wait(due, "rendering"))
        store.add(QUEUE, new("due-7", due=now + 7))
        store.add(QUEUE, new("due-5-first", "due-5-second", due=now + 5))
        store.add(QUEUE, new("due-5-beta", due=now + 5, service=BETA))
        clock.advance(10)
        order = ["ticket-early", "ticket-late", "due-5-first", "due-5-second", "due-5-beta", "due-7"]
        assert [take(store).job_id for _ in order] == order

    def test_one_claim_has_the_same_order(self, store: JobStore, clock: ManualClock) -> None:
        """The records of one claim come in the order in which single claims would have handed them out."""
        store.add(QUEUE, [*new("b", due=clock.now() + 2, service=BETA), *new("a", due=clock.now() + 1)])
        store.add(QUEUE, new("c", service=AUTO))
        clock.advance(3)
        assert ids(store.claim(a_claim()).records) == ["c", "a", "b"]

    def test_no_more_than_asked_for(self, store: JobStore) -> None:
        """A claim never hands out more jobs than the worker can take."""
        store.add(QUEUE, new("a", "b", "c"))
        assert ids(store.claim(a_claim(count=2)).records) == ["a", "b"]
        assert ids(store.claim(a_claim(count=2)).records) == ["c"]

    def test_nothing_before_it_is_due(self, store: JobStore, clock: ManualClock) -> None:
        """A job is handed out from its due time on, not earlier."""
        store.add(QUEUE, new("a", due=clock.now() + 60))
        clock.advance(59.5)
        assert store.claim(a_claim()).records == ()
        clock.advance(0.5)
        assert ids(store.claim(a_claim()).records) == ["a"]

    def test_only_the_own_queue(self, store: JobStore) -> None:
        """Jobs of other queues are left alone, also when asked for by name and when their lease ran out."""
        store.add("other", new("a"))
        assert store.claim(a_claim()) == Claim((), None)
        assert store.claim(a_claim(only="a")).records == ()
        assert ids(store.claim(a_claim(queue="other")).records) == ["a"]

    def test_only_services_that_the_worker_can_use(self, store: JobStore) -> None:
        """A job for a service that the worker does not name is left alone and does not wake it."""
        store.add(QUEUE, new("b", service=BETA))
        assert store.claim(a_claim(slots={ALPHA: 5})) == Claim((), None)
        assert ids(store.claim(a_claim(slots={ALPHA: 5, BETA: 5})).records) == ["b"]

    def test_tickets_of_other_services_are_left_alone(self, store: JobStore, clock: ManualClock) -> None:
        """A job that holds a ticket of a service that the worker cannot use waits for a worker that can."""
        store.add(QUEUE, new("b", service=BETA))
        record = accept(store, intend(store, take(store), service=BETA))
        settle(store, record, Wait(clock.now(), "rendering"))
        assert store.claim(a_claim(slots={ALPHA: 5})).records == ()
        assert ids(store.claim(a_claim(slots={BETA: 5})).records) == ["b"]

    def test_only_one_job(self, store: JobStore) -> None:
        """With `only`, that job is handed out before others, and no other."""
        store.add(QUEUE, new("a", "b", "c"))
        assert ids(store.claim(a_claim(only="b")).records) == ["b"]
        assert store.claim(a_claim(only="b")).records == ()
        assert store.claim(a_claim(only="nobody")).records == ()

    def test_a_paused_queue_hands_out_nothing(self, store: JobStore) -> None:
        """While the queue is paused nothing is handed out, and afterwards all of it."""
        store.add(QUEUE, new("a"))
        store.set_queue_state(QUEUE, lambda state: replace(state, paused=True))
        assert store.claim(a_claim()) == Claim((), None)
        store.set_queue_state(QUEUE, lambda state: replace(state, paused=False))
        assert ids(store.claim(a_claim()).records) == ["a"]

    def test_racing_claimers_never_share_a_job(self, open_store: OpenStore, clock: ManualClock) -> None:
        """When twenty workers claim at once over several handles, each job goes to exactly one of them."""
        handles = [open_store(clock) for _ in range(4)]
        names = [f"j{number}" for number in range(60)]
        handles[0].add(QUEUE, new(*names))
        claims = race(20, lambda index: handles[index % 4].claim(a_claim(count=5, worker=f"w-{index}")))
        assert Counter(name for claim in claims for name in ids(claim.records)) == Counter(names)
        for index, claim in enumerate(claims):
            assert {record.lease.worker for record in claim.records if record.lease} <= {f"w-{index}"}
        assert len({record.lease_token for claim in claims for record in claim.records}) == 60


class SlotSuite(_Suite):
    """How slots of services bound what is claimed and what is submitted."""

    def test_no_job_is_claimed_without_a_free_slot(self, store: JobStore) -> None:
        """Jobs that would submit are handed out only as far as their service has free slots."""
        store.add(QUEUE, new("a", "b", "c"))
        first = store.claim(a_claim(slots={ALPHA: 2}))
        assert ids(first.records) == ["a", "b"]
        for record in first.records:
            intend(store, record, slots=2)
        assert store.in_flight(ALPHA) == 2
        assert store.claim(a_claim(slots={ALPHA: 2})).records == ()

    def test_jobs_in_hand_count(self, store: JobStore) -> None:
        """A job in hand that has not submitted yet will want a slot, so it counts."""
        store.add(QUEUE, new("a", "b"))
        take(store, slots={ALPHA: 1})
        assert store.claim(a_claim(slots={ALPHA: 1})).records == ()

    def test_services_do_not_share_slots(self, store: JobStore) -> None:
        """A service without a free slot does not keep another service's jobs waiting."""
        store.add(QUEUE, [*new("a1", "a2", "a3"), *new("b1", service=BETA)])
        intend(store, take(store))
        assert ids(store.claim(a_claim(slots={ALPHA: 1, BETA: 1})).records) == ["b1"]

    def test_a_job_with_a_ticket_needs_no_free_slot(self, store: JobStore, clock: ManualClock) -> None:
        """Polling goes on while all slots are taken."""
        store.add(QUEUE, new("a", "b"))
        record = accept(store, intend(store, take(store), slots=1))
        settle(store, record, Wait(clock.now(), "rendering"))
        assert ids(store.claim(a_claim(slots={ALPHA: 1})).records) == ["a"]

    def test_open_jobs_need_a_slot_of_any_service(self, store: JobStore) -> None:
        """A job that leaves the choice open is handed out while some service has a free slot, and not else."""
        store.add(QUEUE, new("a", service=ALPHA))
        intend(store, take(store))
        store.add(QUEUE, new("x", "y", service=AUTO))
        assert store.claim(a_claim(slots={ALPHA: 1})).records == ()
        assert ids(store.claim(a_claim(slots={ALPHA: 1, BETA: 1})).records) == ["x"]
        assert store.claim(a_claim(slots={ALPHA: 1, BETA: 1})).records == ()

    def test_open_and_named_jobs_share_the_slots(self, store: JobStore) -> None:
        """One free slot hands out one job, not one that names the service and another that leaves it open."""
        store.add(QUEUE, [*new("named"), *new("open", service=AUTO)])
        assert len(store.claim(a_claim(slots={ALPHA: 1})).records) == 1

    def test_an_open_job_in_hand_counts_for_named_ones(self, store: JobStore) -> None:
        """While an open job is in hand that may take the only slot, no job that names the service is handed out."""
        store.add(QUEUE, new("open", service=AUTO))
        assert take(store, slots={ALPHA: 1}).job_id == "open"
        store.add(QUEUE, new("named"))
        assert store.claim(a_claim(slots={ALPHA: 1})).records == ()

    def test_a_refused_intent_leaves_everything_as_it_was(self, store: JobStore) -> None:
        """An intent that finds no free slot writes nothing."""
        store.add(QUEUE, new("a", "b"))
        first, second = store.claim(a_claim()).records
        intend(store, first, slots=1)
        with pytest.raises(SlotsBusy) as refusal:
            intend(store, second, slots=1)
        assert (refusal.value.service, refusal.value.limit) == (ALPHA, 1)
        assert store.require("b") == second
        assert store.in_flight(ALPHA) == 1
        check_counts(store)

    def test_a_repeated_intent_keeps_its_own_slot(self, store: JobStore) -> None:
        """The same submission may be intended again without a second slot."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), slots=1)
        again = intend(store, record, slots=1)
        assert again.submission.state is SubmissionState.INTENT
        assert store.in_flight(ALPHA) == 1

    @pytest.mark.parametrize(
        ("ending", "free"),
        [
            (Done(VIDEO), True),
            (Dead(FAILURE, generation_failed=True), True),
            (Wait(0.0, "rendered", rendered=True), True),
            (Wait(0.0, "rendering"), False),
            (Dead(FAILURE), False),
            (Retry(0.0, FAILURE), False),
        ],
    )
    def test_when_a_slot_falls_free(self, store: JobStore, ending: Outcome, free: bool) -> None:
        """A slot is held until the service says that the generation is over, whatever becomes of the job."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)))
        settle(store, record, ending)
        assert store.in_flight(ALPHA) == (0 if free else 1)

    def test_a_cancelled_job_holds_its_slot(self, store: JobStore) -> None:
        """What is cancelled goes on at the service, so its slot stays taken until its deadline."""
        store.add(QUEUE, new("a"))
        accept(store, intend(store, take(store)))
        store.cancel("a")
        assert store.in_flight(ALPHA) == 1

    def test_a_withdrawn_submission_frees_its_slot(self, store: JobStore) -> None:
        """With the proof that nothing was bought the slot is free at once."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        store.withdraw("a", submission_id=record.submission.id, reason="refused")
        assert store.in_flight(ALPHA) == 0

    def test_a_submission_beyond_its_deadline_frees_its_slot(self, store: JobStore, clock: ManualClock) -> None:
        """A generation is given up at its deadline: the slot is free then, without any write, and not earlier."""
        store.add(QUEUE, new("a", "b"))
        first, second = store.claim(a_claim(lease=1000.0)).records
        intend(store, first, slots=1, lifetime=100.0)
        clock.advance(99)
        assert store.in_flight(ALPHA) == 1
        with pytest.raises(SlotsBusy):
            intend(store, second, slots=1)
        clock.advance(1)
        assert store.in_flight(ALPHA) == 0
        assert intend(store, second, slots=1).submission.state is SubmissionState.INTENT

    def test_the_ticket_sets_the_deadline_anew(self, store: JobStore, clock: ManualClock) -> None:
        """The generation's lifetime counts from its ticket."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), lifetime=10.0)
        clock.advance(5)
        record = accept(store, record, lifetime=50.0)
        assert record.submission.deadline == clock.now() + 50.0
        clock.advance(49)
        assert store.in_flight(ALPHA) == 1

    def test_slots_are_counted_over_all_queues(self, store: JobStore) -> None:
        """A service's slots are its own, whichever queue its jobs came from."""
        store.add("other", new("a"))
        intend(store, take(store, queue="other"))
        store.add(QUEUE, new("b"))
        assert store.claim(a_claim(slots={ALPHA: 1})).records == ()
        assert store.in_flight(ALPHA) == 1
        assert store.in_flight(BETA) == 0

    def test_racing_intents_never_exceed_the_limit(self, open_store: OpenStore, clock: ManualClock) -> None:
        """When twenty workers submit at once over several handles, exactly as many as there are slots get one."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(20))))
        records = handles[0].claim(a_claim()).records
        results = race(20, lambda index: intend(handles[index % 4], records[index], slots=7))
        assert Counter(type(result) for result in results) == {JobRecord: 7, SlotsBusy: 13}
        assert handles[0].in_flight(ALPHA) == 7


class DispatchSuite(_Suite):
    """The dispatch rate and concurrency of a queue."""

    @pytest.mark.parametrize(("rate", "burst"), [(50.0, 10), (10.0, 2), (3.0, 1), (0.5, 1)])
    def test_the_burst(self, store: JobStore, rate: float, burst: int) -> None:
        """After a pause a fifth of a second's worth of steps goes out at once, at least one."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(20))))
        limits = DispatchLimits(rate, 1000)
        assert len(store.claim(a_claim(limits=limits)).records) == burst
        assert store.claim(a_claim(limits=limits)).records == ()

    def test_the_rate_over_several_handles(self, open_store: OpenStore, clock: ManualClock) -> None:
        """All handles together get no more than the burst and the rate allow, and nearly all of that."""
        handles = [open_store(clock) for _ in range(3)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(200))))
        limits = DispatchLimits(10.0, 1000)
        got = 0
        for tick in range(100):
            got += len(handles[tick % 3].claim(a_claim(limits=limits)).records)
            assert got <= 2 + tick
            clock.advance(0.1)
        assert got >= 98

    def test_an_unused_rate_is_not_saved_up(self, store: JobStore, clock: ManualClock) -> None:
        """After an hour of rest no more goes out at once than the burst."""
        limits = DispatchLimits(10.0, 1000)
        store.add(QUEUE, new(*(f"j{number}" for number in range(10))))
        assert len(store.claim(a_claim(limits=limits)).records) == 2
        clock.advance(3600)
        assert len(store.claim(a_claim(limits=limits, lease=1e6)).records) == 2

    def test_a_claim_that_takes_nothing_costs_no_token(self, store: JobStore, clock: ManualClock) -> None:
        """Only handed out steps count against the rate."""
        limits = DispatchLimits(1.0, 1000)
        store.add(QUEUE, new("a", due=clock.now() + 10))
        for _ in range(5):
            assert store.claim(a_claim(limits=limits)).records == ()
        clock.advance(10)
        assert ids(store.claim(a_claim(limits=limits)).records) == ["a"]

    @pytest.mark.parametrize("rate", [0.3, 0.7, 1.0, 3.0, 7.0, 10.0, 33.0, 110.0])
    def test_asking_again_when_told_finds_a_token(self, store: JobStore, clock: ManualClock, rate: float) -> None:
        """At the instant that an empty claim names because of the rate a step goes out, and well before it none."""
        request = a_claim(limits=DispatchLimits(rate, 1000), lease=1e6)
        store.add(QUEUE, new(*(f"j{number}" for number in range(40))))
        store.claim(request)
        for _ in range(10):
            now, again_at = clock.now(), store.claim(request).again_at
            assert again_at is not None
            assert now < again_at < now + 1 / rate + 0.001
            clock.set(now + (again_at - now) * 0.9)
            assert store.claim(request).records == ()
            clock.set(again_at)
            assert len(store.claim(request).records) == 1

    def test_the_concurrency_over_several_handles(self, open_store: OpenStore, clock: ManualClock) -> None:
        """No more steps are in hand at once than allowed, over all handles; each that ends lets one in."""
        one, two = open_store(clock), open_store(clock)
        one.add(QUEUE, new(*(f"j{number}" for number in range(6))))
        limits = DispatchLimits(1e6, 3)
        first = one.claim(a_claim(limits=limits, count=2)).records
        assert len(two.claim(a_claim(limits=limits)).records) == 1
        assert one.claim(a_claim(limits=limits)).records == ()
        settle(two, first[0], Dead(FAILURE))
        assert len(two.claim(a_claim(limits=limits)).records) == 1

    def test_concurrency_counts_own_queue_only(self, store: JobStore) -> None:
        """Steps of another queue do not count."""
        store.add("other", new("a"))
        store.add(QUEUE, new("b"))
        take(store, queue="other", limits=DispatchLimits(1e6, 1))
        assert take(store, limits=DispatchLimits(1e6, 1)).job_id == "b"

    def test_racing_claimers_keep_the_concurrency(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Twenty claimers at once are handed exactly as many steps as may be in hand."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(60))))
        request = a_claim(count=5, limits=DispatchLimits(1e6, 13))
        claims = race(20, lambda index: handles[index % 4].claim(request))
        assert sum(len(claim.records) for claim in claims) == 13

    def test_racing_claimers_keep_the_rate(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Twenty claimers at once are handed exactly the burst."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(60))))
        request = a_claim(count=5, limits=DispatchLimits(35.0, 1000))
        claims = race(20, lambda index: handles[index % 4].claim(request))
        assert sum(len(claim.records) for claim in claims) == 7

    def test_what_is_set_at_run_time_wins(self, store: JobStore) -> None:
        """Limits that were set on the queue win over those that the worker's environment names."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(20))))
        store.set_queue_state(QUEUE, lambda state: replace(state, max_concurrent_dispatches=2))
        assert len(store.claim(a_claim(limits=DispatchLimits(1e6, 10))).records) == 2
        store.set_queue_state(
            QUEUE, lambda state: replace(state, max_concurrent_dispatches=100, max_dispatches_per_second=20.0)
        )
        assert len(store.claim(a_claim(limits=DispatchLimits(1e6, 2))).records) == 4


class AskingAgainSuite(_Suite):
    """`Claim.again_at`: nothing earlier than needed, and never past something due."""

    def test_nothing_to_wait_for(self, store: JobStore) -> None:
        """An empty queue, or one with held and final jobs only, names no instant."""
        assert store.claim(a_claim()) == Claim((), None)
        finished(store, "a", Status.FAILED)
        finished(store, "b", Status.SUCCEEDED)
        store.add(QUEUE, new("h"))
        settle(store, intend(store, take(store, only="h")), Held(FAILURE))
        assert store.claim(a_claim()) == Claim((), None)

    def test_the_next_due_time(self, store: JobStore, clock: ManualClock) -> None:
        """With jobs for later, the instant is when the first of them is due."""
        store.add(QUEUE, [*new("b", due=clock.now() + 70, service=BETA), *new("a", due=clock.now() + 90)])
        store.add(QUEUE, new("c", due=clock.now() + 80, service=AUTO))
        assert store.claim(a_claim()) == Claim((), clock.now() + 70)

    def test_a_lease_that_runs_out(self, store: JobStore, clock: ManualClock) -> None:
        """A job in hand comes back when its lease runs out, and that is when to ask again."""
        store.add(QUEUE, [*new("a"), *new("b", due=clock.now() + 90)])
        take(store, lease=30.0)
        again_at = store.claim(a_claim()).again_at
        assert again_at == clock.now() + 30.0
        clock.set(again_at)
        assert ids(store.claim(a_claim()).records) == ["a"]

    def test_the_earliest_of_all(self, store: JobStore, clock: ManualClock) -> None:
        """Of a due time, a lease's end and a ticket's poll, the first counts."""
        store.add(QUEUE, new("polled", "leased"))
        record = accept(store, intend(store, take(store, only="polled")))
        settle(store, record, Wait(clock.now() + 20, "rendering"))
        take(store, lease=40.0)
        store.add(QUEUE, new("later", due=clock.now() + 30))
        assert store.claim(a_claim()) == Claim((), clock.now() + 20)

    def test_more_is_due_than_was_asked_for(self, store: JobStore, clock: ManualClock) -> None:
        """When more is due than the worker could take, it is to ask again at once."""
        store.add(QUEUE, new("a", "b"))
        again_at = store.claim(a_claim(count=1)).again_at
        assert again_at is not None
        assert again_at <= clock.now()

    def test_concurrency_used_up(self, store: JobStore, clock: ManualClock) -> None:
        """With all steps in hand, time opens the queue only when a lease runs out."""
        store.add(QUEUE, new("a", "b"))
        limits = DispatchLimits(1e6, 1)
        take(store, limits=limits, lease=25.0)
        assert store.claim(a_claim(limits=limits)) == Claim((), clock.now() + 25.0)

    def test_slots_used_up(self, store: JobStore, clock: ManualClock) -> None:
        """With all slots taken, time opens them only when a generation is given up."""
        store.add(QUEUE, new("a", "b"))
        record = accept(store, intend(store, take(store)), lifetime=500.0)
        settle(store, record, Wait(clock.now() + 5000, "rendering"))
        claim = store.claim(a_claim(slots={ALPHA: 1}))
        assert claim == Claim((), clock.now() + 500.0)
        clock.set(clock.now() + 500.0)
        assert ids(store.claim(a_claim(slots={ALPHA: 1})).records) == ["b"]

    def test_slots_used_up_for_open_jobs(self, store: JobStore, clock: ManualClock) -> None:
        """A job that leaves the choice open is not forgotten when a slot falls free by time alone."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)), lifetime=500.0)
        settle(store, record, Wait(clock.now() + 5000, "rendering"))
        store.add(QUEUE, new("b", service=AUTO))
        again_at = store.claim(a_claim(slots={ALPHA: 1})).again_at
        assert again_at == clock.now() + 500.0
        clock.set(again_at)
        assert ids(store.claim(a_claim(slots={ALPHA: 1})).records) == ["b"]

    def test_paused(self, store: JobStore, clock: ManualClock) -> None:
        """A paused queue opens by a change only, whatever falls due."""
        store.add(QUEUE, [*new("a"), *new("b", due=clock.now() + 5)])
        take(store)
        store.set_queue_state(QUEUE, lambda state: replace(state, paused=True))
        assert store.claim(a_claim()) == Claim((), None)
        clock.advance(1000)
        assert store.claim(a_claim()) == Claim((), None)

    def test_other_queues_do_not_wake(self, store: JobStore, clock: ManualClock) -> None:
        """Due times, leases and slots of other queues and services are nothing to this worker."""
        store.add("other", [*new("a"), *new("b", due=clock.now() + 5)])
        take(store, queue="other")
        store.add(QUEUE, new("c", due=clock.now() + 5, service=BETA))
        assert store.claim(a_claim(slots={ALPHA: 3})) == Claim((), None)

    def test_only_one_job_that_is_not_due(self, store: JobStore, clock: ManualClock) -> None:
        """A worker that waits for one job is not told to ask at once because others are due."""
        store.add(QUEUE, [*new("other"), *new("mine", due=clock.now() + 50)])
        claim = store.claim(a_claim(only="mine"))
        assert claim.records == ()
        assert claim.again_at == clock.now() + 50
        clock.set(claim.again_at)
        assert ids(store.claim(a_claim(only="mine")).records) == ["mine"]

    def test_only_one_job_that_another_has(self, store: JobStore, clock: ManualClock) -> None:
        """A worker that waits for one job asks again when the lease of the present owner runs out."""
        store.add(QUEUE, new("other", "mine"))
        take(store, only="mine", lease=40.0)
        claim = store.claim(a_claim(only="mine"))
        assert claim == Claim((), clock.now() + 40.0)


class LeaseSuite(_Suite):
    """Leases: running out, renewal, fencing."""

    def test_an_expired_lease_is_taken_back(self, store: JobStore, clock: ManualClock) -> None:
        """A job whose worker fell silent goes to the next one, and its record says so."""
        store.add(QUEUE, new("a"))
        first = take(store, worker="w-dead", lease=30.0)
        clock.advance(29.9)
        assert store.claim(a_claim()).records == ()
        clock.advance(0.1)
        second = take(store, worker="w-2")
        assert second.lease_token != first.lease_token
        assert (second.expiries, second.attempts, second.seq) == (1, 0, first.seq + 1)
        assert any("w-dead" in event.detail for event in second.events)

    def test_a_job_that_kills_its_workers_is_dead(self, store: JobStore, clock: ManualClock) -> None:
        """After ten leases in a row that ran out in one step the job is a dead letter that says why."""
        store.add(QUEUE, new("a"))
        for number in range(MAX_EXPIRIES):
            assert take(store).expiries == number
            clock.advance(31)
        assert store.claim(a_claim()).records == ()
        record = store.require("a")
        assert record.status is Status.FAILED
        assert record.error is not None
        assert (record.error.code, record.expiries) == ("worker_lost", MAX_EXPIRIES)
        check_counts(store)

    def test_a_step_that_worked_forgives_expiries(self, store: JobStore, clock: ManualClock) -> None:
        """Expiries count in a row within one step: a ticket, or a step that did its work, starts anew."""
        store.add(QUEUE, new("a", "b"))
        for _ in range(MAX_EXPIRIES - 1):
            assert len(store.claim(a_claim()).records) == 2
            clock.advance(31)
        first, second = store.claim(a_claim()).records
        assert first.expiries == second.expiries == MAX_EXPIRIES - 1
        assert settle(store, first, Wait(clock.now(), "went well")).expiries == 0
        assert accept(store, intend(store, second)).expiries == 0

    def test_a_closed_gate_forgives_nothing(self, store: JobStore, clock: ManualClock) -> None:
        """A wait in which no work was done leaves faults and expiries as they were."""
        store.add(QUEUE, new("a"))
        take(store)
        clock.advance(31)
        settle(store, take(store), Retry(clock.now(), FAILURE))
        after = settle(store, take(store), Wait(clock.now(), "the gate is closed", worked=False))
        assert (after.attempts, after.expiries, after.error) == (1, 1, FAILURE)

    def test_many_expired_leases_all_come_back(self, store: JobStore, clock: ManualClock) -> None:
        """However many leases ran out at once, asking again hands out every job."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(350))))
        assert len(store.claim(a_claim()).records) == 350
        clock.advance(31)
        back: list[str] = []
        for _ in range(20):
            claim = store.claim(a_claim(lease=1e6))
            back += ids(claim.records)
            if claim.again_at is None or claim.again_at > clock.now():
                break
        assert sorted(back) == sorted(f"j{number}" for number in range(350))

    def test_renewal_prolongs_a_lease(self, store: JobStore, clock: ManualClock) -> None:
        """A renewed lease lasts from now on."""
        store.add(QUEUE, new("a"))
        record = take(store, lease=30.0)
        clock.advance(20)
        assert not store.renew({"a": record.lease_token}, 30.0)
        clock.advance(20)
        assert store.claim(a_claim()).records == ()
        clock.advance(10)
        assert ids(store.claim(a_claim()).records) == ["a"]

    def test_renewal_reports_what_is_lost(self, store: JobStore, clock: ManualClock) -> None:
        """Leases that were taken, settled or cancelled are reported, and the others are renewed all the same."""
        store.add(QUEUE, new("mine", "taken", "settled", "cancelled"))
        records = {record.job_id: record for record in store.claim(a_claim(lease=30.0)).records}
        store.hand_back("taken", records["taken"].lease_token)
        thief = take(store, only="taken", worker="w-2")
        settle(store, records["settled"], Dead(FAILURE))
        store.cancel("cancelled")
        clock.advance(10)
        lost = store.renew({name: record.lease_token for name, record in records.items()}, 30.0)
        assert set(lost) == {"taken", "settled", "cancelled"}
        assert store.require("taken") == thief
        renewed = store.require("mine").lease
        assert renewed is not None
        assert renewed.until == clock.now() + 30.0

    def test_renewal_of_a_job_that_is_gone(self, store: JobStore, clock: ManualClock) -> None:
        """A lease on a job whose record was trimmed is lost; the worker's other leases are renewed."""
        store.add(QUEUE, new("gone", "mine"))
        gone, mine = store.claim(a_claim(lease=30.0)).records
        store.cancel("gone")
        clock.advance(10)
        assert store.trim(Retention(age=5.0)) == 1
        lost = store.renew({"gone": gone.lease_token, "mine": mine.lease_token}, 30.0)
        assert set(lost) == {"gone"}
        renewed = store.require("mine").lease
        assert renewed is not None
        assert renewed.until == clock.now() + 30.0

    def test_a_strangers_token_renews_nothing(self, store: JobStore) -> None:
        """A token that is not the lease's leaves the record as it is."""
        store.add(QUEUE, new("a"))
        record = take(store)
        assert set(store.renew({"a": "forged"}, 1000.0)) == {"a"}
        assert store.require("a") == record

    @pytest.mark.parametrize("act", ["settle", "hand_back", "intend"])
    @pytest.mark.parametrize("change", ["taken", "settled", "cancelled", "handed back"])
    def test_a_stale_owner_is_refused(self, store: JobStore, clock: ManualClock, act: str, change: str) -> None:
        """Who lost the lease may write nothing more."""
        store.add(QUEUE, new("a"))
        stale = take(store)
        match change:
            case "taken":
                clock.advance(31)
                take(store, worker="w-2")
            case "settled":
                settle(store, stale, Retry(clock.now(), FAILURE))
            case "cancelled":
                store.cancel("a")
            case "handed back":
                store.hand_back("a", stale.lease_token)
        before = store.require("a")
        acts: dict[str, Callable[[], object]] = {
            "settle": lambda: settle(store, stale, Dead(FAILURE)),
            "hand_back": lambda: store.hand_back("a", stale.lease_token),
            "intend": lambda: intend(store, stale),
        }
        with pytest.raises(LeaseLost):
            acts[act]()
        assert store.require("a") == before
        check_counts(store)

    def test_racing_settlers_settle_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """When twenty callers settle one delivery at once, exactly one does and the others lost the lease."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new("a"))
        record = take(handles[0])
        results = race(20, lambda index: settle(handles[index % 4], record, Retry(clock.now(), FAILURE)))
        assert Counter(type(result) for result in results) == {JobRecord: 1, LeaseLost: 19}
        assert handles[0].require("a").attempts == 1


class SettlingSuite(_Suite):
    """`settle`, `hand_back`, `cancel`, `requeue`, `resolve`, `cancel_waiting`."""

    def test_done(self, store: JobStore, clock: ManualClock) -> None:
        """A published job succeeded: result, end and progress are in its record, and nothing is due."""
        record = finished(store, "a", Status.SUCCEEDED)
        assert store.require("a") == record
        assert (record.result, record.finished_at, record.progress) == (VIDEO, clock.now(), 1.0)
        assert (record.lease, record.due, record.error) == (None, None, None)

    def test_wait(self, store: JobStore, clock: ManualClock) -> None:
        """A waiting job is due again at the time that the step named, and that is no attempt."""
        store.add(QUEUE, new("a"))
        record = settle(store, take(store), Wait(clock.now() + 40, "the quota is used up", worked=False))
        assert (record.status, record.due, record.attempts, record.lease) == (Status.QUEUED, clock.now() + 40, 0, None)
        clock.advance(40)
        record = accept(store, intend(store, take(store)))
        record = settle(store, record, Wait(clock.now() + 5, "rendering", progress=0.5))
        assert (record.status, record.progress) == (Status.RENDERING, 0.5)

    def test_retry(self, store: JobStore, clock: ManualClock) -> None:
        """A fault counts an attempt, keeps the reason and makes the job due at the time that the step named."""
        store.add(QUEUE, new("a"))
        record = settle(store, take(store), Retry(clock.now() + 4, FAILURE))
        assert (record.status, record.attempts, record.error, record.due) == (
            Status.QUEUED, 1, FAILURE, clock.now() + 4,
        )  # fmt: skip
        clock.advance(4)
        assert settle(store, take(store), Retry(clock.now() + 8, FAILURE)).attempts == 2

    def test_dead(self, store: JobStore, clock: ManualClock) -> None:
        """A dead letter keeps the whole job and the reason."""
        record = finished(store, "a", Status.FAILED)
        assert (record.status, record.error, record.due, record.lease) == (Status.FAILED, FAILURE, None, None)
        assert (record.finished_at, record.job.topic) == (clock.now(), "Why the sea is salt")

    def test_held(self, store: JobStore) -> None:
        """A held job waits for a person: nothing is due, its submission is unknown, its slot stays taken."""
        record = finished(store, "a", Status.HELD)
        assert (record.status, record.error, record.due, record.lease) == (Status.HELD, FAILURE, None, None)
        assert record.submission.state is SubmissionState.UNKNOWN
        assert store.in_flight(ALPHA) == 1
        assert store.claim(a_claim()).records == ()

    def test_hand_back(self, store: JobStore, clock: ManualClock) -> None:
        """A job that was handed back is due at once, in the next delivery, and that is no attempt."""
        store.add(QUEUE, new("a"))
        first = take(store)
        clock.advance(3)
        back = store.hand_back("a", first.lease_token)
        assert (back.status, back.due, back.attempts, back.seq) == (Status.QUEUED, clock.now(), 0, first.seq + 1)
        assert take(store).job_id == "a"

    def test_changes_of_unknown_jobs(self, store: JobStore) -> None:
        """Every change of a job that is not there raises."""
        for change in (store.cancel, store.requeue, lambda name: store.hand_back(name, "t")):
            with pytest.raises(JobNotFound):
                change("nobody")

    def test_a_refused_change_writes_nothing(self, store: JobStore) -> None:
        """What `change` raises comes out of `update`, and the record stays as it is."""
        store.add(QUEUE, new("a"))
        before = store.require("a")

        def refuses(record: JobRecord, now: float) -> JobRecord:
            raise ActionRefused("not today")

        with pytest.raises(ActionRefused):
            store.update("a", refuses)
        assert store.require("a") == before

    def test_racing_updates_are_all_seen(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A hundred changes at once over several handles are applied one after the other; none is lost."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new("a"))

        def count(record: JobRecord, now: float) -> JobRecord:
            return msgspec.structs.replace(record, seq=record.seq + 1)

        def act(index: int) -> None:
            for _ in range(10):
                handles[index % 4].update("a", count)

        assert race(10, act) == [None] * 10
        assert handles[0].require("a").seq == 100

    @pytest.mark.parametrize("stage", ["scheduled", "queued", "running", "rendering", "held"])
    def test_cancel(self, store: JobStore, clock: ManualClock, stage: str) -> None:
        """Every job that is not final can be taken back, and nobody gets it any more."""
        store.add(QUEUE, new("a", due=clock.now() + 10 if stage == "scheduled" else None))
        if stage in ("running", "rendering", "held"):
            record = take(store)
            if stage != "running":
                record = intend(store, record)
            if stage == "rendering":
                accept(store, record)
            if stage == "held":
                settle(store, record, Held(FAILURE))
        record = store.cancel("a")
        assert (record.status, record.due, record.lease, record.finished_at) == (
            Status.CANCELLED, None, None, clock.now(),
        )  # fmt: skip
        clock.advance(100)
        assert store.claim(a_claim()).records == ()
        check_counts(store)

    @pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
    def test_final_jobs_cannot_be_cancelled(self, store: JobStore, status: Status) -> None:
        """A final job stays as it is."""
        before = finished(store, "a", status)
        with pytest.raises(ActionRefused):
            store.cancel("a")
        assert store.require("a") == before

    @pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
    def test_requeue(self, store: JobStore, status: Status) -> None:
        """A failed or cancelled job can be tried again, with all attempts before it."""
        before = finished(store, "a", status)
        record = store.requeue("a")
        assert (record.status, record.attempts, record.expiries, record.error, record.finished_at) == (
            Status.QUEUED, 0, 0, None, None,
        )  # fmt: skip
        assert record.seq > before.seq
        assert take(store).step is Step.SUBMIT
        check_counts(store)

    def test_requeue_goes_on_from_the_ticket(self, store: JobStore) -> None:
        """A job that holds a ticket is never ordered again by a retry: it polls on."""
        store.add(QUEUE, new("a"))
        settle(store, accept(store, intend(store, take(store))), Dead(FAILURE))
        assert store.requeue("a").status is Status.RENDERING
        record = take(store)
        assert (record.step, record.submission.ticket) == (Step.POLL, TICKET)

    def test_requeue_after_a_failed_generation_buys_anew(self, store: JobStore) -> None:
        """Only where the service said that its generation failed does a retry order it anew."""
        store.add(QUEUE, new("a"))
        settle(store, accept(store, intend(store, take(store))), Dead(FAILURE, generation_failed=True))
        store.requeue("a")
        record = take(store)
        assert (record.step, record.submission, record.service) == (Step.SUBMIT, Submission(), "")

    def test_requeue_of_a_create_that_was_cut_off_looks_it_up(self, store: JobStore) -> None:
        """A job that ended within its create never buys at a retry: it looks up first."""
        store.add(QUEUE, new("a"))
        intend(store, take(store))
        store.cancel("a")
        store.requeue("a")
        assert take(store).step is Step.LOOKUP

    @pytest.mark.parametrize(
        ("decision", "step", "in_flight"),
        [(Resubmit(), Step.SUBMIT, 0), (Bought(TICKET, 50.0), Step.POLL, 1)],
    )
    def test_resolve(
        self, store: JobStore, clock: ManualClock, decision: Resolution, step: Step, in_flight: int
    ) -> None:
        """A person's word puts a held job into the queue again: to be ordered anew, or to go on from its ticket."""
        before = finished(store, "a", Status.HELD)
        with pytest.raises(ActionRefused, match="jobs resolve a") as refusal:
            store.requeue("a")
        assert "--resubmit" in str(refusal.value)
        record = store.resolve("a", decision)
        assert record.seq > before.seq
        assert store.in_flight(ALPHA) == in_flight
        check_counts(store)
        assert take(store).step is step

    def test_resolve_by_giving_up(self, store: JobStore) -> None:
        """A held job that is given up has failed; a person may still find its ticket later."""
        finished(store, "a", Status.HELD)
        record = store.resolve("a", GiveUp())
        assert (record.status, record.due) == (Status.FAILED, None)
        check_counts(store)
        assert store.claim(a_claim()).records == ()
        assert store.resolve("a", Bought(TICKET, 50.0)).status is Status.RENDERING
        assert take(store).step is Step.POLL

    @pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
    def test_what_needs_no_resolving(self, store: JobStore, status: Status) -> None:
        """Where nothing is unknown a person has nothing to decide, and nothing is changed."""
        before = finished(store, "a", status)
        for decision in (Resubmit(), Bought(TICKET, 50.0), GiveUp()):
            with pytest.raises(ActionRefused):
                store.resolve("a", decision)
        assert store.require("a") == before

    @pytest.mark.parametrize("stage", ["scheduled", "queued", "running", "rendering", "held", "succeeded"])
    def test_what_cannot_be_requeued(self, store: JobStore, clock: ManualClock, stage: str) -> None:
        """A job that goes on by itself, waits for a person's decision or succeeded is not requeued."""
        if stage in ("held", "succeeded"):
            finished(store, "a", Status(stage))
        else:
            store.add(QUEUE, new("a", due=clock.now() + 10 if stage == "scheduled" else None))
            if stage in ("running", "rendering"):
                record = intend(store, take(store))
                if stage == "rendering":
                    accept(store, record)
        before = store.require("a")
        with pytest.raises(ActionRefused):
            store.requeue("a")
        assert store.require("a") == before

    def test_cancel_waiting(self, store: JobStore, clock: ManualClock) -> None:
        """A purge takes back waiting jobs of its queue for which nothing may have been bought, and no others."""
        store.add(QUEUE, new("in-hand", "ticket", "unknown", "held"))
        take(store, only="in-hand")
        settle(store, accept(store, intend(store, take(store, only="ticket"))), Wait(clock.now(), "rendering"))
        settle(store, intend(store, take(store, only="unknown")), Retry(clock.now(), FAILURE))
        settle(store, intend(store, take(store, only="held")), Held(FAILURE))
        store.add("other", new("elsewhere"))
        store.add(QUEUE, [*new("q1", "q2"), *new("later", due=clock.now() + 99), *new("b", service=BETA)])
        assert store.cancel_waiting(QUEUE, 3) == 3
        assert store.cancel_waiting(QUEUE, 3) == 1
        assert store.cancel_waiting(QUEUE, 3) == 0
        cancelled = {record.job_id for record in everything(store, JobFilter(statuses=[Status.CANCELLED]))}
        assert cancelled == {"q1", "q2", "later", "b"}
        check_counts(store)


class JournalSuite(_Suite):
    """The submission journal."""

    def test_an_intent_is_journaled(self, store: JobStore, clock: ManualClock) -> None:
        """The intent keeps the submission's id, service, time and deadline, and takes the slot."""
        store.add(QUEUE, new("a", service=AUTO))
        record = intend(store, take(store), service=BETA, submission_id="s-1", lifetime=70.0)
        submission = record.submission
        assert (submission.state, submission.id, submission.ticket) == (SubmissionState.INTENT, "s-1", None)
        assert (submission.intended_at, submission.deadline) == (clock.now(), clock.now() + 70.0)
        assert (record.service, record.status) == (BETA, Status.RUNNING)
        assert store.require("a") == record
        assert store.in_flight(BETA) == 1

    def test_another_submission_is_refused(self, store: JobStore) -> None:
        """While a submission is not proved to have bought nothing, no other may begin."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-1")
        with pytest.raises(ActionRefused):
            intend(store, record, submission_id="s-2")
        assert store.require("a") == record

    def test_no_intent_once_there_is_a_ticket(self, store: JobStore) -> None:
        """Once a ticket exists only reads follow: not even the same submission may be intended again."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)))
        with pytest.raises(ActionRefused):
            intend(store, record, submission_id=record.submission.id)
        assert store.require("a").submission.ticket == TICKET

    def test_the_ticket_and_its_cost(self, store: JobStore, clock: ManualClock) -> None:
        """An accepted create keeps its ticket, its deadline and what it cost."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        cost = Cost(credits=12.0, estimated=False)
        record = store.accept("a", submission_id=record.submission.id, ticket=TICKET, lifetime=900.0, cost=cost)
        assert (record.status, record.step, record.cost) == (Status.RENDERING, Step.POLL, cost)
        assert (record.submission.ticket, record.submission.deadline) == (TICKET, clock.now() + 900.0)

    def test_the_same_ticket_twice(self, store: JobStore) -> None:
        """Saving a ticket again changes nothing."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)))
        assert accept(store, record) == record

    def test_a_late_worker_saves_its_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """The ticket is saved by its submission, also when another worker holds the lease, who keeps it."""
        store.add(QUEUE, new("a"))
        late = intend(store, take(store, worker="w-late"))
        clock.advance(31)
        owner = take(store, worker="w-2")
        record = accept(store, late)
        assert record.lease == owner.lease
        assert (record.status, record.submission.ticket) == (Status.RENDERING, TICKET)
        after = settle(store, owner, Wait(clock.now(), "waiting for the other worker", worked=False))
        assert (after.status, after.submission.ticket) == (Status.RENDERING, TICKET)

    def test_a_waiting_job_goes_on_with_its_late_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """A job that waits to learn what came of its create is due at once when the ticket comes."""
        store.add(QUEUE, new("a"))
        late = intend(store, take(store, worker="w-late"))
        clock.advance(31)
        settle(store, take(store, worker="w-2"), Wait(clock.now() + 90, "it may be under way", worked=False))
        clock.advance(1)
        record = accept(store, late)
        assert (record.status, record.due) == (Status.RENDERING, clock.now())
        assert take(store).job_id == "a"

    @pytest.mark.parametrize("status", [Status.CANCELLED, Status.FAILED])
    def test_a_final_job_saves_its_ticket(self, store: JobStore, status: Status) -> None:
        """A job that was cancelled or failed while its create was under way stays so, with its ticket and cost."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        if status is Status.CANCELLED:
            store.cancel("a")
        else:
            settle(store, record, Dead(FAILURE))
        cost = Cost(usd=0.4, estimated=False)
        after = store.accept("a", submission_id=record.submission.id, ticket=TICKET, lifetime=50.0, cost=cost)
        assert (after.status, after.submission.ticket, after.cost, after.due) == (status, TICKET, cost, None)
        check_counts(store)
        assert store.requeue("a").status is Status.RENDERING

    def test_a_held_job_goes_on_with_its_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """When the ticket of a held job comes after all, the job is due at once."""
        record = finished(store, "a", Status.HELD)
        after = accept(store, record)
        assert (after.status, after.due, after.error) == (Status.RENDERING, clock.now(), None)
        assert take(store).step is Step.POLL

    def test_a_waiting_job_takes_its_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """A job that waits to look its create up polls instead, once the ticket is there."""
        store.add(QUEUE, new("a"))
        record = settle(store, intend(store, take(store)), Retry(clock.now() + 20, FAILURE))
        assert accept(store, record).status is Status.RENDERING
        clock.advance(20)
        assert take(store).step is Step.POLL

    def test_the_late_ticket_of_an_older_submission_is_noted(self, store: JobStore) -> None:
        """A ticket of a submission that the job has left behind changes nothing but its timeline."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-old")
        store.withdraw("a", submission_id="s-old", reason="refused")
        record = accept(store, intend(store, record, submission_id="s-new"))
        after = store.accept("a", submission_id="s-old", ticket=Ticket("t-late"), lifetime=50.0)
        assert after.submission == record.submission
        assert after.status is record.status
        assert any("t-late" in event.detail for event in after.events)

    def test_a_late_ticket_is_taken_where_nothing_else_was_bought(self, store: JobStore) -> None:
        """A job of which nothing counts as bought takes the ticket of its earlier submission, and goes on from it."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-old")
        store.withdraw("a", submission_id="s-old", reason="refused")
        settle(store, record, Wait(0.0, "refused"))
        after = store.accept("a", submission_id="s-old", ticket=Ticket("t-late"), lifetime=50.0, service=ALPHA)
        assert (after.status, after.step, after.service) == (Status.RENDERING, Step.POLL, ALPHA)
        assert after.submission.ticket == Ticket("t-late")
        assert store.in_flight(ALPHA) == 1
        assert take(store).step is Step.POLL

    def test_doubt(self, store: JobStore) -> None:
        """A create whose outcome is not known is unknown and keeps its slot; the next step looks it up."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        after = store.doubt("a", submission_id=record.submission.id, reason="time-out")
        assert (after.submission.state, after.step) == (SubmissionState.UNKNOWN, Step.LOOKUP)
        assert store.in_flight(ALPHA) == 1

    def test_withdraw(self, store: JobStore) -> None:
        """A submission that proved to have bought nothing is none; the next step submits anew."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        after = store.withdraw("a", submission_id=record.submission.id, reason="refused")
        assert (after.submission, after.step) == (Submission(), Step.SUBMIT)
        assert intend(store, after, submission_id="s-2").submission.id == "s-2"

    def test_one_refusal_says_nothing_of_a_repeat(self, store: JobStore, clock: ManualClock) -> None:
        """The proof that one create bought nothing withdraws no submission that was sent again, or by somebody else."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-1")
        token = record.lease_token
        assert store.withdraw("a", submission_id="s-1", reason="refused", token="another's") == record
        clock.advance(5)
        again = intend(store, record, submission_id="s-1")
        assert store.withdraw("a", submission_id="s-1", reason="refused", token=token) == again
        assert store.withdraw("a", submission_id="s-1", reason="it knows of none").submission == Submission()

    def test_a_ticket_cannot_be_doubted_or_withdrawn(self, store: JobStore) -> None:
        """Once a ticket is saved nothing takes it away."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)))
        for change in (store.doubt, store.withdraw):
            assert change("a", submission_id=record.submission.id, reason="late news").submission == record.submission

    def test_news_of_another_submission(self, store: JobStore) -> None:
        """Doubt and withdrawal of a submission that the job does not have change nothing."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        for change in (store.doubt, store.withdraw):
            assert change("a", submission_id="s-other", reason="late news") == record


class SpendingSuite(_Suite):
    """`spent`: the sums of what was bought."""

    COST = Cost(usd=0.25, credits=50.0, estimated=False)

    def test_sums_by_day_and_service(self, store: JobStore, clock: ManualClock) -> None:
        """Each ticket counts on the day (UTC) and for the service that sold it, with its price where that is known."""
        clock.set(DAY * 21_000 - 1)  # the last second of 2027-06-30
        store.add(QUEUE, new("a", "b", "c"))
        a, b, c = (take(store, only=name) for name in "abc")
        self.buy(store, intend(store, a))
        self.buy(store, intend(store, b, service=BETA), cost=None)
        clock.advance(1)
        self.buy(store, intend(store, c))
        assert store.spent("") == [
            Spent("2027-06-30", ALPHA, 1, 0.25, 50.0, 0),
            Spent("2027-06-30", BETA, 1, 0.0, 0.0, 1),
            Spent("2027-07-01", ALPHA, 1, 0.25, 50.0, 0),
        ]
        assert store.spent("2027-07-01") == store.spent("")[2:]
        assert store.spent("2027-07-02") == []

    def test_a_ticket_that_comes_twice_counts_once(self, store: JobStore) -> None:
        """However often a ticket is brought, and whatever became of its job, it is one purchase."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-1")
        store.cancel("a")
        for _ in range(3):
            self.buy(store, record)
        assert self.total(store) == (1, 0.25)
        assert store.require("a").cost == self.COST

    def test_a_ticket_of_a_submission_that_was_left_counts_too(self, store: JobStore) -> None:
        """What was bought for a job that had gone on elsewhere is paid all the same: it counts once, for its seller."""
        store.add(QUEUE, new("a", service=AUTO))
        late = intend(store, take(store), submission_id="s-1")
        store.withdraw("a", submission_id="s-1", reason="the service knows nothing of it")
        self.buy(store, intend(store, store.require("a"), service=BETA, submission_id="s-2"))
        for _ in range(2):
            store.accept("a", submission_id="s-1", ticket=Ticket("t-late"), lifetime=9.0, cost=self.COST, service=ALPHA)
        assert [(sum_.service, sum_.videos) for sum_ in store.spent("")] == [(ALPHA, 1), (BETA, 1)]
        assert late.submission.id != store.require("a").submission.id
        assert store.require("a").cost == Cost(usd=0.5, estimated=False)

    def test_what_a_person_found_counts(self, store: JobStore) -> None:
        """A held job that proves to be bought is a purchase, at its seller's price."""
        store.add(QUEUE, [NewJob(a_job("a"), cost=Cost(usd=0.25))])
        settle(store, intend(store, take(store)), Held(FAILURE))
        assert store.spent("") == []
        store.resolve("a", Bought(TICKET, 50.0, Cost(usd=0.75)))
        assert self.total(store) == (1, 0.75)

    def test_a_refused_change_buys_nothing(self, store: JobStore) -> None:
        """What is not written is not summed either."""
        with pytest.raises(JobNotFound):
            store.accept("nobody", submission_id="s", ticket=TICKET, lifetime=9.0, cost=self.COST)
        assert store.spent("") == []

    def test_sums_outlive_their_records(self, store: JobStore, clock: ManualClock) -> None:
        """A record that is trimmed takes nothing out of the sums."""
        store.add(QUEUE, new("a"))
        self.buy(store, intend(store, take(store)))
        settle(store, store.require("a"), Done(VIDEO))
        clock.advance(100 * DAY)
        assert store.trim(Retention()) == 1
        assert self.total(store) == (1, 0.25)

    def test_racing_tickets_are_summed_right(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Twenty tickets at once over several handles, each brought twice, are twenty purchases."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(20))))
        records = [intend(handles[0], record) for record in handles[0].claim(a_claim()).records]
        race(20, lambda index: [self.buy(handles[(index + n) % 4], records[index]) for n in range(2)])
        assert self.total(handles[1]) == (20, 5.0)

    def buy(self, store: JobStore, record: JobRecord, cost: Cost | None = COST) -> JobRecord:
        """Bring the ticket of a submission."""
        return store.accept(record.job_id, submission_id=record.submission.id, ticket=TICKET, lifetime=100.0, cost=cost)

    def total(self, store: JobStore) -> tuple[int, float]:
        """Return how many videos were bought, and for how much."""
        sums = store.spent("")
        return sum(sum_.videos for sum_ in sums), sum(sum_.usd for sum_ in sums)


class LookingSuite(_Suite):
    """Counts and pages."""

    def test_what_comes_next_is_told(self, store: JobStore, clock: ManualClock) -> None:
        """Jobs that are scheduled for a time to come are listed by their time, over all queues, and counted."""
        now = clock.now()
        store.add("local", new("later", due=now + 30.0))
        store.add("local", new("first", due=now + 10.0))
        store.add("other", new("second", due=now + 20.0))
        store.add("local", new("at-once"))
        store.add("local", new("overdue", due=now + 1.0))
        store.add("local", new("taken-back", due=now + 5.0))
        store.cancel("taken-back")
        clock.advance(2.0)
        assert [record.job_id for record in store.coming(10)] == ["first", "second", "later"]
        assert [record.job_id for record in store.coming(2)] == ["first", "second"]
        assert [store.scheduled_before(now + at) for at in (10.0, 20.5, 99.0)] == [0, 2, 3]

    def test_counts_of_an_empty_store(self, store: JobStore) -> None:
        """With no jobs every status counts zero."""
        counts = store.counts()
        assert counts.by_status == dict.fromkeys(Status, 0)
        assert (counts.oldest_due, counts.unfinished) == (None, 0)

    def test_counts_equal_a_count_of_the_records(self, store: JobStore, clock: ManualClock) -> None:
        """After every kind of change the kept counts equal a count of the records, in all queues and in each."""
        for number, status in enumerate((Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.HELD)):
            finished(store, f"f{number}", status)
            check_counts(store)
        store.add("other", [*new("o1"), *new("o2", due=clock.now() + 10)])
        check_counts(store)
        store.add(QUEUE, [*new("q1", "q2"), *new("q3", due=clock.now() + 10)])
        check_counts(store)
        record = accept(store, intend(store, take(store)))
        check_counts(store)
        store.requeue("f1")
        store.trim(Retention(age=0.0))
        check_counts(store)
        settle(store, record, Wait(clock.now() + 5, "rendering"))
        check_counts(store)
        assert store.counts(QUEUE).unfinished == 4
        assert store.counts("nothing").by_status == dict.fromkeys(Status, 0)

    def test_time_alone_makes_a_scheduled_job_a_queued_one(self, store: JobStore, clock: ManualClock) -> None:
        """Counts and filters show a scheduled job as queued from its due time on, without any write."""
        store.add(QUEUE, [*new("a", due=clock.now() + 10), *new("b", due=clock.now() + 20)])
        scheduled, queued = JobFilter(statuses=[Status.SCHEDULED]), JobFilter(statuses=[Status.QUEUED])
        assert (ids(everything(store, scheduled)), ids(everything(store, queued))) == (["b", "a"], [])
        check_counts(store)
        clock.advance(10)
        assert store.counts(QUEUE).by_status[Status.QUEUED] == 1
        check_counts(store)
        assert (ids(everything(store, scheduled)), ids(everything(store, queued))) == (["b"], ["a"])
        take(store)
        check_counts(store)

    def test_oldest_due(self, store: JobStore, clock: ManualClock) -> None:
        """The oldest due time is that of the job that has waited longest; leased and later ones do not count."""
        store.add(QUEUE, [*new("later", due=clock.now() + 60), *new("a")])
        store.add("other", new("o"))
        began = clock.now()
        clock.advance(5)
        store.add(QUEUE, new("b"))
        assert store.counts(QUEUE).oldest_due == began
        take(store)
        assert store.counts(QUEUE).oldest_due == began + 5
        assert store.counts().oldest_due == began
        take(store)
        assert store.counts(QUEUE).oldest_due is None

    def _various(self, store: JobStore, clock: ManualClock) -> None:
        """Fill the store with jobs that differ in all that can be filtered by."""
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
            ({"service": BETA}, lambda r: (r.service or r.job.service) == BETA),
            ({"service": AUTO}, lambda r: (r.service or r.job.service) == AUTO),
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
        """Text is searched for as it is written, in any case of letters of any script."""
        store.add(QUEUE, new("a", topic=topic))
        assert len(store.page(JobFilter(text=text), limit=5).records) == found

    def test_text_finds_ids(self, store: JobStore) -> None:
        """Text is searched for in ids too, in any case."""
        store.add(QUEUE, new("Fox-1_x", "hen-2"))
        assert ids(everything(store, JobFilter(text="fOX-1_"))) == ["Fox-1_x"]

    def test_pages_while_jobs_are_added(self, store: JobStore) -> None:
        """Walking through pages shows every job that was there at the start once, though others are added meanwhile."""
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
        """A page that holds the last record names no next one, also when it is just full."""
        store.add(QUEUE, new("a", "b", "c", "d"))
        first = store.page(JobFilter(), limit=2)
        assert first.cursor is not None
        assert store.page(JobFilter(), limit=2, cursor=first.cursor).cursor is None
        assert store.page(JobFilter(), limit=4).cursor is None
        assert store.page(JobFilter(queue="none"), limit=4) == type(first)((), None)

    @pytest.mark.parametrize("cursor", ["", "x", "-1", "²", "9" * 40, "1; DROP TABLE jobs"])
    def test_a_cursor_that_no_page_gave(self, store: JobStore, cursor: str) -> None:
        """A cursor comes from outside: one that no page gave is bad input that names the field."""
        store.add(QUEUE, new("a"))
        with pytest.raises(InvalidInput) as refusal:
            store.page(JobFilter(), limit=5, cursor=cursor)
        assert refusal.value.field == "cursor"


class QueueAndWorkerSuite(_Suite):
    """Queue states, workers, trimming."""

    def test_a_queue_starts_unset(self, store: JobStore) -> None:
        """A queue on which nothing was set runs with its environment's limits."""
        assert store.queue_state(QUEUE) == QueueState()
        assert store.queue_state(QUEUE).limits(WIDE) == WIDE

    def test_a_queue_state_is_for_all(self, open_store: OpenStore, clock: ManualClock) -> None:
        """What is set on a queue is seen by every handle at once and concerns no other queue."""
        one, two = open_store(clock), open_store(clock)
        set_to = QueueState(paused=True, max_dispatches_per_second=2.5, max_concurrent_dispatches=3)
        assert one.set_queue_state(QUEUE, lambda state: set_to) == set_to
        assert two.queue_state(QUEUE) == set_to
        assert two.queue_state("other") == QueueState()
        two.set_queue_state(QUEUE, lambda state: replace(state, max_dispatches_per_second=None))
        assert one.queue_state(QUEUE) == replace(set_to, max_dispatches_per_second=None)

    def test_racing_changes_of_a_queue_are_all_seen(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Changes of a queue's state at once are applied one after the other; none is lost."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].set_queue_state(QUEUE, lambda state: QueueState(max_concurrent_dispatches=1))

        def more(state: QueueState) -> QueueState:
            return replace(state, max_concurrent_dispatches=(state.max_concurrent_dispatches or 0) + 1)

        race(20, lambda index: handles[index % 4].set_queue_state(QUEUE, more))
        assert handles[0].queue_state(QUEUE).max_concurrent_dispatches == 21

    def test_handing_out_keeps_what_was_set(self, store: JobStore) -> None:
        """Handing out steps does not disturb what was set on the queue, nor the other way round."""
        store.set_queue_state(QUEUE, lambda state: QueueState(max_dispatches_per_second=5.0))
        store.add(QUEUE, new("a", "b"))
        take(store)
        assert store.queue_state(QUEUE) == QueueState(max_dispatches_per_second=5.0)
        store.set_queue_state(QUEUE, lambda state: replace(state, max_concurrent_dispatches=50))
        assert store.claim(a_claim()).records == ()

    def test_signs_of_life(self, store: JobStore, clock: ManualClock) -> None:
        """A worker is alive as long as its last sign of life is within the window, in its own queue."""
        info = WorkerInfo("w-1", QUEUE, "host", 42, 3, started_at=clock.now(), steps=5)
        store.beat(info)
        store.beat(replace(info, id="w-2", queue="other"))
        assert list(store.workers(QUEUE, within=30)) == [replace(info, seen_at=clock.now())]
        clock.advance(20)
        store.beat(replace(info, steps=9))
        clock.advance(30)
        assert [(worker.id, worker.steps) for worker in store.workers(QUEUE, within=30)] == [("w-1", 9)]
        clock.advance(1)
        assert list(store.workers(QUEUE, within=30)) == []

    def test_a_worker_that_ended_is_forgotten(self, store: JobStore, clock: ManualClock) -> None:
        """A worker that says goodbye is not alive any more, and saying it twice is harmless."""
        store.beat(WorkerInfo("w-1", QUEUE, "host", 42, 3, clock.now()))
        store.forget_worker("w-1")
        store.forget_worker("w-1")
        assert list(store.workers(QUEUE, within=30)) == []

    def test_old_finished_records_are_removed(self, store: JobStore, clock: ManualClock) -> None:
        """Succeeded and cancelled records go when they are older than their age; unfinished ones stay."""
        store.add(QUEUE, new("waiting"))
        finished(store, "old-done", Status.SUCCEEDED)
        finished(store, "old-cancelled", Status.CANCELLED)
        clock.advance(10 * DAY)
        finished(store, "young", Status.SUCCEEDED)
        assert store.trim(Retention(age=10 * DAY)) == 0
        clock.advance(1)
        assert store.trim(Retention(age=10 * DAY)) == 2
        assert ids(everything(store)) == ["young", "waiting"]
        check_counts(store)

    def test_failed_and_held_records_are_kept(self, store: JobStore, clock: ManualClock) -> None:
        """What a person must deal with is kept, however old and however many."""
        for number in range(3):
            finished(store, f"f{number}", Status.FAILED)
            finished(store, f"h{number}", Status.HELD)
        clock.advance(1000 * DAY)
        assert store.trim(Retention(age=DAY, count=0)) == 0
        assert len(everything(store)) == 6

    def test_records_beyond_the_count_are_removed(self, store: JobStore, clock: ManualClock) -> None:
        """Of more finished records than may be kept, those that finished first go."""
        for number in range(6):
            finished(store, f"j{number}", Status.SUCCEEDED if number % 2 else Status.CANCELLED)
            clock.advance(1)
        assert store.trim(Retention(count=4)) == 2
        assert ids(everything(store)) == ["j5", "j4", "j3", "j2"]
        assert store.trim(Retention(count=4)) == 0

    def test_thousands_are_removed_in_one_call(self, store: JobStore, clock: ManualClock) -> None:
        """One call removes all that need not be kept, however many."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(2300))))
        assert store.cancel_waiting(QUEUE, 5000) == 2300
        assert store.trim(Retention(count=100)) == 2200
        assert ids(everything(store)) == [f"j{number}" for number in reversed(range(2200, 2300))]
        check_counts(store)

    def test_a_trimmed_id_is_known_for_a_while(self, store: JobStore, clock: ManualClock) -> None:
        """The id of a removed record adds nothing for 32 days, and is a new one afterwards."""
        finished(store, "a", Status.SUCCEEDED)
        assert store.trim(Retention(count=0)) == 1
        assert store.get("a") is None
        clock.advance(32 * DAY - 1)
        store.trim(Retention())
        assert store.add(QUEUE, new("a")) == Added(new=(), known=("a",))
        clock.advance(2)
        store.trim(Retention())
        assert store.add(QUEUE, new("a")) == Added(new=("a",), known=())


class TimeSuite(_Suite):
    """The store's own time."""

    def test_time_follows_the_clock(self, store: JobStore, clock: ManualClock) -> None:
        """While the clock goes forwards the store's time is the clock's."""
        assert store.now() == clock.now()
        clock.advance(12.5)
        assert store.now() == clock.now()

    def test_time_goes_on_when_the_clock_steps_back(self, store: JobStore, clock: ManualClock) -> None:
        """A clock that steps backwards does not take the store with it: it goes on at half speed until caught up."""
        clock.advance(100)
        store.add(QUEUE, new("a"))
        said = store.now()
        clock.advance(-50)
        assert store.now() == said
        store.add(QUEUE, new("b"))
        assert store.require("b").added_at == said
        clock.advance(50)
        assert store.now() == said + 25
        clock.advance(50)
        assert store.now() == said + 50 == clock.now()
        clock.advance(1)
        assert store.now() == clock.now()

    def test_time_that_was_only_read_stands_too(self, store: JobStore, clock: ManualClock) -> None:
        """The store never says an earlier time than it said before, also where nothing was written in between."""
        said = store.now()
        clock.advance(100)
        assert store.now() == said + 100
        clock.advance(-50)
        assert store.now() == said + 100

    def test_time_is_shared(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Of two handles with different clocks, the later one's writes set the time of both."""
        ahead, behind = open_store(ManualClock(clock.now() + 500)), open_store(clock)
        ahead.add(QUEUE, new("a"))
        assert behind.now() == clock.now() + 500
        assert take(behind).lease is not None
        behind.add(QUEUE, new("b"))
        assert behind.require("b").added_at == clock.now() + 500

    def test_time_outlives_the_handle(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Reopened with a clock that is behind, the store's time goes on from where it was."""
        store = open_store(clock)
        store.add(QUEUE, new("a"))
        said = store.now()
        store.close()
        assert open_store(ManualClock(said - 1000)).now() == said

    def test_a_step_back_hands_out_nothing_early_and_loses_nothing(self, store: JobStore, clock: ManualClock) -> None:
        """While the clock is behind, due jobs are handed out, leases hold, later jobs wait, and none for ever."""
        store.add(QUEUE, [*new("a", "b"), *new("later", due=clock.now() + 10)])
        take(store)
        clock.advance(-1000)
        claim = store.claim(a_claim())
        assert ids(claim.records) == ["b"]
        clock.advance(19)
        assert store.claim(a_claim()).records == ()
        clock.advance(2)
        assert ids(store.claim(a_claim()).records) == ["later"]


class WaitingSuite(_Suite):
    """`revision` and `wait`. Threads are joined with a bound, so a lost wake-up fails and does not hang."""

    def _waits(self, store: JobStore, between: Callable[[], None] = lambda: None) -> tuple[threading.Thread, Event]:
        """Start a thread that takes a revision, calls `between` and waits; return it once it waits or is about to."""
        wake, ready = Event(), Event()

        def run() -> None:
            revision = store.revision()
            between()
            ready.set()
            store.wait(revision, timeout=1000.0, wake=wake)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert ready.wait(STUCK)
        return thread, wake

    def _ended(self, thread: threading.Thread, wake: Event) -> bool:
        thread.join(STUCK)
        ended = not thread.is_alive()
        wake.set()
        thread.join(STUCK)
        return ended

    def test_a_change_by_another_handle_ends_a_wait(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Who waits is woken by a job that another process adds."""
        mine, other = open_store(clock), open_store(clock)
        thread, wake = self._waits(mine)
        other.add(QUEUE, new("a"))
        assert self._ended(thread, wake)

    def test_a_change_by_another_thread_ends_a_wait(self, store: JobStore) -> None:
        """Who waits is woken by a change that another thread makes through the same handle."""
        store.add(QUEUE, new("a"))
        thread, wake = self._waits(store)
        store.cancel("a")
        assert self._ended(thread, wake)

    def test_no_change_is_missed_between_revision_and_wait(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A change after `revision` and before `wait` ends the wait at once."""
        mine, other = open_store(clock), open_store(clock)
        thread, wake = self._waits(mine, between=lambda: _check(other.add(QUEUE, new("a")).new == ("a",)))
        assert self._ended(thread, wake)

    @pytest.mark.parametrize(
        "change",
        [
            lambda store: store.cancel("a"),
            lambda store: store.set_queue_state(QUEUE, lambda state: replace(state, paused=True)),
            lambda store: store.claim(a_claim()),
        ],
        ids=["cancel", "pause", "claim"],
    )
    def test_every_kind_of_change_counts(
        self, open_store: OpenStore, clock: ManualClock, change: Callable[[JobStore], object]
    ) -> None:
        """Not only new jobs end a wait, but every change that may concern a worker."""
        mine, other = open_store(clock), open_store(clock)
        other.add(QUEUE, new("a"))
        thread, wake = self._waits(mine)
        change(other)
        assert self._ended(thread, wake)

    def test_wake_ends_a_wait(self, store: JobStore) -> None:
        """Setting `wake` ends a wait at once, also when it was set before."""
        thread, wake = self._waits(store)
        wake.set()
        assert self._ended(thread, wake)
        store.wait(store.revision(), timeout=1000.0, wake=wake)

    def test_a_wait_is_bounded_and_waits(self, store: JobStore) -> None:
        """Without a change a wait lasts its time-out, so an idle worker does not spin."""
        began = time.monotonic()
        store.wait(store.revision(), timeout=0.2, wake=Event())
        assert time.monotonic() - began >= 0.19

    def test_reading_is_no_change(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Looking, and claiming where nothing is due, wakes nobody."""
        mine, other = open_store(clock), open_store(clock)
        revision = mine.revision()
        other.claim(a_claim())
        other.counts()
        other.page(JobFilter(), limit=5)
        other.now()
        other.queue_state(QUEUE)
        assert mine.revision() == revision


class DurabilitySuite(_Suite):
    """What was written is there after closing."""

    def test_everything_outlives_the_handle(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Records, counts, slots, queue states and known ids are the same after closing and opening again."""
        store = open_store(clock)
        for number, status in enumerate((Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.HELD)):
            finished(store, f"f{number}", status)
        finished(store, "trimmed", Status.SUCCEEDED)
        store.trim(Retention(count=2))
        store.add(QUEUE, [*new("a", "b"), *new("later", due=clock.now() + 10)])
        accept(store, intend(store, take(store)))
        state = store.set_queue_state(QUEUE, lambda state: QueueState(True, 3.0, 4))
        before, counts, in_flight = everything(store), store.counts(), store.in_flight(ALPHA)
        store.close()
        again = open_store(clock)
        assert everything(again) == before
        assert (again.counts(), again.in_flight(ALPHA), again.queue_state(QUEUE)) == (counts, in_flight, state)
        gone = ({f"f{n}" for n in range(4)} | {"trimmed"}) - set(ids(before))
        assert len(gone) == 1
        assert again.add(QUEUE, new(*gone)).new == ()

    def test_a_lease_outlives_the_handle(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A worker's lease holds when another process opens and closes the store, and so does its token."""
        mine = open_store(clock)
        mine.add(QUEUE, new("a"))
        record = take(mine)
        other = open_store(clock)
        assert other.claim(a_claim()).records == ()
        other.close()
        settle(mine, record, Retry(clock.now(), FAILURE))

    def test_closing_twice_is_harmless(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A closed store may be closed again."""
        store = open_store(clock)
        store.close()
        store.close()

    def test_handles_that_open_a_new_place_at_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Many processes may open a place that is not there yet at the same moment; all of them can use it."""

        def act(index: int) -> tuple[str, ...]:
            return open_store(clock).add(QUEUE, new(f"j{index}")).new

        assert race(12, act) == [(f"j{index}",) for index in range(12)]


class StoreSuite(
    AddingSuite,
    ClaimingSuite,
    SlotSuite,
    DispatchSuite,
    AskingAgainSuite,
    LeaseSuite,
    SettlingSuite,
    JournalSuite,
    SpendingSuite,
    LookingSuite,
    QueueAndWorkerSuite,
    TimeSuite,
    WaitingSuite,
    DurabilitySuite,
):
    """Every promise of `store.base.JobStore`."""


def _check(condition: bool) -> None:
    assert condition
