"""When a message is sent again after a failure, and when its endpoint is left alone: pure functions of time."""

from __future__ import annotations

from collections.abc import Callable

#: Seconds from one attempt to the next: the example of Standard Webhooks (spec 1.0.0), 75 h 35 min in all.
DELAYS = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
#: Each delay is changed by at most this share, at random.
JITTER = 0.2
#: Seconds after an event at which its last attempt has been made.
GIVE_UP = 4 * 86400.0
#: The longest wait that a `Retry-After` can ask for.
MOST_WAIT = 86400.0
#: Seconds without a success after which a failing endpoint is disabled.
DISABLE_AFTER = 5 * 86400.0
#: Seconds between two failures of one outage: more than the longest wait for the next attempt of a message.
SAME_OUTAGE = 2 * 86400.0
#: Pauses of an endpoint that does not answer: the first, and the longest; each is twice as long as the one before.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0


def next_attempt(
    tries: int, event_at: float, now: float, retry_after: float | None, uniform: Callable[[float, float], float]
) -> float | None:
    """Return when to send a message again after its failed attempt number `tries`; None: never.

    `uniform` returns a random number between two others. A `Retry-After` in seconds is obeyed if it is later.
    """
    if tries > len(DELAYS) or now - event_at > GIVE_UP:
        return None
    delay = DELAYS[tries - 1] * uniform(1 - JITTER, 1 + JITTER)
    return now + max(delay, min(retry_after or 0.0, MOST_WAIT))


def pause(failures: int, retry_after: float | None, uniform: Callable[[float, float], float]) -> float:
    """Return for how many seconds an endpoint gets no other message after so many failures without a success."""
    doubled = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 20))
    return max(doubled * uniform(1 - JITTER, 1 + JITTER), min(retry_after or 0.0, MOST_WAIT))
