"""Commands of the engine, run in a child process that can hang, crash or leave threads without harm."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from chaos.fast_timings import FAST
from tenxsom_flow_engine.cli import console
from tenxsom_flow_engine.cli.main import cli
from tests import fork_server

#: What each damaged store must survive.
COMMANDS = (
    ("status",), ("jobs",), ("jobs", "--json"), ("show", "waiting-1"), ("show", "rendering-1", "--json"), ("stats",),
    ("cost",), ("doctor",), ("worker", "--burst"), ("jobs",),
)  # fmt: skip
#: The exit codes that the help documents.
CODES = frozenset({0, 1, 2, 3, 5})
#: Seconds after which the commands count as hanging: much more than they need on a busy machine.
STUCK = 60.0
#: Seconds after which the worker is asked to stop: a damaged job can wait for a service that no worker has.
ENOUGH = 6.0


@dataclass(frozen=True)
class Ran:
    """A command that ended: its exit code, its data and its messages."""

    command: str
    code: int
    output: str
    messages: str


def run_commands(folder: Path, environment: Mapping[str, str]) -> list[Ran]:
    """Run the commands and check that each of them ended as documented. `folder` gets their results."""
    results = folder / "results"
    child = fork_server.start(_run, dict(environment), str(results), log=folder / "child.log")
    for number in (signal.SIGABRT, signal.SIGKILL):
        try:
            child.wait(STUCK)
            break
        except TimeoutError:
            child.signal(number)
    ran = [Ran(**json.loads(line)) for line in results.read_text("utf-8").splitlines()] if results.exists() else []
    for one in ran:
        check(one)
    if len(ran) < len(COMMANDS):
        log = (folder / "child.log").read_text("utf-8", "replace")
        raise AssertionError(f"{' '.join(COMMANDS[len(ran)])} has crashed or hangs:\n{log[-4000:]}")
    return ran


def check(ran: Ran) -> None:
    """Raise unless a command ended with a documented code, without a traceback, and with a message if it failed."""
    everything = ran.output + ran.messages
    assert "Traceback" not in everything, f"{ran.command}:\n{everything[-4000:]}"
    assert ran.code in CODES, f"{ran.command} ended with {ran.code}:\n{everything[-4000:]}"
    assert ran.code == 0 or "error: " in ran.messages or ran.command == "doctor", f"{ran.command}: {everything[-4000:]}"


def _run(environment: Mapping[str, str], results: str) -> None:
    """Run the commands, as the child."""
    import faulthandler

    faulthandler.enable()
    os.environ |= environment
    for command in COMMANDS:
        output, messages = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(messages), _stopping(command):
            code = _code_of(command)
        ran = Ran(" ".join(command), code, output.getvalue(), messages.getvalue())
        with open(results, "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(json.dumps(asdict(ran)) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _stopping(command: Sequence[str]) -> Iterator[None]:
    """Ask a worker to stop after a while."""
    timer = threading.Timer(ENOUGH if command[0] == "worker" else STUCK, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()


def _code_of(command: Sequence[str]) -> int:
    try:
        console.run(cli, command, "tenxsom-flow", FAST)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return -1
