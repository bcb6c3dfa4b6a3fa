"""How a record changes: the state machine, as pure functions from a record to the next one.

Every store applies these inside one transaction or script, so the rules stand here once and are tested without a
store. Each function checks that the change is allowed and raises `ActionRefused` or `LeaseLost` otherwise.
"""

from __future__ import annotations

from typing import Any

import msgspec

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
    Wait,
)
from tenxsom_flow_engine.jobs.purchases import bought
from tenxsom_flow_engine.jobs.submission import Intent, Receipt

#: A job whose lease runs out this often in one step kills its workers, and is dead.
MAX_EXPIRIES = 10
#: From nothing bought to surely bought.
_EVIDENCE = (SubmissionState.NONE, SubmissionState.INTENT, SubmissionState.UNKNOWN, SubmissionState.ACCEPTED)
#: Of these a timeline tells which worker did it; of looks that come to nothing new it would only cost room.
_BY_WORKERS = frozenset({EventKind.SUBMITTING, EventKind.FAULT, EventKind.PUBLISHED, EventKind.FAILED, EventKind.HELD})
#: What a late worker has told meanwhile of a create whose outcome somebody else could not find out.
_NEWS = {
    SubmissionState.ACCEPTED: "a late worker has brought its ticket",
    SubmissionState.NONE: "a late worker has told that nothing was bought",
}
#: A timeline keeps its first and its latest lines.
FIRST_EVENTS, LAST_EVENTS = 10, 50


def add(job: VideoJob, *, queue: str, nonce: str, now: float, due: float, cost: Cost | None = None) -> JobRecord:
    """Return the record of a job that is added at `now` to be worked on from `due`."""
    later = due > now
    return JobRecord(
        job=job,
        queue=queue,
        nonce=nonce,
        status=Status.SCHEDULED if later else Status.QUEUED,
        dispatched=queue not in PUSHED,
        due=due if later else now,
        cost=cost,
        added_at=now,
        updated_at=now,
        events=(Event(at=now, what=EventKind.ADDED),),
    )


def take(record: JobRecord, lease: Lease, now: float) -> JobRecord:
    """Lease a waiting job to a worker."""
    if record.lease is not None or record.due is None:
        raise ActionRefused(f"job {record.job_id} is not waiting for a worker")
    lease = msgspec.structs.replace(lease, due=record.due, step=record.step)
    return _change(record, now, _in_hand(record), lease=lease, due=None)


def receive(record: JobRecord, delivery: Delivery, queue: str, lease: Lease, now: float) -> JobRecord:
    """Lease a job to the worker that its delivery has come to, whether or not it is due by this clock.

    A lease of the same delivery that ran out is taken over, and counts (see `expire`), so the job may come out dead.
    Raises `LeasedElsewhere` if a worker has it in hand, `ActionRefused` if the job waits for another delivery.
    """
    if (record.queue, record.nonce) != (queue, delivery.nonce) or delivery.seq < record.seq:
        raise ActionRefused(f"job {record.job_id} waits for another delivery")
    if record.lease is not None and record.lease.until > now:
        raise LeasedElsewhere(record.job_id, record.lease.worker)
    if record.lease is not None:
        record = expire(record, now)
        if record.status in FINAL:
            return record
        # It is still the same delivery: its queue backend has no other.
        record = msgspec.structs.replace(record, seq=record.seq - 1)
    if delivery.seq > record.seq and record.due is not None:
        record = _catch_up(record, delivery)
    return take(msgspec.structs.replace(record, dispatched=True), lease, now)


def adopt(delivery: Delivery, queue: str, now: float, *, previous_attempt_unanswered: bool = False) -> JobRecord:
    """Return the record of a job that is known from its delivery alone.

    With `previous_attempt_unanswered` an earlier attempt at this delivery got no response, so it may have bought: the
    next step looks that up instead of buying again.
    """
    submission, service = delivery.submission, delivery.service
    if previous_attempt_unanswered and submission.state is SubmissionState.NONE:
        submission = Submission(
            state=SubmissionState.INTENT,
            id=submission_id(delivery),
            intended_at=now,  # it may still be under way
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
    """Note that the queue backend was told of a delivery; one that is past changes nothing."""
    return msgspec.structs.replace(record, dispatched=True) if record.seq == seq else record


def redispatch(record: JobRecord, seq: int, now: float) -> JobRecord:
    """Have a job delivered anew whose delivery `seq` its queue backend has lost, also if a worker has died over it."""
    if record.seq != seq:
        raise ActionRefused(f"job {record.job_id} has gone on meanwhile")
    if record.lease is not None:
        return expire(record, now)
    if record.due is None:
        raise ActionRefused(f"job {record.job_id} waits for no delivery")
    return _change(
        record,
        now,
        record.status,
        EventKind.DELIVERED_AGAIN,
        "its delivery was lost",
        due=max(now, record.due),
        seq=seq + 1,
    )


def move(record: JobRecord, source: str, target: str, now: float) -> JobRecord:
    """Give a waiting job to another queue backend; when it is due and what was bought stay as they are."""
    if record.queue != source or record.due is None:
        raise ActionRefused(f"job {record.job_id} does not wait in the {source} queue")
    if record.lane == TICKET_MARK:
        # Workers that pull look for a service's jobs, and of this one nobody knows whose it is.
        raise ActionRefused(f"whether job {record.job_id} was bought, and where, has to be found out first")
    return _change(
        record, now, record.status, EventKind.MOVED, f"from {source} to {target}",
        queue=target, due=record.due, seq=record.seq + 1,
    )  # fmt: skip


def renew(record: JobRecord, token: str, until: float) -> JobRecord:
    """Prolong a lease."""
    lease = msgspec.structs.replace(_own_lease(record, token), until=until)
    return msgspec.structs.replace(record, lease=lease)


def settle(record: JobRecord, token: str, outcome: Outcome, now: float) -> JobRecord:
    """Apply what a step returned, and give up the lease.

    The job is due at once if a late worker saved the ticket or the refusal of its create while the step ran.
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
        case Held() if record.submission.state in _NEWS:
            return _give_back(record, now, due=now, what=EventKind.WAITING, detail=_NEWS[record.submission.state])
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
    """Return a job that its worker could not work on: due at once, and not an attempt."""
    _own_lease(record, token)
    return _give_back(record, now, due=now, what=EventKind.HANDED_BACK)


def expire(record: JobRecord, now: float) -> JobRecord:
    """Take a job back whose worker let the lease run out; dead when that has happened `MAX_EXPIRIES` times in a row."""
    if record.lease is None or record.lease.until > now:
        raise ActionRefused(f"the lease on job {record.job_id} has not run out")
    expiries = record.expiries + 1
    if expiries >= MAX_EXPIRIES:
        failure = Failure(
            code="worker_lost",
            message=f"{expiries} workers in a row died or stalled in its step {record.step}",
            next_step="find out why in the worker's log",
            actions=_onward(record),
        )
        return _final(record, now, Status.FAILED, EventKind.FAILED, failure.message, error=failure, expiries=expiries)
    detail = f"worker {record.lease.worker} died or stalled"
    return _give_back(record, now, due=now, what=EventKind.LEASE_RAN_OUT, detail=detail, expiries=expiries)


def intend(record: JobRecord, token: str, now: float, intent: Intent) -> JobRecord:
    """Journal that a paid create is about to be sent. The same submission may be intended again (a repeat)."""
    _own_lease(record, token)
    known = record.submission
    if known.state is not SubmissionState.NONE and (
        known.id != intent.submission_id or known.state is SubmissionState.ACCEPTED
    ):
        raise ActionRefused(f"job {record.job_id} has a submission already ({known.state})")
    submission = Submission(
        state=SubmissionState.INTENT,
        id=intent.submission_id,
        token=token,
        intended_at=now,
        first_intended_at=known.first_intended_at or now,
        deadline=now + intent.lifetime,
        prompt=intent.prompt,
    )
    news = {"service": intent.service, "submission": submission, "order": intent.order}
    return _change(record, now, record.status, EventKind.SUBMITTING, intent.service, **news)


def accept(record: JobRecord, now: float, receipt: Receipt) -> JobRecord:
    """Save the ticket of a submission: by its id, in any status, whoever holds the lease."""
    submission_id, ticket, service = receipt.submission_id, receipt.ticket, receipt.service
    known = record.submission
    if (known.id, known.state) == (submission_id, SubmissionState.ACCEPTED):
        return record
    before, record = record, bought(record, Purchase(submission_id, service or record.service, now, receipt.cost))
    news = record is not before
    if news and known.state is SubmissionState.NONE and record.status is not Status.SCHEDULED:
        # Nothing else counts as bought, so this is the job's own rather than that another is bought.
        known = Submission(id=submission_id, intended_at=now, first_intended_at=now)
        record = msgspec.structs.replace(record, service=service or record.service)
    if known.id != submission_id:
        # The job has gone on with another submission. The money is spent all the same, so it must be seen.
        return _change(record, now, record.status, EventKind.LATE_TICKET, f"{ticket.id} of submission {submission_id}")
    submission = msgspec.structs.replace(
        known, state=SubmissionState.ACCEPTED, ticket=ticket, deadline=now + receipt.lifetime
    )
    # A final job stays final: its ticket and cost are kept for whoever asks.
    status = record.status if record.status in FINAL else Status.RENDERING
    # One that is held, or waits to find out what came of its create, goes on at once.
    due = now if record.status is Status.HELD or record.due is not None else None
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
    )


def mark_unknown(record: JobRecord, now: float, *, submission_id: str, reason: str) -> JobRecord:
    """Journal that a create was sent and its outcome is not known."""
    if record.submission.id != submission_id or record.submission.state is not SubmissionState.INTENT:
        return record
    submission = msgspec.structs.replace(record.submission, state=SubmissionState.UNKNOWN)
    return _change(record, now, record.status, EventKind.OUTCOME_UNKNOWN, reason, submission=submission)


def clear_submission(record: JobRecord, now: float, *, submission_id: str, reason: str, token: str = "") -> JobRecord:
    """Journal the proof that a submission bought nothing: the choice of a service is open again.

    With `token` the proof is about the one create that was journaled under that lease. It says nothing of others: a
    submission that was repeated stays, and so does one whose number somebody else has used, since the claim was lost
    with the latest moment of a server that died.
    """
    submission = record.submission
    if submission.id != submission_id or submission.state is SubmissionState.ACCEPTED:
        return record
    if token and (token != submission.token or submission.intended_at != submission.first_intended_at):
        return record
    status, changes = record.status, dict[str, Any]()
    if status is Status.HELD:  # there is nothing left that a person could find out
        status, changes = Status.QUEUED, {"due": now, "error": None, "attempts": 0, "expiries": 0}
    return _change(
        record, now, status, EventKind.NOTHING_BOUGHT, reason, submission=Submission(), service="", **changes
    )


def cancel(record: JobRecord, now: float) -> JobRecord:
    """Take a job back. What is being rendered goes on at the service; a ticket that comes late is still saved."""
    if Status.CANCELLED not in TRANSITIONS[record.status]:
        raise ActionRefused(f"job {record.job_id} is {record.status} already, so it cannot be cancelled")
    return _final(record, now, Status.CANCELLED, EventKind.CANCELLED)


def render_stopped(record: JobRecord, now: float) -> JobRecord:
    """Note that a cancelled job's generation was stopped: it holds no slot, and a retry orders anew."""
    submission = _over(record.submission, failed=True)
    return _change(record, now, record.status, EventKind.STOPPED, record.service, submission=submission)


def retry(record: JobRecord, now: float) -> JobRecord:
    """Try a failed or cancelled job again, from its ticket if it has one: bought anew only after a failed generation.

    Where a create was cut off, the next step looks it up; it never buys. Where one's outcome is not known, a person has
    to say it first (`resolve`).
    """
    over = record.status in (Status.FAILED, Status.CANCELLED)
    if record.submission.state is SubmissionState.UNKNOWN and (over or record.status is Status.HELD):
        raise ActionRefused(
            f"whether the paid create of job {record.job_id} was accepted is not known, so it cannot be retried",
            actions=ways_to_resolve(held=not over),
            subject=record.job_id,
        )
    if not over:
        raise ActionRefused(f"job {record.job_id} is {record.status}; only failed and cancelled jobs can be retried")
    submission = Submission() if record.submission.failed else record.submission
    status = Status.RENDERING if submission.state is SubmissionState.ACCEPTED else Status.QUEUED
    # With nothing bought, the choice of a service is open again.
    service = record.service if submission.state is not SubmissionState.NONE else ""
    return _begin_again(record, now, status, EventKind.RETRIED, submission=submission, service=service)


def resolve(record: JobRecord, now: float, resolution: Resolution) -> JobRecord:
    """Apply what a person found out about a create whose outcome is not known, and which no worker looks up now."""
    submission = record.submission
    if submission.state is not SubmissionState.UNKNOWN:
        raise ActionRefused(f"job {record.job_id} is {record.status}, and of its paid create nothing is unknown")
    if record.lease is not None:
        raise ActionRefused(
            f"a worker looks up right now what came of the paid create of job {record.job_id}",
            next_step="wait for what it finds",
        )
    match resolution:
        case Resubmit():
            detail = "nothing was bought, says a person"
            return _begin_again(
                record, now, Status.QUEUED, EventKind.RESUBMITTED, detail, submission=Submission(), service=""
            )
        case ConfirmedPurchase(ticket, lifetime, cost):
            accepted = msgspec.structs.replace(
                submission, state=SubmissionState.ACCEPTED, ticket=ticket, deadline=now + lifetime
            )
            detail = f"ticket {ticket.id}, says a person"
            record = bought(record, Purchase(submission.id, record.service, now, cost))
            return _begin_again(record, now, Status.RENDERING, EventKind.ACCEPTED, detail, submission=accepted)
        case GiveUp():
            if record.status is not Status.HELD:
                raise ActionRefused(f"job {record.job_id} is {record.status}, and only a held one can be given up")
            seller = record.service or "a service"
            failure = Failure(
                "given_up",
                f"given up by a person; whether {seller} was paid for {submission.id} was never found out",
                f"look at the bill of {seller}",
                ways_to_resolve(),
            )
            return _final(record, now, Status.FAILED, EventKind.GIVEN_UP, error=failure)


def ways_to_resolve(*, held: bool = False) -> tuple[Action, ...]:
    """Return how a person can say what came of a paid create; a job that is held can be given up too."""
    return (Action.RESUBMIT, Action.CONFIRM_PURCHASE, *([Action.GIVE_UP] if held else []))


def _onward(record: JobRecord) -> tuple[Action, ...]:
    return ways_to_resolve() if record.submission.state is SubmissionState.UNKNOWN else (Action.RETRY,)


def _begin_again(
    record: JobRecord, now: float, status: Status, what: EventKind, detail: str = "", **changes: Any
) -> JobRecord:
    """Return a job to its queue by a person's hand: due at once, with all its attempts."""
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
    """Return when the next step is due: at once if another worker settled the create during this lease."""
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
    """Bring forward a record that is older than its delivery: its store was set back to an earlier state."""
    news: dict[str, Any] = {"seq": delivery.seq}
    # Of two accounts of what was bought, the one that tells of more is safe to go by.
    if _EVIDENCE.index(delivery.submission.state) > _EVIDENCE.index(record.submission.state):
        news |= {"submission": delivery.submission, "service": delivery.service}
        if delivery.submission.state is SubmissionState.ACCEPTED:
            news["status"] = Status.RENDERING
    return msgspec.structs.replace(record, **news)


def _over(submission: Submission, *, failed: bool = False) -> Submission:
    return msgspec.structs.replace(submission, over=True, failed=failed)


def _in_hand(record: JobRecord) -> Status:
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
        # It waits for a delivery that its queue backend does not know of yet.
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
