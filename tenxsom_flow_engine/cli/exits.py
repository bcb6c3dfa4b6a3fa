"""The edge of the command line: what ends a process with which exit code, and in which words."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from tenxsom_flow_engine.errors import ConfigurationError, FlowError, InvalidInput, StoreUnavailable

DONE, FAILED, USAGE, PARTLY, QUOTA, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_CODES: tuple[tuple[type[FlowError], int], ...] = (
    (InvalidInput, USAGE),
    (ConfigurationError, USAGE),
    (StoreUnavailable, UNREACHABLE),
    (FlowError, FAILED),
)


def exit_code(error: FlowError) -> int:
    """Return the exit code that an error ends a command with."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


def say(text: str) -> None:
    """Talk to the person: on standard error, so that standard output holds data only."""
    click.echo(text, err=True)


def complain(message: str, next_step: str = "") -> None:
    """Say what went wrong and what to do about it, in one line."""
    say(f"error: {message}; {next_step}" if next_step else f"error: {message}")


def run(command: click.Command, arguments: Sequence[str] | None = None, program: str | None = None) -> NoReturn:
    """Run a command and end the process: one line for each error, no traceback for one that we raise on purpose."""
    try:
        # A command returns its exit code; None is 0.
        code = command.main(arguments, prog_name=program, standalone_mode=False) or DONE
        sys.stdout.flush()
    except FlowError as error:
        complain(error.message, error.next_step)
        code = exit_code(error)
    except click.UsageError as error:
        complain(error.format_message().rstrip("."), f"see: {error.ctx.command_path} --help" if error.ctx else "")
        code = USAGE
    except click.ClickException as error:
        complain(error.format_message())
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough, e.g. `head`. Python would complain again while it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    sys.exit(code)
