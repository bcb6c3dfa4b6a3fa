"""Orders for PixVerse: nearest allowed values, body of the create and expected cost."""

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
from tenxsom_flow_engine.services.pixverse.config import PixVerseConfig
from tenxsom_flow_engine.services.pixverse.models import MODELS
from tenxsom_flow_engine.services.pixverse.order import order_of
from tenxsom_flow_engine.services.pixverse.service import PixVerseService


def service(**changes: Any) -> PixVerseService:
    return PixVerseService(PixVerseConfig(Secret("token"), **changes), Downloader())


def a_job(model: str = "", **changes: Any) -> VideoJob:
    fields: dict[str, Any] = {"job_id": "tides", "topic": "How tides work", "created_at": 1.0}
    if model:
        fields["options"] = {"pixverse": {"model": model}}
    return VideoJob(**(fields | changes))


#: Model; requested and fitted duration, ratio and quality.
FITS: list[tuple[str, tuple[int, str, str], tuple[int, str, str]]] = [
    ("", (5, "9:16", ""), (5, "9:16", "720p")),
    ("v6", (15, "16:9", "1080p"), (15, "16:9", "1080p")),
    ("v6", (18, "9:16", "720p"), (15, "9:16", "720p")),
    ("v6", (20, "9:16", "720p"), (15, "9:16", "720p")),
    ("v6", (5, "4:5", "720p"), (5, "3:4", "720p")),
    ("v6", (5, "5:4", "720p"), (5, "4:3", "720p")),
    ("v6", (5, "3:2", "720p"), (5, "4:3", "720p")),
    ("v6", (5, "2:3", "480p"), (5, "3:4", "540p")),
    ("v6", (5, "1:1", "2k"), (5, "1:1", "1080p")),
    ("v6", (5, "1:1", "240p"), (5, "1:1", "360p")),
    ("v6", (5, "1:1", "720P"), (5, "1:1", "720p")),
    ("v5.6", (12, "9:16", ""), (10, "9:16", "540p")),
    ("v5", (10, "9:16", "1080p"), (8, "9:16", "1080p")),
    ("pixverse-c1", (15, "3:2", ""), (15, "3:2", "720p")),
    ("seedance-2.5", (3, "21:9", ""), (4, "21:9", "720p")),
    ("minimax-h3", (3, "9:16", "720p"), (5, "9:16", "768p")),
    ("minimax-h3", (5, "9:16", "1080p"), (5, "9:16", "1440p")),
    ("wan-3.0", (1, "9:16", ""), (2, "9:16", "")),
    ("flux-3.0", (25, "9:16", "4k"), (20, "9:16", "4k")),
    ("gemini-omni-flash", (10, "16:9", "1080p"), (10, "16:9", "720p")),
]


@pytest.mark.parametrize(("model", "requested", "fitted"), FITS)
def test_the_nearest_allowed_values(model: str, requested: tuple[int, str, str], fitted: tuple[int, str, str]) -> None:
    """A job gets the nearest values that its model allows, and every change of a requested value has a note."""
    job = a_job(model, duration=requested[0], aspect_ratio=requested[1], quality=requested[2])
    fit = service().fit(job)
    assert (fit.job.duration, fit.job.aspect_ratio, fit.job.quality) == fitted
    changes = [(a, g) for a, g in zip(requested, fitted, strict=True) if a not in (g, "")]
    assert len(fit.notes) == len(changes)
    for note, (value, got) in zip(fit.notes, changes, strict=True):
        assert str(value) in note
        assert str(got) in note
    assert service().fit(fit.job) == type(fit)(fit.job)


NOT_NEAR: list[tuple[str, dict[str, Any], str, str]] = [
    ("v6", {"duration": 21}, "duration", "pixverse supports 1 to 15 seconds, not 21"),
    ("v5", {"duration": 11, "quality": "1080p"}, "duration", "pixverse supports 1 to 8 seconds, not 11"),
    ("minimax-h3", {"duration": 2}, "duration", "5 to 15 seconds"),
    ("v6", {"aspect_ratio": "21:9"}, "aspect_ratio", "16:9, 9:16, 1:1, 4:3, 3:4"),
    ("v6", {"quality": "4k"}, "quality", "360p, 540p, 720p, 1080p"),
    ("v6", {"quality": "best"}, "quality", "not 'best'"),
    ("v6", {"prompt": "x" * 5001}, "prompt", "5001"),
    ("v9", {}, "options.pixverse.model", "unknown model 'v9'"),
]


@pytest.mark.parametrize(("model", "requested", "field", "words"), NOT_NEAR)
def test_values_without_a_near_one_are_refused(model: str, requested: dict[str, Any], field: str, words: str) -> None:
    """Values far from every allowed one are refused with their field and the allowed values."""
    with pytest.raises(InvalidInput) as refusal:
        service().fit(a_job(model, **requested))
    assert refusal.value.field == field
    assert words in str(refusal.value)


@given(
    st.sampled_from([*MODELS]), st.integers(1, 60), st.sampled_from(ASPECT_RATIOS),
    st.sampled_from(["", "360p", "480p", "540p", "720p", "768p", "1080p", "1440p", "2k", "4k"]),
)  # fmt: skip
def test_fitted_values_are_allowed(model: str, duration: int, ratio: str, quality: str) -> None:
    """Fitted values are within the model's limits and near to the requested ones; fitting again changes nothing."""
    rules = MODELS[model]
    try:
        fit = service().fit(a_job(model, duration=duration, aspect_ratio=ratio, quality=quality))
    except InvalidInput:
        return
    job = fit.job
    assert rules.shortest <= job.duration <= rules.longest_at.get(job.quality, rules.longest)
    assert job.aspect_ratio in (rules.ratios or ASPECT_RATIOS)
    assert not rules.qualities or job.quality in rules.qualities
    assert abs(job.duration - duration) <= max(2, duration / 4)
    assert service().fit(job).job == job


OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"model": "v6", "audio": True}),
    ({"audio": False}, {"audio": False}),
    ({"seed": 7, "multi_shot": True}, {"seed": 7, "multi_shot": True, "audio": True}),
    ({"off_peak_mode": True, "email": "b@x.org"}, {"off_peak_mode": True, "email": "b@x.org", "audio": True}),
    ({"model": "v5.6"}, {"model": "v5.6"}),
    ({"model": "seedance-2.5", "audio": False}, {"model": "seedance-2.5"}),
]


@pytest.mark.parametrize(("options", "sent"), OPTIONS)
def test_the_body_of_a_create(options: dict[str, Any], sent: dict[str, Any]) -> None:
    """A create has the job's values, our reference and the options that are set, except those the model refuses."""
    job = service().fit(a_job(options={"pixverse": options})).job
    order = order_of(job, "the prompt", "job.nonce.0", default_model="v6", email="")
    assert sent.items() <= order.items()
    assert order["prompt"] == "the prompt"
    assert (order["replyRef"], order["duration"], order["aspect_ratio"]) == ("job.nonce.0", 5, "9:16")
    assert ("audio" in order) is ("audio" in sent)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": 2}, "speed"),
        ({"seed": 0}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"audio": "yes"}, "audio"),
        ({"model": "sora-2"}, "sora-2"),
        ({"model": "minimax-h3", "audio": True}, "audio"),
        ({"model": "v5", "multi_shot": True}, "multi_shot"),
    ],
)
def test_wrong_options(options: dict[str, Any], words: str) -> None:
    """Unknown options and invalid values are refused with the option's name."""
    with pytest.raises(InvalidInput, match=words) as refusal:
        service().fit(a_job(options={"pixverse": options}))
    assert refusal.value.field.startswith("options.pixverse")


def test_a_default_model_that_is_newer_than_the_table() -> None:
    """The default model of the settings is used even if it is not in our table; values are sent unchanged."""
    fit = service(model="v7").fit(a_job(duration=25, aspect_ratio="21:9", quality="8k"))
    assert (fit.job.duration, fit.job.aspect_ratio, fit.job.quality, fit.notes) == (25, "21:9", "8k", ())
    assert service(model="v7").estimate(fit.job) is None


ESTIMATES: list[tuple[str, dict[str, Any], dict[str, Any], Cost | None]] = [
    ("", {"duration": 5}, {}, Cost(usd=0.14, credits=35.0)),
    ("", {"duration": 15, "quality": "1080p"}, {}, Cost(usd=0.84, credits=210.0)),
    ("", {"duration": 5}, {"usd_per_credit": 0.01}, Cost(usd=0.35, credits=35.0)),
    ("", {"duration": 5}, {"prices": {"720p": 10.0}}, Cost(usd=0.2, credits=50.0)),
    ("", {"duration": 5}, {"prices": {"360p": 10.0}}, None),
    ("minimax-h3", {"duration": 6}, {"prices": {"768p": 10.0}}, Cost(usd=0.72)),
    ("seedance-2.5", {"duration": 6}, {}, Cost(usd=1.8)),
    ("v5", {"duration": 5}, {}, None),
]


@pytest.mark.parametrize(("model", "requested", "setup", "cost"), ESTIMATES)
def test_estimates(model: str, requested: dict[str, Any], setup: dict[str, Any], cost: Cost | None) -> None:
    """A job's cost is estimated from documented prices or those of the settings; without a price there is none."""
    made = service(**setup)
    assert made.estimate(made.fit(a_job(model, **requested)).job) == cost


def test_fitting_changes_nothing_else() -> None:
    """Fitting does not change topic, prompt, tags and options."""
    job = a_job(duration=18, channel="fun", prompt="p", options={"pixverse": {"seed": 3}, "other": {"x": 1}})
    fit = service().fit(job)
    assert msgspec.structs.replace(fit.job, duration=18, quality="") == job
