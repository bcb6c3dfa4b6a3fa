"""A channel whose budget covers half of its jobs: the others wait until it is removed, after the faults."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from chaos.judge import Capped
from tenxsom_flow_engine.budgets import Budget, Limit, Period, Span, to_micro_usd
from tenxsom_flow_engine.budgets.limits import CHANNEL as CHANNEL_SCOPE
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput, StoreError
from tenxsom_flow_engine.generation.routing import candidates
from tenxsom_flow_engine.jobs import SubmissionState
from tenxsom_flow_engine.store.values import JobFilter, NewJob
from tests.fake_vendors import Vendors

CHANNEL = "capped"
SCOPE = CHANNEL_SCOPE + CHANNEL


class CappedJobs:
    """The jobs of the channel and their budget."""

    def __init__(self, engine: Engine, budget: Budget, period: Period, prices: dict[tuple[str, str], int]) -> None:
        self._engine = engine
        self._budget = budget
        self._period = period
        #: The price in micro-dollars of each job at each service.
        self._prices = prices

    @classmethod
    def limit(cls, engine: Engine, jobs: Sequence[NewJob]) -> CappedJobs:
        """Set a budget for half of the expected cost of the channel's jobs, in a period that does not end soon."""
        prices: dict[tuple[str, str], int] = {}
        total = 0
        for item in jobs:
            if item.job.channel != CHANNEL:
                continue
            total += to_micro_usd(item.cost.usd if item.cost and item.cost.usd else 0.0)
            with suppress(InvalidInput):
                for one in candidates(item.job, engine.services):
                    prices[item.job.job_id, one.service.name] = to_micro_usd(one.price)
        now = engine.store.now()
        wide = Budget(SCOPE, tuple(Limit(span, total // 2) for span in Span))
        limit, period = max(wide.periods(now), key=lambda pair: pair[1].ends)
        budget = Budget(SCOPE, (limit,))
        engine.store.set_budget(SCOPE, budget)
        return cls(engine, budget, period, prices)

    def only_these_wait(self, jobs: int) -> bool:
        """Return whether each unfinished job waits for this budget."""
        with suppress(StoreError):
            records = self._engine.store.page(JobFilter(), limit=jobs + 1).records
            return len(records) == jobs and all(
                record.job.channel == CHANNEL and record.submission.state is SubmissionState.NONE
                for record in records
                if record.due is not None or record.lease is not None
            )
        return False

    def evidence(self, vendors: Vendors) -> Capped:
        """Return what was billed for these jobs, and what the store counts."""
        billed = sum(self._prices.get((bill.job_id, bill.service), 0) for bill in vendors.books())
        (amounts,) = self._engine.store.amounts([(SCOPE, self._period)])
        return Capped(SCOPE, self._budget.limits[0].micro_usd, billed, amounts.reserved, amounts.spent)

    def remove(self) -> None:
        """Remove the budget, so that the other jobs continue."""
        while True:
            try:
                return self._engine.store.set_budget(SCOPE, None)
            except StoreError:
                time.sleep(0.1)

    @staticmethod
    def summary(capped: Capped) -> dict[str, str]:
        """Return the use of the budget for the table of a run."""
        limit, counted = max(1, capped.limit), capped.spent + capped.reserved
        return {"budget, billed": f"{capped.billed / limit:.1%}", "budget, counted": f"{counted / limit:.1%}"}
