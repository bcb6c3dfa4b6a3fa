"""The emulator's backoff is the documented one, for every retry rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.emulator.retries import RetryRule

RULES = st.builds(
    RetryRule,
    min_backoff=st.floats(0.001, 100),
    max_backoff=st.floats(100, 100_000),
    max_doublings=st.integers(0, 20),
)


def test_the_documented_series() -> None:
    """10 s, 300 s and 3 doublings give 10, 20, 40, 80, 160, 240, 300, 300."""
    rule = RetryRule(min_backoff=10, max_backoff=300, max_doublings=3)
    assert [rule.delay(retry) for retry in range(8)] == [10, 20, 40, 80, 160, 240, 300, 300]


@given(rule=RULES, retry=st.integers(0, 5000))
def test_delays_double_then_grow_by_a_fixed_step_up_to_the_cap(rule: RetryRule, retry: int) -> None:
    """Below the cap a delay doubles `max_doublings` times, then grows by a constant step."""
    before, delay, after = rule.delay(retry), rule.delay(retry + 1), rule.delay(retry + 2)
    assert rule.min_backoff <= before <= delay <= after <= rule.max_backoff
    if after < rule.max_backoff:
        if retry < rule.max_doublings:
            assert delay == pytest.approx(2 * before)
        else:
            assert after - delay == pytest.approx(delay - before)
            assert delay - before == pytest.approx(rule.min_backoff * 2**rule.max_doublings)


def test_delays_reach_the_cap_whatever_the_retry() -> None:
    """A late retry has the maximum delay, without overflow."""
    assert RetryRule(max_backoff=3600, max_doublings=100_000).delay(1_000_000) == 3600


@pytest.mark.parametrize(
    ("max_attempts", "max_retry_duration", "attempts", "since", "over"),
    [
        (3, 0, 2, 1e9, False),
        (3, 0, 3, 0, True),
        (3, 60, 3, 59, False),
        (3, 60, 2, 60, False),
        (3, 60, 3, 60, True),
        (-1, 0, 10**6, 1e9, False),
        (-1, 60, 1, 60, True),
        (-1, 60, 10**6, 59, False),
    ],
)
def test_a_task_ends_when_each_limit_that_is_set_is_reached(
    max_attempts: int, max_retry_duration: float, attempts: int, since: float, over: bool
) -> None:
    """A task ends when each limit that is set is reached; without limits it never ends."""
    rule = RetryRule(max_attempts=max_attempts, max_retry_duration=max_retry_duration)
    assert rule.used_up(attempts, since) is over
