"""`schedule`: a day of videos at a steady pace. Its subcommands, for schedules that are kept, are in `schedules`."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info
from tenxsom_flow_engine.cli.enqueue import (
    TopicsFile,
    add_and_report,
    check_lines,
    describe_made,
    describe_row,
    print_left_out,
    print_made,
    print_notes,
    print_overruns,
    print_plan,
    reading,
)
from tenxsom_flow_engine.cli.exit_codes import DONE, QUOTA_OR_BUDGET
from tenxsom_flow_engine.cli.program import Group, program
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import duration, plural

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.jobs import VideoJob
    from tenxsom_flow_engine.planning.channel import KnownSlot
    from tenxsom_flow_engine.planning.entries import BadLine, Comment, Entry
    from tenxsom_flow_engine.planning.made import MadeTopics
    from tenxsom_flow_engine.planning.periods import Period
    from tenxsom_flow_engine.planning.slots import Slot

EPILOG = """\b
Without a command, it plans once. Schedules that are added with `add` are kept, and workers plan them.

\b
A slot is a time at which one video is due. Slots form a fixed grid in UTC, and a job's id is its channel and slot,
so running the command again adds only new slots. A cancelled job stays cancelled.

\b
With --date, the command plans the first --daily-count slots of that day. Run it daily from cron with --date tomorrow
and the time zone of cron's clock as --timezone: days join without gap or overlap. If cron missed a day, use --date
today; slots in the past are left out. A day of 23 hours can have fewer videos; the command reports that.

\b
Without --date, it plans the next 24 hours, so that no period of 24 hours has more than --daily-count videos of the
channel. Run it at any interval, e.g. hourly, to stay a day ahead.

\b
Your own list of topics is used in order and then repeated; each run continues where the previous one stopped. If you
changed the list, it continues after the topic that was used last.

\b
Examples:
  {program} schedule --daily-count 96 --videos-per-hour 4
  {program} schedule --daily-count 24 --videos-per-hour 1 --topics-file topics.txt --dry-run
  {program} schedule --date tomorrow --timezone Europe/Berlin --start 08:00 --daily-count 48
  {program} schedule add fun --daily-count 24 --videos-per-hour 1 --timezone Europe/Berlin --topics-file topics.txt
"""


@click.group(cls=Group, epilog=EPILOG, invoke_without_command=True, subcommand_metavar="[COMMAND] [ARGS]...")
@click.option("--daily-count", type=int, default=96, show_default=True, help="Number of videos a day.")
@click.option("--videos-per-hour", default="4", show_default=True, help="Videos an hour; 0.5 is one every two hours.")
@click.option("--date", help="Plan a calendar day: 2026-12-24, today or tomorrow. Default: the next 24 hours.")
@click.option("--timezone", metavar="ZONE", help="Time zone of --date, e.g. Europe/Berlin. Default: UTC.")
@click.option("--start", metavar="DATETIME", help="First slot: 2026-12-24T18:00, or with --date a time of day, 18:00.")
@click.option(
    "--topics-file",
    type=TopicsFile(),
    help="Topics, used in order, then repeated. Default: built-in.",
)
@click.option(
    "--start-by",
    type=options.StartBy(),
    metavar="TIME",
    help="Expire a job that has bought nothing this long after its slot: 6h, or never. Default: until the next slot.",
)
@click.option(
    "--catch-up",
    type=click.Choice(("none", "latest", "all")),
    default="none",
    show_default=True,
    help="Slots of the period that have passed without a job: leave them out, or start the latest or all now.",
)
@options.unless_made_within
@options.file_options
@options.job_options
@click.pass_context
def schedule(
    context: click.Context,
    /,
    daily_count: int,
    videos_per_hour: str,
    date: str | None,
    timezone: str | None,
    start: str | None,
    topics_file: io.BufferedReader | None,
    start_by: float | None,
    catch_up: str,
    made_within: float | None,
    ignore_unknown: bool,
    encoding: str | None,
    dry_run: bool,
    queue_type: str | None,
    as_json: bool,
    **fields: Any,
) -> int:
    """Plan a day of videos at a steady pace and add the new jobs, or keep schedules that workers plan."""
    if context.invoked_subcommand is not None:
        _check_no_options(context)
        context.obj = queue_type  # --queue-type works before the subcommand and after it
        return DONE
    from tenxsom_flow_engine.channels.schedules import CatchUp
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.jobs import AUTO
    from tenxsom_flow_engine.planning.channel import known_slots
    from tenxsom_flow_engine.planning.made import MadeTopics
    from tenxsom_flow_engine.planning.periods import window
    from tenxsom_flow_engine.planning.plan import AddPlan, Row
    from tenxsom_flow_engine.planning.slots import check_count, first_slots, grid, parse_rate, slot_job_id, steady_slots
    from tenxsom_flow_engine.planning.starts import LatestStart

    if timezone and not date:
        raise click.UsageError("--timezone needs --date")
    rate = parse_rate(videos_per_hour)
    channel: str = fields["channel"]
    given = options.given(fields)
    with session(queue_type) as engine:
        fields = {"service": AUTO, "channel": channel, **engine.with_channel_defaults(given)}
        now = engine.store.now()
        span = window(now, day=date, zone=timezone, start=start)
        check_count(span, daily_count, rate)
        entries = None
        if topics_file:
            read = read_entries(engine, topics_file, fields, now, ignore_unknown=ignore_unknown, encoding=encoding)
            entries = [job for job, _ in read]
        slots = grid(span, rate)
        known = known_slots(engine.store, channel)
        taken = {instant for instant, slot in known.items() if not slot.cancelled}
        first = slots
        if date is not None:
            first = first_slots(slots, daily_count, {at for at in taken if span.start <= at < span.end})
        passed = [slot for slot in first if slot.instant < now]
        late = CatchUp(catch_up).choose([slot for slot in passed if slot.instant not in known][-daily_count:])
        ahead = [*late, *(slot for slot in first if slot.instant >= now)]
        if date is None:
            ahead = steady_slots(ahead, daily_count, taken)
        past = min(daily_count, len(passed)) - sum(slot.instant < now for slot in ahead)
        _print_window(span, daily_count, len(slots))
        _print_left_out(past, ahead, slots, known, span, channel)
        new = [slot for slot in ahead if slot.instant not in known]
        made = MadeTopics(engine.store, now - made_within) if made_within is not None else None
        filled = _fill(engine, new, entries, known, fields, now, made)
        within = float(3600 / rate) if start_by is None else start_by
        latest = LatestStart(now, None if within == math.inf else within)
        plan = AddPlan([engine.prepare(job, due := float(slot.instant), latest.of(due)) for slot, job in filled])
        print_made(made)
        if empty := len(new) - len(plan.jobs):
            stay = "stays" if empty == 1 else "stay"
            info(f"{plural(empty, 'slot')} {stay} without a job: the channel has made or planned all topics")
        print_notes(plan)
        over = print_overruns(engine, plan.jobs)
        rows: list[Row] = []
        if dry_run or as_json:
            planned = {item.new.job.job_id: item for item in plan.jobs}
            for slot in ahead:
                job_id = slot_job_id(channel, slot.instant)
                if job_id in planned:
                    rows.append(Row.planned(planned[job_id]))
                elif record := engine.store.get(job_id):
                    rows.append(Row.added_before(record, float(slot.instant)))
        facts: dict[str, Any] = {"slots": [describe_row(row) for row in rows], "over_budget": over}
        if made:
            facts["skipped"] = describe_made(made)
        if not dry_run:
            before = [slot_job_id(channel, slot.instant) for slot in ahead if slot.instant in known]
            add_and_report(engine, plan.new, facts=facts if as_json else None, known=before)
        elif as_json:
            print_json(facts)
        else:
            print_plan(rows)
    return QUOTA_OR_BUDGET if dry_run and over else DONE


def _check_no_options(context: click.Context) -> None:
    """Raise a usage error for options of a plan before a subcommand, which would not see them."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is click.core.ParameterSource.COMMANDLINE and parameter.name != "queue_type":
            raise click.UsageError(f"pass {parameter.opts[0]} after the command {context.invoked_subcommand}")


def _print_window(span: Period, wanted: int, room: int) -> None:
    if span.note:
        info(span.note)
    if span.lost:
        info(f"the clocks change on this day, so it is {duration(span.seconds)} long")
    if room < wanted:
        info(f"this period has {plural(room, 'slot')}, so only {room:,} of {wanted:,} videos fit")


def _print_left_out(
    past: int,
    planned: Sequence[Slot],
    slots: Sequence[Slot],
    known: Mapping[int, KnownSlot],
    span: Period,
    channel: str,
) -> None:
    """Print the number of omitted slots, and of videos of the channel that are not on its grid."""
    if past:
        info(f"left out {plural(past, 'slot')} in the past")
    cancelled = sum(known[slot.instant].cancelled for slot in planned if slot.instant in known)
    if cancelled:
        again = f"restore a job with: {program()} retry JOB"
        info(f"left out {plural(cancelled, 'slot')} whose job was cancelled or expired; {again}")
    grid = {slot.instant for slot in slots}
    off = sum(span.start <= at < span.end and at not in grid and not slot.cancelled for at, slot in known.items())
    if off:
        whose = f" --channel {channel}" if channel else ""
        info(
            f"the daily count includes {plural(off, 'video')} planned at another pace, outside this grid; cancel the "
            f"scheduled ones with: {program()} cancel --scheduled{whose}"
        )


def read_entries(
    engine: Engine,
    stream: io.BufferedReader,
    fields: Mapping[str, Any],
    now: float,
    *,
    ignore_unknown: bool,
    encoding: str | None,
) -> list[tuple[VideoJob, Mapping[str, Any]]]:
    """Return a file's entries as jobs, each with the fields of its line; end the command if one cannot be made."""
    from tenxsom_flow_engine.planning.batch import Timing, plan_batch
    from tenxsom_flow_engine.planning.entries import BadLine, Entry
    from tenxsom_flow_engine.planning.files import read_topics

    given: list[Mapping[str, Any]] = []

    def without_times(lines: Iterable[Entry | BadLine | Comment]) -> Iterator[Entry | BadLine | Comment]:
        for line in lines:
            if isinstance(line, Entry) and (line.at is not None or "channel" in line.fields):
                yield BadLine(line.line, "has a time or a channel, which the schedule sets")
            else:
                if isinstance(line, Entry):
                    given.append(line.fields)
                yield line

    def possible(job: VideoJob, due: float | None) -> VideoJob:
        engine.prepare(job, due)
        return job

    with (
        reading(stream) as name,
        contextlib.closing(read_topics(stream, name, ignore_unknown=ignore_unknown, encoding=encoding)) as lines,
    ):
        batch = plan_batch(
            without_times(lines), fields, Timing(now), possible, at_default_duration=engine.at_default_duration
        )
    check_lines(name, batch.jobs, batch.bad)
    print_left_out(batch.comments, batch.ignored)
    return list(zip(batch.jobs, given, strict=True))


def _fill(
    engine: Engine,
    new: Sequence[Slot],
    entries: Sequence[VideoJob] | None,
    known: Mapping[int, KnownSlot],
    fields: Mapping[str, Any],
    now: float,
    made: MadeTopics | None,
) -> Iterator[tuple[Slot, VideoJob]]:
    """Give each new slot its job; a slot gets none if the channel has made all topics."""
    from msgspec.structs import replace

    from tenxsom_flow_engine.jobs import VideoJob
    from tenxsom_flow_engine.planning.rotation import Playlist, builtin_topics_from
    from tenxsom_flow_engine.planning.slots import slot_job_id
    from tenxsom_flow_engine.topics import builtin_script, builtin_topics

    channel: str = fields["channel"]
    topics = len(builtin_topics() if entries is None else entries)
    if topics < len(new) and made is None:
        kind = "built-in topic" if entries is None else "topic"
        info(f"{plural(topics, kind)} for {plural(len(new), 'new slot')}, so topics will repeat")
    if entries is None:
        service = engine.services.get(fields["service"])
        scripted = service is not None and service.uses_scripts
        for slot in new:
            job_id = slot_job_id(channel, slot.instant)
            possible = (one for one in builtin_topics_from(slot, channel) if not _skipped(made, one, channel, job_id))
            topic = next(possible, None)
            if topic is None:
                continue
            script = builtin_script(topic) if scripted else ""
            job = VideoJob(**{**fields, "topic": topic, "script": script, "job_id": job_id, "created_at": now})
            yield slot, job if "duration" in fields else engine.at_default_duration(job)
        return
    used = {at: slot.use for at, slot in known.items() if slot.use and not slot.cancelled}
    by_instant = {slot.instant: slot for slot in new}

    def skipped(entry: VideoJob, instant: int) -> bool:
        return _skipped(made, entry.topic, channel, slot_job_id(channel, instant))

    for instant, entry in Playlist(entries).assign(by_instant, used, skipped):
        yield by_instant[instant], replace(entry, job_id=slot_job_id(channel, instant))


def _skipped(made: MadeTopics | None, topic: str, channel: str, job_id: str) -> bool:
    """Return whether the channel has made or planned a topic; if not, count it as planned."""
    if made is None:
        return False
    if made.skip(topic, channel):
        return True
    made.plan(topic, channel, job_id)
    return False
