"""A record in the format of the scripts: position, version and JSON in one text, its lease, and its index entries.

Position and version are packed: text that sorts like the numbers, so that jobs due at the same instant are claimed in
the order of adding.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tenxsom_flow_engine.errors import ActionRefused, InvalidInput
from tenxsom_flow_engine.jobs import AUTO, JobRecord, Lease, lifecycle
from tenxsom_flow_engine.jobs.codec import decode_record, encode
from tenxsom_flow_engine.store.base import read_record, unreadable
from tenxsom_flow_engine.store.fair_share import ended_unbought
from tenxsom_flow_engine.store.redis.budgets import ChargeArgument, Charges
from tenxsom_flow_engine.store.redis.outbox import Rows
from tenxsom_flow_engine.store.redis.short_form import decode_short_form, is_short_form
from tenxsom_flow_engine.store.redis.totals import error_of, sums_of
from tenxsom_flow_engine.store.values import Slots


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it was read, with the version that the record must still have at a commit."""

    record: JobRecord
    position: int
    version: str

    @classmethod
    def parse(cls, job_id: str, value: str, lease: str | None) -> Stored:
        """Parse the stored value and lease of a job. Raises `StoreBroken` naming the job if it cannot be read."""
        try:
            begin = end_of_packed(value, 0)
            rest = end_of_packed(value, begin)
            position, _ = int(value[1:begin], 16), int(value[begin + 1 : rest], 16)
            token, until, at, worker, _ = lease.split("|") if lease else ("", "0", "0", "", "")
            held = Lease(token=token, worker=worker, until=float(until))
        except (IndexError, ValueError) as error:
            raise unreadable(job_id, error) from error
        record = read_record(job_id, value[rest:], lambda text: _decode(job_id, str(text)))
        if lease:
            # A claim does not write the record; the first commit after it writes the lease into the record.
            if record.lease is None:
                try:
                    record = lifecycle.take(record, held, float(at))
                except ActionRefused as error:  # a foreign member of an index
                    raise unreadable(job_id, error) from error
            else:
                held = msgspec.structs.replace(held, due=record.lease.due, step=record.lease.step)
                record = msgspec.structs.replace(record, lease=held)
        return cls(record, position, value[begin:rest])

    def followed_by(self, record: JobRecord) -> Stored:
        """Return the stored form of `record` after its commit on top of this one."""
        return Stored(record, self.position, packed(int(self.version[1:], 16) + 1))


class _JobFields(msgspec.Struct, frozen=True):
    job_id: str
    topic: str
    service: str = AUTO
    channel: str = ""


class Summary(msgspec.Struct, frozen=True):
    """The fields of a record that lists filter by: decoding only these takes a fifth of the time."""

    job: _JobFields
    added_at: float
    service: str = ""

    @property
    def effective_service(self) -> str:
        """See `JobRecord.effective_service`."""
        return self.service or self.job.service

    @classmethod
    def parse(cls, job_id: str, value: str) -> Summary | JobRecord | None:
        """Decode the fields of a stored value that lists filter by; None if it cannot be read."""
        try:
            text = value[end_of_packed(value, end_of_packed(value, 0)) :]
            return decode_short_form(job_id, text) if is_short_form(text) else _summaries.decode(text)
        except (InvalidInput, IndexError, UnicodeError, msgspec.MsgspecError):
            return None


_summaries = msgspec.json.Decoder(Summary)


def packed(number: int) -> str:
    """Pack a number like the scripts: a letter for the number of hexadecimal digits, then the digits."""
    digits = f"{number:x}"
    return chr(96 + len(digits)) + digits


def end_of_packed(text: str, begin: int) -> int:
    """Return the index after the packed number that begins at an index of a text."""
    return begin + ord(text[begin]) - 95


def id_in(member: str) -> str:
    """Return the job id in a member of an index, without the packed position before it."""
    return member[end_of_packed(member, 0) :]


def is_member(text: str) -> bool:
    """Return whether a member of an index has a packed position before its id: other programs can write to our keys."""
    size = ord(text[0]) - 96 if text else 0
    return 1 <= size <= 14 and len(text) > size + 1


def added_job(record: JobRecord) -> list[str]:
    """Return a new record as the scripts that add jobs read it (see `insert` in `prelude.lua`)."""
    _, lane, status, due, *_, start_by, channel, priority = index_position(record)
    text = encode(record).decode()
    return [record.job_id, lane, status, due, text, record.effective_service, channel, start_by, priority]


class Commit(msgspec.Struct, omit_defaults=True):
    """The replacement of a record as `commit.lua` reads it. Text, because a server's MessagePack knows no bytes."""

    id: str
    #: The version that was read.
    version: str
    record: str
    #: The index entries of the old and of the new record.
    before: list[str]
    after: list[str]
    #: Amounts to add: the kind of a total, its field, and the amount.
    sums: list[tuple[str, str, str]]
    #: The stored format of the lease, and its end; None ends it.
    lease: tuple[str, str] | None = None
    #: A service whose slots are limited, the limit, and that of the channel.
    slots: tuple[str, int, int | None] | None = None
    #: A service and its latest error.
    error: tuple[str, str] | None = None
    #: What it takes from the budgets.
    charges: ChargeArgument | None = None
    #: Its lease counted in the virtual time of its channel, and bought nothing.
    uncounted: bool = False
    #: The rows of the outbox that it writes.
    rows: Rows | None = None


def encode_commit(
    before: Stored,
    after: JobRecord,
    now: float,
    slots: Slots | None,
    charges: Charges | None = None,
    rows: Rows | None = None,
) -> bytes:
    """Return the replacement of a record as the argument of `commit.lua`."""
    held = after.lease
    commit = Commit(
        after.job_id,
        before.version,
        encode(after).decode(),
        index_position(before.record),
        index_position(after),
        sums_of(before.record, after),
        # The stored format of a lease: token, end, start, worker, queue.
        (f"{held.token}|{held.until!r}|{now!r}|{held.worker}|{after.queue}", repr(held.until)) if held else None,
        (slots.service, slots.limit, slots.of_channel) if slots else None,
        error_of(before.record, after),
        charges.argument if charges else None,
        ended_unbought(before.record, after),
        rows,
    )
    return msgspec.msgpack.encode(commit)


def index_position(record: JobRecord) -> list[str]:
    """Return the index entries of a record (see `prelude.lua`)."""
    return [
        record.queue,
        record.lane,
        record.status.value,
        "" if record.due is None else repr(record.due),
        record.service if record.holds_slot else "",
        repr(record.submission.deadline) if record.holds_slot else "",
        "" if record.finished_at is None else repr(record.finished_at),
        "" if record.expires_at is None else repr(record.expires_at),
        record.job.channel,
        str(record.job.priority),
    ]


def _decode(job_id: str, text: str) -> JobRecord:
    return decode_short_form(job_id, text) if is_short_form(text) else decode_record(text)
