"""Shared by the commands that add many jobs: reading topics, showing a plan, adding with a progress bar."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli.advice import advise, next_step
from tenxsom_flow_engine.cli.console import Exit, info, on_terminal, out, problem
from tenxsom_flow_engine.cli.exit_codes import INTERRUPTED, PARTLY, USAGE, exit_code
from tenxsom_flow_engine.cli.program import program
from tenxsom_flow_engine.cli.signals import deferred_interrupt
from tenxsom_flow_engine.errors import Action, QueueError, StoreError
from tenxsom_flow_engine.text import one_line, plural, usd

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.planning.entries import BadLine
    from tenxsom_flow_engine.planning.made import MadeTopics
    from tenxsom_flow_engine.planning.plan import AddPlan, Row
    from tenxsom_flow_engine.planning.prepared import Prepared
    from tenxsom_flow_engine.store.values import Added, NewJob

#: Maximum number of invalid lines, and of notes, printed one by one.
MAX_LISTED = 20
#: Maximum number of ids printed on a terminal.
MAX_IDS = 10
#: Jobs added in one call. Ctrl-C takes effect between two calls.
CHUNK_JOBS = 1000
_IGNORE = "leave out unknown fields with --ignore-unknown"
#: Next step after a partial addition.
SAME_COMMAND = "run the same command again to add the rest"


class TopicsFile(click.File):
    """A file of topics, or `-` for standard input, as a binary stream that has the file's name."""

    name = "file"

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Open the file; a folder or a file that cannot be read is a usage error."""
        stream = super().convert(value, param, ctx)
        return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)


def file_name(stream: io.BufferedReader) -> str:
    """Return the name of a topics stream for messages."""
    name = str(getattr(stream, "name", "-"))
    return "standard input" if name in ("-", "<stdin>", "0") else name


@contextlib.contextmanager
def reading(stream: io.BufferedReader) -> Iterator[str]:
    """Yield the name of a topics stream; end the command if it cannot be read."""
    from tenxsom_flow_engine.planning.entries import UnknownFields
    from tenxsom_flow_engine.planning.lines import NotUtf8

    name = file_name(stream)
    try:
        yield name
    except UnknownFields as error:
        raise Exit(problem(error.message, f"rename or remove them, or {_IGNORE}"), USAGE) from error
    except NotUtf8 as error:
        step = f"save the file as UTF-8, or pass --encoding {error.code_page} if that line is right"
        raise Exit(problem(error.message, step), USAGE) from error
    except OSError as error:
        raise Exit(problem(f"{name} cannot be read: {error.strerror or error}"), USAGE) from error


def check_lines(name: str, good: Sequence[Any], bad: Sequence[BadLine], *, keep_going: bool | None = None) -> None:
    """Print the invalid lines of a file.

    End the command if no line is valid, or if one is invalid without `keep_going` (None: no such option).
    """
    for line in bad[:MAX_LISTED]:
        info(f"{name} line {line.line}: {line.reason}")
    if len(bad) > MAX_LISTED:
        info(f"{name}: and {plural(len(bad) - MAX_LISTED, 'more invalid line')}")
    if bad and not keep_going:
        fix = f"fix {'it' if len(bad) == 1 else 'them'}"
        fix += f", or skip {'it' if len(bad) == 1 else 'them'} with --keep-going" if keep_going is False else ""
        fix += f", or {_IGNORE}" if any(line.unknown_field for line in bad) else ""
        raise Exit(problem(f"nothing was added: {plural(len(bad), 'invalid line')}", fix), USAGE)
    if not good:
        raise Exit(problem(f"{name} has no {'valid ' if bad else ''}topics", "write one per line"), USAGE)


def check_past(name: str, plan: AddPlan) -> None:
    """Print the times of a file that lie in the past, or what becomes of their jobs; end the command to refuse them."""
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.planning.past import Past

    if not plan.past:
        return
    count = plural(len(plan.past), "job")
    if plan.past_choice is Past.NOW:
        info(f"{count} with a time in the past will start as if no time were set")
    elif plan.past_choice is Past.SKIP:
        info(f"left out {count} with a time in the past")
    else:
        for one in plan.past[:MAX_LISTED]:
            info(f"{name} line {one.line}: {iso(one.at)} lies in the past")
        if len(plan.past) > MAX_LISTED:
            info(f"{name}: and {plural(len(plan.past) - MAX_LISTED, 'more time')} in the past")
        whole = len(plan.past) + len(plan.jobs)
        why = f"nothing was added: the times of {len(plan.past):,} of {plural(whole, 'job')} lie in the past"
        raise Exit(problem(why, "correct them, start these jobs with --past now, or skip them with --past skip"), USAGE)


def print_made(made: MadeTopics | None) -> None:
    """Print the topics that were skipped because the channel has made or planned them."""
    from tenxsom_flow_engine.clock import iso

    skipped = made.skipped if made else ()
    if not skipped:
        return
    for one in skipped[:MAX_LISTED]:
        when = f"made {iso(one.made_at)}" if one.made_at is not None else "planned"
        info(f"skipped {one_line(one.topic, 100)}: {when}, job {one.job_id}")
    if len(skipped) > MAX_LISTED:
        info(f"and {plural(len(skipped) - MAX_LISTED, 'more topic')}")
    info(f"skipped {plural(len(skipped), 'topic')} that the channel has made or planned")


def describe_made(made: MadeTopics | None) -> list[dict[str, Any]]:
    """Return the skipped topics as plain values."""
    from tenxsom_flow_engine.clock import iso

    return [
        {"topic": one.topic, "job_id": one.job_id, "made_at": iso(one.made_at) if one.made_at is not None else None}
        for one in (made.skipped if made else ())
    ]


def print_left_out(comments: int, ignored: Iterable[str]) -> None:
    """Print what was left out of a file: comments, and the values of unknown fields."""
    if comments:
        info(f"skipped {plural(comments, 'comment line')}")
    if names := ", ".join(ignored):
        info(f"left out unknown fields: {one_line(names, 200)}")


def print_notes(plan: AddPlan) -> None:
    """Print the adjustments that were made to fit the services: each once, with its number of jobs."""
    for note, times in plan.notes[:MAX_LISTED]:
        info(f"note: {note}" + (f" ({plural(times, 'job')})" if times > 1 else ""))
    if len(plan.notes) > MAX_LISTED:
        info(f"and {plural(len(plan.notes) - MAX_LISTED, 'more note')}")


def print_overruns(engine: Engine, jobs: Sequence[Prepared]) -> list[str]:
    """Print which new jobs do not fit into the budgets; return the sentences."""
    from tenxsom_flow_engine.planning.plan import new_ones

    found = [str(one) for one in engine.overruns(new_ones(jobs, engine.store))] if engine.budgets.budgets() else []
    for sentence in found[:MAX_LISTED]:
        info(f"budget: {sentence}")
    if len(found) > MAX_LISTED:
        info(f"and {plural(len(found) - MAX_LISTED, 'more period')} without enough budget")
    return found


def describe_row(row: Row) -> dict[str, Any]:
    """Return a job of a plan as plain values."""
    from tenxsom_flow_engine.clock import iso

    return {
        "job_id": row.job_id,
        "state": "known" if row.known else "new",
        "start": iso(row.start) if row.start is not None else None,
        "service": row.service,
        "duration": row.duration,
        "cost_usd": row.usd,
        "max_usd": row.max_usd,
        "topic": row.topic,
        "prompt": row.prompt or None,
    }


def price(jobs: Iterable[NewJob]) -> str:
    """Return the expected cost of jobs, for the end of a sentence; nothing if they are free."""
    from tenxsom_flow_engine.planning.plan import Price

    expected = Price.of((job.cost.usd if job.cost else None, job.max_usd) for job in jobs)
    return "" if expected.free else f", {expected}"


def _price_range(row: Row) -> str:
    lowest, highest = usd(row.usd), usd(row.max_usd)
    return lowest if row.max_usd is None or lowest == highest else f"{lowest} to {highest}"


def print_plan(plan: Sequence[Row]) -> None:
    """Print a plan as a table, with the expected cost of its new jobs."""
    from tenxsom_flow_engine.cli.format import short_time, table
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.planning.plan import Totals

    rows: list[list[str]] = []
    for row in plan:
        start = short_time(iso(row.start)) if row.start is not None else "" if row.known else "now"
        rows.append(
            [
                start,
                row.job_id,
                "exists" if row.known else "new",
                row.service,
                f"{row.duration} s",
                _price_range(row),
                row.topic,
            ]
        )
    if rows:
        head = ("START (UTC)", "JOB", "STATE", "SERVICE", "LENGTH", "COST", "TOPIC")
        out(table(rows, head=head, may_cut=("TOPIC", "JOB")))
    totals = Totals.of(plan)
    known = f"; {totals.known:,} already {'exists' if totals.known == 1 else 'exist'}" if totals.known else ""
    info(f"{plural(totals.new, 'new job')}, {totals.price}{known}")


def add_and_report(
    engine: Engine,
    jobs: Sequence[NewJob],
    *,
    facts: dict[str, Any] | None,
    known: Sequence[str] = (),
    rest: str = SAME_COMMAND,
) -> None:
    """Add jobs and report the result; print the new ids, or `facts` and the ids of new and known jobs as JSON.

    `known` lists jobs that were left out because they exist. If only some jobs were added, report that, then end the
    command; `rest` says how to add the others.
    """
    from tenxsom_flow_engine.cli.format import print_json

    added, stop = _add_all(engine, jobs, rest)
    known = [*known, *added.known]
    before = f"; {len(known):,} already existed" if known else ""
    new = set(added.new)
    costs = price(item for item in jobs if item.job.job_id in new)
    info(f"added {plural(len(new), 'job')} to the {engine.queue.name} queue{costs}{before}")
    if facts is not None:
        print_json({"added": list(added.new), "known": list(known), **facts})
    else:
        # A person needs a few of many ids, a program all of them.
        shown = added.new[:MAX_IDS] if on_terminal(sys.stdout) else added.new
        for job_id in shown:
            out(job_id)
        if len(shown) < len(added.new):
            info(f"and {len(added.new) - len(shown):,} more; list them with: {program()} jobs --sort due")
    if stop:
        raise stop
    print_home_notes(engine)
    if added.new:
        print_obstacles(engine)


def print_home_notes(engine: Engine) -> None:
    """Print which server a fresh home has adopted, and where else this home has unfinished jobs."""
    if engine.home and engine.home.choice.fresh and engine.home.choice.queue_type == "redis":
        info(
            f"note: no setting names a queue, so this home uses the server {engine.store.place} from now on; "
            "to use another queue, set TENXSOM_QUEUE_TYPE or REDIS_URL"
        )
    for other in engine.other_stores:
        step = advise("", (Action.LIST_OTHER_QUEUE,), other.queue_type)
        unfinished = plural(other.unfinished, "unfinished job")
        info(f"note: this home has {unfinished} in another store, {other.place}; {step}")


def print_obstacles(engine: Engine) -> None:
    """Print what keeps jobs from starting: a paused queue, no worker."""
    if engine.paused:
        info(f"the queue is paused; {advise('', (Action.RESUME_QUEUE,))}")
    if engine.unattended:
        info(f"no worker is running; {advise('', (Action.START_WORKER,))}")


def _add_all(engine: Engine, jobs: Sequence[NewJob], rest: str) -> tuple[Added, Exit | None]:
    """Add jobs, with a progress bar on a terminal; return the result, and the reason if it is incomplete."""
    from tenxsom_flow_engine.store.values import Added

    new: list[str] = []
    known: list[str] = []
    stop: Exit | None = None
    hidden = not on_terminal(sys.stderr)
    with (
        deferred_interrupt() as interrupt,
        click.progressbar(length=len(jobs), label="adding jobs", file=sys.stderr, hidden=hidden) as bar,
    ):
        for begin in range(0, len(jobs), CHUNK_JOBS):
            progress = f"after {begin:,} of {plural(len(jobs), 'job')}"
            if interrupt.received:
                stop = Exit(f"interrupted {progress}; {rest}", INTERRUPTED)
                break
            chunk = jobs[begin : begin + CHUNK_JOBS]
            try:
                added = engine.add(chunk)
            except (StoreError, QueueError) as error:
                if not new and not known:
                    raise
                why = problem(f"{error.message}, {progress}", next_step(error))
                stop = Exit(f"{why}; {rest}", PARTLY if new else exit_code(error))
                break
            new += added.new
            known += added.known
            bar.update(len(chunk))
    return Added(tuple(new), tuple(known)), stop
