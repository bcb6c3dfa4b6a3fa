"""Limits and prices of PixVerse's models, and the choice of the nearest allowed values.

Source: useapi.net/docs/api-pixverse-v2/post-pixverse-videos-create-v4 (2026-04-20), prices of 2026-04-05; other makers'
models from the vendor's pages of 2026-09-21. Empty limits are not documented; requested values are sent unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Cost, VideoJob
from tenxsom_flow_engine.services.base import Fit
from tenxsom_flow_engine.services.fitting import fitted, nearest_duration, nearest_quality, nearest_ratio

NAME = "pixverse"
MAX_PROMPT = 5000

_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")
_QUALITIES = ("360p", "540p", "720p", "1080p")


@dataclass(frozen=True, slots=True)
class Model:
    """The limits and prices of a model."""

    #: Durations in seconds.
    shortest: int
    longest: int
    qualities: tuple[str, ...] = ()
    #: The default quality; empty: none is sent, and the model decides.
    quality: str = ""
    ratios: tuple[str, ...] = ()
    #: Whether sound is ordered by default; None: the model decides.
    audio: bool | None = None
    #: Whether a create can contain the field `audio`.
    takes_audio: bool = True
    multi_shot: bool = False
    #: Lower limits of the duration in seconds for some qualities.
    longest_at: Mapping[str, int] = field(default_factory=dict)
    #: Credits per second, by quality.
    credits: Mapping[str, float] = field(default_factory=dict)
    #: USD per second, if the price in credits is unknown.
    usd: float | None = None


_V5 = Model(1, 10, _QUALITIES, "540p", _RATIOS, longest_at={"1080p": 8})

MODELS: Mapping[str, Model] = {
    "v6": Model(
        1, 15, _QUALITIES, "720p", _RATIOS, audio=True, multi_shot=True,
        credits={"360p": 4, "540p": 6, "720p": 7, "1080p": 14},
    ),
    "v5.6": _V5,
    "v5.5": _V5,
    "v5": _V5,
    "v5-fast": _V5,
    "pixverse-c1": Model(1, 15, _QUALITIES, "720p", (*_RATIOS, "3:2", "2:3")),
    "seedance-2.5": Model(4, 30, ("480p", "720p", "1080p"), "720p", takes_audio=False, usd=0.30),
    "minimax-h3": Model(5, 15, ("768p", "1440p"), "768p", takes_audio=False, usd=0.12),
    "wan-3.0": Model(2, 30),
    "flux-3.0": Model(5, 20),
    "gemini-omni-flash": Model(3, 10, ("720p",), "720p"),
}  # fmt: skip

#: Stands for models newer than this table: requested values are sent unchanged, and PixVerse validates them.
UNKNOWN = Model(1, 60)


def fit_to(model: Model, job: VideoJob, prompt: str) -> Fit:
    """Return the job with the nearest values that a model allows. Raises `InvalidInput`."""
    if len(prompt) > MAX_PROMPT:
        raise InvalidInput("prompt", f"has {len(prompt)} characters; {NAME} accepts {MAX_PROMPT}")
    quality = job.quality or model.quality
    if quality and model.qualities:
        quality = nearest_quality(NAME, quality, model.qualities)
    longest = min(model.longest, model.longest_at.get(quality, model.longest))
    duration = nearest_duration(NAME, job.duration, range(model.shortest, longest + 1))
    ratio = nearest_ratio(NAME, job.aspect_ratio, model.ratios) if model.ratios else job.aspect_ratio
    return fitted(NAME, job, duration=duration, aspect_ratio=ratio, quality=quality)


def cost_of(model: Model, job: VideoJob, prices: Mapping[str, float], usd_per_credit: float) -> Cost | None:
    """Return the expected cost of a fitted job; `prices` (credits per second, by quality) override the table."""
    credits = (prices or model.credits).get(job.quality or model.quality)
    if credits is not None:
        return Cost(usd=round(credits * job.duration * usd_per_credit, 4), credits=credits * job.duration)
    return Cost(usd=round(model.usd * job.duration, 4)) if model.usd is not None else None
