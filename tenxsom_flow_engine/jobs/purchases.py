"""The purchases of a job: a list with one entry for each generation that a service sold.

A store adds them to its totals by day and service in the same transaction (`store.base.JobStore.spent`). The submission
id identifies a purchase, so a ticket that is saved twice counts once. An entry changes only if a person entered the
ticket: until the video exists it can be replaced, and it can be withdrawn at any time after it failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tenxsom_flow_engine.clock import utc_datetime
from tenxsom_flow_engine.jobs import Cost, JobRecord, Purchase, Status, SubmissionState


def bought(record: JobRecord, purchase: Purchase) -> JobRecord:
    """Return the record with a purchase appended and the total cost updated.

    A known purchase changes nothing, except that a ticket of the service replaces one that a person entered.
    """
    known = next((known for known in record.purchases if known.submission == purchase.submission), None)
    if known is not None:
        return corrected(record, purchase) if known.by_hand else record
    purchases = (*record.purchases, purchase)
    return msgspec.structs.replace(record, purchases=purchases, cost=_total(purchases) or record.cost)


def corrected(record: JobRecord, purchase: Purchase) -> JobRecord:
    """Return the record with the purchase of the same submission replaced, at its instant, or else appended."""
    known = next((known for known in record.purchases if known.submission == purchase.submission), None)
    if known is None:
        return bought(record, purchase)
    purchase = msgspec.structs.replace(purchase, at=known.at)
    purchases = tuple(purchase if one is known else one for one in record.purchases)
    return msgspec.structs.replace(record, purchases=purchases, cost=_total(purchases) or record.cost)


def withdrawn(record: JobRecord, submission: str) -> JobRecord:
    """Return the record without the purchase of a submission; without purchases, its cost is an estimate again."""
    known = next((known for known in record.purchases if known.submission == submission), None)
    if known is None:
        return record
    purchases = tuple(one for one in record.purchases if one is not known)
    estimate = msgspec.structs.replace(known.cost, estimated=True) if known.cost else None
    return msgspec.structs.replace(record, purchases=purchases, cost=_total(purchases) if purchases else estimate)


def entered_by_hand(record: JobRecord) -> Purchase | None:
    """Return the latest purchase that a person entered and that an earlier, failed submission of the job made."""
    earlier = (one for one in reversed(record.purchases) if one.submission != record.submission.id)
    return next((purchase for purchase in earlier if purchase.by_hand), None)


def purchase_changes(before: JobRecord, after: JobRecord) -> tuple[Sequence[Purchase], Sequence[Purchase]]:
    """Return the purchases that a change of a record removed, and those that it added."""
    if after.purchases is before.purchases:
        return (), ()
    removed = [purchase for purchase in before.purchases if purchase not in after.purchases]
    return removed, [purchase for purchase in after.purchases if purchase not in before.purchases]


def bought_nothing(record: JobRecord) -> bool:
    """Return whether a job ended without a purchase, so that its expected cost will not be charged."""
    ended = record.status in (Status.FAILED, Status.CANCELLED)
    return ended and not record.purchases and record.submission.state is SubmissionState.NONE


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
