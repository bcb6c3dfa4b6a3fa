"""`jobs`, `show`, `open`: looking at the jobs at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.exits import DONE, FAILED, complain, say
from tenxsom_flow_engine.cli.session import with_manager

if TYPE_CHECKING:
    from tenxsom_flow_engine.manager import QueueManager


@click.command()
@click.option("--status", "statuses", multiple=True, metavar="STATUS", help="Only these; may be given several times.")
@options.narrowing
@click.option("--text", help="Only jobs with this in their topic or id.")
@click.option("--since", type=options.Instant(), help="Only jobs added then or later.")
@click.option("--until", type=options.Instant(), help="Only jobs added before.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--after", metavar="CURSOR", help="Go on from where the last list ended.")
@options.queue_type
@options.as_json
def jobs(
    statuses: tuple[str, ...],
    service: str | None,
    channel: str | None,
    text: str | None,
    since: float | None,
    until: float | None,
    limit: int,
    after: str | None,
    queue_type: str | None,
    as_json: bool,
) -> None:
    """List jobs, newest first."""
    from tenxsom_flow_engine.cli.view import describe, print_json, table
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.jobs import Status
    from tenxsom_flow_engine.store.base import JobFilter

    known = [str(status) for status in Status]
    for name in statuses:
        if name not in known:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(known)}", param_hint="--status")
    wanted = JobFilter(
        statuses=tuple(map(Status, statuses)), service=service, channel=channel, text=text,
        added_from=since, added_before=until,
    )  # fmt: skip

    async def look(manager: QueueManager) -> None:
        page = await manager.jobs(wanted, limit=limit, cursor=after)
        now = manager.engine.store.now()
        if as_json:
            print_json({"jobs": [describe(record, now) for record in page.records], "next": page.cursor})
            return
        if not page.records:
            say("no jobs" + (" match" if wanted != JobFilter() else " yet; add one with: run_flow_enhanced.py single"))
            return
        rows = [
            [
                record.job_id,
                str(record.status_at(now)),
                record.service or record.job.service,
                iso(record.added_at)[:19] + "Z",
                record.job.topic,
            ]
            for record in page.records
        ]
        click.echo(table(("JOB", "STATUS", "SERVICE", "ADDED", "TOPIC"), rows))
        if page.cursor:
            say(f"there are more: --after {page.cursor}")

    with_manager(queue_type, look)


@click.command()
@options.job_argument
@options.queue_type
@options.as_json
def show(job_id: str, queue_type: str | None, as_json: bool) -> None:
    """Show all that is known about a job: facts, files, timeline, and what to do about an error."""
    from tenxsom_flow_engine.cli.view import describe, print_json

    async def look(manager: QueueManager) -> None:
        facts = describe(await manager.get(job_id), manager.engine.store.now())
        print_json(facts) if as_json else _print_facts(facts)

    with_manager(queue_type, look)


@click.command("open", epilog='Example: mpv "$(run_flow_enhanced.py open JOB)"')
@options.job_argument
@options.queue_type
def open_(job_id: str, queue_type: str | None) -> int:
    """Print the path of a job's video."""

    async def look(manager: QueueManager) -> int:
        record = await manager.get(job_id)
        if record.result is None:
            status = record.status_at(manager.engine.store.now())
            complain(f"job {job_id} has no video, it is {status}", f"see: run_flow_enhanced.py show {job_id}")
            return FAILED
        if not Path(record.result.path).is_file():
            complain(f"the video of job {job_id} is gone: {record.result.path}", "it was moved or deleted")
            return FAILED
        click.echo(record.result.path)
        return DONE

    return with_manager(queue_type, look)


_PLAIN = (
    "job_id", "status", "topic", "prompt", "service", "quality", "channel", "duration", "aspect_ratio", "queue",
    "added_at", "due", "finished_at", "worker", "attempts",
)  # fmt: skip


def _print_facts(facts: dict[str, Any]) -> None:
    for name in _PLAIN:
        if facts[name] not in (None, 0):
            _line(name.replace("_", " "), facts[name])
    if facts["submission"]["id"]:
        ticket = facts["submission"]["ticket"]
        _line("submission", f"{facts['submission']['state']}" + (f", ticket {ticket}" if ticket else ""))
    if facts["cost"] and facts["cost"]["usd"] is not None:
        _line("cost", f"USD {facts['cost']['usd']:.2f}" + (" (estimated)" if facts["cost"]["estimated"] else ""))
    if video := facts["video"]:
        size = f"{video['width']}x{video['height']}, {video['duration']:.1f} s, {video['size'] / 1e6:.1f} MB"
        _line("video", size)
        folder = Path(video["path"]).parent
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            _line("", path)
    if error := facts["error"]:
        _line("error", f"{error['message']} [{error['code']}]")
        if error["next_step"]:
            _line("next step", error["next_step"])
    click.echo("timeline")
    for event in facts["events"]:
        times = f"  (x{event['times']}, last {event['last_at'][11:]})" if event["times"] > 1 else ""
        click.echo(f"  {event['at']}  {event['what']}{': ' + event['detail'] if event['detail'] else ''}{times}")


def _line(name: str, value: object) -> None:
    click.echo(f"{name:13} {value}")
