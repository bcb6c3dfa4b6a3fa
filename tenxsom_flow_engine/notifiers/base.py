"""The interface of a notifier: one attempt to deliver a message, and what its answer means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tenxsom_flow_engine.events import Endpoint
from tenxsom_flow_engine.events.outbox import Message


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an attempt. `text` says it in a few words, without any part of an address that can be a secret."""

    ok: bool
    text: str
    #: The endpoint does not work at present, so its other messages would fail, too.
    down: bool = False
    #: The receiver wants no more messages.
    gone: bool = False
    #: Seconds that it asks to wait.
    retry_after: float | None = None


class Notifier(Protocol):
    """Delivers messages of one kind of endpoint. Thread-safe."""

    @property
    def at_once(self) -> int:
        """The most messages of one endpoint that are sent concurrently."""

    @property
    def seconds(self) -> float:
        """The most seconds that an attempt takes."""

    def send(self, endpoint: Endpoint, message: Message) -> Answer:
        """Make one attempt. Raises no error for a receiver that does not work."""
