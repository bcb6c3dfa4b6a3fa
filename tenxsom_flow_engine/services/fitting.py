"""Fit a job to a service: choose the nearest allowed duration, aspect ratio, quality and options. Pure.

A request is adjusted slightly, and the change is reported. It is never adjusted by much: a user who asks for a minute
does not want to pay for fifteen seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.services.base import Fit

_Options = TypeVar("_Options", bound=msgspec.Struct)

#: The largest change of a duration: as a share of it, and in seconds. The larger of the two applies.
MAX_DURATION_SHIFT, MAX_DURATION_SHIFT_SECONDS = 0.25, 2
#: The largest change of the aspect ratio, and of the lines of a picture, as factors.
MAX_RATIO_FACTOR, MAX_QUALITY_FACTOR = 1.2, 1.5


def nearest_duration(service: str, requested: int, allowed: Sequence[int]) -> int:
    """Return the allowed duration (seconds) nearest to the requested one; the longer one on a tie."""
    best = min(allowed, key=lambda seconds: (abs(seconds - requested), -seconds))
    if abs(best - requested) > max(MAX_DURATION_SHIFT_SECONDS, requested * MAX_DURATION_SHIFT):
        raise InvalidInput("duration", f"{service} supports {_durations(allowed)} seconds, not {requested}")
    return best


def nearest_ratio(service: str, requested: str, allowed: Sequence[str]) -> str:
    """Return the allowed aspect ratio nearest to the requested one."""
    best = min(allowed, key=lambda ratio: _factor(_shape(ratio), _shape(requested)))
    if _factor(_shape(best), _shape(requested)) > MAX_RATIO_FACTOR:
        raise InvalidInput("aspect_ratio", f"{service} supports {', '.join(allowed)}, not {requested}")
    return best


def nearest_quality(service: str, requested: str, allowed: Sequence[str]) -> str:
    """Return the allowed quality (such as `720p`) nearest to the requested one; the larger one on a tie."""
    lines = _lines(requested)
    if lines is not None:
        best = min(allowed, key=lambda quality: (_factor(_lines(quality) or 1, lines), -(_lines(quality) or 1)))
        if _factor(_lines(best) or 1, lines) <= MAX_QUALITY_FACTOR:
            return best
    raise InvalidInput("quality", f"{service} supports {', '.join(allowed)}, not {requested!r}")


def fitted(service: str, job: VideoJob, *, duration: int, aspect_ratio: str, quality: str) -> Fit:
    """Return the job with these values, and a note for each requested value that was changed."""
    changes = {"duration": duration, "aspect_ratio": aspect_ratio, "quality": quality}
    notes = [
        f"{field.replace('_', ' ')} {value} instead of {requested}, which {service} does not support"
        for field, value in changes.items()
        if (requested := getattr(job, field)) and requested != value
    ]
    return Fit(msgspec.structs.replace(job, **changes), tuple(notes))


def read_options(service: str, job: VideoJob, kind: type[_Options]) -> _Options:
    """Return a job's options for one service. Raises `InvalidInput` with the fault and the known options."""
    given: dict[str, Any] = job.options.get(service, {})
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        raise InvalidInput(f"options.{service}", str(error), next_step=f"the options are {known}") from error


def _durations(allowed: Iterable[int]) -> str:
    """Write 1, 2, 3, 6 as `1 to 3, 6`."""
    runs: list[list[int]] = []
    for seconds in sorted(allowed):
        if runs and seconds == runs[-1][-1] + 1:
            runs[-1].append(seconds)
        else:
            runs.append([seconds])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _shape(ratio: str) -> float:
    across, down = map(int, ratio.split(":"))
    return across / down


def _lines(quality: str) -> int | None:
    """Return the lines of a picture from the name of its quality, or None for an unknown name."""
    if found := re.fullmatch(r"(\d{2,4})p", quality.lower()):
        return int(found[1])
    return {"2k": 1440, "4k": 2160}.get(quality.lower())


def _factor(one: float, other: float) -> float:
    return max(one, other) / min(one, other)
