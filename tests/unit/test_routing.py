"""`auto`: which service makes a job that names none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.generation.routing import auto_services, candidates, first_to_open
from tenxsom_flow_engine.jobs import AUTO, PLAYLIST_POSITION, Cost, VideoJob
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, a_job
from tenxsom_flow_engine.testing.services import ScriptedService
from tests.gates import ScriptedGates, priced_services

NOW = 1_800_000_000.0
JOB = a_job(service=AUTO)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def fallback_service(clock: ManualClock) -> ScriptedService:
    """Return a free fallback service."""
    service = ScriptedService(clock, name="draft", price=Cost(usd=0.0))
    service.is_fallback = True
    return service


def names(job: VideoJob, known: dict[str, VideoService]) -> list[str]:
    return [candidate.service.name for candidate in candidates(job, known)]


def test_the_cheaper_is_first_and_an_unknown_price_last(clock: ManualClock) -> None:
    """If several services can make a job, the cheapest is planned."""
    assert names(JOB, priced_services(clock, dear=0.9, unknown=None, cheap=0.1)) == ["cheap", "dear", "unknown"]


def test_a_named_service_is_the_only_one(clock: ManualClock) -> None:
    """A named service is used, even one that `auto` never chooses; an unknown one is refused."""
    known = priced_services(clock, alpha=0.9, beta=0.1)
    known[ALPHA].auto_selectable = False
    assert names(a_job(service=ALPHA), known) == [ALPHA]
    with pytest.raises(InvalidInput, match="unknown service 'gamma'"):
        candidates(a_job(service="gamma"), known)


def test_a_fallback_is_used_if_there_is_no_other_service(clock: ManualClock) -> None:
    """Drafts are chosen only if no paid service is configured or the job names them, never after a refusal."""
    known: dict[str, VideoService] = {"draft": fallback_service(clock)}
    assert auto_services(known) == {"draft"}
    paid = ScriptedService(clock, name=ALPHA, price=Cost(usd=0.5))
    known[ALPHA] = paid
    assert auto_services(known) == {ALPHA}
    assert names(JOB, known) == [ALPHA]
    assert names(a_job(service="draft"), known) == ["draft"]
    paid.unfit = InvalidInput("duration", "alpha makes 5 to 10 seconds")
    with pytest.raises(InvalidInput, match="alpha makes 5 to 10 seconds"):
        candidates(JOB, known)


def test_a_script_goes_to_a_service_that_uses_it(clock: ManualClock) -> None:
    """A job with a script goes to a service that shows or speaks it; if there is none, its plan has a note."""
    known = priced_services(clock, dear=0.9, cheap=0.1)
    scripted = a_job(service=AUTO, script="Tides rise.")
    assert names(scripted, known) == ["cheap", "dear"]
    assert candidates(scripted, known)[0].fit.notes == ("cheap neither shows nor speaks the script",)
    known["dear"].uses_scripts = True
    assert names(scripted, known) == ["dear"]
    assert candidates(scripted, known)[0].fit.notes == ()
    assert names(JOB, known) == ["cheap", "dear"]
    (named,) = candidates(a_job(service="cheap", script="Tides rise."), known)
    assert named.fit.notes == ("cheap neither shows nor speaks the script",)


def test_a_service_that_is_not_selectable_is_never_chosen(clock: ManualClock) -> None:
    """A service that is not selectable by `auto` gets no `auto` job, even if it is the only one."""
    known = priced_services(clock, simulated=0.0)
    known["simulated"].auto_selectable = False
    assert auto_services(known) == frozenset()
    with pytest.raises(InvalidInput, match="auto has none to choose from"):
        candidates(JOB, known)


def test_a_job_that_no_service_can_make_has_all_reasons(clock: ManualClock) -> None:
    """The refusal contains every service with its reason."""
    known = priced_services(clock, alpha=0.9, beta=0.1)
    for name, reason in ((ALPHA, "at most 10 seconds"), (BETA, "no portrait")):
        service = known[name]
        assert isinstance(service, ScriptedService)
        service.unfit = InvalidInput("duration", reason)
    with pytest.raises(InvalidInput) as refusal:
        candidates(JOB, known)
    assert "alpha: duration: at most 10 seconds; beta: duration: no portrait" in refusal.value.reason


def test_options_go_to_no_service_that_would_ignore_them(clock: ManualClock) -> None:
    """`auto` chooses among the services that a job has options for, even if another is cheaper or open."""
    known = priced_services(clock, dear=0.9, cheap=0.1, cheaper=0.05)
    known["draft"] = fallback_service(clock)
    script = {"script": "Tides rise."}
    assert names(a_job(service=AUTO, options={"dear": script}), known) == ["dear"]
    assert names(a_job(service=AUTO, options={"dear": script, "cheap": {}}), known) == ["cheap", "dear"]
    assert names(a_job(service=AUTO, options={PLAYLIST_POSITION: {"place": 3}}), known) == ["cheaper", "cheap", "dear"]
    assert names(a_job(service="cheap", options={"dear": script}), known) == ["cheap"]
    for name, lack in (("heygen", "heygen is not configured"), ("draft", "draft is used only for jobs that name it")):
        with pytest.raises(InvalidInput, match=lack) as refusal:
            candidates(a_job(service=AUTO, options={name: script}), known)
        assert refusal.value.field == f"options.{name}"
        assert refusal.value.next_step


def choose(known: dict[str, VideoService], gates: ScriptedGates, flying: dict[str, int]) -> str:
    return first_to_open(candidates(JOB, known), gates, lambda name: flying.get(name, 0), NOW)[1].service.name


def test_the_first_open_gate_wins_then_the_price(clock: ManualClock) -> None:
    """An open gate beats a lower price; of two open services the cheaper is chosen, whenever it opened."""
    known, gates = priced_services(clock, dear=0.9, cheap=0.1), ScriptedGates(clock)
    assert choose(known, gates, {}) == "cheap"
    gates.opening = {"dear": NOW - 100, "cheap": NOW - 1}
    assert choose(known, gates, {}) == "cheap"
    gates.opening = {"cheap": NOW + 1}
    assert choose(known, gates, {}) == "dear"
    gates.opening = {"cheap": NOW + 30, "dear": math.inf}
    assert choose(known, gates, {}) == "cheap"


def test_full_slots_count_as_a_closed_gate(clock: ManualClock) -> None:
    """A full service is skipped, unless the alternative is stopped."""
    known, gates = priced_services(clock, dear=0.9, cheap=0.1), ScriptedGates(clock)
    assert choose(known, gates, {"cheap": 100}) == "dear"
    assert choose(known, gates, {"cheap": 99}) == "cheap"
    assert choose(known, gates, {"cheap": 100, "dear": 100}) == "cheap"
    gates.opening = {"dear": math.inf}
    assert choose(known, gates, {"cheap": 100}) == "cheap"


_worlds = st.lists(st.tuples(st.floats(0, 9), st.integers(-50, 50), st.booleans()), min_size=1, max_size=5)


@given(_worlds)
def test_no_better_candidate_is_skipped(world: list[tuple[float, int, bool]]) -> None:
    """For any prices, gates and slots, no other candidate opens earlier, or as early at a lower price."""
    clock = ManualClock(NOW)
    known = priced_services(clock, **{f"s{n}": price for n, (price, _, _) in enumerate(world)})
    gates = ScriptedGates(clock)
    gates.opening = {f"s{n}": NOW + later for n, (_, later, _) in enumerate(world)}
    flying = {f"s{n}": 100 for n, (_, _, full) in enumerate(world) if full}
    chosen = world[int(choose(known, gates, flying)[1:])]
    order = [(max(later, 5 if full else 0), price) for price, later, full in (chosen, *world)]
    assert order[0] == min(order)
