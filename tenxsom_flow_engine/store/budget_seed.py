"""The first amounts of the budgets in a store that an earlier release has filled: from its totals of purchases.

The totals have no channels, so those budgets start at zero. An hour counts at its begin, and so does an earlier day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from tenxsom_flow_engine.budgets import scopes_of, to_micro_usd
from tenxsom_flow_engine.budgets.charges import KEEP_QUARTERS, ChargeChange, quarter
from tenxsom_flow_engine.store.totals import Total


def seed(days: Iterable[Total], hours: Iterable[Total], now: float) -> Sequence[ChargeChange]:
    """Return the amounts that the totals of days and hours show as spent."""
    by_hour = {(one.period, one.service): to_micro_usd(one.amount) for one in hours if one.name == "usd"}
    left: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in days:
        if one.name == "usd":
            left[one.period, one.service] = to_micro_usd(one.amount)
    for (hour, service), amount in by_hour.items():
        left[hour[:10], service] -= amount
    sums: defaultdict[tuple[str, int], int] = defaultdict(int)
    for (period, service), amount in (*left.items(), *by_hour.items()):
        at = datetime.fromisoformat(period if "T" not in period else f"{period}:00").replace(tzinfo=UTC).timestamp()
        if amount > 0 and at > now - KEEP_QUARTERS:
            for scope in scopes_of("", service):
                sums[scope, quarter(at)] += amount
    return [ChargeChange(scope, place, 0, amount) for (scope, place), amount in sums.items()]
