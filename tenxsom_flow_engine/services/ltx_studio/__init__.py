"""LTX of Lightricks, through the vendor's own API (v2)."""

from __future__ import annotations

from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.ltx_studio.config import LtxConfig
from tenxsom_flow_engine.services.registry import ServiceContext, ServiceSpec


def _make(config: LtxConfig, context: ServiceContext) -> VideoService:
    from tenxsom_flow_engine.services.ltx_studio.service import LtxStudioService

    return LtxStudioService(config, context.downloader(), context.timings)


SPEC = ServiceSpec(
    name="ltx_studio",
    factory=_make,
    config=LtxConfig,
    quotas="2/s 20/m 200/h",
    docs="docs/services/ltx_studio.md",
    order=20,
)
