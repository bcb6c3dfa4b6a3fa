"""The quota gate over a ledger: what `generate_video`, the API client and the command line ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tenxsom_flow_engine.errors import Busy, InvalidInput, ServiceError
from tenxsom_flow_engine.rate_limits import pace
from tenxsom_flow_engine.rate_limits.base import Admission, Closed
from tenxsom_flow_engine.rate_limits.ledger import Ledger
from tenxsom_flow_engine.rate_limits.pace import Gate
from tenxsom_flow_engine.rate_limits.stats import overview
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Limits, Windows, write_windows

#: Seconds for which a process believes what it knows of shut gates.
GATE_CACHE_SECONDS = 1.0


class RateLimiter:
    """The quota gate (see `base.QuotaGate`), its statistics, and what a person may change.

    `limits` are the environment's; what was set at run time is kept in the ledger, and wins. `others` are services
    that may be named beside those that have limits.
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
        #: The gates that this process found shut, and until when; looked at again once a second.
        self._shut: dict[str, float] = {}
        self._looked_at = monotonic()

    @property
    def services(self) -> tuple[str, ...]:
        """The services that are known here."""
        return (*(name for name in self._limits if name != GLOBAL), *self._others)

    def require(self, service: str) -> None:
        """Raise `InvalidInput` for a service that is not known, naming those that are."""
        if service not in self.services:
            known = ", ".join(self.services)
            raise InvalidInput("service", f"there are no limits for {service!r}", next_step=f"use one of: {known}")

    # The quota gate.

    def ask(self, service: str, waiter_id: str) -> Admission | Closed:
        """See `QuotaGate.ask`."""
        answer = self._ledger.ask(service, waiter_id, self._limits)
        if isinstance(answer, Closed):
            self._remember(service, answer.opens_at)
        return answer

    def give_back(self, admission: Admission) -> None:
        """See `QuotaGate.give_back`."""
        self._ledger.give_back(admission)

    def forget(self, service: str, waiter_id: str) -> None:
        """Take a waiter that was refused, and will not ask again, out of the line."""
        self._ledger.forget(service, waiter_id)

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
        opens_at = gate.reopens(instant) or instant
        self._remember(service, opens_at)
        # A person may let a service go on at any moment, so nobody waits long for a stopped one, nor for a day.
        pause = min(pace.silence(error, timings), timings.max_hint) if isinstance(error, Busy) else timings.stopped_hint
        return Closed(instant + pause, str(error), opens_at=opens_at, at=instant)

    def closed(self) -> Mapping[str, float]:
        """See `QuotaGate.closed`."""
        now = self._monotonic()
        if self._shut and now - self._looked_at >= GATE_CACHE_SECONDS:
            self._looked_at = now
            for service in list(self._shut):
                closed = self._ledger.peek(service, self._limits)
                if closed is None:
                    self._shut.pop(service, None)
                else:
                    self._shut[service] = closed.opens_at
        return dict(self._shut)

    def opens_at(self, service: str) -> float:
        """See `QuotaGate.opens_at`."""
        closed = self._ledger.peek(service, self._limits)
        if closed is None:
            return 0.0
        # Who is told goes elsewhere and never asks, so this is all that this process learns of it.
        self._remember(service, closed.opens_at)
        return closed.opens_at

    # What a person may know and change.

    def get_rate_limit_stats(self) -> dict[str, Any]:
        """Return what is known of all services together and of each, as plain values (see `stats`).

        Counts are those of all processes since the ledger was made. Of a service that never had limits nor trouble
        there is nothing to tell.
        """
        looks = {name: self._ledger.snapshot(name) for name in (*self.services, GLOBAL)}
        told = {name: look for name, look in looks.items() if name in (*self._limits, GLOBAL) or look.gate != Gate()}
        return overview(told, self._limits, self._ledger.timings)

    def set_limits(self, service: str, windows: Windows | None) -> None:
        """Set the windows of a service, or of `global`; None: those of the environment hold again.

        Raises `InvalidInput` for a service that is not known.
        """
        if service != GLOBAL:
            self.require(service)
        text = "" if windows is None else write_windows(windows)
        self._ledger.change(service, lambda gate, now: replace(gate, limits=text))

    def pause(self, service: str, why: str = "paused") -> None:
        """Let no create of a service pass until `resume`. Raises `InvalidInput` for one that is not known."""
        self.require(service)
        self._ledger.change(service, lambda gate, now: pace.paused(gate, why))

    def resume(self, service: str) -> None:
        """Let a service that was paused, or stopped by itself, go on. Raises `InvalidInput`."""
        self.require(service)
        self._ledger.change(service, lambda gate, now: pace.resumed(gate))
        self._shut.pop(service, None)

    def _remember(self, service: str, opens_at: float) -> None:
        if not self._shut:
            self._looked_at = self._monotonic()
        self._shut[service] = opens_at
