"""The built-in draft service: renders a short video of a topic on this machine, without a network or a key."""

from __future__ import annotations

from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.draft.config import DraftConfig
from tenxsom_flow_engine.services.registry import MachineCheck, MachineState, ServiceContext, ServiceSpec


def _make(config: DraftConfig, context: ServiceContext) -> VideoService:
    from tenxsom_flow_engine.services.draft.service import FOLDER, DraftService

    return DraftService(context.output_dir / FOLDER, config=config)


def _check_fonts() -> MachineState:
    from tenxsom_flow_engine.services.draft.font_check import check_fonts

    return check_fonts()


SPEC = ServiceSpec(
    name="draft",
    factory=_make,
    config=DraftConfig,
    docs="docs/services/draft.md",
    order=80,
    machine_checks=(MachineCheck("fonts", _check_fonts),),
)
