"""When to try a faulted step again: a pure decision, so that a table can test it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter, bounded in attempts and in delay. All times in seconds."""

    #: A step is tried again for half an hour or so: no shorter outage of a service costs a job.
    max_attempts: int = 12
    base: float = 2.0
    factor: float = 2.0
    cap: float = 600.0
    #: Share of the delay that is drawn at random, so that jobs which failed together do not return together.
    jitter: float = 0.5

    def delay(
        self, attempts: int, *, draw: float, retry_after: float | None = None, endless: bool = False
    ) -> float | None:
        """Return how long to wait after the `attempts`-th fault in a row (counted from 1), or None for never again.

        `draw` is a random number in [0, 1). `retry_after`, what the service asked for, is a floor under the delay.
        `endless`: something else than their number bounds the attempts.
        """
        if attempts >= self.max_attempts and not endless:
            return None
        # The exponent is bounded because a float overflows near 2**1024.
        full = min(self.cap, self.base * self.factor ** min(attempts - 1, 64))
        drawn = full * (1 - self.jitter + self.jitter * draw)
        return max(drawn, retry_after or 0.0)
