"""What is sent to order a video: the job, and its options for PixVerse."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.services.fitting import read_options
from tenxsom_flow_engine.services.pixverse.models import MODELS, NAME, UNKNOWN, Model


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job may set under `options["pixverse"]`, by UseAPI's own names."""

    model: str = ""
    seed: Annotated[int, msgspec.Meta(ge=1, le=2_147_483_647)] | None = None
    audio: bool | None = None
    multi_shot: bool | None = None
    #: Cheaper, but later. The docs name two discounts, so estimates count none.
    off_peak_mode: bool | None = None
    #: The linked account; without one UseAPI takes any that has room.
    email: str = ""


def options_of(job: VideoJob) -> Options:
    """Return a job's options. Raises `InvalidInput`."""
    return read_options(NAME, job, Options)


def model_of(options: Options, default: str) -> tuple[str, Model]:
    """Return the model that is wanted, by name. The default may be younger than our table; a wish must be in it."""
    name = options.model or default
    model = MODELS.get(name)
    if model is None and name != default:
        raise InvalidInput(
            f"options.{NAME}.model", f"there is no model {name!r}", next_step=f"use one of: {', '.join(MODELS)}"
        )
    model = model or UNKNOWN
    if options.audio and not model.takes_audio:
        raise InvalidInput(f"options.{NAME}.audio", f"{name} takes no wish for sound")
    if options.multi_shot and not (model.multi_shot or model is UNKNOWN):
        raise InvalidInput(f"options.{NAME}.multi_shot", f"{name} makes single shots only")
    return name, model


def order_of(job: VideoJob, prompt: str, reference: str, *, default_model: str, email: str) -> dict[str, Any]:
    """Return the body of a create for a fitting job. What nobody has said is left to the model."""
    options = options_of(job)
    name, model = model_of(options, default_model)
    sound = model.audio if options.audio is None else options.audio
    wishes = {
        "quality": job.quality or None,
        "seed": options.seed,
        "audio": sound if model.takes_audio else None,
        "multi_shot": options.multi_shot,
        "off_peak_mode": options.off_peak_mode,
        "email": options.email or email or None,
    }
    order = {
        "model": name,
        "prompt": prompt,
        "duration": job.duration,
        "aspect_ratio": job.aspect_ratio,
        "replyRef": reference,
    }
    return order | {field: value for field, value in wishes.items() if value is not None}
