"""A quota gate for tests that are not about quotas."""

from __future__ import annotations

from collections.abc import Mapping

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import Busy, ServiceError
from tenxsom_flow_engine.rate_limits.base import Admission, Closed, Share


class OpenGate:
    """A gate that is always open. A refusal only delays the refused job.

    The pauses, in seconds, apply to refusals without a time: of a busy service, and of a stopped one, which an operator
    must fix.
    """

    BUSY_PAUSE = 30.0
    STOPPED_RETRY_SECONDS = 300.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def ask(self, service: str, waiter_id: str, share: Share = Share()) -> Admission | Closed:
        """Admit the create."""
        return Admission(service, self._clock.now())

    def give_back(self, admission: Admission) -> None:
        """Do nothing, because admissions are not counted."""

    def answered(self, service: str, seconds: float) -> None:
        """Do nothing, because response times are not recorded."""

    def refused(self, service: str, error: ServiceError) -> Closed:
        """Return a closed gate for the pause that the error requires."""
        now = self._clock.now()
        pause = self.BUSY_PAUSE if isinstance(error, Busy) else self.STOPPED_RETRY_SECONDS
        until = now + (pause if error.retry_after is None else error.retry_after)
        return Closed(until, str(error), opens_at=until, at=now)

    def closed(self) -> Mapping[str, float]:
        """Return no services: none is ever closed."""
        return {}

    def opens_at(self, service: str) -> float:
        """Return an instant in the past: the gate is always open."""
        return 0.0
