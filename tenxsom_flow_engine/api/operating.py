"""Budgets, limits, the queue, the services and the statistics."""

from __future__ import annotations

from typing import Any

import msgspec
from werkzeug.exceptions import NotFound

from tenxsom_flow_engine.api import types
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.api.requests import decode
from tenxsom_flow_engine.api.routes import Call, Route
from tenxsom_flow_engine.api.types import AnyObject
from tenxsom_flow_engine.budgets import check_scope, parse_budget
from tenxsom_flow_engine.budgets.limits import CHANNEL, KEY
from tenxsom_flow_engine.errors import Forbidden
from tenxsom_flow_engine.rate_limits.windows import parse_windows
from tenxsom_flow_engine.report import public_json
from tenxsom_flow_engine.report.channels import channel_figures
from tenxsom_flow_engine.report.operator_json import budget, channel, describe_limits, describe_queue
from tenxsom_flow_engine.services.registry import service_specs


def budgets(call: Call) -> types.Budgets:
    """Return the budgets; a key of one channel sees that of its channel, and its own."""
    caller = call.caller
    own = (CHANNEL + caller.channel, KEY + caller.payer)
    uses = [use for use in call.engine.budgets.uses() if not caller.channel or use.budget.scope in own]
    return types.Budgets(budgets=tuple(msgspec.convert(budget(use), types.BudgetState) for use in uses))


def set_budget(call: Call) -> types.Budgets:
    """Set the budget of a scope."""
    scope = _budget_scope(call)
    limits = decode(call.data, types.SetBudget).limits
    call.engine.store.set_budget(scope, parse_budget(scope, limits))
    return budgets(call)


def remove_budget(call: Call) -> types.Budgets:
    """Remove the budget of a scope that was set at run time."""
    call.engine.store.set_budget(_budget_scope(call), None)
    return budgets(call)


def _budget_scope(call: Call) -> str:
    scope = check_scope(call.place["scope"])
    if call.caller.channel or call.has_budget:
        # Otherwise a key could raise the budget that limits it.
        raise Forbidden(
            "a key of one channel, or with a budget, cannot change budgets", next_step="use a key without either"
        )
    return scope


def limits(call: Call) -> AnyObject:
    """Return the quotas and their use; for a key of one channel without the ids of jobs."""
    found = describe_limits(call.engine)
    if call.caller.channel:
        for one in found["services"].values():
            if one["in_flight"]:
                one["in_flight"] = {name: one["in_flight"][name] for name in ("used", "limit")}
    return found


def set_limits(call: Call) -> AnyObject:
    """Replace the limits of a service."""
    call.caller.require_all_channels()
    windows = parse_windows(decode(call.data, types.SetLimits).limits)
    call.engine.limiter.set_limits(call.place["service"], windows)
    return describe_limits(call.engine)


def unset_limits(call: Call) -> AnyObject:
    """Restore the limits of a service from the environment."""
    call.caller.require_all_channels()
    call.engine.limiter.set_limits(call.place["service"], None)
    return describe_limits(call.engine)


def pause_service(call: Call) -> AnyObject:
    """Stop buying at a service."""
    call.caller.require_all_channels()
    why = decode(call.data if call.data.strip() else b"{}", types.Pause).why
    call.engine.limiter.pause(call.place["service"], why)
    return describe_limits(call.engine)


def resume_service(call: Call) -> AnyObject:
    """Resume a service."""
    call.caller.require_all_channels()
    call.engine.limiter.resume(call.place["service"])
    return describe_limits(call.engine)


def queue(call: Call) -> AnyObject:
    """Return the state of the queue; for a key of one channel without the texts that can name other jobs."""
    if call.caller.channel:
        return public_json.queue(call.process.report().queue)
    found: dict[str, Any] = describe_queue(call.engine)
    # Places on this machine are nothing that a client could use.
    return {name: value for name, value in found.items() if name not in ("store", "output_dir", "other_stores")}


def pause_queue(call: Call) -> AnyObject:
    """Pause the queue."""
    call.caller.require_all_channels()
    call.engine.queue.pause()
    return queue(call)


def resume_queue(call: Call) -> AnyObject:
    """Resume the queue."""
    call.caller.require_all_channels()
    call.engine.queue.resume()
    return queue(call)


def stats(call: Call) -> AnyObject:
    """Return all numbers, with the channels that the key may see."""
    report = call.process.report()
    figures = channel_figures(call.engine.store, report.at)
    channels = [channel(one) for one in figures if call.caller.covers(one.name)]
    return {**public_json.stats(report), "channels": channels}


def services(call: Call) -> types.Services:
    """Return all services, configured or not."""
    figures = {one.name: one for one in call.process.report().services}
    engine = call.engine
    found = []
    for name in dict.fromkeys([*service_specs(), *engine.services]):
        own = figures.get(name)
        configured = name in engine.services
        found.append(
            types.Service(
                name=name, configured=configured, chosen_by_auto=name in engine.auto_services,
                state=own.state if own and configured else None, opens_in=own.opens_in if own and configured else None,
                in_flight=own.in_flight if own else 0, max_in_flight=engine.slots.get(name),
                last_error=own.last_error.code if own and own.last_error else None,
            )
        )  # fmt: skip
    return types.Services(services=tuple(found))


def service(call: Call) -> types.Service:
    """Return one service."""
    for one in services(call).services:
        if one.name == call.place["service"]:
            return one
    raise NotFound(f"no service has the name {call.place['service'][:100]!r}")


_CHANGED = (413, 415)
ROUTES = (
    Route("GET", "/budgets", Scope.READ, budgets, "List budgets and their use", types.Budgets),
    Route(
        "PUT", "/budgets/{scope}", Scope.MONEY, set_budget, "Set a budget: all, channel:NAME, service:NAME, key:ID",
        types.Budgets, body=types.SetBudget, errors=_CHANGED, example={"limits": "10/d 200/mo Europe/Berlin"},
    ),
    Route("DELETE", "/budgets/{scope}", Scope.MONEY, remove_budget, "Remove a budget", types.Budgets),
    Route("GET", "/limits", Scope.READ, limits, "Show the limits of the services and their use", AnyObject),
    Route(
        "PUT", "/limits/{service}", Scope.MONEY, set_limits, "Replace the limits of a service, or of global", AnyObject,
        body=types.SetLimits, errors=_CHANGED, example={"limits": "2/s 20/m 200/h"},
    ),
    Route("DELETE", "/limits/{service}", Scope.MONEY, unset_limits, "Restore the environment's limits", AnyObject),
    Route("GET", "/queue", Scope.READ, queue, "Show the state of the queue", AnyObject),
    Route("POST", "/queue/pause", Scope.OPERATE, pause_queue, "Pause the queue", AnyObject),
    Route("POST", "/queue/resume", Scope.OPERATE, resume_queue, "Resume the queue", AnyObject),
    Route("GET", "/stats", Scope.READ, stats, "Show all numbers, like /stats", AnyObject),
    Route("GET", "/services", Scope.READ, services, "List the video services", types.Services),
    Route("GET", "/services/{service}", Scope.READ, service, "Show a video service", types.Service, errors=(404,)),
    Route(
        "POST", "/services/{service}/pause", Scope.OPERATE, pause_service, "Stop buying at a service", AnyObject,
        body=types.Pause, errors=_CHANGED,
    ),
    Route("POST", "/services/{service}/resume", Scope.OPERATE, resume_service, "Resume a service", AnyObject),
)  # fmt: skip
