"""How often a render is looked at."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.services.draft.render.pacing import MAX_PAUSE, MIN_PAUSE, pause


def looks(duration: int, start_up: float, speed: float) -> list[float]:
    """Return when a render is looked at, counted from its end.

    It starts in `start_up` seconds and takes `speed` for each second of video.
    """
    at, instants = 0.0, []
    end = start_up + duration * speed
    while at < end:
        made = max(0, math.floor((at - start_up) / speed))
        told = start_up + made * speed if made else 0.0
        at += pause(duration, made / duration, told, at)
        instants.append(at - end)
    return instants


@pytest.mark.parametrize("speed", [0.2, 0.5, 0.7])
def test_a_minute_takes_about_a_dozen_looks(speed: float) -> None:
    """A long draft leaves the dispatch rate to other jobs."""
    assert len(looks(60, 1.0, speed)) <= 16


@pytest.mark.parametrize("speed", [0.4, 0.5, 0.7, 1.5])
def test_the_end_of_a_short_draft_is_seen_at_once(speed: float) -> None:
    """The end of a five-second draft is seen within half a second or a tenth of its time, after a few looks."""
    seen = looks(5, 0.8, speed)
    assert seen[-1] <= max(0.5, (0.8 + 5 * speed) / 10)
    assert len(seen) <= 12


def test_a_render_that_stands_still_is_asked_ever_less() -> None:
    """A render that tells nothing any more is looked at less and less, down to every five seconds."""
    assert pause(5, 0.4, 2.0, 4.5) < pause(5, 0.4, 2.0, 9.0) < pause(5, 0.4, 2.0, 60.0) == MAX_PAUSE


@given(st.integers(1, 60), st.floats(0, 1), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_no_clock_makes_the_pause_too_long_or_too_short(
    duration: int, fraction: float, told_after: float, elapsed: float
) -> None:
    """Whatever the clocks say, a render is looked at again within five seconds."""
    assert MIN_PAUSE <= pause(duration, fraction, told_after, elapsed) <= MAX_PAUSE
