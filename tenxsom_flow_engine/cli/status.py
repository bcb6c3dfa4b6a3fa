"""`status`: the state of the queue."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.advice import advise
from tenxsom_flow_engine.cli.console import on_terminal, out
from tenxsom_flow_engine.cli.exit_codes import DONE, UNREACHABLE, USAGE
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.errors import ConfigurationError, QueueUnavailable

if TYPE_CHECKING:
    from typing import NoReturn

    from tenxsom_flow_engine.engine import Engine

#: Exit codes by the reason why the state of the queue is unknown.
_CODES = {QueueUnavailable.code: UNREACHABLE, ConfigurationError.code: USAGE}


@click.command()
@click.option("--watch", is_flag=True, help="On a terminal: refresh the lines until Ctrl-C.")
@click.option(
    "--interval", type=options.Seconds(), metavar="TIME", help="With --watch: time between two refreshes. Default: 2s."
)
@options.queue_type
@options.as_json
def status(watch: bool, interval: float | None, queue_type: str | None, as_json: bool) -> int:
    """Show the state of the queue: problems, jobs, workers, services, costs.

    Prints about ten lines on a terminal, and one JSON object in a pipe or with --json. If the queue backend cannot be
    asked, the state is UNKNOWN and the figures of the store are printed. The exit code is then 5 if it cannot be
    reached, 2 if its credentials are missing or wrong, and 0 if the account may not read it. It is 130 after Ctrl-C.
    """
    if interval is not None and not watch:
        raise click.UsageError("--interval needs --watch")
    if interval is not None and interval < 1:
        raise click.UsageError("--interval must be at least 1s")
    if watch and (as_json or not on_terminal(sys.stdout)):
        raise click.UsageError("--watch needs a terminal, and excludes --json")
    with session(queue_type) as engine:
        if watch:
            _watch(engine, 2.0 if interval is None else interval)
        if as_json or not on_terminal(sys.stdout):
            from tenxsom_flow_engine.cli.format import print_json
            from tenxsom_flow_engine.report.operator_json import describe_queue

            facts = describe_queue(engine, advise)
            print_json(facts)
            return _CODES.get(facts["state_unknown_code"], DONE)
        from tenxsom_flow_engine.cli.status_text import status_text

        text, unknown = status_text(engine)
        out(text)
        return _CODES.get(unknown.code, DONE) if unknown else DONE


def _watch(engine: Engine, interval: float) -> NoReturn:
    """Redraw the state at the top of the terminal until Ctrl-C. An error is shown in its place: it can pass."""
    import time
    from itertools import count

    from tenxsom_flow_engine.cli.advice import next_step
    from tenxsom_flow_engine.cli.console import problem, redraw
    from tenxsom_flow_engine.cli.status_text import screen, status_text
    from tenxsom_flow_engine.errors import FlowError

    for turn in count():
        try:
            text, _ = status_text(engine)
        except FlowError as error:
            text = problem(error.message, next_step(error))
        redraw(screen(text, first=turn == 0), sys.stdout)
        time.sleep(interval)
    raise AssertionError
