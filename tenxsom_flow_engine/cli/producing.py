"""What the commands share that add many jobs: telling bad lines, showing a plan, adding with a progress bar."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli.exits import say

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine, Prepared
    from tenxsom_flow_engine.planning.files import BadLine
    from tenxsom_flow_engine.store.base import Added, NewJob

#: Bad lines that are told one by one.
MOST_TOLD = 20


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


def tell_bad_lines(bad: Sequence[BadLine], name: str) -> None:
    """Say what is wrong with each line, as far as a person reads."""
    for line in bad[:MOST_TOLD]:
        say(f"{name} line {line.line}: {line.reason}")
    if len(bad) > MOST_TOLD:
        say(f"{name}: and {len(bad) - MOST_TOLD:,} more bad lines")


def describe_plan(prepared: Prepared) -> dict[str, Any]:
    """Return a job that would be added, as plain values."""
    from tenxsom_flow_engine.clock import iso

    new = prepared.new
    return {
        "job_id": new.job.job_id,
        "start": iso(new.due) if new.due is not None else None,
        "service": prepared.service,
        "duration": new.job.duration,
        "cost_usd": new.cost.usd if new.cost else None,
        "topic": new.job.topic,
    }


def print_plan(plan: Sequence[dict[str, Any]]) -> None:
    """Print a plan as a table, with what it will cost where prices are known."""
    from tenxsom_flow_engine.cli.view import table

    head = ["START", "JOB", "SERVICE", "SECONDS", "USD", *(["STATE"] if plan and "state" in plan[0] else []), "TOPIC"]
    rows: list[list[str]] = []
    for item in plan:
        cost = "?" if item["cost_usd"] is None else f"{item['cost_usd']:.2f}"
        start = item["start"][:19] + "Z" if item["start"] else "at once"
        state = [item["state"]] if "state" in item else []
        rows.append([start, item["job_id"], item["service"], str(item["duration"]), cost, *state, item["topic"]])
    click.echo(table(head, rows))
    known = [item["cost_usd"] for item in plan if item["cost_usd"] is not None]
    unpriced = len(plan) - len(known)
    say(f"{len(plan):,} jobs, about USD {sum(known):.2f}" + (f" and {unpriced:,} of unknown price" if unpriced else ""))


def add_all(engine: Engine, jobs: Sequence[NewJob]) -> Added:
    """Add jobs, with a progress bar on a terminal."""
    stream = sys.stderr
    with click.progressbar(length=len(jobs), label="adding jobs", file=stream, hidden=not stream.isatty()) as bar:

        def counted() -> Iterator[NewJob]:
            for done, job in enumerate(jobs):
                if done % 500 == 0:
                    bar.update(min(500, len(jobs) - done))
                yield job

        return engine.queue.enqueue(counted())


def tell_added(engine: Engine, added: Added) -> None:
    """Say what was added, what was there before, and whether anybody will work on it."""
    known = f"; {len(added.known):,} were added before, so they were not added again" if added.known else ""
    say(f"added {len(added.new):,} jobs to the {engine.queue.name} queue ({engine.choice.reason}){known}")
    if added.new and engine.queue.status().workers_alive == 0:
        say("no worker is running: start one with: python3 worker.py")
