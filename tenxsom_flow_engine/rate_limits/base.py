"""The interface of the quota gate: whether a paid create may be sent now, and feedback from its answer.

All instants are in the time of the store that decides, as seconds since 1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tenxsom_flow_engine.errors import ServiceError
from tenxsom_flow_engine.rate_limits.windows import Windows


@dataclass(frozen=True, slots=True)
class Share:
    """The channel that asks: its weight among the channels that wait, and its own windows."""

    channel: str = ""
    weight: float = 1.0
    windows: Windows = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """The right to send one create now. It counts from `at`, used or not, unless it is given back."""

    service: str
    at: float
    share: Share = Share()
    #: The service is stopped, and this create checks whether it works again.
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """No create may be sent now. `ask_again_at` is a hint when to ask again; it reserves nothing.

    Hints are spread out, so that waiters do not all return at once.
    """

    ask_again_at: float
    why: str
    #: When the service can admit the first of all waiters; a past instant if only this one, or its channel, must wait.
    opens_at: float
    #: The instant of this answer.
    at: float


@dataclass(frozen=True, slots=True)
class MovedUp:
    """A waiter that took the place of one that was removed, and its new, earlier hint."""

    waiter_id: str
    ask_again_at: float


class QuotaGate(Protocol):
    """The gate that `generate_video` asks before each paid create. Never blocks. Methods can raise `StoreError`."""

    def ask(self, service: str, waiter_id: str, share: Share = Share()) -> Admission | Closed:
        """Return an admission for one create of `service`, or when to ask again.

        `waiter_id` identifies the caller (for example a job id). It must be the same each time, so that a refused
        waiter keeps its place. While several channels wait, each gets its share of the admissions.
        """

    def give_back(self, admission: Admission) -> None:
        """Give back an admission whose create was not sent."""

    def answered(self, service: str, seconds: float) -> None:
        """Record that a service accepted a create, and its response time in seconds."""

    def refused(self, service: str, error: ServiceError) -> Closed:
        """Record that a call was answered with busy, misconfigured or out of credit; return when to ask again."""

    def closed(self) -> Mapping[str, float]:
        """Return the services known to be closed, and until when. Cheap: reads the ledger at most once a second."""

    def opens_at(self, service: str) -> float:
        """Return when the next create could be admitted: a past instant means now, infinity when an operator acts."""
