"""A record as the scripts know it: position, version, the record itself, its lease, and where it stands in the indexes.

Most records of a full queue wait untouched. So a new one is stored as what it was made of (the job, its queue, its
nonce, when it was added, …), from which `lifecycle` makes the record again; one with a history as its wire format.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from tenxsom_flow_engine.jobs import Cost, JobRecord, Lease, VideoJob, lifecycle
from tenxsom_flow_engine.jobs.codec import decode, encode
from tenxsom_flow_engine.store.base import read_record
from tenxsom_flow_engine.store.redis.totals import effects

_encoder = msgspec.json.Encoder()


class _Origin(msgspec.Struct, frozen=True, array_like=True):
    """What `lifecycle.add` makes a record of."""

    job: VideoJob
    queue: str
    nonce: str
    now: float
    due: float | None = None
    cost: Cost | None = None


_origins = msgspec.json.Decoder(_Origin)
#: How one begins; the id of its job is left out.
_ORIGIN = '[{"v":1,'


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it was read, with the version that a commit must find."""

    record: JobRecord
    position: int
    version: str

    @classmethod
    def parse(cls, job_id: str, value: str, lease: str | None) -> Stored:
        """Read what the scripts return. Raises `StoreBroken` naming the job if the record cannot be read."""
        begin = past(value, 0)
        rest = past(value, begin)
        record = _read(job_id, value[rest:])
        if lease:
            token, until, at, worker, _ = lease.split("|")
            held = Lease(token=token, worker=worker, until=float(until))
            # A claim leaves the record as it was; a later commit has written the lease into it.
            if record.lease is None:
                record = lifecycle.take(record, held, float(at))
            else:
                held = msgspec.structs.replace(held, due=record.lease.due, step=record.lease.step)
                record = msgspec.structs.replace(record, lease=held)
        return cls(record, int(value[1:begin], 16), value[begin:rest])

    def followed_by(self, record: JobRecord) -> Stored:
        """Return what is stored once `record` was committed after this."""
        return replace(self, record=record, version=packed(int(self.version[1:], 16) + 1))


def packed(number: int) -> str:
    """Write a number as the scripts do: a letter for how many hexadecimal digits follow, and these."""
    digits = f"{number:x}"
    return chr(96 + len(digits)) + digits


def past(value: str, at: int) -> int:
    """Return where the packed number that begins at a place of a text has ended."""
    return at + ord(value[at]) - 95


def addition(record: JobRecord, written: bytes) -> list[object]:
    """Return a record, and how it is written, as the scripts that add it take it."""
    _, lane, status, due, *_ = place(record)
    return [record.job_id, lane, status, due, written]


def newcomer(record: JobRecord) -> list[object]:
    """Return a record to which nothing has happened yet as the scripts that add it take it."""
    origin: list[object] = [record.job, record.queue, record.nonce, record.added_at]
    if record.cost is not None:
        origin += [record.due, record.cost]
    elif record.due != record.added_at:
        origin.append(record.due)
    # The id is the record's key already. No character of it is one that JSON escapes.
    written = _encoder.encode(origin).replace(f'"job_id":"{record.job_id}",'.encode(), b"", 1)
    return addition(record, written)


def commitment(before: Stored, after: JobRecord, now: float, slots: tuple[str, int] | None) -> list[object]:
    """Return the replacement of a record as `commit.lua` takes it."""
    held = after.lease
    # As it lies beside the record: token, end, beginning, worker, queue.
    lease = [f"{held.token}|{held.until!r}|{now!r}|{held.worker}|{after.queue}", repr(held.until)] if held else ["", ""]
    return [
        after.job_id, before.version, encode(after), *lease, *place(before.record), *place(after), *(slots or ("", 0)),
        *effects(before.record, after),
    ]  # fmt: skip


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


def _read(job_id: str, text: str) -> JobRecord:
    if not text.startswith(_ORIGIN):
        return read_record(job_id, text)
    return read_record(job_id, f'{_ORIGIN}"job_id":"{job_id}",{text[len(_ORIGIN) :]}', _original)


def _original(text: bytes | str) -> JobRecord:
    origin = decode(_origins, text)
    due = origin.now if origin.due is None else origin.due
    return lifecycle.add(origin.job, queue=origin.queue, nonce=origin.nonce, now=origin.now, due=due, cost=origin.cost)
