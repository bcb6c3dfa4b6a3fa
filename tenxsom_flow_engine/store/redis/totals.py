"""Totals on Redis: one hash for each kind of period, with the fields `period|service|name`; commits add to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.totals import LastError, Total, additions, new_error


def error_of(before: JobRecord, after: JobRecord) -> tuple[str, str] | None:
    """Return a service and its latest error as `commit.lua` stores it; None if a change added no error."""
    found = new_error(before, after)
    return (found[0], msgspec.json.encode(found[1]).decode()) if found else None


def sums_of(before: JobRecord, after: JobRecord) -> list[tuple[str, str, str]]:
    """Return the additions of a change to the totals as `commit.lua` adds them: kind, field and amount."""
    return [
        (total.kind, f"{total.period}|{total.service}|{total.name}", repr(total.amount))
        for total in additions(before, after)
    ]


def read_sums(kind: str, fields: Mapping[str, str], since: str) -> Sequence[Total]:
    """Decode a hash of totals, oldest first, starting with the period `since`."""
    found = []
    for field in sorted(fields):  # fields start with their period, so they sort by it
        if field >= since:
            period, service, name = field.split("|")
            found.append(Total(kind, period, service, name, float(fields[field])))
    return found


def read_errors(fields: Mapping[str, str]) -> Mapping[str, LastError]:
    """Decode the hash of latest errors."""
    return {service: msgspec.json.decode(value, type=LastError) for service, value in fields.items()}


def before_period(fields: Iterable[str], period: str) -> list[str]:
    """Return the fields of a hash of totals that are older than a period."""
    return [field for field in fields if field < period]
