"""Generate the command reference, `docs/cli.md`, from the commands. Run by `make docs`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.cli.program import INSTALLED

HEAD = """\
# Commands

Generated from the commands by `make docs`; a test checks that it is up to date.

| installed with pip or pipx | without the script | in a clone |
|---|---|---|
| `tenxsom-flow COMMAND` | `python -m tenxsom_flow_engine COMMAND` | `python3 run_flow_enhanced.py COMMAND` |
| `tenxsom-flow worker` | `python -m tenxsom_flow_engine worker` | `python3 worker.py` |
| `tenxsom-flow serve` | `python -m tenxsom_flow_engine serve` | `python3 cloud_tasks_worker.py` |

Data goes to standard output, messages and progress to standard error. Exit codes: 0 done, 1 failed, 2 usage, 3 partly
done, 4 quota or budget (a dry run whose jobs do not fit), 5 queue or store unreachable (a login that the server
rejects is 1), 130 interrupted.
"""


def main() -> None:
    """Print the reference in UTF-8, whatever the locale."""
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(encoding="utf-8")
    print(HEAD)
    _section(cli, INSTALLED, level=2)


def _section(command: click.Command, path: str, *, level: int, parent: click.Context | None = None) -> None:
    # A fixed width makes the text independent of the terminal.
    context = click.Context(command, info_name=path, parent=parent, terminal_width=100, max_content_width=100)
    print(f"{'#' * level} `{context.command_path}`\n\n```\n{command.get_help(context)}\n```\n")
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            _section(child, name, level=3, parent=context)


if __name__ == "__main__":
    main()
