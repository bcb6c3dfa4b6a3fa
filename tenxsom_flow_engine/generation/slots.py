"""In-flight slots that no worker frees: their jobs were cancelled, failed, or have a paid create of unknown outcome.

Workers poll only jobs that continue. So the generations of the other jobs are checked here, and their slots are freed
as soon as the service says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tenxsom_flow_engine.errors import InvalidInput, ServiceError
from tenxsom_flow_engine.jobs import FINAL, JobRecord, Status, Ticket, lifecycle
from tenxsom_flow_engine.services.base import Cancels, CountsRunning, Failed, Lost, Progress, VideoService
from tenxsom_flow_engine.store.base import JobStore

_log = logging.getLogger(__name__)

#: Maximum number of slots of a service that are checked.
MOST_SLOTS = 1000
#: Number of errors after which a service is asked no more: it is probably away.
MOST_ERRORS = 3


@dataclass(frozen=True, slots=True)
class UnattendedSlots:
    """The jobs that hold in-flight slots of a service although no worker polls them."""

    #: Cancelled and failed jobs with a ticket: their generation might still run.
    ended: tuple[str, ...] = ()
    #: Jobs whose paid create has an unknown outcome.
    in_doubt: tuple[str, ...] = ()
    #: When the last of these slots becomes free, whatever the service says.
    until: float = 0.0

    @classmethod
    def among(cls, holders: Iterable[JobRecord]) -> UnattendedSlots:
        """Select from the jobs that hold slots of a service."""
        ended, in_doubt, until = [], [], 0.0
        for record in holders:
            if lifecycle.in_doubt(record):
                in_doubt.append(record.job_id)
            elif record.status in FINAL:
                ended.append(record.job_id)
            else:
                continue
            until = max(until, record.submission.deadline)
        return cls(tuple(ended), tuple(in_doubt), until)

    def __bool__(self) -> bool:
        return bool(self.ended or self.in_doubt)


def free_slots(service: VideoService, store: JobStore, *, settle_margin: float) -> None:
    """Ask a service about the generations that no worker polls, and free the slots of those that do not run.

    Reads only: it needs no lease and costs nothing. `settle_margin`: seconds after its timeout at which a create can
    still appear at the service. Raises `ServiceError` after several errors; the other slots then stay as they are.
    """
    holders, errors = store.slot_holders(service.name, MOST_SLOTS), 0
    for record in holders:
        try:
            _free_if_ended(service, store, record)
        except ServiceError:
            errors += 1
            if errors == MOST_ERRORS:
                raise
    if isinstance(service, CountsRunning):
        _free_if_not_running(service, service, store, holders, settle_margin)


def _free_if_ended(service: VideoService, store: JobStore, record: JobRecord) -> None:
    """Free the slot of a final job whose generation has ended, or can be stopped."""
    ticket = record.submission.ticket
    if record.status not in FINAL or ticket is None:
        return
    if isinstance(service, Cancels) and record.status is not Status.CANCELLED:
        return  # a retry continues it
    failure, refund = "", False
    try:
        service.check_ticket(ticket)
        if isinstance(service, Cancels):
            service.cancel(ticket)  # this failed when the job was cancelled
            failure = "it was stopped"
        else:
            match service.check(ticket):
                case Progress():
                    return
                case Failed(message, _, refund):
                    failure = message
                case Lost(message):
                    failure, refund = message, True
    except InvalidInput as error:  # a ticket that cannot be polled holds its slot until its deadline
        _log.debug("the ticket of job %s cannot be checked: %s", record.job_id, error)
        return
    store.update(record.job_id, _ended(ticket, failure, refund))


def _ended(ticket: Ticket, failure: str, refund: bool) -> Callable[[JobRecord, float], JobRecord]:
    return lambda record, now: lifecycle.generation_ended(record, now, ticket, failure=failure, refund=refund)


def _free_if_not_running(
    service: VideoService, counter: CountsRunning, store: JobStore, holders: Iterable[JobRecord], settle_margin: float
) -> None:
    """Free the slots of creates of unknown outcome that the service certainly does not run."""
    now, grace = store.now(), service.create_timeout + settle_margin
    in_doubt = [record for record in holders if lifecycle.in_doubt(record)]
    settled = [record for record in in_doubt if record.lease is None and now >= record.submission.intended_at + grace]
    if not settled or (running := counter.running()) is None:
        return
    # Every generation that runs beyond those with a ticket might belong to one of these creates. The latest ones keep
    # their slots: they are the most likely to run.
    with_ticket = sum(not lifecycle.in_doubt(record) for record in store.slot_holders(service.name, MOST_SLOTS))
    unexplained = max(0, running - with_ticket)
    settled.sort(key=lambda record: record.submission.intended_at)
    for record in settled[: max(0, len(in_doubt) - unexplained)]:
        store.update(record.job_id, _not_running(record.submission.id))


def _not_running(submission_id: str) -> Callable[[JobRecord, float], JobRecord]:
    return lambda record, now: lifecycle.not_running(record, now, submission_id)
