"""`limits`: the quotas of the services, how much of them is used, and changing them while all runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import count, info, out
from tenxsom_flow_engine.cli.session import session

#: Cells of a bar.
BAR = 20

_HEAD = ("SERVICE", "STATE", "PACE", "LIMIT", "USED", "", "FREES")


def _services(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from tenxsom_flow_engine.errors import ConfigurationError
    from tenxsom_flow_engine.services.registry import service_specs
    from tenxsom_flow_engine.settings import load

    try:
        names = dict.fromkeys((*load().limits, *service_specs()))
    except ConfigurationError:  # a shell that completes has no place to show an error
        return []
    return [name for name in names if name.startswith(incomplete)]


_service = click.argument("service", shell_complete=_services)


@click.group(invoke_without_command=True)
@options.queue_type
@options.as_json
@click.pass_context
def limits(context: click.Context, queue_type: str | None, as_json: bool) -> None:
    """Show how much of each limit is used, and change limits for all workers.

    Limits are paid creates in any second, minute, hour or day, for each service and for all together (`global`). What
    is set here is kept and wins over TENXSOM_LIMITS.
    """
    if context.invoked_subcommand is not None:
        context.obj = queue_type  # before the verb it does as well as behind it
        return
    from tenxsom_flow_engine.cli.format import print_json, table
    from tenxsom_flow_engine.report.operator_json import describe_limits

    with session(queue_type) as engine:
        found = describe_limits(engine)
    if as_json:
        print_json(found)
        return
    out(table(_rows(found), head=_HEAD))
    for line in _remarks(found):
        out(line)


@limits.command("set", epilog="\b\nExamples:\n  limits set pixverse 2/s 20/m 200/h\n  limits set global 10/s")
@_service
@click.argument("windows", nargs=-1, required=True, metavar="LIMIT...")
@options.queue_type
@click.pass_obj
def set_(before: str | None, queue_type: str | None, service: str, windows: tuple[str, ...]) -> None:
    """Set the limits of a service, or of `global`, in place of all it has: 2/s, 20/m, 100/15m, 2000/d, or none."""
    from tenxsom_flow_engine.rate_limits.windows import parse_windows

    wanted = parse_windows(" ".join(windows))
    with session(queue_type or before) as engine:
        engine.limiter.set_limits(service, wanted)
    back = f"back to the environment's with: run_flow_enhanced.py limits unset {service}"
    info(f"{service} has {_words(wanted)} now; {back}")


@limits.command()
@_service
@options.queue_type
@click.pass_obj
def unset(before: str | None, queue_type: str | None, service: str) -> None:
    """Let the environment's limits of a service hold again."""
    with session(queue_type or before) as engine:
        engine.limiter.set_limits(service, None)
        now = engine.settings.limits.get(service, ())
    info(f"{service} has {_words(now)} now, as the environment says")


@limits.command()
@_service
@click.option("--why", default="paused", show_default=True, help="What others see as the reason.")
@options.queue_type
@click.pass_obj
def pause(before: str | None, queue_type: str | None, service: str, why: str) -> None:
    """Buy nothing more of a service, in all workers; what is bought already goes on."""
    with session(queue_type or before) as engine:
        engine.limiter.pause(service, why)
    info(f"{service} is paused; go on with: run_flow_enhanced.py limits resume {service}")


@limits.command()
@_service
@options.queue_type
@click.pass_obj
def resume(before: str | None, queue_type: str | None, service: str) -> None:
    """Let a service go on that was paused, or that stopped by itself for its key, plan or money."""
    with session(queue_type or before) as engine:
        engine.limiter.resume(service)
    info(f"{service} goes on")


def _words(windows: tuple[Any, ...]) -> str:
    return ", ".join(map(str, windows)) or "no limits"


def _rows(found: dict[str, Any]) -> Iterator[list[str]]:
    for name, service in found["services"].items():
        about = [name, service["state"], f"{service['pace']:.0%}"]
        in_flight = service["in_flight"]
        windows = [*service["windows"], *([{"window": "at once", **in_flight, "frees_in": None}] if in_flight else [])]
        yield from _lines(about, windows, by_hand=service["set_at_run_time"])
    yield from _lines(["global", "", ""], found["global"]["windows"], by_hand=found["global"]["set_at_run_time"])


def _lines(about: list[str], windows: list[dict[str, Any]], *, by_hand: bool) -> Iterator[list[str]]:
    for window in windows or [{"window": "none", "used": 0, "limit": 0, "frees_in": 0.0}]:
        limit = window["window"] + ("*" if by_hand and window["window"] != "at once" else "")
        frees = window["frees_in"]
        yield [
            *about,
            limit,
            _bar(window["used"], window["limit"]) if window["limit"] else "",
            f"{window['used']}/{window['limit']}" if window["limit"] else "",
            _in(frees) if frees else "",
        ]
        about = ["", "", ""]


def _bar(used: int, limit: int) -> str:
    # Whoever has used anything sees it, and only who has used all sees a full bar.
    filled = BAR if used >= limit else min(BAR - 1, -(-used * BAR // limit))
    return "█" * filled + "░" * (BAR - filled)


def _remarks(found: dict[str, Any]) -> Iterator[str]:
    services = {**found["services"], "global": found["global"]}
    if any(service["set_at_run_time"] for service in services.values()):
        yield "* set by hand; back to the environment's with: run_flow_enhanced.py limits unset SERVICE"
    for name, service in found["services"].items():
        if service["why"]:
            opens_in = service["opens_in"]
            when = (
                f"opens {_in(opens_in)}"
                if opens_in is not None
                else f"go on with: run_flow_enhanced.py limits resume {name}"
            )
            yield f"{service['why']}; {when}"
    total = found["total"]
    wait, score = total["wait"], found["efficiency_metrics"]["efficiency_score"]
    yield (
        f"{count(total['requests'], 'request')}: {total['admitted_at_once']:,} admitted at once,"
        f" {total['delayed']:,} later, {total['waiting']:,} waiting;"
        f" mean wait {_seconds(wait['mean'])}, p95 {_seconds(wait['p95'])};"
        f" {total['refused_by_service']:,} refused by the services; efficiency {score:g} of 100"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} s"


def _in(seconds: float) -> str:
    """Write a time to come in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"in {seconds / length:.0f} {unit}"
    return f"in {seconds:.0f} s" if seconds >= 1 else "now"
