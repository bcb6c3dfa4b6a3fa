"""`alert`: messages to people about problems that last."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info
from tenxsom_flow_engine.cli.program import Command, program
from tenxsom_flow_engine.cli.session import session

_HEAD = ("ID", "STATE", "URL", "AFTER", "FROM", "PENDING", "LAST SUCCESS (UTC)", "LAST ANSWER")


@click.group()
def alert() -> None:
    """Tell people about problems that last, by Apprise: chat, mail, push (docs/webhooks.md#alerts)."""


@alert.command(
    cls=Command,
    epilog="\b\nExamples:\n  {program} alert add ntfy://ntfy.sh/my-topic --after 10m\n"
    '  {program} alert add "mailto://user:password@example.org?to=me@example.org"',
)
@click.argument("url", metavar="URL")
@click.option(
    "--after", type=options.Seconds(), default="10m", show_default=True, metavar="TIME",
    help="Report only verdicts that last this long.",
)  # fmt: skip
@click.option("--notices", is_flag=True, help="Report notices as well as problems.")
@options.queue_type
@options.as_json
def add(url: str, after: float, notices: bool, queue_type: str | None, as_json: bool) -> None:
    """Add an alert and print its id: one message when a verdict has lasted, and one when it is over.

    URL is an address of Apprise. It can contain secrets, so it is not shown again.
    """
    from tenxsom_flow_engine.cli.console import out
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        made = endpoints.add_alert(engine, url, after, notices=notices)
    if as_json:
        print_json({"id": made.id, "url": made.shown_url, "after_seconds": made.after, "notices": made.notices})
    else:
        out(made.id)
    info(f"added alert {made.id}; try it: {program()} alert test {made.id}")


@alert.command("list")
@options.queue_type
@options.as_json
def list_(queue_type: str | None, as_json: bool) -> None:
    """List the alerts, with their latest answers. Of their addresses only the beginning is shown."""
    from tenxsom_flow_engine.cli.endpoint_text import print_list
    from tenxsom_flow_engine.events import EndpointKind
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        found = endpoints.states(engine.store, EndpointKind.ALERT)
    print_list(found, "alerts", _HEAD, as_json)


@alert.command()
@click.argument("alert_id", metavar="ID")
@options.queue_type
def test(alert_id: str, queue_type: str | None) -> int:
    """Send a test message now. Exits with 1 if it was not accepted."""
    from tenxsom_flow_engine.cli.endpoint_text import finish_test
    from tenxsom_flow_engine.events import EndpointKind
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        return finish_test(endpoints.send_test(engine, alert_id, EndpointKind.ALERT))


@alert.command()
@click.argument("alert_id", metavar="ID")
@options.queue_type
def enable(alert_id: str, queue_type: str | None) -> None:
    """Enable an alert that was disabled because it failed for five days."""
    from tenxsom_flow_engine.events import EndpointKind
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        endpoints.enable(engine.store, alert_id, EndpointKind.ALERT)
    info(f"alert {alert_id} is enabled")


@alert.command()
@click.argument("alert_id", metavar="ID")
@options.queue_type
def remove(alert_id: str, queue_type: str | None) -> None:
    """Remove an alert."""
    from tenxsom_flow_engine.events import EndpointKind
    from tenxsom_flow_engine.operations import endpoints

    with session(queue_type) as engine:
        endpoints.remove(engine.store, alert_id, EndpointKind.ALERT)
    info(f"alert {alert_id} is removed")
