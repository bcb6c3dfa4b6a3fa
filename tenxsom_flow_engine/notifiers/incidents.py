"""Compare the verdicts of a report with the open incidents, and write the events of those that begin and end."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from tenxsom_flow_engine.events.incidents import KEEP, KIND, OVER_AFTER, Finding, Incident, parse_incident
from tenxsom_flow_engine.store.base import JobStore

#: Seconds for which an open incident is kept without a sighting: no worker might have looked for it.
KEEP_OPEN = 30 * 86400.0


def update_incidents(store: JobStore, findings: Iterable[Finding]) -> None:
    """Begin, continue and end incidents by the present verdicts. Raises `StoreError`."""
    now = store.now()
    present = {one.key: one for one in findings}
    for name, text in store.memos(KIND).items():
        incident = parse_incident(text)
        if incident.cleared_at is not None:
            continue
        found = present.pop(incident.finding.key, None)
        if found is not None:
            seen = replace(incident, seen_at=now, finding=found)
            store.put_memo(KIND, name, seen.text, KEEP_OPEN, instead_of=text)
        elif now - incident.seen_at >= OVER_AFTER:
            ended = replace(incident, cleared_at=now)
            store.put_memo(KIND, name, ended.text, KEEP, instead_of=text, events=[incident.cleared(now)])
    for one in present.values():
        incident = Incident.begin(one, now)
        store.put_memo(KIND, incident.id, incident.text, KEEP_OPEN, instead_of=None, events=[incident.raised])
