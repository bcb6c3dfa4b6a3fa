"""Faults of the video services: each fake service goes through short phases, and a phase has one kind of fault."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from tenxsom_flow_engine.services.http.fake_server import At, Cut, Fault, Hang, Reply, Request
from tests.fake_vendors import Vendors

#: The common phases, with their weights in the draw.
PHASES: Mapping[str, int] = {"healthy": 4, "server error": 3, "disconnect": 4, "hang": 2, "bad response": 2}
#: Phases that come in turn, so that each is sure to come; rare, since the engine then probes the service for a while.
RARE_PHASES = ("rate limit", "no credit")
#: Seconds that a phase lasts.
SHORTEST, LONGEST = 0.2, 0.8
#: Share of the generations that fail while faults are on.
FAILED = 0.05
#: Probability that a request meets the fault of its phase; of a rate limit only creates meet it.
_PROBABILITIES = {"server error": 0.5, "disconnect": 0.4, "hang": 0.15, "bad response": 0.4}
#: Names under which faults are counted.
_NAMES = {
    "rate limit": "429 responses", "server error": "5xx responses", "disconnect": "connections cut",
    "hang": "requests without a response", "bad response": "invalid responses",
}  # fmt: skip


class ServiceFaults:
    """The faults of all services. `counts` has the number of injected faults, by kind."""

    def __init__(self, vendors: Vendors, seed: object) -> None:
        self.counts: Counter[str] = Counter()
        self._services = [
            _FaultyService(name, vendors, Random(f"{seed} {name}"), self._count) for name in vendors.by_service
        ]
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=service.run, args=(self._over,), daemon=True) for service in self._services
        ]

    def start(self) -> None:
        """Start the faults."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the faults: every service works again, and no render fails."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _count(self, kind: str) -> None:
        self.counts[kind] += 1


@dataclass
class _FaultyService:
    """The phases of one service."""

    service: str
    vendors: Vendors
    random: Random
    count: Callable[[str], None]
    phase: str = "healthy"
    faults_on: bool = True
    saved_balance: float = 0.0

    def __post_init__(self) -> None:
        server = self.vendors.by_service[self.service]
        server.fault_source = self.next_fault
        server.on_moment = self.choose_generation

    def run(self, over: threading.Event) -> None:
        """Go from phase to phase until `over` is set, then work without faults."""
        rare, server = list(RARE_PHASES), self.vendors.by_service[self.service]
        while not over.wait(self.random.uniform(SHORTEST, LONGEST)):
            if self.phase == "no credit":
                self._restore_credit()
            if rare and self.random.random() < 0.3:
                self.phase = rare.pop(0)
            else:
                (self.phase,) = self.random.choices([*PHASES], [*PHASES.values()])
                rare = rare or ([*RARE_PHASES] if self.random.random() < 0.1 else [])
            if self.phase == "no credit":
                self.count("credit used up")
                self._take_credit()
            server.unread.clear()
            if self.phase == "disconnect":
                # Cut before anything is read, so the request is not known; mostly it is a paid create.
                server.unread.append(Cut(At.UNREAD))
        if self.phase == "no credit":
            self._restore_credit()
        server.unread.clear()
        self.phase, self.faults_on = "healthy", False

    def next_fault(self, route: str) -> Fault | None:
        """Return the fault of the next request to a route, or None."""
        paid = route.startswith("create")
        phase = self.phase
        probability = float(paid) if phase == "rate limit" else _PROBABILITIES.get(phase, 0.0)
        if self.random.random() >= probability:
            return None
        self.count(_NAMES[phase])
        return self._fault(phase, paid)

    def choose_generation(self, route: str, at: At, request: Request) -> None:
        """Choose whether the next generation fails, and by which states it passes."""
        if route.startswith("create") and at is At.READ:
            fails = self.faults_on and self.random.random() < FAILED
            server = self.vendors.by_service[self.service]
            server.life = server.failing if fails else self.random.choice(server.lives)

    def _fault(self, phase: str, paid: bool) -> Fault:
        match phase:
            case "rate limit":
                return Reply(429, {"error": "too many requests"}, {"Retry-After": "1"})
            case "server error":
                return Reply(self.random.choice((500, 502, 503, 504)), b"", done=paid and self.random.random() < 0.5)
            case "disconnect":
                return Cut(self.random.choice((At.READ, At.DONE, At.ANSWERING)))
            case "hang":
                return Hang(self.random.choice((At.READ, At.DONE, At.ANSWERING)))
        return Reply(200, b"{", done=True)

    def _take_credit(self) -> None:
        server = self.vendors.by_service[self.service]
        with server.lock:
            self.saved_balance, server.balance = server.balance, 0.0

    def _restore_credit(self) -> None:
        server = self.vendors.by_service[self.service]
        with server.lock:
            server.balance = self.saved_balance
