"""Prompts made from topics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import ASPECT_RATIOS, MAX_TOPIC, STYLES
from tenxsom_flow_engine.services.prompts import LANDSCAPE, LEAVE_OUT, LOOKS, PORTRAIT, SQUARE, prompt_for
from tenxsom_flow_engine.testing.samples import a_job


def test_a_prompt_has_topic_style_composition_and_exclusions() -> None:
    """A prompt consists of topic, style, composition and exclusions, in this order."""
    prompt = prompt_for(a_job(topic="Why the  sea is salt", style="retro", aspect_ratio="16:9"))
    assert prompt == f"Why the sea is salt. {LOOKS['retro']} {LANDSCAPE} {LEAVE_OUT}"
    assert prompt_for(a_job(topic="Why is the sea salt?")).startswith("Why is the sea salt? Realistic documentary")


@pytest.mark.parametrize(
    ("ratio", "composition"),
    [("9:16", PORTRAIT), ("4:5", PORTRAIT), ("1:1", SQUARE), ("5:4", LANDSCAPE), ("21:9", LANDSCAPE)],
)
def test_the_composition_follows_the_shape(ratio: str, composition: str) -> None:
    """Portrait, landscape and square pictures have different compositions."""
    assert composition in prompt_for(a_job(aspect_ratio=ratio))


def test_the_prompt_of_a_job_is_sent_unchanged() -> None:
    """A job's own prompt is used without additions, unless it is blank."""
    assert prompt_for(a_job(prompt=" A red boat at dawn. \n", style="retro")) == "A red boat at dawn."
    assert prompt_for(a_job(prompt=" \n")) == prompt_for(a_job())


@given(st.text(min_size=1, max_size=MAX_TOPIC), st.sampled_from(STYLES), st.sampled_from(ASPECT_RATIOS))
def test_every_topic_has_a_prompt_that_services_accept(topic: str, style: str, ratio: str) -> None:
    """The prompt of any topic is well below the smallest limit of a service (2,048 characters)."""
    try:
        job = a_job(topic=topic, style=style, aspect_ratio=ratio)
    except InvalidInput:
        return
    assert 0 < len(prompt_for(job)) < 1200


def test_every_style_differs_in_every_shape() -> None:
    """Each style gives a different prompt."""
    made = {prompt_for(a_job(style=style, aspect_ratio=ratio)) for style in STYLES for ratio in ASPECT_RATIOS}
    assert len(made) == 3 * len(STYLES)
    assert set(LOOKS) == set(STYLES)
