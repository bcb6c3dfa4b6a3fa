"""The simulated service, for rehearsals: configurable faults, no cost and no network."""

from __future__ import annotations

from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.registry import ServiceContext, ServiceSpec
from tenxsom_flow_engine.services.simulated.config import SimulatedConfig


def _make(config: SimulatedConfig, context: ServiceContext) -> VideoService:
    from tenxsom_flow_engine.services.simulated.service import SimulatedService, UnsearchableSimulatedService

    kind = SimulatedService if config.plan.searchable else UnsearchableSimulatedService
    return kind(config.plan, context.home / "simulated-ledger", context.clock)


SPEC = ServiceSpec(name="simulated", factory=_make, config=SimulatedConfig, order=90, rehearsal=True,
                   docs="docs/services/simulated.md")  # fmt: skip
