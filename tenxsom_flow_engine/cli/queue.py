"""`queue`: operations on the queue, for every queue backend."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.advice import advise
from tenxsom_flow_engine.cli.console import confirm, info, on_terminal, out
from tenxsom_flow_engine.cli.exit_codes import DONE, PARTLY
from tenxsom_flow_engine.cli.program import program
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import duration, plural

if TYPE_CHECKING:
    from tenxsom_flow_engine.queues.base import PushesJobs

#: Maximum number of unmovable jobs printed one by one.
MAX_LISTED = 10
#: `--queue-type` of the commands on queues that have to be created.
_created_queue_type = click.option(
    "--queue-type",
    type=click.Choice(["cloud_tasks"]),
    default="cloud_tasks",
    show_default=True,
    help="Only Cloud Tasks queues have to be created.",
)


@click.group()
def queue() -> None:
    """Operate the queue: show, pause, purge, create, move, set limits, repair its clock."""


@queue.command()
@options.queue_type
@options.as_json
def show(queue_type: str | None, as_json: bool) -> None:
    """Show the queue's state, limits and counts."""
    from tenxsom_flow_engine.cli.format import print_json, table
    from tenxsom_flow_engine.report.operator_json import describe_queue

    with session(queue_type) as engine:
        status = describe_queue(engine, advise)
    if as_json:
        print_json(status)
        return
    limits = status["rate_limits"]
    rows = [
        ["queue", status["queue_type"]],
        ["state", status["state"]],
        ["rate limit", f"{limits['max_dispatches_per_second']:g} steps a second{_source(limits, 'second')}"],
        ["concurrency", f"{plural(limits['max_concurrent_dispatches'], 'step')}{_source(limits, 'concurrent')}"],
        *([["because", status["state_unknown_because"]]] if status["state_unknown_because"] else []),
        ["workers", str(status["workers_alive"])],
        *([name, f"{number:,}"] for name, number in status["jobs"].items()),
    ]
    out(table(rows))


@queue.command()
@options.queue_type
def pause(queue_type: str | None) -> None:
    """Pause the queue for all workers.

    Running steps finish, and jobs can still be added.
    """
    with session(queue_type) as engine:
        engine.queue.pause()
    info(f"the queue is paused; resume it with: {program()} queue resume")


@queue.command()
@options.queue_type
def resume(queue_type: str | None) -> None:
    """Resume a paused queue."""
    with session(queue_type) as engine:
        engine.queue.resume()
    info("the queue is resumed")


@queue.command()
@options.yes
@options.queue_type
def purge(yes: bool, queue_type: str | None) -> None:
    """Cancel all waiting and scheduled jobs that certainly were not bought.

    Jobs that were bought, or whose purchase is uncertain, stay.
    """
    from tenxsom_flow_engine.jobs import Status

    with session(queue_type) as engine:
        jobs = engine.queue.status().counts.by_status
        number = jobs.get(Status.QUEUED, 0) + jobs.get(Status.SCHEDULED, 0)
        if not number:
            info("no waiting jobs, nothing to cancel")
            return
        if not yes:
            waiting = plural(number, "waiting job")
            confirm(f"cancel {waiting}?", f"this would cancel {waiting}; pass --yes to confirm")
        purged = engine.queue.purge()
    info(f"cancelled {plural(purged, 'job')}; see: {program()} jobs --status cancelled")


@queue.command("repair-clock")
@options.yes
@options.queue_type
def repair_clock(yes: bool, queue_type: str | None) -> None:
    """Set the store's clock back to this machine's.

    The store's time never goes back on its own. If a wrong clock put it ahead, scheduled jobs start too early. Stop all
    workers and dashboards first, and set the clocks of all machines. Unfinished jobs are corrected.
    """
    from tenxsom_flow_engine.operations.clock_repair import repair_clock as repair

    with session(queue_type) as engine:
        lead = duration(max(0.0, engine.clock_lead))
        if not yes:
            confirm(
                f"set the store's clock back by {lead}?", "this would set the store's clock back; pass --yes to confirm"
            )
        done = repair(engine)
    info(f"the store's clock was set back by {duration(done.lead)}; corrected {plural(done.jobs, 'job')}")


@queue.command()
@_created_queue_type
def create(queue_type: str) -> None:
    """Create the Google Cloud Tasks queue with the current limits."""
    with _cloud_tasks_queue(queue_type) as (queue, place):
        queue.create()
    info(f"created queue {place}; it can take a minute to become visible everywhere")


@queue.command()
@_created_queue_type
def update(queue_type: str) -> None:
    """Update the Google Cloud Tasks queue with the current limits."""
    with _cloud_tasks_queue(queue_type) as (queue, place):
        queue.update()
    info(f"queue {place} now has the current limits; see: {program()} queue show")


@queue.command()
@click.option("--from", "source", metavar="TYPE", help="Queue backend to move jobs from.")
@click.option("--to", "target", metavar="TYPE", help="Queue backend to move them to.")
@click.option("--from-store", metavar="STORE", help="Store to move everything from: local, redis or a URL.")
@click.option("--to-store", metavar="STORE", help="Store to move everything to, of the other type, and empty.")
@click.option("--abandon", is_flag=True, help="Give up an interrupted move between stores: use the source again.")
def move(source: str | None, target: str | None, from_store: str | None, to_store: str | None, abandon: bool) -> int:
    """Move all waiting jobs to another queue backend, or everything to another store.

    With --from and --to, the queue backends share a store. Due times and purchases are kept. Jobs with a running step
    stay. Workers can run.

    With --from-store and --to-store, all jobs, budgets, quotas, channels, schedules, API keys, webhooks and alerts move
    between the embedded store and a Redis server. Stop all workers, dashboards and producers first. The command refuses
    while a job is in flight. The source keeps its records, but no process can use it any more.

    After an interruption, run the command again to complete the move.
    """
    if from_store and to_store and not (source or target):
        return _move_store(from_store, to_store, abandon)
    if not (source and target) or from_store or to_store or abandon:
        raise click.UsageError("give --from and --to, or --from-store and --to-store")
    from tenxsom_flow_engine.operations.move import move_jobs

    with session(target) as engine:
        waiting = engine.store.status_counts(source).unfinished
        hidden = not on_terminal(sys.stderr)
        with click.progressbar(length=waiting, label="moving jobs", file=sys.stderr, hidden=hidden) as bar:
            moved = move_jobs(engine, source, progress=bar.update)
    info(f"moved {plural(moved.jobs, 'job')} from the {source} to the {target} queue")
    for job_id, reason in moved.left[:MAX_LISTED]:
        info(f"job {job_id} was not moved: {reason}")
    if len(moved.left) > MAX_LISTED:
        info(f"and {plural(len(moved.left) - MAX_LISTED, 'more job')}")
    return PARTLY if moved.left else DONE


def _move_store(source: str, target: str, abandon: bool) -> int:
    from tenxsom_flow_engine.operations.move_store import abandon_move, move_store
    from tenxsom_flow_engine.settings import load

    settings = load()
    if abandon:
        abandon_move(settings, source, target)
        info("the move is abandoned; the source can be used again")
        return DONE
    hidden = not on_terminal(sys.stderr)
    with click.progressbar(length=0, label="moving jobs", show_pos=True, file=sys.stderr, hidden=hidden) as bar:
        moved = move_store(settings, source, target, progress=bar.update)
    if moved.repeated:
        info(f"the jobs were moved to {moved.target} already")
    else:
        info(f"moved {plural(moved.jobs, 'job')} to {moved.target}")
    if moved.kept:
        info(f"what was there before is kept: {moved.kept}")
    info(
        f"let all processes use it: TENXSOM_QUEUE_TYPE={moved.queue}, or cloud_tasks with its store; the URL is in "
        "REDIS_URL or TENXSOM_STORE"
    )
    return DONE


@queue.command()
@click.option("--max-dispatches-per-second", type=float, help="Steps that may start per second, over all workers.")
@click.option("--max-concurrent-dispatches", type=int, help="Steps that may run concurrently, over all workers.")
@options.queue_type
@options.as_json
def limits(
    max_dispatches_per_second: float | None,
    max_concurrent_dispatches: int | None,
    queue_type: str | None,
    as_json: bool,
) -> None:
    """Show or set the queue's limits.

    A limit that is set here is stored and overrides the environment.
    """
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.queues.base import PushesJobs
    from tenxsom_flow_engine.report.operator_json import describe_queue

    with session(queue_type) as engine:
        engine.queue.set_limits(max_dispatches_per_second, max_concurrent_dispatches)
        now = describe_queue(engine)["rate_limits"]
        pushed, per_process = isinstance(engine.queue, PushesJobs), engine.settings.web.concurrency
    if pushed and (max_concurrent_dispatches or 0) > per_process:
        info(
            f"with these settings a worker process runs {plural(per_process, 'concurrent step')} and rejects more: "
            "start more processes, or raise TENXSOM_WORKER_CONCURRENCY"
        )
    if as_json:
        print_json(now)
        return
    out(f"{now['max_dispatches_per_second']:g} steps a second{_source(now, 'second')}")
    concurrent = now["max_concurrent_dispatches"]
    out(f"{plural(concurrent, 'concurrent step')}{_source(now, 'concurrent')}")


@contextmanager
def _cloud_tasks_queue(queue_type: str) -> Iterator[tuple[PushesJobs, str]]:
    """Open the Cloud Tasks queue; yield it and its name and location for messages."""
    from tenxsom_flow_engine.queues.base import PushesJobs

    with session(queue_type) as engine:
        assert isinstance(engine.queue, PushesJobs)
        where = engine.settings.cloud_tasks
        yield engine.queue, f"{where.queue} in {where.location}"


def _source(limits: dict[str, Any], part: str) -> str:
    """Return the origin of a limit unless it is the environment, for the end of a line."""
    if any(part in name for name in limits["set_at_carrier"]):
        return f", as set at Google; apply the current limits with: {program()} queue update"
    return ", set at run time" if any(part in name for name in limits["set_at_run_time"]) else ""
