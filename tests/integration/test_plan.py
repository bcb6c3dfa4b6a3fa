"""Plans: a preview of adding jobs, which stays the same when it is computed again."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.batch import Timing
from tenxsom_flow_engine.planning.past import Past, PastStart
from tenxsom_flow_engine.planning.plan import AddPlan, Price, Totals, read_plan
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import Retention
from tenxsom_flow_engine.testing.clock import ManualClock

PIXVERSE = {"USEAPI_TOKEN": "user:1-abc"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(load({"TENXSOM_HOME": str(tmp_path)} | PIXVERSE), "local", clock=ManualClock(1000.0)) as opened:
        yield opened


def plan(engine: Engine, text: str, timing: Timing | None = None, *, salt: str = "", **defaults: Any) -> AddPlan:
    stream: io.BufferedReader = io.BufferedReader(io.BytesIO(text.encode()))
    timing = timing or Timing(engine.store.now())
    return read_plan(engine.prepare, engine.store, stream, "topics", defaults, timing, salt=salt, zone=UTC)


def test_a_plan_separates_new_and_known_jobs_and_adds_up_the_new_ones(engine: Engine) -> None:
    """An existing job is shown with its state in the store, costs nothing again, and is not added again."""
    engine.queue.enqueue(plan(engine, "Tides\n").new)
    planned = plan(engine, "Tides\nDreams\n\nSalt\n")
    rows = planned.rows(engine.store)
    assert [(row.topic, row.known, row.service) for row in rows] == [
        ("Tides", True, "auto"), ("Dreams", False, "pixverse"), ("Salt", False, "pixverse")
    ]  # fmt: skip
    assert rows[1].usd
    assert rows[1].prompt.startswith("Dreams.")
    totals = Totals.of(rows)
    assert (totals.new, totals.known) == (2, 1)
    assert str(totals.price) == f"about ${2 * rows[1].usd:.2f}"
    assert len(engine.queue.enqueue(planned.new).new) == 2
    assert Totals.of(planned.rows(engine.store)) == Totals(0, 3, Price(0, 0, 0))


@pytest.mark.parametrize("salt", ["", "again"])
def test_a_plan_is_the_same_also_after_a_part_of_it_was_added(engine: Engine, salt: str) -> None:
    """Jobs that an interruption left out are added at the displayed times, not all at the start."""
    assert isinstance(engine.clock, ManualClock)
    engine.queue.enqueue(plan(engine, "Tides\n").new)
    engine.clock.advance(5.0)
    text, timing = "Tides\nDreams\nSalt\nRain\n", Timing(engine.store.now(), stagger=60.0)
    shown = plan(engine, text, timing, salt=salt)
    starts = {item.job.topic: item.due for item in shown.new}
    assert starts["Dreams"] == timing.now + (60.0 if salt else 0.0)
    engine.queue.enqueue(shown.new[:3])
    engine.clock.advance(3600.0)
    again = plan(engine, text, timing, salt=salt)
    assert again == shown
    assert again.digest == shown.digest
    assert len(engine.queue.enqueue(again.new).new) == 1


def test_another_plan_has_another_digest(engine: Engine) -> None:
    """Any change of a line, setting, time, adjustment or price changes the digest."""

    def changed(text: str = "Tides\nDreams\n", **ways: Any) -> str:
        return plan(engine, text, ways.pop("timing", Timing(1000.0)), **ways).digest

    digests = [
        changed(), changed("Tides\nDream\n"), changed("Dreams\nTides\n"), changed("Tides\n"), changed(duration=6),
        changed(service="draft"), changed(salt="x"), changed(timing=Timing(1001.0)),
        changed(timing=Timing(1000.0, stagger=1.0)), changed("Tides\nDreams\n" + "x" * 501),
        changed("Tides\nDreams\n" + "x" * 502),
    ]  # fmt: skip
    assert len(set(digests)) == len(digests)
    assert changed() == digests[0]


def test_another_price_is_another_plan(tmp_path: Path) -> None:
    """A plan that was shown at one price is not added at another."""
    digests = set()
    for prices in ("540p=5", "540p=6"):
        environment = {"TENXSOM_HOME": str(tmp_path), "USEAPI_PIXVERSE_PRICES": prices} | PIXVERSE
        with open_engine(load(environment), "local", clock=ManualClock(1000.0)) as engine:
            digests.add(plan(engine, "Tides", service="pixverse", quality="540p").digest)
    assert len(digests) == 2


def test_a_bad_line_names_the_default_that_spoils_it(engine: Engine) -> None:
    """An error in a form names its field, and an error in a line names the line."""
    lines = '{"topic": "a"}\n{"topic": "b", "duration": 99}\n{"topic": "c", "duration": 5}\n{"topic": ""}\n'
    bad = plan(engine, lines, service="pixverse", duration=98).bad
    assert [(line.line, line.default) for line in bad] == [(1, "duration"), (2, ""), (4, "")]
    assert "not 98" in bad[0].reason
    options = {"pixverse": {"seed": "x"}}
    assert [line.default for line in plan(engine, "a\n", service="pixverse", options=options).bad] == ["options"]


def test_moments_without_a_zone_are_in_the_given_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times without a zone use the given zone, not this machine's."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    import time

    time.tzset()
    try:
        for lines in ('{"topic": "a", "at": "2026-12-24T18:00"}\n', "topic,at\na,2026-12-24T18:00\n"):
            assert [item.due for item in plan(engine, lines).new] == [1798135200.0]
    finally:
        monkeypatch.undo()
        time.tzset()


CALENDAR = "".join(f"topic {n},1970-01-01T00:{n:02}:00\n" for n in range(30))


def calendar(engine: Engine, past: Past = Past.REFUSE, lines: str = CALENDAR, **how: Any) -> AddPlan:
    return plan(engine, f"topic,at\n{lines}", Timing(engine.store.now(), past=past, **how))


def test_times_in_the_past_are_refused(engine: Engine) -> None:
    """A list with times in the past is refused as a whole; a time that has just passed still means now."""
    refused = calendar(engine)  # at 00:16:40
    assert refused.refused
    assert [one.line for one in refused.past] == list(range(2, 18))
    assert refused.past[0].at == 0.0
    assert [item.due for item in refused.new] == [n * 60.0 for n in range(16, 30)]
    assert not calendar(engine, lines="Tides,1970-01-01T00:15:40\n").past


@pytest.mark.parametrize(("past", "jobs"), [(Past.NOW, 30), (Past.SKIP, 14)])
def test_times_in_the_past_can_be_ignored_or_skipped(engine: Engine, past: Past, jobs: int) -> None:
    """By choice, jobs with a time in the past start like jobs without a time, or are left out."""
    planned = calendar(engine, past)
    assert not planned.refused
    assert len(planned.past) == 16
    assert len(engine.queue.enqueue(planned.new).new) == jobs
    assert [item.due for item in planned.new if item.due is None] == [None] * (jobs - 14)


def test_jobs_without_waiting_for_their_past_time_are_staggered(engine: Engine) -> None:
    """With a stagger, jobs that do not wait for their past time do not start all at once."""
    starts = [item.due for item in calendar(engine, Past.NOW, stagger=60.0).new]
    assert starts[:16] == [1000.0 + 60.0 * n for n in range(16)]


@pytest.mark.parametrize("past", list(Past))
def test_a_list_can_be_planned_again_after_its_times_have_passed(engine: Engine, past: Past) -> None:
    """The time of an added job is not a time in the past, even after its record was trimmed."""
    lines = "Tides,1970-01-01T00:20:00\nDreams,1970-01-01T00:20:00\n"
    added = engine.queue.enqueue(calendar(engine, lines=lines).new)
    engine.clock.advance(1e6)  # type: ignore[attr-defined]
    engine.store.cancel(added.new[0])
    engine.clock.advance(1e6)  # type: ignore[attr-defined]
    engine.store.trim(Retention(age=1.0, count=0))
    assert engine.store.get(added.new[0]) is None
    again = calendar(engine, past, lines=lines)
    assert not again.past
    assert engine.queue.enqueue(again.new).known == added.new
    assert calendar(engine, past, lines=lines + "Salt,1970-01-01T00:20:00\n").past == [PastStart(4, 1200.0)]


def test_a_plan_counts_what_a_list_leaves_out(engine: Engine) -> None:
    """Comments and ignored columns are part of the plan; more entries than allowed are an error."""
    assert plan(engine, "# a list\nTides\n# end\n#1 of 5\n").comments == 2
    stream: io.BufferedReader = io.BufferedReader(io.BytesIO(b"topic,Notes\nTides,x\nDreams,y\n"))
    planned = read_plan(engine.prepare, engine.store, stream, "a", {}, Timing(1000.0), ignore_unknown=True, most=2)
    assert (len(planned.jobs), planned.ignored) == (2, ("Notes",))
    with pytest.raises(InvalidInput, match="have more than 2 entries"):
        read_plan(
            engine.prepare, engine.store, io.BufferedReader(io.BytesIO(b'["a", "b", "c"]')), "topics", {},
            Timing(1000.0), most=2,
        )  # fmt: skip


def test_changes_are_counted_over_the_whole_plan(engine: Engine) -> None:
    """A hundred lines with the same adjustment are one note."""
    lines = "".join(f"topic {n}\n" for n in range(100))
    ((note, times),) = plan(engine, lines, service="pixverse", duration=17).notes
    assert (note, times) == ("duration 15 instead of 17, which pixverse does not support", 100)
