"""How fast a queue may dispatch: its token bucket, and the system's own throttle after 429 and 503."""

from __future__ import annotations

from typing import Any

from tenxsom_flow_engine.emulator.protobuf import invalid

#: What the service chooses for a queue that says nothing; the first and last are also what it allows at most.
MAX_RATE, MAX_CONCURRENT_DEFAULT, MAX_CONCURRENT = 500.0, 1000, 5000
#: The throttle halves the rate at most once in so many seconds, and never below this share of the limit.
_HALVING_INTERVAL, _LOWEST_SHARE = 1.0, 1 / 16
#: What passes for a whole token: instants have a resolution of a quarter of a microsecond, rates go up to 500.
_WHOLE = 0.999


def complete(limits: Any) -> None:
    """Refuse `RateLimits` that the service refuses; fill in what it chooses: the defaults, and always the burst.

    The burst is output only. Ours is a fifth of the rate, at least 1, which gives the 100 that is documented for the
    default rate; the service may choose more.
    """
    if not 0 <= limits.max_dispatches_per_second <= MAX_RATE:
        raise invalid(f"RateLimits.max_dispatches_per_second must be greater than 0 and at most {MAX_RATE:g}.")
    if not 0 <= limits.max_concurrent_dispatches <= MAX_CONCURRENT:
        raise invalid(f"RateLimits.max_concurrent_dispatches must be greater than 0 and at most {MAX_CONCURRENT}.")
    limits.max_dispatches_per_second = limits.max_dispatches_per_second or MAX_RATE
    limits.max_concurrent_dispatches = limits.max_concurrent_dispatches or MAX_CONCURRENT_DEFAULT
    limits.max_burst_size = max(1, int(limits.max_dispatches_per_second / 5))


class Pace:
    """The token bucket of one queue, full at first. Instants in seconds since 1970, rates in dispatches per second.

    That 429 and 503 slow a whole queue is documented, how exactly is not. Here each halves the rate, though at most
    once a second and never below a sixteenth of the limit, and each success doubles it again up to the limit.
    """

    def __init__(self, limits: Any, now: float) -> None:
        self._share = 1.0
        self._halved = float("-inf")
        self._filled = now
        self._tokens = 0.0
        self.limit(limits, now)
        self._tokens = float(self._burst)

    def limit(self, limits: Any, now: float) -> None:
        """Take changed limits."""
        self._fill(now)
        self._rate: float = limits.max_dispatches_per_second
        self._burst: int = limits.max_burst_size

    @property
    def rate(self) -> float:
        """The rate at present, throttled or not."""
        return self._rate * self._share

    def spend(self, now: float) -> None:
        """Take a token."""
        self._fill(now)
        self._tokens -= 1

    def ready_at(self, now: float) -> float:
        """Return when there is a token."""
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
