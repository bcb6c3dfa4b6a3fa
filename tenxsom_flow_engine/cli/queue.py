"""`queue`: the verbs of a queue, the same for every carrier."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.exits import say
from tenxsom_flow_engine.cli.session import with_manager

if TYPE_CHECKING:
    from tenxsom_flow_engine.manager import QueueManager


@click.group()
def queue() -> None:
    """Look at the queue, pause and resume it, empty it, set its limits."""


@queue.command()
@options.queue_type
@options.as_json
def show(queue_type: str | None, as_json: bool) -> None:
    """Show the queue's state, limits and counts."""
    from tenxsom_flow_engine.cli.view import print_json, table

    async def look(manager: QueueManager) -> None:
        status = await manager.status()
        if as_json:
            print_json(status)
            return
        limits = status["rate_limits"]
        rows = [
            ["queue", f"{status['queue_type']} ({status['selected_because']})"],
            ["state", status["state"]],
            ["dispatches", f"{limits['max_dispatches_per_second']:g} a second{_source(limits, 'second')}"],
            ["at once", f"{limits['max_concurrent_dispatches']}{_source(limits, 'concurrent')}"],
            ["workers", str(status["workers_alive"])],
            *([name, f"{count:,}"] for name, count in status["jobs"].items()),
        ]
        click.echo(table(("", ""), rows).lstrip("\n"))

    with_manager(queue_type, look)


@queue.command()
@options.queue_type
def pause(queue_type: str | None) -> None:
    """Hand out no more jobs, in all workers; adding jobs and the steps in hand go on."""

    async def act(manager: QueueManager) -> None:
        await manager.pause()
        say("the queue is paused; hand out jobs again with: run_flow_enhanced.py queue resume")

    with_manager(queue_type, act)


@queue.command()
@options.queue_type
def resume(queue_type: str | None) -> None:
    """Hand out jobs again."""

    async def act(manager: QueueManager) -> None:
        await manager.resume()
        say("the queue is running")

    with_manager(queue_type, act)


@queue.command()
@options.yes
@options.queue_type
def purge(yes: bool, queue_type: str | None) -> None:
    """Cancel all waiting jobs, scheduled ones too, for which nothing may have been bought."""

    async def act(manager: QueueManager) -> None:
        jobs = (await manager.status())["jobs"]
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("this would cancel all waiting jobs; say --yes if that is meant")
            number = jobs["queued"] + jobs["scheduled"]
            click.confirm(f"cancel {number:,} waiting jobs?", abort=True, err=True)
        say(f"{await manager.purge():,} jobs are cancelled; see: run_flow_enhanced.py jobs --status cancelled")

    with_manager(queue_type, act)


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

    async def act(manager: QueueManager) -> None:
        now = await manager.update_rate_limits(
            max_dispatches_per_second=max_dispatches_per_second,
            max_concurrent_dispatches=max_concurrent_dispatches,
        )
        if as_json:
            print_json(now)
            return
        click.echo(f"{now['max_dispatches_per_second']:g} steps in a second{_source(now, 'second')}")
        click.echo(f"{now['max_concurrent_dispatches']} steps at once{_source(now, 'concurrent')}")

    with_manager(queue_type, act)


def _source(limits: dict[str, object], part: str) -> str:
    changed = limits["set_at_run_time"]
    assert isinstance(changed, list)
    return ", set by hand" if any(part in name for name in changed) else ""
