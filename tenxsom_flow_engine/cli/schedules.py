"""`schedule add` and the other commands for schedules that are kept: workers plan them a day ahead."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import completion, options
from tenxsom_flow_engine.cli.console import Exit, confirm, info, on_terminal, out, problem
from tenxsom_flow_engine.cli.enqueue import (
    MAX_IDS,
    TopicsFile,
    describe_row,
    print_home_notes,
    print_notes,
    print_obstacles,
    print_overruns,
    print_plan,
)
from tenxsom_flow_engine.cli.exit_codes import DONE, QUOTA_OR_BUDGET, USAGE
from tenxsom_flow_engine.cli.job_actions import at_price
from tenxsom_flow_engine.cli.program import Command, program
from tenxsom_flow_engine.cli.schedule import read_entries, schedule
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import duration, plural

if TYPE_CHECKING:
    from tenxsom_flow_engine.channels.schedules import Schedule, StartBy
    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.planning.plan import Price
    from tenxsom_flow_engine.planning.prepared import Prepared

__all__ = ["schedule"]

_ADD_EPILOG = """\b
Workers plan the slots of the next day (TENXSOM_SCHEDULE_HORIZON), each once, however many run. The first ones are
planned at once. Slots follow the clocks of the time zone, also over their changes.

\b
The list of topics is copied into the store, and used in order. When it runs out, no video is made: `status` reports
that a day before. Add topics with `schedule add-topics`, or use the list again and again with --repeat.

\b
Examples:
  {program} schedule add fun --daily-count 24 --videos-per-hour 1 --timezone Europe/Berlin --topics-file topics.txt
  {program} schedule add news --daily-count 2 --videos-per-hour 1 --days mon-fri --start 08:00 --catch-up latest
"""

#: Slots that `show` prints.
_SHOWN_SLOTS = 10


def _schedules(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return completion.schedules(options.queue_type_of(ctx), incomplete)


_name = click.argument("name", shell_complete=_schedules)


@schedule.command(cls=Command, epilog=_ADD_EPILOG)
@click.argument("channel")
@click.option("--name", help="Name of the schedule, if a channel has several. Default: the channel.")
@click.option("--daily-count", type=int, default=96, show_default=True, help="Number of videos a day.")
@click.option("--videos-per-hour", default="4", show_default=True, help="Videos an hour; 0.5 is one every two hours.")
@click.option("--days", default="mon-sun", show_default=True, help="Days of the week: mon-fri, or sat,sun.")
@click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Time zone, e.g. Europe/Berlin.")
@click.option("--start", default="", metavar="TIME", help="Time of the first slot of a day: 18:00. Default: midnight.")
@click.option("--topics-file", type=TopicsFile(), help="Topics, used in order. Default: built-in ones, repeated.")
@click.option("--repeat", is_flag=True, help="Begin the list of topics again after its last one.")
@click.option(
    "--start-by",
    type=options.StartBy(),
    metavar="TIME",
    help="Expire a job that has bought nothing this long after its slot: 6h, or never. Default: one slot interval; "
    "with --catch-up latest until the next slot, with all never.",
)
@click.option(
    "--catch-up",
    type=click.Choice(("none", "latest", "all")),
    default="none",
    show_default=True,
    help="Slots that pass while nothing plans: leave them out, or start the latest or all when planning continues.",
)
@click.option("--replace", "replaced", is_flag=True, help="Replace the schedule of this name; cancel its planned jobs.")
@options.file_options
@options.job_fields
@click.pass_obj
def add(
    before: str | None,
    /,
    channel: str,
    name: str | None,
    daily_count: int,
    videos_per_hour: str,
    days: str,
    timezone: str,
    start: str,
    topics_file: io.BufferedReader | None,
    repeat: bool,
    start_by: float | None,
    catch_up: str,
    replaced: bool,
    ignore_unknown: bool,
    encoding: str | None,
    dry_run: bool,
    queue_type: str | None,
    as_json: bool,
    **fields: Any,
) -> int:
    """Keep a schedule for CHANNEL, and plan its first videos."""
    from tenxsom_flow_engine.channels.schedules import NEVER, CatchUp
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.errors import InvalidInput
    from tenxsom_flow_engine.operations.schedules import add_schedule, draft_schedule
    from tenxsom_flow_engine.planning.plan import AddPlan, Row
    from tenxsom_flow_engine.planning.schedules import ScheduleTerms, parse_days
    from tenxsom_flow_engine.report.operator_json import schedule as describe

    if repeat and topics_file is None:
        raise click.UsageError("--repeat needs --topics-file; the built-in topics are always repeated")
    given = options.given(fields)
    latest: StartBy | None = NEVER if start_by == math.inf else start_by
    terms = ScheduleTerms(
        channel, daily_count, videos_per_hour, parse_days(days), timezone, start, latest, CatchUp(catch_up), repeat
    )
    with session(queue_type or before) as engine:
        now, topics = (
            engine.store.now(),
            _read_topics(engine, topics_file, {**given, "channel": channel}, ignore_unknown, encoding),
        )
        new = draft_schedule(engine, name or channel, terms, given, topics)
        if given.get("service", "auto") == "auto" and "service" in new.fields:
            info(
                f"no paid service is configured, so its videos are free {new.fields['service']}s, also when one is "
                "configured later; then replace the schedule"
            )
        existing = engine.store.schedule(new.name)
        if existing and not replaced:
            raise InvalidInput("name", f"a schedule called {new.name} exists", next_step="replace it with --replace")
        planned = engine.planner.preview(new)
        plan = AddPlan(list(engine.planner.prepare(planned, dict(enumerate(topics or ())))))
        print_notes(plan)
        over = print_overruns(engine, plan.jobs)
        facts: dict[str, Any] = {"schedule": describe(planned, now), "over_budget": over}
        facts["slots"] = [describe_row(Row.planned(item)) for item in plan.jobs]
        if dry_run:
            if as_json:
                print_json(facts)
            else:
                print_plan([Row.planned(item) for item in plan.jobs])
            _print_topics_left(planned, now)
            return QUOTA_OR_BUDGET if over else DONE
        cancelled = add_schedule(engine, new, topics or (), replaced=existing is not None)
        if cancelled:
            info(f"cancelled {plural(cancelled, 'planned job')} of the replaced schedule")
        info(f"schedule {new.name} is kept; show it with: {program()} schedule show {new.name}")
        added = engine.planner.plan(new.name)
        _report_planned(engine, engine.store.require_schedule(new.name), added, facts if as_json else None)
    return DONE


@schedule.command("list")
@options.queue_type
@options.as_json
@click.pass_obj
def list_(before: str | None, queue_type: str | None, as_json: bool) -> None:
    """List schedules, their next slots and topics left."""
    from tenxsom_flow_engine.cli.format import print_json, short_time, table
    from tenxsom_flow_engine.report.operator_json import schedule as describe

    with session(queue_type or before) as engine:
        now = engine.store.now()
        found = [describe(one, now) for one in engine.store.schedules()]
    if as_json:
        print_json({"schedules": found})
        return
    rows = []
    for one in found:
        following = one["next_slots"][0] if one["next_slots"] and one["state"] != "paused" else ""
        pace = f"{one['daily_count']}/d {one['videos_per_hour']}/h {one['days']} {one['timezone']}"
        rows.append(
            [one["name"], one["channel"], one["state"], pace, short_time(following) if following else "", _left(one)]
        )
    if rows:
        out(table(rows, head=("NAME", "CHANNEL", "STATE", "SLOTS", "NEXT (UTC)", "TOPICS LEFT"), may_cut=("SLOTS",)))
    else:
        info(f"no schedules; add one with: {program()} schedule add CHANNEL --topics-file FILE")


@schedule.command()
@_name
@options.queue_type
@options.as_json
@click.pass_obj
def show(before: str | None, name: str, queue_type: str | None, as_json: bool) -> None:
    """Show a schedule, its next slots and jobs.

    A slot that is not planned yet shows the topic that it will get. The topics run out on the day that is shown.
    """
    from tenxsom_flow_engine.cli.format import print_json, table
    from tenxsom_flow_engine.report.operator_json import schedule as describe

    with session(queue_type or before) as engine:
        one = engine.store.require_schedule(name)
        now = engine.store.now()
        facts = describe(one, now)
        slots = _slots(engine, one, now)
    if as_json:
        print_json({**facts, "slots": slots})
        return
    shown = {
        "channel": one.channel,
        "state": " – ".join(filter(None, [facts["state"], one.why if one.paused else one.problem])),
        "slots": f"{one.daily_count} a day, {one.videos_per_hour} an hour, {facts['days']}, from "
        f"{one.start or 'midnight'} {one.zone}",
        "jobs": ", ".join(f"{key} {value}" for key, value in one.fields.items()) or "default settings",
        "start by": f"{duration(one.start_by)} after the slot" if isinstance(one.start_by, float) else one.start_by,
        "catch up": str(one.catch_up),
        "topics": _left(facts),
        "missed": plural(one.missed, "slot"),
    }
    out(table([[key, value] for key, value in shown.items()]))
    if slots:
        out("")
        rows = [[slot["local"], slot["state"], slot["job_id"] or "", slot["topic"] or ""] for slot in slots]
        out(table(rows, head=(f"SLOT ({one.zone})", "STATE", "JOB", "TOPIC"), may_cut=("TOPIC",)))


@schedule.command()
@_name
@click.option("--why", default="", help="A note for others, which `schedule show` prints.")
@options.queue_type
@click.pass_obj
def pause(before: str | None, name: str, why: str, queue_type: str | None) -> None:
    """Plan no more slots; jobs that are planned stay."""
    from tenxsom_flow_engine.operations import schedules

    with session(queue_type or before) as engine:
        one = schedules.pause(engine.store, name, why)
        jobs = len(schedules.planned_jobs(engine, one))
    stay = f"; {plural(jobs, 'planned job')} {'stays' if jobs == 1 else 'stay'}" if jobs else ""
    cancel = f", cancel with: {program()} cancel --scheduled --channel {one.channel}" if jobs else ""
    info(f"schedule {name} is paused{stay}{cancel}")


@schedule.command()
@_name
@options.queue_type
@click.pass_obj
def resume(before: str | None, name: str, queue_type: str | None) -> None:
    """Plan the slots of a paused schedule again.

    Slots that have passed in between follow the choice of --catch-up.
    """
    from tenxsom_flow_engine.operations import schedules

    with session(queue_type or before) as engine:
        schedules.resume(engine.store, name)
        info(f"schedule {name} is active")
        added = engine.planner.plan(name)
        _report_planned(engine, engine.store.require_schedule(name), added, None)


@schedule.command("run-now")
@_name
@options.yes
@options.queue_type
@options.as_json
@click.pass_obj
def run_now(before: str | None, name: str, yes: bool, queue_type: str | None, as_json: bool) -> None:
    """Add one more job now, with the next topic."""
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.planning.schedules import plan_now

    with session(queue_type or before) as engine:
        one = engine.store.require_schedule(name)
        costs = _price(engine.planner.prepare(plan_now(one, engine.store.now()))[-1:])
        if not yes and not costs.free:
            buys = f"add a job now, which buys its video {at_price(costs)}"
            confirm(f"{buys}?", f"this would {buys}; pass --yes to confirm")
        (added,) = engine.planner.run_now(name)[-1:]
        if as_json:
            print_json({"added": [added.new.job.job_id], "topic": added.new.job.topic})
        else:
            out(added.new.job.job_id)
        info(f"added a job to the {engine.queue.name} queue: {added.new.job.topic}{'' if costs.free else f', {costs}'}")
        print_obstacles(engine)


@schedule.command("add-topics")
@_name
@click.option("--topics-file", type=TopicsFile(), required=True, help="Topics that follow those of the list.")
@options.file_options
@options.queue_type
@options.as_json
@click.pass_obj
def add_topics(
    before: str | None,
    name: str,
    topics_file: io.BufferedReader,
    ignore_unknown: bool,
    encoding: str | None,
    queue_type: str | None,
    as_json: bool,
) -> None:
    """Append topics, and plan the slots that had none."""
    from tenxsom_flow_engine.planning.schedules import with_topics

    with session(queue_type or before) as engine:
        engine.planner.finish(name)
        one = engine.store.require_schedule(name)
        defaults = {"service": "auto", **one.fields, "channel": one.channel}
        topics = _read_topics(engine, topics_file, defaults, ignore_unknown, encoding) or []
        engine.store.change_schedule(name, lambda found: with_topics(found, len(topics)), topics)
        info(f"added {plural(len(topics), 'topic')} to the schedule {name}")
        added = engine.planner.plan(name)
        after = engine.store.require_schedule(name)
        facts: dict[str, Any] = {"topics_added": len(topics), "topics_left": after.topics_left}
        _report_planned(engine, after, added, facts if as_json else None)


@schedule.command()
@_name
@click.option(
    "--cancel-planned/--keep-planned",
    "cancel",
    default=None,
    help="Cancel the planned jobs, or keep them. Default: ask.",
)
@options.yes
@options.queue_type
@click.pass_obj
def remove(before: str | None, name: str, cancel: bool | None, yes: bool, queue_type: str | None) -> None:
    """Remove a schedule and its list of topics."""
    from tenxsom_flow_engine.operations.schedules import cancel_planned, planned_jobs, remove_schedule

    with session(queue_type or before) as engine:
        one = engine.store.require_schedule(name)
        jobs = len(planned_jobs(engine, one))
        if not yes:
            question = f"remove the schedule {name}"
            confirm(f"{question}?", f"this would {question}; pass --yes to confirm")
        if jobs and cancel is None:
            count = plural(jobs, "planned job")
            if not on_terminal(sys.stdin):
                step = "pass --cancel-planned or --keep-planned"
                raise Exit(problem(f"nothing was removed: the schedule has {count}", step), USAGE)
            cancel = click.confirm(f"cancel its {count}?", err=True)
        ended = remove_schedule(engine, name)
        done = cancel_planned(engine, ended) if cancel else 0
    kept = f"; {plural(jobs, 'planned job')} {'stays' if jobs == 1 else 'stay'}" if jobs and not cancel else ""
    info(f"removed the schedule {name}" + (f" and cancelled {plural(done, 'job')}" if done else kept))


def _read_topics(
    engine: Engine,
    stream: io.BufferedReader | None,
    fields: Mapping[str, Any],
    ignore_unknown: bool,
    encoding: str | None,
) -> list[dict[str, Any]] | None:
    """Return the topics of a file with the fields of their lines; end the command if one cannot be made."""
    if stream is None:
        return None
    read = read_entries(engine, stream, fields, engine.store.now(), ignore_unknown=ignore_unknown, encoding=encoding)
    return [
        {key: value.strip() if isinstance(value, str) else value for key, value in line.items()} for _, line in read
    ]


def _price(jobs: Sequence[Prepared]) -> Price:
    from tenxsom_flow_engine.planning.plan import Price

    return Price.of((item.new.cost.usd if item.new.cost else None, item.new.max_usd) for item in jobs)


def _report_planned(engine: Engine, one: Schedule, added: Sequence[Prepared], facts: dict[str, Any] | None) -> None:
    """Report the planned jobs: how many, the first and the last, and the price; print their ids, or `facts` as JSON."""
    from tenxsom_flow_engine.cli.format import print_json

    ids = [item.new.job.job_id for item in added]
    if added:
        costs = _price(added)
        times = [item.new.due or 0.0 for item in added]
        span = _local(one, min(times)) + (f" to {_local(one, max(times))}" if len(times) > 1 else "")
        info(f"planned {plural(len(added), 'job')}: {span} {one.zone}{'' if costs.free else f', {costs}'}")
    else:
        info(f"planned 0 jobs: no slot without a job in the next {duration(engine.planner.horizon)}")
    _print_topics_left(one, engine.store.now())
    if facts is not None:
        print_json({**facts, "added": ids})
        return
    shown = ids[:MAX_IDS] if on_terminal(sys.stdout) else ids
    for job_id in shown:
        out(job_id)
    if len(shown) < len(ids):
        info(f"and {len(ids) - len(shown):,} more; list them with: {program()} jobs --sort due")
    print_home_notes(engine)
    if ids:
        print_obstacles(engine)


def _print_topics_left(one: Schedule, now: float) -> None:
    """Print when the topics run out, if that is soon."""
    from tenxsom_flow_engine.planning.schedules import runs_out_at

    ends = runs_out_at(one, now)
    if ends is not None and ends < now + 7 * 86400:
        more = f"add some with: {program()} schedule add-topics {one.name} --topics-file FILE"
        info(f"{plural(one.topics_left or 0, 'topic')} left: the slot {_local(one, ends)} has none; {more}")


def _left(facts: Mapping[str, Any]) -> str:
    if facts["topics"] is None:
        return "built-in"
    if facts["topics_left"] is None:
        return f"{facts['topics']:,}, repeated"
    until = facts["topics_run_out_at"] if facts["topics_left"] else None
    return f"{facts['topics_left']:,}" + (f", until {until[:10]}" if until else "")


def _slots(engine: Engine, one: Schedule, now: float) -> list[dict[str, Any]]:
    """Return the next slots of a schedule with their jobs, or the topics that they will get."""
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.planning.schedules import next_slots
    from tenxsom_flow_engine.planning.slots import slot_job_id

    slots = next_slots(one, now, _SHOWN_SLOTS)
    ids = {slot.instant: slot_job_id(one.key, slot.instant) for slot in slots}
    records = {record.job_id: record for record in engine.store.get_each(list(ids.values()))}
    size = one.topics or 0
    places = [one.next_topic + number for number in range(len(slots))]
    topics = (
        engine.store.schedule_topics(one, {place % size if one.repeat else place for place in places}) if size else {}
    )
    free = iter(places)
    found = []
    for slot in slots:
        record = records.get(ids[slot.instant])
        topic = record.job.topic if record else None
        if record is None and not one.paused and size:
            place = next(free)
            topic = topics.get(place % size if one.repeat else place, {}).get("topic")
        state = str(record.status_at(now)) if record else "paused" if one.paused else "later"
        if record is None and size and topic is None and not one.paused:
            state = "no topic"
        found.append(
            {
                "at": iso(float(slot.instant)),
                "local": _local(one, slot.instant),
                "state": state,
                "job_id": record.job_id if record else None,
                "topic": topic,
            }
        )
    return found


def _local(one: Schedule, instant: float) -> str:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    return f"{datetime.fromtimestamp(instant, ZoneInfo(one.zone)):%a %Y-%m-%d %H:%M}"
