"""`stats`: the numbers that a worker serves at `/stats`, read from the store."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.session import session


@click.command()
@options.queue_type
def stats(queue_type: str | None) -> None:
    """Print counts, rates, quotas, costs, channels and problems as JSON."""
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.report import public_json as wire
    from tenxsom_flow_engine.report.channels import channel_figures
    from tenxsom_flow_engine.report.operator_json import channel
    from tenxsom_flow_engine.report.query import take_report

    with session(queue_type) as engine:
        report = take_report(engine)
        channels = [channel(one) for one in channel_figures(engine.store, report.at)]
        print_json({**wire.stats(report), "channels": channels})
