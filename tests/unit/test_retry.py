"""When a failed step is retried, as a table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.retry import RetryPolicy

_draws = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("attempts", "delay"),
    [(1, 2.0), (2, 4.0), (3, 8.0), (9, 512.0), (10, 600.0), (11, 600.0), (12, None), (13, None)],
)
def test_the_default_policy(attempts: int, delay: float | None) -> None:
    """By default there are eleven retries, with delays that double up to ten minutes."""
    assert RetryPolicy(jitter=0.0).delay(attempts, draw=0.0) == delay


def test_the_delay_is_capped() -> None:
    """The delay has an upper bound for any number of attempts."""
    policy = RetryPolicy(max_attempts=10_000, jitter=0.0, cap=100.0)
    assert [policy.delay(attempts, draw=0.0) for attempts in (6, 7, 5000, 9999)] == [64.0, 100.0, 100.0, 100.0]
    assert policy.delay(10_000, draw=0.0) is None


@given(attempts=st.integers(1, 5), draw=_draws, jitter=st.floats(0, 1))
def test_jitter(attempts: int, draw: float, jitter: float) -> None:
    """Jitter reduces the delay by at most its share and never increases it."""
    full = 2.0**attempts
    delay = RetryPolicy(jitter=jitter).delay(attempts, draw=draw)
    assert delay is not None
    assert full * (1 - jitter) <= delay <= full


def test_jitter_spreads() -> None:
    """Jobs that failed together are not retried together."""
    delays = {RetryPolicy().delay(3, draw=number / 100) for number in range(100)}
    assert len(delays) == 100
    assert min(filter(None, delays)) == 4.0


@pytest.mark.parametrize(
    ("retry_after", "delay"), [(None, 2.0), (0.0, 2.0), (1.0, 2.0), (30.0, 30.0), (7200.0, 7200.0)]
)
def test_retry_after_is_a_lower_bound(retry_after: float | None, delay: float) -> None:
    """A later time requested by the service is respected and adds no attempt."""
    policy = RetryPolicy(jitter=0.0)
    assert policy.delay(1, draw=0.0, retry_after=retry_after) == delay
    assert policy.delay(12, draw=0.0, retry_after=retry_after) is None


@given(attempts=st.integers(1, 50), draw=_draws, allowed=st.integers(1, 20))
def test_attempts_are_bounded(attempts: int, draw: float, allowed: int) -> None:
    """There are never more attempts than allowed."""
    assert (RetryPolicy(max_attempts=allowed).delay(attempts, draw=draw) is None) is (attempts >= allowed)


@given(attempts=st.integers(1, 10_000), draw=_draws)
def test_without_an_end_the_delay_is_bounded_all_the_same(attempts: int, draw: float) -> None:
    """If a deadline limits the attempts, retries continue with at most the maximum delay."""
    policy = RetryPolicy()
    delay = policy.delay(attempts, draw=draw, endless=True)
    assert delay is not None
    assert 0 < delay <= policy.cap
