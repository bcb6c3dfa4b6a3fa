"""The end of a step: its outcome becomes the job's next state."""

from __future__ import annotations

from typing import Any

import msgspec

from tenxsom_flow_engine.jobs.lifecycle.changes import final, give_back, hold, over, own_lease
from tenxsom_flow_engine.jobs.lifecycle.journal import can_be_corrected
from tenxsom_flow_engine.jobs.lifecycle.starts import expired
from tenxsom_flow_engine.jobs.model import EventKind, JobRecord, Lease, Status, Step, SubmissionState
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Expired, Held, Outcome, Retry, Wait
from tenxsom_flow_engine.jobs.purchases import charge_of, refunded, withdrawn

#: Why a job is not held after all: a late worker has since settled the create, with this state of the submission.
_SETTLED_LATE = {
    SubmissionState.ACCEPTED: "a late worker saved its ticket",
    SubmissionState.NONE: "a late worker reported that nothing was bought",
}


def settle(record: JobRecord, token: str, outcome: Outcome, now: float) -> JobRecord:
    """Apply a step's outcome and end the lease.

    The job is due immediately if a late worker saved the ticket or the refusal of its create while the step ran.
    """
    lease = own_lease(record, token)
    match outcome:
        case Done(video):
            return final(
                record,
                now,
                Status.SUCCEEDED,
                EventKind.PUBLISHED,
                result=video,
                progress=1.0,
                error=None,
                submission=over(record.submission),
            )
        case Wait():
            return _wait(record, outcome, now, due=_next_due(record, lease, outcome.until, now))
        case Retry(at, failure):
            return give_back(
                record,
                now,
                due=_next_due(record, lease, at, now),
                what=EventKind.FAULT,
                detail=failure.message,
                error=failure,
                attempts=record.attempts + 1,
            )
        case Dead(failure, generation_failed, refund):
            submission = over(record.submission, failed=True) if generation_failed else record.submission
            if refund:
                record = refunded(record, submission.id)
            return final(
                record, now, Status.FAILED, EventKind.FAILED, failure.message, error=failure, submission=submission
            )
        case Held(failure, wrong_ticket=True) if can_be_corrected(record):
            # What the purchase took from the budgets is reserved again: the create is in doubt.
            submission = msgspec.structs.replace(
                record.submission, state=SubmissionState.UNKNOWN, ticket=None, over=False, failed=False, by_hand=False,
                charge=charge_of(record, record.submission.id),
            )  # fmt: skip
            return hold(withdrawn(record, submission.id), now, failure, submission)
        case Expired(failure) if record.expires_at is None:  # a late worker saved a ticket
            return give_back(record, now, due=now, what=EventKind.WAITING, detail=failure.message)
        case Expired(failure):
            return expired(record, now, failure)
        case Held() if record.submission.state in _SETTLED_LATE:
            detail = _SETTLED_LATE[record.submission.state]
            return give_back(record, now, due=now, what=EventKind.WAITING, detail=detail)
        case Held(failure):
            submission = record.submission
            if submission.state is SubmissionState.INTENT:
                submission = msgspec.structs.replace(submission, state=SubmissionState.UNKNOWN)
            return hold(record, now, failure, submission)


def _wait(record: JobRecord, wait: Wait, now: float, *, due: float) -> JobRecord:
    changes: dict[str, Any] = {}
    if wait.worked:
        changes |= {"attempts": 0, "expiries": 0, "error": None}
    if wait.progress is not None:
        changes["progress"] = wait.progress
    if wait.rendered:
        changes["submission"] = over(record.submission)
    what = EventKind.RENDERED if wait.rendered else wait.kind
    return give_back(record, now, due=due, what=what, detail=wait.why, **changes)


def _next_due(record: JobRecord, lease: Lease, wanted: float, now: float) -> float:
    """Return when the next step is due: immediately if another worker settled the create during this lease."""
    submission = record.submission
    sold = submission.state is SubmissionState.ACCEPTED and lease.step in (Step.SUBMIT, Step.LOOKUP)
    refused = submission.state is SubmissionState.NONE and lease.step is Step.LOOKUP
    return min(wanted, now) if submission.token != lease.token and (sold or refused) else wanted
