"""The state machine of a job: pure functions from a record to its next version.

Every store applies these in one transaction or script, so the rules exist once and are tested without a store. Each
function raises `ActionRefused` or `LeaseLost` if the change is not allowed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tenxsom_flow_engine.clock import set_back
from tenxsom_flow_engine.errors import Action, ActionRefused, LeasedElsewhere, LeaseLost
from tenxsom_flow_engine.jobs import (
    AUTO,
    FINAL,
    PUSHED,
    TICKET_MARK,
    TRANSITIONS,
    Cost,
    Event,
    EventKind,
    Failure,
    JobRecord,
    Lease,
    Purchase,
    Status,
    Step,
    Submission,
    SubmissionState,
    Ticket,
    VideoJob,
)
from tenxsom_flow_engine.jobs.delivery import Delivery, submission_id
from tenxsom_flow_engine.jobs.outcomes import (
    ConfirmedPurchase,
    Dead,
    Done,
    GiveUp,
    Held,
    Outcome,
    Resolution,
    Resubmit,
    Retry,
    RetryChanges,
    Wait,
)
from tenxsom_flow_engine.jobs.purchases import bought, corrected, withdrawn
from tenxsom_flow_engine.jobs.submission import Intent, Receipt

#: A job fails after this many consecutive expired leases in one step: it probably kills its workers.
MAX_EXPIRIES = 10
#: Submission states by how strongly they indicate a purchase, the weakest first.
_EVIDENCE = (SubmissionState.NONE, SubmissionState.INTENT, SubmissionState.UNKNOWN, SubmissionState.ACCEPTED)
#: Event kinds that record the worker's name; for polls that change nothing it would only take space.
_BY_WORKERS = frozenset({EventKind.SUBMITTING, EventKind.FAULT, EventKind.PUBLISHED, EventKind.FAILED, EventKind.HELD})
#: Why a job is not held after all: a late worker has since settled the create, with this state of the submission.
_SETTLED_LATE = {
    SubmissionState.ACCEPTED: "a late worker saved its ticket",
    SubmissionState.NONE: "a late worker reported that nothing was bought",
}
#: The number of first and of last events that a timeline keeps.
FIRST_EVENTS, LAST_EVENTS = 10, 50


def add(
    job: VideoJob,
    *,
    queue: str,
    nonce: str,
    now: float,
    due: float,
    cost: Cost | None = None,
    max_usd: float | None = None,
) -> JobRecord:
    """Return the record of a job that is added at `now` and due at `due`."""
    later = due > now
    return JobRecord(
        job=job,
        queue=queue,
        nonce=nonce,
        status=Status.SCHEDULED if later else Status.QUEUED,
        dispatched=queue not in PUSHED,
        due=due if later else now,
        cost=cost,
        max_usd=max_usd,
        added_at=now,
        updated_at=now,
        events=(Event(at=now, what=EventKind.ADDED),),
    )


def take(record: JobRecord, lease: Lease, now: float) -> JobRecord:
    """Lease a waiting job to a worker."""
    if record.lease is not None or record.due is None:
        raise ActionRefused(f"job {record.job_id} is not waiting for a worker")
    lease = msgspec.structs.replace(lease, due=record.due, step=record.step)
    return _change(record, now, _leased_status(record), lease=lease, due=None)


def receive(record: JobRecord, delivery: Delivery, queue: str, lease: Lease, now: float) -> JobRecord:
    """Lease a job to the worker that received its delivery, whether or not it is due by this clock.

    An expired lease of the same delivery is taken over and counted (see `expire`), so the returned job can be failed.
    Raises `LeasedElsewhere` if another worker holds the lease, `ActionRefused` if the job waits for another delivery.
    """
    if (record.queue, record.nonce) != (queue, delivery.nonce) or delivery.seq < record.seq:
        raise ActionRefused(f"job {record.job_id} waits for another delivery")
    if record.lease is not None and record.lease.until > now:
        raise LeasedElsewhere(record.job_id, record.lease.worker)
    if record.lease is not None:
        record = expire(record, now)
        if record.status in FINAL:
            return record
        # `expire` counted to the next delivery, but the queue backend only has the present one.
        record = msgspec.structs.replace(record, seq=record.seq - 1)
    if delivery.seq > record.seq and record.due is not None:
        record = _catch_up(record, delivery)
    return take(msgspec.structs.replace(record, dispatched=True), lease, now)


def adopt(delivery: Delivery, queue: str, now: float, *, previous_attempt_unanswered: bool = False) -> JobRecord:
    """Restore the record of a job from its delivery.

    With `previous_attempt_unanswered`, an earlier attempt at this delivery got no response and might have bought
    something: the next step looks that up instead of buying again.
    """
    submission, service = delivery.submission, delivery.service
    if previous_attempt_unanswered and submission.state is SubmissionState.NONE:
        submission = Submission(
            state=SubmissionState.INTENT,
            id=submission_id(delivery),
            intended_at=now,  # the earlier attempt might still be sending the create
            first_intended_at=min(delivery.added_at, now),
        )
        service = service or ("" if delivery.job.service == AUTO else delivery.job.service)
    bought = submission.state is SubmissionState.ACCEPTED
    return JobRecord(
        job=delivery.job,
        queue=queue,
        nonce=delivery.nonce,
        seq=delivery.seq,
        status=Status.RENDERING if bought else Status.QUEUED,
        attempts=delivery.attempts,
        service=service,
        submission=submission,
        due=now,
        added_at=min(delivery.added_at, now),
        updated_at=now,
        events=(Event(at=now, what=EventKind.ADOPTED, detail=f"from its delivery {delivery.seq}"),),
    )


def dispatched(record: JobRecord, seq: int) -> JobRecord:
    """Mark a delivery as dispatched to the queue backend; an outdated one changes nothing."""
    return msgspec.structs.replace(record, dispatched=True) if record.seq == seq else record


def redispatch(record: JobRecord, seq: int, now: float) -> JobRecord:
    """Replace delivery `seq`, which the queue backend has lost, possibly after its worker died."""
    if record.seq != seq:
        raise ActionRefused(f"job {record.job_id} has already moved on to another delivery")
    if record.lease is not None:
        return expire(record, now)
    if record.due is None:
        raise ActionRefused(f"job {record.job_id} is not waiting for a delivery")
    return _change(
        record,
        now,
        record.status,
        EventKind.DELIVERED_AGAIN,
        "its delivery was lost",
        due=max(now, record.due),
        seq=seq + 1,
    )


def move_up(record: JobRecord, due: float, now: float) -> JobRecord:
    """Let a job that waits to be ordered be due earlier, at `due`, with a new delivery."""
    if record.due is None or record.submission.state is not SubmissionState.NONE or record.due <= due:
        raise ActionRefused(f"job {record.job_id} does not wait for a later time than that")
    return _change(record, now, record.status, due=due, seq=record.seq + 1)


def move(record: JobRecord, source: str, target: str, now: float) -> JobRecord:
    """Move a waiting job to another queue backend; its due time and its purchases stay."""
    if record.queue != source or record.due is None:
        raise ActionRefused(f"job {record.job_id} is not waiting in the {source} queue")
    if record.lane == TICKET_MARK:
        # Pull workers claim by service, and the service of this job is unknown.
        raise ActionRefused(f"it is not yet known whether and where job {record.job_id} was bought")
    return _change(
        record, now, record.status, EventKind.MOVED, f"from {source} to {target}",
        queue=target, due=record.due, seq=record.seq + 1,
    )  # fmt: skip


def renew(record: JobRecord, token: str, until: float) -> JobRecord:
    """Extend a lease to `until`."""
    lease = msgspec.structs.replace(_own_lease(record, token), until=until)
    return msgspec.structs.replace(record, lease=lease)


def settle(record: JobRecord, token: str, outcome: Outcome, now: float) -> JobRecord:
    """Apply a step's outcome and end the lease.

    The job is due immediately if a late worker saved the ticket or the refusal of its create while the step ran.
    """
    lease = _own_lease(record, token)
    match outcome:
        case Done(video):
            return _final(
                record,
                now,
                Status.SUCCEEDED,
                EventKind.PUBLISHED,
                result=video,
                progress=1.0,
                error=None,
                submission=_over(record.submission),
            )
        case Wait():
            return _wait(record, outcome, now, due=_next_due(record, lease, outcome.until, now))
        case Retry(at, failure):
            return _give_back(
                record,
                now,
                due=_next_due(record, lease, at, now),
                what=EventKind.FAULT,
                detail=failure.message,
                error=failure,
                attempts=record.attempts + 1,
            )
        case Dead(failure, generation_failed):
            submission = _over(record.submission, failed=True) if generation_failed else record.submission
            return _final(
                record, now, Status.FAILED, EventKind.FAILED, failure.message, error=failure, submission=submission
            )
        case Held() if record.submission.state in _SETTLED_LATE:
            detail = _SETTLED_LATE[record.submission.state]
            return _give_back(record, now, due=now, what=EventKind.WAITING, detail=detail)
        case Held(failure):
            submission = record.submission
            if submission.state is SubmissionState.INTENT:
                submission = msgspec.structs.replace(submission, state=SubmissionState.UNKNOWN)
            return _change(
                record,
                now,
                Status.HELD,
                EventKind.HELD,
                failure.message,
                error=failure,
                submission=submission,
                lease=None,
                due=None,
                seq=record.seq + 1,
            )


def release_lease(record: JobRecord, token: str, now: float) -> JobRecord:
    """Return a job to its queue because its worker could not work on it: due immediately, and not an attempt."""
    _own_lease(record, token)
    return _give_back(record, now, due=now, what=EventKind.HANDED_BACK)


def expire(record: JobRecord, now: float) -> JobRecord:
    """Return a job to its queue after its lease expired; fail it after `MAX_EXPIRIES` consecutive expiries."""
    if record.lease is None or record.lease.until > now:
        raise ActionRefused(f"the lease on job {record.job_id} has not expired")
    expiries = record.expiries + 1
    if expiries >= MAX_EXPIRIES:
        failure = Failure(
            code="worker_lost",
            message=f"{expiries} workers in a row died or stalled in the {record.step} step",
            next_step="look for the reason in the workers' logs",
            actions=_onward(record),
        )
        return _final(record, now, Status.FAILED, EventKind.FAILED, failure.message, error=failure, expiries=expiries)
    detail = f"worker {record.lease.worker} died or stalled"
    return _give_back(record, now, due=now, what=EventKind.LEASE_RAN_OUT, detail=detail, expiries=expiries)


def intend(record: JobRecord, token: str, now: float, intent: Intent) -> JobRecord:
    """Journal that a paid create is about to be sent. Allowed again for the same submission (a repeat)."""
    _own_lease(record, token)
    known = record.submission
    if known.state is not SubmissionState.NONE and (
        known.id != intent.submission_id or known.state is SubmissionState.ACCEPTED
    ):
        raise ActionRefused(f"job {record.job_id} already has a submission ({known.state})")
    submission = Submission(
        state=SubmissionState.INTENT,
        id=intent.submission_id,
        token=token,
        intended_at=now,
        first_intended_at=known.first_intended_at or now,
        deadline=now + intent.lifetime,
        prompt=intent.prompt,
    )
    changes = {"service": intent.service, "submission": submission, "order": intent.order}
    return _change(record, now, record.status, EventKind.SUBMITTING, intent.service, **changes)


def accept(record: JobRecord, now: float, receipt: Receipt) -> JobRecord:
    """Save the ticket of a submission, identified by its id: in any status, and without a lease.

    It replaces a ticket that a person entered for the same submission, unless the video exists.
    """
    submission_id, ticket, service = receipt.submission_id, receipt.ticket, receipt.service
    known = record.submission
    replaces = known.id == submission_id and can_be_corrected(record)
    if (known.id, known.state) == (submission_id, SubmissionState.ACCEPTED) and not replaces:
        return record
    purchase = Purchase(submission_id, service or record.service, now, receipt.cost)
    before, record = record, corrected(record, purchase) if replaces else bought(record, purchase)
    new = record is not before
    if new and known.state is SubmissionState.NONE and record.status is not Status.SCHEDULED:
        # No other submission is recorded, so use this one for the job instead of buying another.
        known = Submission(id=submission_id, intended_at=now, first_intended_at=now)
        record = msgspec.structs.replace(record, service=service or record.service)
    if known.id != submission_id:
        # The job continued with another submission. The money is spent all the same, so the timeline must show it.
        return _change(record, now, record.status, EventKind.LATE_TICKET, f"{ticket.id} of submission {submission_id}")
    submission = msgspec.structs.replace(
        known, state=SubmissionState.ACCEPTED, ticket=ticket, deadline=now + receipt.lifetime,
        over=False, failed=False, by_hand=False,
    )  # fmt: skip
    # A worker polls the other ticket: its outcome must not be applied to this one.
    released = {"lease": None, "seq": record.seq + 1} if replaces and record.lease is not None else {}
    # A final job stays final, but its record keeps the ticket and the cost.
    status = record.status if record.status in FINAL else Status.RENDERING
    # A job that is held or waits for a lookup of its create continues immediately.
    due = now if record.status is Status.HELD or record.due is not None or released else None
    error = None if record.status is Status.HELD else record.error
    return _change(
        record,
        now,
        status,
        EventKind.ACCEPTED,
        f"ticket {ticket.id}",
        submission=submission,
        due=due,
        error=error,
        attempts=0,
        expiries=0,
        **released,
    )


def mark_unknown(record: JobRecord, now: float, *, submission_id: str, reason: str) -> JobRecord:
    """Journal that a create was sent and its outcome is unknown."""
    if record.submission.id != submission_id or record.submission.state is not SubmissionState.INTENT:
        return record
    submission = msgspec.structs.replace(record.submission, state=SubmissionState.UNKNOWN)
    return _change(record, now, record.status, EventKind.OUTCOME_UNKNOWN, reason, submission=submission)


def clear_submission(record: JobRecord, now: float, *, submission_id: str, reason: str, token: str = "") -> JobRecord:
    """Journal the proof that a submission bought nothing, so that any service can be chosen again.

    With `token`, the proof only covers the create that was journaled under that lease. A submission that was repeated
    stays, and so does one that another worker journaled under the same id, which happens if a server crash lost the
    first worker's claim.
    """
    submission = record.submission
    if submission.id != submission_id or submission.state is SubmissionState.ACCEPTED:
        return record
    if token and (token != submission.token or submission.intended_at != submission.first_intended_at):
        return record
    status, changes = record.status, dict[str, Any]()
    if status is Status.HELD:  # the outcome is known now, so there is nothing left to decide
        status, changes = Status.QUEUED, {"due": now, "error": None, "attempts": 0, "expiries": 0}
    return _change(
        record, now, status, EventKind.NOTHING_BOUGHT, reason, submission=Submission(), service="", **changes
    )


def hold_after_restore(record: JobRecord, now: float) -> JobRecord:
    """Hold a job whose record is older than the latest purchases, because it might have been bought since.

    It is not looked up: its create carried a reference that the older record does not know.
    """
    if record.status in FINAL or record.status is Status.HELD or record.submission.state is SubmissionState.ACCEPTED:
        raise ActionRefused(f"job {record.job_id} is {record.status}, so it buys nothing")
    failure = Failure(
        code="restored",
        message="its record is from a backup, and it might have been bought since",
        next_step="search for it at the service by its topic",
        actions=ways_to_resolve(held=True),
    )
    service = record.service or ("" if record.job.service == AUTO else record.job.service)
    submission = record.submission
    if submission.state is SubmissionState.NONE:
        submission = Submission(id=submission_id(record), intended_at=now, first_intended_at=now, deadline=now)
    submission = msgspec.structs.replace(submission, state=SubmissionState.UNKNOWN)
    running = record if record.status is Status.RUNNING else _change(record, now, Status.RUNNING)
    return _change(
        running, now, Status.HELD, EventKind.HELD, failure.message,
        error=failure, submission=submission, service=service, lease=None, due=None, seq=record.seq + 1,
    )  # fmt: skip


def cancel(record: JobRecord, now: float) -> JobRecord:
    """Cancel a job. A running generation continues at the service, and a late ticket is still saved."""
    if Status.CANCELLED not in TRANSITIONS[record.status]:
        raise ActionRefused(f"job {record.job_id} is already {record.status}, so it cannot be cancelled")
    return _final(record, now, Status.CANCELLED, EventKind.CANCELLED)


def render_stopped(record: JobRecord, now: float) -> JobRecord:
    """Record that a cancelled job's generation was stopped: it frees its slot, and a retry buys a new one."""
    submission = _over(record.submission, failed=True)
    return _change(record, now, record.status, EventKind.STOPPED, record.service, submission=submission)


def generation_ended(record: JobRecord, now: float, ticket: Ticket, *, failure: str = "") -> JobRecord:
    """Record that the generation of a cancelled or failed job has ended at its service, which frees its slot.

    With a `failure`, a retry buys a new one. A job that continues in the meantime stays unchanged.
    """
    submission = record.submission
    if record.status not in FINAL or submission.ticket != ticket or submission.over:
        return record
    what = EventKind.STOPPED if failure else EventKind.RENDERED
    detail = f"{record.service}: {failure}" if failure else ""
    return _change(record, now, record.status, what, detail, submission=_over(submission, failed=bool(failure)))


def not_running(record: JobRecord, now: float, submission_id: str) -> JobRecord:
    """Record that the service runs no generation for a create of unknown outcome, which frees its slot.

    Whether it was bought stays unknown.
    """
    submission = record.submission
    if submission.id != submission_id or record.lease is not None or submission.over or not in_doubt(record):
        return record
    return _change(record, now, record.status, EventKind.SLOT_FREED, record.service, submission=_over(submission))


def in_doubt(record: JobRecord) -> bool:
    """Return whether it is unknown whether the job's paid create was accepted."""
    return record.submission.state in (SubmissionState.INTENT, SubmissionState.UNKNOWN)


def buys_again(record: JobRecord) -> bool:
    """Return whether a retry of a failed or cancelled job buys a new generation."""
    return record.submission.state is SubmissionState.NONE or record.submission.failed


def retry(record: JobRecord, now: float, changes: RetryChanges | None = None) -> JobRecord:
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
    return _begin_again(
        record, now, status, EventKind.RETRIED, detail, submission=submission, service=service, **changed
    )


def was_ahead(record: JobRecord, now: float) -> bool:
    """Return whether a record, or its lease, was written while the store's clock was ahead of `now`."""
    # A renewal of a lease does not change the record.
    return record.updated_at > now or (record.lease is not None and record.lease.until > now)


def rewind(record: JobRecord, now: float, lead: float) -> JobRecord:
    """Correct a record that was changed while the store's clock was `lead` seconds ahead; `now` is the correct time.

    The times that a person chose, of a scheduled job, stay. Each other delivery moves back, and is dispatched again.
    """
    if not was_ahead(record, now):
        return record
    submission, lease, due = record.submission, record.lease, record.due
    if due is not None and record.status is not Status.SCHEDULED:
        due = set_back(due, now, lead)
    if lease:
        lease = msgspec.structs.replace(lease, until=set_back(lease.until, now, lead))
    submission = msgspec.structs.replace(
        submission,
        intended_at=min(submission.intended_at, now),
        first_intended_at=min(submission.first_intended_at, now),
        deadline=set_back(submission.deadline, now, lead),
    )
    return _change(
        record,
        now,
        record.status,
        submission=submission,
        lease=lease,
        due=due,
        seq=record.seq + (due != record.due),
    )


def resolve(record: JobRecord, now: float, resolution: Resolution) -> JobRecord:
    """Apply an operator's decision on a create of unknown outcome, unless a worker is looking it up now.

    A ticket can be corrected until the video exists; its purchase is then replaced, or withdrawn if nothing was bought.
    """
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
            return _begin_again(
                record, now, Status.QUEUED, EventKind.RESUBMITTED, detail, submission=Submission(), service=""
            )
        case ConfirmedPurchase(ticket, lifetime, cost):
            accepted = msgspec.structs.replace(
                submission, state=SubmissionState.ACCEPTED, ticket=ticket, deadline=now + lifetime,
                over=False, failed=False, by_hand=True,
            )  # fmt: skip
            record = corrected(record, Purchase(submission.id, record.service, now, cost))
            return _begin_again(record, now, Status.RENDERING, EventKind.TICKET_ENTERED, ticket.id, submission=accepted)
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
            given_up = _over(submission)
            return _final(record, now, Status.FAILED, EventKind.GIVEN_UP, error=failure, submission=given_up)


def can_be_corrected(record: JobRecord) -> bool:
    """Return whether the job continues from a ticket that a person entered, and has no video yet."""
    submission = record.submission
    return submission.by_hand and submission.state is SubmissionState.ACCEPTED and record.status is not Status.SUCCEEDED


def ways_to_resolve(*, held: bool = False) -> tuple[Action, ...]:
    """Return the actions that resolve a paid create of unknown outcome; a held job can be given up too."""
    return (Action.RESUBMIT, Action.CONFIRM_PURCHASE, *([Action.GIVE_UP] if held else []))


def _onward(record: JobRecord) -> tuple[Action, ...]:
    return ways_to_resolve() if record.submission.state is SubmissionState.UNKNOWN else (Action.RETRY,)


def _begin_again(
    record: JobRecord, now: float, status: Status, what: EventKind, detail: str = "", **changes: Any
) -> JobRecord:
    """Return a job to its queue on a user's request: due immediately, with its attempts reset."""
    return _change(
        record,
        now,
        status,
        what,
        detail,
        due=now,
        seq=record.seq + 1,
        attempts=0,
        expiries=0,
        error=None,
        finished_at=None,
        progress=0.0,
        **changes,
    )


def _next_due(record: JobRecord, lease: Lease, wanted: float, now: float) -> float:
    """Return when the next step is due: immediately if another worker settled the create during this lease."""
    submission = record.submission
    sold = submission.state is SubmissionState.ACCEPTED and lease.step in (Step.SUBMIT, Step.LOOKUP)
    refused = submission.state is SubmissionState.NONE and lease.step is Step.LOOKUP
    return min(wanted, now) if submission.token != lease.token and (sold or refused) else wanted


def _wait(record: JobRecord, wait: Wait, now: float, *, due: float) -> JobRecord:
    changes: dict[str, Any] = {}
    if wait.worked:
        changes |= {"attempts": 0, "expiries": 0, "error": None}
    if wait.progress is not None:
        changes["progress"] = wait.progress
    if wait.rendered:
        changes["submission"] = _over(record.submission)
    what = EventKind.RENDERED if wait.rendered else wait.kind
    return _give_back(record, now, due=due, what=what, detail=wait.why, **changes)


def _give_back(
    record: JobRecord, now: float, *, due: float, what: EventKind, detail: str = "", **changes: Any
) -> JobRecord:
    status = Status.RENDERING if record.submission.state is SubmissionState.ACCEPTED else Status.QUEUED
    return _change(record, now, status, what, detail, lease=None, due=due, seq=record.seq + 1, **changes)


def _final(
    record: JobRecord, now: float, status: Status, what: EventKind, detail: str = "", **changes: Any
) -> JobRecord:
    return _change(
        record, now, status, what, detail, lease=None, due=None, seq=record.seq + 1, finished_at=now, **changes
    )


def _catch_up(record: JobRecord, delivery: Delivery) -> JobRecord:
    """Update a record that is older than its delivery, because the store was reset to an earlier state."""
    changes: dict[str, Any] = {"seq": delivery.seq}
    # If record and delivery disagree, the one with more evidence of a purchase is safe: it never buys twice.
    if _EVIDENCE.index(delivery.submission.state) > _EVIDENCE.index(record.submission.state):
        changes |= {"submission": delivery.submission, "service": delivery.service}
        if delivery.submission.state is SubmissionState.ACCEPTED:
            changes["status"] = Status.RENDERING
    return msgspec.structs.replace(record, **changes)


def _over(submission: Submission, *, failed: bool = False) -> Submission:
    return msgspec.structs.replace(submission, over=True, failed=failed)


def _leased_status(record: JobRecord) -> Status:
    return Status.RENDERING if record.submission.state is SubmissionState.ACCEPTED else Status.RUNNING


def _own_lease(record: JobRecord, token: str) -> Lease:
    if record.lease is None or record.lease.token != token:
        raise LeaseLost(record.job_id)
    return record.lease


def _change(
    record: JobRecord, now: float, status: Status, what: EventKind | None = None, detail: str = "", **changes: Any
) -> JobRecord:
    if status is not record.status and status not in TRANSITIONS[record.status]:
        raise ActionRefused(f"job {record.job_id} cannot go from {record.status} to {status}")
    worker = record.lease.worker if record.lease is not None and what in _BY_WORKERS else ""
    events = _note(record.events, Event(at=now, what=what, detail=detail, worker=worker)) if what else record.events
    after = msgspec.structs.replace(record, status=status, updated_at=now, events=events, **changes)
    if after.due is not None and (after.due, after.seq) != (record.due, record.seq):
        # The new delivery still has to be dispatched to a queue backend that pushes.
        after = msgspec.structs.replace(after, dispatched=after.queue not in PUSHED)
    return after


def _note(events: tuple[Event, ...], event: Event) -> tuple[Event, ...]:
    last = events[-1] if events else None
    if last and (last.what, last.detail) == (event.what, event.detail):
        again = msgspec.structs.replace(last, times=last.times + 1, last_at=event.at, worker=event.worker)
        return (*events[:-1], again)
    events = (*events, event)
    if len(events) > FIRST_EVENTS + LAST_EVENTS:
        events = events[:FIRST_EVENTS] + events[-LAST_EVENTS:]
    return events
