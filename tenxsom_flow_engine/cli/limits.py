"""`limits`: show the quotas of the services and their use, and change them while workers run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.program import Command, program
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import duration, plural, within

#: Width of a bar in cells.
BAR = 20

_SET_EPILOG = """\b
Examples:
  {program} limits set pixverse 2/s 20/m 200/h
  {program} limits set global 10/s
"""
_HEAD = ("SERVICE", "STATE", "PACE", "LIMIT", "USED", "", "FREE IN")


def _services(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from tenxsom_flow_engine.errors import ConfigurationError
    from tenxsom_flow_engine.services.registry import service_specs
    from tenxsom_flow_engine.settings import load

    try:
        names = dict.fromkeys((*load().limits, *service_specs()))
    except ConfigurationError:  # completion has no place to show an error
        return []
    return [name for name in names if name.startswith(incomplete)]


_service = click.argument("service", shell_complete=_services)


@click.group(invoke_without_command=True)
@options.queue_type
@options.as_json
@click.pass_context
def limits(context: click.Context, queue_type: str | None, as_json: bool) -> None:
    """Show the use of each limit; change limits for all workers.

    A limit is a number of paid requests in any second, minute, hour or day, for one service or for all services
    together (`global`). A limit that is set here is stored and overrides TENXSOM_LIMITS. The line "in flight" counts
    the generations that the service is rendering now, also those of cancelled jobs; workers ask the service twice a
    minute whether those have ended.

    PACE is the share of the limits in use: it falls when a service reports that it is busy, and recovers. FREE IN is
    the time until a full limit has room again.
    """
    if context.invoked_subcommand is not None:
        context.obj = queue_type  # --queue-type works before the subcommand and after it
        return
    from tenxsom_flow_engine.cli.format import print_json, table
    from tenxsom_flow_engine.report.operator_json import describe_limits

    with session(queue_type) as engine:
        found = describe_limits(engine)
    if as_json:
        print_json(found)
        return
    out(table(_rows(found), head=_HEAD))
    for line in _notes(found):
        out(line)


@limits.command(
    "set",
    cls=Command,
    epilog="\b\nExamples:\n  {program} limits set pixverse 2/s 20/m 200/h\n  {program} limits set global 10/s",
)
@_service
@click.argument("windows", nargs=-1, required=True, metavar="LIMIT...")
@options.queue_type
@click.pass_obj
def set_(before: str | None, queue_type: str | None, service: str, windows: tuple[str, ...]) -> None:
    """Replace all limits of a service, or of `global`.

    A limit is a number and a time: 2/s, 20/m, 100/15m, 2000/d; "none" removes all limits.
    """
    from tenxsom_flow_engine.rate_limits.windows import parse_windows

    wanted = parse_windows(" ".join(windows))
    with session(queue_type or before) as engine:
        engine.limiter.set_limits(service, wanted)
    info(f"limits of {service}: {_limits_text(wanted)}; undo with: {program()} limits unset {service}")


@limits.command()
@_service
@options.queue_type
@click.pass_obj
def unset(before: str | None, queue_type: str | None, service: str) -> None:
    """Restore the limits of a service from the environment."""
    with session(queue_type or before) as engine:
        engine.limiter.set_limits(service, None)
        now = engine.settings.limits.get(service, ())
    info(f"limits of {service}: {_limits_text(now)} (from the environment)")


@limits.command()
@_service
@click.option("--why", default="paused", show_default=True, help="Reason to show in lists and on the dashboard.")
@options.queue_type
@click.pass_obj
def pause(before: str | None, queue_type: str | None, service: str, why: str) -> None:
    """Stop buying at a service, in all workers; paid videos are completed."""
    with session(queue_type or before) as engine:
        engine.limiter.pause(service, why)
    info(f"{service} is paused; resume it with: {program()} limits resume {service}")


@limits.command()
@_service
@options.queue_type
@click.pass_obj
def resume(before: str | None, queue_type: str | None, service: str) -> None:
    """Resume a service that was paused, or stopped by an account error."""
    with session(queue_type or before) as engine:
        engine.limiter.resume(service)
    info(f"{service} is resumed")


def _limits_text(windows: tuple[Any, ...]) -> str:
    return ", ".join(map(str, windows)) or "none"


def _rows(found: dict[str, Any]) -> Iterator[list[str]]:
    for name, service in found["services"].items():
        about = [name, service["state"], f"{service['pace']:.0%}"]
        in_flight = service["in_flight"]
        windows = [
            *service["windows"],
            *([{"window": "in flight", **in_flight, "frees_in": None}] if in_flight else []),
        ]
        yield from _lines(about, windows, set_here=service["set_at_run_time"])
    yield from _lines(["global", "", ""], found["global"]["windows"], set_here=found["global"]["set_at_run_time"])


def _lines(about: list[str], windows: list[dict[str, Any]], *, set_here: bool) -> Iterator[list[str]]:
    for window in windows or [{"window": "none", "used": 0, "limit": 0, "frees_in": 0.0}]:
        limit = window["window"] + ("*" if set_here and window["window"] != "in flight" else "")
        free_in = window["frees_in"]
        yield [
            *about,
            limit,
            _bar(window["used"], window["limit"]) if window["limit"] else "",
            f"{window['used']}/{window['limit']}" if window["limit"] else "",
            duration(max(1.0, free_in)) if free_in else "",
        ]
        about = ["", "", ""]


def _bar(used: int, limit: int) -> str:
    # Any use fills at least one cell; only an exhausted limit fills the bar.
    filled = BAR if used >= limit else min(BAR - 1, -(-used * BAR // limit))
    return "█" * filled + "░" * (BAR - filled)


def _notes(found: dict[str, Any]) -> Iterator[str]:
    from tenxsom_flow_engine.report.verdicts import occupied_slots

    services = {**found["services"], "global": found["global"]}
    if any(service["set_at_run_time"] for service in services.values()):
        yield f"* set with this command; undo with: {program()} limits unset SERVICE"
    for name, service in found["services"].items():
        if service["why"]:
            opens_in = service["opens_in"]
            resume = f"resume it with: {program()} limits resume {name}"
            when = resume if opens_in is None else f"opens {within(opens_in)}"
            yield f"{service['why']}; {when}"
        if (slots := service["in_flight"]) and slots["unattended_for"] is not None:
            ended, in_doubt = len(slots["cancelled_or_failed"]), slots["in_doubt"]
            yield f"{name}: {occupied_slots(ended, in_doubt, slots['unattended_for'])}"
    total = found["total"]
    wait, score = total["wait"], found["efficiency_metrics"]["efficiency_score"]
    yield (
        f"{plural(total['requests'], 'request')}: {total['admitted_at_once']:,} admitted immediately,"
        f" {total['delayed']:,} after a wait, {total['waiting']:,} waiting;"
        f" mean wait {_seconds(wait['mean'])}, p95 {_seconds(wait['p95'])};"
        f" {total['refused_by_service']:,} refused by the services; efficiency {score:g} of 100"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} s"
