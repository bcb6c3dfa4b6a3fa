"""The contract of video services. `docs/writing-a-service.md` shows how to write one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.prompts import prompt_for
from tenxsom_flow_engine.text import one_line

#: Ids that a URL path can contain without encoding, and that do not traverse it.
URL_SAFE_ID = re.compile(r"(?!\.+$)[A-Za-z0-9._~:@!$&'()*+,;=-]{1,512}")


@dataclass(frozen=True, slots=True)
class Fit:
    """A job with the nearest values that a service allows, and a note in words for each change."""

    job: VideoJob
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """The generation is not finished. `fraction` is 0 to 1 if known; poll again after `poll_after` seconds."""

    fraction: float | None
    poll_after: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The video can be fetched from `url` for a limited time."""

    url: str
    #: Length of the video in seconds, if the service reports it.
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The generation failed at the service."""

    message: str
    #: What to change before the job is submitted again; empty if unknown.
    next_step: str = ""
    #: The service says that it charges nothing for it, or has returned the charge.
    refunded: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The service no longer has the generation and does not charge for it: submit the job again."""

    message: str


class VideoService(ABC):
    """A provider of video generation. The threads of a worker share one instance.

    Every method can raise the five service errors of `errors`; `create` also raises `Uncertain` when a request was
    sent and its outcome is unknown. No method blocks longer than its network time-outs.
    """

    name: str
    #: The limit of generations in flight at once, over all machines.
    max_in_flight: int
    #: Seconds within which `create` returns or raises.
    create_timeout: float
    #: Seconds after its ticket was issued at which a generation times out.
    lifetime: float
    #: Seconds after a create until the first check, because no generation ends earlier.
    first_check: float = 0.0
    #: Whether `auto` can choose this service.
    auto_selectable: bool = True
    #: Where an operator finds our orders at the service and how to recognise one. A phrase, without a full stop.
    lookup_hint: str = ""
    #: Whether `auto` uses this service only as a fallback, when no paid service is configured.
    is_fallback: bool = False
    #: The form of its tickets' ids.
    ticket_form: re.Pattern[str] = URL_SAFE_ID
    #: Whether its videos show or speak a job's script.
    uses_scripts: bool = False

    @abstractmethod
    def fit(self, job: VideoJob) -> Fit:
        """Return the job with the nearest values that this service allows. Pure.

        Raises `InvalidInput` with the field's name if no allowed value is near enough.
        """

    def default_duration(self, job: VideoJob) -> int:
        """Return the length in seconds of a job whose user gave none. Pure."""
        return job.duration

    def estimate(self, job: VideoJob) -> Cost | None:
        """Return the expected cost of a fitted job, or None if no price is known. Pure."""
        return None

    def prompt(self, job: VideoJob) -> str:
        """Return the prompt that `create` sends; it is published with the video. Pure."""
        return prompt_for(job)

    def idempotency_window(self, job: VideoJob) -> float:
        """Return for how many seconds a repeated `create` with the same reference buys nothing new. Pure.

        0 if the service has no idempotency key for this job.
        """
        return 0.0

    @abstractmethod
    def order(self, job: VideoJob, reference: str) -> Mapping[str, object]:
        """Return the order of a fitted job, which is journaled and then passed to `create`. Called once for a create.

        It contains JSON values and no secrets, because operators read it later. Services over HTTP return an
        `http.client.Post`. Raises `InvalidInput`.
        """

    @abstractmethod
    def create(self, order: Mapping[str, Any], reference: str) -> Ticket:
        """Send the order unchanged. This is the only call that costs money; the order has been journaled before.

        `reference` identifies the order at services that accept one.
        """

    def check_ticket(self, ticket: Ticket) -> None:
        """Raise `InvalidInput` unless a ticket's id has this service's form. Pure.

        Called before each use of a ticket, which can come from a delivery, a record or a person.
        """
        if not self.ticket_form.fullmatch(ticket.id):
            raise InvalidInput("ticket", f"{one_line(ticket.id, 100)!r} is not the id of a generation at {self.name}")

    @abstractmethod
    def check(self, ticket: Ticket) -> Progress | Ready | Failed | Lost:
        """Return the state of a generation."""

    def knows(self, ticket: Ticket) -> bool:
        """Return whether the service has this generation. Called before a ticket that a person entered is used."""
        return not isinstance(self.check(ticket), Lost)

    def sweep(self) -> None:
        """Remove files of earlier orders from this machine."""
        return

    @abstractmethod
    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        """Write `video.mp4` into an empty folder, and `thumbnail.jpg` and `captions.srt` if the service has them.

        The video is an MP4 or MOV within the limits of `output.media`; any other file fails the job.
        """


class FindsByReference(ABC):
    """The capability to look up a generation by the reference that its create carried."""

    #: Whether a reference that is not found proves that its create bought nothing.
    find_is_complete: bool = False

    @abstractmethod
    def find(self, reference: str) -> Ticket | None:
        """Return the ticket of the generation that carries this reference, or None."""


@dataclass(frozen=True, slots=True)
class Credits:
    """The remaining balance at a service. `remaining` is None if the service does not report it."""

    remaining: float | None
    #: `credits`, or a currency such as `USD`.
    unit: str = "credits"
    #: A remark for operators, such as the plan and its end.
    note: str = ""


class HasCredits(ABC):
    """The capability to report the remaining balance."""

    @abstractmethod
    def credits(self) -> Credits:
        """Query the remaining balance. Raises `ServiceError`."""


class CountsRunning(ABC):
    """The capability to report how many generations the service runs now."""

    @abstractmethod
    def running(self) -> int | None:
        """Return the number of generations under way in the account, ordered by this engine or not; None if unknown.

        Raises `ServiceError`.
        """


class Cancels(ABC):
    """The capability to stop a generation, so that it costs no more and frees its in-flight slot."""

    @abstractmethod
    def cancel(self, ticket: Ticket) -> None:
        """Stop a generation; does nothing if it has ended. Raises `ServiceError`."""
