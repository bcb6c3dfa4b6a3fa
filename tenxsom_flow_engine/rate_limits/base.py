"""The quota gate's contract: whether a paid create may be sent now, and what its answer teaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tenxsom_flow_engine.errors import Busy, ServiceError


@dataclass(frozen=True, slots=True)
class Closed:
    """Not now. `until` is a hint when to ask again, not a right to pass then."""

    until: float
    why: str


class QuotaGate(Protocol):
    """What `generate_video` asks before each paid create. Blocks nowhere."""

    def ask(self, service: str, now: float) -> Closed | None:
        """Take an admission for one create of `service`, or say when to ask again."""

    def give_back(self, service: str, now: float) -> None:
        """Return an admission whose create was not sent."""

    def refused(self, error: ServiceError, now: float) -> Closed:
        """Learn that a service said busy, misconfigured or out of credit; return when to ask again."""


class Unmetered:
    """The gate of services without quotas: always open. Each job that is refused asks again by itself.

    The pauses, in seconds, are for refusals that name no time: by a service that is busy, and by one that a person
    must mend first.
    """

    BUSY_PAUSE = 30.0
    STOPPED_PAUSE = 300.0

    def ask(self, service: str, now: float) -> Closed | None:
        """Admit."""
        return None

    def give_back(self, service: str, now: float) -> None:
        """Admissions are not counted here, so there is nothing to return."""

    def refused(self, error: ServiceError, now: float) -> Closed:
        """Return the pause that the error asks for."""
        pause = self.BUSY_PAUSE if isinstance(error, Busy) else self.STOPPED_PAUSE
        return Closed(until=now + (pause if error.retry_after is None else error.retry_after), why=str(error))
