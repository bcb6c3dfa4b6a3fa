"""HeyGen (API v3): a presenter speaks a script, or a video agent makes a whole video about a topic."""

from __future__ import annotations

from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.heygen.config import HeyGenConfig
from tenxsom_flow_engine.services.registry import ServiceContext, ServiceSpec


def _make(config: HeyGenConfig, context: ServiceContext) -> VideoService:
    from tenxsom_flow_engine.services.heygen.service import HeyGenService

    return HeyGenService(config, context.downloader(), context.clock, context.timings)


SPEC = ServiceSpec(
    name="heygen",
    factory=_make,
    config=HeyGenConfig,
    quotas="3/s 30/m 300/h",
    docs="docs/services/heygen.md",
    order=30,
)
