"""The calls of the submission journal as values: what is written before a paid create, and after it was accepted."""

from __future__ import annotations

from dataclasses import dataclass

from tenxsom_flow_engine.jobs.model import Cost, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A paid create that is about to be sent."""

    submission_id: str
    service: str
    #: Seconds for which the in-flight slot is held at most if the create's outcome stays unknown.
    lifetime: float
    #: In-flight generations that the service allows; the intent is refused with `SlotsBusy` if none is free.
    max_in_flight: int = 1_000_000
    #: What the service is told.
    prompt: str = ""
    #: All that is sent, as JSON of bounded size for people to read (see `generation.order_excerpt`).
    order: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The ticket that a service gave for an accepted create."""

    submission_id: str
    ticket: Ticket
    #: Seconds after which the generation is given up.
    lifetime: float
    #: None where its price is not known.
    cost: Cost | None = None
    #: The service that sold it; empty: the one that the record names.
    service: str = ""
