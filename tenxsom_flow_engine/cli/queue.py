"""`queue`: the verbs of a queue, the same for every carrier."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.exits import agree, count, put, say
from tenxsom_flow_engine.cli.session import session


@click.group()
def queue() -> None:
    """Look at the queue, pause and resume it, empty it, set its limits."""


@queue.command()
@options.queue_type
@options.as_json
def show(queue_type: str | None, as_json: bool) -> None:
    """Show the queue's state, limits and counts."""
    from tenxsom_flow_engine.cli.view import print_json, table
    from tenxsom_flow_engine.manager import describe_queue

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
    put(table(rows))


@queue.command()
@options.queue_type
def pause(queue_type: str | None) -> None:
    """Hand out no more jobs, in all workers; adding jobs and the steps in hand go on."""
    with session(queue_type) as engine:
        engine.queue.pause()
    say("the queue is paused; hand out jobs again with: run_flow_enhanced.py queue resume")


@queue.command()
@options.queue_type
def resume(queue_type: str | None) -> None:
    """Hand out jobs again."""
    with session(queue_type) as engine:
        engine.queue.resume()
    say("the queue is running")


@queue.command()
@options.yes
@options.queue_type
def purge(yes: bool, queue_type: str | None) -> None:
    """Cancel all waiting jobs, scheduled ones too, for which nothing may have been bought."""
    from tenxsom_flow_engine.jobs import Status

    with session(queue_type) as engine:
        jobs = engine.queue.status().counts.by_status
        waiting = count(jobs.get(Status.QUEUED, 0) + jobs.get(Status.SCHEDULED, 0), "waiting job")
        if waiting.startswith("0 "):
            say("no job is waiting, so there is nothing to cancel")
            return
        if not yes:
            agree(f"cancel {waiting}?", f"this would cancel {waiting}; say --yes if that is meant")
        purged = engine.queue.purge()
    are = "is" if purged == 1 else "are"
    say(f"{count(purged, 'job')} {are} cancelled; see: run_flow_enhanced.py jobs --status cancelled")


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
    from tenxsom_flow_engine.cli.view import print_json
    from tenxsom_flow_engine.manager import describe_queue

    with session(queue_type) as engine:
        engine.queue.set_limits(max_dispatches_per_second, max_concurrent_dispatches)
        now = describe_queue(engine)["rate_limits"]
    if as_json:
        print_json(now)
        return
    put(f"{now['max_dispatches_per_second']:g} steps in a second{_source(now, 'second')}")
    at_once = now["max_concurrent_dispatches"]
    put(f"{count(at_once, 'step')} at once{_source(now, 'concurrent')}")


def _source(limits: dict[str, object], part: str) -> str:
    changed = limits["set_at_run_time"]
    assert isinstance(changed, list)
    return ", set by hand" if any(part in name for name in changed) else ""
