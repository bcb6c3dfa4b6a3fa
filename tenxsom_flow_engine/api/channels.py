"""The channels: their settings, pauses and figures."""

from __future__ import annotations

from typing import Any

import msgspec

from tenxsom_flow_engine.api import types
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.api.requests import decode
from tenxsom_flow_engine.api.routes import Call, Route
from tenxsom_flow_engine.channels.settings import Channel, check_name
from tenxsom_flow_engine.operations import channels
from tenxsom_flow_engine.operations.channels import ChannelState, channel_states, checked, read_limits, state_of


def list_channels(call: Call) -> types.Channels:
    """Return the channels that have settings or unfinished jobs; a key of one channel sees only that one."""
    own = call.caller.channel
    found = [state_of(call.engine.store, own)] if own else channel_states(call.engine.store)
    return types.Channels(channels=tuple(map(_describe, found)))


def show(call: Call) -> types.ChannelState:
    """Return a channel."""
    return _describe(state_of(call.engine.store, _name(call)))


def put(call: Call) -> types.ChannelState:
    """Replace the settings of a channel; its pause stays."""
    _require_settings(call)
    name, body = _name(call), decode(call.data, types.ChannelSettings)
    settings = Channel(
        weight=body.weight,
        limits=read_limits(body.limits) if body.limits else "",
        slots=body.slots,
        defaults=body.defaults,
    )

    def change(present: Channel) -> Channel:
        return msgspec.structs.replace(settings, paused=present.paused, why=present.why)

    checked(call.engine, name, settings)
    call.engine.store.set_channel(name, change)
    return show(call)


def remove(call: Call) -> types.ChannelState:
    """Remove the settings of a channel, also its pause."""
    _require_settings(call)
    call.engine.store.set_channel(_name(call), lambda present: None)
    return show(call)


def _require_settings(call: Call) -> None:
    """Raise `Forbidden` for a key of one channel, or with a budget: defaults change what the jobs of others cost."""
    call.caller.require_all_channels()
    call.require_no_budget("change the settings of channels")


def pause(call: Call) -> types.ChannelState:
    """Buy no more videos for a channel."""
    why = decode(call.data if call.data.strip() else b"{}", types.Pause).why
    channels.pause(call.engine.store, _name(call), why)
    return show(call)


def resume(call: Call) -> types.ChannelState:
    """Continue a paused channel."""
    channels.resume(call.engine.store, _name(call))
    return show(call)


def _name(call: Call) -> str:
    """Return the channel of a request. Raises `Forbidden` for a key of another channel."""
    name = check_name(call.place["channel"])
    call.caller.own_channel(name)
    return name


def _describe(state: ChannelState) -> types.ChannelState:
    settings = state.settings
    return types.ChannelState(
        channel=state.name,
        weight=settings.weight,
        limits=settings.limits or None,
        slots=settings.slots,
        defaults=dict(settings.defaults),
        paused=settings.paused,
        why=settings.why or None,
        waiting=state.waiting,
        in_flight=state.in_flight,
        jobs={status.value: count for status, count in state.by_status.items() if count},
    )


_EXAMPLE: dict[str, Any] = {"weight": 2, "limits": "4/h", "slots": 2, "defaults": {"style": "cinematic"}}
_CHANGED = (413, 415)
ROUTES = (
    Route("GET", "/channels", Scope.READ, list_channels, "List channels", types.Channels),
    Route("GET", "/channels/{channel}", Scope.READ, show, "Show a channel", types.ChannelState),
    Route(
        "PUT", "/channels/{channel}", Scope.OPERATE, put, "Replace the settings of a channel", types.ChannelState,
        body=types.ChannelSettings, errors=_CHANGED, example=_EXAMPLE,
    ),
    Route("DELETE", "/channels/{channel}", Scope.OPERATE, remove, "Remove settings of a channel", types.ChannelState),
    Route(
        "POST", "/channels/{channel}/pause", Scope.OPERATE, pause, "Pause a channel", types.ChannelState,
        body=types.Pause, errors=_CHANGED,
    ),
    Route("POST", "/channels/{channel}/resume", Scope.OPERATE, resume, "Resume a channel", types.ChannelState),
)  # fmt: skip
