"""`batch`: a file of topics becomes as many jobs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.exits import DONE, PARTLY, USAGE, complain
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
    from tenxsom_flow_engine.manager import QueueManager

EPILOG = """\b
A file holds one topic a line; blank lines and lines that begin with # are skipped.
Or it is CSV whose first line names the columns, or JSON lines, with any of
  topic, prompt, duration, aspect_ratio, service, quality, channel, at

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
@click.option("--stagger", type=options.Seconds(), default=0.0, help="Start each job so much after the one before.")
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

    Nothing is added unless every line is good. Adding the same file again adds nothing. Prints the ids of the new
    jobs, one a line.
    """
    import asyncio
    import secrets

    from tenxsom_flow_engine.cli.view import print_json
    from tenxsom_flow_engine.planning.batch import Timing, plan_batch
    from tenxsom_flow_engine.planning.files import read_topics

    async def run(manager: QueueManager) -> int:
        engine = manager.engine
        name = file_name(topics_file)
        now = engine.store.now()
        timing = Timing(now, None if delay is None else now + delay, stagger)
        salt = secrets.token_hex(8) if again else ""
        good, bad = plan_batch(read_topics(topics_file, name), fields, timing, engine.prepare, salt=salt)
        tell_bad_lines(bad, name)
        if bad and not keep_going:
            complain(
                f"nothing was added, since {len(bad):,} lines are bad", "mend them, or add the rest with --keep-going"
            )
            return USAGE
        if not good:
            complain(f"{name} holds no {'good ' if bad else ''}topics", "write one a line")
            return USAGE
        plan = [describe_plan(prepared) for prepared in good]
        end = PARTLY if bad else DONE
        if dry_run:
            print_json({"jobs": plan, "bad_lines": len(bad)}) if as_json else print_plan(plan)
            return end
        added = await asyncio.to_thread(add_all, engine, [prepared.new for prepared in good])
        tell_added(engine, added)
        if as_json:
            print_json({"added": list(added.new), "known": list(added.known), "bad_lines": len(bad)})
        else:
            for job_id in added.new:
                click.echo(job_id)
        return end

    return with_manager(queue_type, run)
