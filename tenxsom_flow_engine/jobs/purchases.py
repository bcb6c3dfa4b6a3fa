"""The purchases of a job: an append-only list with one entry for each generation that a service sold.

A store adds them to its totals by day and service in the same transaction (`store.base.JobStore.spent`). The submission
id identifies a purchase, so a ticket that is saved twice counts once.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tenxsom_flow_engine.clock import utc_datetime
from tenxsom_flow_engine.jobs import Cost, JobRecord, Purchase


def bought(record: JobRecord, purchase: Purchase) -> JobRecord:
    """Return the record with a purchase appended and the total cost updated; a known purchase changes nothing."""
    if any(known.submission == purchase.submission for known in record.purchases):
        return record
    purchases = (*record.purchases, purchase)
    return msgspec.structs.replace(record, purchases=purchases, cost=_total(purchases) or record.cost)


def new_purchases(before: JobRecord, after: JobRecord) -> tuple[Purchase, ...]:
    """Return the purchases that a change of a record added."""
    return after.purchases[len(before.purchases) :]


def day(instant: float) -> str:
    """Return an instant's date in UTC as `YYYY-MM-DD`, which sorts as text."""
    return utc_datetime(instant).date().isoformat()


def _total(purchases: tuple[Purchase, ...]) -> Cost | None:
    costs = [purchase.cost for purchase in purchases if purchase.cost is not None]
    if not costs:
        return None
    # Credits of different services cannot be added.
    one_service = len({purchase.service for purchase in purchases}) == 1
    return Cost(
        usd=_sum(cost.usd for cost in costs),
        credits=_sum(cost.credits for cost in costs) if one_service else None,
        estimated=len(costs) < len(purchases) or any(cost.estimated for cost in costs),
    )


def _sum(amounts: Iterable[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
