"""The present use of each budget, and what planned jobs would add to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.budgets.limits import (
    KEY,
    PRIVATE,
    Amounts,
    Budget,
    Limit,
    Period,
    in_force,
    moment_in,
    scopes_of,
    to_usd,
)
from tenxsom_flow_engine.text import plural, usd

#: Reads what each scope has used in a period.
ReadAmounts = Callable[[Sequence[tuple[str, Period]]], Sequence[Amounts]]
#: The shares of a limit at which operators are alerted.
ALERTS = (0.5, 0.8, 1.0)
#: The share of a limit from which on it counts as spent: what is left is rarely enough for a video.
SPENT_SHARE = 0.99


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """One limit of a budget, and what its present period has used."""

    budget: Budget
    limit: Limit
    period: Period
    amounts: Amounts
    #: Whether an operator has set it; otherwise it is from the environment.
    stored: bool

    @property
    def share(self) -> float:
        """The share of the limit that is used, from 0; 1 for a limit of nothing."""
        return self.amounts.used / self.limit.micro_usd if self.limit.micro_usd else 1.0

    @property
    def spent(self) -> bool:
        """Whether (nearly) nothing is left."""
        return self.share >= SPENT_SHARE

    @property
    def free(self) -> float:
        """The amount that is left, in USD."""
        return max(0.0, to_usd(self.limit.micro_usd - self.amounts.used))

    @property
    def name(self) -> str:
        """The scope and the limit: `channel:fun 10/d`."""
        return f"{self.budget.scope} {self.limit}"

    @property
    def public_name(self) -> str:
        """The same without the name of a channel, which a person has chosen, and the id of a key."""
        if not self.budget.scope.startswith(PRIVATE):
            return self.name
        return f"of a{'n API key' if self.budget.scope.startswith(KEY) else ' channel'} {self.limit}"

    @property
    def resets(self) -> str:
        """When the period ends, in the budget's zone."""
        return moment_in(self.period.ends, self.budget.zone)


@dataclass(frozen=True, slots=True)
class PlannedCost:
    """The cost of a planned job. `micro_usd` is None if its price is unknown and has no ceiling."""

    at: float
    channel: str
    service: str
    micro_usd: int | None
    #: The id of the API key that adds it.
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Overrun:
    """Planned jobs that do not fit into a period of a budget."""

    use: BudgetUse
    #: The number of jobs planned in the period, and of those that do not fit.
    planned: int
    excess: int
    #: Of these, the number without a known price.
    unpriced: int
    micro_usd: int

    def __str__(self) -> str:
        """Say it in a sentence."""
        if self.unpriced == self.excess:
            return (
                f"{plural(self.excess, 'job')} of unknown price cannot be bought under the budget {self.use.name}; "
                "set the service's price or TENXSOM_UNKNOWN_PRICE"
            )
        return (
            f"{self.excess:,} of {plural(self.planned, 'job')} in {self.use.period.name} would wait: they cost"
            f" {usd(to_usd(self.micro_usd))}, and the budget {self.use.name} has {usd(self.use.free)} left"
            f" until {self.use.resets}"
        )


def uses(
    environment: Mapping[str, Budget], stored: Mapping[str, Budget], read: ReadAmounts, now: float
) -> Sequence[BudgetUse]:
    """Return the present use of all budgets in force, those of the store and those of the environment."""
    every = sorted(in_force(environment, stored).items())
    limits = [(budget, limit, period) for _, budget in every for limit, period in budget.periods(now)]
    amounts = read([(budget.scope, period) for budget, _, period in limits])
    return [
        BudgetUse(budget, limit, period, used, stored=budget.scope in stored)
        for (budget, limit, period), used in zip(limits, amounts, strict=True)
    ]


def overruns(
    environment: Mapping[str, Budget], stored: Mapping[str, Budget], read: ReadAmounts, jobs: Iterable[PlannedCost]
) -> Sequence[Overrun]:
    """Return which of the planned jobs do not fit, in the given order; the other waiting jobs are not counted."""
    found: list[Overrun] = []
    planned: defaultdict[tuple[str, Limit, Period], list[int | None]] = defaultdict(list)
    budgets = in_force(environment, stored)
    for job in jobs:
        for scope in scopes_of(job.channel, job.service, job.key_id):
            if scope in budgets and job.micro_usd != 0:
                for limit, period in budgets[scope].periods(job.at):
                    planned[scope, limit, period].append(job.micro_usd)
    amounts = read([(scope, period) for scope, _, period in planned])
    for ((scope, limit, period), costs), used in zip(planned.items(), amounts, strict=True):
        left, excess = limit.micro_usd - used.used, 0
        for cost in costs:
            if cost is None or cost > left:
                excess += 1
            else:
                left -= cost
        if excess:
            use = BudgetUse(budgets[scope], limit, period, used, stored=scope in stored)
            total = sum(cost for cost in costs if cost is not None)
            found.append(Overrun(use, len(costs), excess, sum(cost is None for cost in costs), total))
    return found
