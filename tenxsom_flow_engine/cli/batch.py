"""`batch`: a file of topics becomes as many jobs."""

from __future__ import annotations

import io
from typing import Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.exits import DONE, PARTLY
from tenxsom_flow_engine.cli.producing import (
    SAME_COMMAND,
    TopicsFile,
    add_and_tell,
    describe_known,
    describe_plan,
    print_plan,
    read_checked,
    tell_notes,
)
from tenxsom_flow_engine.cli.session import session

EPILOG = """\b
A file holds one topic a line; blank lines and lines that begin with # are skipped.
Or it is CSV whose first line names the columns, or JSON lines, with any of
  topic, prompt, style, duration, aspect_ratio, service, quality, channel, at
and in JSON also options, by service: {"topic": "Tides", "options": {"pixverse": {"seed": 7}}}
  (auto then chooses among those services only)

\b
Examples:
  run_flow_enhanced.py batch --topics-file topics.txt --duration 5
  run_flow_enhanced.py batch --topics-file plan.csv --stagger 15m --dry-run
  printf 'How tides work\\nWhy we dream\\n' | run_flow_enhanced.py batch --topics-file -
"""


@click.command(epilog=EPILOG)
@click.option("--topics-file", type=TopicsFile(), required=True, help="The file, or - for standard input.")
@options.job_fields
@click.option("--delay", type=options.Seconds(), help="Start so much later: 90s, 10m, 2h, 1d.")
@click.option("--stagger", type=options.Seconds(), default=0.0, help="Start each new job so much after the one before.")
@click.option("--keep-going", is_flag=True, help="Add the good lines although others are bad (then exit code 3).")
@click.option("--again", is_flag=True, help="Add the jobs also if the same file was added before.")
@click.option("--dry-run", is_flag=True, help="Check every line and show the plan; add nothing.")
@options.queue_type
@options.as_json
def batch(
    topics_file: io.BufferedReader,
    delay: float | None,
    stagger: float,
    keep_going: bool,
    again: bool,
    dry_run: bool,
    queue_type: str | None,
    as_json: bool,
    **fields: Any,
) -> int:
    """Add a job for each topic of a file.

    Nothing is added unless every line is good. Adding the same file again adds nothing, and a file that has grown adds
    what is new. Prints the ids of the new jobs, one a line.
    """
    import secrets

    from tenxsom_flow_engine.cli.view import print_json
    from tenxsom_flow_engine.planning.batch import Timing, plan_batch

    with session(queue_type) as engine:
        now = engine.store.now()
        timing = Timing(now, None if delay is None else now + delay, stagger)
        salt = secrets.token_hex(8) if again else ""

        def known(job_id: str) -> bool:
            # Asked only where the answer matters: a look for each of many jobs takes a while.
            return bool(stagger) and not again and engine.store.get(job_id) is not None

        good, bad = read_checked(
            topics_file,
            lambda lines: plan_batch(lines, fields, timing, engine.prepare, salt=salt, known=known),
            keep_going=keep_going,
        )
        tell_notes(good)
        if dry_run:
            plan = []
            for prepared in good:
                record = engine.store.get(prepared.new.job.job_id)
                plan.append(describe_known(record, None) if record else describe_plan(prepared))
            print_json({"jobs": plan, "bad_lines": len(bad)}) if as_json else print_plan(plan)
        else:
            add_and_tell(
                engine,
                [prepared.new for prepared in good],
                rest="take out of the file what was added before you add the rest" if again else SAME_COMMAND,
                facts={"bad_lines": len(bad)} if as_json else None,
            )
    return PARTLY if bad else DONE
