"""The quota gate over a ledger, used by `generate_video`, the API client and the command line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tenxsom_flow_engine.errors import Busy, InvalidInput, ServiceError
from tenxsom_flow_engine.rate_limits import pace
from tenxsom_flow_engine.rate_limits.base import Admission, Closed, MovedUp, Share
from tenxsom_flow_engine.rate_limits.ledger import Ledger
from tenxsom_flow_engine.rate_limits.pace import Gate
from tenxsom_flow_engine.rate_limits.stats import overview
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Limits, Windows, write_windows

_log = logging.getLogger(__name__)

#: Seconds for which a process caches the state of closed gates.
GATE_CACHE_SECONDS = 1.0
#: Seconds between two log lines of one process about a stopped service.
STOPPED_LOG_INTERVAL = 60.0


class RateLimiter:
    """The quota gate (see `base.QuotaGate`), its statistics, and the changes that an operator can make.

    `limits` are the environment's; run-time limits are in the ledger, and win. `others` are known services without
    limits.
    """

    def __init__(
        self,
        ledger: Ledger,
        limits: Limits,
        others: Iterable[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._limits = limits
        self._others = tuple(name for name in others if name not in limits)
        self._monotonic = monotonic
        #: The gates that this process has found closed, and until when; read again once a second.
        self._closed: dict[str, float] = {}
        self._checked_at = monotonic()
        #: When this process may log the next error of a stopped service.
        self._log_again_at: dict[str, float] = {}

    @property
    def services(self) -> tuple[str, ...]:
        """The names of all known services."""
        return (*(name for name in self._limits if name != GLOBAL), *self._others)

    def require(self, service: str) -> None:
        """Raise `InvalidInput` for an unknown service, listing the known ones."""
        if service not in self.services:
            known = ", ".join(self.services)
            raise InvalidInput("service", f"there are no limits for {service!r}", next_step=f"use one of: {known}")

    # The quota gate.

    def ask(self, service: str, waiter_id: str, share: Share = Share()) -> Admission | Closed:
        """See `QuotaGate.ask`."""
        answer = self._ledger.ask(service, waiter_id, self._limits, share)
        if isinstance(answer, Closed) and answer.opens_at > answer.at:
            self._remember(service, answer.opens_at)
        return answer

    def give_back(self, admission: Admission) -> None:
        """See `QuotaGate.give_back`."""
        self._ledger.give_back(admission)

    def forget(self, service: str, waiter_id: str) -> MovedUp | None:
        """Remove a refused waiter that will not ask again; return the waiter that takes its place, if any."""
        return self._ledger.forget(service, waiter_id)

    def answered(self, service: str, seconds: float) -> None:
        """See `QuotaGate.answered`."""
        self._ledger.answered(service, seconds)

    def refused(self, service: str, error: ServiceError) -> Closed:
        """See `QuotaGate.refused`."""
        timings = self._ledger.timings
        instant = 0.0

        def refuse(gate: Gate, now: float) -> Gate:
            nonlocal instant
            instant = now
            return pace.refused(gate, error, now, timings)

        gate = self._ledger.change(service, refuse, count="refused")
        if not isinstance(error, Busy):
            self._log_stopped(service, error)
        opens_at = gate.reopens(instant) or instant
        self._remember(service, opens_at)
        # An operator can resume a service at any moment, so hints stay short even if the service is stopped for long.
        pause = min(pace.silence(error, timings), timings.max_hint) if isinstance(error, Busy) else timings.stopped_hint
        return Closed(instant + pause, str(error), opens_at=opens_at, at=instant)

    def closed(self) -> Mapping[str, float]:
        """See `QuotaGate.closed`."""
        now = self._monotonic()
        if self._closed and now - self._checked_at >= GATE_CACHE_SECONDS:
            self._checked_at = now
            for service in list(self._closed):
                closed = self._ledger.peek(service, self._limits)
                if closed is None:
                    self._closed.pop(service, None)
                else:
                    self._closed[service] = closed.opens_at
        return dict(self._closed)

    def opens_at(self, service: str) -> float:
        """See `QuotaGate.opens_at`."""
        closed = self._ledger.peek(service, self._limits)
        if closed is None:
            return 0.0
        # The caller chooses another service and never calls `ask`, so save the closed gate here.
        self._remember(service, closed.opens_at)
        return closed.opens_at

    # Statistics, and changes by operators.

    def get_rate_limit_stats(self) -> dict[str, Any]:
        """Return the statistics of each service and of all together, as plain values (see `stats`).

        Counts cover all processes since the ledger was created. A service that has no limits and whose gate was never
        closed is omitted.
        """
        snapshots = {name: self._ledger.snapshot(name) for name in (*self.services, GLOBAL)}
        limited = (*self._limits, GLOBAL)
        shown = {name: one for name, one in snapshots.items() if name in limited or one.gate != Gate()}
        return overview(shown, self._limits, self._ledger.timings)

    def set_clock_back(self, now: float, lead: float) -> None:
        """Correct all services after the store's clock was `lead` seconds ahead of `now` (see `Ledger`)."""
        for service in (*self.services, GLOBAL):
            self._ledger.set_clock_back(service, now, lead)

    def set_limits(self, service: str, windows: Windows | None) -> None:
        """Set the windows of a service, or of `global`; None restores those of the environment.

        Raises `InvalidInput` for an unknown service.
        """
        if service != GLOBAL:
            self.require(service)
        text = "" if windows is None else write_windows(windows)
        self._ledger.change(service, lambda gate, now: replace(gate, limits=text))

    def pause(self, service: str, why: str = "paused") -> None:
        """Admit no create of a service until `resume`. Raises `InvalidInput` for an unknown service."""
        self.require(service)
        self._ledger.change(service, lambda gate, now: pace.paused(gate, why))

    def resume(self, service: str) -> None:
        """Resume a paused or stopped service. Raises `InvalidInput` for an unknown service."""
        self.require(service)
        self._ledger.change(service, lambda gate, now: pace.resumed(gate))
        self._closed.pop(service, None)

    def _log_stopped(self, service: str, error: ServiceError) -> None:
        now = self._monotonic()
        if now >= self._log_again_at.get(service, now):
            self._log_again_at[service] = now + STOPPED_LOG_INTERVAL
            why = f"{error.reason} ({error.next_step})" if error.next_step else error.reason
            _log.error("%s is stopped: %s", service, why, extra={"service": service, "error": error.code})

    def _remember(self, service: str, opens_at: float) -> None:
        if not self._closed:
            self._checked_at = self._monotonic()
        self._closed[service] = opens_at
