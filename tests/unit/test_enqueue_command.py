"""Messages and exit codes of commands that add many jobs, tested with faults."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import cast

import pytest

from tenxsom_flow_engine.cli.console import Exit, on_terminal
from tenxsom_flow_engine.cli.enqueue import CHUNK_JOBS, add_and_report, price, print_notes, print_plan
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import Cost, VideoJob
from tenxsom_flow_engine.planning.plan import AddPlan, Row
from tenxsom_flow_engine.planning.prepared import Prepared
from tenxsom_flow_engine.store.values import Added, NewJob


def jobs(number: int) -> list[NewJob]:
    return [NewJob(VideoJob(job_id=f"j{n}", topic="x", created_at=0.0)) for n in range(number)]


def engine(fault: Callable[[int], None]) -> Engine:
    """Return an engine whose queue fails at a fault, which is called with the number of jobs added so far."""
    taken: list[str] = []

    def enqueue(chunk: Iterable[NewJob]) -> Added:
        fault(len(taken))
        new = tuple(item.job.job_id for item in chunk)
        taken.extend(new)
        return Added(new, ())

    queue = SimpleNamespace(name="local")
    return cast(
        Engine,
        SimpleNamespace(queue=queue, add=enqueue, home=None, other_stores=(), paused=False, unattended=False),
    )


@pytest.mark.parametrize("again", [1, 2])
def test_ctrl_c_ends_after_the_current_chunk(capsys: pytest.CaptureFixture[str], again: int) -> None:
    """After an interruption, the added jobs are printed and counted, with the way to add the rest."""

    def interrupt(taken: int) -> None:
        if taken == CHUNK_JOBS:
            for _ in range(again):
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Exit if again == 1 else KeyboardInterrupt) as stop:
        add_and_report(engine(interrupt), jobs(5 * CHUNK_JOBS), facts=None)
    assert signal.getsignal(signal.SIGINT) is before
    if isinstance(stop.value, Exit):
        assert stop.value.message == "interrupted after 2,000 of 5,000 jobs; run the same command again to add the rest"
        assert stop.value.code == 130
        assert len(capsys.readouterr().out.split()) == 2 * CHUNK_JOBS


def test_a_store_that_fails_in_the_middle_leaves_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    """After a failure, the message says how many jobs were added and that the same command adds the rest."""

    def fail(taken: int) -> None:
        if taken == 3 * CHUNK_JOBS:
            raise StoreFull("the disk is full", next_step="make room")

    with pytest.raises(Exit) as stop:
        add_and_report(engine(fail), jobs(5 * CHUNK_JOBS), facts={"bad_lines": 0})
    assert stop.value.message == (
        "error: the disk is full, after 3,000 of 5,000 jobs; make room; run the same command again to add the rest"
    )
    assert stop.value.code == 3
    assert '"j2999"\n' in capsys.readouterr().out


def test_a_store_that_is_not_there_is_its_own_error() -> None:
    """If nothing was added, the message does not mention a part."""

    def fail(taken: int) -> None:
        raise StoreUnavailable("the server is away")

    with pytest.raises(StoreUnavailable):
        add_and_report(engine(fail), jobs(5), facts=None)


def test_adjustments_are_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand jobs with the same note are one line."""
    (new,) = jobs(1)
    noted = (("7 s become 8 s",),) * 3 + (("no sound",), ())
    print_notes(AddPlan([Prepared(new, "x", "", notes) for notes in noted]))
    assert capsys.readouterr().err == "note: 7 s become 8 s (3 jobs)\nnote: no sound\n"


def test_many_different_adjustments_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """The first 20 different notes are printed, and the number of the others."""
    (new,) = jobs(1)
    print_notes(AddPlan([Prepared(new, "x", "", (f"lasts {seconds} s",)) for seconds in range(30)]))
    printed = capsys.readouterr().err.splitlines()
    assert printed[-2:] == ["note: lasts 19 s", "and 10 more notes"]
    assert len(printed) == 21


@pytest.mark.parametrize(
    ("usd", "expected"),
    [([], ""), ([0.0], ""), ([0.5, 0.25], ", about $0.75"), ([0.5, None], ", about $0.50 and 1 of unknown price"),
     ([None], ", of unknown price"), ([None, None], ", of unknown price")],
)  # fmt: skip
def test_the_estimated_cost_of_jobs(usd: list[float | None], expected: str) -> None:
    """An unknown price is never shown as zero."""
    new = [NewJob(job.job, cost=Cost(usd=amount)) for job, amount in zip(jobs(len(usd)), usd, strict=True)]
    assert price(new) == expected


def test_a_plan_adds_up_new_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    """Existing jobs cost nothing again, and unknown prices are counted separately."""
    print_plan(
        [
            Row("j", "t", known, start=None, service="x", duration=5, usd=usd, prompt="")
            for known, usd in ((False, 0.5), (True, 0.5), (False, None))
        ]
    )
    told = capsys.readouterr()
    assert told.err == "2 new jobs, about $0.50 and 1 of unknown price; 1 already exists\n"
    assert told.out.splitlines()[0].split() == ["START", "(UTC)", "JOB", "STATE", "SERVICE", "LENGTH", "COST", "TOPIC"]


def test_a_missing_stream_is_not_a_terminal() -> None:
    """A process can run without its standard streams."""
    assert not on_terminal(None)
