"""Decode the short form in which release 0.1 stored a newly added job. This release never writes it.

Workers and producers of release 0.1 can run at the same time as those of this release, so new records can have this
form. A change of the record replaces it with the usual JSON.
"""

from __future__ import annotations

import msgspec

from tenxsom_flow_engine.jobs import Cost, JobRecord, VideoJob, lifecycle
from tenxsom_flow_engine.jobs.codec import decode

#: The prefix of the short form, before the fields of the job; the job's id is omitted.
_BEGIN = '[{"v":1,'


class _ShortForm(msgspec.Struct, frozen=True, array_like=True):
    """The arguments of `lifecycle.add`."""

    job: VideoJob
    queue: str
    nonce: str
    now: float
    due: float | None = None
    cost: Cost | None = None


_decoder = msgspec.json.Decoder(_ShortForm)


def is_short_form(text: str) -> bool:
    """Return whether a stored record is in the short form."""
    return text.startswith(_BEGIN)


def decode_short_form(job_id: str, text: str) -> JobRecord:
    """Decode a record in the short form. Raises `InvalidInput`."""
    short = decode(_decoder, f'{_BEGIN}"job_id":"{job_id}",{text[len(_BEGIN) :]}')
    due = short.now if short.due is None else short.due
    return lifecycle.add(short.job, queue=short.queue, nonce=short.nonce, now=short.now, due=due, cost=short.cost)
