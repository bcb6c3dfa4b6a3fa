"""The purchases of a job: a list with one entry for each generation that a service sold.

A store adds them to its totals by day and service in the same transaction (`store.base.JobStore.spent`). The submission
id identifies a purchase, so a ticket that is saved twice counts once. An entry changes only if a person entered the
ticket: until the video exists it can be replaced, and it can be withdrawn at any time after it failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tenxsom_flow_engine.budgets import to_micro_usd
from tenxsom_flow_engine.clock import utc_datetime
from tenxsom_flow_engine.jobs import Charge, Cost, JobRecord, Purchase, Status, SubmissionState


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
    charge = purchase.charge
    if known.charge is not None and (purchase.cost is None or purchase.cost.usd is None):
        charge = known.charge
    elif known.charge is not None and charge is not None:  # it stays in the same periods of the budgets
        charge = Charge(known.charge.at, charge.micro_usd)
    purchase = msgspec.structs.replace(purchase, at=known.at, charge=charge)
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


def refunded(record: JobRecord, submission: str) -> JobRecord:
    """Return the record with the purchase of a submission at no cost: the service has taken its charge back."""
    purchases = tuple(
        msgspec.structs.replace(one, cost=Cost(usd=0.0, credits=0.0, estimated=False), charge=None)
        if one.submission == submission
        else one
        for one in record.purchases
    )
    if purchases == record.purchases:
        return record
    return msgspec.structs.replace(record, purchases=purchases, cost=_total(purchases) or record.cost)


def charge_for(cost: Cost | None, reserved: Charge | None, now: float) -> Charge | None:
    """Return what a purchase takes from the budgets: its cost, else what was reserved, and in the same periods."""
    at = reserved.at if reserved is not None else now
    if cost is None or cost.usd is None:
        return reserved
    micro_usd = to_micro_usd(cost.usd)
    return Charge(at, micro_usd) if micro_usd > 0 else None


def charge_of(record: JobRecord, submission: str) -> Charge | None:
    """Return what the purchase of a submission took from the budgets."""
    return next((one.charge for one in record.purchases if one.submission == submission), None)


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
