"""A job store under random sequences of calls on two handles, checked after each call against its earlier records.

A store's test module subclasses `StoreMachine`, implements `open_store`, and passes `TestCase` to the test runner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import ActionRefused, FlowError, LeasedElsewhere, LeaseLost, SlotsBusy
from tenxsom_flow_engine.jobs import (
    AUTO,
    FINAL,
    TRANSITIONS,
    JobRecord,
    Lease,
    Status,
    SubmissionState,
    Ticket,
    lifecycle,
)
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.lifecycle import MAX_EXPIRIES
from tenxsom_flow_engine.jobs.outcomes import (
    ConfirmedPurchase,
    Dead,
    Done,
    GiveUp,
    Held,
    Outcome,
    Resolution,
    Resubmit,
    Retry,
    Wait,
    Withdraw,
)
from tenxsom_flow_engine.jobs.purchases import entered_by_hand
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.totals import EVER, HOUR
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, TICKET, VIDEO, a_claim, a_job
from tests.contract.store_suite.shared import check_counts, everything

#: Slots of each service at an intent.
SLOTS = 2
#: The queue of a queue backend that pushes.
PUSHED = "cloud_tasks"
#: Few ids, so that operations often meet the same job.
IDS = [f"j{number}" for number in range(8)]
#: An operator's possible resolutions of an unknown create.
DECISIONS: list[Resolution] = [Resubmit(), ConfirmedPurchase(TICKET, 100.0), GiveUp(), Withdraw()]

Seen = dict[str, JobRecord]
_delays = st.sampled_from([0.0, 1.0, 29.0, 31.0, 200.0])
_handles = st.integers(0, 1)
_picks = st.integers(0, 1000)
_kinds = st.sampled_from(["done", "wait", "rendered", "retry", "dead", "gone", "held", "wrong"])


class StoreMachine(RuleBasedStateMachine):
    """Keeps the records seen after the last operation; every rule says which jobs it can have changed, and how."""

    def open_store(self, clock: Clock) -> JobStore:
        """Open one more handle on this example's store, which starts empty."""
        raise AssertionError("the store's test module implements open_store")

    @initialize()
    def _open(self) -> None:
        self.clocks = [ManualClock(), ManualClock()]
        self.handles = [self.open_store(clock) for clock in self.clocks]
        # Start with jobs, so that few operations already reach deep states.
        self.added: set[str] = set(IDS[:4])
        self.handles[0].add(QUEUE, [NewJob(a_job(name)) for name in IDS[:4]])
        self.paused = False
        self.seen: Seen = {}
        #: Number of finished jobs by status.
        self.ended: Counter[str] = Counter()
        self._compare(set())
        #: Every lease ever given, so that stale owners act too.
        self.leased: list[JobRecord] = []
        #: Every submission ever intended: job, submission id and service.
        self.intended: list[tuple[str, str, str]] = []

    def teardown(self) -> None:
        """Close both handles."""
        for handle in getattr(self, "handles", []):
            handle.close()

    @rule(handle=_handles, names=st.lists(st.sampled_from(IDS), max_size=4), delay=_delays,
          service=st.sampled_from([ALPHA, BETA, AUTO]))  # fmt: skip
    def add(self, handle: int, names: list[str], delay: float, service: str) -> None:
        """Add jobs, some of them known."""
        store = self.handles[handle]
        due = store.now() + delay
        added = store.add(QUEUE, [NewJob(a_job(name, service=service), due) for name in names])
        assert set(added.new) == set(names) - self.added
        assert len(added.new) + len(added.known) == len(names)
        self.added |= set(names)
        self._compare(set(added.new))

    @rule(handle=_handles, count=st.integers(1, 6))
    def claim(self, handle: int, count: int) -> None:
        """Claim without limits: exactly the due jobs are leased, in order, and `again_at` is exact."""
        store = self.handles[handle]
        now = store.now()
        expected = [] if self.paused else self._claimable(now)
        claim = store.claim(a_claim(count=count))
        assert [record.job_id for record in claim.records] == expected[:count]
        self.leased += claim.records
        expired = {record.job_id for record in self._pulled() if record.lease and record.lease.until <= now}
        self._compare({record.job_id for record in claim.records} | expired)
        if not claim.records:
            instants = [record.lease.until for record in self._pulled() if record.lease]
            instants += [record.due for record in self._pulled() if record.due is not None]
            assert claim.again_at == (None if self.paused else min(instants, default=None))

    @rule(handle=_handles, count=st.integers(1, 6), slots=st.integers(0, SLOTS))
    def claim_within_slots(self, handle: int, count: int, slots: int) -> None:
        """Claim for a worker with few slots: only claimable jobs, and no more of a service than its slots."""
        store = self.handles[handle]
        now = store.now()
        expected = [] if self.paused else self._claimable(now)
        expired = {record.job_id for record in self._pulled() if record.lease and record.lease.until <= now}
        claim = store.claim(a_claim(count=count, slots={ALPHA: slots, BETA: slots}))
        taken = [record.job_id for record in claim.records]
        assert set(taken) <= set(expected)
        assert len(taken) == len(set(taken)) <= count
        for service in (ALPHA, BETA):
            submitting = [record for record in claim.records if record.lane == service]
            assert not submitting or len(submitting) + store.in_flight(service) <= slots
        self.leased += claim.records
        self._compare(set(taken) | expired)

    @precondition(lambda self: self.leased)
    @rule(handle=_handles, pick=_picks, kind=_kinds, delay=_delays)
    def settle(self, handle: int, pick: int, kind: str, delay: float) -> None:
        """Settle a delivery with any outcome, possibly after its lease was lost."""
        store = self.handles[handle]
        until = store.now() + delay
        outcomes: dict[str, Outcome] = {
            "done": Done(VIDEO), "wait": Wait(until, "waiting", worked=bool(delay)), "retry": Retry(until, FAILURE),
            "rendered": Wait(until, "rendered", rendered=True), "dead": Dead(FAILURE), "held": Held(FAILURE),
            "wrong": Held(FAILURE, wrong_ticket=True),
            "gone": Dead(FAILURE, generation_failed=True),
        }  # fmt: skip
        self._as_owner(pick, lambda record: store.settle(record.job_id, record.lease_token, outcomes[kind]))

    @precondition(lambda self: self.leased)
    @rule(handle=_handles, pick=_picks)
    def release_lease(self, handle: int, pick: int) -> None:
        """Release a lease."""
        self._as_owner(pick, lambda record: self.handles[handle].release_lease(record.job_id, record.lease_token))

    @precondition(lambda self: self.leased)
    @rule(handle=_handles, pick=_picks, service=st.sampled_from([ALPHA, BETA]), repeat=st.booleans(), lifetime=_delays)
    def intend(self, handle: int, pick: int, service: str, repeat: bool, lifetime: float) -> None:
        """Journal an intent; the limit of in-flight generations holds at that moment."""
        store = self.handles[handle]
        mine = self._pick(pick)
        known = self.seen[mine.job_id].submission.id
        submission_id = known if repeat and known else f"{mine.job_id}.{mine.seq}"
        before = self._in_flight(service, store.now(), beside=mine.job_id)

        def act(record: JobRecord) -> JobRecord:
            return store.intend(record.job_id, record.lease_token, Intent(submission_id=submission_id, service=service,
                                lifetime=lifetime + 1.0, max_in_flight=SLOTS))  # fmt: skip

        result = self._as_owner(pick, act)
        if isinstance(result, JobRecord):
            assert before < SLOTS
            assert store.in_flight(service) == before + 1 <= SLOTS
            self.intended.append((result.job_id, submission_id, service))
        elif isinstance(result, SlotsBusy):
            assert before >= SLOTS

    @precondition(lambda self: self.intended)
    @rule(handle=_handles, pick=_picks, lifetime=_delays)
    def accept(self, handle: int, pick: int, lifetime: float) -> None:
        """Save a ticket, by any worker at any time: never refused, never lost."""
        name, submission_id, service = self.intended[pick % len(self.intended)]
        before = self.seen[name]
        ticket = Ticket(f"t-{submission_id}")
        after = self.handles[handle].accept(
            name, Receipt(submission_id=submission_id, ticket=ticket, lifetime=lifetime, service=service)
        )
        news = all(purchase.submission != submission_id for purchase in before.purchases)
        if before.submission.id == submission_id or (news and before.submission.state is SubmissionState.NONE):
            assert after.submission.state is SubmissionState.ACCEPTED
            assert after.submission.ticket == ticket
        else:
            assert after.submission == before.submission
            assert any(ticket.id in event.detail for event in after.events)
        if before.status in FINAL:
            assert after.status is before.status
        self._compare({name})

    @precondition(lambda self: self.intended)
    @rule(handle=_handles, pick=_picks, proof=st.booleans())
    def mark_unknown_or_clear(self, handle: int, pick: int, proof: bool) -> None:
        """Mark a create unknown, or clear it with proof that it bought nothing; a ticket stays."""
        name, submission_id, _ = self.intended[pick % len(self.intended)]
        before = self.seen[name]
        store = self.handles[handle]
        after = (store.clear_submission if proof else store.mark_unknown)(
            name, submission_id=submission_id, reason="news"
        )
        if before.submission.id != submission_id or before.submission.state is SubmissionState.ACCEPTED:
            assert after == before
        elif proof:
            assert after.submission.state is SubmissionState.NONE
        else:
            assert after.submission.state is SubmissionState.UNKNOWN
        self._compare({name})

    @precondition(lambda self: self.leased)
    @rule(handle=_handles, pick=_picks, duration=st.sampled_from([10.0, 50.0]))
    def renew(self, handle: int, pick: int, duration: float) -> None:
        """Renew a lease; a lost one is reported and changes nothing."""
        mine = self._pick(pick)
        store = self.handles[handle]
        lost = store.renew({mine.job_id: mine.lease_token}, duration)
        before = self.seen[mine.job_id]
        owner = before.lease is not None and before.lease.token == mine.lease_token
        assert set(lost) == (set() if owner else {mine.job_id})
        self._compare({mine.job_id} if owner else set())
        lease = self.seen[mine.job_id].lease
        if owner:
            assert lease is not None
            assert lease.until == store.now() + duration

    @rule(handle=_handles, name=st.sampled_from(IDS))
    def cancel(self, handle: int, name: str) -> None:
        """Cancel a job."""
        if name in self.added:
            final = self.seen[name].status in FINAL
            after = self._change(name, self.handles[handle].cancel)
            assert isinstance(after, ActionRefused) is final

    @rule(handle=_handles, name=st.sampled_from(IDS))
    def retry(self, handle: int, name: str) -> None:
        """Retry a job, unless it might be paid and this is unknown."""
        if name in self.added:
            before = self.seen[name]
            after = self._change(name, self.handles[handle].retry, requeues=True)
            known = before.submission.state is not SubmissionState.UNKNOWN
            assert isinstance(after, JobRecord) is (known and before.status in (Status.FAILED, Status.CANCELLED))
            if isinstance(after, JobRecord) and before.submission.ticket and not before.submission.failed:
                assert after.submission == before.submission

    @rule(handle=_handles, name=st.sampled_from(IDS), decision=st.sampled_from(DECISIONS))
    def resolve(self, handle: int, name: str, decision: Resolution) -> None:
        """Resolve an unknown create that no worker is looking up."""
        if name in self.added:
            before = self.seen[name]
            withdraws, store = isinstance(decision, Withdraw), self.handles[handle]
            after = self._change(name, lambda name: store.resolve(name, decision), requeues=not withdraws)
            in_question = before.submission.state is SubmissionState.UNKNOWN or lifecycle.can_be_corrected(before)
            allowed = before.status is Status.HELD or not isinstance(decision, GiveUp)
            possible = in_question and before.lease is None and allowed
            assert isinstance(after, JobRecord) is (bool(entered_by_hand(before)) if withdraws else possible)

    @rule(handle=_handles, limit=st.integers(1, 3))
    def purge(self, handle: int, limit: int) -> None:
        """Cancel waiting jobs that certainly bought nothing."""
        waiting = {record.job_id for record in self._pulled() if record.due is not None and not _may_be_bought(record)}
        assert self.handles[handle].cancel_waiting(QUEUE, limit) == min(limit, len(waiting))
        self._compare(waiting)

    @rule(handle=_handles, name=st.sampled_from(IDS))
    def move(self, handle: int, name: str) -> None:
        """Move a job to the other queue backend: only a waiting one moves, and nothing else of it changes."""
        if name in self.added:
            before = self.seen[name]
            target = PUSHED if before.queue == QUEUE else QUEUE

            def change(record: JobRecord, now: float) -> JobRecord:
                return lifecycle.move(record, record.queue, target, now)

            after = self._change(name, lambda name: self.handles[handle].update(name, change))
            assert isinstance(after, JobRecord) is (before.due is not None)
            if isinstance(after, JobRecord):
                assert (after.queue, after.due, after.submission) == (target, before.due, before.submission)

    @rule(handle=_handles, name=st.sampled_from(IDS), older=st.integers(0, 1))
    def receive(self, handle: int, name: str, older: int) -> None:
        """Deliver a pushed job: its current delivery leases it, once, and any other changes nothing."""
        if name not in self.added or self.seen[name].seq < older:
            return
        before, store = self.seen[name], self.handles[handle]
        delivery = Delivery.of(msgspec.structs.replace(before, seq=before.seq - older))
        live = before.lease is not None and before.lease.until > store.now()
        over = before.due is None and before.lease is None
        token = f"push-{len(self.leased)}"

        def change(record: JobRecord, now: float) -> JobRecord:
            return lifecycle.receive(record, delivery, PUSHED, Lease(token, "w-p", now + 30), now)

        after = self._change(name, lambda name: store.update(name, change), takes_over=True)
        assert isinstance(after, JobRecord) is (before.queue == PUSHED and not older and not live and not over)
        if isinstance(after, JobRecord) and after.lease is not None:
            self.leased.append(after)

    @rule(handle=_handles, names=st.lists(st.sampled_from(IDS), max_size=3))
    def mark(self, handle: int, names: list[str]) -> None:
        """Mark deliveries as dispatched."""
        deliveries = {name: self.seen[name].seq for name in names if name in self.added}
        self.handles[handle].mark_dispatched(deliveries)
        self._compare(set(deliveries))
        assert not any(self.seen[name].undispatched for name in deliveries)

    @rule(handle=_handles, paused=st.booleans())
    def pause(self, handle: int, paused: bool) -> None:
        """Pause or resume the queue, visible to both handles."""
        self.handles[handle].set_queue_state(QUEUE, lambda state: replace(state, paused=paused))
        self.paused = paused
        assert all(handle.queue_state(QUEUE).paused is paused for handle in self.handles)

    @rule(which=_handles, seconds=st.sampled_from([-100.0, -1.0, 0.5, 10.0, 31.0, 300.0]))
    def move_clock(self, which: int, seconds: float) -> None:
        """Move the clock of one machine, also back."""
        self.clocks[which].advance(seconds)

    @rule(which=_handles)
    def reopen(self, which: int) -> None:
        """Close a handle and open it again: everything is unchanged."""
        self.handles[which].close()
        self.handles[which] = self.open_store(self.clocks[which])
        self._compare(set())

    @invariant()
    def _nothing_is_lost(self) -> None:
        assert set(self.seen) == self.added

    @invariant()
    def _counts_are_right(self) -> None:
        for handle in self.handles:
            check_counts(handle)

    @invariant()
    def _who_is_overdue_is_known(self) -> None:
        store = self.handles[0]
        now = store.now()
        for queue in (QUEUE, PUSHED):
            mine = [record for record in self.seen.values() if record.queue == queue]
            late = {r.job_id for r in mine if r.due is not None and r.due < now}
            late |= {r.job_id for r in mine if r.lease is not None and r.lease.until < now}
            assert {record.job_id for record in store.overdue(queue, now, 100)} == late

    @invariant()
    def _slots_are_right(self) -> None:
        for handle in self.handles:
            for service in (ALPHA, BETA):
                assert handle.in_flight(service) == self._in_flight(service, handle.now())

    @invariant()
    def _sums_are_right(self) -> None:
        purchases = Counter(purchase.service for record in self.seen.values() for purchase in record.purchases)
        for handle in self.handles:
            assert {sum_.service: sum_.videos for sum_ in handle.spent("")} == purchases
            for kind in (HOUR, EVER):
                ended: Counter[str] = Counter()
                for one in handle.totals(kind):
                    ended[one.name] += int(one.amount) if one.name in FINAL else 0
                assert ended == self.ended

    @invariant()
    def _records_are_whole(self) -> None:
        for record in self.seen.values():
            # A job waits for a worker, is leased, or waits for no worker: exactly one of the three.
            waiting, with_worker = record.due is not None, record.lease is not None
            assert not (waiting and with_worker)
            assert record.queue == PUSHED or not record.undispatched
            assert (waiting or with_worker) is (record.status not in FINAL | {Status.HELD})
            assert (record.status in FINAL) is (record.finished_at is not None)
            assert (record.submission.ticket is not None) is (record.submission.state is SubmissionState.ACCEPTED)
            if record.status is Status.SUCCEEDED:
                assert record.result is not None

    def _pulled(self) -> list[JobRecord]:
        """Return the jobs of the queue that workers pull from."""
        return [record for record in self.seen.values() if record.queue == QUEUE]

    def _pick(self, pick: int) -> JobRecord:
        """Return one of the leases ever given, most often the latest."""
        return self.leased[-1 - pick % min(len(self.leased), 12)]

    def _claimable(self, now: float) -> list[str]:
        """Return the jobs that a worker without limits should lease now, in order."""
        due: list[tuple[bool, float, int, str]] = []
        order = list(self.seen)[::-1]
        for record in self._pulled():
            name, ticket = record.job_id, _may_be_bought(record)
            if record.lease is not None and record.lease.until <= now:
                if record.expiries + 1 < MAX_EXPIRIES:
                    due.append((not ticket, now, order.index(name), name))
            elif record.due is not None and record.due <= now:
                due.append((not ticket, record.due, order.index(name), name))
        return [name for *_, name in sorted(due)]

    def _in_flight(self, service: str, now: float, *, beside: str = "") -> int:
        return sum(
            record.holds_slot and record.service == service and record.submission.deadline > now and name != beside
            for name, record in self.seen.items()
        )

    def _as_owner(self, pick: int, act: Callable[[JobRecord], JobRecord]) -> JobRecord | FlowError:
        """Act with a lease; only its current owner may, and others change nothing."""
        mine = self._pick(pick)
        lease = self.seen[mine.job_id].lease
        owner = lease is not None and lease.token == mine.lease_token
        result = self._change(mine.job_id, lambda _: act(mine))
        assert isinstance(result, LeaseLost) is not owner
        return result

    def _change(
        self, name: str, act: Callable[[str], JobRecord], *, requeues: bool = False, takes_over: bool = False
    ) -> JobRecord | FlowError:
        """Change a job; a refused change writes nothing."""
        try:
            result: JobRecord | FlowError = act(name)
        except (LeaseLost, LeasedElsewhere, ActionRefused, SlotsBusy) as refusal:
            result = refusal
        self._compare({name} if isinstance(result, JobRecord) else set(), requeues=requeues, takes_over=takes_over)
        if isinstance(result, JobRecord):
            assert self.seen[name] == result
        return result

    def _compare(self, touched: set[str], *, requeues: bool = False, takes_over: bool = False) -> None:
        """Read all records through both handles and check how they changed since the last read."""
        before, self.seen = self.seen, {record.job_id: record for record in everything(self.handles[0])}
        assert self.seen == {record.job_id: record for record in everything(self.handles[1])}
        for name, old in before.items():
            fresh = self.seen[name]
            if name not in touched:
                assert fresh == old
                continue
            assert fresh.status in _reachable(old.status)
            if fresh.status in FINAL and old.status not in FINAL:
                self.ended[str(fresh.status)] += 1
            assert fresh.nonce == old.nonce
            assert fresh.updated_at >= old.updated_at
            if old.status in FINAL and not requeues:
                assert fresh.status is old.status
            assert fresh.seq >= old.seq
            if old.lease is not None and _token(fresh) != _token(old):
                # A push queue backend delivers again to another worker.
                assert fresh.seq > old.seq or (takes_over and fresh.seq == old.seq and fresh.expiries > old.expiries)
            if old.submission.ticket is not None and not requeues:
                assert fresh.submission.ticket == old.submission.ticket


def _may_be_bought(record: JobRecord) -> bool:
    return record.submission.state is not SubmissionState.NONE


def _token(record: JobRecord) -> str | None:
    return record.lease.token if record.lease else None


def _reachable(status: Status) -> set[Status]:
    """Return the states after at most two changes: one call can end an expired lease and lease the job again."""
    once = {status, *TRANSITIONS[status]}
    return once | {after for between in once for after in TRANSITIONS[between]}
