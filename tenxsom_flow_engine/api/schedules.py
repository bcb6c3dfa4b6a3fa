"""The schedules that are kept in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Response
from msgspec.structs import replace
from werkzeug.exceptions import NotFound

from tenxsom_flow_engine.api import types
from tenxsom_flow_engine.api.acting_once import act_once
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.api.requests import decode
from tenxsom_flow_engine.api.routes import Call, Route
from tenxsom_flow_engine.api.types import AnyObject
from tenxsom_flow_engine.channels.schedules import CatchUp, Schedule, Topic
from tenxsom_flow_engine.errors import ActionRefused, InvalidInput
from tenxsom_flow_engine.operations import schedules
from tenxsom_flow_engine.operations.schedules import add_schedule, cancel_planned, draft_schedule, remove_schedule
from tenxsom_flow_engine.planning.schedules import ScheduleTerms, parse_days, with_topics
from tenxsom_flow_engine.report.operator_json import schedule as describe

_JOB_FIELDS = ("prompt", "style", "duration", "aspect_ratio", "service", "quality", "priority")


_CHECK = "check the schedule"


def list_schedules(call: Call) -> AnyObject:
    """Return the schedules; a key of one channel sees those of its channel."""
    now = call.engine.store.now()
    found = [one for one in call.engine.store.schedules() if call.caller.covers(one.channel)]
    return {"schedules": [describe(one, now) for one in found]}


def show(call: Call) -> AnyObject:
    """Return a schedule."""
    return describe(_require(call), call.engine.store.now())


def put(call: Call) -> AnyObject:
    """Keep a schedule and plan its first slots; the same request again changes nothing."""
    engine, name, body = call.engine, call.place["schedule"], decode(call.data, types.NewSchedule)
    channel = call.caller.own_channel(body.channel) or ""
    terms = ScheduleTerms(
        channel, body.daily_count, body.videos_per_hour, parse_days(body.days), body.timezone, body.start,
        body.start_by, CatchUp(body.catch_up), body.repeat,
    )  # fmt: skip
    topics = _topics(body.topics)
    if body.repeat and topics is None:
        raise InvalidInput("repeat", "needs topics", next_step="the built-in topics are always repeated")
    given = {key: value for key in _JOB_FIELDS if (value := getattr(body, key)) is not msgspec.UNSET}
    if call.caller.payer:
        given["key_id"] = call.caller.payer
    new = draft_schedule(engine, name, terms, given, topics)
    existing = engine.store.schedule(name)
    if existing is not None:
        if not _same(existing, new):
            raise ActionRefused(f"a schedule called {name} exists", next_step="remove it first, or use another name")
        return describe(existing, engine.store.now())
    engine.planner.prepare(engine.planner.preview(new), dict(enumerate(topics or ())))
    add_schedule(engine, new, topics or ())
    engine.planner.plan(name)
    return describe(engine.store.require_schedule(name), engine.store.now())


def remove(call: Call) -> AnyObject:
    """Remove a schedule, and with `cancel_planned` its planned jobs."""
    schedule = remove_schedule(call.engine, _require(call).name)
    return {
        "removed": schedule.name,
        "cancelled": cancel_planned(call.engine, schedule) if call.query.cancel_planned else 0,
    }


def pause(call: Call) -> AnyObject:
    """Plan no more slots; planned jobs stay."""
    why = decode(call.data if call.data.strip() else b"{}", types.Pause).why
    schedules.pause(call.engine.store, _require(call).name, why)
    return show(call)


def resume(call: Call) -> AnyObject:
    """Continue a paused schedule."""
    name = _require_paid(call).name
    schedules.resume(call.engine.store, name)
    call.engine.planner.plan(name)
    return show(call)


def add_topics(call: Call) -> Response:
    """Append topics to the list of a schedule."""
    topics = _topics(decode(call.data, types.Topics).topics) or ()
    name = _require_paid(call).name

    def act() -> AnyObject:
        call.engine.planner.finish(name)
        call.engine.store.change_schedule(name, lambda one: with_topics(one, len(topics)), topics)
        call.engine.planner.plan(name)
        return show(call)

    return act_once(call, act, next_step=_CHECK)


def run_now(call: Call) -> Response:
    """Add one job with the next topic, due now."""
    name = _require_paid(call).name
    planner = call.engine.planner
    return act_once(call, lambda: {"job_ids": [one.new.job.job_id for one in planner.run_now(name)]}, next_step=_CHECK)


def _require(call: Call) -> Schedule:
    """Return the schedule of a request. Raises `NotFound`, also for one of a channel that the key is not for."""
    schedule = call.engine.store.schedule(call.place["schedule"])
    if schedule is None or not call.caller.covers(schedule.channel):
        raise NotFound(f"no schedule has the name {call.place['schedule'][:60]!r}")
    return schedule


def _require_paid(call: Call) -> Schedule:
    """Return the schedule of a request that adds jobs. Raises `Forbidden` if they pass the budget of the key."""
    schedule = _require(call)
    call.require_payer(schedule.fields.get("key_id", ""))
    return schedule


def _topics(topics: Any) -> Sequence[Topic] | None:
    """Return topics as a schedule stores them; None for the built-in ones."""
    if topics is msgspec.UNSET:
        return None
    return [
        {"topic": one}
        if isinstance(one, str)
        else {key: value for key, value in msgspec.structs.asdict(one).items() if value is not msgspec.UNSET}
        for one in topics
    ]


def _same(existing: Schedule, new: Schedule) -> bool:
    """Return whether a schedule was kept with the same terms."""
    changing = ("stamp", "created_at", "next_topic", "planned_until", "missed", "pending", "paused", "why", "problem")
    return replace(existing, **{name: getattr(new, name) for name in changing}) == new


_ERRORS = (404, 409, 413, 415)
_PAUSED = (404, 413, 415)
_EXAMPLE = {"channel": "fun", "daily_count": 24, "videos_per_hour": "1", "timezone": "Europe/Berlin"}
ROUTES = (
    Route("GET", "/schedules", Scope.READ, list_schedules, "List schedules", AnyObject),
    Route("GET", "/schedules/{schedule}", Scope.READ, show, "Show a schedule", AnyObject, errors=(404,)),
    Route(
        "PUT", "/schedules/{schedule}", Scope.ADD, put, "Keep a schedule", AnyObject, body=types.NewSchedule,
        errors=_ERRORS, example=_EXAMPLE,
    ),
    Route(
        "DELETE", "/schedules/{schedule}", Scope.OPERATE, remove, "Remove a schedule", AnyObject,
        query=types.RemoveSchedule, errors=(404,),
    ),
    Route(
        "POST", "/schedules/{schedule}/pause", Scope.OPERATE, pause, "Pause a schedule", AnyObject, body=types.Pause,
        errors=_PAUSED,
    ),
    Route("POST", "/schedules/{schedule}/resume", Scope.OPERATE, resume, "Resume a schedule", AnyObject, errors=(404,)),
    Route(
        "POST", "/schedules/{schedule}/topics", Scope.ADD, add_topics, "Append topics", AnyObject, body=types.Topics,
        errors=(*_ERRORS, 422), example={"topics": ["How tides work", "Why we dream"]},
    ),
    Route(
        "POST", "/schedules/{schedule}/run-now", Scope.ADD, run_now, "Add a job with the next topic now", AnyObject,
        errors=(404, 409, 422),
    ),
)  # fmt: skip
