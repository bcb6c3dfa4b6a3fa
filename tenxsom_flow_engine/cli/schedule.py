"""`schedule`: a day of videos at a steady pace."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.exits import DONE, USAGE, complain, say
from tenxsom_flow_engine.cli.producing import (
    TopicsFile,
    add_all,
    describe_plan,
    file_name,
    print_plan,
    tell_added,
    tell_bad_lines,
)
from tenxsom_flow_engine.cli.session import with_manager

if TYPE_CHECKING:
    from fractions import Fraction

    from tenxsom_flow_engine.engine import Engine, Prepared
    from tenxsom_flow_engine.manager import QueueManager
    from tenxsom_flow_engine.planning.files import Entry
    from tenxsom_flow_engine.planning.slots import Slot, Window

EPILOG = """\b
Slots lie on a fixed grid in UTC, and a job's id is its channel and slot: running the command again adds only slots
that are new. Run it daily from cron, or hourly to be always a day ahead.

\b
Examples:
  run_flow_enhanced.py schedule --daily-count 96 --videos-per-hour 4
  run_flow_enhanced.py schedule --daily-count 24 --videos-per-hour 1 --topics-file topics.txt --dry-run
  run_flow_enhanced.py schedule --date tomorrow --timezone Europe/Berlin --start 08:00 --daily-count 48
"""


@click.command(epilog=EPILOG)
@click.option("--daily-count", type=int, default=96, show_default=True, help="How many videos.")
@click.option("--videos-per-hour", default="4", show_default=True, help="The pace; 0.5 is one every two hours.")
@click.option("--date", help="Plan a calendar day: 2026-12-24, today or tomorrow. Default: the next 24 hours.")
@click.option("--timezone", metavar="ZONE", help="The zone of --date, e.g. Europe/Berlin. Default: UTC.")
@click.option("--start", metavar="MOMENT", help="Begin then: 2026-12-24T18:00, or with --date a time of day, 18:00.")
@click.option("--topics-file", type=TopicsFile(), help="Topics in order, then again. Default: a built-in list.")
@options.job_fields
@click.option("--dry-run", is_flag=True, help="Show the plan; add nothing.")
@options.queue_type
@options.as_json
def schedule(
    daily_count: int,
    videos_per_hour: str,
    date: str | None,
    timezone: str | None,
    start: str | None,
    topics_file: io.BufferedReader | None,
    dry_run: bool,
    queue_type: str | None,
    as_json: bool,
    **fields: Any,
) -> int:
    """Plan a day of videos at a steady pace, and add what is new of it."""
    import asyncio

    from tenxsom_flow_engine.cli.view import print_json
    from tenxsom_flow_engine.planning.slots import parse_rate, plan, window

    if timezone and not date:
        raise click.UsageError("--timezone goes with --date")

    async def run(manager: QueueManager) -> int:
        engine = manager.engine
        now = engine.store.now()
        rate = parse_rate(videos_per_hour)
        span = window(now, day=date, zone=timezone, start=start)
        slots = plan(span, daily_count, rate)
        _tell_length(span, daily_count, len(slots))
        ahead = [slot for slot in slots if slot.instant >= now]
        if len(ahead) < len(slots):
            say(f"{len(slots) - len(ahead):,} slots are past already and are left out")
        entries = _read(topics_file) if topics_file else None
        if entries is not None and not entries:
            return USAGE
        jobs = list(_fill(engine, ahead, rate, entries, fields, now))
        rows = [describe_plan(prepared) | {"state": state} for prepared, state in jobs]
        if dry_run:
            print_json({"slots": rows}) if as_json else print_plan(rows)
            return DONE
        added = await asyncio.to_thread(add_all, engine, [prepared.new for prepared, _ in jobs])
        tell_added(engine, added)
        if as_json:
            print_json({"added": list(added.new), "known": list(added.known), "slots": rows})
        else:
            for job_id in added.new:
                click.echo(job_id)
        return DONE

    return with_manager(queue_type, run)


def _tell_length(span: Window, wanted: int, found: int) -> None:
    if span.lost:
        say(f"the clocks change: this day has {24 - span.lost / 3600:g} hours")
    if found < wanted:
        say(f"so it has room for {found:,} of {wanted:,} videos")


def _read(topics_file: io.BufferedReader) -> list[Entry]:
    """Return a file's entries; if any is bad, tell which and return none."""
    from tenxsom_flow_engine.planning.files import BadLine, Entry, read_topics

    name = file_name(topics_file)
    lines = list(read_topics(topics_file, name))
    bad = [line for line in lines if isinstance(line, BadLine)]
    entries = [line for line in lines if isinstance(line, Entry)]
    bad += [
        BadLine(entry.line, "names a time or a channel, which a schedule sets itself")
        for entry in entries
        if entry.at is not None or "channel" in entry.fields
    ]
    tell_bad_lines(bad, name)
    if bad:
        complain(f"nothing was added, since {len(bad):,} lines are bad", "mend them")
        return []
    if not lines:
        complain(f"{name} holds no topics", "write one a line")
    return entries


def _fill(
    engine: Engine, slots: list[Slot], rate: Fraction, entries: list[Entry] | None, fields: dict[str, Any], now: float
) -> Iterator[tuple[Prepared, str]]:
    """Give each slot its job, and say whether it is new or known."""
    from tenxsom_flow_engine.jobs import VideoJob
    from tenxsom_flow_engine.planning.rotation import builtin_topic, builtin_topics, in_order
    from tenxsom_flow_engine.planning.slots import before, slot_job_id

    def find(slot: Slot) -> VideoJob | None:
        record = engine.store.get(slot_job_id(fields["channel"], slot))
        return record.job if record else None

    known = {slot: job for slot in slots if (job := find(slot))}
    missing = [slot for slot in slots if slot not in known]
    supply: Iterator[Entry] = iter(())
    if entries is not None and missing:
        # Goes on where the channel's slot before has left off, so that a list is used up in order over many runs.
        last = next((job.topic for slot in before(missing[0], rate) if (job := find(slot))), None)
        supply = in_order(entries, last)
        if len(entries) < len(missing):
            say(f"{len(entries):,} topics for {len(missing):,} new slots, so topics come again")
    elif len(missing) > len(builtin_topics()):
        say(f"{len(builtin_topics())} built-in topics for {len(missing):,} new slots, so topics come again")
    for slot in slots:
        job = known.get(slot)
        if job is None:
            own = next(supply).fields if entries is not None else {"topic": builtin_topic(slot)}
            job_id = slot_job_id(fields["channel"], slot)
            job = VideoJob(**{**fields, **own, "job_id": job_id, "created_at": now})
        yield engine.prepare(job, slot.instant), "known" if slot in known else "new"
