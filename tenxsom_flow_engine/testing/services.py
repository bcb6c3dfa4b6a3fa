"""A video service whose answers a test writes down beforehand, and which knows what it sold."""

from __future__ import annotations

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
    """A create that is accepted. With `then`, its answer is lost: that is raised after the sale."""

    then: BaseException | None = None
    credits: float | None = None


#: What a create does: sell, or raise and sell nothing.
CreateAnswer = Sold | BaseException
CheckAnswer = Progress | Ready | Failed | BaseException
FindAnswer = Ticket | BaseException | None


class ScriptedService(VideoService):
    """Answers as its scripts say, call by call; after a script's end it sells, is ready, and delivers.

    `on_call`, if set, is called with the name of each method before it does anything, and with `created` after a
    create has taken effect and before its answer goes out: the place to let the world move on.
    """

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
        #: What each job is expected to cost.
        self.price = price
        self.creates: deque[CreateAnswer] = deque()
        self.checks: deque[CheckAnswer] = deque()
        #: What a fetch raises; None lets it deliver.
        self.fetches: deque[BaseException | None] = deque()
        #: What `fit` raises for every job, if anything.
        self.unfit: InvalidInput | None = None
        self.on_call: Callable[[str], None] = lambda call: None
        #: What a fetch writes as `video.mp4`.
        self.video = b"a scripted video"
        #: What each create was given to send.
        self.orders: list[Mapping[str, Any]] = []
        #: Creates that were sent, by reference.
        self.sent: Counter[str] = Counter()
        #: Generations that were sold, in order: each is one bill.
        self.sold: list[Ticket] = []
        #: The tickets of generations that the service said had failed; they stay so.
        self.failed: set[str] = set()
        #: The tickets of those that it said were ready.
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
            # The key is honoured for so long from its first use; then the same call is a new order.
            if known is not None and self._clock.now() < known[0] + self.key_lasts:
                return known[1]
        ticket = Ticket(f"{len(self.sold) + 1}/{reference}", credits=credits)
        self.sold.append(ticket)
        self._keys[reference] = (self._clock.now(), ticket)
        return ticket


class FindingService(ScriptedService, FindsByReference):
    """Finds generations by reference: by its script, and after that by what it sold. Takes the same options."""

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
