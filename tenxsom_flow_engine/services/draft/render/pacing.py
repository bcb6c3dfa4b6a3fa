"""When to look at a render again: often near its end, rarely before, as every look takes part of the dispatch rate."""

MIN_PAUSE, MAX_PAUSE = 0.3, 5.0
#: Seconds that a render is taken to need before it has told anything: to start, and for each second of video.
_TO_START, _PER_SECOND = 0.7, 0.4


def pause(duration: float, fraction: float, told_after: float, elapsed: float) -> float:
    """Return the seconds to wait: half of what a render seems to need yet, but for a look at its end in good time.

    `fraction` of a video of `duration` seconds was made `told_after` seconds after the start, `elapsed` seconds ago by
    now counted from the same start.
    """
    making = max(0.0, told_after - _TO_START) / fraction if fraction > 0 else _PER_SECOND * duration
    whole = _TO_START + making
    # One that is overdue, or has told nothing for long, is not asked more often for it.
    left = max(whole - elapsed, elapsed - told_after)
    return min(max(left / 2, MIN_PAUSE), MAX_PAUSE)
