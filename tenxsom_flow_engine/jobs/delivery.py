"""The payload that a pushing queue backend delivers to a worker: the job, the delivery's number and the submission.

A worker whose store has lost the job can restore it from the payload alone, so it polls a paid generation instead of
buying another one.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Cost, JobRecord, Submission, VideoJob
from tenxsom_flow_engine.jobs.model import Instant

_NONCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SERVICE = re.compile(r"[a-z0-9_]{0,40}")
_SUBMISSION = re.compile(r"(?!\.)[A-Za-z0-9_.-]{0,255}")
#: Lower bounds than those of records: the steps of a delivery increase its counts.
_Sequence = Annotated[int, msgspec.Meta(ge=0, le=10**8)]
_Attempts = Annotated[int, msgspec.Meta(ge=0, le=10**6)]


#: A price in USD or credits.
_Amount = Annotated[float, msgspec.Meta(ge=0, le=10**9)]


class _SubmissionAndTerms(Submission, frozen=True, omit_defaults=True):
    """A job's submission, with the terms on which the job can be bought, and its latest start.

    Release 0.2 refuses unknown fields of a delivery, but ignores those of a submission, so they are here.
    """

    max_usd: _Amount | None = None
    usd: _Amount | None = None
    credits: _Amount | None = None
    start_by: Instant | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True,
               tag_field="v", tag=1):  # fmt: skip
    """One delivery of a job, identified by `nonce` (its chain) and `seq`."""

    job: VideoJob
    #: Distinguishes this chain of deliveries from an earlier one of the same job id.
    nonce: str
    #: The number of this delivery in the chain.
    seq: _Sequence
    #: The chosen service; empty if none has been chosen yet.
    service: str = ""
    carried: _SubmissionAndTerms = msgspec.field(default=_SubmissionAndTerms(), name="submission")
    #: Consecutive failures of the current step.
    attempts: _Attempts = 0
    added_at: Instant

    def __post_init__(self) -> None:
        # These become parts of names at the queue backend and in the store.
        if not _NONCE.fullmatch(self.nonce):
            raise InvalidInput("nonce", f"must be 1 to 64 letters, digits, _ or -, not {self.nonce[:80]!r}")
        if not _SUBMISSION.fullmatch(self.submission.id):
            raise InvalidInput("submission", f"{self.submission.id[:80]!r} is not a valid submission id")
        if not _SERVICE.fullmatch(self.service):
            raise InvalidInput("service", f"{self.service[:80]!r} is not a valid service name")

    @classmethod
    def of(cls, record: JobRecord) -> Delivery:
        """Return the next delivery of a record."""
        return cls(
            job=record.job,
            nonce=record.nonce,
            seq=record.seq,
            service=record.service,
            carried=_SubmissionAndTerms(
                **msgspec.structs.asdict(record.submission),
                max_usd=record.max_usd,
                usd=record.cost.usd if record.cost else None,
                credits=record.cost.credits if record.cost else None,
                start_by=record.start_by,
            ),
            attempts=record.attempts,
            added_at=record.added_at,
        )

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.job_id

    @property
    def submission(self) -> Submission:
        """The submission of the job's record."""
        return Submission(**{name: getattr(self.carried, name) for name in Submission.__struct_fields__})

    @property
    def max_usd(self) -> float | None:
        """The price limit of the job's record. None also if a release wrote the delivery that did not include it."""
        return self.carried.max_usd

    @property
    def start_by(self) -> float | None:
        """The latest start of the job's record; None likewise."""
        return self.carried.start_by

    @property
    def cost(self) -> Cost | None:
        """The cost that was shown for the job, as an estimate; None likewise."""
        carried = self.carried
        return None if carried.usd is carried.credits is None else Cost(usd=carried.usd, credits=carried.credits)


def submission_id(link: JobRecord | Delivery) -> str:
    """Return the submission id of a delivery: unique for each delivery, and valid as an Idempotency-Key."""
    return f"{link.job_id}.{link.nonce}.{link.seq}"


def task_id(link: JobRecord | Delivery) -> str:
    """Return the task name of a delivery, or of a record's next one. It is deterministic, so a task is created once.

    It begins with a hash, because sequential names slow Cloud Tasks down
    (https://docs.cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2#task). At most 500 of `A-Za-z0-9_-`.
    """
    chain = f"{link.job_id}-{link.nonce}-{link.seq}"
    return f"{hashlib.sha256(chain.encode()).hexdigest()[:8]}-{chain}"
