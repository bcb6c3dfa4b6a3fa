"""Tests of the budgets: amounts are reserved at the intent, and end as spent or returned."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from tenxsom_flow_engine.budgets import ALL, Amounts, Budget, Span, parse_budget, to_micro_usd
from tenxsom_flow_engine.budgets.limits import period
from tenxsom_flow_engine.errors import BudgetSpent, StartMissed
from tenxsom_flow_engine.jobs import Charge, Cost, Failure, JobRecord, Status, Submission, SubmissionState, Ticket
from tenxsom_flow_engine.jobs.codec import decode_delivery, encode
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.lifecycle import add, adopt, edit, hold_after_restore, rewind
from tenxsom_flow_engine.jobs.outcomes import ConfirmedPurchase, Dead, Expired, GiveUp, Held, Resubmit, Terms, Withdraw
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, TICKET, a_job, new
from tests.contract.store_suite.pushing import PUSHED
from tests.contract.store_suite.shared import DAY, OpenStore, Suite, race, take

#: A Monday, 2027-07-05, at noon UTC.
MONDAY_NOON = 21_004 * DAY + 43_200


class BudgetSuite(Suite):
    """`intend` with budgets, and what becomes of the reserved amounts."""

    def test_a_create_above_the_budget_is_refused(self, store: JobStore, clock: ManualClock) -> None:
        """An amount that does not fit is refused with the instant of the reset, and the record stays as it is."""
        clock.set(MONDAY_NOON)
        store.set_budget(ALL, parse_budget(ALL, "1/d"))
        self.reserve(store, "a", 0.75)
        before = self.leased(store, "b")
        with pytest.raises(BudgetSpent) as refusal:
            self.intend(store, before, 0.26)
        assert refusal.value.resets_at == MONDAY_NOON + DAY / 2
        assert (refusal.value.scope, refusal.value.micro_usd, refusal.value.at) == (ALL, 260_000, clock.now())
        assert store.require("b") == before
        assert store.in_flight(ALPHA) == 1
        self.intend(store, before, 0.25)
        assert self.used(store) == Amounts(reserved=1_000_000)

    def test_all_matching_budgets_are_charged(self, store: JobStore) -> None:
        """The tightest of the budgets that match the channel and the service decides, and others are not charged."""
        for text in ("all 10/d", "channel:sea 1/d", "service:beta 2/d"):
            scope, _, limits = text.partition(" ")
            store.set_budget(scope, parse_budget(scope, limits))
        self.reserve(store, "a", 1.0, channel="sea")
        self.refused(store, "b", 0.5, channel="sea")
        self.reserve(store, "c", 1.5, channel="sky", service=BETA)
        self.refused(store, "d", 1.0, channel="sky", service=BETA)
        self.reserve(store, "e", 7.5, channel="sky")
        self.refused(store, "f", 0.000001, channel="sky")
        assert [self.used(store, scope).used for scope in ("all", "channel:sea", "channel:sky", "service:beta")] == [
            10_000_000, 1_000_000, 9_000_000, 1_500_000
        ]  # fmt: skip

    def test_the_later_reset_is_named(self, store: JobStore, clock: ManualClock) -> None:
        """Where several budgets have no room, the one that is reset last is named."""
        clock.set(MONDAY_NOON)
        store.set_budget("channel:sea", parse_budget("channel:sea", "1/d 3/w"))
        store.set_budget(ALL, parse_budget(ALL, "1/d"))
        self.reserve(store, "a", 1.0, channel="sea")
        assert self.refused(store, "b", 1.0, channel="sea").resets_at == MONDAY_NOON + DAY / 2
        refusal = self.refused(store, "c", 2.5, channel="sea")
        assert (refusal.scope, refusal.resets_at) == ("channel:sea", MONDAY_NOON + 6.5 * DAY)
        assert set(refusal.scopes) == {ALL, "channel:sea"}

    def test_a_ticket_turns_it_into_spent(self, store: JobStore) -> None:
        """The ticket books the cost that the service reported; the rest of the reservation is free again."""
        store.set_budget(ALL, parse_budget(ALL, "1/d"))
        record = self.reserve(store, "a", 1.0)
        self.accept(store, record, 0.4)
        self.accept(store, record, 0.4)
        assert self.used(store) == Amounts(spent=400_000)
        self.reserve(store, "b", 0.6)
        assert self.used(store) == Amounts(reserved=600_000, spent=400_000)

    def test_a_ticket_without_a_price_spends_the_reservation(self, store: JobStore) -> None:
        """A purchase whose price is unknown counts at what was reserved."""
        self.accept(store, self.reserve(store, "a", 0.3), None)
        assert self.used(store) == Amounts(spent=300_000)

    def test_a_ticket_of_the_next_day_counts_on_the_day_of_the_intent(
        self, store: JobStore, clock: ManualClock
    ) -> None:
        """The amount stays in the period in which it was reserved."""
        record = self.reserve(store, "a", 0.3)
        yesterday = period(Span.DAY, "UTC", clock.now())
        clock.advance(DAY)
        self.accept(store, record, 0.2)
        assert store.amounts([(ALL, yesterday)]) == [Amounts(spent=200_000)]
        assert self.used(store) == Amounts()

    def test_a_refusal_returns_it(self, store: JobStore) -> None:
        """The proof that nothing was bought returns exactly the reserved amount."""
        store.set_budget(ALL, parse_budget(ALL, "1/d"))
        record = self.reserve(store, "a", 1.0)
        store.clear_submission("a", submission_id=record.submission.id, reason="refused")
        assert self.used(store) == Amounts()
        self.reserve(store, "b", 1.0)

    def test_a_held_job_keeps_it(self, store: JobStore, clock: ManualClock) -> None:
        """An unknown outcome keeps the reservation until a person has decided, and the decision is followed."""
        store.set_budget(ALL, parse_budget(ALL, "1/mo"))
        record = self.reserve(store, "a", 1.0)
        store.mark_unknown("a", submission_id=record.submission.id, reason="no answer")
        store.settle("a", record.lease_token, Held(FAILURE))
        clock.advance(60)
        self.refused(store, "b", 0.5)
        store.resolve("a", ConfirmedPurchase(Ticket("wrong"), 50.0, Cost(usd=0.7)))
        assert self.used(store) == Amounts(spent=700_000)
        store.resolve("a", ConfirmedPurchase(TICKET, 50.0, Cost(usd=0.8)))
        assert self.used(store) == Amounts(spent=800_000)
        store.resolve("a", Resubmit())
        assert self.used(store) == Amounts()

    def test_a_job_that_is_given_up_keeps_it(self, store: JobStore) -> None:
        """Whether it was charged was never found out, so the amount stays, also when its record is removed."""
        record = self.reserve(store, "a", 1.0)
        store.settle("a", record.lease_token, Held(FAILURE))
        assert store.resolve("a", GiveUp()).status is Status.FAILED
        assert self.used(store) == Amounts(reserved=1_000_000)
        assert store.resolve("a", Resubmit()).status is Status.QUEUED
        assert self.used(store) == Amounts()

    def test_a_withdrawn_purchase_is_taken_off(self, store: JobStore, clock: ManualClock) -> None:
        """A ticket that was entered by hand and belonged to another job takes nothing after all, also after a retry."""
        self.bought_by_hand(store, "a", 1.0, 0.7)
        store.settle("a", take(store, only="a").lease_token, Dead(FAILURE, generation_failed=True))
        again = self.intend(store, self.retried(store, "a"), 0.5, name="again")
        assert self.used(store) == Amounts(reserved=500_000, spent=700_000)
        store.resolve("a", Withdraw())
        assert self.used(store) == Amounts(reserved=500_000)
        store.clear_submission("a", submission_id=again.submission.id, reason="refused")
        assert self.used(store) == Amounts()

    def test_a_ticket_that_the_service_does_not_know_leaves_it_reserved(self, store: JobStore) -> None:
        """The create is in doubt again, so its amount is reserved until a person or a late ticket decides."""
        for name in ("a", "b"):
            self.bought_by_hand(store, name, 1.0, 0.7)
            store.settle(name, take(store, only=name).lease_token, Held(FAILURE, wrong_ticket=True))
        assert self.used(store) == Amounts(reserved=1_400_000)
        store.resolve("a", Resubmit())
        assert self.used(store) == Amounts(reserved=700_000)
        self.accept(store, store.require("b"), 0.6)
        assert self.used(store) == Amounts(spent=600_000)

    def test_the_ticket_of_the_service_replaces_what_a_person_entered(self, store: JobStore) -> None:
        """A late ticket corrects the amount of its submission, also after a retry."""
        before = self.bought_by_hand(store, "a", 1.0, 0.7)
        store.settle("a", take(store, only="a").lease_token, Dead(FAILURE, generation_failed=True))
        store.retry("a")
        self.accept(store, before, 0.4)
        assert self.used(store) == Amounts(spent=400_000)

    def test_another_service_of_a_correction_takes_it(self, store: JobStore) -> None:
        """A person can name the service that sold the video: its budget counts it, and that of the other does not."""
        record = self.reserve(store, "a", 1.0)
        store.settle("a", record.lease_token, Held(FAILURE))
        store.resolve("a", ConfirmedPurchase(Ticket("t"), 50.0, Cost(usd=0.7), BETA))
        assert self.used(store, f"service:{ALPHA}") == Amounts()
        assert self.used(store, f"service:{BETA}") == Amounts(spent=700_000)
        store.resolve("a", Resubmit())
        assert self.used(store, f"service:{BETA}") == self.used(store) == Amounts()

    def test_a_job_that_expires_reserves_nothing(self, store: JobStore, clock: ManualClock) -> None:
        """A create after the latest start is refused before its amount is reserved."""
        store.add(QUEUE, new("a", start_by=clock.now() + 10))
        record = take(store, only="a")
        clock.advance(11)
        with pytest.raises(StartMissed) as missed:
            self.intend(store, record, 0.5)
        store.settle("a", record.lease_token, Expired(Failure.of(missed.value)))
        assert store.require("a").expired
        assert self.used(store) == Amounts()

    def test_a_job_that_is_edited_takes_its_new_price(self, store: JobStore) -> None:
        """An edit takes nothing from the budgets; the create reserves what the changed job costs."""
        store.add(QUEUE, [replace(item, cost=Cost(usd=0.2)) for item in new("a")])
        changed = Terms(store.require("a").job, cost=Cost(usd=0.6), detail="changed quality")
        store.update("a", lambda record, now: edit(record, now, changed))
        assert self.used(store) == Amounts()
        self.intend(store, take(store, only="a"), 0.6)
        assert self.used(store) == Amounts(reserved=600_000)

    def test_a_refund_is_taken_off(self, store: JobStore) -> None:
        """A failed generation that the service does not charge for is no longer spent, nor part of the cost."""
        record = self.accept(store, self.reserve(store, "a", 0.5), 0.5)
        record = store.settle("a", record.lease_token, Dead(FAILURE, generation_failed=True, refunded=True))
        assert self.used(store) == Amounts()
        assert record.cost == Cost(usd=0.0, credits=0.0, estimated=False)
        assert [(one.videos, one.usd) for one in store.spent("")] == [(1, 0.0)]

    def test_a_repeated_intent_reserves_once(self, store: JobStore, clock: ManualClock) -> None:
        """A create that is repeated under its key fits into a spent budget, and counts on its first day."""
        store.set_budget(ALL, parse_budget(ALL, "1/d"))
        record = self.reserve(store, "a", 1.0)
        first = period(Span.DAY, "UTC", clock.now())
        clock.advance(DAY)
        self.intend(store, record, 1.0)
        assert store.amounts([(ALL, first)]) == [Amounts(reserved=1_000_000)]
        assert self.used(store) == Amounts()

    def test_a_free_create_always_fits(self, store: JobStore) -> None:
        """A spent budget holds no free service back."""
        store.set_budget(ALL, parse_budget(ALL, "0/d"))
        self.refused(store, "a", 0.01)
        self.reserve(store, "b", 0.0)
        assert self.used(store) == Amounts()

    def test_an_unknown_price_is_refused_under_a_budget(self, store: JobStore) -> None:
        """Without a price, a create is refused where a budget matches, and only there."""
        record = self.leased(store, "a", channel="sea")
        store.set_budget("channel:sky", parse_budget("channel:sky", "1/d"))
        self.intend(store, record, None)
        store.set_budget("channel:sea", parse_budget("channel:sea", "1/d"))
        with pytest.raises(BudgetSpent) as refusal:
            self.intend(store, self.leased(store, "b", channel="sea"), None)
        assert refusal.value.resets_at is None
        assert "TENXSOM_UNKNOWN_PRICE" in refusal.value.next_step

    def test_the_environment_has_budgets_and_the_store_wins(self, store: JobStore) -> None:
        """The budget of the environment applies until the store has one for the same scope, also a larger one."""
        environment = {ALL: parse_budget(ALL, "1/d")}
        self.intend(store, self.leased(store, "a"), 1.0, environment)
        with pytest.raises(BudgetSpent):
            self.intend(store, self.leased(store, "b"), 0.5, environment)
        store.set_budget(ALL, parse_budget(ALL, "2/d"))
        self.intend(store, store.require("b"), 0.5, environment)
        store.set_budget(ALL, None)
        with pytest.raises(BudgetSpent):
            self.intend(store, self.leased(store, "c"), 0.5, environment)

    def test_a_changed_budget_applies_to_every_handle_at_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Raising, lowering and removing a budget through one handle decide the next intent of another."""
        one, other = open_store(clock), open_store(clock)
        record = self.leased(other, "a")
        for text, fits in (("1/d", False), ("2/d", True), ("1.999999/d", False), (None, True)):
            one.set_budget(ALL, parse_budget(ALL, text) if text else None)
            assert dict(other.budgets()) == ({ALL: parse_budget(ALL, text)} if text else {})
            if fits:
                record = self.intend(other, record, 2.0)
                record = other.clear_submission("a", submission_id=record.submission.id, reason="refused")
            else:
                with pytest.raises(BudgetSpent):
                    self.intend(other, record, 2.0)

    def test_a_new_budget_counts_what_was_used_before(self, store: JobStore, clock: ManualClock) -> None:
        """A budget that is set in the middle of its period, in any zone, counts the purchases since its begin."""
        clock.set(MONDAY_NOON + 6.4 * 3600)  # 18:24 UTC: 23:54 in India
        self.accept(store, self.reserve(store, "a", 1.0), 1.0)
        clock.advance(600)  # 00:04 in India
        self.reserve(store, "b", 2.0)
        for zone, used in (("UTC", 3_000_000), ("Asia/Kolkata", 2_000_000), ("Asia/Kathmandu", 3_000_000)):
            budget = Budget(ALL, parse_budget(ALL, "4/d").limits, zone)
            store.set_budget(ALL, budget)
            _, today = next(budget.periods(clock.now()))
            assert store.amounts([(ALL, today)])[0].used == used, zone
            assert self.refused(store, f"x-{zone[-4:]}", (4_000_001 - used) / 1e6).micro_usd == 4_000_001 - used
            kept = self.reserve(store, f"y-{zone[-4:]}", (4_000_000 - used) / 1e6)
            store.clear_submission(kept.job_id, submission_id=kept.submission.id, reason="refused")

    def test_a_period_ends_at_midnight_of_its_zone(self, store: JobStore, clock: ManualClock) -> None:
        """A spent budget has room again from its reset on, not a moment earlier."""
        store.set_budget(ALL, parse_budget(ALL, "1/d Europe/Berlin"))
        clock.set(1_824_933_599.0)  # 2027-10-30 23:59:59 in Berlin; the next day has 25 hours
        self.reserve(store, "a", 1.0)
        assert self.refused(store, "b", 1.0).resets_at == 1_824_933_600.0
        clock.advance(1)
        self.reserve(store, "c", 1.0)
        clock.advance(25 * 3600 - 1)
        self.refused(store, "d", 1.0)
        clock.advance(1)
        self.reserve(store, "e", 1.0)

    def test_racing_creates_never_exceed_it(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Of thirty concurrent creates over several handles, exactly those that the budget covers are admitted."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].set_budget(ALL, parse_budget(ALL, "1/d"))
        records = [self.leased(handles[0], f"j{number}") for number in range(30)]
        results = race(30, lambda index: self.intend(handles[index % 4], records[index], 0.1))
        assert sum(isinstance(result, JobRecord) for result in results) == 10
        assert sum(isinstance(result, BudgetSpent) for result in results) == 20
        assert self.used(handles[1]) == Amounts(reserved=1_000_000)

    def test_racing_creates_of_one_handle_never_exceed_it(self, store: JobStore) -> None:
        """Creates of several threads that are executed together see the reservations of each other."""
        store.set_budget(ALL, parse_budget(ALL, "1/d"))
        records = [self.leased(store, f"j{number}") for number in range(20)]
        results = race(20, lambda index: self.intend(store, records[index], 0.3))
        assert sum(isinstance(result, JobRecord) for result in results) == 3
        assert sum(isinstance(result, BudgetSpent) for result in results) == 17
        assert self.used(store) == Amounts(reserved=900_000)
        for record, result in zip(records, results, strict=True):
            assert store.require(record.job_id) == (result if isinstance(result, JobRecord) else record)

    def test_a_job_that_is_adopted_from_its_delivery(self, store: JobStore, clock: ManualClock) -> None:
        """The cost that a delivery carries is an estimate and takes nothing, a reservation of its create is kept."""
        job = a_job("a")
        plain = Delivery.of(add(job, queue=PUSHED, nonce="n", now=0.0, due=0.0, cost=Cost(usd=0.5)))
        assert store.adopt(adopt(plain, PUSHED, clock.now(), previous_attempt_unanswered=True))
        assert store.require("a").cost == Cost(usd=0.5)
        assert self.used(store) == Amounts()
        submission = Submission(state=SubmissionState.INTENT, id="s", charge=Charge(clock.now(), 250_000))
        record = msgspec.structs.replace(store.require("a"), job=a_job("b"), submission=submission)
        assert store.adopt(adopt(decode_delivery(encode(Delivery.of(record))), PUSHED, clock.now()))
        assert self.used(store) == Amounts(reserved=250_000)

    def test_an_adopted_record_brings_its_charges(self, store: JobStore) -> None:
        """A record that another store wrote counts with its charges; one of an earlier release counts nothing."""
        record = self.accept(store, self.reserve(store, "a", 0.5), 0.5)
        assert store.adopt(msgspec.structs.replace(record, job=msgspec.structs.replace(record.job, job_id="b")))
        assert not store.adopt(record)
        assert self.used(store) == Amounts(spent=1_000_000)
        older = msgspec.structs.replace(record.purchases[0], charge=None)
        job = msgspec.structs.replace(record.job, job_id="c")
        assert store.adopt(msgspec.structs.replace(record, job=job, purchases=(older,)))
        assert self.used(store) == Amounts(spent=1_000_000)

    def test_a_job_that_is_held_after_a_restore_reserves_its_cost(self, store: JobStore) -> None:
        """It might have been bought since the backup, so its expected cost counts until a person has decided."""
        store.add(QUEUE, [replace(item, cost=Cost(usd=0.25)) for item in new("a")])
        store.update("a", hold_after_restore)
        assert self.used(store) == Amounts(reserved=250_000)
        store.resolve("a", Resubmit())
        assert self.used(store) == Amounts()

    def test_a_clock_that_is_set_back_moves_the_charges(self, open_store: OpenStore, clock: ManualClock) -> None:
        """After a repair of the store's clock, later charges count in the present period."""
        store = open_store(clock)
        now = clock.now()
        clock.advance(3 * DAY)
        kept = self.reserve(store, "a", 0.5)
        self.accept(store, self.reserve(store, "b", 0.25), 0.25)
        store.update("a", lambda record, _: rewind(record, now, 3 * DAY))
        store.set_clock_back(now)
        store.close()
        clock.set(now)
        store = open_store(clock)
        assert self.used(store) == Amounts(reserved=500_000, spent=250_000)
        assert store.require("a").submission.charge == Charge(now, 500_000)
        store.clear_submission("a", submission_id=kept.submission.id, reason="refused")
        assert self.used(store) == Amounts(spent=250_000)

    def test_amounts_outlive_their_records(self, store: JobStore, clock: ManualClock) -> None:
        """Removing a finished record changes no budget, and amounts of long ago are forgotten."""
        record = self.accept(store, self.reserve(store, "a", 0.5), 0.5)
        store.settle("a", record.lease_token, Dead(FAILURE, generation_failed=True))
        store.retry("a")
        store.cancel("a")
        month = period(Span.MONTH, "UTC", clock.now())
        clock.advance(600)
        assert store.trim(Retention(age=1.0)) == 1
        assert store.amounts([(ALL, month)]) == [Amounts(spent=500_000)]

    def leased(self, store: JobStore, name: str, *, channel: str = "", service: str = ALPHA) -> JobRecord:
        """Add and claim a job."""
        store.add(QUEUE, new(name, channel=channel, service=service))
        return take(store, only=name)

    def intend(
        self,
        store: JobStore,
        record: JobRecord,
        usd: float | None,
        budgets: dict[str, Budget] | None = None,
        *,
        name: str = "s",
    ) -> JobRecord:
        """Journal the intent of a leased job."""
        intent = Intent(
            submission_id=f"{name}-{record.job_id}", service=record.job.service, lifetime=100.0,
            reserve=None if usd is None else to_micro_usd(usd),
        )  # fmt: skip
        return store.intend(record.job_id, record.lease_token, intent, budgets)

    def reserve(self, store: JobStore, name: str, usd: float, *, channel: str = "", service: str = ALPHA) -> JobRecord:
        """Add and claim a job, and journal its intent."""
        return self.intend(store, self.leased(store, name, channel=channel, service=service), usd)

    def bought_by_hand(self, store: JobStore, name: str, reserved: float, usd: float) -> JobRecord:
        """Reserve an amount for a create of unknown outcome, and enter a ticket and a price by hand."""
        record = self.reserve(store, name, reserved)
        store.settle(name, record.lease_token, Held(FAILURE))
        return store.resolve(name, ConfirmedPurchase(Ticket("wrong"), 50.0, Cost(usd=usd)))

    def retried(self, store: JobStore, name: str) -> JobRecord:
        """Retry a job and lease it."""
        store.retry(name)
        return take(store, only=name)

    def refused(
        self, store: JobStore, name: str, usd: float, *, channel: str = "", service: str = ALPHA
    ) -> BudgetSpent:
        """Add and claim a job, and return the refusal of its intent."""
        with pytest.raises(BudgetSpent) as refusal:
            self.reserve(store, name, usd, channel=channel, service=service)
        return refusal.value

    def accept(self, store: JobStore, record: JobRecord, usd: float | None) -> JobRecord:
        """Save the ticket of a submission."""
        cost = None if usd is None else Cost(usd=usd, estimated=False)
        receipt = Receipt(submission_id=record.submission.id, ticket=TICKET, lifetime=100.0, cost=cost)
        return store.accept(record.job_id, receipt)

    def used(self, store: JobStore, scope: str = ALL) -> Amounts:
        """Return what a scope has used today (UTC)."""
        return store.amounts([(scope, period(Span.DAY, "UTC", store.now()))])[0]
