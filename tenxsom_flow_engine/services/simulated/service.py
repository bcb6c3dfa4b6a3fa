"""`simulated`: an in-process imitation of a paid service, for load tests and rehearsals.

It has the latency and the faults that a plan sets, and delivers tiny valid videos. It keeps a ledger of its sales, so
that a rehearsal can prove that nothing was bought twice.
"""

from __future__ import annotations

import fcntl
import math
import os
import random
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import Busy, Rejected, Transient, Uncertain
from tenxsom_flow_engine.files import make_private_folder
from tenxsom_flow_engine.jobs import Ticket, VideoJob
from tenxsom_flow_engine.services.base import Failed, FindsByReference, Fit, Progress, Ready, VideoService
from tenxsom_flow_engine.services.simulated.config import SimulationPlan
from tenxsom_flow_engine.services.tiny_video import tiny_video

NAME = "simulated"


class UnsearchableSimulatedService(VideoService):
    """See the module. A ticket's id holds the whole state of its generation: start/end/fate/reference."""

    name = NAME
    ticket_form = re.compile(r"[0-9]{1,12}\.[0-9]{3}/[0-9]{1,12}\.[0-9]{3}/[a-z]+/[A-Za-z0-9_.-]{1,200}")
    auto_selectable = False
    lifetime = 3600.0
    lookup_hint = "in the file simulated-ledger in TENXSOM_HOME, where the line of each sale ends with the reference"

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
        # The answer to an uncertain create is lost; half of these creates have been accepted.
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
            return Failed("the generation failed (simulated)")
        return Ready(url=f"simulated:{ticket.id}")

    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        self._crash()
        (folder / "video.mp4").write_bytes(tiny_video(job.aspect_ratio, job.duration))

    def sold(self) -> list[Ticket]:
        """Return the ledger: the tickets of all generations sold, in order."""
        try:
            return [Ticket(line) for line in self._ledger.read_text("utf-8").splitlines()]
        except FileNotFoundError:
            return []

    def _sell(self, reference: str) -> Ticket:
        make_private_folder(self._ledger.parent)
        with self._ledger.open("a", encoding="utf-8") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            if self._plan.idempotent and (sold := self._sale(reference)):
                return sold
            now = self._clock.now()
            latency = self._plan.latency * (1 + self._plan.jitter * random.uniform(-1, 1))
            fate = "failed" if self._happens(self._plan.failed) else "fine"
            ticket = Ticket(f"{now:.3f}/{now + latency:.3f}/{fate}/{reference}")
            ledger.write(f"{ticket.id}\n")
        return ticket

    def _sale(self, reference: str) -> Ticket | None:
        return next((ticket for ticket in self.sold() if ticket.id.endswith(f"/{reference}")), None)

    def _crash(self) -> None:
        if self._happens(self._plan.crash):
            os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _happens(probability: float) -> bool:
        return random.random() < probability


class SimulatedService(UnsearchableSimulatedService, FindsByReference):
    """The service that can also look up its sales."""

    find_is_complete = True

    def find(self, reference: str) -> Ticket | None:
        return self._sale(reference)
