"""A job's timeline as people read it: what happened, how often, by whom, and how long it took in between. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.jobs import Event, JobRecord
from tenxsom_flow_engine.jobs.lifecycle import FIRST_EVENTS, LAST_EVENTS

#: Events whose own words say too little, in more of them.
_WORDS: Mapping[str, str] = {
    "submitting": "Order sent",
    "accepted": "Order accepted",
    "fault": "Fault, tried again later",
    "nothing bought": "Nothing was bought",
    "outcome unknown": "Nobody knows what came of the order",
    "late ticket": "A late worker brought the ticket of another order",
    "lease ran out": "The worker was lost",
    "adopted": "Taken over",
    "stopped": "Stopped at the service",
}
#: What happened while the service worked, by the detail of a wait.
_WAITS: Mapping[str, str] = {"rendering": "Rendering", "rendered": "Rendered"}
_BAD = frozenset({"fault", "failed", "held", "outcome unknown", "lease ran out", "given up"})
_GOOD = frozenset({"published", "accepted"})


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
    #: Whether lines before this one were left out.
    gap: bool = False


def timeline(record: JobRecord) -> Sequence[Entry]:
    """Return the lines, the oldest first."""
    cut = len(record.events) >= FIRST_EVENTS + LAST_EVENTS
    lines = []
    before: Event | None = None
    for number, event in enumerate(record.events):
        if event.what == "waiting" and event.detail.startswith("submitted to "):
            continue  # the line before says so
        after = None if before is None else max(0.0, event.at - (before.last_at or before.at))
        rendering = event.what == "waiting" and event.detail in _WAITS
        what = _WAITS[event.detail] if rendering else _WORDS.get(event.what, event.what.capitalize())
        kind = "bad" if event.what in _BAD else "ok" if event.what in _GOOD else ""
        detail = "" if rendering else event.detail
        lines.append(Entry(event, what, detail, after, kind, gap=cut and number == FIRST_EVENTS))
        before = event
    return lines
