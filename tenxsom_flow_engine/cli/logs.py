"""`logs`: the timeline of a job, or the lines of a log that are about it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.exit_codes import DONE, FAILED
from tenxsom_flow_engine.cli.job_names import job_id as named
from tenxsom_flow_engine.cli.job_names import the_job
from tenxsom_flow_engine.cli.program import Command, program
from tenxsom_flow_engine.cli.session import session

#: The command that prints the log of the workers that systemd runs (`deploy/systemd`).
_JOURNAL = "journalctl -u tenxsom-flow-worker -o cat"


@click.command(
    cls=Command,
    epilog=f"\b\nExamples:\n  {{program}} logs JOB --file worker.log\n  {_JOURNAL} | {{program}} logs JOB --file -",
)
@options.job_argument
@click.option("--file", type=click.File("rb"), help="A worker's log, or - for standard input: print the job's lines.")
@options.queue_type
def logs(job_id: str, file: BinaryIO | None, queue_type: str | None) -> int:
    """Print the timeline of a job, or its lines in a worker's log.

    Workers write one JSON object a line to standard error. With --file, the lines of this job are printed as text; the
    exit code is 1 if there are none.
    """
    from tenxsom_flow_engine.cli.format import job_as_dict, timeline

    with session(queue_type) as engine:
        if file is not None:
            job_id = named(engine.store, job_id)
        else:
            facts = job_as_dict(the_job(engine.store, job_id), engine.store.now())
            for line in timeline(facts["events"]):
                out(line)
    if file is None:
        log = f"{program()} logs {facts['job_id']} --file"
        info(f"for its lines in the log of a worker: {log} FILE, or with systemd: {_JOURNAL} | {log} -")
        return DONE
    found = False
    for text in _lines_of(job_id, file):
        found = True
        out(text)
    if not found:
        info(f"no line is about job {job_id}")
    return DONE if found else FAILED


def _lines_of(job_id: str, lines: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a log that are about a job, as text."""
    from tenxsom_flow_engine.logs import readable

    sought = job_id.encode()
    for line in lines:
        if sought not in line:
            continue
        event = _event(line)
        if event is None:
            continue
        if event.get("job_id") == job_id:
            del event["job_id"]
            yield readable(event)


def _event(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line, after the prefix that a log collector adds; None if there is none."""
    start = line.find(b"{")
    if start < 0:
        return None
    try:
        value = json.loads(line[start:].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
