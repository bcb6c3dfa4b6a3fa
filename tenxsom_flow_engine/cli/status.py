"""`status`: the state of the queue."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.advice import advise
from tenxsom_flow_engine.cli.session import session


@click.command()
@options.queue_type
def status(queue_type: str | None) -> None:
    """Print the state of the queue as one JSON object."""
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.report.operator_json import describe_queue

    with session(queue_type) as engine:
        print_json(describe_queue(engine, advise))
