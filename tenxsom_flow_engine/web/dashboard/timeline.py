"""The lines of a job's timeline: each event with its count, its worker and the time since the last one. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.jobs import Event, EventKind, JobRecord
from tenxsom_flow_engine.jobs.lifecycle import FIRST_EVENTS, LAST_EVENTS

#: Texts for kinds whose names are not clear enough.
_WORDS: Mapping[str, str] = {
    EventKind.SUBMITTING: "Order sent",
    EventKind.ACCEPTED: "Order accepted",
    EventKind.FAULT: "Error, will be retried",
    EventKind.SPOOLED: "Fetched, waits for the bucket",
    EventKind.NOTHING_BOUGHT: "Nothing was bought",
    EventKind.OUTCOME_UNKNOWN: "Outcome unknown",
    EventKind.LATE_TICKET: "A late worker reported the ticket of another order",
    EventKind.LEASE_RAN_OUT: "The worker was lost",
    EventKind.ADOPTED: "Taken over",
    EventKind.STOPPED: "Ended at the service",
    EventKind.SLOT_FREED: "Its slot is free: the service does not run it",
    EventKind.DELIVERED_AGAIN: "Delivered again",
    EventKind.RESUBMITTED: "Ordered again",
    EventKind.EXPIRED: "Expired: it could not start in time",
}
#: Kinds that are shown without their detail.
_WITHOUT_DETAIL = frozenset({EventKind.RENDERING, EventKind.RENDERED})
_BAD = frozenset(
    {
        EventKind.FAULT, EventKind.FAILED, EventKind.HELD, EventKind.OUTCOME_UNKNOWN, EventKind.LEASE_RAN_OUT,
        EventKind.GIVEN_UP, EventKind.EXPIRED,
    }
)  # fmt: skip
_GOOD = frozenset({EventKind.PUBLISHED, EventKind.ACCEPTED})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    event: Event
    what: str
    #: Additional text; can be empty.
    detail: str
    #: Seconds since the last occurrence of the previous line; None for the first line.
    after: float | None
    #: `bad`, `ok` or empty.
    kind: str
    #: Whether the event counts polls of the service.
    polls: bool = False
    #: Whether events before this line were omitted.
    gap: bool = False


def timeline(record: JobRecord) -> Sequence[Entry]:
    """Return the lines, the oldest first."""
    cut = len(record.events) >= FIRST_EVENTS + LAST_EVENTS
    lines = []
    before: Event | None = None
    for number, event in enumerate(record.events):
        kind, detail = event.kind_and_detail
        if kind == EventKind.SUBMITTED:
            continue  # the previous line, "Order accepted", already says it
        after = None if before is None else max(0.0, event.at - (before.last_at or before.at))
        lines.append(
            Entry(
                event,
                what=_WORDS.get(kind, kind.capitalize()),
                detail="" if kind in _WITHOUT_DETAIL else detail,
                after=after,
                kind="bad" if kind in _BAD else "ok" if kind in _GOOD else "",
                polls=kind == EventKind.RENDERING,
                gap=cut and number == FIRST_EVENTS,
            )
        )
        before = event
    return lines
