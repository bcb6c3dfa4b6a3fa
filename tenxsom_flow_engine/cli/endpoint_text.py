"""Show endpoints: webhooks and alerts, without the secrets in their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.exit_codes import DONE, FAILED

if TYPE_CHECKING:
    from tenxsom_flow_engine.notifiers.base import Answer
    from tenxsom_flow_engine.operations.endpoints import EndpointState


def described(one: EndpointState) -> dict[str, Any]:
    """Return an endpoint for JSON."""
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.events import EndpointKind

    endpoint, health = one.endpoint, one.health
    found: dict[str, Any] = {"id": endpoint.id, "url": endpoint.shown_url, "state": one.state}
    if endpoint.kind is EndpointKind.WEBHOOK:
        found |= {"events": list(endpoint.events) or ["*"], "channel": endpoint.channel or None}
    else:
        found |= {"after_seconds": endpoint.after, "notices": endpoint.notices}
    times = {
        "created_at": endpoint.created_at, "last_success_at": health.last_success_at,
        "failing_since": health.failing_since,
    }  # fmt: skip
    return {
        **found,
        **{name: iso(at) if at else None for name, at in times.items()},
        "disabled": endpoint.disabled or None,
        "last_answer": health.attempts[0].answer if health.attempts else None,
        "messages": {state.value: number for state, number in sorted(one.counts.items())},
    }


def print_list(found: Sequence[EndpointState], name: str, head: Sequence[str], as_json: bool) -> None:
    """Print endpoints as a table, or as JSON under `name`."""
    from tenxsom_flow_engine.cli.format import print_json, short_time, table
    from tenxsom_flow_engine.text import duration

    rows = [described(one) for one in found]
    if as_json:
        print_json({name: rows})
    elif not rows:
        info(f"no {name}")
    else:
        cells = [
            [
                row["id"], row["state"], row["url"],
                ",".join(row["events"]) if "events" in row else duration(row["after_seconds"]),
                (row["channel"] or "all") if "channel" in row else "notice" if row["notices"] else "problem",
                str(row["messages"].get("pending", 0)),
                short_time(row["last_success_at"]) if row["last_success_at"] else "-",
                row["disabled"] or row["last_answer"] or "-",
            ]
            for row in rows
        ]  # fmt: skip
        out(table(cells, head=tuple(head)))


def finish_test(answer: Answer) -> int:
    """Print the answer to a test message; return the exit code."""
    if answer.ok:
        info(f"delivered: {answer.text}")
        return DONE
    click.echo(f"not delivered: {answer.text}", err=True)
    return FAILED
