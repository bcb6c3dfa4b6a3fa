"""The decisions of users and operators: cancel, retry, resolve."""

from __future__ import annotations

from typing import Any

import msgspec

from tenxsom_flow_engine.errors import Action, ActionRefused
from tenxsom_flow_engine.jobs.lifecycle.changes import begin_again, change, final, over, start
from tenxsom_flow_engine.jobs.lifecycle.journal import buys_again, can_be_corrected
from tenxsom_flow_engine.jobs.model import (
    TRANSITIONS,
    EventKind,
    Failure,
    JobRecord,
    Purchase,
    Status,
    Submission,
    SubmissionState,
)
from tenxsom_flow_engine.jobs.outcomes import ConfirmedPurchase, GiveUp, Resolution, Resubmit, Terms, Withdraw
from tenxsom_flow_engine.jobs.purchases import charge_for, corrected, entered_by_hand, withdrawn


def cancel(record: JobRecord, now: float) -> JobRecord:
    """Cancel a job. A running generation continues at the service, and a late ticket is still saved."""
    if Status.CANCELLED not in TRANSITIONS[record.status]:
        raise ActionRefused(f"job {record.job_id} is already {record.status}, so it cannot be cancelled")
    return final(record, now, Status.CANCELLED, EventKind.CANCELLED)


def retry(record: JobRecord, now: float, changes: Terms | None = None) -> JobRecord:
    """Retry a failed or cancelled job, from its ticket if it has one; only a failed generation is bought again.

    If a create was interrupted, the next step looks it up and never buys. If the outcome of a create is unknown, an
    operator has to resolve it first (`resolve`). A job that is bought again can be changed.
    """
    over = record.status in (Status.FAILED, Status.CANCELLED)
    if record.submission.state is SubmissionState.UNKNOWN and (over or record.status is Status.HELD):
        raise ActionRefused(
            f"job {record.job_id} cannot be retried: it is unknown whether its paid create was accepted",
            actions=ways_to_resolve(held=not over),
            subject=record.job_id,
        )
    if not over:
        raise ActionRefused(f"job {record.job_id} is {record.status}; only failed and cancelled jobs can be retried")
    detail, changed = "", dict[str, Any]()
    if changes is not None and buys_again(record):
        detail, changed = changes.detail, {"job": changes.job, "max_usd": changes.max_usd}
        if not record.purchases:
            changed["cost"] = changes.cost
    elif changes is not None and changes.detail:
        raise ActionRefused(
            f"job {record.job_id} cannot be changed: its video is bought, or might be",
            next_step="retry it unchanged, or add a changed copy as a new job",
        )
    submission = Submission() if record.submission.failed else record.submission
    status = Status.RENDERING if submission.state is SubmissionState.ACCEPTED else Status.QUEUED
    # If nothing was bought, any service can be chosen again.
    service = record.service if submission.state is not SubmissionState.NONE else ""
    return begin_again(
        record, now, status, EventKind.RETRIED, detail, submission=submission, service=service, **changed
    )


def resolve(record: JobRecord, now: float, resolution: Resolution) -> JobRecord:
    """Apply an operator's decision on a create of unknown outcome, unless a worker is looking it up now.

    A ticket can be corrected until the video exists; its purchase is then replaced, or withdrawn if nothing was bought.
    After a retry, only the purchase can be withdrawn (`Withdraw`), and the job continues unchanged.
    """
    if isinstance(resolution, Withdraw):
        return _withdraw(record, now)
    submission = record.submission
    if submission.state is not SubmissionState.UNKNOWN and not can_be_corrected(record):
        raise ActionRefused(
            f"job {record.job_id} is {record.status} and its paid create is not marked as unknown, "
            "so there is nothing to resolve"
        )
    if record.lease is not None:
        raise ActionRefused(
            f"a worker is asking the service about the paid create of job {record.job_id}",
            next_step="try again in a moment",
        )
    match resolution:
        case Resubmit():
            detail = "not bought, as decided by hand"
            record = withdrawn(record, submission.id)
            status, due = start(record, now)
            return begin_again(
                record, now, status, EventKind.RESUBMITTED, detail, due=due, submission=Submission(), service="",
                start_by=record.start_by if status is Status.SCHEDULED else None,
            )  # fmt: skip
        case ConfirmedPurchase(ticket, lifetime, cost):
            service = resolution.service or record.service
            accepted = msgspec.structs.replace(
                submission, state=SubmissionState.ACCEPTED, ticket=ticket, deadline=now + lifetime,
                over=False, failed=False, by_hand=True, charge=None,
            )  # fmt: skip
            charge = charge_for(cost, submission.charge, now)
            record = corrected(record, Purchase(submission.id, service, now, cost, by_hand=True, charge=charge))
            return begin_again(
                record, now, Status.RENDERING, EventKind.TICKET_ENTERED, ticket.id, submission=accepted, service=service
            )
        case GiveUp():
            if record.status is not Status.HELD:
                raise ActionRefused(f"job {record.job_id} is {record.status}, and only a held job can be given up")
            service = record.service or "the service"
            failure = Failure(
                "given_up",
                f"given up by hand; it was never determined whether {service} charged for {submission.id}",
                f"check the bill of {service}",
                ways_to_resolve(),
            )
            # No job waits for this generation any more, so it holds no slot.
            given_up = over(submission)
            return final(record, now, Status.FAILED, EventKind.GIVEN_UP, error=failure, submission=given_up)


def _withdraw(record: JobRecord, now: float) -> JobRecord:
    wrong = entered_by_hand(record)
    if wrong is None:
        raise ActionRefused(
            f"job {record.job_id} has no purchase that was entered by hand and followed by another one",
            actions=(Action.RESUBMIT,) if can_be_corrected(record) else (),
            subject=record.job_id,
        )
    detail = f"the ticket that was entered by hand for {wrong.submission} was wrong"
    return change(withdrawn(record, wrong.submission), now, record.status, EventKind.NOTHING_BOUGHT, detail)


def ways_to_resolve(*, held: bool = False) -> tuple[Action, ...]:
    """Return the actions that resolve a paid create of unknown outcome; a held job can be given up too."""
    return (Action.RESUBMIT, Action.CONFIRM_PURCHASE, *([Action.GIVE_UP] if held else []))
