"""What goes wrong at the video services: spells of one kind of trouble after the other, each service its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from tenxsom_flow_engine.services.http.fake_server import At, Cut, Fault, Hang, Reply, Request
from tests.fake_vendors import Vendors

#: The spells, and how often each comes. Those of no money and of too many requests come in turn below.
SPELLS: Mapping[str, int] = {"fair": 4, "broken": 3, "cut": 4, "silent": 2, "garbled": 2}
#: In turn, so that each is sure to come, and seldom: after each a service is found again step by step.
GUESTS = ("busy", "poor")
#: Seconds of a spell.
SHORTEST, LONGEST = 0.2, 0.8
#: Share of the generations that fail in a storm.
FAILED = 0.05


class Weather:
    """The weather of all services. `counts` tells how often each kind of fault befell a request."""

    def __init__(self, vendors: Vendors, seed: object) -> None:
        self.counts: Counter[str] = Counter()
        self._skies = [_Sky(name, vendors, Random(f"{seed} {name}"), self._count) for name in vendors.by_service]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=sky.pass_by, args=(self._over,), daemon=True) for sky in self._skies]

    def begin(self) -> None:
        """Let the storm come."""
        for thread in self._threads:
            thread.start()

    def clear_up(self) -> None:
        """End the storm: all services work again, and no render fails."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _count(self, kind: str) -> None:
        self.counts[kind] += 1


@dataclass
class _Sky:
    """The weather over one service."""

    service: str
    vendors: Vendors
    draw: Random
    count: Callable[[str], None]
    spell: str = "fair"
    stormy: bool = True
    saved: float = 0.0

    def __post_init__(self) -> None:
        server = self.vendors.by_service[self.service]
        server.weather = self.befall
        server.on_moment = self.moment

    def pass_by(self, over: threading.Event) -> None:
        """Let one spell follow the other."""
        guests, server = list(GUESTS), self.vendors.by_service[self.service]
        while not over.wait(self.draw.uniform(SHORTEST, LONGEST)):
            if self.spell == "poor":
                self._money(back=True)
            if guests and self.draw.random() < 0.3:
                self.spell = guests.pop(0)
            else:
                (self.spell,) = self.draw.choices([*SPELLS], [*SPELLS.values()])
                guests = guests or ([*GUESTS] if self.draw.random() < 0.1 else [])
            if self.spell == "poor":
                self.count("out of money")
                self._money(back=False)
            server.unread.clear()
            if self.spell == "cut":
                # Of this connection nothing is read, so it is not known what it was for; mostly, for a paid create.
                server.unread.append(Cut(At.UNREAD))
        if self.spell == "poor":
            self._money(back=True)
        server.unread.clear()
        self.spell, self.stormy = "fair", False

    def befall(self, route: str) -> Fault | None:
        """Return what befalls a request."""
        paid = route.startswith("create")
        kind = self.spell
        chance = {"busy": 1.0 if paid else 0.0, "broken": 0.5, "cut": 0.4, "silent": 0.15, "garbled": 0.4}
        if self.draw.random() >= chance.get(kind, 0.0):
            return None
        fault = self._fault(kind, paid)
        self.count({"busy": "429", "broken": "5xx", "cut": "cut lines", "silent": "silences"}.get(kind, kind))
        return fault

    def moment(self, route: str, at: At, request: Request) -> None:
        """Draw how the next generation will go on."""
        if route.startswith("create") and at is At.READ:
            fails = self.stormy and self.draw.random() < FAILED
            server = self.vendors.by_service[self.service]
            server.life = server.failing if fails else self.draw.choice(server.lives)

    def _fault(self, kind: str, paid: bool) -> Fault:
        match kind:
            case "busy":
                return Reply(429, {"error": "too many requests"}, {"Retry-After": "1"})
            case "broken":
                return Reply(self.draw.choice((500, 502, 503, 504)), b"", done=paid and self.draw.random() < 0.5)
            case "cut":
                return Cut(self.draw.choice((At.READ, At.DONE, At.ANSWERING)))
            case "silent":
                return Hang(self.draw.choice((At.READ, At.DONE, At.ANSWERING)))
        return Reply(200, b"{", done=True)

    def _money(self, *, back: bool) -> None:
        server = self.vendors.by_service[self.service]
        with server.lock:
            if not back:
                self.saved = server.balance
            server.balance = self.saved if back else 0.0
