"""`simulated`: a video service that is not there, for load tests and rehearsals.

It answers like a paid one, with the latency and the mix of faults that a plan asks for, and delivers tiny real files.
It keeps a ledger of what it sold, so that a rehearsal can prove that nothing was bought twice.
"""

from __future__ import annotations

import fcntl
import math
import os
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import Busy, InvalidInput, Rejected, Transient, Uncertain
from tenxsom_flow_engine.jobs import Ticket, VideoJob
from tenxsom_flow_engine.services.base import Failed, FindsByReference, Fit, Progress, Ready, VideoService
from tenxsom_flow_engine.services.simulated.tiny_video import tiny_video

NAME = "simulated"
#: The options of a plan that are no probabilities or shares.
_UNBOUNDED = frozenset({"latency", "create_latency", "create_timeout", "slots"})


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """How the service behaves. Times in seconds; faults are probabilities of 0 to 1 for each call."""

    latency: float = 5.0
    #: Share of the latency that varies at random, up and down.
    jitter: float = 0.2
    #: How long a create takes to answer.
    create_latency: float = 0.0
    #: How long a caller waits for that answer before it counts as lost.
    create_timeout: float = 30.0
    slots: float = 1000
    #: 1: a create with a reference that was sold before sells nothing (an idempotency key).
    idempotent: float = 0
    #: Faults of a create.
    rejected: float = 0.0
    busy: float = 0.0
    transient: float = 0.0
    uncertain: float = 0.0
    #: A check that cannot be answered, and a generation that fails.
    check_fault: float = 0.0
    failed: float = 0.0
    #: The worker process is killed -9 in a create (after the sale), a check or a fetch.
    crash: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            highest = 1e9 if field.name in _UNBOUNDED else 1.0
            if not 0 <= value <= highest:
                raise InvalidInput("TENXSOM_SIMULATED", f"{field.name}={value:g} is not from 0 to {highest:g}")

    @classmethod
    def parse(cls, text: str) -> SimulationPlan:
        """Read a plan such as `latency=60 busy=0.02`. Raises `InvalidInput` naming what is wrong."""
        known = {field.name for field in fields(cls)}
        values: dict[str, float] = {}
        for word in text.replace(",", " ").split():
            name, _, value = word.partition("=")
            if name not in known:
                raise InvalidInput("TENXSOM_SIMULATED", f"{name!r} is not one of {', '.join(sorted(known))}")
            try:
                values[name] = float(value)
            except ValueError:
                raise InvalidInput("TENXSOM_SIMULATED", f"{word!r} has no number") from None
        return cls(**values)


class SimulatedService(VideoService, FindsByReference):
    """See the module. A ticket tells all about its generation, so nothing but the ledger is kept."""

    name = NAME
    auto_selectable = False
    lifetime = 3600.0
    find_is_complete = True
    lookup_hint = "in the ledger simulated-ledger in TENXSOM_HOME, where a line that is sold ends with the reference"

    def __init__(self, plan: SimulationPlan, ledger: Path, clock: Clock) -> None:
        self._plan = plan
        self._ledger = ledger
        self._clock = clock
        self.create_timeout = plan.create_timeout
        self.max_in_flight = max(1, int(plan.slots))

    def fit(self, job: VideoJob) -> Fit:
        return Fit(job)

    def idempotency_window(self, job: VideoJob) -> float:
        return math.inf if self._plan.idempotent else 0.0

    def order(self, job: VideoJob, reference: str) -> Mapping[str, object]:
        return {
            "prompt": self.prompt(job),
            "duration": job.duration,
            "aspect_ratio": job.aspect_ratio,
            "reference": reference,
        }

    def create(self, order: Mapping[str, object], reference: str) -> Ticket:
        time.sleep(self._plan.create_latency)
        if self._happens(self._plan.rejected):
            raise Rejected(NAME, "the prompt was refused (simulated)")
        if self._happens(self._plan.busy):
            raise Busy(NAME, "too many requests (simulated)", retry_after=1.0)
        if self._happens(self._plan.transient):
            raise Transient(NAME, "the connection was refused (simulated)")
        uncertain = self._happens(self._plan.uncertain)
        # The answer to an uncertain create is lost; it was accepted all the same in one of two cases.
        if not (uncertain and self._happens(0.5)):
            ticket = self._sell(str(order["reference"]))
        self._crash()
        if uncertain:
            raise Uncertain(NAME, "the connection broke after the request was sent (simulated)")
        return ticket

    def check(self, ticket: Ticket) -> Progress | Ready | Failed:
        self._crash()
        if self._happens(self._plan.check_fault):
            raise Transient(NAME, "the server answered 503 (simulated)")
        began, ends, fate, _ = ticket.id.split("/", 3)
        left = float(ends) - self._clock.now()
        if left > 0:
            whole = max(float(ends) - float(began), 1e-3)
            return Progress(fraction=max(0.0, 1 - left / whole), poll_after=min(max(left, 0.02), 15.0))
        if fate == "failed":
            return Failed("the generation failed (simulated)", charged=True)
        return Ready(url=f"simulated:{ticket.id}")

    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        self._crash()
        (folder / "video.mp4").write_bytes(tiny_video(job.aspect_ratio, job.duration))

    def find(self, reference: str) -> Ticket | None:
        return next((ticket for ticket in self.sold() if ticket.id.endswith(f"/{reference}")), None)

    def sold(self) -> list[Ticket]:
        """Return the ledger: a ticket for each generation that was sold, in order."""
        try:
            return [Ticket(line) for line in self._ledger.read_text("utf-8").splitlines()]
        except FileNotFoundError:
            return []

    def _sell(self, reference: str) -> Ticket:
        self._ledger.parent.mkdir(parents=True, exist_ok=True)
        with self._ledger.open("a", encoding="utf-8") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            if self._plan.idempotent and (sold := self.find(reference)):
                return sold
            now = self._clock.now()
            latency = self._plan.latency * (1 + self._plan.jitter * random.uniform(-1, 1))
            fate = "failed" if self._happens(self._plan.failed) else "fine"
            ticket = Ticket(f"{now:.3f}/{now + latency:.3f}/{fate}/{reference}")
            ledger.write(f"{ticket.id}\n")
        return ticket

    def _crash(self) -> None:
        if self._happens(self._plan.crash):
            os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _happens(probability: float) -> bool:
        return random.random() < probability
