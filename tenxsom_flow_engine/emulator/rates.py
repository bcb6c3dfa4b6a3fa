"""The dispatch rate of a queue: its token bucket, and the service's throttling after 429 and 503."""

from __future__ import annotations

from typing import Any

from tenxsom_flow_engine.emulator.protobuf import invalid

#: The service's defaults (the first two) and maxima (the first and the last).
MAX_RATE, MAX_CONCURRENT_DEFAULT, MAX_CONCURRENT = 500.0, 1000, 5000
#: The minimum time between two halvings of the rate in seconds, and the lowest share of the limit.
_HALVING_INTERVAL, _LOWEST_SHARE = 1.0, 1 / 16
#: The amount that counts as a whole token: instants have a resolution of 0.25 µs, and rates go up to 500/s.
_WHOLE = 0.999


def complete(limits: Any) -> None:
    """Refuse `RateLimits` that the service refuses; fill in the defaults, and always the burst.

    The burst is output only. Here it is a fifth of the rate, at least 1, which gives the documented 100 for the default
    rate; the service might choose more.
    """
    if not 0 <= limits.max_dispatches_per_second <= MAX_RATE:
        raise invalid(f"RateLimits.max_dispatches_per_second must be greater than 0 and at most {MAX_RATE:g}.")
    if not 0 <= limits.max_concurrent_dispatches <= MAX_CONCURRENT:
        raise invalid(f"RateLimits.max_concurrent_dispatches must be greater than 0 and at most {MAX_CONCURRENT}.")
    limits.max_dispatches_per_second = limits.max_dispatches_per_second or MAX_RATE
    limits.max_concurrent_dispatches = limits.max_concurrent_dispatches or MAX_CONCURRENT_DEFAULT
    limits.max_burst_size = max(1, int(limits.max_dispatches_per_second / 5))


class Pace:
    """The token bucket of one queue, initially full. Instants in seconds since 1970, rates in dispatches per second.

    It is documented that 429 and 503 slow a whole queue, but not how exactly. Here each halves the rate, at most once a
    second and never below 1/16 of the limit, and each success doubles it again up to the limit.
    """

    def __init__(self, limits: Any, now: float) -> None:
        self._share = 1.0
        self._halved = float("-inf")
        self._filled = now
        self._tokens = 0.0
        self.limit(limits, now)
        self._tokens = float(self._burst)

    def limit(self, limits: Any, now: float) -> None:
        """Apply changed limits."""
        self._fill(now)
        self._rate: float = limits.max_dispatches_per_second
        self._burst: int = limits.max_burst_size

    @property
    def rate(self) -> float:
        """The current rate, including throttling."""
        return self._rate * self._share

    def spend(self, now: float) -> None:
        """Take a token."""
        self._fill(now)
        self._tokens -= 1

    def ready_at(self, now: float) -> float:
        """Return when the bucket has a token."""
        self._fill(now)
        return now if self._tokens >= _WHOLE else now + (1 - self._tokens) / self.rate

    def overloaded(self, now: float) -> None:
        """Slow down: the target has answered 429 or 503."""
        self._fill(now)
        if now >= self._halved + _HALVING_INTERVAL:
            self._share, self._halved = max(_LOWEST_SHARE, self._share / 2), now

    def succeeded(self, now: float) -> None:
        """Recover: the target has answered 2xx."""
        self._fill(now)
        self._share = min(1.0, self._share * 2)

    def _fill(self, now: float) -> None:
        passed, self._filled = max(0.0, now - self._filled), now
        if passed:
            self._tokens = min(float(self._burst), self._tokens + passed * self.rate)
