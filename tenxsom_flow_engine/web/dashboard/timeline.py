"""A job's timeline as people read it: what happened, how often, by whom, and how long it took in between. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.jobs import Event, EventKind, JobRecord
from tenxsom_flow_engine.jobs.lifecycle import FIRST_EVENTS, LAST_EVENTS

#: Words for kinds that say too little by themselves.
_WORDS: Mapping[str, str] = {
    EventKind.SUBMITTING: "Order sent",
    EventKind.ACCEPTED: "Order accepted",
    EventKind.FAULT: "Fault, tried again later",
    EventKind.NOTHING_BOUGHT: "Nothing was bought",
    EventKind.OUTCOME_UNKNOWN: "Outcome of the order unknown",
    EventKind.LATE_TICKET: "A late worker brought the ticket of another order",
    EventKind.LEASE_RAN_OUT: "The worker was lost",
    EventKind.ADOPTED: "Taken over",
    EventKind.STOPPED: "Stopped at the service",
    EventKind.DELIVERED_AGAIN: "Delivered again",
    EventKind.RESUBMITTED: "Ordered again",
}
#: While the service works the kind says it all.
_WITHOUT_DETAIL = frozenset({EventKind.RENDERING, EventKind.RENDERED})
_BAD = frozenset(
    {
        EventKind.FAULT, EventKind.FAILED, EventKind.HELD, EventKind.OUTCOME_UNKNOWN, EventKind.LEASE_RAN_OUT,
        EventKind.GIVEN_UP,
    }
)  # fmt: skip
_GOOD = frozenset({EventKind.PUBLISHED, EventKind.ACCEPTED})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    event: Event
    what: str
    #: What is said beside it; empty where `what` says it all.
    detail: str
    #: Seconds since the line before, from its last time; None for the first.
    after: float | None
    #: `bad`, `ok` or nothing.
    kind: str
    #: Whether it counts questions to the service.
    polls: bool = False
    #: Whether lines before this one were left out.
    gap: bool = False


def timeline(record: JobRecord) -> Sequence[Entry]:
    """Return the lines, the oldest first."""
    cut = len(record.events) >= FIRST_EVENTS + LAST_EVENTS
    lines = []
    before: Event | None = None
    for number, event in enumerate(record.events):
        kind = event.kind
        if kind == EventKind.SUBMITTED:
            continue  # the line before says so
        after = None if before is None else max(0.0, event.at - (before.last_at or before.at))
        lines.append(
            Entry(
                event,
                what=_WORDS.get(kind, kind.capitalize()),
                detail="" if kind in _WITHOUT_DETAIL else event.detail,
                after=after,
                kind="bad" if kind in _BAD else "ok" if kind in _GOOD else "",
                polls=kind == EventKind.RENDERING,
                gap=cut and number == FIRST_EVENTS,
            )
        )
        before = event
    return lines
