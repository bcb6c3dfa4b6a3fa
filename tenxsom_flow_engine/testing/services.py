"""A video service with scripted responses, which records every generation that it sold."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.base import Failed, FindsByReference, Fit, Progress, Ready, VideoService


@dataclass(frozen=True, slots=True)
class Sold:
    """An accepted create. With `then`, the response is lost: that error is raised after the sale."""

    then: BaseException | None = None
    credits: float | None = None


#: The effect of a create: it sells, or it raises and sells nothing.
CreateAnswer = Sold | BaseException
CheckAnswer = Progress | Ready | Failed | BaseException
FindAnswer = Ticket | BaseException | None


class ScriptedService(VideoService):
    """Follows its scripts call by call; when a script is empty, creates sell, checks are ready and fetches deliver.

    `on_call`, if set, is called with the name of each method before it does anything, and with `created` between the
    effect of a create and its response: there a test can change the state of the store or the clock.
    """

    ticket_form = re.compile(r"[A-Za-z0-9_./-]+")

    def __init__(self, clock: Clock, *, name: str = "alpha", max_in_flight: int = 100, create_timeout: float = 30.0,
                 lifetime: float = 3600.0, idempotency_window: float = 0.0, auto_selectable: bool = True,
                 price: Cost | None = None) -> None:  # fmt: skip
        self._clock = clock
        self.name = name
        self.max_in_flight = max_in_flight
        self.create_timeout = create_timeout
        self.lifetime = lifetime
        #: Seconds for which the same reference buys nothing new.
        self.key_lasts = idempotency_window
        self.auto_selectable = auto_selectable
        #: The estimated cost of each job.
        self.price = price
        self.creates: deque[CreateAnswer] = deque()
        self.checks: deque[CheckAnswer] = deque()
        #: Errors of the fetches; None lets one deliver.
        self.fetches: deque[BaseException | None] = deque()
        #: The error that `fit` raises for every job, if any.
        self.unfit: InvalidInput | None = None
        self.on_call: Callable[[str], None] = lambda call: None
        #: The content of `video.mp4` in a fetch.
        self.video = b"a scripted video"
        #: The orders that were passed to creates.
        self.orders: list[Mapping[str, Any]] = []
        #: The number of creates that were sent, by reference.
        self.sent: Counter[str] = Counter()
        #: The generations that were sold, in order; each is charged once.
        self.sold: list[Ticket] = []
        #: Tickets of the generations that were reported as failed; they stay failed.
        self.failed: set[str] = set()
        #: Tickets of the generations that were reported as ready.
        self.ready: set[str] = set()
        self._keys: dict[str, tuple[float, Ticket]] = {}

    def fit(self, job: VideoJob) -> Fit:
        if self.unfit is not None:
            raise self.unfit
        return Fit(job)

    def estimate(self, job: VideoJob) -> Cost | None:
        return self.price

    def idempotency_window(self, job: VideoJob) -> float:
        return self.key_lasts

    def order(self, job: VideoJob, reference: str) -> Mapping[str, object]:
        return {"prompt": self.prompt(job), "reference": reference}

    def create(self, order: Mapping[str, Any], reference: str) -> Ticket:
        self.on_call("create")
        self.orders.append(order)
        self.sent[reference] += 1
        answer = self.creates.popleft() if self.creates else Sold()
        if not isinstance(answer, Sold):
            raise answer
        ticket = self._sell(reference, answer.credits)
        self.on_call("created")
        if answer.then is not None:
            raise answer.then
        return ticket

    def check(self, ticket: Ticket) -> Progress | Ready | Failed:
        self.on_call("check")
        answer = self.checks.popleft() if self.checks else Ready(f"https://example.test/{ticket.id}")
        if isinstance(answer, BaseException):
            raise answer
        if ticket.id in self.failed:
            return Failed("it failed before")
        if isinstance(answer, Failed):
            self.failed.add(ticket.id)
        if isinstance(answer, Ready):
            self.ready.add(ticket.id)
        return answer

    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        self.on_call("fetch")
        fault = self.fetches.popleft() if self.fetches else None
        if fault is not None:
            raise fault
        (folder / "video.mp4").write_bytes(self.video)

    def bought(self, reference: str) -> Ticket | None:
        """Return the generation that this reference bought, or None."""
        return next((ticket for ticket in self.sold if ticket.id.endswith(f"/{reference}")), None)

    def _sell(self, reference: str, credits: float | None) -> Ticket:
        if self.key_lasts:
            known = self._keys.get(reference)
            # The key is valid for `key_lasts` seconds from its first use; then the same call is a new order.
            if known is not None and self._clock.now() < known[0] + self.key_lasts:
                return known[1]
        ticket = Ticket(f"{len(self.sold) + 1}/{reference}", credits=credits)
        self.sold.append(ticket)
        self._keys[reference] = (self._clock.now(), ticket)
        return ticket


class FindingService(ScriptedService, FindsByReference):
    """A scripted service that finds generations by reference: by its script first, then among those it sold."""

    def __init__(self, clock: Clock, *, complete: bool, **options: Any) -> None:
        super().__init__(clock, **options)
        self.find_is_complete = complete
        self.finds: deque[FindAnswer] = deque()

    def find(self, reference: str) -> Ticket | None:
        self.on_call("find")
        answer = self.finds.popleft() if self.finds else self.bought(reference)
        if isinstance(answer, BaseException):
            raise answer
        return answer
