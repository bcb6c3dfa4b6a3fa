"""`queue`: the verbs of a queue, the same for every carrier."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import DONE, PARTLY, confirm, count, info, on_terminal, out
from tenxsom_flow_engine.cli.session import session

if TYPE_CHECKING:
    from tenxsom_flow_engine.queues.base import PushesJobs

#: Jobs that stay where they are, and are told one by one.
MOST_TOLD = 10
#: `--queue-type` of the commands on queues that somebody has to make.
_at_google = click.option(
    "--queue-type",
    type=click.Choice(["cloud_tasks"]),
    default="cloud_tasks",
    show_default=True,
    help="Queues of other types need not be made.",
)


@click.group()
def queue() -> None:
    """Look at the queue, pause and resume it, empty it, set its limits; make one at Google, move jobs between two."""


@queue.command()
@options.queue_type
@options.as_json
def show(queue_type: str | None, as_json: bool) -> None:
    """Show the queue's state, limits and counts."""
    from tenxsom_flow_engine.cli.format import print_json, table
    from tenxsom_flow_engine.report.operator_json import describe_queue

    with session(queue_type) as engine:
        status = describe_queue(engine)
    if as_json:
        print_json(status)
        return
    limits = status["rate_limits"]
    rows = [
        ["queue", f"{status['queue_type']} ({status['selected_because']})"],
        ["state", status["state"]],
        ["dispatches", f"{limits['max_dispatches_per_second']:g} a second{_source(limits, 'second')}"],
        ["at once", f"{limits['max_concurrent_dispatches']}{_source(limits, 'concurrent')}"],
        *([["because", status["state_unknown_because"]]] if status["state_unknown_because"] else []),
        *([["workers", str(status["workers_alive"])]] if status["workers_alive"] is not None else []),
        *([name, f"{number:,}"] for name, number in status["jobs"].items()),
    ]
    out(table(rows))


@queue.command()
@options.queue_type
def pause(queue_type: str | None) -> None:
    """Hand out no more jobs, in all workers; adding jobs and the steps in hand go on."""
    with session(queue_type) as engine:
        engine.queue.pause()
    info("the queue is paused; hand out jobs again with: run_flow_enhanced.py queue resume")


@queue.command()
@options.queue_type
def resume(queue_type: str | None) -> None:
    """Hand out jobs again."""
    with session(queue_type) as engine:
        engine.queue.resume()
    info("the queue is running")


@queue.command()
@options.yes
@options.queue_type
def purge(yes: bool, queue_type: str | None) -> None:
    """Cancel all waiting jobs, scheduled ones too, that certainly bought nothing."""
    from tenxsom_flow_engine.jobs import Status

    with session(queue_type) as engine:
        jobs = engine.queue.status().counts.by_status
        waiting = count(jobs.get(Status.QUEUED, 0) + jobs.get(Status.SCHEDULED, 0), "waiting job")
        if waiting.startswith("0 "):
            info("no job is waiting, so there is nothing to cancel")
            return
        if not yes:
            confirm(f"cancel {waiting}?", f"this would cancel {waiting}; say --yes if that is meant")
        purged = engine.queue.purge()
    are = "is" if purged == 1 else "are"
    info(f"{count(purged, 'job')} {are} cancelled; see: run_flow_enhanced.py jobs --status cancelled")


@queue.command()
@_at_google
def create(queue_type: str) -> None:
    """Make the queue at Google Cloud Tasks, with the limits in force."""
    with _pushed(queue_type) as (queue, place):
        queue.create()
    info(f"the queue {place} is made; everybody knows it after a minute")


@queue.command()
@_at_google
def update(queue_type: str) -> None:
    """Give the queue at Google Cloud Tasks the limits in force, and how it tries again."""
    with _pushed(queue_type) as (queue, place):
        queue.update()
    info(f"the queue {place} has the limits in force; see: run_flow_enhanced.py queue show")


@queue.command()
@click.option("--from", "source", metavar="TYPE", required=True, help="The queue to take jobs from.")
@click.option("--to", "target", metavar="TYPE", required=True, help="The queue to give them to.")
def move(source: str, target: str) -> int:
    """Move all waiting jobs to another queue that keeps its records in the same store.

    When each is due and what was bought stay as they are. Steps in hand are left alone. Run it again after an
    interruption: it completes what was begun.
    """
    from tenxsom_flow_engine.operations.move import move_jobs

    with session(target) as engine:
        waiting = engine.store.status_counts(source).unfinished
        hidden = not on_terminal(sys.stderr)
        with click.progressbar(length=waiting, label="moving jobs", file=sys.stderr, hidden=hidden) as bar:
            moved = move_jobs(engine, source, progress=bar.update)
    info(f"moved {count(moved.jobs, 'job')} from the {source} to the {target} queue")
    for job_id, reason in moved.left[:MOST_TOLD]:
        info(f"job {job_id} stays: {reason}")
    if len(moved.left) > MOST_TOLD:
        info(f"and {count(len(moved.left) - MOST_TOLD, 'more job')} stay")
    return PARTLY if moved.left else DONE


@queue.command()
@click.option("--max-dispatches-per-second", type=float, help="Steps in a second, over all workers.")
@click.option("--max-concurrent-dispatches", type=int, help="Steps at once, over all workers.")
@options.queue_type
@options.as_json
def limits(
    max_dispatches_per_second: float | None,
    max_concurrent_dispatches: int | None,
    queue_type: str | None,
    as_json: bool,
) -> None:
    """Show or set the queue's limits; what is set here is kept and wins over the environment."""
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.queues.base import PushesJobs
    from tenxsom_flow_engine.report.operator_json import describe_queue

    with session(queue_type) as engine:
        engine.queue.set_limits(max_dispatches_per_second, max_concurrent_dispatches)
        now = describe_queue(engine)["rate_limits"]
        pushed, each = isinstance(engine.queue, PushesJobs), engine.settings.web.concurrency
    if pushed and (max_concurrent_dispatches or 0) > each:
        info(
            f"with these settings a worker process takes {count(each, 'step')} at once and puts off what is over that: "
            "start more of them, or raise TENXSOM_WORKER_CONCURRENCY"
        )
    if as_json:
        print_json(now)
        return
    out(f"{now['max_dispatches_per_second']:g} steps in a second{_source(now, 'second')}")
    at_once = now["max_concurrent_dispatches"]
    out(f"{count(at_once, 'step')} at once{_source(now, 'concurrent')}")


@contextmanager
def _pushed(queue_type: str) -> Iterator[tuple[PushesJobs, str]]:
    """Open the queue of a carrier that pushes; give it with its name and location in words."""
    from tenxsom_flow_engine.queues.base import PushesJobs

    with session(queue_type) as engine:
        assert isinstance(engine.queue, PushesJobs)
        where = engine.settings.cloud_tasks
        yield engine.queue, f"{where.queue} in {where.location}"


def _source(limits: dict[str, Any], part: str) -> str:
    """Say who has set a limit, where it is not the environment."""
    if any(part in name for name in limits["set_at_carrier"]):
        return ", as it is set at Google; ours with: run_flow_enhanced.py queue update"
    return ", set by hand" if any(part in name for name in limits["set_at_run_time"]) else ""
