"""What travels to a worker when a queue backend pushes: which delivery of which job it is, and what has been bought.

A worker whose store has never seen the job takes it on from this alone, so it looks after what was paid instead of
buying it again.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import JobRecord, Submission, VideoJob

_NONCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SERVICE = re.compile(r"[a-z0-9_]{0,40}")


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True,
               tag_field="v", tag=1):  # fmt: skip
    """One delivery of a job: the link of its chain that `nonce` and `seq` name."""

    job: VideoJob
    #: Tells this chain of deliveries from an earlier one of the same job id.
    nonce: str
    #: The number of this delivery in the chain.
    seq: int
    #: The service that was chosen; empty if none was yet.
    service: str = ""
    submission: Submission = Submission()
    #: Faults in a row within the present step.
    attempts: int = 0
    added_at: float

    def __post_init__(self) -> None:
        # They become parts of names, at the queue backend and in the store.
        if not _NONCE.fullmatch(self.nonce):
            raise InvalidInput("nonce", f"must be 1 to 64 letters, digits, _ or -, not {self.nonce[:80]!r}")
        if not 0 <= self.seq < 2**53:
            raise InvalidInput("seq", f"is not the number of a delivery: {self.seq}")
        if not _SERVICE.fullmatch(self.service):
            raise InvalidInput("service", f"{self.service[:80]!r} is not a service's name")

    @classmethod
    def of(cls, record: JobRecord) -> Delivery:
        """Describe the delivery that a record waits for."""
        return cls(
            job=record.job,
            nonce=record.nonce,
            seq=record.seq,
            service=record.service,
            submission=record.submission,
            attempts=record.attempts,
            added_at=record.added_at,
        )

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.job_id


def submission_id(link: JobRecord | Delivery) -> str:
    """Return the id of what is bought in a delivery: each has one of its own, and it fits an Idempotency-Key."""
    return f"{link.job_id}.{link.nonce}.{link.seq}"


def task_id(link: JobRecord | Delivery) -> str:
    """Return the name of a delivery, or of the one that a record waits for: the same each time, so it is made once.

    It begins with a hash, since Cloud Tasks slows down under names that follow one another
    (https://docs.cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2#task). At most 500 of `A-Za-z0-9_-`.
    """
    chain = f"{link.job_id}-{link.nonce}-{link.seq}"
    return f"{hashlib.sha256(chain.encode()).hexdigest()[:8]}-{chain}"
