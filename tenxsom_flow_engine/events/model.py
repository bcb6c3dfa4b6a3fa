"""The event: a fact with a stable id, as receivers get it.

The id is made of the facts, so the same change has the same id however often it is computed, also after a restore.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from tenxsom_flow_engine.clock import iso


class EventType(StrEnum):
    """The types of events. A family is the part before the dot."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_HELD = "job.held"
    JOB_CANCELLED = "job.cancelled"
    JOB_EXPIRED = "job.expired"
    BUDGET_50 = "budget.50"
    BUDGET_80 = "budget.80"
    BUDGET_100 = "budget.100"
    SERVICE_STOPPED = "service.stopped"
    SERVICE_RESUMED = "service.resumed"
    QUEUE_PAUSED = "queue.paused"
    QUEUE_RESUMED = "queue.resumed"
    VERDICT_RAISED = "verdict.raised"
    VERDICT_CLEARED = "verdict.cleared"

    @classmethod
    def of_budget(cls, level: float) -> EventType:
        """Return the type for a share of a budget: 0.5, 0.8 or 1."""
        return cls(f"budget.{level * 100:.0f}")

    @property
    def family(self) -> str:
        """The part before the dot."""
        return self.value.partition(".")[0]


#: The type of the message that a test of an endpoint sends; it is no event and is not stored.
TEST = "test.sent"
FAMILIES = tuple(dict.fromkeys(one.family for one in EventType))


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact. `subject` names the job, service, queue, budget or incident that it is about."""

    id: str
    type: EventType
    #: When it happened, in seconds since 1970.
    at: float
    subject: str
    #: The channel that it belongs to; empty: none.
    channel: str = ""
    data: Mapping[str, Any]
    #: Replaces parts of `data` for a receiver on a worker's machine.
    local: Mapping[str, Any] = {}

    @property
    def body(self) -> str:
        """The message in the form of Standard Webhooks, as JSON."""
        return body(self.type, self.at, self.data)


def body(kind: str, at: float, data: Mapping[str, Any]) -> str:
    """Return a message in the form of Standard Webhooks (spec 1.0.0), as JSON."""
    return msgspec.json.encode({"type": kind, "timestamp": iso(at), "data": data}).decode()


def event_id(*facts: object) -> str:
    """Return the id of the event with these facts: the same for the same facts. It has no dot."""
    return "evt_" + hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:24]
