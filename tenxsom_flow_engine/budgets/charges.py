"""The charges of a record: one for each purchase, and one for a create whose outcome is open.

A charge counts in the quarter of an hour of its instant, for each scope that its purchase matches. All zones have
offsets of whole quarters, so each calendar period is a sum of quarters, also that of a budget that is defined later.
The stores keep these sums and change them in the transaction that changes the record, by `charge_changes`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.budgets.limits import Amounts, Budget, Limit, Period, in_force, moment_in, scopes_of, to_usd
from tenxsom_flow_engine.errors import BudgetSpent
from tenxsom_flow_engine.jobs import Charge, JobRecord
from tenxsom_flow_engine.text import usd

QUARTER = 900
#: Seconds for which the sums of quarters are kept: longer than the longest period.
KEEP_QUARTERS = 70 * 86400.0


@dataclass(frozen=True, slots=True)
class ChargeChange:
    """The amounts to add, in micro-dollars, to those of one scope in one quarter of an hour."""

    scope: str
    quarter: int
    reserved: int
    spent: int


@dataclass(frozen=True, slots=True)
class Demand:
    """A limit that a change must keep: `micro_usd` more in one period of its budget."""

    budget: Budget
    limit: Limit
    period: Period
    micro_usd: int

    @property
    def first_quarter(self) -> int:
        """The first quarter of the period."""
        return quarter(self.period.begins)

    @property
    def end_quarter(self) -> int:
        """The first quarter after the period."""
        return quarter(self.period.ends)


@dataclass(frozen=True, slots=True)
class BudgetCheck:
    """The check of a create: it must keep the budgets of `environment`, and those of the store, which win.

    Without a known price (`priced`) it is refused where any budget matches.
    """

    environment: Mapping[str, Budget]
    priced: bool = True

    def matching(self, record: JobRecord, stored: Mapping[str, Budget], now: float) -> Mapping[str, Budget]:
        """Return the budgets in force that a record's create is charged to; `stored` has those of the store.

        Raises `BudgetSpent` if there are any and the price is unknown.
        """
        scopes = scopes_of_intent(record)
        found = in_force({name: self.environment[name] for name in scopes if name in self.environment}, stored)
        if found and not self.priced:
            raise _no_price(next(iter(found)), record.service, now)
        return found


def quarter(instant: float) -> int:
    """Return the number of the quarter of an hour that contains an instant."""
    return int(instant // QUARTER)


def charge_changes(before: JobRecord | None, after: JobRecord) -> Sequence[ChargeChange]:
    """Return the changes of the sums for a change of a record, or for a record that is added; mostly none."""
    if before is not None and before.submission is after.submission and before.purchases is after.purchases:
        return ()
    sums: defaultdict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for sign, record in ((-1, before), (1, after)):
        for service, charge, spent in _charges(record) if record is not None else ():
            for scope in scopes_of(record.job.channel, service, record.job.key_id) if record is not None else ():
                sums[scope, quarter(charge.at)][spent] += sign * charge.micro_usd
    return [ChargeChange(*key, *amounts) for key, amounts in sums.items() if any(amounts)]


def scopes_of_intent(record: JobRecord) -> tuple[str, ...]:
    """Return the scopes of the budgets that a record's create is charged to."""
    return scopes_of(record.job.channel, record.service, record.job.key_id)


def demands(changes: Iterable[ChargeChange], budgets: Mapping[str, Budget]) -> Iterator[Demand]:
    """Yield the limits that changes must keep: those of periods that would use more than before."""
    needed: dict[tuple[str, Limit, Period], int] = {}
    for change in changes:
        budget = budgets.get(change.scope)
        for limit, period in budget.periods(change.quarter * QUARTER) if budget else ():
            key = (change.scope, limit, period)
            needed[key] = needed.get(key, 0) + change.reserved + change.spent
    for (scope, limit, period), micro_usd in needed.items():
        if micro_usd > 0:
            yield Demand(budgets[scope], limit, period, micro_usd)


def refusal(exceeded: Sequence[tuple[Demand, Amounts]], now: float) -> BudgetSpent:
    """Return the error for limits without enough room; the budget that is reset last decides."""
    last, amounts = max(exceeded, key=lambda pair: pair[0].period.ends)
    limit, scope = last.limit, last.budget.scope
    free, price = max(0, limit.micro_usd - amounts.used), last.micro_usd
    if price > limit.micro_usd:
        why = f"the video costs about {_usd(price)}, more than the whole budget {scope} {limit}"
    else:
        used = f"{_usd(amounts.spent)} spent and {_usd(amounts.reserved)} reserved"
        why = f"the budget {scope} {limit} has {_usd(free)} left ({used}), and the video costs about {_usd(price)}"
    return BudgetSpent(
        f"{why}; it is reset at {moment_in(last.period.ends, last.budget.zone)}",
        scope=scope, resets_at=last.period.ends, at=now, micro_usd=price,
        scopes=tuple({demand.budget.scope for demand, _ in exceeded}),
    )  # fmt: skip


def _no_price(scope: str, service: str, now: float) -> BudgetSpent:
    return BudgetSpent(
        f"the price of a video at {service} is unknown, so the budget {scope} cannot cover it",
        scope=scope, resets_at=None, at=now, micro_usd=0, scopes=(scope,),
        next_step="set the service's price, or TENXSOM_UNKNOWN_PRICE to the most that it can cost",
    )  # fmt: skip


def _charges(record: JobRecord) -> Iterator[tuple[str, Charge, bool]]:
    """Yield the charges of a record, with their service and whether they are spent."""
    submission = record.submission
    if submission.charge is not None:
        yield record.service, submission.charge, False
    for purchase in record.purchases:
        if purchase.charge is not None:
            yield purchase.service, purchase.charge, True


def _usd(micro_usd: int) -> str:
    return usd(to_usd(micro_usd))
