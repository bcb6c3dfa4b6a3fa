"""`run_flow_enhanced.py`: the producer's command line."""

from __future__ import annotations

from typing import NoReturn

import click

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.cli import (
    batch,
    completion,
    console,
    cost,
    dashboard,
    doctor,
    emulator,
    jobs,
    limits,
    queue,
    schedule,
    single,
    stats,
    status,
)
from tenxsom_flow_engine.cli import retry_cancel as acting

EPILOG = """\b
Examples:
  run_flow_enhanced.py single --topic "Why the ocean glows at night" --wait
  run_flow_enhanced.py batch --topics-file topics.txt --duration 5
  run_flow_enhanced.py schedule --daily-count 96 --videos-per-hour 4
  run_flow_enhanced.py jobs --status failed
  run_flow_enhanced.py show JOB

\b
Exit codes: 0 done, 1 failed, 2 usage, 3 partly done, 5 queue or store unreachable, 130 interrupted.
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="Tenxsom Flow Engine")
def cli() -> None:
    """Topics in, videos out: add jobs to the queue, and see what became of them."""


for command in (
    single.single,
    batch.batch,
    schedule.schedule,
    jobs.jobs,
    jobs.show,
    jobs.open_,
    acting.retry,
    acting.cancel,
    status.status,
    stats.stats,
    dashboard.dashboard,
    doctor.doctor,
    cost.cost,
    queue.queue,
    limits.limits,
    emulator.emulator,
    completion.completion,
):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command line and end the process."""
    console.run(cli, program=completion.PROGRAM)
