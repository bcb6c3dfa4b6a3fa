"""The command line: `tenxsom-flow`, `python -m tenxsom_flow_engine` and `run_flow_enhanced.py`."""

from __future__ import annotations

from typing import NoReturn

import click

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.cli import (
    alert,
    backup,
    batch,
    budget,
    channel,
    cloud_tasks_worker,
    completion,
    console,
    cost,
    dashboard,
    doctor,
    emulator,
    job_actions,
    job_edits,
    jobs,
    key,
    limits,
    logs,
    mcp,
    queue,
    schedules,
    show,
    single,
    stats,
    status,
    videos,
    webhook,
    worker,
    workers,
)
from tenxsom_flow_engine.cli.program import Group

EPILOG = """\b
Examples:
  {program} single "Why the ocean glows at night" --wait
  {program} batch --topics-file topics.txt --duration 5
  {program} schedule --daily-count 96 --videos-per-hour 4
  {program} jobs --status failed
  {program} show JOB

\b
Exit codes: 0 done, 1 failed, 2 usage, 3 partly done, 4 quota or budget, 5 queue or store unreachable, 130 interrupted.
"""


@click.group(
    cls=Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="Tenxsom Flow Engine")
def cli() -> None:
    """Turn topics into videos: add jobs to a queue, make their videos, and watch their progress."""


for command in (
    single.single,
    batch.batch,
    schedules.schedule,
    jobs.jobs,
    show.show,
    show.open_,
    videos.videos,
    logs.logs,
    job_actions.retry,
    job_actions.cancel,
    job_edits.edit,
    job_edits.run_now,
    job_edits.reschedule,
    worker.worker,
    workers.workers,
    status.status,
    stats.stats,
    dashboard.dashboard,
    doctor.doctor,
    cost.cost,
    queue.queue,
    limits.limits,
    budget.budget,
    channel.channel,
    key.key,
    webhook.webhook,
    alert.alert,
    mcp.mcp,
    backup.backup,
    backup.restore,
    emulator.emulator,
    completion.completion,
):
    cli.add_command(command)
cli.add_command(cloud_tasks_worker.cloud_tasks_worker, "serve")


def main(program: str | None = None) -> NoReturn:
    """Run the command line and end the process; `program` is the name that users call, by default the script's."""
    console.run(cli, program=program)
