"""`budget`: the most that may be spent in a day, week or month, for all jobs, a channel, a service or an API key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import completion, options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.program import Command, program
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import plural, usd

if TYPE_CHECKING:
    from tenxsom_flow_engine.budgets.forecast import BudgetUse

_HEAD = ("SCOPE", "LIMIT", "PERIOD", "USED", "SPENT", "RESERVED", "LEFT", "RESET", "SET BY")


def _scopes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return completion.scopes(options.queue_type_of(ctx), incomplete)


def _rest_of_scope(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete `channel:NAME` and `service:NAME` in bash, which takes them for several words."""
    if incomplete != ":" and tuple(ctx.params.get("limits") or ()) != (":",):
        return []
    kind = f"{ctx.params.get('scope')}:"
    found = completion.scopes(options.queue_type_of(ctx), kind + incomplete.removeprefix(":"))
    return [scope.removeprefix(kind) for scope in found]


_scope = click.argument("scope", shell_complete=_scopes)


@click.group(invoke_without_command=True)
@options.queue_type
@options.as_json
@click.pass_context
def budget(context: click.Context, queue_type: str | None, as_json: bool) -> None:
    """Show budgets and their use; set or remove one for all workers, at once.

    A budget is a number of US dollars in a calendar day, week or month of a time zone. Its scope is "all",
    "channel:NAME", "service:NAME" or "key:ID" (an API key). The expected cost of a video is reserved before it is
    bought, so the sum of all purchases stays within each budget that matches. Jobs wait while a budget is spent. A
    budget that is set here is stored and overrides the one of the same scope in TENXSOM_BUDGETS.
    """
    if context.invoked_subcommand is not None:
        context.obj = queue_type  # --queue-type works before the subcommand and after it
        return
    _show(queue_type, as_json=as_json)


@budget.command("list")
@options.queue_type
@options.as_json
@click.pass_obj
def list_(before: str | None, queue_type: str | None, as_json: bool) -> None:
    """Show each budget with what is spent, reserved and left in its present period."""
    _show(queue_type or before, as_json=as_json)


@budget.command(
    "set",
    cls=Command,
    epilog="\b\nExamples:\n  {program} budget set all 40/d\n"
    "  {program} budget set channel:fun 10/d 200/mo --timezone Europe/Berlin\n"
    "  {program} budget set service:heygen 50/mo",
)
@_scope
@click.argument("limits", nargs=-1, required=True, metavar="LIMIT...", shell_complete=_rest_of_scope)
@click.option("--timezone", metavar="ZONE", help="Zone of the days, weeks and months: Europe/Berlin. Default: UTC.")
@options.queue_type
@click.pass_obj
def set_(before: str | None, queue_type: str | None, scope: str, limits: tuple[str, ...], timezone: str | None) -> None:
    """Set the budget of a scope; what its periods have used so far counts.

    A limit is US dollars and a period: 40/d, 100/w, 200/mo. The last word can be the time zone, too.
    """
    from tenxsom_flow_engine.budgets import parse_budget
    from tenxsom_flow_engine.budgets.limits import check_scope

    wanted = parse_budget(check_scope(scope), " ".join((*limits, *filter(None, [timezone]))))
    with session(queue_type or before) as engine:
        engine.store.set_budget(scope, wanted)
    info(f"budget of {scope}: {wanted.text}; remove it with: {program()} budget remove {scope}")


@budget.command()
@_scope
@options.queue_type
@click.pass_obj
def remove(before: str | None, queue_type: str | None, scope: str) -> None:
    """Remove the budget of a scope that was set with this command; one of the environment applies again."""
    from tenxsom_flow_engine.budgets.limits import check_scope
    from tenxsom_flow_engine.errors import InvalidInput

    with session(queue_type or before) as engine:
        if check_scope(scope) not in (stored := engine.store.budgets()):
            step = f"budgets that were set: {', '.join(stored) or 'none'}"
            raise InvalidInput("scope", f"no budget was set for {scope}", next_step=step)
        engine.store.set_budget(scope, None)
        left = engine.settings.budgets.get(scope)
    info(f"budget of {scope}: {f'{left.text} (from the environment)' if left else 'none'}")


def _show(queue_type: str | None, *, as_json: bool) -> None:
    from tenxsom_flow_engine.cli.format import print_json, table
    from tenxsom_flow_engine.report.operator_json import budget as describe

    with session(queue_type) as engine:
        found = engine.budgets.uses()
    if as_json:
        print_json({"budgets": [describe(use) for use in found]})
    elif found:
        out(table(_rows(found), head=_HEAD))
    else:
        info(f"no budget is set; set one with: {program()} budget set all 40/d")
    if not as_json and (spent := sum(use.spent for use in found)):
        info(f"{plural(spent, 'limit')} spent: jobs wait until the reset, or until the budget is raised")


def _rows(found: Sequence[BudgetUse]) -> Iterator[list[str]]:
    from tenxsom_flow_engine.budgets import to_usd

    before: Any = None
    for use in found:
        amounts = use.amounts
        yield [
            use.budget.scope if use.budget is not before else "",
            f"${use.limit}",
            use.period.name,
            f"{use.share:.0%}",
            usd(to_usd(amounts.spent)),
            usd(to_usd(amounts.reserved)),
            usd(use.free),
            use.resets,
            "command" if use.stored else "TENXSOM_BUDGETS",
        ]
        before = use.budget
