"""`show`: all facts about one job. `open`: the path of its video."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import indent
from typing import Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import out, print_error
from tenxsom_flow_engine.cli.exit_codes import DONE, FAILED
from tenxsom_flow_engine.cli.program import Command, program
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import balance, usd


@click.command()
@options.job_argument
@options.queue_type
@options.as_json
def show(job_id: str, queue_type: str | None, as_json: bool) -> None:
    """Show a job: facts, files, timeline, and how to fix an error."""
    from tenxsom_flow_engine.cli.format import job_as_dict, print_json
    from tenxsom_flow_engine.jobs.purchases import bought_nothing

    with session(queue_type) as engine:
        record = engine.store.require(job_id)
        facts = job_as_dict(record, engine.store.now())
    print_json(facts) if as_json else _print_job(facts, with_cost=not bought_nothing(record))


@click.command("open", cls=Command, epilog='Example: mpv "$({program} open JOB)"')
@options.job_argument
@options.queue_type
def open_(job_id: str, queue_type: str | None) -> int:
    """Print the path of a job's video."""
    with session(queue_type) as engine:
        record = engine.store.require(job_id)
        status = record.status_at(engine.store.now())
    if record.result is None:
        print_error(f"job {job_id} has no video; its status is {status}", f"see: {program()} show {job_id}")
        return FAILED
    if not Path(record.result.path).is_file():
        print_error(f"the video of job {job_id} was moved or deleted: {record.result.path}")
        return FAILED
    out(record.result.path)
    return DONE


_FIELDS = (
    "job_id", "status", "topic", "prompt", "script", "style", "service", "quality", "channel", "duration",
    "aspect_ratio", "queue", "added_at", "due", "start_by", "finished_at", "worker", "attempts",
)  # fmt: skip


def _print_job(facts: dict[str, Any], *, with_cost: bool) -> None:
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
        folder = Path(video["path"]).parent
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            _field("", path)
    if error := facts["error"]:
        _field("error", f"{error['message']} [{error['code']}]")
        if error["next_step"]:
            _field("next step", error["next_step"])
    if facts["order"]:
        out("last request sent")
        out(indent(json.dumps(facts["order"], ensure_ascii=False, indent=2), "  "))
    out("timeline")
    for event in facts["events"]:
        times = f"  (x{event['times']}, last {event['last_at'][11:]})" if event["times"] > 1 else ""
        worker = f"  by {event['worker']}" if event["worker"] else ""
        out(f"  {event['at']}  {event['what']}{': ' + event['detail'] if event['detail'] else ''}{times}{worker}")


def _field(name: str, value: object) -> None:
    out(f"{name:13} {value}")
