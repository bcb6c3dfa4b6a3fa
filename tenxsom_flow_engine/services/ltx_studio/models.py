"""Limits and prices of LTX's models. Source: docs.ltx.io, prices of 2026-08-24."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NAME = "ltx_studio"

#: Width and height of a landscape picture by quality; the first is the default.
RESOLUTIONS: Mapping[str, tuple[int, int]] = {
    "720p": (1280, 720), "1080p": (1920, 1080), "1440p": (2560, 1440), "4k": (3840, 2160),
}  # fmt: skip
RATIOS = ("9:16", "16:9")
#: Frames per second; the first is the default.
RATES = (24, 25, 48, 50)
#: Durations in seconds; the long ones up to 1080p and 25 frames per second.
LONG, SHORT = range(6, 21, 2), (6, 8, 10)


@dataclass(frozen=True, slots=True)
class Model:
    """The limits of a model, and its price in USD per second by quality."""

    #: Whether it supports the long durations.
    long: bool
    usd: Mapping[str, float] = field(default_factory=dict)

    def durations(self, quality: str, rate: int) -> Sequence[int]:
        """Return the durations in seconds that it supports at a quality and a frame rate."""
        return LONG if self.long and quality in ("720p", "1080p") and rate <= 25 else SHORT


def _prices(*usd: float) -> Mapping[str, float]:
    return dict(zip(RESOLUTIONS, usd, strict=True))


MODELS: Mapping[str, Model] = {
    "ltx-2-5-fast": Model(long=True, usd=_prices(0.09, 0.13, 0.19, 0.30)),
    "ltx-2-5-pro": Model(long=False, usd=_prices(0.12, 0.17, 0.25, 0.39)),
    "ltx-2-3-fast": Model(long=True, usd=_prices(0.03, 0.06, 0.12, 0.24)),
    "ltx-2-3-pro": Model(long=False, usd=_prices(0.04, 0.08, 0.16, 0.32)),
}
#: Stands for models newer than this table: assumed to support the long durations; the price is unknown.
UNKNOWN = Model(long=True)
