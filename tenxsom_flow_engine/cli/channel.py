"""`channel`: the weight, limits, slots, defaults and pause of a channel, and what its jobs do."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.program import Command, program
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import plural

if TYPE_CHECKING:
    from tenxsom_flow_engine.channels.settings import Channel
    from tenxsom_flow_engine.engine import Engine

_HEAD = ("CHANNEL", "WEIGHT", "LIMITS", "SLOTS", "STATE", "WAITING", "IN FLIGHT", "DEFAULTS")
_name = click.argument("name", shell_complete=options.channels)

FILE_HELP = """\b
The file has a table for each channel, with any of these keys:
  [fun]
  weight = 2
  limits = "4/h"
  slots = 2
  paused = false
  [fun.defaults]
  style = "cinematic"
  service = "pixverse"
Channels that the file does not name are unchanged; a key that it omits gets its default.
"""


@click.group()
@options.queue_type
@click.pass_context
def channel(context: click.Context, queue_type: str | None) -> None:
    """Divide the quotas between channels: weights, limits, slots, defaults and pauses.

    A channel is the tag that jobs carry (--channel). While several channels wait, each gets its share of the
    admissions, by weight. A channel without settings has the weight 1. A change applies to all workers at once.
    """
    context.obj = queue_type


@channel.command(
    "set",
    cls=Command,
    epilog="\b\nExamples:\n  {program} channel set fun --weight 2 --limits 4/h --slots 2\n"
    "  {program} channel set fun --style cinematic --service pixverse\n"
    "  {program} channel set fun --limits none",
)
@_name
@click.option("--weight", type=float, help="Share of admissions, relative to other channels that wait. Default: 1.")
@click.option("--limits", metavar="WINDOWS", help="Own limits: 4/h, or '2/h 20/d'; none removes them.")
@click.option("--slots", metavar="N", help="Most generations in flight at a time; none removes the limit.")
@click.option(
    "--service", help="Service of its jobs, where a job names none; none removes this.", shell_complete=options.services
)
@click.option("--style", help="Style of its jobs, likewise.")
@click.option("--duration", metavar="SECONDS", help="Length of its videos, likewise.")
@click.option("--aspect-ratio", help="Shape of its pictures, likewise.")
@click.option("--quality", help="Quality of its videos, likewise.")
@options.queue_type
@click.pass_obj
def set_(
    before: str | None,
    /,
    name: str,
    queue_type: str | None,
    weight: float | None,
    limits: str | None,
    slots: str | None,
    **defaults: str | None,
) -> None:
    """Change settings of a channel; those that are not named stay."""
    import msgspec

    from tenxsom_flow_engine.channels.settings import check_name
    from tenxsom_flow_engine.operations.channels import checked, merged_defaults, read_limits, read_slots

    changes: dict[str, Any] = {}
    if weight is not None:
        changes["weight"] = weight
    if limits is not None:
        changes["limits"] = read_limits(limits)
    if slots is not None:
        changes["slots"] = read_slots(slots)
    given = {key: value for key, value in defaults.items() if value is not None}
    if not changes and not given:
        raise click.UsageError("name at least one setting, such as --weight 2")

    def change(present: Channel) -> Channel:
        return msgspec.structs.replace(present, **changes, defaults=merged_defaults(present.defaults, given))

    with session(queue_type or before) as engine:
        engine.store.set_channel(check_name(name), lambda present: checked(engine, name, change(present)))
        _report(engine, name)


@channel.command()
@_name
@click.option("--why", default="", help="The reason, which is shown wherever the channel is.")
@options.queue_type
@click.pass_obj
def pause(before: str | None, name: str, queue_type: str | None, why: str) -> None:
    """Buy no more videos for a channel. Its jobs wait, and what was bought is finished."""
    from tenxsom_flow_engine.operations import channels

    with session(queue_type or before) as engine:
        channels.pause(engine.store, name, why)
        _report(engine, name)
    info(f"resume it with: {program()} channel resume {name}")


@channel.command()
@_name
@options.queue_type
@click.pass_obj
def resume(before: str | None, name: str, queue_type: str | None) -> None:
    """Continue a paused channel."""
    from tenxsom_flow_engine.operations import channels

    with session(queue_type or before) as engine:
        channels.resume(engine.store, name)
        _report(engine, name)


@channel.command()
@_name
@options.queue_type
@click.pass_obj
def remove(before: str | None, name: str, queue_type: str | None) -> None:
    """Remove the settings of a channel. Its jobs stay, and have the weight 1."""
    from tenxsom_flow_engine.errors import InvalidInput

    with session(queue_type or before) as engine:
        if name not in (stored := engine.store.channels()):
            step = f"channels with settings: {', '.join(stored) or 'none'}"
            raise InvalidInput("channel", f"{name!r} has no settings", next_step=step)
        engine.store.set_channel(name, lambda present: None)
    info(f"channel {name} has no settings any more")


@channel.command("list")
@options.queue_type
@options.as_json
@click.pass_obj
def list_(before: str | None, queue_type: str | None, as_json: bool) -> None:
    """Show the channels that have settings or unfinished jobs."""
    from tenxsom_flow_engine.cli.format import print_json, table
    from tenxsom_flow_engine.operations.channels import channel_states, describe

    with session(queue_type or before) as engine:
        found = channel_states(engine.store)
    if as_json:
        print_json({"channels": [describe(state) for state in found]})
    elif found:
        out(
            table(
                (
                    [
                        state.name or "(none)",
                        f"{state.settings.weight:g}",
                        state.settings.limits or "–",
                        "–" if state.settings.slots is None else str(state.settings.slots),
                        "paused" if state.settings.paused else "open",
                        f"{state.waiting:,}",
                        f"{state.in_flight:,}",
                        ", ".join(f"{key} {value}" for key, value in state.settings.defaults.items()) or "–",
                    ]
                    for state in found
                ),
                head=_HEAD,
            )
        )
    else:
        info(f"no channel has settings or unfinished jobs; set some with: {program()} channel set NAME --weight 2")


@channel.command()
@_name
@options.queue_type
@options.as_json
@click.pass_obj
def show(before: str | None, name: str, queue_type: str | None, as_json: bool) -> None:
    """Show a channel: its settings, its jobs by status, and its budget."""
    from tenxsom_flow_engine.channels.settings import check_name
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.operations.channels import describe, state_of

    with session(queue_type or before) as engine:
        state = state_of(engine.store, check_name(name))
        budgets = [use for use in engine.budgets.uses() if use.budget.scope == f"channel:{name}"]
    if as_json:
        print_json(describe(state))
        return
    settings = state.settings
    rows: list[tuple[str, str]] = [
        ("channel", name),
        ("state", f"paused: {settings.why}" if settings.paused and settings.why else _state(settings)),
        ("weight", f"{settings.weight:g}"),
        ("limits", settings.limits or "no own limits"),
        ("slots", "no own limit" if settings.slots is None else f"{state.in_flight} of {settings.slots}"),
        *((f"default {key}", str(value)) for key, value in settings.defaults.items()),
        *((status.value, f"{count:,}") for status, count in state.by_status.items() if count),
        *(("budget", f"${use.limit}, {use.share:.0%} used") for use in budgets),
    ]
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        out(f"{key:{width}}  {value}")


@channel.command(cls=Command, epilog=FILE_HELP)
@click.argument("file", type=click.File("rb"), default="channels.toml")
@options.queue_type
@click.option("--dry-run", is_flag=True, help="Check the file and show what would change; change nothing.")
@click.pass_obj
def apply(before: str | None, file: io.BufferedReader, queue_type: str | None, dry_run: bool) -> None:
    """Set channels as a file says (default: channels.toml). Applying it again changes nothing."""
    from tenxsom_flow_engine.operations.channels import checked, read_file

    with session(queue_type or before) as engine:
        wanted = {name: checked(engine, name, settings) for name, settings in read_file(file.read()).items()}
        present = engine.store.channels()
        changed = {name: settings for name, settings in wanted.items() if present.get(name) != settings}
        if not dry_run:
            for name, settings in changed.items():
                engine.store.set_channel(name, _constant(settings))
    verb = "would change" if dry_run else "changed"
    info(f"{verb} {plural(len(changed), 'channel')} of {len(wanted)}{': ' if changed else ''}{', '.join(changed)}")


def _constant(settings: Channel) -> Callable[[Channel], Channel]:
    return lambda present: settings


def _report(engine: Engine, name: str) -> None:
    info(f"channel {name}: {_describe(engine.store.channel(name))}")


def _describe(settings: Channel) -> str:
    parts: Mapping[str, str] = {
        "weight": f"{settings.weight:g}",
        "limits": settings.limits,
        "slots": "" if settings.slots is None else str(settings.slots),
        **{key: str(value) for key, value in settings.defaults.items()},
    }
    shown = ", ".join(f"{key} {value}" for key, value in parts.items() if value)
    return f"{shown}, {_state(settings)}"


def _state(settings: Channel) -> str:
    return "paused" if settings.paused else "open"
