"""Orders for LTX: the documented limits, nearest values, body of the create and expected cost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.env import Secret
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import ASPECT_RATIOS, Cost, VideoJob
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.services.ltx_studio.config import LtxConfig
from tenxsom_flow_engine.services.ltx_studio.fake import takes
from tenxsom_flow_engine.services.ltx_studio.models import MODELS
from tenxsom_flow_engine.services.ltx_studio.service import LtxStudioService


def service(**changes: Any) -> LtxStudioService:
    return LtxStudioService(LtxConfig(Secret("key"), **changes), Downloader())


def a_job(options: dict[str, Any] | None = None, **changes: Any) -> VideoJob:
    fields: dict[str, Any] = {"job_id": "tides", "topic": "How tides work", "created_at": 1.0}
    return VideoJob(**(fields | {"options": {"ltx_studio": options}} if options else fields) | changes)


#: Options; requested and fitted duration, ratio and quality; frames per second.
FITS: list[tuple[dict[str, Any], tuple[int, str, str], tuple[int, str, str], int]] = [
    ({}, (5, "9:16", ""), (6, "9:16", "720p"), 24),
    ({}, (20, "16:9", "1080p"), (20, "16:9", "1080p"), 24),
    ({}, (25, "16:9", "1080p"), (20, "16:9", "1080p"), 24),
    ({}, (13, "3:2", "540p"), (14, "16:9", "720p"), 24),
    ({}, (12, "2:3", "2k"), (10, "9:16", "1440p"), 24),
    ({}, (9, "9:16", "2160p"), (10, "9:16", "4k"), 24),
    ({"fps": 25}, (18, "9:16", "720p"), (18, "9:16", "720p"), 25),
    ({"fps": 50}, (12, "9:16", "720p"), (10, "9:16", "720p"), 50),
    ({"fps": 30}, (18, "9:16", "720p"), (18, "9:16", "720p"), 25),
    ({"fps": 60}, (4, "9:16", "720p"), (6, "9:16", "720p"), 50),
    ({"model": "ltx-2-5-pro"}, (12, "9:16", "720p"), (10, "9:16", "720p"), 24),
    ({"model": "ltx-2-3-pro"}, (7, "9:16", "4k"), (8, "9:16", "4k"), 24),
]


@pytest.mark.parametrize(("options", "requested", "fitted", "fps"), FITS)
def test_the_nearest_allowed_values(
    options: dict[str, Any], requested: tuple[int, str, str], fitted: tuple[int, str, str], fps: int
) -> None:
    """A job gets the nearest documented values, and every change of a requested value has a note."""
    fit = service().fit(a_job(options, duration=requested[0], aspect_ratio=requested[1], quality=requested[2]))
    assert (fit.job.duration, fit.job.aspect_ratio, fit.job.quality) == fitted
    assert service().order(fit.job, "ref")["body"]["fps"] == fps
    changes = [(a, f) for a, f in zip(requested, fitted, strict=True) if a not in (f, "")]
    if options.get("fps", fps) != fps:
        changes.append((options["fps"], fps))
    assert len(fit.notes) == len(changes)
    for note, (value, got) in zip(fit.notes, changes, strict=True):
        assert str(value) in note
        assert str(got) in note
    assert service().fit(fit.job) == type(fit)(fit.job)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({}, {"duration": 27}, "duration", "ltx_studio supports 6, 8, 10, 12, 14, 16, 18, 20 seconds, not 27"),
    ({}, {"duration": 20, "quality": "4k"}, "duration", "ltx_studio supports 6, 8, 10 seconds, not 20"),
    ({"fps": 48}, {"duration": 14}, "duration", "6, 8, 10 seconds"),
    ({"model": "ltx-2-5-pro"}, {"duration": 14}, "duration", "6, 8, 10 seconds"),
    ({}, {"duration": 2}, "duration", "not 2"),
    ({}, {"aspect_ratio": "1:1"}, "aspect_ratio", "9:16, 16:9"),
    ({}, {"quality": "360p"}, "quality", "720p, 1080p, 1440p, 4k"),
    ({"fps": 10}, {}, "options.ltx_studio.fps", "24, 25, 48, 50"),
    ({"model": "ltx-2-fast"}, {}, "options.ltx_studio.model", "unknown model 'ltx-2-fast'"),
    ({"seed": 7}, {}, "options.ltx_studio", "seed"),
    ({"camera_motion": "spin"}, {}, "options.ltx_studio", "spin"),
    ({"generate_audio": "no"}, {}, "options.ltx_studio", "bool"),
]


@pytest.mark.parametrize(("options", "requested", "field", "words"), REFUSED)
def test_values_without_a_near_one_are_refused(
    options: dict[str, Any], requested: dict[str, Any], field: str, words: str
) -> None:
    """Values far from every allowed one, and unknown options, are refused with their field."""
    with pytest.raises(InvalidInput) as refusal:
        service().fit(a_job(options, **requested))
    assert refusal.value.field == field
    assert words in str(refusal.value)


@given(
    st.sampled_from([*MODELS]), st.integers(1, 60), st.sampled_from(ASPECT_RATIOS), st.integers(1, 120),
    st.sampled_from(["", "360p", "480p", "540p", "720p", "768p", "1080p", "1440p", "2k", "4k", "2160p"]),
)  # fmt: skip
def test_fitted_orders_are_accepted(model: str, duration: int, ratio: str, fps: int, quality: str) -> None:
    """A fitted job is an order that LTX accepts, near to the requested values; fitting it again changes nothing."""
    job = a_job({"model": model, "fps": fps}, duration=duration, aspect_ratio=ratio, quality=quality)
    try:
        fit = service().fit(job)
    except InvalidInput:
        return
    assert takes(service().order(fit.job, "ref")["body"])
    assert abs(fit.job.duration - duration) <= max(2, duration / 4)
    assert service().fit(fit.job).job == fit.job


def test_the_body_of_a_create() -> None:
    """An order has the job's values and the options that are set, and omits all other options."""
    options = {"generate_audio": False, "camera_motion": "jib_up", "fps": 48, "model": "ltx-2-3-pro"}
    job = a_job(options, duration=8, aspect_ratio="16:9", quality="4k", prompt="The sea, from above.")
    assert service().order(service().fit(job).job, "ref")["body"] == {
        "prompt": "The sea, from above.", "model": "ltx-2-3-pro", "duration": 8, "resolution": "3840x2160", "fps": 48,
        "generate_audio": False, "camera_motion": "jib_up",
    }  # fmt: skip


ESTIMATES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], Cost | None]] = [
    ({}, {"duration": 6}, {}, Cost(usd=0.54)),
    ({"model": "ltx-2-3-fast"}, {"duration": 20, "quality": "1080p"}, {}, Cost(usd=1.2)),
    ({"model": "ltx-2-5-pro"}, {"duration": 10, "quality": "4k"}, {}, Cost(usd=3.9)),
    ({}, {"duration": 6}, {"prices": {"720p": 0.2}}, Cost(usd=1.2)),
    ({"model": "ltx-2-3-fast"}, {"duration": 6}, {"prices": {"720p": 0.2}}, Cost(usd=0.18)),
    ({}, {"duration": 6, "quality": "4k"}, {"prices": {"720p": 0.2}}, None),
    ({}, {"duration": 6}, {"model": "ltx-3"}, None),
]


@pytest.mark.parametrize(("options", "requested", "setup", "cost"), ESTIMATES)
def test_estimates(
    options: dict[str, Any], requested: dict[str, Any], setup: dict[str, Any], cost: Cost | None
) -> None:
    """A job's cost is estimated from the documented prices, or from those of the settings for the default model."""
    made = service(**setup)
    assert made.estimate(made.fit(a_job(options, **requested)).job) == cost


def test_a_default_model_that_is_newer_than_the_table() -> None:
    """The default model of the settings is sent even if it is not in our table."""
    made = service(model="ltx-3")
    assert made.order(made.fit(a_job(duration=16)).job, "ref")["body"]["model"] == "ltx-3"


def test_fitting_changes_nothing_else() -> None:
    """Fitting does not change topic, prompt, tags and other options."""
    options = {"ltx_studio": {"fps": 30, "generate_audio": False}, "other": {"x": 1}}
    job = msgspec.structs.replace(a_job(duration=13, channel="fun", prompt="p", quality="720p"), options=options)
    fitted = service().fit(job).job
    assert fitted.options == {"ltx_studio": {"fps": 25, "generate_audio": False}, "other": {"x": 1}}
    assert msgspec.structs.replace(fitted, duration=13, options=options) == job
