"""The totals: one hash for each kind of period, with fields `period|service|name`; a commit adds to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.totals import LastError, Total, additions, new_error


def effects(before: JobRecord, after: JobRecord) -> list[object]:
    """Return what a change of a record adds, as `commit.lua` takes it: a service and its last error, then totals."""
    found = new_error(before, after)
    error = [found[0], msgspec.json.encode(found[1])] if found else ["", ""]
    sums = [
        part
        for one in additions(before, after)
        for part in (one.kind, f"{one.period}|{one.service}|{one.name}", repr(one.amount))
    ]
    return [*error, *sums]


def read_sums(kind: str, fields: Mapping[str, str], since: str) -> Sequence[Total]:
    """Read a hash of sums, from a period on, the oldest first."""
    found = []
    for field in sorted(fields):  # it begins with its period, and sorts like it
        if field >= since:
            period, service, name = field.split("|")
            found.append(Total(kind, period, service, name, float(fields[field])))
    return found


def read_errors(fields: Mapping[str, str]) -> Mapping[str, LastError]:
    """Read the hash of last errors."""
    return {service: msgspec.json.decode(value, type=LastError) for service, value in fields.items()}


def before_period(fields: Iterable[str], period: str) -> list[str]:
    """Return the fields of a hash of sums that are older than a period."""
    return [field for field in fields if field < period]
