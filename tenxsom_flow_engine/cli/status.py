"""`status`: the state of the queue."""

from __future__ import annotations

import asyncio

import click

from tenxsom_flow_engine.cli import options


@click.command()
@options.queue_type
@click.option("--json", "as_json", is_flag=True, help="For symmetry: the output is always JSON.", hidden=True)
def status(queue_type: str | None, as_json: bool) -> None:
    """Print the state of the queue as one JSON object."""
    from tenxsom_flow_engine.cli.view import print_json
    from tenxsom_flow_engine.manager import QueueManager

    async def look() -> None:
        async with QueueManager(queue_type) as manager:
            print_json(await manager.status())

    asyncio.run(look())
