"""`single`: one topic becomes one job, and with `--wait` one video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.exits import DONE, say
from tenxsom_flow_engine.cli.session import with_manager

if TYPE_CHECKING:
    from tenxsom_flow_engine.manager import QueueManager


@click.command()
@click.option("--topic", required=True, help="What the video is about.")
@click.option("--prompt", default="", help="What the service is told; default: made from the topic.")
@options.job_fields
@click.option("--delay", type=options.Seconds(), help="Start so much later: 90s, 10m, 2h, 1d.")
@click.option("--at", type=options.Instant(), help="Start at a moment: 2026-12-24T18:00 (this machine's zone if none).")
@click.option("--job-id", help="The job's id; adding an id that is known adds nothing. Default: made from the topic.")
@options.queue_type
@click.option("--wait", is_flag=True, help="Follow the job and print the video's path; works on it if no worker does.")
@click.option("--dry-run", is_flag=True, help="Check the job and say what would be added; add nothing.")
@options.as_json
def single(
    delay: float | None,
    at: float | None,
    queue_type: str | None,
    wait: bool,
    dry_run: bool,
    as_json: bool,
    job_id: str | None,
    **fields: Any,
) -> int:
    """Add one job: a topic becomes a video.

    Prints the job's id; with --wait the path of the video.
    """
    if delay is not None and at is not None:
        raise click.UsageError("--delay and --at exclude each other: give one of them")
    from tenxsom_flow_engine.cli.producing import describe_plan
    from tenxsom_flow_engine.cli.view import describe, print_json
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.jobs import VideoJob, new_job_id

    job_id = job_id or new_job_id(fields["topic"])

    async def add(manager: QueueManager) -> None:
        engine = manager.engine
        now = engine.store.now()
        job = VideoJob(job_id=job_id, created_at=now, **fields)
        due = now + delay if delay is not None else at
        prepared = engine.prepare(job, due)
        for note in prepared.notes:
            say(f"note: {note}")
        start = iso(due) if due is not None and due > now else "at once"
        if dry_run:
            say(f"would add job {job_id} to the {engine.queue.name} queue, to start {start}")
            if as_json:
                print_json(describe_plan(prepared))
            return
        alone = not engine.queue.status().workers_alive
        if wait and alone:
            engine.check_output()  # before anything is added that could not be made
        added = await manager.enqueue(job, due=due)
        if added.new:
            say(f"added job {job_id} to the {engine.queue.name} queue ({engine.choice.reason}), to start {start}")
        else:
            say(f"job {job_id} was added before, so nothing was added")
        if wait:
            return
        if alone:
            say("no worker is running: start one with: python3 worker.py")
        if as_json:
            print_json(describe(await manager.get(job_id), engine.store.now()))
        else:
            click.echo(job_id)

    with_manager(queue_type, add)
    if not wait or dry_run:
        return DONE
    from tenxsom_flow_engine.cli.follow import follow

    return follow(queue_type, job_id, as_json=as_json)
