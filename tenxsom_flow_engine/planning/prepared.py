"""A job that was checked and can be added."""

from __future__ import annotations

from dataclasses import dataclass

from tenxsom_flow_engine.store.values import NewJob


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that can be added, the cheapest service that can make it, and the adjustments made to fit it there."""

    new: NewJob
    service: str
    #: What that service would be told.
    prompt: str
    notes: tuple[str, ...]
