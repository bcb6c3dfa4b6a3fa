"""Fake vendors in simulated time: limits and prices come from the real services, answers and delays are random.

Prices, bounds, in-flight limits and time limits are those of the services' own classes. Only HeyGen publishes render
times (20 to 45 minutes for its agent); for PixVerse and LTX they are assumed to be a few minutes. No vendor publishes
failure rates: these are assumptions too, chosen so that a day of thousands of videos has each kind of failure.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.day.simulated_threads import SimulatedThreads
from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import Busy, Rejected, Transient, Uncertain
from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.base import Failed, FindsByReference, Fit, Progress, Ready, VideoService
from tenxsom_flow_engine.services.heygen.parsing import PACE, SLOWEST
from tenxsom_flow_engine.services.ltx_studio.service import POLL_PACE as LTX_PACE
from tenxsom_flow_engine.services.pixverse.videos import POLL_PACE as PIXVERSE_PACE
from tenxsom_flow_engine.services.tiny_video import tiny_video


def _heygen_poll_interval(age: float) -> float:
    return next((interval for bound, interval in PACE if age < bound), SLOWEST)


@dataclass(frozen=True, slots=True)
class VendorModel:
    """The behaviour of a vendor. Durations are (median, p95) in seconds, faults are shares of calls."""

    render: tuple[float, float]
    #: Seconds until the next poll, by the age of the generation in seconds.
    poll_interval: Callable[[float], float]
    create: tuple[float, float]
    check: tuple[float, float] = (0.3, 1.0)
    fetch: tuple[float, float] = (3.0, 8.0)
    #: Faults of a create: busy, not reached, prompt rejected, and no response (half of these are sold).
    busy: float = 0.002
    transient: float = 0.005
    rejected: float = 0.003
    uncertain: float = 0.001
    #: Share of generations that fail and are charged.
    failed: float = 0.01
    #: A check or a fetch that gets an error.
    read_error: float = 0.005


MODELS = {
    "pixverse": VendorModel(render=(90.0, 300.0), poll_interval=lambda age: PIXVERSE_PACE, create=(2.0, 6.0)),
    "ltx_studio": VendorModel(render=(90.0, 240.0), poll_interval=lambda age: LTX_PACE, create=(1.0, 3.0)),
    "heygen": VendorModel(render=(1800.0, 2700.0), poll_interval=_heygen_poll_interval, create=(5.0, 20.0)),
}


@dataclass(slots=True)
class Sale:
    """A sold generation. Times are simulated seconds since 1970."""

    reference: str
    at: float
    ends: float
    fails: bool


class Vendor(VideoService):
    """Fake of a service in simulated time. It renders up to the service's `max_in_flight` videos at once."""

    def __init__(self, real: VideoService, threads: SimulatedThreads, clock: Clock, seed: int) -> None:
        self.name, self.max_in_flight = real.name, real.max_in_flight
        self.create_timeout, self.lifetime, self.first_check = real.create_timeout, real.lifetime, real.first_check
        self._real = real
        self._model = MODELS[real.name]
        self._threads = threads
        self._clock = clock
        self._random = Random(f"{seed} {real.name}")
        #: When each create was received, in seconds since 1970, and its reference.
        self.received: list[tuple[float, str]] = []
        self.calls: Counter[str] = Counter()
        self.sold: dict[str, Sale] = {}
        #: Creates that arrived while all slots were taken.
        self.overbooked = 0
        self._rendering: list[float] = []

    @property
    def creates(self) -> Sequence[float]:
        """When each create was received, in seconds since 1970."""
        return [at for at, _ in self.received]

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
        self.received.append((self._clock.now(), reference))
        self.calls["create"] += 1
        if self._happens(self._model.transient):
            raise Transient(self.name, "the connection was refused")
        self._spend(self._model.create)
        if self._full():
            self.overbooked += 1
            raise Busy(self.name, "all slots are taken")
        if self._happens(self._model.busy):
            raise Busy(self.name, "too many requests")
        if self._happens(self._model.rejected):
            raise Rejected(self.name, "the prompt is not allowed", next_step="change the prompt")
        no_response = self._happens(self._model.uncertain)
        if not (no_response and self._happens(0.5)):
            ticket = self._sell(reference)
        if no_response:
            raise Uncertain(self.name, "the connection broke after the request was sent")
        return ticket

    def check(self, ticket: Ticket) -> Progress | Ready | Failed:
        self.calls["check"] += 1
        self._spend(self._model.check)
        self._fail_sometimes()
        sale, now = self.sold[ticket.id], self._clock.now()
        if now < sale.ends:
            return Progress(None, self._model.poll_interval(now - sale.at))
        if sale.fails:
            return Failed("the generation failed")
        return Ready(f"https://videos.example/{ticket.id}")

    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        self.calls["fetch"] += 1
        self._spend(self._model.fetch)
        self._fail_sometimes()
        fitted = self.fit(job).job
        (folder / "video.mp4").write_bytes(tiny_video(fitted.aspect_ratio, fitted.duration))
        # Empty, since decoding a frame would take longer than all other work on a video.
        (folder / "thumbnail.jpg").write_bytes(b"")

    def _sell(self, reference: str) -> Ticket:
        now = self._clock.now()
        ticket = Ticket(f"{self.name}-{len(self.sold) + 1}")
        ends = now + self._draw_duration(self._model.render)
        self.sold[ticket.id] = Sale(reference, now, ends, self._happens(self._model.failed))
        heapq.heappush(self._rendering, ends)
        return ticket

    def _full(self) -> bool:
        while self._rendering and self._rendering[0] <= self._clock.now():
            heapq.heappop(self._rendering)
        return len(self._rendering) >= self.max_in_flight

    def _fail_sometimes(self) -> None:
        if self._happens(self._model.read_error):
            raise Transient(self.name, "the server answered 503")

    def _spend(self, duration: tuple[float, float]) -> None:
        self._threads.sleep(self._draw_duration(duration))

    def _draw_duration(self, duration: tuple[float, float]) -> float:
        median, p95 = duration
        return self._random.lognormvariate(math.log(median), math.log(p95 / median) / 1.645)

    def _happens(self, probability: float) -> bool:
        return self._random.random() < probability


class FindingVendor(Vendor, FindsByReference):
    """A vendor that can find a generation by its reference: PixVerse."""

    def find(self, reference: str) -> Ticket | None:
        self.calls["find"] += 1
        self._spend(self._model.check)
        return next((Ticket(name) for name, sale in self.sold.items() if sale.reference == reference), None)


def vendor_of(real: VideoService, threads: SimulatedThreads, clock: Clock, seed: int) -> Vendor:
    """Return a fake vendor with the capabilities of a service."""
    kind = FindingVendor if isinstance(real, FindsByReference) else Vendor
    return kind(real, threads, clock, seed)


def job_of(reference: str) -> str:
    """Return the id of the job that a create was sent for: the first part of its reference."""
    return reference.partition(".")[0]
