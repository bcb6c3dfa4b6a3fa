"""Gates that open when a test says so, and services that differ in their price."""

from __future__ import annotations

from tenxsom_flow_engine.errors import ServiceError
from tenxsom_flow_engine.jobs import Cost
from tenxsom_flow_engine.rate_limits.base import Closed
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.gates import OpenGate
from tenxsom_flow_engine.testing.services import ScriptedService


class ScriptedGates(OpenGate):
    """Gates that open when a test says so, and that a refusal closes for as long as it asks."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.opening: dict[str, float] = {}

    def refused(self, service: str, error: ServiceError) -> Closed:
        closed = super().refused(service, error)
        self.opening[service] = closed.opens_at
        return closed

    def opens_at(self, service: str) -> float:
        return self.opening.get(service, 0.0)


def priced_services(clock: ManualClock, **prices: float | None) -> dict[str, VideoService]:
    """Return scripted services of these names and prices."""
    return {
        name: ScriptedService(clock, name=name, price=None if usd is None else Cost(usd=usd))
        for name, usd in prices.items()
    }
