"""The built-in draft service: renders a short video of a topic on this machine, without a network or a key."""

from __future__ import annotations

from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.registry import ServiceContext, ServiceSpec


def _make(config: None, context: ServiceContext) -> VideoService:
    from tenxsom_flow_engine.services.draft.service import DraftService

    return DraftService(context.output_dir / ".drafts")


SPEC = ServiceSpec(name="draft", factory=_make, order=80)
