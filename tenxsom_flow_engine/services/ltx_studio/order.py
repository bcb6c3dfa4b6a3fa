"""Orders for LTX: fitted values, expected cost and the body of the create. Pure.

Source: docs.ltx.io (API changelog, migration to v2).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Cost, VideoJob
from tenxsom_flow_engine.services.base import Fit
from tenxsom_flow_engine.services.fitting import fitted, nearest_duration, nearest_quality, nearest_ratio, read_options
from tenxsom_flow_engine.services.ltx_studio.config import LtxConfig
from tenxsom_flow_engine.services.ltx_studio.models import MODELS, NAME, RATES, RATIOS, RESOLUTIONS, UNKNOWN, Model


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options under `options["ltx_studio"]` of a job, with LTX's names."""

    model: str = ""
    fps: int = RATES[0]
    generate_audio: bool | None = None
    camera_motion: (
        Literal["dolly_in", "dolly_out", "dolly_left", "dolly_right", "jib_up", "jib_down", "static", "focus_shift"]
        | None
    ) = None


def fit_to(job: VideoJob, config: LtxConfig) -> Fit:
    """Return the job with the nearest values that its model allows. Raises `InvalidInput`."""
    options, _, model = options_of(job, config)
    quality = nearest_quality(NAME, job.quality or next(iter(RESOLUTIONS)), tuple(RESOLUTIONS))
    rate = _nearest_rate(options.fps)
    duration = nearest_duration(NAME, job.duration, model.durations(quality, rate))
    ratio = nearest_ratio(NAME, job.aspect_ratio, RATIOS)
    fit = fitted(NAME, job, duration=duration, aspect_ratio=ratio, quality=quality)
    if rate == options.fps:
        return fit
    note = f"fps {rate} instead of {options.fps}, which {NAME} does not support"
    changed = job.options | {NAME: job.options[NAME] | {"fps": rate}}
    return Fit(msgspec.structs.replace(fit.job, options=changed), (*fit.notes, note))


def cost_of(job: VideoJob, config: LtxConfig) -> Cost | None:
    """Return the expected cost of a fitted job, or None if no price is known."""
    _, name, model = options_of(job, config)
    usd = (config.prices if name == config.model else {}) or model.usd
    price = usd.get(job.quality)
    return Cost(usd=round(price * job.duration, 4)) if price is not None else None


def order_of(job: VideoJob, prompt: str, config: LtxConfig) -> dict[str, Any]:
    """Return the body of a create for a fitted job. Options that are not set are omitted: LTX chooses them."""
    options, name, _ = options_of(job, config)
    across, down = map(int, job.aspect_ratio.split(":"))
    width, height = RESOLUTIONS[job.quality]
    body: dict[str, Any] = {
        "prompt": prompt,
        "model": name,
        "duration": job.duration,
        "resolution": f"{width}x{height}" if across > down else f"{height}x{width}",
        "fps": options.fps,
    }
    optional = {"generate_audio": options.generate_audio, "camera_motion": options.camera_motion}
    return body | {name: value for name, value in optional.items() if value is not None}


def options_of(job: VideoJob, config: LtxConfig) -> tuple[Options, str, Model]:
    """Return a job's options and the name and limits of its model. The default model need not be in the table."""
    options = read_options(NAME, job, Options)
    name = options.model or config.model
    model = MODELS.get(name)
    if model is None and name != config.model:
        raise InvalidInput(
            f"options.{NAME}.model", f"unknown model {name!r}", next_step=f"use one of: {', '.join(MODELS)}"
        )
    return options, name, model or UNKNOWN


def _nearest_rate(requested: int) -> int:
    """Return the frame rate nearest to the requested one, the higher one on a tie. Raises `InvalidInput`."""
    best = min(RATES, key=lambda rate: (abs(rate - requested), -rate))
    if abs(best - requested) > best / 4:
        raise InvalidInput(f"options.{NAME}.fps", f"{NAME} supports {', '.join(map(str, RATES))}, not {requested}")
    return best
