"""A quota gate for tests that are not about quotas."""

from __future__ import annotations

from collections.abc import Mapping

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import Busy, ServiceError
from tenxsom_flow_engine.rate_limits.base import Admission, Closed


class OpenGate:
    """Always open. Each job that is refused asks again by itself.

    The pauses, in seconds, are for refusals that name no time: by a service that is busy, and by one that a person
    must mend first.
    """

    BUSY_PAUSE = 30.0
    STOPPED_RETRY_SECONDS = 300.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def ask(self, service: str, waiter_id: str) -> Admission | Closed:
        """Admit."""
        return Admission(service, self._clock.now())

    def give_back(self, admission: Admission) -> None:
        """Admissions are not counted here, so there is nothing to return."""

    def answered(self, service: str, seconds: float) -> None:
        """Nothing is kept here."""

    def refused(self, service: str, error: ServiceError) -> Closed:
        """Return the pause that the error asks for."""
        now = self._clock.now()
        pause = self.BUSY_PAUSE if isinstance(error, Busy) else self.STOPPED_RETRY_SECONDS
        until = now + (pause if error.retry_after is None else error.retry_after)
        return Closed(until, str(error), opens_at=until, at=now)

    def closed(self) -> Mapping[str, float]:
        """None is known to be shut."""
        return {}

    def opens_at(self, service: str) -> float:
        """Now."""
        return 0.0
