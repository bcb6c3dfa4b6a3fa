"""The outcomes of a step, and an operator's decisions where a step cannot decide (see `lifecycle`)."""

from __future__ import annotations

from dataclasses import dataclass

from tenxsom_flow_engine.jobs import Cost, EventKind, Failure, Ticket, Video, VideoJob


@dataclass(frozen=True, slots=True)
class Done:
    """The video is published."""

    video: Video


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to do before `until`: the service renders, or its gate is closed. Not an attempt."""

    until: float
    why: str = ""
    progress: float | None = None
    #: The service has finished: the next step fetches the result.
    rendered: bool = False
    #: Whether the step did its work, which resets the count of failures. A closed gate does not.
    worked: bool = True
    #: The kind of the timeline event.
    kind: EventKind = EventKind.WAITING


@dataclass(frozen=True, slots=True)
class Retry:
    """The step failed for a transient reason: repeat it at `at`. Counts as an attempt."""

    at: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class Dead:
    """The job failed and is not retried automatically: it is kept with its payload as a dead letter."""

    failure: Failure
    #: The service reported that the generation failed, so a retry buys a new one.
    generation_failed: bool = False
    #: The service reported that it charges nothing for that generation.
    refunded: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """The outcome of a paid create cannot be determined: the job waits for an operator's decision."""

    failure: Failure
    #: The service does not know the ticket that a person entered, so it proves no purchase.
    wrong_ticket: bool = False


@dataclass(frozen=True, slots=True)
class Expired:
    """The job could not start in time. It has bought nothing, and ends."""

    failure: Failure


Outcome = Done | Wait | Retry | Dead | Held | Expired


@dataclass(frozen=True, slots=True)
class Resubmit:
    """A decision on a create of unknown outcome: nothing was bought, so submit the job again."""


@dataclass(frozen=True, slots=True)
class ConfirmedPurchase:
    """A decision on a create of unknown outcome: it was bought, so continue with its ticket."""

    ticket: Ticket
    #: Seconds from now after which the generation times out.
    lifetime: float
    #: The cost, if known.
    cost: Cost | None = None
    #: The service that sold it; if empty, the record's service.
    service: str = ""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A decision on a held job: fail it, whether or not something was bought."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """A decision on a purchase that a person entered, and that failed before a retry: it was another job's."""


Resolution = Resubmit | ConfirmedPurchase | GiveUp | Withdraw


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms on which a job is bought: the job, changed or not, its `max_usd` and its estimated cost."""

    job: VideoJob
    max_usd: float | None = None
    cost: Cost | None = None
    #: The changed fields in words, for the timeline.
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Times:
    """New times of a job that has bought nothing. None keeps a time."""

    #: The instant at which it is due; one in the past means now.
    due: float | None = None
    #: Its latest start; infinity removes it. Without it, a later due time postpones the latest start too.
    start_by: float | None = None
