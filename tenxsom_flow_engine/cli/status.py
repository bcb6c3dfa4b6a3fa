"""`status`: the state of the queue."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.advice import advise
from tenxsom_flow_engine.cli.exit_codes import DONE, UNREACHABLE, USAGE
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.errors import ConfigurationError, QueueUnavailable

#: Exit codes by the reason why the state of the queue is unknown.
_CODES = {QueueUnavailable.code: UNREACHABLE, ConfigurationError.code: USAGE}


@click.command()
@options.queue_type
def status(queue_type: str | None) -> int:
    """Print the state of the queue as one JSON object.

    If the queue backend cannot be asked, the state is UNKNOWN and the figures of the store are printed. The exit code
    is then 5 if it cannot be reached, 2 if its credentials are missing or wrong, and 0 if the account may not read it.
    """
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.report.operator_json import describe_queue

    with session(queue_type) as engine:
        status = describe_queue(engine, advise)
    print_json(status)
    return _CODES.get(status["state_unknown_code"], DONE)
