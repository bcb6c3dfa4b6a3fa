"""A checked job that is ready to be added."""

from __future__ import annotations

from dataclasses import dataclass

from tenxsom_flow_engine.store.values import NewJob


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked job, the cheapest service that can make it, and the adjustments made to fit that service."""

    new: NewJob
    service: str
    #: The prompt that would be sent to that service.
    prompt: str
    notes: tuple[str, ...]
