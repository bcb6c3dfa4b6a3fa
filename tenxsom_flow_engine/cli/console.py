"""Output of the command line: data to standard output, messages to standard error, one line per error."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, TextIO

import click

from tenxsom_flow_engine.cli.advice import next_step
from tenxsom_flow_engine.cli.exit_codes import DONE, FAILED, INTERRUPTED, USAGE, exit_code
from tenxsom_flow_engine.cli.program import called_as
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.text import visible

if TYPE_CHECKING:
    from tenxsom_flow_engine.composition import Overrides


class Exit(Exception):
    """Ends a command with a message and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class _OutputError(Exception):
    """Standard output or standard error cannot be written. Not an `OSError`, because commands catch that for files."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause.strerror or str(cause))
        self.cause = cause


def out(data: str) -> None:
    """Print data, on standard output."""
    _write(visible(data) + "\n", sys.stdout)


def info(text: str) -> None:
    """Print a message, on standard error: standard output holds data only."""
    _write(visible(text) + "\n", sys.stderr)


def redraw(text: str, stream: TextIO | None = None) -> None:
    """Write text that is redrawn on a terminal, by default standard error; it can have control characters."""
    _write(text, stream or sys.stderr)


def print_error(message: str, step: str = "") -> None:
    """Print an error and its next step in one line."""
    info(problem(message, step))


def problem(message: str, step: str = "") -> str:
    """Return one line with an error and its next step."""
    return f"error: {message}; {step}" if step else f"error: {message}"


def can_print(text: str) -> bool:
    """Return whether the encoding of standard output has all characters of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def on_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is an open terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def confirm(question: str, otherwise: str) -> None:
    """Ask for confirmation; "no" ends the command. Without a terminal, raise `otherwise` as a usage error."""
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
    """Run a command and end the process; a `FlowError` or a usage error is one line, without a traceback.

    `program` is the name that help and messages show; by default the name of the running script.
    """
    _open_closed_streams()
    _escape_foreign_characters()
    try:
        code = _run(command, arguments, program or called_as(), overrides)
        sys.stdout.flush()
    except (_OutputError, OSError) as error:
        code = _without_output(error.cause if isinstance(error, _OutputError) else error)
    sys.exit(code)


def _run(command: click.Command, arguments: Sequence[str] | None, program: str, overrides: Overrides | None) -> int:
    """Run a command, print the error that ends it, and return the exit code."""
    try:
        _check_encoding(sys.argv[1:] if arguments is None else arguments)
        # A command returns its exit code; None is 0.
        return command.main(arguments, prog_name=program, standalone_mode=False, obj=overrides) or DONE
    except Exit as stop:
        info(stop.message)
        return stop.code
    except FlowError as error:
        print_error(error.message, next_step(error))
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


def _check_encoding(arguments: Sequence[str]) -> None:
    """Raise a usage error for an argument that is not valid text: neither a store nor a terminal can contain it."""
    for argument in arguments:
        if not argument.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in argument):
            raise click.UsageError(f"the argument {argument} is not valid UTF-8")


def _write(text: str, stream: TextIO) -> None:
    try:
        click.echo(text, file=stream, nl=False)
    except OSError as error:
        raise _OutputError(error) from error


def _open_closed_streams() -> None:
    """Open missing standard streams, so that no other file gets their descriptors."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The system returns the lowest free descriptor, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _escape_foreign_characters() -> None:
    """Print characters that the encoding of a stream lacks as escapes, such as `\\u4e2d`, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="backslashreplace")


def _without_output(error: OSError) -> int:
    """Return the exit code for unwritable output, and keep Python from flushing it again at exit."""
    if not isinstance(error, BrokenPipeError):
        prefix = "" if error.filename else "the output cannot be written: "
        with contextlib.suppress(_OutputError):  # standard error might be the full stream
            print_error(f"{prefix}{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, number)
    # A reader such as `head` closes the pipe when it has read enough.
    return DONE if isinstance(error, BrokenPipeError) else FAILED
