"""A record as the scripts know it: position, version, JSON, lease, and where it stands in the indexes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tenxsom_flow_engine import lifecycle
from tenxsom_flow_engine.codec import encode
from tenxsom_flow_engine.jobs import JobRecord, Lease
from tenxsom_flow_engine.store.base import JobFilter, read_record


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it was read, with the version that a commit must find."""

    record: JobRecord
    position: int
    version: str

    @classmethod
    def parse(cls, job_id: str, value: str, lease: str | None) -> Stored:
        """Read what the scripts return. Raises `StoreBroken` naming the job if the record cannot be read."""
        record = read_record(job_id, value[20:])
        if lease:
            token, until, at, worker, _ = lease.split("|")
            held = Lease(token=token, worker=worker, until=float(until))
            # A claim leaves the record as it was; a later commit has written the lease into it.
            if record.lease is None:
                record = lifecycle.take(record, held, float(at))
            else:
                record = msgspec.structs.replace(record, lease=held)
        return cls(record, int(value[:12], 16), value[12:20])


def addition(record: JobRecord) -> list[object]:
    """Return a new record as the scripts that add it take it."""
    return [record.job_id, record.lane, record.status.value, repr(record.due), encode(record)]


def lease_text(record: JobRecord, now: float) -> str:
    """Return the lease as it lies beside the record: token, end, beginning, worker, queue; empty if there is none."""
    if record.lease is None:
        return ""
    return f"{record.lease.token}|{record.lease.until!r}|{now!r}|{record.lease.worker}|{record.queue}"


def place(record: JobRecord) -> list[str]:
    """Return where a record stands in the indexes (see `prelude.lua`)."""
    return [
        record.queue,
        record.lane,
        record.status.value,
        "" if record.due is None else repr(record.due),
        record.service if record.holds_slot else "",
        repr(record.submission.deadline) if record.holds_slot else "",
        "" if record.finished_at is None else repr(record.finished_at),
    ]


def matches(record: JobRecord, jobs: JobFilter, now: float) -> bool:
    """Tell whether a record is one that a filter asks for, at an instant."""
    text = (jobs.text or "").casefold()
    return (
        (not jobs.statuses or record.status_at(now) in jobs.statuses)
        and jobs.service in (None, record.service or record.job.service)
        and jobs.channel in (None, record.job.channel)
        and (not text or text in record.job.topic.casefold() or text in record.job_id.casefold())
        and (jobs.added_from is None or record.added_at >= jobs.added_from)
        and (jobs.added_before is None or record.added_at < jobs.added_before)
    )
