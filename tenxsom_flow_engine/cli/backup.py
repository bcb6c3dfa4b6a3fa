"""`backup` and `restore`: copy the records to a file, and put them back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import confirm, info, on_terminal, out
from tenxsom_flow_engine.cli.program import program
from tenxsom_flow_engine.cli.session import overrides
from tenxsom_flow_engine.text import plural

if TYPE_CHECKING:
    from tenxsom_flow_engine.operations.restore import Restored

_file = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@_file
@click.option("--force", is_flag=True, help="Replace an existing file.")
@options.queue_type
def backup(file: Path, force: bool, queue_type: str | None) -> None:
    """Back up all records to FILE, while workers run.

    The backup is consistent, and complete when FILE appears. It has everything except the videos: back up their folder
    too. Put the records back with `restore`.
    """
    from tenxsom_flow_engine.operations.backup import back_up
    from tenxsom_flow_engine.settings import load

    if file.is_file() and not force:
        raise click.UsageError(f"{file} exists already; pass --force to replace it")
    with click.progressbar(length=1000, label="backing up", file=sys.stderr, hidden=not on_terminal(sys.stderr)) as bar:
        size = back_up(
            load(),
            queue_type,
            file,
            overwrite=force,
            progress=lambda share: bar.update(int(share * 1000) - bar.pos),
            overrides=overrides(),
        )
        bar.update(1000 - bar.pos)
    info(f"backed up the records to {file} ({size / 1e6:.1f} MB)")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--hold", is_flag=True, help="Hold all jobs that the backup would buy now, whatever the store shows.")
@options.yes
@options.queue_type
@options.as_json
def restore(file: Path, hold: bool, yes: bool, queue_type: str | None, as_json: bool) -> None:
    """Replace all records by those of a backup, and pause the queue.

    Stop all workers, dashboards and producers first, and run it with the settings of the workers. The replaced records
    are kept. Jobs that they show as bought since the backup are carried over. If they are damaged or missing, jobs that
    might have been bought since are held until you resolve them.

    Pass --hold if the store has been replaced by hand, for example by copying a file: it does not show what was bought.
    """
    from dataclasses import asdict

    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.operations import restore as operation
    from tenxsom_flow_engine.settings import load

    if not yes:
        confirm(f"replace all records by those of {file}?", "this would replace all records; pass --yes to confirm")
    with click.progressbar(
        length=0, label="comparing", show_pos=True, file=sys.stderr, hidden=not on_terminal(sys.stderr)
    ) as bar:
        done = operation.restore(load(), queue_type, file, hold=hold, progress=bar.update, overrides=overrides())
    if as_json:
        shown = asdict(done) | {"backup_at": iso(done.backup_at)}
        shown |= {name: [record.job_id for record in shown[name]] for name in ("carried", "held")}
        print_json(shown)
    else:
        for record in done.carried:
            ticket = record.submission.ticket
            out(f"bought since  {record.job_id}  {record.service}  {ticket.id if ticket else record.submission.state}")
        for record in done.held:
            out(f"held          {record.job_id}  {record.effective_service}  {record.job.topic}")
    _explain(done, iso(done.backup_at))


def _explain(done: Restored, instant: str) -> None:
    """Say what was restored, and what to do next."""
    info(f"restored the records of {instant}")
    if done.kept:
        info(f"the replaced records are kept: {done.kept}")
    if not done.compared:
        info("they do not show all purchases since the backup, because they are missing, damaged or older")
    carried = plural(len(done.carried), "job")
    info(f"{carried} bought or finished since the backup: carried over with their later records")
    if done.missing:
        info(f"{plural(len(done.missing), 'job')} added since the backup and not bought: add them again if needed")
    if done.held:
        info(
            f"{plural(len(done.held), 'job')} might have been bought since: look for each at its service, then "
            f"{program()} jobs resolve JOB --ticket ID (bought) or --resubmit (not bought)"
        )
    for name in done.paused:
        info(f"the {name} queue is paused; resume it with: {program()} queue resume --queue-type {name}")
