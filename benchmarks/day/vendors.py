"""The vendors of a simulated day: what they allow and cost is asked of the real services, how they answer is drawn.

Prices, bounds, slots and time-outs are those of the services' own classes. How long a render takes is told by HeyGen
only (20 to 45 minutes for its agent); for PixVerse and LTX a few minutes are assumed. How often a call fails no vendor
tells: the shares are assumptions too, such that each kind of failure comes in a day of thousands.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.day.setup import Stage
from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import Busy, Rejected, Transient, Uncertain
from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.base import Failed, FindsByReference, Fit, Progress, Ready, VideoService
from tenxsom_flow_engine.services.heygen.parsing import PACE, SLOWEST
from tenxsom_flow_engine.services.ltx_studio.service import POLL_PACE as LTX_PACE
from tenxsom_flow_engine.services.pixverse.videos import POLL_PACE as PIXVERSE_PACE
from tenxsom_flow_engine.services.tiny_video import tiny_video


def _heygen_pace(age: float) -> float:
    return next((pace for bound, pace in PACE if age < bound), SLOWEST)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a vendor answers. Times in seconds: the median, and what 19 of 20 do not exceed. Faults: shares of calls."""

    render: tuple[float, float]
    #: After how many seconds its service asks again, by the age of the order.
    pace: Callable[[float], float]
    create: tuple[float, float]
    check: tuple[float, float] = (0.3, 1.0)
    fetch: tuple[float, float] = (3.0, 8.0)
    #: Faults of a create: too much to do, not reached, refused for its prompt, and no answer (half of these are sold).
    busy: float = 0.002
    transient: float = 0.005
    rejected: float = 0.003
    uncertain: float = 0.001
    #: A generation that fails though it is charged.
    failed: float = 0.01
    #: A check or a fetch that is not answered.
    unread: float = 0.005


MANNERS = {
    "pixverse": Manner(render=(90.0, 300.0), pace=lambda age: PIXVERSE_PACE, create=(2.0, 6.0)),
    "ltx_studio": Manner(render=(90.0, 240.0), pace=lambda age: LTX_PACE, create=(1.0, 3.0)),
    "heygen": Manner(render=(1800.0, 2700.0), pace=_heygen_pace, create=(5.0, 20.0)),
}


@dataclass(slots=True)
class Sale:
    """A generation that was sold."""

    reference: str
    at: float
    ends: float
    fails: bool


class Vendor(VideoService):
    """Stands in for a service, in simulated time. It renders as many videos at once as the service has slots."""

    def __init__(self, real: VideoService, stage: Stage, clock: Clock, seed: int) -> None:
        self.name, self.max_in_flight = real.name, real.max_in_flight
        self.create_timeout, self.lifetime = real.create_timeout, real.lifetime
        self._real = real
        self._manner = MANNERS[real.name]
        self._stage = stage
        self._clock = clock
        self._draw = Random(f"{seed} {real.name}")
        #: When each create was received.
        self.asked: list[float] = []
        self.calls: Counter[str] = Counter()
        self.sold: dict[str, Sale] = {}
        #: Creates that came while all places were taken.
        self.overbooked = 0
        self._rendering: list[float] = []

    def fit(self, job: VideoJob) -> Fit:
        return self._real.fit(job)

    def estimate(self, job: VideoJob) -> Cost | None:
        return self._real.estimate(job)

    def prompt(self, job: VideoJob) -> str:
        return self._real.prompt(job)

    def idempotency_window(self, job: VideoJob) -> float:
        return self._real.idempotency_window(job)

    def order(self, job: VideoJob, reference: str) -> Mapping[str, object]:
        return self._real.order(job, reference)

    def create(self, order: Mapping[str, Any], reference: str) -> Ticket:
        self.asked.append(self._clock.now())
        self.calls["create"] += 1
        if self._happens(self._manner.transient):
            raise Transient(self.name, "the connection was refused")
        self._take(self._manner.create)
        if self._full():
            self.overbooked += 1
            raise Busy(self.name, "all places are taken")
        if self._happens(self._manner.busy):
            raise Busy(self.name, "too many requests")
        if self._happens(self._manner.rejected):
            raise Rejected(self.name, "the prompt is not allowed", next_step="change the prompt")
        unheard = self._happens(self._manner.uncertain)
        if not (unheard and self._happens(0.5)):
            ticket = self._sell(reference)
        if unheard:
            raise Uncertain(self.name, "the connection broke after the request was sent")
        return ticket

    def check(self, ticket: Ticket) -> Progress | Ready | Failed:
        self.calls["check"] += 1
        self._take(self._manner.check)
        self._may_break()
        sale, now = self.sold[ticket.id], self._clock.now()
        if now < sale.ends:
            return Progress(None, self._manner.pace(now - sale.at))
        if sale.fails:
            return Failed("the generation failed")
        return Ready(f"https://videos.example/{ticket.id}")

    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        self.calls["fetch"] += 1
        self._take(self._manner.fetch)
        self._may_break()
        fitting = self.fit(job).job
        (folder / "video.mp4").write_bytes(tiny_video(fitting.aspect_ratio, fitting.duration))
        # It is not what a day is about, and decoding a frame takes longer than all else of a video.
        (folder / "thumbnail.jpg").write_bytes(b"")

    def _sell(self, reference: str) -> Ticket:
        now = self._clock.now()
        ticket = Ticket(f"{self.name}-{len(self.sold) + 1}")
        ends = now + self._long(self._manner.render)
        self.sold[ticket.id] = Sale(reference, now, ends, self._happens(self._manner.failed))
        heapq.heappush(self._rendering, ends)
        return ticket

    def _full(self) -> bool:
        while self._rendering and self._rendering[0] <= self._clock.now():
            heapq.heappop(self._rendering)
        return len(self._rendering) >= self.max_in_flight

    def _may_break(self) -> None:
        if self._happens(self._manner.unread):
            raise Transient(self.name, "the server answered 503")

    def _take(self, usual: tuple[float, float]) -> None:
        self._stage.sleep(self._long(usual))

    def _long(self, usual: tuple[float, float]) -> float:
        median, late = usual
        return self._draw.lognormvariate(math.log(median), math.log(late / median) / 1.645)

    def _happens(self, probability: float) -> bool:
        return self._draw.random() < probability


class FindingVendor(Vendor, FindsByReference):
    """One that finds what it sold, but whose list may lack something: PixVerse."""

    def find(self, reference: str) -> Ticket | None:
        self.calls["find"] += 1
        self._take(self._manner.check)
        return next((Ticket(name) for name, sale in self.sold.items() if sale.reference == reference), None)


def vendor_of(real: VideoService, stage: Stage, clock: Clock, seed: int) -> Vendor:
    """Return a vendor with a service's abilities."""
    kind = FindingVendor if isinstance(real, FindsByReference) else Vendor
    return kind(real, stage, clock, seed)
