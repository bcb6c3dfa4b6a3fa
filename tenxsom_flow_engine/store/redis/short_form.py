"""The short form in which release 0.1 stored a job to which nothing had happened yet. It is read, and never written.

Workers and producers of release 0.1 can run at the same time as those of this release, so such records still come in.
A change of the record replaces the short form by the usual JSON.
"""

from __future__ import annotations

import msgspec

from tenxsom_flow_engine.jobs import Cost, JobRecord, VideoJob, lifecycle
from tenxsom_flow_engine.jobs.codec import decode

#: How it begins, before the fields of the job; the job's id is left out.
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
    """Return whether a stored record has the short form."""
    return text.startswith(_BEGIN)


def decode_short_form(job_id: str, text: str) -> JobRecord:
    """Read a record of the short form. Raises `InvalidInput`."""
    short = decode(_decoder, f'{_BEGIN}"job_id":"{job_id}",{text[len(_BEGIN) :]}')
    due = short.now if short.due is None else short.due
    return lifecycle.add(short.job, queue=short.queue, nonce=short.nonce, now=short.now, due=due, cost=short.cost)
