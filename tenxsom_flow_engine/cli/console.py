"""The edge of the command line: what is said where, and what ends a process with which exit code.

0 done, 1 failed, 2 usage, 3 partly done, 4 quota (no command ends with it yet), 5 queue or store unreachable,
130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, TextIO

import click

from tenxsom_flow_engine.errors import ConfigurationError, FlowError, InvalidInput, QueueUnavailable, StoreUnavailable

if TYPE_CHECKING:
    from tenxsom_flow_engine.composition import Overrides

DONE, FAILED, USAGE, PARTLY, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 5, 130

_CODES: tuple[tuple[type[FlowError], int], ...] = (
    (InvalidInput, USAGE),
    (ConfigurationError, USAGE),
    (StoreUnavailable, UNREACHABLE),
    (QueueUnavailable, UNREACHABLE),
    (FlowError, FAILED),
)


class Exit(Exception):
    """Ends a command with a line of talk and an exit code."""

    def __init__(self, said: str, code: int) -> None:
        super().__init__(said)
        self.said = said
        self.code = code


class _OutputError(Exception):
    """Standard output or standard error takes no more. Not an `OSError`, which others would take for their own."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause.strerror or str(cause))
        self.cause = cause


def exit_code(error: FlowError) -> int:
    """Return the exit code that an error ends a command with."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


def out(data: str) -> None:
    """Print data: on standard output, where nothing else goes."""
    _write(data + "\n", sys.stdout)


def info(text: str) -> None:
    """Talk to the person: on standard error, so that standard output holds data only."""
    _write(text + "\n", sys.stderr)


def redraw(text: str) -> None:
    """Write a part of a line that is redrawn on the terminal of standard error."""
    _write(text, sys.stderr)


def print_error(message: str, next_step: str = "") -> None:
    """Say what went wrong and what to do about it, in one line."""
    info(problem(message, next_step))


def problem(message: str, next_step: str = "") -> str:
    """Return the line that says what went wrong and what to do about it."""
    return f"error: {message}; {next_step}" if next_step else f"error: {message}"


def count(number: int, noun: str) -> str:
    """Write a number of things: `1 job`, `2,000 jobs`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def on_terminal(stream: TextIO | None) -> bool:
    """Return whether a person sits at a stream; at one that was closed, nobody does."""
    return stream is not None and not stream.closed and stream.isatty()


def confirm(question: str, otherwise: str) -> None:
    """Ask a person; a no ends the command. Where nobody can be asked, say `otherwise` as a usage error."""
    if not on_terminal(sys.stdin):
        raise click.UsageError(otherwise)
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort as end:
        info("")  # ends the line of the question
        if not isinstance(end.__context__, EOFError):
            raise
        agreed = False
    if not agreed:
        raise Exit("nothing was changed", FAILED)


def run(
    command: click.Command,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
    overrides: Overrides | None = None,
) -> NoReturn:
    """Run a command and end the process: one line for each error, no traceback for one that we raise on purpose."""
    _open_closed_streams()
    try:
        code = _outcome(command, arguments, program, overrides)
        sys.stdout.flush()
    except (_OutputError, OSError) as error:
        code = _without_output(error.cause if isinstance(error, _OutputError) else error)
    sys.exit(code)


def _outcome(
    command: click.Command, arguments: Sequence[str] | None, program: str | None, overrides: Overrides | None
) -> int:
    try:
        # A command returns its exit code; None is 0.
        return command.main(arguments, prog_name=program, standalone_mode=False, obj=overrides) or DONE
    except Exit as stop:
        info(stop.said)
        return stop.code
    except FlowError as error:
        print_error(error.message, error.next_step)
        return exit_code(error)
    except click.exceptions.NoArgsIsHelpError as error:
        info(error.format_message())
        return USAGE
    except click.UsageError as error:
        print_error(error.format_message().rstrip("."), f"see: {error.ctx.command_path} --help" if error.ctx else "")
        return USAGE
    except click.ClickException as error:
        print_error(error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        info("interrupted")
        return INTERRUPTED


def _write(text: str, stream: TextIO) -> None:
    try:
        click.echo(text, file=stream, nl=False)
    except OSError as error:
        raise _OutputError(error) from error


def _open_closed_streams() -> None:
    """Give the process the standard streams that it was started without, so that no other file takes their place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is taken, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _without_output(error: OSError) -> int:
    """Return the exit code where output was refused, and see that Python does not try to write it again at exit."""
    if not isinstance(error, BrokenPipeError):
        what = "" if error.filename else "the output cannot be written: "
        with contextlib.suppress(_OutputError):  # where to say so may be the very place that is full
            print_error(f"{what}{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, number)
    # Whoever read our output and closed it has enough, e.g. `head`.
    return DONE if isinstance(error, BrokenPipeError) else FAILED
