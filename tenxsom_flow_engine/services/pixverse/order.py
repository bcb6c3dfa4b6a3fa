"""Orders for PixVerse: the body of a create, made from a job and its options. Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.services.fitting import read_options
from tenxsom_flow_engine.services.pixverse.models import MODELS, NAME, UNKNOWN, Model


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options under `options["pixverse"]` of a job, with UseAPI's names."""

    model: str = ""
    seed: Annotated[int, msgspec.Meta(ge=1, le=2_147_483_647)] | None = None
    audio: bool | None = None
    multi_shot: bool | None = None
    #: Cheaper, but later. The documentation gives two different discounts, so estimates ignore them.
    off_peak_mode: bool | None = None
    #: The linked account; if empty, UseAPI uses any with a free slot.
    email: str = ""


def options_of(job: VideoJob) -> Options:
    """Return a job's options. Raises `InvalidInput`."""
    return read_options(NAME, job, Options)


def model_of(options: Options, default: str) -> tuple[str, Model]:
    """Return the name and limits of the requested model, which must be in the table; the default need not be."""
    name = options.model or default
    model = MODELS.get(name)
    if model is None and name != default:
        raise InvalidInput(
            f"options.{NAME}.model", f"unknown model {name!r}", next_step=f"use one of: {', '.join(MODELS)}"
        )
    model = model or UNKNOWN
    if options.audio and not model.takes_audio:
        raise InvalidInput(f"options.{NAME}.audio", f"{name} does not support this option")
    if options.multi_shot and not (model.multi_shot or model is UNKNOWN):
        raise InvalidInput(f"options.{NAME}.multi_shot", f"{name} supports single shots only")
    return name, model


def order_of(job: VideoJob, prompt: str, reference: str, *, default_model: str, email: str) -> dict[str, Any]:
    """Return the body of a create for a fitted job. Options that are not set are omitted: the model decides."""
    options = options_of(job)
    name, model = model_of(options, default_model)
    sound = model.audio if options.audio is None else options.audio
    optional = {
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
    return order | {field: value for field, value in optional.items() if value is not None}
