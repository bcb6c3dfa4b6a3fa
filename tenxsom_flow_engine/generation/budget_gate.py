"""The budgets as a gate: the amount that a create reserves, and what this process knows about spent budgets.

The store decides about each create (`JobStore.intend`). A refusal is remembered, so that the next jobs of that scope
need neither an admission nor a transaction, and workers skip the lanes of a service whose budget is spent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from tenxsom_flow_engine.budgets import Amounts, Budget, Period, in_force, scopes_of, to_micro_usd
from tenxsom_flow_engine.budgets.forecast import BudgetUse, Overrun, PlannedCost, overruns, uses
from tenxsom_flow_engine.errors import BudgetSpent
from tenxsom_flow_engine.jobs import Cost, VideoJob
from tenxsom_flow_engine.timings import Timings

#: Seconds for which a refusal counts without another read of the store: a budget can be raised at any moment.
MEMORY_SECONDS = 1.0
#: How often a process lets jobs of a spent budget through to the store, because one can be cheaper than those refused.
TRY_OTHERS_SECONDS = 60.0


class BudgetStore(Protocol):
    """The budgets and their amounts, implemented by `store.base.JobStore`."""

    def now(self) -> float:
        """Return the present instant."""

    def budgets(self) -> Mapping[str, Budget]:
        """Return the budgets that operators have set."""

    def amounts(self, periods: Sequence[tuple[str, Period]]) -> Sequence[Amounts]:
        """Return what each scope has used in a period."""


@dataclass(slots=True)
class _Refusal:
    """The cheapest create that the budget of a scope refused, until it is reset."""

    error: BudgetSpent
    #: By the monotonic clock.
    checked_at: float
    #: The services whose creates it refused, and when each is let through next.
    services: dict[str, float]


class BudgetGate:
    """What one process knows about the budgets. Thread-safe.

    `environment` has the budgets of the settings; those of the store win. `unknown_price` is the amount in USD that a
    create without a known price counts at; None: such a create is refused where a budget matches.
    """

    def __init__(
        self,
        store: BudgetStore,
        environment: Mapping[str, Budget],
        timings: Timings,
        *,
        unknown_price: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.environment = environment
        self._store = store
        self._timings = timings
        self._unknown_price = unknown_price
        self._monotonic = monotonic
        self._refusals: dict[str, _Refusal] = {}
        self._lock = Lock()

    def reserve(self, cost: Cost | None) -> int | None:
        """Return the micro-dollars to reserve for an expected cost; None if it is unknown."""
        usd = self._unknown_price if cost is None or cost.usd is None else cost.usd
        return None if usd is None else to_micro_usd(usd)

    def budgets(self) -> Mapping[str, Budget]:
        """Return the budgets in force by scope."""
        return in_force(self.environment, self._store.budgets())

    def uses(self) -> Sequence[BudgetUse]:
        """Return the present use of each budget in force."""
        return uses(self.environment, self._store.budgets(), self._store.amounts, self._store.now())

    def overruns(self, jobs: Iterable[PlannedCost]) -> Sequence[Overrun]:
        """Return which of the planned jobs do not fit into the budgets."""
        stored = self._store.budgets()
        return overruns(self.environment, stored, self._store.amounts, jobs) if stored or self.environment else ()

    def refusal(self, job: VideoJob, service: str, reserve: int | None) -> BudgetSpent | None:
        """Return the known refusal of a create, or None: then the store decides."""
        if not self._refusals or reserve == 0:
            return None
        for scope in scopes_of(job.channel, service, job.key_id):
            known = self._known(scope)
            if known is not None and (reserve is None or reserve >= known.micro_usd):
                return known
        return None

    def remember(self, error: BudgetSpent, service: str) -> None:
        """Remember a refusal of the store, of a create at a service."""
        now = self._monotonic()
        with self._lock:
            for scope in error.scopes if error.resets_at is not None else ():
                known = self._refusals.get(scope)
                services = {} if known is None else known.services
                services.setdefault(service, now + TRY_OTHERS_SECONDS)
                if known is None or error.micro_usd <= known.error.micro_usd:
                    self._refusals[scope] = _Refusal(error, now, services)

    def closed(self, services: Collection[str]) -> Mapping[str, float]:
        """Return the services at which a spent budget, their own or that of all jobs, refused a create, and until when.

        Once in a while each is left out, so that a job that is cheaper than those refused gets its turn.
        """
        if not self._refusals:
            return {}
        found: dict[str, float] = {}
        for service in services:
            for scope in scopes_of("", service):
                known = self._known(scope)
                if known is not None and not self._lets_through(scope, service):
                    found[service] = max(found.get(service, 0.0), known.resets_at or math.inf)
        return found

    def ask_again_at(self, error: BudgetSpent, job_id: str) -> float:
        """Return when a refused job should be tried again: at the reset, or earlier, as the budget can be raised.

        The instants of many jobs are spread out.
        """
        now = self._store.now()
        hint = now + self._timings.spread_hint(job_id)
        return hint if error.resets_at is None else max(now, min(error.resets_at, hint))

    def _known(self, scope: str) -> BudgetSpent | None:
        """Return the refusal of a scope; it is checked again once a second."""
        known = self._refusals.get(scope)
        if known is None:
            return None
        now = self._monotonic()
        if now - known.checked_at < MEMORY_SECONDS:
            return known.error
        if self._has_room(scope, known.error):
            with self._lock:
                self._refusals.pop(scope, None)
            return None
        known.checked_at = now
        return known.error

    def _has_room(self, scope: str, error: BudgetSpent) -> bool:
        now = self._store.now()
        budget = self.budgets().get(scope)
        periods = list(budget.periods(now)) if budget else []
        used = self._store.amounts([(scope, period) for _, period in periods])
        return all(
            amounts.used + error.micro_usd <= limit.micro_usd for (limit, _), amounts in zip(periods, used, strict=True)
        )

    def _lets_through(self, scope: str, service: str) -> bool:
        known, now = self._refusals.get(scope), self._monotonic()
        if known is None or service not in known.services:
            return True
        if now < known.services[service]:
            return False
        known.services[service] = now + TRY_OTHERS_SECONDS
        return True
