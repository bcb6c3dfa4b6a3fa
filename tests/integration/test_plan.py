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
from tenxsom_flow_engine.planning.batch import Timing
from tenxsom_flow_engine.planning.plan import AddPlan, Price, Totals, read_plan
from tenxsom_flow_engine.settings import load
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


def test_changes_are_counted_over_the_whole_plan(engine: Engine) -> None:
    """A hundred lines with the same adjustment are one note."""
    lines = "".join(f"topic {n}\n" for n in range(100))
    ((note, times),) = plan(engine, lines, service="pixverse", duration=17).notes
    assert (note, times) == ("duration 15 instead of 17, which pixverse does not support", 100)
