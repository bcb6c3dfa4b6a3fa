"""The contract of video services. `docs/writing-a-service.md` shows how to write one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.prompts import prompt_for


@dataclass(frozen=True, slots=True)
class Fit:
    """A job as a service can make it: the nearest values it allows, and what was changed, in words."""

    job: VideoJob
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """The service is at work. `fraction` is 0 to 1, if it says; ask again after `poll_after` seconds."""

    fraction: float | None
    poll_after: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The result can be fetched from `url` for a while."""

    url: str
    #: Seconds, as the service says.
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The generation failed at the service."""

    message: str
    #: What to do before it is submitted again, if the service knows.
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """The service does not know the generation any more, and nothing was or will be charged: submit it again."""

    message: str


class VideoService(ABC):
    """One way to have a video made. Instances are shared by the threads of a worker.

    Every method may raise the five service errors of `errors`; `create` also `Uncertain`, when a request was sent and
    its outcome is not known. No method blocks longer than its network time-outs.
    """

    name: str
    #: Generations that may be in flight at once, over all machines.
    max_in_flight: int
    #: Seconds within which `create` returns or raises.
    create_timeout: float
    #: Seconds from its ticket after which a generation is given up.
    lifetime: float
    #: Whether the service may be chosen for a job that names none.
    auto_selectable: bool = True
    #: Where a person sees what was ordered, and how one of our orders is known there; no sentence's end.
    lookup_hint: str = ""
    #: Whether it only stands in, for a job that names no service, where no other is configured.
    is_fallback: bool = False

    @abstractmethod
    def fit(self, job: VideoJob) -> Fit:
        """Return the job with the nearest values that this service allows. Pure.

        Raises `InvalidInput` where no allowed value is near, naming the field.
        """

    def estimate(self, job: VideoJob) -> Cost | None:
        """Return what a fitting job is expected to cost, if prices are known. Pure."""
        return None

    def prompt(self, job: VideoJob) -> str:
        """Return the prompt that `create` sends, which is published beside the video. Pure."""
        return prompt_for(job)

    def idempotency_window(self, job: VideoJob) -> float:
        """Return for how many seconds a repeated `create` with the same reference buys nothing new. Pure.

        That is how long an idempotency key is honoured; 0: there is none.
        """
        return 0.0

    @abstractmethod
    def order(self, job: VideoJob, reference: str) -> Mapping[str, object]:
        """Return the order of a fitting job, which is journaled and then passed to `create`. Called once for a create.

        It holds JSON values and no secret, since people read it later. Over HTTP it is an `http.client.Post`. Raises
        `InvalidInput`.
        """

    @abstractmethod
    def create(self, order: Mapping[str, Any], reference: str) -> Ticket:
        """Send what `order` returned, as it is: the only call that costs. It was journaled just before.

        `reference` identifies it at the service where that is possible.
        """

    @abstractmethod
    def check(self, ticket: Ticket) -> Progress | Ready | Failed | Lost:
        """Ask how a generation stands."""

    def sweep(self) -> None:
        """Remove what is left of old orders on this machine."""
        return

    @abstractmethod
    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        """Write `video.mp4` into an empty folder, and `thumbnail.jpg` and `captions.srt` if the service has them."""


class FindsByReference(ABC):
    """The capability to look a generation up by the reference that its create carried."""

    #: Whether not finding a reference proves that its create bought nothing.
    find_is_complete: bool = False

    @abstractmethod
    def find(self, reference: str) -> Ticket | None:
        """Return the ticket of the generation that carries this reference, or None."""


@dataclass(frozen=True, slots=True)
class Credits:
    """What is left at a service. `remaining` is None where it does not say."""

    remaining: float | None
    #: What is counted: `credits`, or a currency such as `USD`.
    unit: str = "credits"
    #: What a person should know of it, such as the plan and the day on which it ends.
    note: str = ""


class HasCredits(ABC):
    """The capability to say what is left to spend."""

    @abstractmethod
    def credits(self) -> Credits:
        """Ask what is left. Raises `ServiceError`."""


class Cancels(ABC):
    """The capability to stop a generation, so that it costs nothing more and holds no slot."""

    @abstractmethod
    def cancel(self, ticket: Ticket) -> None:
        """Stop a generation; harmless when it is over. Raises `ServiceError`."""
