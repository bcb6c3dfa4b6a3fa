"""The sums of what was bought, as a hash whose fields are `day|service|what`; a commit adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.purchases import new_purchases
from tenxsom_flow_engine.store.base import Spent, spent_on

_WHAT = ("videos", "usd", "credits", "unpriced")


def additions(before: JobRecord, after: JobRecord) -> list[object]:
    """Return what a change of a record adds: a field and an amount, and so on (see `commit.lua`)."""
    return [
        part
        for spent in spent_on(new_purchases(before, after))
        for what in _WHAT
        if (amount := getattr(spent, what))
        for part in (f"{spent.day}|{spent.service}|{what}", repr(amount))
    ]


def sums(fields: Mapping[str, str], since: str) -> Sequence[Spent]:
    """Read the hash, from a day on, the oldest first."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for field, amount in fields.items():
        day, service, what = field.split("|")
        if day >= since:
            found.setdefault((day, service), dict.fromkeys(_WHAT, 0.0))[what] = float(amount)
    return [
        Spent(day, service, int(sum_["videos"]), sum_["usd"], sum_["credits"], int(sum_["unpriced"]))
        for (day, service), sum_ in sorted(found.items())
    ]
