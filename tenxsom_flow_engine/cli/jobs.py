"""`jobs`, `show`, `retry`, `cancel`: the jobs at hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.exits import say
from tenxsom_flow_engine.cli.session import with_manager

if TYPE_CHECKING:
    from tenxsom_flow_engine.manager import QueueManager


@click.command()
@click.option("--status", "statuses", multiple=True, metavar="STATUS", help="Only these; may be given several times.")
@click.option("--service", help="Only jobs of this service.")
@click.option("--channel", help="Only jobs of this channel.")
@click.option("--text", help="Only jobs with this in their topic or id.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--after", metavar="CURSOR", help="Go on from where the last list ended.")
@options.queue_type
@options.as_json
def jobs(
    statuses: tuple[str, ...],
    service: str | None,
    channel: str | None,
    text: str | None,
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
    wanted = JobFilter(statuses=tuple(map(Status, statuses)), service=service, channel=channel, text=text)

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
            (
                record.job_id,
                str(record.status_at(now)),
                record.service or record.job.service,
                iso(record.added_at)[:19] + "Z",
                record.job.topic,
            )
            for record in page.records
        ]
        click.echo(table(("JOB", "STATUS", "SERVICE", "ADDED", "TOPIC"), rows))
        if page.cursor:
            say(f"there are more: --after {page.cursor}")

    with_manager(queue_type, look)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.queue_type
@options.as_json
def show(job_id: str, queue_type: str | None, as_json: bool) -> None:
    """Show all that is known about a job: facts, timeline, files, and what to do about an error."""
    from tenxsom_flow_engine.cli.view import describe, print_json

    async def look(manager: QueueManager) -> None:
        facts = describe(await manager.get(job_id), manager.engine.store.now())
        print_json(facts) if as_json else _print_facts(facts)

    with_manager(queue_type, look)


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@options.queue_type
def retry(job_ids: tuple[str, ...], queue_type: str | None) -> None:
    """Try failed or cancelled jobs again; what was bought is not bought twice."""
    _each(job_ids, queue_type, lambda manager, job_id: manager.retry(job_id), "is in the queue again")


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@options.queue_type
def cancel(job_ids: tuple[str, ...], queue_type: str | None) -> None:
    """Take jobs back; what a service renders already goes on there, and is paid."""
    _each(job_ids, queue_type, lambda manager, job_id: manager.cancel(job_id), "is cancelled")


def _each(
    job_ids: tuple[str, ...], queue_type: str | None, act: Callable[[QueueManager, str], Awaitable[object]], done: str
) -> None:
    async def act_on_all(manager: QueueManager) -> None:
        for job_id in job_ids:
            await act(manager, job_id)
            say(f"job {job_id} {done}")

    with_manager(queue_type, act_on_all)


def _print_facts(facts: dict[str, Any]) -> None:
    plain = (
        "job_id",
        "status",
        "topic",
        "prompt",
        "service",
        "quality",
        "channel",
        "duration",
        "aspect_ratio",
        "queue",
        "added_at",
        "due",
        "finished_at",
        "worker",
        "attempts",
    )
    for name in plain:
        if facts[name] not in (None, 0):
            click.echo(f"{name.replace('_', ' '):13} {facts[name]}")
    if facts["submission"]["id"]:
        submission = facts["submission"]
        click.echo(f"{'submission':13} {submission['state']}, {submission['id']}, ticket {submission['ticket']}")
    if facts["video"]:
        video = facts["video"]
        size = f"{video['width']}x{video['height']}, {video['duration']:.1f} s, {video['size'] / 1e6:.1f} MB"
        click.echo(f"{'video':13} {video['path']}  ({size})")
    if facts["error"]:
        click.echo(f"{'error':13} {facts['error']['message']} [{facts['error']['code']}]")
        if facts["error"]["next_step"]:
            click.echo(f"{'next step':13} {facts['error']['next_step']}")
    click.echo("timeline")
    for event in facts["events"]:
        times = f"  (x{event['times']}, last {event['last_at'][11:]})" if event["times"] > 1 else ""
        click.echo(f"  {event['at']}  {event['what']}{': ' + event['detail'] if event['detail'] else ''}{times}")
