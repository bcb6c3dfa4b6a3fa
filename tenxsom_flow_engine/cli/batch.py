"""`batch`: add a job for each topic of a file."""

from __future__ import annotations

import io
from typing import Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.enqueue import (
    SAME_COMMAND,
    TopicsFile,
    add_and_report,
    check_lines,
    check_past,
    describe_made,
    describe_row,
    print_left_out,
    print_made,
    print_notes,
    print_overruns,
    print_plan,
    reading,
)
from tenxsom_flow_engine.cli.exit_codes import DONE, PARTLY, QUOTA_OR_BUDGET
from tenxsom_flow_engine.cli.program import Command
from tenxsom_flow_engine.cli.session import session

EPILOG = """\b
The file has one topic per line. Blank lines, and lines that begin with # and a blank, are not topics.
It can also be a table with a header row, as spreadsheets save it (commas, semicolons or tabs),
or JSON (an object per line, or a list of texts and objects), with any of these fields:
  topic, prompt, script, style, duration, aspect_ratio, service, quality, channel,
  priority, at
JSON can have options by service: {"topic": "Tides", "options": {"pixverse": {"seed": 7}}}
  (auto then chooses among these services only)

\b
The field at is the start of a job: 2026-12-24T18:00+01:00. Without an offset, it is in this
machine's zone; times that its clocks skip or repeat are refused. If times lie in the past,
nothing is added without --past.

\b
Examples:
  {program} batch --topics-file topics.txt --duration 5
  {program} batch --topics-file plan.csv --stagger 15m --dry-run
  printf 'How tides work\\nWhy we dream\\n' | {program} batch --topics-file -
"""


@click.command(cls=Command, epilog=EPILOG)
@click.option("--topics-file", type=TopicsFile(), required=True, help="The file of topics, or - for standard input.")
@options.delay
@click.option("--stagger", type=options.Seconds(), default="0", help="Time between the starts of two new jobs: 15m.")
@click.option(
    "--past",
    type=click.Choice(("now", "skip")),
    help="Jobs whose time (at) lies in the past: start them, or skip them.",
)
@options.start_by
@options.unless_made_within
@options.file_options
@click.option("--keep-going", is_flag=True, help="Skip invalid lines and add the others (exit code 3).")
@click.option("--again", is_flag=True, help="Add all jobs again, even if the same file was added before.")
@options.job_options
def batch(
    topics_file: io.BufferedReader,
    delay: float | None,
    stagger: float,
    past: str | None,
    start_by: float | None,
    made_within: float | None,
    ignore_unknown: bool,
    encoding: str | None,
    keep_going: bool,
    again: bool,
    dry_run: bool,
    queue_type: str | None,
    as_json: bool,
    **fields: Any,
) -> int:
    """Add a job for each topic of a file.

    If a line is invalid, nothing is added. Adding the same file again adds nothing; if the file has grown, only the new
    lines are added. Prints the ids of the new jobs, one per line.
    """
    import secrets

    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.planning.batch import Timing
    from tenxsom_flow_engine.planning.made import MadeTopics
    from tenxsom_flow_engine.planning.past import Past
    from tenxsom_flow_engine.planning.plan import read_plan
    from tenxsom_flow_engine.planning.starts import LatestStart

    with session(queue_type) as engine:
        now = engine.store.now()
        timing = Timing(now, None if delay is None else now + delay, stagger, Past(past or Past.REFUSE))
        salt = secrets.token_hex(8) if again else ""
        latest = LatestStart(now, start_by)
        made = MadeTopics(engine.store, now - made_within) if made_within is not None else None
        with reading(topics_file) as name:
            plan = read_plan(
                lambda job, due: engine.prepare(job, due, latest.of(due)),
                engine.store, topics_file, name, options.given(fields), timing,
                salt=salt, made=made, ignore_unknown=ignore_unknown, encoding=encoding,
                at_default_duration=engine.at_default_duration,
                with_channel_defaults=engine.with_channel_defaults,
            )  # fmt: skip
        skipped = made.skipped if made else ()
        check_lines(name, [*plan.jobs, *plan.past, *skipped], plan.bad, keep_going=keep_going)
        check_past(name, plan)
        print_left_out(plan.comments, plan.ignored)
        print_made(made)
        print_notes(plan)
        over = print_overruns(engine, plan.jobs)
        bad_lines = len(plan.bad)
        facts: dict[str, Any] = {"bad_lines": bad_lines, "past_lines": len(plan.past), "comment_lines": plan.comments}
        if made:
            facts |= {"skipped": describe_made(made)}
        if dry_run:
            rows = plan.rows(engine.store)
            if as_json:
                print_json({"jobs": [describe_row(row) for row in rows], "over_budget": over, **facts})
            else:
                print_plan(rows)
        else:
            add_and_report(
                engine,
                plan.new,
                rest="remove the added lines from the file before you add the rest" if again else SAME_COMMAND,
                facts=facts if as_json else None,
            )
    if dry_run and over:
        return QUOTA_OR_BUDGET
    return PARTLY if bad_lines else DONE
