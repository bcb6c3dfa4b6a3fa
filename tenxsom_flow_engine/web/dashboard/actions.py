"""What a person may do with a job, as it stands, and what that will do: in words, and what it will cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tenxsom_flow_engine.errors import Action, InvalidInput
from tenxsom_flow_engine.generation.routing import candidates
from tenxsom_flow_engine.jobs import TRANSITIONS, JobRecord, Status, SubmissionState
from tenxsom_flow_engine.services.base import Cancels, VideoService
from tenxsom_flow_engine.text import usd

#: The services that are here, by name.
Services = Mapping[str, VideoService]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a person agrees to: facts, so that other words for the same change nothing."""

    #: How far the purchase had come, and where.
    state: SubmissionState
    services: tuple[str, ...]
    #: The least that it costs, in USD; None: nothing is bought, or nobody knows the price.
    price: float | None = None
    #: What was spent before, in USD, as far as that is known.
    spent: float | None = None

    @property
    def token(self) -> str:
        """The terms as a form carries them."""
        return " ".join(map(str, (self.state, "+".join(self.services), self.price, self.spent)))


@dataclass(frozen=True, slots=True)
class JobAction:
    """One thing to do."""

    #: The last part of its address.
    name: str
    action: Action | None
    label: str
    #: What it will do.
    says: str
    terms: Terms
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
    asks, terms = False, _as_it_stands(record)
    if submission.state is SubmissionState.NONE or submission.failed:
        says, asks, terms = _order(record, services)
    elif submission.state is SubmissionState.ACCEPTED:
        says = f"It goes on from its ticket at {record.service}, and buys nothing."
    else:
        says = "First it is found out what the order that was cut off has bought; only if nothing, it is ordered."
    yield JobAction("retry", Action.RETRY, "Retry", says, terms, asks)


def _resolve(record: JobRecord, services: Services) -> Iterator[JobAction]:
    over = record.status in (Status.HELD, Status.FAILED, Status.CANCELLED)
    if not over or record.submission.state is not SubmissionState.UNKNOWN or record.lease is not None:
        return
    yield JobAction(
        "ticket",
        Action.CONFIRM_PURCHASE,
        "Go on from this ticket",
        "The engine follows the video that was bought, and fetches it when it is ready. It buys nothing.",
        _as_it_stands(record),
    )
    says, asks, terms = _order(record, services)
    yield JobAction("resubmit", Action.RESUBMIT, "Order it again", says, terms, asks)
    if record.status is Status.HELD:
        says = "The job fails, and whether it was paid stays open. It can still be decided later."
        yield JobAction("give-up", Action.GIVE_UP, "Mark as failed", says, _as_it_stands(record))


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
    yield JobAction("cancel", None, "Cancel", says, _as_it_stands(record), asks)


def _for(record: JobRecord) -> str:
    price = record.purchases[-1].cost if record.purchases else None
    return f" for {'about ' if price.estimated else ''}{usd(price.usd)}" if price and price.usd is not None else ""


def _as_it_stands(record: JobRecord) -> Terms:
    """Return the terms of what buys nothing new."""
    return Terms(record.submission.state, (record.service,), spent=_spent_usd(record))


def _order(record: JobRecord, services: Services) -> tuple[str, bool, Terms]:
    """Return what ordering a job would do now, whether to ask before (unless it is free), and its terms."""
    state, spent = record.submission.state, _spent_usd(record)
    before = f" What it has cost so far{_spent(record)} stays spent." if record.purchases else ""
    try:
        able = candidates(record.job, services)
    except InvalidInput as lack:
        return f"It is ordered, but not by this process: {lack.message}.{before}", True, Terms(state, (), spent=spent)
    several, least = len(able) > 1, able[0].price
    free = all(one.price == 0 for one in able)
    where = "the service that is free first" if several else able[0].service.name
    price = "at a price that is not known" if least == math.inf else f"for about {usd(least)}{' or more' * several}"
    terms = Terms(state, tuple(one.service.name for one in able), None if least == math.inf else least, spent)
    return f"It is ordered at {where} {'for nothing' if free else price}.{before}", not free, terms


def _spent_usd(record: JobRecord) -> float | None:
    return record.cost.usd if record.cost and record.purchases else None


def _spent(record: JobRecord) -> str:
    return f", {usd(record.cost.usd)}," if record.cost and record.cost.usd is not None else ""
