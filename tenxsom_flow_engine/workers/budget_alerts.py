"""Report when a budget is half, nearly or completely used: once in a period, whichever worker notices it first."""

from __future__ import annotations

import logging

from tenxsom_flow_engine.budgets import to_usd
from tenxsom_flow_engine.budgets.forecast import ALERTS, SPENT_SHARE, BudgetUse
from tenxsom_flow_engine.budgets.limits import CHANNEL
from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.events import Event, EventType
from tenxsom_flow_engine.events.model import event_id
from tenxsom_flow_engine.text import usd

_log = logging.getLogger(__name__)

#: The kind of the memos that hold the levels that were reported.
KIND = "budget-alert"


class BudgetAlerts:
    """The alerts of one process. A memo of the store, until the reset, keeps others from repeating them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reported: dict[str, float] = {}

    def check(self) -> None:
        """Report each limit that has passed a threshold since the last check. Raises `StoreError`."""
        store = self._engine.store
        now = store.now()
        for use in self._engine.budgets.uses():
            passed = [level for level in ALERTS if use.share >= min(level, SPENT_SHARE)]
            key = f"{use.budget.scope}:{use.limit}:{use.period.name}"
            left = use.period.ends - now
            if not passed or left <= 0 or self._reported.get(key, 0.0) >= passed[-1]:
                continue
            known = store.memo(KIND, key)
            # Only the highest level is reported, and it also covers the lower ones.
            if known is None or float(known) < passed[-1]:
                text, events = str(passed[-1]), [_event(use, passed[-1], now)]
                if store.put_memo(KIND, key, text, left, instead_of=known, events=events) != text:
                    continue  # another worker has just written it; the next check compares again
                _report(use, passed[-1])
            self._reported[key] = passed[-1]


def _event(use: BudgetUse, level: float, now: float) -> Event:
    """Return the event of a budget that has passed a threshold."""
    kind, scope = EventType.of_budget(level), use.budget.scope
    return Event(
        id=event_id(kind, scope, use.limit, use.period.name, use.period.begins),
        type=kind,
        at=now,
        subject=f"{scope} {use.limit}",
        channel=scope.removeprefix(CHANNEL) if scope.startswith(CHANNEL) else "",
        data={
            "scope": scope,
            "limit": str(use.limit),
            "used_share": round(use.share, 4),
            "limit_usd": to_usd(use.limit.micro_usd),
            "spent_usd": to_usd(use.amounts.spent),
            "reserved_usd": to_usd(use.amounts.reserved),
            "resets_at": iso(use.period.ends),
        },
    )


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
