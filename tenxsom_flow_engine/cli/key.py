"""`key`: API keys for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.program import Command, program
from tenxsom_flow_engine.cli.session import session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tenxsom_flow_engine.api.keys import ApiKey
    from tenxsom_flow_engine.budgets import Budget

_HEAD = ("ID", "SCOPES", "CHANNEL", "BUDGET", "CREATED (UTC)", "LAST USED (UTC)", "EXPIRES (UTC)", "STATE")


@click.group()
def key() -> None:
    """Create, list and revoke keys of the HTTP API (docs/api.md)."""


@key.command(
    cls=Command,
    epilog="\b\nExamples:\n  {program} key create --scopes read,add --expires 90d\n"
    "  {program} key create --scopes read,add --channel fun",
)
@click.option(
    "--scopes", default="read,add", show_default=True, metavar="SCOPES",
    help="Rights of the key: read (see jobs and numbers), add (plan and add jobs), operate (retry, cancel, edit, "
    "resolve, pause), money (change budgets and limits).",
)  # fmt: skip
@click.option("--channel", default="", metavar="NAME", help="See and add jobs of this channel only.")
@click.option(
    "--budget",
    default="",
    metavar="LIMITS",
    help="The most that its jobs may cost: 5/d, or 5/d 50/mo; change it later with: budget set key:ID 8/d",
)
@click.option("--expires", type=options.Seconds(), metavar="TIME", help="Time until the key ends: 90d. Default: never.")
@options.queue_type
@options.as_json
def create(
    scopes: str, channel: str, budget: str, expires: float | None, queue_type: str | None, as_json: bool
) -> None:
    """Create a key and print it. It is shown only now; the store has a hash of it."""
    from tenxsom_flow_engine.api import keys
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.errors import InvalidInput
    from tenxsom_flow_engine.jobs import VideoJob

    if expires is not None and expires <= 0:
        raise InvalidInput("expires", "must be in the future")
    VideoJob(job_id="x", topic="x", created_at=0.0, channel=channel)  # checks the channel
    wanted = keys.parse_scopes(scopes)
    with session(queue_type) as engine:
        text, made = keys.create(engine.store, wanted, channel=channel, seconds=expires, budget=budget)
        budgets = engine.store.budgets()
    if as_json:
        print_json({"key": text, **_described(made, budgets)})
    else:
        out(text)
    info(f"created key {made.key_id}; it is not shown again; end it with: {program()} key revoke {made.key_id}")


@key.command("list")
@options.queue_type
@options.as_json
def list_(queue_type: str | None, as_json: bool) -> None:
    """List the keys, with their last use, to the minute. The keys themselves are stored nowhere."""
    from tenxsom_flow_engine.api import keys
    from tenxsom_flow_engine.cli.format import print_json, short_time, table

    with session(queue_type) as engine:
        found, now = keys.list_keys(engine.store), engine.store.now()
        budgets = engine.store.budgets()
    rows = [_described(one, budgets) | {"state": _state(one, now)} for one in found]
    if as_json:
        print_json({"keys": rows})
    elif not rows:
        info(f"no keys; create one with: {program()} key create")
    else:
        times = ("created_at", "last_used_at", "expires_at")
        out(
            table(
                [
                    [
                        str(row["id"]), ",".join(row["scopes"]), row["channel"] or "all", row["budget"] or "-",
                        *(short_time(row[name]) if row[name] else "-" for name in times), row["state"],
                    ]
                    for row in rows
                ],
                head=_HEAD,
            )
        )  # fmt: skip


@key.command()
@click.argument("key_id", metavar="ID")
@options.queue_type
def revoke(key_id: str, queue_type: str | None) -> None:
    """End a key at once, for all processes. ID is its id, as `key list` shows it."""
    from tenxsom_flow_engine.api import keys

    with session(queue_type) as engine:
        keys.revoke(engine.store, key_id)
    info(f"key {key_id} is revoked")


def _described(one: ApiKey, budgets: Mapping[str, Budget]) -> dict[str, Any]:
    from tenxsom_flow_engine.budgets.limits import KEY
    from tenxsom_flow_engine.clock import iso

    budget = budgets.get(KEY + one.key_id)

    times = {"created_at": one.created_at, "last_used_at": one.last_used_at, "expires_at": one.expires_at}
    shown = {name: iso(at) if at is not None else None for name, at in times.items()}
    return {
        "id": one.key_id, "scopes": [str(scope) for scope in one.scopes], "channel": one.channel or None,
        "budget": budget.text if budget else None, **shown,
    }  # fmt: skip


def _state(one: ApiKey, now: float) -> str:
    return "revoked" if one.revoked_at is not None else "valid" if one.valid_at(now) else "expired"
