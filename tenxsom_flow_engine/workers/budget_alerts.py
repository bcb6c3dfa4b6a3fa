"""Log lines when a budget is half, nearly or completely used: once in a period, whichever worker notices it first."""

from __future__ import annotations

import logging

from tenxsom_flow_engine.budgets import to_usd
from tenxsom_flow_engine.budgets.forecast import ALERTS, SPENT_SHARE, BudgetUse
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.text import usd

_log = logging.getLogger(__name__)


class BudgetAlerts:
    """The alerts of one process. A named lock of the store, until the reset, keeps others from repeating them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reported: dict[str, float] = {}

    def check(self, owner: str) -> None:
        """Log each limit that has passed a threshold since the last check, as this worker. Raises `StoreError`."""
        now = self._engine.store.now()
        for use in self._engine.budgets.uses():
            passed = [level for level in ALERTS if use.share >= min(level, SPENT_SHARE)]
            key = f"budget:{use.budget.scope}:{use.limit}:{use.period.name}"
            if not passed or self._reported.get(key, 0.0) >= passed[-1]:
                continue
            self._reported[key] = passed[-1]
            left = use.period.ends - now
            # Only the highest level is reported, and it also covers the lower ones.
            first = [
                self._engine.store.acquire_lock(f"{key}:{level:.0%}", f"{owner}:{level}", left) for level in passed
            ]
            if left > 0 and first[-1]:
                _report(use, passed[-1])


def _report(use: BudgetUse, level: float) -> None:
    spent, reserved = (usd(to_usd(amount)) for amount in (use.amounts.spent, use.amounts.reserved))
    _log.warning(
        "%.0f %% of the budget %s is used (%s spent, %s reserved); it is reset at %s%s",
        use.share * 100,
        use.name,
        spent,
        reserved,
        use.resets,
        ", and jobs wait until then" if level == ALERTS[-1] else "",
        extra={"budget": use.budget.scope, "level": level},
    )
