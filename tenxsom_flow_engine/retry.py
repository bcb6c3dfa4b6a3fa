"""Decides when a failed step is retried: a pure function, so that a table can test it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter, bounded in attempts and in delay. All times in seconds."""

    #: Enough to retry a step for about half an hour, so that a shorter outage of a service fails no job.
    max_attempts: int = 12
    base: float = 2.0
    factor: float = 2.0
    cap: float = 600.0
    #: Random share of the delay, so that jobs which failed together are not retried together.
    jitter: float = 0.5

    def delay(
        self, attempts: int, *, draw: float, retry_after: float | None = None, endless: bool = False
    ) -> float | None:
        """Return the delay after the `attempts`-th consecutive failure (counted from 1), or None to stop retrying.

        `draw` is a random number in [0, 1). `retry_after`, which the service requested, is a lower bound of the delay.
        `endless` ignores `max_attempts`, because something else limits the attempts.
        """
        if attempts >= self.max_attempts and not endless:
            return None
        # The exponent is limited because a float overflows near 2**1024.
        full = min(self.cap, self.base * self.factor ** min(attempts - 1, 64))
        drawn = full * (1 - self.jitter + self.jitter * draw)
        return max(drawn, retry_after or 0.0)
