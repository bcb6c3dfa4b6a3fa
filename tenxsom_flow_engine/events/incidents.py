"""Incidents: verdicts of the report from their first to their last sighting, each with one event for both.

A verdict that comes and goes is one incident, so that it causes no flood of messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.events.endpoints import Endpoint, EndpointKind
from tenxsom_flow_engine.events.model import Event, EventType, event_id
from tenxsom_flow_engine.events.outbox import KEEP_SECONDS

#: The kind of the memos that hold incidents, by id, and how long those that are over are kept.
KIND, KEEP = "incident", KEEP_SECONDS
#: Seconds without a sighting after which an incident is over.
OVER_AFTER = 90.0


class Memos(Protocol):
    """The part of a store that incidents need."""

    def memo(self, kind: str, name: str) -> str | None:
        """Return the text of a memo, or None."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict as a message shows it. `code`, `level` and `subject` identify an incident; numbers in `text` vary."""

    code: str
    level: str
    subject: str
    text: str
    #: Where the documents explain it.
    see: str

    @property
    def key(self) -> tuple[str, str, str]:
        """The facts that two sightings of one incident share."""
        return self.code, self.level, self.subject


class Incident(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A verdict that lasts, or lasted. Instants in seconds since 1970."""

    id: str
    finding: Finding
    since: float
    seen_at: float
    cleared_at: float | None = None

    @classmethod
    def begin(cls, finding: Finding, now: float) -> Incident:
        """Return the incident of a verdict that is new."""
        return cls(id=event_id("incident", *finding.key, repr(now)), finding=finding, since=now, seen_at=now)

    @property
    def lasted(self) -> float:
        """Seconds from the first to the last sighting, to the millisecond."""
        return round(self.seen_at - self.since, 3)

    @property
    def text(self) -> str:
        """The incident as JSON, for a memo."""
        return msgspec.json.encode(self).decode()

    @property
    def raised(self) -> Event:
        """The event of its begin."""
        return self._event(EventType.VERDICT_RAISED, self.since, {})

    def cleared(self, now: float) -> Event:
        """Return the event of its end."""
        return self._event(EventType.VERDICT_CLEARED, now, {"lasted_seconds": self.lasted})

    def _event(self, kind: EventType, at: float, more: Mapping[str, Any]) -> Event:
        found = self.finding
        data = {
            "incident": self.id, "code": found.code, "level": found.level, "subject": found.subject or None,
            "text": found.text, "see": found.see, "since": iso(self.since), **more,
        }  # fmt: skip
        return Event(id=event_id(kind, self.id), type=kind, at=at, subject=self.id, data=data)


def parse_incident(text: str) -> Incident:
    """Read an incident from JSON. Raises `ValueError` for anything else."""
    return msgspec.json.decode(text, type=Incident)


class Report(StrEnum):
    """Whether an alert reports the begin of an incident. It then reports the end, too, and otherwise not."""

    SEND = "send"
    WAIT = "wait"  # it has not been seen for long enough yet
    WITHDRAW = "withdraw"  # it ended before


def report_of(memos: Memos, endpoint: Endpoint, incident_id: str) -> Report:
    """Return whether an endpoint reports the begin of an incident now."""
    stored = memos.memo(KIND, incident_id) if endpoint.kind is EndpointKind.ALERT else None
    incident = parse_incident(stored) if stored else None
    if incident is None or incident.lasted >= endpoint.after:
        return Report.SEND
    return Report.WAIT if incident.cleared_at is None else Report.WITHDRAW
