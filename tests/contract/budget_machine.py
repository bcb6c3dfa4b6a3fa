"""The budgets of a store under random calls on two handles, against a model that knows only a list of amounts.

The model finds the period of an amount by its local date, and the stores by the period's instants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tenxsom_flow_engine.budgets import ALL, Amounts, Budget, parse_budget
from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import ActionRefused, BudgetSpent, LeaseLost
from tenxsom_flow_engine.jobs import Cost, JobRecord, Ticket
from tenxsom_flow_engine.jobs.lifecycle import can_be_corrected
from tenxsom_flow_engine.jobs.outcomes import ConfirmedPurchase, Dead, GiveUp, Held, Outcome, Resolution, Resubmit, Wait
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, TICKET, a_claim, a_job

#: A day of 23 hours and one of 25 in Berlin, a day without midnight in Havana, the end of a year; each an hour before.
STARTS = [
    datetime.fromisoformat(text).timestamp()
    for text in ("2027-03-27T22:00Z", "2026-10-24T21:00Z", "2027-03-14T04:00Z", "2026-12-31T22:00Z")
]
ZONES = ["UTC", "Europe/Berlin", "America/Havana", "Asia/Kathmandu"]
SCOPES = [ALL, "channel:sea", "channel:sky", f"service:{ALPHA}", f"service:{BETA}"]
#: How a date names the period that contains it.
NAMES = {"d": "%Y-%m-%d", "w": "%G-W%V", "mo": "%Y-%m"}

_handles = st.integers(0, 1)
_picks = st.integers(0, 1000)
_usd = st.sampled_from([0.0, 0.1, 0.25, 1.0])
_limits = st.sampled_from(["0/d", "0.5/d", "1/d 1.5/mo", "1/w", "2/mo", "0.35/d 0.6/w 5/mo"])


@dataclass(frozen=True)
class Amount:
    """An amount of one submission."""

    at: float
    channel: str
    service: str
    micro_usd: int
    spent: bool

    def matches(self, scope: str) -> bool:
        """Return whether a budget of this scope counts it."""
        return scope in (ALL, f"channel:{self.channel}", f"service:{self.service}")


def date_in(instant: float, zone: str, span: str) -> str:
    """Return the name of the period that contains an instant."""
    return datetime.fromtimestamp(instant, ZoneInfo(zone)).strftime(NAMES[span])


class BudgetMachine(RuleBasedStateMachine):
    """Compares refusals and amounts with the model; a store's test module implements `open_store`."""

    def open_store(self, clock: Clock) -> JobStore:
        """Open one more handle on this example's store, which starts empty."""
        raise AssertionError("the store's test module implements open_store")

    @initialize(start=st.sampled_from(STARTS), own=st.booleans())
    def _open(self, start: float, own: bool) -> None:
        self.clocks = [ManualClock(), ManualClock()]
        for clock in self.clocks:
            clock.set(start)
        self.handles = [self.open_store(clock) for clock in self.clocks]
        self.environment = {ALL: parse_budget(ALL, "1.5/d Europe/Berlin")} if own else {}
        self.stored: dict[str, Budget] = {}
        self.amounts: dict[str, Amount] = {}
        self.jobs = 0
        #: The latest record of each submission that was ever intended.
        self.records: dict[str, JobRecord] = {}

    def teardown(self) -> None:
        """Close both handles."""
        for handle in getattr(self, "handles", []):
            handle.close()

    @rule(handle=_handles, channel=st.sampled_from(["", "sea", "sky"]), service=st.sampled_from([ALPHA, BETA]),
          usd=_usd)  # fmt: skip
    def create(self, handle: int, channel: str, service: str, usd: float) -> None:
        """Reserve an amount: refused exactly if a period of a matching budget has no room."""
        store = self.handles[handle]
        self.jobs += 1
        name = f"j{self.jobs}"
        store.add(QUEUE, [NewJob(a_job(name, channel=channel, service=service))])
        record = store.claim(a_claim(only=name)).records[0]
        self._intend(store, record, usd)

    def _intend(self, store: JobStore, record: JobRecord, usd: float) -> None:
        now, job = store.now(), record.job
        amount = Amount(now, job.channel, job.service, round(usd * 1e6), spent=False)
        intent = Intent(submission_id=f"{job.job_id}.{record.seq}", service=job.service, lifetime=50.0,
                        reserve=amount.micro_usd)  # fmt: skip
        full = [period for budget in self._in_force() for period in self._full(budget, amount, now)]
        if full:
            with pytest.raises(BudgetSpent) as refusal:
                store.intend(job.job_id, record.lease_token, intent, self.environment)
            reset = refusal.value.resets_at or 0.0
            assert all(date_in(reset, *period) != date_in(now, *period) for period in full)
            assert any(date_in(reset - 1, *period) == date_in(now, *period) for period in full)
            store.settle(job.job_id, record.lease_token, Wait(reset, worked=False))
            return
        record = store.intend(job.job_id, record.lease_token, intent, self.environment)
        self.records[record.submission.id] = record
        if amount.micro_usd:
            self.amounts[record.submission.id] = amount

    @precondition(lambda self: self.records)
    @rule(handle=_handles, pick=_picks, usd=st.none() | _usd)
    def accept(self, handle: int, pick: int, usd: float | None) -> None:
        """Save a ticket with a price of at most the reservation, or without one, once or again."""
        record, store = self._pick(pick), self.handles[handle]
        before, now = store.require(record.job_id), store.now()
        most = record.submission.charge.micro_usd if record.submission.charge else 0
        price = None if usd is None else min(round(usd * 1e6), most)
        cost = None if price is None else Cost(usd=price / 1e6)
        name = record.submission.id
        receipt = Receipt(submission_id=name, ticket=TICKET, lifetime=50.0, service=record.service, cost=cost)
        store.accept(record.job_id, receipt)
        corrects = can_be_corrected(before) and before.submission.id == name
        if not corrects and any(purchase.submission == name for purchase in before.purchases):
            return
        known = self.amounts.pop(name, None)
        if known is not None and price is None:
            self.amounts[name] = replace(known, spent=True)
        elif price:
            self.amounts[name] = Amount(
                known.at if known else now, record.job.channel, record.service, price, spent=True
            )

    @precondition(lambda self: self.records)
    @rule(handle=_handles, pick=_picks)
    def clear(self, handle: int, pick: int) -> None:
        """Prove that a submission bought nothing; a purchase stays."""
        record, store = self._pick(pick), self.handles[handle]
        current = store.require(record.job_id).submission
        self._act(lambda: store.clear_submission(record.job_id, submission_id=record.submission.id, reason="refused"))
        if current.id == record.submission.id and current.ticket is None:
            self.amounts.pop(record.submission.id, None)

    @precondition(lambda self: self.records)
    @rule(handle=_handles, pick=_picks, how=st.sampled_from(["held", "dead", "refunded", "cancel", "release"]))
    def end(self, handle: int, pick: int, how: str) -> None:
        """End a step or a job; only a refund returns an amount."""
        record, store = self._pick(pick), self.handles[handle]
        outcomes: dict[str, Outcome] = {"held": Held(FAILURE), "dead": Dead(FAILURE),
                    "refunded": Dead(FAILURE, generation_failed=True, refunded=True)}  # fmt: skip
        if how == "cancel":
            self._act(lambda: store.cancel(record.job_id))
        elif how == "release":
            self._act(lambda: store.release_lease(record.job_id, record.lease_token))
        else:
            before = store.require(record.job_id)
            refund = how == "refunded" and before.submission.ticket is not None
            if self._act(lambda: store.settle(record.job_id, record.lease_token, outcomes[how])) and refund:
                self.amounts.pop(before.submission.id, None)

    @precondition(lambda self: self.records)
    @rule(handle=_handles, pick=_picks, usd=_usd, kind=st.sampled_from(["again", "bought", "given up"]))
    def resolve(self, handle: int, pick: int, usd: float, kind: str) -> None:
        """Decide about an unknown create, or correct that decision."""
        record, store = self._pick(pick), self.handles[handle]
        current = store.require(record.job_id)
        decisions: dict[str, Resolution] = {
            "again": Resubmit(), "bought": ConfirmedPurchase(Ticket(f"by hand {usd}"), 50.0, Cost(usd=usd)),
            "given up": GiveUp(),
        }  # fmt: skip
        if self._act(lambda: store.resolve(record.job_id, decisions[kind])) is None or kind == "given up":
            return
        known = self.amounts.pop(current.submission.id, None)
        if kind == "bought" and usd:
            at = known.at if known else store.now()
            self.amounts[current.submission.id] = Amount(
                at, record.job.channel, record.service, round(usd * 1e6), spent=True
            )

    @rule(handle=_handles, scope=st.sampled_from(SCOPES), limits=st.none() | _limits, zone=st.sampled_from(ZONES))
    def set_budget(self, handle: int, scope: str, limits: str | None, zone: str) -> None:
        """Set, change or remove a budget, also below what is used."""
        budget = parse_budget(scope, f"{limits} {zone}") if limits else None
        self.handles[handle].set_budget(scope, budget)
        self.stored.pop(scope, None)
        if budget:
            self.stored[scope] = budget
        assert dict(self.handles[1 - handle].budgets()) == self.stored

    @rule(which=_handles, seconds=st.sampled_from([-7200.0, -1.0, 900.0, 3600.0, 5400.0, 86400.0, 10 * 86400.0]))
    def move_clock(self, which: int, seconds: float) -> None:
        """Move the clock of one machine, also back."""
        self.clocks[which].advance(seconds)

    @rule(which=_handles)
    def reopen(self, which: int) -> None:
        """Close a handle and open it again."""
        self.handles[which].close()
        self.handles[which] = self.open_store(self.clocks[which])

    @invariant()
    def _amounts_are_right(self) -> None:
        if not hasattr(self, "handles"):
            return
        instants = [*[amount.at for amount in self.amounts.values()][-1:], self.handles[0].now()]
        zone = ZONES[self.jobs % len(ZONES)]
        asked = [
            (scope, limit.span, at, period)
            for scope in SCOPES
            for at in instants
            for limit, period in parse_budget(scope, f"1/d 1/w 1/mo {zone}").periods(at)
        ]
        for handle in self.handles:
            found = handle.amounts([(scope, period) for scope, _, _, period in asked])
            for (scope, span, at, _), amounts in zip(asked, found, strict=True):
                assert amounts == self._model(scope, zone, span, at), (scope, zone, span, at)

    def _in_force(self) -> list[Budget]:
        return list({**self.environment, **self.stored}.values())

    def _full(self, budget: Budget, amount: Amount, now: float) -> list[tuple[str, str]]:
        """Return zone and kind of the periods of a budget that have no room for an amount."""
        if not amount.micro_usd or not amount.matches(budget.scope):
            return []
        return [
            (budget.zone, limit.span)
            for limit in budget.limits
            if self._model(budget.scope, budget.zone, limit.span, now).used + amount.micro_usd > limit.micro_usd
        ]

    def _model(self, scope: str, zone: str, span: str, instant: float) -> Amounts:
        mine = [
            one
            for one in self.amounts.values()
            if one.matches(scope) and date_in(one.at, zone, span) == date_in(instant, zone, span)
        ]
        return Amounts(*(sum(one.micro_usd for one in mine if one.spent is spent) for spent in (False, True)))

    def _pick(self, pick: int) -> JobRecord:
        known = list(self.records.values())
        return known[-1 - pick % min(len(known), 6)]

    @staticmethod
    def _act(act: Callable[[], JobRecord]) -> JobRecord | None:
        """Change a job; a refused change writes nothing."""
        try:
            return act()
        except (ActionRefused, LeaseLost):
            return None
