"""The actions available for a job, each with a description of its effect and its cost. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from tenxsom_flow_engine.errors import Action, InvalidInput
from tenxsom_flow_engine.generation.routing import candidates_of, highest_price
from tenxsom_flow_engine.jobs import TRANSITIONS, JobRecord, Status, SubmissionState, lifecycle
from tenxsom_flow_engine.jobs.purchases import entered_by_hand, withdrawn
from tenxsom_flow_engine.services.base import Cancels, VideoService
from tenxsom_flow_engine.text import usd

#: The configured services, by name.
Services = Mapping[str, VideoService]


@dataclass(frozen=True, slots=True)
class Terms:
    """The facts that a person confirms. They are compared instead of the text, so a new wording changes nothing."""

    #: State of the submission, and the services that could be used.
    state: SubmissionState
    services: tuple[str, ...]
    #: Minimum cost in USD; None if nothing is bought or the price is unknown.
    price: float | None = None
    #: Amount in USD spent before; None if unknown.
    spent: float | None = None
    #: Maximum cost in USD; None as for the minimum.
    highest: float | None = None

    @property
    def token(self) -> str:
        """The terms as the value of a form field."""
        return " ".join(map(str, (self.state, "+".join(self.services), self.price, self.spent, self.highest)))


@dataclass(frozen=True, slots=True)
class JobAction:
    """An action available for a job."""

    #: The last part of its address.
    name: str
    action: Action | None
    label: str
    #: A sentence that describes the effect.
    effect: str
    terms: Terms
    #: Whether it needs a confirmation, because it spends or forfeits money.
    confirm: bool = False


def choices(record: JobRecord, services: Services) -> Mapping[str, JobAction]:
    """Return the actions available for a job now, by name."""
    groups = (_again, _waiting, _resolve, _stop)
    return {choice.name: choice for group in groups for choice in group(record, services)}


def _again(record: JobRecord, services: Services) -> Iterator[JobAction]:
    submission = record.submission
    if record.status not in (Status.FAILED, Status.CANCELLED) or submission.state is SubmissionState.UNKNOWN:
        return
    confirm, terms = False, _current_terms(record)
    if lifecycle.buys_again(record):
        effect, confirm, terms = _order(record, services, "Retrying")
    elif submission.state is SubmissionState.ACCEPTED:
        effect = f"Retrying continues from its ticket at {record.service}. Nothing new is bought."
    else:
        effect = (
            "Retrying first checks whether the interrupted order bought anything, and orders again only if it did not."
        )
    yield JobAction("retry", Action.RETRY, "Retry", effect, terms, confirm)
    if lifecycle.buys_again(record):
        effect = "Change the prompt, the topic or other settings, and order the video with them."
        yield JobAction("edit", Action.EDIT, "Edit and retry", effect, terms, confirm=True)


def _waiting(record: JobRecord, services: Services) -> Iterator[JobAction]:
    """Give the actions on a job that waits and has bought nothing."""
    if record.due is None or not lifecycle.buys_again(record):
        return
    if record.status is Status.SCHEDULED:
        effect, confirm, terms = _order(record, services, "Starting it now")
        yield JobAction("run-now", None, "Start now", effect, terms, confirm)
    effect = "Change the prompt, the topic, the start or other settings. Nothing is bought by that."
    yield JobAction("edit", Action.EDIT, "Edit", effect, _current_terms(record), confirm=True)


def edited(record: JobRecord, services: Services) -> JobAction:
    """Return the change of a waiting job, with the price that it has then."""
    effect, confirm, terms = _order(record, services, "The changed job")
    return JobAction("edit", Action.EDIT, "Save", effect, terms, confirm)


def _resolve(record: JobRecord, services: Services) -> Iterator[JobAction]:
    if wrong := entered_by_hand(record):
        effect = (
            f"If the ticket that was entered by hand for {wrong.submission} was wrong, withdraw its purchase from the "
            "totals. The job continues unchanged."
        )
        yield JobAction("withdraw", None, "Withdraw the purchase", effect, _current_terms(record))
    stopped = record.status in (Status.HELD, Status.FAILED, Status.CANCELLED)
    unknown = stopped and record.submission.state is SubmissionState.UNKNOWN
    if not (unknown or lifecycle.can_be_corrected(record)) or record.lease is not None:
        return
    yield JobAction(
        "ticket",
        Action.CONFIRM_PURCHASE,
        "Continue with this ticket",
        "The engine asks the service for this video, and downloads it when it is ready. Nothing new is bought.",
        _current_terms(record),
    )
    before = record if unknown else withdrawn(record, record.submission.id)
    effect, confirm, terms = _order(before, services, "Ordering it again")
    if not unknown:
        effect = f"The purchase that was entered by hand is withdrawn. {effect}"
    yield JobAction("resubmit", Action.RESUBMIT, "Order it again", effect, terms, confirm)
    if record.status is Status.HELD:
        effect = "Marking the job as failed leaves open whether it was charged. You can still resolve it later."
        yield JobAction("give-up", Action.GIVE_UP, "Mark as failed", effect, _current_terms(record))


def _stop(record: JobRecord, services: Services) -> Iterator[JobAction]:
    if Status.CANCELLED not in TRANSITIONS[record.status]:
        return
    submission, service = record.submission, services.get(record.service)
    confirm = True
    match submission.state:
        case SubmissionState.NONE:
            confirm = False
            effect = "Cancelling removes the job from the queue. Nothing has been charged."
        case SubmissionState.INTENT:
            effect = (
                "A worker might be sending its order right now. If the service accepts it, it is charged despite the "
                "cancellation; the ticket is kept, and a retry continues from it."
            )
        case SubmissionState.UNKNOWN:
            effect = (
                "It is unknown whether its order was charged. Cancelling leaves that open until someone resolves it."
            )
        case SubmissionState.ACCEPTED:
            by_hand = "According to the ticket that was entered by hand, it" if submission.by_hand else "It"
            paid = f"{by_hand} was bought at {record.service}{_for(record)}; cancelling does not refund that."
            if submission.over:
                effect = f"{paid} The video is finished but will not be downloaded; a retry downloads it."
            elif service is not None and isinstance(service, Cancels):
                confirm = False
                effect = f"Cancelling stops its render at {record.service}."
            else:
                effect = (
                    f"{paid} The render at {record.service} continues, and occupies its slot until it ends; a retry "
                    "downloads the result, and buys nothing new."
                )
    yield JobAction("cancel", None, "Cancel", effect, _current_terms(record), confirm)


def _for(record: JobRecord) -> str:
    price = record.purchases[-1].cost if record.purchases else None
    return f" for {'about ' if price.estimated else ''}{usd(price.usd)}" if price and price.usd is not None else ""


def _current_terms(record: JobRecord) -> Terms:
    """Return the terms of an action that buys nothing new."""
    return Terms(record.submission.state, (record.service,), spent=_spent_usd(record))


def _order(record: JobRecord, services: Services, verb: str) -> tuple[str, bool, Terms]:
    """Return the effect of ordering a job now, whether to confirm it (unless it is free), and its terms."""
    state, spent = record.submission.state, _spent_usd(record)
    before = f" ({_spent(record)} already spent)" if record.purchases else ""
    try:
        able = candidates_of(msgspec.structs.replace(record, max_usd=None), services)
    except InvalidInput as lack:
        effect = f"{verb} puts the job into the queue{before}, but this process cannot make it: {lack.message}."
        return effect, True, Terms(state, (), spent=spent)
    several, least = len(able) > 1, able[0].price
    free = all(one.price == 0 for one in able)
    where = "the first available service" if several else able[0].service.name
    if free:
        cost = "costs nothing"
    elif least == math.inf:
        cost = "costs an unknown amount"
    else:
        most = highest_price(able)
        upper = f" to {usd(most)}" if most is not None and usd(most) != usd(least) else ""
        cost = (
            f"costs {'at least' if most is None else 'about'} {usd(least)}{upper}{' more' if record.purchases else ''}"
        )
    price = None if least == math.inf else least
    terms = Terms(state, tuple(one.service.name for one in able), price, spent, highest_price(able))
    return f"{verb} {cost} at {where}{before}.", not free, terms


def _spent_usd(record: JobRecord) -> float | None:
    return record.cost.usd if record.cost and record.purchases else None


def _spent(record: JobRecord) -> str:
    return usd(record.cost.usd) if record.cost and record.cost.usd is not None else "an unknown amount"
