"""The pure rules of the limiter: windows, pace and histograms."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import Busy, InvalidInput
from tenxsom_flow_engine.rate_limits import pace
from tenxsom_flow_engine.rate_limits.ledger import reason
from tenxsom_flow_engine.rate_limits.pace import BY_HAND, LEAST, Gate
from tenxsom_flow_engine.rate_limits.windows import Window, last_begin, parse_limits, parse_windows, write_windows
from tenxsom_flow_engine.store.histogram import bound, bucket, percentile

windows = st.builds(Window, st.integers(1, 100_000), st.integers(1, 31 * 86400).map(float))


@given(st.lists(windows, max_size=4, unique_by=lambda window: window.span))
def test_windows_are_read_as_they_are_written(several: list[Window]) -> None:
    """Every set of windows is parsed back from its text and from its stored form."""
    ordered = tuple(sorted(several, key=lambda window: window.span))
    assert parse_windows(write_windows(ordered)) == ordered
    if ordered:
        assert parse_windows(" ".join(map(str, ordered))) == ordered


def test_windows_are_written_shortly() -> None:
    """Windows are written as `2/s 20/m 100/15m`, for any order and separators of the input."""
    read = parse_windows("100/15m, 20/60s,2/s 7/d")
    assert " ".join(map(str, read)) == "2/s 20/m 100/15m 7/d"
    assert parse_windows("none") == ()


@pytest.mark.parametrize("text", ["", "2", "2/", "/s", "2/s 3/s", "-1/s", "1.5/s", "2/y", "none 2/s"])
def test_invalid_windows(text: str) -> None:
    """Invalid limits raise `InvalidInput`."""
    with pytest.raises(InvalidInput, match="limits"):
        parse_windows(text)


def test_when_the_last_of_many_may_begin() -> None:
    """Limits delay creates that come too fast, by the tightest window, and no slower creates."""
    windows = parse_windows("2/s 10/m")
    assert last_begin([5.0], windows) == 5.0
    assert last_begin([0.0] * 10, windows) == 4.0
    assert last_begin([0.0] * 11, windows) == 60.0
    assert last_begin([0.0] * 25, windows) == 122.0
    assert last_begin([0.0] * 10 + [600.0], windows) == 600.0
    assert last_begin([n * 6.0 for n in reversed(range(100))], windows) == 594.0
    assert last_begin([7.0] * 9, ()) == 7.0


def test_limits_name_their_services() -> None:
    """Services and their limits are parsed from one line; a part without a service is an error."""
    assert parse_limits("a=1/s,2/m; global=3/s;") == {"a": parse_windows("1/s 2/m"), "global": parse_windows("3/s")}
    with pytest.raises(InvalidInput, match="2/m"):
        parse_limits("a=1/s; 2/m")


@given(windows, st.floats(LEAST / 2, 1.0))
def test_a_pace_keeps_its_rate(window: Window, share: float) -> None:
    """At any pace a window has exactly that share of its rate, and no span allows more than that share, rounded up."""
    slowed = window.at(share)
    assert slowed.limit / slowed.span == pytest.approx(share * window.limit / window.span)
    assert slowed.limit == max(1, math.ceil(share * window.limit))
    assert slowed.span >= window.span * (1 - 1e-9)
    assert window.at(1.0) == window


@given(st.floats(0, 1e6))
def test_a_duration_is_known_to_a_fifth(seconds: float) -> None:
    """The upper bound of a duration's bucket is at most a fifth above the duration."""
    end = bound(bucket(seconds))
    assert seconds <= end * (1 + 1e-9)
    assert end <= max(0.001, seconds * 1.2)


def test_percentiles() -> None:
    """A percentile is a duration that this share does not exceed; zero durations count."""
    sizes = {bucket(1.0): 90.0, bucket(60.0): 10.0}
    assert percentile(sizes, 0.5) == pytest.approx(1.0, rel=0.2)
    assert percentile(sizes, 0.95) == pytest.approx(60.0, rel=0.2)
    assert percentile(sizes, 0.95, none=1900) == 0.0
    assert percentile({}, 0.95) is None


class HiddenLimit:
    """A service that accepts `limit` calls in any `span` seconds, and answers busy to the others."""

    def __init__(self, limit: int, span: float) -> None:
        self._window = Window(limit, span)
        self._taken: list[float] = []

    def accepts(self, now: float) -> bool:
        """Accept a call, or refuse it."""
        recent = [at for at in self._taken[-self._window.limit :] if at + self._window.span > now]
        if len(recent) == self._window.limit:
            return False
        self._taken.append(now)
        return True


def call_for(calls: int, ours: Window, accepts: Callable[[float], bool], gate: Gate) -> tuple[Gate, int, float]:
    """Call as often as the gate admits; return the gate, the number of refusals and the mean pace."""
    admitted: list[float] = []
    now = start = 1_800_000_000.0
    refusals, area = 0, 0.0
    for _ in range(calls):
        window = ours.at(gate.effective_pace)
        earliest = max(now, gate.reopens(now) or now)
        at = window.frees(lambda nth: admitted[-nth] if nth <= len(admitted) else -math.inf, earliest=earliest)
        area += gate.effective_pace * (at - now)
        now = at
        admitted.append(now)
        if accepts(now):
            gate = pace.answered(gate, 1.0, None)
        else:
            gate = pace.refused(gate, Busy("alpha", "429"), now)
            refusals += 1
    return gate, refusals, area / (now - start)


@pytest.mark.parametrize("hidden", [10, 23, 30, 41, 49])
def test_a_hidden_limit_is_found(hidden: int) -> None:
    """Under a hidden limit below ours the pace settles at most 15 % below it, and under 1 % of calls are refused."""
    ours, service = Window(50, 60.0), HiddenLimit(hidden, 60.0)
    gate, _, _ = call_for(1_000, ours, service.accepts, Gate())
    gate, refusals, mean = call_for(4_000, ours, HiddenLimit(hidden, 60.0).accepts, gate)
    assert 0.85 * hidden <= mean * ours.limit <= hidden
    assert 0 < refusals < 40


def test_a_hidden_limit_that_rises_is_found_again() -> None:
    """When the service raises its limit, the pace follows."""
    ours = Window(50, 60.0)
    gate, _, _ = call_for(1_000, ours, HiddenLimit(15, 60.0).accepts, Gate())
    gate, _, _ = call_for(2_000, ours, HiddenLimit(40, 60.0).accepts, gate)
    _, refusals, mean = call_for(4_000, ours, HiddenLimit(40, 60.0).accepts, gate)
    assert 0.85 * 40 <= mean * ours.limit <= 40
    assert refusals < 40


@pytest.mark.parametrize("seed", range(3))
def test_a_service_that_is_busy_now_and_then_keeps_its_pace(seed: int) -> None:
    """If one call in 100 is refused at any rate, two thirds of the limits are still used."""
    draw = random.Random(seed)
    _, _, mean = call_for(5_000, Window(50, 60.0), lambda now: draw.random() >= 0.01, Gate())
    assert mean >= 2 / 3


def test_an_outage_does_not_lower_the_pace_for_long() -> None:
    """After hours of busy answers in an outage, the pace is near its old value within 30 calls."""
    gate = Gate()
    now = 1_800_000_000.0
    for _ in range(200):
        gate = pace.refused(gate, Busy("alpha", "529"), now)
        now = gate.closed_until
    assert gate.effective_pace == LEAST
    for _ in range(30):
        gate = pace.answered(gate, 1.0, None)
    assert gate.effective_pace > 0.9


@given(st.lists(st.sampled_from(["busy", "quick", "slow"]), max_size=200))
def test_a_pace_stays_in_bounds(answers: list[str]) -> None:
    """For any answers, the pace stays between its minimum and 1."""
    gate, now = Gate(), 0.0
    for answer in answers:
        now += 40
        if answer == "busy":
            gate = pace.refused(gate, Busy("alpha", "429"), now)
        else:
            gate = pace.answered(gate, 100.0 if answer == "slow" else 1.0, 1.0)
        assert LEAST * pace.MIN_LATENCY_FACTOR <= gate.effective_pace <= 1.0
        assert gate.stopped == ""


def test_pausing_keeps_the_pace() -> None:
    """A service that is paused and resumed keeps its pace."""
    slowed = replace(Gate(), pace=0.4, ceiling=0.5)
    assert pace.resumed(pace.paused(slowed, "a person")) == slowed


def test_a_pause_without_a_reason_is_said_once() -> None:
    """The default reason of a pause is not repeated; another one is shown."""
    assert reason("heygen", "paused", stopped=BY_HAND) == "heygen is paused"
    assert reason("heygen", "the card is blocked", stopped=BY_HAND) == "heygen is paused: the card is blocked"
