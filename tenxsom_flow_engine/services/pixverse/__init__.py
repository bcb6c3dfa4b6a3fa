"""PixVerse through UseAPI.net (v2), which uses the operator's own PixVerse account."""

from __future__ import annotations

from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.pixverse.config import PixVerseConfig
from tenxsom_flow_engine.services.registry import ServiceContext, ServiceSpec


def _make(config: PixVerseConfig, context: ServiceContext) -> VideoService:
    from tenxsom_flow_engine.services.pixverse.service import PixVerseService

    return PixVerseService(config, context.downloader(), context.timings)


SPEC = ServiceSpec(
    name="pixverse",
    factory=_make,
    config=PixVerseConfig,
    quotas="1/s 10/m 100/h",
    docs="docs/services/pixverse.md",
    order=10,
)
