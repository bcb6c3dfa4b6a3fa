"""`status`: the state of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.session import with_manager

if TYPE_CHECKING:
    from tenxsom_flow_engine.manager import QueueManager


@click.command()
@options.queue_type
def status(queue_type: str | None) -> None:
    """Print the state of the queue as one JSON object."""
    from tenxsom_flow_engine.cli.view import print_json

    async def look(manager: QueueManager) -> None:
        print_json(await manager.status())

    with_manager(queue_type, look)
