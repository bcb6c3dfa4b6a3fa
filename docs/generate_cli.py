"""Writes the command reference, `docs/cli.md`, from the commands themselves: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tenxsom_flow_engine.cli.cloud_tasks_worker import cloud_tasks_worker
from tenxsom_flow_engine.cli.completion import PROGRAM
from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.cli.worker import worker

HEAD = """\
# Commands

Made from the commands by `make docs`; a test sees that it is up to date.

Data goes to standard output, talk and progress to standard error. Exit codes: 0 done, 1 failed, 2 usage, 3 partly
done, 4 quota (kept for it; no command ends so yet), 5 queue or store unreachable, 130 interrupted.
"""


def main() -> None:
    """Print the reference."""
    print(HEAD)
    _section(cli, PROGRAM, level=2)
    _section(worker, "worker.py", level=2)
    _section(cloud_tasks_worker, "cloud_tasks_worker.py", level=2)


def _section(command: click.Command, path: str, *, level: int, parent: click.Context | None = None) -> None:
    # The width is fixed, so that the text does not depend on the terminal it is made in.
    context = click.Context(command, info_name=path, parent=parent, terminal_width=100, max_content_width=100)
    print(f"{'#' * level} `{context.command_path}`\n\n```\n{command.get_help(context)}\n```\n")
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            _section(child, name, level=3, parent=context)


if __name__ == "__main__":
    main()
