"""`webhook`: messages about events for other programs."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.program import Command, program
from tenxsom_flow_engine.cli.session import session

_HEAD = ("ID", "STATE", "URL", "EVENTS", "CHANNEL", "PENDING", "LAST SUCCESS (UTC)", "LAST ANSWER")
_FACTS = ("id", "state", "url", "events", "channel", "created_at", "last_success_at", "failing_since", "disabled")
#: Messages that `webhook show` lists.
SHOWN = 20


@click.group()
def webhook() -> None:
    """Send signed messages about events to other programs (docs/webhooks.md)."""


@webhook.command(
    cls=Command,
    epilog="\b\nExamples:\n  {program} webhook add https://example.org/hooks/flow\n"
    "  {program} webhook add https://example.org/hooks/flow --events job.*,budget.100 --channel fun",
)
@click.argument("url", metavar="URL")
@click.option(
    "--events", default="*", show_default=True, metavar="TYPES",
    help="Types of events, separated by commas: job.succeeded, job.*, …",
)  # fmt: skip
@click.option("--channel", default="", metavar="NAME", help="Send only the events of this channel.")
@options.queue_type
@options.as_json
def add(url: str, events: str, channel: str, queue_type: str | None, as_json: bool) -> None:
    """Add a webhook and print its secret. It is shown only now.

    It gets the events that follow. URL must begin with https:// and lead to a public address.
    """
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        made = endpoints.add_webhook(engine, url, events, channel)
    if as_json:
        print_json({"id": made.id, "secret": made.secret, "url": made.shown_url, "events": list(made.events) or ["*"]})
    else:
        out(made.secret)
    info(f"added webhook {made.id}; its secret is not shown again; try it: {program()} webhook test {made.id}")


@webhook.command("list")
@options.queue_type
@options.as_json
def list_(queue_type: str | None, as_json: bool) -> None:
    """List the webhooks, with their latest answers."""
    from tenxsom_flow_engine.cli.endpoint_text import print_list
    from tenxsom_flow_engine.events import EndpointKind
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        found = endpoints.states(engine.store, EndpointKind.WEBHOOK)
    print_list(found, "webhooks", _HEAD, as_json)


@webhook.command()
@click.argument("webhook_id", metavar="ID")
@options.queue_type
@options.as_json
def show(webhook_id: str, queue_type: str | None, as_json: bool) -> None:
    """Show a webhook, its latest messages and its latest answers."""
    from tenxsom_flow_engine.cli.endpoint_text import described
    from tenxsom_flow_engine.cli.format import print_json, short_time, table
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.events import EndpointKind
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        one = endpoints.state(engine.store, endpoints.require(engine.store, webhook_id, EndpointKind.WEBHOOK))
        latest = engine.store.deliveries(webhook_id, SHOWN)
    messages = [
        {
            "id": item.message.event_id, "type": item.message.type, "at": iso(item.message.at),
            "subject": item.message.subject, "state": item.state.value, "attempts": item.tries,
            "next_attempt_at": None if item.next_at is None else iso(item.next_at),
        }
        for item in latest
    ]  # fmt: skip
    attempts = [
        {"at": iso(item.at), "type": item.type, "id": item.event_id, "ok": item.ok, "answer": item.answer}
        for item in one.health.attempts
    ]
    facts = described(one)
    if as_json:
        print_json({**facts, "latest_messages": messages, "latest_answers": attempts})
        return
    for name in _FACTS:
        value = facts[name]
        out(f"{name.replace('_', ' '):16} {', '.join(value) if isinstance(value, list) else value or '-'}")
    if messages:
        out("")
        rows = [
            [short_time(str(row["at"])), str(row["type"]), str(row["subject"]), str(row["state"]), str(row["attempts"])]
            for row in messages
        ]
        out(table(rows, head=("EVENT (UTC)", "TYPE", "ABOUT", "STATE", "ATTEMPTS")))
    if attempts:
        out("")
        rows = [[short_time(str(row["at"])), str(row["type"]), str(row["answer"])] for row in attempts]
        out(table(rows, head=("ATTEMPT (UTC)", "TYPE", "ANSWER")))


@webhook.command()
@click.argument("webhook_id", metavar="ID")
@options.queue_type
def test(webhook_id: str, queue_type: str | None) -> int:
    """Send a message of the type test.sent now, and print the answer. Exits with 1 if it was not accepted."""
    from tenxsom_flow_engine.cli.endpoint_text import finish_test
    from tenxsom_flow_engine.events import EndpointKind
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        return finish_test(endpoints.send_test(engine, webhook_id, EndpointKind.WEBHOOK))


@webhook.command(cls=Command, epilog="\b\nExample:\n  {program} webhook replay ID --since 24h")
@click.argument("webhook_id", metavar="ID")
@click.option(
    "--since", type=options.PastInstant(), required=True, metavar="TIME",
    help="A length of time before now (24h), or an instant (2026-12-24T18:00).",
)  # fmt: skip
@options.queue_type
def replay(webhook_id: str, since: options.Moment, queue_type: str | None) -> None:
    """Send the messages about past events again, with their ids. They are kept for seven days."""
    from tenxsom_flow_engine.operations import endpoints
    from tenxsom_flow_engine.text import plural

    with session(queue_type) as engine:
        begin = options.instant(since, engine.store.now()) or 0.0
        count = endpoints.replay(engine.store, webhook_id, begin)
    info(f"{plural(count, 'message')} will be sent again by a worker")


@webhook.command()
@click.argument("webhook_id", metavar="ID")
@click.option(
    "--overlap", type=options.Seconds(), default="24h", show_default=True, metavar="TIME",
    help="How long the old secret signs the messages, too.",
)  # fmt: skip
@options.queue_type
@options.as_json
def rotate(webhook_id: str, overlap: float, queue_type: str | None, as_json: bool) -> None:
    """Give a webhook a new secret and print it. For the time of the overlap, messages have both signatures."""
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.operations import endpoints
    from tenxsom_flow_engine.text import duration

    with session(queue_type) as engine:
        made = endpoints.rotate(engine.store, webhook_id, overlap)
    if as_json:
        print_json({"id": made.id, "secret": made.secret})
    else:
        out(made.secret)
    info(f"the old secret of webhook {made.id} signs its messages for another {duration(overlap)}")


@webhook.command()
@click.argument("webhook_id", metavar="ID")
@options.queue_type
def enable(webhook_id: str, queue_type: str | None) -> None:
    """Enable a webhook that was disabled because it failed for five days, or answered 410."""
    from tenxsom_flow_engine.events import EndpointKind
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        endpoints.enable(engine.store, webhook_id, EndpointKind.WEBHOOK)
    info(f"webhook {webhook_id} is enabled; send what it missed: {program()} webhook replay {webhook_id} --since 5d")


@webhook.command()
@click.argument("webhook_id", metavar="ID")
@options.queue_type
def remove(webhook_id: str, queue_type: str | None) -> None:
    """Remove a webhook, and the messages that wait for it."""
    from tenxsom_flow_engine.events import EndpointKind
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        endpoints.remove(engine.store, webhook_id, EndpointKind.WEBHOOK)
    info(f"webhook {webhook_id} is removed")
