"""Entries of the submission journal: one is written before a paid create, one after the service accepted it."""

from __future__ import annotations

from dataclasses import dataclass

from tenxsom_flow_engine.jobs.model import Cost, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A paid create that is about to be sent."""

    submission_id: str
    service: str
    #: Maximum seconds to hold the in-flight slot if the create's outcome stays unknown.
    lifetime: float
    #: The service's limit of in-flight generations; if none is free, the intent is refused with `SlotsBusy`.
    max_in_flight: int = 1_000_000
    #: The limit of in-flight generations of the job's channel, likewise; None: no limit.
    max_of_channel: int | None = None
    #: The most that it is expected to cost, in millionths of a US dollar; None if that is unknown.
    reserve: int | None = 0
    #: The prompt that is sent.
    prompt: str = ""
    #: The whole request as size-limited JSON, for people to read (see `generation.order_excerpt`).
    order: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The ticket that a service returned for an accepted create."""

    submission_id: str
    ticket: Ticket
    #: Seconds after which the generation times out.
    lifetime: float
    #: None if the price is unknown.
    cost: Cost | None = None
    #: The service that sold it; if empty, the record's service.
    service: str = ""
