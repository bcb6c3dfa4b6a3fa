"""Choose the time of the next poll of a render: often near its end, rarely before. Every poll uses dispatch rate."""

MIN_PAUSE, MAX_PAUSE = 0.3, 5.0
#: Expected seconds of a render without a progress report: to start, and for each second of video.
_TO_START, _PER_SECOND = 0.7, 0.4


def pause(duration: float, fraction: float, reported_after: float, elapsed: float) -> float:
    """Return the seconds until the next poll: half of the estimated remaining time, within the limits above.

    `elapsed` seconds have passed since the render of a video of `duration` seconds started. Its last progress report,
    `reported_after` seconds after the start, was `fraction`.
    """
    making = max(0.0, reported_after - _TO_START) / fraction if fraction > 0 else _PER_SECOND * duration
    whole = _TO_START + making
    # A render that is overdue, or has not reported for long, is not polled more often for that.
    left = max(whole - elapsed, elapsed - reported_after)
    return min(max(left / 2, MIN_PAUSE), MAX_PAUSE)
