"""What the commands share that add many jobs: reading topics, showing a plan, adding with a progress bar."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli.console import (
    INTERRUPTED,
    PARTLY,
    USAGE,
    Exit,
    count,
    exit_code,
    info,
    on_terminal,
    out,
    problem,
)
from tenxsom_flow_engine.errors import QueueError, StoreError

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.planning.files import BadLine
    from tenxsom_flow_engine.planning.plan import AddPlan, Row
    from tenxsom_flow_engine.store.values import Added, NewJob

#: Bad lines that are told one by one.
MOST_TOLD = 20
#: Jobs added at once: Ctrl-C waits for no more.
CHUNK_JOBS = 1000
#: How to go on after a part was added.
SAME_COMMAND = "run the same command again to add the rest"


class TopicsFile(click.File):
    """A file of topics, or `-` for standard input. Gives a binary stream and knows the file's name."""

    name = "file"

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Open the file; a folder or a file that cannot be read is a usage error."""
        stream = super().convert(value, param, ctx)
        return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)


def file_name(stream: io.BufferedReader) -> str:
    """Return what to call a stream of topics."""
    name = str(getattr(stream, "name", "-"))
    return "standard input" if name in ("-", "<stdin>", "0") else name


@contextlib.contextmanager
def reading(stream: io.BufferedReader) -> Iterator[str]:
    """Give the name of a stream of topics; ends the command if it cannot be read."""
    name = file_name(stream)
    try:
        yield name
    except OSError as error:
        raise Exit(problem(f"{name} cannot be read: {error.strerror or error}"), USAGE) from error


def check_lines(name: str, good: Sequence[Any], bad: Sequence[BadLine], *, keep_going: bool | None = None) -> None:
    """Tell the bad lines of a file.

    Ends the command if there is nothing good, or anything bad without `keep_going` (None: there is no such option).
    """
    for line in bad[:MOST_TOLD]:
        info(f"{name} line {line.line}: {line.reason}")
    if len(bad) > MOST_TOLD:
        info(f"{name}: and {count(len(bad) - MOST_TOLD, 'more bad line')}")
    if bad and not keep_going:
        are = "is" if len(bad) == 1 else "are"
        mend = "mend " + ("it" if len(bad) == 1 else "them")
        rest = ", or add the rest with --keep-going" if keep_going is False else ""
        raise Exit(problem(f"nothing was added, since {count(len(bad), 'line')} {are} bad", mend + rest), USAGE)
    if not good:
        raise Exit(problem(f"{name} holds no {'good ' if bad else ''}topics", "write one a line"), USAGE)


def tell_notes(plan: AddPlan) -> None:
    """Say what was changed to fit the services, each change once with the number of its jobs."""
    for note, times in plan.notes:
        info(f"note: {note}" + (f" ({count(times, 'job')})" if times > 1 else ""))


def describe_row(row: Row) -> dict[str, Any]:
    """Return a job of a plan as plain values."""
    from tenxsom_flow_engine.clock import iso

    return {
        "job_id": row.job_id,
        "state": _state(row),
        "start": iso(row.start) if row.start is not None else None,
        "service": row.service,
        "duration": row.duration,
        "cost_usd": row.usd,
        "topic": row.topic,
        "prompt": row.prompt or None,
    }


def price(jobs: Iterable[NewJob]) -> str:
    """Return what jobs are expected to cost, for the end of a sentence; nothing where they are free."""
    from tenxsom_flow_engine.planning.plan import Price

    expected = Price.of(job.cost.usd if job.cost else None for job in jobs)
    return "" if expected.free else f", {expected}"


def print_plan(plan: Sequence[Row]) -> None:
    """Print a plan as a table, with what its new jobs will cost where prices are known."""
    from tenxsom_flow_engine.cli.format import short_time, table
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.planning.plan import Totals

    rows: list[list[str]] = []
    for row in plan:
        cost = "?" if row.usd is None else f"{row.usd:.2f}"
        start = short_time(iso(row.start)) if row.start is not None else "" if row.known else "at once"
        rows.append([start, row.job_id, _state(row), row.service, f"{row.duration} s", cost, row.topic])
    if rows:
        head = ("START (UTC)", "JOB", "STATE", "SERVICE", "LONG", "USD", "TOPIC")
        out(table(rows, head=head, may_cut=("TOPIC", "JOB")))
    totals = Totals.of(plan)
    known = f"; {count(totals.known, 'other')} known already" if totals.known else ""
    info(f"{count(totals.new, 'new job')}, {totals.price}{known}")


def _state(row: Row) -> str:
    return "known" if row.known else "new"


def add_and_tell(
    engine: Engine,
    jobs: Sequence[NewJob],
    *,
    facts: dict[str, Any] | None,
    known: Sequence[str] = (),
    rest: str = SAME_COMMAND,
) -> None:
    """Add jobs and say what came of it; print the new ids, or `facts` and both kinds of ids as JSON.

    The jobs `known` were left out, since the store has them. Ends the command, after it has told what was added, if a
    part is missing: `rest` says how to add that.
    """
    from tenxsom_flow_engine.cli.format import print_json

    added, stop = _add_all(engine, jobs, rest)
    known = [*known, *added.known]
    before = f"; {len(known):,} {'was' if len(known) == 1 else 'were'} added before and not again" if known else ""
    new = set(added.new)
    costs = price(item for item in jobs if item.job.job_id in new)
    info(f"added {count(len(new), 'job')} to the {engine.queue.name} queue ({engine.queue_reason}){costs}{before}")
    if facts is not None:
        print_json({"added": list(added.new), "known": list(known), **facts})
    else:
        for job_id in added.new:
            out(job_id)
    if stop:
        raise stop
    if added.new and engine.unattended:
        info("no worker is running: start one with: python3 worker.py")


def _add_all(engine: Engine, jobs: Sequence[NewJob], rest: str) -> tuple[Added, Exit | None]:
    """Add jobs, with a progress bar on a terminal, and return what was added, and why not all of it was."""
    from tenxsom_flow_engine.store.values import Added

    new: list[str] = []
    known: list[str] = []
    stop: Exit | None = None
    hidden = not on_terminal(sys.stderr)
    with (
        _noting_interrupts() as interrupts,
        click.progressbar(length=len(jobs), label="adding jobs", file=sys.stderr, hidden=hidden) as bar,
    ):
        for begin in range(0, len(jobs), CHUNK_JOBS):
            far = f"after {begin:,} of {count(len(jobs), 'job')}"
            if interrupts:
                stop = Exit(f"interrupted {far}; {rest}", INTERRUPTED)
                break
            chunk = jobs[begin : begin + CHUNK_JOBS]
            try:
                added = engine.queue.enqueue(chunk)
            except (StoreError, QueueError) as error:
                if not new and not known:
                    raise
                why = problem(f"{error.message}, {far}", error.next_step)
                stop = Exit(f"{why}; {rest}", PARTLY if new else exit_code(error))
                break
            new += added.new
            known += added.known
            bar.update(len(chunk))
    return Added(tuple(new), tuple(known)), stop


@contextlib.contextmanager
def _noting_interrupts() -> Iterator[list[int]]:
    """Note a Ctrl-C in the list that this gives; a second one interrupts as usual."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
