"""`workers`: the workers of all queues, and whether they are alive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.program import worker_program
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import ago

_HEAD = ("HOST", "PID", "QUEUE", "STATE", "CONCURRENCY", "STEPS", "STARTED (UTC)", "HEARTBEAT")


@click.command()
@options.queue_type
@options.as_json
def workers(queue_type: str | None, as_json: bool) -> None:
    """List the workers of the last 24 hours, those alive first.

    The list has the workers of all queues that share the store. A worker is alive if its latest heartbeat is at most
    one lease old (TENXSOM_LEASE_SECONDS), ended if it ended as intended, and otherwise lost. CONCURRENCY is the number
    of steps that it runs at a time, STEPS the number of steps that it has run.
    """
    from tenxsom_flow_engine.cli.format import print_json, table
    from tenxsom_flow_engine.report.operator_json import worker
    from tenxsom_flow_engine.report.query import known_workers

    with session(queue_type) as engine:
        found = known_workers(engine)
        now = engine.store.now()
    facts = [worker(one, state, now) for one, state in found]
    if as_json:
        print_json({"workers": facts})
    elif facts:
        out(table(_rows(facts), head=_HEAD, may_cut=("HOST", "QUEUE")))
    else:
        info(f"no worker ran in the last 24 hours; start one with: {worker_program()}")


def _rows(facts: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    from tenxsom_flow_engine.cli.format import short_time

    for one in facts:
        yield [
            one["host"],
            str(one["pid"]),
            one["queue"],
            one["state"],
            "" if one["concurrency"] is None else str(one["concurrency"]),
            f"{one['steps']:,}",
            short_time(one["started_at"]),
            ago(one["heartbeat_seconds_ago"]),
        ]
