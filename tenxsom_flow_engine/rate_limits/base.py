"""The quota gate's contract: whether a paid create may be sent now, and what its answer teaches.

All instants are the deciding store's own time, in seconds since 1970 (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tenxsom_flow_engine.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Admission:
    """The right to send one create now. It counts from `at`, whether it is used or not, unless it is given back."""

    service: str
    at: float
    #: The service is paused, and this create is sent to see whether it works again.
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """Not now. `ask_again_at` says when to ask again; it reserves nothing.

    The hints are spread out, so that waiters do not all come back at once.
    """

    ask_again_at: float
    why: str
    #: When the first of all waiters may pass.
    opens_at: float
    #: When this was said.
    at: float


class QuotaGate(Protocol):
    """What `generate_video` asks before each paid create. Blocks nowhere. Every method may raise `StoreError`."""

    def ask(self, service: str, waiter_id: str) -> Admission | Closed:
        """Take an admission for one create of `service`, or learn when to ask again.

        `waiter_id` names who asks (e.g. a job), the same each time, so that a refused one keeps its place.
        """

    def give_back(self, admission: Admission) -> None:
        """Return an admission whose create was not sent."""

    def answered(self, service: str, seconds: float) -> None:
        """Learn that a service took a create, and how long its answer took."""

    def refused(self, service: str, error: ServiceError) -> Closed:
        """Learn that any call was answered with busy, misconfigured or out of credit; return when to ask again."""

    def closed(self) -> Mapping[str, float]:
        """Return the services that this process knows to be shut, and until when. Cheap: asks at most once a second."""

    def opens_at(self, service: str) -> float:
        """Return when a create could next pass: what has come means now; infinity, not before a person acts."""
