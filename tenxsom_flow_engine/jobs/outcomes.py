"""What one step of a job returns, and what a person decides where a step cannot (see `lifecycle`)."""

from __future__ import annotations

from dataclasses import dataclass

from tenxsom_flow_engine.jobs import Cost, EventKind, Failure, Ticket, Video


@dataclass(frozen=True, slots=True)
class Done:
    """The video is published."""

    video: Video


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until`: the service renders, or its gate is closed. Not an attempt."""

    until: float
    why: str = ""
    progress: float | None = None
    #: The service has finished: the next step fetches its result.
    rendered: bool = False
    #: Whether the step did its work, so that earlier faults are forgiven; a closed gate forgives nothing.
    worked: bool = True
    #: What the timeline says of it.
    kind: EventKind = EventKind.WAITING


@dataclass(frozen=True, slots=True)
class Retry:
    """A transient fault: try the same step again at `at`. Counts an attempt."""

    at: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class Dead:
    """It will not be tried again by itself: kept with its full payload as a dead letter."""

    failure: Failure
    #: The service said that the generation failed, so that a retry buys anew.
    generation_failed: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """A paid create whose outcome nobody can find out: waits for a person."""

    failure: Failure


Outcome = Done | Wait | Retry | Dead | Held


@dataclass(frozen=True, slots=True)
class Resubmit:
    """A person's decision on a create of unknown outcome: nothing was bought, so order it anew."""


@dataclass(frozen=True, slots=True)
class ConfirmedPurchase:
    """A person's decision on a create of unknown outcome: it was bought, so go on from its ticket."""

    ticket: Ticket
    #: Seconds from now after which the generation is given up.
    lifetime: float
    #: What it cost, as far as that is known.
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A person's decision on a held job: fail it, whether or not something was bought."""


Resolution = Resubmit | ConfirmedPurchase | GiveUp
