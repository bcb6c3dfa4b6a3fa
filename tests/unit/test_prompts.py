"""What a service is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import ASPECT_RATIOS, MAX_TOPIC, STYLES
from tenxsom_flow_engine.services.prompts import LANDSCAPE, LEAVE_OUT, LOOKS, PORTRAIT, SQUARE, prompt_for
from tenxsom_flow_engine.testing.samples import a_job


def test_a_prompt_says_topic_look_composition_and_what_to_leave_out() -> None:
    """A topic becomes sentences, in the order in which models weigh them."""
    prompt = prompt_for(a_job(topic="Why the  sea is salt", style="retro", aspect_ratio="16:9"))
    assert prompt == f"Why the sea is salt. {LOOKS['retro']} {LANDSCAPE} {LEAVE_OUT}"
    assert prompt_for(a_job(topic="Why is the sea salt?")).startswith("Why is the sea salt? Realistic documentary")


@pytest.mark.parametrize(
    ("ratio", "composition"),
    [("9:16", PORTRAIT), ("4:5", PORTRAIT), ("1:1", SQUARE), ("5:4", LANDSCAPE), ("21:9", LANDSCAPE)],
)
def test_the_composition_follows_the_shape(ratio: str, composition: str) -> None:
    """High, wide and square pictures are composed each in its way."""
    assert composition in prompt_for(a_job(aspect_ratio=ratio))


def test_a_prompt_of_ones_own_is_sent_as_it_is() -> None:
    """A given prompt wins, and nothing is added to it; blanks alone are none."""
    assert prompt_for(a_job(prompt=" A red boat at dawn. \n", style="retro")) == "A red boat at dawn."
    assert prompt_for(a_job(prompt=" \n")) == prompt_for(a_job())


@given(st.text(min_size=1, max_size=MAX_TOPIC), st.sampled_from(STYLES), st.sampled_from(ASPECT_RATIOS))
def test_every_topic_has_a_prompt_that_services_take(topic: str, style: str, ratio: str) -> None:
    """Whatever a job may have as its topic, its prompt is well below the least bound of a service (2048)."""
    try:
        job = a_job(topic=topic, style=style, aspect_ratio=ratio)
    except InvalidInput:
        return
    assert 0 < len(prompt_for(job)) < 1200


def test_every_style_differs_in_every_shape() -> None:
    """A style always makes a difference."""
    made = {prompt_for(a_job(style=style, aspect_ratio=ratio)) for style in STYLES for ratio in ASPECT_RATIOS}
    assert len(made) == 3 * len(STYLES)
    assert set(LOOKS) == set(STYLES)
