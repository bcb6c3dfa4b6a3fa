"""What was bought for a job: a list that only grows, with one entry for each generation that a service sold.

A store sums it up by day and service in the transaction that writes it (`store.base.JobStore.spent`). An entry is known
by its submission, so a ticket that comes twice counts once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from tenxsom_flow_engine.jobs import Cost, JobRecord, Purchase


def bought(record: JobRecord, purchase: Purchase) -> JobRecord:
    """Return a record with one purchase more, and the cost of all; what it has already it gets no second time."""
    if any(known.submission == purchase.submission for known in record.purchases):
        return record
    purchases = (*record.purchases, purchase)
    return msgspec.structs.replace(record, purchases=purchases, cost=_total(purchases) or record.cost)


def new_purchases(before: JobRecord, after: JobRecord) -> tuple[Purchase, ...]:
    """Return what a change of a record has bought."""
    return after.purchases[len(before.purchases) :]


def day(instant: float) -> str:
    """Return the day in UTC of an instant, as ISO 8601 writes it: days sort as text."""
    return datetime.fromtimestamp(instant, UTC).date().isoformat()


def _total(purchases: tuple[Purchase, ...]) -> Cost | None:
    costs = [purchase.cost for purchase in purchases if purchase.cost is not None]
    if not costs:
        return None
    # Each service has credits of its own.
    one_service = len({purchase.service for purchase in purchases}) == 1
    return Cost(
        usd=_sum(cost.usd for cost in costs),
        credits=_sum(cost.credits for cost in costs) if one_service else None,
        estimated=len(costs) < len(purchases) or any(cost.estimated for cost in costs),
    )


def _sum(amounts: Iterable[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
