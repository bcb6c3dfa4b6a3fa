"""The times at which a render is polled."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.services.draft.render.pacing import MAX_PAUSE, MIN_PAUSE, pause


def polls(duration: int, start_up: float, speed: float) -> list[float]:
    """Return the times of the polls of a render, relative to its end.

    It starts in `start_up` seconds and takes `speed` seconds for each second of video.
    """
    at, instants = 0.0, []
    end = start_up + duration * speed
    while at < end:
        made = max(0, math.floor((at - start_up) / speed))
        reported = start_up + made * speed if made else 0.0
        at += pause(duration, made / duration, reported, at)
        instants.append(at - end)
    return instants


@pytest.mark.parametrize("speed", [0.2, 0.5, 0.7])
def test_a_minute_takes_about_a_dozen_polls(speed: float) -> None:
    """A long draft uses little of the dispatch rate: at most 16 polls."""
    assert len(polls(60, 1.0, speed)) <= 16


@pytest.mark.parametrize("speed", [0.4, 0.5, 0.7, 1.5])
def test_the_end_of_a_short_draft_is_seen_at_once(speed: float) -> None:
    """The end of a five-second draft is noticed within 0.5 s or a tenth of its time, with at most 12 polls."""
    seen = polls(5, 0.8, speed)
    assert seen[-1] <= max(0.5, (0.8 + 5 * speed) / 10)
    assert len(seen) <= 12


def test_a_stalled_render_is_polled_less_often() -> None:
    """A render that reports no progress is polled less and less often, down to every five seconds."""
    assert pause(5, 0.4, 2.0, 4.5) < pause(5, 0.4, 2.0, 9.0) < pause(5, 0.4, 2.0, 60.0) == MAX_PAUSE


@given(st.integers(1, 60), st.floats(0, 1), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_no_clock_makes_the_pause_too_long_or_too_short(
    duration: int, fraction: float, reported_after: float, elapsed: float
) -> None:
    """For any clock readings, a render is polled again within five seconds."""
    assert MIN_PAUSE <= pause(duration, fraction, reported_after, elapsed) <= MAX_PAUSE
