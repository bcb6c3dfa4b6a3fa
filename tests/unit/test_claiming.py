"""The decision of a claim: openings of lanes, limits of the queue, and the choice of due jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.jobs import AUTO, TICKET_MARK
from tenxsom_flow_engine.store.claiming import Candidate, Load, capacity, refilled, select
from tenxsom_flow_engine.store.values import DispatchLimits
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, WIDE, a_claim

IDLE = Load(leased=0, in_flight={}, wanting={}, tokens=1e6)
TICKET = TICKET_MARK + ALPHA


def a_load(**changes: object) -> Load:
    fields: dict[str, object] = {"leased": 0, "in_flight": {}, "wanting": {}, "tokens": 1e6}
    return Load(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (IDLE, {ALPHA: 3, BETA: 2, AUTO: 5}),
        (a_load(in_flight={ALPHA: 1}), {ALPHA: 2, BETA: 2, AUTO: 4}),
        (a_load(in_flight={ALPHA: 9}), {ALPHA: 0, BETA: 2, AUTO: 2}),
        (a_load(wanting={ALPHA: 2}), {ALPHA: 1, BETA: 2, AUTO: 3}),
        (a_load(wanting={AUTO: 3}), {ALPHA: 2, BETA: 2, AUTO: 2}),
        (a_load(wanting={AUTO: 9}), {ALPHA: 0, BETA: 0, AUTO: 0}),
        (a_load(in_flight={ALPHA: 2}, wanting={ALPHA: 1, BETA: 2}), {ALPHA: 0, BETA: 0, AUTO: 0}),
    ],
)
def test_openings_are_the_slots_that_are_left(load: Load, expected: Mapping[str, int]) -> None:
    """A lane has as many openings as its service has free slots; jobs that name no service share these."""
    allowed = capacity(a_claim(slots={ALPHA: 3, BETA: 2}, count=10), WIDE, load, 0.0)
    assert {lane: allowed.openings[lane] for lane in expected} == expected
    assert allowed.openings[TICKET] == 10


def test_a_service_that_may_not_be_chosen_shares_nothing() -> None:
    """Slots of a service that is not open to jobs naming none are neither offered to them nor reduced by them."""
    request = a_claim(slots={ALPHA: 3, BETA: 2}, auto_services=[BETA])
    assert capacity(request, WIDE, IDLE, 0.0).openings[AUTO] == 2
    allowed = capacity(request, WIDE, a_load(wanting={AUTO: 2}), 0.0)
    assert (allowed.openings[ALPHA], allowed.openings[BETA], allowed.openings[AUTO]) == (3, 0, 0)


@pytest.mark.parametrize(
    ("leased", "tokens", "total", "opens_at"),
    [
        (0, 2.0, 2, 100.0),
        (0, 50.0, 8, 100.0),
        (7, 50.0, 1, 100.0),
        (8, 50.0, 0, None),
        (9, 0.0, 0, None),
        (0, 1.0, 1, 100.0),
        (0, 0.5, 0, 100.25),
        (0, 0.0, 0, 100.5),
    ],
)
def test_the_limits_of_the_queue(leased: int, tokens: float, total: int, opens_at: float | None) -> None:
    """No more jobs are leased than concurrency and tokens allow, with the instant of the next opening."""
    limits = DispatchLimits(max_dispatches_per_second=2.0, max_concurrent_dispatches=8)
    load = a_load(leased=leased, tokens=tokens)
    allowed = capacity(a_claim(count=10), limits, load, 100.0)
    assert allowed.total == total
    assert allowed.opens_at == (None if opens_at is None else pytest.approx(opens_at, abs=1e-5))


@pytest.mark.parametrize(
    ("tokens", "seconds", "expected"), [(0.0, 0.1, 1.0), (0.5, 0.05, 1.0), (0.0, 60.0, 2.0), (1.5, -5.0, 1.5)]
)
def test_the_bucket_refills_up_to_its_burst(tokens: float, seconds: float, expected: float) -> None:
    """Tokens refill at the queue's rate up to the burst, and never decrease when a clock steps back."""
    limits = DispatchLimits(max_dispatches_per_second=10.0, max_concurrent_dispatches=1)
    assert refilled(tokens, 1000.0, limits, 1000.0 + seconds) == pytest.approx(expected)


def test_a_bucket_that_opens_holds_a_token_then() -> None:
    """At the instant that a claim names for the next dispatch, the bucket holds a token."""
    limits = DispatchLimits(max_dispatches_per_second=0.3, max_concurrent_dispatches=5)
    now = 1_800_000_000.123
    opens_at = capacity(a_claim(), limits, a_load(tokens=0.1), now).opens_at
    assert opens_at is not None
    assert refilled(0.1, now, limits, opens_at) >= 1


def test_tickets_first_then_due_then_as_added() -> None:
    """Jobs with a ticket come first, then jobs due longest, then jobs added first."""
    candidates = [
        Candidate("c", ALPHA, 10.0, 3),
        Candidate("b", BETA, 10.0, 2),
        Candidate("a", AUTO, 5.0, 9),
        Candidate("t", TICKET, 50.0, 10),
    ]
    allowed = capacity(a_claim(), WIDE, IDLE, 100.0)
    assert [one.job_id for one in select(candidates, allowed)] == ["t", "a", "b", "c"]


lanes = st.sampled_from([ALPHA, BETA, AUTO, TICKET, TICKET_MARK + BETA])
few = st.integers(0, 6)


@given(
    slots=st.fixed_dictionaries({ALPHA: few, BETA: few}),
    in_flight=st.dictionaries(st.sampled_from([ALPHA, BETA]), few),
    wanting=st.dictionaries(st.sampled_from([ALPHA, BETA, AUTO]), few),
    auto=st.none() | st.sets(st.sampled_from([ALPHA, BETA])),
    leased=few,
    concurrent=st.integers(1, 8),
    tokens=st.floats(0, 10),
    count=st.integers(1, 10),
    waiting=st.lists(st.tuples(lanes, st.integers(0, 5)), max_size=30),
)
def test_a_choice_never_exceeds_a_limit_and_leaves_no_room_unused(
    slots: dict[str, int],
    in_flight: dict[str, int],
    wanting: dict[str, int],
    auto: set[str] | None,
    leased: int,
    concurrent: int,
    tokens: float,
    count: int,
    waiting: list[tuple[str, int]],
) -> None:
    """For any candidates, no slot is overbooked, no limit exceeded, and no job is left without a reason."""
    request = a_claim(slots=slots, auto_services=auto, count=count)
    limits = DispatchLimits(max_dispatches_per_second=1.0, max_concurrent_dispatches=concurrent)
    allowed = capacity(request, limits, Load(leased, in_flight, wanting, tokens), 10.0)
    candidates = [Candidate(f"j{number}", lane, float(due), number) for number, (lane, due) in enumerate(waiting)]
    chosen = select(candidates, allowed)
    taken = Counter(one.lane for one in chosen)
    assert len(chosen) <= min(count, max(0, concurrent - leased), int(tokens))
    free = {name: max(0, slots[name] - in_flight.get(name, 0) - wanting.get(name, 0)) for name in slots}
    shared = request.open_to_all
    assert all(taken[name] <= free[name] for name in slots)
    if taken[AUTO]:  # each must find a slot, whichever jobs come before it
        assert taken[AUTO] + sum(taken[name] for name in shared) + wanting.get(AUTO, 0) <= sum(
            free[name] for name in shared
        )
    if len(chosen) < allowed.total:
        for left in {one.job_id: one for one in candidates if one not in chosen}.values():
            again = capacity(
                request,
                limits,
                Load(leased, in_flight, Counter(wanting) + Counter({n: taken[n] for n in (ALPHA, BETA, AUTO)}), tokens),
                10.0,
            )
            assert again.openings[left.lane] == 0 or taken[left.lane] == allowed.openings[left.lane]
