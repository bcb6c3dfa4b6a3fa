"""The name of the running program, for help, messages and completion scripts."""

from __future__ import annotations

import os
import sys

import click

#: The command that `pip install` makes.
INSTALLED = "tenxsom-flow"
#: The scripts of a clone; the first has the same commands as the installed command.
SCRIPTS = ("run_flow_enhanced.py", "worker.py", "cloud_tasks_worker.py")


def called_as() -> str:
    """Return the name of the running script: `tenxsom-flow`, `run_flow_enhanced.py` or another."""
    return os.path.basename(sys.argv[0])


def program(context: click.Context | None = None) -> str:
    """Return the program name for other commands: `tenxsom-flow`, `run_flow_enhanced.py`."""
    context = context or click.get_current_context(silent=True)
    # Errors are reported after the command's context has ended.
    name = (context.find_root().info_name if context else None) or called_as()
    if name in SCRIPTS:
        return SCRIPTS[0]
    return name if context else INSTALLED


def program_word(context: click.Context | None = None) -> str:
    """Return the program name as one word for shell completion; `python -m …` becomes the installed command."""
    name = program(context)
    return INSTALLED if " " in name else name


def worker_program() -> str:
    """Return the command that starts a worker."""
    return "python3 worker.py" if program() in SCRIPTS else f"{program()} worker"


def push_worker_program() -> str:
    """Return the command that starts the worker that Cloud Tasks calls."""
    return "python3 cloud_tasks_worker.py" if program() in SCRIPTS else f"{program()} serve"


class Command(click.Command):
    """A command whose help replaces `{program}` with the program's name, and `{word}` with its one-word form."""

    def get_help(self, ctx: click.Context) -> str:
        """Return the help with the program's name filled in."""
        return super().get_help(ctx).replace("{program}", program(ctx)).replace("{word}", program_word(ctx))


class Group(Command, click.Group):
    """A group whose help is filled in the same way."""
