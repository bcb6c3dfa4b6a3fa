"""`show`: all facts about one job. `open`: its video."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from textwrap import indent
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, on_terminal, out, print_error
from tenxsom_flow_engine.cli.exit_codes import DONE, FAILED
from tenxsom_flow_engine.cli.job_names import the_job
from tenxsom_flow_engine.cli.program import Command, program
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import balance, usd

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.jobs import Video


@click.command()
@options.job_argument
@options.queue_type
@options.as_json
def show(job_id: str, queue_type: str | None, as_json: bool) -> None:
    """Show a job: facts, files, timeline, and how to fix an error."""
    from tenxsom_flow_engine.cli.format import job_as_dict, print_json
    from tenxsom_flow_engine.jobs.purchases import bought_nothing

    with session(queue_type) as engine:
        record = the_job(engine.store, job_id, announce=False)
        facts = job_as_dict(record, engine.store.now())
        files = () if as_json or record.result is None else _files(engine, record.result)
    print_json(facts) if as_json else _print_job(facts, files, with_cost=not bought_nothing(record))


@click.command("open", cls=Command, epilog='Example: mpv "$({program} open JOB)"')
@options.job_argument
@click.option("--path", is_flag=True, help="Print the path only.")
@options.queue_type
def open_(job_id: str, path: bool, queue_type: str | None) -> int:
    """Open a job's video.

    Prints its path, or a link to it in a bucket, which is valid for an hour. On the terminal of a desktop, the
    desktop's player is started too.
    """
    from tenxsom_flow_engine.output.base import VIDEO

    with session(queue_type) as engine:
        record = the_job(engine.store, job_id)
        status = record.status_at(engine.store.now())
        desktop = engine.settings.desktop
        found = engine.output.files(record.result).get(VIDEO) if record.result else None
        link = engine.output.link(record.result) if record.result and found else None
    if record.result is None:
        print_error(
            f"job {record.job_id} has no video; its status is {status}", f"see: {program()} show {record.job_id}"
        )
        return FAILED
    if found is None:
        print_error(f"the video of job {record.job_id} was moved or deleted: {record.result.path}")
        return FAILED
    address = link or record.result.path
    out(address)
    if desktop and not path and on_terminal(sys.stdout) and click.launch(address):
        info("no program to open it was found; install xdg-utils, or pass --path")
    return DONE


_FIELDS = (
    "job_id", "status", "topic", "prompt", "script", "style", "service", "quality", "channel", "duration",
    "aspect_ratio", "queue", "added_at", "due", "start_by", "finished_at", "worker", "attempts",
)  # fmt: skip


def _files(engine: Engine, video: Video) -> Sequence[str]:
    """Return the paths or addresses of a video's files; none if its bucket cannot be used now."""
    from tenxsom_flow_engine.errors import OutputError

    try:
        return sorted(engine.output.files(video).values())
    except OutputError as error:
        info(str(error))
        return ()


def _print_job(facts: dict[str, Any], files: Sequence[str], *, with_cost: bool) -> None:
    from tenxsom_flow_engine.cli.format import timeline

    for name in _FIELDS:
        if facts[name] not in (None, 0):
            _field(name.replace("_", " "), facts[name])
    if facts["submission"]["id"]:
        ticket = facts["submission"]["ticket"]
        order = f"{facts['submission']['state']}, reference {facts['submission']['id']}"
        _field("submission", order + (f", ticket {ticket}" if ticket else ""))
    if (cost := facts["cost"]) and with_cost:
        known = [usd(cost["usd"])] if cost["usd"] is not None else []
        known += [balance(cost["credits"], "credits")] if cost["credits"] is not None else []
        _field("cost", (", ".join(known) or "unknown") + (" (estimated)" if cost["estimated"] else ""))
    if len(facts["purchases"]) > 1:
        for purchase in facts["purchases"]:
            _field("bought", f"{purchase['at']} at {purchase['service']} as {purchase['submission']}")
    if video := facts["video"]:
        size = f"{video['width']}x{video['height']}, {video['duration']:.1f} s, {video['size'] / 1e6:.1f} MB"
        _field("video", size)
        for file in files:
            _field("", file)
    if error := facts["error"]:
        _field("error", f"{error['message']} [{error['code']}]")
        if error["next_step"]:
            _field("next step", error["next_step"])
    if facts["order"]:
        out("last request sent")
        out(indent(json.dumps(facts["order"], ensure_ascii=False, indent=2), "  "))
    out("timeline")
    for line in timeline(facts["events"]):
        out(f"  {line}")


def _field(name: str, value: object) -> None:
    out(f"{name:13} {value}")
