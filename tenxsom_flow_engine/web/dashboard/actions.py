"""What a person may do with a job, as it stands, and what that will do: in words, and what it will cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.generation.routing import candidates
from tenxsom_flow_engine.jobs import TRANSITIONS, JobRecord, Status, SubmissionState
from tenxsom_flow_engine.services.base import Cancels, VideoService
from tenxsom_flow_engine.web.dashboard.filters import usd

#: The services that are here, by name.
Services = Mapping[str, VideoService]


@dataclass(frozen=True, slots=True)
class JobAction:
    """One thing to do."""

    #: The last part of its address.
    name: str
    label: str
    #: What it will do.
    says: str
    #: The command that does the same, as far as an error's next step spells it out.
    command: str
    #: Whether money is spent or given up by it, so that the person is asked once more.
    asks: bool = False


def choices(record: JobRecord, services: Services) -> Mapping[str, JobAction]:
    """Return what may be done with a job now, by name."""
    found = (*_again(record, services), *_resolve(record, services), *_stop(record, services))
    return {choice.name: choice for choice in found}


def _again(record: JobRecord, services: Services) -> Iterator[JobAction]:
    submission = record.submission
    if record.status not in (Status.FAILED, Status.CANCELLED) or submission.state is SubmissionState.UNKNOWN:
        return
    asks = False
    if submission.state is SubmissionState.NONE or submission.failed:
        says, asks = _order(record, services)
    elif submission.state is SubmissionState.ACCEPTED:
        says = f"It goes on from its ticket at {record.service}, and buys nothing."
    else:
        says = "First it is found out what the order that was cut off has bought; only if nothing, it is ordered."
    yield JobAction("retry", "Retry", says, f"run_flow_enhanced.py retry {record.job_id}", asks)


def _resolve(record: JobRecord, services: Services) -> Iterator[JobAction]:
    over = record.status in (Status.HELD, Status.FAILED, Status.CANCELLED)
    if not over or record.submission.state is not SubmissionState.UNKNOWN or record.lease is not None:
        return
    command = f"run_flow_enhanced.py jobs resolve {record.job_id}"
    yield JobAction(
        "ticket",
        "Go on from this ticket",
        "The engine follows the video that was bought, and fetches it when it is ready. It buys nothing.",
        f"{command} --ticket",
    )
    says, asks = _order(record, services)
    yield JobAction("resubmit", "Order it anew", says, f"{command} --resubmit", asks)
    if record.status is Status.HELD:
        says = "The job fails, and whether it was paid stays open. It can still be decided later."
        yield JobAction("give-up", "Give it up", says, f"{command} --give-up")


def _stop(record: JobRecord, services: Services) -> Iterator[JobAction]:
    if Status.CANCELLED not in TRANSITIONS[record.status]:
        return
    submission, service = record.submission, services.get(record.service)
    asks = True
    match submission.state:
        case SubmissionState.NONE:
            asks = False
            says = "It is taken out of the queue. Nothing was bought."
        case SubmissionState.INTENT:
            says = (
                "Its order may be on the way right now. If the service takes it, it is paid all the same; its ticket "
                "is kept, and a retry goes on from it."
            )
        case SubmissionState.UNKNOWN:
            says = "Whether its order was paid is not known, and stays open until somebody says what came of it."
        case SubmissionState.ACCEPTED:
            paid = f"It was bought at {record.service}{_for(record)}; that stays spent."
            if submission.over:
                says = f"{paid} The video is made already, and is not fetched then; a retry fetches it."
            elif service is not None and isinstance(service, Cancels):
                asks = False
                says = f"Its render at {record.service} is stopped."
            else:
                says = f"{paid} {record.service} goes on making it; a retry fetches it from there, and buys nothing."
    yield JobAction("cancel", "Cancel", says, f"run_flow_enhanced.py cancel {record.job_id}", asks)


def _for(record: JobRecord) -> str:
    price = record.purchases[-1].cost if record.purchases else None
    return f" for {'about ' if price.estimated else ''}{usd(price.usd)}" if price and price.usd is not None else ""


def _order(record: JobRecord, services: Services) -> tuple[str, bool]:
    """Say what ordering a job would cost now, and whether that is to be asked for: it is, unless it is for nothing."""
    before = f" What it has cost so far{_spent(record)} stays spent." if record.purchases else ""
    try:
        able = candidates(record.job, services)
    except InvalidInput as lack:
        return f"It is ordered, but not by this process: {lack.message}.{before}", True
    several, least = len(able) > 1, able[0].price
    free = all(one.price == 0 for one in able)
    where = "the service that is free first" if several else able[0].service.name
    price = "at a price that is not known" if least == math.inf else f"for about {usd(least)}{' or more' * several}"
    return f"It is ordered at {where} {'for nothing' if free else price}.{before}", not free


def _spent(record: JobRecord) -> str:
    return f", {usd(record.cost.usd)}," if record.cost and record.cost.usd is not None else ""
