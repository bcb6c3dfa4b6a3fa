"""The conformance suite of ledgers. A module that applies it supplies a fixture `open_ledger(clock) -> Ledger`.

The clock is moved by hand, and admissions are also counted by brute force, so the results are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import Busy, InvalidInput, Misconfigured, OutOfCredit, ServiceError
from tenxsom_flow_engine.rate_limits.base import Admission, Closed
from tenxsom_flow_engine.rate_limits.ledger import KEPT, TRIM, Ledger
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.rate_limits.pace import MIN_LATENCY_FACTOR
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Limits, Windows, parse_limits, parse_windows
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA
from tenxsom_flow_engine.timings import Timings
from tests.contract.fair_limiter_suite import FairLimiterSuite

OpenLedger = Callable[[ManualClock], Ledger]


def limiter_of(ledger: Ledger, limits: str, clock: ManualClock) -> RateLimiter:
    """Return a limiter whose cache of closed gates expires by the test's clock."""
    return RateLimiter(ledger, parse_limits(limits), monotonic=clock.now)


def admitted(limiter: RateLimiter, service: str = ALPHA, waiter_id: str = "job") -> Admission:
    """Ask, check that the answer is an admission, and return it."""
    answer = limiter.ask(service, waiter_id)
    assert isinstance(answer, Admission), answer
    return answer


def refused(limiter: RateLimiter, service: str = ALPHA, waiter_id: str = "job") -> Closed:
    """Ask, check that the answer is a refusal, and return it."""
    answer = limiter.ask(service, waiter_id)
    assert isinstance(answer, Closed), answer
    assert answer.ask_again_at > answer.at
    assert answer.why
    return answer


TIMINGS = Timings()


class Tally:
    """A brute-force count of admissions."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {ALPHA: [], BETA: [], GLOBAL: []}

    def add(self, admission: Admission) -> None:
        for log in (admission.service, GLOBAL):
            self.taken[log].append(admission.at)

    def remove(self, admission: Admission) -> None:
        for log in (admission.service, GLOBAL):
            self.taken[log].remove(admission.at)

    def full(self, log: str, windows: Windows, now: float) -> bool:
        """Return whether a window that ends now holds its limit."""
        return any(sum(now - span < at for at in self.taken[log]) >= limit for limit, span in _pairs(windows))

    def exceeded(self, log: str, windows: Windows, now: float) -> bool:
        """Return whether a window that ends now holds more than its limit."""
        return any(sum(now - span < at for at in self.taken[log]) > limit for limit, span in _pairs(windows))


def _pairs(windows: Windows) -> list[tuple[int, float]]:
    return [(window.limit, window.span) for window in windows]


#: Eighths of a second, so that sums of instants are exact.
_pauses = st.integers(0, 40).map(lambda eighths: eighths / 8)
_windows = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([1, 2, 5, 30])), min_size=1, max_size=3, unique_by=lambda pair: pair[1]
).map(lambda pairs: parse_windows(" ".join(f"{limit}/{span}s" for limit, span in pairs)))
_acts = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from([ALPHA, BETA]), st.integers(0, 3)),
    st.tuples(st.just("wait"), _pauses),
    st.tuples(st.just("give back"), st.integers(0, 3)),
    st.tuples(st.just("set"), st.sampled_from([ALPHA, BETA, GLOBAL]), _windows),
)


class LimiterSuite(FairLimiterSuite):
    """The suite; a test module with the fixture subclasses it."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def ledger(self, open_ledger: OpenLedger, clock: ManualClock) -> Ledger:
        return open_ledger(clock)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(acts=st.lists(_acts, max_size=60), own=_windows, overall=_windows)
    def test_exact(
        self, open_ledger: OpenLedger, acts: list[tuple[object, ...]], own: Windows, overall: Windows
    ) -> None:
        """For any sequence of calls, no sliding window exceeds its limit, and no call is refused without need."""
        clock = ManualClock()
        limits: dict[str, Windows] = {ALPHA: own, BETA: own, GLOBAL: overall}
        limiter = RateLimiter(open_ledger(clock), dict(limits), monotonic=clock.now)
        tally, held = Tally(), list[Admission]()
        for act in acts:
            match act:
                case ("wait", float(seconds)):
                    clock.advance(seconds)
                case ("set", str(name), tuple(windows)):
                    limits[name] = windows
                    limiter.set_limits(name, windows)
                case ("give back", int(number)) if number < len(held):
                    admission = held.pop(-1 - number)
                    limiter.give_back(admission)
                    tally.remove(admission)
                case ("ask", str(service), int(waiter_id)):
                    full = any(tally.full(log, limits[log], clock.now()) for log in (service, GLOBAL))
                    answer = limiter.ask(service, f"job-{waiter_id}")
                    assert isinstance(answer, Closed) is full
                    if isinstance(answer, Admission):
                        tally.add(answer)
                        held.append(answer)
                        assert not any(tally.exceeded(log, limits[log], clock.now()) for log in (service, GLOBAL))
                    else:
                        assert answer.at == clock.now() < answer.opens_at <= answer.ask_again_at

    def test_all_of_a_limit_can_be_used(self, ledger: Ledger, clock: ManualClock) -> None:
        """A waiter that always asks at its hint uses the full limit: 10 a minute are 100 in ten minutes."""
        limiter = limiter_of(ledger, "alpha=2/s,10/m", clock)
        times = []
        end = clock.now() + 600
        while clock.now() < end:
            answer = limiter.ask(ALPHA, "job")
            if isinstance(answer, Closed):
                clock.set(answer.ask_again_at)
            else:
                times.append(answer.at)
        assert len(times) == 100

    def test_a_refusal_names_what_is_used(self, ledger: Ledger, clock: ManualClock) -> None:
        """A refusal names the limit that is used up, of the service or of `global`, and when it has room again."""
        limiter = limiter_of(ledger, "alpha=1/s,3/m; beta=9/s; global=4/m", clock)
        admitted(limiter)
        closed = refused(limiter)
        assert "alpha's 1/s" in closed.why
        assert closed.opens_at == clock.now() + 1
        for _ in range(2):
            clock.advance(1)
            admitted(limiter)
        clock.advance(1)
        closed = refused(limiter)
        assert "alpha's 3/m" in closed.why
        assert closed.opens_at == clock.now() + 57
        admitted(limiter, BETA)
        closed = refused(limiter, BETA)
        assert "global's 4/m" in closed.why
        assert closed.opens_at == clock.now() + 57

    def test_waiters_come_one_after_another(self, ledger: Ledger, clock: ManualClock) -> None:
        """The hint of each waiter is the instant at which the next admission becomes free, and it is admitted then."""
        limiter = limiter_of(ledger, "alpha=3/m", clock)
        start = clock.now()
        for _ in range(3):
            admitted(limiter)
            clock.advance(10)
        hints = [(refused(limiter, waiter_id=f"w{number}").ask_again_at, f"w{number}") for number in range(8)]
        assert [until - start for until, _ in hints] == [60, 70, 80, 120, 130, 140, 180, 190]
        for until, waiter_id in hints:
            clock.set(until)
            admitted(limiter, waiter_id=waiter_id)

    def test_a_waiter_keeps_its_place(self, ledger: Ledger, clock: ManualClock) -> None:
        """A waiter that asked first and asks again gets an earlier hint than one that asked later."""
        limiter = limiter_of(ledger, "alpha=1/m", clock)
        admitted(limiter)
        first = refused(limiter, waiter_id="first")
        clock.advance(1)
        second = refused(limiter, waiter_id="second")
        clock.advance(1)
        assert refused(limiter, waiter_id="first").ask_again_at == first.ask_again_at < second.ask_again_at

    def test_a_waiter_that_vanished_delays_no_other(self, ledger: Ledger, clock: ManualClock) -> None:
        """Waiters that did not ask again at their hint, or that were removed, do not delay other waiters."""
        limiter = limiter_of(ledger, "alpha=1/m", clock)
        admitted(limiter)
        for number in range(5):
            refused(limiter, waiter_id=f"gone-{number}")
        clock.advance(600)
        admitted(limiter)
        assert refused(limiter, waiter_id="here").ask_again_at == clock.now() + 60
        limiter.forget(ALPHA, "here")
        assert refused(limiter, waiter_id="other").ask_again_at == clock.now() + 60

    def test_the_last_waiter_takes_a_free_place(self, ledger: Ledger, clock: ManualClock) -> None:
        """When waiters leave, those that remain have the earliest hints, use the full limit and never exceed it."""
        limiter = limiter_of(ledger, "alpha=2/10s", clock)
        begin = clock.now()
        admitted(limiter, waiter_id="a"), admitted(limiter, waiter_id="b")
        hints = {f"w{number}": refused(limiter, waiter_id=f"w{number}").ask_again_at for number in range(36)}
        for number in range(33):
            if moved := limiter.forget(ALPHA, f"w{number}"):
                assert moved.ask_again_at < hints[moved.waiter_id]
                hints[moved.waiter_id] = moved.ask_again_at
            del hints[f"w{number}"]
        assert sorted(hints.values()) == [begin + 10, begin + 10, begin + 20]
        assert {name: refused(limiter, waiter_id=name).ask_again_at for name in hints} == hints
        times = [begin, begin]
        for name, hint in sorted(hints.items(), key=lambda pair: pair[1]):
            clock.set(hint)
            times.append(admitted(limiter, waiter_id=name).at)
        assert sliding_maximum(times, 10.0) == 2
        assert limiter.forget(ALPHA, "nobody") is None

    def test_a_place_in_the_past_moves_nobody(self, ledger: Ledger, clock: ManualClock) -> None:
        """A waiter that leaves after its hint has no place to give."""
        limiter = limiter_of(ledger, "alpha=1/m", clock)
        admitted(limiter)
        refused(limiter, waiter_id="first")
        second = refused(limiter, waiter_id="second")
        clock.advance(60)
        assert limiter.forget(ALPHA, "first") is None
        admitted(limiter)
        assert refused(limiter, waiter_id="second").ask_again_at == second.ask_again_at

    def test_hints_are_never_far_off(self, ledger: Ledger, clock: ManualClock) -> None:
        """A waiter asks again within 15 minutes, however long the limit is exhausted, and not all ask at once."""
        limiter = limiter_of(ledger, "alpha=1/d", clock)
        admitted(limiter)
        hints = [refused(limiter, waiter_id=f"w{number}").ask_again_at - clock.now() for number in range(20)]
        assert all(TIMINGS.max_hint / 2 <= wait <= TIMINGS.max_hint for wait in hints)
        assert len({round(wait / 10) for wait in hints}) >= 18
        assert limiter.opens_at(ALPHA) == clock.now() + 86400

    def test_a_long_pause_can_be_cut_short(self, ledger: Ledger, clock: ManualClock) -> None:
        """If a service demands a pause of a day, the refused waiter and all others ask again within 15 minutes."""
        limiter = limiter_of(ledger, "alpha=9/s", clock)
        refusal = limiter.refused(ALPHA, Busy(ALPHA, "429", retry_after=86400.0))
        assert refusal.opens_at == clock.now() + 86400
        assert refusal.ask_again_at <= clock.now() + TIMINGS.max_hint
        clock.set(refusal.ask_again_at)
        refused(limiter)
        limiter.resume(ALPHA)
        admitted(limiter)

    def test_the_clock_can_be_set_back(self, ledger: Ledger, clock: ManualClock) -> None:
        """After the clock was ahead, its admissions count as made now, and pauses end when they would have ended."""
        limiter = limiter_of(ledger, "alpha=2/m; beta=9/m", clock)
        begin = clock.now()
        clock.advance(86400)
        admitted(limiter), admitted(limiter)
        refused(limiter, waiter_id="waiting")
        limiter.refused(BETA, Busy(BETA, "429", retry_after=30.0))
        limiter.set_clock_back(begin, 86400)
        assert ledger.snapshot(ALPHA).recent == [begin, begin]
        assert ledger.snapshot(ALPHA).waiting == 0
        assert begin + 30 <= ledger.snapshot(BETA).gate.closed_until <= begin + 40

    def test_an_admission_can_be_given_back(self, ledger: Ledger, clock: ManualClock) -> None:
        """An admission that is given back is free for the next waiter, in every window."""
        limiter = limiter_of(ledger, "alpha=2/s,2/m; global=2/h", clock)
        first = admitted(limiter)
        clock.advance(0.5)
        admitted(limiter)
        refused(limiter)
        limiter.give_back(first)
        admitted(limiter)
        refused(limiter)

    def test_services_without_limits_are_not_counted(self, ledger: Ledger, clock: ManualClock) -> None:
        """A service without limits is always admitted and does not count in the global windows."""
        limiter = limiter_of(ledger, "alpha=9/s; global=1/d", clock)
        for _ in range(20):
            admitted(limiter, BETA)
        admitted(limiter)
        refused(limiter)
        admitted(limiter, BETA)

    def test_an_uncounted_admission_gives_nothing_back(self, ledger: Ledger, clock: ManualClock) -> None:
        """Giving back an admission that was not counted frees no other admission of the same instant."""
        limiter = limiter_of(ledger, "alpha=9/s; global=1/d", clock)
        admitted(limiter)
        limiter.give_back(admitted(limiter, BETA))
        refused(limiter)

    def test_limits_change_at_run_time(self, ledger: Ledger, open_ledger: OpenLedger, clock: ManualClock) -> None:
        """A run-time limit applies at once in every process and wins over the environment until it is removed."""
        limiter = limiter_of(ledger, "alpha=1/m", clock)
        other = limiter_of(open_ledger(clock), "alpha=1/m", clock)
        admitted(limiter)
        refused(other)
        limiter.set_limits(ALPHA, parse_windows("3/m"))
        admitted(other)
        admitted(other)
        refused(other)
        limiter.set_limits(ALPHA, parse_windows("none"))
        admitted(other)
        limiter.set_limits(ALPHA, None)
        assert "1/m" in refused(other).why

    def test_a_raised_limit_forgets_nothing(self, ledger: Ledger, clock: ManualClock) -> None:
        """If a limit is raised above the length of its log, a deleted admission counts as late as it can have been."""
        limiter = limiter_of(ledger, f"alpha={KEPT}/1s", clock)
        start = clock.now()
        for _ in range(2 * TRIM + KEPT):
            if isinstance(limiter.ask(ALPHA, "job"), Closed):
                clock.advance(1)
                admitted(limiter)
        used = 2 * TRIM + KEPT
        clock.advance(1)
        limiter.set_limits(ALPHA, parse_windows(f"{used}/m"))
        refused(limiter)
        clock.set(start + 59.9)
        refused(limiter)
        clock.set(start + 61)
        admitted(limiter)

    # Answers of a service.

    def test_busy_closes_the_gate_for_all(self, ledger: Ledger, open_ledger: OpenLedger, clock: ManualClock) -> None:
        """A busy answer closes the gate for every process until `Retry-After`, or for 30 s without one."""
        limiter, other = (limiter_of(each, "alpha=9/s; beta=9/s", clock) for each in (ledger, open_ledger(clock)))
        for retry_after, silence in ((None, TIMINGS.busy_pause), (90.0, 90.0)):
            refusal = limiter.refused(ALPHA, Busy(ALPHA, "429", retry_after=retry_after))
            assert refusal.ask_again_at == clock.now() + silence
            closed = refused(other)
            assert closed.opens_at == clock.now() + silence
            assert "429" in closed.why
            admitted(other, BETA)
            clock.set(closed.opens_at)
            admitted(other)
            limiter.answered(ALPHA, 1.0)

    def test_busy_slows_the_service(self, ledger: Ledger, clock: ManualClock) -> None:
        """A busy answer halves the pace, once for all calls under way; successes raise it again."""
        limiter = limiter_of(ledger, "alpha=10/m", clock)
        for _ in range(3):
            limiter.refused(ALPHA, Busy(ALPHA, "429"))
        clock.advance(TIMINGS.busy_pause)
        for _ in range(5):
            admitted(limiter)
        closed = refused(limiter)
        assert closed.opens_at == clock.now() + 60
        assert closed.why == "all of alpha's 10/m are used, at a pace of 50%"
        for _ in range(20):
            limiter.answered(ALPHA, 1.0)
        clock.advance(66)
        for _ in range(10):
            admitted(limiter)

    @pytest.mark.parametrize("kind", [Misconfigured, OutOfCredit])
    def test_a_stopped_service_is_probed(self, ledger: Ledger, clock: ManualClock, kind: type[ServiceError]) -> None:
        """An error of key, plan or credit stops a service; probes pass at intervals, and a success opens the gate."""
        limiter = limiter_of(ledger, "alpha=9/s", clock)
        admitted(limiter)
        refusal = limiter.refused(ALPHA, kind(ALPHA, "no"))
        assert refusal.ask_again_at - clock.now() < 60
        closed = refused(limiter)
        assert kind.code in closed.why
        assert closed.opens_at == clock.now() + TIMINGS.probe_interval
        assert closed.ask_again_at - clock.now() < 60
        clock.advance(TIMINGS.probe_interval)
        assert admitted(limiter).probe
        assert refused(limiter).opens_at == clock.now() + TIMINGS.probe_interval
        limiter.refused(ALPHA, kind(ALPHA, "no"))
        clock.advance(TIMINGS.probe_interval)
        assert admitted(limiter).probe
        limiter.answered(ALPHA, 1.0)
        assert not admitted(limiter).probe

    def test_an_operator_pauses_and_resumes(self, ledger: Ledger, open_ledger: OpenLedger, clock: ManualClock) -> None:
        """A paused service admits no create in any process, whatever it answers, until it is resumed."""
        limiter, other = (limiter_of(each, "alpha=9/s", clock) for each in (ledger, open_ledger(clock)))
        limiter.pause(ALPHA, "the card is changed")
        limiter.refused(ALPHA, Misconfigured(ALPHA, "no"))
        limiter.answered(ALPHA, 1.0)
        clock.advance(2 * TIMINGS.probe_interval)
        closed = refused(other)
        assert "the card is changed" in closed.why
        assert closed.opens_at == math.inf
        assert closed.ask_again_at - clock.now() < 60
        limiter.resume(ALPHA)
        admitted(other)

    def test_a_stopped_service_is_asked_ever_less(self, ledger: Ledger, clock: ManualClock) -> None:
        """A waiter of a stopped service asks again soon at first, and less and less often later."""
        limiter = limiter_of(ledger, "alpha=9/s", clock)
        limiter.pause(ALPHA)
        pauses = []
        for _ in range(30):
            until = refused(limiter).ask_again_at
            pauses.append(until - clock.now())
            clock.set(until)
        assert pauses[0] <= 2
        assert all(earlier <= later for earlier, later in pairwise(pauses))
        assert pauses[-1] == TIMINGS.max_hint

    def test_slow_answers_brake(self, ledger: Ledger, clock: ManualClock) -> None:
        """Answers much slower than usual lower the pace, to half at most; usual answers raise it again."""
        limiter = limiter_of(ledger, "alpha=10/m", clock)
        for _ in range(30):
            limiter.answered(ALPHA, 1.0)
        assert ledger.snapshot(ALPHA).gate.effective_pace == 1.0
        shares = []
        for _ in range(8):
            limiter.answered(ALPHA, 10.0)
            shares.append(ledger.snapshot(ALPHA).gate.effective_pace)
        assert all(later < earlier for earlier, later in pairwise(shares[:4]))
        assert shares[-1] >= MIN_LATENCY_FACTOR
        for _ in range(30):
            limiter.answered(ALPHA, 1.0)
        assert ledger.snapshot(ALPHA).gate.effective_pace == 1.0

    def test_a_hidden_limit_is_found(self, ledger: Ledger, clock: ManualClock) -> None:
        """For a service that accepts 30 a minute where 50 are allowed, under 1 % is refused after learning."""
        limiter = limiter_of(ledger, "alpha=50/m", clock)
        taken: list[float] = []
        refusals, shares = 0, list[float]()
        for call in range(1300):
            while isinstance(answer := limiter.ask(ALPHA, "job"), Closed):
                clock.set(answer.ask_again_at)
            known = call >= 300
            if sum(at + 60 > answer.at for at in taken[-30:]) < 30:
                taken.append(answer.at)
                limiter.answered(ALPHA, 1.0)
            else:
                limiter.refused(ALPHA, Busy(ALPHA, "429"))
                refusals += known
            if known:
                shares.append(ledger.snapshot(ALPHA).gate.effective_pace if call % 10 == 0 else shares[-1])
        assert 0 < refusals < 10
        assert 0.85 * 30 <= sum(shares) / len(shares) * 50 <= 30

    # Gates cached in a process.

    def test_a_process_caches_closed_gates(self, ledger: Ledger, clock: ManualClock) -> None:
        """A process knows a gate that it found closed without asking, and learns within 1 s that it is open again."""
        limiter = limiter_of(ledger, "alpha=1/m; beta=1/m", clock)
        assert limiter.closed() == {}
        assert limiter.opens_at(ALPHA) <= clock.now()
        admitted(limiter)
        assert limiter.closed() == {}
        refused(limiter)
        assert limiter.closed() == {ALPHA: clock.now() + 60} == {ALPHA: limiter.opens_at(ALPHA)}
        limiter.set_limits(ALPHA, parse_windows("2/m"))
        assert ALPHA in limiter.closed()
        clock.advance(1)
        assert limiter.closed() == {}

    def test_opens_at_caches_a_closed_gate(self, ledger: Ledger, clock: ManualClock) -> None:
        """A gate found closed by `opens_at` is cached like one that refused a create."""
        limiter = limiter_of(ledger, "alpha=1/m", clock)
        admitted(limiter)
        assert limiter.closed() == {}
        assert limiter.opens_at(ALPHA) == clock.now() + 60
        assert limiter.closed() == {ALPHA: clock.now() + 60}

    # Statistics.

    def test_statistics(self, ledger: Ledger, open_ledger: OpenLedger, clock: ManualClock) -> None:
        """Requests, waits, answers and refusals are summed over all processes, by service and in total."""
        limiter, other = (
            limiter_of(each, "alpha=1/m; beta=5/m; global=9/m", clock) for each in (ledger, open_ledger(clock))
        )
        admitted(limiter)
        refused(other, waiter_id="later")
        stats = limiter.get_rate_limit_stats()["services"][ALPHA]
        assert (stats["requests"], stats["admitted_at_once"], stats["waiting"]) == (2, 1, 1)
        assert (stats["state"], stats["opens_in"]) == ("full", 60.0)
        assert stats["windows"] == [{"window": "1/m", "used": 1, "limit": 1, "limit_at_pace": 1, "frees_in": 60.0}]
        clock.advance(60)
        other.ask(ALPHA, "later")
        for process in (limiter, other):
            process.answered(ALPHA, 2.0)
        limiter.give_back(admitted(limiter, BETA))
        limiter.refused(BETA, Busy(BETA, "429"))
        stats = other.get_rate_limit_stats()
        alpha, beta, total = stats["services"][ALPHA], stats["services"][BETA], stats["total"]
        assert (alpha["requests"], alpha["admitted_at_once"], alpha["delayed"], alpha["waiting"]) == (2, 1, 1, 0)
        assert alpha["wait"]["mean"] == 30.0
        assert 60.0 <= alpha["wait"]["p95"] <= 72.0
        assert alpha["response"]["mean"] == 2.0
        assert 2.0 <= alpha["response"]["p95"] <= 2.4
        assert (beta["refused_by_service"], beta["given_back"], beta["state"], beta["pace"]) == (1, 1, "closed", 0.5)
        assert beta["why"]
        assert (total["requests"], total["answered"], total["refused_by_service"]) == (3, 2, 1)
        assert stats["efficiency_metrics"]["efficiency_score"] == pytest.approx(66.67)
        assert [window["used"] for window in stats[GLOBAL]["windows"]] == [1]

    def test_statistics_before_the_first_request(self, ledger: Ledger, clock: ManualClock) -> None:
        """Before the first request every service is open, and the score is 100."""
        stats = limiter_of(ledger, "alpha=1/m", clock).get_rate_limit_stats()
        assert stats["services"][ALPHA]["state"] == "open"
        assert stats["services"][ALPHA]["wait"] == {"mean": None, "p95": None}
        assert stats["efficiency_metrics"]["efficiency_score"] == 100.0

    def test_an_unknown_service_is_an_error(self, ledger: Ledger, clock: ManualClock) -> None:
        """A service without limits is an error that lists the services with limits."""
        with pytest.raises(InvalidInput, match="gamma") as error:
            limiter_of(ledger, "alpha=1/m; beta=1/m; global=1/s", clock).require("gamma")
        assert "alpha, beta" in error.value.next_step
        assert GLOBAL not in error.value.next_step


def sliding_maximum(times: list[float], span: float) -> int:
    """Return the maximum number of instants in any sliding window, which includes its end but not its start."""
    ordered = sorted(times)
    most = first = 0
    for last, instant in enumerate(ordered):
        while ordered[first] + span <= instant:
            first += 1
        most = max(most, last - first + 1)
    return most


__all__ = ["LimiterSuite", "Limits", "OpenLedger", "sliding_maximum"]
