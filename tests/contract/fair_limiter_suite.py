"""The fairness of admissions between channels: a part of the conformance suite of ledgers.

Waiters return at their hints, a little late and in a random order, as deliveries of Cloud Tasks do.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from itertools import count

import pytest

from tenxsom_flow_engine.rate_limits.base import Admission, Closed, Share
from tenxsom_flow_engine.rate_limits.ledger import OTHERS_FIRST, TURN_SECONDS, Ledger
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.rate_limits.windows import parse_limits, parse_windows
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA

#: The longest time by which a waiter is late, in seconds.
LATE = 0.3


class Crowd:
    """Waiters of several channels that ask until they are admitted."""

    def __init__(self, limiter: RateLimiter, clock: ManualClock, seed: int = 1) -> None:
        self._limiter = limiter
        self._clock = clock
        self._random = random.Random(seed)
        self._numbers = count()
        self._line: list[tuple[float, int, str, Share]] = []

    def join(self, share: Share, waiters: int) -> None:
        """Let waiters of a channel ask now."""
        for _ in range(waiters):
            number = next(self._numbers)
            heapq.heappush(self._line, (self._clock.now(), number, f"{share.channel}-{number}", share))

    def admit(self, admissions: int, refill: Sequence[Share] = ()) -> list[str]:
        """Return the channels of the next admissions. Channels of `refill` get a new waiter after each admission."""
        admitted: list[str] = []
        while len(admitted) < admissions:
            at, _, waiter_id, share = heapq.heappop(self._line)
            self._clock.advance(max(0.0, at - self._clock.now()))
            answer = self._limiter.ask(ALPHA, waiter_id, share)
            if isinstance(answer, Admission):
                admitted.append(share.channel)
                if share in refill:
                    self.join(share, 1)
            else:
                late = answer.ask_again_at + self._random.uniform(0, LATE)
                heapq.heappush(self._line, (late, next(self._numbers), waiter_id, share))
        return admitted


class FairLimiterSuite:
    """How a ledger divides the admissions of a service."""

    @pytest.fixture
    def limiter(self, ledger: Ledger, clock: ManualClock) -> RateLimiter:
        return RateLimiter(ledger, parse_limits(f"{ALPHA}=1/s,50/m"), monotonic=clock.now)

    def test_one_waiter_does_not_wait_behind_a_backlog(self, limiter: RateLimiter, clock: ManualClock) -> None:
        """The only waiter of a channel is admitted after at most one of a channel with 60 waiters."""
        crowd = Crowd(limiter, clock)
        crowd.join(Share("long"), 60)
        crowd.admit(5)
        begin = clock.now()
        crowd.join(Share("short"), 1)
        assert "short" in crowd.admit(2)
        assert clock.now() - begin <= 2 * (1 + LATE)

    @pytest.mark.parametrize("seed", range(3))
    def test_weights_hold(self, limiter: RateLimiter, clock: ManualClock, seed: int) -> None:
        """Over any 100 admissions, waiting channels get their weights within 5 %."""
        shares = [Share("a", 1.0), Share("b", 2.0), Share("c", 5.0), Share("", 2.0)]
        crowd = Crowd(limiter, clock, seed)
        for share in shares:
            crowd.join(share, 20)
        admitted = crowd.admit(230, refill=shares)[10:]
        for begin in range(0, 120, 10):
            counts = Counter(admitted[begin : begin + 100])
            assert all(abs(counts[one.channel] - 10 * one.weight) <= 5 for one in shares), (begin, counts)

    def test_a_channel_alone_gets_everything(self, limiter: RateLimiter, clock: ManualClock) -> None:
        """Without other waiters, a channel uses each admission that the limits allow."""
        crowd = Crowd(limiter, clock)
        crowd.join(Share("a", 0.1), 60)
        begin = clock.now()
        assert crowd.admit(50) == ["a"] * 50
        assert clock.now() - begin <= 50 * (1 + LATE)

    def test_an_absent_waiter_delays_others_briefly(self, limiter: RateLimiter, clock: ManualClock) -> None:
        """A waiter that does not return at its hint costs the others at most its turn."""
        crowd = Crowd(limiter, clock)
        crowd.join(Share("a"), 20)
        crowd.admit(5)
        gone = limiter.ask(ALPHA, "gone", Share("b"))
        assert isinstance(gone, Closed)
        begin = clock.now()
        crowd.admit(5)
        assert clock.now() - begin <= 5 * (1 + LATE) + TURN_SECONDS + 1

    def test_the_reason_names_other_channels(self, limiter: RateLimiter, clock: ManualClock) -> None:
        """The refusal says that other channels are next, and the service does not count as closed."""
        assert isinstance(limiter.ask(ALPHA, "a-0", Share("a")), Admission)
        waiting = limiter.ask(ALPHA, "b-0", Share("b"))
        assert isinstance(waiting, Closed)
        clock.advance(1.01)
        assert limiter.closed() == {}
        refused = limiter.ask(ALPHA, "a-1", Share("a"))
        assert isinstance(refused, Closed)
        assert refused.why == OTHERS_FIRST
        assert refused.ask_again_at > refused.at >= refused.opens_at
        assert limiter.closed() == {}
        assert isinstance(limiter.ask(ALPHA, "b-0", Share("b")), Admission)

    def test_windows_of_a_channel(self, limiter: RateLimiter, clock: ManualClock) -> None:
        """A channel's own windows hold across services, delay no other channel, and are named."""
        slow = Share("slow", windows=parse_windows("2/m"))
        for number in range(2):
            assert isinstance(limiter.ask(ALPHA, f"s-{number}", slow), Admission)
            clock.advance(1)
        refused = limiter.ask(ALPHA, "s-2", slow)
        assert isinstance(refused, Closed)
        assert refused.why == "all of channel slow's 2/m are used"
        assert refused.ask_again_at == clock.now() + 58
        later = limiter.ask(ALPHA, "s-3", slow)
        assert isinstance(later, Closed)
        assert later.ask_again_at == clock.now() + 59
        assert isinstance(limiter.ask(ALPHA, "other", Share("other")), Admission)
        clock.advance(58)
        answer = limiter.ask(ALPHA, "s-2", slow)
        assert isinstance(answer, Admission)
        limiter.give_back(answer)
        assert isinstance(limiter.ask(ALPHA, "s-2", slow), Admission)
        assert isinstance(limiter.ask("unlimited", "s-4", slow), Closed)

    def test_an_admission_that_is_given_back_does_not_count(self, limiter: RateLimiter, clock: ManualClock) -> None:
        """A channel that gives admissions back keeps its share."""
        crowd = Crowd(limiter, clock)
        a, b = Share("a"), Share("b")
        crowd.join(a, 30)
        crowd.join(b, 30)
        crowd.admit(4)
        given_back = 0
        while given_back < 5:
            answer = limiter.ask(ALPHA, "a-back", a)
            if isinstance(answer, Admission):
                limiter.give_back(answer)
                given_back += 1
            else:
                clock.advance(answer.ask_again_at - clock.now())
        counts = Counter(crowd.admit(20))
        assert abs(counts["a"] - counts["b"]) <= 3

    def test_a_forgotten_waiter_leaves_its_channel(self, limiter: RateLimiter, clock: ManualClock) -> None:
        """After the only waiter of a channel was removed, the others are not delayed."""
        assert isinstance(limiter.ask(ALPHA, "a-0", Share("a")), Admission)
        assert isinstance(limiter.ask(ALPHA, "b-0", Share("b")), Closed)
        limiter.forget(ALPHA, "b-0")
        clock.advance(1)
        for number in range(1, 3):
            assert isinstance(limiter.ask(ALPHA, f"a-{number}", Share("a")), Admission)
            clock.advance(1)
